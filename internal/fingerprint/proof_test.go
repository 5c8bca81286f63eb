package fingerprint_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

// TestFactsAnswerAsTheFile asks random questions and compares every answer
// that a proof gives with the file's. What it must be able to answer follows
// from what was asked.
func TestFactsAnswerAsTheFile(t *testing.T) {
	m := small(t)
	file, tree := m.parse(t), m.tree(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var keys, names []string
	for _, p := range m.pairs {
		keys = append(keys, p.key, p.key+"0", p.key[:len(p.key)-1])
	}
	for _, w := range m.weights {
		names = append(names, w.name, w.name+"0", w.name[:len(w.name)-1])
	}
	prefixes := []string{"", "a", "general.", "llama.", "llama.l", "llamas", "tokenizer.", "zz", "blk.0.", "blk.1.", "blk.1", "blk.", "blk.2.", "token", "output."}
	some := func(from []string) []string {
		var list []string
		for range rng.IntN(3) {
			list = append(list, from[rng.IntN(len(from))])
		}
		return list
	}
	for range 1000 {
		r := fingerprint.Request{Keys: some(keys), KeyPrefixes: some(prefixes), Tensors: some(names), TensorPrefixes: some(prefixes)}
		if rng.IntN(3) == 0 {
			r.Whole = some(prefixes)
		}
		for range rng.IntN(3) {
			from := rng.IntN(300)
			r.Elements = append(r.Elements, fingerprint.Elements{
				Key: []string{"tokenizer.ggml.tokens", "tokenizer.ggml.scores", "none"}[rng.IntN(3)], From: from, To: from + 1 + rng.IntN(300-from),
			})
		}
		for range rng.IntN(3) {
			from := rng.IntN(3)
			r.Tiles = append(r.Tiles, fingerprint.Tiles{Tensor: []string{"blk.0.attn_norm.weight", "blk.10.ffn_down.weight", "none"}[rng.IntN(3)], From: from, To: 3})
		}
		f := facts(t, tree, r)
		if err := checkAnswers(m, file, r, f); err != "" {
			t.Fatalf("%+v: %s", r, err)
		}
		if err := f.Err(); err != nil {
			t.Fatalf("%+v: left open: %v", r, err)
		}
		checkOpen(t, file, f, keys, names)
	}
}

// checkAnswers compares what was asked for.
func checkAnswers(m model, file *gguf.File, r fingerprint.Request, f *fingerprint.Facts) string {
	wholes := func(key string) bool {
		return slices.ContainsFunc(r.Whole, func(p string) bool { return strings.HasPrefix(key, p) })
	}
	for _, p := range m.pairs {
		asked := slices.Contains(r.Keys, p.key) || wholes(p.key) || slices.ContainsFunc(r.KeyPrefixes, func(x string) bool { return strings.HasPrefix(p.key, x) })
		if !asked || len(p.value.Raw()) > 1024 && !wholes(p.key) {
			continue
		}
		if v, ok := f.Value(p.key); !ok || v != p.value {
			return p.key + " has another value"
		}
	}
	for _, key := range r.Keys {
		if _, ok := file.Value(key); !ok {
			if _, ok := f.Value(key); ok {
				return key + " is there"
			}
		}
	}
	for _, e := range r.Elements {
		want, _ := file.Value(e.Key)
		got, ok := f.Elements(e.Key, e.From, e.To)
		if e.Key == "none" {
			if ok {
				return "elements of nothing"
			}
			continue
		}
		for i, v := range want.All() {
			if i >= e.From && i < e.To && (!ok || got[i-e.From] != v) {
				return e.Key + " has other elements"
			}
		}
		if n, elem, ok := f.Len(e.Key); !ok || n != want.Len() || elem != want.Elem() {
			return e.Key + " has another length"
		}
	}
	return checkTensors(m, file, r, f)
}

func checkTensors(m model, file *gguf.File, r fingerprint.Request, f *fingerprint.Facts) string {
	for _, name := range r.Tensors {
		if got, want := f.Tensor(name), file.Tensor(name); (got == nil) != (want == nil) {
			return name + " is there, or is not"
		}
	}
	for _, x := range f.Tensors() {
		if want := file.Tensor(x.Name); want == nil || x.Type != want.Type || x.Size != want.Size || !slices.Equal(x.Shape, want.Shape) {
			return x.Name + " is another tensor"
		}
	}
	for _, p := range r.TensorPrefixes {
		var got, want []string
		for _, x := range f.Tensors() {
			if strings.HasPrefix(x.Name, p) {
				got = append(got, x.Name)
			}
		}
		for _, w := range m.weights {
			if strings.HasPrefix(w.name, p) {
				want = append(want, w.name)
			}
		}
		if !slices.Equal(got, want) || !f.HasTensors(p) {
			return "not all tensors that begin with " + p
		}
	}
	for _, p := range slices.Concat(r.KeyPrefixes, r.Whole) {
		if !f.HasKeys(p) {
			return "not all keys that begin with " + p
		}
	}
	for _, x := range r.Tiles {
		for i := x.From; i < x.To; i++ {
			b, ok := f.Tile(x.Tensor, i)
			if ok == (x.Tensor == "none") {
				return "a tile of nothing, or none"
			}
			if !ok {
				continue
			}
			tiling, _ := fingerprint.TilingOf(file.Tensor(x.Tensor).Type, file.Tensor(x.Tensor).Shape)
			tile := tiling.Tile(i)
			want := make([]byte, tile.Size)
			if _, err := file.Reader(file.Tensor(x.Tensor)).ReadAt(want, tile.Offset); err != nil || !bytes.Equal(b, want) {
				return x.Tensor + " has another tile"
			}
		}
	}
	return ""
}

// checkOpen compares answers to questions that were not asked: right, or said
// to be open.
func checkOpen(t *testing.T, file *gguf.File, f *fingerprint.Facts, keys, names []string) {
	t.Helper()
	for _, key := range keys {
		open := f.Err()
		got, ok := f.Value(key)
		want, wantOK := file.Value(key)
		if (got != want || ok != wantOK) && f.Err() == nil {
			t.Fatalf("%s: %v, %v without an error", key, got, ok)
		}
		if open != nil {
			return
		}
	}
	for _, name := range names {
		if got := f.Tensor(name); (got == nil) != (file.Tensor(name) == nil) && f.Err() == nil {
			t.Fatalf("%s: %v without an error", name, got)
		}
	}
}

func TestWholeTokenizer(t *testing.T) {
	m := small(t)
	f := facts(t, m.tree(t), fingerprint.Request{Whole: []string{"tokenizer."}})
	for _, p := range m.pairs {
		if strings.HasPrefix(p.key, "tokenizer.") {
			if v, ok := f.Value(p.key); !ok || v != p.value {
				t.Errorf("%s: another value", p.key)
			}
		}
	}
	if diff := cmp.Diff([]string{"llamas.not", "tokenizer.chat_template", "tokenizer.ggml.scores", "tokenizer.ggml.tokens"}, f.Keys()); diff != "" {
		t.Error(diff)
	}
}

func TestProveRefuses(t *testing.T) {
	tree := small(t).tree(t)
	for _, r := range []fingerprint.Request{
		{Elements: []fingerprint.Elements{{Key: "tokenizer.ggml.tokens", From: 0, To: 0}}},
		{Elements: []fingerprint.Elements{{Key: "tokenizer.ggml.tokens", From: -1, To: 1}}},
		{Elements: []fingerprint.Elements{{Key: "tokenizer.ggml.tokens", From: 299, To: 301}}},
		{Elements: []fingerprint.Elements{{Key: "general.name", From: 0, To: 1}}},
		{Tiles: []fingerprint.Tiles{{Tensor: "token_embd.weight", From: 0, To: 8}}},
		{Tiles: []fingerprint.Tiles{{Tensor: "token_embd.weight", From: 2, To: 2}}},
		{Tiles: []fingerprint.Tiles{{Tensor: "token_embd.weight", From: -1, To: 1}}},
	} {
		if _, err := tree.Prove(t.Context(), r); err == nil {
			t.Errorf("%+v is proved", r)
		}
	}
}

// TestProofSizes holds proofs to be small: what a referee has to read.
func TestProofSizes(t *testing.T) {
	tree := small(t).tree(t)
	for _, c := range []struct {
		name string
		r    fingerprint.Request
		max  int
	}{
		{"nothing", fingerprint.Request{}, 80},
		{"one key", fingerprint.Request{Keys: []string{"llama.e.uint32"}}, 300},
		{"an absent key", fingerprint.Request{Keys: []string{"llama.e.uint33"}}, 350},
		{"a token", fingerprint.Request{Elements: []fingerprint.Elements{{Key: "tokenizer.ggml.tokens", From: 100, To: 101}}}, 1600},
		{"a tile", fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: "token_embd.weight", From: 1, To: 2}}}, 2048 + 450},
	} {
		p, err := tree.Prove(t.Context(), c.r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > c.max {
			t.Errorf("%s: %d bytes, want at most %d", c.name, len(b), c.max)
		}
	}
}

