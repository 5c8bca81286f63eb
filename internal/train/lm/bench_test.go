package lm_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/lm"
)

// words is a vocabulary of so many tokens.
type words int

func (w words) Keys() []string { return []string{"tokenizer.ggml.tokens"} }

func (w words) Value(key string) (gguf.Value, bool) {
	return gguf.ArrayOf(make([]string, w)), key == "tokenizer.ggml.tokens"
}

// sequences are n examples of some positions.
func sequences(n, positions, vocab int) train.List {
	var list train.List
	for i := range n {
		e := train.Example{Tokens: make([]int32, positions+1)}
		for j := range e.Tokens {
			e.Tokens[j] = int32((i*7919 + j*j*31 + j*17) % vocab)
		}
		list = append(list, e)
	}
	return list
}

// bench measures optimiser steps.
func bench(b *testing.B, m *lm.Model, data train.List, batch int) {
	c := train.DefaultConfig(train.AdamW)
	c.Steps, c.Batch, c.LearningRate = train.MaxSteps, batch, 1e-4
	x := trainer(b, m, c, data)
	steps(b, x, 1)
	b.ResetTimer()
	steps(b, x, b.N)
	tokens := len(data[0].Tokens) - 1
	b.ReportMetric(float64(b.N*batch*tokens)/b.Elapsed().Seconds(), "tokens/s")
}

// BenchmarkLoRA is a step of an adapter of rank 8 for q and v beside the
// synthetic model of 135M parameters in Q8_0, with one sequence of 256.
// "aval bench --synthetic 135M" makes the file.
func BenchmarkLoRA(b *testing.B) {
	home, err := os.UserCacheDir()
	if err != nil {
		b.Skip(err)
	}
	path := filepath.Join(home, "aval", "synthetic-135M-Q8_0.gguf")
	if _, err := os.Stat(path); err != nil {
		b.Skip(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	for _, recompute := range []bool{false, true} {
		for _, threads := range []int{1, 2} {
			b.Run(fmt.Sprintf("threads=%d/recompute=%t", threads, recompute), func(b *testing.B) {
				m := openModel(b, f, lm.Options{Threads: threads, Recompute: recompute, LoRA: &lm.LoRA{Rank: 8}})
				bench(b, m, sequences(4, 256, m.Config().Vocab), 1)
			})
		}
	}
}

// BenchmarkWhole is a step of all of a small model.
func BenchmarkWhole(b *testing.B) {
	for _, a := range []lm.Architecture{
		{Dim: 192, Layers: 6, Heads: 6, KVHeads: 3, FFN: 512, Context: 256},
		{Dim: 256, Layers: 8, Heads: 8, KVHeads: 4, FFN: 704, Context: 256},
	} {
		for _, threads := range []int{1, 2, 16} {
			if threads > runtime.NumCPU() {
				continue
			}
			b.Run(fmt.Sprintf("dim=%d/threads=%d", a.Dim, threads), func(b *testing.B) {
				m, err := lm.Init(a, words(2048), 1, lm.Options{Threads: threads})
				if err != nil {
					b.Fatal(err)
				}
				defer m.Close()
				bench(b, m, sequences(64, 256, 2048), 16)
			})
		}
	}
}
