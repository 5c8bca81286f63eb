package referee_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/anchor/referee"
	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/kernel"
)

// matrix is a Q8_0 tensor of a file of its own with a vector that it is
// multiplied with, of scales as models have them, or wild ones; the leaves of the product by the words of spec/trace.md,
// written here again with nothing but the processor's float32.
type matrix struct {
	t      *testing.T
	rng    *rand.Rand
	rows   int
	cols   int
	data   []byte
	tiling fingerprint.Tiling
	print  *fingerprint.Tree
	codes  [][]byte // leaves
	values [][]byte // leaves of the product
	leaves int
	groups int
}

// TestWide: products as wide as those of large models, so that rows are cut and
// sums go on, with scales and sums of all kinds. The contract must agree with
// each leaf, with no lie about it, and with no evidence that does not fit.
func TestWide(t *testing.T) {
	c := newCourt(t)
	rng := rand.New(rand.NewPCG(5, 5))
	for _, cols := range []int{32, 576, 2048, 3072, 4096, 6144, 6176, 14336} {
		for _, wild := range []bool{false, true} {
			m := madeUp(t, rng, cols, wild)
			for leaf := range m.leaves {
				if leaf%m.groups > 0 && leaf < m.leaves-1 && rng.IntN(4) > 0 {
					continue
				}
				x := m.leaf(leaf)
				if got, err := c.judge(x); err != nil || !got.Right {
					t.Fatalf("%d columns, leaf %d: %+v, %v", cols, leaf, got, err)
				}
				row := rng.IntN(len(x.Evidence.Value) / 4)
				m.lie(x, row)
				if got, err := c.judge(x); err != nil || got.Right || got.Row != row {
					t.Fatalf("%d columns, leaf %d, a lie in row %d: %+v, %v", cols, leaf, row, got, err)
				}
				if !wild && (leaf == 0 || leaf == m.leaves-1) {
					m.truth(x)
					m.refused(c, x)
				}
			}
		}
	}
}

const tensor = "blk.0.ffn_down.weight"

func madeUp(t *testing.T, rng *rand.Rand, cols int, wild bool) *matrix {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m := &matrix{t: t, rng: rng, rows: 19, cols: cols}
	for range m.rows * cols / 32 {
		d := uint16(rng.Uint32())
		if d>>10&31 == 31 || !wild {
			d = 0x2000 | d&0x83ff
		}
		m.data = binary.LittleEndian.AppendUint16(m.data, d)
		for range 32 {
			m.data = append(m.data, byte(rng.Uint32()))
		}
	}
	path := filepath.Join(t.TempDir(), "model.gguf")
	w, err := gguf.Create(path)
	must(err)
	defer w.Abort()
	must(w.Set("general.architecture", gguf.ValueOf("none")))
	must(w.Declare(tensor, gguf.Q8_0, cols, m.rows))
	must(w.Declare("a", gguf.F32, 1))
	must(w.Declare("z", gguf.F32, 1))
	must(w.WriteTensor(tensor, m.data))
	must(w.WriteTensor("a", make([]byte, 4)))
	must(w.WriteTensor("z", make([]byte, 4)))
	must(w.Close())
	f, err := gguf.Open(path)
	must(err)
	t.Cleanup(func() { f.Close() })
	m.print, err = fingerprint.Of(t.Context(), f, 0)
	must(err)
	m.tiling, err = fingerprint.TilingOf(gguf.Q8_0, []int{cols, m.rows})
	must(err)
	for from := 0; from < cols; from += 512 {
		n := min(512, cols-from)
		var leaf []byte
		for range n {
			leaf = append(leaf, byte(rng.IntN(255)-127))
		}
		for range n / 32 {
			scale := math.Float32bits(float32(rng.Float64()))
			if wild && rng.IntN(2) == 0 {
				scale = uint32(rng.IntN(180))<<23 | rng.Uint32()&0x7fffff
			}
			if wild && rng.IntN(400) == 0 {
				scale = rng.Uint32() // infinite and NaN, too
			}
			leaf = binary.LittleEndian.AppendUint32(leaf, scale)
		}
		m.codes = append(m.codes, leaf)
	}
	m.multiply()
	return m
}

// multiply computes the leaves.
func (m *matrix) multiply() {
	r := m.tiling.TileRows
	m.groups = (m.rows + r - 1) / r
	sums := make([]float32, m.rows)
	for from := 0; from < m.cols; from += 3072 {
		to := min(from+3072, m.cols)
		for row := range m.rows {
			for c := from; c < to; c += 32 {
				w := m.data[(row*m.cols+c)/32*34:]
				leaf := m.codes[c/512]
				n := len(leaf) / 36
				d := int32(0)
				for i := range 32 {
					d += int32(int8(w[2+i])) * int32(int8(leaf[c%512+i]))
				}
				s := kernel.FromF16(binary.LittleEndian.Uint16(w))
				a := math.Float32frombits(binary.LittleEndian.Uint32(leaf[32*n+c%512/32*4:]))
				sums[row] += float32(float32(float32(d)*s) * a)
			}
		}
		for g := range m.groups {
			var leaf []byte
			for row := g * r; row < min(g*r+r, m.rows); row++ {
				b := math.Float32bits(sums[row])
				if sums[row] != sums[row] {
					b = 0x7fc00000
				}
				leaf = binary.LittleEndian.AppendUint32(leaf, b)
			}
			m.values = append(m.values, leaf)
		}
	}
	m.leaves = len(m.values)
}

