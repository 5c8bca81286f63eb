package engine

import (
	"context"
	"strings"

	"github.com/avalnetwork/aval/internal/trace"
)

// Generate answers one request. on, if not nil, is called for each token, in
// order, on the goroutine of the caller; when it returns an error the request
// is cancelled and that error returned. It may be slow: others do not wait.
//
// When ctx ends, the request's slot is freed after the step at hand, and the
// error is that of ctx. Together with an error of ctx or of on, the result
// holds what was generated until then; with any other error it is nil.
func (e *Engine) Generate(ctx context.Context, r Request, on func(Event) error) (*Result, error) {
	var text strings.Builder
	res, cancelled, err := e.do(ctx, &r, nil, func(ev Event) error {
		text.WriteString(ev.Text)
		if on != nil {
			return on(ev)
		}
		return nil
	})
	if err != nil && !cancelled {
		return nil, err
	}
	res.Text = text.String()
	return res, err
}

// Embed returns the pooled hidden state of a text.
func (e *Engine) Embed(ctx context.Context, ids []int32) ([]float32, error) {
	out := make([]float32, e.backend.dim())
	if _, _, err := e.do(ctx, &Request{Prompt: ids}, out, func(Event) error { return nil }); err != nil {
		return nil, err
	}
	return out, nil
}

// do carries a request through the machine.
func (e *Engine) do(ctx context.Context, r *Request, embed []float32, on func(Event) error) (res *Result, cancelled bool, err error) {
	if err := ctx.Err(); err != nil {
		return &Result{PromptIDs: r.Prompt, EndToken: noToken, Stop: StopCancelled}, true, err
	}
	t := newTask(r, e.owner.clock())
	t.embed, t.mail = embed, newMailbox()
	if r.Grammar != nil {
		if t.constraint, err = e.constrain(r.Grammar); err != nil {
			return nil, false, err
		}
	}
	if err := e.owner.submit(t); err != nil {
		return nil, false, err
	}
	over := ctx.Done()
	var events []Event
	var onErr error
	for done := false; !done; {
		select {
		case <-t.mail.wake:
		case <-over:
			over = nil
			e.owner.cancel(t, ctx.Err())
			continue
		}
		events, done = t.mail.collect(events)
		for _, ev := range events {
			if onErr != nil {
				break
			}
			if onErr = on(ev); onErr != nil && !done {
				e.owner.cancel(t, onErr)
			}
		}
		clear(events)
	}
	// The mailbox is complete: the owner does not touch it any more.
	res, err = &t.mail.result, t.mail.err
	if onErr != nil {
		res.Stop, err = StopCancelled, onErr
	}
	if states := t.mail.states; states != nil && err == nil {
		// Here, as the owner has others to serve.
		layers := e.backend.layers()
		res.Trace, err = trace.NewTree(states, layers, len(states)/layers)
	}
	return res, res.Stop == StopCancelled, err
}
