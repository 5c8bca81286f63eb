package tensor

import (
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
)

// Activation names a function of one value.
type Activation uint8

// The activations, with f(x) and its derivative; s(x) = 1 / (1 + exp(-x)).
const (
	Identity Activation = iota // x; 1
	ReLU                       // +0 if x < 0, else x; 1 if x > 0, else 0
	ELU                        // x if x > 0, else exp(x) - 1; 1 or exp(x)
	SiLU                       // x / (1 + exp(-x)); s (1 + x (1 - s))
	GELU                       // the tanh form; see [Activation.Derivative]
	Tanh                       // t = tanh(x); 1 - t t
	Sigmoid                    // s; s (1 - s)
)

// Of returns f(x). It is NaN if x is.
func (f Activation) Of(x float32) float32 {
	switch f {
	case Identity:
		return x
	case ReLU:
		if x < 0 {
			return 0
		}
		return x
	case ELU:
		if x > 0 || x != x {
			return x
		}
		return kernel.Exp(x) - 1
	case SiLU:
		return kernel.SiLU(x)
	case GELU:
		return kernel.GELU(x)
	case Tanh:
		return kernel.Tanh(x)
	case Sigmoid:
		if x != x {
			return x
		}
		return kernel.Sigmoid(x)
	}
	panic("tensor: internal error: unknown activation")
}

// Derivative returns the derivative of f at x. That of GELU is
// s + x ((s (1 - s)) d) with s = 1 / (1 + exp(-z)), z = c * 1.5957691216057308,
// c = ((x x) x) * 0.044715 + x, as the function has them, and
// d = ((x x) * 0.134145 + 1) * 1.5957691216057308; where s (1 - s) is 0, it is s.
func (f Activation) Derivative(x float32) float32 {
	switch f {
	case Identity:
		return 1
	case ReLU:
		if x > 0 {
			return 1
		}
		return 0
	case ELU:
		if x > 0 {
			return 1
		}
		return kernel.Exp(x)
	case SiLU:
		return kernel.SiLUDerivative(x)
	case GELU:
		return kernel.GELUDerivative(x)
	case Tanh:
		t := kernel.Tanh(x)
		return 1 - float32(t*t)
	case Sigmoid:
		s := kernel.Sigmoid(x)
		return float32(s * (1 - s))
	}
	panic("tensor: internal error: unknown activation")
}

// activationGrain is how many values of an activation are worth a thread's
// while.
const activationGrain = 1 << 11

// Activate sets y = f(x). y may be x.
func (m *Machine) Activate(f Activation, y, x []float32) {
	m.For(len(x), activationGrain, func(w, from, to int) {
		chunks(from, to, func(from, to int) { m.ones[w].activate(f, y[from:to], x[from:to]) })
	})
}

// ActivateBackward sets dx = dy f'(x), where x is what f was applied to. dx may
// be dy or x.
func (m *Machine) ActivateBackward(f Activation, dx, dy, x []float32) {
	m.For(len(x), activationGrain, func(w, from, to int) {
		chunks(from, to, func(from, to int) { m.ones[w].activateBack(f, dx[from:to], dy[from:to], x[from:to]) })
	})
}

// chunk is how many values of an activation are computed step by step, so that
// the kernel's vector functions do the costly steps.
const chunk = 512

func chunks(from, to int, f func(from, to int)) {
	for ; from < to; from += chunk {
		f(from, min(from+chunk, to))
	}
}

// activate is [Activation.Of] for a chunk.
func (m *Machine) activate(f Activation, y, x []float32) {
	e := m.work.exps[:len(x)]
	switch f {
	case ReLU:
		for i, v := range x {
			if v < 0 {
				v = 0
			}
			y[i] = v
		}
	case ELU:
		m.kernel.ExpSum(e, x, 0)
		for i, v := range x {
			if v > 0 || v != v {
				y[i] = v
			} else {
				y[i] = e[i] - 1
			}
		}
	case SiLU:
		m.kernel.Gate(kernel.GateSiLU, y, x, m.work.units[:len(x)])
	case GELU:
		m.kernel.Gate(kernel.GateGELU, y, x, m.work.units[:len(x)])
	case Tanh:
		m.tanh(e, x)
		copy(y, e)
	case Sigmoid:
		m.sigmoid(e, x)
		for i, v := range x {
			if v != v {
				e[i] = v
			}
		}
		copy(y, e)
	default:
		for i, v := range x {
			y[i] = f.Of(v)
		}
	}
}

