package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"
)

// The tests of this file run every kernel of this machine against the plain Go
// reference and compare bits.

func eachKernel(t *testing.T, f func(t *testing.T, k *Kernel)) {
	t.Helper()
	for _, k := range All() {
		t.Run(k.name, func(t *testing.T) { f(t, k) })
	}
}

func newRand(t *testing.T) *rand.Rand {
	return rand.New(rand.NewPCG(1, uint64(len(t.Name()))))
}

// extremes are values that a kernel could treat differently.
var extremes = []float32{
	0, float32(math.Copysign(0, -1)), 1, -1, 127, -127, 0.5, 1.5, 2.5, 1e-45, -1e-45, 1e-38, 1e-30, -1e-30,
	3.4e38, -3.4e38, 65504, 88.37626, 88.4, -87.33654, -87.34, 1e-7,
}

var nonFinite = []float32{float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}

func floats(r *rand.Rand, n int, special []float32) []float32 {
	f := alignedFloats(n + 3)[r.IntN(4):][:n] // any alignment of a float
	for i := range f {
		switch {
		case special != nil && r.IntN(9) == 0:
			f[i] = special[r.IntN(len(special))]
		default:
			f[i] = float32(r.NormFloat64())
		}
	}
	return f
}

func bytesOf(r *rand.Rand, n int) []byte {
	b := alignedBytes(n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// same compares bits; NaN equals NaN, whose payload is not defined.
func same(t *testing.T, what string, got, want []float32) {
	t.Helper()
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) && (got[i] == got[i] || want[i] == want[i]) {
			t.Fatalf("%s: element %d is %g (%#08x), want %g (%#08x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// randomMatrix fills every byte with random codes and sane random scales.
func randomMatrix(t *testing.T, r *rand.Rand, f Format, rows, cols int) *Matrix {
	t.Helper()
	m, err := NewMatrix(f, rows, cols, nil)
	if err != nil {
		t.Fatal(err)
	}
	half := func() uint16 { return uint16(r.Uint32())&0x8000 | uint16(0x2000+r.IntN(0x1c00)) }
	for row := range rows {
		if f.Float() {
			b := make([]byte, cols*4)
			for c := range cols {
				v := float32(r.NormFloat64())
				switch f {
				case F32:
					*(*float32)(unsafe.Pointer(&b[c*4])) = v
				case F16:
					*(*uint16)(unsafe.Pointer(&b[c*2])) = ToF16Sat(v)
				default:
					*(*uint16)(unsafe.Pointer(&b[c*2])) = uint16(math.Float32bits(v) >> 16)
				}
			}
			m.SetFloats(row, b)
			continue
		}
		for b := range cols / Block {
			var codes [8]uint32
			for i := range codes {
				codes[i] = r.Uint32() & (uint32(codeMask[layouts[f].planes]) * 0x01010101)
			}
			m.SetCodes(row, b, &codes)
			if f.Granule() == Block {
				m.SetScale(row, b, half(), half())
			}
		}
		if f.Granule() == superBlock {
			n := 8
			if layouts[f].half {
				n = 16
			}
			for b := range cols / superBlock {
				sc, of := make([]int8, n), make([]int8, n)
				for i := range sc {
					sc[i], of[i] = int8(r.IntN(64)), int8(r.IntN(64))
				}
				m.SetSuper(row, b, half(), half(), sc, of)
			}
		}
	}
	return m
}

var codeMask = [planeKinds]byte{bytePlane: 255, nibbles: 15, nibblesBit: 31, nibbles2: 63, pairs: 3, pairsBit: 7, table4: 15}

// TestMulAgainstRows compares the product with a direct sum over the weights
// that Row gives, within rounding: it holds the reference to the meaning of
// the formats.
func TestMulAgainstRows(t *testing.T) {
	r := newRand(t)
	s := NewScratch()
	for f := range formats {
		const rows, cols, n = 19, 512, 3
		m := randomMatrix(t, r, f, rows, cols)
		a := NewActs(n, cols)
		a.Reset(n, cols)
		x := make([][]float32, n)
		for i := range n {
			x[i] = floats(r, cols, nil)
			a.SetFloat(i, x[i])
			generic.Quantize(x[i], s)
			a.SetQuantized(i, s)
		}
		out := make([]float32, n*Panel)
		w := make([]float32, cols)
		for row := range rows {
			generic.Mul(out, m, row/Panel, a, s)
			m.Row(w, row, s)
			for i := range n {
				sum, size := 0.0, 0.0
				for c := range cols {
					sum += float64(w[c]) * float64(x[i][c])
					size += math.Abs(float64(w[c]) * float64(x[i][c]))
				}
				if got := float64(out[i*Panel+row%Panel]); math.Abs(got-sum) > 0.01*size {
					t.Errorf("%v row %d vector %d: %g, want about %g", f, row, i, got, sum)
				}
			}
		}
	}
}

func TestMul(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		r := newRand(t)
		s := NewScratch()
		for f := range formats {
			for _, cols := range []int{32, 96, 256, 512, 768, 896, 1280} {
				if cols%f.Granule() != 0 {
					continue
				}
				if f.Float() {
					cols -= r.IntN(20)
				}
				m := randomMatrix(t, r, f, 16, cols)
				for _, n := range []int{1, 2, 3, 4, 7, 8, 11, 12, 13, 26, 29} {
					what := fmt.Sprintf("%v, %d columns, %d vectors", f, cols, n)
					a, b := NewActs(n, cols), NewActs(n, cols)
					for i := range n {
						x := floats(r, cols, extremes)
						a.SetFloat(i, x)
						b.SetFloat(i, x)
						if !f.Float() {
							k.Quantize(x, s)
							a.SetQuantized(i, s)
							generic.Quantize(x, s)
							b.SetQuantized(i, s)
						}
					}
					got, want := make([]float32, n*Panel), make([]float32, n*Panel)
					k.Mul(got, m, 0, a, s)
					generic.Mul(want, m, 0, b, s)
					same(t, what, got, want)
					// In parts, the columns give what they give at once.
					for from := 0; from < cols; from += 512 {
						k.MulColumns(got, m, 0, a, from, min(from+512, cols), s)
					}
					same(t, what+", in parts", got, want)
					// Alone, each vector gives what it gives in the batch.
					one := NewActs(1, cols)
					i := r.IntN(n)
					x := floats(r, cols, extremes)
					one.SetFloat(0, x)
					a.SetFloat(i, x)
					if !f.Float() {
						k.Quantize(x, s)
						one.SetQuantized(0, s)
						a.SetQuantized(i, s)
					}
					k.Mul(got, m, 0, a, s)
					alone := make([]float32, Panel)
					k.Mul(alone, m, 0, one, s)
					same(t, what+", alone", alone, got[i*Panel:][:Panel])
				}
			}
		}
	})
}

func TestUnpackAndScales(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		r := newRand(t)
		for p := range planeKinds {
			for _, nb := range []int{1, 2, 8, 16} {
				src := bytesOf(r, nb*planeBytes[p])
				got, want := alignedBytes(nb*512), alignedBytes(nb*512)
				bias := byte(r.IntN(129)) // a code plus its bias is at most 255
				k.unpack[p](&got[0], &src[0], nb, bias)
				generic.unpack[p](&want[0], &src[0], nb, bias)
				if string(got) != string(want) {
					t.Errorf("planes %d, %d blocks: codes differ", p, nb)
				}
			}
		}
		for sc := range scalingKinds {
			for _, nb := range []int{8, 16} {
				src := bytesOf(r, sc.bytes(nb))
				got, want := make([]float32, nb*64), make([]float32, nb*64)
				k.scales[sc](&got[0], &got[nb*32], &src[0], nb)
				generic.scales[sc](&want[0], &want[nb*32], &src[0], nb)
				same(t, fmt.Sprintf("scaling %d, %d blocks", sc, nb), got, want)
			}
		}
	})
}

