package bench

import (
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/kernel"
)

// Roof is what the machine can do at most, with some threads.
type Roof struct {
	BytesPerSecond float64 // read from memory
	OpsPerSecond   float64 // int8, a multiply-add being two; 0 if unknown
}

// roofBytes is far more than the caches hold.
const roofBytes = 512 << 20

// Measure measures the bandwidth of memory, as the best of some runs in which
// every thread reads a part of a large buffer of its own, and the peak of the
// kernel's dot product on registers.
func Measure(k *kernel.Kernel, threads int) Roof {
	var r Roof
	parts := make([][]byte, threads)
	for i := range parts {
		parts[i] = roofBuffer(roofBytes / threads / 512 * 512)
	}
	for range 5 {
		d := parallel(threads, func(i int) { k.Stream(parts[i]) })
		r.BytesPerSecond = max(r.BytesPerSecond, float64(len(parts[0])*threads)/d.Seconds())
	}
	const rounds = 10_000_000
	for range 3 {
		var ops int
		d := parallel(threads, func(i int) {
			if n := k.Peak(rounds); i == 0 {
				ops = n
			}
		})
		r.OpsPerSecond = max(r.OpsPerSecond, 2*float64(ops*threads)/d.Seconds())
	}
	for _, p := range parts {
		freeBuffer(p)
	}
	return r
}

// parallel runs f on n goroutines and returns how long that took.
func parallel(n int, f func(i int)) time.Duration {
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
	return time.Since(start)
}
