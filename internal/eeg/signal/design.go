package signal

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
)

// MaxOrder is the highest order of a Butterworth prototype.
const MaxOrder = 16

// Section is a digital filter of second order,
//
//	y[t] = B0 x[t] + B1 x[t-1] + B2 x[t-2] - A1 y[t-1] - A2 y[t-2]
type Section struct{ B0, B1, B2, A1, A2 float64 }

// Sections is a cascade of filters, applied first to last.
type Sections []Section

// point is a complex number. Go's complex arithmetic does not pin its
// rounding, so the few operations that are needed are written out.
type point struct{ re, im float64 }

func (a point) add(b point) point { return point{a.re + b.re, a.im + b.im} }

func (a point) mul(b point) point {
	return point{
		float64(a.re*b.re) - float64(a.im*b.im),
		float64(a.re*b.im) + float64(a.im*b.re),
	}
}

func (a point) div(b point) point {
	n := a.mul(point{b.re, -b.im})
	d := float64(b.re*b.re) + float64(b.im*b.im)
	return point{float64(n.re / d), float64(n.im / d)}
}

func (a point) abs() float64 { return math.Sqrt(float64(a.re*a.re) + float64(a.im*a.im)) }

// sqrt returns the root with a real part that is not negative.
func (a point) sqrt() point {
	r := a.abs()
	re := math.Sqrt(math.Max(0, float64((r+a.re)/2)))
	im := math.Sqrt(math.Max(0, float64((r-a.re)/2)))
	if a.im < 0 {
		im = -im
	}
	return point{re, im}
}

// tan returns the tangent of pi f / rate, which warps a frequency for the
// bilinear transform.
func tan(f, rate float64) float64 {
	sin, cos := kernel.SinCos(float64(math.Pi * float64(f/rate)))
	return float64(sin / cos)
}

// butterworth returns the poles of the analogue low-pass prototype of that
// order with cut-off 1 that lie above the real axis, and, of an odd order,
// the one on it last.
func butterworth(order int) []point {
	var poles []point
	for k := 0; k < order/2; k++ {
		sin, cos := kernel.SinCos(float64(float64(math.Pi*float64(2*k+1)) / float64(2*order)))
		poles = append(poles, point{-sin, cos})
	}
	if order%2 == 1 {
		poles = append(poles, point{-1, 0})
	}
	return poles
}

// digital maps an analogue pole to the z plane: (1 + s) / (1 - s).
func digital(s point) point {
	return point{1 + s.re, s.im}.div(point{1 - s.re, -s.im})
}

func checkBand(order int, rate float64, edges ...float64) error {
	if order < 1 || order > MaxOrder {
		return fmt.Errorf("signal: order %d of a filter; use 1 to %d", order, MaxOrder)
	}
	if !(rate > 0) || rate > 1e6 {
		return fmt.Errorf("signal: rate of %v Hz; use more than 0 and at most 1e6", rate)
	}
	last := 0.0
	for _, f := range edges {
		if !(f > last) || !(f < rate/2) {
			return fmt.Errorf("signal: edges %v Hz at a rate of %v Hz; they must rise and lie between 0 and half the rate", edges, rate)
		}
		last = f
	}
	return nil
}

// BandPass designs a Butterworth band-pass: 3.01 dB down at low and high (Hz),
// twice order poles, hence order sections, as scipy's butter(order, ..., "band").
func BandPass(order int, low, high, rate float64) (Sections, error) {
	if err := checkBand(order, rate, low, high); err != nil {
		return nil, err
	}
	l, h := tan(low, rate), tan(high, rate)
	width, square := h-l, float64(l*h) // the centre, squared
	var s Sections
	for _, p := range butterworth(order) {
		// s = (p width ± sqrt((p width)² - 4 square)) / 2
		b := p.mul(point{width, 0})
		root := b.mul(b).add(point{float64(-4 * square), 0}).sqrt()
		plus := digital(point{float64((b.re + root.re) / 2), float64((b.im + root.im) / 2)})
		minus := digital(point{float64((b.re - root.re) / 2), float64((b.im - root.im) / 2)})
		if p.im == 0 { // the two are conjugates, or both real
			s = append(s, Section{B0: 1, B2: -1, A1: -(plus.re + minus.re), A2: plus.mul(minus).re})
			continue
		}
		for _, z := range []point{plus, minus} { // each with its conjugate
			s = append(s, conjugates(z, 1, 0, -1))
		}
	}
	centre := math.Sqrt(square)
	s.normalise(digital(point{0, centre}))
	return s, nil
}

