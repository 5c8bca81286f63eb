// Package gomlx_test compares training with github.com/gomlx/gomlx and its
// pure Go backend, a peer that shares no code with this repository: gradients
// of small nets within rounding, and the time of a training step on one core.
// It is a module of its own, so that nothing else depends on the peer; go.work
// joins it to the sources above. Run "go test" or "go test -bench ." here.
package gomlx_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/dtypes"
	. "github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// fastest is the setting with which the peer's backend takes the least time for
// the net for digits on one core.
const fastest = sequential + ",dotgeneral_large"

// sequential computes one operation after the other: in parallel the peer can
// hang where cores are few.
const sequential = "ops_sequential"

func backend(t testing.TB, settings string) backends.Backend {
	t.Helper()
	b, err := simplego.New(settings)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// batch makes random examples for a net of some inputs and outputs.
func batch(s *net.Spec, n, outputs int) []train.Example {
	r := rand.New(rand.NewPCG(1, 2))
	examples := make([]train.Example, n)
	for i := range examples {
		e := &examples[i]
		e.Input = make([]float32, s.Input.Elements())
		for j := range e.Input {
			e.Input[j] = float32(r.NormFloat64())
		}
		e.Label = int32(r.IntN(outputs))
		e.Target = make([]float32, outputs)
		for j := range e.Target {
			e.Target[j] = float32(r.NormFloat64())
		}
	}
	return examples
}

// inputs returns the examples as the peer takes them: inputs, and one-hot
// labels or targets.
func inputs(s *net.Spec, examples []train.Example, outputs int) (x, y *tensors.Tensor) {
	var flat, goal []float32
	for _, e := range examples {
		flat = append(flat, e.Input...)
		if s.Loss == net.MSE {
			goal = append(goal, e.Target...)
			continue
		}
		hot := make([]float32, outputs)
		hot[e.Label] = 1
		goal = append(goal, hot...)
	}
	n := len(examples)
	shape := []int{n, s.Input.Elements()}
	if s.Input.Height > 1 || s.Input.Width > 1 {
		shape = []int{n, s.Input.Channels, s.Input.Height, s.Input.Width}
	}
	return tensors.FromFlatDataAndDimensions(flat, shape...), tensors.FromFlatDataAndDimensions(goal, n, outputs)
}

// parameters returns the parameters of a net as the peer takes them.
func parameters(n *net.Net) []any {
	var out []any
	for _, p := range n.Params() {
		out = append(out, tensors.FromFlatDataAndDimensions(append([]float32(nil), p.Data...), p.Shape...))
	}
	return out
}

// loss builds the peer's graph of a net and of the sum of its losses: in comes
// x, y and the parameters.
func loss(s *net.Spec, in []*Node) *Node {
	h, y, params := in[0], in[1], in[2:]
	next := func() *Node {
		p := params[0]
		params = params[1:]
		return p
	}
	for _, l := range s.Layers {
		switch l.Kind {
		case net.Dense:
			if h.Rank() > 2 {
				h = Reshape(h, h.Shape().Dimensions[0], -1)
			}
			h = times(h, next())
			h = Add(h, ExpandAxes(next(), 0))
		case net.Conv:
			h = convolve(h, next(), l.Stride)
			h = Add(h, ExpandAxes(next(), 0, 2, 3))
		case net.ReLU:
			h = MaxScalar(h, 0)
		case net.ELU:
			h = Where(GreaterThan(h, ScalarZero(h.Graph(), dtypes.Float32)), h, MinusOne(Exp(MinScalar(h, 0))))
		case net.Tanh:
			h = Tanh(h)
		case net.Sigmoid:
			h = Sigmoid(h)
		case net.SiLU:
			h = Mul(h, Sigmoid(h))
		case net.GELU:
			c := Add(h, MulScalar(Mul(h, Mul(h, h)), 0.044715))
			h = Mul(h, MulScalar(OnePlus(Tanh(MulScalar(c, math.Sqrt(2/math.Pi)))), 0.5))
		default:
			panic("no such layer: " + l.Kind)
		}
	}
	if s.Loss == net.MSE {
		d := Sub(h, y)
		return DivScalar(ReduceAllSum(Mul(d, d)), float64(y.Shape().Dimensions[1]))
	}
	return Neg(ReduceAllSum(Mul(y, LogSoftmax(h))))
}

// times is x wT. The peer's Dot has a slow gradient.
func times(x, w *Node) *Node { return DotGeneral(x, []int{1}, nil, w, []int{1}, nil) }

// convolve is a convolution as a product with the unfolded input. The peer has
// a convolution, but its Go backend has no gradient of it, nor of slices: the
// windows are taken by a product with a matrix of zeros and ones.
func convolve(x, w *Node, stride [2]int) *Node {
	in, kernel := x.Shape().Dimensions, w.Shape().Dimensions
	n, channels, filters := in[0], in[1], kernel[0]
	down, across := (in[2]-kernel[2])/stride[0]+1, (in[3]-kernel[3])/stride[1]+1
	weights := channels * kernel[2] * kernel[3]
	choose := make([][]float32, channels*in[2]*in[3])
	for i := range choose {
		choose[i] = make([]float32, down*across*weights)
	}
	for p := range down * across {
		for q := range weights {
			c, i, j := q/(kernel[2]*kernel[3]), q/kernel[3]%kernel[2], q%kernel[3]
			i, j = i+p/across*stride[0], j+p%across*stride[1]
			choose[(c*in[2]+i)*in[3]+j][p*weights+q] = 1
		}
	}
	windows := times(Reshape(x, n, -1), Transpose(Const(x.Graph(), choose), 0, 1))
	y := times(Reshape(windows, n*down*across, weights), Reshape(w, filters, weights))
	return Reshape(Transpose(Reshape(y, n, down*across, filters), 1, 2), n, filters, down, across)
}

// TestGradients compares the gradients of small nets of every layer that both
// sides have.
func TestGradients(t *testing.T) {
	vector := net.Vector(20)
	dense := func(units int) net.Layer { return net.Layer{Kind: net.Dense, Units: units} }
	for _, s := range []net.Spec{
		{Input: vector, Layers: []net.Layer{dense(7)}, Loss: net.CrossEntropy},
		{Input: vector, Layers: []net.Layer{dense(50), {Kind: net.ReLU}, dense(10)}, Loss: net.CrossEntropy},
		{Input: vector, Layers: []net.Layer{dense(33), {Kind: net.GELU}, dense(5)}, Loss: net.MSE},
		{Input: vector, Layers: []net.Layer{dense(33), {Kind: net.SiLU}, dense(40), {Kind: net.ELU}, dense(3)}, Loss: net.CrossEntropy},
		{Input: vector, Layers: []net.Layer{dense(33), {Kind: net.Tanh}, dense(40), {Kind: net.Sigmoid}, dense(3)}, Loss: net.MSE},
		{Input: net.Shape{Channels: 2, Height: 9, Width: 8}, Layers: []net.Layer{
			{Kind: net.Conv, Filters: 5, Kernel: [2]int{3, 2}, Stride: [2]int{2, 1}}, {Kind: net.ELU}, dense(4),
		}, Loss: net.CrossEntropy},
	} {
		m := tensor.New(2, nil)
		defer m.Close()
		n, err := net.New(m, &s, 7)
		if err != nil {
			t.Fatal(err)
		}
		outputs := n.Outputs()
		examples := batch(&s, 40, outputs)
		got, err := n.Accumulate(examples, 1)
		if err != nil {
			t.Fatal(err)
		}
		x, y := inputs(&s, examples, outputs)
		b := backend(t, sequential)
		exec := MustNewExec(b, func(in []*Node) []*Node {
			l := loss(&s, in)
			return append([]*Node{l}, Gradient(l, in[2:]...)...)
		})
		want := exec.MustExec(append([]any{x, y}, parameters(n)...)...)
		what := fmt.Sprint(s.Layers)
		near(t, what+": loss", []float32{float32(got.Sum)}, []float32{tensors.ToScalar[float32](want[0])})
		for i, p := range n.Params() {
			grad, err := tensors.CopyFlatData[float32](want[1+i])
			if err != nil {
				t.Fatal(err)
			}
			near(t, what+": gradient of "+p.Name, p.Grad, grad)
		}
	}
}

// near compares within the rounding of sums in another order: relative to the
// largest of the values.
func near(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, the peer has %d", what, len(got), len(want))
	}
	top := 0.0
	for _, v := range want {
		top = max(top, math.Abs(float64(v)))
	}
	if top == 0 {
		t.Fatalf("%s: the peer has zeros only", what)
	}
	for i := range want {
		if d := math.Abs(float64(got[i]) - float64(want[i])); !(d <= 2e-5*top) {
			t.Fatalf("%s: element %d is %g, the peer has %g", what, i, got[i], want[i])
		}
	}
}

