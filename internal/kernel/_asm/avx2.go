package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// setAVX2 emits the functions of AVX2 with F16C.
func setAVX2() {
	tileSet(unit{suffix: "AVX2"})
	centred256()
	for _, n := range []int{1, 2, 4, 6} {
		tileF256(n, false)
		tileF256(n, true)
	}
	codeBook()
	unpackBytes256()
	unpack256("Nibbles", 4, 0, false)
	unpack256("NibblesBit", 4, 1, false)
	unpack256("Nibbles2", 4, 2, false)
	unpack256("Pairs", 2, 0, false)
	unpack256("PairsBit", 2, 1, false)
	unpack256("Table4", 4, 0, true)
	gemv256("W8", 8, 0, "16")
	gemv256("W4", 4, 0, "16")
	gemv256("W5", 4, 1, "16")
	gemv256("K4", 4, 0, "K")
	gemv256("K5", 4, 1, "K")
	gemv256("K6", 4, 2, "K16")
	for _, kind := range []string{"16", "16M", "K", "K16", "K2", "KT"} {
		scales256(kind)
	}
	sumSquares256()
	scaleMul256()
	gate256("silu", false)
	gate256("gelu", true)
	softmax256()
	quantize256()
	for _, rows := range productRows[1:] {
		product256(rows)
	}
	transpose256()
	copyRows256(1)
	copyRows256(4)
	peakFloat256()
	train256()
}

// centred256 emits the test whether all codes of some blocks are centred.
func centred256() {
	TEXT("isCentredAVX2", NOSPLIT, "func(codes *byte, nb int) bool")
	codes := Load(Param("codes"), GP64())
	nb := Load(Param("nb"), GP64())
	yes, v := GP8(), YMM()
	top := []reg.VecVirtual{YMM(), YMM()}
	Label("loop")
	for i := range 16 {
		to := top[i%2]
		if i >= 2 {
			to = v
		}
		VMOVDQU(mem(codes, 32*i), to)
		VPADDB(splat(0xa0a0a0a0), to, to)
		if i >= 2 {
			VPMAXUB(v, top[i%2], top[i%2])
		}
	}
	VPMAXUB(top[1], top[0], top[0])
	VPSUBUSB(splat(0x3f3f3f3f), top[0], top[0])
	VPTEST(top[0], top[0])
	JNE(operand.LabelRef("end"))
	ADDQ(operand.I32(512), codes)
	DECQ(nb)
	JNE(operand.LabelRef("loop"))
	Label("end")
	SETEQ(yes)
	VZEROUPPER()
	Store(yes, ReturnIndex(0))
	RET()
}

// tileF256 emits the product of columns of numbers with n vectors of a tile of
// t. The sums of a block are in registers, those of blocks in out.
func tileF256(n int, half bool) {
	name, arg, size := "F32", "w *float32", 64
	if half {
		name, arg, size = "F16", "w *uint16", 32
	}
	TEXT(fmt.Sprintf("tile%sx%dAVX2", name, n), NOSPLIT, "func(t int, out *float32, "+arg+", x *float32, k, cont int)")
	t := Load(Param("t"), GP64())
	out := Load(Param("out"), GP64())
	w := Load(Param("w"), GP64())
	x := Load(Param("x"), GP64())
	k := Load(Param("k"), GP64())
	cont := Load(Param("cont"), GP64())
	part := make([]reg.VecVirtual, 2*n)
	for i := range part {
		part[i] = YMM()
	}
	// After sixteen columns x has moved by 64 bytes; a row of the tile is 64t.
	DECQ(t)
	SHLQ(operand.U8(6), t)
	TESTQ(cont, cont)
	JNE(operand.LabelRef("block"))
	VPXOR(part[0], part[0], part[0])
	for i := range part {
		VMOVUPS(part[0], mem(out, 32*i))
	}
	columns, halves := GP64(), GP64()
	lo, hi, v, p := YMM(), YMM(), YMM(), YMM()
	Label("block")
	for _, p := range part {
		VPXOR(p, p, p)
	}
	MOVQ(operand.I32(2), halves)
	Label("half")
	MOVQ(operand.I32(16), columns)
	CMPQ(k, columns)
	CMOVQLT(k, columns)
	SUBQ(columns, k)
	Label("column")
	if half {
		VCVTPH2PS(mem(w, 0), lo)
		VCVTPH2PS(mem(w, 16), hi)
	} else {
		VMOVUPS(mem(w, 0), lo)
		VMOVUPS(mem(w, 32), hi)
	}
	for i := range n {
		VBROADCASTSS(mem(x, 64*i), v)
		VMULPS(v, lo, p)
		VADDPS(p, part[2*i], part[2*i])
		VMULPS(v, hi, v)
		VADDPS(v, part[2*i+1], part[2*i+1])
	}
	ADDQ(operand.I32(size), w)
	ADDQ(operand.I32(4), x)
	DECQ(columns)
	JNE(operand.LabelRef("column"))
	ADDQ(t, x)
	TESTQ(k, k)
	JE(operand.LabelRef("add"))
	DECQ(halves)
	JNE(operand.LabelRef("half"))
	Label("add")
	for i, p := range part {
		VADDPS(mem(out, 32*i), p, p)
		VMOVUPS(p, mem(out, 32*i))
	}
	TESTQ(k, k)
	JNE(operand.LabelRef("block"))
	VZEROUPPER()
	RET()
}