// activateBack is dy times [Activation.Derivative] for a chunk.
func (m *Machine) activateBack(f Activation, dx, dy, x []float32) {
	e := m.work.exps[:len(x)]
	switch f {
	case ReLU:
		for i, v := range x {
			if v > 0 {
				dx[i] = dy[i]
			} else {
				dx[i] = float32(dy[i] * 0)
			}
		}
	case ELU:
		m.kernel.ExpSum(e, x, 0)
		for i, v := range x {
			if v > 0 {
				dx[i] = dy[i]
			} else {
				dx[i] = float32(dy[i] * e[i])
			}
		}
	case SiLU:
		m.kernel.GateBackward(kernel.GateSiLU, dx, e, dy, x, m.work.units[:])
	case GELU:
		m.kernel.GateBackward(kernel.GateGELU, dx, e, dy, x, m.work.units[:])
	case Tanh:
		m.tanh(e, x)
		for i, t := range e {
			dx[i] = float32(dy[i] * (1 - float32(t*t)))
		}
	case Sigmoid:
		m.sigmoid(e, x)
		for i, s := range e {
			dx[i] = float32(dy[i] * float32(s*(1-s)))
		}
	default:
		for i, v := range x {
			dx[i] = float32(dy[i] * f.Derivative(v))
		}
	}
}

// tanh sets t to the hyperbolic tangents, see [kernel.Tanh].
func (m *Machine) tanh(t, x []float32) {
	for i, v := range x {
		t[i] = float32(-2 * float32(math.Abs(float64(v))))
	}
	m.kernel.ExpSum(t, t, 0)
	for i, v := range x {
		e := float32((1 - t[i]) / (1 + t[i]))
		switch {
		case v != v:
			e = v
		case v < 0:
			e = -e
		}
		t[i] = e
	}
}

// sigmoid sets s to [kernel.Sigmoid].
func (m *Machine) sigmoid(s, x []float32) {
	for i, v := range x {
		s[i] = -v
	}
	m.kernel.ExpSum(s, s, 0)
	for i, e := range s {
		s[i] = float32(1 / (1 + e))
	}
}

// Gate sets h = f(g) u, the gated unit of a feed-forward layer. h may be g or u.
func (m *Machine) Gate(f Activation, h, g, u []float32) {
	m.For(len(h), activationGrain, func(_, from, to int) {
		d, a, b := h[from:to], g[from:to], u[from:to]
		switch f {
		case SiLU:
			m.kernel.Gate(kernel.GateSiLU, d, a, b)
		case GELU:
			m.kernel.Gate(kernel.GateGELU, d, a, b)
		default:
			for i, v := range a {
				d[i] = float32(f.Of(v) * b[i])
			}
		}
	})
}

// GateBackward sets the gradients of [Machine.Gate], du = dh f(g) and
// dg = (dh u) f'(g). dg and du may be any of the other slices, but not one slice.
func (m *Machine) GateBackward(f Activation, dg, du, dh, g, u []float32) {
	m.For(len(dh), activationGrain, func(_, from, to int) {
		switch f {
		case SiLU:
			m.kernel.GateBackward(kernel.GateSiLU, dg[from:to], du[from:to], dh[from:to], g[from:to], u[from:to])
		case GELU:
			m.kernel.GateBackward(kernel.GateGELU, dg[from:to], du[from:to], dh[from:to], g[from:to], u[from:to])
		default:
			for i := from; i < to; i++ {
				d, a, b := dh[i], g[i], u[i]
				du[i] = float32(d * f.Of(a))
				dg[i] = float32(float32(d*b) * f.Derivative(a))
			}
		}
	})
}

// SoftCap sets y = c tanh(x / c). y may be x.
func (m *Machine) SoftCap(y, x []float32, c float32) {
	m.For(len(x), activationGrain, func(w, from, to int) {
		chunks(from, to, func(from, to int) {
			for i, t := range m.ones[w].cap(x[from:to], c) {
				y[from+i] = float32(c * t)
			}
		})
	})
}

// SoftCapBackward sets dx = dy (1 - t t) with t = tanh(x / c), where x is what
// was capped. dx may be dy or x.
func (m *Machine) SoftCapBackward(dx, dy, x []float32, c float32) {
	m.For(len(x), activationGrain, func(w, from, to int) {
		chunks(from, to, func(from, to int) {
			for i, t := range m.ones[w].cap(x[from:to], c) {
				dx[from+i] = float32(dy[from+i] * (1 - float32(t*t)))
			}
		})
	})
}

// cap returns tanh(x / c) of a chunk, in working memory.
func (m *Machine) cap(x []float32, c float32) []float32 {
	q, t := m.work.quotients[:len(x)], m.work.exps[:len(x)]
	for i, v := range x {
		q[i] = float32(v / c)
	}
	m.tanh(t, q)
	return t
}
