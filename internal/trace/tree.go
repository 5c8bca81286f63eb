package trace

import (
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of a run that a tree is made of. They are those of a model.
const (
	MaxLayers    = 1 << 10
	MaxPositions = 1 << 20
)

// Tree holds the hashes of all states of a run.
type Tree struct {
	layers, positions int
	states            []canon.Hash // [layers][positions]
	roots             []canon.Hash // of the layers
}

// NotFiniteError says that a model computed a state that has no hash, as some
// number of it is NaN or infinite.
type NotFiniteError struct{ Layer, Position int }

func (e *NotFiniteError) Error() string {
	return fmt.Sprintf("the model computed a number that is not finite (layer %d, position %d): a run with one has no trace; the file may be damaged", e.Layer, e.Position)
}

// NewTree takes the hashes of the states, [layers][positions], over. A zero
// hash stands for a state that is not finite.
func NewTree(states []canon.Hash, layers, positions int) (*Tree, error) {
	if layers < 1 || layers > MaxLayers || positions < 1 || positions > MaxPositions || len(states) != layers*positions {
		return nil, fmt.Errorf("a trace of %d layers, %d positions and %d states: want 1 to %d, 1 to %d, and their product",
			layers, positions, len(states), MaxLayers, MaxPositions)
	}
	t := &Tree{layers: layers, positions: positions, states: states}
	for l := range layers {
		for p, h := range t.Layer(l) {
			if h.IsZero() {
				return nil, &NotFiniteError{l, p}
			}
		}
		t.roots = append(t.roots, canon.Root(t.Layer(l)))
	}
	return t, nil
}

// Layers returns the number of layers.
func (t *Tree) Layers() int { return t.layers }

// Positions returns the number of positions.
func (t *Tree) Positions() int { return t.positions }

// Layer returns the hashes of the states of a layer. They must not be changed.
func (t *Tree) Layer(l int) []canon.Hash {
	return t.states[l*t.positions : (l+1)*t.positions]
}

// LayerRoots returns the roots of the layers. They must not be changed.
func (t *Tree) LayerRoots() []canon.Hash { return t.roots }

// Root is the root of the whole tree.
func (t *Tree) Root() canon.Hash { return RootOf(t.roots) }

// RootOf is the root of a trace whose layers have the given roots.
func RootOf(layers []canon.Hash) canon.Hash {
	var b canon.Builder
	for _, r := range layers {
		b.Add(canon.Leaf(r[:]))
	}
	return b.Root()
}

// Commitment is [Commitment] of the tree.
func (t *Tree) Commitment(salt []byte) canon.Hash {
	return Commitment(salt, t.Root(), t.layers, t.positions)
}

// Range proves the states of positions from to to-1 of a layer ([canon.Range]).
func (t *Tree) Range(layer, from, to int) []canon.Hash {
	return canon.Range(t.Layer(layer), from, to)
}

// Equal reports whether two runs had the same states.
func (t *Tree) Equal(o *Tree) bool {
	if t == nil || o == nil {
		return t == o
	}
	return t.layers == o.layers && t.positions == o.positions && slices.Equal(t.roots, o.roots)
}

// FirstDifference returns the first state, layer by layer, in which two runs
// of the same shape differ.
func (t *Tree) FirstDifference(o *Tree) (layer, position int, differ bool) {
	for l := range min(t.layers, o.layers) {
		if t.positions == o.positions && t.roots[l] == o.roots[l] {
			continue
		}
		a, b := t.Layer(l), o.Layer(l)
		for p := range min(len(a), len(b)) {
			if a[p] != b[p] {
				return l, p, true
			}
		}
	}
	return 0, 0, false
}
