package lm_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/lm"
)

// openFile opens a synthetic model.
func openFile(t testing.TB, s *testmodel.Model, plain bool) *gguf.File {
	t.Helper()
	path, err := s.Write(t.TempDir(), plain)
	if err != nil {
		t.Fatal(err)
	}
	return openPath(t, path)
}

func openPath(t testing.TB, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func openModel(t testing.TB, f *gguf.File, o lm.Options) *lm.Model {
	t.Helper()
	m, err := lm.Open(f, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// engineLogits are those of the engine for all tokens.
func engineLogits(t testing.TB, f *gguf.File, tokens []int32, adapters ...model.Adapter) []float32 {
	t.Helper()
	m, err := model.Load(f, model.Options{Threads: 2, Adapters: adapters})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := m.NewSequence()
	defer s.Close()
	step := []model.Step{{Seq: s, Tokens: tokens, Want: len(tokens)}}
	if err := m.Forward(step); err != nil {
		t.Fatal(err)
	}
	return step[0].Logits
}

// same compares bits.
func same(t testing.TB, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, want %d", what, len(got), len(want))
	}
	for i := range want {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %g (%#08x), want %g (%#08x)", what, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

// text is a text of n tokens, the first 40 those of testmodel.
func text(n int) []int32 {
	out := testmodel.Text()
	for i := 0; len(out) < n; i++ {
		out = append(out, int32((i*i+7*i+3)%(testmodel.Vocab-3)+3))
	}
	return out[:n]
}

// allTargets are the matrices of a model, by the middle of their names.
func allTargets(s *testmodel.Model) []string {
	targets := []string{"attn_output", "ffn_up", "ffn_down"}
	for _, x := range s.Tensors(true) {
		switch x.Name {
		case "blk.0.attn_q.weight":
			targets = append(targets, "attn_q", "attn_k", "attn_v")
		case "blk.0.attn_qkv.weight":
			targets = append(targets, "attn_qkv")
		case "blk.0.ffn_gate.weight":
			targets = append(targets, "ffn_gate")
		case "output.weight":
			targets = append(targets, "output")
		}
	}
	return targets
}

// TestLogits holds the logits of every architecture to be those of the engine
// for the same file, bit for bit: whole models in F32, and frozen ones of every
// type.
func TestLogits(t *testing.T) {
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		if testing.Short() && (s.Dim > 128 || s.Layers > 2) {
			continue
		}
		for _, plain := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/plain=%t", s.Name, plain), func(t *testing.T) {
				f := openFile(t, s, plain)
				tokens := text(150) // several blocks of queries, beyond every window
				want := engineLogits(t, f, tokens)
				o := lm.Options{Threads: 2}
				if !plain {
					o.LoRA = &lm.LoRA{Rank: 2, Targets: allTargets(s)}
				}
				m := openModel(t, f, o)
				got, err := m.Logits(tokens)
				if err != nil {
					t.Fatal(err)
				}
				same(t, "logits", got, want[:len(got)])
				loss, err := m.Evaluate([]train.Example{{Tokens: tokens}})
				if err != nil {
					t.Fatal(err)
				}
				if exact := losses(want, tokens); loss.Sum != exact {
					t.Errorf("loss %v, the engine's logits have %v", loss.Sum, exact)
				}
				if nll := negLogLikelihood(want, tokens); math.Abs(loss.Sum-nll) > 1e-5*nll || loss.Count != len(tokens)-1 {
					t.Errorf("loss %v of %d, want %v of %d", loss.Sum, loss.Count, nll, len(tokens)-1)
				}
			})
		}
	}
}

// losses is the sum of the losses of tokens[1:] as "aval perplexity" adds them
// up, from the logits of all tokens.
func losses(logits []float32, tokens []int32) float64 {
	m, sum := tensor.New(1, nil), 0.0
	for i := range tokens[1:] {
		var loss [1]float32
		m.SoftmaxCrossEntropy(loss[:], nil, logits[i*testmodel.Vocab:][:testmodel.Vocab], tokens[i+1:i+2], 1, testmodel.Vocab, 0)
		sum += float64(loss[0])
	}
	return sum
}

// negLogLikelihood is that of tokens[1:], from the logits of all tokens.
func negLogLikelihood(logits []float32, tokens []int32) float64 {
	nll := 0.0
	for i, id := range tokens[1:] {
		row, sum := logits[i*testmodel.Vocab:][:testmodel.Vocab], 0.0
		for _, v := range row {
			sum += math.Exp(float64(v))
		}
		nll += math.Log(sum) - float64(row[id])
	}
	return nll
}

// TestSameBits holds gradients to have the same bits with other kernels (the
// plain one, which is slow, is left to TestGolden), with activations kept or
// computed again, with any number of threads, and however the examples are cut
// into micro-batches.
func TestSameBits(t *testing.T) {
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		if s.Layers > 10 || s.Dim > 128 && s.Name != "llama" || testing.Short() && s.Name != "gemma3-wide" {
			continue // slow, and nothing new
		}
		t.Run(s.Name, func(t *testing.T) {
			f := openFile(t, s, false)
			for _, lora := range []*lm.LoRA{nil, {Rank: 3, Targets: allTargets(s)}} {
				if lora == nil && s.Dim > 128 {
					continue
				}
				tokens := text(75)
				examples := []train.Example{{Tokens: tokens}, {Tokens: tokens[3:40]}, {Tokens: tokens, Mask: make([]bool, 74)}}
				for j := range 20 { // a block in the middle
					examples[2].Mask[j+35] = true
				}
				grads := func(o lm.Options, step int) [][]float32 {
					o.LoRA = lora
					m := openModel(t, f, o)
					if lora != nil {
						for j, p := range m.Params() {
							if j%2 == 1 { // B is zero at first
								train.InitNormal(p, 7, 0.02)
							}
						}
					}
					for at := 0; at < len(examples); at += step {
						if _, err := m.Accumulate(examples[at:min(at+step, len(examples))], 0.25); err != nil {
							t.Fatal(err)
						}
					}
					var out [][]float32
					for _, p := range m.Params() {
						out = append(out, p.Grad)
					}
					return out
				}
				want := grads(lm.Options{Threads: 1}, 3)
				compare := func(what string, o lm.Options, step int) {
					for j, g := range grads(o, step) {
						same(t, fmt.Sprintf("%s, tensor %d", what, j), g, want[j])
					}
				}
				compare("2 threads", lm.Options{Threads: 2}, 3)
				compare("7 threads, an example at a time", lm.Options{Threads: 7}, 1)
				compare("computed again", lm.Options{Threads: 2, Recompute: true}, 2)
				all := kernel.All()
				for _, k := range all[min(1, len(all)-1) : len(all)-1] {
					compare(k.Name(), lm.Options{Threads: 2, Kernel: k.Name()}, 3)
				}
			}
		})
	}
}
