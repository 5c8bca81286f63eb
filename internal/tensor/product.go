package tensor

import "github.com/avalnetwork/aval/internal/kernel"

// block is how many terms of a sum are added before their sum is added to that
// of the blocks before (spec/numerics.md, section 4.2).
const block = kernel.Block

// A product is cut into pieces of c for the threads, and each piece into parts
// whose panels of a and b stay in the caches while they are used. No cut
// divides a block of 32 of k, so none changes a sum. k itself is never padded:
// padding adds outputs that nobody reads, not terms to a sum, so no infinity or
// NaN can come from it.
const (
	partDepth = 256 // of k, a multiple of block
	partRows  = 96  // of a, a multiple of kernel.ProductRows
	partCols  = 256 // of b, a multiple of kernel.ProductCols

	// pieceWork is how many multiply-adds are worth a thread's while.
	pieceWork = 1 << 18
	// fewRows is up to how many rows of a it does not pay to pack b, and
	// fewCols up to how many columns of b to pack a.
	fewRows = 2 * kernel.ProductRows
	fewCols = kernel.ProductCols
)

// product is a matrix product under way.
type product struct {
	m       *Machine
	c, a, b Matrix // c is not transposed unless scatter
	add     bool
	scatter bool              // c is transposed
	down    int               // pieces in a column of pieces
	across  int               // pieces in a row of pieces
	piece   func(w, i, j int) // the method pieces, bound once
}

func (p *product) init(m *Machine) {
	p.m = m
	p.piece = p.pieces
}

// Mul sets c = a b, of shapes [m,n] = [m,k] [k,n]. Element (i, j) starts at +0;
// for each block of 32 of k in order, p = +0; then p = p + a(i,l) b(l,j) for
// each l of the block in order; then c(i,j) = c(i,j) + p. c must not overlap a
// or b.
func (m *Machine) Mul(c, a, b Matrix) { m.mul.run(c, a, b, false) }

// MulAdd continues the sums of [Machine.Mul] from what c holds: the sums of
// the blocks are added to it one by one.
func (m *Machine) MulAdd(c, a, b Matrix) { m.mul.run(c, a, b, true) }

func (p *product) run(c, a, b Matrix, add bool) {
	if a.Rows != c.Rows || b.Cols != c.Cols || a.Cols != b.Rows {
		panic("tensor: internal error: shapes of a product do not match")
	}
	a.check()
	b.check()
	c.check()
	if a.Cols == 0 {
		for i := range c.Rows {
			for j := range c.Cols {
				if !add {
					c.Data[c.index(i, j)] = 0
				}
			}
		}
	}
	if c.Rows == 0 || c.Cols == 0 || a.Cols == 0 {
		return
	}
	// c^T = b^T a^T. Lanes hold columns of c: a c of few columns and many rows
	// is computed as its transpose, and its results are scattered.
	narrow := c.Cols <= kernel.ProductRows && c.Rows > 2*c.Cols
	if wide := c.Rows <= kernel.ProductRows && c.Cols > 2*c.Rows; c.Transposed && !wide || !c.Transposed && narrow {
		c, a, b = c.T(), b.T(), a.T()
	}
	p.c, p.a, p.b, p.add, p.scatter = c, a, b, add, c.Transposed
	p.cut()
	p.m.For(p.down*p.across, 1, p.piece)
	p.c, p.a, p.b = Matrix{}, Matrix{}, Matrix{}
}

// cut chooses the pieces: more than threads, if there is work enough, and as
// near to squares as powers of two allow, since a piece packs its own rows of a
// and columns of b.
func (p *product) cut() {
	p.down, p.across = 1, 1
	threads := len(p.m.ones)
	if threads == 1 {
		return
	}
	rows, cols := p.c.Rows, p.c.Cols
	want := min(threads*piecesPerThread, rows*cols*max(p.a.Cols, 1)/pieceWork)
	for p.down*p.across < want {
		tall := rows/p.down >= 2*kernel.ProductRows
		wide := cols/p.across >= 2*kernel.ProductCols
		switch {
		case tall && (!wide || rows/p.down >= cols/p.across):
			p.down *= 2
		case wide:
			p.across *= 2
		default:
			return
		}
	}
}

// pieces computes pieces from to to-1 on a worker.
func (p *product) pieces(worker, from, to int) {
	w := &p.m.ones[worker].work
	for i := from; i < to; i++ {
		r0, r1 := share(p.c.Rows, kernel.ProductRows, i%p.down, p.down)
		c0, c1 := share(p.c.Cols, kernel.ProductCols, i/p.down, p.across)
		p.compute(w, r0, r1, c0, c1)
	}
}

// share returns the bounds of part i of n, in units of some size.
func share(n, unit, i, parts int) (from, to int) {
	units := (n + unit - 1) / unit
	return min(n, i*units/parts*unit), min(n, (i+1)*units/parts*unit)
}

