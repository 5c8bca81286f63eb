// Package testmodel makes small models with random weights for tests: [Models]
// has every architecture, every tensor type and every setting of a file that
// changes bits. [Model.Write] writes one. It is imported by tests only.
package testmodel

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/quant"
)

// Vocab is the vocabulary of all synthetic models.
const Vocab = 64

// pair is a metadata key, without the architecture before it, and its value.
type pair struct {
	key   string
	value any
}

// Model describes a small model with random weights.
type Model struct {
	Name, arch                              string
	Layers, Dim, heads, kv, head, ffn, ctx  int
	meta                                    []pair
	untied, biases, outBias, qkNorms, fused bool
	factors                                 []string // tensors of rotary factors
	types                                   []gguf.Type
	Digest                                  string  // SHA-256 of the logits of Text, f32, little endian
	Trace                                   string  // root of the states of Text
	Peer                                    float64 // mean negative log-likelihood of Text by llama.cpp
}

var (
	kTypes     = []gguf.Type{gguf.Q4_K, gguf.Q6_K, gguf.Q5_K, gguf.Q3_K, gguf.Q2_K, gguf.IQ4_XS, gguf.Q8_0, gguf.Q4_K, gguf.IQ4_NL}
	blockTypes = []gguf.Type{gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.Q8_0, gguf.IQ4_NL, gguf.F16, gguf.BF16}
	floatTypes = []gguf.Type{gguf.F16, gguf.BF16, gguf.F32, gguf.F16, gguf.BF16}
)

