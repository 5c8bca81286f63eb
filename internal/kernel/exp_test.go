package kernel_test

import (
	"math"
	"testing"

	"github.com/avalnetwork/aval/internal/kernel"
)

func TestExpAccuracy(t *testing.T) {
	worst := 0.0
	for x := float32(-87); x < 88.3; x += 0.00371 {
		got, want := float64(kernel.Exp(x)), math.Exp(float64(x))
		worst = max(worst, math.Abs(got-want)/want)
	}
	if worst > 1.5e-7 {
		t.Errorf("worst relative error of Exp is %g", worst)
	}
}

func TestExpEdges(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct{ x, want float32 }{
		{0, 1},
		{float32(math.Copysign(0, -1)), 1},
		{-inf, 0},
		{inf, inf},
		{float32(math.NaN()), 0},
		{-87.4, 0},
		{-1000, 0},
		{88.5, inf},
		{1e-45, 1},
	} {
		if got := kernel.Exp(c.x); math.Float32bits(got) != math.Float32bits(c.want) {
			t.Errorf("Exp(%g) = %g, want %g", c.x, got, c.want)
		}
	}
}

// TestActivationsKeepNaN holds that what is no number does not become one on
// the way to the logits.
func TestActivationsKeepNaN(t *testing.T) {
	nan := float32(math.NaN())
	for name, got := range map[string]float32{
		"tanh": kernel.Tanh(nan), "silu": kernel.SiLU(nan), "gelu": kernel.GELU(nan), "softcap": kernel.Softcap(nan, 30),
	} {
		if got == got {
			t.Errorf("%s of NaN is %g", name, got)
		}
	}
}

func TestActivationAccuracy(t *testing.T) {
	for x := float32(-30); x < 30; x += 0.0137 {
		d := float64(x)
		if got, want := float64(kernel.Tanh(x)), math.Tanh(d); math.Abs(got-want) > 2.5e-7 {
			t.Errorf("Tanh(%g) = %g, want %g", x, got, want)
		}
		if got, want := float64(kernel.SiLU(x)), d/(1+math.Exp(-d)); math.Abs(got-want) > 3e-7*(1+math.Abs(d)) {
			t.Errorf("SiLU(%g) = %g, want %g", x, got, want)
		}
		gelu := 0.5 * d * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(d+0.044715*d*d*d)))
		if got := float64(kernel.GELU(x)); math.Abs(got-gelu) > 1e-6*(1+math.Abs(d)) {
			t.Errorf("GELU(%g) = %g, want %g", x, got, gelu)
		}
	}
}

func TestTrig(t *testing.T) {
	for _, x := range []float64{0, 1e-9, 0.5, 1, 2, 3, 4, 5, 6, 100, 4095, 131071, 1048575, 12345.678, -7.7} {
		s, c := kernel.SinCos(x)
		if math.Abs(s-math.Sin(x)) > 1e-14 || math.Abs(c-math.Cos(x)) > 1e-14 {
			t.Errorf("SinCos(%g) = %g, %g, want %g, %g", x, s, c, math.Sin(x), math.Cos(x))
		}
	}
	for _, base := range []float64{10000, 500000, 1e6, 160000, 1.5} {
		for y := -1.0; y <= 1; y += 1.0 / 64 {
			if got, want := kernel.Pow(base, y), math.Pow(base, y); math.Abs(got-want) > 1e-13*want {
				t.Errorf("Pow(%g, %g) = %g, want %g", base, y, got, want)
			}
		}
	}
}

func TestHalfRoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		x := kernel.FromF16(uint16(h))
		if h&0x7c00 == 0x7c00 {
			continue
		}
		if got := kernel.ToF16Sat(x); got != uint16(h) {
			t.Fatalf("ToF16Sat(FromF16(%#04x) = %g) = %#04x", h, x, got)
		}
		// Halfway to the next number goes to the even one.
		next := kernel.FromF16(uint16(h + 1))
		if h&0x7fff != 0x7bff {
			mid := float32((float64(x) + float64(next)) / 2)
			want := uint16(h + h&1)
			if got := kernel.ToF16Sat(mid); got != want {
				t.Fatalf("ToF16Sat(%g) = %#04x, want %#04x", mid, got, want)
			}
		}
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, c := range []struct {
		x    float32
		want uint16
	}{{nan, 0}, {inf, 0x7bff}, {-inf, 0xfbff}, {65519, 0x7bff}, {65520, 0x7bff}, {-1e30, 0xfbff}, {1e-45, 0}, {-1e-45, 0x8000}} {
		if got := kernel.ToF16Sat(c.x); got != c.want {
			t.Errorf("ToF16Sat(%g) = %#04x, want %#04x", c.x, got, c.want)
		}
	}
}
