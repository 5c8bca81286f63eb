package lm

import (
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
)

// linear is a product with a matrix, y = x Wᵀ: either a frozen one as the
// engine has it, perhaps with a low-rank update, or one that is trained.
type linear struct {
	in, out int
	frozen  *kernel.Matrix
	update  *update
	w, dw   tensor.Matrix // [out][in], of one that is trained
	bias    vector
}

// update adds s B A to a frozen matrix.
type update struct {
	scale float32
	a, da tensor.Matrix // [rank][in]
	b, db tensor.Matrix // [out][rank]
}

func (l *linear) trained() bool { return l.frozen == nil }

// learns tells whether a gradient of the product is of use to a parameter of l.
func (l *linear) learns() bool { return l.trained() || l.update != nil || l.bias.dw != nil }

const (
	// actRows is how many rows of activations are packed at a time: with more
	// of them they leave the cache before the next panel of weights wants them.
	actRows = 256
	// frozenBytes is about the memory of the weights that are unpacked at a
	// time on the way back.
	frozenBytes = 4 << 20
)

// project sets ys[i] = x ls[i], of rows rows each: the product, plus the
// update's, plus the bias.
func (m *Model) project(x []float32, rows int, ls []*linear, ys [][]float32) {
	for at := 0; at < rows; at += actRows {
		m.projectFrozen(x, at, min(actRows, rows-at), ls, ys)
	}
	for i, l := range ls {
		y := tensor.Of(ys[i], rows, l.out)
		xs := tensor.Of(x, rows, l.in)
		if l.trained() {
			m.machine.Mul(y, xs, l.w.T())
		}
		if u := l.update; u != nil {
			t := tensor.Of(m.work.low, rows, u.a.Rows)
			m.machine.Mul(t, xs, u.a.T())
			wide := tensor.Of(m.work.wide, rows, l.out)
			m.machine.Mul(wide, t, u.b.T())
			m.machine.AddScaled(y.Data, u.scale, wide.Data)
		}
		if l.bias.w != nil {
			m.machine.AddBias(y.Data, l.bias.w, rows, l.out)
		}
	}
}

// projectFrozen computes n rows from first on of the products with frozen
// matrices, with the kernels of the engine.
func (m *Model) projectFrozen(x []float32, first, n int, ls []*linear, ys [][]float32) {
	var floats, quants bool
	var frozen []*linear
	var outs [][]float32
	for i, l := range ls {
		if l.trained() {
			continue
		}
		frozen, outs = append(frozen, l), append(outs, ys[i])
		if l.frozen.Format.Float() {
			floats = true
		} else {
			quants = true
		}
	}
	if len(frozen) == 0 {
		return
	}
	in, k := frozen[0].in, m.machine.Kernel()
	a := m.work.acts
	a.Reset(n, in)
	m.machine.For(n, 8, func(w, from, to int) {
		s := m.work.workers[w].kernel
		for i := from; i < to; i++ {
			row := x[(first+i)*in:][:in]
			if floats {
				a.SetFloat(i, row)
			}
			if quants {
				k.Quantize(row, s)
				a.SetQuantized(i, s)
			}
		}
	})
	panels := 0
	for _, l := range frozen {
		panels += l.frozen.Panels()
	}
	m.machine.For(panels, 1, func(w, from, to int) {
		ws := m.work.workers[w]
		i := 0
		for p := from; p < to; p++ {
			j := p
			for i = 0; j >= frozen[i].frozen.Panels(); i++ {
				j -= frozen[i].frozen.Panels()
			}
			f := frozen[i].frozen
			k.Mul(ws.panel, f, j, a, ws.kernel)
			col := j * kernel.Panel
			width := min(kernel.Panel, f.Rows-col)
			for r := range n {
				copy(outs[i][(first+r)*f.Rows+col:][:width], ws.panel[r*kernel.Panel:])
			}
		}
	})
}

