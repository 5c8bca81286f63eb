package quant_test

import (
	"math"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/quant"
)

// TestUnits holds the parts of a block to make its weights.
func TestUnits(t *testing.T) {
	const n = 200
	for _, typ := range gguf.Types() {
		elems, size := typ.Block()
		if elems == 1 {
			continue
		}
		src, want := randomBlocks(typ, n), make([]float32, n*elems)
		if err := quant.Dequantize(typ, src, want); err != nil {
			t.Fatal(err)
		}
		var u quant.Units
		for b := range n {
			u.Decode(typ, src[b*size:(b+1)*size])
			for i, w := range want[b*elems : (b+1)*elems] {
				unit := i / (elems / u.N)
				got := float32(u.Scales[unit] * float32(u.Codes[i]))
				if u.Offset {
					got += u.Offsets[unit]
				}
				if got != w && (got == got || w == w) || math.Signbit(float64(got)) != math.Signbit(float64(w)) && got == got {
					t.Fatalf("%v: weight %d of block %d is %v, want %v", typ, i, b, got, w)
				}
			}
		}
	}
}
