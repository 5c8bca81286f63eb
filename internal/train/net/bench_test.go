package net_test

import (
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
)

// digits is the shape of the classic net for handwritten digits: 784-256-10.
var digits = net.Spec{
	Input:  net.Vector(784),
	Layers: []net.Layer{{Kind: net.Dense, Units: 256}, {Kind: net.ReLU}, {Kind: net.Dense, Units: 10}},
	Loss:   net.CrossEntropy,
}

// trainer makes a run of a net over random examples.
func trainer(t testing.TB, m *tensor.Machine, s net.Spec, c train.Config) (*train.Trainer, *net.Net) {
	t.Helper()
	n, err := net.New(m, &s, c.Seed)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := train.NewTrainer(m, c, n, train.List(examples(n, 4*c.Batch)))
	if err != nil {
		t.Fatal(err)
	}
	return tr, n
}

func digitsConfig(optimizer string) train.Config {
	c := train.DefaultConfig(optimizer)
	c.Steps, c.Batch, c.LearningRate = train.MaxSteps, 64, 0.001
	if optimizer == train.SGD {
		c.Momentum, c.Clip, c.Schedule = 0, 0, train.Constant
	}
	return c
}

// BenchmarkDigits trains the 784-256-10 net, batches of 64: forward, backward
// and update on one thread.
func BenchmarkDigits(b *testing.B) {
	for _, k := range kernel.All() {
		for _, optimizer := range []string{train.SGD, train.AdamW} {
			b.Run(k.Name()+"/"+optimizer, func(b *testing.B) {
				m := tensor.New(1, k)
				defer m.Close()
				benchSteps(b, m, digits, digitsConfig(optimizer))
			})
		}
	}
}

func benchSteps(b *testing.B, m *tensor.Machine, s net.Spec, c train.Config) {
	tr, _ := trainer(b, m, s, c)
	if _, err := tr.Step(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	start := time.Now()
	for b.Loop() {
		if _, err := tr.Step(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*c.Batch)/time.Since(start).Seconds(), "examples/s")
}

// BenchmarkDigitsExampleClip trains the same net with the gradient of each
// example clipped, as differential privacy needs.
func BenchmarkDigitsExampleClip(b *testing.B) {
	m := tensor.New(1, nil)
	defer m.Close()
	c := digitsConfig(train.SGD)
	c.ExampleClip = 1
	benchSteps(b, m, digits, c)
}

// BenchmarkEEG trains a net in the manner of EEGNet on windows of 14 electrodes
// and 128 samples.
func BenchmarkEEG(b *testing.B) {
	m := tensor.New(1, nil)
	defer m.Close()
	benchSteps(b, m, eegSpec(14, 128, 0.25), digitsConfig(train.AdamW))
}
