package kernel

import (
	"fmt"
	"unsafe"
)

// chunkBlocks is how many blocks of a panel are unpacked at a time: 8 KiB of
// codes, so that they stay in the first cache while the batch goes over them.
const chunkBlocks = 16

// Kernel is one set of implementations of the arithmetic, for one instruction
// set. All kernels give the same bits.
type Kernel struct {
	name string

	// tileQ multiplies nb blocks of a panel of unpacked codes with a tile of t
	// quantised vectors: out is [t][16], scales and offs [nb][16] or, if half,
	// [nb][2][16]. If cont is 0, out is written, else added to. Index: half
	// block formats 2, formats with offsets 1.
	tileQ [4]func(t int, out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont int)
	// gemv, where it is not nil, multiplies a whole panel of a format with a
	// tile of one vector, without unpacking it to memory.
	gemv [formats]func(out *float32, w *byte, x, xe *byte, nb int)
	// tileF16 and tileF32 multiply k columns of a panel of numbers, [k][16],
	// with a tile of t vectors, [k/16][t][16], into out, [t][16].
	tileF16 func(t int, out *float32, w *uint16, x *float32, k, cont int)
	tileF32 func(t int, out *float32, w *float32, x *float32, k, cont int)

	unpack [planeKinds]func(dst, src *byte, nb int, bias byte)
	scales [scalingKinds]func(scales, offs *float32, src *byte, nb int)

	// quantize quantises nb blocks: codes [nb][32], scale [nb], the sums of
	// the codes of each half [nb][2].
	quantize func(x *float32, nb int, codes *int8, scale *float32, sums *int32)

	// The vector functions take n as a multiple of 16.
	sumSquares func(x *float32, n int) float32
	scaleMul   func(dst, x, w *float32, r float32, n int)
	addScaled  func(dst, x *float32, s float32, n int)
	silu, gelu func(dst, gate, up *float32, n int)
	// softmax takes the scores of one query, panels of 16 positions that are
	// stride floats apart: multiplied by scale, less their maximum, and
	// exponentiated in place. It returns their sum.
	softmax func(s *float32, stride, panels int, scale float32) float32

	// products are the tiles of products of float32 matrices.
	products productSet
	// transpose8 sets dst[j*ds+i] = src[i*ss+j] for eight i and a multiple n of
	// eight j; copyRows8 and copyRows32 copy n rows. May be nil.
	transpose8, copyRows8, copyRows32 func(dst *float32, ds int, src *float32, ss, n int)

	train trainSet

	// For measurements: see Stream, Peak and PeakFloat. May be nil.
	stream       func(p *byte, n int) uint64
	peak         func(rounds int) uint64
	peakOps      int // multiply-adds of a round
	peakFloat    func(rounds int) float32
	peakFloatOps int
}

// Scratch is the working memory of one goroutine.
type Scratch struct {
	codes           []byte
	scales, offsets []float32
	floats          []float32
	rowCodes        []int8
	rowScales       []float32
	rowSums         []int32
	scores          []float32
	query           []float32
	heads           []float32
}

// NewScratch returns working memory for one goroutine.
func NewScratch() *Scratch {
	return &Scratch{
		codes:   alignedBytes(chunkBlocks * 512),
		scales:  alignedFloats(chunkBlocks * 2 * Panel),
		offsets: alignedFloats(chunkBlocks * 2 * Panel),
		floats:  alignedFloats(chunkBlocks * Block * Panel),
	}
}

func alignedFloats(n int) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(alignedBytes(n*4)))), n)
}

// Name returns the kernel's name, as [Named] takes it.
func (k *Kernel) Name() string { return k.name }

// String returns the kernel's name.
func (k *Kernel) String() string { return k.name }

// All returns the kernels that this machine can run, the best one first and
// the plain Go reference last.
func All() []*Kernel {
	return append(machineKernels(), &generic)
}

// Best returns the fastest kernel of this machine.
func Best() *Kernel { return All()[0] }

// Named returns the kernel of a name, or the best one if the name is empty. It
// is an error if this machine cannot run it.
func Named(name string) (*Kernel, error) {
	all := All()
	if name == "" {
		return all[0], nil
	}
	var have []string
	for _, k := range all {
		if k.name == name {
			return k, nil
		}
		have = append(have, k.name)
	}
	return nil, fmt.Errorf("kernel %q is not available on this machine; it has %q", name, have)
}

