package net_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
)

// golden are the roots of the state after 120 steps of training, the same on
// every machine. They change only with spec/training.md.
var golden = map[string]string{
	"mlp/adamw": "cdb57ce1b84f7af49eb5da3dae4cac91591d59a0058e860d17d87bf798d576e9",
	"mlp/sgd":   "09e835d2650cbe55c80da9c2ab4d452e1c72a24d8852ce25ed64db053df06d23",
	"eeg/adamw": "e6b5db096d589d0adac84d4e43b5842a8e7d9187f1e7e912b522b8b39af47089",
	"eeg/sgd":   "71e97121aaf7d2d9b893eeeb1d6f0258a90ffb3e28c649458f1269ad95288d1e",
}

// goldenRun trains a small net for 120 steps.
func goldenRun(t *testing.T, m *tensor.Machine, shape, optimizer string) string {
	spec := eegSpec(5, 40, 0.25)
	if shape == "mlp" {
		spec = net.Spec{
			Input:  net.Vector(50),
			Layers: []net.Layer{{Kind: net.Dense, Units: 37}, {Kind: net.GELU}, {Kind: net.Dense, Units: 10, Init: net.GlorotUniform}},
			Loss:   net.CrossEntropy,
		}
	}
	c := train.DefaultConfig(optimizer)
	c.Seed, c.Steps, c.Batch, c.MicroBatch, c.Warmup = 1, 120, 9, 5, 10
	c.LearningRate, c.MinLearningRate = 0.01, 0.001
	tr, _ := trainer(t, m, spec, c)
	var first, last train.StepRecord
	for i := range c.Steps {
		r, err := tr.Step()
		if err != nil {
			t.Fatal(err)
		}
		if last = r; i == 0 {
			first = r
		}
	}
	if !(last.Loss.Mean() < first.Loss.Mean()) {
		t.Errorf("%s/%s: loss %v at first, %v at last", shape, optimizer, first.Loss.Mean(), last.Loss.Mean())
	}
	return tr.Root().String()
}

// TestGolden holds training to the same bits for every kernel and number of
// threads, on every architecture that runs it.
func TestGolden(t *testing.T) {
	for i, k := range kernel.All() {
		for _, threads := range threadCounts(i) {
			m := tensor.New(threads, k)
			for _, shape := range []string{"mlp", "eeg"} {
				for _, optimizer := range []string{train.AdamW, train.SGD} {
					name := shape + "/" + optimizer
					if got := goldenRun(t, m, shape, optimizer); got != golden[name] {
						t.Errorf("%s: kernel %v, %d threads: %s, want %s", name, k, threads, got, golden[name])
					}
				}
			}
			m.Close()
		}
	}
}

// threadCounts are the numbers of threads to try with kernel i; in short tests,
// many with the best kernel and one with the others.
func threadCounts(i int) []int {
	switch {
	case !testing.Short():
		return []int{1, 2, 7}
	case i == 0:
		return []int{7}
	}
	return []int{1}
}

// TestGoldenLayers does so for one gradient of every kind of layer.
func TestGoldenLayers(t *testing.T) {
	const want = "efcd3886a026f101acce49cacc4f6e876b9a16012312ef54794267b2b8c0731b"
	m := machine(t, 1)
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(nets)) {
		all.WriteString(bits(t, m, nets[name]))
	}
	if got := canon.Leaf([]byte(all.String())).String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
