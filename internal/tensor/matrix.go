package tensor

// Matrix is a view of a row-major matrix: element (i, j) is
// Data[i*Stride+j], or Data[j*Stride+i] if Transposed. Rows and Cols count what
// the view shows, after the transposition.
type Matrix struct {
	Data       []float32
	Rows, Cols int
	Stride     int
	Transposed bool
}

// Of returns the matrix of rows by cols whose rows follow each other in data.
func Of(data []float32, rows, cols int) Matrix {
	if rows < 0 || cols < 0 || len(data) < rows*cols {
		panic("tensor: internal error: matrix is larger than its data")
	}
	return Matrix{Data: data[:rows*cols], Rows: rows, Cols: cols, Stride: cols}
}

// T returns the transposed matrix of the same memory.
func (a Matrix) T() Matrix {
	a.Rows, a.Cols, a.Transposed = a.Cols, a.Rows, !a.Transposed
	return a
}

// View returns the part of rows by cols elements that begins at (row, col), in
// the same memory.
func (a Matrix) View(row, col, rows, cols int) Matrix {
	if row < 0 || col < 0 || rows < 0 || cols < 0 || row+rows > a.Rows || col+cols > a.Cols {
		panic("tensor: internal error: view reaches over its matrix")
	}
	first, last := a.index(row, col), a.index(row, col)
	if rows > 0 && cols > 0 {
		last = a.index(row+rows-1, col+cols-1) + 1
	}
	a.Data = a.Data[min(first, len(a.Data)):min(last, len(a.Data))]
	a.Rows, a.Cols = rows, cols
	return a
}

// At returns element (row, col).
func (a Matrix) At(row, col int) float32 { return a.Data[a.index(row, col)] }

func (a Matrix) index(row, col int) int {
	if a.Transposed {
		row, col = col, row
	}
	return row*a.Stride + col
}

// check panics if an element of the matrix lies outside of its data.
func (a Matrix) check() {
	if a.Rows < 0 || a.Cols < 0 || a.Rows > 0 && a.Cols > 0 && a.index(a.Rows-1, a.Cols-1) >= len(a.Data) {
		panic("tensor: internal error: matrix is larger than its data")
	}
}

// block is how many terms of a sum are added before the sum of those before is
// added to them (spec/numerics.md, section 4.2).
const block = 32

// Mul sets c = a b, of shapes [m,n] = [m,k] [k,n]. Element (i, j) starts at +0;
// for each block of 32 of k in order, p = +0; then p = p + a(i,l) b(l,j) for
// each l of the block in order; then c(i,j) = c(i,j) + p. c must not overlap a
// or b.
func (m *Machine) Mul(c, a, b Matrix) { m.product(c, a, b, false) }

// MulAdd continues the sums of [Machine.Mul] from what c holds: the sums of
// the blocks are added to it one by one.
func (m *Machine) MulAdd(c, a, b Matrix) { m.product(c, a, b, true) }

func (m *Machine) product(c, a, b Matrix, add bool) {
	if a.Rows != c.Rows || b.Cols != c.Cols || a.Cols != b.Rows {
		panic("tensor: internal error: shapes of a product do not match")
	}
	a.check()
	b.check()
	c.check()
	if c.Rows == 0 || c.Cols == 0 {
		return
	}
	grain := 1 + 1<<16/max(1, a.Cols*c.Cols)
	m.For(c.Rows, grain, func(w, from, to int) { m.ones[w].rows(c, a, b, add, from, to) })
}

// rows computes rows from to to-1 of a product.
func (m *Machine) rows(c, a, b Matrix, add bool, from, to int) {
	n := c.Cols
	y := grow(&m.work.rows, 2*n)
	p := y[n:]
	y = y[:n]
	bi, bj := 1, b.Stride
	if !b.Transposed {
		bi, bj = b.Stride, 1
	}
	for i := from; i < to; i++ {
		clear(y)
		if add {
			for j := range y {
				y[j] = c.Data[c.index(i, j)]
			}
		}
		for l0 := 0; l0 < a.Cols; l0 += block {
			clear(p)
			for l := l0; l < min(l0+block, a.Cols); l++ {
				v := a.Data[a.index(i, l)]
				if bj == 1 {
					for j, w := range b.Data[l*bi:][:n] {
						p[j] += float32(v * w)
					}
					continue
				}
				for j := range p {
					p[j] += float32(v * b.Data[l*bi+j*bj])
				}
			}
			for j := range y {
				y[j] += p[j]
			}
		}
		for j, v := range y {
			c.Data[c.index(i, j)] = v
		}
	}
}