// Models covers every architecture, every tensor type, and what the trained
// model of the shared data has not: windows, caps, scalings, factors, biases,
// heads and rows that do not divide by 32.
var Models = []Model{
	{
		Name: "llama", arch: "llama", Layers: 3, Dim: 256, heads: 4, kv: 2, head: 64, ffn: 256, ctx: 512,
		untied: true, biases: true, outBias: true, factors: []string{"rope_freqs"}, types: kTypes,
		Digest: "6f11221761b013b438c4119db48e8005164d6a826904161e7a08134bcd920846", Peer: 7.288999,
		Trace: "ba1f97caf8636f695d9c489baf37ca015c6b608df75f9afb3f68ae78a4fdbb8b",
	},
	{
		Name: "llama-linear", arch: "llama", Layers: 2, Dim: 96, heads: 4, kv: 1, head: 24, ffn: 80, ctx: 512,
		meta:   []pair{{"rope.scale_linear", float32(3)}},
		types:  floatTypes,
		Digest: "5eb2ef82b6445cbeed13d8cb5ae7643d1adf4882ed7085697d11832266ccf9b1", Peer: 5.530526,
		Trace: "f5a4538c0d61687c1183faec3dcabb0a04e02b50fa2803680bcb6b532b4c56d8",
	},
	{
		Name: "llama-yarn", arch: "llama", Layers: 2, Dim: 256, heads: 8, kv: 8, head: 32, ffn: 512, ctx: 512,
		meta: []pair{
			{"rope.scaling.type", "yarn"},
			{"rope.scaling.factor", float32(4)},
			{"rope.scaling.original_context_length", uint32(128)},
			{"rope.freq_base", float32(500000)},
		},
		types:  []gguf.Type{gguf.Q2_K, gguf.Q3_K, gguf.IQ4_XS, gguf.Q5_K, gguf.Q6_K},
		Digest: "c90e2c9465b4145e065f28d88ad4b6fc74dd8d32157704a1258b8035a74d572d", Peer: 7.256184,
		Trace: "83949a99eb1d7c3e3c7e140e7aa418a50e04216aa48db57db5f5be34eddd73f0",
	},
	{
		Name: "qwen2", arch: "qwen2", Layers: 3, Dim: 128, heads: 4, kv: 2, head: 32, ffn: 160, ctx: 512,
		meta:   []pair{{"rope.freq_base", float32(1e6)}},
		biases: true, types: blockTypes,
		Digest: "7ba1954118460030b3d8a20e8981e27dc3ad2b044862a2340114b479e7563732", Peer: 5.779014,
		Trace: "4b9d8931609cb1329912692b12df9c99d8e4da8d645d0fb67ccdc4730b7dc452",
	},
	{
		Name: "qwen2-yarn", arch: "qwen2", Layers: 2, Dim: 128, heads: 2, kv: 1, head: 64, ffn: 96, ctx: 512,
		meta: []pair{
			{"rope.scaling.type", "yarn"},
			{"rope.scaling.factor", float32(4)},
			{"rope.scaling.original_context_length", uint32(64)},
			{"rope.scaling.yarn_beta_fast", float32(4)},
			{"rope.scaling.yarn_beta_slow", float32(0.5)},
			{"rope.scaling.attn_factor", float32(0.9)},
		},
		untied: true, biases: true, types: blockTypes[1:6],
		Digest: "6230147af1dfd1ae5cdb3356662b3c429476f15783d2b899f8b5f462910d9408", Peer: 5.748312,
		Trace: "4534af5209a0c5d66ea61d82f7d9b9ea3b1c1035aefb7a9679c6f23f30e4aa97",
	},
	{
		Name: "qwen3", arch: "qwen3", Layers: 3, Dim: 128, heads: 4, kv: 2, head: 64, ffn: 256, ctx: 512,
		meta:    []pair{{"rope.freq_base", float32(1e6)}},
		qkNorms: true, types: blockTypes[2:],
		Digest: "c0065573eb91c85f398f54eebba453b962e907715f57d7c873dff5f326ab71c1", Peer: 5.885712,
		Trace: "a657db3bcbba6deed71341e659d404b82ccbc3495d012f3a99ea32f27811bcf2",
	},
	{
		Name: "gemma2", arch: "gemma2", Layers: 3, Dim: 128, heads: 8, kv: 4, head: 32, ffn: 256, ctx: 512,
		meta: []pair{
			{"attention.sliding_window", uint32(8)},
			{"attn_logit_softcapping", float32(3)},
			{"final_logit_softcapping", float32(4)},
		},
		types:  []gguf.Type{gguf.Q8_0, gguf.F16, gguf.Q4_0, gguf.Q5_1},
		Digest: "9731d32b5f9468adfe735a915318e916f0edb29cb59b7920fa9543b533fa72c0", Peer: 4.644062,
		Trace: "e2095458b2ff07774f54a9750095a68d9f2497499c0ad45f5f09e34bfd64f22e",
	},
	{
		Name: "gemma3", arch: "gemma3", Layers: 4, Dim: 256, heads: 4, kv: 1, head: 48, ffn: 256, ctx: 512,
		meta: []pair{
			{"attention.sliding_window", uint32(9)},
			{"attention.sliding_window_pattern", uint32(3)},
			{"rope.freq_base", float32(1e6)},
			{"rope.scaling.type", "linear"},
			{"rope.scaling.factor", float32(8)},
		},
		qkNorms: true, types: []gguf.Type{gguf.BF16, gguf.F32, gguf.F16},
		Digest: "58ff5493e0c2e59cb927f0f1f21294357bd88e2a8490816f2801e721f6628acf", Peer: 5.445693,
		Trace: "f856cccf67616c9a197b323914e8189dd5d820149a328c2a8a15cdbd8d4d86cf",
	},
	{
		Name: "gemma3-default", arch: "gemma3", Layers: 7, Dim: 64, heads: 2, kv: 1, head: 32, ffn: 96, ctx: 512,
		meta:    []pair{{"attention.sliding_window", uint32(5)}, {"rope.freq_base", float32(1e6)}},
		qkNorms: true, types: []gguf.Type{gguf.Q5_0, gguf.Q8_0, gguf.Q4_1},
		Digest: "8b9e9a1a94af99b7fd3324fc70433b77fb97868f8ae521fc6d2f71652a77eb87", Peer: 4.908232,
		Trace: "4e441b6959c5a8ae5393e76507f393e2c267a8ff49fb09dbd29ce6d71baa08d3",
	},
	{
		Name: "gemma3-wide", arch: "gemma3", Layers: 2, Dim: 64, heads: 2, kv: 2, head: 32, ffn: 64, ctx: 512,
		meta:   []pair{{"rope.freq_base", float32(1e6)}, {"final_logit_softcapping", float32(2)}},
		untied: true, qkNorms: true, types: blockTypes,
		Digest: "9960606ac93bf0833f8185193d69d1cc6d44c1a9352edf2aac4a08f42bebd532", Peer: 4.579815,
		Trace: "fb79f421564404ce7024effc9fe3df0e898f2d150605ace260d37608b3af6bc8",
	},
	{
		Name: "gemma2-largest", arch: "gemma2", Layers: 46, Dim: 32, heads: 2, kv: 1, head: 32, ffn: 32, ctx: 512,
		types:  []gguf.Type{gguf.F16, gguf.Q8_0},
		Digest: "af67ebe26cb8706ad80475a22bb1d39cbb455dc038d95684fe39c0cc2c91fd8b", Peer: 4.620958,
		Trace: "2b110a09d8d9304a5ca48e9b6274094c86917bce36abdc8408834b210f77840d",
	},
	{
		Name: "gemma3-largest", arch: "gemma3", Layers: 62, Dim: 32, heads: 2, kv: 1, head: 32, ffn: 32, ctx: 512,
		meta:    []pair{{"attention.sliding_window", uint32(16)}},
		qkNorms: true, types: []gguf.Type{gguf.Q4_1, gguf.BF16},
		Digest: "ccbe569898c7520ef5ba8b28e7d5c5c67d1d56cc7ef1b19745388ba771b5b5d2", Peer: 4.854940,
		Trace: "8a7df5e3e86c8e585f082a124d334995f0a9a7285c0eacd5b096a535a80dd2b8",
	},
	{
		Name: "phi3-short", arch: "phi3", Layers: 3, Dim: 256, heads: 8, kv: 2, head: 32, ffn: 256, ctx: 512,
		meta: []pair{
			{"rope.scaling.original_context_length", uint32(512)},
			{"rope.dimension_count", uint32(24)},
			{"rope.scaling.attn_factor", float32(1.19)},
		},
		untied: true, fused: true, factors: []string{"rope_factors_long", "rope_factors_short"},
		types:  []gguf.Type{gguf.Q5_K, gguf.Q4_K, gguf.Q6_K, gguf.Q3_K},
		Digest: "f8c0208c8647a2bc9dc5a88526ea08606f31f738e2281cd8bd9844271b25a7a2", Peer: 6.750742,
		Trace: "30cf87044d8d4de39fc1fc41dbda6baf84f86adb1b720c414760835674c2fa2c",
	},
	{
		Name: "phi3-long", arch: "phi3", Layers: 2, Dim: 128, heads: 4, kv: 4, head: 32, ffn: 160, ctx: 512,
		meta: []pair{
			{"rope.scaling.original_context_length", uint32(511)},
			{"rope.scaling.attn_factor", float32(1.25)},
			{"attention.sliding_window", uint32(7)}, // not obeyed
		},
		untied: true, fused: true, factors: []string{"rope_factors_long", "rope_factors_short"}, types: blockTypes,
		Digest: "2d2cc8b20ef2808810efd9810ed43df0f4681f69d6cd47cf76fad36c08f1652f", Peer: 5.323000,
		Trace: "3ce474b7226e3fda6c773cf0be4547e5cf56c884f06a40a6f23351660763101d",
	},
	{
		Name: "smollm3", arch: "smollm3", Layers: 5, Dim: 128, heads: 4, kv: 2, head: 32, ffn: 192, ctx: 512,
		meta:   []pair{{"rope.freq_base", float32(2e6)}},
		types:  blockTypes[3:],
		Digest: "33effeafdf32d0bfc57bf9037f40e90ddee0b1ac53fd6015a4d70849b1560f38", Peer: 5.934447,
		Trace: "7c1bd9800bf0bd1fcf7e394b0de7f31a37bb0472f783ed8402b2da27cd12dd3b",
	},
}

