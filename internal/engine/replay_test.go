package engine

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestReplay goes through random answers again, with tokens drawn and with
// tokens given, and compares with the one who answered.
func TestReplay(t *testing.T) {
	model := &fakeModel{ctx: 50}
	e := startFake(t, model, Options{})
	for seed := range 300 {
		rng := rand.New(rand.NewPCG(uint64(seed), 3))
		r := randomRequest(rng, 50)
		want := alone(model, r, 50)
		p, err := e.Replay(r, 50)
		if err != nil {
			t.Fatal(err)
		}
		logits := make([]float32, model.vocab())
		drawn := want.Drawn()
		for i, id := range drawn {
			if rng.IntN(2) == 0 {
				model.fill(logits, append(slices.Clone(r.Prompt), drawn[:i]...))
				got, err := p.Next(logits)
				if err != nil || got != id {
					t.Fatalf("seed %d, token %d: %d (%v), want %d", seed, i, got, err, id)
				}
			}
			if done, err := p.Accept(id); err != nil || done != (i == len(drawn)-1) {
				t.Fatalf("seed %d, token %d of %d: done %v, %v", seed, i, len(drawn), done, err)
			}
		}
		if diff := cmp.Diff(want, *p.Result(), sameAnswer); diff != "" {
			t.Fatalf("seed %d: answered (-) and replayed (+):\n%s", seed, diff)
		}
		if _, err := p.Accept(3); !errors.Is(err, ErrRequest) {
			t.Fatalf("seed %d: a token after the end: %v", seed, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

// TestReplayContext ends an answer where another engine's context was full.
func TestReplayContext(t *testing.T) {
	model := &fakeModel{ctx: 50}
	e := startFake(t, model, Options{})
	defer e.Close()
	p, err := e.Replay(Request{Prompt: prompt(5), IgnoreEOS: true}, 8)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if done, err := p.Accept(3); err != nil || done != (i == 2) {
			t.Errorf("token %d: done %v, %v", i, done, err)
		}
	}
	if r := p.Result(); r.Stop != StopLength || r.Text != "aaa" {
		t.Errorf("stop %s, text %q", r.Stop, r.Text)
	}
	if _, err := e.Replay(Request{Prompt: prompt(5)}, 5); err == nil {
		t.Error("a prompt that fills the context")
	}
	p, err = e.Replay(Request{Prompt: prompt(5)}, 8)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []int32{-1, int32(model.vocab())} {
		if _, err := p.Accept(id); !errors.Is(err, ErrRequest) {
			t.Errorf("token %d: %v, want ErrRequest", id, err)
		}
	}
}

// TestCall lets functions run between steps.
func TestCall(t *testing.T) {
	model := &fakeModel{ctx: 50}
	e := startFake(t, model, Options{})
	ran := false
	if err := e.owner.call(t.Context(), func() { ran = true }); err != nil || !ran {
		t.Errorf("ran %v, %v", ran, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := e.owner.call(ctx, func() { t.Error("called") }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want Canceled", err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := e.owner.call(t.Context(), func() { t.Error("called") }); !errors.Is(err, ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}