// operand is a part of a or b as the kernel takes it. The panel of a that
// begins with row i, or of b with column i, is at data[i*step]; in it, element
// (i, l) of a is at i*ar + l*ak, and row l of b at l*bk, or where the rows of a
// tile follow each other if bk is 0.
type operand struct {
	data       []float32
	step       int
	ar, ak, bk int
}

// compute computes the outputs in rows r0 to r1-1 and columns c0 to c1-1.
func (p *product) compute(w *scratch, r0, r1, c0, c1 int) {
	depth := p.a.Cols
	for k0 := 0; k0 < depth; k0 += partDepth {
		kn := min(partDepth, depth-k0)
		add := p.add || k0 > 0
		for j0 := c0; j0 < c1; j0 += partCols {
			jn := min(partCols, c1-j0)
			b := p.packB(w, k0, kn, j0, jn, r1-r0 > fewRows)
			for i0 := r0; i0 < r1; i0 += partRows {
				in := min(partRows, r1-i0)
				a := p.packA(w, k0, kn, i0, in, jn > fewCols)
				for j := 0; j < jn; j += kernel.ProductCols {
					for i := 0; i < in; i += kernel.ProductRows {
						p.tile(w, &a, &b, i0, i, min(kernel.ProductRows, in-i), j0, j, min(kernel.ProductCols, jn-j), kn, add)
					}
				}
			}
		}
	}
}

// packA packs in rows from i0 on of a, columns k0 on, in panels of eight rows,
// [k][8], unless the kernel can as well take them where they are. Rows that
// fill the last panel are not set: no output depends on them.
func (p *product) packA(w *scratch, k0, kn, i0, in int, pay bool) operand {
	const rows = kernel.ProductRows
	a := &p.a
	src := a.Data[a.index(i0, k0):]
	switch {
	case pay:
	case a.Transposed:
		return operand{data: src, step: 1, ar: 1, ak: a.Stride}
	default:
		return operand{data: src, step: a.Stride, ar: a.Stride, ak: 1}
	}
	dst := grow(&w.a, partRows*partDepth)
	k := p.m.kernel
	for i := 0; i < in; i += rows {
		n := min(rows, in-i)
		if a.Transposed {
			k.CopyRows(dst[i*kn:], rows, src[i:], a.Stride, kn, n)
		} else {
			k.Transpose(dst[i*kn:], rows, src[i*a.Stride:], a.Stride, n, kn)
		}
	}
	return operand{data: dst, step: kn, ar: 1, ak: rows}
}

// packB packs jn columns from j0 on of b, rows k0 on, in panels of 32 columns,
// [k][32], or 16 for the last one if that is enough, unless the kernel can as
// well take them where they are. Columns that fill the last panel are zero;
// what they give is not stored.
func (p *product) packB(w *scratch, k0, kn, j0, jn int, pay bool) operand {
	b := &p.b
	src := b.Data[b.index(k0, j0):]
	if !pay && !b.Transposed && jn%kernel.Panel == 0 {
		return operand{data: src, step: 1, bk: b.Stride}
	}
	dst := grow(&w.b, partCols*partDepth)
	k := p.m.kernel
	for j := 0; j < jn; j += kernel.ProductCols {
		n := min(kernel.ProductCols, jn-j)
		width := panelWidth(n)
		panel := dst[j*kn:][:kn*width]
		if n < width {
			clear(panel)
		}
		if b.Transposed {
			k.Transpose(panel, width, src[j*b.Stride:], b.Stride, n, kn)
		} else {
			k.CopyRows(panel, width, src[j:], b.Stride, kn, n)
		}
	}
	return operand{data: dst, step: kn}
}

// panelWidth is the width of the tile for n columns.
func panelWidth(n int) int {
	if n <= kernel.Panel {
		return kernel.Panel
	}
	return kernel.ProductCols
}

// tile computes rows by cols outputs from (i0+i, j0+j) on. Those that do not
// fill a tile, or are to be scattered, go through working memory.
func (p *product) tile(w *scratch, a, b *operand, i0, i, rows, j0, j, cols, kn int, add bool) {
	width := panelWidth(cols)
	av, bv, bk := a.data[i*a.step:], b.data[j*b.step:], b.bk
	if bk == 0 {
		bk = width
	}
	c := &p.c
	k := p.m.kernel
	if width == cols && !p.scatter {
		k.Product(rows, width, c.Data[(i0+i)*c.Stride+j0+j:], c.Stride, av, a.ar, a.ak, bv, bk, kn, add)
		return
	}
	t := w.tile
	ci, cj := c.Stride, 1
	if p.scatter {
		ci, cj = 1, c.Stride
	}
	out := c.Data[(i0+i)*ci+(j0+j)*cj:]
	if add {
		for r := range rows {
			for s := range cols {
				t[r*width+s] = out[r*ci+s*cj]
			}
		}
	}
	k.Product(rows, width, t, width, av, a.ar, a.ak, bv, bk, kn, add)
	for r := range rows {
		for s := range cols {
			out[r*ci+s*cj] = t[r*width+s]
		}
	}
}