// Wide are models whose rows and heads are cut where those of Models are whole:
// in what a referee looks at, and in the tiles of a fingerprint.
var Wide = []Model{
	{
		Name: "wide-float", arch: "gemma3", Layers: 2, Dim: 544, heads: 2, kv: 1, head: 256, ffn: 2100, ctx: 512,
		meta:    []pair{{"attention.sliding_window", uint32(40)}, {"attention.sliding_window_pattern", uint32(2)}},
		qkNorms: true, types: floatTypes,
	},
	{
		Name: "wide-blocks", arch: "qwen2", Layers: 2, Dim: 160, heads: 2, kv: 2, head: 160, ffn: 6240, ctx: 512,
		biases: true, untied: true, types: []gguf.Type{gguf.Q8_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1, gguf.IQ4_NL, gguf.Q4_0, gguf.F32},
	},
	{
		Name: "wide-super", arch: "phi3", Layers: 2, Dim: 256, heads: 2, kv: 1, head: 160, ffn: 6400, ctx: 512,
		fused: true, types: []gguf.Type{gguf.Q4_K, gguf.Q6_K, gguf.F16, gguf.Q3_K, gguf.Q2_K, gguf.Q5_K, gguf.Q8_0, gguf.IQ4_XS, gguf.Q6_K},
	},
}

