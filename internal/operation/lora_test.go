package operation_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testmodel"
)

// adapted opens a synthetic model with two adapters, one of more ranks than a
// block, one of F16 numbers.
func adapted(t testing.TB, s *testmodel.Model) *run {
	t.Helper()
	dir := t.TempDir()
	one, two := s.Adapter("one", 5, 3, 0.3), s.Adapter("two", 41, 0, 0.2, "attn", "ffn_down", "token_embd")
	two.Type = gguf.F16
	var loras []*gguf.File
	var list []model.Adapter
	var headers []operation.Adapter
	for i, a := range []model.Adapter{{LoRA: one, Scale: 1}, {LoRA: two, Scale: -0.7}} {
		path := filepath.Join(dir, fmt.Sprintf("%d.gguf", i))
		if err := a.LoRA.Write(path); err != nil {
			t.Fatal(err)
		}
		f := openGGUF(t, path)
		var err error
		if a.LoRA, err = adapter.Read(f); err != nil {
			t.Fatal(err)
		}
		loras, list, headers = append(loras, f), append(list, a), append(headers, operation.Adapter{Header: f, Scale: a.Scale})
	}
	path, err := s.Write(dir, false)
	if err != nil {
		t.Fatal(err)
	}
	r := loaded(t, openGGUF(t, path), list)
	r.loras, r.adapters = loras, headers
	return r
}

func openGGUF(t testing.TB, path string) *gguf.File {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestAdapters holds the cells of every architecture with adapters to give the
// logits and the states of the engine, bit for bit.
func TestAdapters(t *testing.T) {
	for _, list := range [][]testmodel.Model{testmodel.Models, testmodel.Wide} {
		for i := range list {
			s := &list[i]
			if s.Layers > 40 {
				continue // nothing new
			}
			t.Run(s.Name, func(t *testing.T) {
				t.Parallel()
				r := adapted(t, s)
				r.tokens, r.prompt = testmodel.Text()[:9], 1
				r.cells(0, len(r.tokens), nil)
				want := r.logits()
				for p := range r.tokens {
					v := r.compute(r.output(p, sample.Params{}))
					got := value(v, opOf(t, v.Plan(), "logits"))
					for j := range len(got) / 4 {
						if a, b := bits(got, j), math.Float32bits(want[p*testmodel.Vocab+j]); a != b {
							t.Fatalf("position %d: logit %d is %x, the engine's %x", p, j, a, b)
						}
					}
				}
				evaluate(t, r)
			})
		}
	}
}

// evaluate holds every leaf that adapters add to be what a referee computes, and
// its evidence to be small.
func evaluate(t *testing.T, r *run) {
	t.Helper()
	last := len(r.tokens) - 1
	leaves := 0
	for l := range r.model.Config().Layers {
		v := r.compute(r.layer(l, last))
		p := v.Plan()
		for op, o := range p.Ops() {
			if !strings.Contains(o.Name, ".lora") {
				continue
			}
			for leaf := range o.Leaves {
				leaves++
				var inputs [][]byte
				for _, in := range p.Inputs(op, leaf) {
					inputs = append(inputs, r.bytes(v, in))
				}
				got, err := p.Eval(op, leaf, inputs)
				if err != nil || string(got) != string(v.Leaf(op, leaf)) {
					t.Fatalf("layer %d, %s, leaf %d is not what it was computed to be: %v", l, o.Name, leaf, err)
				}
				if n := p.Evidence(op, leaf, operation.Run{Layers: 64, Positions: 1 << 17, Tensors: 1000}); n > 16<<10 {
					t.Errorf("layer %d, %s, leaf %d takes %d bytes of evidence", l, o.Name, leaf, n)
				}
			}
		}
	}
	if leaves == 0 {
		t.Error("adapters add no leaves")
	}
}

// bytes is an input of a leaf, piece by piece.
func (r *run) bytes(v *operation.Values, in operation.Input) []byte {
	r.t.Helper()
	switch in.Kind {
	case operation.Leaves:
		var b []byte
		for i := in.From; i < in.To; i++ {
			b = append(b, v.Leaf(in.Op, i)...)
		}
		return b
	case operation.X:
		x, err := r.X(in.Layer, in.Position)
		if err != nil {
			r.t.Fatal(err)
		}
		return x[in.From*2048 : min(in.To*2048, len(x))]
	case operation.Tokens:
		var b []byte
		for _, id := range r.tokens[in.From:in.To] {
			b = append(b, byte(id), byte(id>>8), byte(id>>16), byte(id>>24))
		}
		return b
	case operation.Tiles:
		f, name := r.file, in.Tensor
		if i, own, ok := operation.OfAdapter(name); ok {
			f, name = r.loras[i], own
		}
		x := f.Tensor(name)
		t, err := fingerprint.TilingOf(x.Type, x.Shape)
		if err != nil {
			r.t.Fatal(err)
		}
		at, size := t.Range(in.From, in.To)
		return f.Data(x)[at : at+size]
	}
	r.t.Fatalf("an input of kind %d", in.Kind)
	return nil
}

// TestAdapterNames: tensors of adapters are called apart from those of models.
func TestAdapterNames(t *testing.T) {
	i, name, ok := operation.OfAdapter(operation.AdapterTensor(7, "blk.0.attn_q.weight.lora_a"))
	if i != 7 || name != "blk.0.attn_q.weight.lora_a" || !ok {
		t.Errorf("%d %q %v", i, name, ok)
	}
	for _, name := range []string{"blk.0.attn_q.weight", "@/x", "@x/y", "@1", "", "@-1/x"} {
		if _, _, ok := operation.OfAdapter(name); ok {
			t.Errorf("%q is a tensor of an adapter", name)
		}
	}
}

// TestAdapterScale: what an update is multiplied by must be finite, for a
// referee, too, who loads no model.
func TestAdapterScale(t *testing.T) {
	r := adapted(t, &testmodel.Models[0])
	cell := operation.LayerCell{Layer: 0, Position: 1, Token: 3}
	if _, err := operation.PlanLayer(r.file, 0, cell, r.adapters...); err != nil {
		t.Fatal(err)
	}
	for _, s := range []float32{math.MaxFloat32, -math.MaxFloat32, float32(math.NaN()), float32(math.Inf(1))} {
		list := slices.Clone(r.adapters)
		list[0].Scale = s // times an alpha of 3
		if _, err := operation.PlanLayer(r.file, 0, cell, list...); err == nil || !strings.Contains(err.Error(), "want a finite number") {
			t.Errorf("a scale of %v: %v", s, err)
		}
	}
}
