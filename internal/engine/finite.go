package engine

import "math"

// Finite reports whether no logit is NaN or infinite.
func Finite(logits []float32) bool {
	const exponent = 0x7f800000 // all ones in NaN and infinities only
	worst := uint32(0)
	for _, z := range logits {
		worst = max(worst, math.Float32bits(z)&exponent)
	}
	return worst != exponent
}
