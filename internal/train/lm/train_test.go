package lm_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/lm"
)

// named returns a synthetic model.
func named(t testing.TB, name string) *testmodel.Model {
	t.Helper()
	for i := range testmodel.Models {
		if testmodel.Models[i].Name == name {
			return &testmodel.Models[i]
		}
	}
	t.Fatalf("no model %s", name)
	return nil
}

// small is a model from random numbers.
func small(t testing.TB, arch string, seed uint64, o lm.Options) *lm.Model {
	t.Helper()
	a := lm.Architecture{Arch: arch, Dim: 32, Layers: 2, Heads: 4, KVHeads: 2, HeadDim: 16, FFN: 64, Context: 64}
	m, err := lm.Init(a, openFile(t, named(t, "llama-linear"), true), seed, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// verses are examples with something to learn: each token follows from the one
// before.
func verses(n, length int) train.List {
	var list train.List
	for i := range n {
		tokens := []int32{int32(i%7 + 3)}
		for len(tokens) < length {
			tokens = append(tokens, (tokens[len(tokens)-1]*5+1)%(testmodel.Vocab-3)+3)
		}
		list = append(list, train.Example{Tokens: tokens})
	}
	return list
}

func config(steps, batch int) train.Config {
	c := train.DefaultConfig(train.AdamW)
	c.Steps, c.Batch, c.LearningRate, c.Warmup, c.Seed = steps, batch, 1e-2, steps/10, 5
	return c
}

func trainer(t testing.TB, m *lm.Model, c train.Config, d train.Data) *train.Trainer {
	t.Helper()
	x, err := train.NewTrainer(m.Machine(), c, m, d)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func steps(t testing.TB, x *train.Trainer, n int) (last train.StepRecord) {
	t.Helper()
	for range n {
		var err error
		if last, err = x.Step(); err != nil {
			t.Fatal(err)
		}
	}
	return last
}

// digest is the SHA-256 of all parameters, f32, little endian.
func digest(m *lm.Model) string {
	h := sha256.New()
	var b []byte
	for _, p := range m.Params() {
		b = b[:0]
		for _, v := range p.Data {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		_, _ = h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// TestTraining trains a model of every architecture from random numbers until
// it knows its verses; its file gives the engine the same logits and so the same
// loss.
func TestTraining(t *testing.T) {
	for _, arch := range model.Architectures() {
		if testing.Short() && arch != "llama" && arch != "gemma3" {
			continue
		}
		t.Run(arch, func(t *testing.T) {
			m := small(t, arch, 1, lm.Options{Threads: 2})
			data := verses(7, 24)
			before, err := train.Evaluate(m, data, 7)
			if err != nil {
				t.Fatal(err)
			}
			if want := math.Log(testmodel.Vocab); math.Abs(before.Mean()-want) > 0.3 {
				t.Errorf("loss of an untrained model %.3f, want about %.3f", before.Mean(), want)
			}
			steps(t, trainer(t, m, config(110, 4), data), 110)
			after, err := train.Evaluate(m, data, 3)
			if err != nil {
				t.Fatal(err)
			}
			if after.Mean() > 0.6 || after.Accuracy() < 0.95 {
				t.Errorf("loss %.3f, accuracy %.2f after training", after.Mean(), after.Accuracy())
			}
			for _, recipe := range []string{"F32", "F16", "Q8_0"} {
				r, err := quant.ParseRecipe(recipe)
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(t.TempDir(), recipe+".gguf")
				if err := m.Export(path, r, func(w *gguf.Writer) error { return w.Set("general.name", gguf.ValueOf("verses")) }); err != nil {
					t.Fatal(err)
				}
				tokens := data[0].Tokens
				got := engineLogits(t, openPath(t, path), tokens)
				want, err := m.Logits(tokens)
				if err != nil {
					t.Fatal(err)
				}
				if recipe == "F32" {
					same(t, "logits of the exported file", got[:len(want)], want)
				}
				if nll := negLogLikelihood(got, tokens) / float64(len(tokens)-1); nll > 0.8 {
					t.Errorf("%s: loss %.3f in the engine", recipe, nll)
				}
			}
		})
	}
}

// TestResume cuts a run into two, in another process as far as the second part
// can tell, and gets the same bits.
func TestResume(t *testing.T) {
	data := verses(9, 20)
	q8 := named(t, "gemma3-default")
	for name, open := range map[string]func() *lm.Model{
		"whole": func() *lm.Model { return small(t, "llama", 3, lm.Options{Threads: 2}) },
		"LoRA": func() *lm.Model {
			return openModel(t, openFile(t, q8, false), lm.Options{Threads: 1, LoRA: &lm.LoRA{Rank: 2, Seed: 4}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := open()
			steps(t, trainer(t, a, config(12, 3), data), 12)
			b := open()
			x := trainer(t, b, config(12, 3), data)
			steps(t, x, 5)
			var file bytes.Buffer
			if _, err := x.WriteTo(&file); err != nil {
				t.Fatal(err)
			}
			c := open()
			y := trainer(t, c, config(12, 3), data)
			cp, err := train.OpenCheckpoint(bytes.NewReader(file.Bytes()), int64(file.Len()))
			if err != nil {
				t.Fatal(err)
			}
			if err := y.Restore(cp); err != nil {
				t.Fatal(err)
			}
			steps(t, y, 7)
			if digest(a) != digest(c) {
				t.Error("a run that was cut gives other bits")
			}
		})
	}
}

// golden are the digests of the parameters after 100 steps.
var golden = map[string]string{
	"whole": "3cad3810184c61c00b26864137342eb808c2cca770aca1e1907fcfc09a41e2a1",
	"LoRA":  "eb0839e6dc24c469049b2f0c4b33cc04c47df9e232b7f01b92da009ba6a699c9",
}

// TestGolden holds 100 steps to the same bits on every machine: with any
// kernel and number of threads here, and on other architectures where the test
// runs there.
func TestGolden(t *testing.T) {
	runs := map[string]func(o lm.Options) *lm.Model{
		"whole": func(o lm.Options) *lm.Model { return small(t, "llama", 8, o) },
		"LoRA": func(o lm.Options) *lm.Model {
			s := named(t, "qwen2")
			o.LoRA = &lm.LoRA{Rank: 2, Seed: 9, Targets: allTargets(s)}
			return openModel(t, openFile(t, s, false), o)
		},
	}
	for name, open := range runs {
		run := func(o lm.Options) string {
			m := open(o)
			c := config(100, 1)
			c.LearningRate = 3e-3
			steps(t, trainer(t, m, c, verses(5, 20)), 100)
			return digest(m)
		}
		got := run(lm.Options{Threads: 1})
		if got != golden[name] {
			t.Errorf("%s: digest %s, want %s", name, got, golden[name])
		}
		if testing.Short() {
			continue
		}
		for _, threads := range []int{2, 7} {
			if d := run(lm.Options{Threads: threads, Recompute: threads == 7}); d != got {
				t.Errorf("%s: %d threads give other bits", name, threads)
			}
		}
		kernels := kernel.All()[1:]
		if name == "LoRA" { // the plain one is slow here; builds without assembly run it
			kernels = kernels[:max(0, len(kernels)-1)]
		}
		for _, k := range kernels {
			if d := run(lm.Options{Threads: 2, Kernel: k.Name()}); d != got {
				t.Errorf("%s: kernel %s gives other bits", name, k)
			}
		}
	}
}

// TestAdapter holds the engine to the logits of training for adapters of all
// matrices of every architecture, through the adapter's file, and a model that
// goes on from the file to begin where the other ended.
func TestAdapter(t *testing.T) {
	names := []string{"llama", "qwen2", "qwen3", "smollm3", "gemma2", "gemma3-default", "phi3-long"}
	if testing.Short() {
		names = names[5:]
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			s := named(t, name)
			f := openFile(t, s, false)
			m := openModel(t, f, lm.Options{Threads: 2, LoRA: &lm.LoRA{Rank: 4, Seed: 2, Targets: allTargets(s)}})
			for i, p := range m.Params() {
				if i%2 == 1 { // B, which is zero at first
					train.InitNormal(p, 3, 0.05)
				}
			}
			path := filepath.Join(t.TempDir(), "adapter.gguf")
			if err := m.Adapter().Write(path); err != nil {
				t.Fatal(err)
			}
			a, err := adapter.Read(openPath(t, path))
			if err != nil {
				t.Fatal(err)
			}
			tokens := text(40)
			want, err := m.Logits(tokens)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "logits of the engine", engineLogits(t, f, tokens, model.Adapter{LoRA: a, Scale: 1})[:len(want)], want)
			got, err := openModel(t, f, lm.Options{Threads: 1, LoRA: &lm.LoRA{From: a}}).Logits(tokens)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "logits of a model that goes on", got, want)
			if err := m.Export(path, quant.Recipe{}, nil); err == nil {
				t.Error("a frozen model was exported")
			}
		})
	}
}

// TestTargets counts the matrices that get an update.
func TestTargets(t *testing.T) {
	for _, c := range []struct {
		model   string
		targets []string
		want    int
	}{
		{"qwen2", nil, 2 * 3},
		{"qwen2", []string{"attn_k"}, 3},
		{"qwen2", []string{"all"}, 7 * 3},
		{"qwen2-yarn", []string{"all", "output"}, 7*2 + 1},
		{"phi3-long", nil, 2},
		{"phi3-long", []string{"attn_k", "ffn_up"}, 2 * 2},
		{"phi3-long", []string{"all"}, 4 * 2},
	} {
		m := openModel(t, openFile(t, named(t, c.model), false), lm.Options{Threads: 1, LoRA: &lm.LoRA{Rank: 1, Targets: c.targets}})
		if got := len(m.Adapter().Updates); got != c.want {
			t.Errorf("%s, targets %q: %d updates, want %d", c.model, c.targets, got, c.want)
		}
	}
}

// TestAdapterLearns trains an adapter beside a quantised model, until the loss
// is a fraction of what it was.
func TestAdapterLearns(t *testing.T) {
	f := openFile(t, named(t, "gemma3-default"), false)
	m := openModel(t, f, lm.Options{Threads: 2, LoRA: &lm.LoRA{Rank: 4, Seed: 2, Targets: []string{"all"}}})
	data := verses(4, 24)
	before, err := train.Evaluate(m, data, 2)
	if err != nil {
		t.Fatal(err)
	}
	steps(t, trainer(t, m, config(40, 4), data), 40)
	after, err := train.Evaluate(m, data, 2)
	if err != nil {
		t.Fatal(err)
	}
	if after.Mean() > before.Mean()/2 {
		t.Errorf("loss %.3f after training, %.3f before", after.Mean(), before.Mean())
	}
}

// TestRefused: what cannot be trained is refused with a reason.
func TestRefused(t *testing.T) {
	f := openFile(t, named(t, "qwen2"), false)
	for want, o := range map[string]lm.Options{
		"rank 0":                     {LoRA: &lm.LoRA{}},
		"rank 2000":                  {LoRA: &lm.LoRA{Rank: 2000}},
		"alpha is -1":                {LoRA: &lm.LoRA{Rank: 1, Alpha: -1}},
		`no matrix of the target "x`: {LoRA: &lm.LoRA{Rank: 1, Targets: []string{"attn_q", "x"}}},
		"token_embd.weight is not":   {LoRA: &lm.LoRA{Rank: 1, Targets: []string{"token_embd"}}},
		"cannot be set too":          {LoRA: &lm.LoRA{Rank: 1, From: &adapter.Adapter{}}},
		"-1 threads":                 {Threads: -1},
		"context of -2":              {Context: -2},
		"context of 10000000":        {Context: 10000000},
		"kernel":                     {Kernel: "abacus"},
	} {
		if _, err := lm.Open(f, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	m := openModel(t, f, lm.Options{Threads: 1, Context: 8})
	for want, e := range map[string]train.Example{
		"has 1 tokens":           {Tokens: []int32{1}},
		"has 10 tokens":          {Tokens: make([]int32, 10)},
		"token 64":               {Tokens: []int32{1, 64}},
		"token -1":               {Tokens: []int32{-1, 6}},
		"mask of 1 for 2 target": {Tokens: []int32{1, 2, 3}, Mask: []bool{true}},
	} {
		if _, err := m.Accumulate([]train.Example{e}, 1); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
	tok := openFile(t, named(t, "llama-linear"), true)
	for want, a := range map[string]lm.Architecture{
		"dim is 0":           {Layers: 1},
		"layers is -1":       {Dim: 32, Layers: -1},
		"does not divide":    {Dim: 32, Layers: 1, Heads: 4, KVHeads: 3},
		`architecture "gpt`:  {Dim: 32, Layers: 1, Arch: "gpt"},
		"deviation is 2":     {Dim: 32, Layers: 1, Deviation: 2},
		"more than 42949672": {Dim: 1 << 16, Layers: 100},
	} {
		if _, err := lm.Init(a, tok, 1, lm.Options{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
	}
}

// TestDiverged: a loss that is not finite is an error.
func TestDiverged(t *testing.T) {
	m := small(t, "llama", 1, lm.Options{Threads: 1})
	for _, p := range m.Params() {
		for i := range p.Data {
			p.Data[i] = 1e10
			if p.Name == "output_norm.weight" {
				p.Data[i] = 1e30
			}
		}
	}
	if _, err := m.Accumulate(verses(1, 8), 1); err == nil || !strings.Contains(err.Error(), "diverged") {
		t.Errorf("error %v, want one of divergence", err)
	}
	m.Params()[0].Data[3] = float32(math.Inf(1))
	if err := m.Export(filepath.Join(t.TempDir(), "x.gguf"), quant.Recipe{}, nil); err == nil || !strings.Contains(err.Error(), "diverged") {
		t.Errorf("error %v, want one of divergence", err)
	}
}
