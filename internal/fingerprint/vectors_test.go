package fingerprint_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

var rewrite = flag.Bool("rewrite", false, "write the vectors instead of comparing with them")

var vectorsPath = filepath.Join("..", "..", "spec", "vectors", "fingerprint.json")

// vectors is the file spec/vectors/fingerprint.json.
type vectors struct {
	Spec   string        `json:"spec"`
	Files  []fileVector  `json:"files"`
	Proofs []proofVector `json:"proofs"`
}

// fileVector is a model with its root.
type fileVector struct {
	Name  string   `json:"name"`
	Parts []string `json:"parts"` // in hexadecimal; more than one of a split file
	Root  string   `json:"root"`
}

// proofVector is a proof with what it shows for a root, or with the number of
// the check of section 5 that refuses it.
type proofVector struct {
	Name  string `json:"name"`
	Root  string `json:"root"`
	Proof string `json:"proof"`
	Check int    `json:"check,omitempty"`
	Shows *shown `json:"shows,omitempty"`
}

// shown is what a proof shows: all of it in the first four lists, and answers
// to some questions in the others.
type shown struct {
	Keys     []string  `json:"keys"`
	Tensors  []string  `json:"tensors"`
	Contents []content `json:"contents"`
	Tiles    []tile    `json:"tiles"`

	NoKeys     []string `json:"no_keys,omitempty"` // shown not to be there
	NoTensors  []string `json:"no_tensors,omitempty"`
	AllKeys    []string `json:"all_keys,omitempty"` // prefixes
	AllTensors []string `json:"all_tensors,omitempty"`
	OpenKeys   []string `json:"open_keys,omitempty"` // neither there nor not there
	OpenAll    []string `json:"open_all_keys,omitempty"`
}

// content are elements of a long array, or a whole long string.
type content struct {
	Key    string `json:"key"`
	From   int    `json:"from"`
	Count  int    `json:"count"`  // of elements; 0 for a string
	Digest string `json:"sha256"` // of the content
}

type tile struct {
	Tensor string `json:"tensor"`
	Number int    `json:"number"`
	Digest string `json:"sha256"`
}

func digest[T string | []byte](b T) string {
	h := sha256.Sum256([]byte(b))
	return hex.EncodeToString(h[:])
}

// vectorModels are the files of the vectors.
func vectorModels(t *testing.T) (names []string, models []model) {
	add := func(name string, m model) { names, models = append(names, name), append(models, m) }
	add("nothing", model{})
	kinds := small(t)
	kinds.pairs = slices.DeleteFunc(kinds.pairs, func(p pair) bool { return len(p.value.Raw()) > 1024 })
	nan, err := gguf.ValueFromRaw(gguf.KindFloat32, 0, 0, "\x01\x00\x80\x7f")
	if err != nil {
		t.Fatal(err)
	}
	kinds.pairs = append(kinds.pairs, pair{"x.signalling_nan", nan}, pair{"x.bytes_that_are_not_utf8", gguf.ValueOf("\xff\xfe")})
	kinds.weights = []weight{randomWeight(1, "one", gguf.F32, 1)}
	add("every kind of value", kinds)
	long := small(t)
	long.pairs = slices.DeleteFunc(long.pairs, func(p pair) bool { return strings.HasPrefix(p.key, "llama") })
	for i := range long.pairs {
		if p := &long.pairs[i]; p.key == "tokenizer.chat_template" {
			p.value = gguf.ValueOf(strings.Repeat("{{ x }}", 600))
		}
	}
	var lists []gguf.Value
	for i := range 70 {
		lists = append(lists, gguf.ArrayOf(make([]int16, i%7)))
	}
	nested, err := gguf.ArrayOfValues(gguf.KindArray, lists...)
	if err != nil {
		t.Fatal(err)
	}
	long.pairs = append(long.pairs, pair{"x.nested", nested}, pair{"x.short", gguf.ValueOf(strings.Repeat("s", 1024))}, pair{"x.text", gguf.ValueOf(strings.Repeat("l", 1025))})
	long.weights = nil
	add("long values", long)
	add("tiles", model{
		[]pair{{"general.architecture", gguf.ValueOf("llama")}, {"llama.block_count", gguf.ValueOf(uint32(1))}},
		[]weight{
			randomWeight(1, "blk.0.attn_norm.weight", gguf.F32, 1025),
			randomWeight(2, "blk.0.attn_q.weight", gguf.Q8_0, 32, 37),
			randomWeight(3, "blk.0.ffn_down.weight", gguf.Q4_K, 6144+256, 1, 1, 1),
			randomWeight(4, "token_embd.weight", gguf.Q6_K, 256, 3, 7),
		},
	})
	return names, models
}

