package model

import (
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/quant"
)

// Matrix reads and packs the rows of a part of f, whose header d describes,
// with the given number of goroutines. Numbers that are not finite are a
// [FileError].
func (d *Description) Matrix(f *gguf.File, p Part, threads int) (*kernel.Matrix, error) {
	format, err := quant.PackFormat(p.Tensor.Type)
	if err != nil {
		return nil, fmt.Errorf("tensor %s: %w", p.Tensor.Name, err)
	}
	m, err := kernel.NewMatrix(format, p.Rows, p.Cols, nil)
	if err != nil {
		return nil, fmt.Errorf("tensor %s: %w", p.Tensor.Name, err)
	}
	l := &loader{header: f, file: f, config: d.config, threads: threads}
	l.pack(m, p.Tensor, p.First)
	return m, l.err
}

// Floats reads the weights of a whole tensor of f as f32, its rows one after
// the other. Numbers that are not finite are a [FileError].
func (d *Description) Floats(f *gguf.File, t *gguf.Tensor) ([]float32, error) {
	out := make([]float32, t.Elements())
	l := &loader{header: f, file: f, config: d.config}
	const rows = 64 // at a time
	size, width := t.RowSize(), t.Shape[0]
	src := make([]byte, rows*size)
	file := f.Reader(t)
	for at := 0; at < t.Rows(); at += rows {
		n := min(rows, t.Rows()-at)
		if _, err := file.ReadAt(src[:n*size], int64(at*size)); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
		if !quant.Finite(t.Type, src[:n*size]) {
			l.fail(t.Name, "%s in rows %d to %d", notFinite, at, at+n-1)
			return nil, l.err
		}
		if err := quant.Dequantize(t.Type, src[:n*size], out[at*width:(at+n)*width]); err != nil {
			return nil, fmt.Errorf("tensor %s: %w", t.Name, err)
		}
	}
	return out, nil
}

// CheckTensors refuses a file with tensors that the architecture gives no part
// to, as [Load] does: without them this would be another model.
func (d *Description) CheckTensors(f *gguf.File) error {
	l, err := d.describe(func(l *loader) {
		w := weights{}
		if l.embedding(&w); l.err != nil {
			return
		}
		l.output(&w)
		for i := range l.config.Layers {
			d.arch.tensors(l, i)
		}
		for i := range l.config.ropes {
			l.factors(&l.config.ropes[i])
		}
	})
	if err != nil {
		return err
	}
	both := []string{"rope_factors_short.weight", "rope_factors_long.weight"}
	for _, t := range f.Tensors() {
		if !l.used[t.Name] && !(d.Arch == "phi3" && slices.Contains(both, t.Name)) {
			l.fail(t.Name, "architecture %s with %d layers has no such part, and without it this would be another model", d.Arch, d.Layers)
		}
	}
	return l.err
}

// Rope numbers the rotary frequencies that a layer uses: layers of one number
// turn alike.
func (d *Description) Rope(p *LayerParts) int { return p.rope }

// CheckFactors refuses rotary factors that are not positive, or by which an
// angle of a position below Limit leaves the range in which sines are exact.
func (d *Description) CheckFactors(p *LayerParts, factors []float32) error {
	l := &loader{config: d.config}
	r := d.config.ropes[p.rope]
	for _, f := range factors {
		if !(f > 0) {
			l.fail(r.factors, "holds %g, want positive numbers", f)
			return l.err
		}
	}
	if r.frequencies(d.Rotary, factors); !r.fit(d.Limit) {
		l.failRope(&r)
	}
	return l.err
}

// Adjacent tells whether the pairs of a head that are turned are neighbours, 2j
// and 2j+1; else they are half of the rotated elements apart.
func (d *Description) Adjacent() bool { return d.config.interleaved }

// AnglesBelow returns what [Description.Angles] does for each position below
// n, one after the other.
func (d *Description) AnglesBelow(p *LayerParts, factors []float32, n int) (cos, sin []float32) {
	r := d.config.ropes[p.rope]
	r.frequencies(d.Rotary, factors)
	half := d.Rotary / 2
	cos, sin = make([]float32, n*half), make([]float32, n*half)
	for pos := range n {
		r.angles(cos[pos*half:][:half], sin[pos*half:][:half], pos)
	}
	return cos, sin
}