// digits is the net for handwritten digits, 784-256-10, of docs/benchmarks.md.
var digits = net.Spec{
	Input:  net.Vector(784),
	Layers: []net.Layer{{Kind: net.Dense, Units: 256}, {Kind: net.ReLU}, {Kind: net.Dense, Units: 10}},
	Loss:   net.CrossEntropy,
}

const digitsBatch = 64

// oneCore lets a benchmark have one core.
func oneCore(b *testing.B) {
	before := runtime.GOMAXPROCS(1)
	b.Cleanup(func() { runtime.GOMAXPROCS(before) })
}

// steps reports examples by second of processor time.
func steps(b *testing.B, step func()) {
	step()
	start := cpu(b)
	for b.Loop() {
		step()
	}
	b.ReportMetric(digitsBatch*float64(b.N)/(cpu(b)-start).Seconds(), "examples/cpu-s")
	b.ReportMetric(digitsBatch*float64(b.N)/b.Elapsed().Seconds(), "examples/s")
}

// BenchmarkDigits measures a step of plain gradient descent on one core:
// forward, backward, update.
func BenchmarkDigits(b *testing.B) {
	const rate = 0.001
	examples := batch(&digits, digitsBatch, 10)
	b.Run("aval", func(b *testing.B) {
		oneCore(b)
		m := tensor.New(1, nil)
		defer m.Close()
		n, err := net.New(m, &digits, 1)
		if err != nil {
			b.Fatal(err)
		}
		c := train.DefaultConfig(train.SGD)
		c.Steps, c.Batch, c.LearningRate, c.Schedule, c.Momentum, c.Clip = train.MaxSteps, digitsBatch, rate, train.Constant, 0, 0
		t, err := train.NewTrainer(m, c, n, train.List(examples))
		if err != nil {
			b.Fatal(err)
		}
		steps(b, func() {
			if _, err := t.Step(); err != nil {
				b.Fatal(err)
			}
		})
	})
	// The peer's own gradient of a product is slow in Go; by hand, its products
	// are what is measured.
	b.Run("gomlx", func(b *testing.B) {
		peerSteps(b, examples, rate, func(in []*Node) (*Node, []*Node) {
			l := DivScalar(loss(&digits, in), float32(digitsBatch))
			return l, Gradient(l, in[2:]...)
		})
	})
	b.Run("gomlx-by-hand", func(b *testing.B) { peerSteps(b, examples, rate, byHand) })
}

