package quant_test

import (
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/quant"
)

func BenchmarkQuantize(b *testing.B) {
	x := normalWeights(1 << 14)
	for _, typ := range gguf.Types() {
		b.Run(typ.String(), func(b *testing.B) {
			elems, size := typ.Block()
			dst := make([]byte, len(x)/elems*size)
			b.SetBytes(int64(4 * len(x)))
			for b.Loop() {
				if err := quant.Quantize(typ, x, dst); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(x)), "ns/weight")
		})
	}
}

func BenchmarkDequantize(b *testing.B) {
	const n = 1 << 14
	y := make([]float32, n)
	for _, typ := range gguf.Types() {
		b.Run(typ.String(), func(b *testing.B) {
			elems, _ := typ.Block()
			src := randomBlocks(typ, n/elems)
			b.SetBytes(4 * n)
			for b.Loop() {
				if err := quant.Dequantize(typ, src, y); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/weight")
		})
	}
}

// normalWeights draws weights as a trained matrix has them.
func normalWeights(n int) []float32 {
	rng := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(0.02 * rng.NormFloat64())
	}
	return x
}
