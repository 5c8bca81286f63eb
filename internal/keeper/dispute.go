package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/receipt"
)

// ErrDisputed says that the ledger knows already that a receipt is false, or that
// this node disputes it.
var ErrDisputed = errors.New("the receipt is disputed already")

// Challenge opens a dispute about a receipt, whose file shows what was asked and
// answered, and lets the keeper play it. The node's account pays the bond.
func (k *Keeper) Challenge(ctx context.Context, f *receipt.File) error {
	t, _ := k.cfg.Chain.State()
	id, node := f.Receipt.Hash(), f.Receipt.Claims().Key
	docket := ledger.ReceiptDisputes(&t, id, node)
	if docket.Lost != nil {
		return ErrDisputed
	}
	for _, open := range docket.Open {
		if d, ok := ledger.DisputeAt(&t, open); ok && bytes.Equal(d.Challenger, k.public()) {
			return ErrDisputed
		}
	}
	if err := k.writeReceipt(f); err != nil {
		return err
	}
	nonce := uint64(0)
	for _, d := range ledger.Disputes(&t) { // ended ones that are not forgotten have used theirs
		if d.Account == k.cfg.Chain.Account() && bytes.Equal(d.Receipt, f.Receipt.Bytes()) {
			nonce = max(nonce, d.Nonce+1)
		}
	}
	return k.cfg.Chain.Send(ctx, ledger.KindDispute, &ledger.OpenDispute{Receipt: f.Receipt.Bytes(), Challenger: k.public(), Nonce: nonce})
}

// disputes are the games that this node is a party of.
func (k *Keeper) disputes(t *tree.Tree) (list []task) {
	if k.cfg.Models == nil {
		return nil
	}
	for _, id := range ledger.NodeDisputes(t, k.public()) {
		list = append(list, task{fmt.Sprintf("defend: dispute %.4x", id[:]), func(ctx context.Context) error { return k.defend(ctx, id) }})
	}
	for _, id := range ledger.AccountDisputes(t, k.cfg.Chain.Account()) {
		d, ok := ledger.DisputeAt(t, id)
		if ok && bytes.Equal(d.Challenger, k.public()) {
			list = append(list, task{fmt.Sprintf("accuse: dispute %.4x", id[:]), func(ctx context.Context) error { return k.attack(ctx, id) }})
		}
	}
	return list
}

// game is what both parties begin with.
func (k *Keeper) game(id canon.Hash) (*ledger.Dispute, dispute.Run, error) {
	t, _ := k.cfg.Chain.State()
	d, ok := ledger.DisputeAt(&t, id)
	if !ok {
		return nil, nil, fmt.Errorf("there is no dispute %s", id)
	}
	run, err := d.Run()
	return d, run, err
}

// defend plays the prover of a receipt of this node.
func (k *Keeper) defend(ctx context.Context, id canon.Hash) error {
	d, run, err := k.game(id)
	if err != nil {
		return err
	}
	if k.cfg.Log == nil {
		return errors.New("the log of receipts is not here")
	}
	index, err := k.cfg.Log.Find(run.Claim().Receipt)
	if err != nil {
		return err
	}
	f, err := k.own(index)
	if err != nil {
		return err
	}
	source, err := k.cfg.Models.Prove(ctx, f)
	if err != nil {
		return err
	}
	defer source.Close()
	var salt []byte
	if f.Opening != nil && f.Opening.Trace != nil && !f.Receipt.Claims().Trace.IsZero() {
		salt = f.Opening.Trace[:]
	}
	p, err := dispute.NewProver(run, d.Terms(k.cfg.Chain.Name()), k.cfg.Key, salt, source)
	if err != nil {
		return err
	}
	return k.play(ctx, id, p, nil)
}

// attack plays the challenger.
func (k *Keeper) attack(ctx context.Context, id canon.Hash) error {
	d, run, err := k.game(id)
	if err != nil {
		return err
	}
	f, err := k.readReceipt(run.Claim().Receipt)
	if err != nil {
		return err
	}
	w, impossible, err := k.cfg.Models.Check(ctx, f)
	if err != nil {
		return err
	}
	if w != nil {
		defer w.Close()
	}
	c, err := dispute.NewChallenger(run, d.Terms(k.cfg.Chain.Name()), k.cfg.Key, w)
	if err != nil {
		return err
	}
	if impossible != nil {
		c.Accuse(impossible)
	}
	return k.play(ctx, id, c, func() {
		if proof := c.Proof(); proof != nil {
			if err := k.writeProof(id, proof); err != nil {
				k.log.Warn("a proof of fraud is not kept", "error", err)
			}
		}
	})
}

// play sends a party's messages until the dispute ends.
func (k *Keeper) play(ctx context.Context, id canon.Hash, p ledger.Player, moved func()) error {
	seat := ledger.NewSeat(id, p)
	for {
		changed := k.cfg.Chain.Changed()
		t, _ := k.cfg.Chain.State()
		d, ok := ledger.DisputeAt(&t, id)
		if !ok || d.Judgment != nil {
			return nil
		}
		m, err := seat.Next(&t)
		if err != nil {
			return err
		}
		if m != nil {
			if moved != nil {
				moved()
			}
			if err := k.cfg.Chain.Send(ctx, ledger.KindMove, m); err != nil {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