// byHand is the loss of the net for digits, and the gradients as products.
func byHand(in []*Node) (l *Node, gradients []*Node) {
	x, y, w1, b1, w2, b2 := in[0], in[1], in[2], in[3], in[4], in[5]
	h := MaxScalar(Add(times(x, w1), ExpandAxes(b1, 0)), 0)
	logits := LogSoftmax(Add(times(h, w2), ExpandAxes(b2, 0)))
	l = DivScalar(Neg(ReduceAllSum(Mul(y, logits))), float32(digitsBatch))
	dz := DivScalar(Sub(Exp(logits), y), float32(digitsBatch))
	dh := Mul(DotGeneral(dz, []int{1}, nil, w2, []int{0}, nil), PositiveIndicator(h))
	return l, []*Node{
		DotGeneral(dh, []int{0}, nil, x, []int{0}, nil), ReduceSum(dh, 0),
		DotGeneral(dz, []int{0}, nil, h, []int{0}, nil), ReduceSum(dz, 0),
	}
}

// peerSteps measures the peer's steps, of the gradients that a graph gives.
func peerSteps(b *testing.B, examples []train.Example, rate float32, graph func(in []*Node) (l *Node, gradients []*Node)) {
	oneCore(b)
	m := tensor.New(1, nil)
	defer m.Close()
	n, err := net.New(m, &digits, 1)
	if err != nil {
		b.Fatal(err)
	}
	x, y := inputs(&digits, examples, 10)
	back := backend(b, fastest)
	exec := MustNewExec(back, func(in []*Node) []*Node {
		l, gradients := graph(in)
		out := []*Node{l}
		for i, g := range gradients {
			out = append(out, Sub(in[2+i], MulScalar(g, rate)))
		}
		return out
	})
	params := parameters(n)
	steps(b, func() {
		args := []any{x, y}
		for _, p := range params {
			// The step may use the memory of the parameters for its results.
			d, err := DonateTensorBuffer(p.(*tensors.Tensor), back, 0)
			if err != nil {
				b.Fatal(err)
			}
			args = append(args, d)
		}
		out := exec.MustExec(args...)
		for i := range params {
			params[i] = out[1+i]
		}
		_ = tensors.ToScalar[float32](out[0])
	})
}

// TestByHand holds the gradients by hand to those of the peer.
func TestByHand(t *testing.T) {
	m := tensor.New(1, nil)
	defer m.Close()
	n, err := net.New(m, &digits, 1)
	if err != nil {
		t.Fatal(err)
	}
	examples := batch(&digits, digitsBatch, 10)
	if _, err := n.Accumulate(examples, 1.0/digitsBatch); err != nil {
		t.Fatal(err)
	}
	x, y := inputs(&digits, examples, 10)
	exec := MustNewExec(backend(t, sequential), func(in []*Node) []*Node {
		l, gradients := byHand(in)
		return append([]*Node{l}, gradients...)
	})
	want := exec.MustExec(append([]any{x, y}, parameters(n)...)...)
	for i, p := range n.Params() {
		grad, err := tensors.CopyFlatData[float32](want[1+i])
		if err != nil {
			t.Fatal(err)
		}
		near(t, p.Name, p.Grad, grad)
	}
}
