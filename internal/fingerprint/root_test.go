package fingerprint_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

func (m model) clone() model {
	c := model{slices.Clone(m.pairs), slices.Clone(m.weights)}
	for i := range c.weights {
		c.weights[i].data = slices.Clone(c.weights[i].data)
		c.weights[i].shape = slices.Clone(c.weights[i].shape)
	}
	return c
}

// TestEveryChangeChangesRoot changes one thing of a model at a time.
func TestEveryChangeChangesRoot(t *testing.T) {
	base := small(t)
	seen := map[canon.Hash]string{base.tree(t).Root(): "the model itself"}
	try := func(what string, change func(m *model)) {
		t.Helper()
		m := base.clone()
		change(&m)
		root := m.tree(t).Root()
		if other, ok := seen[root]; ok {
			t.Errorf("%s: the root is that of %s", what, other)
		}
		seen[root] = what
	}
	for i, w := range base.weights {
		for _, at := range []int{0, 1, len(w.data) / 2, len(w.data) - 1} {
			try(fmt.Sprintf("a bit of byte %d of %s", at, w.name), func(m *model) { m.weights[i].data[at] ^= 1 })
		}
		try("the name of "+w.name, func(m *model) { m.weights[i].name += "x" })
		try("without "+w.name, func(m *model) { m.weights = slices.Delete(m.weights, i, i+1) })
		try("another dimension of "+w.name, func(m *model) { m.weights[i].shape = append(w.shape, 1) })
		for j, x := range base.weights {
			if j > i && len(x.data) > 0 {
				try(fmt.Sprintf("names of %s and %s exchanged", w.name, x.name), func(m *model) {
					m.weights[i].name, m.weights[j].name = x.name, w.name
				})
			}
		}
	}
	for i, p := range base.pairs {
		try("the key "+p.key, func(m *model) { m.pairs[i].key += "x" })
		try("without the key "+p.key, func(m *model) { m.pairs = slices.Delete(m.pairs, i, i+1) })
		for j, v := range otherValues(p.value) {
			try(fmt.Sprintf("value %d of %s", j, p.key), func(m *model) { m.pairs[i].value = v })
		}
	}
	try("a tensor more", func(m *model) { m.weights = append(m.weights, randomWeight(9, "output.weight", gguf.F32, 1)) })
	try("a key more", func(m *model) { m.pairs = append(m.pairs, pair{"zzz", gguf.ValueOf(uint8(0))}) })
	try("another type of the same size", func(m *model) { m.weights[4].typ = gguf.BF16 })
	try("Q4_0 read as IQ4_NL", func(m *model) { m.weights[4] = randomWeight(5, "token_embd.weight", gguf.Q4_0, 64, 100) })
	try("IQ4_NL read as Q4_0", func(m *model) { m.weights[4] = randomWeight(5, "token_embd.weight", gguf.IQ4_NL, 64, 100) })
	try("another shape of the same size", func(m *model) { m.weights[4].shape = []int{100, 64} })
	try("a shape in three dimensions", func(m *model) { m.weights[4].shape = []int{64, 50, 2} })
}

// otherValues are values that a careless encoding could take for v.
func otherValues(v gguf.Value) []gguf.Value {
	switch v.Kind() {
	case gguf.KindArray:
		return otherArrays(v)
	case gguf.KindString:
		s, _ := v.Text()
		return []gguf.Value{gguf.ValueOf(s + "\x00"), gguf.ArrayOf([]byte(s)), gguf.ArrayOf([]string{s}), gguf.ValueOf(strings.ToUpper(s) + "!")}
	}
	// The same bytes as every other kind of this width, and another bit.
	raw := []byte(v.Raw())
	flipped := slices.Clone(raw)
	flipped[len(raw)-1] ^= 1
	var list []gguf.Value
	for kind := gguf.KindUint8; kind <= gguf.KindFloat64; kind++ {
		for _, b := range [][]byte{raw, flipped} {
			if x, err := gguf.ValueFromRaw(kind, 0, 0, string(b)); err == nil && x != v && kind != gguf.KindString {
				list = append(list, x)
			}
		}
	}
	return append(list, gguf.ArrayOf(raw))
}

func otherArrays(v gguf.Value) []gguf.Value {
	var elems []gguf.Value
	for _, e := range v.All() {
		elems = append(elems, e)
	}
	array := func(list ...gguf.Value) gguf.Value {
		a, err := gguf.ArrayOfValues(v.Elem(), list...)
		if err != nil {
			panic(err)
		}
		return a
	}
	wrapped, err := gguf.ArrayOfValues(gguf.KindArray, v)
	if err != nil {
		panic(err)
	}
	list := []gguf.Value{wrapped}
	if n := len(elems); n == 0 {
		return append(list, gguf.ArrayOf([]int32{}), gguf.ArrayOf([]string{}))
	} else if n > 1 {
		swapped := slices.Clone(elems)
		swapped[0], swapped[n-1] = swapped[n-1], swapped[0]
		list = append(list, array(swapped...), array(elems[1:]...))
	}
	return append(list, array(elems[:len(elems)-1]...), array(append(slices.Clone(elems), elems[0])...))
}

