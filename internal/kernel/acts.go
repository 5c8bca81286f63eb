package kernel

import (
	"unsafe"
)

// Acts is a batch of activation vectors, laid out for products with matrices:
// quantised to int8 for the quantised formats, as they are for the others.
// Vectors go in tiles of 12, 8, 4, 2 or 1 ([tileSize]), which changes no bit.
//
// A quantised tile of t vectors is, for each block of 32 columns, the codes of
// column group g of vector i at (g*t+i)*4, then t scales (float32), then t
// sums times -128 (int32): 40 bytes a vector. What the formats of half blocks
// and with offsets need besides lies apart, 20 bytes a vector and block: the
// sums times -128 of the two halves [2][t], then scale times sum of the whole
// [t] and of the halves [2][t].
//
// A float tile is [ceil(k/16)][t][16].
type Acts struct {
	n, k  int
	q, qe []byte
	f     []float32
}

const (
	actBytes      = 40
	actExtraBytes = 20
	maxTile       = 12
)

// tileSize returns the size of the tile that begins with left vectors to go.
func tileSize(left int) int {
	switch {
	case left >= 12:
		return 12
	case left >= 8:
		return 8
	case left >= 4:
		return 4
	}
	return min(left, 2)
}

// tileOf returns the first vector and the size of the tile of a batch of n
// that vector i lies in.
func tileOf(n, i int) (first, size int) {
	first = i / maxTile * maxTile
	for {
		size = tileSize(n - first)
		if i < first+size {
			return first, size
		}
		first += size
	}
}

// NewActs returns room for n vectors of k elements.
func NewActs(n, k int) *Acts {
	blocks := n * (k / Block)
	return &Acts{
		n: n, k: k,
		q:  alignedBytes(blocks * actBytes),
		qe: alignedBytes(blocks * actExtraBytes),
		f:  make([]float32, n*((k+Panel-1)/Panel)*Panel),
	}
}

// Reset makes room for n vectors of k elements, at most what the batch was
// made for.
func (a *Acts) Reset(n, k int) {
	if n*(k/Block)*actBytes > len(a.q) || n*((k+Panel-1)/Panel)*Panel > len(a.f) {
		panic("kernel: internal error: batch of activations is too small")
	}
	a.n, a.k = n, k
}

// Len returns the number of vectors.
func (a *Acts) Len() int { return a.n }

// SetFloat sets vector i for products with F32, F16 and BF16 matrices.
func (a *Acts) SetFloat(i int, x []float32) {
	first, t := tileOf(a.n, i)
	kp, whole := (a.k+Panel-1)/Panel, a.k/Panel
	dst := a.f[(first*kp+i-first)*Panel:]
	for p := range whole {
		*(*[Panel]float32)(dst[p*t*Panel:]) = *(*[Panel]float32)(x[p*Panel:])
	}
	if whole < kp {
		d := dst[whole*t*Panel:][:Panel]
		clear(d[copy(d, x[whole*Panel:a.k]):])
	}
}

// SetPanel sets elements 16j to 16j+15 of vectors from first on, as
// [Acts.SetFloat] would: rows has them sixteen a vector, as [Kernel.Mul] gives
// them. Those beyond the length of a vector must be 0.
func (a *Acts) SetPanel(j, first int, rows []float32) {
	kp := (a.k + Panel - 1) / Panel
	for i := first; len(rows) > 0; i, rows = i+1, rows[Panel:] {
		tile, t := tileOf(a.n, i)
		copy(a.f[(tile*kp+j*t+i-tile)*Panel:][:Panel], rows)
	}
}

// PartSize is what the vectors of a [Acts.Part] must begin with a multiple of.
const PartSize = maxTile

// Part makes b the vectors from to to-1 of a, without copying them. from, and to
// if it is not the end, must be a multiple of [PartSize].
func (a *Acts) Part(b *Acts, from, to int) {
	if from%PartSize != 0 || to%PartSize != 0 && to != a.n || from > to || to > a.n {
		panic("kernel: internal error: part of a batch is cut where no tile ends")
	}
	nb, kp := a.k/Block, (a.k+Panel-1)/Panel
	*b = Acts{n: to - from, k: a.k, q: a.q[from*nb*actBytes:], qe: a.qe[from*nb*actExtraBytes:], f: a.f[from*kp*Panel:]}
}

// Share returns a batch of the same memory with a length of its own.
func (a *Acts) Share() *Acts {
	b := *a
	return &b
}

// Quantize quantises a vector block by block, a multiple of 32 elements, into
// the scratch memory, from where [Acts.SetQuantized] takes it.
func (k *Kernel) Quantize(x []float32, s *Scratch) {
	nb := len(x) / Block
	if len(s.rowScales) < nb {
		s.rowCodes = make([]int8, nb*Block)
		s.rowScales = make([]float32, nb)
		s.rowSums = make([]int32, nb*2)
	}
	k.quantize(&x[0], nb, &s.rowCodes[0], &s.rowScales[0], &s.rowSums[0])
}

// SetQuantized sets vector i, for products with the quantised formats, to what
// [Kernel.Quantize] left in s.
func (a *Acts) SetQuantized(i int, s *Scratch) {
	nb := a.k / Block
	first, t := tileOf(a.n, i)
	q := a.q[first*nb*actBytes:]
	qe := a.qe[first*nb*actExtraBytes:]
	for b := range nb {
		scatterBlock(q[b*t*actBytes:], qe[b*t*actExtraBytes:], t, i-first, s, b)
	}
}

// scatterBlock puts block b of the row just quantised into its lane of a tile.
func scatterBlock(q, qe []byte, t, lane int, s *Scratch, b int) {
	dst := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(q))), t*actBytes/4)
	src := (*[8]uint32)(unsafe.Pointer(&s.rowCodes[b*Block]))
	for g := range 8 {
		dst[g*t+lane] = src[g]
	}
	scale, lo, hi := s.rowScales[b], s.rowSums[2*b], s.rowSums[2*b+1]
	dst[8*t+lane] = *(*uint32)(unsafe.Pointer(&scale))
	dst[9*t+lane] = uint32(-128 * (lo + hi))
	extra := unsafe.Slice((*uint32)(unsafe.Pointer(unsafe.SliceData(qe))), t*actExtraBytes/4)
	extra[lane] = uint32(-128 * lo)
	extra[t+lane] = uint32(-128 * hi)
	xs := [3]float32{float32(scale * float32(lo+hi)), float32(scale * float32(lo)), float32(scale * float32(hi))}
	bits := (*[3]uint32)(unsafe.Pointer(&xs))
	extra[2*t+lane] = bits[0]
	extra[3*t+lane] = bits[1]
	extra[4*t+lane] = bits[2]
}

// alignedBytes returns n bytes that begin at a multiple of 64.
func alignedBytes(n int) []byte {
	b := make([]byte, n+64)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) & 63)
	return b[off : off+n : off+n]
}
