package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// unit is a vector unit that has no dot product of bytes.
type unit struct {
	suffix string // of the names of its functions
	wide   bool   // 512 bits, not 256
}

func (u unit) vec() reg.VecVirtual {
	if u.wide {
		return ZMM()
	}
	return YMM()
}

// size is the width of a register in bytes.
func (u unit) size() int {
	if u.wide {
		return 64
	}
	return 32
}

func (u unit) clear(v reg.VecVirtual) {
	if u.wide {
		VPXORD(v, v, v)
	} else {
		VPXOR(v, v, v)
	}
}

func (u unit) load(m operand.Mem, v reg.VecVirtual) {
	if u.wide {
		VMOVDQU64(m, v)
	} else {
		VMOVDQU(m, v)
	}
}

func (u unit) move(src, dst reg.VecVirtual) {
	if u.wide {
		VMOVDQA64(src, dst)
	} else {
		VMOVDQA(src, dst)
	}
}

// mulBroadcast emits dst = a * the number at m.
func (u unit) mulBroadcast(m operand.Mem, a, dst reg.VecVirtual) {
	if u.wide {
		VMULPS_BCST(m, a, dst)
		return
	}
	t := YMM()
	VBROADCASTSS(m, t)
	VMULPS(t, a, dst)
}

// splats holds the constants that lie in memory.
var splats = map[uint32]operand.Mem{}

// splat returns 32 bytes of memory that repeat x.
func splat(x uint32) operand.Mem {
	m, ok := splats[x]
	if !ok {
		m = GLOBL(fmt.Sprintf("splat%08x", x), RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, operand.U32(x))
		}
		splats[x] = m
	}
	return m
}

// constant returns an operand that repeats x: a register, or memory where the
// function has none to spare.
func (u unit) constant(x uint32, spare bool) operand.Op {
	if !spare && !u.wide {
		return splat(x)
	}
	v := u.vec()
	VPBROADCASTD(splat(x), v)
	return v
}

// tile is one function that multiplies blocks of a panel with a few vectors of
// a tile. Registers are few and there is no dot product of bytes, so:
//
// A pass takes n vectors, of a tile of t, whose lanes are at a run-time stride;
// the caller cuts tiles into passes. It takes all sixteen rows or, where n
// dots a register of rows would be too many, only the first eight.
//
// VPMADDUBSW multiplies unsigned by signed bytes and adds pairs in 16 bits,
// saturating. Three forms of the codes w keep within that:
//
//   - any: |w| times x with the sign of w, from -2*128*128 to 2*128*127. For few
//     vectors the sign is applied by an instruction of its own; for many, x is
//     inverted where w is negative, which is -x - 1, and the sum of those |w|,
//     the same for all vectors, is added afterwards.
//   - centred, in [-32, 31]: (w + 32) times x, of two groups of columns added
//     before they are widened: at most 4*63*127. The sum of x takes the 32 back.
//   - small, in [0, 63]: w times x, of two groups.
type codeForm uint8

const (
	anyCodes codeForm = iota
	centredCodes
	smallCodes
)

type tile struct {
	unit
	n            int // vectors
	rows         int // of the panel: 16 or 8
	form         codeForm
	half, offset bool // form of the scales

	out, codes, scales, offs, x, xe, stride, odd reg.GPVirtual

	// lines is the number of registers that a column group of the rows takes.
	lines      int
	acc, dot   []reg.VecVirtual // [n][lines]; acc only if it fits, else it is in out
	ones, bias operand.Op
	zero       reg.VecVirtual   // wide only
	minus      []reg.VecVirtual // [lines]: sums of -|w| over the negative w, if x is inverted
}

func (k *tile) name() string {
	s := fmt.Sprintf("tileQ%d", k.n)
	switch {
	case k.half && k.offset:
		s += "HalfOffset"
	case k.half:
		s += "Half"
	case k.offset:
		s += "Offset"
	case k.form == centredCodes:
		s += "Centred"
	}
	return s + k.suffix
}

