package tensor

import "math"

// RMSNorm sets y_i = (x_i r) w_i for each row of dim elements, with
// r = 1 / sqrt(mean(x x) + eps): the norm of spec/numerics.md, section 5. It
// keeps r of each row in inv, for [Machine.RMSNormBackward]. y may be x.
func (m *Machine) RMSNorm(y, inv, x, w []float32, rows, dim int, eps float32) {
	m.For(rows, rowsFor(dim, 2), func(_, from, to int) {
		for r := from; r < to; r++ {
			row := x[r*dim:][:dim]
			inv[r] = m.kernel.InverseRMS(row, eps)
			m.kernel.ScaleMul(y[r*dim:][:dim], row, w, inv[r])
		}
	})
}

// RMSNormBackward adds the gradients of [Machine.RMSNorm] to dx and dw; inv is
// what it left. With h_i = x_i r, g_i = dy_i w_i and
// M = (sum of g_i h_i in sixteen parts, folded) / dim,
//
//	dx_i = dx_i + r (g_i - h_i M)
//	dw_i = dw_i + dy_i h_i    summed over the rows as in BiasBackward
//
// A nil dw or dx is left out. dx may be dy only if dw is nil.
func (m *Machine) RMSNormBackward(dx, dw, dy, x, w, inv []float32, rows, dim int) {
	if dw != nil {
		m.sumRows(dw, rows, dim, func(p []float32, r, from, to int) {
			k, xs := inv[r], x[r*dim+from:r*dim+to]
			for i, v := range dy[r*dim+from : r*dim+to] {
				p[i] += float32(v * float32(xs[i]*k))
			}
		})
	}
	if dx == nil {
		return
	}
	m.For(rows, rowsFor(dim, 4), func(_, from, to int) {
		for r := from; r < to; r++ {
			normBackward(dx[r*dim:][:dim], dy[r*dim:][:dim], x[r*dim:][:dim], w[:dim], 0, inv[r], false)
		}
	})
}

// normBackward is the gradient of a row: of an RMS norm or, if centred, of a
// norm of x less its mean.
func normBackward(dx, dy, x, w []float32, mean, inv float32, centred bool) {
	var dots, sums [parts]float32
	n := len(x)
	dx, dy, w = dx[:n], dy[:n], w[:n]
	for i := 0; i < n; i += parts {
		end := min(i+parts, n)
		d, xs, ws := dy[i:end], x[i:end], w[i:end]
		for l, v := range d {
			g := float32(v * ws[l])
			h := float32((xs[l] - mean) * inv)
			dots[l&(parts-1)] += float32(g * h)
			sums[l&(parts-1)] += g
		}
	}
	dot := float32(fold(&dots) / float32(n))
	sum := float32(0)
	if centred {
		sum = float32(fold(&sums) / float32(n))
	}
	for i, v := range dy {
		g := float32(v * w[i])
		h := float32((x[i] - mean) * inv)
		dx[i] += float32(inv * (g - sum - float32(h*dot)))
	}
}

// LayerNorm sets y_i = ((x_i - mean) r) w_i + b_i for each row of dim elements,
// with mean = (sum of x in sixteen parts, folded) / dim, and
// r = 1 / sqrt(v + eps), v the mean of the squares of x_i - mean, in sixteen
// parts, folded. It keeps mean and r of each row for [Machine.LayerNormBackward].
// y may be x.
func (m *Machine) LayerNorm(y, mean, inv, x, w, b []float32, rows, dim int, eps float32) {
	w, b = w[:dim], b[:dim]
	n := float32(dim)
	m.For(rows, rowsFor(dim, 4), func(_, from, to int) {
		for r := from; r < to; r++ {
			xs, ys := x[r*dim:][:dim], y[r*dim:][:dim]
			u := float32(Sum(xs) / n)
			var s [parts]float32
			for i, v := range xs {
				d := v - u
				s[i%parts] += float32(d * d)
			}
			k := float32(1 / sqrt(float32(fold(&s)/n)+eps))
			for i, v := range xs {
				ys[i] = float32(float32((v-u)*k)*w[i]) + b[i]
			}
			mean[r], inv[r] = u, k
		}
	})
}

// LayerNormBackward adds the gradients of [Machine.LayerNorm] to dx, dw and
// db. With h_i = (x_i - mean) r, g_i = dy_i w_i, M = (sum of g_i h_i) / dim and
// G = (sum of g_i) / dim, both in sixteen parts, folded,
//
//	dx_i = dx_i + r (g_i - G - h_i M)
//	dw_i = dw_i + dy_i h_i,  db_i = db_i + dy_i    summed over the rows as in BiasBackward
//
// A nil dx, or dw and db, is left out. dx may be dy only if dw and db are nil.
func (m *Machine) LayerNormBackward(dx, dw, db, dy, x, w, mean, inv []float32, rows, dim int) {
	if dw != nil {
		m.BiasBackward(db, dy, rows, dim)
		m.sumRows(dw, rows, dim, func(p []float32, r, from, to int) {
			u, k, xs := mean[r], inv[r], x[r*dim+from:r*dim+to]
			for i, v := range dy[r*dim+from : r*dim+to] {
				p[i] += float32(v * float32((xs[i]-u)*k))
			}
		})
	}
	if dx == nil {
		return
	}
	m.For(rows, rowsFor(dim, 4), func(_, from, to int) {
		for r := from; r < to; r++ {
			normBackward(dx[r*dim:][:dim], dy[r*dim:][:dim], x[r*dim:][:dim], w[:dim], mean[r], inv[r], true)
		}
	})
}

// sqrt is correctly rounded: rounding a float64 root to float32 is.
func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }
