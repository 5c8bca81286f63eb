package model

// Qwen2 (Yang et al. 2024) is Llama with biases of q, k and v. Qwen3 (2025) has
// none, and norms each head of q and k.

func configureQwen(c *config, r *reader) {}

func qwen3Tensors(l *loader, i int) layer {
	y := llamaTensors(l, i)
	y.qNorm = l.vector(i, "attn_q_norm.weight", l.config.HeadDim)
	y.kNorm = l.vector(i, "attn_k_norm.weight", l.config.HeadDim)
	return y
}

func qwen3Layer(p *pass, l *layer) {
	p.norm(l.attnNorm)
	p.projectQKV(l)
	p.rotateAndStore(l) // q and k are normed a head first
	p.attend(l)
	p.addProduct(l.wo, l.bo, p.attended)
	p.norm(l.ffnNorm)
	p.gated(l, p.model.config.gate)
	p.addProduct(l.down, nil, p.feedForward)
}
