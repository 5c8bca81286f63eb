package keeper

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// audits are the duties of audits, on either side.
func (k *Keeper) audits(t *tree.Tree) (list []task) {
	serve, open := map[showing]bool{}, map[canon.Hash]bool{}
	if k.cfg.Audit && !ledger.IsAuditor(t, k.public()) {
		if n, ok := ledger.NodeAt(t, k.public()); ok && n.Bond >= ledger.ParamsAt(t).NodeBond {
			list = append(list, task{"become an auditor", func(ctx context.Context) error {
				return k.cfg.Chain.Send(ctx, ledger.KindAuditor, &ledger.SetAuditor{Key: k.public(), On: true})
			}})
		}
	}
	params := ledger.ParamsAt(t)
	for _, d := range ledger.Duties(t, k.public()) {
		name := fmt.Sprintf("%s: audit of %x with %d receipts", d.Task, d.Audit.Node[:4], d.Audit.Size)
		switch d.Task {
		case ledger.TaskServe:
			for _, a := range d.Auditors {
				for _, index := range d.Indices {
					serve[showing{canon.Hash(a), index}] = true
				}
			}
		case ledger.TaskAnswer:
			list = append(list, task{fmt.Sprintf("%s, place %d for %x", name, d.Places[0], d.Auditors[0][:4]), func(ctx context.Context) error { return k.answer(ctx, d, &params) }})
		case ledger.TaskCommit:
			open[d.ID] = true
			list = append(list, task{name, func(ctx context.Context) error { return k.commit(ctx, d, &params) }})
		case ledger.TaskReveal:
			list = append(list, task{name, func(ctx context.Context) error { return k.reveal(ctx, d) }})
		case ledger.TaskAccuse:
			list = append(list, task{name, func(ctx context.Context) error { return k.accuse(ctx, d) }})
		case ledger.TaskStand:
			list = append(list, task{name, func(ctx context.Context) error { return k.stand(ctx, d) }})
		}
	}
	k.mu.Lock()
	k.serve = serve
	maps.DeleteFunc(k.partial, func(id canon.Hash, _ []found) bool { return !open[id] })
	k.mu.Unlock()
	return list
}

// answer meets a demand of an auditor on the ledger.
func (k *Keeper) answer(ctx context.Context, d ledger.Duty, p *ledger.Params) error {
	if k.cfg.Log == nil {
		return errors.New("the log of receipts is not here")
	}
	f, err := k.own(d.Indices[0])
	if err != nil {
		return err
	}
	proof, err := k.cfg.Log.Inclusion(d.Audit.Size, d.Indices[0])
	if err != nil {
		return err
	}
	m := &ledger.Answer{Audit: d.Audit, Auditor: d.Auditors[0], Place: d.Places[0], Receipt: f.Receipt.Bytes(), Proof: proof}
	claims := f.Receipt.Claims()
	if tokens(&claims) <= p.Audit.Tokens {
		key, err := receipt.ParseAuditorKey(d.Key)
		if err != nil {
			return err
		}
		if f.Opening == nil {
			return errors.New("what was asked and answered is not kept")
		}
		box, err := receipt.Seal(f.Opening.Select(ledger.AuditParts(&claims)), f.Receipt.Hash(), key)
		if err != nil {
			return err
		}
		m.Box = &box
	}
	return k.cfg.Chain.Send(ctx, ledger.KindAnswer, m)
}

func tokens(c *receipt.Claims) uint64 { return uint64(c.PromptTokens) + uint64(c.OutputTokens) }

// own is a receipt of the node's log.
func (k *Keeper) own(index uint64) (*receipt.File, error) {
	e, err := k.cfg.Log.File(index)
	if err != nil {
		return nil, err
	}
	return receipt.ParseFile(e.File)
}

// found is what an auditor found of a receipt, as its folder keeps it.
type found struct {
	Finding   ledger.Finding `json:"finding"`
	Index     uint64         `json:"index"`   // in the node's log
	Receipt   []byte         `json:"receipt"` // the file
	Proof     []canon.Hash   `json:"proof"`   // of inclusion
	Root      canon.Hash     `json:"root"`    // of the trace, if it is right
	Layers    int            `json:"layers"`
	Positions int            `json:"positions"`
}

// commit computes the receipts again and commits to what came of it.
func (k *Keeper) commit(ctx context.Context, d ledger.Duty, p *ledger.Params) error {
	if k.cfg.Models == nil || k.cfg.Peers == nil {
		return errors.New("this node cannot compute receipts again")
	}
	list, err := k.readFound(d)
	if err != nil {
		return err
	}
	if list == nil {
		if list, err = k.examineAll(ctx, d, p); err != nil {
			return err
		}
		if err := k.writeFound(d, list); err != nil {
			return err
		}
	}
	return k.cfg.Chain.Send(ctx, ledger.KindCommit, &ledger.Commit{
		Audit: d.Audit, Auditor: k.public(), Commitment: ledger.CommitmentOf(d.ID, k.public(), k.saltOf(d), findings(list)),
	})
}

