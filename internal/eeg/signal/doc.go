// Package signal filters electroencephalograms and cuts them into epochs, in
// arithmetic whose every bit spec/eeg.md defines: the same recording and the
// same [Recipe] give the same epochs on every machine.
//
// Call [Recipe.Epochs] with a recording to get standardised epochs, or
// [Recipe.Epoch] for a single one of a stream. Below it stand the filters:
// [BandPass], [LowPass], [HighPass] (Butterworth) and [Notch] design
// [Sections], which filter causally or, forward and backward, without a
// delay; [Resample] changes the rate.
//
// Everything is computed in float64 and rounded to float32 once, at the end.
// The package starts no goroutine and removes no artefact but by rejecting
// epochs: no independent components, no regression of eye movements.
package signal
