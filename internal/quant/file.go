package quant

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"github.com/avalnetwork/aval/gguf"
)

const (
	// chunkWeights is about how many weights are worked on at a time; with the
	// number of processors it bounds the memory.
	chunkWeights = 1 << 18
	// formatVersion is general.quantization_version: the block layouts that
	// decode.go describes are ggml's version 2.
	formatVersion = 2
)

// QuantizeFile writes the model src to a new file at path, with the types that
// the recipe gives. All metadata is kept. The file appears under its name when
// it is complete; an error or the end of ctx leaves nothing. progress, if not
// nil, is told the bytes of tensor data written and to write, from the calling
// goroutine.
//
// The bytes do not depend on the number of processors. Memory stays at a few
// megabytes a processor, whatever the model's size.
func QuantizeFile(ctx context.Context, src *gguf.File, path string, r Recipe, progress func(done, total int64)) error {
	return RewriteFile(ctx, src, path, &r, nil, progress)
}

// Change alters the weights of whole rows of a tensor, from row on. It is
// called from several goroutines.
type Change func(row int, y []float32)

// RewriteFile is [QuantizeFile] with a change of some tensors: those for whose
// names changes does not return nil. Without a recipe each tensor keeps its
// type; that of a changed one is rounded to it again.
func RewriteFile(ctx context.Context, src *gguf.File, path string, r *Recipe, changes func(name string) Change, progress func(done, total int64)) error {
	outs, err := rewrite(src, r, changes)
	if err != nil {
		return err
	}
	w, err := gguf.Create(path)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := w.SetFrom(src); err != nil {
		return err
	}
	if r != nil {
		if err := SetVersions(w, *r); err != nil {
			return err
		}
	}
	if err := writeTensors(ctx, w, outs, progress); err != nil {
		return err
	}
	return w.Close()
}

// rewrite plans what becomes of each tensor.
func rewrite(src *gguf.File, r *Recipe, changes func(name string) Change) ([]outTensor, error) {
	tensors := src.Tensors()
	outs := make([]outTensor, len(tensors))
	var types []gguf.Type
	if r != nil {
		arch, _ := src.String("general.architecture")
		layers, _ := src.Uint(arch + ".block_count")
		types = r.Types(int(min(layers, 1<<20)), tensors)
	}
	for i, t := range tensors {
		o := &outs[i]
		*o = outTensor{name: t.Name, typ: t.Type, shape: t.Shape, finish: func() { src.Release(t) }}
		if r != nil {
			o.typ = types[i]
		}
		var change Change
		if changes != nil {
			change = changes(t.Name)
		}
		size := t.RowSize()
		switch {
		case o.typ == t.Type && change == nil:
			o.raw = func(row, n int) []byte { return src.Data(t)[row*size : (row+n)*size] }
		case o.typ != t.Type && isQuantized(t.Type) && !r.Requantize:
			return nil, fmt.Errorf("quant: tensor %q is already %v and would become %v, which adds up the errors of both: start from an F32, F16 or BF16 file, or allow it",
				t.Name, t.Type, o.typ)
		default:
			o.read = func(row, n int, y []float32) error {
				err := Dequantize(t.Type, src.Data(t)[row*size:(row+n)*size], y)
				if err == nil && change != nil {
					change(row, y)
				}
				return err
			}
		}
	}
	return outs, nil
}

// SetVersions sets the metadata that tells readers the version of the block
// layouts and, for people, the recipe.
func SetVersions(w *gguf.Writer, r Recipe) error {
	if err := w.Set("general.quantization_version", gguf.ValueOf(uint32(formatVersion))); err != nil {
		return err
	}
	return w.Set("general.file_type", gguf.ValueOf(r.FileType))
}

func isQuantized(t gguf.Type) bool {
	return t != gguf.F32 && t != gguf.F16 && t != gguf.BF16
}

// outTensor is a tensor to be written: where its rows come from and what they
// become.
type outTensor struct {
	name  string
	typ   gguf.Type
	shape []int
	// raw gives the bytes of n rows to copy; or else read gives their weights.
	// Both are called from several goroutines.
	raw    func(row, n int) []byte
	read   func(row, n int, y []float32) error
	finish func() // called when the tensor is written; may be nil
}

func (t *outTensor) rows() int {
	n := 1
	for _, d := range t.shape[1:] {
		n *= d
	}
	return n
}

// chunk is some rows of a tensor on their way to the file.
type chunk struct {
	t         *outTensor
	row, n    int
	first     bool
	last      bool
	out       []byte
	completed chan error
}

// make computes the chunk's bytes; y is scratch memory that it may replace.
func (c *chunk) make(y *[]float32) error {
	if c.t.raw != nil {
		c.out = c.t.raw(c.row, c.n)
		return nil
	}
	weights := c.n * c.t.shape[0]
	if cap(*y) < weights {
		*y = make([]float32, weights)
	}
	if err := c.t.read(c.row, c.n, (*y)[:weights]); err != nil {
		return err
	}
	elems, size := c.t.typ.Block()
	c.out = make([]byte, weights/elems*size)
	if err := quantizeFrom(c.row*c.t.shape[0], c.t.typ, (*y)[:weights], c.out); err != nil {
		return fmt.Errorf("quant: tensor %q: %w", c.t.name, err)
	}
	return nil
}

// writeTensors declares and writes all tensors. Chunks of rows are computed by
// one goroutine a processor and written in order.
func writeTensors(ctx context.Context, w *gguf.Writer, outs []outTensor, progress func(done, total int64)) error {
	for _, t := range outs {
		if err := w.Declare(t.name, t.typ, t.shape...); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()

	workers := runtime.GOMAXPROCS(0)
	work := make(chan *chunk)
	order := make(chan *chunk, 2*workers) // what bounds the chunks in memory
	running.Go(func() {
		defer close(order)
		defer close(work)
		for c := range chunks(outs) {
			select {
			case order <- c:
			case <-ctx.Done():
				return
			}
			select {
			case work <- c:
			case <-ctx.Done():
				return
			}
		}
	})
	for range workers {
		running.Go(func() {
			var y []float32
			for c := range work {
				c.completed <- c.make(&y)
			}
		})
	}
	return writeChunks(ctx, w, order, dataSize(outs), progress)
}

func writeChunks(ctx context.Context, w *gguf.Writer, order <-chan *chunk, total int64, progress func(done, total int64)) error {
	var done int64
	for c := range order {
		select {
		case err := <-c.completed:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		if c.first {
			if err := w.Start(c.t.name); err != nil {
				return err
			}
		}
		if _, err := w.Write(c.out); err != nil {
			return err
		}
		if c.last && c.t.finish != nil {
			c.t.finish()
		}
		done += int64(len(c.out))
		if progress != nil {
			progress(done, total)
		}
	}
	return ctx.Err()
}

// chunks yields all tensors' rows in file order.
func chunks(outs []outTensor) func(yield func(*chunk) bool) {
	return func(yield func(*chunk) bool) {
		for i := range outs {
			t := &outs[i]
			rows := t.rows()
			step := max(1, chunkWeights/t.shape[0])
			for row := 0; row < rows; row += step {
				n := min(step, rows-row)
				c := &chunk{
					t: t, row: row, n: n, first: row == 0, last: row+n == rows,
					completed: make(chan error, 1), // never blocks a worker
				}
				if !yield(c) {
					return
				}
			}
		}
	}
}

func dataSize(outs []outTensor) int64 {
	var n int64
	for i := range outs {
		elems, size := outs[i].typ.Block()
		n += int64(outs[i].rows()) * int64(outs[i].shape[0]/elems) * int64(size)
	}
	return n
}
