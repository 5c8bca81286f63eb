package tensor_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/internal/tensor"
)

func newRand(t *testing.T) *rand.Rand {
	return rand.New(rand.NewPCG(1, uint64(len(t.Name()))))
}

func normals(r *rand.Rand, n int) []float32 {
	f := make([]float32, n)
	for i := range f {
		f[i] = float32(r.NormFloat64())
	}
	return f
}

// same compares bits; NaN equals NaN, whose payload is not defined.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("%s: element %d is %g (%#08x), want %g (%#08x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// machine returns a machine that ends with the test.
func machine(t testing.TB, threads int) *tensor.Machine {
	m := tensor.New(threads, nil)
	t.Cleanup(m.Close)
	return m
}

// slope is a gradient by finite differences: the change of the sum of
// weights_i f(x)_i with each element of x, in float64 by the function's own
// float32 results.
func slope(x, weights []float32, f func() []float32) []float64 {
	sum := func() float64 {
		s := 0.0
		for i, v := range f() {
			s += float64(weights[i]) * float64(v)
		}
		return s
	}
	g := make([]float64, len(x))
	for i := range x {
		const h = 1.0 / 128
		v := x[i]
		x[i] = v + h
		up := sum()
		x[i] = v - h
		down := sum()
		x[i] = v
		g[i] = (up - down) / (2 * h)
	}
	return g
}

// near compares a gradient with one by differences.
func near(t *testing.T, what string, got []float32, want []float64) {
	t.Helper()
	for i := range want {
		if d := math.Abs(float64(got[i]) - want[i]); !(d <= 2e-3*(1+math.Abs(want[i]))) {
			t.Fatalf("%s: gradient %d is %g, by differences %g", what, i, got[i], want[i])
		}
	}
}
