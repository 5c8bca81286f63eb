package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// stream512 emits a reader of memory that does nothing with it.
func stream512() {
	TEXT("streamAVX512", NOSPLIT, "func(p *byte, n int) uint64")
	p := Load(Param("p"), GP64())
	n := Load(Param("n"), GP64())
	var acc [4]reg.VecVirtual
	for i := range acc {
		acc[i] = ZMM()
		VPXORD(acc[i], acc[i], acc[i])
	}
	Label("loop")
	for i := range 8 {
		VPXORD(mem(p, 64*i), acc[i%4], acc[i%4])
		PREFETCHT0(mem(p, 64*i+prefetchDistance))
	}
	ADDQ(operand.I32(512), p)
	SUBQ(operand.I32(512), n)
	JNE(operand.LabelRef("loop"))
	for i := 1; i < 4; i++ {
		VPXORD(acc[i], acc[0], acc[0])
	}
	r := GP64()
	VMOVQ(acc[0].AsX(), r)
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}

// peak512 emits n rounds of sixteen independent dot products of 64 bytes.
func peak512() {
	TEXT("peakAVX512", NOSPLIT, "func(n int) uint64")
	n := Load(Param("n"), GP64())
	var acc [16]reg.VecVirtual
	a, b := broadcastDword(0x01020304), broadcastDword(0x05060708)
	for i := range acc {
		acc[i] = ZMM()
		VPXORD(acc[i], acc[i], acc[i])
	}
	Label("loop")
	for i := range acc {
		VPDPBUSD(a, b, acc[i])
	}
	DECQ(n)
	JNE(operand.LabelRef("loop"))
	for i := 1; i < len(acc); i++ {
		VPADDD(acc[i], acc[0], acc[0])
	}
	r := GP64()
	VMOVQ(acc[0].AsX(), r)
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}
