package quant

import "math"

// The K formats choose scales in two steps. First each sub-block gets the real
// scale (and minimum) that fits its weights best, found by trying a row of
// scales; then these numbers are themselves quantised, and each weight goes to
// the nearest value that a reader will see. The idea and the weighting of
// errors are ggml's; the sums here are float64, which lets the error of a try
// follow from the sums instead of a second pass.

// tiny is the magnitude below which weights count as zero: binary16 holds no
// scale for them.
const tiny = 1e-15

// magic added and subtracted rounds |v| < 2⁵¹ to an integer, ties to even.
const magic = 0x1.8p52

// nearest returns the integer nearest to v, ties to even, within [lo, hi].
func nearest(v float32, lo, hi int) int {
	switch {
	case v <= float32(lo):
		return lo
	case v >= float32(hi):
		return hi
	}
	return int(float64(v) + magic - magic)
}

// search is a row of scales to try: the quants' range is first taken as
// top+first, then step more each time.
type search struct {
	top         float64 // largest quant
	first, step float64
	tries       int
}

// affine is a sub-block to be fitted by x ≈ scale·q + base with q from 0 to top
// and base ≤ 0, errors weighted by w.
type affine struct {
	n      int
	x, w   [32]float64
	lo, hi float64 // smallest weight, but at most 0; largest weight

	sumW, sumX, sumXX float64 // Σw, Σwx, Σwx²
}

// load takes the weights x with error weights w and reports whether there is
// anything to fit.
func (a *affine) load(x, w []float32) bool {
	lo, hi := span(x)
	a.lo, a.hi = float64(min(lo, 0)), float64(hi)
	a.n = len(x)
	a.sumW, a.sumX, a.sumXX = 0, 0, 0
	for i, v := range x {
		x, w := float64(v), float64(w[i])
		a.x[i], a.w[i] = x, w
		wx := float64(w * x)
		a.sumW += w
		a.sumX += wx
		a.sumXX += float64(wx * x)
	}
	return a.hi-a.lo > tiny
}

// sums quantises x − base with the given factor and returns Σwq, Σwq² and Σwqx.
func (a *affine) sums(base, factor, top float64) (q1, q2, qx float64) {
	first := float64((a.lo-base)*factor) + magic - magic
	last := float64((a.hi-base)*factor) + magic - magic
	if first < 0 || last > top {
		return a.clampedSums(base, factor, top)
	}
	for i, x := range a.x[:a.n] {
		q := float64((x-base)*factor) + magic - magic
		wq := float64(a.w[i&31] * q)
		q1 += wq
		q2 += float64(wq * q)
		qx += float64(wq * x)
	}
	return q1, q2, qx
}

// clampedSums is sums where some quants have to be moved into their range. The
// comparisons cost as much as the arithmetic, and most tries do without.
func (a *affine) clampedSums(base, factor, top float64) (q1, q2, qx float64) {
	for i, x := range a.x[:a.n] {
		q := float64((x-base)*factor) + magic - magic
		if q > top {
			q = top
		}
		if q < 0 {
			q = 0
		}
		wq := float64(a.w[i&31] * q)
		q1 += wq
		q2 += float64(wq * q)
		qx += float64(wq * x)
	}
	return q1, q2, qx
}

// squares returns Σw(scale·q + base − x)² from those sums.
func (a *affine) squares(scale, base, q1, q2, qx float64) float64 {
	e := a.sumXX + float64(float64(scale*scale)*q2) + float64(float64(base*base)*a.sumW)
	cross := float64(float64(scale*base)*q1) - float64(scale*qx) - float64(base*a.sumX)
	return e + float64(2*cross)
}

// absolute quantises as sums does and returns Σw|scale·q + newBase − x|.
func (a *affine) absolute(base, factor, top, scale, newBase float64) float64 {
	var e float64
	for i, x := range a.x[:a.n] {
		q := float64((x-base)*factor) + magic - magic
		if q > top {
			q = top
		}
		if q < 0 {
			q = 0
		}
		e += float64(a.w[i&31] * math.Abs(float64(scale*q)+newBase-x))
	}
	return e
}

// fit returns the best scale and minimum −base that the search finds; with mad
// the error is the absolute one instead of the square. Each try quantises with
// the best base so far.
func (a *affine) fit(s search, mad bool) (scale, minimum float32) {
	bestScale, bestBase := (a.hi-a.lo)/s.top, a.lo
	least := a.measure(s.top/(a.hi-a.lo), s.top, mad)
	inverse := 1 / (a.hi - bestBase)
	for i := range s.tries {
		base := bestBase
		factor := float64((s.top + s.first + float64(s.step*float64(i))) * inverse)
		q1, q2, qx := a.sums(base, factor, s.top)
		det := float64(a.sumW*q2) - float64(q1*q1)
		if det <= 0 {
			continue
		}
		// The least squares line through the points (q, x).
		perDet := 1 / det
		newScale := float64((float64(a.sumW*qx) - float64(a.sumX*q1)) * perDet)
		newBase := float64((float64(q2*a.sumX) - float64(q1*qx)) * perDet)
		if newBase > 0 {
			newBase, newScale = 0, qx/q2
		}
		var e float64
		if mad {
			e = a.absolute(base, factor, s.top, newScale, newBase)
		} else {
			e = a.squares(newScale, newBase, q1, q2, qx)
		}
		if e < least {
			least, bestScale, bestBase = e, newScale, newBase
			inverse = 1 / (a.hi - bestBase)
		}
	}
	return float32(bestScale), float32(-bestBase)
}

