package net

import (
	"errors"
	"fmt"
	"math"

	"github.com/avalnetwork/aval/internal/train"
)

// maxTaps bounds the products of two int8 numbers whose sum is kept in an
// int32: each is at most 127 * 127.
const maxTaps = math.MaxInt32 / (127 * 127)

// quantised is what replaces the weights of a dense layer or a convolution:
// weight = scale of the filter times code, input = scale of the input times
// code. The scales of inputs are fixed when the net is quantised, so that
// nothing but integers is summed.
type quantised struct {
	codes  []int8    // [filter][tap], -127 to 127
	scales []float32 // of each filter
	input  float32   // of the input
	bias   []float32 // of each filter; nil if there is none
}

// Int8 is a net whose dense layers and convolutions compute with int8 weights
// and inputs and exact integer sums. The other layers are those of the net. It
// is for one goroutine.
type Int8 struct {
	net    *Net               // without the weights that are quantised
	layers map[int]*quantised // by the layer's index
	codes  []int8             // of a layer's input for one example
}

// Quantize makes an int8 net of n: the codes of each filter are its weights
// divided by their largest magnitude and times 127, the scale of each layer's
// input is the largest magnitude among the examples, divided by 127. n is not
// changed and no longer needed.
func Quantize(n *Net, examples []train.Example) (*Int8, error) {
	if len(examples) == 0 {
		return nil, errors.New("quantising a net needs examples of its input")
	}
	largest := make([]float32, len(n.layers))
	for from := 0; from < len(examples); from += chunk {
		if err := n.load(examples[from:min(from+chunk, len(examples))], false, false); err != nil {
			return nil, fmt.Errorf("quantising a net: %w", err)
		}
		n.forward()
		for i := range n.layers {
			largest[i] = max(largest[i], magnitude(n.at(i)))
		}
	}
	q := &Int8{layers: map[int]*quantised{}}
	for i, l := range n.layers {
		if a := weightsOf(l); a != nil {
			var err error
			if q.layers[i], err = quantise(a, largest[i]); err != nil {
				return nil, fmt.Errorf("quantising layer %d: %w", i, err)
			}
		}
	}
	net, err := build(n.machine, n.spec)
	if err != nil {
		return nil, err
	}
	net.Meta = n.Meta
	for i, l := range net.layers {
		if _, ok := q.layers[i]; !ok {
			for j, p := range l.params() {
				copy(p.Data, n.layers[i].params()[j].Data)
			}
		}
	}
	q.net = net
	return q, nil
}

// weightsOf gives the weights of a layer that is quantised; nil of another.
func weightsOf(l layer) *affine {
	switch l := l.(type) {
	case *dense:
		return &l.affine
	case *conv:
		return &l.affine
	}
	return nil
}

// magnitude is the largest |x|; a NaN gives NaN.
func magnitude(x []float32) float32 {
	top := float32(0)
	for _, v := range x {
		top = max(top, float32(math.Abs(float64(v)))) // max gives NaN if one is
	}
	return top
}

func quantise(a *affine, largest float32) (*quantised, error) {
	filters := a.weight.Shape[0]
	taps := len(a.weight.Data) / filters
	if taps > maxTaps {
		return nil, fmt.Errorf("%d inputs of a filter, want at most %d", taps, maxTaps)
	}
	q := &quantised{codes: make([]int8, len(a.weight.Data)), scales: make([]float32, filters), input: largest / 127}
	if !finite(q.input) {
		return nil, errors.New("an input is not finite")
	}
	for f := range filters {
		w := a.weight.Data[f*taps : (f+1)*taps]
		q.scales[f] = magnitude(w) / 127
		if !finite(q.scales[f]) {
			return nil, errors.New("a weight is not finite")
		}
		encode(q.codes[f*taps:(f+1)*taps], w, q.scales[f])
	}
	if a.bias != nil {
		q.bias = append([]float32{}, a.bias.Data...)
	}
	return q, nil
}

// encode sets codes to x / scale, rounded half to even and kept within -127 to
// 127; to 0 if the scale is 0.
func encode(codes []int8, x []float32, scale float32) {
	if scale == 0 {
		clear(codes[:len(x)])
		return
	}
	for i, v := range x {
		c := math.RoundToEven(float64(v / scale))
		if !(c > -127) { // a NaN too
			c = -127
		}
		codes[i] = int8(min(c, 127))
	}
}

