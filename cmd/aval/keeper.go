package main

import (
	"context"
	"fmt"

	"github.com/avalnetwork/aval/internal/keeper"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/receipt"
)

// reruns computes receipts again for the node of this process: as a prover with
// the models that it serves, as they are; to check others with any model that this
// machine knows, whose fingerprint is computed from its file.
type reruns struct {
	app  *app
	host *peerHost // nil: nothing is served
}

// leased is a run with its share of the model.
type leased struct {
	remote.Rerun
	lease remote.Lease
}

func (l *leased) Close() {
	l.Rerun.Close()
	l.lease.Close()
}

// Prove computes a run of a model that is served.
func (r *reruns) Prove(ctx context.Context, f *receipt.File) (keeper.Source, error) {
	if r.host == nil {
		return nil, keeper.ErrNoModel
	}
	list, err := r.host.Models(ctx)
	if err != nil {
		return nil, err
	}
	want := f.Receipt.Claims().Model
	for _, m := range list {
		if m.Root != want {
			continue
		}
		l, err := r.host.Open(ctx, m.Name)
		if err != nil {
			return nil, err
		}
		run, err := l.Rerun(ctx, f)
		if err != nil {
			l.Close()
			return nil, err
		}
		return &leased{run, l}, nil
	}
	return nil, fmt.Errorf("%w: %v is not served", keeper.ErrNoModel, want)
}

// checking is a witness that is a run.
type checking struct {
	keeper.Witness
	w *witness
}

func (c *checking) Close() { c.w.close() }

// Check computes a run with a model that this machine knows.
func (r *reruns) Check(ctx context.Context, f *receipt.File) (keeper.Witness, []byte, error) {
	w, err := r.app.openWitness(ctx, &disputeOptions{quiet: true}, f)
	if err != nil {
		return nil, nil, err
	}
	if w.proof != nil {
		w.close()
		return nil, w.proof, nil
	}
	return &checking{w.run, w}, nil, nil
}
