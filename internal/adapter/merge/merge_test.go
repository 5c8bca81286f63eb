package merge_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/adapter/merge"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/testmodel"
)

func open(t *testing.T, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// added adds s B A to the weights of a tensor, as spec/numerics.md section 8.3
// says, one number after the other.
func added(w []float32, u *adapter.Update, s float32) {
	term := func(i, c, k int) float32 {
		if u.Name == adapter.Embedding {
			return float32(u.B[c*u.Rank+k] * u.A[i*u.Rank+k])
		}
		return float32(u.B[i*u.Rank+k] * u.A[k*u.In+c])
	}
	for i := range u.Out {
		for c := range u.In {
			d := float32(0)
			for k0 := 0; k0 < u.Rank; k0 += 32 {
				p := float32(0)
				for k := k0; k < min(k0+32, u.Rank); k++ {
					p += term(i, c, k)
				}
				d += p
			}
			w[i*u.In+c] += float32(s * d)
		}
	}
}

func adaptersOf(s *testmodel.Model) []merge.Adapter {
	return []merge.Adapter{
		{LoRA: s.Adapter("one", 5, 3, 0.3), Scale: 1},
		{LoRA: s.Adapter("two", 41, 0, 0.2, "attn", "token_embd"), Scale: -0.7},
	}
}

// TestFile holds every tensor of a merged file to be what its definition gives,
// of models of all types, with and without a recipe.
func TestFile(t *testing.T) {
	dir := t.TempDir()
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		if s.Layers > 40 {
			continue // nothing new
		}
		recipes := []string{""}
		if s.Name == "llama" || s.Name == "phi3-long" {
			recipes = []string{"", "F32", "Q8_0"}
		}
		for _, name := range recipes {
			t.Run(s.Name+"/"+name, func(t *testing.T) {
				path, err := s.Write(dir, false)
				if err != nil {
					t.Fatal(err)
				}
				base, list := open(t, path), adaptersOf(s)
				var recipe *quant.Recipe
				if name != "" {
					r, err := quant.ParseRecipe(name)
					if err != nil {
						t.Fatal(err)
					}
					r.Requantize = true
					recipe = &r
				}
				to := filepath.Join(dir, fmt.Sprintf("%s-%s-merged.gguf", s.Name, name))
				var last, all int64
				if err := merge.File(t.Context(), base, list, to, recipe, func(done, total int64) { last, all = done, total }); err != nil {
					t.Fatal(err)
				}
				if last != all || all == 0 {
					t.Errorf("progress ended at %d of %d", last, all)
				}
				compare(t, base, open(t, to), list, recipe)
			})
		}
	}
}

func compare(t *testing.T, base, got *gguf.File, list []merge.Adapter, recipe *quant.Recipe) {
	t.Helper()
	changed := 0
	for _, x := range base.Tensors() {
		w := make([]float32, x.Elements())
		if err := quant.Dequantize(x.Type, base.Data(x), w); err != nil {
			t.Fatal(err)
		}
		touched := false
		for _, a := range list {
			for j := range a.LoRA.Updates {
				if u := &a.LoRA.Updates[j]; u.Name == x.Name {
					added(w, u, a.LoRA.Scale(u, a.Scale))
					touched = true
				}
			}
		}
		y := got.Tensor(x.Name)
		want := append([]byte{}, base.Data(x)...)
		if touched || y.Type != x.Type {
			want = make([]byte, y.Size)
			if err := quant.Quantize(y.Type, w, want); err != nil {
				t.Fatal(err)
			}
		}
		if recipe == nil && y.Type != x.Type {
			t.Errorf("%s has type %v, want %v", x.Name, y.Type, x.Type)
		}
		if string(got.Data(y)) != string(want) {
			t.Errorf("%s (%v) is not what its definition gives", x.Name, y.Type)
		}
		if touched {
			changed++
		}
	}
	if changed == 0 {
		t.Error("nothing was changed")
	}
}

// TestRefused names what is not merged.
func TestRefused(t *testing.T) {
	dir := t.TempDir()
	s := &testmodel.Models[3]
	path, err := s.Write(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	base := open(t, path)
	other := s.Adapter("a", 2, 1, 0.1)
	other.Updates[0].Name = "blk.99.attn_q.weight"
	large := s.Adapter("a", 2, 1, 0.1)
	large.Updates[0].B[0] = math.MaxFloat32
	q4, err := quant.ParseRecipe("Q4_0")
	if err != nil {
		t.Fatal(err)
	}
	for want, list := range map[string][]merge.Adapter{
		"scale of NaN":                {{LoRA: s.Adapter("a", 2, 1, 0.1), Scale: float32(math.NaN())}},
		"too large for its alpha":     {{LoRA: s.Adapter("a", 2, 3, 0.1), Scale: math.MaxFloat32}},
		"blk.99.attn_q.weight":        {{LoRA: other, Scale: 1}},
		"only finite weights":         {{LoRA: large, Scale: 1e30}},
		"adds up the errors of both:": {{LoRA: s.Adapter("a", 2, 1, 0.1), Scale: 1}},
	} {
		var recipe *quant.Recipe
		if strings.Contains(want, "errors of both") {
			recipe = &q4
		}
		to := filepath.Join(dir, "out.gguf")
		err := merge.File(t.Context(), base, list, to, recipe, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want one with %q", err, want)
		}
		if _, err := os.Stat(to); err == nil {
			t.Errorf("%s: left a file", want)
		}
	}
}
