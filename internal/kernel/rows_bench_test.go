package kernel

import "testing"

func BenchmarkWeights(b *testing.B) {
	for _, f := range []Format{W8, K4, K6} {
		b.Run(f.String(), func(b *testing.B) {
			m, err := NewMatrix(f, Panel, 1536, nil)
			if err != nil {
				b.Fatal(err)
			}
			k, s, dst := Best(), NewScratch(), make([]float32, Panel*1536)
			b.SetBytes(Panel * 1536 * 4)
			for range b.N {
				k.Weights(dst, m, 0, s)
			}
		})
	}
}
