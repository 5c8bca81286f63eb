package httpapi

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/sample"
)

// parallelChoices is how many generations of one request run at a time. They
// share the request's slot.
const parallelChoices = 4

// timing says where the time of a generation went.
type timing struct {
	queued, prompt, generate           time.Duration
	promptTokens, outputTokens, reused int
}

// use waits for a slot, opens the model and calls f with it. The slot and the
// model are given back when f returns.
func (s *Server) use(ctx context.Context, rec *record, name string, opt OpenOptions,
	f func(m Model, load time.Duration) error,
) error {
	if err := checkName(name); err != nil {
		return err
	}
	rec.model = name
	leave, err := s.gate.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	start := s.cfg.Now()
	m, err := s.cfg.Backend.Open(ctx, name, opt)
	if err != nil {
		return err
	}
	defer m.Close()
	return f(m, s.cfg.Now().Sub(start))
}

func checkName(name string) error {
	switch {
	case name == "":
		return badRequest("model", "model is missing; GET /v1/models lists the names")
	case len(name) > maxNameBytes:
		return badRequest("model", "model has %d bytes, want at most %d", len(name), maxNameBytes)
	}
	return nil
}

// checkPrompt refuses a prompt that leaves no room for an answer.
func checkPrompt(info ModelInfo, ids []int32, param string) error {
	if len(ids) == 0 {
		return badRequest(param, "%s gives a prompt without a single token", param)
	}
	if info.Context > 0 && len(ids) >= info.Context {
		e := promptTooLong(len(ids), info.Context, info.Trained)
		e.param = param
		return e
	}
	return nil
}

// checkParams refuses what the model's vocabulary does not have.
func checkParams(info ModelInfo, p sample.Params) error {
	if err := p.Validate(); err != nil {
		return err
	}
	bad := int32(-1)
	for id := range p.LogitBias {
		if info.Vocab > 0 && int(id) >= info.Vocab && (bad < 0 || id < bad) {
			bad = id
		}
	}
	if bad >= 0 {
		return badRequest("logit_bias", "logit_bias names token %d, but the vocabulary has %d tokens", bad, info.Vocab)
	}
	return nil
}

// generate runs one generation and measures it. The engine's own times are
// better, as events may come in bursts; those taken here serve models that
// tell none.
func (s *Server) generate(ctx context.Context, m Model, req engine.Request, on func(engine.Event) error) (*engine.Result, timing, error) {
	start := s.cfg.Now()
	first, last := start, start
	t := timing{promptTokens: len(req.Prompt)}
	res, err := m.Generate(ctx, req, func(e engine.Event) error {
		if e.Token >= 0 {
			last = s.cfg.Now()
			if t.outputTokens == 0 {
				first = last
			}
			t.outputTokens++
		}
		return on(e)
	})
	t.prompt, t.generate = first.Sub(start), last.Sub(first)
	stop := engine.StopCancelled
	if res != nil {
		t.reused = res.Timings.Reused
		if own := res.Timings; own.Prompt > 0 {
			t.queued, t.prompt, t.generate = own.Queued, own.Prompt, own.Generate
		}
		stop = res.Stop
	}
	switch {
	case err == nil && res == nil:
		panic("httpapi: internal error: Generate returned neither a result nor an error")
	case err == nil && stop == engine.StopCancelled:
		err = context.Cause(ctx)
		if err == nil {
			err = context.Canceled
		}
	case err != nil && !errors.Is(err, context.Canceled) && toAPIError(err).status != statusClientGone:
		stop = "error"
	}
	s.metrics.generation(t, stop)
	return res, t, err
}

// each calls f for 0 to n-1, at most parallelChoices at a time, and returns
// the error of the lowest index that failed on its own. A panic in f becomes a
// panic of the caller.
func each(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	if n == 1 {
		return f(ctx, 0)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg     sync.WaitGroup
		errs   = make([]error, n)
		panics = make([]any, n)
		slots  = make(chan struct{}, parallelChoices)
	)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					panics[i] = fmt.Sprintf("%v\n%s", panicText(v), debug.Stack())
					cancel()
				}
				<-slots
			}()
			if errs[i] = ctx.Err(); errs[i] == nil {
				errs[i] = f(ctx, i)
			}
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	for _, v := range panics {
		if v != nil {
			panic(v)
		}
	}
	var gone error
	for _, err := range errs {
		switch {
		case err == nil:
		case errors.Is(err, context.Canceled):
			gone = err
		default:
			return err
		}
	}
	return gone
}
