package lm

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/train"
)

// rowBlock is what the rows of a sequence are filled up to a multiple of: the
// block of a sum over rows (spec/numerics.md, section 4.2). A sequence then
// begins a block of its own, and sums over the rows of several sequences have
// the same order whatever micro-batches they are cut into.
const rowBlock = 32

// batch is a micro-batch: the positions of all examples one after the other, a
// row each. Rows that only fill up have token and target -1 and a gradient of
// zero.
type batch struct {
	rows      int
	sequences []sequence
	positions []int32 // [rows] within the sequence
	tokens    []int32 // [rows] of the position, -1 for none
	targets   []int32 // [rows] the token to be predicted, -1 for none that counts
}

// sequence is where the rows of an example are.
type sequence struct{ first, rows int }

// newBatch checks examples and lays them out.
func (m *Model) newBatch(examples []train.Example) (*batch, error) {
	b := &batch{}
	for i := range examples {
		e := &examples[i]
		n := len(e.Tokens) - 1
		switch {
		case n < 1:
			return nil, fmt.Errorf("example %d of the micro-batch has %d tokens, want at least 2: one to read and one to predict", i, len(e.Tokens))
		case n > m.limit:
			return nil, fmt.Errorf("example %d of the micro-batch has %d tokens, want at most %d: one more than the context", i, len(e.Tokens), m.limit+1)
		case e.Mask != nil && len(e.Mask) != n:
			return nil, fmt.Errorf("example %d of the micro-batch has a mask of %d for %d targets", i, len(e.Mask), n)
		}
		for _, t := range e.Tokens {
			if t < 0 || int(t) >= m.vocab {
				return nil, fmt.Errorf("example %d of the micro-batch has token %d, which is not in the vocabulary of %d", i, t, m.vocab)
			}
		}
		rows := (n + rowBlock - 1) / rowBlock * rowBlock
		b.sequences = append(b.sequences, sequence{b.rows, rows})
		b.rows += rows
		for j := range rows {
			token, target := int32(-1), int32(-1)
			if j < n {
				token = e.Tokens[j]
				if e.Mask == nil || e.Mask[j] {
					target = e.Tokens[j+1]
				}
			}
			b.positions = append(b.positions, int32(j))
			b.tokens, b.targets = append(b.tokens, token), append(b.targets, target)
		}
	}
	return b, nil
}

// hasTarget tells whether a row of the block that begins with row first has a
// target.
func (b *batch) hasTarget(first int) bool {
	for _, t := range b.targets[first : first+rowBlock] {
		if t >= 0 {
			return true
		}
	}
	return false
}
