package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// lease is one request's share of a model in memory. It is the engine, except
// that closing it gives the share back.
type lease struct {
	*engine.Engine
	host   *host
	hosted *hosted
	once   sync.Once
}

// Close gives the share back.
func (l *lease) Close() { l.once.Do(func() { l.host.release(l.hosted) }) }

// Issuer makes the receipts of the answers.
func (l *lease) Issuer() *issuer.Issuer { return l.hosted.issuer }

// maxOpening bounds the memory for what one audit shows. Whoever wants to see
// more computes the answer again.
const maxOpening = 128 << 20

// OpenTrace shows the parts of an answer that a challenge chooses.
func (l *lease) OpenTrace(ctx context.Context, f *receipt.File, c *audit.Challenge) (*trace.Opening, error) {
	root, err := l.Issuer().Model().Root(ctx)
	if err != nil {
		return nil, err
	}
	adapters, err := l.Issuer().Adapters(ctx)
	if err != nil {
		return nil, err
	}
	claims := f.Receipt.Claims()
	cfg := l.Config()
	shape := cfg.StateShape()
	n := int64(positions(&claims))
	cells := min(int64(c.Layers), n*int64(cfg.Layers))*2 + int64(min(c.Outputs, claims.OutputTokens))
	if size := n*int64(cfg.Layers)*int64(2*shape.KV) + cells*int64(4*shape.X); size > maxOpening {
		return nil, fmt.Errorf("%w: to show it takes up to %d bytes, and this server shows %d; ask for less, or compute the answer again",
			audit.ErrChallenge, size, maxOpening)
	}
	return (&audit.Auditor{Engine: l.Engine, Model: root, Adapters: adapters}).Open(ctx, f, c)
}

// keptRun bounds what a prover keeps of the run that it computes again: what is
// not kept is computed once more.
const keptRun = 64 << 20

// Rerun computes the run of a receipt again, for a dispute.
func (l *lease) Rerun(ctx context.Context, f *receipt.File) (remote.Rerun, error) {
	id := l.Issuer().Model()
	if _, err := id.Root(ctx); err != nil {
		return nil, err
	}
	found, err := l.host.find(l.hosted.name)
	if err != nil {
		return nil, err
	}
	file, err := gguf.Open(found.path)
	if err != nil {
		return nil, err
	}
	if err := id.Unchanged(); err != nil { // what is open is what was loaded
		return nil, errors.Join(err, file.Close())
	}
	run, err := newRerun(ctx, l.Engine, rerun.Config{File: file, Claims: f.Receipt.Claims(), Opening: f.Opening, Keep: keptRun})
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return &rerunning{run, file}, nil
}

// rerunning is a run with its file.
type rerunning struct {
	*rerun.Run
	file *gguf.File
}

func (r *rerunning) Close() {
	r.Run.Close()
	_ = r.file.Close() // it was read only
}

// newRerun computes a run with the model of an engine, while others use it.
func newRerun(ctx context.Context, e *engine.Engine, cfg rerun.Config) (*rerun.Run, error) {
	cfg.Compute = e.Compute
	if err := e.Compute(ctx, func(m *model.Model) error { cfg.Model = m; return nil }); err != nil {
		return nil, err
	}
	return rerun.New(ctx, cfg)
}

// Info describes the model.
func (l *lease) Info() httpapi.ModelInfo { return l.hosted.info }

// Piece returns the bytes of a token.
func (l *lease) Piece(id int32) []byte { return l.Tokenizer().Piece(id) }