// Text is a text of 40 tokens.
func Text() []int32 {
	text := []int32{1}
	for r := newRandom("text"); len(text) < 40; {
		text = append(text, int32(r.Uint64()%(Vocab-3))+3)
	}
	return text
}

// random gives numbers whose bits no library and no compiler can change.
type random struct{ *rand.PCG }

func newRandom(name string) random {
	h := fnv.New64a()
	h.Write([]byte(name))
	return random{rand.NewPCG(h.Sum64(), 1)}
}

// bell returns a number of mean 0 and about the given deviation.
func (r random) bell(deviation float32) float32 {
	u := r.Uint64()
	sum := int32(u&0xffff) + int32(u>>16&0xffff) + int32(u>>32&0xffff) + int32(u>>48) - 2*0xffff
	return float32(float32(sum) * (deviation / 37837))
}

// Tensor is one tensor of a synthetic model.
type Tensor struct {
	Name  string
	Type  gguf.Type
	Shape []int
	Data  []byte
}

// Tensors makes the tensors of s, with its types or, if plain, all F32.
func (s *Model) Tensors(plain bool) []Tensor {
	var out []Tensor
	vector := func(name string, n int, mean, deviation float32) {
		r := newRandom(s.Name + name)
		var data []byte
		for range n {
			v := mean + r.bell(deviation)
			if strings.HasPrefix(name, "rope") {
				v = max(v, -v) + 0.125 // a divisor
			}
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
		}
		out = append(out, Tensor{name + ".weight", gguf.F32, []int{n}, data})
	}
	next := 0
	matrix := func(name string, cols, rows int, deviation float32) {
		typ := gguf.F32
		if !plain {
			typ = s.types[next%len(s.types)]
			next++
		}
		out = append(out, Tensor{name + ".weight", typ, []int{cols, rows}, randomRows(newRandom(s.Name+name), typ, cols*rows, deviation)})
	}
	bias := func(name string, n int) {
		vector(name, n, 0, 0.3)
		out[len(out)-1].Name = name + ".bias"
	}
	embedding := float32(0.15)
	if strings.HasPrefix(s.arch, "gemma") {
		embedding = float32(1 / math.Sqrt(float64(s.Dim)))
	}
	matrix("token_embd", s.Dim, Vocab, embedding)
	for _, f := range s.factors {
		n := s.head
		for _, p := range s.meta {
			if p.key == "rope.dimension_count" {
				n = int(p.value.(uint32))
			}
		}
		vector(f, n/2, 1.5, 1)
	}
	for l := range s.Layers {
		blk := fmt.Sprintf("blk.%d.", l)
		root := func(n int) float32 { return float32(1.5 / math.Sqrt(float64(n))) }
		q, kv := s.heads*s.head, s.kv*s.head
		vector(blk+"attn_norm", s.Dim, 1, 0.2)
		if s.fused {
			matrix(blk+"attn_qkv", s.Dim, q+2*kv, root(s.Dim))
		} else {
			matrix(blk+"attn_q", s.Dim, q, root(s.Dim))
			matrix(blk+"attn_k", s.Dim, kv, root(s.Dim))
			matrix(blk+"attn_v", s.Dim, kv, root(s.Dim))
		}
		if s.biases {
			bias(blk+"attn_q", q)
			bias(blk+"attn_k", kv)
			bias(blk+"attn_v", kv)
		}
		if s.qkNorms {
			vector(blk+"attn_q_norm", s.head, 1.5, 0.3)
			vector(blk+"attn_k_norm", s.head, 1.5, 0.3)
		}
		matrix(blk+"attn_output", q, s.Dim, root(q))
		if s.outBias {
			bias(blk+"attn_output", s.Dim)
		}
		vector(blk+"ffn_norm", s.Dim, 1, 0.2)
		if s.fused {
			matrix(blk+"ffn_up", s.Dim, 2*s.ffn, root(s.Dim))
		} else {
			matrix(blk+"ffn_gate", s.Dim, s.ffn, root(s.Dim))
			matrix(blk+"ffn_up", s.Dim, s.ffn, root(s.Dim))
		}
		matrix(blk+"ffn_down", s.ffn, s.Dim, root(s.ffn))
		if strings.HasPrefix(s.arch, "gemma") {
			vector(blk+"post_attention_norm", s.Dim, 1, 0.2)
			vector(blk+"post_ffw_norm", s.Dim, 1, 0.2)
		}
	}
	vector("output_norm", s.Dim, 1, 0.2)
	if s.untied {
		matrix("output", s.Dim, Vocab, 0.15)
	}
	return out
}

