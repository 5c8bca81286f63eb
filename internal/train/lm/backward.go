package lm

import "github.com/avalnetwork/aval/internal/tensor"

// reach says how far down gradients are of use: lowest is the first layer with
// a parameter, and below tells whether the input of that layer needs one too.
func (m *Model) reach() (lowest int, below bool) {
	if m.embedding.trained() {
		return 0, true
	}
	for i := range m.layers {
		learns := false
		l := &m.layers[i]
		for _, x := range []*linear{&l.q, &l.k, &l.v, &l.out, &l.gate, &l.up, &l.down} {
			learns = learns || x.learns()
		}
		if learns {
			return i, false
		}
	}
	return len(m.layers), false
}

// backwardLayer is the way back through [Model.forwardLayer]: work.dx holds the
// gradient of what the layer gave and, if below, gets that of x.
func (m *Model) backwardLayer(l *layer, a *activations, x []float32, b *batch, below bool) {
	m.backwardFeedForward(l, a, b)
	m.backwardAttention(l, a, x, b, below)
}

func (m *Model) backwardFeedForward(l *layer, a *activations, b *batch) {
	w, dim, ffn, rows := &m.work, m.desc.Dim, m.desc.FFN, b.rows
	dy := m.postNormBack(a.y2, l.ffnPostNorm, rows)
	f := rows * ffn
	m.machine.Gate(m.gateOf(), w.gated[:f], a.g[:f], a.u[:f])
	m.projectBack(w.dgate, w.gated, rows, []*linear{&l.down}, [][]float32{dy})
	m.machine.GateBackward(m.gateOf(), w.dgate[:f], w.dup[:f], w.dgate[:f], a.g[:f], a.u[:f])
	m.rmsNorm(w.h, a.mid, l.ffnNorm, rows, dim) // also the factors that its way back needs
	m.projectBack(w.dh, w.h, rows, []*linear{&l.gate, &l.up}, [][]float32{w.dgate, w.dup})
	m.normBack(w.dx, w.dh, a.mid, l.ffnNorm, rows, dim)
}

func (m *Model) backwardAttention(l *layer, a *activations, x []float32, b *batch, below bool) {
	w, c, rows := &m.work, m.desc.Config, b.rows
	dy := m.postNormBack(a.y1, l.attnPostNorm, rows)
	m.projectBack(w.da, a.a, rows, []*linear{&l.out}, [][]float32{dy})
	m.attendBack(l, a, b)
	if l.rotated {
		m.rotateBack(l, b)
	}
	dq, dk := w.dq, w.dk
	if l.qNorm.w != nil {
		dq, dk = m.headNormsBack(l, a, rows)
	}
	dh := w.dh
	if !below {
		dh = nil
	}
	m.rmsNorm(w.h, x, l.attnNorm, rows, c.Dim)
	m.projectBack(dh, w.h, rows, []*linear{&l.q, &l.k, &l.v}, [][]float32{dq, dk, w.dv})
	if below || l.attnNorm.dw != nil {
		m.normBack(w.dx, w.dh, x, l.attnNorm, rows, c.Dim)
	}
}

// normBack adds the gradient of a norm of x to dx; work.inv has its factors.
func (m *Model) normBack(dx, dy, x []float32, v vector, rows, dim int) {
	m.machine.RMSNormBackward(dx, v.dw, dy, x, v.w, m.work.inv, rows, dim)
}

// postNormBack returns the gradient of a part's output y, which is that of the
// residual stream if no norm came after the part.
func (m *Model) postNormBack(y []float32, v vector, rows int) []float32 {
	w, dim := &m.work, m.desc.Dim
	if v.w == nil {
		return w.dx
	}
	m.rmsNorm(w.h, y, v, rows, dim)
	clear(w.dy[:rows*dim])
	m.normBack(w.dy, w.dx, y, v, rows, dim)
	return w.dy
}

// headNormsBack is the way back through the norms of the heads of q and k.
func (m *Model) headNormsBack(l *layer, a *activations, rows int) (dq, dk []float32) {
	w, c := &m.work, m.desc.Config
	dq, dk = w.dkh, w.dvh // free again
	for _, x := range []struct {
		dx, dy, x []float32
		v         vector
		heads     int
	}{{dq, w.dq, a.q0, l.qNorm, c.Heads}, {dk, w.dk, a.k0, l.kNorm, c.KVHeads}} {
		n := rows * x.heads
		m.rmsNorm(x.dx, x.x, x.v, n, c.HeadDim)
		clear(x.dx[:n*c.HeadDim])
		m.normBack(x.dx, x.dy, x.x, x.v, n, c.HeadDim)
	}
	return dq, dk
}

// rotateBack turns the gradients of q and k back.
func (m *Model) rotateBack(l *layer, b *batch) {
	w, c := &m.work, m.desc.Config
	qd, kd := c.Heads*c.HeadDim, c.KVHeads*c.HeadDim
	m.machine.For(b.rows, 8, func(_, from, to int) {
		for i := from; i < to; i++ {
			m.rotate(l, w.dq[i*qd:][:qd], b.positions[i], tensor.RotateBackward)
			m.rotate(l, w.dk[i*kd:][:kd], b.positions[i], tensor.RotateBackward)
		}
	})
}
