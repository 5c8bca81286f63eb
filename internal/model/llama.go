package model

// Llama (Touvron et al. 2023; Llama 3, Dubey et al. 2024), and what shares its
// layer: Mistral, TinyLlama, SmolLM2, and by the tensors they have Qwen2
// (biases of q, k, v) and Phi-3 (fused projections).

func configureLlama(c *config, _ *reader) {
	c.interleaved = true // rotary pairs are neighbours in these files
}

// SmolLM3 (Hugging Face 2025): every fourth layer has no rotary positions.
func configureSmolLM3(c *config, r *reader) {
	c.interleaved = true
	for i := range c.layers {
		c.layers[i].noRope = (i+1)%4 == 0
	}
}

func llamaTensors(l *loader, i int) layer {
	c := l.config
	return layer{
		attnNorm: l.vector(i, "attn_norm.weight", c.Dim),
		wq:       l.matrix(i, "attn_q.weight", c.queryDim(), c.Dim),
		wk:       l.matrix(i, "attn_k.weight", c.keyDim(), c.Dim),
		wv:       l.matrix(i, "attn_v.weight", c.keyDim(), c.Dim),
		bq:       l.optional(i, "attn_q.bias", c.queryDim()),
		bk:       l.optional(i, "attn_k.bias", c.keyDim()),
		bv:       l.optional(i, "attn_v.bias", c.keyDim()),
		wo:       l.matrix(i, "attn_output.weight", c.Dim, c.queryDim()),
		bo:       l.optional(i, "attn_output.bias", c.Dim),
		ffnNorm:  l.vector(i, "ffn_norm.weight", c.Dim),
		gate:     l.matrix(i, "ffn_gate.weight", c.FFN, c.Dim),
		up:       l.matrix(i, "ffn_up.weight", c.FFN, c.Dim),
		down:     l.matrix(i, "ffn_down.weight", c.Dim, c.FFN),
	}
}

func llamaLayer(p *pass, l *layer) {
	p.norm(l.attnNorm)                       // h = norm(x)
	p.projectQKV(l)                          // q, k, v = h Wq, h Wk, h Wv
	p.rotateAndStore(l)                      // rotary positions; k and v to the cache
	p.attend(l)                              // a = softmax(q kT) v
	p.addProduct(l.wo, l.bo, p.attended)     // x += a Wo
	p.norm(l.ffnNorm)                        // h = norm(x)
	p.gated(l, p.model.config.gate)          // g = silu(h Wgate) * (h Wup)
	p.addProduct(l.down, nil, p.feedForward) // x += g Wdown
}