// exp256 emits x = exp(x) for each of a few registers, step by step side by
// side. The constants are in memory.
func exp256(xs ...reg.VecVirtual) {
	all := func(f func(i int)) {
		for i := range xs {
			f(i)
		}
	}
	fresh := func() []reg.VecVirtual {
		v := make([]reg.VecVirtual, len(xs))
		all(func(i int) { v[i] = YMM() })
		return v
	}
	c := func(x float64) operand.Mem { return splat(f32(x)) }
	m, n, r, t, p := fresh(), fresh(), fresh(), fresh(), fresh()
	all(func(i int) { VMULPS(c(1.44269504088896341), xs[i], m[i]) })
	all(func(i int) { VADDPS(splat(expMagicBits), m[i], m[i]) })
	all(func(i int) { VSUBPS(splat(expMagicBits), m[i], n[i]) })
	all(func(i int) { VMULPS(c(0.693359375), n[i], t[i]) })
	all(func(i int) { VSUBPS(t[i], xs[i], r[i]) })
	all(func(i int) { VMULPS(c(-2.12194440e-4), n[i], t[i]) })
	all(func(i int) { VSUBPS(t[i], r[i], r[i]) })
	all(func(i int) { VMULPS(c(expPoly[0]), r[i], p[i]) })
	all(func(i int) { VADDPS(c(expPoly[1]), p[i], p[i]) })
	for _, e := range expPoly[2:] {
		all(func(i int) { VMULPS(r[i], p[i], p[i]) })
		all(func(i int) { VADDPS(c(e), p[i], p[i]) })
	}
	all(func(i int) { VMULPS(r[i], r[i], t[i]) })
	all(func(i int) { VMULPS(t[i], p[i], p[i]) })
	all(func(i int) { VADDPS(r[i], p[i], p[i]) })
	all(func(i int) { VADDPS(c(1), p[i], p[i]) })
	all(func(i int) { VPSUBD(splat(expMagicBits-127), m[i], m[i]) })
	all(func(i int) { VPSLLD(operand.U8(23), m[i], m[i]) })
	all(func(i int) { VMULPS(m[i], p[i], p[i]) })
	// 30 is >, false for NaN: x > low keeps the product, x > high is infinity.
	all(func(i int) { VCMPPS(operand.U8(30), c(-87.33654), xs[i], t[i]) })
	all(func(i int) { VANDPS(t[i], p[i], p[i]) })
	all(func(i int) { VCMPPS(operand.U8(30), c(88.37626), xs[i], t[i]) })
	all(func(i int) { VBLENDVPS(t[i], splat(0x7f800000), p[i], xs[i]) })
}

// fold256 emits the tree sum of sixteen lanes into the low lane of the result.
func fold256(a, b reg.VecVirtual) reg.VecVirtual {
	VADDPS(b, a, a)
	q, h := XMM(), a.AsX()
	VEXTRACTF128(operand.U8(1), a, q)
	VADDPS(q, h, q)
	s := XMM()
	VMOVHLPS(q, q, s)
	VADDPS(s, q, q)
	VMOVSHDUP(q, s)
	VADDSS(s, q, q)
	return q
}

func sumSquares256() {
	TEXT("sumSquaresAVX2", NOSPLIT, "func(x *float32, n int) float32")
	x := Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	var acc [2]reg.VecVirtual
	v := YMM()
	for i := range acc {
		acc[i] = YMM()
		VXORPS(acc[i], acc[i], acc[i])
	}
	Label("loop")
	for i, a := range acc {
		VMOVUPS(mem(x, 32*i), v)
		VMULPS(v, v, v)
		VADDPS(v, a, a)
	}
	ADDQ(operand.I32(64), x)
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	r := fold256(acc[0], acc[1])
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}

