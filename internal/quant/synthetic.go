package quant

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
)

// shape is an architecture with sizes but without weights.
type shape struct {
	name, arch         string
	layers, dim, ffn   int
	heads, kvHeads     int
	vocabulary         int
	context            int
	ropeBase, epsilon  float32
	biases, tiedOutput bool
}

// shapes are the sizes of published small models, on which speed is measured,
// and one for tests whose rows fill the blocks of every type.
func shapes() []shape {
	return []shape{
		{
			name: "tiny", arch: "llama", layers: 2, dim: 256, ffn: 768, heads: 8, kvHeads: 4,
			vocabulary: 512, context: 512, ropeBase: 10000, epsilon: 1e-5,
		},
		{
			name: "135M", arch: "llama", layers: 30, dim: 576, ffn: 1536, heads: 9, kvHeads: 3,
			vocabulary: 49152, context: 8192, ropeBase: 100000, epsilon: 1e-5, tiedOutput: true,
		},
		{
			name: "0.5B", arch: "qwen2", layers: 24, dim: 896, ffn: 4864, heads: 14, kvHeads: 2,
			vocabulary: 151936, context: 32768, ropeBase: 1000000, epsilon: 1e-6, tiedOutput: true, biases: true,
		},
		{
			name: "1.1B", arch: "llama", layers: 22, dim: 2048, ffn: 5632, heads: 32, kvHeads: 4,
			vocabulary: 32000, context: 2048, ropeBase: 10000, epsilon: 1e-5,
		},
	}
}

// Shapes lists the names that [Synthetic] knows, small ones first.
func Shapes() []string {
	var names []string
	for _, s := range shapes() {
		names = append(names, s.name)
	}
	return names
}

// Synthetic writes a model with random weights of the named shape to path, for
// measuring speed: it answers with nonsense. The weights are drawn from a
// normal distribution of standard deviation 0.02, rounded to F16 and then
// quantised; norms are 1; the vocabulary is made up. Everything follows from
// shape, recipe and seed, on every machine. The file appears, and progress is
// told, as by [QuantizeFile].
func Synthetic(ctx context.Context, path, shape string, r Recipe, seed uint64, progress func(done, total int64)) error {
	for _, s := range shapes() {
		if strings.EqualFold(s.name, shape) {
			return s.write(ctx, path, r, seed, progress)
		}
	}
	return fmt.Errorf("quant: unknown shape %q: use one of %s", shape, strings.Join(Shapes(), ", "))
}

func (s shape) write(ctx context.Context, path string, r Recipe, seed uint64, progress func(done, total int64)) error {
	tensors := s.tensors()
	types := r.Types(s.layers, tensors)
	outs := make([]outTensor, len(tensors))
	for i, t := range tensors {
		outs[i] = outTensor{name: t.Name, typ: types[i], shape: t.Shape, read: randomRows(seed, i)}
		if strings.HasSuffix(t.Name, "_norm.weight") {
			outs[i].read = ones
		}
	}
	w, err := gguf.Create(path)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := s.setMetadata(w, r, seed); err != nil {
		return err
	}
	if err := writeTensors(ctx, w, outs, progress); err != nil {
		return err
	}
	return w.Close()
}

// tensors lists the shape's tensors in file order: matrices are F16, vectors
// F32, as in a converted model.
func (s shape) tensors() []*gguf.Tensor {
	var list []*gguf.Tensor
	matrix := func(name string, in, out int) {
		list = append(list, &gguf.Tensor{Name: name, Type: gguf.F16, Shape: []int{in, out}})
	}
	vector := func(name string, n int) {
		list = append(list, &gguf.Tensor{Name: name, Type: gguf.F32, Shape: []int{n}})
	}
	kv := s.dim / s.heads * s.kvHeads
	matrix("token_embd.weight", s.dim, s.vocabulary)
	for l := range s.layers {
		block := fmt.Sprintf("blk.%d.", l)
		vector(block+"attn_norm.weight", s.dim)
		matrix(block+"attn_q.weight", s.dim, s.dim)
		matrix(block+"attn_k.weight", s.dim, kv)
		matrix(block+"attn_v.weight", s.dim, kv)
		if s.biases {
			vector(block+"attn_q.bias", s.dim)
			vector(block+"attn_k.bias", kv)
			vector(block+"attn_v.bias", kv)
		}
		matrix(block+"attn_output.weight", s.dim, s.dim)
		vector(block+"ffn_norm.weight", s.dim)
		matrix(block+"ffn_gate.weight", s.dim, s.ffn)
		matrix(block+"ffn_up.weight", s.dim, s.ffn)
		matrix(block+"ffn_down.weight", s.ffn, s.dim)
	}
	vector("output_norm.weight", s.dim)
	if !s.tiedOutput {
		matrix("output.weight", s.dim, s.vocabulary)
	}
	return list
}

