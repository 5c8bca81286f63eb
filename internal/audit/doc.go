// Package audit checks receipts with a copy of the model: that the model
// really gives the answer that a receipt commits to.
//
// [Offline] needs no model. [Auditor.Full] computes the answer again, all
// positions at once and so in a fraction of the time that writing it took.
// [Auditor.Sampled] checks randomly chosen cells of a trace, which the prover
// opens with [Auditor.Open] for a [Challenge] that comes after the receipt; it
// reads a hundredth and misses few wrong cells, as [DetectionOf] says
// (spec/trace.md, section 6). [Auditor.Follow] computes an answer again while it
// is still being told.
//
// All give a [receipt.Report], whose checks say what was compared and where the
// first difference is. An error means that there is no result: the caller went
// away, or the engine was closed.
//
// The package keeps nothing and knows no network. What it is given may come
// from anybody.
package audit
