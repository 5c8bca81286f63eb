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
	size, _ := k.cfg.Log.Head()
	if size <= node.Log.Size {
		k.waiting = time.Time{}
		return nil
	}
	if k.waiting.IsZero() {
		k.waiting = time.Now()
	}
	if size-node.Log.Size < k.cfg.Most && time.Since(k.waiting) < k.cfg.Every {
		return nil
	}
	old, params := node.Log.Size, ledger.ParamsAt(t)
	return []task{{"post receipts", func(ctx context.Context) error { return k.post(ctx, old, size, &params) }}}
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
		return fmt.Errorf("receipts %d to %d: %w", old, size, err)
	}
	return nil
}