// makeVectors computes all of the file.
func makeVectors(t *testing.T) vectors {
	v := vectors{Spec: "spec/fingerprint.md"}
	names, models := vectorModels(t)
	trees := map[string]*fingerprint.Tree{}
	for i, m := range models {
		trees[names[i]] = m.tree(t)
		v.Files = append(v.Files, fileVector{names[i], []string{hex.EncodeToString(m.bytes(t))}, twinRoot(m)})
	}
	split := writeSplit(t, models[3], []int{2, 0, 3, 1})
	f := fileVector{Name: "tiles, in five parts and another order", Root: twinRoot(models[3])}
	for i := range 5 {
		b, err := os.ReadFile(gguf.SplitName(strings.TrimSuffix(split, gguf.SplitName("", 0, 5)), i, 5))
		if err != nil {
			t.Fatal(err)
		}
		f.Parts = append(f.Parts, hex.EncodeToString(b))
	}
	v.Files = append(v.Files, f)
	v.Proofs = goodProofs(t, trees)
	for _, h := range hostileProofs(t, trees) {
		if len(h.proof) > 10<<10 {
			continue // to keep the file small
		}
		v.Proofs = append(v.Proofs, proofVector{Name: h.name, Root: h.root.String(), Proof: hex.EncodeToString(h.proof), Check: h.check})
	}
	return v
}

func goodProofs(t *testing.T, trees map[string]*fingerprint.Tree) []proofVector {
	var list []proofVector
	for _, c := range []struct {
		name, file string
		r          fingerprint.Request
		answers    shown
	}{
		{"that there is nothing", "nothing", fingerprint.Request{}, shown{NoKeys: []string{"a"}, NoTensors: []string{"a"}, AllKeys: []string{""}, AllTensors: []string{""}}},
		{"nothing of something", "tiles", fingerprint.Request{}, shown{OpenKeys: []string{"general.architecture", "a"}, OpenAll: []string{""}}},
		{
			"a description", "every kind of value",
			fingerprint.Request{Keys: []string{"general.architecture"}, KeyPrefixes: []string{"llama."}},
			shown{NoKeys: []string{"llama.z", "general.aa", "llamas"}, AllKeys: []string{"llama.", "llama.a", "general.", "a"}, OpenKeys: []string{"x.signalling_nan", "zz"}, OpenAll: []string{"", "llamas", "x."}},
		},
		{"an absent key", "every kind of value", fingerprint.Request{Keys: []string{"llama.block_count"}}, shown{NoKeys: []string{"llama.block_count"}, OpenKeys: []string{"llama.a"}}},
		{"before the first, after the last", "every kind of value", fingerprint.Request{Keys: []string{"a", "zz"}}, shown{NoKeys: []string{"a", "zz"}, OpenKeys: []string{"llama.a"}}},
		{"all that is not there", "every kind of value", fingerprint.Request{KeyPrefixes: []string{"tokenizer."}}, shown{AllKeys: []string{"tokenizer.", "tokenizer"}, NoKeys: []string{"tokenizer.x"}}},
		{"everything", "every kind of value", fingerprint.Request{KeyPrefixes: []string{""}, TensorPrefixes: []string{""}}, shown{AllKeys: []string{""}, AllTensors: []string{""}, NoKeys: []string{"m"}}},
		{"a layer's tensors", "tiles", fingerprint.Request{TensorPrefixes: []string{"blk.0."}, Tensors: []string{"output.weight"}}, shown{NoTensors: []string{"output.weight", "blk.0.x"}, AllTensors: []string{"blk.0.", "blk."}}},
		{"the root of a long value", "long values", fingerprint.Request{Keys: []string{"tokenizer.ggml.tokens"}}, shown{}},
		{"one token", "long values", fingerprint.Request{Elements: []fingerprint.Elements{{Key: "tokenizer.ggml.tokens", From: 70, To: 71}}}, shown{}},
		{"the last tokens and the first scores", "long values", fingerprint.Request{Elements: []fingerprint.Elements{{Key: "tokenizer.ggml.tokens", From: 299, To: 300}, {Key: "tokenizer.ggml.scores", From: 0, To: 65}}}, shown{}},
		{"long values whole", "long values", fingerprint.Request{Whole: []string{"tokenizer.chat", "x."}}, shown{AllKeys: []string{"x."}}},
		{"the first tile", "tiles", fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: "blk.0.attn_q.weight", From: 0, To: 1}}}, shown{}},
		{
			"tiles of several tensors", "tiles",
			fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: "blk.0.attn_norm.weight", From: 1, To: 2}, {Tensor: "blk.0.ffn_down.weight", From: 0, To: 2}, {Tensor: "token_embd.weight", From: 1, To: 2}, {Tensor: "blk.0.attn_q.weight", From: 0, To: 1}, {Tensor: "blk.0.attn_q.weight", From: 2, To: 3}}},
			shown{},
		},
	} {
		p, err := trees[c.file].Prove(t.Context(), c.r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		f, err := p.Verify(trees[c.file].Root())
		if err != nil {
			t.Fatal(err)
		}
		s := c.answers
		s.fill(b, f)
		list = append(list, proofVector{Name: c.name, Root: trees[c.file].Root().String(), Proof: hex.EncodeToString(b), Shows: &s})
	}
	return list
}

