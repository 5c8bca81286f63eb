package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemv512 emits the product of a whole panel with one vector. The codes are
// unpacked in registers; low and high are as for unpack512, 8 means bytes. The
// codes stay unsigned as they are stored, so the sums begin at minus their zero
// times the sum of the activations.
func gemv512(name string, low, high int, kind string) {
	TEXT("gemv"+name+"AVX512", NOSPLIT, "func(out *float32, w *byte, x, xe *byte, nb int)")
	w := Load(Param("w"), GP64())
	x := Load(Param("x"), GP64())
	xe := Load(Param("xe"), GP64())
	nb := Load(Param("nb"), GP64())
	codeBytes := 64*low + 64*high // of a block
	scaleBytes := map[string]int{"16": 32, "K": 32, "K16": 32}[kind]
	head := map[string]int{"16": 0, "K": 64, "K16": 32}[kind]

	// Blocks that take longer to compute than to read want the next ones
	// fetched earlier (measured).
	ahead := prefetchDistance
	if kind != "16" {
		ahead += prefetchDistance / 2
	}
	acc, zero := ZMM(), ZMM()
	VPXORD(acc, acc, acc)
	VPXORD(zero, zero, zero)
	var lowMask, upMask, highMask, sign reg.VecVirtual
	if low < 8 {
		lowMask = broadcastDword((1<<low - 1) * 0x01010101)
	}
	// Where nothing lies apart, high nibbles are multiplied where they are,
	// and the sum divided by 16.
	inPlace := low == 4 && high == 0
	if inPlace {
		upMask = broadcastDword(0xf0f0f0f0)
	}
	if high > 0 {
		highMask = broadcastDword((1<<high - 1) << low * 0x01010101)
	}
	if kind == "K" {
		sign = broadcastDword(0x80000000)
	}
	scales, n, rest := GP64(), GP64(), GP64()
	d, m := ZMM(), ZMM()

	Label("group")
	MOVQ(operand.I32(8), n)
	CMPQ(nb, n)
	CMOVQLT(nb, n)
	IMUL3Q(operand.I32(codeBytes), n, scales)
	ADDQ(w, scales)
	// What lies between the end of the last scale and a multiple of 64.
	XORQ(rest, rest)
	switch kind {
	case "16":
		MOVQ(n, rest)
		ANDQ(operand.I32(1), rest)
		SHLQ(operand.U8(5), rest)
	case "K16":
		MOVQ(operand.I32(32), rest)
	}
	SUBQ(n, nb)
	if kind != "16" {
		VCVTPH2PS(mem(scales, 0), d)
		if kind == "K" {
			VCVTPH2PS(mem(scales, 32), m)
			VPXORD(sign, m, m)
		}
		ADDQ(operand.I32(head), scales)
	}

	Label("block")
	parts := 1
	if kind == "K16" {
		parts = 2
	}
	var highBits reg.VecVirtual
	for h := range parts {
		dot, dot2 := ZMM(), ZMM()
		VMOVDQA64(zero, dot2)
		// The activations' sums are stored times -128.
		switch {
		case kind == "K":
			VMOVDQA64(zero, dot)
		case parts == 2:
			VPBROADCASTD(mem(xe, h*4), dot)
			VPSRAD(operand.U8(2), dot, dot) // zero is 32
		default:
			VPBROADCASTD(mem(x, 9*4), dot)
			if low < 8 {
				VPSRAD(operand.U8(4-high), dot, dot) // zero is 8 or 16
			}
		}
		for g := h * 4; g < 8/parts+h*4; g++ {
			v := ZMM()
			switch {
			case low == 8:
				VMOVDQU64(mem(w, 64*g), v)
			case g >= 4 && inPlace:
				VPANDD(mem(w, 64*(g-4)), upMask, v)
			case g < 4:
				VPANDD(mem(w, 64*g), lowMask, v)
			default:
				VMOVDQU64(mem(w, 64*(g-4)), v)
				VPSRLW(operand.U8(4), v, v)
				VPANDD(lowMask, v, v)
			}
			if high > 0 {
				if g%(8/high) == 0 {
					highBits = ZMM()
					VMOVDQU64(mem(w, 256+64*(g/(8/high))), highBits)
				}
				t := ZMM()
				shift(g%(8/high)*high-4, highBits, t)
				VPANDD(highMask, t, t)
				VPORD(t, v, v)
			}
			to := dot
			if g%2 == 1 && !inPlace || g >= 4 && inPlace {
				to = dot2
			}
			VPDPBUSD_BCST(mem(x, 4*g), v, to)
		}
		if inPlace {
			VPSRAD(operand.U8(4), dot2, dot2)
		}
		VPADDD(dot2, dot, dot)
		scale := ZMM()
		switch kind {
		case "16":
			VCVTPH2PS(mem(scales, 0), scale)
		case "K":
			VPMOVZXBD(mem(scales, 0), scale)
			VCVTDQ2PS(scale, scale)
			VMULPS(d, scale, scale)
		case "K16":
			VPMOVSXBD(mem(scales, 16*h), scale)
			VCVTDQ2PS(scale, scale)
			VMULPS(d, scale, scale)
		}
		VCVTDQ2PS(dot, dot)
		VMULPS(scale, dot, dot)
		VMULPS_BCST(mem(x, 8*4), dot, dot)
		VADDPS(dot, acc, acc)
		if kind == "K" {
			VPMOVZXBD(mem(scales, 16), scale)
			VCVTDQ2PS(scale, scale)
			VMULPS(m, scale, scale)
			VMULPS_BCST(mem(xe, 2*4), scale, scale)
			VADDPS(scale, acc, acc)
		}
	}
	for i := 0; i < codeBytes+scaleBytes; i += 64 {
		PREFETCHT0(mem(w, i+ahead))
	}
	ADDQ(operand.I32(codeBytes), w)
	ADDQ(operand.I32(scaleBytes), scales)
	ADDQ(operand.I32(actBytes), x)
	ADDQ(operand.I32(extraBytes), xe)
	DECQ(n)
	JNE(operand.LabelRef("block"))
	LEAQ(operand.Mem{Base: scales, Index: rest, Scale: 1}, w)
	TESTQ(nb, nb)
	JNE(operand.LabelRef("group"))
	out := Load(Param("out"), GP64())
	VMOVUPS(acc, mem(out, 0))
	VZEROUPPER()
	RET()
}
