package model

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
)

// Limits of the numbers in a file's metadata.
const (
	maxLayers  = 1 << 10
	maxDim     = 1 << 18
	maxVocab   = 1 << 22
	maxHeadDim = 1 << 10
	// maxRatio bounds the width of a layer's parts beside its own, so that the
	// memory of a pass is in proportion to the weights (published: up to 10).
	maxRatio = 64
)

// MaxContext bounds the positions of a sequence: rotary angles are exact for
// those below it.
const MaxContext = 1 << 20

// Config describes a model.
type Config struct {
	Arch    string // general.architecture
	Vocab   int    // tokens
	Context int    // positions that the model was trained for
	Dim     int    // elements of the residual stream
	Layers  int
	Heads   int // query heads
	KVHeads int // key-value heads
	HeadDim int // elements of a head
	FFN     int // elements of the feed-forward layer
}

// config is Config with what only the forward pass needs.
type config struct {
	Config
	limit          int // positions that a sequence may have
	eps            float32
	interleaved    bool // rotary pairs are (2j, 2j+1), not (j, j+n/2)
	rotary         int  // elements of a head that are rotated
	ropes          []rope
	embeddingScale float32
	scoreScale     float32
	scoreCap       float32 // 0: none
	logitCap       float32
	gate           kernel.Gate
	layers         []layerConfig
}

// layerConfig is what may differ from layer to layer.
type layerConfig struct {
	window int // positions a query sees, 0 for all
	rope   int // index into ropes
	noRope bool
}

func (c *config) queryDim() int { return c.Heads * c.HeadDim }
func (c *config) keyDim() int   { return c.KVHeads * c.HeadDim }

// Metadata hands out the values of a file's metadata: a [gguf.File], or the part
// of one that someone proved.
type Metadata interface {
	Value(key string) (gguf.Value, bool)
}

// reader reads the metadata of an architecture and keeps the first error.
type reader struct {
	f    Metadata
	arch string
	err  error
}

func (r *reader) fail(key, format string, args ...any) {
	if r.err == nil {
		r.err = &FileError{"metadata " + r.arch + "." + key, fmt.Sprintf(format, args...), false}
	}
}

// refuse is fail for what a sound file may hold.
func (r *reader) refuse(key, format string, args ...any) {
	if r.err == nil {
		r.err = &FileError{"metadata " + r.arch + "." + key, fmt.Sprintf(format, args...), true}
	}
}

// uint returns a whole number; a value of another kind is an error.
func (r *reader) uint(key string) (uint64, bool) {
	value, ok := r.f.Value(r.arch + "." + key)
	if !ok {
		return 0, false
	}
	if v, ok := value.Uint(); ok {
		return v, true
	}
	// Some values may differ by layer; files of the known families repeat the
	// same one.
	all, ok := value.Ints()
	if !ok || len(all) == 0 || all[0] < 0 {
		r.fail(key, "is %v (%v), want a whole number", value, value.Kind())
		return 0, false
	}
	for _, x := range all {
		if x != all[0] {
			r.refuse(key, "differs between layers, which is not supported")
		}
	}
	return uint64(all[0]), true
}

// int returns a number from 0 on, or missing if there is none.
func (r *reader) int(key string, missing int) int {
	v, ok := r.uint(key)
	if !ok {
		return missing
	}
	if v > math.MaxInt32 {
		r.fail(key, "is %d, want at most %d", v, math.MaxInt32)
		return missing
	}
	return int(v)
}

// positive is int for numbers that cannot be 0.
func (r *reader) positive(key string, missing int) int {
	v := r.int(key, missing)
	if v == 0 {
		r.fail(key, "is 0, want 1 or more")
		return 1
	}
	return v
}

// need returns a number from 1 to limit that must be there.
func (r *reader) need(key string, limit int) int {
	v, ok := r.uint(key)
	switch {
	case !ok:
		r.fail(key, "is missing")
	case v < 1 || v > uint64(limit):
		r.fail(key, "is %d, want 1 to %d", v, limit)
	default:
		return int(v)
	}
	return 1
}

// float returns a finite number, or missing if there is none.
func (r *reader) float(key string, missing float32) float32 {
	value, ok := r.f.Value(r.arch + "." + key)
	if !ok {
		return missing
	}
	v, ok := value.Float()
	if !ok {
		r.fail(key, "is %v (%v), want a number", value, value.Kind())
		return missing
	}
	if math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) > math.MaxFloat32 {
		r.fail(key, "is %v, want a finite number", value)
		return missing
	}
	return float32(v)
}

// above is float for numbers that must be more than least.
func (r *reader) above(least float32, key string, missing float32) float32 {
	v := r.float(key, missing)
	if !(v > least) {
		r.fail(key, "is %v, want more than %v", v, least)
		return least + 1
	}
	return v
}

