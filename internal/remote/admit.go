package remote

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// gate lets in so many at a time, so many of one peer, and lets some wait: whose
// peer has fewest inside goes first, then who came first.
type gate struct {
	all, each, queue int

	mu      sync.Mutex
	inside  int
	of      map[peer.ID]int
	waiting []*waiter
	took    time.Duration // about how long one stays, for RetryAfter
}

type waiter struct {
	who   peer.ID
	enter chan struct{}
}

func newGate(all, each, queue int) *gate {
	return &gate{all: all, each: each, queue: queue, of: map[peer.ID]int{}, took: retryAfter}
}

// enter waits for a place; leave gives it back and must be called once.
func (g *gate) enter(ctx context.Context, who peer.ID) (leave func(), err error) {
	g.mu.Lock()
	if g.free(who) && !slices.ContainsFunc(g.waiting, func(w *waiter) bool { return g.free(w.who) }) {
		g.take(who)
		g.mu.Unlock()
		return g.leaver(who), nil
	}
	own := 0
	for _, w := range g.waiting {
		if w.who == who {
			own++
		}
	}
	if len(g.waiting) >= g.queue || own >= g.each {
		wait := g.took * time.Duration(1+len(g.waiting)/g.all)
		g.mu.Unlock()
		return nil, &rpc.Error{
			Code: rpc.ResourceExhausted, RetryAfter: wait,
			Text: "too many are waiting for an answer here: try again later",
		}
	}
	w := &waiter{who, make(chan struct{})}
	g.waiting = append(g.waiting, w)
	g.mu.Unlock()
	select {
	case <-w.enter:
		return g.leaver(who), nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, w); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
	} else { // let in at the same moment
		g.give(who)
	}
	return nil, ctx.Err()
}

// The lock is held in those below.

func (g *gate) free(who peer.ID) bool { return g.inside < g.all && g.of[who] < g.each }

func (g *gate) take(who peer.ID) { g.inside++; g.of[who]++ }

func (g *gate) give(who peer.ID) {
	g.inside--
	if g.of[who]--; g.of[who] == 0 {
		delete(g.of, who)
	}
	for {
		next := -1
		for i, w := range g.waiting {
			if g.free(w.who) && (next < 0 || g.of[w.who] < g.of[g.waiting[next].who]) {
				next = i
			}
		}
		if next < 0 {
			return
		}
		w := g.waiting[next]
		g.waiting = slices.Delete(g.waiting, next, next+1)
		g.take(w.who)
		close(w.enter)
	}
}

func (g *gate) leaver(who peer.ID) func() {
	began := time.Now()
	return sync.OnceFunc(func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.took = (3*g.took + time.Since(began)) / 4
		g.give(who)
	})
}
