package quant

import "math"

const (
	halfExponent   = 0x7c00
	halfNaN        = 0x7e00
	bfloatExponent = 0x7f80
	bfloatNaN      = 0x7fc0
	floatExponent  = 0x7f800000
	floatQuiet     = 0x00400000
	floatSign      = 0x80000000
)

// FloatToHalf rounds to binary16, to nearest, ties to even. What is too large
// becomes an infinity of the same sign, every NaN becomes 0x7e00 with the sign
// kept. The other direction is kernel.FromF16.
func FloatToHalf(f float32) uint16 {
	bits := math.Float32bits(f)
	sign := uint16(bits>>16) & 0x8000
	abs := bits &^ floatSign
	switch {
	case abs > floatExponent:
		return sign | halfNaN
	case abs >= 0x477ff000: // 65520, half way from the largest number to 2¹⁶
		return sign | halfExponent
	case abs < 0x38800000: // below 2⁻¹⁴ the result is denormal
		// Adding 0.5 puts the unit 2⁻²⁴ at the last bit of the mantissa, so the
		// addition itself rounds, ties to even.
		sum := math.Float32frombits(abs) + 0.5
		return sign | uint16(math.Float32bits(sum)-math.Float32bits(0.5))
	}
	// Thirteen bits fall away. Adding just less than half of their unit, plus
	// the bit that will be last, rounds ties to even; a carry runs into the
	// exponent, which is the right answer.
	abs += 0x0fff + abs>>13&1
	return sign | uint16((abs-(127-15)<<23)>>13)
}

// FloatToBFloat rounds to bfloat16, to nearest, ties to even. What is too large
// becomes an infinity, every NaN becomes 0x7fc0 with the sign kept.
func FloatToBFloat(f float32) uint16 {
	bits := math.Float32bits(f)
	if bits&^floatSign > floatExponent {
		return uint16(bits>>16)&0x8000 | bfloatNaN
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}
