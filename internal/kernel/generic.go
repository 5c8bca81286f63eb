package kernel

import (
	"encoding/binary"
	"math"
	"unsafe"
)

// generic is the reference: plain Go, in the order that spec/numerics.md
// gives. Read it beside the spec.
var generic = Kernel{
	name: "generic",
	tileQ: [4]func(int, *float32, *byte, *float32, *float32, *byte, *byte, int, int){
		tileQGeneric[plainBlocks], tileQGeneric[offsetBlocks], tileQGeneric[halfBlocks], tileQGeneric[halfOffsetBlocks],
	},
	tileF16:    tileF16Generic,
	tileF32:    tileF32Generic,
	unpack:     unpackersGeneric(),
	scales:     scalersGeneric(),
	quantize:   quantizeGeneric,
	sumSquares: sumSquaresGeneric,
	scaleMul:   scaleMulGeneric,
	addScaled:  addScaledGeneric,
	silu:       siluGeneric,
	gelu:       geluGeneric,
	softmax:    softmaxGeneric,
	train:      trainGeneric,
	products:   productsGeneric(),
}

// The four forms of scales, as types so that tileQGeneric is one function.
type (
	plainBlocks      struct{}
	offsetBlocks     struct{}
	halfBlocks       struct{}
	halfOffsetBlocks struct{}
	blockForm        interface{ form() (half, offset bool) }
)

func (plainBlocks) form() (half, offset bool)      { return false, false }
func (offsetBlocks) form() (half, offset bool)     { return false, true }
func (halfBlocks) form() (half, offset bool)       { return true, false }
func (halfOffsetBlocks) form() (half, offset bool) { return true, true }

// tileQGeneric is the reference of [Kernel.tileQ]. For one output, in the
// order of the blocks (or half blocks):
//
//	acc = acc + float32(dot) * scale * x.scale [+ offset * (x.scale * sum(x))]
func tileQGeneric[F blockForm](t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	var f F
	half, offset := f.form()
	parts := 1 // of a block
	if half {
		parts = 2
	}
	o := unsafe.Slice(out, t*Panel)
	w := unsafe.Slice(codes, nb*512)
	sc := unsafe.Slice(scales, nb*parts*Panel)
	var of []float32
	if offset {
		of = unsafe.Slice(offs, nb*parts*Panel)
	}
	xq := unsafe.Slice((*int8)(unsafe.Pointer(x)), nb*t*actBytes)
	xf := unsafe.Slice((*float32)(unsafe.Pointer(x)), nb*t*actBytes/4)
	ef := unsafe.Slice((*float32)(unsafe.Pointer(xe)), nb*t*actExtraBytes/4)
	if cont == 0 {
		clear(o)
	}
	for b := range nb {
		for i := range t {
			xscale := xf[b*t*10+8*t+i]
			for h := range parts {
				xsum := ef[b*t*5+2*t+i] // x.scale * sum(x)
				if half {
					xsum = ef[b*t*5+(3+h)*t+i]
				}
				for r := range Panel {
					dot := int32(0)
					for g := h * 4; g < 8/parts+h*4; g++ {
						for c := range 4 {
							dot += (int32(w[b*512+g*64+r*4+c]) - 128) * int32(xq[b*t*actBytes+(g*t+i)*4+c])
						}
					}
					acc := &o[i*Panel+r]
					j := (b*parts+h)*Panel + r
					*acc += float32(float32(float32(dot)*sc[j]) * xscale)
					if offset {
						*acc += float32(of[j] * xsum)
					}
				}
			}
		}
	}
}

func tileF16Generic(t int, out *float32, w *uint16, x *float32, k, cont int) {
	tileFGeneric(t, out, unsafe.Slice(w, k*Panel), FromF16, x, k, cont)
}

func tileF32Generic(t int, out *float32, w *float32, x *float32, k, cont int) {
	tileFGeneric(t, out, unsafe.Slice(w, k*Panel), func(v float32) float32 { return v }, x, k, cont)
}