func (k *tile) emit() {
	TEXT(k.name(), NOSPLIT, "func(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int)")
	k.stride = Load(Param("t"), GP64()).(reg.GPVirtual)
	k.out = Load(Param("out"), GP64()).(reg.GPVirtual)
	k.codes = Load(Param("codes"), GP64()).(reg.GPVirtual)
	k.scales = Load(Param("scales"), GP64()).(reg.GPVirtual)
	if k.offset {
		k.offs = Load(Param("offs"), GP64()).(reg.GPVirtual)
	}
	k.x = Load(Param("x"), GP64()).(reg.GPVirtual)
	if k.half || k.offset {
		k.xe = Load(Param("xe"), GP64()).(reg.GPVirtual)
	}
	nb := Load(Param("nb"), GP64())
	cont := Load(Param("cont"), GP64())

	SHLQ(operand.U8(2), k.stride)
	k.odd = GP64() // strides: 3, or 9 for whole blocks
	if k.half {
		LEAQ(operand.Mem{Base: k.stride, Index: k.stride, Scale: 2}, k.odd)
	} else {
		LEAQ(operand.Mem{Base: k.stride, Index: k.stride, Scale: 8}, k.odd)
	}
	k.lines = k.rows * 4 / k.size()
	spare := k.n < 12
	k.ones = k.constant(0x00010001, spare)
	zero := uint32(0x80808080) // code of zero, so is its complement
	if k.form == centredCodes {
		zero = 0xa0a0a0a0 // 32 - 128
	}
	k.bias = k.constant(zero, spare)
	if k.wide {
		k.zero = k.vec()
		k.clear(k.zero)
	}
	k.begin(cont)

	Label("block")
	parts := 1
	if k.half {
		parts = 2
	}
	for h := range parts {
		k.dots(h, 8/parts)
		k.add(h)
	}
	if k.half || k.offset {
		LEAQ(operand.Mem{Base: k.xe, Index: k.stride, Scale: 4}, k.xe)
		ADDQ(k.stride, k.xe)
	}
	ADDQ(operand.I32(64*parts), k.scales)
	if k.offset {
		ADDQ(operand.I32(64*parts), k.offs)
	}
	LEAQ(operand.Mem{Base: k.x, Index: k.stride, Scale: 2}, k.x) // over the scales and sums
	DECQ(nb)
	JNE(operand.LabelRef("block"))

	for i, a := range k.acc {
		VMOVUPS(a, k.outAt(i/k.lines, i%k.lines))
	}
	VZEROUPPER()
	RET()
}

func (k *tile) outAt(i, r int) operand.Mem { return mem(k.out, 64*i+k.size()*r) }

// begin emits the load, or clearing, of what the products are added to.
func (k *tile) begin(cont reg.Register) {
	for range k.n * k.lines {
		k.dot = append(k.dot, k.vec())
	}
	if k.n == 1 || k.wide {
		for range k.dot {
			a := k.vec()
			k.clear(a)
			k.acc = append(k.acc, a)
		}
		TESTQ(cont, cont)
		JE(operand.LabelRef("block"))
		for i, a := range k.acc {
			VMOVUPS(k.outAt(i/k.lines, i%k.lines), a)
		}
		return
	}
	TESTQ(cont, cont)
	JNE(operand.LabelRef("block"))
	zero := k.vec()
	k.clear(zero)
	for i := range k.dot {
		VMOVUPS(zero, k.outAt(i/k.lines, i%k.lines))
	}
}

// at returns the memory of vector i, some strides beyond base.
func (k *tile) at(base reg.Register, strides, i int) operand.Mem {
	m := mem(base, 4*i)
	switch strides {
	case 0:
	case 3, 9:
		m.Index, m.Scale = k.odd, 1
	default:
		m.Index, m.Scale = k.stride, uint8(strides)
	}
	return m
}

// dots emits the dot products over the groups of columns of part h of a block,
// and leaves codes and x behind them.
func (k *tile) dots(h, groups int) {
	for i := range k.n {
		d := k.dot[i*k.lines : (i+1)*k.lines]
		if k.form != centredCodes {
			for _, d := range d {
				k.clear(d)
			}
			continue
		}
		sum := k.at(k.x, 9, i) // times -128; wanted is -32
		if k.half {
			sum = k.at(k.xe, h, i)
		}
		VPBROADCASTD(sum, d[0])
		VPSRAD(operand.U8(2), d[0], d[0])
		for _, e := range d[1:] {
			k.move(d[0], e)
		}
	}
	step, size := k.step, 1
	switch {
	case k.form != anyCodes:
		step, size = k.stepSmall, 2
	case k.inverts():
		step = k.stepInvert
		k.minus = nil
		for range k.lines {
			v := k.vec()
			k.clear(v)
			k.minus = append(k.minus, v)
		}
	}
	if k.n == 1 {
		for range groups / size {
			step()
		}
		return
	}
	n := GP64()
	MOVQ(operand.I32(groups/size), n)
	label := fmt.Sprintf("groups%d", h)
	Label(label)
	step()
	DECQ(n)
	JNE(operand.LabelRef(label))
	for r, m := range k.minus {
		VPMADDWD(k.ones, m, m)
		for i := range k.n {
			d := k.dot[i*k.lines+r]
			VPSUBD(m, d, d)
		}
	}
}

// inverts says whether x is inverted where a code of any form is negative.
func (k *tile) inverts() bool { return k.form == anyCodes && k.n > 2 && !k.wide }

