package operation

import (
	"encoding/binary"
	"fmt"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/model"
)

// LayerCell is the computation of a layer at a position.
type LayerCell struct {
	Layer, Position int
	// Token is the id at Position; only layer 0 looks at it.
	Token int32
}

// LayerTensors names the tensors that [PlanLayer] asks a header for, beside the
// key general.architecture and those that begin with the architecture and a
// dot: single ones and all that begin with a prefix.
func LayerTensors(arch string, layer int) (names, prefixes []string) {
	names = []string{"rope_freqs.weight"}
	if arch == "phi3" {
		names = []string{"rope_factors_long.weight", "rope_factors_short.weight"}
	}
	if layer == 0 {
		names = append(names, "token_embd.weight")
	}
	return names, []string{fmt.Sprintf("blk.%d.", layer)}
}

// PlanLayer makes the plan of a layer cell of the model that h is the header
// of; context is the number of positions that the run's sequence might have
// had, 0 for what the model was trained for. Adapters changed the model, in
// this order.
func PlanLayer(h model.Header, context int, c LayerCell, adapters ...Adapter) (*Plan, error) {
	d, err := describe(h, context)
	if err != nil {
		return nil, err
	}
	if c.Layer < 0 || c.Layer >= d.Layers || c.Position < 0 || c.Position >= d.Limit {
		return nil, fmt.Errorf("operation: no cell of layer %d at position %d: the model has %d layers, its sequences at most %d positions", c.Layer, c.Position, d.Layers, d.Limit)
	}
	y, err := d.Layer(c.Layer)
	if err != nil {
		return nil, err
	}
	b := newBuilder(d, adapters)
	x := vector{in: Input{Kind: X, Layer: c.Layer - 1, Position: c.Position}, layout: tiles(d.Dim), n: d.Dim}
	if c.Layer == 0 {
		e, err := d.Embedding()
		if err != nil {
			return nil, err
		}
		if c.Token < 0 || int(c.Token) >= e.Rows {
			return nil, fmt.Errorf("operation: token %d is not in the vocabulary of %d", c.Token, e.Rows)
		}
		x = b.embed(e, c)
	}
	b.layer(y, c, x)
	return b.done()
}

func describe(h model.Header, context int) (*model.Description, error) {
	if context < 0 || context > model.MaxContext {
		return nil, fmt.Errorf("operation: context %d, want 0 to %d", context, model.MaxContext)
	}
	return model.Describe(h, context)
}

func (b *builder) done() (*Plan, error) {
	if b.err != nil {
		return nil, b.err
	}
	return b.plan, nil
}

// layer adds the operations of a layer: section 8 of spec/numerics.md.
func (b *builder) layer(y *model.LayerParts, c LayerCell, x vector) {
	h := b.activations("attn_norm", b.norm("attn_norm", x, y.AttnNorm), y.Q, y.K, y.V)
	q, k, v := b.product("attn_q", y.Q, h), b.product("attn_k", y.K, h), b.product("attn_v", y.V, h)
	q, k, v = b.bias("attn_q.bias", q, y.QBias), b.bias("attn_k.bias", k, y.KBias), b.bias("attn_v.bias", v, y.VBias)
	q, k = b.headNorm("attn_q_norm", q, y.QNorm), b.headNorm("attn_k_norm", k, y.KNorm) // where there are any, as the biases
	q, k = b.rotate("attn_q.rope", q, y, c.Position), b.rotate("attn_k.rope", k, y, c.Position)
	a := b.attention(q, b.store(k, v), y, c)
	x = b.residual("attn_output", x, a, y.Out, y.OutBias, y.AttnPostNorm)
	h = b.activations("ffn_norm", b.norm("ffn_norm", x, y.FFNNorm), y.GateUp[0], y.GateUp[1])
	gate, up := b.product("ffn_gate", y.GateUp[0], h), b.product("ffn_up", y.GateUp[1], h)
	b.residual("ffn_down", x, b.gated(gate, up), y.Down, model.Part{}, y.FFNPostNorm)
	b.plan.result = b.next() - 1
}

// residual adds x + norm(a W + bias), the bias and the norm where there are
// any.
func (b *builder) residual(name string, x, a vector, w, bias, norm model.Part) vector {
	y := b.product(name, w, b.activations(name+".input", a, w))
	y = b.bias(name+".bias", y, bias)
	if norm.Tensor != nil {
		y = b.norm(name+".norm", y, norm)
	}
	return b.sum(name+".residual", x, y)
}

