package gomlx_test

import (
	"fmt"
	"testing"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train/net"
	. "github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// peer builds a net as a graph. Nodes are [example, channel, row, column].
type peer struct {
	spec   *net.Spec
	shapes []net.Shape
	params map[string]*Node
}

// outputs is the graph of the net, [example, output].
func (p *peer) outputs(x *Node) *Node {
	n := x.Shape().Dimensions[0]
	for i := range p.spec.Layers {
		l, in, out := &p.spec.Layers[i], p.shapes[i], p.shapes[i+1]
		w, b := p.params[fmt.Sprintf("layers.%d.weight", i)], p.params[fmt.Sprintf("layers.%d.bias", i)]
		switch l.Kind {
		case net.Dense:
			y := Dot(Reshape(x, n, in.Elements()), Transpose(w, 0, 1))
			if b != nil {
				y = Add(y, Reshape(b, 1, l.Units))
			}
			x = Reshape(y, n, l.Units, 1, 1)
		case net.Conv:
			x = convolution(l, x, w, in, out)
			if b != nil {
				x = Add(x, Reshape(b, 1, l.Filters, 1, 1))
			}
		case net.AvgPool:
			x = ReduceMean(tiles(l, x, in, out), 3, 5)
		case net.MaxPool:
			x = ReduceMax(tiles(l, x, in, out), 3, 5)
		case net.GroupNorm:
			x = groupNorm(l, x, w, b, in)
		case net.ReLU:
			x = Max(x, ZerosLike(x))
		case net.ELU:
			x = Where(GreaterThan(x, ZerosLike(x)), x, AddScalar(Exp(x), -1))
		default:
			panic("no graph for " + l.Kind)
		}
	}
	return Reshape(x, n, x.Shape().Size()/n)
}

// tiles makes axes of windows that tile the input: the backend has no gradient
// of pools.
func tiles(l *net.Layer, x *Node, in, out net.Shape) *Node {
	return Reshape(x, -1, in.Channels, out.Height, l.Kernel[0], out.Width, l.Kernel[1])
}

// convolution is a product with the unfolded input, group by group. The backend
// has no gradient of a convolution, of slices or of padding, so that all of them
// are products with matrices of zeros and ones.
func convolution(l *net.Layer, x, w *Node, in, out net.Shape) *Node {
	n, groups := x.Shape().Dimensions[0], max(1, l.Groups)
	channels, filters := in.Channels/groups, l.Filters/groups
	taps, windows := channels*l.Kernel[0]*l.Kernel[1], out.Height*out.Width
	flat, weights := Reshape(x, n, in.Elements()), Reshape(w, l.Filters, taps)
	var parts []*Node
	for g := range groups {
		columns := Reshape(Dot(flat, Const(x.Graph(), unfolding(l, in, out, g*channels, channels))), n, taps, windows)
		pick := make([][]float32, filters)
		for f := range pick {
			pick[f] = make([]float32, l.Filters)
			pick[f][g*filters+f] = 1
		}
		y := DotGeneral(Dot(Const(x.Graph(), pick), weights), []int{1}, nil, columns, []int{1}, nil) // [filter, example, window]
		parts = append(parts, Transpose(y, 0, 1))
	}
	return Reshape(Concatenate(parts, 1), n, l.Filters, out.Height, out.Width)
}

// unfolding is the matrix, input by tap and window, that unfolds some channels.
func unfolding(l *net.Layer, in, out net.Shape, first, channels int) [][]float32 {
	stride := [2]int{max(1, l.Stride[0]), max(1, l.Stride[1])}
	var pad [2]int
	if l.Padding == net.Same {
		pad[0] = max(0, (out.Height-1)*stride[0]+l.Kernel[0]-in.Height) / 2
		pad[1] = max(0, (out.Width-1)*stride[1]+l.Kernel[1]-in.Width) / 2
	}
	m := make([][]float32, in.Elements())
	for i := range m {
		m[i] = make([]float32, channels*l.Kernel[0]*l.Kernel[1]*out.Height*out.Width)
	}
	at := 0
	for c := range channels {
		for kh := range l.Kernel[0] {
			for kw := range l.Kernel[1] {
				for i := range out.Height {
					for j := range out.Width {
						row, column := i*stride[0]-pad[0]+kh, j*stride[1]-pad[1]+kw
						if row >= 0 && row < in.Height && column >= 0 && column < in.Width {
							m[((first+c)*in.Height+row)*in.Width+column][at] = 1
						}
						at++
					}
				}
			}
		}
	}
	return m
}

func groupNorm(l *net.Layer, x, w, b *Node, in net.Shape) *Node {
	dims := x.Shape().Dimensions
	g := Reshape(x, dims[0], max(1, l.Groups), -1)
	h := Sub(g, ReduceAndKeep(g, ReduceMean, 2))
	h = Div(h, Sqrt(AddScalar(ReduceAndKeep(Mul(h, h), ReduceMean, 2), 1e-5)))
	return Add(Mul(Reshape(h, dims...), Reshape(w, 1, in.Channels, 1, 1)), Reshape(b, 1, in.Channels, 1, 1))
}

// loss is the sum of the cross-entropies against targets of one one each.
func (p *peer) loss(x, target *Node) *Node {
	y := p.outputs(x)
	return Neg(ReduceAllSum(Mul(LogSoftmax(y), target)))
}

// layerSpecs have the layers that take an example as channels, rows and columns.
var layerSpecs = map[string]net.Spec{
	"conv": {
		Input: net.Shape{Channels: 2, Height: 9, Width: 8},
		Layers: []net.Layer{
			{Kind: net.Conv, Filters: 6, Kernel: [2]int{3, 2}, Stride: [2]int{1, 2}, Padding: net.Same},
			{Kind: net.GroupNorm, Groups: 3},
			{Kind: net.ReLU},
			{Kind: net.MaxPool, Kernel: [2]int{3, 2}},
			{Kind: net.Dense, Units: 4},
		},
		Loss: net.CrossEntropy,
	},
	"eeg": {
		Input: net.Shape{Channels: 1, Height: 8, Width: 40},
		Layers: []net.Layer{
			{Kind: net.Conv, Filters: 4, Kernel: [2]int{1, 16}, Padding: net.Same, NoBias: true},
			{Kind: net.GroupNorm, Groups: 4},
			{Kind: net.Conv, Filters: 8, Kernel: [2]int{8, 1}, Groups: 4, NoBias: true},
			{Kind: net.GroupNorm},
			{Kind: net.ELU},
			{Kind: net.AvgPool, Kernel: [2]int{1, 4}},
			{Kind: net.Conv, Filters: 8, Kernel: [2]int{1, 5}, Padding: net.Same, Groups: 8, NoBias: true},
			{Kind: net.Conv, Filters: 8, Kernel: [2]int{1, 1}},
			{Kind: net.Dense, Units: 2},
		},
		Loss: net.CrossEntropy,
	},
}

// TestLayers compares the gradients of nets with padding, groups, norms and
// pools.
func TestLayers(t *testing.T) {
	for name, s := range layerSpecs {
		m := tensor.New(2, nil)
		defer m.Close()
		n, err := net.New(m, &s, 1)
		if err != nil {
			t.Fatal(err)
		}
		shapes, err := s.Shapes()
		if err != nil {
			t.Fatal(err)
		}
		examples := batch(&s, 6, n.Outputs())
		got, err := n.Accumulate(examples, 1)
		if err != nil {
			t.Fatal(err)
		}
		exec := MustNewExec(backend(t, "ops_sequential"), func(in []*Node) []*Node {
			p := &peer{&s, shapes, map[string]*Node{}}
			for i, param := range n.Params() {
				p.params[param.Name] = in[2+i]
			}
			l := p.loss(in[0], in[1])
			return append([]*Node{l}, Gradient(l, in[2:]...)...)
		})
		x, y := inputs(&s, examples, n.Outputs())
		want := exec.MustExec(append([]any{x, y}, parameters(n)...)...)
		near(t, name+": loss", []float32{float32(got.Sum)}, []float32{tensors.ToScalar[float32](want[0])})
		for i, p := range n.Params() {
			near(t, name+": gradient of "+p.Name, p.Grad, tensors.MustCopyFlatData[float32](want[1+i]))
		}
	}
}