// examineAll examines the receipts that were not yet: one that cannot be had now
// keeps no other one waiting, and none is computed twice.
func (k *Keeper) examineAll(ctx context.Context, d ledger.Duty, p *ledger.Params) ([]found, error) {
	k.mu.Lock()
	list := k.partial[d.ID]
	if list == nil {
		list = make([]found, len(d.Indices))
		k.partial[d.ID] = list
	}
	k.mu.Unlock()
	var first error
	for i := range list {
		if list[i].Receipt != nil {
			continue
		}
		x, err := k.examine(ctx, d, i, p)
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case err == nil:
			list[i] = x
		case first == nil:
			first = fmt.Errorf("receipt %d of the log: %w", d.Indices[i], err)
		}
	}
	return list, first
}

// saltOf is the salt of an audit's commitment: nobody knows it who does not have
// the key, and it need not be kept.
func (k *Keeper) saltOf(d ledger.Duty) []byte {
	h := canon.Sum("aval keeper salt/1", k.cfg.Key.Seed(), d.ID[:])
	return h[:]
}

func findings(list []found) []ledger.Finding {
	out := make([]ledger.Finding, len(list))
	for i := range list {
		out[i] = list[i].Finding
	}
	return out
}

// examine gets a receipt and computes it again.
func (k *Keeper) examine(ctx context.Context, d ledger.Duty, place int, p *ledger.Params) (out found, err error) {
	f, proof, err := k.get(ctx, d, place, p)
	if err != nil {
		return out, err
	}
	id, claims := f.Receipt.Hash(), f.Receipt.Claims()
	out.Index, out.Proof = d.Indices[place], proof
	if out.Receipt, err = f.Marshal(); err != nil {
		return out, err
	}
	if tokens(&claims) > p.Audit.Tokens {
		out.Finding = ledger.Finding{Verdict: ledger.Large, Digest: id}
		return out, nil
	}
	select {
	case k.computing <- struct{}{}:
		defer func() { <-k.computing }()
	case <-ctx.Done():
		return out, ctx.Err()
	}
	w, impossible, err := k.cfg.Models.Check(ctx, f)
	if err != nil {
		return out, err
	}
	if impossible != nil {
		out.Finding = ledger.Finding{Verdict: ledger.False, Digest: id}
		return out, nil
	}
	defer w.Close()
	if out.Root, out.Layers, out.Positions, err = traceOf(w); err != nil {
		return out, err
	}
	// Only the ids count: nothing binds the trace salt that the node shows, which
	// could show the right one in the dispute.
	if _, wrong := w.Output(); wrong {
		out.Finding = ledger.Finding{Verdict: ledger.False, Digest: id}
		return out, nil
	}
	out.Finding = ledger.Finding{Verdict: ledger.Right, Digest: ledger.WorkDigest(d.ID, d.Indices[place], id, out.Root, out.Layers, out.Positions)}
	return out, nil
}

// traceOf is the root of the trace of a run.
func traceOf(w Witness) (root canon.Hash, layers, positions int, err error) {
	states, err := w.States()
	if err != nil || len(states) == 0 {
		return root, 0, 0, errors.Join(err, errors.New("the run has no states"))
	}
	roots := make([]canon.Hash, len(states))
	for l := range states {
		roots[l] = canon.Root(states[l])
	}
	return trace.RootOf(roots), len(states), len(states[0]), nil
}

// get gives a receipt that was drawn, from the node or, if that shows nothing in
// half of the time, by a demand on the ledger. Once one is demanded, all are that
// the node does not show: each demand gives the other ones more time.
func (k *Keeper) get(ctx context.Context, d ledger.Duty, place int, p *ledger.Params) (*receipt.File, []canon.Hash, error) {
	t, height := k.cfg.Chain.State()
	asked, answered := height+p.Audit.Commit/2 >= d.Until, false
	for i, at := range d.Places {
		if m, ok := ledger.DemandAt(&t, d.Audit, at, k.public()); ok {
			asked, answered = true, answered || i == place && m.Met
		}
	}
	if answered { // whatever the node shows now, this is what it answers for
		return k.demanded(ctx, d, place, p, nil)
	}
	f, proof, err := k.ask(ctx, d, place)
	if err == nil {
		if err = whole(f, p); err == nil {
			return f, proof, nil
		}
	}
	if !asked || ctx.Err() != nil {
		return nil, nil, err
	}
	return k.demanded(ctx, d, place, p, err)
}

// ask asks the node itself for a receipt.
func (k *Keeper) ask(ctx context.Context, d ledger.Duty, place int) (*receipt.File, []canon.Hash, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return k.cfg.Peers.Receipt(ctx, d.Audit.Node, d.Audit.Size, d.Root, d.Indices[place])
}

