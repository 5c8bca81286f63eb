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
	"mlp/adamw": "273f396e0e1d8b2b65eed8ce437349ae749f7ce1ca9d7b4b7db015cb8a3626d7",
	"mlp/sgd":   "58de4b433fea4dead7d0fd2a6eab6c219090212455d3988406b43aaec191ed1e",
	"eeg/adamw": "f062a99a49cf06be85e0a941c8ab7fbfaf346a8b7c9b147fe3e49618923d3384",
	"eeg/sgd":   "f6e9657afeb5815b84000f00471a7d6c40a3870e5d48441ae9e1a3150351a1a2",
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
		for _, threads := range []int{1, 2, 7} {
			if i > 0 && threads > 1 && testing.Short() {
				continue
			}
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

// TestGoldenLayers does so for one gradient of every kind of layer.
func TestGoldenLayers(t *testing.T) {
	const want = "ce645d37bdbe6075b8f0413fd8c91d286ba5f0ad770108a1da2898d24c555172"
	m := machine(t, 1)
	var all strings.Builder
	for _, name := range slices.Sorted(maps.Keys(nets)) {
		all.WriteString(bits(t, m, nets[name]))
	}
	if got := canon.Leaf([]byte(all.String())).String(); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
