package model

import (
	"fmt"
	"sync"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/quant"
)

// loader takes the tensors of a file. It runs twice over the same calls: first
// it checks types and shapes and adds up the memory, then it packs.
type loader struct {
	header  Header
	file    *gguf.File // nil if the weights are only described
	config  *config
	threads int
	parts   map[any]Part // of what was described, by the address of the stand-in

	adapters []Adapter
	lows     map[string][]*low // of the tensors that adapters change

	packing bool
	arena   *arena
	packed  map[string][]*kernel.Matrix
	total   int
	used    map[string]bool
	floats  bool
	quants  bool
	err     error
}

func (l *loader) fail(name, format string, args ...any) {
	if l.err == nil {
		l.err = &FileError{"tensor " + name, fmt.Sprintf(format, args...), false}
	}
}

// load fills m's weights.
func (l *loader) load(m *Model) error {
	l.packed = map[string][]*kernel.Matrix{}
	for _, l.packing = range []bool{false, true} {
		if l.packing {
			var err error
			if l.arena, err = newArena(l.total); err != nil {
				return fmt.Errorf("memory for %d bytes of weights: %w", l.total, err)
			}
		}
		l.used = map[string]bool{}
		l.lows = map[string][]*low{}
		l.walk(m)
		if l.err != nil {
			return l.err
		}
		for _, t := range l.file.Tensors() {
			if !l.used[t.Name] {
				l.fail(t.Name, "architecture %s with %d layers has no such part, and without it this would be another model", l.config.Arch, l.config.Layers)
				return l.err
			}
		}
	}
	m.arena, m.packed = l.arena, l.packed
	m.weights.floats, m.weights.quantized = l.floats, l.quants
	return nil
}

// walk takes every tensor of the architecture, in the order of the file's use.
func (l *loader) walk(m *Model) {
	c := l.config
	w := &m.weights
	if l.embedding(w); l.err != nil {
		return
	}
	l.output(w)
	w.layers = w.layers[:0]
	for i := range c.Layers {
		if l.err != nil {
			return
		}
		y := m.arch.tensors(l, i)
		y.layerConfig, y.index = c.layers[i], i
		w.layers = append(w.layers, y)
	}
	for i := range c.ropes {
		p := &c.ropes[i]
		factors := l.factors(p)
		for _, f := range factors {
			if !(f > 0) {
				l.fail(p.factors, "holds %g, want positive numbers", f)
			}
		}
		if l.packing && l.err == nil {
			if p.frequencies(c.rotary, factors); !p.fit(c.limit) {
				l.failRope(p)
			}
		}
	}
	if c.Arch == "phi3" { // which of the two sets applies depends on the context
		l.used["rope_factors_short.weight"] = true
		l.used["rope_factors_long.weight"] = true
	}
}

// embedding takes the matrix that has a row for every token.
func (l *loader) embedding(w *weights) {
	c := l.config
	e := l.header.Tensor("token_embd.weight")
	if e == nil || len(e.Shape) != 2 {
		l.fail("token_embd.weight", "is missing or not a matrix")
		return
	}
	if c.Vocab = e.Shape[1]; c.Vocab > maxVocab {
		l.fail(e.Name, "%d tokens are too many, limit %d", c.Vocab, maxVocab)
		return
	}
	w.embedding = l.take("token_embd.weight", 0, c.Vocab, c.Vocab, c.Dim)
	w.rows = l.rowUpdates(c.Vocab, c.Dim)
}

// output takes what follows the layers, after the embedding.
func (l *loader) output(w *weights) {
	c := l.config
	w.output = w.embedding
	if l.header.Tensor("output.weight") != nil {
		w.output = l.take("output.weight", 0, c.Vocab, c.Vocab, c.Dim)
	}
	w.norm = l.floatsOf("output_norm.weight", c.Dim)
}

// factors returns the numbers that divide the frequencies of p, or nil.
func (l *loader) factors(p *rope) []float32 {
	if p.factors == "" || l.header.Tensor(p.factors) == nil {
		return nil
	}
	return l.floatsOf(p.factors, l.config.rotary/2)
}

// failRope says why rotary angles are out of bounds.
func (l *loader) failRope(p *rope) {
	if p.scale > 1 {
		l.err = &FileError{"metadata " + l.config.Arch + ".rope.scaling.factor", fmt.Sprintf("is too small for a context of %d", l.config.limit), false}
		return
	}
	l.fail(p.factors, "holds numbers too small for a context of %d", l.config.limit)
}

func layerName(i int, name string) string { return fmt.Sprintf("blk.%d.%s", i, name) }

// vector returns the n numbers of a tensor of layer i.
func (l *loader) vector(i int, name string, n int) []float32 {
	return l.floatsOf(layerName(i, name), n)
}

