package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/avalnetwork/aval/internal/model"
)

// Options shape an engine. The zero value is useful.
type Options struct {
	// Threads computes on so many threads. 0: one for each CPU. No bit of any
	// output depends on it.
	Threads int
	// Kernel forces an implementation of the arithmetic, such as "generic" or
	// "avx2"; one that this machine lacks is an error. "": the fastest.
	Kernel string
	// Context is how many tokens a request may use, prompt and answer
	// together. 0: what the model was trained for, but at least 512.
	Context int
	// Slots is how many requests are computed at the same time; each has its
	// own sequence in memory. 0: 4.
	Slots int
	// Queue is how many requests may wait for a slot; more are refused with
	// ErrBusy. 0: 512.
	Queue int
	// Batch is how many tokens of prompts one step reads while nobody is being
	// answered. More is faster up to a point, and needs memory. 0: 256.
	Batch int
	// Share is the same while somebody is being answered: it bounds how long
	// a new prompt delays the answers of others. 0: a quarter of Batch.
	Share int
	// CacheBytes bounds the memory of sequences kept for prefix reuse. 0: 512
	// MiB. Less than 0: none are kept.
	CacheBytes int64
	// Adapters change what the model computes, in this order. nil: none.
	Adapters []model.Adapter
	// Clock is used for Timings only, from several goroutines. nil: time.Now.
	Clock func() time.Time
}

const (
	maxSlots = 256
	maxQueue = 1 << 16
	maxBatch = 1 << 14
)

// validate fills in the defaults and refuses contradictions.
func (o *Options) validate() error {
	fill := func(p *int, v int) {
		if *p == 0 {
			*p = v
		}
	}
	fill(&o.Slots, 4)
	fill(&o.Queue, 512)
	fill(&o.Batch, 256)
	fill(&o.Share, max(o.Batch/4, 1))
	if o.CacheBytes == 0 {
		o.CacheBytes = 512 << 20
	}
	if o.Clock == nil {
		o.Clock = time.Now
	}
	for _, f := range []struct {
		name     string
		v, limit int
	}{
		{"threads", o.Threads, 1 << 10},
		{"context", o.Context, model.MaxContext},
		{"slots", o.Slots, maxSlots},
		{"queue", o.Queue, maxQueue},
		{"batch", o.Batch, maxBatch},
		{"share", o.Share, maxBatch},
	} {
		if f.v < 0 || f.v > f.limit {
			return fmt.Errorf("engine: option %s is %d, want 0 (default) to %d", f.name, f.v, f.limit)
		}
	}
	return nil
}

// Engine is an open model that serves requests. Its methods may be called from
// any goroutine.
type Engine struct {
	modelFile
	backend backend
	owner   *owner
	closers []io.Closer
}

// start puts a machine on a model and lets its owner run.
func (e *Engine) start(b backend, words vocabulary, opt Options) error {
	if err := opt.validate(); err != nil {
		return err
	}
	e.backend, e.owner = b, newOwner(newMachine(b, words, opt), opt.Clock)
	return nil
}

func newMachine(b backend, words vocabulary, opt Options) *machine {
	return &machine{
		model: b, words: words,
		slots: opt.Slots, waiting: opt.Queue, batch: opt.Batch, share: opt.Share,
		cache: prefixCache{limit: max(opt.CacheBytes, 0), cost: b.sequenceBytes},
	}
}

// Context is how many tokens a request may use, prompt and answer together.
func (e *Engine) Context() int { return e.backend.context() }

// Shutdown refuses new requests, waits for those taken in, and frees the
// model. When ctx ends first, the remaining requests are cancelled with its
// error.
func (e *Engine) Shutdown(ctx context.Context) error {
	e.owner.close(nil)
	select {
	case <-e.owner.stopped:
	case <-ctx.Done():
		e.owner.close(ctx.Err())
		<-e.owner.stopped
	}
	var errs []error
	for _, c := range e.closers {
		errs = append(errs, c.Close())
	}
	e.closers = nil
	return errors.Join(errs...)
}

// Close is Shutdown without a limit of time. Call one of them once.
func (e *Engine) Close() error { return e.Shutdown(context.Background()) }
