package model_test

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/quant"
)

// randomOf changes matrices of the layers of a file by random F16 numbers.
func randomOf(f *gguf.File, rank int, parts ...string) *adapter.Adapter {
	arch, _ := f.String("general.architecture")
	a := &adapter.Adapter{Architecture: arch, Alpha: 16, Type: gguf.F16}
	r := rand.New(rand.NewPCG(1, 1))
	numbers := func(n int, deviation float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = kernel.FromF16(kernel.ToF16Sat(float32(r.NormFloat64() * deviation)))
		}
		return v
	}
	for _, x := range f.Tensors() {
		wanted := len(parts) == 0
		for _, p := range parts {
			wanted = wanted || strings.Contains(x.Name, p)
		}
		if wanted && len(x.Shape) == 2 && strings.HasPrefix(x.Name, "blk.") {
			a.Updates = append(a.Updates, adapter.Update{
				Name: x.Name, Rank: rank, In: x.Shape[0], Out: x.Shape[1],
				A: numbers(rank*x.Shape[0], 1), B: numbers(rank*x.Shape[1], 0.01),
			})
		}
	}
	return a
}

// BenchmarkAdapters measures what adapters cost on one core, on the 135M shape,
// where they weigh most: a token of a prompt of 256, and a step of an answer.
func BenchmarkAdapters(b *testing.B) {
	recipe, err := quant.ParseRecipe("Q8_0")
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "135M.gguf")
	if err := quant.Synthetic(b.Context(), path, "135M", recipe, 1, nil); err != nil {
		b.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	one := func(a *adapter.Adapter) []model.Adapter { return []model.Adapter{{LoRA: a, Scale: 1}} }
	for _, c := range []struct {
		name string
		list []model.Adapter
	}{
		{"none", nil},
		{"rank8-qv", one(randomOf(f, 8, "attn_q", "attn_v"))},
		{"rank8", one(randomOf(f, 8))},
		{"rank64", one(randomOf(f, 64))},
	} {
		m, err := model.Load(f, model.Options{Threads: 1, Adapters: c.list})
		if err != nil {
			b.Fatal(err)
		}
		text := make([]int32, 256)
		for i := range text {
			text[i] = int32(i * 7 % 1000)
		}
		b.Run(c.name+"/prompt", func(b *testing.B) {
			for b.Loop() {
				s := m.NewSequence()
				if err := m.Forward([]model.Step{{Seq: s, Tokens: text, Want: 1}}); err != nil {
					b.Fatal(err)
				}
				s.Close()
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N*len(text)), "µs/token")
		})
		b.Run(c.name+"/answer", func(b *testing.B) {
			s := m.NewSequence()
			defer s.Close()
			steps := []model.Step{{Seq: s, Tokens: text[:1], Want: 1}}
			for b.Loop() {
				if s.Len() > 500 {
					s.Truncate(0)
				}
				if err := m.Forward(steps); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/token")
		})
		m.Close()
	}
}
