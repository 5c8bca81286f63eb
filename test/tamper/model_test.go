package tamper_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/receipt"
)

// modelFile is a model on its way to a file, to be changed by a liar.
type modelFile struct {
	keys    []string // in the order of the file
	values  map[string]gguf.Value
	tensors []testmodel.Tensor
}

const chatml = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}" +
	"{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"

// words is a byte-level vocabulary of as many tokens as the synthetic models
// have. The first three are control tokens; Ġ is a space and Ċ a new line.
var words = strings.Fields("<|bos|> <|im_end|> <|im_start|> a b c d e f g h i j k l m n o p q r s t u v w x y z Ġ Ċ . , ! ? : ' Ã ©" +
	" Ġt he Ġthe in er Ġa on re nd Ġw Ġs ou at en ll es Ġo Ġb or is it 0 1 2 3")

// merges are the pairs that become tokens, the first ones first.
var merges = []string{
	"Ġ t", "h e", "Ġt he", "i n", "e r", "Ġ a", "o n", "r e", "n d", "Ġ w", "Ġ s",
	"o u", "a t", "e n", "l l", "e s", "Ġ o", "Ġ b", "o r", "i s", "i t",
}

// honestModel is the model that receipts of this suite are about: a small one
// of quantised random weights, with a tokenizer and a chat template.
func honestModel(t testing.TB) *modelFile {
	t.Helper()
	const arch = "llama"
	s := &testmodel.Models[0]
	if s.Name != arch || len(words) != testmodel.Vocab {
		t.Fatalf("the model is %s and the vocabulary has %d tokens, want %s and %d", s.Name, len(words), arch, testmodel.Vocab)
	}
	m := &modelFile{values: map[string]gguf.Value{}, tensors: s.Tensors(false)}
	path, err := s.Write(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, k := range f.Keys() {
		if v, _ := f.Value(k); !strings.HasPrefix(k, "tokenizer.") {
			m.set(k, v)
		}
	}
	kinds := slices.Repeat([]int32{1}, len(words))
	copy(kinds, []int32{3, 3, 3})
	m.set("tokenizer.ggml.model", gguf.ValueOf("gpt2"))
	m.set("tokenizer.ggml.pre", gguf.ValueOf("gpt-2"))
	m.set("tokenizer.ggml.tokens", gguf.ArrayOf(words))
	m.set("tokenizer.ggml.token_type", gguf.ArrayOf(kinds))
	m.set("tokenizer.ggml.merges", gguf.ArrayOf(merges))
	m.set("tokenizer.ggml.bos_token_id", gguf.ValueOf(uint32(0)))
	m.set("tokenizer.ggml.eos_token_id", gguf.ValueOf(uint32(1)))
	m.set("tokenizer.ggml.add_bos_token", gguf.ValueOf(true))
	m.set("tokenizer.chat_template", gguf.ValueOf(chatml))
	return m
}

func (m *modelFile) set(key string, v gguf.Value) {
	if _, ok := m.values[key]; !ok {
		m.keys = append(m.keys, key)
	}
	m.values[key] = v
}

// clone is a model that can be changed without m.
func (m *modelFile) clone() *modelFile {
	c := &modelFile{keys: slices.Clone(m.keys), values: map[string]gguf.Value{}, tensors: slices.Clone(m.tensors)}
	for k, v := range m.values {
		c.values[k] = v
	}
	for i := range c.tensors {
		c.tensors[i].Data = slices.Clone(c.tensors[i].Data)
	}
	return c
}

func (m *modelFile) tensor(t testing.TB, name string) *testmodel.Tensor {
	t.Helper()
	for i := range m.tensors {
		if m.tensors[i].Name == name {
			return &m.tensors[i]
		}
	}
	t.Fatalf("the model has no tensor %s", name)
	return nil
}

// write writes the model to a new file.
func (m *modelFile) write(t testing.TB) string {
	t.Helper()
	var b bytes.Buffer
	w := gguf.NewWriter(&b)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range m.keys {
		check(w.Set(k, m.values[k]))
	}
	for _, x := range m.tensors {
		check(w.Declare(x.Name, x.Type, x.Shape...))
	}
	for _, x := range m.tensors {
		check(w.WriteTensor(x.Name, x.Data))
	}
	check(w.Close())
	path := filepath.Join(t.TempDir(), "model.gguf")
	check(os.WriteFile(path, b.Bytes(), 0o600))
	return path
}

// rootOf is the fingerprint of a file.
func rootOf(t testing.TB, path string) receipt.Hash {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree, err := fingerprint.Of(context.Background(), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	return tree.Root()
}

// retype writes the matrices in another type.
func (m *modelFile) retype(t testing.TB, typ gguf.Type) {
	t.Helper()
	for i := range m.tensors {
		x := &m.tensors[i]
		if len(x.Shape) < 2 {
			continue
		}
		y := make([]float32, x.Shape[0]*x.Shape[1])
		if err := quant.Dequantize(x.Type, x.Data, y); err != nil {
			t.Fatal(err)
		}
		elems, size := typ.Block()
		x.Type, x.Data = typ, make([]byte, len(y)/elems*size)
		if typ == gguf.F32 {
			x.Data = x.Data[:0]
			for _, v := range y {
				x.Data = binary.LittleEndian.AppendUint32(x.Data, math.Float32bits(v))
			}
		} else if err := quant.Quantize(typ, y, x.Data); err != nil {
			t.Fatal(err)
		}
	}
}

// layer returns the tensors of a layer, in their order.
func (m *modelFile) layer(l int) (list []*testmodel.Tensor) {
	for i := range m.tensors {
		if strings.HasPrefix(m.tensors[i].Name, blk(l)) {
			list = append(list, &m.tensors[i])
		}
	}
	return list
}

func blk(l int) string { return "blk." + string(rune('0'+l)) + "." }

// skip makes a layer give what it is given.
func (m *modelFile) skip(t testing.TB, l int) {
	t.Helper()
	for _, name := range []string{"attn_output.weight", "attn_output.bias", "ffn_down.weight"} {
		x := m.tensor(t, blk(l)+name)
		clear(x.Data) // blocks of zeros are zeros in all types
	}
}

// swap exchanges two layers, types and all.
func (m *modelFile) swap(a, b int) {
	for i := range m.tensors {
		name := &m.tensors[i].Name
		switch {
		case strings.HasPrefix(*name, blk(a)):
			*name = blk(b) + strings.TrimPrefix(*name, blk(a))
		case strings.HasPrefix(*name, blk(b)):
			*name = blk(a) + strings.TrimPrefix(*name, blk(b))
		}
	}
}

// repeat puts a copy of a layer behind it.
func (m *modelFile) repeat(l, layers int) {
	for from := layers - 1; from >= l; from-- {
		for _, x := range m.layer(from) {
			y := *x
			y.Name = blk(from+1) + strings.TrimPrefix(x.Name, blk(from))
			if from > l {
				*x = y
			} else {
				m.tensors = append(m.tensors, y)
			}
		}
	}
	m.set("llama.block_count", gguf.ValueOf(uint32(layers+1)))
}
