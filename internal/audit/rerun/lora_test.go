package rerun_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/testmodel"
)

// loadAdapted loads a model with two adapters.
func loadAdapted(t testing.TB, s *testmodel.Model) *loaded {
	t.Helper()
	dir := t.TempDir()
	path, err := s.Write(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	l := load(t, path)
	two := s.Adapter("two", 34, 0, 0.2, "attn", "ffn_down", "token_embd")
	two.Type = gguf.F16
	l.scales = []float32{1, -0.5}
	var list []model.Adapter
	for i, a := range []*adapter.Adapter{s.Adapter("one", 5, 3, 0.3), two} {
		path := filepath.Join(dir, fmt.Sprintf("lora%d.gguf", i))
		if err := a.Write(path); err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if a, err = adapter.Read(f); err != nil {
			t.Fatal(err)
		}
		print, err := fingerprint.Of(context.Background(), f, 0)
		if err != nil {
			t.Fatal(err)
		}
		l.adapters = append(l.adapters, rerun.Adapter{File: f, Print: print})
		list = append(list, model.Adapter{LoRA: a, Scale: l.scales[i]})
	}
	if l.model, err = model.Load(l.file, model.Options{Adapters: list}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.model.Close() })
	return l
}

// TestEveryOperationOfAdapters is TestEveryOperation for models with adapters:
// each operation that they add can be disputed.
func TestEveryOperationOfAdapters(t *testing.T) {
	for _, i := range []int{0, 3, 6, 9, 12} { // llama, qwen2, gemma2, an untied gemma3, phi3
		s := &testmodel.Models[i]
		t.Run(s.Name, func(t *testing.T) {
			l := loadAdapted(t, s)
			a := requests(l)[0]
			l.draw(t, a, 4)
			rec, o := a.sign(t, nil)
			run, err := dispute.NewRun(rec)
			if err != nil {
				t.Fatal(err)
			}
			r := l.rerun(t, &rec, o)
			if i, wrong := r.Output(); wrong {
				t.Fatalf("the honest run's token %d is wrong", i)
			}
			rng := rand.New(rand.NewPCG(uint64(i), 1))
			cells := []dispute.Cell{{Position: 3}, {Layer: 1, Position: 11}, {Output: true, Position: 2}}
			added := 0
			for _, c := range cells {
				for _, o := range r.Operations(c) {
					if strings.Contains(o.Name, ".lora") {
						added++
					}
				}
				judgeCell(t, rng, run, r, c)
			}
			if added < 20 {
				t.Errorf("adapters add %d operations", added)
			}
		})
	}
}

// TestAdaptersDescribed: a description that shows too little of the adapters, or
// other ones, gives no plan.
func TestAdaptersDescribed(t *testing.T) {
	s := &testmodel.Models[0]
	l := loadAdapted(t, s)
	a := requests(l)[0]
	l.draw(t, a, 3)
	rec, o := a.sign(t, nil)
	run, err := dispute.NewRun(rec)
	if err != nil {
		t.Fatal(err)
	}
	prove := func(tree *fingerprint.Tree, q fingerprint.Request) []byte {
		p, err := tree.Prove(context.Background(), q)
		if err != nil {
			t.Fatal(err)
		}
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	cell := dispute.Cell{Layer: 1, Position: 5}
	header := prove(l.print, dispute.HeaderRequest("llama", cell))
	first, second := prove(l.adapters[0].Print, dispute.AdapterRequest(cell)), prove(l.adapters[1].Print, dispute.AdapterRequest(cell))
	none := prove(l.adapters[0].Print, fingerprint.Request{Keys: adapter.Keys()})
	for name, c := range map[string]struct {
		adapters [][]byte
		ok       bool
	}{
		"right":                {[][]byte{first, second}, true},
		"none":                 {nil, false},
		"one":                  {[][]byte{first}, false},
		"one more":             {[][]byte{first, second, second}, false},
		"the other way round":  {[][]byte{second, first}, false},
		"of the model instead": {[][]byte{header, second}, false},
		"without its tensors":  {[][]byte{none, second}, false},
	} {
		p, _, err := run.Plan(cell, encode(t, &dispute.Description{Model: header, Adapters: c.adapters}))
		if (err == nil) != c.ok || errors.Is(err, dispute.ErrImpossible) {
			t.Errorf("%s: %v, %v", name, p, err)
		}
	}
	// The adapters must be those of the receipt.
	swapped := *l
	swapped.adapters = slices.Clone(l.adapters)
	slices.Reverse(swapped.adapters)
	for _, list := range [][]rerun.Adapter{nil, l.adapters[:1], swapped.adapters} {
		if _, err := rerun.New(t.Context(), rerun.Config{Model: l.model, File: l.file, Print: l.print, Adapters: list, Claims: rec.Claims(), Opening: o}); err == nil {
			t.Errorf("%d other adapters are taken", len(list))
		}
	}
	// Tiles of an adapter are proved against its own root.
	tile := func(matrix string) fingerprint.Request {
		return fingerprint.Request{Tiles: []fingerprint.Tiles{{Tensor: "blk.1." + matrix + ".weight.lora_a", From: 0, To: 1}}}
	}
	const name = "@0/blk.1.attn_q.weight.lora_a"
	if _, err := run.Tiles(name, 0, 1, prove(l.adapters[0].Print, tile("attn_q"))); err != nil {
		t.Error(err)
	}
	for wrong, proof := range map[string][]byte{
		"of the other adapter": prove(l.adapters[1].Print, tile("attn_q")),
		"of another tensor":    prove(l.adapters[0].Print, tile("attn_k")),
	} {
		if _, err := run.Tiles(name, 0, 1, proof); err == nil {
			t.Errorf("a tile %s is taken", wrong)
		}
	}
	if _, err := run.Tiles("@7/x", 0, 1, nil); err == nil {
		t.Error("there is no adapter 7")
	}
}