func hashesOf(list [][]byte) []canon.Hash {
	out := make([]canon.Hash, len(list))
	for i, b := range list {
		out[i] = canon.Leaf(b)
	}
	return out
}

// upwards is the inclusion proof of RFC 9162, 2.1.3.1.
func upwards(leaves []canon.Hash, i int) [][32]byte {
	if len(leaves) == 1 {
		return nil
	}
	half := 1
	for 2*half < len(leaves) {
		half *= 2
	}
	if i < half {
		return append(upwards(leaves[:half], i), canon.Root(leaves[half:]))
	}
	return append(upwards(leaves[half:], i-half), canon.Root(leaves[:half]))
}

// leaf makes the case of a leaf, from the words of the specification.
func (m *matrix) leaf(leaf int) *referee.Case {
	m.t.Helper()
	x := &referee.Case{}
	x.Claim.Model, x.Claim.Tensor = m.print.Root(), tensor
	x.Claim.Rows, x.Claim.Cols = uint64(m.rows), uint64(m.cols)
	x.Claim.Operations, x.Claim.Codes, x.Claim.Product, x.Claim.Leaf = 5, 2, 3, uint64(leaf)
	from := leaf / m.groups * 3072
	to := min(from+3072, m.cols)
	e := &x.Evidence
	tile := m.tiling.Tile(m.tiling.At(leaf%m.groups*m.tiling.TileRows, from))
	e.Tile = m.data[tile.Offset : tile.Offset+int64(tile.Size)]
	for i := from / 512; i < (to+511)/512; i++ {
		e.Codes = append(e.Codes, m.codes[i]...)
	}
	for _, h := range canon.Range(hashesOf(m.codes), from/512, (to+511)/512) {
		e.CodesRange = append(e.CodesRange, h)
	}
	if from > 0 {
		e.State = m.values[leaf-m.groups]
	}
	e.Value = slices.Clone(m.values[leaf])
	m.weights(x, m.tiling.At(leaf%m.groups*m.tiling.TileRows, from))
	m.commit(x, e.Value)
	return x
}

// weights adds what leads from the tile to the model.
func (m *matrix) weights(x *referee.Case, tile int) {
	var tiles []canon.Hash
	for i := range m.tiling.Tiles() {
		t := m.tiling.Tile(i)
		tiles = append(tiles, canon.Leaf(m.data[t.Offset:t.Offset+int64(t.Size)]))
	}
	entry := func(name string, typ uint64, shape []uint64, root canon.Hash) canon.Hash {
		b, err := canon.Marshal([]any{name, typ, shape, root[:]})
		if err != nil {
			m.t.Fatal(err)
		}
		return canon.Leaf(b)
	}
	one := canon.Root([]canon.Hash{canon.Leaf(make([]byte, 4))})
	data := canon.Root(tiles)
	tensors := []canon.Hash{
		entry("a", 0, []uint64{1}, one),
		entry(tensor, 8, []uint64{uint64(m.cols), uint64(m.rows)}, data),
		entry("z", 0, []uint64{1}, one),
	}
	arch, err := canon.Marshal([]any{"general.architecture", uint64(8), uint64(0), uint64(0), uint64(4), []byte("none")})
	if err != nil {
		m.t.Fatal(err)
	}
	e := &x.Evidence
	e.Metadata, e.Keys = canon.Root([]canon.Hash{canon.Leaf(arch)}), 1
	e.Tensors, e.Place, e.TensorPath = 3, 1, upwards(tensors, 1)
	e.Data, e.TilePath = data, upwards(tiles, tile)
}

// commit makes a cell in which the leaf has a value.
func (m *matrix) commit(x *referee.Case, value []byte) {
	e := &x.Evidence
	values := slices.Clone(m.values)
	values[x.Claim.Leaf] = value
	product := canon.Root(hashesOf(values))
	codes := canon.Root(hashesOf(m.codes))
	ops := []canon.Hash{{1}, {2}, canon.Leaf(codes[:]), canon.Leaf(product[:]), {3}}
	x.Claim.Cell = canon.Root(ops)
	e.Value, e.ValuePath = value, upwards(hashesOf(values), int(x.Claim.Leaf))
	if e.State != nil {
		e.StatePath = upwards(hashesOf(values), int(x.Claim.Leaf)-m.groups)
	}
	e.CodesPath, e.ProductPath = upwards(ops, 2), upwards(ops, 3)
}

