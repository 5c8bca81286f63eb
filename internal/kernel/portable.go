//go:build (!amd64 && !arm64) || purego

package kernel

import (
	"math"
	"unsafe"
)

// portable is plain Go that is arranged for speed where there is no assembly,
// above all in WebAssembly: few branches, wide integer arithmetic. What it
// leaves to the reference takes little time.
var portable = func() Kernel {
	k := generic
	k.name = "portable"
	k.tileQ = [4]func(int, *float32, *byte, *float32, *float32, *byte, *byte, int, int){
		tileQPortable[plainBlocks], tileQPortable[offsetBlocks], tileQPortable[halfBlocks], tileQPortable[halfOffsetBlocks],
	}
	k.tileF16, k.tileF32 = tileF16Portable, tileF32Portable
	for h, rows := range productHeights {
		for w := range k.products[h] {
			cols := (w + 1) * Panel
			k.products[h][w] = func(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int) {
				productPortable(rows, cols, c, cs, a, ar, ak, b, bk, k, cont)
			}
		}
	}
	return k
}()

// A lane holds the sum of 32 products of a code, 0 to 255, and an activation
// plus 127, 0 to 254: less than 2^21. Three lanes fit a word, so that one
// multiplication serves three vectors.
const (
	lanes    = 3
	laneBits = 21
	laneMask = 1<<laneBits - 1
	packs    = maxTile / lanes
)

// columns are the activations of a block: of each column, the vectors of a
// tile, plus 127, three a word.
type columns [Block][packs]uint64

// tileQPortable is [tileQGeneric]. The sum of code * x is exact in integers,
//
//	sum((w-128) * x) = sum(w * (x+127)) - 127 * sum(w) - 128 * sum(x)
//
// and the floats follow in the same order.
func tileQPortable[F blockForm](t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	var f F
	half, offset := f.form()
	parts := 1 // of a block
	if half {
		parts = 2
	}
	o := unsafe.Slice(out, t*Panel)
	sc := unsafe.Slice(scales, nb*parts*Panel)
	var of []float32
	if offset {
		of = unsafe.Slice(offs, nb*parts*Panel)
	}
	if cont == 0 {
		clear(o)
	}
	var cols columns
	for b := range nb {
		w := (*[512]byte)(unsafe.Add(unsafe.Pointer(codes), b*512))
		xb := unsafe.Add(unsafe.Pointer(x), b*t*actBytes)
		eb := unsafe.Add(unsafe.Pointer(xe), b*t*actExtraBytes)
		xscale := unsafe.Slice((*float32)(xb), 10*t)[8*t : 9*t]
		xsum := unsafe.Slice((*int32)(xb), 10*t)[9*t:] // times -128
		xesum := unsafe.Slice((*int32)(eb), 5*t)
		xefloat := unsafe.Slice((*float32)(eb), 5*t)
		cols.pack(t, unsafe.Slice((*int8)(xb), 32*t))
		for h := range parts {
			xs := xsum
			if half {
				xs = xesum[h*t:]
			}
			xf := xefloat[2*t:] // x.scale * sum(x)
			if half {
				xf = xefloat[(3+h)*t:]
			}
			for r := range Panel {
				var sums [packs]uint64
				j := (b*parts+h)*Panel + r
				scale := sc[j]
				less := 127 * cols.row(t, w, r, h*4, 8/parts, &sums)
				for i := range t {
					dot := int32(sums[i/lanes]&laneMask) - less + xs[i]
					sums[i/lanes] >>= laneBits
					acc := o[i*Panel+r] + float32(float32(float32(dot)*scale)*xscale[i])
					if offset {
						acc += float32(of[j] * xf[i])
					}
					o[i*Panel+r] = acc
				}
			}
		}
	}
}

// pack takes the codes of t vectors, [8 groups][t][4 columns].
func (cols *columns) pack(t int, x []int8) {
	for g := range 8 {
		for c := range 4 {
			col := &cols[g*4+c]
			*col = [packs]uint64{}
			for i := range t {
				col[i/lanes] |= uint64(int(x[(g*t+i)*4+c])+127) << (i % lanes * laneBits)
			}
		}
	}
}

// row sums the products of row r of a block with groups first to first+n-1,
// and returns the sum of the row's codes.
func (cols *columns) row(t int, w *[512]byte, r, first, n int, sums *[packs]uint64) int32 {
	var total, s0, s1, s2, s3 uint64
	if t <= lanes {
		for g := first; g < first+n; g++ {
			p, x := w[(g*64+r*4)&508:][:4], cols[g*4&28:][:4]
			a, b, c, d := uint64(p[0]), uint64(p[1]), uint64(p[2]), uint64(p[3])
			total += a + b + c + d
			s0 += a*x[0][0] + b*x[1][0] + c*x[2][0] + d*x[3][0]
		}
		sums[0] = s0
		return int32(total)
	}
	for g := first; g < first+n; g++ {
		p, x := w[(g*64+r*4)&508:][:4], cols[g*4&28:][:4]
		a, b, c, d := uint64(p[0]), uint64(p[1]), uint64(p[2]), uint64(p[3])
		total += a + b + c + d
		s0 += a*x[0][0] + b*x[1][0] + c*x[2][0] + d*x[3][0]
		s1 += a*x[0][1] + b*x[1][1] + c*x[2][1] + d*x[3][1]
		s2 += a*x[0][2] + b*x[1][2] + c*x[2][2] + d*x[3][2]
		s3 += a*x[0][3] + b*x[1][3] + c*x[2][3] + d*x[3][3]
	}
	*sums = [packs]uint64{s0, s1, s2, s3}
	return int32(total)
}

