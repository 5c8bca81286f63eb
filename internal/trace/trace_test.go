package trace_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/trace"
)

// run is a made-up run: its states are random bytes.
type run struct {
	layers, positions int
	shape             trace.Shape
	x, kv             map[[2]int][]byte
	tree              *trace.Tree
}

func newRun(t testing.TB, layers, positions int, shape trace.Shape) *run {
	t.Helper()
	r := &run{layers: layers, positions: positions, shape: shape, x: map[[2]int][]byte{}, kv: map[[2]int][]byte{}}
	random := rand.NewChaCha8([32]byte{1})
	var states []canon.Hash
	for l := range layers {
		for p := range positions {
			x, kv := make([]byte, 4*shape.X), make([]byte, 2*shape.KV)
			random.Read(x)
			random.Read(kv)
			r.x[[2]int{l, p}], r.kv[[2]int{l, p}] = x, kv
			states = append(states, trace.State(x, kv))
		}
	}
	var err error
	if r.tree, err = trace.NewTree(states, layers, positions); err != nil {
		t.Fatal(err)
	}
	return r
}

// shown shows a state.
func (r *run) shown(l, p int, whole trace.Whole) trace.Shown {
	s := trace.Shown{Whole: whole, X: r.x[[2]int{l, p}], KV: r.kv[[2]int{l, p}]}
	if whole&trace.WholeX == 0 {
		h := trace.VectorRoot(s.X)
		s.X = h[:]
	}
	if whole&trace.WholeKV == 0 {
		h := trace.VectorRoot(s.KV)
		s.KV = h[:]
	}
	return s
}

var salt = []byte("0123456789abcdef")

// opening shows kv of positions 1 to 4 of layer 1, x at 3, and x of a lone
// state of layer 2.
func (r *run) opening() *trace.Opening {
	o := trace.NewOpening(r.tree, salt)
	var states []trace.Shown
	for p := 1; p < 5; p++ {
		whole := trace.WholeKV
		if p == 3 {
			whole |= trace.WholeX
		}
		states = append(states, r.shown(1, p, whole))
	}
	o.Add(r.tree, 1, 1, states)
	o.Add(r.tree, 2, 6, []trace.Shown{r.shown(2, 6, trace.WholeX)})
	return o
}

// TestRootIsThatOfTheText computes section 2 of spec/trace.md from its words.
func TestRootIsThatOfTheText(t *testing.T) {
	r := newRun(t, 3, 7, trace.Shape{X: 700, KV: 1030})
	var layers []canon.Hash
	for l := range r.layers {
		var states []canon.Hash
		for p := range r.positions {
			var both []byte
			for _, v := range [][]byte{r.x[[2]int{l, p}], r.kv[[2]int{l, p}]} {
				var tiles []canon.Hash
				for len(v) > 2048 {
					tiles, v = append(tiles, canon.Leaf(v[:2048])), v[2048:]
				}
				root := canon.Root(append(tiles, canon.Leaf(v)))
				both = append(both, root[:]...)
			}
			states = append(states, canon.Leaf(both))
		}
		root := canon.Root(states)
		layers = append(layers, canon.Leaf(root[:]))
	}
	root := canon.Root(layers)
	if got := r.tree.Root(); got != root {
		t.Errorf("root %v, want %v", got, root)
	}
	l, n := binary.LittleEndian.AppendUint64(nil, 3), binary.LittleEndian.AppendUint64(nil, 7)
	if got, want := r.tree.Commitment(salt), canon.Sum("aval trace/1", salt, root[:], l, n); got != want {
		t.Errorf("commitment %v, want %v", got, want)
	}
}

func TestOpening(t *testing.T) {
	r := newRun(t, 3, 7, trace.Shape{X: 8, KV: 16}) // whole vectors as long as a root
	data, err := r.opening().Encode()
	if err != nil {
		t.Fatal(err)
	}
	o, err := trace.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Verify(r.tree.Commitment(salt), r.shape); err != nil {
		t.Fatal(err)
	}
	for l := range r.layers {
		for p := range r.positions {
			var x, kv []byte
			if l == 1 && p >= 1 && p < 5 {
				kv = r.kv[[2]int{l, p}]
			}
			if l == 1 && p == 3 || l == 2 && p == 6 {
				x = r.x[[2]int{l, p}]
			}
			if !bytes.Equal(o.X(l, p), x) || !bytes.Equal(o.KV(l, p), kv) {
				t.Errorf("layer %d, position %d: another state", l, p)
			}
		}
	}
}

