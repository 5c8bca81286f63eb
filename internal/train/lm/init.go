package lm

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/train"
)

// Architecture is the shape of a model that begins with random numbers. Zero
// fields have the values that their comments give.
type Architecture struct {
	Arch    string  `json:"arch" yaml:"arch"`         // one of model.Architectures; "": llama
	Name    string  `json:"name" yaml:"name"`         // general.name, for people
	Dim     int     `json:"dim" yaml:"dim"`           // elements of the residual stream; must be set
	Layers  int     `json:"layers" yaml:"layers"`     // must be set
	Heads   int     `json:"heads" yaml:"heads"`       // query heads; 0: one for each 32 elements of Dim
	KVHeads int     `json:"kv_heads" yaml:"kv_heads"` // 0: as many as Heads
	HeadDim int     `json:"head_dim" yaml:"head_dim"` // 0: Dim / Heads
	FFN     int     `json:"ffn" yaml:"ffn"`           // elements of the feed-forward layer; 0: 8/3 Dim, rounded up to a multiple of 32
	Context int     `json:"context" yaml:"context"`   // positions; 0: 256
	Untied  bool    `json:"untied" yaml:"untied"`     // the output has a matrix of its own, not the embedding's
	Rope    float32 `json:"rope" yaml:"rope"`         // base of the rotary frequencies; 0: 10000
	Epsilon float32 `json:"epsilon" yaml:"epsilon"`   // of the norms; 0: 1e-5
	// Deviation is the standard deviation of the random numbers, 0: 0.02. The
	// matrices that write to the residual stream get it divided by
	// sqrt(2 Layers), as in GPT-2 (Radford et al. 2019).
	Deviation float32 `json:"deviation" yaml:"deviation"`
}

// Complete puts the meaning of zero fields in their place.
func (a Architecture) Complete() Architecture {
	set := func(v *int, missing int) {
		if *v == 0 {
			*v = missing
		}
	}
	setFloat := func(v *float32, missing float32) {
		if *v == 0 {
			*v = missing
		}
	}
	if a.Arch == "" {
		a.Arch = "llama"
	}
	set(&a.Heads, max(1, a.Dim/32))
	set(&a.KVHeads, a.Heads)
	set(&a.HeadDim, a.Dim/a.Heads)
	set(&a.FFN, (a.Dim*8/3+31)/32*32)
	set(&a.Context, 256)
	setFloat(&a.Rope, 10000)
	setFloat(&a.Epsilon, 1e-5)
	setFloat(&a.Deviation, 0.02)
	return a
}

const (
	// maxInit bounds the numbers of an [Architecture] that its metadata holds.
	maxInit = 1 << 24
	// maxNumbers bounds the parameters of a new model: 16 GiB, and four times
	// as much while AdamW trains it.
	maxNumbers = 1 << 32
)

func (a Architecture) validate() error {
	for _, f := range []struct {
		name string
		v    int
	}{{"dim", a.Dim}, {"layers", a.Layers}, {"heads", a.Heads}, {"kv_heads", a.KVHeads}, {"head_dim", a.HeadDim}, {"ffn", a.FFN}, {"context", a.Context}} {
		if f.v < 1 || f.v > maxInit {
			return fmt.Errorf("architecture: %s is %d, want 1 to %d", f.name, f.v, maxInit)
		}
	}
	if !(a.Deviation > 0 && a.Deviation <= 1) {
		return fmt.Errorf("architecture: deviation is %v, want more than 0 and at most 1", a.Deviation)
	}
	if !slices.Contains(model.Architectures(), a.Arch) {
		return &model.UnknownArchitectureError{Arch: a.Arch}
	}
	return nil
}

// Vocabulary is the metadata of a tokenizer: a [gguf.File] that has one.
type Vocabulary interface {
	Keys() []string
	Value(key string) (gguf.Value, bool)
}