func TestVectors(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		r := newRand(t)
		for round := range 200 {
			n := 16 * (1 + r.IntN(40))
			special := extremes
			if round%2 == 1 {
				special = append(special[:len(special):len(special)], nonFinite...)
			}
			x, w, scale := floats(r, n, special), floats(r, n, special), float32(r.NormFloat64())
			got, want := make([]float32, n), make([]float32, n)

			same(t, "sumSquares", []float32{k.sumSquares(&x[0], n)}, []float32{generic.sumSquares(&x[0], n)})
			k.scaleMul(&got[0], &x[0], &w[0], scale, n)
			generic.scaleMul(&want[0], &x[0], &w[0], scale, n)
			same(t, "scaleMul", got, want)
			k.silu(&got[0], &x[0], &w[0], n)
			generic.silu(&want[0], &x[0], &w[0], n)
			same(t, "silu", got, want)
			k.gelu(&got[0], &x[0], &w[0], n)
			generic.gelu(&want[0], &x[0], &w[0], n)
			same(t, "gelu", got, want)

			stride := 16 * (1 + r.IntN(3))
			panels := (n-16)/stride + 1
			copy(got, x)
			copy(want, x)
			a := k.softmax(&got[0], stride, panels, scale)
			b := generic.softmax(&want[0], stride, panels, scale)
			same(t, "softmax", append(got, a), append(want, b))
		}
	})
}

