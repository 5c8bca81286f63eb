package model

// Phi-3 (Abdin et al. 2024): Llama's layer with q, k, v in one tensor and gate
// and up in another, and rotary factors for short and long contexts.

func configurePhi3(c *config, r *reader) {
	original := r.positive("rope.scaling.original_context_length", c.Context)
	// The factors of the long form apply where more positions may come than
	// the model first knew.
	c.ropes[0].factors = "rope_factors_short.weight"
	if c.limit > original {
		c.ropes[0].factors = "rope_factors_long.weight"
	}
	c.ropes[0].magnitude = r.above(0, "rope.scaling.attn_factor", 1)
}

func phi3Tensors(l *loader, i int) layer {
	c := l.config
	q, k, f := c.queryDim(), c.keyDim(), c.FFN
	return layer{
		attnNorm: l.vector(i, "attn_norm.weight", c.Dim),
		wq:       l.rows(i, "attn_qkv.weight", 0, q, q+2*k, c.Dim),
		wk:       l.rows(i, "attn_qkv.weight", q, k, q+2*k, c.Dim),
		wv:       l.rows(i, "attn_qkv.weight", q+k, k, q+2*k, c.Dim),
		wo:       l.matrix(i, "attn_output.weight", c.Dim, q),
		ffnNorm:  l.vector(i, "ffn_norm.weight", c.Dim),
		gate:     l.rows(i, "ffn_up.weight", 0, f, 2*f, c.Dim),
		up:       l.rows(i, "ffn_up.weight", f, f, 2*f, c.Dim),
		down:     l.matrix(i, "ffn_down.weight", c.Dim, f),
	}
}
