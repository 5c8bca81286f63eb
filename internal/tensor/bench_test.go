package tensor_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
)

// peak returns the multiply-adds a second of a kernel on one thread, products
// and sums not fused.
func peak(k *kernel.Kernel) float64 {
	runtime.LockOSThread() // clock is that of a thread
	defer runtime.UnlockOSThread()
	best := 0.0
	for range 5 {
		start := clock()
		n := k.PeakFloat(500_000)
		best = max(best, float64(n)/(clock()-start).Seconds())
	}
	return best
}

// BenchmarkMul measures products of the shapes of training, [m,k] [k,n], plain
// and with a transposed side as in backward passes, and which share of the
// peak they reach on one thread.
func BenchmarkMul(b *testing.B) {
	for _, k := range kernel.All() {
		top := peak(k)
		m := tensor.New(1, k)
		defer m.Close()
		for _, s := range [][3]int{
			{64, 784, 256},
			{64, 256, 10},
			{256, 576, 1536},
			{2048, 256, 1024},
			{256, 576, 8},
			{256, 8, 576},
			{256, 64, 256},
			{1, 576, 1536},
			{8, 25, 500},
		} {
			for _, form := range []string{"ab", "aTb", "abT"} {
				b.Run(fmt.Sprintf("%v/%dx%dx%d/%s", k, s[0], s[1], s[2], form), func(b *testing.B) {
					benchmarkMul(b, m, top, s, form)
				})
			}
		}
	}
}

// BenchmarkThreads measures a large product on two threads, by the wall clock.
func BenchmarkThreads(b *testing.B) {
	x, y, c := matrixOf(2048, 256), matrixOf(256, 1024), matrixOf(2048, 1024)
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprint(threads), func(b *testing.B) {
			m := tensor.New(threads, nil)
			defer m.Close()
			best := time.Hour
			for b.Loop() {
				start := time.Now()
				m.Mul(c, x, y)
				best = min(best, time.Since(start))
			}
			b.ReportMetric(2048*256*1024/best.Seconds()/1e9, "best-GMAC/s")
		})
	}
}

func benchmarkMul(b *testing.B, m *tensor.Machine, top float64, s [3]int, form string) {
	rows, depth, cols := s[0], s[1], s[2]
	matrix := func(rows, cols int, flip bool) tensor.Matrix {
		if flip {
			return matrixOf(cols, rows).T()
		}
		return matrixOf(rows, cols)
	}
	x, y, c := matrix(rows, depth, form == "aTb"), matrix(depth, cols, form == "abT"), matrix(rows, cols, false)
	runtime.LockOSThread() // clock is that of a thread
	defer runtime.UnlockOSThread()
	// The best of short stretches: what the code does while nobody disturbs it.
	rounds := 1 + 4_000_000/(rows*depth*cols)
	best := 0.0
	for b.Loop() {
		start := clock()
		for range rounds {
			m.Mul(c, x, y)
		}
		best = max(best, float64(rounds*rows*depth*cols)/(clock()-start).Seconds())
	}
	b.ReportMetric(best/1e9, "GMAC/s")
	if top > 0 {
		b.ReportMetric(100*best/top, "%peak")
	}
	b.ReportMetric(0, "ns/op")
}

func matrixOf(rows, cols int) tensor.Matrix {
	r := rand.New(rand.NewPCG(1, 2))
	d := make([]float32, rows*cols)
	for i := range d {
		d[i] = float32(r.NormFloat64())
	}
	return tensor.Of(d, rows, cols)
}
