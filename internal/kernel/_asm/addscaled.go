package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// setAdd is what adapters need, for both instruction sets.
func setAdd() {
	addScaled("addScaledAVX512", 64, ZMM)
	addScaled("addScaledAVX2", 32, YMM)
}

// addScaled adds s * x to dst, size bytes at a time.
func addScaled(name string, size int, vector func() reg.VecVirtual) {
	TEXT(name, NOSPLIT, "func(dst, x *float32, s float32, n int)")
	dst := Load(Param("dst"), GP64())
	x := Load(Param("x"), GP64())
	first := XMM()
	Load(Param("s"), first)
	n := Load(Param("n"), GP64())
	s, v := vector(), vector()
	VBROADCASTSS(first, s)
	Label("loop")
	for at := 0; at < 64; at += size {
		VMULPS(mem(x, at), s, v)
		VADDPS(mem(dst, at), v, v)
		VMOVUPS(v, mem(dst, at))
	}
	ADDQ(operand.I32(64), dst)
	ADDQ(operand.I32(64), x)
	SUBQ(operand.I32(16), n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}
