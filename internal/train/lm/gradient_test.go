package lm_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/lm"
)

// checkGradients compares the gradient of parameters with central differences
// of f, the loss as a smooth function of the parameters in values: each in the
// direction of a random half of the elements of its gradient. The difference may
// be part of the gradient's length. Of each kind of tensor every other layer is
// looked at.
func checkGradients(t *testing.T, params []*train.Param, values map[string][]float64, f func() float64, scale, part float64) {
	t.Helper()
	r := rand.New(rand.NewPCG(11, 12))
	worst := 0.0
	for _, p := range params {
		if rest, ok := strings.CutPrefix(p.Name, "blk."); ok {
			if layer, kind, _ := strings.Cut(rest, "."); (int(layer[len(layer)-1])+len(kind))%2 == 0 {
				continue
			}
		}
		w, size, norm := values[p.Name], 0.0, 0.0
		for i, g := range p.Grad {
			size += w[i] * w[i]
			norm += float64(g) * float64(g)
		}
		size, norm = math.Sqrt(size), math.Sqrt(norm)
		if norm == 0 || math.IsNaN(norm) {
			t.Errorf("%s: gradient of length %g", p.Name, norm)
			continue
		}
		direction, want := make([]float64, len(w)), 0.0
		for i, g := range p.Grad {
			direction[i] = float64(r.IntN(2)) * float64(g) / norm
			want += direction[i] * float64(g) / scale
		}
		step := 1e-4 * max(size, 1e-2)
		at := func(s float64) float64 {
			for i := range w {
				w[i] += s * direction[i]
			}
			y := f()
			for i := range w {
				w[i] -= s * direction[i]
			}
			return y
		}
		got := (at(step) - at(-step)) / (2 * step)
		off := math.Abs(got-want) / (norm / scale)
		if worst = max(worst, off); off > part {
			t.Errorf("%s: derivative %.6g, difference quotient %.6g: %.2g of the gradient's length %.3g", p.Name, want, got, off, norm/scale)
		}
	}
	t.Logf("worst difference %.2g of a gradient's length", worst)
}

// float64s converts.
func float64s(x []float32) []float64 {
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = float64(v)
	}
	return y
}

// fill gives a twin the weights of a file.
func fill(t *testing.T, w *twin, f *gguf.File) {
	t.Helper()
	for _, x := range f.Tensors() {
		v, err := w.d.Floats(f, x)
		if err != nil {
			t.Fatal(err)
		}
		w.weights[x.Name] = float64s(v)
	}
}

// gradientModels are those of testmodel that a twin computes fast enough: every
// architecture, with windows, caps, biases, norms of heads, shared heads, tied
// and untied.
var gradientModels = []string{"llama-linear", "qwen2-yarn", "qwen3", "gemma2", "gemma3-default", "gemma3-wide", "phi3-long", "smollm3"}

// TestGradients compares the gradients of all parameters with differences of
// the twin. What separates the two is above all the rounding of keys and values
// to f16, each by at most 2^-12 of itself (0.00025), which layers add up.
func TestGradients(t *testing.T) {
	for _, name := range gradientModels {
		if testing.Short() && name != "gemma3-wide" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := openFile(t, named(t, name), true)
			w, err := newTwin(f)
			if err != nil {
				t.Fatal(err)
			}
			m := openModel(t, f, lm.Options{Threads: 1})
			tokens := text(11)
			mask := []bool{true, true, false, true, true, true, true, false, true, true}
			loss, err := m.Accumulate([]train.Example{{Tokens: tokens, Mask: mask}}, 0.5)
			if err != nil {
				t.Fatal(err)
			}
			fill(t, w, f)
			if want := w.loss(tokens, mask); math.Abs(loss.Sum-want) > 1e-3*want {
				t.Errorf("loss %v, the twin has %v", loss.Sum, want)
			}
			checkGradients(t, m.Params(), w.weights, func() float64 { return w.loss(tokens, mask) }, 0.5, 2e-3)
		})
	}
}

// TestAdapterGradients does the same for the updates of frozen models: in F32,
// where the gradients are as near as above, and quantised, where the twin has
// the weights of the file but not the rounding of activations to int8.
func TestAdapterGradients(t *testing.T) {
	for _, c := range []struct {
		name  string
		plain bool
		part  float64
	}{{"llama-linear", true, 2e-3}, {"phi3-long", true, 2e-3}, {"gemma2", false, 0.05}, {"qwen3", false, 0.05}, {"phi3-long", false, 0.05}} {
		if testing.Short() && c.name != "llama-linear" {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := named(t, c.name)
			f := openFile(t, s, c.plain)
			w, err := newTwin(f)
			if err != nil {
				t.Fatal(err)
			}
			m := openModel(t, f, lm.Options{Threads: 1, LoRA: &lm.LoRA{Rank: 3, Alpha: 4, Seed: 1, Targets: allTargets(s)}})
			values := map[string][]float64{}
			for i, p := range m.Params() {
				if i%2 == 1 { // B, which is zero at first
					train.InitNormal(p, 7, 0.05)
				}
				values[p.Name] = float64s(p.Data)
			}
			tokens := text(11)
			if _, err := m.Accumulate([]train.Example{{Tokens: tokens}}, 1); err != nil {
				t.Fatal(err)
			}
			fill(t, w, f)
			base := w.weights
			w.weights = map[string][]float64{}
			for name, v := range base {
				w.weights[name] = append([]float64(nil), v...)
			}
			checkGradients(t, m.Params(), values, func() float64 {
				for _, p := range m.Params() {
					if name, ok := strings.CutSuffix(p.Name, ".lora_a"); ok {
						update(w.weights[name], base[name], values[p.Name], values[name+".lora_b"], p.Shape[0], p.Shape[1], 4.0/3)
					}
				}
				return w.loss(tokens, nil)
			}, 1, c.part)
		})
	}
}

// update sets w to base + s B A.
func update(w, base, a, b []float64, rank, in int, s float64) {
	for i := range w {
		w[i] = base[i]
		for r := range rank {
			w[i] += s * b[i/in*rank+r] * a[r*in+i%in]
		}
	}
}