func TestQuantize(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		r := newRand(t)
		for round := range 500 {
			nb := 1 + r.IntN(9)
			special := extremes
			if round%3 == 2 {
				special = nonFinite
			}
			x := floats(r, nb*Block, special)
			if round%3 == 1 { // halves between two codes
				for i := range x {
					x[i] = float32(r.IntN(255)-127) / 2
				}
				x[0] = 63.5
			}
			var c [2][]int8
			var sc [2][]float32
			var su [2][]int32
			for i, k := range []*Kernel{k, &generic} {
				c[i], sc[i], su[i] = make([]int8, nb*Block), make([]float32, nb), make([]int32, nb*2)
				k.quantize(&x[0], nb, &c[i][0], &sc[i][0], &su[i][0])
			}
			if fmt.Sprint(c[0], su[0]) != fmt.Sprint(c[1], su[1]) {
				t.Fatalf("codes or sums differ:\n%v %v\n%v %v\nof %v", c[0], su[0], c[1], su[1], x)
			}
			same(t, "scales", sc[0], sc[1])
		}
	})
}

// TestAttend checks attention against a direct computation, and that neither
// the kernel nor the cut into batches changes a bit.
func TestAttend(t *testing.T) {
	for _, h := range []Heads{
		{Dim: 8, Group: 2, Scale: 0.35},
		{Dim: 64, Group: 7, Scale: 0.125},
		{Dim: 96, Group: 1, Scale: 0.1, Window: 33},
		{Dim: 80, Group: 3, Scale: 0.1, Softcap: 5},
		{Dim: 128, Group: 4, Scale: 0.1, Window: 300, Softcap: 30},
	} {
		t.Run(fmt.Sprint(h), func(t *testing.T) {
			r := newRand(t)
			const positions, off = 600, 64
			var pages []*Page
			for range (positions + PageLen - 1) / PageLen {
				pages = append(pages, &Page{make([]uint16, off+KVSize(h.Dim))})
			}
			keys, values := floats(r, positions*h.Dim, nil), floats(r, positions*h.Dim, nil)
			for p := range positions {
				Store(pages[p/PageLen].Data[off:], p%PageLen, keys[p*h.Dim:(p+1)*h.Dim], values[p*h.Dim:(p+1)*h.Dim])
			}
			q := floats(r, positions*h.Group*h.Dim, nil)
			want := make([]float32, len(q))
			s := NewScratch()
			generic.Attend(want, q, &h, pages, off, 0, s)
			for range 20 {
				row := r.IntN(positions * h.Group)
				direct := directAttention(&h, q[row*h.Dim:][:h.Dim], keys, values, row/h.Group)
				for d, x := range direct {
					if math.Abs(x-float64(want[row*h.Dim+d])) > 2e-3 {
						t.Fatalf("row %d dim %d: %g, want about %g", row, d, want[row*h.Dim+d], x)
					}
				}
			}
			for _, k := range All() {
				got := make([]float32, len(q))
				for p := 0; p < positions; {
					n := min(1+r.IntN(40), positions-p)
					at, end := p*h.Group*h.Dim, (p+n)*h.Group*h.Dim
					k.Attend(got[at:end], q[at:end], &h, pages, off, p, s)
					p += n
				}
				same(t, k.name, got, want)
			}
		})
	}
}

