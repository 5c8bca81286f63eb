package tensor

import "github.com/avalnetwork/aval/internal/kernel"

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

// geluA and geluB are the constants of the tanh form of GELU
// (spec/numerics.md, section 1.2), geluC is 3 geluA.
const (
	geluA float32 = 0.044715
	geluB float32 = 1.5957691216057308
	geluC float32 = 0.134145
)

// sigmoid is 1 / (1 + exp(-x)).
func sigmoid(x float32) float32 { return float32(1 / (1 + kernel.Exp(-x))) }

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
		return sigmoid(x)
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
		s := sigmoid(x)
		return float32(s * (1 + float32(x*(1-s))))
	case GELU:
		q := float32(x * x)
		c := float32(float32(q*x)*geluA) + x
		s := sigmoid(float32(c * geluB))
		t := float32(s * (1 - s))
		if t == 0 {
			return s
		}
		d := float32((float32(q*geluC) + 1) * geluB)
		return s + float32(x*float32(t*d))
	case Tanh:
		t := kernel.Tanh(x)
		return 1 - float32(t*t)
	case Sigmoid:
		s := sigmoid(x)
		return float32(s * (1 - s))
	}
	panic("tensor: internal error: unknown activation")
}

// activationGrain is how many values of an activation are worth a thread's
// while.
const activationGrain = 1 << 11

// Activate sets y = f(x). y may be x.
func (m *Machine) Activate(f Activation, y, x []float32) {
	m.For(len(x), activationGrain, func(_, from, to int) {
		d := y[from:to]
		for i, v := range x[from:to] {
			d[i] = f.Of(v)
		}
	})
}

// ActivateBackward sets dx = dy f'(x), where x is what f was applied to. dx may
// be dy or x.
func (m *Machine) ActivateBackward(f Activation, dx, dy, x []float32) {
	m.For(len(x), activationGrain, func(_, from, to int) {
		d, g := dx[from:to], dy[from:to]
		for i, v := range x[from:to] {
			d[i] = float32(g[i] * f.Derivative(v))
		}
	})
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
		for i := from; i < to; i++ {
			d, a, b := dh[i], g[i], u[i]
			du[i] = float32(d * f.Of(a))
			dg[i] = float32(float32(d*b) * f.Derivative(a))
		}
	})
}

// SoftCap sets y = c tanh(x / c). y may be x.
func (m *Machine) SoftCap(y, x []float32, c float32) {
	m.For(len(x), activationGrain, func(_, from, to int) {
		d := y[from:to]
		for i, v := range x[from:to] {
			d[i] = float32(c * kernel.Tanh(float32(v/c)))
		}
	})
}

// SoftCapBackward sets dx = dy (1 - t t) with t = tanh(x / c), where x is what
// was capped. dx may be dy or x.
func (m *Machine) SoftCapBackward(dx, dy, x []float32, c float32) {
	m.For(len(x), activationGrain, func(_, from, to int) {
		d, g := dx[from:to], dy[from:to]
		for i, v := range x[from:to] {
			t := kernel.Tanh(float32(v / c))
			d[i] = float32(g[i] * (1 - float32(t*t)))
		}
	})
}