func (m *matrix) lie(x *referee.Case, row int) {
	value := slices.Clone(m.values[x.Claim.Leaf])
	value[4*row] ^= 1
	m.commit(x, value)
}

func (m *matrix) truth(x *referee.Case) { m.commit(x, m.values[x.Claim.Leaf]) }

// refused changes each part of a case by itself: none of it may pass.
func (m *matrix) refused(c *court, x *referee.Case) {
	m.t.Helper()
	flip := func(b []byte) { b[m.rng.IntN(len(b))] ^= 1 << m.rng.IntN(8) }
	type change struct {
		name string
		make func(x *referee.Case)
	}
	list := []change{
		{"model", func(x *referee.Case) { x.Claim.Model[3] ^= 1 }},
		{"cell", func(x *referee.Case) { x.Claim.Cell[3] ^= 1 }},
		{"codes before", func(x *referee.Case) { x.Claim.Codes-- }},
		{"product after", func(x *referee.Case) { x.Claim.Product++ }},
		{"product before the codes", func(x *referee.Case) { x.Claim.Product = x.Claim.Codes }},
		{"leaf", func(x *referee.Case) { x.Claim.Leaf++ }},
		{"tensor", func(x *referee.Case) { x.Claim.Tensor += "x" }},
		{"rows", func(x *referee.Case) { x.Claim.Rows++ }},
		{"no rows", func(x *referee.Case) { x.Claim.Rows = 0 }},
		{"cols", func(x *referee.Case) { x.Claim.Cols += 32 }},
		{"cols of no block", func(x *referee.Case) { x.Claim.Cols++ }},
		{"metadata", func(x *referee.Case) { x.Evidence.Metadata[0] ^= 1 }},
		{"keys", func(x *referee.Case) { x.Evidence.Keys++ }},
		{"tensors", func(x *referee.Case) { x.Evidence.Tensors++ }},
		{"place", func(x *referee.Case) { x.Evidence.Place++ }},
		{"data", func(x *referee.Case) { x.Evidence.Data[0] ^= 1 }},
		{"tile", func(x *referee.Case) { x.Evidence.Tile = slices.Clone(x.Evidence.Tile); flip(x.Evidence.Tile) }},
		{"tile cut", func(x *referee.Case) { x.Evidence.Tile = x.Evidence.Tile[:len(x.Evidence.Tile)-34] }},
		{"codes", func(x *referee.Case) { x.Evidence.Codes = slices.Clone(x.Evidence.Codes); flip(x.Evidence.Codes) }},
		{"codes cut", func(x *referee.Case) { x.Evidence.Codes = x.Evidence.Codes[36:] }},
		{"value", func(x *referee.Case) { x.Evidence.Value = slices.Clone(x.Evidence.Value); flip(x.Evidence.Value) }},
		{"value cut", func(x *referee.Case) { x.Evidence.Value = x.Evidence.Value[4:] }},
		{"a state too many or none", func(x *referee.Case) {
			if x.Evidence.State != nil {
				x.Evidence.State = nil
			} else {
				x.Evidence.State = x.Evidence.Value
			}
		}},
	}
	for i, path := range []func(x *referee.Case) *[][32]byte{
		func(x *referee.Case) *[][32]byte { return &x.Evidence.TensorPath },
		func(x *referee.Case) *[][32]byte { return &x.Evidence.TilePath },
		func(x *referee.Case) *[][32]byte { return &x.Evidence.CodesRange },
		func(x *referee.Case) *[][32]byte { return &x.Evidence.CodesPath },
		func(x *referee.Case) *[][32]byte { return &x.Evidence.ValuePath },
		func(x *referee.Case) *[][32]byte { return &x.Evidence.ProductPath },
		func(x *referee.Case) *[][32]byte { return &x.Evidence.StatePath },
	} {
		list = append(list, change{fmt.Sprint("path longer ", i), func(x *referee.Case) { p := path(x); *p = append(slices.Clone(*p), [32]byte{}) }})
		if len(*path(x)) > 0 {
			list = append(list, change{fmt.Sprint("path ", i), func(x *referee.Case) { p := path(x); *p = slices.Clone(*p); (*p)[0][0] ^= 1 }})
		}
	}
	if x.Evidence.State != nil {
		list = append(list, change{"state", func(x *referee.Case) { x.Evidence.State = slices.Clone(x.Evidence.State); flip(x.Evidence.State) }})
	}
	for _, l := range list {
		y := *x
		l.make(&y)
		if got, err := c.judge(&y); err == nil {
			m.t.Errorf("%d columns, leaf %d: with another %s: %+v", m.cols, x.Claim.Leaf, l.name, got)
		}
	}
}
