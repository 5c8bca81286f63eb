package engine

import (
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/grammar"
)

// The machine sees a model through these interfaces, so that scheduling is
// tested on a model that computes nothing. model.go adapts the real one.

// sequence is the memory of one request inside the model: the keys and values
// of the positions it has read.
type sequence interface {
	Len() int
	Truncate(n int)       // forget positions n and above
	Fork(n int) sequence  // a new sequence with the first n positions
	Traced() int          // positions, from the first on, whose states are hashed
	States() []canon.Hash // all hashes, [layers][Len()], if all positions have them
	Close()
}

// step is the part of one forward pass that belongs to one sequence.
type step struct {
	seq       sequence
	tokens    []int32   // to append
	want      int       // logits wanted: of the last 0 or 1 tokens
	logits    []float32 // want × vocabulary, filled by forward
	embedding []float32 // if not nil, filled with the pooled hidden state
	trace     bool      // hash the states; all positions before must be traced
}

// backend computes. forward must give each step the bits it would give it
// alone, and must not keep the slices.
type backend interface {
	newSequence() sequence
	forward(steps []step) error
	context() int // positions a sequence can have
	trained() int // positions the model was trained for
	vocab() int
	dim() int
	layers() int
	// sequenceBytes is the memory of a sequence of n positions, the first of
	// them traced.
	sequenceBytes(n, traced int) int64
}

// stream turns tokens into text, whole UTF-8 characters only.
type stream interface {
	Add(id int32) string
	Flush() string
}

// vocabulary is what the machine needs of a tokenizer.
type vocabulary interface {
	endOfGeneration(id int32) bool
	newStream() stream
	again() vocabulary // the same, for another goroutine
}

// constraint says which tokens may come next and follows those that do: a
// grammar.State.
type constraint interface {
	Mask() (grammar.Mask, error)
	Accept(id int32) error
}
