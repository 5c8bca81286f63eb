package eeg

// What a file may hold at most. A recording of an hour with 64 channels at
// 1 kHz has 2.3e8 samples.
const (
	MaxFileBytes   = 1 << 30 // of one file, after unpacking
	MaxChannels    = 4096
	MaxSamples     = 1 << 28 // of all channels together
	MaxEvents      = 1 << 20
	MaxHeaderBytes = 16 << 20 // of a header in text or XML
	MaxLineBytes   = 1 << 20  // of one line of a text format
	MaxNameBytes   = 4096     // of a channel's name, a unit or an event's label; longer ones are refused
	MaxRate        = 1e6      // Hz
	MaxStreams     = 1024     // of an XDF file
	MaxWarnings    = 100      // further ones are dropped
)
