package kernel

import "math"

// The functions of this file run once a model or once a position, in float64,
// from +, -, *, / and comparisons alone, so that every machine gets the same
// bits. Products are converted before they are added: that forbids fusing.

const (
	ln2High = 6.93147180369123816490e-01 // 0x3fe62e42fee00000: 20 trailing zero bits
	ln2Low  = 1.90821492927058770002e-10
)

// exp64 returns e**x for |x| < 700 by argument reduction and a Taylor series
// of degree 18 on |r| <= ln2/2.
func exp64(x float64) float64 {
	n := math.Floor(float64(x*math.Log2E) + 0.5)
	r := x - float64(n*ln2High)
	r -= float64(n * ln2Low)
	s := 1.0
	for i := 18; i >= 1; i-- {
		s = 1 + float64(s*float64(r/float64(i)))
	}
	return float64(s * math.Float64frombits(uint64(int64(n)+1023)<<52))
}

// Log returns the natural logarithm of a positive, finite, normal x: the
// exponent times ln 2 plus 2 atanh((m-1)/(m+1)) by its series.
func Log(x float64) float64 {
	bits := math.Float64bits(x)
	e := int64(bits>>52) - 1023
	m := math.Float64frombits(bits&(1<<52-1) | 1023<<52)
	if m > math.Sqrt2 {
		m = float64(m / 2)
		e++
	}
	t := float64((m - 1) / (m + 1))
	t2 := float64(t * t)
	s := 0.0
	for i := 31; i >= 1; i -= 2 {
		s = float64(s*t2) + float64(1/float64(i))
	}
	s = float64(float64(2*t) * s)
	return float64(float64(e)*ln2High) + (float64(float64(e)*ln2Low) + s)
}

// Pow returns x**y for positive, finite, normal x and |y ln x| < 700, in the
// defined order of spec/numerics.md ("rotary angles").
func Pow(x, y float64) float64 { return exp64(float64(y * Log(x))) }

// Parts of pi/2, 33 bits each but the last, so that products with a quotient
// below 2^20 are exact.
const (
	pio2A = 1.57079632673412561417e+00
	pio2B = 6.07710050630396597660e-11
	pio2C = 2.02226624871116645580e-21
)

// SinCos returns the sine and cosine of x for |x| <= 2^20 within about 1e-15.
func SinCos(x float64) (sin, cos float64) {
	n := math.Floor(float64(x*(2/math.Pi)) + 0.5)
	r := x - float64(n*pio2A)
	r -= float64(n * pio2B)
	r -= float64(n * pio2C)
	r2 := float64(r * r)
	s, c := 1.0, 1.0
	for i := 20; i >= 2; i -= 2 {
		s = 1 - float64(s*float64(r2/float64(i*(i+1))))
		c = 1 - float64(c*float64(r2/float64(i*(i-1))))
	}
	s = float64(s * r)
	switch int64(n) & 3 {
	case 1:
		return c, -s
	case 2:
		return -s, -c
	case 3:
		return -c, s
	}
	return s, c
}