// measure returns the error of the quants that span the weights from lo to hi.
func (a *affine) measure(factor, top float64, mad bool) float64 {
	if mad {
		return a.absolute(a.lo, factor, top, 1/factor, a.lo)
	}
	q1, q2, qx := a.sums(a.lo, factor, top)
	return a.squares(1/factor, a.lo, q1, q2, qx)
}

// The scales tried for the three affine formats. Those of Q5_K are fewer than
// ggml's sixteen from −0.5, and reach further down: the error of weights with a
// normal or uniform distribution is 1 % smaller.
var (
	searchQ2K = search{top: 3, first: -0.5, step: 0.1, tries: 16}
	searchQ4K = search{top: 15, first: -1, step: 0.1, tries: 21}
	searchQ5K = search{top: 31, first: -1, step: 0.2, tries: 11}
)

func encodeQ2K(x []float32, b []byte) {
	var scales, minima [16]float32
	var a affine
	var w [16]float32
	for s := range 16 {
		xs := x[16*s : 16*s+16]
		for i, v := range xs {
			w[i] = abs(v)
		}
		if a.load(xs, w[:]) {
			scales[s], minima[s] = a.fit(searchQ2K, true)
		} else {
			minima[s] = float32(-a.lo)
		}
	}
	d, fd := putTop(b[80:], maximum(scales[:]), 15)
	dmin, fm := putTop(b[82:], maximum(minima[:]), 15)
	clear(b[16:80])
	for s := range 16 {
		scale, minimum := nearest(float32(fd*scales[s]), 0, 15), nearest(float32(fm*minima[s]), 0, 15)
		b[s] = byte(scale | minimum<<4)
		dl, ml := float32(d*float32(scale)), float32(dmin*float32(minimum))
		if dl == 0 {
			continue
		}
		q, shift := quarter(b[16:80], s)
		for l := range q {
			q[l] |= byte(nearest((x[16*s+l]+ml)/dl, 0, 3) << shift)
		}
	}
}

// putTop writes the binary16 number that scales integers up to top to numbers
// up to largest. It returns it as a reader sees it, and the factor from numbers
// to integers.
func putTop(b []byte, largest, top float32) (d, factor float32) {
	d = putHalf(b, largest/top)
	if d == 0 {
		return 0, 0
	}
	return d, top / largest
}

// maximum returns the largest number, or 0 if all are negative.
func maximum(x []float32) float32 {
	var m float32
	for _, v := range x {
		if v > m {
			m = v
		}
	}
	return m
}

// encodeScales does the part that Q4_K and Q5_K share: it fits eight sub-blocks
// of 32, writes { half d, dmin; byte scales[12] } and returns the quants.
func encodeScales(x []float32, b []byte, s search) (q [superBlock]byte) {
	var scales, minima [8]float32
	var a affine
	var w [32]float32
	for k := range 8 {
		xs := x[32*k : 32*k+32]
		weigh(xs, &w)
		if a.load(xs, w[:]) {
			scales[k], minima[k] = a.fit(s, false)
		} else {
			minima[k] = float32(-a.lo)
		}
	}
	d, fd := putTop(b, maximum(scales[:]), 63)
	dmin, fm := putTop(b[2:], maximum(minima[:]), 63)
	packed := b[4:16]
	clear(packed)
	for k := range 8 {
		scale, minimum := nearest(float32(fd*scales[k]), 0, 63), nearest(float32(fm*minima[k]), 0, 63)
		putScaleMin(packed, k, byte(scale), byte(minimum))
		dl, ml := float32(d*float32(scale)), float32(dmin*float32(minimum))
		if dl == 0 {
			continue
		}
		for l, v := range x[32*k : 32*k+32] {
			q[32*k+l] = byte(nearest((v+ml)/dl, 0, int(s.top)))
		}
	}
	return q
}

// weigh gives each weight's error the weight |x| + root mean square.
func weigh(x []float32, w *[32]float32) {
	var sum float32
	for _, v := range x {
		sum += float32(v * v)
	}
	rms := sqrt(sum / 32)
	for i, v := range x {
		w[i] = rms + abs(v)
	}
}

// putScaleMin is the inverse of scaleMin; p starts as zeros.
func putScaleMin(p []byte, s int, scale, minimum byte) {
	if s < 4 {
		p[s] |= scale
		p[s+4] |= minimum
		return
	}
	p[s+4] = scale&15 | minimum<<4
	p[s-4] |= scale >> 4 << 6
	p[s] |= minimum >> 4 << 6
}

func encodeQ4K(x []float32, b []byte) {
	q := encodeScales(x, b, searchQ4K)
	for k := range 4 {
		for l := range 32 {
			b[16+32*k+l] = q[64*k+l] | q[64*k+32+l]<<4
		}
	}
}

func encodeQ5K(x []float32, b []byte) {
	q := encodeScales(x, b, searchQ5K)
	high := b[16:48]
	clear(high)
	for k := range 4 {
		for l := range 32 {
			q0, q1 := q[64*k+l], q[64*k+32+l]
			b[48+32*k+l] = q0&15 | q1<<4
			high[l] |= q0>>4<<(2*k) | q1>>4<<(2*k+1)
		}
	}
}