// tileFGeneric sums the products of each block of 32 columns from +0 in the
// order of the columns, and adds these partial sums in the order of the blocks.
func tileFGeneric[W uint16 | float32](t int, out *float32, ws []W, widen func(W) float32, x *float32, k, cont int) {
	o := unsafe.Slice(out, t*Panel)
	xs := unsafe.Slice(x, (k+Panel-1)/Panel*Panel*t)
	if cont == 0 {
		clear(o)
	}
	var part [maxTile * Panel]float32
	var w [Panel]float32
	for c0 := 0; c0 < k; c0 += Block {
		clear(part[:t*Panel])
		for c := c0; c < min(c0+Block, k); c++ {
			for r := range w {
				w[r] = widen(ws[c*Panel+r])
			}
			for i := range t {
				xv := xs[(c/Panel*t+i)*Panel+c%Panel]
				p := part[i*Panel:][:Panel]
				for r := range p {
					p[r] += float32(w[r] * xv)
				}
			}
		}
		for i := range o {
			o[i] += part[i]
		}
	}
}

// quantizeGeneric quantises blocks of 32: scale = max|x| / 127, codes =
// x * (127 / max|x|) rounded half to even.
func quantizeGeneric(x *float32, nb int, codes *int8, scale *float32, sums *int32) {
	xs := unsafe.Slice(x, nb*Block)
	qs := unsafe.Slice(codes, nb*Block)
	ss := unsafe.Slice(scale, nb)
	su := unsafe.Slice(sums, nb*2)
	for b := range nb {
		v := xs[b*Block:][:Block]
		q := qs[b*Block:][:Block]
		top := uint32(0) // of |x|, as bits: ordered as the values are, NaN above all
		for _, e := range v {
			top = max(top, math.Float32bits(e)&0x7fffffff)
		}
		su[2*b], su[2*b+1] = 0, 0
		if top < quantTiny || top >= 0x7f800000 {
			ss[b] = 0
			if top >= 0x7f800000 {
				ss[b] = math.Float32frombits(quietNaN)
			}
			clear(q)
			continue
		}
		amax := math.Float32frombits(top)
		ss[b] = float32(amax / 127)
		inv := float32(127 / amax)
		for i, e := range v {
			q[i] = int8(roundEven(float32(e * inv)))
			su[2*b+i/(Block/2)] += int32(q[i])
		}
	}
}

const (
	quantTiny = (127 - 100) << 23 // 2^-100: a block below it is zero
	quietNaN  = 0x7fc00000
)

// roundEven rounds |x| < 2^22 to an integer, half to even.
func roundEven(x float32) int32 {
	return int32(math.Float32bits(x+expMagic)) - 0x4b400000
}

// fold adds sixteen partial sums in a fixed tree: l and l+8, then 4, 2, 1.
func fold(a *[Panel]float32) float32 {
	for w := Panel / 2; w > 0; w /= 2 {
		for l := range w {
			a[l] += a[l+w]
		}
	}
	return a[0]
}

func sumSquaresGeneric(x *float32, n int) float32 {
	var acc [Panel]float32
	for i, v := range unsafe.Slice(x, n) {
		acc[i%Panel] += float32(v * v)
	}
	return fold(&acc)
}

func scaleMulGeneric(dst, x, w *float32, r float32, n int) {
	d, xs, ws := unsafe.Slice(dst, n), unsafe.Slice(x, n), unsafe.Slice(w, n)
	for i := range d {
		d[i] = float32(float32(xs[i]*r) * ws[i])
	}
}

func addScaledGeneric(dst, x *float32, s float32, n int) {
	d, xs := unsafe.Slice(dst, n), unsafe.Slice(x, n)
	for i, v := range xs {
		d[i] += float32(s * v)
	}
}

func siluGeneric(dst, gate, up *float32, n int) {
	d, g, u := unsafe.Slice(dst, n), unsafe.Slice(gate, n), unsafe.Slice(up, n)
	for i := range d {
		d[i] = float32(SiLU(g[i]) * u[i])
	}
}

func geluGeneric(dst, gate, up *float32, n int) {
	d, g, u := unsafe.Slice(dst, n), unsafe.Slice(gate, n), unsafe.Slice(up, n)
	for i := range d {
		d[i] = float32(GELU(g[i]) * u[i])
	}
}

func softmaxGeneric(s *float32, stride, panels int, scale float32) float32 {
	v := unsafe.Slice(s, (panels-1)*stride+Panel)
	top := float32(math.Inf(-1))
	for p := range panels {
		for l := range Panel {
			e := &v[p*stride+l]
			*e = float32(*e * scale)
			if *e > top {
				top = *e
			}
		}
	}
	var acc [Panel]float32
	for p := range panels {
		for l := range Panel {
			e := &v[p*stride+l]
			*e = Exp(*e - top)
			acc[l] += *e
		}
	}
	return fold(&acc)
}

