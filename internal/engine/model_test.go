package engine_test

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/trace"
)

func openStories(t *testing.T, quant string, opt engine.Options) *engine.Engine {
	t.Helper()
	e, err := engine.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-"+quant+".gguf"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// TestReferenceText generates the text that llama.cpp generates from the same
// weights.
func TestReferenceText(t *testing.T) {
	const want = ", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball. She wanted to play with it, but it was too high.\nLily's mom said"
	for _, quant := range []string{"f32", "F16", "p192-Q8_0", "Q4_K_M"} {
		e := openStories(t, quant, engine.Options{})
		ids, err := e.Tokenize("Once upon a time", true)
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Generate(t.Context(), engine.Request{Prompt: ids, MaxTokens: 64}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got.Text != want || got.Stop != engine.StopLength {
			t.Errorf("%s: stop %s, text %q", quant, got.Stop, got.Text)
		}
	}
}

// TestAloneOnModel is the promise of the package on a real model: what each of
// many users gets at the same time, with shared prefixes, small chunks and any
// number of threads, is what they get alone.
func TestAloneOnModel(t *testing.T) {
	users := 24
	if testing.Short() {
		users = 8
	}
	prompts := []string{
		"Once upon a time", "Once upon a time there was a", "Lily and Tom went to the park. They saw a big dog.",
		"Lily and Tom went to the park. They saw a small cat and a bird that", "One day", "The",
	}
	one := openStories(t, "Q4_K_M", engine.Options{Threads: 1, Slots: 1, CacheBytes: -1})
	many := openStories(t, "Q4_K_M", engine.Options{Threads: 2, Slots: 5, Batch: 7, Share: 3})
	var wg sync.WaitGroup
	for i := range users {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 7))
			ids, err := one.Tokenize(prompts[rng.IntN(len(prompts))], true)
			if err != nil {
				t.Error(err)
				return
			}
			r := engine.Request{
				Prompt: ids, MaxTokens: 1 + rng.IntN(60), Logprobs: rng.IntN(3), User: string(rune('a' + rng.IntN(3))),
				Params: sample.Params{Temperature: float32(rng.IntN(2)), Seed: rng.Uint64N(3), RepeatPenalty: 1.1, TopP: 0.95},
			}
			if rng.IntN(2) == 0 {
				r.Stop = []string{".", "and th"}
			}
			var alone, together []engine.Event
			want, err1 := one.Generate(t.Context(), r, func(ev engine.Event) error { alone = append(alone, ev); return nil })
			got, err2 := many.Generate(t.Context(), r, func(ev engine.Event) error { together = append(together, ev); return nil })
			if err := errors.Join(err1, err2); err != nil {
				t.Error(err)
				return
			}
			if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(engine.Result{}, "Timings")); diff != "" {
				t.Errorf("user %d: alone (-) and together (+):\n%s", i, diff)
			}
			if diff := cmp.Diff(alone, together); diff != "" {
				t.Errorf("user %d: the events alone (-) and together (+):\n%s", i, diff)
			}
		})
	}
	wg.Wait()
}

func TestEmbeddingOnModel(t *testing.T) {
	e := openStories(t, "f32", engine.Options{})
	ids, err := e.Tokenize("Once upon a time there was a little girl", true)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := e.Embed(t.Context(), ids)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if _, err := e.Generate(t.Context(), engine.Request{Prompt: ids, MaxTokens: 20}, nil); err != nil {
				t.Error(err)
			}
			got, err := e.Embed(t.Context(), ids)
			if diff := cmp.Diff(alone, got); diff != "" || err != nil {
				t.Errorf("%v (-alone +together):\n%s", err, diff)
			}
		})
	}
	wg.Wait()
}

func TestGrammarOnModel(t *testing.T) {
	e := openStories(t, "f32", engine.Options{})
	ids, err := e.Tokenize("Once", true)
	if err != nil {
		t.Fatal(err)
	}
	g, err := grammar.FromGBNF(`root ::= " " ("yes" | "no") "!"`)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Generate(t.Context(), engine.Request{Prompt: ids, Grammar: g, MaxTokens: 20}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.Text != " yes!" && got.Text != " no!" || got.Stop != engine.StopEOS {
		t.Errorf("got %q, stop %s", got.Text, got.Stop)
	}
}

// TestDecodeOnModelAllocates bounds what a whole decode step costs, model and
// all: the rest is the request itself.
func TestDecodeOnModelAllocates(t *testing.T) {
	e := openStories(t, "p192-Q8_0", engine.Options{Threads: 1})
	ids, err := e.Tokenize("Once", true)
	if err != nil {
		t.Fatal(err)
	}
	count := func(n int) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := e.Generate(t.Context(), engine.Request{Prompt: ids, MaxTokens: n, IgnoreEOS: true}, nil); err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	count(200)
	short, long := count(20), count(220)
	if extra := int64(long) - int64(short); extra > 40 {
		t.Errorf("200 more tokens make %d more allocations; want next to none", extra)
	}
}

// TestTraceOnModel holds the trace of an answer to be that of its tokens read
// in one piece, whoever else is being served and whatever was cached.
func TestTraceOnModel(t *testing.T) {
	e := openStories(t, "Q4_K_M", engine.Options{Threads: 2, Slots: 3, Batch: 7, Share: 3})
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			text := "Once upon a time there was a little girl"
			if i%4 == 3 {
				text = "Once upon a time there was a dog"
			}
			ids, err := e.Tokenize(text, true)
			if err != nil {
				t.Error(err)
				return
			}
			r := engine.Request{
				Prompt: ids, MaxTokens: 5 + 5*(i%3), Trace: i%3 != 1,
				Params: sample.Params{Temperature: 1, Seed: uint64(i % 2)},
			}
			got, err := e.Generate(t.Context(), r, nil)
			if err != nil {
				t.Error(err)
				return
			}
			if got.Trace == nil != !r.Trace {
				t.Errorf("request %d: a trace is there: %v", i, got.Trace != nil)
			}
			if !r.Trace {
				return
			}
			read := append(slices.Clone(ids), got.Drawn()...)
			var want *trace.Tree
			if err := e.Compute(t.Context(), func(m *model.Model) error {
				s := m.NewSequence()
				defer s.Close()
				if err := m.Forward([]model.Step{{Seq: s, Tokens: read[:len(read)-1], Trace: true}}); err != nil {
					return err
				}
				want, err = s.Trace()
				return err
			}); err != nil {
				t.Error(err)
				return
			}
			if !want.Equal(got.Trace) {
				t.Errorf("request %d: the trace differs from that of one pass", i)
			}
		})
	}
	wg.Wait()
}
