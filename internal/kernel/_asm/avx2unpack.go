package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unpack256 emits the unpacking of codes cut into planes, as unpack512 does:
// low is the number of low bits that lie together (4 or 2), high of those that
// lie apart (0 to 2). A byte of the low plane holds 8/low groups.
func unpack256(name string, low, high int, table bool) {
	TEXT("unpack"+name+"AVX2", NOSPLIT, "func(dst, src *byte, nb int, bias byte)")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	nb := Load(Param("nb"), GP64())
	var bias, book reg.VecVirtual
	if table {
		book = YMM()
		VBROADCASTI128(operand.NewDataAddr(operand.NewStaticSymbol("codeBook"), 0), book)
	} else {
		b := GP32()
		Load(Param("bias"), b)
		x := XMM()
		VMOVD(b, x)
		bias = YMM()
		VPBROADCASTB(x, bias)
	}
	lowMask, highMask := YMM(), reg.VecVirtual(nil)
	VMOVDQU(splat((1<<low-1)*0x01010101), lowMask)
	if high > 0 {
		highMask = YMM()
		VMOVDQU(splat((1<<high-1)<<low*0x01010101), highMask)
	}
	lines := low // of 64 bytes, in the low plane
	Label("loop")
	for h := range 2 { // of a line
		bits := map[int]reg.VecVirtual{} // lines loaded
		line := func(i int) reg.VecVirtual {
			if bits[i] == nil {
				bits[i] = YMM()
				VMOVDQU(mem(src, 64*i+32*h), bits[i])
			}
			return bits[i]
		}
		for n := range 8 {
			// Nibbles hold groups j and j+4 in byte j, pairs 4h to 4h+3 in byte h.
			g := n
			if low == 4 && high == 0 {
				g = n/2 + n%2*4 // in the order of the lines
			}
			from, sh := g%4, g/4*4
			if low == 2 {
				from, sh = g/4, g%4*2
			}
			v := YMM()
			if sh == 0 {
				VPAND(line(from), lowMask, v)
			} else {
				VPSRLW(operand.U8(sh), line(from), v)
				VPAND(lowMask, v, v)
			}
			if high > 0 {
				per := 8 / high
				v2 := YMM()
				switch sh := g%per*high - low; {
				case sh > 0:
					VPSRLW(operand.U8(sh), line(lines+g/per), v2)
					VPAND(highMask, v2, v2)
				case sh < 0:
					VPSLLW(operand.U8(-sh), line(lines+g/per), v2)
					VPAND(highMask, v2, v2)
				default:
					VPAND(line(lines+g/per), highMask, v2)
				}
				VPOR(v2, v, v)
			}
			if table {
				VPSHUFB(v, book, v)
			} else {
				VPADDB(bias, v, v)
			}
			VMOVDQU(v, mem(dst, 64*g+32*h))
		}
	}
	size := 64 * (lines + high)
	for i := 0; i < size; i += 64 {
		PREFETCHT0(mem(src, i+prefetchDistance))
	}
	ADDQ(operand.I32(size), src)
	ADDQ(operand.I32(512), dst)
	DECQ(nb)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// scales256 emits the expansion of the scales of a kind.
func scales256(kind string) {
	TEXT("scales"+kind+"AVX2", NOSPLIT, "func(scales, offs *float32, src *byte, nb int)")
	scales := Load(Param("scales"), GP64())
	offs := Load(Param("offs"), GP64())
	src := Load(Param("src"), GP64())
	nb := Load(Param("nb"), GP64())
	convert := func(disp int) (v [2]reg.VecVirtual) {
		for i := range v {
			v[i] = YMM()
			VCVTPH2PS(mem(src, disp+16*i), v[i])
		}
		return v
	}
	// store emits the sixteen numbers of v at p.
	store := func(v [2]reg.VecVirtual, p reg.Register, disp int) {
		for i := range v {
			VMOVUPS(v[i], mem(p, disp+32*i))
		}
	}
	// next emits the end of the loop, after blocks of size bytes.
	next := func(blocks, size, numbers int) {
		ADDQ(operand.I32(size), src)
		ADDQ(operand.I32(64*numbers), scales)
		ADDQ(operand.I32(64*numbers), offs)
		SUBQ(operand.I32(blocks), nb)
		JNE(operand.LabelRef("loop"))
		VZEROUPPER()
		RET()
	}
	Label("loop")
	d := convert(0)
	switch kind {
	case "16":
		store(d, scales, 0)
		next(1, 32, 1)
		return
	case "16M":
		store(d, scales, 0)
		store(convert(32), offs, 0)
		next(1, 64, 1)
		return
	}
	// product emits d * float(eight integers), to p.
	product := func(d, v reg.VecVirtual, p reg.Register, disp int) {
		VCVTDQ2PS(v, v)
		VMULPS(d, v, v)
		VMOVUPS(v, mem(p, disp))
	}
	var m [2]reg.VecVirtual
	if kind == "K" || kind == "K2" {
		m = convert(32)
		for _, m := range m {
			VXORPS(splat(0x80000000), m, m)
		}
	}
	n, size := 16, 320
	if kind == "K" || kind == "KT" {
		n = 8
	}
	for b := range n {
		for i := range 2 {
			v, o, to := YMM(), YMM(), 64*b+32*i
			switch kind {
			case "K":
				VPMOVZXBD(mem(src, 64+b*32+8*i), v)
				VPMOVZXBD(mem(src, 64+b*32+16+8*i), o)
				product(d[i], v, scales, to)
				product(m[i], o, offs, to)
			case "K2":
				VPMOVZXBD(mem(src, 64+b*16+8*i), v)
				VPSRLD(operand.U8(4), v, o)
				VPAND(splat(15), v, v)
				product(d[i], v, scales, to)
				product(m[i], o, offs, to)
			default:
				VPMOVSXBD(mem(src, 32+b*16+8*i), v)
				product(d[i], v, scales, to)
				size = 32 + 16*n
			}
		}
	}
	next(8, size, n)
}

// quantize256 emits the quantisation of blocks of 32.
func quantize256() {
	TEXT("quantizeAVX2", NOSPLIT, "func(x *float32, nb int, codes *int8, scale *float32, sums *int32)")
	x := Load(Param("x"), GP64())
	nb := Load(Param("nb"), GP64())
	codes := Load(Param("codes"), GP64())
	scale := Load(Param("scale"), GP64())
	sums := Load(Param("sums"), GP64())
	zero, order := YMM(), YMM()
	VPXOR(zero, zero, zero)
	lanes := GLOBL("packOrder", RODATA|NOPTR)
	for i, l := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, operand.U32(l))
	}
	VMOVDQU(lanes, order)
	Label("loop")
	var v [4]reg.VecVirtual
	m, t := YMM(), YMM()
	for i := range v {
		v[i] = YMM()
		VMOVUPS(mem(x, 32*i), v[i])
		if i == 0 {
			VPAND(splat(0x7fffffff), v[i], m)
			continue
		}
		VPAND(splat(0x7fffffff), v[i], t)
		VPMAXUD(t, m, m)
	}
	q, s := XMM(), XMM()
	VEXTRACTI128(operand.U8(1), m, q)
	VPMAXUD(m.AsX(), q, q)
	VPSHUFD(operand.U8(0x4e), q, s)
	VPMAXUD(s, q, q)
	VPSHUFD(operand.U8(0xb1), q, s)
	VPMAXUD(s, q, q)
	top := GP32()
	VMOVD(q, top)
	CMPL(top, operand.U32((127-100)<<23))
	JB(operand.LabelRef("zero"))
	CMPL(top, operand.U32(0x7f800000))
	JAE(operand.LabelRef("notfinite"))
	c127, d, inv := XMM(), XMM(), XMM()
	VMOVSS(splat(f32(127)), c127)
	VDIVSS(c127, q, d) // amax / 127
	VMOVSS(d, mem(scale, 0))
	VDIVSS(q, c127, inv)
	y := YMM()
	VBROADCASTSS(inv, y)
	for _, v := range v {
		VMULPS(y, v, v)
		VCVTPS2DQ(v, v)
	}
	// Packing goes by halves of registers; order puts the dwords right.
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	VPERMD(v[0], order, v[0])
	VMOVDQU(v[0], mem(codes, 0))
	VPXOR(splat(0x80808080), v[0], v[0])
	VPSADBW(zero, v[0], v[0]) // sums of eight codes, each plus 128
	VPSHUFD(operand.U8(0x4e), v[0], t)
	VPADDD(t, v[0], v[0])
	hi := XMM()
	VEXTRACTI128(operand.U8(1), v[0], hi)
	for i, h := range []reg.VecVirtual{v[0].AsX().(reg.VecVirtual), hi} {
		g := GP32()
		VMOVD(h, g)
		SUBL(operand.U32(16*128), g)
		MOVL(g, mem(sums, 4*i))
	}
	Label("next")
	ADDQ(operand.I32(128), x)
	ADDQ(operand.I32(32), codes)
	ADDQ(operand.I32(4), scale)
	ADDQ(operand.I32(8), sums)
	DECQ(nb)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
	Label("notfinite")
	MOVL(operand.U32(0x7fc00000), mem(scale, 0))
	JMP(operand.LabelRef("clear"))
	Label("zero")
	MOVL(operand.U32(0), mem(scale, 0))
	Label("clear")
	VMOVDQU(zero, mem(codes, 0))
	MOVQ(operand.U32(0), mem(sums, 0))
	JMP(operand.LabelRef("next"))
}

// unpackBytes256 emits the copying of codes that are bytes already, to where
// the codes of other formats go.
func unpackBytes256() {
	TEXT("unpackBytesAVX2", NOSPLIT, "func(dst, src *byte, nb int, bias byte)")
	dst := Load(Param("dst"), GP64())
	src := Load(Param("src"), GP64())
	nb := Load(Param("nb"), GP64())
	Label("loop")
	for i := 0; i < 512; i += 64 {
		v, w := YMM(), YMM()
		VMOVDQU(mem(src, i), v)
		VMOVDQU(mem(src, i+32), w)
		VMOVDQU(v, mem(dst, i))
		VMOVDQU(w, mem(dst, i+32))
		PREFETCHT0(mem(src, i+prefetchDistance))
	}
	ADDQ(operand.I32(512), src)
	ADDQ(operand.I32(512), dst)
	DECQ(nb)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}
