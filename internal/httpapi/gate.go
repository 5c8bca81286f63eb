package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
)

// gate lets a bounded number of requests through, first come first served, and
// a bounded number wait.
type gate struct {
	slots    chan struct{}
	waiting  atomic.Int64
	maxQueue int64
}

func newGate(concurrent, queue int) *gate {
	return &gate{slots: make(chan struct{}, concurrent), maxQueue: int64(queue)}
}

// enter waits for a slot and returns the function that frees it.
func (g *gate) enter(ctx context.Context) (leave func(), err error) {
	leave = func() { <-g.slots }
	select {
	case g.slots <- struct{}{}:
		return leave, nil
	default:
	}
	if n := g.waiting.Add(1); n > g.maxQueue {
		g.waiting.Add(-1)
		return nil, &apiError{
			status: http.StatusTooManyRequests, kind: "rate_limit_error", code: "queue_full", retryAfter: 1,
			message: fmt.Sprintf("%d requests run and %d wait, which is this server's limit; try again later", cap(g.slots), g.maxQueue),
		}
	}
	defer g.waiting.Add(-1)
	select {
	case g.slots <- struct{}{}:
		return leave, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (g *gate) running() int { return len(g.slots) }
func (g *gate) queued() int  { return int(g.waiting.Load()) }
