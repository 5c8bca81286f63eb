package kernel

import (
	"fmt"
	"testing"
)

// TestMulLargest multiplies the largest codes of either sign with the largest
// activations, where products of bytes could saturate.
func TestMulLargest(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		s := NewScratch()
		for f := range formats {
			if f.Float() {
				continue
			}
			const cols = 256
			mask := uint32(codeMask[layouts[f].planes]) * 0x01010101
			for i, pattern := range []uint32{0, 0xffffffff, 0xff00ff00, 0x0000ffff} {
				m, err := NewMatrix(f, Panel, cols, nil)
				if err != nil {
					t.Fatal(err)
				}
				const one, half = 0x3c00, 0x3800
				ones := []int8{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}
				n := 8
				if layouts[f].half {
					n = 16
				}
				for row := range Panel {
					for b := range cols / Block {
						c := pattern & mask
						if row >= Panel/2 {
							c ^= mask
						}
						m.SetCodes(row, b, &[8]uint32{c, c, c, c, c, c, c, c})
						if f.Granule() == Block {
							m.SetScale(row, b, one, half)
						}
					}
					if f.Granule() == superBlock {
						m.SetSuper(row, 0, one, half, ones[:n], ones[:n])
					}
				}
				for _, n := range []int{1, 2, 4, 8, 12} {
					a := NewActs(n, cols)
					x := make([]float32, cols)
					for v := range n {
						for c := range x {
							x[c] = 127
							if v%2 == 1 || v%3 == 1 && c%4 < 2 {
								x[c] = -127
							}
						}
						generic.Quantize(x, s)
						a.SetQuantized(v, s)
					}
					got, want := make([]float32, n*Panel), make([]float32, n*Panel)
					k.Mul(got, m, 0, a, s)
					generic.Mul(want, m, 0, a, s)
					same(t, fmt.Sprintf("%v, pattern %d, %d vectors", f, i, n), got, want)
				}
			}
		}
	})
}
