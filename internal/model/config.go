package model

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/gguf"
)

// Limits of the numbers in a file's metadata.
const (
	maxLayers  = 1 << 10
	maxDim     = 1 << 18
	maxContext = 1 << 20 // rotary angles are exact for positions below it
	maxVocab   = 1 << 22
)

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

// reader reads the metadata of an architecture and keeps the first error.
type reader struct {
	f    *gguf.File
	arch string
	err  error
}

func (r *reader) fail(key, format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("metadata %s.%s: %s", r.arch, key, fmt.Sprintf(format, args...))
	}
}

func (r *reader) uint(key string) (uint64, bool) {
	v, ok := r.f.Uint(r.arch + "." + key)
	if !ok {
		// Some values may differ by layer; files of the known families
		// repeat the same one.
		if all, is := r.f.Ints(r.arch + "." + key); is && len(all) > 0 {
			for _, x := range all {
				if x != all[0] || x < 0 {
					r.fail(key, "differs between layers, which is not supported")
				}
			}
			return uint64(all[0]), true
		}
	}
	return v, ok
}

func (r *reader) int(key string, missing int) int {
	v, ok := r.uint(key)
	if !ok {
		return missing
	}
	if v > math.MaxInt32 {
		r.fail(key, "%d is too large", v)
		return missing
	}
	return int(v)
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

func (r *reader) float(key string, missing float32) float32 {
	v, ok := r.f.Float(r.arch + "." + key)
	if !ok {
		return missing
	}
	if math.IsNaN(v) || math.IsInf(v, 0) || math.Abs(v) > math.MaxFloat32 {
		r.fail(key, "is not finite")
		return missing
	}
	return float32(v)
}

func readConfig(f *gguf.File, arch *architecture, context int) (*config, error) {
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
	if v := r.int("attention.value_length", c.HeadDim); v != c.HeadDim {
		r.fail("attention.value_length", "is %d, keys have %d: not supported", v, c.HeadDim)
	}
	c.eps = r.float("attention.layer_norm_rms_epsilon", 1e-5)
	c.rotary = r.int("rope.dimension_count", c.HeadDim)
	switch {
	case r.err != nil:
	case c.KVHeads < 1 || c.Heads%c.KVHeads != 0:
		r.fail("attention.head_count_kv", "%d query heads cannot share %d key-value heads", c.Heads, c.KVHeads)
	case c.HeadDim < 2 || c.HeadDim > 1024 || c.Heads*c.HeadDim > maxDim:
		r.fail("attention.key_length", "%d is not supported", c.HeadDim)
	case c.rotary < 2 || c.rotary > c.HeadDim || c.rotary%2 != 0:
		r.fail("rope.dimension_count", "%d is not an even number up to %d", c.rotary, c.HeadDim)
	case !(c.eps > 0):
		r.fail("attention.layer_norm_rms_epsilon", "is not positive")
	}
	if r.err != nil {
		return nil, r.err
	}
	c.limit = min(c.Context, maxContext)
	if context > 0 {
		c.limit = min(context, maxContext)
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
