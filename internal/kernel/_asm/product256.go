package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// product256 emits a tile of rows, at most four, by sixteen columns.
func product256(rows int) {
	t := newProductTile(fmt.Sprintf("product%dx16AVX2", rows), rows)
	part := make([]reg.VecVirtual, rows*2)
	for i := range part {
		part[i] = YMM()
	}
	clearSums := func() {
		for _, p := range part {
			VXORPS(p, p, p)
		}
	}
	step := func() {
		lo, hi := YMM(), YMM()
		VMOVUPS(mem(t.b, 0), lo)
		VMOVUPS(mem(t.b, 32), hi)
		for i := range rows {
			x, p := YMM(), YMM()
			VBROADCASTSS(t.row(i), x)
			VMULPS(x, lo, p)
			VADDPS(p, part[2*i], part[2*i])
			VMULPS(x, hi, x)
			VADDPS(x, part[2*i+1], part[2*i+1])
		}
	}
	add := func(i int) {
		VADDPS(mem(t.out, 0), part[2*i], part[2*i])
		VADDPS(mem(t.out, 32), part[2*i+1], part[2*i+1])
	}
	store := func(i int) {
		VMOVUPS(part[2*i], mem(t.out, 0))
		VMOVUPS(part[2*i+1], mem(t.out, 32))
	}
	t.body(clearSums, step, add, store)
}

// peakFloat256 emits n rounds of twelve products and sums of eight floats
// each, all independent.
func peakFloat256() {
	TEXT("peakFloatAVX2", NOSPLIT, "func(n int) float32")
	n := Load(Param("n"), GP64())
	var acc [12]reg.VecVirtual
	a, b := YMM(), YMM()
	VMOVUPS(splat(f32(1.5)), a)
	VMOVUPS(splat(f32(0.5)), b)
	for i := range acc {
		acc[i] = YMM()
		VXORPS(acc[i], acc[i], acc[i])
	}
	Label("loop")
	for i := range acc {
		p := YMM()
		VMULPS(a, b, p)
		VADDPS(p, acc[i], acc[i])
	}
	DECQ(n)
	JNE(operand.LabelRef("loop"))
	for i := 1; i < len(acc); i++ {
		VADDPS(acc[i], acc[0], acc[0])
	}
	r := fold256(acc[0], a)
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}

// transpose256 emits the transposition of eight rows: dst[j][i] = src[i][j] for
// n columns, a multiple of eight.
func transpose256() {
	TEXT("transpose8AVX2", NOSPLIT, "func(dst *float32, ds int, src *float32, ss int, n int)")
	dst := Load(Param("dst"), GP64())
	ds := Load(Param("ds"), GP64())
	src := Load(Param("src"), GP64())
	ss := Load(Param("ss"), GP64())
	n := Load(Param("n"), GP64())
	SHLQ(operand.U8(2), ds)
	SHLQ(operand.U8(2), ss)
	eight := func(base, stride, three, base4 reg.Register) (m [8]operand.Mem) {
		LEAQ(operand.Mem{Base: stride, Index: stride, Scale: 2}, three)
		for i := range m {
			p := base
			if i >= 4 {
				p = base4
			}
			switch i % 4 {
			case 0:
				m[i] = operand.Mem{Base: p}
			case 1:
				m[i] = operand.Mem{Base: p, Index: stride, Scale: 1}
			case 2:
				m[i] = operand.Mem{Base: p, Index: stride, Scale: 2}
			default:
				m[i] = operand.Mem{Base: p, Index: three, Scale: 1}
			}
		}
		return m
	}
	src4, dst4 := GP64(), GP64()
	rows, to := eight(src, ss, GP64(), src4), eight(dst, ds, GP64(), dst4)
	Label("loop")
	LEAQ(operand.Mem{Base: src, Index: ss, Scale: 4}, src4)
	LEAQ(operand.Mem{Base: dst, Index: ds, Scale: 4}, dst4)
	var r, s [8]reg.VecVirtual
	for i := range r {
		r[i] = YMM()
		VMOVUPS(rows[i], r[i])
	}
	// Pairs of rows, then fours, within the halves of a register.
	for i := 0; i < 8; i += 2 {
		s[i], s[i+1] = YMM(), YMM()
		VUNPCKLPS(r[i+1], r[i], s[i])
		VUNPCKHPS(r[i+1], r[i], s[i+1])
	}
	for i := 0; i < 8; i += 4 {
		for j := range 2 {
			r[i+2*j], r[i+2*j+1] = YMM(), YMM()
			VSHUFPS(operand.U8(0x44), s[i+j+2], s[i+j], r[i+2*j])
			VSHUFPS(operand.U8(0xee), s[i+j+2], s[i+j], r[i+2*j+1])
		}
	}
	for j := range 4 {
		lo, hi := YMM(), YMM()
		VPERM2F128(operand.U8(0x20), r[j+4], r[j], lo)
		VPERM2F128(operand.U8(0x31), r[j+4], r[j], hi)
		VMOVUPS(lo, to[j])
		VMOVUPS(hi, to[j+4])
	}
	ADDQ(operand.I32(32), src)
	LEAQ(operand.Mem{Base: dst, Index: ds, Scale: 8}, dst)
	SUBQ(operand.I32(8), n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// copyRows256 emits the copy of n rows of eight floats a register.
func copyRows256(registers int) {
	TEXT(fmt.Sprintf("copyRows%dAVX2", 8*registers), NOSPLIT, "func(dst *float32, ds int, src *float32, ss int, n int)")
	dst := Load(Param("dst"), GP64())
	ds := Load(Param("ds"), GP64())
	src := Load(Param("src"), GP64())
	ss := Load(Param("ss"), GP64())
	n := Load(Param("n"), GP64())
	SHLQ(operand.U8(2), ds)
	SHLQ(operand.U8(2), ss)
	v := make([]reg.VecVirtual, registers)
	for i := range v {
		v[i] = YMM()
	}
	Label("loop")
	for i := range v {
		VMOVUPS(mem(src, 32*i), v[i])
	}
	for i := range v {
		VMOVUPS(v[i], mem(dst, 32*i))
	}
	ADDQ(ss, src)
	ADDQ(ds, dst)
	DECQ(n)
	JNE(operand.LabelRef("loop"))
	VZEROUPPER()
	RET()
}
