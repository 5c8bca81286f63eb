// Package receipt makes and checks the receipts of answers: signed statements
// of about 300 bytes that say which model, which parameters and which source
// of randomness gave how many tokens, and that commit to the prompt and the
// answer without showing them.
//
// Whoever gets a receipt calls [Offline] on the file's bytes. It needs neither
// the model nor a network, and says for each check whether it passed:
//
//	report := receipt.Offline(data, receipt.Options{Now: time.Now()})
//	fmt.Println(report.Verdict(), report.Checks)
//
// Whoever answers draws a [Salt] with [NewSalt], calls [Commit] on the
// [Transcript], [Opening.Fill] on the [Claims], and [Sign]. The [Opening] shows
// what the receipt hides: [Opening.Select] and [Opening.PromptRange] make a
// smaller one, [Seal] encrypts one for an auditor, a [File] carries them all.
//
// # What a receipt proves
//
// The holder of the key has said so; the opened parts are those that the
// signature covers. That the model really gives this answer is proved only by
// computing it again, or by a part of it: that is not done here, and [Offline]
// lists it as the check "computation", unverified.
//
// spec/receipt.md defines every byte. Everything that is read is bounded (the
// constants in limits.go) and must be in the one canonical encoding; an error
// is an [Error] that names the check that failed. No error and no check shows
// what an opening hides.
//
// The package reads no files and no clock.
package receipt
