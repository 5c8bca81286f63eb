package tensor

import "github.com/avalnetwork/aval/internal/kernel"

// parts is how many partial sums a sum along a row has: element i goes into
// part i mod 16, and the parts are added as a tree (spec/numerics.md, section 5).
const parts = kernel.Panel

// fold adds sixteen partial sums: l and l+8, then 4, 2, 1.
func fold(s *[parts]float32) float32 {
	for h := parts / 2; h > 0; h /= 2 {
		for l := range h {
			s[l] += s[l+h]
		}
	}
	return s[0]
}

// Sum returns the sum of x in sixteen parts, folded.
func Sum(x []float32) float32 {
	var s [parts]float32
	for ; len(x) >= parts; x = x[parts:] {
		for l, v := range x[:parts] {
			s[l] += v
		}
	}
	for l, v := range x {
		s[l] += v
	}
	return fold(&s)
}

// Dot returns the sum of the products x_i y_i in sixteen parts, folded.
func Dot(x, y []float32) float32 {
	var s [parts]float32
	y = y[:len(x)]
	for ; len(x) >= parts; x, y = x[parts:], y[parts:] {
		a, b := (*[parts]float32)(x), (*[parts]float32)(y)
		for l := range s {
			s[l] += float32(a[l] * b[l])
		}
	}
	for l, v := range x {
		s[l] += float32(v * y[l])
	}
	return fold(&s)
}

// squaresChunk is how many squares are added in float32 before the sum goes
// on in float64.
const squaresChunk = 4096

// SumSquares returns the sum of the squares of x: of each chunk of 4096
// elements in float32, sixteen parts, folded; the chunks in float64, in order,
// from +0.
func (m *Machine) SumSquares(x []float32) float64 {
	chunks := (len(x) + squaresChunk - 1) / squaresChunk
	sums := grow(&m.work.sums, chunks)
	m.For(chunks, 16, func(_, from, to int) {
		for c := from; c < to; c++ {
			sums[c] = m.kernel.SumSquares(x[c*squaresChunk : min((c+1)*squaresChunk, len(x))])
		}
	})
	total := 0.0
	for _, s := range sums {
		total += float64(s)
	}
	return total
}

// AddBias sets y = y + b for each row of dim elements.
func (m *Machine) AddBias(y, b []float32, rows, dim int) {
	b = b[:dim]
	m.For(rows, rowsFor(dim, 1), func(_, from, to int) {
		for r := from; r < to; r++ {
			row := y[r*dim:][:dim]
			for i, v := range b {
				row[i] += v
			}
		}
	})
}

// BiasBackward adds the sum of the rows of dy to db: for each block of 32 rows
// p = +0, then p = p + dy of each row in order, then db = db + p.
func (m *Machine) BiasBackward(db, dy []float32, rows, dim int) {
	m.sumRows(db, rows, dim, func(p []float32, r, from, to int) {
		for i, v := range dy[r*dim+from : r*dim+to] {
			p[i] += v
		}
	})
}

// sumRows adds to sum the terms that add gives for each row, in blocks of 32
// rows. add adds elements from to to-1 of row r to p.
func (m *Machine) sumRows(sum []float32, rows, dim int, add func(p []float32, r, from, to int)) {
	sum = sum[:dim]
	grain := max(16, 1<<13/max(1, rows))
	m.For(dim, grain, func(_, from, to int) {
		var buf [256]float32
		for ; from < to; from += len(buf) {
			end := min(from+len(buf), to)
			for r0 := 0; r0 < rows; r0 += block {
				p := buf[:end-from]
				clear(p)
				for r := r0; r < min(r0+block, rows); r++ {
					add(p, r, from, end)
				}
				for i, v := range p {
					sum[from+i] += v
				}
			}
		}
	})
}

// Gather sets row i of y, of dim elements, to row ids[i] of table.
func (m *Machine) Gather(y, table []float32, ids []int32, dim int) {
	for i, id := range ids {
		copy(y[i*dim:][:dim], table[int(id)*dim:][:dim])
	}
}

// GatherBackward adds each row of dy, of dim elements, in order, to row ids[i]
// of dtable: a row that was gathered several times gets its terms one by one.
func (m *Machine) GatherBackward(dtable, dy []float32, ids []int32, dim int) {
	m.For(dim, max(16, 1<<14/max(1, len(ids))), func(_, from, to int) {
		for i, id := range ids {
			d := dtable[int(id)*dim+from : int(id)*dim+to]
			for j, v := range dy[i*dim+from : i*dim+to] {
				d[j] += v
			}
		}
	})
}

// Add sets y = y + x.
func (m *Machine) Add(y, x []float32) {
	m.For(len(y), 1<<14, func(_, from, to int) {
		m.kernel.Combine(y[from:to], 1, x[from:to], 1, 1)
	})
}

// AddScaled sets y = y + a * x: one product, one addition.
func (m *Machine) AddScaled(y []float32, a float32, x []float32) {
	m.For(len(y), 1<<14, func(_, from, to int) {
		m.kernel.Combine(y[from:to], 1, x[from:to], a, 1)
	})
}

// Scale sets y = y * a.
func (m *Machine) Scale(y []float32, a float32) {
	m.For(len(y), 1<<14, func(_, from, to int) {
		m.kernel.DivScale(y[from:to], y[from:to], 1, a)
	})
}
