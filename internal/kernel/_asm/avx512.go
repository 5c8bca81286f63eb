package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The tiles that a batch is cut into; as tileSize in the package.
var tiles = []int{1, 2, 4, 8, 12}

// Sizes of an activation tile, a vector and block: see Acts in the package.
const (
	actBytes   = 40
	extraBytes = 20
)

const expMagicBits = 0x4b400000

func mem(base reg.Register, disp int) operand.Mem {
	return operand.Mem{Base: base, Disp: disp}
}

// broadcastDword returns a vector register with x in every lane.
func broadcastDword(x uint32) reg.VecVirtual {
	g := GP32()
	MOVL(operand.U32(x), g)
	z := ZMM()
	VPBROADCASTD(g, z)
	return z
}

// tileQ512 emits the product of blocks of a panel with a tile of t vectors.
func tileQ512(t int, half, offset, prefetch bool) {
	name := fmt.Sprintf("tileQ%d", t)
	if half {
		name += "Half"
	}
	if offset {
		name += "Offset"
	}
	TEXT(name+"AVX512", NOSPLIT, "func(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int)")
	out := Load(Param("out"), GP64())
	codes := Load(Param("codes"), GP64())
	scales := Load(Param("scales"), GP64())
	var offs, xe reg.Register
	if offset {
		offs = Load(Param("offs"), GP64())
	}
	x := Load(Param("x"), GP64())
	if offset || half {
		xe = Load(Param("xe"), GP64())
	}
	nb := Load(Param("nb"), GP64())
	cont := Load(Param("cont"), GP64())

	acc := make([]reg.VecVirtual, t)
	dot := make([]reg.VecVirtual, t)
	for i := range t {
		acc[i], dot[i] = ZMM(), ZMM()
		VPXORD(acc[i], acc[i], acc[i])
	}
	TESTQ(cont, cont)
	JE(operand.LabelRef("loop"))
	for i := range t {
		VMOVUPS(mem(out, 64*i), acc[i])
	}
	Label("loop")
	parts := 1
	if half {
		parts = 2
	}
	for h := range parts {
		for i := range t {
			if half {
				VPBROADCASTD(mem(xe, (h*t+i)*4), dot[i])
			} else {
				VPBROADCASTD(mem(x, (9*t+i)*4), dot[i])
			}
		}
		for g := h * 4; g < 8/parts+h*4; g++ {
			w := ZMM()
			VMOVDQU64(mem(codes, 64*g), w)
			if prefetch {
				PREFETCHT0(mem(codes, 64*g+prefetchDistance))
			}
			for i := range t {
				VPDPBUSD_BCST(mem(x, (g*t+i)*4), w, dot[i])
			}
		}
		scale, off, tmp := ZMM(), ZMM(), ZMM()
		VMOVUPS(mem(scales, 64*h), scale)
		if offset {
			VMOVUPS(mem(offs, 64*h), off)
		}
		for i := range t {
			VCVTDQ2PS(dot[i], dot[i])
			VMULPS(scale, dot[i], dot[i])
			VMULPS_BCST(mem(x, (8*t+i)*4), dot[i], dot[i])
			VADDPS(dot[i], acc[i], acc[i])
			if offset {
				sum := 2 * t
				if half {
					sum = (3 + h) * t
				}
				VMULPS_BCST(mem(xe, (sum+i)*4), off, tmp)
				VADDPS(tmp, acc[i], acc[i])
			}
		}
	}
	ADDQ(operand.I32(512), codes)
	ADDQ(operand.I32(64*parts), scales)
	if offset {
		ADDQ(operand.I32(64*parts), offs)
	}
	ADDQ(operand.I32(actBytes*t), x)
	if offset || half {
		ADDQ(operand.I32(extraBytes*t), xe)
	}
	DECQ(nb)
	JNE(operand.LabelRef("loop"))
	for i := range t {
		VMOVUPS(acc[i], mem(out, 64*i))
	}
	VZEROUPPER()
	RET()
}

