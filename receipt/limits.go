package receipt

// Limits of what is read and made, far above what a model can do today; what
// is beyond one is refused with an error that names it.
const (
	// MaxReceipt bounds a receipt in bytes. The largest that is known, with
	// the most adapters, has less than 800.
	MaxReceipt = 4 << 10
	// MaxFile bounds a file of a receipt, its openings and boxes, in bytes.
	MaxFile = 64 << 20
	// MaxIDs bounds the tokens of a prompt, and those of an answer.
	MaxIDs = 1 << 20
	// MaxText bounds a prompt as text, a message, a schema, an answer, in bytes.
	MaxText = 16 << 20
	// MaxItems bounds messages, the calls of one, tools and template variables.
	MaxItems = 1 << 12
	// MaxBias bounds the tokens with a logit bias, so that all of them fit into
	// one message of a dispute.
	MaxBias = 1 << 10
	// MaxStops bounds the stop strings of a request, MaxStop the bytes of one.
	MaxStops = 64
	MaxStop  = 1 << 10
	// MaxAdapters bounds the adapters of a model.
	MaxAdapters = 8
	// MaxBoxes bounds the sealed boxes of a file.
	MaxBoxes = 64
	// MaxRanges bounds the ranges of ids that an opening shows, of the prompt
	// and of the answer each.
	MaxRanges = 256

	// A parameter beyond these has no meaning: spec/sampling.md section 2.
	maxTemperature = 100
	maxPenalty     = 100
	maxInt         = 1<<31 - 1 // of top_k and its like

	// maxHeads bounds the data items of CBOR that is decoded, since an item of
	// three bytes can take a hundred in memory.
	maxHeads = 1 << 18

	minNonce = 8  // bytes; fewer could be tried out beforehand
	maxNonce = 32 // bytes
	maxName  = 32 // bytes of the name of a beacon or a chain
	maxTime  = int64(1<<32 - 1)
	maxProof = 2 * 20 // hashes that prove a range of MaxIDs leaves
	saltSize = 16
)
