package main

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// gemv is one function that multiplies a whole panel with one vector. The
// codes are unpacked in registers; low and high are as for unpack256, 8 means
// bytes. Below a byte they stay unsigned as they are stored, and the dots begin
// at minus their zero times the sum of the activations.
type gemv struct {
	low, high int
	kind      string // of the scales

	w, x, xe, scales      reg.Register
	lowMask, highMask     reg.VecVirtual
	acc, d, m             [2]reg.VecVirtual // of eight rows: sums; outer scale and offset
	codeBytes, scaleBytes int               // of a block
	parts                 int               // of a block with scales of their own
	groupsInWords         int               // groups whose products of a row can be added in 16 bits
	zeroShift             uint8             // the stored sums are -128 times; wanted is minus the zero
	head, rest            int               // bytes of scales before the blocks' and, in a whole group, after them
}

func gemv256(name string, low, high int, kind string) {
	k := &gemv{low: low, high: high, kind: kind, codeBytes: 64 * (low + high), scaleBytes: 32, parts: 1}
	switch {
	case low == 8:
		k.groupsInWords = 1 // |w| is up to 128
	default:
		k.groupsInWords = 8 >> high // 8 * 2*15*127, 4 * 2*31*127, 2 * 2*63*127
		k.zeroShift = uint8(4 - high)
	}
	switch kind {
	case "K":
		k.head = 64
	case "K16":
		k.head, k.rest, k.parts = 32, 32, 2
	}
	k.emit("gemv" + name + "AVX2")
}

func (k *gemv) emit(name string) {
	TEXT(name, NOSPLIT, "func(out *float32, w *byte, x, xe *byte, nb int)")
	k.w = Load(Param("w"), GP64())
	k.x = Load(Param("x"), GP64())
	k.xe = Load(Param("xe"), GP64())
	nb := Load(Param("nb"), GP64())
	n, rest := GP64(), GP64()
	k.scales = GP64()
	if k.low < 8 {
		k.lowMask = YMM()
		VMOVDQU(splat((1<<k.low-1)*0x01010101), k.lowMask)
	}
	if k.high > 0 {
		k.highMask = YMM()
		VMOVDQU(splat((1<<k.high-1)<<k.low*0x01010101), k.highMask)
	}
	for r := range 2 {
		k.acc[r], k.d[r], k.m[r] = YMM(), YMM(), YMM()
		VXORPS(k.acc[r], k.acc[r], k.acc[r])
	}

	Label("group")
	MOVQ(operand.I32(8), n)
	CMPQ(nb, n)
	CMOVQLT(nb, n)
	IMUL3Q(operand.I32(k.codeBytes), n, k.scales)
	ADDQ(k.w, k.scales)
	// What lies between the end of the last scale and a multiple of 64.
	if k.kind == "16" {
		MOVQ(n, rest)
		ANDQ(operand.I32(1), rest)
		SHLQ(operand.U8(5), rest)
	} else {
		MOVQ(operand.I32(k.rest), rest)
		for r := range 2 {
			VCVTPH2PS(mem(k.scales, 16*r), k.d[r])
			if k.kind == "K" {
				VCVTPH2PS(mem(k.scales, 32+16*r), k.m[r])
				VXORPS(splat(0x80000000), k.m[r], k.m[r])
			}
		}
		ADDQ(operand.I32(k.head), k.scales)
	}
	SUBQ(n, nb)

	Label("block")
	for r := range 2 {
		for h := range k.parts {
			k.add(r, h, k.dot(r, h))
		}
	}
	for i := 0; i < k.codeBytes; i += 64 {
		PREFETCHT0(mem(k.w, i+prefetchDistance))
	}
	PREFETCHT0(mem(k.scales, prefetchDistance))
	ADDQ(operand.I32(k.codeBytes), k.w)
	ADDQ(operand.I32(k.scaleBytes), k.scales)
	ADDQ(operand.I32(actBytes), k.x)
	ADDQ(operand.I32(extraBytes), k.xe)
	DECQ(n)
	JNE(operand.LabelRef("block"))
	LEAQ(operand.Mem{Base: k.scales, Index: rest, Scale: 1}, k.w)
	TESTQ(nb, nb)
	JNE(operand.LabelRef("group"))
	out := Load(Param("out"), GP64())
	for r, a := range k.acc {
		VMOVUPS(a, mem(out, 32*r))
	}
	VZEROUPPER()
	RET()
}

