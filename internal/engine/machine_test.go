package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/avalnetwork/aval/internal/sample"
)

// sameAnswer compares what the user sees, and not where the time went.
var sameAnswer = cmp.Options{cmpopts.IgnoreFields(Result{}, "Timings", "Trace"), cmpopts.EquateEmpty()}

func randomRequest(rng *rand.Rand, context int) Request {
	r := Request{
		MaxTokens: rng.IntN(30),
		Params:    sample.Params{Seed: rng.Uint64N(4)},
		User:      string(rune('a' + rng.IntN(3))),
		IgnoreEOS: rng.IntN(4) == 0,
		Trace:     rng.IntN(2) == 0,
	}
	if rng.IntN(2) == 0 {
		r.Params.Temperature, r.Params.TopP, r.Params.RepeatPenalty = 1.5, 0.9, 1.1
	}
	if rng.IntN(3) == 0 {
		r.Params.LogitBias = map[int32]float32{int32(3 + rng.IntN(5)): 2}
	}
	// Few different beginnings, so that prefixes are shared.
	n := 1 + rng.IntN(context-2)
	r.Prompt = prompt(n)
	if n > 3 && rng.IntN(2) == 0 {
		r.Prompt[n-1-rng.IntN(3)] = 11
	}
	for range rng.IntN(3) {
		stops := []string{"aa", "b ab", "é", "cc", "ab b", "\ufffd"}
		r.Stop = append(r.Stop, stops[rng.IntN(len(stops))])
	}
	return r
}

// TestAlone is the promise of this package: under any load, with any options,
// each answer is the one that the request would have got alone.
func TestAlone(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 60
	}
	for seed := range rounds {
		rng := rand.New(rand.NewPCG(uint64(seed), 1))
		model := &fakeModel{ctx: 20 + rng.IntN(60)}
		h := newHand(model, Options{
			Slots: 1 + rng.IntN(6), Batch: 1 + rng.IntN(40), Share: 1 + rng.IntN(10),
			CacheBytes: int64(rng.IntN(200)),
		})
		var tasks []*task
		cancelled := map[*task]bool{}
		for len(tasks) < 25 || !h.idle() {
			if len(tasks) < 25 && rng.IntN(3) == 0 {
				tasks = append(tasks, h.mustAsk(randomRequest(rng, model.ctx)))
			}
			if len(tasks) > 0 && rng.IntN(20) == 0 {
				if victim := tasks[rng.IntN(len(tasks))]; !victim.done {
					h.cancel(victim, context.Canceled, h.clock.read())
					h.read(victim)
					cancelled[victim] = true
				}
			}
			h.turn()
		}
		for i, task := range tasks {
			want := alone(model, *task.req, model.ctx)
			got := task.result
			if cancelled[task] {
				if !prefix(want.IDs, got.IDs) || !strings.HasPrefix(want.Text, got.Text) {
					t.Fatalf("seed %d, request %d: cancelled with %v %q, which does not begin %v %q", seed, i, got.IDs, got.Text, want.IDs, want.Text)
				}
				continue
			}
			if task.err != nil {
				t.Fatalf("seed %d, request %d: %v", seed, i, task.err)
			}
			if diff := cmp.Diff(want, got, sameAnswer); diff != "" {
				t.Fatalf("seed %d, request %d: alone (-) and under load (+) differ:\n%s", seed, i, diff)
			}
			if n := len(task.ids) - 1; task.req.Trace {
				if got.EndToken != noToken {
					n++ // the last token drawn is not read
				}
				if diff := cmp.Diff(fakeStates(task.ids[:n]), task.states); diff != "" {
					t.Fatalf("seed %d, request %d: another trace:\n%s", seed, i, diff)
				}
			} else if task.states != nil {
				t.Fatalf("seed %d, request %d: a trace that was not asked for", seed, i)
			}
		}
		if model.open != len(h.cache.entries) {
			t.Fatalf("seed %d: %d sequences are open, but %d are cached", seed, model.open, len(h.cache.entries))
		}
		total := int64(0)
		for _, e := range h.cache.entries {
			total += int64(len(e.ids) + e.traced)
		}
		if total != h.cache.bytes || total > h.cache.limit {
			t.Fatalf("seed %d: the cache holds %d bytes, says %d, limit %d", seed, total, h.cache.bytes, h.cache.limit)
		}
	}
}

func TestPrefixReuse(t *testing.T) {
	model := &fakeModel{ctx: 100}
	h := newHand(model, Options{})
	first := h.mustAsk(Request{Prompt: prompt(40), MaxTokens: 3, IgnoreEOS: true})
	h.run()
	next := h.mustAsk(Request{Prompt: append(slices.Clone(first.ids), 3, 3), MaxTokens: 3, IgnoreEOS: true})
	other := h.mustAsk(Request{Prompt: prompt(20, 11, 11), MaxTokens: 1})
	h.run()
	if got := next.result.Timings.Reused; got != 42 { // 40 + 3, of which the last was never read
		t.Errorf("the next turn reuses %d tokens, want 42", got)
	}
	if got := other.result.Timings.Reused; got != 0 {
		t.Errorf("a sequence in use was reused: %d tokens", got)
	}
	again := h.mustAsk(Request{Prompt: prompt(20, 11, 3), MaxTokens: 1})
	h.run()
	if got := again.result.Timings.Reused; got != 21 {
		t.Errorf("a prompt with a common beginning reuses %d tokens, want 21", got)
	}
}

