package quant_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/quant"
)

// TestPackKeepsWeights packs random blocks of every type and compares the
// weights that the matrix then gives with the dequantised ones, bit for bit.
func TestPackKeepsWeights(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, typ := range []gguf.Type{
		gguf.F32, gguf.F16, gguf.BF16, gguf.Q8_0, gguf.Q4_0, gguf.Q4_1, gguf.Q5_0, gguf.Q5_1,
		gguf.Q2_K, gguf.Q3_K, gguf.Q4_K, gguf.Q5_K, gguf.Q6_K, gguf.IQ4_NL, gguf.IQ4_XS,
	} {
		const cols, rows = 1024, 35
		format, err := quant.PackFormat(typ)
		if err != nil {
			t.Fatal(err)
		}
		m, err := kernel.NewMatrix(format, rows, cols, nil)
		if err != nil {
			t.Fatal(err)
		}
		elems, bytes := typ.Block()
		size := cols / elems * bytes
		data := make([]byte, rows*size)
		for row := range rows {
			// Random bytes quantised from random numbers, so that scales are sane.
			x := make([]float32, cols)
			for i := range x {
				x[i] = float32(r.NormFloat64())
			}
			if err := quant.Quantize(typ, x, data[row*size:(row+1)*size]); err != nil {
				t.Fatal(err)
			}
		}
		for p := range m.Panels() {
			quant.Pack(m, typ, p, data[p*kernel.Panel*size:min((p+1)*kernel.Panel, rows)*size])
		}
		want, got := make([]float32, cols), make([]float32, cols)
		s := kernel.NewScratch()
		for row := range rows {
			if err := quant.Dequantize(typ, data[row*size:(row+1)*size], want); err != nil {
				t.Fatal(err)
			}
			m.Row(got, row, s)
			for i := range want {
				if math.Float32bits(got[i]) != math.Float32bits(want[i]) && got[i] != want[i] {
					t.Fatalf("%v row %d column %d: packed %g, file %g", typ, row, i, got[i], want[i])
				}
			}
		}
	}
}