// fill writes down everything that the proof b shows.
func (s *shown) fill(b []byte, f *fingerprint.Facts) {
	var w wire
	if err := canon.Unmarshal(b, &w); err != nil {
		panic(err)
	}
	s.Keys, s.Tensors, s.Contents, s.Tiles = append([]string{}, f.Keys()...), []string{}, []content{}, []tile{}
	for _, x := range f.Tensors() {
		s.Tensors = append(s.Tensors, x.Name)
	}
	at := func(side side, place uint64) []byte {
		for _, x := range side.Spans {
			if place >= x.From && place < x.From+uint64(len(x.Entries)) {
				return x.Entries[place-x.From]
			}
		}
		panic("no entry")
	}
	for _, r := range w.Contents {
		var e metaEntry
		if err := canon.Unmarshal(at(w.Meta, r.Place), &e); err != nil {
			panic(err)
		}
		c := content{Key: e.Key, From: int(r.From) * 64, Digest: digest(r.Data)}
		if e.Kind == uint32(gguf.KindArray) {
			for n, _, _ := f.Len(e.Key); c.From+c.Count < n; c.Count++ {
				if _, ok := f.Elements(e.Key, c.From, c.From+c.Count+1); !ok {
					break
				}
			}
		} else {
			c.From = 0
		}
		s.Contents = append(s.Contents, c)
	}
	for _, r := range w.Tiles {
		var e tensorEntry
		if err := canon.Unmarshal(at(w.Tensors, r.Place), &e); err != nil {
			panic(err)
		}
		for i := int(r.From); ; i++ {
			b, ok := f.Tile(e.Name, i)
			if !ok {
				break
			}
			s.Tiles = append(s.Tiles, tile{e.Name, i, digest(b)})
		}
	}
}

// check compares the answers with what verified facts give.
func (s *shown) check(f *fingerprint.Facts) error {
	for _, key := range s.NoKeys {
		if _, ok := f.Value(key); ok {
			return fmt.Errorf("key %q is there", key)
		}
	}
	for _, name := range s.NoTensors {
		if f.Tensor(name) != nil {
			return fmt.Errorf("tensor %q is there", name)
		}
	}
	if err := f.Err(); err != nil {
		return err
	}
	for _, p := range s.AllKeys {
		if !f.HasKeys(p) {
			return fmt.Errorf("not all keys %q", p)
		}
	}
	for _, p := range s.AllTensors {
		if !f.HasTensors(p) {
			return fmt.Errorf("not all tensors %q", p)
		}
	}
	for _, p := range s.OpenAll {
		if f.HasKeys(p) {
			return fmt.Errorf("all keys %q", p)
		}
	}
	return nil
}