// halves lists, for a quantised type, where a block has its f16 numbers and
// what part of the weights' deviation they are; the rest of it is random bits.
var halves = map[gguf.Type][]struct {
	at   int
	part float32
}{
	gguf.Q8_0: {{0, 1. / 74}}, gguf.IQ4_NL: {{0, 1. / 69}}, gguf.IQ4_XS: {{0, 1. / 1280}},
	gguf.Q4_0: {{0, 1 / 4.6}}, gguf.Q4_1: {{0, 1 / 4.6}, {2, -7.5 / 4.6}},
	gguf.Q5_0: {{0, 1 / 9.2}}, gguf.Q5_1: {{0, 1 / 9.2}, {2, -15.5 / 9.2}},
	gguf.Q2_K: {{80, 1. / 14}, {82, 1.5 / 14}}, gguf.Q3_K: {{108, 1. / 42}}, gguf.Q6_K: {{208, 1. / 1370}},
	gguf.Q4_K: {{0, 1. / 256}, {2, 7.5 / 256}}, gguf.Q5_K: {{0, 1. / 512}, {2, 15.5 / 512}},
}

// randomRows makes n weights of about the given deviation.
func randomRows(r random, typ gguf.Type, n int, deviation float32) []byte {
	var out []byte
	elems, size := typ.Block()
	for range n / elems {
		switch typ {
		case gguf.F32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(r.bell(deviation)))
		case gguf.F16:
			out = binary.LittleEndian.AppendUint16(out, quant.FloatToHalf(r.bell(deviation)))
		case gguf.BF16:
			out = binary.LittleEndian.AppendUint16(out, quant.FloatToBFloat(r.bell(deviation)))
		default:
			block := make([]byte, size)
			for i := range block {
				block[i] = byte(r.Uint64() >> 32)
			}
			d := deviation * float32(1+r.Uint64()%8) / 5
			if r.Uint64()%4 == 0 {
				d = -d
			}
			for _, h := range halves[typ] {
				binary.LittleEndian.PutUint16(block[h.at:], quant.FloatToHalf(d*h.part))
			}
			out = append(out, block...)
		}
	}
	return out
}

func value(v any) gguf.Value {
	switch v := v.(type) {
	case string:
		return gguf.ValueOf(v)
	case float32:
		return gguf.ValueOf(v)
	default:
		return gguf.ValueOf(v.(uint32))
	}
}

