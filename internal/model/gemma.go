package model

import (
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
)

// Gemma 2 (2024): norms before and after each part, soft-capped scores and
// logits, a sliding window in every other layer. Gemma 3 (2025): norms of q and
// k instead of soft-capping, five layers with a window to one without, and two
// rotary bases. Both scale the embeddings by sqrt(dim).

func configureGemma2(c *config, r *reader) {
	gemmaScale(c, 46)
	c.scoreCap = r.limit("attn_logit_softcapping", 50)
	c.logitCap = r.limit("final_logit_softcapping", 30)
	window := r.int("attention.sliding_window", 4096)
	if n := r.int("attention.sliding_window_pattern", 2); n != 2 {
		r.refuse("attention.sliding_window_pattern", "is %d, other patterns than 2 are not supported in gemma2", n)
	}
	if local := r.float("rope.freq_base_swa", float32(c.ropes[0].base)); float64(local) != c.ropes[0].base {
		r.refuse("rope.freq_base_swa", "is %v, a base of its own is not supported in gemma2", local)
	}
	for i := range c.layers {
		if i%2 == 0 {
			c.layers[i].window = window
		}
	}
}

func configureGemma3(c *config, r *reader) {
	gemmaScale(c, 62)
	c.logitCap = r.limit("final_logit_softcapping", 0)
	window := r.int("attention.sliding_window", 0)
	if window == 0 {
		return
	}
	local := rope{base: r.base("rope.freq_base_swa"), scale: 1}
	pattern := r.positive("attention.sliding_window_pattern", 6)
	c.ropes = append(c.ropes, local)
	for i := range c.layers {
		if i%pattern < pattern-1 {
			c.layers[i].window = window
			c.layers[i].rope = 1
		}
	}
}

// gemmaScale sets the scales and the gate; the largest model, known by its layers, scales
// scores by the width a head would have if the heads filled the layer.
func gemmaScale(c *config, largest int) {
	c.embeddingScale = float32(math.Sqrt(float64(c.Dim)))
	c.gate = kernel.GateGELU
	if c.Layers == largest {
		c.scoreScale = float32(1 / math.Sqrt(float64(c.Dim/c.Heads)))
	}
}

func gemma2Tensors(l *loader, i int) layer {
	y := llamaTensors(l, i)
	y.attnPostNorm = l.vector(i, "post_attention_norm.weight", l.config.Dim)
	y.ffnPostNorm = l.vector(i, "post_ffw_norm.weight", l.config.Dim)
	return y
}

func gemma3Tensors(l *loader, i int) layer {
	y := gemma2Tensors(l, i)
	y.qNorm = l.vector(i, "attn_q_norm.weight", l.config.HeadDim)
	y.kNorm = l.vector(i, "attn_k_norm.weight", l.config.HeadDim)
	return y
}

func gemma2Layer(p *pass, l *layer) {
	p.norm(l.attnNorm)
	p.projectQKV(l)
	p.rotateAndStore(l)
	p.attend(l)
	p.product(l.wo, l.bo, p.attended) // y = a Wo
	p.addNormed(l.attnPostNorm)       // x += norm(y)
	p.norm(l.ffnNorm)
	p.gated(l, p.model.config.gate)
	p.product(l.down, nil, p.feedForward)
	p.addNormed(l.ffnPostNorm)
}

func gemma3Layer(p *pass, l *layer) { gemma2Layer(p, l) }
