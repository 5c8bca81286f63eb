package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// broadcastParam256 is broadcastParam for eight lanes.
func broadcastParam256(name string) reg.VecVirtual {
	x, y := XMM(), YMM()
	Load(Param(name), x)
	VBROADCASTSS(x, y)
	return y
}

func train256() {
	expSum256()
	largest256()
	divScale256()
	gateBack256("silu", false)
	gateBack256("gelu", true)
	combine256()
	adamW256()
}

func expSum256() {
	TEXT("expSumAVX2", NOSPLIT, "func(dst, x *float32, top float32, n int, parts *float32)")
	dst := Load(Param("dst"), GP64())
	x := Load(Param("x"), GP64())
	top := broadcastParam256("top")
	n := Load(Param("n"), GP64())
	parts := Load(Param("parts"), GP64())
	var acc, v [2]reg.VecVirtual
	for i := range acc {
		acc[i], v[i] = YMM(), YMM()
		VMOVUPS(mem(parts, 32*i), acc[i])
	}
	Label("loop")
	for i := range v {
		VMOVUPS(mem(x, 32*i), v[i])
		VSUBPS(top, v[i], v[i])
	}
	exp256(v[:]...)
	for i := range v {
		VMOVUPS(v[i], mem(dst, 32*i))
		VADDPS(v[i], acc[i], acc[i])
	}
	ADDQ(operand.I32(64), x)
	ADDQ(operand.I32(64), dst)
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	for i := range acc {
		VMOVUPS(acc[i], mem(parts, 32*i))
	}
	VZEROUPPER()
	RET()
}

func largest256() {
	TEXT("largestAVX2", NOSPLIT, "func(x *float32, n int) (top float32, magnitude uint32)")
	x := Load(Param("x"), GP64())
	n := Load(Param("n"), GP64())
	top, all, v := YMM(), YMM(), YMM()
	VMOVUPS(splat(0xff800000), top)
	VPXOR(all, all, all)
	Label("loop")
	for i := range 2 {
		VMOVUPS(mem(x, 32*i), v)
		VMAXPS(top, v, top) // v > top ? v : top
		VPAND(splat(0x7fffffff), v, v)
		VPMAXUD(v, all, all)
	}
	ADDQ(operand.I32(64), x)
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	q, t := XMM(), XMM()
	VEXTRACTF128(operand.U8(1), top, q)
	VMAXPS(top.AsX(), q, q)
	foldLargest(q, t)
	qi, ti := XMM(), XMM()
	VEXTRACTI128(operand.U8(1), all, qi)
	VPMAXUD(all.AsX(), qi, qi)
	storeLargest(q, qi, ti)
}

func divScale256() {
	TEXT("divScaleAVX2", NOSPLIT, "func(dst, x *float32, d, s float32, n int)")
	dst := Load(Param("dst"), GP64())
	x := Load(Param("x"), GP64())
	d, s, v := broadcastParam256("d"), broadcastParam256("s"), YMM()
	n := Load(Param("n"), GP64())
	Label("loop")
	for i := range 2 {
		VMOVUPS(mem(x, 32*i), v)
		VDIVPS(d, v, v)
		VMULPS(s, v, v)
		VMOVUPS(v, mem(dst, 32*i))
	}
	advance(n, dst, x)
}

