package training

import (
	"errors"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// ExampleLeaf is the leaf of an example: its own salt and its canonical bytes.
func ExampleLeaf(salt receipt.Salt, canonical []byte) Hash { return leaf(salt, canonical) }

// ExampleLeaves are the leaves of a list of n examples under the salt of the
// list. bytes gives the canonical bytes of one.
func ExampleLeaves(salt receipt.Salt, n int, bytes func(i int) ([]byte, error)) ([]Hash, error) {
	if n < 1 || n > MaxExamples {
		return nil, errorf(CheckData, "%d examples, want 1 to %d", n, MaxExamples)
	}
	leaves := make([]Hash, n)
	for i := range leaves {
		b, err := bytes(i)
		if err != nil {
			return nil, err
		}
		if len(b) > MaxExample {
			return nil, errorf(CheckData, "example %d has %d bytes, want at most %d", i, len(b), MaxExample)
		}
		leaves[i] = ExampleLeaf(LeafSalt(salt, i), b)
	}
	return leaves, nil
}

// Commit is the commitment to a list of examples.
func Commit(leaves []Hash) Commitment {
	return Commitment{Count: len(leaves), Root: canon.Root(leaves)}
}

// Example is one example as it is handed to an auditor: with the proof that it
// is the one at its place.
type Example struct {
	_     struct{} `cbor:",toarray"`
	Index int
	Salt  receipt.Salt
	Bytes []byte
	Proof []byte // hashes of 32 bytes
}

// Given are examples that are handed over one by one, so that an auditor can
// compute some steps again without the rest of the data.
type Given struct {
	Receipt  Hash      `cbor:"1,keyasint"` // of the run
	Examples []Example `cbor:"2,keyasint"` // in ascending order
}

// Give proves some examples of a list; the indices ascend.
func Give(r Hash, salt receipt.Salt, leaves []Hash, indices []int, bytes func(i int) ([]byte, error)) (*Given, error) {
	g := &Given{Receipt: r}
	for _, i := range indices {
		b, err := bytes(i)
		if err != nil {
			return nil, err
		}
		g.Examples = append(g.Examples, Example{
			Index: i, Salt: LeafSalt(salt, i), Bytes: b, Proof: packHashes(canon.Range(leaves, i, i+1)),
		})
	}
	return g, nil
}

// Marshal writes the examples.
func (g *Given) Marshal() ([]byte, error) { return canon.Marshal(g) }

// ParseGiven reads what Marshal writes. What is read may be wrong: see Check.
func ParseGiven(data []byte) (*Given, error) {
	if len(data) > MaxFile {
		return nil, errorf(CheckData, "%d bytes, want at most %d", len(data), MaxFile)
	}
	g := new(Given)
	if err := canon.UnmarshalMax(data, g, 8*MaxGiven); err != nil {
		return nil, &receipt.Error{Check: CheckData, Detail: "not a file of examples", Err: err}
	}
	if n := len(g.Examples); n < 1 || n > MaxGiven {
		return nil, errorf(CheckData, "%d examples, want 1 to %d", n, MaxGiven)
	}
	for i := range g.Examples {
		e := &g.Examples[i]
		if e.Index < 0 || e.Index >= MaxExamples || i > 0 && e.Index <= g.Examples[i-1].Index || len(e.Bytes) > MaxExample {
			return nil, errorf(CheckData, "example %d is out of order or of range", e.Index)
		}
	}
	return g, nil
}

// Check compares the examples with a receipt's claims.
func (g *Given) Check(id Hash, c *Claims) receipt.Check {
	if g.Receipt != id {
		return failed(CheckData, "the examples were given for another receipt")
	}
	for i := range g.Examples {
		if err := g.Examples[i].check(c.Data); err != nil {
			return failed(CheckData, "example %d: %v", g.Examples[i].Index, err)
		}
	}
	return passed(CheckData, "%d of %d examples are those that the receipt commits to", len(g.Examples), c.Data.Count)
}

func (e *Example) check(want Commitment) error {
	proof, err := unpackHashes(e.Proof)
	if err != nil {
		return err
	}
	got, err := canon.RangeRoot(want.Count, e.Index, []Hash{ExampleLeaf(e.Salt, e.Bytes)}, proof)
	switch {
	case err != nil:
		return err
	case !sameHash(got, want.Root):
		return errors.New("with its salt and proof it does not hash to the receipt's root: not the one that was trained on")
	}
	return nil
}

// Find gives the example at an index.
func (g *Given) Find(index int) ([]byte, bool) {
	lo, hi := 0, len(g.Examples)
	for lo < hi {
		if mid := (lo + hi) / 2; g.Examples[mid].Index < index {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(g.Examples) && g.Examples[lo].Index == index {
		return g.Examples[lo].Bytes, true
	}
	return nil, false
}
