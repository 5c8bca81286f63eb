package net

import (
	"github.com/avalnetwork/aval/internal/tensor"
)

// conv is a convolution, by products with the unfolded input: a matrix of taps
// (channel of the group, row, column of the window) by windows. Examples are
// computed by themselves, on the threads.
type conv struct {
	affine
	geometry
	in              Shape
	groups, filters int
	taps            int // inputs of a filter
	windows         int
	plain           bool // the unfolded input is the input itself

	columns, dcolumns [][]float32 // [worker][taps*windows]
	dweight, dbias    []float32   // of each example
	pass              *pass
	x, y, dx, dy      []float32
	run, runBack      func(worker, from, to int)
}

func newConv(m *tensor.Machine, l *Layer, index int, in, out Shape) *conv {
	g, err := l.geometry(in)
	if err != nil {
		panic("net: the spec was checked: " + err.Error())
	}
	groups := max(1, l.Groups)
	channels := in.Channels / groups
	c := &conv{
		affine:   newAffine(l, index, l.Filters, l.Filters, channels, g.kernelH, g.kernelW),
		geometry: g, in: in, groups: groups, filters: l.Filters,
		taps: channels * g.kernelH * g.kernelW, windows: out.Height * out.Width,
	}
	column := g.kernelW == 1 && g.strideW == 1 && g.padW == 0 && g.outW == in.Width
	c.plain = column && (g.kernelH == in.Height && g.outH == 1 && g.padH == 0 || g.kernelH == 1 && g.strideH == 1 && g.padH == 0)
	c.columns = make([][]float32, m.Threads())
	c.dcolumns = make([][]float32, m.Threads())
	c.run, c.runBack = c.forwardExamples, c.backwardExamples
	return c
}

func (c *conv) init(seed uint64) {
	outputs := c.filters / c.groups * c.kernelH * c.kernelW
	initWeights(c.weight, c.how, seed, c.taps, outputs)
}

func (c *conv) grow(n int) {
	for i := range c.columns {
		if !c.plain && c.columns[i] == nil {
			c.columns[i] = make([]float32, c.taps*c.windows)
		}
	}
	c.dweight = make([]float32, n*len(c.weight.Data))
	c.dbias = make([]float32, n*c.filters)
}

func (c *conv) forward(p *pass, y, x []float32) {
	c.pass, c.x, c.y = p, x, y
	p.machine.For(p.n, 1, c.run)
}

func (c *conv) forwardExamples(worker, from, to int) {
	m := c.pass.machine.One(worker)
	for e := from; e < to; e++ {
		x := c.x[e*c.in.Elements():][:c.in.Elements()]
		y := c.y[e*c.filters*c.windows:][:c.filters*c.windows]
		for g := range c.groups {
			columns := tensor.Of(c.unfold(worker, x, g), c.taps, c.windows)
			w, out := c.group(c.weight.Data, g), c.outputs(y, g)
			m.Mul(out, w, columns)
		}
		if c.bias == nil {
			continue
		}
		for f, b := range c.bias.Data {
			row := y[f*c.windows : (f+1)*c.windows]
			for i := range row {
				row[i] += b
			}
		}
	}
}

// group is the matrix of the filters of a group, by taps.
func (c *conv) group(w []float32, g int) tensor.Matrix {
	n := c.filters / c.groups
	return tensor.Of(w[g*n*c.taps:(g+1)*n*c.taps], n, c.taps)
}

// outputs is the matrix of the outputs of a group, by windows.
func (c *conv) outputs(y []float32, g int) tensor.Matrix {
	n := c.filters / c.groups
	return tensor.Of(y[g*n*c.windows:(g+1)*n*c.windows], n, c.windows)
}

func (c *conv) backward(p *pass, dx, dy, x []float32) {
	c.pass, c.x, c.dx, c.dy = p, x, dx, dy
	if dx != nil && c.dcolumns[0] == nil {
		for i := range c.dcolumns {
			c.dcolumns[i] = make([]float32, c.taps*c.windows)
		}
	}
	p.machine.For(p.n, 1, c.runBack)
	p.machine.BiasBackward(c.weight.Grad, c.dweight[:p.n*len(c.weight.Data)], p.n, len(c.weight.Data))
	if c.bias != nil {
		p.machine.BiasBackward(c.bias.Grad, c.dbias[:p.n*c.filters], p.n, c.filters)
	}
}

