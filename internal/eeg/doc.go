// Package eeg reads recordings of the electroencephalogram into one form,
// [Recording]: samples in microvolts with names, rates and events.
//
// Call [Open] first: it tells the format by the content of the file and
// unpacks gzip. Known are EDF, EDF+ (continuous and discontinuous, with
// annotations) and BDF, XDF, BrainVision (.vhdr with its .vmrk and .eeg),
// the text files of the OpenBCI GUI, and the CSV files of the Muse headband
// as eeg-notebooks writes them. spec/eeg.md defines how a stored number
// becomes a sample, to the bit.
//
// Filters and epochs are in internal/eeg/signal, classifiers in
// internal/eeg/decode.
//
// Files are untrusted: the limits are the constants in limits.go, and every
// refusal is a [ParseError] that tells the format, the place and the reason.
// The package reads files and nothing else: no device, no clock. A recording
// is health data; nothing here prints or logs a sample.
package eeg