// gateBack256 emits the gradients of a gate, see gateBackGeneric.
func gateBack256(name string, gelu bool) {
	TEXT(name+"BackAVX2", NOSPLIT, "func(dg, du, dh, gate, up *float32, n int)")
	var p [5]reg.Register
	for i, name := range []string{"dg", "du", "dh", "gate", "up"} {
		p[i] = Load(Param(name), GP64())
	}
	n := Load(Param("n"), GP64())
	Label("loop")
	var z [2]reg.VecVirtual
	for i := range z {
		z[i] = YMM()
		x := YMM()
		VMOVUPS(mem(p[3], 32*i), x)
		if gelu {
			VMULPS(x, x, z[i])
			VMULPS(x, z[i], z[i])
			VMULPS(splat(f32(0.044715)), z[i], z[i])
			VADDPS(x, z[i], z[i])
			VMULPS(splat(f32(1.5957691216057308)), z[i], z[i])
			VXORPS(splat(0x80000000), z[i], z[i])
		} else {
			VXORPS(splat(0x80000000), x, z[i])
		}
	}
	exp256(z[:]...)
	one := splat(f32(1))
	for i, z := range z {
		x, f, s, t, dh := YMM(), YMM(), YMM(), YMM(), YMM()
		VMOVUPS(mem(p[3], 32*i), x)
		VADDPS(one, z, z) // 1 + exp(-z)
		VDIVPS(z, x, f)
		VMOVUPS(one, t)
		VDIVPS(z, t, s)
		VSUBPS(s, t, t) // 1 - s
		if gelu {
			flat, q := YMM(), YMM()
			VMULPS(t, s, t)
			VXORPS(flat, flat, flat)
			VCMPPS(operand.U8(4), flat, t, flat) // t is not 0, or NaN
			VMULPS(x, x, q)
			VMULPS(splat(f32(0.134145)), q, q)
			VADDPS(one, q, q)
			VMULPS(splat(f32(1.5957691216057308)), q, q)
			VMULPS(q, t, t)
			VMULPS(t, x, t)
			VADDPS(t, s, t)
			VBLENDVPS(flat, t, s, s)
		} else {
			VMULPS(t, x, t)
			VADDPS(one, t, t)
			VMULPS(t, s, s)
		}
		VMOVUPS(mem(p[2], 32*i), dh)
		VMULPS(f, dh, f)
		VMULPS(mem(p[4], 32*i), dh, dh)
		VMULPS(s, dh, dh)
		VMOVUPS(f, mem(p[1], 32*i))
		VMOVUPS(dh, mem(p[0], 32*i))
	}
	advance(n, p[:]...)
}

func combine256() {
	TEXT("combineAVX2", NOSPLIT, "func(y *float32, a float32, x *float32, b, c float32, n int)")
	y := Load(Param("y"), GP64())
	a := broadcastParam256("a")
	x := Load(Param("x"), GP64())
	b, c := broadcastParam256("b"), broadcastParam256("c")
	n := Load(Param("n"), GP64())
	v, w := YMM(), YMM()
	Label("loop")
	for i := range 2 {
		VMULPS(mem(x, 32*i), c, v)
		VMULPS(b, v, v)
		VMULPS(mem(y, 32*i), a, w)
		VADDPS(v, w, w)
		VMOVUPS(w, mem(y, 32*i))
	}
	advance(n, y, x)
}

// adamW256 emits a step of AdamW, see adamWGeneric.
func adamW256() {
	TEXT("adamWAVX2", NOSPLIT, "func(w, grad, m, v, constants *float32, n int)")
	var p [4]reg.Register
	for i, name := range []string{"w", "grad", "m", "v"} {
		p[i] = Load(Param(name), GP64())
	}
	from := Load(Param("constants"), GP64())
	n := Load(Param("n"), GP64())
	var c [9]reg.VecVirtual
	for i := range c {
		c[i] = YMM()
		VBROADCASTSS(mem(from, 4*i), c[i])
	}
	scale, b1, c1, b2, c2, root, eps, keep, step := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
	Label("loop")
	for i := range 2 {
		d, m, v, t := YMM(), YMM(), YMM(), YMM()
		VMULPS(mem(p[1], 32*i), scale, d)
		VMULPS(mem(p[2], 32*i), b1, m)
		VMULPS(c1, d, t)
		VADDPS(t, m, m)
		VMOVUPS(m, mem(p[2], 32*i))
		VMULPS(d, d, d)
		VMULPS(c2, d, d)
		VMULPS(mem(p[3], 32*i), b2, v)
		VADDPS(d, v, v)
		VMOVUPS(v, mem(p[3], 32*i))
		VSQRTPS(v, v)
		VMULPS(root, v, v)
		VADDPS(eps, v, v)
		VMULPS(step, m, m)
		VDIVPS(v, m, m)
		VMULPS(mem(p[0], 32*i), keep, t)
		VSUBPS(m, t, t)
		VMOVUPS(t, mem(p[0], 32*i))
	}
	advance(n, p[:]...)
}
