package model_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/model"
)

// container is a valid GGUF file whose contents a test damages.
type container struct {
	arch    string
	keys    []string
	values  map[string]gguf.Value
	tensors []*content
}

type content struct {
	name  string
	typ   gguf.Type
	shape []int
	// fill gives the bytes; nil means small weights, 1 in norms.
	fill func(size int) []byte
}

// newContainer makes a model of an architecture with two layers, 64 numbers
// wide, all F32.
func newContainer(arch string) *container {
	c := &container{arch: arch, values: map[string]gguf.Value{}}
	c.set("general.architecture", gguf.ValueOf(arch))
	for _, p := range []struct {
		key string
		v   uint32
	}{
		{"block_count", 2},
		{"context_length", 512},
		{"embedding_length", 64},
		{"feed_forward_length", 96},
		{"attention.head_count", 4},
		{"attention.head_count_kv", 2},
		{"attention.key_length", 16},
		{"attention.value_length", 16},
		{"rope.dimension_count", 16},
	} {
		c.set(arch+"."+p.key, gguf.ValueOf(p.v))
	}
	c.set(arch+".attention.layer_norm_rms_epsilon", gguf.ValueOf(float32(1e-5)))
	c.set(arch+".rope.freq_base", gguf.ValueOf(float32(10000)))
	c.add("token_embd.weight", 64, 40)
	for l := range 2 {
		blk := fmt.Sprintf("blk.%d.", l)
		c.add(blk+"attn_norm.weight", 64)
		if arch == "phi3" {
			c.add(blk+"attn_qkv.weight", 64, 128)
		} else {
			c.add(blk+"attn_q.weight", 64, 64)
			c.add(blk+"attn_k.weight", 64, 32)
			c.add(blk+"attn_v.weight", 64, 32)
		}
		if arch == "qwen3" || arch == "gemma3" {
			c.add(blk+"attn_q_norm.weight", 16)
			c.add(blk+"attn_k_norm.weight", 16)
		}
		c.add(blk+"attn_output.weight", 64, 64)
		c.add(blk+"ffn_norm.weight", 64)
		if arch == "phi3" {
			c.add(blk+"ffn_up.weight", 64, 192)
		} else {
			c.add(blk+"ffn_gate.weight", 64, 96)
			c.add(blk+"ffn_up.weight", 64, 96)
		}
		c.add(blk+"ffn_down.weight", 96, 64)
		if strings.HasPrefix(arch, "gemma") {
			c.add(blk+"post_attention_norm.weight", 64)
			c.add(blk+"post_ffw_norm.weight", 64)
		}
	}
	c.add("output_norm.weight", 64)
	return c
}

func (c *container) set(key string, v gguf.Value) {
	if _, ok := c.values[key]; !ok {
		c.keys = append(c.keys, key)
	}
	c.values[key] = v
}

func (c *container) unset(key string) {
	delete(c.values, key)
	c.keys = slices.DeleteFunc(c.keys, func(k string) bool { return k == key })
}

func (c *container) add(name string, shape ...int) *content {
	c.tensors = append(c.tensors, &content{name: name, typ: gguf.F32, shape: shape})
	return c.tensors[len(c.tensors)-1]
}

func (c *container) tensor(name string) *content {
	i := slices.IndexFunc(c.tensors, func(t *content) bool { return t.name == name })
	return c.tensors[i]
}

func (c *container) drop(name string) {
	c.tensors = slices.DeleteFunc(c.tensors, func(t *content) bool { return t.name == name })
}

// floatBytes gives numbers as F32 has them; the last is repeated.
func floatBytes(x ...float32) func(int) []byte {
	return func(size int) []byte {
		var b []byte
		for i := range size / 4 {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x[min(i, len(x)-1)]))
		}
		return b
	}
}

// shortBytes repeats a number of 16 bits.
func shortBytes(x uint16) func(int) []byte {
	return func(size int) []byte {
		return slices.Repeat([]byte{byte(x), byte(x >> 8)}, size/2)
	}
}

func (t *content) bytes(size int) []byte {
	switch {
	case t.fill != nil:
		return t.fill(size)
	case strings.Contains(t.name, "norm"):
		return floatBytes(1)(size)
	case t.typ != gguf.F32:
		return make([]byte, size)
	}
	var b []byte
	for i := range size / 4 {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(float32((i*7+i/13)%11-5)/16))
	}
	return b
}

