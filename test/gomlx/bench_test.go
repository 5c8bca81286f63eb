package gomlx_test

import (
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/gomlx/gomlx/backends"
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
	for _, config := range []string{"ops_sequential", "ops_sequential,dotgeneral_small", "ops_sequential,dotgeneral_large"} {
		b.Run("gomlx/"+config, func(b *testing.B) {
			benchGoMLX(b, newBackend(b, config))
		})
	}
}

// benchGoMLX has its weights as gomlx's own dense layers do, [inputs, units].
func benchGoMLX(b *testing.B, backend backends.Backend) {
	_, n, ex := newNet(b, digits, batch)
	exec := MustNewExec(backend, func(in []*Node) []*Node {
		h := Dot(Reshape(in[0], batch, 784), in[2])
		h = Add(h, Reshape(in[3], 1, 256))
		h = Max(h, ZerosLike(h))
		y := Add(Dot(h, in[4]), Reshape(in[5], 1, 10))
		loss := DivScalar(Neg(ReduceAllSum(Mul(LogSoftmax(y), in[1]))), float64(batch))
		out := []*Node{loss}
		for i, g := range Gradient(loss, in[2:6]...) {
			out = append(out, Sub(in[2+i], Mul(g, in[6+i])))
		}
		return out
	})
	args := []any{inputs(n, ex), targets(n, ex)}
	for i, p := range n.Params() {
		shape := p.Shape
		if i%2 == 0 {
			shape = []int{p.Shape[1], p.Shape[0]} // random numbers either way
		}
		args = append(args, tensors.FromFlatDataAndDimensions(p.Data, shape...))
	}
	// The rate has the shape of what it scales: broadcasting is this backend's
	// slowest part.
	for i, p := range n.Params() {
		rates := make([]float32, len(p.Data))
		for j := range rates {
			rates[j] = rate
		}
		args = append(args, tensors.FromFlatDataAndDimensions(rates, args[2+i].(*tensors.Tensor).Shape().Dimensions...))
	}
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
