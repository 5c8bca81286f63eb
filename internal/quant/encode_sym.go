package quant

import "math"

// The formats without a minimum: x ≈ scale·q, with the error of each weight
// weighted by x².

func sqrt(v float32) float32 {
	return float32(math.Sqrt(float64(v)))
}

// symmetric is a sub-block to be fitted by x ≈ scale·q, −top ≤ q < top.
type symmetric struct {
	x, xx, xxx [16]float64 // x, x², x³
	lo, hi     float64
	extreme    float64 // the weight farthest from 0
}

func (f *symmetric) load(x []float32) bool {
	lo, hi := span(x)
	f.lo, f.hi, f.extreme = float64(lo), float64(hi), float64(extreme(x))
	for i, v := range x {
		x := float64(v)
		f.x[i], f.xx[i], f.xxx[i] = x, float64(x*x), float64(float64(x*x)*x)
	}
	return f.extreme > tiny || f.extreme < -tiny
}

// sums quantises with the given factor and returns Σx²q² and Σx²qx.
func (f *symmetric) sums(factor, top float64) (q2, qx float64) {
	first, last := f.lo, f.hi
	if factor < 0 {
		first, last = last, first
	}
	// As in affine.sums, most tries do without comparisons.
	if float64(first*factor)+magic-magic < -top || float64(last*factor)+magic-magic > top-1 {
		for i, x := range f.x {
			q := clamp(float64(x*factor)+magic-magic, top)
			qx += float64(f.xxx[i] * q)
			q2 += float64(float64(f.xx[i]*q) * q)
		}
		return q2, qx
	}
	for i, x := range f.x {
		q := float64(x*factor) + magic - magic
		qx += float64(f.xxx[i] * q)
		q2 += float64(float64(f.xx[i]*q) * q)
	}
	return q2, qx
}

func clamp(q, top float64) float64 {
	if q > top-1 {
		return top - 1
	}
	if q < -top {
		return -top
	}
	return q
}

// fit tries nineteen scales, first the one that puts the extreme weight on
// −top and then outwards, and returns the best.
func (f *symmetric) fit(top float64) float32 {
	var best, bestQX, bestQ2 float64
	for i := range 19 {
		step := float64((i + 1) / 2)
		if i%2 == 1 {
			step = -step
		}
		q2, qx := f.sums(-(top+float64(0.1*step))/f.extreme, top)
		// The least squares scale is qx/q2 and takes qx²/q2 off the error.
		if i == 0 || float64(float64(qx*qx)*bestQ2) > float64(float64(bestQX*bestQX)*q2) {
			best, bestQX, bestQ2 = qx/q2, qx, q2
		}
	}
	return float32(best)
}

// refine improves the quants one by one as long as the error falls, five times
// at most, and returns the scale that fits them.
func (f *symmetric) refine(top float64) float32 {
	var q [16]float64
	var q2, qx float64
	for i, x := range f.x {
		q[i] = clamp(float64(x*(-top/f.extreme))+magic-magic, top)
		qx += float64(f.xxx[i] * q[i])
		q2 += float64(float64(f.xx[i]*q[i]) * q[i])
	}
	for range 5 {
		changed := false
		for i, x := range f.x {
			restX := qx - float64(f.xxx[i]*q[i])
			if restX <= 0 {
				continue
			}
			rest2 := q2 - float64(float64(f.xx[i]*q[i])*q[i])
			other := clamp(float64(x*rest2)/restX+magic-magic, top)
			if other == q[i] {
				continue
			}
			restX += float64(f.xxx[i] * other)
			rest2 += float64(float64(f.xx[i]*other) * other)
			if rest2 > 0 && float64(float64(restX*restX)*q2) > float64(float64(qx*qx)*rest2) {
				q[i], qx, q2 = other, restX, rest2
				changed = true
			}
		}
		if !changed {
			break
		}
	}
	if q2 <= 0 {
		return 0
	}
	return float32(qx / q2)
}

func encodeQ6K(x []float32, b []byte) {
	var scales [16]float32
	var f symmetric
	for s := range 16 {
		if f.load(x[16*s : 16*s+16]) {
			scales[s] = f.fit(32)
		}
	}
	clear(b)
	d, factor := putBottom(b[208:], extreme(scales[:]), -128)
	for s := range 16 {
		scale := nearest(float32(factor*scales[s]), -128, 127)
		b[192+s] = byte(scale)
		dl := float32(d * float32(scale))
		low, high, nibble, pair := partsQ6K(b, s)
		for l := range low {
			q := 32 // weight 0
			if dl != 0 {
				q += nearest(x[16*s+l]/dl, -32, 31)
			}
			low[l] |= byte(q & 15 << nibble)
			high[l] |= byte(q >> 4 << pair)
		}
	}
}

// putBottom writes the binary16 number that scales the integer bottom to the
// given number, and returns as putTop does.
func putBottom(b []byte, number, bottom float32) (d, factor float32) {
	if abs(number) < tiny {
		return putHalf(b, 0), 0
	}
	factor = bottom / number
	return putHalf(b, 1/factor), factor
}

func encodeQ3K(x []float32, b []byte) {
	var scales [16]float32
	var f symmetric
	for s := range 16 {
		if f.load(x[16*s : 16*s+16]) {
			scales[s] = f.refine(4)
		}
	}
	clear(b)
	d, factor := putBottom(b[108:], extreme(scales[:]), -32)
	for s := range 16 {
		scale := nearest(float32(factor*scales[s]), -32, 31)
		putScaleQ3K(b[96:108], s, byte(scale+32))
		dl := float32(d * float32(scale))
		q, shift := quarter(b[32:96], s)
		high := b[s%2*16 : s%2*16+16]
		for l := range q {
			v := 4 // weight 0
			if dl != 0 {
				v += nearest(x[16*s+l]/dl, -4, 3)
			}
			q[l] |= byte(v & 3 << shift)
			high[l] |= byte(v >> 2 << (s / 2))
		}
	}
}

// putScaleQ3K is the inverse of scaleQ3K; scales starts as zeros.
func putScaleQ3K(scales []byte, s int, v byte) {
	scales[s%8] |= v & 15 << (s / 8 * 4)
	scales[8+s%4] |= v >> 4 << (s / 4 * 2)
}
