package tensor_test

import (
	"math"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
)

// The tests of this file write spec/training.md, part 1, again, one operation
// and one element at a time, and compare bits.

// sixteen is a sum in sixteen parts.
func sixteen(n int, term func(i int) float32) float32 {
	var s [16]float32
	for i := range n {
		s[i%16] += term(i)
	}
	for h := 8; h >= 1; h /= 2 {
		for l := range h {
			s[l] += s[l+h]
		}
	}
	return s[0]
}

// blocks is a sum in blocks of 32 that begins at y.
func blocks(y float32, n int, term func(i int) float32) float32 {
	p := float32(0)
	for i := range n {
		p += term(i)
		if i%32 == 31 || i == n-1 {
			y += p
			p = 0
		}
	}
	return y
}

func TestSumOrder(t *testing.T) {
	m := machine(t, 3)
	for _, n := range []int{0, 1, 15, 16, 17, 100, 4095, 4096, 4097, 50000} {
		x, y := numbers(n, 1), numbers(n, 2)
		same(t, "Sum", []float32{tensor.Sum(x)}, []float32{sixteen(n, func(i int) float32 { return x[i] })})
		same(t, "Dot", []float32{tensor.Dot(x, y)}, []float32{sixteen(n, func(i int) float32 { return float32(x[i] * y[i]) })})
		total := 0.0
		for c := 0; c < n; c += 4096 {
			total += float64(sixteen(min(4096, n-c), func(i int) float32 { return float32(x[c+i] * x[c+i]) }))
		}
		if got := m.SumSquares(x); got != total {
			t.Errorf("SumSquares of %d is %v, want %v", n, got, total)
		}
	}
}

func TestRowOrder(t *testing.T) {
	m := machine(t, 3)
	for _, rows := range []int{1, 31, 32, 33, 64, 200} {
		for _, dim := range []int{1, 20, 300} {
			dy, b := numbers(rows*dim, 1), numbers(dim, 2)
			want := slices.Clone(b)
			for j := range want {
				want[j] = blocks(want[j], rows, func(r int) float32 { return dy[r*dim+j] })
			}
			m.BiasBackward(b, dy, rows, dim)
			same(t, "BiasBackward", b, want)

			table, ids := numbers(5*dim, 3), make([]int32, rows)
			want = slices.Clone(table)
			for r := range ids {
				ids[r] = int32(r * r % 5)
				for j := range dim {
					want[int(ids[r])*dim+j] += dy[r*dim+j]
				}
			}
			m.GatherBackward(table, dy, ids, dim)
			same(t, "GatherBackward", table, want)
		}
	}
}

func TestNormOrder(t *testing.T) {
	m := machine(t, 2)
	for _, dim := range []int{1, 16, 40, 133} {
		const rows, eps = 35, 1e-5
		n := float32(dim)
		x, dy, w, b := numbers(rows*dim, 1), numbers(rows*dim, 2), numbers(dim, 3), numbers(dim, 4)
		y, inv, mean := make([]float32, rows*dim), make([]float32, rows), make([]float32, rows)
		root := func(x float32) float32 { return float32(1 / float32(math.Sqrt(float64(x)))) }
		for _, centred := range []bool{false, true} {
			wantY, h := make([]float32, rows*dim), make([]float32, rows*dim)
			wantX := numbers(rows*dim, 5)
			wantW, wantB := numbers(dim, 6), numbers(dim, 7)
			dx, dw, db := slices.Clone(wantX), slices.Clone(wantW), slices.Clone(wantB)
			for r := range rows {
				at := func(i int) int { return r*dim + i }
				u := float32(0)
				if centred {
					u = float32(sixteen(dim, func(i int) float32 { return x[at(i)] }) / n)
				}
				d := func(i int) float32 { return x[at(i)] - u }
				f := root(float32(sixteen(dim, func(i int) float32 { return float32(d(i) * d(i)) })/n) + eps)
				g := func(i int) float32 { return float32(dy[at(i)] * w[i]) }
				for i := range dim {
					h[at(i)] = float32(d(i) * f)
					wantY[at(i)] = float32(h[at(i)] * w[i])
					if centred {
						wantY[at(i)] += b[i]
					}
				}
				big := float32(sixteen(dim, func(i int) float32 { return float32(g(i) * h[at(i)]) }) / n)
				for i := range dim {
					v := g(i)
					if centred {
						v -= float32(sixteen(dim, g) / n)
					}
					wantX[at(i)] += float32(f * (v - float32(h[at(i)]*big)))
				}
			}
			for i := range dim {
				wantW[i] = blocks(wantW[i], rows, func(r int) float32 { return float32(dy[r*dim+i] * h[r*dim+i]) })
				wantB[i] = blocks(wantB[i], rows, func(r int) float32 { return dy[r*dim+i] })
			}
			if centred {
				m.LayerNorm(y, mean, inv, x, w, b, rows, dim, eps)
				m.LayerNormBackward(dx, dw, db, dy, x, w, mean, inv, rows, dim)
				same(t, "LayerNorm db", db, wantB)
			} else {
				m.RMSNorm(y, inv, x, w, rows, dim, eps)
				m.RMSNormBackward(dx, dw, dy, x, w, inv, rows, dim)
			}
			same(t, "norm", y, wantY)
			same(t, "norm dx", dx, wantX)
			same(t, "norm dw", dw, wantW)
		}
	}
}

func TestLossOrder(t *testing.T) {
	m := machine(t, 2)
	for _, dim := range []int{1, 2, 10, 48, 301} {
		const rows, scale = 9, 0.3
		z, goal := numbers(rows*dim, 1), numbers(rows*dim, 2)
		targets, loss := make([]int32, rows), make([]float32, rows)
		wantLoss, want := make([]float32, rows), make([]float32, rows*dim)
		for r := range rows {
			targets[r] = int32(r*3%(dim+1)) - 1
			row := z[r*dim : (r+1)*dim]
			top := slices.Max(row)
			e := func(i int) float32 { return kernel.Exp(row[i] - top) }
			sum := sixteen(dim, e)
			if targets[r] < 0 {
				continue
			}
			wantLoss[r] = float32(kernel.Log(float64(sum)) - float64(row[targets[r]]-top))
			for i := range dim {
				p := float32(e(i) / sum)
				if i == int(targets[r]) {
					p -= 1
				}
				want[r*dim+i] = float32(p * scale)
			}
		}
		dz := make([]float32, rows*dim)
		m.SoftmaxCrossEntropy(loss, dz, z, targets, rows, dim, scale)
		same(t, "cross entropy", loss, wantLoss)
		same(t, "cross entropy dz", dz, want)
		m.SoftmaxCrossEntropy(loss, nil, z, targets, rows, dim, scale)
		same(t, "cross entropy alone", loss, wantLoss)
		in := slices.Clone(z)
		m.SoftmaxCrossEntropy(loss, in, in, targets, rows, dim, scale)
		same(t, "cross entropy in place", in, want)

		factor := float32(float32(scale*2) / float32(dim))
		for r := range rows {
			d := func(i int) float32 { return z[r*dim+i] - goal[r*dim+i] }
			wantLoss[r] = float32(sixteen(dim, func(i int) float32 { return float32(d(i) * d(i)) }) / float32(dim))
			for i := range dim {
				want[r*dim+i] = float32(d(i) * factor)
			}
		}
		m.SquaredError(loss, dz, z, goal, rows, dim, scale)
		same(t, "squared error", loss, wantLoss)
		same(t, "squared error dy", dz, want)
	}
}