func scaleMul256() {
	TEXT("scaleMulAVX2", NOSPLIT, "func(dst, x, w *float32, r float32, n int)")
	dst := Load(Param("dst"), GP64())
	x := Load(Param("x"), GP64())
	w := Load(Param("w"), GP64())
	rx := XMM()
	Load(Param("r"), rx)
	n := Load(Param("n"), GP64())
	r, v := YMM(), YMM()
	VBROADCASTSS(rx, r)
	Label("loop")
	for i := range 2 {
		VMULPS(mem(x, 32*i), r, v)
		VMULPS(mem(w, 32*i), v, v)
		VMOVUPS(v, mem(dst, 32*i))
	}
	for _, p := range []reg.Register{dst, x, w} {
		ADDQ(operand.I32(64), p)
	}
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func gate256(name string, gelu bool) {
	TEXT(name+"AVX2", NOSPLIT, "func(dst, gate, up *float32, n int)")
	dst := Load(Param("dst"), GP64())
	gate := Load(Param("gate"), GP64())
	up := Load(Param("up"), GP64())
	n := Load(Param("n"), GP64())
	Label("loop")
	var z [2]reg.VecVirtual
	for i := range z {
		z[i] = YMM()
		if !gelu {
			VMOVUPS(mem(gate, 32*i), z[i])
		} else {
			x := YMM()
			VMOVUPS(mem(gate, 32*i), x)
			VMULPS(x, x, z[i])
			VMULPS(x, z[i], z[i])
			VMULPS(splat(f32(0.044715)), z[i], z[i])
			VADDPS(x, z[i], z[i])
			VMULPS(splat(f32(1.5957691216057308)), z[i], z[i])
		}
		VXORPS(splat(0x80000000), z[i], z[i])
	}
	exp256(z[:]...)
	for i, z := range z {
		x := YMM()
		VADDPS(splat(f32(1)), z, z)
		VMOVUPS(mem(gate, 32*i), x)
		VDIVPS(z, x, x)
		VMULPS(mem(up, 32*i), x, x)
		VMOVUPS(x, mem(dst, 32*i))
	}
	for _, p := range []reg.Register{dst, gate, up} {
		ADDQ(operand.I32(64), p)
	}
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func softmax256() {
	TEXT("softmaxAVX2", NOSPLIT, "func(s *float32, stride, panels int, scale float32) float32")
	s := Load(Param("s"), GP64())
	stride := Load(Param("stride"), GP64())
	panels := Load(Param("panels"), GP64())
	sx := XMM()
	Load(Param("scale"), sx)
	scale := YMM()
	VBROADCASTSS(sx, scale)
	var top, v, acc [2]reg.VecVirtual
	for i := range top {
		top[i], v[i], acc[i] = YMM(), YMM(), YMM()
		VMOVUPS(splat(0xff800000), top[i])
	}
	SHLQ(operand.U8(2), stride)
	p, n := GP64(), GP64()
	MOVQ(s, p)
	MOVQ(panels, n)
	Label("max")
	for i := range v {
		VMULPS(mem(p, 32*i), scale, v[i])
		VMOVUPS(v[i], mem(p, 32*i))
		VMAXPS(top[i], v[i], top[i]) // v > top ? v : top
	}
	ADDQ(stride, p)
	DECQ(n)
	JNE(operand.LabelRef("max"))
	VMAXPS(top[1], top[0], top[0])
	q, t := XMM(), XMM()
	VEXTRACTF128(operand.U8(1), top[0], q)
	VMAXPS(top[0].AsX(), q, q)
	VMOVHLPS(q, q, t)
	VMAXPS(t, q, q)
	VMOVSHDUP(q, t)
	VMAXSS(t, q, q)
	VBROADCASTSS(q, top[0])
	for _, a := range acc {
		VXORPS(a, a, a)
	}
	Label("exp")
	for i := range v {
		VMOVUPS(mem(s, 32*i), v[i])
		VSUBPS(top[0], v[i], v[i])
	}
	exp256(v[:]...)
	for i := range v {
		VMOVUPS(v[i], mem(s, 32*i))
		VADDPS(v[i], acc[i], acc[i])
	}
	ADDQ(stride, s)
	DECQ(panels)
	JNE(operand.LabelRef("exp"))
	r := fold256(acc[0], acc[1])
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}