// stepInvert emits the products of codes of any size with one group of columns.
func (k *tile) stepInvert() {
	for r := range k.lines {
		negative, abs, p := k.vec(), k.vec(), k.vec()
		k.load(mem(k.codes, k.size()*r), abs)
		VPCMPGTB(splat(0xffffffff), abs, negative) // codes below 128
		VPXOR(k.bias, abs, abs)
		VPABSB(abs, abs)
		VPMADDUBSW(negative, abs, p)
		VPADDW(p, k.minus[r], k.minus[r])
		for i := range k.n {
			p := k.vec()
			VPBROADCASTD(k.at(k.x, 0, i), p)
			VPXOR(negative, p, p)
			VPMADDUBSW(p, abs, p)
			VPMADDWD(k.ones, p, p)
			d := k.dot[i*k.lines+r]
			VPADDD(p, d, d)
		}
	}
	ADDQ(operand.I32(64), k.codes)
	ADDQ(k.stride, k.x)
}

// activations returns a function that emits the load of a group of a vector:
// once for all lines if registers allow.
func (k *tile) activations() func(g, i int) reg.VecVirtual {
	loaded := map[[2]int]reg.VecVirtual{}
	return func(g, i int) reg.VecVirtual {
		v := loaded[[2]int{g, i}]
		if v == nil {
			v = k.vec()
			VPBROADCASTD(k.at(k.x, g, i), v)
			if k.n <= 2 && k.lines > 1 {
				loaded[[2]int{g, i}] = v
			}
		}
		return v
	}
}

// step emits the products of codes of any size with one group of columns.
func (k *tile) step() {
	if k.n == 1 {
		PREFETCHT0(mem(k.codes, prefetchDistance))
	}
	activation := k.activations()
	for r := range k.lines {
		w, abs := k.vec(), k.vec()
		k.load(mem(k.codes, k.size()*r), w)
		var negative reg.OpmaskVirtual
		if k.wide {
			VPXORD(k.bias, w, w)
			negative = K()
			VPMOVB2M(w, negative)
		} else {
			VPXOR(k.bias, w, w)
		}
		VPABSB(w, abs)
		for i := range k.n {
			x, p := activation(0, i), k.vec()
			if k.wide {
				p = x
				VPSUBB(x, k.zero, negative, x)
			} else {
				VPSIGNB(w, x, p)
			}
			VPMADDUBSW(p, abs, p)
			VPMADDWD(k.ones, p, p)
			d := k.dot[i*k.lines+r]
			VPADDD(p, d, d)
		}
	}
	ADDQ(operand.I32(64), k.codes)
	ADDQ(k.stride, k.x)
}

// stepSmall emits the products of small codes with two groups of columns.
func (k *tile) stepSmall() {
	activation := k.activations()
	for r := range k.lines {
		var w [2]reg.VecVirtual
		for g := range w {
			w[g] = k.vec()
			k.load(mem(k.codes, 64*g+k.size()*r), w[g])
			VPADDB(k.bias, w[g], w[g])
		}
		for i := range k.n {
			var p [2]reg.VecVirtual
			for g := range p {
				x := activation(g, i)
				p[g] = k.vec()
				VPMADDUBSW(x, w[g], p[g])
			}
			VPADDW(p[1], p[0], p[0])
			VPMADDWD(k.ones, p[0], p[0])
			d := k.dot[i*k.lines+r]
			VPADDD(p[0], d, d)
		}
	}
	ADDQ(operand.I32(128), k.codes)
	LEAQ(operand.Mem{Base: k.x, Index: k.stride, Scale: 2}, k.x)
}

// add emits the scaling of the dots of part h and adds them to what is there.
func (k *tile) add(h int) {
	for i := range k.n {
		xscale, xsum := k.at(k.x, 0, i), k.at(k.xe, 2, i)
		if k.half {
			xscale, xsum = k.at(k.x, 4-4*h, i), k.at(k.xe, 3+h, i)
		}
		for r := range k.lines {
			d := k.dot[i*k.lines+r]
			line := 64*h + k.size()*r
			VCVTDQ2PS(d, d)
			VMULPS(mem(k.scales, line), d, d)
			k.mulBroadcast(xscale, d, d)
			acc := d
			if k.acc != nil {
				acc = k.acc[i*k.lines+r]
				VADDPS(d, acc, acc)
			} else {
				VADDPS(k.outAt(i, r), d, d)
			}
			if k.offset {
				o := k.vec()
				VMOVUPS(mem(k.offs, line), o)
				k.mulBroadcast(xsum, o, o)
				VADDPS(o, acc, acc)
			}
			if k.acc == nil {
				VMOVUPS(acc, k.outAt(i, r))
			}
		}
	}
}

// tileSet emits every function of a unit.
func tileSet(u unit) {
	for _, form := range []tile{
		{form: anyCodes},
		{form: centredCodes},
		{form: smallCodes, offset: true},
		{form: centredCodes, half: true},
		{form: smallCodes, half: true, offset: true},
	} {
		for _, n := range []int{1, 2, 4, 12} {
			k := form
			k.unit, k.n, k.rows = u, n, 16
			if n == 12 && !u.wide {
				k.rows = 8
			}
			k.emit()
		}
	}
}
