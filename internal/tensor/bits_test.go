package tensor_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
)

// goldenBits is the digest of everything that allOperations computes. It is the
// same on every machine: a change means that training gives other bits.
const goldenBits = "22fcda194c4a229f83be39666021cd27818a2577787f39185a2fa2cd1246608e"

// numbers returns n numbers in [-4, 4), the same on every machine.
func numbers(n int, seed uint32) []float32 {
	f := make([]float32, n)
	for i := range f {
		seed = seed*1664525 + 1013904223
		f[i] = float32(int32(seed)>>8) / (1 << 21)
	}
	return f
}

// allOperations runs every operation and returns what they compute.
func allOperations(m *tensor.Machine) (names []string, results [][]float32) {
	keep := func(name string, fs ...[]float32) {
		for _, f := range fs {
			names, results = append(names, name), append(results, slices.Clone(f))
		}
	}
	const rows, dim = 70, 133
	n := rows * dim
	x, dy, u := numbers(n, 1), numbers(n, 2), numbers(n, 3)
	w, b := numbers(dim, 4), numbers(dim, 5)
	y, z := make([]float32, n), make([]float32, n)
	mean, inv := make([]float32, rows), make([]float32, rows)
	dw, db := numbers(dim, 6), numbers(dim, 7)

	a := tensor.Of(x, rows, dim)
	c := tensor.Of(numbers(max(rows*rows, dim*dim), 8), dim, dim)
	m.Mul(c, a.T(), tensor.Of(dy, rows, dim))
	keep("Mul", c.Data)
	m.MulAdd(tensor.Of(c.Data, rows, rows), a, tensor.Of(dy, rows, dim).T())
	keep("MulAdd", c.Data)

	m.RMSNorm(y, inv, x, w, rows, dim, 1e-5)
	dx := numbers(n, 9)
	m.RMSNormBackward(dx, dw, dy, x, w, inv, rows, dim)
	keep("RMSNorm", y, inv, dx, dw)
	m.LayerNorm(y, mean, inv, x, w, b, rows, dim, 1e-5)
	m.LayerNormBackward(dx, dw, db, dy, x, w, mean, inv, rows, dim)
	keep("LayerNorm", y, mean, inv, dx, dw, db)
	for f := tensor.Identity; f <= tensor.Sigmoid; f++ {
		m.Activate(f, y, x)
		m.ActivateBackward(f, dx, dy, x)
		keep(fmt.Sprint("activation ", f), y, dx)
		m.Gate(f, y, x, u)
		m.GateBackward(f, dx, z, dy, x, u)
		keep(fmt.Sprint("gate ", f), y, dx, z)
	}
	m.SoftCap(y, x, 2.5)
	m.SoftCapBackward(dx, dy, x, 2.5)
	keep("SoftCap", y, dx)

	m.Softmax(y, x, rows, dim)
	m.SoftmaxBackward(dx, dy, y, rows, dim)
	keep("Softmax", y, dx)
	targets, loss := make([]int32, rows), make([]float32, rows)
	for i := range targets {
		targets[i] = int32(i*7%(dim+1)) - 1
	}
	m.SoftmaxCrossEntropy(loss, dx, x, targets, rows, dim, 0.37)
	keep("SoftmaxCrossEntropy", loss, dx)
	m.SquaredError(loss, dx, x, u, rows, dim, 0.37)
	keep("SquaredError", loss, dx)

	m.AddBias(y, b, rows, dim)
	m.BiasBackward(db, dy, rows, dim)
	keep("bias", y, db)
	ids := make([]int32, rows)
	for i := range ids {
		ids[i] = int32(i * 7 % 23) // some of them often
	}
	m.Gather(y, u, ids, dim)
	m.GatherBackward(dx, dy, ids, dim)
	keep("Gather", y, dx)
	m.Add(y, x)
	m.AddScaled(y, 0.3, dy)
	m.Scale(y, 0.7)
	keep("Add", y)
	s := m.SumSquares(x)
	keep("sums", []float32{tensor.Sum(x), tensor.Dot(x, dy), float32(s), float32(s - float64(float32(s)))})
	tensor.Rotate(y, w[:60], b[:60], true)
	tensor.Rotate(y[dim:], w[:60], b[:60], false)
	tensor.RotateBackward(y[dim:], b[:50], w[:50], false)
	keep("Rotate", y)
	return names, results
}

// TestSameBits compares every operation over kernels and numbers of threads,
// and with the digest that all machines must give.
func TestSameBits(t *testing.T) {
	one := tensor.New(1, kernel.All()[len(kernel.All())-1])
	names, want := allOperations(one)
	for _, k := range kernel.All() {
		for _, threads := range []int{1, 2, 7} {
			m := tensor.New(threads, k)
			_, got := allOperations(m)
			m.Close()
			for i := range want {
				same(t, fmt.Sprintf("%v, %d threads: %s", k, threads, names[i]), got[i], want[i])
			}
		}
	}
	h := sha256.New()
	for _, f := range want {
		for _, v := range f {
			h.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != goldenBits {
		t.Errorf("digest of all operations is %s, want %s", got, goldenBits)
	}
}

// TestActivationsOneByOne compares the vectors with the functions of one value.
func TestActivationsOneByOne(t *testing.T) {
	inf := float32(math.Inf(1))
	x := append(numbers(1500, 1), 0, float32(math.Copysign(0, -1)), 1e-45, -1e-45, 3e38, -3e38, 88.4, -88.4, inf, -inf, float32(math.NaN()))
	dy := numbers(len(x), 2)
	for _, k := range kernel.All() {
		m := tensor.New(1, k)
		for f := tensor.Identity; f <= tensor.Sigmoid; f++ {
			y, dx := slices.Clone(x), slices.Clone(dy)
			m.Activate(f, y, y)
			m.ActivateBackward(f, dx, dx, x)
			for i, v := range x {
				what := fmt.Sprintf("%v: activation %d of %g", k, f, v)
				same(t, what, y[i:i+1], []float32{f.Of(v)})
				same(t, what+", backward", dx[i:i+1], []float32{float32(dy[i] * f.Derivative(v))})
			}
		}
	}
}

// TestNotFinite checks that what is no number does not become one.
func TestNotFinite(t *testing.T) {
	m := machine(t, 1)
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for f := tensor.Identity; f <= tensor.Sigmoid; f++ {
		y := []float32{nan}
		m.Activate(f, y, y)
		if y[0] == y[0] {
			t.Errorf("activation %d of NaN is %g", f, y[0])
		}
	}
	for _, v := range []float32{nan, inf, -inf} {
		z, loss := numbers(40, 1), []float32{0}
		z[33] = v
		dz := make([]float32, 40)
		m.SoftmaxCrossEntropy(loss, dz, z, []int32{3}, 1, 40, 1)
		if loss[0] == loss[0] || dz[0] == dz[0] {
			t.Errorf("a logit of %g gives loss %g and gradient %g", v, loss[0], dz[0])
		}
	}
}
