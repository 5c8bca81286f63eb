package kernel

import "math"

// FromF16 returns the value of an IEEE 754 binary16 number; every one of them
// is exact in float32.
func FromF16(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	frac := uint32(h & 0x3ff)
	switch exp {
	case 0: // zero, denormal: frac * 2^-24, exact
		v := float32(float32(frac) * (1.0 / (1 << 24)))
		return math.Float32frombits(math.Float32bits(v) | sign)
	case 0x1f: // infinity, NaN (made quiet, as the instructions do)
		if frac != 0 {
			frac |= 0x200
		}
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}

// FromBF16 returns the value of a bfloat16 number, the upper half of a float32.
func FromBF16(h uint16) float32 { return math.Float32frombits(uint32(h) << 16) }

// ToF16Sat rounds x to binary16, half to even. Beyond the largest finite value
// it saturates to +-65504, and NaN becomes +0: what the KV cache holds is
// always finite (spec/numerics.md, "KV cache").
func ToF16Sat(x float32) uint16 {
	b := math.Float32bits(x)
	sign := uint16(b>>16) & 0x8000
	a := b & 0x7fffffff
	switch {
	case a > 0x7f800000: // NaN
		return 0
	case a >= 0x477ff000: // rounds to 65520 or more
		return sign | 0x7bff
	case a < 0x38800000: // below 2^-14: denormal; the addition rounds to 2^-24
		v := math.Float32frombits(a) + 0.5
		return sign | uint16(math.Float32bits(v)-0x3f000000)
	}
	a += 0xfff + (a >> 13 & 1)
	return sign | uint16((a-0x38000000)>>13)
}
