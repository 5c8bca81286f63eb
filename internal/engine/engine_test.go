package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/trace"
)

func startFake(t *testing.T, m backend, opt Options) *Engine {
	t.Helper()
	e := &Engine{}
	if err := e.start(m, fakeWords{}, opt); err != nil {
		t.Fatal(err)
	}
	return e
}

// TestConcurrentRequests is TestAlone through the real door, with goroutines.
func TestConcurrentRequests(t *testing.T) {
	model := &fakeModel{ctx: 60}
	e := startFake(t, model, Options{Slots: 5, Batch: 16, CacheBytes: 300})
	var wg sync.WaitGroup
	for i := range 80 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(i), 2))
			r := randomRequest(rng, 60)
			var text strings.Builder
			got, err := e.Generate(t.Context(), r, func(ev Event) error {
				text.WriteString(ev.Text)
				return nil
			})
			if err != nil {
				t.Errorf("request %d: %v", i, err)
				return
			}
			if diff := cmp.Diff(alone(model, r, 60), *got, sameAnswer); diff != "" {
				t.Errorf("request %d: alone (-) and together (+):\n%s", i, diff)
			}
			if r.Trace {
				read := append(slices.Clone(r.Prompt), got.Drawn()...)
				want, err := trace.NewTree(fakeStates(read[:len(read)-1]), 2, len(read)-1)
				if err != nil || !want.Equal(got.Trace) {
					t.Errorf("request %d: another trace (%v)", i, err)
				}
			} else if got.Trace != nil {
				t.Errorf("request %d: a trace that was not asked for", i)
			}
			if text.String() != got.Text {
				t.Errorf("request %d: events say %q, result %q", i, text.String(), got.Text)
			}
		})
	}
	wg.Wait()
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if model.open != 0 {
		t.Errorf("%d sequences are open after Close", model.open)
	}
}

func TestCloseDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := startFake(t, &fakeModel{ctx: 500}, Options{Slots: 1})
		results := make(chan string, 3)
		for range 3 {
			go func() {
				r, err := e.Generate(context.Background(), Request{Prompt: prompt(5), MaxTokens: 100, IgnoreEOS: true}, nil)
				if err != nil {
					results <- err.Error()
					return
				}
				results <- fmt.Sprint(len(r.IDs))
			}()
		}
		synctest.Wait()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		for range 3 {
			if got := <-results; got != "100" {
				t.Errorf("got %s, want 100 tokens", got)
			}
		}
		if _, err := e.Generate(context.Background(), Request{Prompt: prompt(5)}, nil); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

// slowModel blocks each forward pass until it is let go.
type slowModel struct {
	*fakeModel
	turn chan struct{}
}

func (m *slowModel) forward(steps []step) error {
	<-m.turn
	return m.fakeModel.forward(steps)
}

func TestShutdownCancels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		model := &slowModel{&fakeModel{ctx: 500}, make(chan struct{})}
		e := startFake(t, model, Options{Slots: 1})
		errs := make(chan error, 2)
		for range 2 {
			go func() {
				_, err := e.Generate(context.Background(), Request{Prompt: prompt(5), IgnoreEOS: true}, nil)
				errs <- err
			}()
		}
		synctest.Wait() // one runs, one waits
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ended := make(chan error)
		go func() { ended <- e.Shutdown(ctx) }()
		synctest.Wait() // the requests are cancelled; a forward pass is not
		model.turn <- struct{}{}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		for range 2 {
			if err := <-errs; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want canceled", err)
			}
		}
		if model.open != 0 {
			t.Errorf("%d sequences are open", model.open)
		}
	})
}

func TestCallerGoesAway(t *testing.T) {
	e := startFake(t, &fakeModel{ctx: 5000}, Options{})
	defer e.Close()
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	got, err := e.Generate(ctx, Request{Prompt: prompt(5), IgnoreEOS: true}, func(Event) error {
		if n++; n == 3 {
			cancel()
		}
		return nil
	})
	if !errors.Is(err, context.Canceled) || got == nil || got.Stop != StopCancelled || len(got.IDs) < 3 {
		t.Errorf("got %+v, %v", got, err)
	}
	got, err = e.Generate(t.Context(), Request{Prompt: prompt(5), IgnoreEOS: true}, func(Event) error { return errFake })
	if !errors.Is(err, errFake) || got == nil || got.Stop != StopCancelled {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err = e.Generate(ctx, Request{Prompt: prompt(5)}, nil); !errors.Is(err, context.Canceled) || got == nil {
		t.Errorf("a context that has ended: %v, %v", got, err)
	}
}

func TestEmbed(t *testing.T) {
	e := startFake(t, &fakeModel{ctx: 50}, Options{Batch: 4})
	defer e.Close()
	got, err := e.Embed(t.Context(), prompt(10))
	if diff := cmp.Diff([]float32{10, 3}, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if _, err := e.Embed(t.Context(), nil); !errors.Is(err, ErrEmptyPrompt) {
		t.Errorf("got %v", err)
	}
}

func TestOptions(t *testing.T) {
	for _, o := range []Options{{Slots: -1}, {Batch: 1 << 20}, {Context: -5}, {Threads: 1 << 20}} {
		if err := new(Engine).start(&fakeModel{ctx: 50}, fakeWords{}, o); err == nil {
			t.Errorf("%+v was accepted", o)
		}
	}
}
