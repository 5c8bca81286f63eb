//go:build !purego

package kernel

import "unsafe"

//go:generate sh -c "cd _asm && go run . -set avx2 -out ../avx2_amd64.s -stubs ../avx2_amd64.go -pkg kernel"

// avx2 needs AVX2 and F16C. Its tiles are cut into passes, see _asm/avx2tile.go.
var avx2 = Kernel{
	name:    "avx2",
	tileQ:   [4]func(int, *float32, *byte, *float32, *float32, *byte, *byte, int, int){tileQAVX2, offsetAVX2.tile, halfAVX2.tile, halfOffsetAVX2.tile},
	tileF16: tileF16AVX2,
	tileF32: tileF32AVX2,
	gemv: [formats]func(out *float32, w *byte, x, xe *byte, nb int){
		W8: gemvW8AVX2,
		W4: gemvW4AVX2,
		W5: gemvW5AVX2,
		K4: gemvK4AVX2,
		K5: gemvK5AVX2,
		K6: gemvK6AVX2,
	},
	unpack: [planeKinds]func(dst, src *byte, nb int, bias byte){
		bytePlane:  unpackBytesAVX2,
		nibbles:    unpackNibblesAVX2,
		nibblesBit: unpackNibblesBitAVX2,
		nibbles2:   unpackNibbles2AVX2,
		pairs:      unpackPairsAVX2,
		pairsBit:   unpackPairsBitAVX2,
		table4:     unpackTable4AVX2,
	},
	scales: [scalingKinds]func(scales, offs *float32, src *byte, nb int){
		scale16:  scales16AVX2,
		scale16M: scales16MAVX2,
		scaleK:   scalesKAVX2,
		scaleK16: scalesK16AVX2,
		scaleK2:  scalesK2AVX2,
		scaleKT:  scalesKTAVX2,
	},
	quantize:   quantizeAVX2,
	sumSquares: sumSquaresAVX2,
	scaleMul:   scaleMulAVX2,
	addScaled:  addScaledAVX2,
	silu:       siluAVX2,
	gelu:       geluAVX2,
	softmax:    softmaxAVX2,
	train:      trainAVX2,
	products:   wideProducts([4]productFunc{nil, product4x16AVX2, product2x16AVX2, product1x16AVX2}),
	transpose8: transpose8AVX2,
	copyRows8:  copyRows8AVX2,
	copyRows32: copyRows32AVX2,

	peakFloat:    peakFloatAVX2,
	peakFloatOps: 12 * 8,
}

var (
	anyAVX2        = passes{tileQ1AVX2, tileQ2AVX2, tileQ4AVX2, tileQ12AVX2, 8}
	centredAVX2    = passes{tileQ1CentredAVX2, tileQ2CentredAVX2, tileQ4CentredAVX2, tileQ12CentredAVX2, 8}
	offsetAVX2     = passes{tileQ1OffsetAVX2, tileQ2OffsetAVX2, tileQ4OffsetAVX2, tileQ12OffsetAVX2, 8}
	halfAVX2       = passes{tileQ1HalfAVX2, tileQ2HalfAVX2, tileQ4HalfAVX2, tileQ12HalfAVX2, 8}
	halfOffsetAVX2 = passes{tileQ1HalfOffsetAVX2, tileQ2HalfOffsetAVX2, tileQ4HalfOffsetAVX2, tileQ12HalfOffsetAVX2, 8}
)

// tileQAVX2 is the tile of whole blocks without offsets. Some formats of that
// form have small codes, which a larger tile pays for looking for.
func tileQAVX2(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	p := &anyAVX2
	if t >= 8 && isCentredAVX2(codes, nb) {
		p = &centredAVX2
	}
	p.tile(t, out, codes, scales, offs, x, xe, nb, cont)
}

// passes make up a tile of quantised vectors: functions that multiply blocks of
// a panel with the first one, two, four or twelve vectors of a tile of t.
type passes struct {
	one, two, four, twelve func(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int)
	rows                   int // that twelve takes at a time; the others take all
}

// tile is a [Kernel.tileQ].
func (p *passes) tile(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	switch t {
	case 1:
		p.one(t, out, codes, scales, offs, x, xe, nb, cont)
	case 2:
		p.two(t, out, codes, scales, offs, x, xe, nb, cont)
	case 4, 8:
		for i := 0; i < t; i += 4 {
			p.four(t, advance(out, i*Panel), codes, scales, offs, advance(x, i*4), advance(xe, i*4), nb, cont)
		}
	default:
		for r := 0; r < Panel; r += p.rows {
			p.twelve(t, advance(out, r), advance(codes, r*4), advance(scales, r), advance(offs, r), x, xe, nb, cont)
		}
	}
}

func tileF16AVX2(t int, out *float32, w *uint16, x *float32, k, cont int) {
	switch t {
	case 1:
		tileF16x1AVX2(t, out, w, x, k, cont)
	case 2:
		tileF16x2AVX2(t, out, w, x, k, cont)
	case 4, 8:
		for i := 0; i < t; i += 4 {
			tileF16x4AVX2(t, advance(out, i*Panel), w, advance(x, i*Panel), k, cont)
		}
	default:
		for i := 0; i < t; i += 6 {
			tileF16x6AVX2(t, advance(out, i*Panel), w, advance(x, i*Panel), k, cont)
		}
	}
}

func tileF32AVX2(t int, out *float32, w *float32, x *float32, k, cont int) {
	switch t {
	case 1:
		tileF32x1AVX2(t, out, w, x, k, cont)
	case 2:
		tileF32x2AVX2(t, out, w, x, k, cont)
	case 4, 8:
		for i := 0; i < t; i += 4 {
			tileF32x4AVX2(t, advance(out, i*Panel), w, advance(x, i*Panel), k, cont)
		}
	default:
		for i := 0; i < t; i += 6 {
			tileF32x6AVX2(t, advance(out, i*Panel), w, advance(x, i*Panel), k, cont)
		}
	}
}

// advance returns the element n behind p.
func advance[T any](p *T, n int) *T {
	return (*T)(unsafe.Add(unsafe.Pointer(p), n*int(unsafe.Sizeof(*p))))
}
