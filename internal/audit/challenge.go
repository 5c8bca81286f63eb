package audit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of a challenge that is read.
const (
	MaxChallenge = 256 // bytes
	MaxCells     = 1 << 20
)

// challengeName is the version of the protocol (spec/trace.md, section 6).
const challengeName = "aval-audit/1"

// ErrChallenge says that a challenge is not one.
var ErrChallenge = errors.New("the challenge is wrong")

// Challenge asks the prover for the inputs and outputs of cells that the
// auditor chose by a random number. The number must be one that nobody could
// know when the receipt was made.
type Challenge struct {
	Receipt canon.Hash // the receipt's identity
	Random  [32]byte
	// Layers and Outputs are how many layer cells and output cells are chosen,
	// all if there are no more. They are drawn apart: a text that a cheaper
	// model wrote has right layer cells and wrong output cells.
	Layers, Outputs int
}

type wireChallenge struct {
	Name    string     `cbor:"1,keyasint"`
	Receipt canon.Hash `cbor:"2,keyasint"`
	Random  [32]byte   `cbor:"3,keyasint"`
	Layers  int        `cbor:"4,keyasint"`
	Outputs int        `cbor:"5,keyasint"`
}

// NewChallenge asks for the cells of [DefaultSample].
func NewChallenge(receipt canon.Hash, random [32]byte, layers, positions, drawn int) *Challenge {
	n := DefaultSample(Kinds{layers * positions, drawn})
	return &Challenge{Receipt: receipt, Random: random, Layers: n.Layers, Outputs: n.Outputs}
}

// Encode returns the challenge in canonical CBOR.
func (c *Challenge) Encode() ([]byte, error) {
	return canon.Marshal(&wireChallenge{challengeName, c.Receipt, c.Random, c.Layers, c.Outputs})
}

// DecodeChallenge reads a challenge.
func DecodeChallenge(data []byte) (*Challenge, error) {
	if len(data) > MaxChallenge {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrChallenge, len(data), MaxChallenge)
	}
	var w wireChallenge
	if err := canon.Unmarshal(data, &w); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrChallenge, err)
	}
	if w.Name != challengeName {
		return nil, fmt.Errorf("%w: it is of the protocol %.40q, want %q", ErrChallenge, w.Name, challengeName)
	}
	c := &Challenge{w.Receipt, w.Random, w.Layers, w.Outputs}
	return c, c.validate()
}

func (c *Challenge) validate() error {
	if c.Layers < 0 || c.Layers > MaxCells || c.Outputs < 0 || c.Outputs > MaxCells || c.Layers+c.Outputs == 0 {
		return fmt.Errorf("%w: it asks for %d layer cells and %d output cells, want 0 to %d of each and some", ErrChallenge, c.Layers, c.Outputs, MaxCells)
	}
	return nil
}

// LayerCell is the computation of a layer at a position.
type LayerCell struct{ Layer, Position int }

// Cells are the cells of a run that the challenge chooses: the same for
// everyone, in ascending order.
func (c *Challenge) Cells(layers, positions, drawn int) (cells []LayerCell, outputs []int) {
	for _, n := range c.choose(0, layers*positions, c.Layers) {
		cells = append(cells, LayerCell{n / positions, n % positions})
	}
	return cells, c.choose(1, drawn, c.Outputs)
}

// choose draws n of the numbers below all for one kind of cells.
func (c *Challenge) choose(kind uint64, all, n int) []int {
	return Draw(all, n, func(j uint64) uint64 { return c.number(kind, j) })
}

// Draw draws n of the numbers below all without replacement (Floyd's algorithm;
// Bentley 1987), in ascending order. number gives a random number for each j
// below all, from what everybody knows who must draw the same.
func Draw(all, n int, number func(j uint64) uint64) []int {
	n = min(n, all)
	chosen := make(map[int]bool, n)
	list := make([]int, 0, n)
	for j := all - n; j < all; j++ {
		hi, _ := bits.Mul64(number(uint64(j)), uint64(j)+1) // 0 to j
		t := int(hi)
		if chosen[t] {
			t = j
		}
		chosen[t] = true
		list = append(list, t)
	}
	slices.Sort(list)
	return list
}

// number is the random number j of a kind of cells.
func (c *Challenge) number(kind, j uint64) uint64 {
	var k, n [8]byte
	binary.LittleEndian.PutUint64(k[:], kind)
	binary.LittleEndian.PutUint64(n[:], j)
	h := canon.Sum("aval audit/1", c.Receipt[:], c.Random[:], k[:], n[:])
	return binary.LittleEndian.Uint64(h[:])
}

// need is what of a layer's states the chosen cells need to be shown.
type need struct {
	cells    []int        // positions of the layer's chosen cells, ascending
	from, to int          // the first and, but one, the last position whose kv the cells take or give
	window   int          // how far back they see, 0 for all
	x        map[int]bool // positions whose x is a cell's input or output
}

// needs lists what the chosen cells need, layer by layer. window gives how far
// back a layer sees, 0 for all.
func needs(cells []LayerCell, outputs []int, layers, first int, window func(layer int) int) []need {
	list := make([]need, layers)
	for i := range list {
		list[i].x = map[int]bool{}
	}
	for _, c := range cells {
		n, from := &list[c.Layer], 0
		if n.window = window(c.Layer); n.window > 0 {
			from = max(0, c.Position+1-n.window)
		}
		if len(n.cells) == 0 { // the first is the earliest
			n.from = from
		}
		n.to = c.Position + 1
		n.cells = append(n.cells, c.Position)
		n.x[c.Position] = true
		if c.Layer > 0 {
			list[c.Layer-1].x[c.Position] = true
		}
	}
	for _, i := range outputs {
		list[layers-1].x[first+i] = true
	}
	return list
}

// kv reports whether one of the cells takes or gives the keys and values of a
// position. With a window, there may be positions between that none sees.
func (n *need) kv(p int) bool {
	i, _ := slices.BinarySearch(n.cells, p) // the next one sees furthest back
	return i < len(n.cells) && (n.window == 0 || p > n.cells[i]-n.window)
}

// positions are those that must be shown, ascending.
func (n *need) positions() []int {
	var list []int
	for p := n.from; p < n.to; p++ {
		if n.kv(p) {
			list = append(list, p)
		}
	}
	for p := range n.x {
		if !n.kv(p) {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return list
}