// embed adds the embedding of the cell's token, as adapters change it.
func (b *builder) embed(e model.Part, c LayerCell) vector {
	scale := b.model.EmbeddingScale
	pairs := b.pairs(e.Tensor)
	if len(pairs) == 0 {
		return b.row("token_embd", e.Tensor.Name, e.Tensor, c, scale)
	}
	x := b.row("token_embd", e.Tensor.Name, e.Tensor, c, 1)
	for _, p := range pairs {
		low := b.row("token_embd.lora_a", AdapterTensor(p.adapter, p.A.Name), p.A, c, 1)
		high := b.multiply("token_embd.lora_b", AdapterTensor(p.adapter, p.B.Name), p.B, activations{low, -1})
		x = b.addScaled("token_embd.lora", x, high, p.scale)
	}
	if scale == 1 {
		return x
	}
	return b.vector("token_embd.scale", x.n, func(l *needs, from, to int) {
		l.vector(x, from, to)
	}, func(s *step) {
		for i := range len(s.out) / 4 {
			put(s.out, i, float32(float(s.in[0], i)*scale))
		}
	})
}

// row adds the row of the cell's token of a tensor, times a scale.
func (b *builder) row(name, tensor string, x *gguf.Tensor, c LayerCell, scale float32) vector {
	t, typ := b.tiling(tensor, x), x.Type
	elems, size := typ.Block()
	row := int(c.Token)
	token := binary.LittleEndian.AppendUint32(nil, uint32(row))
	return b.vector(name, t.Cols, func(l *needs, from, to int) {
		l.add(Input{Kind: Tokens, From: c.Position, To: c.Position + 1}, 0, 4)
		l.list[0].want = token
		i := t.At(row, from)
		tile := t.Tile(i)
		l.tile(tensor, i)
		n := &l.list[1]
		n.skip = (row-tile.Row)*(tile.Size/tile.Rows) + (from-tile.Col)/elems*size
		n.size = (to - from) / elems * size
	}, func(s *step) {
		for i, v := range widen(typ, s.in[1]) {
			if scale != 1 {
				v = float32(v * scale)
			}
			put(s.out, i, v)
		}
	})
}

// heads is the layout of a vector with a leaf for each head.
func (b *builder) heads(n int) layout {
	d := b.model.HeadDim
	return layout{n / d, 0, d, d, 4}
}

// headNorm adds the norm of each head of x.
func (b *builder) headNorm(name string, x vector, w model.Part) vector {
	if w.Tensor == nil {
		return x
	}
	b.tensor(w)
	y, d, eps := b.heads(x.n), b.model.HeadDim, b.model.Epsilon
	op := b.add(name, y, func(l *needs, h int) {
		l.vector(x, h*d, (h+1)*d)
		l.weights(w, 0, d)
	}, func(s *step) {
		var acc [lanes]float32
		sumSquares(&acc, s.in[0])
		r := normScale(&acc, d, eps)
		for i, v := range widen(w.Tensor.Type, s.in[1]) {
			put(s.out, i, float32(float32(float(s.in[0], i)*r)*v))
		}
	})
	return result(op, y, 0, x.n)
}

// rotate adds the rotation of each head of x.
func (b *builder) rotate(name string, x vector, p *model.LayerParts, position int) vector {
	if !p.Rotated {
		return x
	}
	factors, err := b.model.Factors(p)
	if err != nil {
		b.fail(err)
		return x
	}
	if factors.Tensor != nil {
		b.tensor(factors)
	}
	y, d := b.heads(x.n), b.model.HeadDim
	op := b.add(name, y, func(l *needs, h int) {
		l.vector(x, h*d, (h+1)*d)
		if factors.Tensor != nil {
			l.weights(factors, 0, factors.Cols)
		}
	}, func(s *step) {
		var f []float32
		if factors.Tensor != nil {
			f = widen(factors.Tensor.Type, s.in[1])
		}
		head := floats(s.in[0])
		cos, sin := b.model.Angles(p, f, position)
		b.model.Rotate(head, cos, sin)
		putAll(s.out, head)
	})
	return result(op, y, 0, x.n)
}
