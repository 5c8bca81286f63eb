package trace

import (
	"cmp"
	"errors"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of an opening that is read.
const (
	MaxOpening = 256 << 20 // bytes
	maxSalt    = 64
	maxDim     = 1 << 18 // numbers of x
	maxKV      = 1 << 19 // numbers of kv
)

// ErrOpening says that an opening does not show what it says.
var ErrOpening = errors.New("the opening of the trace is wrong")

func openingErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrOpening}, args...)...)
}

// Opening shows some states of a trace: the roots of all layers, which give
// the root, and parts of layers with their proofs.
type Opening struct {
	Layers    int          `cbor:"1,keyasint"`
	Positions int          `cbor:"2,keyasint"`
	Salt      []byte       `cbor:"3,keyasint"` // of the commitment
	Roots     []canon.Hash `cbor:"4,keyasint"` // of the layers
	Parts     []Part       `cbor:"5,keyasint"` // by layer and position, apart
}

// Part shows consecutive positions of a layer.
type Part struct {
	_      struct{} `cbor:",toarray"`
	Layer  int
	From   int
	States []Shown
	Proof  []canon.Hash // canon.Range
}

// Shown is one state: each vector whole, or only its root.
type Shown struct {
	_     struct{} `cbor:",toarray"`
	Whole Whole
	X, KV []byte
}

// Whole says which vectors of a state are shown whole.
type Whole uint8

// The vectors; their sum is both.
const (
	WholeX Whole = 1 << iota
	WholeKV
)

// Shape is the length of the vectors of a model, in numbers.
type Shape struct{ X, KV int }

// roots returns the roots of the vectors, after checking their lengths.
func (s *Shown) roots(shape Shape) (x, kv canon.Hash, err error) {
	if s.Whole > WholeX|WholeKV {
		return x, kv, openingErrorf("a state shows vectors %d, want 0 to 3", s.Whole)
	}
	one := func(name string, v []byte, whole bool, size int) (h canon.Hash, err error) {
		switch {
		case whole && len(v) == size:
			return VectorRoot(v), nil
		case !whole && copy(h[:], v) == canon.Size && len(v) == canon.Size:
			return h, nil
		}
		return h, openingErrorf("%s has %d bytes, want %d, or %d of its root", name, len(v), size, canon.Size)
	}
	if x, err = one("x", s.X, s.Whole&WholeX != 0, 4*shape.X); err != nil {
		return x, kv, err
	}
	kv, err = one("kv", s.KV, s.Whole&WholeKV != 0, 2*shape.KV)
	return x, kv, err
}

// NewOpening returns an opening of a trace that shows no states yet.
func NewOpening(t *Tree, salt []byte) *Opening {
	return &Opening{Layers: t.layers, Positions: t.positions, Salt: salt, Roots: t.roots, Parts: []Part{}}
}

// Add shows states of a layer from a position on. Parts must be added in their
// order.
func (o *Opening) Add(t *Tree, layer, from int, states []Shown) {
	proof := t.Range(layer, from, from+len(states))
	if proof == nil { // all of a layer: an empty array, which nil is not
		proof = []canon.Hash{}
	}
	o.Parts = append(o.Parts, Part{Layer: layer, From: from, States: states, Proof: proof})
}

// Encode returns the opening in canonical CBOR.
func (o *Opening) Encode() ([]byte, error) { return canon.Marshal(o) }

// Decode reads an opening, whose vectors are parts of data. What it shows is not
// to be believed before [Opening.Verify].
func Decode(data []byte) (*Opening, error) {
	if len(data) > MaxOpening {
		return nil, openingErrorf("%d bytes, want at most %d", len(data), MaxOpening)
	}
	// A part has at least nine items in 75 bytes. The vectors are most of the
	// data: they are not copied.
	r := canon.NewReader(data, len(data)/8+1<<10)
	o := &Opening{}
	r.Map(5)
	r.Key(1)
	o.Layers = r.Uint()
	r.Key(2)
	o.Positions = r.Uint()
	r.Key(3)
	o.Salt = r.Bytes()
	r.Key(4)
	o.Roots = readHashes(r)
	r.Key(5)
	o.Parts = make([]Part, r.Array())
	for i := range o.Parts {
		p := &o.Parts[i]
		r.Tuple(4)
		p.Layer, p.From = r.Uint(), r.Uint()
		p.States = make([]Shown, r.Array())
		for j := range p.States {
			s := &p.States[j]
			r.Tuple(3)
			whole := r.Uint()
			if whole > int(WholeX|WholeKV) { // before it becomes a byte
				return nil, openingErrorf("a state shows vectors %d, want 0 to 3", whole)
			}
			s.Whole, s.X, s.KV = Whole(whole), r.Bytes(), r.Bytes()
		}
		p.Proof = readHashes(r)
	}
	if err := r.End(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOpening, err)
	}
	return o, o.validate()
}

