package signal_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/internal/eeg/signal"
)

func TestButterworth(t *testing.T) {
	must := func(s signal.Sections, err error) signal.Sections {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	const half = math.Sqrt2 / 2
	for _, rate := range []float64{100, 256, 1000} {
		for order := 1; order <= 8; order++ {
			band := must(signal.BandPass(order, 1, 30, rate))
			narrow := must(signal.BandPass(order, 9, 11, rate))
			low := must(signal.LowPass(order, 20, rate))
			high := must(signal.HighPass(order, 5, rate))
			if len(band) != order || len(low) != (order+1)/2 || len(high) != (order+1)/2 {
				t.Errorf("order %d: %d, %d, %d sections", order, len(band), len(low), len(high))
			}
			for _, c := range []struct {
				name string
				s    signal.Sections
				f    float64
				want float64
			}{
				{"band at its edge", band, 1, half},
				{"band at its edge", band, 30, half},
				{"narrow band at its edge", narrow, 9, half},
				{"narrow band at its edge", narrow, 11, half},
				{"band at 0", band, 0, 0},
				{"band at half the rate", band, rate / 2, 0},
				{"low-pass at its edge", low, 20, half},
				{"low-pass at 0", low, 0, 1},
				{"low-pass at half the rate", low, rate / 2, 0},
				{"high-pass at its edge", high, 5, half},
				{"high-pass at 0", high, 0, 0},
				{"high-pass at half the rate", high, rate / 2, 1},
			} {
				if got := c.s.Gain(c.f, rate); math.Abs(got-c.want) > 1e-7 {
					t.Errorf("order %d at %v Hz, %s: gain %v, want %v", order, rate, c.name, got, c.want)
				}
			}
			// A Butterworth filter of order N: |H|² = 1 / (1 + (f/fc)^2N) in
			// warped frequencies.
			warp := func(f float64) float64 { return math.Tan(math.Pi * f / rate) }
			for f := 1.0; f < rate/2; f += 7 {
				want := 1 / math.Sqrt(1+math.Pow(warp(f)/warp(20), 2*float64(order)))
				if got := low.Gain(f, rate); math.Abs(got-want) > 1e-9 {
					t.Errorf("low-pass of order %d at %v Hz: gain %v, want %v", order, f, got, want)
				}
				w := (warp(f)*warp(f) - warp(1)*warp(30)) / (warp(f) * (warp(30) - warp(1)))
				want = 1 / math.Sqrt(1+math.Pow(w, 2*float64(order)))
				if got := band.Gain(f, rate); math.Abs(got-want) > 1e-7 {
					t.Errorf("band-pass of order %d at %v Hz: gain %v, want %v", order, f, got, want)
				}
			}
			for _, s := range band { // stable: the poles lie in the unit circle
				if !(math.Abs(s.A2) < 1) || !(math.Abs(s.A1) < 1+s.A2) {
					t.Errorf("order %d: unstable section %+v", order, s)
				}
			}
		}
	}
	notch := must(signal.Notch(50, 30, 256))
	if g := notch.Gain(50, 256); g > 1e-9 {
		t.Errorf("notch: gain %v at 50 Hz", g)
	}
	if g := notch.Gain(45, 256); g < 0.98 {
		t.Errorf("notch: gain %v at 45 Hz", g)
	}
}

func TestFilterRefuses(t *testing.T) {
	for i, err := range []error{
		second(signal.BandPass(0, 1, 30, 256)), second(signal.BandPass(17, 1, 30, 256)), second(signal.BandPass(2, 30, 1, 256)),
		second(signal.BandPass(2, 0, 30, 256)), second(signal.BandPass(2, 1, 128, 256)), second(signal.LowPass(2, math.NaN(), 256)),
		second(signal.HighPass(2, 1, 0)), second(signal.Notch(50, 0, 256)), second(signal.Resample(nil, 0, 1)), second(signal.Resample(nil, 4099, 4098)),
	} {
		if err == nil {
			t.Errorf("case %d was accepted", i)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestZeroPhase compares with the obvious: a slow signal within the band comes
// out where it was, and one outside of it is gone.
func TestZeroPhase(t *testing.T) {
	const rate = 256.0
	s, err := signal.BandPass(4, 1, 30, rate)
	if err != nil {
		t.Fatal(err)
	}
	wave := func(f float64) []float64 {
		x := make([]float64, 2560)
		for i := range x {
			x[i] = math.Sin(2*math.Pi*f*float64(i)/rate) + 1000 // the offset of an electrode
		}
		return x
	}
	x := wave(8)
	s.ZeroPhase(x, 768)
	for i := 512; i < 2048; i++ {
		if want := math.Sin(2 * math.Pi * 8 * float64(i) / rate); math.Abs(x[i]-want) > 1e-3 {
			t.Fatalf("sample %d: %v, want %v", i, x[i], want)
		}
	}
	x = wave(60)
	s.ZeroPhase(x, 768)
	for i, v := range x[512:2048] {
		if math.Abs(v) > 1e-2 { // the gain squared is about 1e-3, and the ends ring
			t.Fatalf("sample %d: %v, want 0", i, v)
		}
	}
	for _, n := range []int{0, 1, 2, 5} { // shorter than the extension
		s.ZeroPhase(make([]float64, n), 768)
	}
}

// TestStream cuts a signal everywhere.
func TestStream(t *testing.T) {
	s, err := signal.BandPass(3, 1, 30, 256)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	x := make([]float64, 500)
	for i := range x {
		x[i] = r.NormFloat64()
	}
	whole := append([]float64(nil), x...)
	s.Causal(whole)
	for _, size := range []int{1, 7, 64} {
		got := append([]float64(nil), x...)
		f := s.Stream()
		for rest := got; len(rest) > 0; {
			n := min(size, len(rest))
			f.Filter(rest[:n])
			rest = rest[n:]
		}
		for i := range got {
			if got[i] != whole[i] {
				t.Fatalf("in pieces of %d: sample %d differs", size, i)
			}
		}
	}
	if math.Abs(whole[0]) > 1e-9 { // a band-pass at rest gives 0
		t.Errorf("the first sample is %v", whole[0])
	}
}

func TestResample(t *testing.T) {
	for _, c := range []struct{ up, down int }{{1, 4}, {4, 1}, {32, 125}, {125, 32}, {2, 3}, {3, 3}} {
		x := make([]float64, 1000)
		for i := range x { // 1/40 of the slower of both rates
			f := 1. / 40
			if c.down > c.up {
				f *= float64(c.up) / float64(c.down)
			}
			x[i] = math.Cos(2*math.Pi*f*float64(i)) + 3
		}
		y, err := signal.Resample(x, c.up, c.down)
		if err != nil {
			t.Fatal(err)
		}
		if want := (1000*c.up-1)/c.down + 1; len(y) != want {
			t.Errorf("%d/%d: %d samples, want %d", c.up, c.down, len(y), want)
		}
		for i, v := range y {
			at := float64(i) * float64(c.down) / float64(c.up)
			f := 1. / 40
			if c.down > c.up {
				f *= float64(c.up) / float64(c.down)
			}
			if margin := 17 * math.Max(1, float64(c.down)/float64(c.up)); at < margin || at > 999-margin {
				continue
			}
			if want := math.Cos(2*math.Pi*f*at) + 3; math.Abs(v-want) > 2e-3 {
				t.Fatalf("%d/%d: sample %d is %v, want %v", c.up, c.down, i, v, want)
			}
		}
	}
}
