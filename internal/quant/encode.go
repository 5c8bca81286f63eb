package quant

import (
	"encoding/binary"
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
)

// The formats of 32 weights, without a search: the scale puts the extreme
// weight on the last quant, and every weight goes to the nearest one. These are
// the rules of ggml's reference code, and so are the resulting bytes, except
// that a block whose scale is 0 in binary16 has all its weights at zero.

// putScale writes a scale as binary16 and returns the factor that maps weights
// to quants: 1/d of the number before rounding, or 0 if nothing is left of it.
func putScale(b []byte, d float32) float32 {
	if putHalf(b, d) == 0 {
		return 0
	}
	return 1 / d
}

// putHalf writes a binary16 field and returns what a reader will see.
func putHalf(b []byte, f float32) float32 {
	h := FloatToHalf(f)
	binary.LittleEndian.PutUint16(b, h)
	return kernel.FromF16(h)
}

// extreme returns the weight farthest from 0, the first if there are several.
func extreme(x []float32) float32 {
	var far, e float32
	for _, v := range x {
		if a := abs(v); a > far {
			far, e = a, v
		}
	}
	return e
}

// span returns the smallest and the largest weight.
func span(x []float32) (lo, hi float32) {
	lo, hi = x[0], x[0]
	for _, v := range x[1:] {
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	return lo, hi
}

func abs(v float32) float32 {
	return math.Float32frombits(math.Float32bits(v) &^ floatSign)
}

// toByte rounds down a number known to be positive, no further than limit.
func toByte(v float32, limit byte) byte {
	return min(byte(int32(v)), limit)
}

func encodeQ4_0(x []float32, b []byte) {
	id := putScale(b, extreme(x)/-8)
	for j := range smallBlock / 2 {
		q0 := toByte(float32(x[j]*id)+8.5, 15)
		q1 := toByte(float32(x[j+16]*id)+8.5, 15)
		b[2+j] = q0 | q1<<4
	}
}

func encodeQ4_1(x []float32, b []byte) {
	lo, hi := span(x)
	id := putScale(b, (hi-lo)/15)
	putHalf(b[2:], lo)
	for j := range smallBlock / 2 {
		q0 := toByte(float32((x[j]-lo)*id)+0.5, 15)
		q1 := toByte(float32((x[j+16]-lo)*id)+0.5, 15)
		b[4+j] = q0 | q1<<4
	}
}

func encodeQ5_0(x []float32, b []byte) {
	id := putScale(b, extreme(x)/-16)
	var high uint32
	for j := range smallBlock / 2 {
		q0 := toByte(float32(x[j]*id)+16.5, 31)
		q1 := toByte(float32(x[j+16]*id)+16.5, 31)
		b[6+j] = q0&15 | q1<<4
		high |= uint32(q0>>4)<<j | uint32(q1>>4)<<(j+16)
	}
	binary.LittleEndian.PutUint32(b[2:], high)
}

func encodeQ5_1(x []float32, b []byte) {
	lo, hi := span(x)
	id := putScale(b, (hi-lo)/31)
	putHalf(b[2:], lo)
	var high uint32
	for j := range smallBlock / 2 {
		q0 := toByte(float32((x[j]-lo)*id)+0.5, 31)
		q1 := toByte(float32((x[j+16]-lo)*id)+0.5, 31)
		b[8+j] = q0&15 | q1<<4
		high |= uint32(q0>>4)<<j | uint32(q1>>4)<<(j+16)
	}
	binary.LittleEndian.PutUint32(b[4:], high)
}

func encodeQ8_0(x []float32, b []byte) {
	id := putScale(b, abs(extreme(x))/127)
	for j, v := range x {
		// Nearest, ties away from zero; in float64 because 0.49999997 + 0.5
		// would round to 1 in float32.
		r := float64(float32(v * id))
		if r < 0 {
			b[2+j] = byte(-int32(0.5 - r))
		} else {
			b[2+j] = byte(int32(r + 0.5))
		}
	}
}
