package gomlx_test

import (
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	. "github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
)

// digits is the shape of the classic net for handwritten digits.
var digits = net.Spec{
	Input:  net.Vector(784),
	Layers: []net.Layer{{Kind: net.Dense, Units: 256}, {Kind: net.ReLU}, {Kind: net.Dense, Units: 10}},
	Loss:   net.CrossEntropy,
}

const (
	batch = 64
	rate  = 0.01
)

// BenchmarkDigits trains the 784-256-10 net with batches of 64 by plain SGD:
// forward, backward, update. Use -cpu 1 for one core.
func BenchmarkDigits(b *testing.B) {
	b.Run("aval", func(b *testing.B) {
		m := tensor.New(1, nil)
		defer m.Close()
		_, n, ex := newNet(b, digits, batch)
		c := train.Config{Optimizer: train.SGD, Steps: train.MaxSteps, Batch: batch, LearningRate: rate}
		tr, err := train.NewTrainer(m, c, n, train.List(ex))
		if err != nil {
			b.Fatal(err)
		}
		measure(b, func() {
			if _, err := tr.Step(); err != nil {
				b.Fatal(err)
			}
		})
	})
	// gomlx's own gradient of a product makes a tensor of three axes, which its
	// compiled backends never do in full; the same by hand is products alone.
	b.Run("gomlx/gradient", func(b *testing.B) { benchPeer(b, byGradient) })
	b.Run("gomlx/by-hand", func(b *testing.B) { benchPeer(b, byHand) })
}

// byGradient and byHand give the loss and the gradients of the weights in[2:6],
// which are as gomlx's own dense layers have them: [inputs, units].
func byGradient(in []*Node) []*Node {
	_, y := forward(in)
	loss := DivScalar(Neg(ReduceAllSum(Mul(LogSoftmax(y), in[1]))), float64(batch))
	return append([]*Node{loss}, Gradient(loss, in[2:6]...)...)
}

func byHand(in []*Node) []*Node {
	h, y := forward(in)
	dy := DivScalar(Sub(Softmax(y), in[1]), float64(batch))
	dh := DotGeneral(dy, []int{1}, nil, in[4], []int{1}, nil)
	dh = Where(GreaterThan(h, ZerosLike(h)), dh, ZerosLike(dh))
	return []*Node{
		DivScalar(Neg(ReduceAllSum(Mul(LogSoftmax(y), in[1]))), float64(batch)),
		DotGeneral(in[0], []int{0}, nil, dh, []int{0}, nil), ReduceSum(dh, 0),
		DotGeneral(h, []int{0}, nil, dy, []int{0}, nil), ReduceSum(dy, 0),
	}
}

func forward(in []*Node) (h, y *Node) {
	h = Add(DotGeneral(in[0], []int{1}, nil, in[2], []int{0}, nil), Reshape(in[3], 1, 256))
	h = Max(h, ZerosLike(h))
	return h, Add(DotGeneral(h, []int{1}, nil, in[4], []int{0}, nil), Reshape(in[5], 1, 10))
}

func benchPeer(b *testing.B, gradient func([]*Node) []*Node) {
	_, n, ex := newNet(b, digits, batch)
	exec := MustNewExec(newBackend(b, "ops_sequential"), func(in []*Node) []*Node {
		out := gradient(in)
		for i, w := range in[2:6] {
			out[1+i] = Sub(w, Mul(out[1+i], in[6+i]))
		}
		return out
	})
	x := inputs(n, ex)
	args := []any{tensors.FromFlatDataAndDimensions(tensors.MustCopyFlatData[float32](x), batch, 784), targets(n, ex)}
	var rates []any // of the shapes of what they scale: broadcasting is slow here
	for i, p := range n.Params() {
		shape := p.Shape
		if i%2 == 0 {
			shape = []int{p.Shape[1], p.Shape[0]} // random numbers either way
		}
		args = append(args, tensors.FromFlatDataAndDimensions(p.Data, shape...))
		same := make([]float32, len(p.Data))
		for j := range same {
			same[j] = rate
		}
		rates = append(rates, tensors.FromFlatDataAndDimensions(same, shape...))
	}
	args = append(args, rates...)
	measure(b, func() {
		for i, t := range exec.MustExec(args...)[1:] {
			args[2+i] = t
		}
	})
}

// measure reports examples a second of a step.
func measure(b *testing.B, step func()) {
	step()
	start := time.Now()
	for b.Loop() {
		step()
	}
	b.ReportMetric(float64(b.N*batch)/time.Since(start).Seconds(), "examples/s")
}
