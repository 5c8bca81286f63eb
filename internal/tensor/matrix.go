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
