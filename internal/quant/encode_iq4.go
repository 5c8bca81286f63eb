package quant

import "encoding/binary"

// nearestIQ4[128+k] is the index of the level nearest to numbers in [k, k+½),
// and the half above is looked up with it: all middles between neighbouring
// levels are multiples of ½.
var nearestIQ4 = middlesIQ4()

// middlesIQ4 tabulates the nearest level over half steps from −128 to 128; a
// number in the middle goes up.
func middlesIQ4() (table [512]uint8) {
	for k := range table {
		twice := k - 256
		i := 0
		for i < 15 && twice >= int(levelsIQ4[i])+int(levelsIQ4[i+1]) {
			i++
		}
		table[k] = uint8(i)
	}
	return table
}

// levelIQ4 returns the index of the level nearest to v.
func levelIQ4(v float64) uint8 {
	switch {
	case v >= 113:
		return 15
	case v > -127:
		// The conversion rounds towards zero; the offset makes that down.
		return nearestIQ4[int(float64(2*v)+256)]
	}
	return 0 // also for NaN, which a scale that overflows leads to
}

// fitIQ4 returns the scale of the best of sixteen fits of 32 weights to the
// levels, errors weighted by x²: the extreme weight first on 127, then on the
// numbers from −134 to −120.
func fitIQ4(x []float32) float32 {
	far := float64(extreme(x))
	if far <= tiny && far >= -tiny {
		return 0
	}
	best, bestQX, bestQ2 := 0.0, 0.0, 0.0
	for try := -8; try <= 7; try++ {
		factor := float64(try-127) / far
		if try == -8 {
			factor = 127 / far
		}
		var q2, qx float64
		for _, v := range x {
			x := float64(v)
			q := float64(levelsIQ4[levelIQ4(float64(x*factor))])
			wq := float64(float64(x*x) * q)
			qx += float64(wq * x)
			q2 += float64(wq * q)
		}
		if try == -8 || float64(float64(qx*qx)*bestQ2) > float64(float64(bestQX*bestQX)*q2) {
			best, bestQX, bestQ2 = qx/q2, qx, q2
		}
	}
	return float32(best)
}

// putLevels writes 32 weights as the levels nearest to x·factor.
func putLevels(x []float32, factor float32, b []byte) {
	for j := range smallBlock / 2 {
		low, high := levelIQ4(float64(x[j]*factor)), levelIQ4(float64(x[j+16]*factor))
		b[j] = low | high<<4
	}
}

func encodeIQ4NL(x []float32, b []byte) {
	scale := fitIQ4(x)
	putLevels(x, putScale(b, scale), b[2:18])
}

func encodeIQ4XS(x []float32, b []byte) {
	var scales [8]float32
	for s := range scales {
		scales[s] = fitIQ4(x[32*s : 32*s+32])
	}
	clear(b[:8])
	d, factor := putBottom(b, extreme(scales[:]), -32)
	var high uint16
	for s := range scales {
		scale := nearest(float32(factor*scales[s]), -32, 31)
		b[4+s/2] |= byte((scale + 32) & 15 << (s % 2 * 4))
		high |= uint16((scale+32)>>4) << (2 * s)
		inverse := float32(0)
		if dl := float32(d * float32(scale)); dl != 0 {
			inverse = 1 / dl
		}
		putLevels(x[32*s:32*s+32], inverse, b[8+16*s:24+16*s])
	}
	binary.LittleEndian.PutUint16(b[2:], high)
}