func directAttention(h *Heads, q, keys, values []float32, pos int) []float64 {
	lo := 0
	if h.Window > 0 {
		lo = max(0, pos+1-h.Window)
	}
	out, sum := make([]float64, h.Dim), 0.0
	for p := lo; p <= pos; p++ {
		dot := 0.0
		for d := range h.Dim {
			dot += float64(q[d]) * float64(keys[p*h.Dim+d])
		}
		dot *= float64(h.Scale)
		if h.Softcap > 0 {
			dot = float64(h.Softcap) * math.Tanh(dot/float64(h.Softcap))
		}
		e := math.Exp(dot)
		sum += e
		for d := range out {
			out[d] += e * float64(values[p*h.Dim+d])
		}
	}
	for d := range out {
		out[d] /= sum
	}
	return out
}

// TestExport takes keys and values out of one head's memory and puts them into
// another's.
func TestExport(t *testing.T) {
	for _, dim := range []int{2, 6, 16, 24, 64} {
		a, b := make([]uint16, KVSize(dim)), make([]uint16, KVSize(dim))
		key, value := make([]float32, dim), make([]float32, dim)
		var keys, values [][]byte
		for pos := range PageLen {
			for d := range dim {
				key[d], value[d] = float32(pos*3+d)/16, -float32(pos*5+d)/16
			}
			Store(a, pos, key, value)
			k, v := make([]byte, 2*dim), make([]byte, 2*dim)
			Export(k, v, a, pos)
			for d := range dim {
				if got := FromF16(uint16(k[2*d]) | uint16(k[2*d+1])<<8); got != key[d] {
					t.Fatalf("dim %d, position %d: key %d is %v, want %v", dim, pos, d, got, key[d])
				}
			}
			keys, values = append(keys, k), append(values, v)
		}
		// Runs of all lengths at all places of a panel.
		for first := range Panel {
			for n := range Panel - first + 1 {
				clear(b)
				for pos := 0; pos < PageLen; pos += Panel {
					Import(b, pos, keys[pos:pos+first], values[pos:pos+first])
					Import(b, pos+first, keys[pos+first:][:n], values[pos+first:][:n])
					Import(b, pos+first+n, keys[pos+first+n:pos+Panel], values[pos+first+n:pos+Panel])
				}
				if !slices.Equal(a, b) {
					t.Errorf("dim %d, %d positions, %d and the rest: the two differ", dim, first, n)
				}
			}
		}
	}
}

func BenchmarkImport(b *testing.B) {
	const dim = 64
	kv := make([]uint16, KVSize(dim))
	keys := slices.Repeat([][]byte{make([]byte, 2*dim)}, Panel)
	b.SetBytes(Panel * 2 * 2 * dim)
	for b.Loop() {
		Import(kv, 3*Panel, keys, keys)
	}
}
