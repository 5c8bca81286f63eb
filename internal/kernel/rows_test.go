package kernel

import (
	"fmt"
	"math"
	"testing"
)

// TestWeights holds the weights of a panel to be those of its rows.
func TestWeights(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		r := newRand(t)
		s, reference := NewScratch(), NewScratch()
		for f := range formats {
			for _, cols := range []int{512, 96} {
				if cols%f.Granule() != 0 {
					continue
				}
				const rows = 37
				m := randomMatrix(t, r, f, rows, cols)
				want, got := make([]float32, cols), make([]float32, Panel*cols)
				for row := range rows {
					if row%Panel == 0 {
						k.Weights(got, m, row/Panel, s)
					}
					m.Row(want, row, reference)
					same(t, fmt.Sprintf("%v of %d columns, row %d", f, cols, row), got[row%Panel*cols:][:cols], want)
				}
			}
		}
	})
}

// TestSoftmax holds every kernel to the reference, unseen positions included.
func TestSoftmax(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		r := newRand(t)
		for _, n := range []int{16, 48, 272} {
			scores := floats(r, n, nil)
			for i := n/2 + 1; i < n; i++ {
				scores[i] = float32(math.Inf(-1))
			}
			want := append([]float32(nil), scores...)
			sum := generic.Softmax(want, 0.125)
			if !(sum >= 1) || want[n-1] != 0 {
				t.Fatalf("sum %g, unseen position %g", sum, want[n-1])
			}
			if got := k.Softmax(scores, 0.125); got != sum {
				t.Errorf("sum of %d is %g, want %g", n, got, sum)
			}
			same(t, "softmax", scores, want)
		}
	})
}
