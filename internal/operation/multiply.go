package operation

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/avalnetwork/aval/internal/kernel"
)

// actsKey names a vector in one of its two forms.
type actsKey struct {
	vector    vector
	quantised bool
}

// multiply computes an operation that is a product with a matrix through the
// kernels; done is false if it is none, or the matrix is not at hand.
func (r *reader) multiply(op int) (done bool, err error) {
	p := r.values.plan.ops[op].product
	if p == nil {
		return false, nil
	}
	matrices := r.src.Matrices(p.part.Tensor.Name)
	if matrices == nil {
		return false, nil
	}
	rows := 0
	for _, m := range matrices {
		if m.Cols != p.part.Cols || m.Format.Float() == quantised(p.part.Tensor.Type) {
			return false, fmt.Errorf("operation: a matrix of %s is %v with %d columns, want %v with %d", p.part.Tensor.Name, m.Format, m.Cols, p.part.Tensor.Type, p.part.Cols)
		}
		rows += m.Rows
	}
	if rows != p.part.Rows {
		return false, fmt.Errorf("operation: the matrices of %s have %d rows, want %d", p.part.Tensor.Name, rows, p.part.Rows)
	}
	a, err := r.activations(p)
	if err != nil {
		return false, err
	}
	out := r.values.ops[op]
	for _, m := range matrices {
		// Leaves lie in the order of the columns, then of the rows.
		panels(m.Panels(), func(j int, y []float32, s *kernel.Scratch) {
			n := min(kernel.Panel, m.Rows-j*kernel.Panel)
			for c := range p.parts {
				if p.parts == 1 {
					r.kernel.Mul(y, m, j, a, s)
				} else {
					r.kernel.MulColumns(y, m, j, a, c*p.cols, min((c+1)*p.cols, m.Cols), s)
				}
				putAll(out[4*(c*rows+j*kernel.Panel):], y[:n])
			}
		})
		out = out[4*m.Rows:]
	}
	return true, nil
}

// activations gives the vector of a product as the kernels take it.
func (r *reader) activations(p *product) (*kernel.Acts, error) {
	key := actsKey{p.acts.vector, quantised(p.part.Tensor.Type)}
	if a := r.acts[key]; a != nil {
		return a, nil
	}
	l := needs{plan: r.values.plan}
	l.vector(key.vector, 0, key.vector.n)
	b, err := r.input(l.list[0].Input)
	if err != nil {
		return nil, err
	}
	x := floats(b[l.list[0].skip:][:l.list[0].size])
	a := kernel.NewActs(1, len(x))
	if key.quantised {
		s := kernel.NewScratch()
		r.kernel.Quantize(x, s)
		a.SetQuantized(0, s)
	} else {
		a.SetFloat(0, x)
	}
	r.acts[key] = a
	return a, nil
}

// panels calls f for all of n panels, with room for the products of one, on
// all processors.
func panels(n int, f func(j int, y []float32, s *kernel.Scratch)) {
	share(n, 32, func(from, to int) {
		y, s := make([]float32, kernel.Panel), kernel.NewScratch()
		for j := from; j < to; j++ {
			f(j, y, s)
		}
	})
}

// share calls f for pieces of 0 to n-1 of some size, on all processors.
func share(n, size int, f func(from, to int)) {
	pieces := (n + size - 1) / size
	workers := min(runtime.GOMAXPROCS(0), pieces)
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)-1) * size
			if i >= n {
				return
			}
			f(i, min(i+size, n))
		}
	}
	if workers <= 1 {
		work()
		return
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(work)
	}
	wg.Wait()
}