// TestFloatBits: values that compare alike, or that arithmetic would change,
// are told apart by their bits.
func TestFloatBits(t *testing.T) {
	seen := map[canon.Hash]uint32{}
	for _, bits := range []uint32{0, 1 << 31, 0x7f800000, 0x7f800001, 0x7fc00000, 0x7fc00001, 0xffc00000, 0xff800001} {
		v, err := gguf.ValueFromRaw(gguf.KindFloat32, 0, 0, string([]byte{byte(bits), byte(bits >> 8), byte(bits >> 16), byte(bits >> 24)}))
		if err != nil {
			t.Fatal(err)
		}
		m := model{pairs: []pair{{"x", v}}}
		root := m.tree(t).Root()
		if other, ok := seen[root]; ok {
			t.Errorf("%#x and %#x have the same root", bits, other)
		}
		seen[root] = bits
		if got, ok := facts(t, m.tree(t), fingerprint.Request{Keys: []string{"x"}}).Value("x"); !ok || got != v {
			t.Errorf("%#x: the proof shows %v", bits, got)
		}
	}
	if got, want := (model{pairs: []pair{{"x", gguf.ValueOf(math.Inf(1))}}}).tree(t).Root(), (model{pairs: []pair{{"x", gguf.ValueOf(math.Inf(-1))}}}).tree(t).Root(); got == want {
		t.Error("infinities have the same root")
	}
}

// TestLayoutDoesNotCount: the order of entries, alignment, padding, the
// version of the format and the number of threads do not change the root.
func TestLayoutDoesNotCount(t *testing.T) {
	m := small(t)
	want := m.tree(t).Root()
	check := func(what string, m model) {
		t.Helper()
		if got := m.tree(t).Root(); got != want {
			t.Errorf("%s: root %s, want %s", what, got, want)
		}
	}
	back := m.clone()
	slices.Reverse(back.pairs)
	slices.Reverse(back.weights)
	check("the other way round", back)
	for _, align := range []uint32{8, 64, 4096} {
		aligned := m.clone()
		aligned.pairs = append(aligned.pairs, pair{"general.alignment", gguf.ValueOf(align)})
		check(fmt.Sprintf("aligned to %d", align), aligned)
	}
	part := m.clone()
	part.pairs = append(part.pairs, pair{"split.no", gguf.ValueOf(uint16(0))}, pair{"split.note", gguf.ValueOf("x")})
	check("with keys of a split file", part)

	old := m.bytes(t)
	old[4] = 2
	f, err := gguf.Parse(bytes.NewReader(old), int64(len(old)))
	if err != nil {
		t.Fatal(err)
	}
	for _, threads := range []int{0, 1, 2, 3, 7, 100} {
		tree, err := fingerprint.Of(t.Context(), f, threads)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Root() != want {
			t.Errorf("version 2, %d threads: root %s, want %s", threads, tree.Root(), want)
		}
	}
}

// writeSplit writes a model as parts of one tensor or none each, the tensors
// in the order given.
func writeSplit(t *testing.T, m model, order []int) string {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "m")
	n := len(order) + 1
	for no := range n {
		part := model{pairs: []pair{
			{"split.no", gguf.ValueOf(uint16(no))},
			{"split.count", gguf.ValueOf(uint16(n))},
			{"split.tensors.count", gguf.ValueOf(int32(len(order)))},
		}}
		if no == 0 {
			part.pairs = append(part.pairs, m.pairs...)
		} else {
			part.weights = []weight{m.weights[order[no-1]]}
		}
		if err := os.WriteFile(gguf.SplitName(prefix, no, n), part.bytes(t), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return gguf.SplitName(prefix, 0, n)
}

func TestSplitFile(t *testing.T) {
	m := small(t)
	want := m.tree(t).Root()
	for _, order := range [][]int{{0, 1, 2, 3, 4}, {4, 2, 0, 1, 3}} {
		f, err := gguf.Open(writeSplit(t, m, order))
		if err != nil {
			t.Fatal(err)
		}
		tree, err := fingerprint.Of(t.Context(), f, 2)
		if err != nil {
			t.Fatal(err)
		}
		if tree.Root() != want {
			t.Errorf("order %v: root %s, want %s", order, tree.Root(), want)
		}
		x := facts(t, tree, fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: "blk.1.attn_q.weight", From: 0, To: 1}}})
		if tile, ok := x.Tile("blk.1.attn_q.weight", 0); !ok || !bytes.HasPrefix(m.weights[2].data, tile) {
			t.Error("a tile of a part is not what was written")
		}
		f.Close()
	}
}

func TestOfRefuses(t *testing.T) {
	m := small(t)
	if _, err := fingerprint.Of(t.Context(), m.parse(t), -1); err == nil {
		t.Error("-1 threads are accepted")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := fingerprint.Of(ctx, m.parse(t), 2); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	b := m.bytes(t)
	at := bytes.Index(b, []byte("token_embd.weight")) + len("token_embd.weight") + 4 + 2*8
	b[at] = 25 // I16: as many bytes as F16
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fingerprint.Of(t.Context(), f, 2); !errors.Is(err, gguf.ErrUnsupportedType) || !strings.Contains(err.Error(), "token_embd.weight") {
		t.Errorf("unsupported type: %v", err)
	}
	f.Close()
	f, err = gguf.Parse(&shrinking{bytes.NewReader(m.bytes(t)), 10000}, int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fingerprint.Of(t.Context(), f, 2); err == nil || !strings.Contains(err.Error(), "tensor") {
		t.Errorf("a file that became shorter: %v", err)
	}
	closed := m.parse(t)
	closed.Close()
	if _, err := fingerprint.Of(t.Context(), closed, 2); err == nil {
		t.Error("a closed file has a fingerprint")
	}
}

// shrinking is a file that ends early once its header was read.
type shrinking struct {
	*bytes.Reader
	end int64
}

func (s *shrinking) ReadAt(p []byte, at int64) (int, error) {
	n, err := s.Reader.ReadAt(p, at)
	if at > s.end {
		return n / 2, err
	}
	return n, err
}