func TestCacheForgetsOldest(t *testing.T) {
	model := &fakeModel{ctx: 100}
	h := newHand(model, Options{CacheBytes: 50})
	for _, first := range []int32{3, 4, 5} {
		h.mustAsk(Request{Prompt: append([]int32{first}, prompt(19)...), MaxTokens: 1})
		h.run()
	}
	if len(h.cache.entries) != 2 || h.cache.entries[0].ids[0] != 4 {
		t.Errorf("the cache holds %d sequences, the oldest begins with %d; want 2, 4", len(h.cache.entries), h.cache.entries[0].ids[0])
	}
}

func TestUsersTakeTurns(t *testing.T) {
	h := newHand(&fakeModel{ctx: 100}, Options{Slots: 1})
	var tasks []*task
	for range 5 {
		tasks = append(tasks, h.mustAsk(Request{Prompt: prompt(5), MaxTokens: 2, IgnoreEOS: true, User: "many"}))
	}
	late := h.mustAsk(Request{Prompt: prompt(5), MaxTokens: 2, IgnoreEOS: true, User: "one"})
	for !late.done {
		h.turn()
	}
	if !tasks[0].done || tasks[1].done {
		t.Errorf("the second user waited for more than one request of the first")
	}
}

// TestPromptsDoNotStopAnswers checks both bounds of a step: while somebody is
// being answered each step gives them a token and reads at most Share tokens
// of prompts; else at most Batch.
func TestPromptsDoNotStopAnswers(t *testing.T) {
	var prompts, answers int
	model := &fakeModel{ctx: 1000, check: func(steps []step) {
		prompts, answers = 0, 0
		for _, s := range steps {
			if len(s.tokens) == 1 && s.want == 1 {
				answers++
			} else {
				prompts += len(s.tokens)
			}
		}
	}}
	h := newHand(model, Options{Batch: 64, Share: 8})
	talker := h.mustAsk(Request{Prompt: prompt(100), MaxTokens: 200, IgnoreEOS: true})
	h.turn()
	if prompts != 64 {
		t.Errorf("the first step reads %d tokens, want Batch = 64", prompts)
	}
	h.turn()
	long := h.mustAsk(Request{Prompt: prompt(400, 11), MaxTokens: 1})
	longer := h.mustAsk(Request{Prompt: prompt(401, 10), MaxTokens: 1})
	short := h.mustAsk(Request{Prompt: prompt(7, 10), MaxTokens: 1})
	for step := 0; !short.done; step++ {
		before := len(talker.ids)
		h.turn()
		if answers < 1 || len(talker.ids) != before+1 || prompts > 8 {
			t.Fatalf("step %d: %d answers, %d tokens of prompts", step, answers, prompts)
		}
		if step > 5 {
			t.Fatal("a short prompt waits for long ones")
		}
	}
	h.run()
	if !long.done || !longer.done {
		t.Error("a long prompt was not answered")
	}
}

func TestCancelFreesSlot(t *testing.T) {
	h := newHand(&fakeModel{ctx: 100}, Options{Slots: 1})
	hog := h.mustAsk(Request{Prompt: prompt(5), IgnoreEOS: true})
	wait := h.mustAsk(Request{Prompt: prompt(5), MaxTokens: 1, IgnoreEOS: true})
	gone := h.mustAsk(Request{Prompt: prompt(5), MaxTokens: 1, IgnoreEOS: true})
	h.turn()
	h.cancel(gone, context.Canceled, h.clock.read())
	h.cancel(hog, context.Canceled, h.clock.read())
	h.turn()
	if !wait.done || !gone.done || hog.result.Stop != StopCancelled || !errors.Is(hog.err, context.Canceled) {
		t.Errorf("after the cancellation: waiting done %v, cancelled %v %v", wait.done, hog.result.Stop, hog.err)
	}
	if !h.idle() {
		t.Error("the machine still has something to do")
	}
}