const prefetchDistance = 8192

// tileF512 emits the product of columns of numbers with a tile of t vectors.
func tileF512(t int, half bool) {
	name, arg, size := "F32", "w *float32", 64
	if half {
		name, arg, size = "F16", "w *uint16", 32
	}
	TEXT(fmt.Sprintf("tile%sx%dAVX512", name, t), NOSPLIT, "func(out *float32, "+arg+", x *float32, k, cont int)")
	out := Load(Param("out"), GP64())
	w := Load(Param("w"), GP64())
	x := Load(Param("x"), GP64())
	k := Load(Param("k"), GP64())
	cont := Load(Param("cont"), GP64())
	acc := make([]reg.VecVirtual, t)
	part := make([]reg.VecVirtual, t)
	for i := range t {
		acc[i], part[i] = ZMM(), ZMM()
		VPXORD(acc[i], acc[i], acc[i])
	}
	TESTQ(cont, cont)
	JE(operand.LabelRef("block"))
	for i := range t {
		VMOVUPS(mem(out, 64*i), acc[i])
	}
	n, halves := GP64(), GP64()
	col, tmp := ZMM(), ZMM()
	Label("block")
	for i := range t {
		VPXORD(part[i], part[i], part[i])
	}
	MOVQ(operand.I32(2), halves)
	Label("half")
	MOVQ(operand.I32(16), n)
	CMPQ(k, n)
	CMOVQLT(k, n)
	SUBQ(n, k)
	Label("column")
	if half {
		VCVTPH2PS(mem(w, 0), col)
	} else {
		VMOVUPS(mem(w, 0), col)
	}
	for i := range t {
		VMULPS_BCST(mem(x, 64*i), col, tmp)
		VADDPS(tmp, part[i], part[i])
	}
	ADDQ(operand.I32(size), w)
	ADDQ(operand.I32(4), x)
	DECQ(n)
	JNE(operand.LabelRef("column"))
	if t > 1 {
		ADDQ(operand.I32(64*t-64), x)
	}
	TESTQ(k, k)
	JE(operand.LabelRef("add"))
	DECQ(halves)
	JNE(operand.LabelRef("half"))
	Label("add")
	for i := range t {
		VADDPS(part[i], acc[i], acc[i])
	}
	TESTQ(k, k)
	JNE(operand.LabelRef("block"))
	for i := range t {
		VMOVUPS(acc[i], mem(out, 64*i))
	}
	VZEROUPPER()
	RET()
}

// exp512 holds the constants of exp.
type exp512 struct {
	low, high, log2e, magic, ln2h, ln2l, one, bias, inf reg.VecVirtual
	c                                                   [6]reg.VecVirtual
}

func newExp512() *exp512 {
	e := &exp512{
		low:   broadcastDword(f32(-87.33654)),
		high:  broadcastDword(f32(88.37626)),
		log2e: broadcastDword(f32(1.44269504088896341)),
		magic: broadcastDword(expMagicBits),
		ln2h:  broadcastDword(f32(0.693359375)),
		ln2l:  broadcastDword(f32(-2.12194440e-4)),
		one:   broadcastDword(f32(1)),
		bias:  broadcastDword(expMagicBits - 127),
		inf:   broadcastDword(0x7f800000),
	}
	for i, c := range expPoly {
		e.c[i] = broadcastDword(f32(c))
	}
	return e
}