// readHashes reads an array of hashes.
func readHashes(r *canon.Reader) []canon.Hash {
	list := make([]canon.Hash, r.Array())
	for i := range list {
		list[i] = r.Hash()
	}
	return list
}

// validate checks the numbers, so that nothing computed from them overflows.
func (o *Opening) validate() error {
	switch {
	case o.Layers < 1 || o.Layers > MaxLayers || o.Positions < 1 || o.Positions > MaxPositions:
		return openingErrorf("%d layers and %d positions, want 1 to %d and 1 to %d", o.Layers, o.Positions, MaxLayers, MaxPositions)
	case len(o.Roots) != o.Layers:
		return openingErrorf("%d roots of %d layers", len(o.Roots), o.Layers)
	case len(o.Salt) > maxSalt:
		return openingErrorf("a salt of %d bytes, want at most %d", len(o.Salt), maxSalt)
	}
	layer, next := 0, 0 // where the next part may begin
	for i := range o.Parts {
		p := &o.Parts[i]
		if p.Layer != layer {
			next = 0
		}
		if p.Layer < layer || p.Layer >= o.Layers || p.From < next || len(p.States) == 0 || len(p.States) > o.Positions-p.From {
			return openingErrorf("part %d is positions %d to %d of layer %d, after position %d of layer %d; the run has %d positions and %d layers",
				i, p.From, p.From+len(p.States)-1, p.Layer, next-1, layer, o.Positions, o.Layers)
		}
		layer, next = p.Layer, p.From+len(p.States)
	}
	return nil
}

// Verify checks that everything shown is part of the trace with the given
// commitment.
func (o *Opening) Verify(commitment canon.Hash, shape Shape) error {
	if shape.X < 1 || shape.X > maxDim || shape.KV < 1 || shape.KV > maxKV {
		return openingErrorf("vectors of %d and %d numbers, want 1 to %d and 1 to %d", shape.X, shape.KV, maxDim, maxKV)
	}
	if err := o.validate(); err != nil {
		return err
	}
	if got := Commitment(o.Salt, RootOf(o.Roots), o.Layers, o.Positions); got != commitment {
		return openingErrorf("the roots of its layers give the commitment %v, but the receipt has %v", got, commitment)
	}
	var leaves []canon.Hash
	for i := range o.Parts {
		p := &o.Parts[i]
		leaves = leaves[:0]
		for j := range p.States {
			x, kv, err := p.States[j].roots(shape)
			if err != nil {
				return fmt.Errorf("layer %d, position %d: %w", p.Layer, p.From+j, err)
			}
			leaves = append(leaves, StateOf(x, kv))
		}
		root, err := canon.RangeRoot(o.Positions, p.From, leaves, p.Proof)
		if err != nil {
			return fmt.Errorf("%w: layer %d: %w", ErrOpening, p.Layer, err)
		}
		if root != o.Roots[p.Layer] {
			return openingErrorf("positions %d to %d of layer %d are not those of the layer's root", p.From, p.From+len(leaves)-1, p.Layer)
		}
	}
	return nil
}

// state finds what is shown of a state.
func (o *Opening) state(layer, position int) *Shown {
	i, found := slices.BinarySearchFunc(o.Parts, [2]int{layer, position}, func(p Part, at [2]int) int {
		return cmp.Or(cmp.Compare(p.Layer, at[0]), cmp.Compare(p.From, at[1]))
	})
	if !found {
		i--
	}
	if i < 0 || o.Parts[i].Layer != layer || position-o.Parts[i].From >= len(o.Parts[i].States) {
		return nil
	}
	return &o.Parts[i].States[position-o.Parts[i].From]
}

// X returns x of a layer and position, or nil if it is not shown whole.
func (o *Opening) X(layer, position int) []byte {
	if s := o.state(layer, position); s != nil && s.Whole&WholeX != 0 {
		return s.X
	}
	return nil
}

// KV returns kv of a layer and position, or nil if it is not shown whole.
func (o *Opening) KV(layer, position int) []byte {
	if s := o.state(layer, position); s != nil && s.Whole&WholeKV != 0 {
		return s.KV
	}
	return nil
}
