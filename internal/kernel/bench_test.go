package kernel

import (
	"fmt"
	"testing"
)

// BenchmarkMul measures products of one panel in multiply-adds: a batch of
// 252 as in a prefill, from the caches.
func BenchmarkMul(b *testing.B) {
	for _, k := range All() {
		for _, f := range []Format{W8, W4, W5, K4, K6, F16} {
			for _, n := range []int{1, 4, 252} {
				b.Run(fmt.Sprintf("%s/%v/%d", k.name, f, n), func(b *testing.B) {
					const cols = 2048
					m, err := NewMatrix(f, 64*16, cols, nil)
					if err != nil {
						b.Fatal(err)
					}
					a, s := NewActs(n, cols), NewScratch()
					out := make([]float32, n*Panel)
					i := 0
					for b.Loop() {
						k.Mul(out, m, i%64, a, s)
						i++
					}
					b.ReportMetric(float64(b.N)*cols*Panel*float64(n)/b.Elapsed().Seconds()/1e9, "GMAC/s")
				})
			}
		}
	}
}