// projectBack is the way back through [Model.project]: it adds the gradients of
// the parameters and, unless dx is nil, sets dx to the gradient of x. That is
// one sum over the outputs of ls[0], ls[1] and so on, in this order, and then
// over the ranks of their updates.
func (m *Model) projectBack(dx, x []float32, rows int, ls []*linear, dys [][]float32) {
	for i, l := range ls {
		m.matrixBack(dx, x, rows, l, dys[i], i > 0)
	}
	for i, l := range ls {
		if l.update == nil {
			continue
		}
		// Parts of one tensor share A, whose gradient is one sum.
		first := i == 0 || !l.update.shares(ls[i-1].update)
		last := i == len(ls)-1 || !l.update.shares(ls[i+1].update)
		m.updateBack(dx, x, rows, l, dys[i], first, last)
	}
}

// matrixBack does the part of a matrix and its bias; dx is added to if cont.
func (m *Model) matrixBack(dx, x []float32, rows int, l *linear, dys []float32, cont bool) {
	dy := tensor.Of(dys, rows, l.out)
	if l.bias.dw != nil {
		m.machine.BiasBackward(l.bias.dw, dys, rows, l.out)
	}
	if l.trained() {
		m.machine.MulAdd(l.dw, dy.T(), tensor.Of(x, rows, l.in))
	}
	if dx == nil {
		return
	}
	to := tensor.Of(dx, rows, l.in)
	switch {
	case !l.trained():
		m.frozenBack(to, dy, l.frozen, cont)
	case cont:
		m.machine.MulAdd(to, dy, l.w)
	default:
		m.machine.Mul(to, dy, l.w)
	}
}

// shares tells whether two updates have one A.
func (u *update) shares(o *update) bool { return o != nil && &u.a.Data[0] == &o.a.Data[0] }

// updateBack does the part of an update: with e = s dy, t = x Aᵀ and dt = e B,
// dB += eᵀ t, dA += dtᵀ x, dx += dt A. Of several updates with one A, first and
// last tell the ends: dt is one sum over the outputs of all.
func (m *Model) updateBack(dx, x []float32, rows int, l *linear, dys []float32, first, last bool) {
	u, xs := l.update, tensor.Of(x, rows, l.in)
	rank := u.a.Rows
	t, dt := tensor.Of(m.work.low, rows, rank), tensor.Of(m.work.low[rows*rank:], rows, rank)
	e := tensor.Of(m.work.wide, rows, l.out)
	copy(e.Data, dys)
	m.machine.Scale(e.Data, u.scale)
	if first {
		m.machine.Mul(t, xs, u.a.T())
		m.machine.Mul(dt, e, u.b)
	} else {
		m.machine.MulAdd(dt, e, u.b)
	}
	m.machine.MulAdd(u.db, e.T(), t)
	if !last {
		return
	}
	m.machine.MulAdd(u.da, dt.T(), xs)
	if dx != nil {
		m.machine.MulAdd(tensor.Of(dx, rows, l.in), dt, u.a)
	}
}

// frozenBack sets dx = dy W, or adds to it if cont, unpacking some rows of W at
// a time: a whole number of blocks of the sum, so that the cut changes no bit.
func (m *Model) frozenBack(dx, dy tensor.Matrix, w *kernel.Matrix, cont bool) {
	const step = 2 * kernel.Panel // a block of the sum
	rows := max(step, frozenBytes/4/w.Cols/step*step)
	buf := m.work.unpacked
	for at := 0; at < w.Rows; at += rows {
		n := min(rows, w.Rows-at)
		m.machine.For((n+kernel.Panel-1)/kernel.Panel, 1, func(worker, from, to int) {
			for p := from; p < to; p++ {
				m.machine.Kernel().Weights(buf[p*kernel.Panel*w.Cols:], w, at/kernel.Panel+p, m.work.workers[worker].kernel)
			}
		})
		part := dy.View(0, at, dy.Rows, n)
		if at == 0 && !cont {
			m.machine.Mul(dx, part, tensor.Of(buf, n, w.Cols))
		} else {
			m.machine.MulAdd(dx, part, tensor.Of(buf, n, w.Cols))
		}
	}
}