// TestVectors holds the vectors to be what this package computes, and this
// package to judge them as they say.
func TestVectors(t *testing.T) {
	want, err := json.MarshalIndent(makeVectors(t), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *rewrite {
		if err := os.MkdirAll(filepath.Dir(vectorsPath), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorsPath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(vectorsPath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, want) {
		t.Error("the vectors are not those that this package computes; go test -run TestVectors -rewrite ./internal/fingerprint writes them")
	}
	var v vectors
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	for _, f := range v.Files {
		if got := openParts(t, f.Parts).Root().String(); got != f.Root {
			t.Errorf("%s: root %s, want %s", f.Name, got, f.Root)
		}
	}
	for _, p := range v.Proofs {
		t.Run(p.Name, func(t *testing.T) { p.test(t) })
	}
}

func (p *proofVector) test(t *testing.T) {
	var root canon.Hash
	if err := root.UnmarshalText([]byte(p.Root)); err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(p.Proof)
	if err != nil {
		t.Fatal(err)
	}
	f, err := verify(b, root)
	switch {
	case p.Check != 0:
		if !errors.Is(err, fingerprint.ErrProof) && !errors.Is(err, fingerprint.ErrRoot) {
			t.Errorf("%v, want a refusal by check %d", err, p.Check)
		}
	case err != nil:
		t.Error(err)
	default:
		if err := p.Shows.check(f); err != nil {
			t.Error(err)
		}
		for _, key := range p.Shows.OpenKeys {
			g, _ := verify(b, root) // facts that have answered nothing yet
			if _, ok := g.Value(key); ok || g.Err() == nil {
				t.Errorf("key %q is not open", key)
			}
		}
	}
}

// openParts computes the fingerprint of a file's parts.
func openParts(t *testing.T, parts []string) *fingerprint.Tree {
	t.Helper()
	prefix := filepath.Join(t.TempDir(), "m")
	var paths []string
	for i, p := range parts {
		b, err := hex.DecodeString(p)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, gguf.SplitName(prefix, i, len(parts)))
		if err := os.WriteFile(paths[i], b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := gguf.OpenParts(paths...)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree, err := fingerprint.Of(t.Context(), f, 2)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// The entries once more, to make those that no file has.
type (
	metaEntry struct {
		_       struct{} `cbor:",toarray"`
		Key     string
		Kind    uint32
		Elem    uint32
		Count   uint64
		Size    uint64
		Content []byte
	}
	tensorEntry struct {
		_     struct{} `cbor:",toarray"`
		Name  string
		Type  uint32
		Shape []uint64
		Root  []byte
	}
)

// forged is a model of any entries, right or wrong.
type forged struct{ meta, tensors [][]byte }

func leavesOf(values [][]byte) []canon.Hash {
	h := make([]canon.Hash, len(values))
	for i, v := range values {
		h[i] = canon.Leaf(v)
	}
	return h
}

func (f forged) root() canon.Hash {
	meta, tensors := canon.Root(leavesOf(f.meta)), canon.Root(leavesOf(f.tensors))
	u64 := func(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }
	return canon.Sum("aval model/1", meta[:], u64(len(f.meta)), tensors[:], u64(len(f.tensors)))
}

// sideOf shows the ranges of entries.
func sideOf(values [][]byte, ranges ...[2]int) side {
	s := side{Count: uint64(len(values)), Root: []byte{}, Spans: []entries{}}
	if len(ranges) == 0 {
		root := canon.Root(leavesOf(values))
		s.Root = root[:]
	}
	for _, r := range ranges {
		s.Spans = append(s.Spans, entries{From: uint64(r[0]), Entries: values[r[0]:r[1]], Hashes: joined(canon.Range(leavesOf(values), r[0], r[1]))})
	}
	return s
}

func joined(hashes []canon.Hash) []byte {
	b := []byte{}
	for _, h := range hashes {
		b = append(b, h[:]...)
	}
	return b
}