// optional is vector, or nil if the file has no such tensor.
func (l *loader) optional(i int, name string, n int) []float32 {
	if l.header.Tensor(layerName(i, name)) == nil {
		return nil
	}
	return l.vector(i, name, n)
}

// matrix returns a tensor of layer i of rows outputs and cols inputs.
func (l *loader) matrix(i int, name string, rows, cols int) *matrix {
	return l.take(layerName(i, name), 0, rows, rows, cols)
}

// rows returns n rows of a tensor of layer i, from first on; the tensor has
// all rows.
func (l *loader) rows(i int, name string, first, n, all, cols int) *matrix {
	return l.take(layerName(i, name), first, n, all, cols)
}

func (l *loader) failMissing(name string) {
	l.fail(name, "is missing; architecture %s with %d layers needs it", l.config.Arch, l.config.Layers)
}

// notFinite says that a tensor holds what no result can come of. The cache of
// keys and values would hide it: there a number that is none becomes 0.
const notFinite = "holds a NaN or an infinity"

func (l *loader) floatsOf(name string, n int) []float32 {
	t := l.header.Tensor(name)
	l.used[name] = true
	switch {
	case t == nil:
		l.failMissing(name)
		return nil
	case t.Rows() != 1 || t.Shape[0] != n:
		l.fail(name, "has shape %v, want [%d]", t.Shape, n)
		return nil
	case t.Type != gguf.F32 && t.Type != gguf.F16 && t.Type != gguf.BF16:
		l.fail(name, "has type %v, want F32, F16 or BF16", t.Type)
		return nil
	case l.parts != nil:
		v := make([]float32, n)
		l.parts[&v[0]] = Part{Tensor: t, Rows: 1, Cols: n}
		return v
	case !l.packing:
		return nil
	}
	v, src := make([]float32, n), make([]byte, t.Size)
	if _, err := l.file.Reader(t).ReadAt(src, 0); err != nil {
		l.fail(name, "%v", err)
	} else if err := quant.Dequantize(t.Type, src, v); err != nil {
		l.fail(name, "%v", err)
	} else if !quant.Finite(t.Type, src) {
		l.fail(name, notFinite)
	}
	return v
}

// take checks a tensor of all rows by cols and packs n of its rows.
func (l *loader) take(name string, first, n, all, cols int) *matrix {
	t := l.header.Tensor(name)
	l.used[name] = true
	if t == nil {
		l.failMissing(name)
		return nil
	}
	if t.Shape[0] != cols || t.Rows() != all {
		l.fail(name, "has shape %v, want [%d %d]", t.Shape, cols, all)
		return nil
	}
	format, err := quant.PackFormat(t.Type)
	if err != nil {
		l.fail(name, "%v", err)
		return nil
	}
	if cols%format.Granule() != 0 {
		l.fail(name, "has rows of %d elements, type %v needs a multiple of %d", cols, t.Type, format.Granule())
		return nil
	}
	if l.parts != nil {
		m := &matrix{Matrix: &kernel.Matrix{Rows: n, Cols: cols, Format: format}}
		l.parts[m] = Part{Tensor: t, First: first, Rows: n, Cols: cols}
		return m
	}
	if !l.packing {
		l.total += arenaSize(kernel.MatrixBytes(format, n, cols))
		l.updates(name, first, n)
		return nil
	}
	m, err := kernel.NewMatrix(format, n, cols, l.arena.take(kernel.MatrixBytes(format, n, cols)))
	if err != nil {
		l.fail(name, "%v", err)
		return nil
	}
	if format.Float() {
		l.floats = true
	} else {
		l.quants = true
	}
	l.pack(m, t, first)
	l.packed[name] = append(l.packed[name], m)
	return &matrix{Matrix: m, updates: l.updates(name, first, n)}
}

// pack fills m from the rows of t from first on, panels side by side. The file
// is read, not mapped: mapping half a gigabyte page by page takes longer than
// copying it, and what is read leaves nothing behind in this process's memory.
func (l *loader) pack(m *kernel.Matrix, t *gguf.Tensor, first int) {
	size := t.RowSize()
	file := l.file.Reader(t)
	errs := make([]error, l.threads)
	var wg sync.WaitGroup
	per := (m.Panels() + l.threads - 1) / l.threads
	for i := range l.threads {
		wg.Go(func() {
			buf := make([]byte, kernel.Panel*size)
			for p := i * per; p < min((i+1)*per, m.Panels()); p++ {
				row := p * kernel.Panel
				src := buf[:min(kernel.Panel, m.Rows-row)*size]
				if _, errs[i] = file.ReadAt(src, int64((first+row)*size)); errs[i] != nil {
					return
				}
				if !quant.Finite(t.Type, src) {
					errs[i] = fmt.Errorf("%s in rows %d to %d", notFinite, first+row, first+row+len(src)/size-1)
					return
				}
				quant.Pack(m, t.Type, p, src)
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			l.fail(t.Name, "%v", err)
		}
	}
}
