package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The parameters of a product tile, as productFunc in the package has them.
const productArgs = "func(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int)"

// productRows are the heights of the tiles of products.
var productRows = []int{8, 4, 2, 1}

// productTile holds the registers that product tiles of all widths share.
type productTile struct {
	rows                      int
	c, cs, b, bk, k, cont     reg.Register
	a                         []reg.Register // of rows 0 and 4
	ar, ar3, ak, columns, out reg.GPVirtual
}

// newProductTile emits the head of a tile of some rows.
func newProductTile(name string, rows int) *productTile {
	TEXT(name, NOSPLIT, productArgs)
	t := &productTile{rows: rows}
	t.c = Load(Param("c"), GP64())
	t.cs = Load(Param("cs"), GP64())
	t.a = []reg.Register{Load(Param("a"), GP64())}
	t.ar = GP64()
	Load(Param("ar"), t.ar)
	t.ak = GP64()
	Load(Param("ak"), t.ak)
	t.b = Load(Param("b"), GP64())
	t.bk = Load(Param("bk"), GP64())
	t.k = Load(Param("k"), GP64())
	t.cont = Load(Param("cont"), GP64())
	for _, stride := range []reg.Register{t.cs, t.ar, t.ak, t.bk} {
		SHLQ(operand.U8(2), stride)
	}
	if rows >= 4 {
		t.ar3 = GP64()
		LEAQ(operand.Mem{Base: t.ar, Index: t.ar, Scale: 2}, t.ar3)
	}
	if rows == 8 {
		a4 := GP64()
		LEAQ(operand.Mem{Base: t.a[0], Index: t.ar, Scale: 4}, a4)
		t.a = append(t.a, a4)
	}
	t.columns, t.out = GP64(), GP64()
	return t
}

// row is where the current element of a row of a is.
func (t *productTile) row(i int) operand.Mem {
	base := t.a[i/4]
	switch i % 4 {
	case 0:
		return operand.Mem{Base: base}
	case 1:
		return operand.Mem{Base: base, Index: t.ar, Scale: 1}
	case 2:
		return operand.Mem{Base: base, Index: t.ar, Scale: 2}
	}
	return operand.Mem{Base: base, Index: t.ar3, Scale: 1}
}

// body emits the loop over blocks of 32 of k around one step of k and, at a
// block's end, what is done with the sums of a row: store adds them to c, or
// sets c if they are those of the first block.
func (t *productTile) body(clearSums, step func(), add, store func(i int)) {
	Label("block")
	MOVQ(operand.I32(32), t.columns)
	CMPQ(t.k, t.columns)
	CMOVQLT(t.k, t.columns)
	SUBQ(t.columns, t.k)
	clearSums()
	Label("column")
	step()
	ADDQ(t.bk, t.b)
	for _, a := range t.a {
		ADDQ(t.ak, a)
	}
	DECQ(t.columns)
	JNE(operand.LabelRef("column"))
	TESTQ(t.cont, t.cont)
	JE(operand.LabelRef("store"))
	t.eachRow(add)
	Label("store")
	t.eachRow(store)
	MOVQ(operand.I32(1), t.cont)
	TESTQ(t.k, t.k)
	JNE(operand.LabelRef("block"))
	VZEROUPPER()
	RET()
}

func (t *productTile) eachRow(f func(i int)) {
	MOVQ(t.c, t.out)
	for i := range t.rows {
		f(i)
		if i+1 < t.rows {
			ADDQ(t.cs, t.out)
		}
	}
}

// product512 emits a tile of rows by 16 vecs columns.
func product512(rows, vecs int) {
	t := newProductTile(fmt.Sprintf("product%dx%dAVX512", rows, 16*vecs), rows)
	part := make([]reg.VecVirtual, rows*vecs)
	for i := range part {
		part[i] = ZMM()
	}
	clearSums := func() {
		for _, p := range part {
			VPXORD(p, p, p)
		}
	}
	step := func() {
		w := make([]reg.VecVirtual, vecs)
		for v := range w {
			w[v] = ZMM()
			VMOVUPS(mem(t.b, 64*v), w[v])
		}
		for i := range rows {
			for v := range vecs {
				p := ZMM()
				VMULPS_BCST(t.row(i), w[v], p)
				VADDPS(p, part[i*vecs+v], part[i*vecs+v])
			}
		}
	}
	add := func(i int) {
		for v := range vecs {
			VADDPS(mem(t.out, 64*v), part[i*vecs+v], part[i*vecs+v])
		}
	}
	store := func(i int) {
		for v := range vecs {
			VMOVUPS(part[i*vecs+v], mem(t.out, 64*v))
		}
	}
	t.body(clearSums, step, add, store)
}

// peakFloat512 emits n rounds of sixteen products and sums of sixteen floats
// each, all independent.
func peakFloat512() {
	TEXT("peakFloatAVX512", NOSPLIT, "func(n int) float32")
	n := Load(Param("n"), GP64())
	var acc [16]reg.VecVirtual
	a, b := broadcastDword(f32(1.5)), broadcastDword(f32(0.5))
	for i := range acc {
		acc[i] = ZMM()
		VPXORD(acc[i], acc[i], acc[i])
	}
	Label("loop")
	for i := range acc {
		p := ZMM()
		VMULPS(a, b, p)
		VADDPS(p, acc[i], acc[i])
	}
	DECQ(n)
	JNE(operand.LabelRef("loop"))
	for i := 1; i < len(acc); i++ {
		VADDPS(acc[i], acc[0], acc[0])
	}
	r := fold512(acc[0])
	VZEROUPPER()
	Store(r, ReturnIndex(0))
	RET()
}