// LowPass designs a Butterworth low-pass, 3.01 dB down at cut (Hz).
func LowPass(order int, cut, rate float64) (Sections, error) {
	return onePass(order, cut, rate, false)
}

// HighPass designs a Butterworth high-pass, 3.01 dB down at cut (Hz).
func HighPass(order int, cut, rate float64) (Sections, error) {
	return onePass(order, cut, rate, true)
}

func onePass(order int, cut, rate float64, high bool) (Sections, error) {
	if err := checkBand(order, rate, cut); err != nil {
		return nil, err
	}
	w := tan(cut, rate)
	sign, unit := 1.0, point{1, 0} // the zeros lie at -sign, gain 1 at z = unit
	if high {
		sign, unit = -1, point{-1, 0}
	}
	var s Sections
	for _, p := range butterworth(order) {
		q := p.mul(point{w, 0})
		if high {
			q = point{w, 0}.div(p)
		}
		z := digital(q)
		if p.im == 0 {
			s = append(s, Section{B0: 1, B1: sign, A1: -z.re})
		} else {
			s = append(s, conjugates(z, 1, float64(2*sign), 1))
		}
	}
	s.normalise(unit)
	return s, nil
}

// Notch designs the filter of second order that removes one frequency (Hz)
// and lets pass what is more than freq/q around it (R. Bristow-Johnson's
// audio cookbook).
func Notch(freq, q, rate float64) (Sections, error) {
	if err := checkBand(2, rate, freq); err != nil {
		return nil, err
	}
	if !(q > 0) || q > 1e6 {
		return nil, fmt.Errorf("signal: quality %v of a notch; use more than 0, such as 30", q)
	}
	sin, cos := kernel.SinCos(float64(float64(2*math.Pi) * float64(freq/rate)))
	alpha := float64(sin / float64(2*q))
	a0 := 1 + alpha
	b := float64(1 / a0)
	c := float64(float64(-2*cos) / a0)
	return Sections{{B0: b, B1: c, B2: b, A1: c, A2: float64((1 - alpha) / a0)}}, nil
}

// conjugates is the section with poles z and its conjugate.
func conjugates(z point, b0, b1, b2 float64) Section {
	return Section{b0, b1, b2, float64(-2 * z.re), float64(z.re*z.re) + float64(z.im*z.im)}
}

// normalise scales each section to a gain of 1 at the point z of the unit
// circle.
func (s Sections) normalise(z point) {
	zz := z.mul(z)
	for i := range s {
		k := &s[i]
		num := point{float64(k.B0*zz.re) + float64(k.B1*z.re) + k.B2, float64(k.B0*zz.im) + float64(k.B1*z.im)}
		den := point{zz.re + float64(k.A1*z.re) + k.A2, zz.im + float64(k.A1*z.im)}
		g := float64(den.abs() / num.abs())
		k.B0, k.B1, k.B2 = float64(k.B0*g), float64(k.B1*g), float64(k.B2*g)
	}
}

// Gain returns the magnitude of the response at a frequency (Hz).
func (s Sections) Gain(freq, rate float64) float64 {
	sin, cos := kernel.SinCos(float64(float64(2*math.Pi) * float64(freq/rate)))
	z := point{cos, sin}
	zz := z.mul(z)
	g := 1.0
	for _, k := range s {
		num := point{float64(k.B0*zz.re) + float64(k.B1*z.re) + k.B2, float64(k.B0*zz.im) + float64(k.B1*z.im)}
		den := point{zz.re + float64(k.A1*z.re) + k.A2, zz.im + float64(k.A1*z.im)}
		g = float64(g * float64(num.abs()/den.abs()))
	}
	return g
}
