package tensor_test

import (
	"fmt"
	"testing"

	"github.com/avalnetwork/aval/internal/tensor"
)

// The tests of this file hold each gradient to finite differences.

func TestNormGradients(t *testing.T) {
	m := machine(t, 2)
	for _, rows := range []int{1, 3, 40} {
		for _, dim := range []int{1, 5, 16, 37} {
			r := newRand(t)
			what := fmt.Sprintf("%d rows of %d", rows, dim)
			x, w, b, dy := normals(r, rows*dim), normals(r, dim), normals(r, dim), normals(r, rows*dim)
			y, inv, mean := make([]float32, rows*dim), make([]float32, rows), make([]float32, rows)
			const eps = 0.05

			rms := func() []float32 { m.RMSNorm(y, inv, x, w, rows, dim, eps); return y }
			dx, dw := make([]float32, rows*dim), make([]float32, dim)
			rms()
			m.RMSNormBackward(dx, dw, dy, x, w, inv, rows, dim)
			near(t, "RMSNorm dx, "+what, dx, slope(x, dy, rms))
			near(t, "RMSNorm dw, "+what, dw, slope(w, dy, rms))

			layer := func() []float32 { m.LayerNorm(y, mean, inv, x, w, b, rows, dim, eps); return y }
			db := make([]float32, dim)
			clear(dx)
			clear(dw)
			layer()
			m.LayerNormBackward(dx, dw, db, dy, x, w, mean, inv, rows, dim)
			near(t, "LayerNorm dx, "+what, dx, slope(x, dy, layer))
			near(t, "LayerNorm dw, "+what, dw, slope(w, dy, layer))
			near(t, "LayerNorm db, "+what, db, slope(b, dy, layer))
		}
	}
}

func TestActivationGradients(t *testing.T) {
	m := machine(t, 3)
	const n = 70
	for f := tensor.Identity; f <= tensor.Sigmoid; f++ {
		r := newRand(t)
		x, u, dy := normals(r, n), normals(r, n), normals(r, n)
		for i := range x { // away from where ReLU and ELU bend
			if x[i] > -0.02 && x[i] < 0.02 {
				x[i] = 1
			}
		}
		y, dx, du := make([]float32, n), make([]float32, n), make([]float32, n)
		act := func() []float32 { m.Activate(f, y, x); return y }
		m.ActivateBackward(f, dx, dy, x)
		near(t, fmt.Sprint("activation ", f), dx, slope(x, dy, act))

		gate := func() []float32 { m.Gate(f, y, x, u); return y }
		m.GateBackward(f, dx, du, dy, x, u)
		near(t, fmt.Sprint("gate dg ", f), dx, slope(x, dy, gate))
		near(t, fmt.Sprint("gate du ", f), du, slope(u, dy, gate))
	}
	r := newRand(t)
	x, dy, y, dx := normals(r, n), normals(r, n), make([]float32, n), make([]float32, n)
	m.SoftCapBackward(dx, dy, x, 1.5)
	near(t, "cap", dx, slope(x, dy, func() []float32 { m.SoftCap(y, x, 1.5); return y }))
}

func TestSoftmaxGradients(t *testing.T) {
	m := machine(t, 2)
	const rows, dim = 5, 41
	r := newRand(t)
	x, dy := normals(r, rows*dim), normals(r, rows*dim)
	y, dx := make([]float32, rows*dim), make([]float32, rows*dim)
	soft := func() []float32 { m.Softmax(y, x, rows, dim); return y }
	m.SoftmaxBackward(dx, dy, soft(), rows, dim)
	near(t, "softmax", dx, slope(x, dy, soft))

	targets := []int32{3, 0, -1, 40, 7}
	loss, ones := make([]float32, rows), []float32{1, 1, 1, 1, 1}
	m.SoftmaxCrossEntropy(loss, dx, x, targets, rows, dim, 0.5)
	entropy := slope(x, ones, func() []float32 {
		m.SoftmaxCrossEntropy(loss, nil, x, targets, rows, dim, 1)
		return loss
	})
	for i := range entropy {
		entropy[i] *= 0.5
	}
	near(t, "cross entropy", dx, entropy)

	want := normals(r, rows*dim)
	m.SquaredError(loss, dx, x, want, rows, dim, 1)
	near(t, "squared error", dx, slope(x, ones, func() []float32 { m.SquaredError(loss, nil, x, want, rows, dim, 1); return loss }))
}

func TestRotateGradients(t *testing.T) {
	r := newRand(t)
	for _, adjacent := range []bool{true, false} {
		x, dy, cos, sin := normals(r, 13), normals(r, 13), normals(r, 5), normals(r, 5)
		dx := append([]float32(nil), dy...)
		tensor.RotateBackward(dx, cos, sin, adjacent)
		near(t, fmt.Sprint("rotate ", adjacent), dx, slope(x, dy, func() []float32 {
			y := append([]float32(nil), x...)
			tensor.Rotate(y, cos, sin, adjacent)
			return y
		}))
	}
}

func TestSumGradients(t *testing.T) {
	m := machine(t, 2)
	r := newRand(t)
	const rows, dim = 37, 21
	b, x, dy := normals(r, dim), normals(r, rows*dim), normals(r, rows*dim)
	db := make([]float32, dim)
	m.BiasBackward(db, dy, rows, dim)
	y := make([]float32, rows*dim)
	near(t, "bias", db, slope(b, dy, func() []float32 { copy(y, x); m.AddBias(y, b, rows, dim); return y }))

	table, ids := normals(r, 7*dim), make([]int32, rows)
	for i := range ids {
		ids[i] = int32(i % 5)
	}
	d := make([]float32, 7*dim)
	m.GatherBackward(d, dy, ids, dim)
	near(t, "gather", d, slope(table, dy, func() []float32 { m.Gather(y, table, ids, dim); return y }))
}
