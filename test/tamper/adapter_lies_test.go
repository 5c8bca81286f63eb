package tamper_test

import (
	"bytes"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/adapter/merge"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/receipt"
)

// lora is an adapter in a file, and the scale that it is used with.
type lora struct {
	adapter *adapter.Adapter
	scale   float32
	file    *gguf.File
	print   *fingerprint.Tree
}

// made writes an adapter.
func made(t testing.TB, a *adapter.Adapter, scale float32) *lora {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lora.gguf")
	if err := a.Write(path); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	print, err := fingerprint.Of(t.Context(), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &lora{a, scale, f, print}
}

// random is an adapter of the honest model with random numbers.
func random(seed string) *adapter.Adapter { return testmodel.Models[0].Adapter(seed, 6, 12, 0.4) }

// adapters are those of the honest model.
func adapters(t testing.TB) []*lora {
	t.Helper()
	return []*lora{made(t, random("one"), 1), made(t, random("two"), -0.5)}
}

// scaled is an adapter at another scale.
func (l *lora) scaled(scale float32) *lora {
	c := *l
	c.scale = scale
	return &c
}

// models are adapters as an engine takes them.
func models(list []*lora) []model.Adapter {
	var out []model.Adapter
	for _, l := range list {
		out = append(out, model.Adapter{LoRA: l.adapter, Scale: l.scale})
	}
	return out
}

// named are adapters as a receipt names them.
func named(list []*lora) []receipt.Adapter {
	var out []receipt.Adapter
	for _, l := range list {
		out = append(out, receipt.Adapter{File: l.print.Root(), Scale: l.scale})
	}
	return out
}

// with opens the honest model with other adapters.
func (w *world) with(t *testing.T, list ...*lora) *engine.Engine {
	t.Helper()
	return open(t, w.path, engine.Options{Threads: 1, Context: room, Adapters: models(list)})
}

// adaptedBy is a lie about who computed the text: the honest model with other
// adapters than the receipt names.
func adaptedBy(list func(t *testing.T, right []*lora) []*lora) forger {
	return func(t *testing.T, w *world) *forged {
		r, right := w.answerBy(t, w.with(t, list(t, w.loras)...), story()), w.answer(t, story())
		return r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
	}
}

// adaptedStates is a lie about the states, which are those of other adapters,
// under the right text.
func adaptedStates(layer int, list func(t *testing.T, right []*lora) []*lora) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.states = statesOf(t, w.with(t, list(t, w.loras)...), r.read())
		return r.forged(t).at(fmt.Sprintf("layer %d, position 0", layer)).in(fmt.Sprintf("layer cell %d, position 0", layer))
	}
}

// claimed is a lie in the names: an honest answer, under other adapters.
func claimed(detail string, change func(list []receipt.Adapter) []receipt.Adapter) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.claims.Adapters = change(slices.Clone(r.claims.Adapters))
		return r.forged(t).at(detail)
	}
}

// expected is the same to one who knows what to expect, offline.
func expected(detail string, change func(list []receipt.Adapter) []receipt.Adapter) forger {
	return func(t *testing.T, w *world) *forged {
		f := claimed(detail, change)(t, w)
		f.expect.Adapters = named(w.loras)
		return f
	}
}

// crafted changes claim 12, which is a list of pairs.
func crafted(detail string, change func(list []any) any) forger {
	return craftedClaims(story, func(c map[uint64]any) { c[12] = change(c[12].([]any)) }, detail)
}

