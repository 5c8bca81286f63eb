// Package merge puts low-rank adapters into the weights of a model, as a file
// that needs them no more and that other programs load: call [File].
//
// Every weight is defined bit for bit (spec/numerics.md, section 8.3), so that
// anybody who has the model and the adapters can make the same file. A merged
// model does not compute the same bits as the model with its adapters, because
// its matrices are rounded to their type again. Running adapters without merging is the
// work of internal/model.
package merge

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"sync"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/quant"
)

// Adapter is an adapter with the scale that it is used with; 1 is what it was
// trained for.
type Adapter struct {
	LoRA  *adapter.Adapter
	Scale float32
}

// File writes the model base with the adapters added, in their order, to a new
// file at path. Without a recipe every tensor keeps its type; with one the
// types are those of [quant.QuantizeFile], whose progress and promises hold here
// too. Errors are those of [adapter.Adapter.Fit] and [quant.RewriteFile].
func File(ctx context.Context, base *gguf.File, list []Adapter, path string, r *quant.Recipe, progress func(done, total int64)) error {
	for _, a := range list {
		if err := a.LoRA.CheckScale(a.Scale); err != nil {
			return fmt.Errorf("merge: a scale of %v: %w", a.Scale, err)
		}
		if err := a.LoRA.Fit(base); err != nil {
			return err
		}
	}
	return quant.RewriteFile(ctx, base, path, r, func(name string) quant.Change { return changeOf(list, name) }, progress)
}

// changeOf is what the adapters do to one tensor, or nil.
func changeOf(list []Adapter, name string) quant.Change {
	var changes []quant.Change
	for _, a := range list {
		for i := range a.LoRA.Updates {
			if u := &a.LoRA.Updates[i]; u.Name == name {
				changes = append(changes, change(u, a.LoRA.Scale(u, a.Scale)))
			}
		}
	}
	if changes == nil {
		return nil
	}
	return func(row int, y []float32) {
		for _, f := range changes {
			f(row, y)
		}
	}
}

// change adds s B A to rows. Row i of B A is the product of row i of B, a
// vector, with the columns of A, which the kernel takes as the rows of a matrix.
func change(u *adapter.Update, s float32) quant.Change {
	k := kernel.Best()
	columns, vectors := transposed(u), u.B // [In][Rank], [Out][Rank]
	if u.Name == adapter.Embedding {
		columns, vectors = u.B, u.A
	}
	// Made when the first rows come, so that not all tensors' are there at once.
	matrix := sync.OnceValue(func() *kernel.Matrix { return packed(columns, u.In, u.Rank) })
	return func(row int, y []float32) {
		m, n := matrix(), len(y)/u.In
		acts, scratch := kernel.NewActs(n, u.Rank), kernel.NewScratch()
		for i := range n {
			acts.SetFloat(i, vectors[(row+i)*u.Rank:(row+i+1)*u.Rank])
		}
		out := make([]float32, n*kernel.Panel)
		for p := range m.Panels() {
			k.Mul(out, m, p, acts, scratch)
			first := p * kernel.Panel
			width := min(kernel.Panel, u.In-first)
			for i := range n {
				k.AddScaled(y[i*u.In+first:][:width], out[i*kernel.Panel:], s)
			}
		}
	}
}

// transposed is A by columns.
func transposed(u *adapter.Update) []float32 {
	if u.Name == adapter.Embedding {
		return nil
	}
	t := make([]float32, len(u.A))
	for r := range u.Rank {
		for c := range u.In {
			t[c*u.Rank+r] = u.A[r*u.In+c]
		}
	}
	return t
}

func packed(v []float32, rows, cols int) *kernel.Matrix {
	m, err := kernel.NewMatrix(kernel.F32, rows, cols, nil)
	if err != nil {
		panic("merge: internal error: " + err.Error())
	}
	row := make([]byte, 4*cols)
	for r := range rows {
		for c, x := range v[r*cols : (r+1)*cols] {
			binary.LittleEndian.PutUint32(row[4*c:], math.Float32bits(x))
		}
		m.SetFloats(r, row)
	}
	return m
}