func unpackersGeneric() (u [planeKinds]func(dst, src *byte, nb int, bias byte)) {
	for p := range planeKinds {
		u[p] = func(dst, src *byte, nb int, bias byte) {
			unpackPlanes(p, unsafe.Slice(dst, nb*512), unsafe.Slice(src, nb*planeBytes[p]), bias)
		}
	}
	return u
}

// unpackGeneric unpacks the codes of len(dst)/512 blocks, each plus 128.
func unpackGeneric(l *layout, dst, src []byte) {
	unpackPlanes(l.planes, dst, src, byte(128-l.zero))
}

// unpackPlanes writes the codes of the 8 groups of each block one a byte,
// bias added, eight bytes at a time.
func unpackPlanes(p planes, dst, src []byte, bias byte) {
	add := uint64(bias) * 0x0101010101010101
	le := binary.LittleEndian
	for ; len(dst) >= 512; dst, src = dst[512:], src[planeBytes[p]:] {
		if p == bytePlane {
			copy(dst[:512], src)
			continue
		}
		for i := 0; i < 64; i += 8 {
			for g := range 8 {
				var v uint64
				switch p {
				case nibbles, nibblesBit, nibbles2, table4:
					v = le.Uint64(src[g%4*64+i:]) >> (g / 4 * 4) & 0x0f0f0f0f0f0f0f0f
				default:
					v = le.Uint64(src[g/4*64+i:]) >> (g % 4 * 2) & 0x0303030303030303
				}
				switch p {
				case nibblesBit:
					v |= le.Uint64(src[256+i:]) >> g & 0x0101010101010101 << 4
				case nibbles2:
					v |= le.Uint64(src[256+g/4*64+i:]) >> (g % 4 * 2) & 0x0303030303030303 << 4
				case pairsBit:
					v |= le.Uint64(src[128+i:]) >> g & 0x0101010101010101 << 2
				}
				if p == table4 {
					for j := range 8 {
						dst[g*64+i+j] = codeTable[byte(v>>(8*j))]
					}
					continue
				}
				le.PutUint64(dst[g*64+i:], v+add)
			}
		}
	}
}

func scalersGeneric() (f [scalingKinds]func(scales, offs *float32, src *byte, nb int)) {
	for s := range scalingKinds {
		f[s] = func(scales, offs *float32, src *byte, nb int) {
			expandScales(s, unsafe.Slice(scales, nb*2*Panel), unsafe.Slice(offs, nb*2*Panel), unsafe.Slice(src, s.bytes(nb)), nb)
		}
	}
	return f
}

func scalesGeneric(l *layout, scales, offs []float32, src []byte, nb int) {
	expandScales(l.scaling, scales, offs, src, nb)
}

// expandScales writes the scales (and offsets) of nb blocks, sixteen rows side
// by side. Every product here is exact.
func expandScales(s scaling, scales, offs []float32, src []byte, nb int) {
	half := func(i int) float32 { return FromF16(binary.LittleEndian.Uint16(src[2*i:])) }
	switch s {
	case scale16:
		for i := range nb * Panel {
			scales[i] = half(i)
		}
		return
	case scale16M:
		for b := range nb {
			for r := range Panel {
				scales[b*Panel+r] = half(b*2*Panel + r)
				offs[b*Panel+r] = half(b*2*Panel + Panel + r)
			}
		}
		return
	}
	for ; nb > 0; nb -= 8 {
		size := s.bytes(8)
		for r := range Panel {
			d := half(r)
			var m float32
			if s == scaleK || s == scaleK2 {
				m = half(Panel + r)
			}
			switch s {
			case scaleK:
				for b := range 8 {
					scales[b*Panel+r] = float32(d * float32(src[64+b*32+r]))
					offs[b*Panel+r] = -float32(m * float32(src[64+b*32+16+r]))
				}
			case scaleK16:
				for h := range 16 {
					scales[h*Panel+r] = float32(d * float32(int8(src[32+h*16+r])))
				}
			case scaleK2:
				for h := range 16 {
					scales[h*Panel+r] = float32(d * float32(src[64+h*16+r]&15))
					offs[h*Panel+r] = -float32(m * float32(src[64+h*16+r]>>4))
				}
			case scaleKT:
				for b := range 8 {
					scales[b*Panel+r] = float32(d * float32(int8(src[32+b*16+r])))
				}
			}
		}
		n := 8 * Panel
		if s == scaleK16 || s == scaleK2 {
			n *= 2
		}
		scales, src = scales[n:], src[size:]
		if s == scaleK || s == scaleK2 {
			offs = offs[n:]
		}
	}
}
