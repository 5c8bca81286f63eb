package kernel

import "math"

// Bounds of [Exp]: at or below expLow the result is +0, above expHigh +Inf.
const (
	expLow  = -87.33654
	expHigh = 88.37626
)

// Coefficients of the polynomial of [Exp] (Cephes expf, S. Moshier), highest
// power first, and the two parts of ln 2: expLn2High has nine significant bits,
// so its product with the exponent is exact.
const (
	expLog2E   float32 = 1.44269504088896341
	expLn2High float32 = 0.693359375
	expLn2Low  float32 = -2.12194440e-4
	expMagic   float32 = 12582912         // 1.5 * 2^23: adding it rounds to an integer, half to even
	expBias            = 0x4b400000 - 127 // bits of expMagic, less float32's exponent bias
	expC0      float32 = 1.9875691500e-4
	expC1      float32 = 1.3981999507e-3
	expC2      float32 = 8.3334519073e-3
	expC3      float32 = 4.1665795894e-2
	expC4      float32 = 1.6666665459e-1
	expC5      float32 = 5.0000001201e-1
)

// Exp returns e**x within about one unit in the last place, with the same bits
// on every machine (spec/numerics.md, "exp"). Exp(NaN) is +0: a softmax over
// NaN then divides zero by zero, so the NaN is not lost.
func Exp(x float32) float32 {
	if !(x > expLow) {
		return 0
	}
	if x > expHigh {
		return float32(math.Inf(1))
	}
	m := float32(x*expLog2E) + expMagic
	n := m - expMagic
	r := x - float32(n*expLn2High)
	r -= float32(n * expLn2Low)
	p := float32(expC0*r) + expC1
	p = float32(p*r) + expC2
	p = float32(p*r) + expC3
	p = float32(p*r) + expC4
	p = float32(p*r) + expC5
	p = float32(p*float32(r*r)) + r
	p += 1
	scale := math.Float32frombits((math.Float32bits(m) - expBias) << 23)
	return float32(p * scale)
}

// Tanh returns the hyperbolic tangent of x, absolutely within 2e-7, with the
// same bits on every machine (spec/numerics.md, "tanh"). Tanh(NaN) is NaN, so
// that a cap does not turn what is no number into one.
func Tanh(x float32) float32 {
	if x != x {
		return x
	}
	a := x
	if x < 0 {
		a = -x
	}
	e := Exp(float32(-2 * a))
	t := float32((1 - e) / (1 + e))
	if x < 0 {
		return -t
	}
	return t
}

// Sigmoid-weighted activations. Both divide x by 1 + e**-z.

// SiLU returns x / (1 + e**-x) (Elfwing et al. 2017).
func SiLU(x float32) float32 {
	return float32(x / (1 + Exp(-x)))
}

const (
	geluA float32 = 0.044715
	geluB float32 = 1.5957691216057308 // 2 * sqrt(2/pi)
)

// GELU returns the tanh form of the Gaussian error linear unit (Hendrycks and
// Gimpel 2016), written as x / (1 + e**-z) with
// z = 2 sqrt(2/pi) (x + 0.044715 x**3), which is the same function.
func GELU(x float32) float32 {
	c := float32(float32(float32(x*x)*x)*geluA) + x
	return float32(x / (1 + Exp(-float32(c*geluB))))
}
