package engine

import "math"

// Finite reports whether no logit is NaN or infinite.
func Finite(logits []float32) bool {
	// Only these have an exponent of all ones: one more is a carry.
	const exponent, one, carry = 0x7f800000, 0x00800000, 0x80000000
	carried := uint32(0)
	for ; len(logits) >= 4; logits = logits[4:] {
		w, x := math.Float32bits(logits[0]), math.Float32bits(logits[1])
		y, z := math.Float32bits(logits[2]), math.Float32bits(logits[3])
		carried |= (w&exponent + one) | (x&exponent + one) | (y&exponent + one) | (z&exponent + one)
	}
	for _, z := range logits {
		carried |= math.Float32bits(z)&exponent + one
	}
	return carried&carry == 0
}