// whole checks that a file shows what an auditor needs of a receipt.
func whole(f *receipt.File, p *ledger.Params) error {
	claims := f.Receipt.Claims()
	if tokens(&claims) > p.Audit.Tokens {
		return nil
	}
	return ledger.Shows(f.Opening, &claims, ledger.AuditParts(&claims))
}

// demanded demands a receipt on the ledger, or reads the answer.
func (k *Keeper) demanded(ctx context.Context, d ledger.Duty, place int, p *ledger.Params, why error) (*receipt.File, []canon.Hash, error) {
	t, _ := k.cfg.Chain.State()
	at := d.Places[place]
	m, open := ledger.DemandAt(&t, d.Audit, at, k.public())
	if !open {
		secret, err := k.demandSecret(d, at)
		if err != nil {
			return nil, nil, err
		}
		if err := k.cfg.Chain.Send(ctx, ledger.KindDemand, &ledger.Demand{Audit: d.Audit, Auditor: k.public(), Place: at, Key: secret.Public().String()}); err != nil {
			return nil, nil, err
		}
		return nil, nil, fmt.Errorf("the node was asked for it on the ledger, as %w", why)
	}
	if !m.Met {
		return nil, nil, fmt.Errorf("the node has not answered on the ledger yet, until block %d", m.Until)
	}
	for _, a := range k.cfg.Chain.Answers() {
		if string(a.Auditor) != string(k.public()) || a.Place != at || string(a.Audit.Node) != string(d.Audit.Node) || a.Audit.Size != d.Audit.Size {
			continue
		}
		return k.unseal(ctx, d, at, a, p)
	}
	return nil, nil, errors.New("the answer on the ledger is in a block that this node no longer has")
}

// unseal reads an answer; one that cannot be read is shown to everybody.
func (k *Keeper) unseal(ctx context.Context, d ledger.Duty, place uint64, a *ledger.Answer, p *ledger.Params) (*receipt.File, []canon.Hash, error) {
	f, err := receipt.ParseFile(a.Receipt)
	if err != nil {
		return nil, nil, err
	}
	if a.Box == nil {
		return f, a.Proof, whole(f, p)
	}
	secret, err := k.demandSecret(d, place)
	if err != nil {
		return nil, nil, err
	}
	o, err := receipt.Unseal(*a.Box, f.Receipt.Hash(), secret)
	if err == nil {
		f.Opening = o
		if err = whole(f, p); err == nil {
			return f, a.Proof, nil
		}
	}
	text, err2 := secret.Text()
	if err2 != nil {
		return nil, nil, err2
	}
	if err := k.cfg.Chain.Send(ctx, ledger.KindGarbled, &ledger.Garbled{Audit: d.Audit, Auditor: k.public(), Place: place, Receipt: a.Receipt, Box: a.Box, Secret: text}); err != nil {
		return nil, nil, err
	}
	return nil, nil, fmt.Errorf("the answer on the ledger cannot be read, and that was shown: %w", err)
}

// reveal opens the commitment.
func (k *Keeper) reveal(ctx context.Context, d ledger.Duty) error {
	list, err := k.mustFound(d)
	if err != nil {
		return err
	}
	return k.cfg.Chain.Send(ctx, ledger.KindReveal, &ledger.Reveal{Audit: d.Audit, Auditor: k.public(), Salt: k.saltOf(d), Findings: findings(list)})
}

// accuse names the false receipts, and disputes them.
func (k *Keeper) accuse(ctx context.Context, d ledger.Duty) error {
	list, err := k.mustFound(d)
	if err != nil {
		return err
	}
	var all error // what fails at one place keeps no other one waiting
	for _, place := range d.Places {
		x := &list[place]
		f, err := receipt.ParseFile(x.Receipt)
		if err == nil {
			err = k.Challenge(ctx, f)
		}
		if err == nil || errors.Is(err, ErrDisputed) {
			err = k.cfg.Chain.Send(ctx, ledger.KindAccuse, &ledger.Accuse{Audit: d.Audit, Auditor: k.public(), Place: place, Proof: x.Proof})
		}
		all = errors.Join(all, err)
	}
	return all
}

// stand opens the work on receipts that somebody contests.
func (k *Keeper) stand(ctx context.Context, d ledger.Duty) error {
	list, err := k.mustFound(d)
	if err != nil {
		return err
	}
	var all error
	for _, place := range d.Places {
		x := &list[place]
		all = errors.Join(all, k.cfg.Chain.Send(ctx, ledger.KindStand, &ledger.MakeStand{
			Audit: d.Audit, Auditor: k.public(), Place: place, Root: x.Root, Layers: uint64(x.Layers), Positions: uint64(x.Positions),
		}))
	}
	return all
}
