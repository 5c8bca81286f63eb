// Package training makes and checks the receipts of training runs: signed
// statements of 400 to 584 bytes that say what was trained, on a commitment to
// which examples, in how many steps, with which result, and that commit to the
// settings, the checkpoints and the log of the steps without showing them.
//
// Whoever gets a receipt calls [Offline] on the file's bytes. It needs neither
// data nor a model, and says for each check whether it passed. Whoever trains
// makes [Claims] and an [Opening] (internal/train/record does) and calls
// [Sign]. [Is] tells the file of a training receipt from that of an answer.
//
// # What a training receipt proves
//
// The holder of the key has said so, and what is opened is what the signature
// covers: the settings, the order of the checkpoints, the numbers of every step.
// That these steps lead from one checkpoint to the next is proved only by
// computing them again, which takes the data; internal/audit/replay does it, and
// [Offline] lists it as the check "computation", unverified.
//
// spec/training-receipt.md defines every byte. Everything that is read is
// bounded (limits.go) and must be in the one canonical encoding; an error is a
// [receipt.Error] that names the check that failed. No error and no check shows
// what an opening hides. The package reads no files and no clock.
package training
