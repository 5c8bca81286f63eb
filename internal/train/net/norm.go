package net

import (
	"math"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
)

// defaultEpsilon is what an Epsilon of 0 stands for.
const defaultEpsilon = 1e-5

// norm is GroupNorm, and RMSNorm: one group whose mean stays.
type norm struct {
	weight, bias *train.Param // bias nil for RMSNorm
	in           Shape
	groups       int
	epsilon      float32

	normed         []float32 // of each example, before weight and bias
	inverse        []float32 // of each example and group: 1 / deviation
	dweight, dbias []float32 // of each example

	x, y, dx, dy []float32
	run, runBack func(worker, from, to int)
}

func newNorm(l *Layer, index int, in Shape) *norm {
	n := &norm{in: in, groups: max(1, l.Groups), epsilon: l.Epsilon}
	if n.epsilon == 0 {
		n.epsilon = defaultEpsilon
	}
	n.weight = train.NewParam(paramName(index, "weight"), in.Channels)
	n.weight.NoDecay = true
	if l.Kind == GroupNorm {
		n.bias = train.NewParam(paramName(index, "bias"), in.Channels)
		n.bias.NoDecay = true
	}
	n.run, n.runBack = n.forwardExamples, n.backwardExamples
	return n
}

func (l *norm) params() []*train.Param {
	if l.bias == nil {
		return []*train.Param{l.weight}
	}
	return []*train.Param{l.weight, l.bias}
}

func (l *norm) init(uint64) {
	for i := range l.weight.Data {
		l.weight.Data[i] = 1
	}
}

func (l *norm) grow(n int) {
	l.normed = make([]float32, n*l.in.Elements())
	l.inverse = make([]float32, n*l.groups)
	l.dweight = make([]float32, n*l.in.Channels)
	l.dbias = make([]float32, n*l.in.Channels)
}

func (l *norm) forward(p *pass, y, x []float32) {
	l.x, l.y = x, y
	p.machine.For(p.n, 1, l.run)
}

func (l *norm) forwardExamples(_, from, to int) {
	size := l.in.Elements()
	for e := from; e < to; e++ {
		h := l.normed[e*size : (e+1)*size]
		l.normalise(h, l.x[e*size:(e+1)*size], l.inverse[e*l.groups:])
		l.scale(l.y[e*size:(e+1)*size], h)
	}
}

// normalise sets h to x, each group with mean 0 and variance 1.
func (l *norm) normalise(h, x, inverse []float32) {
	size := len(x) / l.groups
	for g := range l.groups {
		h, x := h[g*size:(g+1)*size], x[g*size:(g+1)*size]
		mean := float32(0)
		if l.bias != nil {
			mean = tensor.Sum(x) / float32(size)
		}
		for i, v := range x {
			h[i] = v - mean
		}
		variance := tensor.Dot(h, h) / float32(size)
		r := 1 / float32(math.Sqrt(float64(variance+l.epsilon)))
		inverse[g] = r
		for i, v := range h {
			h[i] = float32(v * r)
		}
	}
}

// scale sets y to h, each channel times its weight and plus its bias.
func (l *norm) scale(y, h []float32) {
	plane := l.in.Height * l.in.Width
	for c, w := range l.weight.Data {
		y, h := y[c*plane:(c+1)*plane], h[c*plane:(c+1)*plane]
		for i, v := range h {
			y[i] = float32(v * w)
		}
		if l.bias != nil {
			b := l.bias.Data[c]
			for i := range y {
				y[i] += b
			}
		}
	}
}

func (l *norm) backward(p *pass, dx, dy, _ []float32) {
	l.dx, l.dy = dx, dy
	p.machine.For(p.n, 1, l.runBack)
	p.machine.BiasBackward(l.weight.Grad, l.dweight[:p.n*l.in.Channels], p.n, l.in.Channels)
	if l.bias != nil {
		p.machine.BiasBackward(l.bias.Grad, l.dbias[:p.n*l.in.Channels], p.n, l.in.Channels)
	}
}

func (l *norm) backwardExamples(_, from, to int) {
	size, channels, plane := l.in.Elements(), l.in.Channels, l.in.Height*l.in.Width
	for e := from; e < to; e++ {
		h, dy := l.normed[e*size:(e+1)*size], l.dy[e*size:(e+1)*size]
		for c := range channels {
			d := dy[c*plane : (c+1)*plane]
			l.dweight[e*channels+c] = tensor.Dot(d, h[c*plane:(c+1)*plane])
			l.dbias[e*channels+c] = tensor.Sum(d)
		}
		if l.dx != nil {
			l.inputGradient(l.dx[e*size:(e+1)*size], dy, h, l.inverse[e*l.groups:])
		}
	}
}

// inputGradient sets dx = r (g - G - h M) with g the gradient by h, G its mean
// over the group (not of RMSNorm) and M that of g h.
func (l *norm) inputGradient(dx, dy, h, inverse []float32) {
	plane := l.in.Height * l.in.Width
	for c, w := range l.weight.Data {
		for i := c * plane; i < (c+1)*plane; i++ {
			dx[i] = float32(dy[i] * w)
		}
	}
	size := len(dx) / l.groups
	for g := range l.groups {
		dx, h := dx[g*size:(g+1)*size], h[g*size:(g+1)*size]
		mean := float32(0)
		if l.bias != nil {
			mean = tensor.Sum(dx) / float32(size)
		}
		along := tensor.Dot(dx, h) / float32(size)
		r := inverse[g]
		for i, v := range dx {
			dx[i] = float32(r * (v - mean - float32(h[i]*along)))
		}
	}
}
