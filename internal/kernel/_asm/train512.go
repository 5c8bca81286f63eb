package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// broadcastParam returns a register with the float32 parameter in every lane.
func broadcastParam(name string) reg.VecVirtual {
	x, z := XMM(), ZMM()
	Load(Param(name), x)
	VBROADCASTSS(x, z)
	return z
}

// advance emits the end of a loop over 16 floats at each of some addresses.
func advance(n reg.Register, ps ...reg.Register) {
	for _, p := range ps {
		ADDQ(operand.I32(64), p)
	}
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func train512() {
	expSum512()
	largest512()
	divScale512()
	gateBack512("silu", false)
	gateBack512("gelu", true)
	combine512()
	adamW512()
}

func expSum512() {
	TEXT("expSumAVX512", NOSPLIT, "func(dst, x *float32, top float32, n int, parts *float32)")
	dst := Load(Param("dst"), GP64())
	x := Load(Param("x"), GP64())
	top := broadcastParam("top")
	n := Load(Param("n"), GP64())
	parts := Load(Param("parts"), GP64())
	e := newExp512()
	acc, v := ZMM(), ZMM()
	VMOVUPS(mem(parts, 0), acc)
	Label("loop")
	VMOVUPS(mem(x, 0), v)
	VSUBPS(top, v, v)
	e.apply(v)
	VMOVUPS(v, mem(dst, 0))
	VADDPS(v, acc, acc)
	ADDQ(operand.I32(64), x)
	ADDQ(operand.I32(64), dst)
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	VMOVUPS(acc, mem(parts, 0))
	VZEROUPPER()
	RET()
}

// foldLargest leaves the largest of the four floats of q in its first.
func foldLargest(q, t reg.VecVirtual) {
	VMOVHLPS(q, q, t)
	VMAXPS(t, q, q)
	VMOVSHDUP(q, t)
	VMAXSS(t, q, q)
}

// storeLargest returns the first float of q and the largest integer of qi.
func storeLargest(q, qi, ti reg.VecVirtual) {
	VPSHUFD(operand.U8(0x4e), qi, ti)
	VPMAXUD(ti, qi, qi)
	VPSHUFD(operand.U8(0xb1), qi, ti)
	VPMAXUD(ti, qi, qi)
	m := GP32()
	VMOVD(qi, m)
	VZEROUPPER()
	Store(q, ReturnIndex(0))
	Store(m, ReturnIndex(1))
	RET()
}

func largest512() {
	TEXT("largestAVX512", NOSPLIT, "func(x *float32, n int) (top float32, magnitude uint32)")
	x := Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	top, all, abs, v := broadcastDword(0xff800000), ZMM(), broadcastDword(0x7fffffff), ZMM()
	VPXORD(all, all, all)
	Label("loop")
	VMOVUPS(mem(x, 0), v)
	VMAXPS(top, v, top) // v > top ? v : top
	VPANDD(abs, v, v)
	VPMAXUD(v, all, all)
	ADDQ(operand.I32(64), x)
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	y, q, t := YMM(), XMM(), XMM()
	VEXTRACTF64X4(operand.U8(1), top, y)
	VMAXPS(y, top.AsY(), y)
	VEXTRACTF128(operand.U8(1), y, q)
	VMAXPS(y.AsX(), q, q)
	foldLargest(q, t)
	yi, qi, ti := YMM(), XMM(), XMM()
	VEXTRACTI64X4(operand.U8(1), all, yi)
	VPMAXUD(yi, all.AsY(), yi)
	VEXTRACTI128(operand.U8(1), yi, qi)
	VPMAXUD(yi.AsX(), qi, qi)
	storeLargest(q, qi, ti)
}

func divScale512() {
	TEXT("divScaleAVX512", NOSPLIT, "func(dst, x *float32, d, s float32, n int)")
	dst := Load(Param("dst"), GP64())
	x := Load(Param("x"), GP64())
	d, s, v := broadcastParam("d"), broadcastParam("s"), ZMM()
	n := Load(Param("n"), GP64())
	Label("loop")
	VMOVUPS(mem(x, 0), v)
	VDIVPS(d, v, v)
	VMULPS(s, v, v)
	VMOVUPS(v, mem(dst, 0))
	advance(n, dst, x)
}

// gateBack512 emits the gradients of a gate, see gateBackGeneric.
func gateBack512(name string, gelu bool) {
	TEXT(name+"BackAVX512", NOSPLIT, "func(dg, du, dh, gate, up *float32, n int)")
	var p [5]reg.Register
	for i, name := range []string{"dg", "du", "dh", "gate", "up"} {
		p[i] = Load(Param(name), GP64())
	}
	n := Load(Param("n"), GP64())
	e := newExp512()
	sign := broadcastDword(0x80000000)
	zero := ZMM()
	VPXORD(zero, zero, zero)
	Label("loop")
	x, z, q, f, dh := ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
	VMOVUPS(mem(p[3], 0), x)
	if gelu {
		VMULPS(x, x, q)
		VMULPS(x, q, z)
		VMULPS_BCST(splat(f32(0.044715)), z, z)
		VADDPS(x, z, z)
		VMULPS_BCST(splat(f32(1.5957691216057308)), z, z)
		VPXORD(sign, z, z)
	} else {
		VPXORD(sign, x, z)
	}
	e.apply(z)
	VADDPS(e.one, z, z) // 1 + exp(-z)
	VDIVPS(z, x, f)
	s, t := ZMM(), ZMM()
	VDIVPS(z, e.one, s)
	VSUBPS(s, e.one, t) // 1 - s
	if gelu {
		slope := K()
		VMULPS(t, s, t)
		VCMPPS(operand.U8(4), zero, t, slope) // t is not 0, or NaN
		VMULPS_BCST(splat(f32(0.134145)), q, q)
		VADDPS(e.one, q, q)
		VMULPS_BCST(splat(f32(1.5957691216057308)), q, q)
		VMULPS(q, t, t)
		VMULPS(t, x, t)
		VADDPS(t, s, slope, s)
	} else {
		VMULPS(t, x, t)
		VADDPS(e.one, t, t)
		VMULPS(t, s, s)
	}
	VMOVUPS(mem(p[2], 0), dh)
	VMULPS(f, dh, f)
	VMULPS(mem(p[4], 0), dh, dh)
	VMULPS(s, dh, dh)
	VMOVUPS(f, mem(p[1], 0))
	VMOVUPS(dh, mem(p[0], 0))
	advance(n, p[:]...)
}

func combine512() {
	TEXT("combineAVX512", NOSPLIT, "func(y *float32, a float32, x *float32, b, c float32, n int)")
	y := Load(Param("y"), GP64())
	a := broadcastParam("a")
	x := Load(Param("x"), GP64())
	b, c := broadcastParam("b"), broadcastParam("c")
	n := Load(Param("n"), GP64())
	v, w := ZMM(), ZMM()
	Label("loop")
	VMULPS(mem(x, 0), c, v)
	VMULPS(b, v, v)
	VMULPS(mem(y, 0), a, w)
	VADDPS(v, w, w)
	VMOVUPS(w, mem(y, 0))
	advance(n, y, x)
}

// adamW512 emits a step of AdamW, see adamWGeneric.
func adamW512() {
	TEXT("adamWAVX512", NOSPLIT, "func(w, grad, m, v, constants *float32, n int)")
	var p [4]reg.Register
	for i, name := range []string{"w", "grad", "m", "v"} {
		p[i] = Load(Param(name), GP64())
	}
	from := Load(Param("constants"), GP64())
	n := Load(Param("n"), GP64())
	var c [9]reg.VecVirtual
	for i := range c {
		c[i] = ZMM()
		VBROADCASTSS(mem(from, 4*i), c[i])
	}
	scale, b1, c1, b2, c2, root, eps, keep, step := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
	Label("loop")
	d, m, v, t := ZMM(), ZMM(), ZMM(), ZMM()
	VMULPS(mem(p[1], 0), scale, d)
	VMULPS(mem(p[2], 0), b1, m)
	VMULPS(c1, d, t)
	VADDPS(t, m, m)
	VMOVUPS(m, mem(p[2], 0))
	VMULPS(d, d, d)
	VMULPS(c2, d, d)
	VMULPS(mem(p[3], 0), b2, v)
	VADDPS(d, v, v)
	VMOVUPS(v, mem(p[3], 0))
	VSQRTPS(v, v)
	VMULPS(root, v, v)
	VADDPS(eps, v, v)
	VMULPS(step, m, m)
	VDIVPS(v, m, m)
	VMULPS(mem(p[0], 0), keep, t)
	VSUBPS(m, t, t)
	VMOVUPS(t, mem(p[0], 0))
	advance(n, p[:]...)
}
