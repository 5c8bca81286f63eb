package dataset

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/train"
)

// Set is examples in memory, in the order of the files.
type Set struct {
	Examples train.List
	// Tokens is the number of tokens of all examples, and Targets how many of
	// them are learned. Both are 0 for numbers.
	Tokens, Targets int
	// Cut is the number of examples that were longer than the context and lost
	// their end, Dropped of those that had nothing to learn within it.
	Cut, Dropped int
	// Shape is that of an example's input, outermost dimension first; nil for
	// tokens.
	Shape []int
	// Classes are the labels in the order of Example.Label; nil without labels.
	Classes []string
	// Columns are the names of the inputs, where the file has them.
	Columns []string
	// Label is the name of the column with the label, quoted, or its number, from 1,
	// where the columns have no names; "" if the data has no columns.
	Label string
}

// Len is the number of examples.
func (s *Set) Len() int { return len(s.Examples) }

// Example gives example i.
func (s *Set) Example(i int) (train.Example, error) { return s.Examples[i], nil }

// add appends an example of tokens, if it has something to learn.
func (s *Set) add(e train.Example) error {
	n := e.Targets()
	if n == 0 {
		s.Dropped++
		return nil
	}
	s.Tokens += len(e.Tokens)
	s.Targets += n
	s.Examples = append(s.Examples, e)
	if len(s.Examples) > MaxExamples || s.Tokens > MaxNumbers {
		return fmt.Errorf("more than %d examples or %d tokens in all; train on a part", MaxExamples, MaxNumbers)
	}
	return nil
}

// Split divides the set by a hash of each example: about a fraction of them, 0
// to 1, are for validation. Equal examples are on one side, and no example
// changes sides when others are added. seed chooses the division.
func (s *Set) Split(fraction float64, seed uint64) (training, validation *Set) {
	side := func() *Set { return &Set{Shape: s.Shape, Classes: s.Classes, Columns: s.Columns} }
	training, validation = side(), side()
	for _, e := range s.Examples {
		to := training
		if validates(&e, fraction, seed) {
			to = validation
		}
		to.Examples = append(to.Examples, e)
		if e.Tokens != nil {
			to.Tokens += len(e.Tokens)
			to.Targets += e.Targets()
		}
	}
	return training, validation
}

// validates reports on which side an example is: the first eight bytes of its
// hash, as a fraction of 2^64.
func validates(e *train.Example, fraction float64, seed uint64) bool {
	var s [8]byte
	binary.BigEndian.PutUint64(s[:], seed)
	h := canon.Sum("aval-data-split/1", s[:], Canonical(e))
	return float64(binary.BigEndian.Uint64(h[:])>>11)/(1<<53) < fraction
}

// canonical is the form in which examples are hashed (spec/training.md).
type canonical struct {
	Tokens []byte `cbor:"1,keyasint,omitempty"` // int32, little endian
	Mask   []byte `cbor:"2,keyasint,omitempty"` // 0 or 1 for each target
	Input  []byte `cbor:"3,keyasint,omitempty"` // float32, little endian
	Label  int32  `cbor:"4,keyasint,omitempty"`
	Target []byte `cbor:"5,keyasint,omitempty"` // float32, little endian
}

// Canonical gives the bytes that stand for an example wherever it is hashed.
// They hold all that a learner sees of it; Draw, which belongs to a use of the
// example, is no part of them.
func Canonical(e *train.Example) []byte {
	c := canonical{Label: e.Label, Input: floatBytes(e.Input), Target: floatBytes(e.Target)}
	for _, t := range e.Tokens {
		c.Tokens = binary.LittleEndian.AppendUint32(c.Tokens, uint32(t))
	}
	for _, m := range e.Mask {
		b := byte(0)
		if m {
			b = 1
		}
		c.Mask = append(c.Mask, b)
	}
	out, err := canon.Marshal(c)
	if err != nil {
		panic("dataset: internal error: " + err.Error()) // bytes and a number can be encoded
	}
	return out
}

// ParseCanonical is the inverse of Canonical.
func ParseCanonical(data []byte) (train.Example, error) {
	var (
		c canonical
		e train.Example
	)
	if err := canon.Unmarshal(data, &c); err != nil {
		return e, fmt.Errorf("training example: %w", err)
	}
	if len(c.Tokens)%4 != 0 || len(c.Input)%4 != 0 || len(c.Target)%4 != 0 || len(c.Mask) > 0 && len(c.Mask) != len(c.Tokens)/4-1 {
		return e, fmt.Errorf("training example: %w: lengths that do not go together", canon.ErrCBOR)
	}
	for i := 0; i < len(c.Tokens); i += 4 {
		e.Tokens = append(e.Tokens, int32(binary.LittleEndian.Uint32(c.Tokens[i:])))
	}
	for _, m := range c.Mask {
		if m > 1 {
			return e, fmt.Errorf("training example: %w: a mask of %d", canon.ErrCBOR, m)
		}
		e.Mask = append(e.Mask, m == 1)
	}
	e.Input, e.Label, e.Target = bytesFloat(c.Input), c.Label, bytesFloat(c.Target)
	return e, nil
}

func floatBytes(x []float32) []byte {
	if len(x) == 0 {
		return nil
	}
	out := make([]byte, 0, 4*len(x))
	for _, v := range x {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

func bytesFloat(b []byte) []float32 {
	if len(b) == 0 {
		return nil
	}
	out := make([]float32, len(b)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return out
}

// Bytes are the Canonical bytes of example i.
func (s *Set) Bytes(i int) ([]byte, error) { return Canonical(&s.Examples[i]), nil }

// Join adds the examples of another set of the same kind after those of s.
func (s *Set) Join(o *Set) *Set {
	s.Examples = append(s.Examples, o.Examples...)
	s.Tokens += o.Tokens
	s.Targets += o.Targets
	s.Cut += o.Cut
	s.Dropped += o.Dropped
	return s
}
