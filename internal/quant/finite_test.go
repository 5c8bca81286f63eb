package quant_test

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/quant"
)

// TestFinite compares with the weights themselves, for each place of a few
// blocks and each kind of number.
func TestFinite(t *testing.T) {
	for _, typ := range gguf.Types() {
		elems, size := typ.Block()
		blocks := 3
		if elems == 1 {
			blocks = 11 // an odd number, so that the last word is not full
		}
		y := make([]float32, blocks*elems)
		for at := 0; at+2 <= blocks*size; at += 2 {
			for _, v := range []uint16{0x7c00, 0xfc00, 0x7e01, 0x7bff, 0x8000, 0x7f80, 0xffff, 0x7f7f, 0xfb80} {
				src := make([]byte, blocks*size)
				for i := range src {
					src[i] = 0x21 // scales of which no product with a code is 0
				}
				binary.LittleEndian.PutUint16(src[at:], v)
				if err := quant.Dequantize(typ, src, y); err != nil {
					t.Fatal(err)
				}
				want := true
				for _, w := range y {
					if f := float64(w); math.IsNaN(f) || math.IsInf(f, 0) {
						want = false
					}
				}
				if got := quant.Finite(typ, src); got != want {
					t.Errorf("%v with %#04x at byte %d: %v, want %v", typ, v, at, got, want)
				}
			}
		}
	}
}
