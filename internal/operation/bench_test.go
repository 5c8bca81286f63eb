package operation_test

import (
	"context"
	"encoding/binary"
	"math"
	"path/filepath"
	"sync"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/sample"
)

// shape opens a synthetic model of a published size, all its matrices of one
// type, and gives it n states of random tokens.
func shape(t testing.TB, name string, typ gguf.Type, n int) *run {
	t.Helper()
	path := filepath.Join(t.TempDir(), name+".gguf")
	recipe, err := quant.ParseRecipe(typ.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := quant.Synthetic(context.Background(), path, name, recipe, 1, nil); err != nil {
		t.Fatal(err)
	}
	r := openFile(t, path)
	r.run(n)
	return r
}

// run has the engine read n tokens and keeps the states.
func (r *run) run(n int) {
	r.t.Helper()
	random := newRandom(3)
	for range n {
		r.tokens = append(r.tokens, int32(random.IntN(r.vocab())))
	}
	s := r.model.NewSequence()
	defer s.Close()
	var mu sync.Mutex
	steps := []model.Step{{Seq: s, Tokens: r.tokens, Want: 1, Visit: func(layer, position int, x []float32) {
		mu.Lock()
		defer mu.Unlock()
		var b []byte
		for _, v := range x {
			b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
		}
		r.x[[2]int{layer, position}] = b
	}}}
	if err := r.model.Forward(steps); err != nil {
		r.t.Fatal(err)
	}
	for l := range r.model.Config().Layers {
		for p := range r.tokens {
			r.kv[[2]int{l, p}] = s.KV(nil, l, p, p+1)
		}
	}
	r.prompt = n
}

func BenchmarkCompute(b *testing.B) {
	for _, name := range []string{"135M", "0.5B", "1.1B"} {
		b.Run(name, func(b *testing.B) {
			r := shape(b, name, gguf.Q8_0, 571)
			b.Run("layer", func(b *testing.B) {
				for b.Loop() {
					r.compute(r.layer(5, 570)).Root()
				}
			})
			b.Run("greedy", func(b *testing.B) {
				for b.Loop() {
					r.compute(r.output(0, sample.Params{})).Root()
				}
			})
			b.Run("draw", func(b *testing.B) {
				p := sample.Params{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1.1}
				for b.Loop() {
					r.compute(r.output(0, p)).Root()
				}
			})
		})
	}
}