func (c *conv) backwardExamples(worker, from, to int) {
	m := c.pass.machine.One(worker)
	size, weights := c.in.Elements(), len(c.weight.Data)
	for e := from; e < to; e++ {
		x := c.x[e*size : (e+1)*size]
		dy := c.dy[e*c.filters*c.windows:][:c.filters*c.windows]
		for g := range c.groups {
			columns := tensor.Of(c.unfold(worker, x, g), c.taps, c.windows)
			grad := c.outputs(dy, g)
			m.Mul(c.group(c.dweight[e*weights:(e+1)*weights], g), grad, columns.T())
			if c.dx != nil {
				dcolumns := tensor.Of(c.dcolumns[worker], c.taps, c.windows)
				m.Mul(dcolumns, c.group(c.weight.Data, g).T(), grad)
				c.fold(c.dx[e*size:(e+1)*size], dcolumns.Data, g)
			}
		}
		for f := range c.filters {
			c.dbias[e*c.filters+f] = tensor.Sum(dy[f*c.windows : (f+1)*c.windows])
		}
	}
}

// channels is the part of an example that a group sees.
func (c *conv) channels(x []float32, g int) []float32 {
	n := c.in.Elements() / c.groups
	return x[g*n : (g+1)*n]
}

// unfold gives the matrix of taps by windows of a group; zeros stand for what
// lies outside of the input.
func (c *conv) unfold(worker int, x []float32, g int) []float32 {
	x = c.channels(x, g)
	if c.plain {
		return x
	}
	out := c.columns[worker]
	at := 0
	for ch := range c.in.Channels / c.groups {
		plane := x[ch*c.in.Height*c.in.Width:][:c.in.Height*c.in.Width]
		for kh := range c.kernelH {
			for kw := range c.kernelW {
				for i := range c.outH {
					c.unfoldRow(out[at:at+c.outW], plane, i*c.strideH-c.padH+kh, kw)
					at += c.outW
				}
			}
		}
	}
	return out
}

// unfoldRow sets dst to what column kw of the windows of one row of windows
// sees of a row of the plane.
func (c *conv) unfoldRow(dst, plane []float32, row, kw int) {
	if row < 0 || row >= c.in.Height {
		clear(dst)
		return
	}
	src := plane[row*c.in.Width:][:c.in.Width]
	first := kw - c.padW // the column that window 0 sees
	if c.strideW == 1 {
		before := min(max(0, -first), len(dst))
		n := max(0, min(len(src)-(first+before), len(dst)-before))
		clear(dst[:before])
		if n > 0 {
			copy(dst[before:before+n], src[first+before:])
		}
		clear(dst[before+n:])
		return
	}
	for j := range dst {
		dst[j] = 0
		if at := j*c.strideW + first; at >= 0 && at < len(src) {
			dst[j] = src[at]
		}
	}
}

// fold sets the part of dx that a group sees to the sums, from +0 and in the
// order of the taps, of what its elements were unfolded to.
func (c *conv) fold(dx, dcolumns []float32, g int) {
	dx = c.channels(dx, g)
	clear(dx)
	at := 0
	for ch := range c.in.Channels / c.groups {
		plane := dx[ch*c.in.Height*c.in.Width:][:c.in.Height*c.in.Width]
		for kh := range c.kernelH {
			for kw := range c.kernelW {
				for i := range c.outH {
					c.foldRow(plane, dcolumns[at:at+c.outW], i*c.strideH-c.padH+kh, kw)
					at += c.outW
				}
			}
		}
	}
}

func (c *conv) foldRow(plane, d []float32, row, kw int) {
	if row < 0 || row >= c.in.Height {
		return
	}
	dst := plane[row*c.in.Width:][:c.in.Width]
	first := kw - c.padW
	if c.strideW == 1 {
		before := min(max(0, -first), len(d))
		n := min(len(dst)-(first+before), len(d)-before)
		if n <= 0 {
			return
		}
		dst = dst[first+before:][:n]
		for j, v := range d[before : before+n] {
			dst[j] += v
		}
		return
	}
	for j, v := range d {
		if at := j*c.strideW + first; at >= 0 && at < len(dst) {
			dst[at] += v
		}
	}
}