// limit is float for a soft cap: 0 for none, never negative.
func (r *reader) limit(key string, missing float32) float32 {
	v := r.float(key, missing)
	if v < 0 {
		r.fail(key, "is %v, want 0 or more", v)
	}
	return v
}

// base is float for the base of rotary frequencies.
func (r *reader) base(key string) float64 {
	v := r.float(key, 10000)
	if !(v >= 1 && v <= 1e12) {
		r.fail(key, "is %v, want 1 to 1e12", v)
		return 1
	}
	return float64(v)
}

// text returns a string, or missing if there is none.
func (r *reader) text(key, missing string) string {
	value, ok := r.f.Value(r.arch + "." + key)
	if !ok {
		return missing
	}
	s, ok := value.Text()
	if !ok {
		r.fail(key, "is %v (%v), want a string", value, value.Kind())
	}
	return s
}

// configOf reads the metadata of a model that may have context positions, or 0
// for what it was trained for.
func configOf(f Metadata, context int) (*architecture, *config, error) {
	value, ok := f.Value("general.architecture")
	name, isText := value.Text()
	if !ok || !isText {
		return nil, nil, &FileError{"metadata general.architecture", "is missing, so that the file does not say what model it holds", false}
	}
	arch, err := architectureOf(name)
	if err != nil {
		return nil, nil, err
	}
	c, err := readConfig(f, arch, context)
	return arch, c, err
}

func readConfig(f Metadata, arch *architecture, context int) (*config, error) {
	r := &reader{f: f, arch: arch.name}
	c := &config{Config: Config{
		Arch:    arch.name,
		Context: r.need("context_length", math.MaxInt32),
		Dim:     r.need("embedding_length", maxDim),
		Layers:  r.need("block_count", maxLayers),
		Heads:   r.need("attention.head_count", maxDim),
		FFN:     r.need("feed_forward_length", 4*maxDim),
	}}
	c.KVHeads = r.int("attention.head_count_kv", c.Heads)
	c.HeadDim = r.int("attention.key_length", c.Dim/c.Heads)
	if c.HeadDim == 0 {
		r.fail("attention.key_length", "is 0, or %d heads too many for %d", c.Heads, c.Dim)
	}
	if v := r.int("attention.value_length", c.HeadDim); v != c.HeadDim {
		r.refuse("attention.value_length", "is %d, keys have %d; different lengths are not supported", v, c.HeadDim)
	}
	if value, ok := r.f.Value(r.arch + ".attention.causal"); ok {
		if causal, ok := value.Bool(); ok && !causal {
			r.refuse("attention.causal", "is false, attention to later positions is not supported")
		}
	}
	if f := r.float("rope.scaling.attn_factor", 1); f != 1 && arch.name != "phi3" && r.text("rope.scaling.type", "linear") != "yarn" {
		r.refuse("rope.scaling.attn_factor", "is %v, which is supported with yarn and in phi3 only", f)
	}
	if n := r.int("expert_count", 0); n > 0 {
		r.refuse("expert_count", "is %d, mixtures of experts are not supported", n)
	}
	c.eps = r.above(0, "attention.layer_norm_rms_epsilon", 1e-5)
	c.rotary = r.int("rope.dimension_count", c.HeadDim)
	switch {
	case r.err != nil:
	case c.KVHeads < 1 || c.Heads%c.KVHeads != 0:
		r.fail("attention.head_count_kv", "is %d, which does not divide the %d query heads", c.KVHeads, c.Heads)
	case c.HeadDim < 2 || c.HeadDim > maxHeadDim:
		r.fail("attention.key_length", "is %d, want 2 to %d", c.HeadDim, maxHeadDim)
	case c.queryDim() > maxRatio*c.Dim || c.queryDim() > maxDim:
		r.fail("attention.head_count", "%d heads of %d are too wide for a layer of %d", c.Heads, c.HeadDim, c.Dim)
	case c.FFN > maxRatio*c.Dim:
		r.fail("feed_forward_length", "is %d, too wide for a layer of %d", c.FFN, c.Dim)
	case c.rotary < 2 || c.rotary > c.HeadDim || c.rotary%2 != 0:
		r.fail("rope.dimension_count", "is %d, want an even number from 2 to %d, the length of a head", c.rotary, c.HeadDim)
	}
	if r.err != nil {
		return nil, r.err
	}
	c.limit = min(c.Context, MaxContext)
	if context > 0 {
		c.limit = context
	}
	c.embeddingScale = 1
	c.scoreScale = float32(1 / math.Sqrt(float64(c.HeadDim)))
	c.layers = make([]layerConfig, c.Layers)
	c.ropes = []rope{readRope(r)}
	if arch.configure(c, r); r.err != nil {
		return nil, r.err
	}
	return c, nil
}