// Mul multiplies panel p of m with every vector of a. out is [a.Len()][16]:
// element [i][r] is the product of vector i with row 16p+r. The order of every
// sum is fixed by the columns alone (spec/numerics.md, "matrix product").
func (k *Kernel) Mul(out []float32, m *Matrix, p int, a *Acts, s *Scratch) {
	if gemv := k.gemv[m.Format]; gemv != nil && a.n == 1 && a.k == m.Cols {
		gemv(&out[:Panel][0], &m.panelData(p)[0], &a.q[0], &a.qe[0], m.Cols/Block)
		return
	}
	k.MulColumns(out, m, p, a, 0, m.Cols, s)
}

// MulColumns is [Kernel.Mul] over the columns from to to-1 alone. Both are
// multiples of 256, or the end; where from is not 0, the products are added to
// what out has of the columns before.
func (k *Kernel) MulColumns(out []float32, m *Matrix, p int, a *Acts, from, to int, s *Scratch) {
	if a.k != m.Cols || len(out) < a.n*Panel || from%superBlock != 0 || to%superBlock != 0 && to != m.Cols || to > m.Cols {
		panic("kernel: internal error: shapes of a product do not match")
	}
	if m.Format.Float() {
		k.mulFloat(out, m, p, a, from, to, s)
		return
	}
	l := &layouts[m.Format]
	tile := k.tileQ[0]
	switch {
	case l.half && l.offset:
		tile = k.tileQ[3]
	case l.half:
		tile = k.tileQ[2]
	case l.offset:
		tile = k.tileQ[1]
	}
	nb := m.Cols / Block
	data := m.panelData(p)
	bias := byte(128 - l.zero)
	parts := 1
	if l.half {
		parts = 2
	}
	// Codes that are bytes already are copied only for a batch that makes up
	// for it, since groups of eight blocks are not side by side.
	step, inPlace := chunkBlocks, l.planes == bytePlane && a.n < maxTile
	if inPlace {
		step = groupBlocks
	}
	for b0 := from / Block; b0 < to/Block; b0 += step {
		blocks := min(step, to/Block-b0)
		unpacked := &s.codes[0]
		for b := 0; b < blocks; b += groupBlocks {
			codes, scales, n := l.group(data, (b0+b)/groupBlocks, nb)
			if inPlace {
				unpacked = &codes[0]
			} else {
				k.unpack[l.planes](&s.codes[b*512], &codes[0], n, bias)
			}
			k.scales[l.scaling](&s.scales[b*parts*Panel], &s.offsets[b*parts*Panel], &scales[0], n)
		}
		for i := 0; i < a.n; {
			t := tileSize(a.n - i)
			x := i*nb + b0*t
			tile(t, &out[i*Panel], unpacked, &s.scales[0], &s.offsets[0], &a.q[x*actBytes], &a.qe[x*actExtraBytes], blocks, b0)
			i += t
		}
	}
}

func (k *Kernel) mulFloat(out []float32, m *Matrix, p int, a *Acts, from, to int, s *Scratch) {
	data := unsafe.Pointer(unsafe.SliceData(m.panelData(p)))
	kp := (m.Cols + Panel - 1) / Panel * Panel
	const chunk = chunkBlocks * Block
	for c0 := from; c0 < to; c0 += chunk {
		n := min(chunk, to-c0)
		if m.Format == BF16 {
			src := unsafe.Slice((*uint16)(data), m.Cols*Panel)[c0*Panel:]
			for i := range n * Panel {
				s.floats[i] = FromBF16(src[i])
			}
		}
		for i := 0; i < a.n; {
			t := tileSize(a.n - i)
			x := &a.f[i*kp+c0*t]
			switch m.Format {
			case F16:
				k.tileF16(t, &out[i*Panel], (*uint16)(unsafe.Add(data, c0*Panel*2)), x, n, c0)
			case F32:
				k.tileF32(t, &out[i*Panel], (*float32)(unsafe.Add(data, c0*Panel*4)), x, n, c0)
			default:
				k.tileF32(t, &out[i*Panel], &s.floats[0], x, n, c0)
			}
			i += t
		}
	}
}
