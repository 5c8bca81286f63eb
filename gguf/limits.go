package gguf

// Limits on what a header may ask for. They are far above every published
// model; a file beyond one of them is refused with an error that names it.
const (
	// maxHeader bounds everything before the tensor data, in bytes. The
	// largest vocabularies published (262,144 tokens with scores, types and
	// merges) need about 15 MB.
	maxHeader = 512 << 20
	// maxKeys bounds the number of metadata keys (published: below 100).
	maxKeys = 1 << 16
	// maxTensors bounds the number of tensors in one part and in all parts of
	// a split file (published: up to about 50,000 where every expert of every
	// layer is its own tensor).
	maxTensors = 1 << 18
	// maxKeyLen is the specification's bound on a key, in bytes.
	maxKeyLen = 1<<16 - 1
	// maxNameLen bounds a tensor name that is read. The specification says 64;
	// other builds of ggml raise it.
	maxNameLen = 256
	// maxWriteNameLen bounds a tensor name that is written: ggml keeps 64
	// bytes with a terminating zero.
	maxWriteNameLen = 63
	// maxStringLen bounds one string value, in bytes (chat templates,
	// licences, embedded tokenizer files).
	maxStringLen = 64 << 20
	// maxArrayLen bounds the element count of one array.
	maxArrayLen = 1 << 26
	// maxArrayDepth bounds arrays within arrays; 1 is a plain array.
	maxArrayDepth = 4
	// maxDims is ggml's number of tensor dimensions.
	maxDims = 4
	// maxFile bounds a file that is written, so that offsets cannot overflow.
	maxFile = 1 << 60
	// maxParts bounds the files of a split model, which are open at once
	// while their headers are read.
	maxParts = 512
	// defaultAlignment holds where general.alignment is absent; minAlignment
	// and maxAlignment bound the key. The specification asks for a multiple
	// of 8, ggml for a power of two; both hold here, so that every tensor of
	// an eight-byte element lies aligned.
	defaultAlignment = 32
	minAlignment     = 8
	maxAlignment     = 1 << 20
)

const (
	magic = "GGUF"

	minVersion = 2
	maxVersion = 3

	keyAlignment    = "general.alignment"
	keySplitNo      = "split.no"
	keySplitCount   = "split.count"
	keySplitTensors = "split.tensors.count"
)