// Write writes s to a file in dir and returns its path.
func (s *Model) Write(dir string, plain bool) (string, error) {
	path := filepath.Join(dir, s.Name+".gguf")
	if plain {
		path = filepath.Join(dir, s.Name+"-F32.gguf")
	}
	w, err := gguf.Create(path)
	if err != nil {
		return "", err
	}
	defer w.Abort()
	check := func(e error) {
		if err == nil {
			err = e
		}
	}
	tokens, kinds := []string{"<unk>", "<s>", "</s>", "<0x0A>"}, []int32{2, 3, 3, 6}
	for i := len(tokens); i < Vocab; i++ {
		tokens, kinds = append(tokens, string(rune('A'+i))), append(kinds, 1)
	}
	check(w.Set("general.architecture", gguf.ValueOf(s.arch)))
	for _, p := range append([]pair{
		{"block_count", uint32(s.Layers)},
		{"context_length", uint32(s.ctx)},
		{"embedding_length", uint32(s.Dim)},
		{"feed_forward_length", uint32(s.ffn)},
		{"attention.head_count", uint32(s.heads)},
		{"attention.head_count_kv", uint32(s.kv)},
		{"attention.key_length", uint32(s.head)},
		{"attention.value_length", uint32(s.head)},
		{"attention.layer_norm_rms_epsilon", float32(1e-6)},
		{"vocab_size", uint32(Vocab)},
	}, s.meta...) {
		check(w.Set(s.arch+"."+p.key, value(p.value)))
	}
	check(w.Set("tokenizer.ggml.model", gguf.ValueOf("llama")))
	check(w.Set("tokenizer.ggml.tokens", gguf.ArrayOf(tokens)))
	check(w.Set("tokenizer.ggml.scores", gguf.ArrayOf(make([]float32, Vocab))))
	check(w.Set("tokenizer.ggml.token_type", gguf.ArrayOf(kinds)))
	check(w.Set("tokenizer.ggml.bos_token_id", gguf.ValueOf(uint32(1))))
	check(w.Set("tokenizer.ggml.eos_token_id", gguf.ValueOf(uint32(2))))
	list := s.Tensors(plain)
	for _, x := range list {
		check(w.Declare(x.Name, x.Type, x.Shape...))
	}
	for _, x := range list {
		check(w.WriteTensor(x.Name, x.Data))
	}
	check(w.Close())
	return path, err
}

// Adapter makes an adapter of s with random numbers, named by its seed, that
// changes those matrices whose names contain one of parts, or all that can be
// changed if there are none. strength is about how large its updates are beside
// the weights.
func (s *Model) Adapter(seed string, rank int, alpha, strength float32, parts ...string) *adapter.Adapter {
	a := &adapter.Adapter{Architecture: s.arch, Name: seed, Alpha: alpha}
	for _, x := range s.Tensors(true) {
		wanted := len(parts) == 0
		for _, p := range parts {
			wanted = wanted || strings.Contains(x.Name, p)
		}
		if len(x.Shape) != 2 || !wanted || x.Name == adapter.Embedding && !s.untied {
			continue
		}
		u := adapter.Update{Name: x.Name, Rank: rank, In: x.Shape[0], Out: x.Shape[1]}
		scale := a.Scale(&u, 1)
		r := newRandom(s.Name + seed + x.Name)
		numbers := func(n int, deviation float32) []float32 {
			v := make([]float32, n)
			for i := range v {
				v[i] = r.bell(deviation)
			}
			return v
		}
		// Weights have deviations of about 1/sqrt(columns).
		small := float32(strength / float32(scale*float32(math.Sqrt(float64(rank)))))
		u.A, u.B = numbers(rank*u.In, float32(1/math.Sqrt(float64(u.In)))), numbers(rank*u.Out, small)
		if x.Name == adapter.Embedding {
			u.A, u.B = numbers(rank*u.Out, 0.2), numbers(rank*u.In, small)
		}
		a.Updates = append(a.Updates, u)
	}
	return a
}
