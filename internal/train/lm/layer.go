package lm

import (
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
)

// gateOf is the activation of the feed-forward layers.
func (m *Model) gateOf() tensor.Activation {
	if m.desc.Gate == kernel.GateGELU {
		return tensor.GELU
	}
	return tensor.SiLU
}

// rmsNorm sets y to the norm of rows of x.
func (m *Model) rmsNorm(y, x []float32, v vector, rows, dim int) {
	m.machine.RMSNorm(y, m.work.inv, x, v.w, rows, dim, m.desc.Epsilon)
}

// embed sets x to the embeddings of the tokens; rows without one are zero.
func (m *Model) embed(x []float32, b *batch) {
	dim, scale := m.desc.Dim, m.desc.EmbeddingScale
	e := &m.embedding
	m.machine.For(b.rows, 16, func(w, from, to int) {
		for i := from; i < to; i++ {
			row := x[i*dim:][:dim]
			switch t := int(b.tokens[i]); {
			case t < 0:
				clear(row)
			case e.trained():
				copy(row, e.w.Data[t*dim:])
			default:
				e.frozen.Row(row, t, m.work.workers[w].kernel)
			}
			if scale != 1 {
				for d := range row {
					row[d] = float32(row[d] * scale)
				}
			}
		}
	})
}

// forwardLayer computes a layer from x to out, [rows][dim], and keeps in a what
// the way back needs (spec/numerics.md, section 8). A nil out is not computed.
func (m *Model) forwardLayer(l *layer, a *activations, out, x []float32, b *batch) {
	w, dim, rows := &m.work, m.desc.Dim, b.rows
	n := rows * dim
	m.rmsNorm(w.h, x, l.attnNorm, rows, dim) // h = norm(x)
	q, k := a.q, a.k
	if l.qNorm.w != nil {
		q, k = a.q0, a.k0
	}
	m.project(w.h, rows, []*linear{&l.q, &l.k, &l.v}, [][]float32{q, k, a.v}) // q, k, v = h Wq, h Wk, h Wv
	m.heads(l, a, b)                                                          // norms of heads, rotary positions, f16
	m.attend(l, a, b)                                                         // a = softmax(q kT) v
	y := w.y
	if l.attnPostNorm.w != nil {
		y = a.y1
	}
	m.project(a.a, rows, []*linear{&l.out}, [][]float32{y}) // y = a Wo
	if l.attnPostNorm.w != nil {
		m.rmsNorm(w.h, y, l.attnPostNorm, rows, dim)
		y = w.h
	}
	m.sum(a.mid[:n], x, y)                      // mid = x + y
	m.rmsNorm(w.h, a.mid, l.ffnNorm, rows, dim) // h = norm(mid)
	m.project(w.h, rows, []*linear{&l.gate, &l.up}, [][]float32{a.g, a.u})
	f := rows * m.desc.FFN
	m.machine.Gate(m.gateOf(), w.gated[:f], a.g[:f], a.u[:f]) // silu(h Wgate) * (h Wup)
	y = w.y
	if l.ffnPostNorm.w != nil {
		y = a.y2
	}
	if out == nil && l.ffnPostNorm.w == nil {
		return // only what is kept was wanted
	}
	m.project(w.gated, rows, []*linear{&l.down}, [][]float32{y})
	if l.ffnPostNorm.w != nil {
		m.rmsNorm(w.h, y, l.ffnPostNorm, rows, dim)
		y = w.h
	}
	if out != nil {
		m.sum(out[:n], a.mid, y) // out = mid + y
	}
}

// sum sets z = x + y.
func (m *Model) sum(z, x, y []float32) {
	m.machine.For(len(z), 1<<14, func(_, from, to int) {
		z, x, y := z[from:to], x[from:to], y[from:to]
		for i, v := range x {
			z[i] = v + y[i]
		}
	})
}

// heads norms (where the layer does) and turns the heads of q and k, and rounds
// k and v to f16 as the engine keeps them.
func (m *Model) heads(l *layer, a *activations, b *batch) {
	c := m.desc.Config
	if l.qNorm.w != nil {
		m.rmsNorm(a.q, a.q0, l.qNorm, b.rows*c.Heads, c.HeadDim)
		m.rmsNorm(a.k, a.k0, l.kNorm, b.rows*c.KVHeads, c.HeadDim)
	}
	qd, kd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	m.machine.For(b.rows, 8, func(_, from, to int) {
		for i := from; i < to; i++ {
			q, k, v := a.q[i*qd:][:qd], a.k[i*kd:][:kd], a.v[i*kd:][:kd]
			if l.rotated {
				m.rotate(l, q, b.positions[i], tensor.Rotate)
				m.rotate(l, k, b.positions[i], tensor.Rotate)
			}
			half(k)
			half(v)
		}
	})
}

// half rounds to f16, saturating.
func half(x []float32) {
	for i, v := range x {
		x[i] = kernel.FromF16(kernel.ToF16Sat(v))
	}
}

// rotate turns all heads of a position, forwards or back.
func (m *Model) rotate(l *layer, x []float32, pos int32, turn func(x, cos, sin []float32, adjacent bool)) {
	d := m.desc
	r, n := &m.ropes[l.rope], d.Rotary/2
	cos, sin := r.cos[int(pos)*n:][:n], r.sin[int(pos)*n:][:n]
	for ; len(x) > 0; x = x[d.HeadDim:] {
		turn(x[:d.HeadDim], cos, sin, d.Adjacent())
	}
}

// turn computes the rotary angles of the positions below n.
func (m *Model) turn(n int) {
	for i := range m.ropes {
		r := &m.ropes[i]
		if n <= r.n {
			continue
		}
		r.n = n
		r.cos, r.sin = m.desc.AnglesBelow(r.parts, r.factors, n)
	}
}