var adapterLies = []lie{
	{name: "the text of the model without its adapters", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedBy(func(*testing.T, []*lora) []*lora { return nil })},
	{name: "the text of the model with one of its two adapters", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedBy(func(_ *testing.T, right []*lora) []*lora { return right[:1] })},
	{name: "the text of another adapter of the same shape", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedBy(func(t *testing.T, right []*lora) []*lora {
		return []*lora{made(t, random("three"), 1), right[1]}
	})},
	{name: "the text of an adapter at another scale", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedBy(func(_ *testing.T, right []*lora) []*lora {
		return []*lora{right[0].scaled(0.25), right[1]}
	})},
	{name: "the text of an adapter with another alpha", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedBy(func(t *testing.T, right []*lora) []*lora {
		a := random("one")
		a.Alpha = 2
		return []*lora{made(t, a, 1), right[1]}
	})},
	{name: "the text of the merged model", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		base, err := gguf.Open(w.path)
		if err != nil {
			t.Fatal(err)
		}
		defer base.Close()
		path := filepath.Join(t.TempDir(), "merged.gguf")
		var list []merge.Adapter
		for _, l := range w.loras {
			list = append(list, merge.Adapter{LoRA: l.adapter, Scale: l.scale})
		}
		if err := merge.File(t.Context(), base, list, path, nil, nil); err != nil {
			t.Fatal(err)
		}
		r, right := w.answerBy(t, open(t, path, engine.Options{Threads: 1, Context: room}), story()), w.answer(t, story())
		return r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
	}},
	{name: "the states of the model without its adapters under the right text", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedStates(0, func(*testing.T, []*lora) []*lora { return nil })},
	{name: "the states of a scale that is one bit off", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedStates(0, func(_ *testing.T, right []*lora) []*lora {
		return []*lora{right[0].scaled(math.Nextafter32(1, 2)), right[1]}
	})},
	{name: "the states of the adapters in the other order", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedStates(0, func(_ *testing.T, right []*lora) []*lora {
		return []*lora{right[1], right[0]}
	})},
	{name: "the states of an adapter with one number changed", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedStates(1, func(t *testing.T, right []*lora) []*lora {
		a := random("one")
		for i := range a.Updates {
			if u := &a.Updates[i]; u.Name == "blk.1.ffn_up.weight" {
				u.B[7] += 0.5
			}
		}
		return []*lora{made(t, a, 1), right[1]}
	})},
	{name: "the states of an adapter without one of its updates", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: adaptedStates(2, func(t *testing.T, right []*lora) []*lora {
		a := random("one")
		a.Updates = slices.DeleteFunc(a.Updates, func(u adapter.Update) bool { return u.Name == "blk.2.attn_v.weight" })
		return []*lora{made(t, a, 1), right[1]}
	})},
	{name: "the receipt names another adapter than the one at hand", full: receipt.CheckAdapters, sampled: receipt.CheckAdapters, forge: claimed("the receipt is for the model with the adapters: 0900", func(list []receipt.Adapter) []receipt.Adapter {
		list[0].File = receipt.Hash{9}
		return list
	})},
	{name: "the receipt names another scale than the one at hand", full: receipt.CheckAdapters, sampled: receipt.CheckAdapters, forge: claimed("at scale 0.5", func(list []receipt.Adapter) []receipt.Adapter {
		list[1].Scale = 0.5
		return list
	})},
	{name: "the receipt names the adapters at hand in the other order", full: receipt.CheckAdapters, sampled: receipt.CheckAdapters, forge: claimed("at scale -0.5, ", func(list []receipt.Adapter) []receipt.Adapter {
		slices.Reverse(list)
		return list
	})},
	{name: "the receipt names an adapter too few", full: receipt.CheckAdapters, sampled: receipt.CheckAdapters, forge: claimed("the model at hand has: ", func(list []receipt.Adapter) []receipt.Adapter { return list[:1] })},
	{name: "the receipt names no adapters", full: receipt.CheckAdapters, sampled: receipt.CheckAdapters, forge: claimed("with the adapters: none;", func([]receipt.Adapter) []receipt.Adapter { return nil })},
	{name: "the receipt names no adapters, and some were expected", offline: receipt.CheckAdapters, forge: expected("the receipt is for the adapters none", func([]receipt.Adapter) []receipt.Adapter { return nil })},
	{name: "the receipt names another scale than the one expected", offline: receipt.CheckAdapters, forge: expected("at scale 2, ", func(list []receipt.Adapter) []receipt.Adapter {
		list[0].Scale = 2
		return list
	})},
	{name: "adapters in a receipt of the suite without", offline: receipt.CheckSuite, forge: craftedClaims(story, func(c map[uint64]any) { c[1] = "aval/1" }, `2 adapters do not go with the suite "aval/1"`)},
	{name: "the suite of adapters without any", offline: receipt.CheckSuite, forge: craftedClaims(story, func(c map[uint64]any) { delete(c, 12) }, `0 adapters do not go with the suite "aval/2"`)},
	{name: "a scale of 0, which hides that an adapter was not used", offline: receipt.CheckRanges, forge: crafted("or its scale is 0", func(list []any) any {
		list[0] = []any{list[0].([]any)[0], float32(0)}
		return list
	})},
	{name: "a scale that is not a number", offline: receipt.CheckRanges, forge: crafted("not finite", func(list []any) any {
		list[0] = []any{list[0].([]any)[0], float32(math.NaN())}
		return list
	})},
	{name: "an adapter of zeros", offline: receipt.CheckRanges, forge: crafted("adapter 0 is all zeros", func(list []any) any {
		list[0] = []any{bytes.Repeat([]byte{0}, 32), float32(1)}
		return list
	})},
	{name: "more adapters than a receipt may name", offline: receipt.CheckRanges, forge: crafted("9 adapters, the limit is 8", func(list []any) any {
		for len(list) < 9 {
			list = append(list, list[0])
		}
		return list
	})},
}

// TestHonestAdapters holds that answers with adapters pass.
func TestHonestAdapters(t *testing.T) {
	w := newWorld(t)
	a := adapters(t)
	for name, list := range map[string][]*lora{"two": a, "one": a[:1], "the other way round": {a[1], a[0]}} {
		t.Run(name, func(t *testing.T) {
			in := w.adapted(t, list...)
			for _, q := range []ask{story(), greedy(), talk()} {
				in.answer(t, q).passes(t, in)
			}
		})
	}
}
