package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func f32(x float64) uint32 { return math.Float32bits(float32(x)) }

// shift emits dst = src shifted within 16-bit words, right if n > 0, left if
// n < 0; bits that cross a byte are masked off later.
func shift(n int, src, dst reg.VecVirtual) {
	switch {
	case n > 0:
		VPSRLW(operand.U8(n), src, dst)
	case n < 0:
		VPSLLW(operand.U8(-n), src, dst)
	default:
		VMOVDQA64(src, dst)
	}
}

// codeBook emits the table of the non-linear formats, as codeTable in the
// package.
func codeBook() {
	GLOBL("codeBook", RODATA|NOPTR)
	for i, c := range []int{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113} {
		DATA(i, operand.U8(c+128))
	}
}

// unpack512 emits the unpacking of codes cut into planes: low is the number of
// low bits that lie together (4 or 2), high of those that lie apart (0 to 2).
func unpack512(name string, low, high int, table bool) {
	TEXT("unpack"+name+"AVX512", NOSPLIT, "func(dst, src *byte, nb int, bias byte)")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	nb := Load(Param("nb"), GP64())
	lowMask := broadcastDword((1<<low - 1) * 0x01010101)
	var highMask, bias, book reg.VecVirtual
	if high > 0 {
		highMask = broadcastDword((1<<high - 1) << low * 0x01010101)
	}
	if table {
		book = ZMM()
		t := GP64()
		LEAQ(operand.NewDataAddr(operand.NewStaticSymbol("codeBook"), 0), t)
		VBROADCASTI32X4(mem(t, 0), book)
	} else {
		b := GP32()
		Load(Param("bias"), b)
		bias = ZMM()
		VPBROADCASTB(b, bias)
	}
	perByte := 8 / low        // groups in a byte of the low plane
	lowBytes := 512 / perByte // of the low plane
	lowLines := lowBytes / 64 // vectors of it
	highGroups := 8
	if high > 0 {
		highGroups = 8 / high // groups in a byte of the high plane
	}
	Label("loop")
	var highBits reg.VecVirtual
	for g := range 8 {
		// Nibbles hold groups j and j+4 in byte j, pairs 4h to 4h+3 in byte h.
		line, sh := g%4, g/4*4
		if low == 2 {
			line, sh = g/4, g%4*2
		}
		v := ZMM()
		if sh == 0 {
			VPANDD(mem(src, 64*line), lowMask, v)
		} else {
			VMOVDQU64(mem(src, 64*line), v)
			shift(sh, v, v)
			VPANDD(lowMask, v, v)
		}
		if high > 0 {
			if g%highGroups == 0 {
				highBits = ZMM()
				VMOVDQU64(mem(src, 64*(lowLines+g/highGroups)), highBits)
			}
			h := ZMM()
			shift(g%highGroups*high-low, highBits, h)
			VPANDD(highMask, h, h)
			VPORD(h, v, v)
		}
		if table {
			VPSHUFB(v, book, v)
		} else {
			VPADDB(bias, v, v)
		}
		VMOVDQU64(v, mem(dst, 64*g))
	}
	for i := 0; i < lowBytes+64*high; i += 64 {
		PREFETCHT0(mem(src, i+prefetchDistance))
	}
	ADDQ(operand.I32(lowBytes+64*high), src)
	ADDQ(operand.I32(512), dst)
	DECQ(nb)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// unpackBytes512 emits the copy of codes that are bytes already.
func unpackBytes512() {
	TEXT("unpackBytesAVX512", NOSPLIT, "func(dst, src *byte, nb int, bias byte)")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	nb := Load(Param("nb"), GP64())
	z := ZMM()
	Label("loop")
	for g := range 8 {
		VMOVDQU64(mem(src, 64*g), z)
		VMOVDQU64(z, mem(dst, 64*g))
		PREFETCHT0(mem(src, 64*g+prefetchDistance))
	}
	ADDQ(operand.I32(512), src)
	ADDQ(operand.I32(512), dst)
	DECQ(nb)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// scales512 emits the expansion of the scales of a kind.
func scales512(kind string) {
	TEXT("scales"+kind+"AVX512", NOSPLIT, "func(scales, offs *float32, src *byte, nb int)")
	scales := Load(Param("scales"), GP64())
	offs := Load(Param("offs"), GP64())
	src := Load(Param("src"), GP64())
	nb := Load(Param("nb"), GP64())
	convert := func(disp int) reg.VecVirtual {
		z := ZMM()
		VCVTPH2PS(mem(src, disp), z)
		return z
	}
	// product emits d * float(v) to p.
	product := func(d, v reg.VecVirtual, p operand.Mem) {
		VCVTDQ2PS(v, v)
		VMULPS(d, v, v)
		VMOVUPS(v, p)
	}
	switch kind {
	case "16":
		Label("loop")
		VMOVUPS(convert(0), mem(scales, 0))
		ADDQ(operand.I32(32), src)
		ADDQ(operand.I32(64), scales)
		DECQ(nb)
		JNE(operand.LabelRef("loop"))
		VZEROUPPER()
		RET()
		return
	case "16M":
		Label("loop")
		VMOVUPS(convert(0), mem(scales, 0))
		VMOVUPS(convert(32), mem(offs, 0))
		ADDQ(operand.I32(64), src)
		ADDQ(operand.I32(64), scales)
		ADDQ(operand.I32(64), offs)
		DECQ(nb)
		JNE(operand.LabelRef("loop"))
		VZEROUPPER()
		RET()
		return
	}
	sign, nibble := reg.VecVirtual(nil), reg.VecVirtual(nil)
	if kind == "K" || kind == "K2" {
		sign = broadcastDword(0x80000000)
	}
	if kind == "K2" {
		nibble = broadcastDword(15)
	}
	Label("loop")
	d := convert(0)
	var m reg.VecVirtual
	if sign != nil {
		m = convert(32)
		VPXORD(sign, m, m)
	}
	n, size := 8, 0
	switch kind {
	case "K":
		for b := range 8 {
			v, o := ZMM(), ZMM()
			VPMOVZXBD(mem(src, 64+b*32), v)
			VPMOVZXBD(mem(src, 64+b*32+16), o)
			product(d, v, mem(scales, 64*b))
			product(m, o, mem(offs, 64*b))
		}
		size = 320
	case "K16", "KT":
		if kind == "K16" {
			n = 16
		}
		for b := range n {
			v := ZMM()
			VPMOVSXBD(mem(src, 32+b*16), v)
			product(d, v, mem(scales, 64*b))
		}
		size = 32 + 16*n
	case "K2":
		n = 16
		for b := range 16 {
			v, o := ZMM(), ZMM()
			VPMOVZXBD(mem(src, 64+b*16), v)
			VPSRLD(operand.U8(4), v, o)
			VPANDD(nibble, v, v)
			product(d, v, mem(scales, 64*b))
			product(m, o, mem(offs, 64*b))
		}
		size = 320
	}
	ADDQ(operand.I32(size), src)
	ADDQ(operand.I32(64*n), scales)
	if sign != nil {
		ADDQ(operand.I32(64*n), offs)
	}
	SUBQ(operand.I32(8), nb)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}