// write writes the file and opens it.
func (c *container) open(t *testing.T) *gguf.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "m.gguf")
	w, err := gguf.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	for _, key := range c.keys {
		err = w.Set(key, c.values[key])
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range c.tensors {
		if err := w.Declare(x.name, x.typ, x.shape...); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range c.tensors {
		elems, size := x.typ.Block()
		n := size
		for _, d := range x.shape {
			n *= d
		}
		if err := w.WriteTensor(x.name, x.bytes(n/elems)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// tryLogits loads the model and reads a few tokens.
func (c *container) tryLogits(t *testing.T) ([]float32, error) {
	t.Helper()
	m, err := model.Load(c.open(t), model.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	s := m.NewSequence()
	defer s.Close()
	steps := []model.Step{{Seq: s, Tokens: []int32{1, 5, 2, 39, 0, 7, 7}, Want: 7}}
	if err := m.Forward(steps); err != nil {
		return nil, err
	}
	return steps[0].Logits, nil
}

// damage is one thing wrong with a file, and the words of the error.
type damage struct {
	name   string
	arch   string // "" is llama
	change func(c *container)
	says   string
}

// kinds are values of every kind, most of them wrong under any key.
func kinds() map[string]gguf.Value {
	return map[string]gguf.Value{
		"string": gguf.ValueOf("x"), "bool": gguf.ValueOf(true), "strings": gguf.ArrayOf([]string{"a"}),
		"empty": gguf.ArrayOf([]uint32{}), "differ": gguf.ArrayOf([]uint32{16, 4}),
		"negative": gguf.ValueOf(int32(-1)), "negative float": gguf.ValueOf(float32(-1)),
		"nan": gguf.ValueOf(float32(math.NaN())), "inf": gguf.ValueOf(float32(math.Inf(1))),
		"huge": gguf.ValueOf(uint64(1 << 40)), "largest": gguf.ValueOf(uint64(math.MaxUint64)),
		"huge float": gguf.ValueOf(float64(1e300)), "fraction": gguf.ValueOf(float32(2.5)), "zero": gguf.ValueOf(uint32(0)),
	}
}

// meta sets a key of the architecture.
func meta(key string, v gguf.Value) func(c *container) {
	return func(c *container) { c.set(c.arch+"."+key, v) }
}

// wrongKinds makes a case of every kind of value that a key does not take.
func wrongKinds() []damage {
	const (
		number  = " string bool strings empty nan inf negative negative_float huge_float zero"
		integer = " string bool strings empty differ nan inf negative negative_float huge largest huge_float fraction zero"
	)
	var out []damage
	for _, x := range []struct{ arch, key, wrong string }{
		{"llama", "block_count", integer},
		{"llama", "context_length", integer},
		{"llama", "embedding_length", integer},
		{"llama", "feed_forward_length", integer},
		{"llama", "attention.head_count", integer},
		{"llama", "attention.head_count_kv", integer},
		{"llama", "attention.key_length", integer},
		{"llama", "attention.value_length", integer},
		{"llama", "rope.dimension_count", integer},
		{"qwen3", "rope.dimension_count", integer},
		{"llama", "expert_count", strings.TrimSuffix(integer, " zero")},
		{"llama", "attention.layer_norm_rms_epsilon", number},
		{"llama", "rope.freq_base", number + " huge largest"},
		{"llama", "rope.scaling.factor", strings.TrimSuffix(number, " zero")},
		{"llama", "rope.scaling.type", " string bool strings empty nan huge zero"},
		{"gemma2", "attn_logit_softcapping", strings.TrimSuffix(number, " zero")},
		{"gemma2", "final_logit_softcapping", strings.TrimSuffix(number, " zero")},
		{"gemma2", "attention.sliding_window", strings.TrimSuffix(integer, " zero")},
		{"gemma3", "attention.sliding_window_pattern", integer},
		{"gemma3", "rope.freq_base_swa", number + " huge largest"},
		{"phi3", "rope.scaling.original_context_length", integer},
		{"phi3", "rope.scaling.attn_factor", number},
		{"yarn", "rope.scaling.original_context_length", integer},
		{"yarn", "rope.scaling.yarn_beta_fast", number},
		{"yarn", "rope.scaling.yarn_beta_slow", number},
		{"yarn", "rope.scaling.attn_factor", number},
	} {
		arch := strings.Replace(x.arch, "yarn", "llama", 1)
		for _, kind := range strings.Fields(x.wrong) {
			v := kinds()[strings.ReplaceAll(kind, "_", " ")]
			out = append(out, damage{x.arch + " " + x.key + " " + kind, arch, func(c *container) {
				if x.arch == "gemma3" {
					meta("attention.sliding_window", gguf.ValueOf(uint32(8)))(c)
				}
				if x.arch == "yarn" {
					yarn(c)
				}
				meta(x.key, v)(c)
			}, "metadata " + arch + "." + x.key + " "})
		}
	}
	return out
}

func yarn(c *container) {
	meta("rope.scaling.type", gguf.ValueOf("yarn"))(c)
	meta("rope.scaling.factor", gguf.ValueOf(float32(4)))(c)
	meta("rope.scaling.original_context_length", gguf.ValueOf(uint32(128)))(c)
}

func number(n int) gguf.Value { return gguf.ValueOf(uint32(n)) }

var damages = []damage{
	{"no architecture", "", func(c *container) { c.unset("general.architecture") }, "metadata general.architecture is missing"},
	{"unknown architecture", "", func(c *container) {
		c.set("general.architecture", gguf.ValueOf("mamba"))
	}, `architecture "mamba" is not known; known are llama, smollm3, qwen2, qwen3, gemma2, gemma3, phi3`},
	{"architecture not a string", "", func(c *container) { c.set("general.architecture", number(1)) }, "metadata general.architecture is missing"},

	{"heads do not divide", "", meta("attention.head_count", number(3)), "attention.head_count_kv is 2, which does not divide the 3 query heads"},
	{"more kv heads", "", meta("attention.head_count_kv", number(8)), "attention.head_count_kv is 8"},
	{"too many heads", "", func(c *container) {
		meta("attention.head_count", number(1<<17))(c)
		meta("attention.head_count_kv", number(1))(c)
	}, "131072 heads of 16 are too wide for a layer of 64"},
	{"too wide", "", meta("feed_forward_length", number(1<<19)), "feed_forward_length is 524288, too wide"},
	{"odd head", "", func(c *container) {
		meta("attention.key_length", number(15))(c)
		meta("attention.value_length", number(15))(c)
		c.unset("llama.rope.dimension_count")
	}, "rope.dimension_count is 15, want an even number"},
	{"long head", "", func(c *container) {
		meta("attention.key_length", number(4096))(c)
		meta("attention.value_length", number(4096))(c)
	}, "attention.key_length is 4096, want 2 to 1024"},
	{"values of another length", "", meta("attention.value_length", number(8)), "attention.value_length is 8, keys have 16"},
	{"rotary beyond the head", "", meta("rope.dimension_count", number(18)), "rope.dimension_count is 18"},
	{"attention to later positions", "llama", meta("attention.causal", gguf.ValueOf(false)), "llama.attention.causal is false"},
	{"magnitude without yarn", "llama", meta("rope.scaling.attn_factor", number(2)), "llama.rope.scaling.attn_factor is 2"},
	{"window pattern", "gemma2", meta("attention.sliding_window_pattern", number(3)), "gemma2.attention.sliding_window_pattern is 3"},
	{"base of windows", "gemma2", meta("rope.freq_base_swa", number(5)), "gemma2.rope.freq_base_swa is 5"},
	{"experts", "qwen3", meta("expert_count", number(8)), "qwen3.expert_count is 8, mixtures of experts are not supported"},
	{"scaling unknown", "", meta("rope.scaling.type", gguf.ValueOf("warp")), `llama.rope.scaling.type is "warp", which is not supported: choose another model`},
	{"scaling of another architecture", "", meta("rope.scaling.type", gguf.ValueOf("longrope")), `llama.rope.scaling.type is "longrope"`},
	{"factors of another architecture", "", func(c *container) { c.add("rope_factors_long.weight", 8) }, "tensor rope_factors_long.weight architecture llama"},
	{"scaling tiny", "", meta("rope.scaling.factor", gguf.ValueOf(float32(1e-40))), "rope.scaling.factor is too small"},
	{"yarn tiny", "", func(c *container) {
		yarn(c)
		meta("rope.scaling.factor", gguf.ValueOf(float32(1e-30)))(c)
	}, "rope.scaling.factor is 1e-30, too small"},
	{"yarn without base", "", func(c *container) {
		yarn(c)
		meta("rope.freq_base", number(1))(c)
	}, "rope.freq_base is 1, want more with yarn"},

	{"fewer layers", "", meta("block_count", number(1)), "tensor blk.1.attn_norm.weight architecture llama with 1 layers has no such part"},
	{"more layers", "", meta("block_count", number(3)), "tensor blk.2.attn_norm.weight is missing; architecture llama with 3 layers needs it"},
	{"no embedding", "", func(c *container) { c.drop("token_embd.weight") }, "tensor token_embd.weight is missing"},
	{"no norm", "", func(c *container) { c.drop("output_norm.weight") }, "tensor output_norm.weight is missing"},
	{"no weight", "", func(c *container) { c.drop("blk.1.ffn_up.weight") }, "tensor blk.1.ffn_up.weight is missing"},
	{"no head norm", "qwen3", func(c *container) { c.drop("blk.0.attn_k_norm.weight") }, "tensor blk.0.attn_k_norm.weight is missing"},
	{"another architecture", "qwen3", func(c *container) {
		c.set("general.architecture", gguf.ValueOf("qwen2"))
		for _, key := range slices.Clone(c.keys) {
			if rest, ok := strings.CutPrefix(key, "qwen3."); ok {
				c.set("qwen2."+rest, c.values[key])
			}
		}
	}, "tensor blk.0.attn_q_norm.weight architecture qwen2 with 2 layers has no such part"},
	{"unknown tensor", "", func(c *container) { c.add("blk.0.attn_sinks.weight", 4) }, "tensor blk.0.attn_sinks.weight architecture llama"},
	{"matrix of another shape", "", func(c *container) { c.tensor("blk.0.attn_k.weight").shape = []int{64, 64} }, "tensor blk.0.attn_k.weight has shape [64 64], want [64 32]"},
	{"matrix turned", "", func(c *container) { c.tensor("blk.0.ffn_down.weight").shape = []int{64, 96} }, "tensor blk.0.ffn_down.weight has shape [64 96], want [96 64]"},
	{"flat embedding", "", func(c *container) { c.tensor("token_embd.weight").shape = []int{64 * 40} }, "tensor token_embd.weight is missing or not a matrix"},
	{"other vocabulary", "", func(c *container) { c.add("output.weight", 64, 41) }, "tensor output.weight has shape [64 41], want [64 40]"},
	{"short norm", "", func(c *container) { c.tensor("blk.0.attn_norm.weight").shape = []int{32} }, "tensor blk.0.attn_norm.weight has shape [32], want [64]"},
	{"quantised norm", "", func(c *container) { c.tensor("output_norm.weight").typ = gguf.Q8_0 }, "tensor output_norm.weight has type Q8_0, want F32"},
	{"quantised bias", "", func(c *container) { c.add("blk.0.attn_q.bias", 64).typ = gguf.Q4_0 }, "tensor blk.0.attn_q.bias has type Q4_0"},
	{"long bias", "", func(c *container) { c.add("blk.0.attn_k.bias", 64) }, "tensor blk.0.attn_k.bias has shape [64], want [32]"},
	{"factors of another length", "", func(c *container) { c.add("rope_freqs.weight", 16) }, "tensor rope_freqs.weight has shape [16], want [8]"},
	{"factors zero", "", func(c *container) { c.add("rope_freqs.weight", 8).fill = floatBytes(1, 0) }, "tensor rope_freqs.weight holds 0"},
	{"factors tiny", "", func(c *container) { c.add("rope_freqs.weight", 8).fill = floatBytes(1e-38) }, "tensor rope_freqs.weight holds numbers too small"},
}

// notFinite makes cases of tensors that hold a NaN or an infinity. In keys and
// values the cache would hide it.
func notFinite() []damage {
	var out []damage
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	for _, name := range []string{
		"token_embd", "blk.0.attn_norm", "blk.0.attn_q", "blk.0.attn_k", "blk.1.attn_v", "blk.0.attn_output",
		"blk.1.ffn_norm", "blk.0.ffn_gate", "blk.0.ffn_up", "blk.1.ffn_down", "output_norm",
	} {
		name += ".weight"
		out = append(out,
			damage{name + " NaN", "", func(c *container) { c.tensor(name).fill = floatBytes(0, nan, 1) }, "tensor " + name + " holds a NaN"},
			damage{name + " infinite", "", func(c *container) { c.tensor(name).fill = floatBytes(0, inf, 1) }, "tensor " + name + " holds a NaN or an infinity"})
	}
	for _, typ := range gguf.Types() {
		if elems, _ := typ.Block(); elems > 32 || typ == gguf.F32 {
			continue // rows of 64
		}
		bad := uint16(0x7c00)
		if typ == gguf.BF16 {
			bad = 0x7f80
		}
		out = append(out, damage{typ.String(), "", func(c *container) {
			x := c.tensor("blk.0.attn_v.weight")
			x.typ, x.fill = typ, shortBytes(bad)
		}, "tensor blk.0.attn_v.weight holds a NaN or an infinity in rows "})
	}
	return out
}

// TestLoadRefuses holds that a file whose contents cannot be computed with is
// refused with an error that names the key or tensor.
func TestLoadRefuses(t *testing.T) {
	for _, d := range slices.Concat(damages, wrongKinds(), notFinite()) {
		arch := d.arch
		if arch == "" {
			arch = "llama"
		}
		c := newContainer(arch)
		d.change(c)
		_, err := c.tryLogits(t)
		if err == nil {
			t.Errorf("%s: loads", d.name)
			continue
		}
		if !strings.Contains(err.Error(), d.says) {
			t.Errorf("%s: says %q, want %q in it", d.name, err, d.says)
		}
		var file *model.FileError
		var unknown *model.UnknownArchitectureError
		if !errors.As(err, &file) && !errors.As(err, &unknown) {
			t.Errorf("%s: error %q is of no known type", d.name, err)
		}
	}
}

// TestLoadAccepts holds that what is odd but has a meaning is computed.
func TestLoadAccepts(t *testing.T) {
	for _, d := range []damage{
		{name: "context of 2^31-1", change: meta("context_length", number(math.MaxInt32))},
		{name: "values the same for each layer", change: meta("attention.head_count_kv", gguf.ArrayOf([]int32{2, 2}))},
		{name: "no kv heads, no lengths", change: func(c *container) {
			c.unset("llama.attention.key_length")
			c.unset("llama.attention.value_length")
			c.unset("llama.rope.dimension_count")
			c.unset("llama.rope.freq_base")
			c.unset("llama.attention.layer_norm_rms_epsilon")
		}},
		{name: "epsilon of 64 bits", change: meta("attention.layer_norm_rms_epsilon", gguf.ValueOf(1e-5))},
		{name: "base of an integer", change: meta("rope.freq_base", number(10000))},
		{name: "odd heads with even rotary", change: func(c *container) {
			meta("attention.key_length", number(15))(c)
			meta("attention.value_length", number(15))(c)
			meta("rope.dimension_count", number(14))(c)
			for l := range 2 {
				blk := fmt.Sprintf("blk.%d.", l)
				c.tensor(blk + "attn_q.weight").shape = []int{64, 60}
				c.tensor(blk + "attn_k.weight").shape = []int{64, 30}
				c.tensor(blk + "attn_v.weight").shape = []int{64, 30}
				c.tensor(blk + "attn_output.weight").shape = []int{60, 64}
			}
		}},
		{name: "yarn", change: yarn},
		{name: "gemma2 without caps", arch: "gemma2", change: func(c *container) {
			meta("attn_logit_softcapping", number(0))(c)
			meta("final_logit_softcapping", number(0))(c)
			meta("attention.sliding_window", number(0))(c)
		}},
		{name: "gemma3 with the smallest window", arch: "gemma3", change: meta("attention.sliding_window", number(1))},
	} {
		arch := d.arch
		if arch == "" {
			arch = "llama"
		}
		c := newContainer(arch)
		d.change(c)
		logits, err := c.tryLogits(t)
		if err != nil {
			t.Errorf("%s: %v", d.name, err)
		}
		for _, z := range logits {
			if z-z != 0 {
				t.Errorf("%s: computes %g", d.name, z)
				break
			}
		}
	}
}

// TestOverflowShows holds that numbers too large for the pass end in logits
// that are not finite, which the engine refuses, and not in text; a cap on
// logits does not hide them.
func TestOverflowShows(t *testing.T) {
	for _, arch := range model.Architectures() {
		for _, name := range []string{"blk.0.attn_norm.weight", "blk.0.attn_output.weight", "blk.1.ffn_down.weight"} {
			c := newContainer(arch)
			c.tensor(name).fill = floatBytes(3e38, -3e38, 3e38)
			if strings.HasPrefix(arch, "gemma") {
				c.tensor("output_norm.weight").fill = floatBytes(3e38)
			}
			logits, err := c.tryLogits(t)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.ContainsFunc(logits, func(z float32) bool { return z-z != 0 }) {
				t.Errorf("%s, %s: all logits are finite, such as %g", arch, name, logits[:4])
			}
		}
	}
}
