//go:build !purego

package kernel

import "github.com/avalnetwork/aval/internal/cpu"

//go:generate sh -c "cd _asm && go run . -set avx512 -out ../avx512_amd64.s -stubs ../avx512_amd64.go -pkg kernel"
//go:generate sh -c "cd _asm && go run . -set add -out ../addscaled_amd64.s -stubs ../addscaled_amd64.go -pkg kernel"

func machineKernels() []*Kernel {
	var ks []*Kernel
	if cpu.AVX512 && cpu.VNNI {
		ks = append(ks, &avx512)
	}
	if cpu.AVX512 {
		ks = append(ks, &avx512bw)
	}
	if cpu.AVX2 {
		ks = append(ks, &avx2)
	}
	return ks
}

// avx512 needs AVX-512 F, BW, DQ, VL and VNNI.
var avx512 = Kernel{
	name:    "avx512",
	tileQ:   [4]func(int, *float32, *byte, *float32, *float32, *byte, *byte, int, int){tileQAVX512, tileQOffsetAVX512, tileQHalfAVX512, tileQHalfOffsetAVX512},
	tileF16: tileF16AVX512,
	tileF32: tileF32AVX512,
	gemv: [formats]func(out *float32, w *byte, x, xe *byte, nb int){
		W8: gemvW8AVX512,
		W4: gemvW4AVX512,
		W5: gemvW5AVX512,
		K4: gemvK4AVX512,
		K5: gemvK5AVX512,
		K6: gemvK6AVX512,
	},
	unpack: [planeKinds]func(dst, src *byte, nb int, bias byte){
		bytePlane:  unpackBytesAVX512,
		nibbles:    unpackNibblesAVX512,
		nibblesBit: unpackNibblesBitAVX512,
		nibbles2:   unpackNibbles2AVX512,
		pairs:      unpackPairsAVX512,
		pairsBit:   unpackPairsBitAVX512,
		table4:     unpackTable4AVX512,
	},
	scales: [scalingKinds]func(scales, offs *float32, src *byte, nb int){
		scale16:  scales16AVX512,
		scale16M: scales16MAVX512,
		scaleK:   scalesKAVX512,
		scaleK16: scalesK16AVX512,
		scaleK2:  scalesK2AVX512,
		scaleKT:  scalesKTAVX512,
	},
	quantize:   quantizeAVX512,
	sumSquares: sumSquaresAVX512,
	scaleMul:   scaleMulAVX512,
	addScaled:  addScaledAVX512,
	silu:       siluAVX512,
	gelu:       geluAVX512,
	softmax:    softmaxAVX512,
	stream:     streamAVX512,
	peak:       peakAVX512,
	peakOps:    16 * 64,
	train:      trainAVX512,
	products: productSet{
		{product8x16AVX512, product8x32AVX512},
		{product4x16AVX512, product4x32AVX512},
		{product2x16AVX512, product2x32AVX512},
		{product1x16AVX512, product1x32AVX512},
	},
	transpose8:   transpose8AVX2,
	copyRows8:    copyRows8AVX2,
	copyRows32:   copyRows32AVX2,
	peakFloat:    peakFloatAVX512,
	peakFloatOps: 16 * 16,
}

func tileQAVX512(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	switch t {
	case 1:
		tileQ1AVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 2:
		tileQ2AVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 4:
		tileQ4AVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 8:
		tileQ8AVX512(out, codes, scales, offs, x, xe, nb, cont)
	default:
		tileQ12AVX512(out, codes, scales, offs, x, xe, nb, cont)
	}
}

func tileQOffsetAVX512(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	switch t {
	case 1:
		tileQ1OffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 2:
		tileQ2OffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 4:
		tileQ4OffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 8:
		tileQ8OffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	default:
		tileQ12OffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	}
}

func tileQHalfAVX512(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	switch t {
	case 1:
		tileQ1HalfAVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 2:
		tileQ2HalfAVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 4:
		tileQ4HalfAVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 8:
		tileQ8HalfAVX512(out, codes, scales, offs, x, xe, nb, cont)
	default:
		tileQ12HalfAVX512(out, codes, scales, offs, x, xe, nb, cont)
	}
}

func tileQHalfOffsetAVX512(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int) {
	switch t {
	case 1:
		tileQ1HalfOffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 2:
		tileQ2HalfOffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 4:
		tileQ4HalfOffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	case 8:
		tileQ8HalfOffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	default:
		tileQ12HalfOffsetAVX512(out, codes, scales, offs, x, xe, nb, cont)
	}
}

func tileF16AVX512(t int, out *float32, w *uint16, x *float32, k, cont int) {
	switch t {
	case 1:
		tileF16x1AVX512(out, w, x, k, cont)
	case 2:
		tileF16x2AVX512(out, w, x, k, cont)
	case 4:
		tileF16x4AVX512(out, w, x, k, cont)
	case 8:
		tileF16x8AVX512(out, w, x, k, cont)
	default:
		tileF16x12AVX512(out, w, x, k, cont)
	}
}

func tileF32AVX512(t int, out *float32, w *float32, x *float32, k, cont int) {
	switch t {
	case 1:
		tileF32x1AVX512(out, w, x, k, cont)
	case 2:
		tileF32x2AVX512(out, w, x, k, cont)
	case 4:
		tileF32x4AVX512(out, w, x, k, cont)
	case 8:
		tileF32x8AVX512(out, w, x, k, cont)
	default:
		tileF32x12AVX512(out, w, x, k, cont)
	}
}