var expPoly = []float64{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

// apply emits x = exp(x).
func (e *exp512) apply(x reg.VecVirtual) {
	inRange, over := K(), K()
	VCMPPS(operand.U8(14), e.low, x, inRange) // x > low
	VCMPPS(operand.U8(14), e.high, x, over)   // x > high
	m, n, r, t, p := ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
	VMULPS(e.log2e, x, m)
	VADDPS(e.magic, m, m)
	VSUBPS(e.magic, m, n)
	VMULPS(e.ln2h, n, t)
	VSUBPS(t, x, r)
	VMULPS(e.ln2l, n, t)
	VSUBPS(t, r, r)
	VMULPS(e.c[0], r, p)
	VADDPS(e.c[1], p, p)
	for _, c := range e.c[2:] {
		VMULPS(r, p, p)
		VADDPS(c, p, p)
	}
	VMULPS(r, r, t)
	VMULPS(t, p, p)
	VADDPS(r, p, p)
	VADDPS(e.one, p, p)
	VPSUBD(e.bias, m, m)
	VPSLLD(operand.U8(23), m, m)
	VMULPS_Z(m, p, inRange, x)
	VMOVAPS(e.inf, over, x)
}

// fold512 emits the tree sum of sixteen lanes into the low lane of the result.
func fold512(z reg.VecVirtual) reg.VecVirtual {
	hi := YMM()
	VEXTRACTF64X4(operand.U8(1), z, hi)
	y := z.AsY()
	VADDPS(hi, y, hi)
	q, h := XMM(), hi.AsX()
	VEXTRACTF128(operand.U8(1), hi, q)
	VADDPS(q, h, q)
	s := XMM()
	VMOVHLPS(q, q, s)
	VADDPS(s, q, q)
	VMOVSHDUP(q, s)
	VADDSS(s, q, q)
	return q
}

func sumSquares512() {
	TEXT("sumSquaresAVX512", NOSPLIT, "func(x *float32, n int) float32")
	x := Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	acc, v := ZMM(), ZMM()
	VPXORD(acc, acc, acc)
	Label("loop")
	VMOVUPS(mem(x, 0), v)
	VMULPS(v, v, v)
	VADDPS(v, acc, acc)
	ADDQ(operand.I32(64), x)
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	r := fold512(acc)
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}

func scaleMul512() {
	TEXT("scaleMulAVX512", NOSPLIT, "func(dst, x, w *float32, r float32, n int)")
	dst := Load(Param("dst"), GP64())
	x := Load(Param("x"), GP64())
	w := Load(Param("w"), GP64())
	rx := XMM()
	Load(Param("r"), rx)
	n := Load(Param("n"), GP64())
	r, v := ZMM(), ZMM()
	VBROADCASTSS(rx, r)
	Label("loop")
	VMULPS(mem(x, 0), r, v)
	VMULPS(mem(w, 0), v, v)
	VMOVUPS(v, mem(dst, 0))
	for _, p := range []reg.Register{dst, x, w} {
		ADDQ(operand.I32(64), p)
	}
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func gate512(name string, gelu bool) {
	TEXT(name+"AVX512", NOSPLIT, "func(dst, gate, up *float32, n int)")
	dst := Load(Param("dst"), GP64())
	gate := Load(Param("gate"), GP64())
	up := Load(Param("up"), GP64())
	n := Load(Param("n"), GP64())
	e := newExp512()
	sign := broadcastDword(0x80000000)
	var a, b reg.VecVirtual
	if gelu {
		a, b = broadcastDword(f32(0.044715)), broadcastDword(f32(1.5957691216057308))
	}
	Label("loop")
	x, z := ZMM(), ZMM()
	VMOVUPS(mem(gate, 0), x)
	if gelu {
		VMULPS(x, x, z)
		VMULPS(x, z, z)
		VMULPS(a, z, z)
		VADDPS(x, z, z)
		VMULPS(b, z, z)
		VPXORD(sign, z, z)
	} else {
		VPXORD(sign, x, z)
	}
	e.apply(z)
	VADDPS(e.one, z, z)
	VDIVPS(z, x, x)
	VMULPS(mem(up, 0), x, x)
	VMOVUPS(x, mem(dst, 0))
	for _, p := range []reg.Register{dst, gate, up} {
		ADDQ(operand.I32(64), p)
	}
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func softmax512() {
	TEXT("softmaxAVX512", NOSPLIT, "func(s *float32, stride, panels int, scale float32) float32")
	s := Load(Param("s"), GP64())
	stride := Load(Param("stride"), GP64())
	panels := Load(Param("panels"), GP64())
	sx := XMM()
	Load(Param("scale"), sx)
	scale, top, v := ZMM(), broadcastDword(0xff800000), ZMM()
	VBROADCASTSS(sx, scale)
	SHLQ(operand.U8(2), stride)
	p, n := GP64(), GP64()
	MOVQ(s, p)
	MOVQ(panels, n)
	Label("max")
	VMULPS(mem(p, 0), scale, v)
	VMOVUPS(v, mem(p, 0))
	VMAXPS(top, v, top) // v > top ? v : top
	ADDQ(stride, p)
	DECQ(n)
	JNE(operand.LabelRef("max"))
	y, q, t := YMM(), XMM(), XMM()
	VEXTRACTF64X4(operand.U8(1), top, y)
	VMAXPS(y, top.AsY(), y)
	VEXTRACTF128(operand.U8(1), y, q)
	VMAXPS(y.AsX(), q, q)
	VMOVHLPS(q, q, t)
	VMAXPS(t, q, q)
	VMOVSHDUP(q, t)
	VMAXSS(t, q, q)
	VBROADCASTSS(q, top)
	e := newExp512()
	acc := ZMM()
	VPXORD(acc, acc, acc)
	Label("exp")
	VMOVUPS(mem(s, 0), v)
	VSUBPS(top, v, v)
	e.apply(v)
	VMOVUPS(v, mem(s, 0))
	VADDPS(v, acc, acc)
	ADDQ(stride, s)
	DECQ(panels)
	JNE(operand.LabelRef("exp"))
	r := fold512(acc)
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}

func quantize512() {
	TEXT("quantizeAVX512", NOSPLIT, "func(x *float32, nb int, codes *int8, scale *float32, sums *int32)")
	x := Load(Param("x"), GP64())
	nb := Load(Param("nb"), GP64())
	codes := Load(Param("codes"), GP64())
	scale := Load(Param("scale"), GP64())
	sums := Load(Param("sums"), GP64())
	abs := broadcastDword(0x7fffffff)
	c127 := broadcastDword(f32(127)).AsX()
	flip := broadcastDword(0x80808080).AsX()
	zero := XMM()
	VPXOR(zero, zero, zero)
	Label("loop")
	a, b, m, t := ZMM(), ZMM(), ZMM(), ZMM()
	VMOVUPS(mem(x, 0), a)
	VMOVUPS(mem(x, 64), b)
	VPANDD(abs, a, m)
	VPANDD(abs, b, t)
	VPMAXUD(t, m, m)
	y := YMM()
	VEXTRACTI64X4(operand.U8(1), m, y)
	VPMAXUD(m.AsY(), y, y)
	q, s := XMM(), XMM()
	VEXTRACTI128(operand.U8(1), y, q)
	VPMAXUD(y.AsX(), q, q)
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
	d, inv := XMM(), XMM()
	VDIVSS(c127, q, d) // amax / 127
	VMOVSS(d, mem(scale, 0))
	VDIVSS(q, c127, inv)
	z := ZMM()
	VBROADCASTSS(inv, z)
	VMULPS(z, a, a)
	VMULPS(z, b, b)
	VCVTPS2DQ(a, a)
	VCVTPS2DQ(b, b)
	for i, v := range []reg.VecVirtual{a, b} {
		c, hi := XMM(), XMM()
		VPMOVSDB(v, c)
		VMOVDQU(c, mem(codes, 16*i))
		VPXOR(flip, c, c)
		VPSADBW(zero, c, c)
		VPSHUFD(operand.U8(0x4e), c, hi)
		VPADDD(hi, c, c)
		g := GP32()
		VMOVD(c, g)
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
	VMOVDQU(zero, mem(codes, 16))
	MOVQ(operand.U32(0), mem(sums, 0))
	JMP(operand.LabelRef("next"))
}
