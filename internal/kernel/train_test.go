package kernel

import (
	"fmt"
	"math"
	"slices"
	"testing"
)

// TestTrain compares the functions of training with the reference.
func TestTrain(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		r := newRand(t)
		for round := range 400 {
			n := r.IntN(100)
			special := extremes
			if round%2 == 1 {
				special = append(special[:len(special):len(special)], nonFinite...)
			}
			x := [5][]float32{}
			for i := range x {
				x[i] = floats(r, n, special)
			}
			top := float32(r.NormFloat64())
			// both runs the function with a kernel and the reference, on copies.
			both := func(what string, f func(k *Kernel, x [5][]float32) []float32) {
				t.Helper()
				var got, want []float32
				var a, b [5][]float32
				for i := range x {
					a[i], b[i] = slices.Clone(x[i]), slices.Clone(x[i])
				}
				got, want = f(k, a), f(&generic, b)
				what = fmt.Sprintf("%s, %d elements", what, n)
				same(t, what, got, want)
				for i := range x {
					same(t, fmt.Sprintf("%s, slice %d", what, i), a[i], b[i])
				}
			}
			both("ExpSum", func(k *Kernel, x [5][]float32) []float32 { return []float32{k.ExpSum(x[0], x[1], top)} })
			both("Largest", func(k *Kernel, x [5][]float32) []float32 {
				v, finite := k.Largest(x[0])
				if v == 0 {
					v = 0 // of either sign
				}
				if !finite {
					return []float32{v, 1}
				}
				return []float32{v, 0}
			})
			both("DivScale", func(k *Kernel, x [5][]float32) []float32 { k.DivScale(x[0], x[1], top, 0.3); return nil })
			for _, g := range []Gate{GateSiLU, GateGELU} {
				both(fmt.Sprint("GateBackward ", g), func(k *Kernel, x [5][]float32) []float32 {
					k.GateBackward(g, x[0], x[1], x[2], x[3], x[4])
					return nil
				})
				both(fmt.Sprint("GateBackward in place ", g), func(k *Kernel, x [5][]float32) []float32 {
					k.GateBackward(g, x[0], x[1], x[0], x[3], x[1])
					return nil
				})
			}
			both("Combine", func(k *Kernel, x [5][]float32) []float32 { k.Combine(x[0], top, x[1], 0.7, -1.3); return nil })
			step := AdamWStep{Scale: 0.5, Beta1: 0.9, Rest1: 0.1, Beta2: 0.99, Rest2: 0.01, Root: 1.5, Epsilon: 1e-8, Keep: 0.999, Rate: 1e-3}
			both("AdamW", func(k *Kernel, x [5][]float32) []float32 { k.AdamW(x[0], x[1], x[2], x[3], &step); return nil })
		}
	})
}

// TestDerivatives holds the derivatives to float64, and to no NaN.
func TestDerivatives(t *testing.T) {
	sigmoid := func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }
	for x := -30.0; x <= 30; x += 0.01 {
		s := sigmoid(x)
		if got, want := float64(SiLUDerivative(float32(x))), s*(1+x*(1-s)); math.Abs(got-want) > 1e-6 {
			t.Errorf("SiLU'(%g) = %g, want %g", x, got, want)
		}
		z := 2 * math.Sqrt(2/math.Pi) * (x + 0.044715*x*x*x)
		s = sigmoid(z)
		want := s + x*s*(1-s)*2*math.Sqrt(2/math.Pi)*(1+3*0.044715*x*x)
		// 1 - s is wrong by up to 2^-24, and has the factor x d.
		if got := float64(GELUDerivative(float32(x))); math.Abs(got-want) > 1e-5 {
			t.Errorf("GELU'(%g) = %g, want %g", x, got, want)
		}
	}
	for _, x := range []float32{3.4e38, 1e20, 1e13, 100} {
		if a, b, c, d := SiLUDerivative(x), SiLUDerivative(-x), GELUDerivative(x), GELUDerivative(-x); a != 1 || b != 0 || c != 1 || d != 0 {
			t.Errorf("derivatives at %g: %g %g %g %g", x, a, b, c, d)
		}
	}
}

func BenchmarkTrain(b *testing.B) {
	const n = 4096
	x := [5][]float32{}
	for i := range x {
		x[i] = alignedFloats(n)
	}
	step := AdamWStep{Epsilon: 1}
	for _, k := range All() {
		for _, f := range []struct {
			name string
			run  func()
		}{
			{"ExpSum", func() { k.ExpSum(x[0], x[1], 0) }},
			{"Largest", func() { k.Largest(x[0]) }},
			{"DivScale", func() { k.DivScale(x[0], x[1], 1, 1) }},
			{"SiLU", func() { k.GateBackward(GateSiLU, x[0], x[1], x[2], x[3], x[4]) }},
			{"GELU", func() { k.GateBackward(GateGELU, x[0], x[1], x[2], x[3], x[4]) }},
			{"Combine", func() { k.Combine(x[0], 1, x[1], 1, 1) }},
			{"AdamW", func() { k.AdamW(x[0], x[1], x[2], x[3], &step) }},
		} {
			b.Run(k.name+"/"+f.name, func(b *testing.B) {
				for b.Loop() {
					f.run()
				}
				b.ReportMetric(b.Elapsed().Seconds()*1e9/float64(b.N)/n, "ns/element")
			})
		}
	}
}
