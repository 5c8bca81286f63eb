package kernel

import "math"

// RMSNorm sets dst to x / sqrt(mean(x*x) + eps) * w (Zhang and Sennrich 2019).
// The sum of squares has sixteen parts, element i in part i mod 16, added as a
// tree. dst may be x.
func (k *Kernel) RMSNorm(dst, x, w []float32, eps float32) {
	k.ScaleMul(dst, x, w, k.InverseRMS(x, eps))
}

// InverseRMS returns 1 / sqrt(mean(x*x) + eps), the factor of [Kernel.RMSNorm].
func (k *Kernel) InverseRMS(x []float32, eps float32) float32 {
	return float32(1 / sqrt(float32(k.SumSquares(x)/float32(len(x)))+eps))
}

// SumSquares returns the sum of the squares of x in sixteen parts, element i in
// part i mod 16, added as a tree.
func (k *Kernel) SumSquares(x []float32) float32 {
	if len(x) == 0 {
		return 0
	}
	if len(x)%Panel != 0 {
		return sumSquaresGeneric(&x[0], len(x))
	}
	return k.sumSquares(&x[0], len(x))
}

// ScaleMul sets dst to (x * r) * w, element by element. dst may be x.
func (k *Kernel) ScaleMul(dst, x, w []float32, r float32) {
	n := len(x)
	_, _ = dst[:n], w[:n]
	if n%Panel == 0 {
		k.scaleMul(&dst[0], &x[0], &w[0], r, n)
	} else {
		scaleMulGeneric(&dst[0], &x[0], &w[0], r, n)
	}
}

// sqrt is correctly rounded: rounding a float64 root to float32 is.
func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

// Gate names the activation of a gated feed-forward layer.
type Gate uint8

// The gates: silu(g) * u (SwiGLU) and gelu(g) * u (GeGLU, tanh form).
const (
	GateSiLU Gate = iota
	GateGELU
)

// Gate sets dst to act(gate) * up, element by element.
func (k *Kernel) Gate(g Gate, dst, gate, up []float32) {
	n := len(dst)
	_, _ = gate[:n], up[:n]
	f, tail := k.silu, siluGeneric
	if g == GateGELU {
		f, tail = k.gelu, geluGeneric
	}
	if m := n / Panel * Panel; m > 0 {
		f(&dst[0], &gate[0], &up[0], m)
		dst, gate, up = dst[m:], gate[m:], up[m:]
	}
	if len(dst) > 0 {
		tail(&dst[0], &gate[0], &up[0], len(dst))
	}
}

// AddScaled adds s * x to dst, element by element: one product and one
// addition, each rounded.
func (k *Kernel) AddScaled(dst, x []float32, s float32) {
	x = x[:len(dst)]
	if n := len(dst) / Panel * Panel; n > 0 {
		k.addScaled(&dst[0], &x[0], s, n)
		dst, x = dst[n:], x[n:]
	}
	if len(dst) > 0 {
		addScaledGeneric(&dst[0], &x[0], s, len(dst))
	}
}

// MulAddScaled adds s times the products of panels from to to-1 of m, which
// holds numbers, with every vector of a to out, [to-from][a.Len()][16]. tmp has
// room for one panel.
func (k *Kernel) MulAddScaled(out, tmp []float32, m *Matrix, from, to int, a *Acts, s float32, scratch *Scratch) {
	n := a.n * Panel
	if !m.Format.Float() || a.k != m.Cols || a.n == 0 || len(tmp) < n || len(out) < (to-from)*n {
		panic("kernel: internal error: shapes of an update do not match")
	}
	for p := from; p < to; p++ {
		k.mulFloat(tmp, m, p, a, 0, m.Cols, scratch)
		k.addScaled(&out[(p-from)*n], &tmp[0], s, n)
	}
}