func TestRefusals(t *testing.T) {
	h := newHand(&fakeModel{ctx: 20}, Options{Queue: 1})
	for name, c := range map[string]struct {
		r    Request
		want error
	}{
		"empty":       {Request{}, ErrEmptyPrompt},
		"token":       {Request{Prompt: []int32{99}}, ErrRequest},
		"negative":    {Request{Prompt: []int32{-1}}, ErrRequest},
		"stop":        {Request{Prompt: prompt(1), Stop: []string{""}}, ErrRequest},
		"logprobs":    {Request{Prompt: prompt(1), Logprobs: 1000}, ErrRequest},
		"temperature": {Request{Prompt: prompt(1), Params: sample.Params{Temperature: -1}}, sample.ErrParams},
	} {
		if _, err := h.ask(c.r); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
	_, err := h.ask(Request{Prompt: prompt(20)})
	var long *PromptTooLongError
	if !errors.As(err, &long) || *long != (PromptTooLongError{Prompt: 20, Context: 20, Model: 40}) {
		t.Errorf("got %v", err)
	}
	h.mustAsk(Request{Prompt: prompt(19)})
	if _, err := h.ask(Request{Prompt: prompt(19)}); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want ErrBusy", err)
	}
}

func TestContextFull(t *testing.T) {
	h := newHand(&fakeModel{ctx: 20}, Options{})
	task := h.mustAsk(Request{Prompt: prompt(15), IgnoreEOS: true})
	h.run()
	if task.result.Stop != StopLength || len(task.result.IDs) != 5 {
		t.Errorf("stop %s after %d tokens, want length after 5", task.result.Stop, len(task.result.IDs))
	}
}

func TestFailures(t *testing.T) {
	model := &fakeModel{ctx: 50, broken: func(ids []int32) error {
		if len(ids) == 12 {
			return errFake
		}
		return nil
	}}
	h := newHand(model, Options{})
	task := h.mustAsk(Request{Prompt: prompt(10), IgnoreEOS: true})
	h.run()
	if !errors.Is(task.err, errFake) || model.open != 0 {
		t.Errorf("error %v, %d sequences open", task.err, model.open)
	}
	model = &fakeModel{ctx: 50, logit: nan}
	h = newHand(model, Options{})
	task = h.mustAsk(Request{Prompt: prompt(10)})
	h.run()
	if !errors.Is(task.err, ErrNotFinite) || model.open != 0 {
		t.Errorf("error %v, %d sequences open", task.err, model.open)
	}
}

func TestConstraint(t *testing.T) {
	h := newHand(&fakeModel{ctx: 50}, Options{})
	task := h.mustAsk(Request{Prompt: prompt(5), Params: sample.Params{Temperature: 1}})
	task.constraint = &fakeConstraint{}
	h.run()
	if task.result.Text != "aaa" || task.result.Stop != StopEOS || task.err != nil {
		t.Errorf("got %q, %s, %v", task.result.Text, task.result.Stop, task.err)
	}
}

func TestLogprobs(t *testing.T) {
	h := newHand(&fakeModel{ctx: 50}, Options{})
	task := h.mustAsk(Request{Prompt: prompt(5), MaxTokens: 1, IgnoreEOS: true, Logprobs: 4})
	for _, tt := range h.step(h.clock.read) {
		ev := tt.out[0]
		if tt != task || ev.Logprob >= 0 || len(ev.Top) != 3 || ev.Top[0].ID != ev.Token || ev.Top[0].Logprob != ev.Logprob {
			t.Errorf("got %+v", ev)
		}
	}
}

// TestDecodeAllocates checks that an answer in progress costs no memory in
// this package.
func TestDecodeAllocates(t *testing.T) {
	h := newHand(&fakeModel{ctx: 5000, logit: func(_ []int32, id int) float32 { return float32(id) }}, Options{})
	model := &quietModel{h.model.(*fakeModel)}
	h.machine.model = model
	h.mustAsk(Request{Prompt: prompt(5)})
	h.turn()
	read := func() {
		for _, t := range h.step(h.clock.read) {
			t.out = t.out[:0]
		}
	}
	if n := testing.AllocsPerRun(500, read); n != 0 {
		t.Errorf("a decode step makes %v allocations, want 0", n)
	}
}

// quietModel is a fakeModel whose forward pass keeps nothing.
type quietModel struct{ *fakeModel }

func (m *quietModel) forward(steps []step) error {
	for _, s := range steps {
		m.fill(s.logits, nil)
	}
	return nil
}

func prefix(whole, start []int32) bool {
	return len(start) <= len(whole) && slices.Equal(whole[:len(start)], start)
}

// TestPrefixReuseTraced reuses for a trace only what has one, and keeps it when
// others read on.
func TestPrefixReuseTraced(t *testing.T) {
	model := &fakeModel{ctx: 100}
	h := newHand(model, Options{})
	for i, c := range []struct {
		n, reused int
		trace     bool
	}{
		{40, 0, false},
		{50, 0, true},   // nothing has a trace yet
		{60, 50, false}, // takes over what has one
		{70, 50, true},  // of which the beginning still has
		{80, 70, true},
		{30, 29, false},
	} {
		task := h.mustAsk(Request{Prompt: prompt(c.n), MaxTokens: 1, IgnoreEOS: true, Trace: c.trace})
		h.run()
		if task.err != nil {
			t.Fatal(task.err)
		}
		if got := task.result.Timings.Reused; got != c.reused {
			t.Errorf("request %d reuses %d tokens, want %d", i, got, c.reused)
		}
	}
}