func tileF16Portable(t int, out *float32, w *uint16, x *float32, k, cont int) {
	src := unsafe.Slice(w, k*Panel)
	var block [Block * Panel]float32
	for c0 := 0; c0 < k; c0 += Block {
		n := min(Block, k-c0)
		dst := block[:n*Panel]
		for i, v := range src[c0*Panel:][:len(dst)] {
			if v&0x7c00 == 0x7c00 { // an infinity or no number
				dst[i] = FromF16(v)
				continue
			}
			// The exponent is 112 too small then, also that of the subnormal.
			dst[i] = float32(math.Float32frombits(uint32(v&0x8000)<<16|uint32(v&0x7fff)<<13) * 0x1p112)
		}
		tileBlock(t, unsafe.Slice(out, t*Panel), block[:n*Panel], x, c0, n, cont+c0)
	}
}

func tileF32Portable(t int, out *float32, w *float32, x *float32, k, cont int) {
	src := unsafe.Slice(w, k*Panel)
	for c0 := 0; c0 < k; c0 += Block {
		n := min(Block, k-c0)
		tileBlock(t, unsafe.Slice(out, t*Panel), src[c0*Panel:(c0+n)*Panel], x, c0, n, cont+c0)
	}
}

// tileBlock is [tileFGeneric] for one block, of n columns from c0 on: each sum
// is made in one go, four rows at a time.
func tileBlock(t int, out, w []float32, x *float32, c0, n, cont int) {
	if cont == 0 {
		clear(out)
	}
	for i := range t {
		var v [Block]float32
		for c := 0; c < n; c += Panel {
			xs := unsafe.Slice((*float32)(unsafe.Add(unsafe.Pointer(x), ((c0+c)/Panel*t+i)*Panel*4)), Panel)
			copy(v[c:], xs)
		}
		o := out[i*Panel:][:Panel]
		for r := 0; r < Panel; r += 4 {
			s0, s1, s2, s3 := sums4(w[r:], v[:n])
			q := o[r:][:4]
			q[0] += s0
			q[1] += s1
			q[2] += s2
			q[3] += s3
		}
	}
}

// sums4 multiplies four rows of a panel with a vector.
func sums4(w, v []float32) (s0, s1, s2, s3 float32) {
	for len(v) >= 4 {
		e, f, g, h := v[0], v[1], v[2], v[3]
		p := w[:3*Panel+4]
		s0 = s0 + float32(p[0]*e) + float32(p[Panel]*f) + float32(p[2*Panel]*g) + float32(p[3*Panel]*h)
		s1 = s1 + float32(p[1]*e) + float32(p[Panel+1]*f) + float32(p[2*Panel+1]*g) + float32(p[3*Panel+1]*h)
		s2 = s2 + float32(p[2]*e) + float32(p[Panel+2]*f) + float32(p[2*Panel+2]*g) + float32(p[3*Panel+2]*h)
		s3 = s3 + float32(p[3]*e) + float32(p[Panel+3]*f) + float32(p[2*Panel+3]*g) + float32(p[3*Panel+3]*h)
		v = v[4:]
		w = w[min(4*Panel, len(w)):]
	}
	for c, e := range v {
		p := w[c*Panel:][:4]
		s0 += float32(p[0] * e)
		s1 += float32(p[1] * e)
		s2 += float32(p[2] * e)
		s3 += float32(p[3] * e)
	}
	return s0, s1, s2, s3
}

// productPortable is [productGeneric], eight sums at a time.
func productPortable(rows, cols int, c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int) {
	cv := unsafe.Slice(c, (rows-1)*cs+cols)
	av := unsafe.Slice(a, (rows-1)*ar+(k-1)*ak+1)
	bv := unsafe.Slice(b, (k-1)*bk+cols)
	for i := range rows {
		for j := 0; j < cols; j += 8 {
			y := cv[i*cs+j:][:8]
			if cont == 0 {
				clear(y)
			}
			for l0 := 0; l0 < k; l0 += Block {
				var s0, s1, s2, s3, s4, s5, s6, s7 float32
				x, w := av[i*ar+l0*ak:], bv[l0*bk+j:]
				for n := min(Block, k-l0); n > 0; n-- {
					v, r := x[0], (*[8]float32)(w)
					s0 += float32(v * r[0])
					s1 += float32(v * r[1])
					s2 += float32(v * r[2])
					s3 += float32(v * r[3])
					s4 += float32(v * r[4])
					s5 += float32(v * r[5])
					s6 += float32(v * r[6])
					s7 += float32(v * r[7])
					x, w = x[min(ak, len(x)):], w[min(bk, len(w)):]
				}
				y[0] += s0
				y[1] += s1
				y[2] += s2
				y[3] += s3
				y[4] += s4
				y[5] += s5
				y[6] += s6
				y[7] += s7
			}
		}
	}
}
