package keeper

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

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
	if k.cfg.Models == nil {
		return errCannot
	}
	claims := f.Receipt.Claims()
	id, node := f.Receipt.Hash(), claims.Key
	if err := ledger.Shows(f.Opening, &claims, receipt.PartPrompt|receipt.PartOutput|dispute.OutputParts(&claims)); err != nil {
		return err // the game would be lost with the bond
	}
	k.accusing.Lock()
	defer k.accusing.Unlock()
	t, _ := k.cfg.Chain.State()
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

var errCannot = errors.New("this node cannot compute receipts again")

// sendFailed waits after a message that was not sent; false if ctx ended.
func (k *Keeper) sendFailed(ctx context.Context, name string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	k.mu.Lock()
	k.failed(name, err)
	until := k.tried[name].until
	k.mu.Unlock()
	select {
	case <-ctx.Done():
		return false
	case <-time.After(time.Until(until)):
		return true
	}
}

// disputes are the games that this node is a party of.
func (k *Keeper) disputes(t *tree.Tree) (list []task) {
	for _, id := range ledger.NodeDisputes(t, k.public()) {
		name := fmt.Sprintf("defend: dispute %.4x", id[:])
		list = append(list, task{name, func(ctx context.Context) error { return k.defend(ctx, name, id) }})
	}
	for _, id := range ledger.AccountDisputes(t, k.cfg.Chain.Account()) {
		d, ok := ledger.DisputeAt(t, id)
		if ok && bytes.Equal(d.Challenger, k.public()) {
			name := fmt.Sprintf("accuse: dispute %.4x", id[:])
			list = append(list, task{name, func(ctx context.Context) error { return k.attack(ctx, name, id) }})
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

// defend plays the prover: of a receipt of this node, or of its work as an auditor
// on another's.
func (k *Keeper) defend(ctx context.Context, name string, id canon.Hash) error {
	if k.cfg.Models == nil {
		return errCannot
	}
	d, run, err := k.game(id)
	if err != nil {
		return err
	}
	f, salt, err := k.prover(d, run)
	if err != nil {
		return err
	}
	var source Source
	if d.Digest == nil {
		source, err = k.cfg.Models.Prove(ctx, f)
	}
	if d.Digest != nil || errors.Is(err, ErrNoModel) {
		// It is no model that the node serves, or serves any more: but a run of a
		// right receipt is the same on every device that has the model.
		source, err = k.check(ctx, f)
	}
	if err != nil {
		return err
	}
	defer source.Close()
	p, err := dispute.NewProver(run, d.Terms(k.cfg.Chain.Name()), k.cfg.Key, salt, source)
	if err != nil {
		return err
	}
	return k.play(ctx, name, id, p, nil)
}

// prover is what this node is to prove in a dispute, and the salt of its trace.
func (k *Keeper) prover(d *ledger.Dispute, run dispute.Run) (*receipt.File, []byte, error) {
	if d.Digest != nil {
		f, salt, err := k.findWork(*d.Digest)
		return f, salt[:], err
	}
	if k.cfg.Log == nil {
		return nil, nil, errors.New("the log of receipts is not here")
	}
	index, err := k.cfg.Log.Find(run.Claim().Receipt)
	if err != nil {
		return nil, nil, err
	}
	f, err := k.own(index)
	if err != nil {
		return nil, nil, err
	}
	if f.Opening != nil && f.Opening.Trace != nil && !f.Receipt.Claims().Trace.IsZero() {
		return f, f.Opening.Trace[:], nil
	}
	return f, nil, nil
}

// check is a run that must be possible.
func (k *Keeper) check(ctx context.Context, f *receipt.File) (Source, error) {
	w, impossible, err := k.cfg.Models.Check(ctx, f)
	switch {
	case err != nil:
		return nil, err
	case impossible != nil:
		return nil, hopeless{errors.New("no run can be what the receipt says")}
	}
	return w, nil
}

// attack plays the challenger.
func (k *Keeper) attack(ctx context.Context, name string, id canon.Hash) error {
	if k.cfg.Models == nil {
		return errCannot
	}
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
	return k.play(ctx, name, id, c, func() {
		if proof := c.Proof(); proof != nil {
			if err := k.writeProof(id, proof); err != nil {
				k.log.Warn("a proof of fraud is not kept", "error", err)
			}
		}
	})
}

// play sends a party's messages until the dispute ends. What fails is tried again
// here, so that the run is not computed for each try.
func (k *Keeper) play(ctx context.Context, name string, id canon.Hash, p ledger.Player, moved func()) error {
	seat := ledger.NewSeat(id, p)
	for {
		changed := k.cfg.Chain.Changed()
		t, _ := k.cfg.Chain.State()
		d, ok := ledger.DisputeAt(&t, id)
		if !ok || d.Judgment != nil {
			return nil
		}
		m, err := seat.Next(&t)
		if errors.Is(err, dispute.ErrSame) {
			return hopeless{fmt.Errorf("the receipt is right, so the bond is lost: %w", err)}
		}
		if err != nil {
			return err
		}
		if m != nil {
			if moved != nil {
				moved()
			}
			if err := k.cfg.Chain.Send(ctx, ledger.KindMove, m); err == nil {
				continue
			} else if wait := k.sendFailed(ctx, name, err); !wait {
				return ctx.Err()
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