// Init makes a model with random numbers, which follow from seed and the names
// of the tensors; norms begin with ones and biases with zeros. The vocabulary is
// that of tokenizer, whose keys tokenizer.* become those of the model.
// Of the options LoRA must be nil.
func Init(a Architecture, tokenizer Vocabulary, seed uint64, o Options) (*Model, error) {
	if o.LoRA != nil {
		return nil, errors.New("training: a model that begins with random numbers has nothing to freeze; train all of it")
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	a = a.Complete()
	if err := a.validate(); err != nil {
		return nil, err
	}
	h, err := newHeader(a, tokenizer)
	if err != nil {
		return nil, err
	}
	d, err := model.Describe(h, o.Context)
	if err != nil {
		return nil, err
	}
	var total int64
	for _, t := range h.tensors {
		if total += t.Size / 4; total > maxNumbers {
			return nil, fmt.Errorf("architecture: more than %d parameters; make dim, layers, ffn or the vocabulary smaller", int64(maxNumbers))
		}
	}
	return newModel(&Model{desc: d, options: o, header: h}, randomWeights{a, seed})
}

// randomWeights makes the numbers of a new model.
type randomWeights struct {
	a    Architecture
	seed uint64
}

func (w randomWeights) floats(t *gguf.Tensor) ([]float32, error) {
	p := &train.Param{Name: t.Name, Data: make([]float32, t.Elements())}
	switch {
	case strings.HasSuffix(t.Name, "norm.weight"):
		for i := range p.Data {
			p.Data[i] = 1
		}
	case strings.HasSuffix(t.Name, ".bias"):
	case strings.HasSuffix(t.Name, "attn_output.weight"), strings.HasSuffix(t.Name, "ffn_down.weight"):
		train.InitNormal(p, w.seed, float32(float64(w.a.Deviation)/math.Sqrt(float64(2*w.a.Layers))))
	default:
		train.InitNormal(p, w.seed, w.a.Deviation)
	}
	return p.Data, nil
}

func (w randomWeights) matrix(model.Part) (*kernel.Matrix, error) {
	panic("lm: internal error: a new model has nothing frozen")
}

// deviation is that of A of an update: one over the root of its columns, so
// that A x is about as large as an element of x.
func deviation(in int) float32 { return float32(1 / math.Sqrt(float64(in))) }

// header is what the file of a new model says.
type header struct {
	keys    []string
	values  map[string]gguf.Value
	tensors []*gguf.Tensor
	byName  map[string]*gguf.Tensor
}

// Value returns the value of a metadata key.
func (h *header) Value(key string) (gguf.Value, bool) {
	v, ok := h.values[key]
	return v, ok
}

// Tensor returns a tensor, or nil.
func (h *header) Tensor(name string) *gguf.Tensor { return h.byName[name] }

func (h *header) set(key string, v gguf.Value) {
	h.keys = append(h.keys, key)
	h.values[key] = v
}

func (h *header) add(name string, shape ...int) {
	t := &gguf.Tensor{Name: name, Type: gguf.F32, Shape: shape, Size: 4}
	for _, n := range shape {
		t.Size *= int64(n)
	}
	h.tensors = append(h.tensors, t)
	h.byName[name] = t
}

func newHeader(a Architecture, tokenizer Vocabulary) (*header, error) {
	h := &header{values: map[string]gguf.Value{}, byName: map[string]*gguf.Tensor{}}
	tokens, ok := tokenizer.Value("tokenizer.ggml.tokens")
	if !ok || tokens.Len() < 1 {
		return nil, errors.New("architecture: the tokenizer's file has no tokenizer.ggml.tokens: give a model's file, or train a tokenizer")
	}
	vocab := tokens.Len()
	h.set("general.architecture", gguf.ValueOf(a.Arch))
	h.set("general.type", gguf.ValueOf("model"))
	if a.Name != "" {
		h.set("general.name", gguf.ValueOf(a.Name))
	}
	for _, p := range []struct {
		key string
		v   int
	}{
		{"block_count", a.Layers},
		{"context_length", a.Context},
		{"embedding_length", a.Dim},
		{"feed_forward_length", a.FFN},
		{"attention.head_count", a.Heads},
		{"attention.head_count_kv", a.KVHeads},
		{"attention.key_length", a.HeadDim},
		{"attention.value_length", a.HeadDim},
		{"rope.dimension_count", a.HeadDim},
		{"vocab_size", vocab},
	} {
		h.set(a.Arch+"."+p.key, gguf.ValueOf(uint32(p.v)))
	}
	h.set(a.Arch+".attention.layer_norm_rms_epsilon", gguf.ValueOf(a.Epsilon))
	h.set(a.Arch+".rope.freq_base", gguf.ValueOf(a.Rope))
	for _, key := range tokenizer.Keys() {
		if strings.HasPrefix(key, "tokenizer.") {
			v, _ := tokenizer.Value(key)
			h.set(key, v)
		}
	}
	h.declare(a, vocab)
	return h, nil
}

// declare lists the tensors of an architecture, in the order in which files
// have them.
func (h *header) declare(a Architecture, vocab int) {
	gemma := strings.HasPrefix(a.Arch, "gemma")
	headNorms := a.Arch == "qwen3" || a.Arch == "gemma3"
	q, kv := a.Heads*a.HeadDim, a.KVHeads*a.HeadDim
	h.add("token_embd.weight", a.Dim, vocab)
	for i := range a.Layers {
		add := func(name string, shape ...int) { h.add(fmt.Sprintf("blk.%d.%s", i, name), shape...) }
		add("attn_norm.weight", a.Dim)
		if a.Arch == "phi3" {
			add("attn_qkv.weight", a.Dim, q+2*kv)
		} else {
			add("attn_q.weight", a.Dim, q)
			add("attn_k.weight", a.Dim, kv)
			add("attn_v.weight", a.Dim, kv)
		}
		if a.Arch == "qwen2" {
			add("attn_q.bias", q)
			add("attn_k.bias", kv)
			add("attn_v.bias", kv)
		}
		if headNorms {
			add("attn_q_norm.weight", a.HeadDim)
			add("attn_k_norm.weight", a.HeadDim)
		}
		add("attn_output.weight", q, a.Dim)
		if gemma {
			add("post_attention_norm.weight", a.Dim)
		}
		add("ffn_norm.weight", a.Dim)
		if a.Arch == "phi3" {
			add("ffn_up.weight", a.Dim, 2*a.FFN)
		} else {
			add("ffn_gate.weight", a.Dim, a.FFN)
			add("ffn_up.weight", a.Dim, a.FFN)
		}
		add("ffn_down.weight", a.FFN, a.Dim)
		if gemma {
			add("post_ffw_norm.weight", a.Dim)
		}
	}
	h.add("output_norm.weight", a.Dim)
	if a.Untied || a.Arch == "phi3" {
		h.add("output.weight", a.Dim, vocab)
	}
}