// TestWholeLayer: the proof of all of a layer is an array without hashes, not
// null, which no opening has.
func TestWholeLayer(t *testing.T) {
	r := newRun(t, 1, 3, trace.Shape{X: 9, KV: 20})
	o := trace.NewOpening(r.tree, salt)
	none, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	var states []trace.Shown
	for p := range r.positions {
		states = append(states, trace.Shown{Whole: trace.WholeX | trace.WholeKV, X: r.x[[2]int{0, p}], KV: r.kv[[2]int{0, p}]})
	}
	o.Add(r.tree, 0, 0, states)
	all, err := o.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"nothing": none, "all": all} {
		if data[len(data)-1] != 0x80 {
			t.Errorf("%s: it ends with %#x, want an empty array", name, data[len(data)-1])
		}
		if o, err := trace.Decode(data); err != nil || o.Verify(r.tree.Commitment(salt), r.shape) != nil {
			t.Errorf("%s: %v", name, err)
		}
		data[len(data)-1] = 0xf6
		if _, err := trace.Decode(data); !errors.Is(err, trace.ErrOpening) {
			t.Errorf("%s, with null: %v", name, err)
		}
	}
}

func TestOpeningRefuses(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(o *trace.Opening)
	}{
		{"another x", func(o *trace.Opening) { o.Parts[0].States[2].X[0] ^= 1 }},
		{"another kv", func(o *trace.Opening) { o.Parts[0].States[0].KV[9] ^= 1 }},
		{"another root of x", func(o *trace.Opening) { o.Parts[0].States[0].X[9] ^= 1 }},
		{"a root said to be whole", func(o *trace.Opening) { o.Parts[1].States[0].Whole = 3 }},
		{"a whole said to be a root", func(o *trace.Opening) { o.Parts[1].States[0].Whole = 0 }},
		{"unknown vectors", func(o *trace.Opening) { o.Parts[1].States[0].Whole = 5 }},
		{"a short x", func(o *trace.Opening) { o.Parts[1].States[0].X = o.Parts[1].States[0].X[1:] }},
		{"another place", func(o *trace.Opening) { o.Parts[1].From-- }},
		{"another layer", func(o *trace.Opening) { o.Parts[0].Layer-- }},
		{"beyond the last position", func(o *trace.Opening) { o.Parts[1].From++ }},
		{"a negative position", func(o *trace.Opening) { o.Parts[0].From = -1 }},
		{"beyond the last layer", func(o *trace.Opening) { o.Parts[1].Layer++ }},
		{"out of order", func(o *trace.Opening) { o.Parts[0], o.Parts[1] = o.Parts[1], o.Parts[0] }},
		{"overlapping", func(o *trace.Opening) { o.Parts = append(o.Parts, o.Parts[1]) }},
		{"an empty part", func(o *trace.Opening) { o.Parts[1].States = nil }},
		{"another proof", func(o *trace.Opening) { o.Parts[0].Proof[0][0] ^= 1 }},
		{"a short proof", func(o *trace.Opening) { o.Parts[0].Proof = o.Parts[0].Proof[1:] }},
		{"another root", func(o *trace.Opening) { o.Roots[0][0] ^= 1 }},
		{"a missing root", func(o *trace.Opening) { o.Roots = o.Roots[1:] }},
		{"another salt", func(o *trace.Opening) { o.Salt = []byte("x") }},
		{"a long salt", func(o *trace.Opening) { o.Salt = make([]byte, 65) }},
		{"more positions", func(o *trace.Opening) { o.Positions++ }},
		{"no positions", func(o *trace.Opening) { o.Positions = 0 }},
		{"too many layers", func(o *trace.Opening) { o.Layers = 1 << 20 }},
	} {
		r := newRun(t, 3, 7, trace.Shape{X: 9, KV: 20})
		commitment := r.tree.Commitment(salt)
		o := r.opening()
		c.change(o)
		err := o.Verify(commitment, r.shape)
		if err == nil || !errors.Is(err, trace.ErrOpening) {
			t.Errorf("%s: %v, want ErrOpening", c.name, err)
		}
	}
}

