package net_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
)

// secondRuns are runs that between them use every part of spec/training.md.
func secondRuns() map[string]struct {
	net    net.Spec
	config train.Config
} {
	adam := train.DefaultConfig(train.AdamW)
	adam.Seed, adam.Steps, adam.Batch, adam.MicroBatch, adam.Warmup = 11, 25, 7, 4, 5
	adam.LearningRate, adam.MinLearningRate, adam.CheckpointEvery = 0.02, 0.001, 10
	sgd := train.DefaultConfig(train.SGD)
	sgd.Steps, sgd.Batch, sgd.LearningRate, sgd.WeightDecay, sgd.Schedule = 30, 5, 0.05, 0.1, train.Linear
	private := adam
	private.ExampleClip, private.MicroBatch, private.Clip = 0.25, 0, 0
	plain := train.Config{Seed: 1 << 63, Optimizer: train.SGD, Steps: 20, Batch: 3, LearningRate: 0.02}
	return map[string]struct {
		net    net.Spec
		config train.Config
	}{
		"mlp":           {nets["long sums"], adam},
		"activations":   {nets["activations"], sgd},
		"class weights": {nets["class weights"], plain},
		"conv 2d":       {nets["conv 2d"], adam},
		"conv 1d":       {nets["conv 1d"], sgd},
		"pools":         {nets["overlapping pools"], private},
		"eeg":           {eegSpec(4, 24, 0.25), adam},
	}
}

// bitsOf are the bits of x as integers.
func bitsOf(x []float32) []uint32 {
	out := make([]uint32, len(x))
	for i, v := range x {
		out[i] = math.Float32bits(v)
	}
	return out
}

// TestSecond lets the second implementation, written from the text alone, make
// the same runs: 20 steps, the roots of log and state, and the outputs of the
// net and of its int8 copy.
func TestSecond(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds; not short")
	}
	second := testdata.Second(t, "training.py")
	const take = 20
	for name, run := range secondRuns() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := machine(t, 1)
			n, err := net.New(m, &run.net, run.config.Seed)
			if err != nil {
				t.Fatal(err)
			}
			ex := examples(n, 19)
			tr, err := train.NewTrainer(m, run.config, n, train.List(ex))
			if err != nil {
				t.Fatal(err)
			}
			var log train.Log
			for range take {
				r, err := tr.Step()
				if err == nil {
					err = log.Add(r)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			q, err := net.Quantize(n, ex)
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprint(log.Root(), " ", tr.Root(), " ", outputsHash(t, n, ex), " ", outputsHash(t, q, ex))
			if got := second(t, secondRun(t, &run.net, tr.Config(), ex, take)); got != want {
				t.Errorf("the second implementation gives\n%s, want\n%s", got, want)
			}
		})
	}
}

// outputsHash is the hash of the outputs for examples, little endian.
func outputsHash(t *testing.T, n interface {
	Outputs() int
	Forward([]float32, []train.Example) error
}, ex []train.Example,
) string {
	t.Helper()
	out := make([]float32, len(ex)*n.Outputs())
	if err := n.Forward(out, ex); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, out); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(b.Bytes()))
}

// secondRun is the file of a run for spec/second/training.py.
func secondRun(t *testing.T, s *net.Spec, c train.Config, ex []train.Example, take int) string {
	t.Helper()
	type example struct {
		Input  []uint32 `json:"input"`
		Target []uint32 `json:"target"`
		Label  int32    `json:"label"`
	}
	list := make([]example, len(ex))
	for i, e := range ex {
		list[i] = example{bitsOf(e.Input), bitsOf(e.Target), e.Label}
	}
	data, err := json.Marshal(map[string]any{"net": s, "config": c, "examples": list, "take": take})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "run.json")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
