package tensor

import (
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
)

// Exponentials sets e_i = exp(z_i - top), top the largest of the z_i
// (comparing with NaN is false), and returns the sum of the e_i in sixteen
// parts, folded: the first steps of a softmax (spec/numerics.md, section 7,
// steps 3 and 4; positions that are not seen belong at the end of the row and
// outside of z, or count as -Inf). e may be z.
func (m *Machine) Exponentials(e, z []float32) (sum float32) {
	top, _ := m.kernel.Largest(z)
	return m.kernel.ExpSum(e, z, top)
}

// Softmax sets y_i = e_i / E for each row of dim elements, with e and E of
// [Machine.Exponentials]. y may be x.
func (m *Machine) Softmax(y, x []float32, rows, dim int) {
	m.For(rows, rowsFor(dim, 8), func(w, from, to int) {
		for r := from; r < to; r++ {
			row := y[r*dim:][:dim]
			sum := m.ones[w].Exponentials(row, x[r*dim:][:dim])
			m.kernel.DivScale(row, row, sum, 1)
		}
	})
}

// SoftmaxBackward sets dx_i = y_i (dy_i - D) for each row of dim elements, with
// y the softmax and D the sum of dy_i y_i in sixteen parts, folded. dx may be
// dy or y.
func (m *Machine) SoftmaxBackward(dx, dy, y []float32, rows, dim int) {
	m.For(rows, rowsFor(dim, 2), func(_, from, to int) {
		for r := from; r < to; r++ {
			d, g, p := dx[r*dim:][:dim], dy[r*dim:][:dim], y[r*dim:][:dim]
			dot := Dot(g, p)
			for i, v := range p {
				d[i] = float32(v * (g[i] - dot))
			}
		}
	})
}

// SoftmaxCrossEntropy computes the loss of each row of vocab logits against the
// class that targets names, and its gradient. With e, top and E of
// [Machine.Exponentials] and t the target,
//
//	loss = f32(log(f64(E)) - f64(z_t - top))
//	dlogits_i = (e_i / E) scale, and ((e_t / E) - 1) scale
//
// with log of spec/numerics.md, section 1.3. A target of -1 is left out: loss
// and gradients are +0. Where a logit is not finite, loss and gradients are NaN.
// dlogits may be logits, and nil if no gradient is wanted.
func (m *Machine) SoftmaxCrossEntropy(loss, dlogits, logits []float32, targets []int32, rows, vocab int, scale float32) {
	m.For(rows, rowsFor(vocab, 8), func(w, from, to int) {
		one := m.ones[w]
		for r := from; r < to; r++ {
			z := logits[r*vocab:][:vocab]
			e := grow(&one.work.row, vocab)
			if dlogits != nil {
				e = dlogits[r*vocab:][:vocab]
			}
			loss[r] = one.crossEntropy(e, z, targets[r], scale, dlogits != nil)
		}
	})
}

func (m *Machine) crossEntropy(e, z []float32, target int32, scale float32, gradient bool) float32 {
	if target < 0 {
		if gradient {
			clear(e)
		}
		return 0
	}
	top, finite := m.kernel.Largest(z)
	if !finite {
		nan := float32(math.NaN())
		for i := range e {
			e[i] = nan
		}
		return nan
	}
	under := z[target] - top // before e, which may be z
	sum := m.kernel.ExpSum(e, z, top)
	if gradient {
		p := float32(e[target] / sum)
		m.kernel.DivScale(e, e, sum, scale)
		e[target] = float32((p - 1) * scale)
	}
	return float32(kernel.Log(float64(sum)) - float64(under))
}

// Argmax returns the index of the largest element, the first one of equals; it
// compares with >, so NaN is never larger. It returns 0 if there is none.
func Argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// SquaredError computes the loss of each row of dim elements against its
// target and its gradient. With d_i = y_i - target_i,
//
//	loss = (sum of d_i d_i in sixteen parts, folded) / dim
//	dy_i = d_i (scale 2 / dim)    the factor from left to right
//
// dy may be y, and nil if no gradient is wanted.
func (m *Machine) SquaredError(loss, dy, y, target []float32, rows, dim int, scale float32) {
	factor := float32(float32(scale*2) / float32(dim))
	m.For(rows, rowsFor(dim, 2), func(_, from, to int) {
		for r := from; r < to; r++ {
			var s [parts]float32
			a, b := y[r*dim:][:dim], target[r*dim:][:dim]
			for i, v := range a {
				d := v - b[i]
				s[i%parts] += float32(d * d)
				if dy != nil {
					dy[r*dim+i] = float32(d * factor)
				}
			}
			loss[r] = float32(fold(&s) / float32(dim))
		}
	})
}
