package signal

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
)

// state is what a section remembers (transposed direct form II).
type state struct{ z1, z2 float64 }

// run filters x in place and leaves the state after it in z.
func (k Section) run(x []float64, z *state) {
	z1, z2 := z.z1, z.z2
	for t, v := range x {
		y := float64(k.B0*v) + z1
		z1 = float64(k.B1*v) - float64(k.A1*y) + z2
		z2 = float64(k.B2*v) - float64(k.A2*y)
		x[t] = y
	}
	z.z1, z.z2 = z1, z2
}

// steady returns the states in which the sections would rest if the input
// had always been v.
func (s Sections) steady(v float64) []state {
	z := make([]state, len(s))
	for i, k := range s {
		y := float64(float64(float64(k.B0+k.B1+k.B2)*v) / (1 + k.A1 + k.A2))
		z[i].z2 = float64(k.B2*v) - float64(k.A2*y)
		z[i].z1 = float64(k.B1*v) - float64(k.A1*y) + z[i].z2
		v = y
	}
	return z
}

// Stream filters causally, a piece at a time: the bits do not depend on how
// the signal is cut. The first sample counts as if it had lasted for ever.
type Stream struct {
	sections Sections
	z        []state
}

// Stream returns a filter with no history.
func (s Sections) Stream() *Stream { return &Stream{sections: s} }

// Filter filters the next samples in place.
func (f *Stream) Filter(x []float64) {
	if len(x) == 0 {
		return
	}
	if f.z == nil {
		f.z = f.sections.steady(x[0])
	}
	for i, k := range f.sections {
		k.run(x, &f.z[i])
	}
}

// Causal filters x in place, as a [Stream] does.
func (s Sections) Causal(x []float64) { s.Stream().Filter(x) }

// ZeroPhase filters x in place forward and backward, so that nothing is
// delayed and the gain is squared. Both ends are first extended by pad
// samples, or as many as there are less one: turned about the end point.
func (s Sections) ZeroPhase(x []float64, pad int) {
	n := len(x)
	if n == 0 {
		return
	}
	pad = min(pad, n-1)
	y := make([]float64, n+2*pad)
	for i := 0; i < pad; i++ {
		y[i] = float64(2*x[0]) - x[pad-i]
		y[n+pad+i] = float64(2*x[n-1]) - x[n-2-i]
	}
	copy(y[pad:], x)
	for range 2 {
		s.Causal(y)
		for i, j := 0, len(y)-1; i < j; i, j = i+1, j-1 {
			y[i], y[j] = y[j], y[i]
		}
	}
	copy(x, y[pad:])
}

// Limits of [Resample].
const (
	maxFactor = 4096 // up or down, after division by their common divisor
	halfTaps  = 16   // half width of its filter in samples of the slower rate
)

// Resample changes the rate of x by up/down: it puts up-1 zeros after each
// sample, filters with a windowed sinc (Blackman, 16 samples of the slower
// rate to each side, cut off at 0.45 of the slower rate) and keeps every down-th. Sample i of
// the result lies at the time of sample i·down/up of x; beyond its ends x
// counts as its end points.
func Resample(x []float64, up, down int) ([]float64, error) {
	if up < 1 || down < 1 {
		return nil, fmt.Errorf("signal: resampling by %d/%d; both must be at least 1", up, down)
	}
	g := gcd(up, down)
	up, down = up/g, down/g
	if up > maxFactor || down > maxFactor {
		return nil, fmt.Errorf("signal: resampling by %d/%d; neither may exceed %d", up, down, maxFactor)
	}
	if up == down || len(x) == 0 {
		return append([]float64(nil), x...), nil
	}
	h := sinc(up, down)
	half := len(h) / 2
	out := make([]float64, (len(x)*up-1)/down+1)
	for i := range out {
		at := i * down // on the grid of the zero-stuffed signal
		// taps k with (at - (k - half)) divisible by up, from the latest sample back
		j := floorDiv(at+half, up)
		y := 0.0
		for k := half + at - j*up; k < len(h); k += up {
			// h[k] weighs grid point at + half - k = j*up
			v := x[min(max(j, 0), len(x)-1)]
			y += float64(h[k] * v)
			j--
		}
		out[i] = y
	}
	return out, nil
}

// sinc returns the taps for the grid of the zero-stuffed signal. Those that
// meet samples at the same time, k modulo up, are scaled to the sum 1, so that
// a constant stays what it is.
func sinc(up, down int) []float64 {
	slow := max(up, down) // one sample of the slower rate, in grid points
	half := halfTaps * slow
	h := make([]float64, 2*half+1)
	for k := range h {
		t := float64(float64(k-half) / float64(slow))
		v := 0.9 // twice the cut-off
		if k != half {
			a := float64(math.Pi * t)
			sin, _ := kernel.SinCos(float64(0.9 * a))
			v = float64(sin / a)
		}
		u := float64(float64(math.Pi*float64(k)) / float64(half)) // 0 to 2 pi
		_, c1 := kernel.SinCos(u)
		_, c2 := kernel.SinCos(float64(2 * u))
		h[k] = float64(v * (0.42 - float64(0.5*c1) + float64(0.08*c2)))
	}
	for r := 0; r < up && r < len(h); r++ {
		sum := 0.0
		for k := r; k < len(h); k += up {
			sum += h[k]
		}
		for k := r; k < len(h); k += up {
			h[k] = float64(h[k] / sum)
		}
	}
	return h
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func floorDiv(a, b int) int {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
