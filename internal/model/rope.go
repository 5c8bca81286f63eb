package model

import (
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
)

// rope is one choice of rotary position angles (Su et al. 2021): element pair j
// of position p turns by p * freq[j].
type rope struct {
	base      float64 // theta
	scale     float64 // positions are multiplied by it (linear scaling)
	magnitude float32 // of the rotated pair; 0 means 1
	factors   string  // name of a tensor that divides the frequencies, or ""
	yarn      bool    // Peng et al. 2023
	original  int     // positions before YaRN
	betaFast  float64
	betaSlow  float64

	freq []float64 // [rotary/2]
}

func readRope(r *reader) rope {
	p := rope{base: r.base("rope.freq_base"), scale: 1, factors: "rope_freqs.weight"}
	factor := r.float("rope.scaling.factor", r.float("rope.scale_linear", 1))
	kind := r.text("rope.scaling.type", "linear")
	switch {
	case kind == "linear" && factor > 0:
		p.scale = float64(1 / factor)
	case kind == "yarn" && factor > 0:
		p.scale = float64(1 / factor)
		p.yarn = true
		p.original = r.need("rope.scaling.original_context_length", math.MaxInt32)
		p.betaFast = float64(r.above(0, "rope.scaling.yarn_beta_fast", 32))
		p.betaSlow = float64(r.above(0, "rope.scaling.yarn_beta_slow", 1))
		p.magnitude = float32(1 + float64(0.1*kernel.Log(float64(factor))))
		p.magnitude = float32(p.magnitude * r.above(0, "rope.scaling.attn_factor", 1))
		if !(p.magnitude > 0) {
			r.fail("rope.scaling.factor", "is %v, too small for yarn", factor)
		}
		if p.base == 1 {
			r.fail("rope.freq_base", "is 1, want more with yarn")
		}
	case kind == "none" || kind == "longrope" && r.arch == "phi3" || factor == 0:
	default:
		if factor < 0 {
			r.fail("rope.scaling.factor", "is %v, want 0 or more", factor)
		}
		r.refuse("rope.scaling.type", "is %q, which is not supported", kind)
	}
	return p
}

// maxAngle bounds the angle of a position, so that its sine is exact.
const maxAngle = 1 << 20

// fit reports whether positions below n have angles in bounds.
func (p *rope) fit(n int) bool {
	for _, f := range p.freq {
		if !(float64(f*float64(n)) <= maxAngle) {
			return false
		}
	}
	return true
}

// frequencies sets freq for n rotated elements; factors may be nil.
func (p *rope) frequencies(n int, factors []float32) {
	p.freq = make([]float64, n/2)
	low, high := 0.0, 0.0
	if p.yarn {
		// Pairs below low keep their angle, those above high are scaled.
		corner := func(rotations float64) float64 {
			return float64(float64(float64(n)*kernel.Log(float64(p.original)/float64(rotations*(2*math.Pi)))) / float64(2*kernel.Log(p.base)))
		}
		low = math.Max(math.Floor(corner(p.betaFast)), 0)
		high = math.Min(math.Ceil(corner(p.betaSlow)), float64(n-1))
	}
	for j := range p.freq {
		f := kernel.Pow(p.base, -float64(2*j)/float64(n))
		if factors != nil {
			f = float64(f / float64(factors[j]))
		}
		scaled := float64(f * p.scale)
		if p.yarn {
			ramp := float64((float64(j) - low) / math.Max(0.001, high-low))
			keep := 1 - math.Min(1, math.Max(0, ramp))
			scaled = float64(scaled*(1-keep)) + float64(f*keep)
		}
		p.freq[j] = scaled
	}
}

// angles writes the cosines and sines of a position, [rotary/2] each.
func (p *rope) angles(cos, sin []float32, pos int) {
	for j, f := range p.freq {
		s, c := kernel.SinCos(float64(float64(pos) * f))
		cos[j], sin[j] = float32(c), float32(s)
		if p.magnitude != 0 {
			cos[j] = float32(cos[j] * p.magnitude)
			sin[j] = float32(sin[j] * p.magnitude)
		}
	}
}

// rotate turns the pairs of one head in place.
func rotate(x, cos, sin []float32, interleaved bool) {
	n := len(cos)
	for j := range n {
		a, b := j, j+n
		if interleaved {
			a, b = 2*j, 2*j+1
		}
		u, v := x[a], x[b]
		x[a] = float32(u*cos[j]) - float32(v*sin[j])
		x[b] = float32(u*sin[j]) + float32(v*cos[j])
	}
}