func (s shape) setMetadata(w *gguf.Writer, r Recipe, seed uint64) error {
	vocabulary := makeVocabulary(s.vocabulary)
	for _, kv := range []struct {
		key   string
		value gguf.Value
	}{
		{"general.architecture", gguf.ValueOf(s.arch)},
		{"general.name", gguf.ValueOf(fmt.Sprintf("synthetic %s, seed %d", s.name, seed))},
		{s.arch + ".block_count", gguf.ValueOf(uint32(s.layers))},
		{s.arch + ".context_length", gguf.ValueOf(uint32(s.context))},
		{s.arch + ".embedding_length", gguf.ValueOf(uint32(s.dim))},
		{s.arch + ".feed_forward_length", gguf.ValueOf(uint32(s.ffn))},
		{s.arch + ".attention.head_count", gguf.ValueOf(uint32(s.heads))},
		{s.arch + ".attention.head_count_kv", gguf.ValueOf(uint32(s.kvHeads))},
		{s.arch + ".attention.layer_norm_rms_epsilon", gguf.ValueOf(s.epsilon)},
		{s.arch + ".rope.dimension_count", gguf.ValueOf(uint32(s.dim / s.heads))},
		{s.arch + ".rope.freq_base", gguf.ValueOf(s.ropeBase)},
		{s.arch + ".vocab_size", gguf.ValueOf(uint32(s.vocabulary))},
		{"tokenizer.ggml.model", gguf.ValueOf("llama")},
		{"tokenizer.ggml.pre", gguf.ValueOf("default")},
		{"tokenizer.ggml.tokens", gguf.ArrayOf(vocabulary.pieces)},
		{"tokenizer.ggml.scores", gguf.ArrayOf(vocabulary.scores)},
		{"tokenizer.ggml.token_type", gguf.ArrayOf(vocabulary.kinds)},
		{"tokenizer.ggml.bos_token_id", gguf.ValueOf(uint32(1))},
		{"tokenizer.ggml.eos_token_id", gguf.ValueOf(uint32(2))},
		{"tokenizer.ggml.unknown_token_id", gguf.ValueOf(uint32(0))},
		{"tokenizer.ggml.add_bos_token", gguf.ValueOf(true)},
		{"tokenizer.ggml.add_eos_token", gguf.ValueOf(false)},
	} {
		if err := w.Set(kv.key, kv.value); err != nil {
			return err
		}
	}
	return SetVersions(w, r)
}

func ones(_, _ int, y []float32) error {
	for i := range y {
		y[i] = 1
	}
	return nil
}

// randomRows returns the weights of a tensor. Each row has its own generator,
// seeded by (seed, tensor, row), so that rows can be made in any order.
func randomRows(seed uint64, tensor int) func(row, n int, y []float32) error {
	return func(row, n int, y []float32) error {
		var key [32]byte
		copy(key[24:], "aval row")
		binary.LittleEndian.PutUint64(key[0:], seed)
		binary.LittleEndian.PutUint64(key[8:], uint64(tensor))
		var rng rand.ChaCha8
		length := len(y) / n
		for i := range n {
			binary.LittleEndian.PutUint64(key[16:], uint64(row+i))
			rng.Seed(key)
			for j := range y[i*length : (i+1)*length] {
				y[i*length+j] = kernel.FromF16(FloatToHalf(float32(0.02 * normal(rng.Uint64()))))
			}
		}
		return nil
	}
}

// normal turns 64 random bits into a number that is as good as normally
// distributed, mean 0 and standard deviation 1, with integers and one rounding:
// how many of 32 coins show heads, plus two uniform numbers of 16 bits that
// fill the gaps between the counts. The variance is 32/4 + 2/12 = 49/6, the
// excess kurtosis −0.06 and the largest magnitude 5.9.
func normal(random uint64) float32 {
	const deviation = 2.857738033247042 // √(49/6)
	heads := bits.OnesCount32(uint32(random)) - 16
	fraction := int(random>>32&0xffff) + int(random>>48) - 0xffff
	return float32(float32(heads<<16+fraction) * (1 / (deviation * (1 << 16))))
}