func TestFirstDifference(t *testing.T) {
	a, b := newRun(t, 3, 7, trace.Shape{X: 9, KV: 20}), newRun(t, 3, 7, trace.Shape{X: 9, KV: 20})
	if _, _, differ := a.tree.FirstDifference(b.tree); differ {
		t.Error("equal runs differ")
	}
	states := append([]canon.Hash(nil), b.tree.Layer(0)...)
	states = append(append(states, b.tree.Layer(1)...), b.tree.Layer(2)...)
	states[7+4][0] ^= 1
	states[14][0] ^= 1
	c, err := trace.NewTree(states, 3, 7)
	if err != nil {
		t.Fatal(err)
	}
	if l, p, differ := a.tree.FirstDifference(c); l != 1 || p != 4 || !differ {
		t.Errorf("layer %d, position %d, %v; want 1, 4", l, p, differ)
	}
}

func TestNotFinite(t *testing.T) {
	for n := 1; n <= 5; n++ {
		dst := make([]byte, 4*n)
		for i := range n {
			for _, v := range []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)), math.Float32frombits(0xff800001)} {
				x := slices.Repeat([]float32{-math.MaxFloat32}, n)
				if x[i] = v; trace.PutX(dst, x) || trace.GetX(make([]float32, n), dst) {
					t.Errorf("%v is finite", v)
				}
			}
		}
	}
	dst := make([]byte, 12)
	x, back := []float32{1, math.MaxFloat32, -0x1p-149}, make([]float32, 3)
	if !trace.PutX(dst, x) || !trace.GetX(back, dst) {
		t.Error("not finite")
	}
	if diff := cmp.Diff(x, back); diff != "" {
		t.Error(diff)
	}
	var e *trace.NotFiniteError
	states := []canon.Hash{{1}, {1}, {1}, {}}
	if _, err := trace.NewTree(states, 2, 2); !errors.As(err, &e) || e.Layer != 1 || e.Position != 1 {
		t.Errorf("%v, want a NotFiniteError", err)
	}
}

func TestStateDoesNotAllocate(t *testing.T) {
	x, kv, f := make([]byte, 8192), make([]byte, 4096), make([]float32, 2048)
	if n := testing.AllocsPerRun(100, func() {
		trace.PutX(x, f)
		trace.State(x, kv)
	}); n != 0 {
		t.Errorf("a state allocates %v times", n)
	}
}

func FuzzDecode(f *testing.F) {
	r := newRun(f, 3, 7, trace.Shape{X: 9, KV: 20})
	commitment := r.tree.Commitment(salt)
	data, err := r.opening().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(data[:100])
	f.Fuzz(func(t *testing.T, b []byte) {
		o, err := trace.Decode(b)
		if err != nil {
			return
		}
		if o.Verify(commitment, r.shape) == nil {
			// Whatever passes shows the run's own states.
			for _, p := range o.Parts {
				for i := range p.States {
					at := [2]int{p.Layer, p.From + i}
					if x := o.X(at[0], at[1]); x != nil && !bytes.Equal(x, r.x[at]) {
						t.Errorf("layer %d, position %d: another x", at[0], at[1])
					}
				}
			}
		}
		again, err := o.Encode()
		if err != nil || !bytes.Equal(again, b) {
			t.Errorf("encodes to other bytes: %v", err)
		}
	})
}

func BenchmarkState(b *testing.B) {
	x, kv, f := make([]byte, 3584), make([]byte, 512), make([]float32, 896)
	b.SetBytes(int64(len(x) + len(kv)))
	for b.Loop() {
		trace.PutX(x, f)
		trace.State(x, kv)
	}
}

// TestManyItems: an opening that would take much more memory than it has bytes
// is refused before it is decoded.
func TestManyItems(t *testing.T) {
	const n = 1 << 16
	for name, data := range map[string][]byte{
		"hashes": slices.Concat([]byte("\xa5\x01\x01\x02\x01\x03\x40\x04\x9a\x00\x01\x00\x00"), bytes.Repeat([]byte{0x40}, n), []byte("\x05\x80")),
		"states": slices.Concat([]byte("\xa5\x01\x01\x02\x01\x03\x40\x04\x80\x05\x81\x84\x00\x00\x9a\x00\x01\x00\x00"), bytes.Repeat([]byte("\x83\x00\x40\x40"), n), []byte{0x80}),
	} {
		if _, err := trace.Decode(data); !errors.Is(err, trace.ErrOpening) || !strings.Contains(err.Error(), "data items") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
