package keeper

import (
	"context"
	"fmt"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// batches posts what the log has and the ledger does not.
func (k *Keeper) batches(t *tree.Tree) []task {
	if k.cfg.Log == nil {
		return nil
	}
	node, ok := ledger.NodeAt(t, k.public())
	if !ok {
		return nil // no bond, no batches
	}
	old := node.Log
	if old.Size != k.agreed { // once for each batch: the log only grows
		if err := k.Agrees(t); err != nil {
			return []task{{"post receipts", func(context.Context) error { return err }}}
		}
		k.agreed = old.Size
	}
	size, _ := k.cfg.Log.Head()
	if size <= old.Size {
		k.waiting = time.Time{}
		return nil
	}
	if k.waiting.IsZero() || k.posted != old.Size {
		k.waiting, k.posted = time.Now(), old.Size
	}
	if size-old.Size < k.cfg.Most && time.Since(k.waiting) < k.cfg.Every {
		return nil
	}
	params := ledger.ParamsAt(t)
	return []task{{"post receipts", func(ctx context.Context) error { return k.post(ctx, old.Size, size, &params) }}}
}

// Agrees is an error if the log is not the one that the ledger has of this node in
// a state: an old copy of it, above all. Nothing may be signed then.
func (k *Keeper) Agrees(t *tree.Tree) error {
	node, ok := ledger.NodeAt(t, k.public())
	if k.cfg.Log == nil || !ok || node.Log.Size == 0 {
		return nil
	}
	if err := k.cfg.Log.Agrees(node.Log.Size, canon.Hash(node.Log.Root)); err != nil {
		return fmt.Errorf("the log of receipts is not the one on the ledger, so nothing is posted: %w", err)
	}
	return nil
}

// post sends one batch, of as many as one may have.
func (k *Keeper) post(ctx context.Context, old, size uint64, p *ledger.Params) error {
	n := min(size-old, ledger.MaxBatch)
	for p.Audit.Drawn(n) > ledger.MaxDrawn {
		n /= 2
	}
	size = old + n
	root, err := k.cfg.Log.Root(size)
	if err != nil {
		return err
	}
	var proof []canon.Hash
	if old > 0 {
		if proof, err = k.cfg.Log.Consistency(old, size); err != nil {
			return err
		}
	}
	if err := k.cfg.Chain.Send(ctx, ledger.KindBatch, &ledger.Batch{
		Key: k.public(), Size: size, Root: root, Proof: proof, Signature: ledger.SignBatch(k.cfg.Key, size, root),
	}); err != nil {
		return fmt.Errorf("receipts from %d on: %w", old, err)
	}
	return nil
}
