package fingerprint_test

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/fingerprint"
)

// source answers about a model: a file does, and a proof of enough of it.
type source interface {
	Value(key string) (gguf.Value, bool)
	String(key string) (string, bool)
	Bool(key string) (value, ok bool)
	Tensor(name string) *gguf.Tensor
	Tensors() []*gguf.Tensor
}

var (
	_ source = (*gguf.File)(nil)
	_ source = (*fingerprint.Facts)(nil)
)

// pair is a metadata entry; weight a tensor. Files of these tests are lists of
// both.
type pair struct {
	key   string
	value gguf.Value
}

type weight struct {
	name  string
	typ   gguf.Type
	shape []int
	data  []byte
}

type model struct {
	pairs   []pair
	weights []weight
}

// randomWeight fills a tensor with bytes.
func randomWeight(seed byte, name string, typ gguf.Type, shape ...int) weight {
	elems, size := typ.Block()
	n := 1
	for _, d := range shape {
		n *= d
	}
	w := weight{name, typ, shape, make([]byte, n/elems*size)}
	rand.NewChaCha8([32]byte{seed}).Read(w.data)
	return w
}

// small is a model with every kind of value, long and short ones, and tensors
// of one tile and of many.
func small(t testing.TB) model {
	t.Helper()
	nested, err := gguf.ArrayOfValues(gguf.KindArray, gguf.ArrayOf([]uint8{1, 2}), gguf.ArrayOf([]string{"x", ""}), gguf.ArrayOf([]int16(nil)))
	if err != nil {
		t.Fatal(err)
	}
	tokens, scores := []string{}, []float32{}
	for i := range 300 {
		tokens = append(tokens, string(binary.AppendUvarint([]byte("piece "), uint64(i))))
		scores = append(scores, -float32(i))
	}
	template := bytes.Repeat([]byte("{{ x }}"), 1500)
	return model{
		[]pair{
			{"general.architecture", gguf.ValueOf("llama")},
			{"general.name", gguf.ValueOf("small")},
			{"llama.a.uint8", gguf.ValueOf(uint8(200))},
			{"llama.b.int8", gguf.ValueOf(int8(-2))},
			{"llama.c.uint16", gguf.ValueOf(uint16(60000))},
			{"llama.d.int16", gguf.ValueOf(int16(-2))},
			{"llama.e.uint32", gguf.ValueOf(uint32(1 << 31))},
			{"llama.f.int32", gguf.ValueOf(int32(-2))},
			{"llama.g.float32", gguf.ValueOf(float32(1e-5))},
			{"llama.h.bool", gguf.ValueOf(true)},
			{"llama.i.uint64", gguf.ValueOf(uint64(1 << 63))},
			{"llama.j.int64", gguf.ValueOf(int64(-2))},
			{"llama.k.float64", gguf.ValueOf(0.1)},
			{"llama.l.nested", nested},
			{"llama.m.empty", gguf.ArrayOf([]float32{})},
			{"llama.n.ints", gguf.ArrayOf([]int32{1, -1})},
			{"llama.o.nothing", gguf.ValueOf("")},
			{"llamas.not", gguf.ValueOf("another architecture")},
			{"tokenizer.chat_template", gguf.ValueOf(string(template))},
			{"tokenizer.ggml.scores", gguf.ArrayOf(scores)},
			{"tokenizer.ggml.tokens", gguf.ArrayOf(tokens)},
		},
		[]weight{
			randomWeight(1, "blk.0.attn_norm.weight", gguf.F32, 3000),
			randomWeight(2, "blk.0.attn_q.weight", gguf.Q8_0, 512, 37),
			randomWeight(3, "blk.1.attn_q.weight", gguf.Q4_K, 512, 5, 3),
			randomWeight(4, "blk.10.ffn_down.weight", gguf.Q8_0, 6144*2+32, 3),
			randomWeight(5, "token_embd.weight", gguf.F16, 64, 100),
		},
	}
}

// bytes writes the model as a file.
func (m model) bytes(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gguf.NewWriter(&b)
	for _, p := range m.pairs {
		if err := w.Set(p.key, p.value); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range m.weights {
		if err := w.Declare(x.name, x.typ, x.shape...); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range m.weights {
		if err := w.WriteTensor(x.name, x.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// parse is the model as an open file.
func (m model) parse(t testing.TB) *gguf.File {
	t.Helper()
	b := m.bytes(t)
	f, err := gguf.Parse(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// tree is the model's fingerprint.
func (m model) tree(t testing.TB) *fingerprint.Tree {
	t.Helper()
	tree, err := fingerprint.Of(t.Context(), m.parse(t), 2)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// facts sends a proof of r through its encoding and verifies it.
func facts(t testing.TB, tree *fingerprint.Tree, r fingerprint.Request) *fingerprint.Facts {
	t.Helper()
	p, err := tree.Prove(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if p, err = fingerprint.Decode(b); err != nil {
		t.Fatal(err)
	}
	f, err := p.Verify(tree.Root())
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestDescription(t *testing.T) {
	m := small(t)
	f := facts(t, m.tree(t), fingerprint.Request{
		Keys: []string{"general.architecture"}, KeyPrefixes: []string{"llama."},
		Tensors: []string{"output.weight"}, TensorPrefixes: []string{"blk.1."},
	})
	for _, p := range m.pairs {
		if p.key == "general.architecture" || p.key >= "llama." && p.key < "llama/" {
			if v, ok := f.Value(p.key); !ok || v != p.value {
				t.Errorf("%s: %v, %v, want %v", p.key, v, ok, p.value)
			}
		}
	}
	if _, ok := f.Value("llama.zzz"); ok {
		t.Error("a key that is not there is found")
	}
	if f.Tensor("output.weight") != nil || f.Tensor("blk.1.attn_k.weight") != nil {
		t.Error("a tensor that is not there is found")
	}
	if x := f.Tensor("blk.1.attn_q.weight"); x == nil || x.Type != gguf.Q4_K || !slices.Equal(x.Shape, []int{512, 5, 3}) || x.Size != int64(len(m.weights[2].data)) {
		t.Errorf("blk.1.attn_q.weight: %+v", x)
	}
	if !f.HasKeys("llama.") || !f.HasTensors("blk.1.") || f.HasKeys("tokenizer.") || f.HasTensors("blk.") {
		t.Error("shows other prefixes than those asked for")
	}
	if err := f.Err(); err != nil {
		t.Error(err)
	}
	if _, ok := f.Value("tokenizer.ggml.tokens"); ok || f.Err() == nil {
		t.Error("answers what it was not asked")
	}
}