// Spec is the description of the net.
func (q *Int8) Spec() *Spec { return q.net.spec }

// Meta is what else the net's file says.
func (q *Int8) Meta() []KeyValue { return q.net.Meta }

// Outputs is the number of outputs for an example.
func (q *Int8) Outputs() int { return q.net.Outputs() }

// Forward sets out to the outputs for the examples, as Net.Forward does.
func (q *Int8) Forward(out []float32, examples []train.Example) error {
	dim := q.Outputs()
	if len(out) != len(examples)*dim {
		return fmt.Errorf("room for %d outputs, %d examples have %d", len(out), len(examples), len(examples)*dim)
	}
	n := q.net
	for from := 0; from < len(examples); from += chunk {
		if err := n.load(examples[from:min(from+chunk, len(examples))], false, false); err != nil {
			return err
		}
		for i, l := range n.layers {
			if s := q.layers[i]; s != nil {
				q.layer(s, l, n.at(i+1), n.at(i))
			} else {
				l.forward(&n.pass, n.at(i+1), n.at(i))
			}
		}
		copy(out[from*dim:], n.at(len(n.layers)))
	}
	return nil
}

// Evaluate computes the loss as Net.Evaluate does.
func (q *Int8) Evaluate(examples []train.Example) (train.Loss, error) {
	var sum train.Loss
	n := q.net
	for i := range examples {
		if err := n.load(examples[i:i+1], false, true); err != nil {
			return sum, err
		}
		out := n.at(len(n.layers))
		if err := q.Forward(out, examples[i:i+1]); err != nil {
			return sum, err
		}
		sum.Add(n.losses(nil, out, 1))
	}
	return sum, nil
}

// layer computes a dense layer or a convolution, example by example.
func (q *Int8) layer(s *quantised, l layer, y, x []float32) {
	n := q.net.pass.n
	in, out := len(x)/n, len(y)/n
	if len(q.codes) < in {
		q.codes = make([]int8, in)
	}
	for e := range n {
		x, y := x[e*in:(e+1)*in], y[e*out:(e+1)*out]
		encode(q.codes, x, s.input)
		if c, ok := l.(*conv); ok {
			s.convolve(c, y, q.codes)
			continue
		}
		for f := range y {
			w := s.codes[f*in : (f+1)*in]
			sum := int32(0)
			for i, c := range q.codes[:in] {
				sum += int32(w[i]) * int32(c)
			}
			y[f] = s.value(f, sum)
		}
	}
}

// value is the output of a filter: the sum of products of codes, converted,
// times the product of the scales, plus the bias.
func (s *quantised) value(f int, sum int32) float32 {
	v := float32(float32(sum) * float32(s.scales[f]*s.input))
	if s.bias != nil {
		v += s.bias[f]
	}
	return v
}

// convolve computes all windows of all filters for one example.
func (s *quantised) convolve(c *conv, y []float32, codes []int8) {
	perGroup, channels := c.filters/c.groups, c.in.Channels/c.groups
	plane := c.in.Height * c.in.Width
	for f := range c.filters {
		w := s.codes[f*c.taps : (f+1)*c.taps]
		x := codes[f/perGroup*channels*plane:][:channels*plane]
		for i := range c.outH {
			for j := range c.outW {
				y[(f*c.outH+i)*c.outW+j] = s.value(f, c.window(w, x, i*c.strideH-c.padH, j*c.strideW-c.padW))
			}
		}
	}
}

// window is the sum of products of a filter with the window that begins at a row
// and column, which may lie outside of the input.
func (c *conv) window(w, x []int8, row, col int) int32 {
	sum := int32(0)
	from, to := max(0, -col), min(c.kernelW, c.in.Width-col)
	for ch := range c.in.Channels / c.groups {
		for h := max(0, -row); h < min(c.kernelH, c.in.Height-row); h++ {
			taps := w[(ch*c.kernelH+h)*c.kernelW:][:c.kernelW]
			line := x[(ch*c.in.Height+row+h)*c.in.Width:][:c.in.Width]
			for k := from; k < to; k++ {
				sum += int32(taps[k]) * int32(line[col+k])
			}
		}
	}
	return sum
}