// dot emits the dot product of line r, eight rows, over part h of a block.
func (k *gemv) dot(r, h int) reg.VecVirtual {
	dot := YMM()
	switch {
	case k.low == 8 || k.kind == "K":
		VPXOR(dot, dot, dot)
	case k.parts == 2:
		VPBROADCASTD(mem(k.xe, h*4), dot)
	default:
		VPBROADCASTD(mem(k.x, 9*4), dot)
	}
	if k.low < 8 && k.kind != "K" {
		VPSRAD(operand.U8(k.zeroShift), dot, dot)
	}
	var words, highBits reg.VecVirtual
	groups := 8 / k.parts
	for i := range groups {
		g := h*groups + i
		p := YMM()
		VPBROADCASTD(mem(k.x, 4*g), p)
		if k.low == 8 {
			w, abs := YMM(), YMM()
			VMOVDQU(mem(k.w, 64*g+32*r), w)
			VPXOR(splat(0x80808080), w, w)
			VPABSB(w, abs)
			VPSIGNB(w, p, p)
			VPMADDUBSW(p, abs, p)
		} else {
			if k.high > 0 && g%(8/k.high) == 0 {
				highBits = YMM()
				VMOVDQU(mem(k.w, 256+64*(g/(8/k.high))+32*r), highBits)
			}
			VPMADDUBSW(p, k.codes(g, r, highBits), p)
		}
		if i%k.groupsInWords == 0 {
			words = p
		} else {
			VPADDW(p, words, words)
		}
		if (i+1)%k.groupsInWords == 0 || i == groups-1 {
			VPMADDWD(splat(0x00010001), words, words)
			VPADDD(words, dot, dot)
		}
	}
	return dot
}

// codes emits the unpacking of group g of line r.
func (k *gemv) codes(g, r int, highBits reg.VecVirtual) reg.VecVirtual {
	v := YMM()
	m := mem(k.w, 64*(g%4)+32*r)
	if g < 4 {
		VPAND(m, k.lowMask, v)
	} else {
		VMOVDQU(m, v)
		VPSRLW(operand.U8(4), v, v)
		VPAND(k.lowMask, v, v)
	}
	if k.high == 0 {
		return v
	}
	t := YMM()
	switch n := g%(8/k.high)*k.high - 4; {
	case n > 0:
		VPSRLW(operand.U8(n), highBits, t)
		VPAND(k.highMask, t, t)
	case n < 0:
		VPSLLW(operand.U8(-n), highBits, t)
		VPAND(k.highMask, t, t)
	default:
		VPAND(highBits, k.highMask, t)
	}
	VPOR(t, v, v)
	return v
}

// add emits the scaling of the dot of line r in part h, and adds it.
func (k *gemv) add(r, h int, dot reg.VecVirtual) {
	scale := YMM()
	switch k.kind {
	case "16":
		VCVTPH2PS(mem(k.scales, 16*r), scale)
	case "K":
		VPMOVZXBD(mem(k.scales, 8*r), scale)
	case "K16":
		VPMOVSXBD(mem(k.scales, 16*h+8*r), scale)
	}
	if k.kind != "16" {
		VCVTDQ2PS(scale, scale)
		VMULPS(k.d[r], scale, scale)
	}
	u := unit{}
	VCVTDQ2PS(dot, dot)
	VMULPS(scale, dot, dot)
	u.mulBroadcast(mem(k.x, 8*4), dot, dot)
	VADDPS(dot, k.acc[r], k.acc[r])
	if k.kind == "K" {
		VPMOVZXBD(mem(k.scales, 16+8*r), scale)
		VCVTDQ2PS(scale, scale)
		VMULPS(k.m[r], scale, scale)
		u.mulBroadcast(mem(k.xe, 2*4), scale, scale)
		VADDPS(scale, k.acc[r], k.acc[r])
	}
}