// The encoding of a proof once more, to change what no method can.
type (
	side struct {
		_     struct{} `cbor:",toarray"`
		Count uint64
		Root  []byte
		Spans []entries
	}
	entries struct {
		_       struct{} `cbor:",toarray"`
		From    uint64
		Entries [][]byte
		Hashes  []byte
	}
	run struct {
		_      struct{} `cbor:",toarray"`
		Place  uint64
		From   uint64
		Data   []byte
		Hashes []byte
	}
	wire struct {
		Meta     side  `cbor:"1,keyasint"`
		Tensors  side  `cbor:"2,keyasint"`
		Contents []run `cbor:"3,keyasint,omitempty"`
		Tiles    []run `cbor:"4,keyasint,omitempty"`
	}
)

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := canon.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// verify decodes and verifies a proof.
func verify(b []byte, root canon.Hash) (*fingerprint.Facts, error) {
	p, err := fingerprint.Decode(b)
	if err != nil {
		return nil, err
	}
	return p.Verify(root)
}

// TestEveryChangeOfAProofIsNoticed changes each byte of a proof that shows
// something of every kind.
func TestEveryChangeOfAProofIsNoticed(t *testing.T) {
	tree := small(t).tree(t)
	p, err := tree.Prove(t.Context(), fingerprint.Request{
		KeyPrefixes: []string{"llama."}, TensorPrefixes: []string{"blk.1."},
		Elements: []fingerprint.Elements{{Key: "tokenizer.ggml.scores", From: 70, To: 71}},
		Tiles:    []fingerprint.Tiles{{Tensor: "token_embd.weight", From: 6, To: 7}},
	})
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verify(b, tree.Root()); err != nil {
		t.Fatal(err)
	}
	for i := range b {
		for _, x := range []byte{1, 0x20, 0x80, 0xff} {
			c := slices.Clone(b)
			c[i] ^= x
			if _, err := verify(c, tree.Root()); !errors.Is(err, fingerprint.ErrProof) && !errors.Is(err, fingerprint.ErrRoot) {
				t.Errorf("byte %d changed by %#x: %v", i, x, err)
			}
		}
		if _, err := verify(b[:i], tree.Root()); !errors.Is(err, fingerprint.ErrProof) {
			t.Errorf("cut after %d bytes: %v", i, err)
		}
	}
	if _, err := verify(append(b, 0), tree.Root()); !errors.Is(err, fingerprint.ErrProof) {
		t.Errorf("a byte more: %v", err)
	}
}
