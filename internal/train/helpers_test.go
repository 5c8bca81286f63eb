package train_test

import (
	"testing"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
)

// line is a learner that fits y = w x + b to numbers by half the squared error.
// It has tensors of one and two dimensions.
type line struct {
	params []*train.Param
	fail   error
	calls  int // of Accumulate
}

func newLine(inputs, outputs int) *line {
	l := &line{params: []*train.Param{train.NewParam("w", outputs, inputs), train.NewParam("b", outputs)}}
	l.params[1].NoDecay = true
	train.InitNormal(l.params[0], 1, 0.5)
	return l
}

func (l *line) Params() []*train.Param { return l.params }

func (l *line) Accumulate(examples []train.Example, scale float32) (train.Loss, error) {
	l.calls++
	return l.run(examples, scale)
}

func (l *line) Evaluate(examples []train.Example) (train.Loss, error) { return l.run(examples, 0) }

func (l *line) run(examples []train.Example, scale float32) (train.Loss, error) {
	w, b := l.params[0], l.params[1]
	inputs := w.Shape[1]
	var sum train.Loss
	for i := range examples {
		e := &examples[i]
		for o := range b.Data {
			y := b.Data[o]
			for j, x := range e.Input {
				y += float32(w.Data[o*inputs+j] * x)
			}
			d := y - e.Target[o]
			sum.Sum += float64(float32(d*d)) / 2
			if scale != 0 {
				g := float32(d * scale)
				b.Grad[o] += g
				for j, x := range e.Input {
					w.Grad[o*inputs+j] += float32(g * x)
				}
			}
		}
		sum.Count++
	}
	return sum, l.fail
}

// points are n examples of a linear function with noise.
func points(n, inputs, outputs int) train.List {
	r := train.NewRandom(9, "points", 0)
	truth := make([]float32, inputs*outputs)
	r.Normal(truth, 1)
	list := make(train.List, n)
	for i := range list {
		e := &list[i]
		e.Input, e.Target = make([]float32, inputs), make([]float32, outputs)
		r.Normal(e.Input, 1)
		r.Normal(e.Target, 0.01)
		for o := range e.Target {
			for j, x := range e.Input {
				e.Target[o] += float32(truth[o*inputs+j] * x)
			}
			e.Target[o] += float32(o) - 2
		}
	}
	return list
}

func machine(t testing.TB, threads int) *tensor.Machine {
	m := tensor.New(threads, nil)
	t.Cleanup(m.Close)
	return m
}

// configs are configurations that between them use every option.
func configs() map[string]train.Config {
	adam := train.DefaultConfig(train.AdamW)
	adam.Seed, adam.Steps, adam.Batch, adam.LearningRate, adam.Warmup = 3, 20, 6, 0.05, 4
	adam.MinLearningRate = 0.001
	micro := adam
	micro.MicroBatch, micro.Schedule, micro.Seed = 4, train.Linear, 4
	sgd := train.DefaultConfig(train.SGD)
	sgd.Steps, sgd.Batch, sgd.LearningRate, sgd.WeightDecay, sgd.Clip = 20, 5, 0.02, 0.1, 0.5
	sgd.Schedule = train.Constant
	plain := train.Config{Optimizer: train.SGD, Steps: 20, Batch: 3, LearningRate: 0.02, CheckpointEvery: 7}
	private := adam
	private.ExampleClip, private.MicroBatch = 0.5, 0
	return map[string]train.Config{"adamw": adam, "micro-batches": micro, "sgd": sgd, "plain": plain, "example clip": private}
}
