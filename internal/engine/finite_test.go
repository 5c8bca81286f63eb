package engine_test

import (
	"math"
	"testing"

	"github.com/avalnetwork/aval/internal/engine"
)

func TestFinite(t *testing.T) {
	inf := float32(math.Inf(1))
	for n := range 13 {
		logits := make([]float32, n)
		for i := range logits {
			logits[i] = []float32{math.MaxFloat32, -math.MaxFloat32, 0x1p-149, 0}[i%4]
		}
		if !engine.Finite(logits) {
			t.Errorf("%v are not finite", logits)
		}
		for i := range logits {
			for _, v := range []float32{inf, -inf, float32(math.NaN()), math.Float32frombits(0xff800001)} {
				was := logits[i]
				if logits[i] = v; engine.Finite(logits) {
					t.Errorf("%v are finite", logits)
				}
				logits[i] = was
			}
		}
	}
}
