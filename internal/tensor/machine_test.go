package tensor_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
)

// TestFor checks that the ranges cover [0,n) once, are long enough, and that a
// worker runs one at a time.
func TestFor(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 8} {
		m := tensor.New(threads, nil)
		for round := range 300 {
			n, grain := round*7%100, 1+round%9
			seen := make([]atomic.Int32, n)
			busy := make([]atomic.Bool, threads)
			m.For(n, grain, func(w, from, to int) {
				if busy[w].Swap(true) {
					t.Errorf("worker %d runs two ranges at a time", w)
				}
				if to-from < min(grain, n) {
					t.Errorf("range of %d, grain %d", to-from, grain)
				}
				for i := from; i < to; i++ {
					seen[i].Add(1)
				}
				busy[w].Store(false)
			})
			for i := range seen {
				if seen[i].Load() != 1 {
					t.Fatalf("%d threads, n %d, grain %d: %d ran %d times", threads, n, grain, i, seen[i].Load())
				}
			}
			if round%100 == 0 {
				time.Sleep(2 * time.Millisecond) // helpers fall asleep
			}
		}
		m.Close()
		m.Close()
	}
}

// multiply is the definition of a product, element by element.
func multiply(c, a, b tensor.Matrix, add bool) []float32 {
	out := make([]float32, 0, c.Rows*c.Cols)
	x, y := elements(a), elements(b.T())
	for i := range c.Rows {
		for j := range c.Cols {
			sum := float32(0)
			if add {
				sum = c.At(i, j)
			}
			row, col := x[i*a.Cols:(i+1)*a.Cols], y[j*a.Cols:(j+1)*a.Cols]
			for len(row) > 0 {
				n := min(32, len(row))
				p := float32(0)
				for l, v := range row[:n] {
					p += float32(v * col[l])
				}
				sum += p
				row, col = row[n:], col[n:]
			}
			out = append(out, sum)
		}
	}
	return out
}

// elements returns the elements of a matrix row by row.
func elements(a tensor.Matrix) []float32 {
	out := make([]float32, 0, a.Rows*a.Cols)
	for i := range a.Rows {
		for j := range a.Cols {
			out = append(out, a.At(i, j))
		}
	}
	return out
}

// TestMul compares products of every kernel with their definition.
func TestMul(t *testing.T) {
	for _, k := range kernel.All() {
		for _, threads := range []int{1, 2, 7} {
			t.Run(fmt.Sprintf("%v/%d", k, threads), func(t *testing.T) {
				m := tensor.New(threads, k)
				defer m.Close()
				r := newRand(t)
				rounds := 80
				if testing.Short() {
					rounds = 30
				}
				for round := range rounds {
					rows, depth, cols := 1+r.IntN(40), r.IntN(100), 1+r.IntN(70)
					if round == 0 { // more than a part of a piece each way
						rows, depth, cols = 97+r.IntN(40), 257+r.IntN(70), 257+r.IntN(40)
					}
					view := func(rows, cols int) tensor.Matrix {
						flip := r.IntN(2) == 1
						if flip {
							rows, cols = cols, rows
						}
						v := tensor.Of(normals(r, (rows+3)*(cols+5)), rows+3, cols+5).View(r.IntN(4), r.IntN(6), rows, cols)
						if flip {
							return v.T()
						}
						return v
					}
					a, b, c := view(rows, depth), view(depth, cols), view(rows, cols)
					before := append([]float32(nil), c.Data...)
					what := fmt.Sprintf("[%d,%d] %v by [%d,%d] %v into %v", rows, depth, a.Transposed, depth, cols, b.Transposed, c.Transposed)
					add := r.IntN(2) == 1
					want := multiply(c, a, b, add)
					if add {
						m.MulAdd(c, a, b)
					} else {
						m.Mul(c, a, b)
					}
					same(t, what, elements(c), want)
					// What lies between the rows stays.
					long, short := c.Cols, c.Rows
					if c.Transposed {
						long, short = short, long
					}
					for i := range short - 1 {
						at := i*c.Stride + long
						same(t, what+", beside it", c.Data[at:(i+1)*c.Stride], before[at:(i+1)*c.Stride])
					}
				}
			})
		}
	}
}

// TestMulDoesNotAllocate holds for all forms after a first call.
func TestMulDoesNotAllocate(t *testing.T) {
	for _, threads := range []int{1, 2} {
		m := machine(t, threads)
		a, b, c := matrixOf(100, 100), matrixOf(100, 100), matrixOf(100, 100)
		n := matrixOf(100, 3)
		if got := testing.AllocsPerRun(20, func() {
			m.Mul(c, a, b)
			m.MulAdd(c.T(), a, b.T())
			m.Mul(n, a.T(), b.View(0, 0, 100, 3))
		}); got > 0 {
			t.Errorf("%d threads: three products allocate %g times", threads, got)
		}
	}
}
