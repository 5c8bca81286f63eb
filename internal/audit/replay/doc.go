// Package replay checks training receipts by computing steps again: with the
// examples, what the run began with and, for a stretch in the middle, a
// checkpoint. It compares the record of every step and the state at the next
// checkpoint, bit by bit, and says where the first difference is.
//
// [Offline] makes the checks that need none of this. [Auditor.Check] computes a
// stretch of steps, all of them, or stretches that chance chooses after the
// receipt was made; [Outcome.Chance] says how likely such a sample is to find a
// wrong one. A result is a receipt.Report; an error means that there is none.
//
// The package builds no learner and reads no data: a record.Subject brings them.
// It keeps nothing, but for the file of a result that it writes into a folder it
// is given, to compare it.
package replay
