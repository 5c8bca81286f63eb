package training

// Limits of what is read and made.
const (
	// MaxFile bounds the file of a receipt with its openings, in bytes.
	MaxFile = 64 << 20
	// MaxSteps bounds the steps of a run, MaxCheckpoints its checkpoints.
	MaxSteps       = 1 << 30
	MaxCheckpoints = 1 << 20
	// MaxExamples bounds the examples of a run.
	MaxExamples = 1<<31 - 1
	// MaxExample bounds the canonical bytes of one example.
	MaxExample = 16 << 20
	// MaxSetup bounds each of the two descriptions of a setup, in bytes.
	MaxSetup = 1 << 20
	// MaxConfig bounds the encoding of a configuration, in bytes.
	MaxConfig = 1 << 10
	// MaxRanges bounds the ranges of steps, and of checkpoints, that an
	// opening shows.
	MaxRanges = 256
	// MaxGiven bounds the examples that are handed over one by one.
	MaxGiven = 1 << 20

	saltSize  = 16
	entrySize = 40 // bytes of a step's record, and of a checkpoint's
	maxFormat = 32 // bytes of the name of a format
	maxBatch  = 1 << 20
	maxProof  = 2 * 31 // hashes that prove a range
	maxTime   = int64(1<<32 - 1)
	minNonce  = 8 // bytes; fewer could be tried out beforehand
	maxNonce  = 32
)
