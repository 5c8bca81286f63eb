package node

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"slices"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
)

// LedgerDispute is a dispute on the ledger.
type LedgerDispute struct {
	ID      canon.Hash `json:"id"`
	Node    peer.ID    `json:"node"` // that signed the receipt
	Receipt canon.Hash `json:"receipt"`
	Mover   string     `json:"mover"` // whose message is due: prover, challenger; "" after the end
	ledger.Dispute
	// Finding is what a proof of fraud showed; nil: there is none.
	Finding *dispute.Finding `json:"finding,omitempty"`
}

// LedgerDisputes are the disputes that the ledger still knows, the newest first; or
// the one whose identity begins with digits.
func (n *Node) LedgerDisputes(_ context.Context, digits string) ([]LedgerDispute, error) {
	if n.chain == nil {
		return nil, errNoLedger
	}
	t, _ := n.chain.State()
	list := []LedgerDispute{}
	for id, d := range ledger.Disputes(&t) {
		if text := hex.EncodeToString(id[:]); len(digits) > len(text) || text[:len(digits)] != digits {
			continue
		}
		if len(list) == maxEntries {
			break
		}
		x, err := disputeOf(id, d)
		if err != nil {
			return nil, err
		}
		if d.Judgment != nil && d.Judgment.Fault != nil {
			game, err := ledger.Game(&t, id)
			if err != nil {
				return nil, err
			}
			if o, over := game.Outcome(); over && o.Reason == dispute.Fraud {
				x.Finding = &o.Finding
			}
		}
		list = append(list, x)
	}
	slices.SortStableFunc(list, func(a, b LedgerDispute) int { return cmp.Compare(b.Opened, a.Opened) })
	return list, nil
}

func disputeOf(id canon.Hash, d *ledger.Dispute) (out LedgerDispute, err error) {
	run, err := d.Run()
	if err != nil {
		return out, err
	}
	out = LedgerDispute{ID: id, Receipt: run.Claim().Receipt, Dispute: *d}
	if m := d.Mover(); m != 0 {
		out.Mover = m.String()
	}
	out.Node, err = peer.FromPublic(d.Prover)
	return out, err
}

// LedgerAudit is an audit that goes on.
type LedgerAudit struct {
	Node peer.ID `json:"node"` // whose receipts are audited
	Size uint64  `json:"size"` // of its log
	ledger.Audit
	Drawn []uint64 `json:"drawn"` // receipts, entries of the log; empty before the draw
}

// Audits are what there is of audits.
type Audits struct {
	Height uint64        `json:"height"`
	Audits []LedgerAudit `json:"audits"`
	Duties []Duty        `json:"duties"` // of this node
}

// Duty is something that this node is to do for an audit.
type Duty struct {
	Task     ledger.Task `json:"task"`
	Node     peer.ID     `json:"node"` // that is audited
	Size     uint64      `json:"size"` // of its log
	Receipts []uint64    `json:"receipts"`
	Until    uint64      `json:"until"` // the last block
}

// LedgerAudits are the audits that go on, and what this node is to do for them.
func (n *Node) LedgerAudits(context.Context) (out Audits, err error) {
	if n.chain == nil {
		return out, errNoLedger
	}
	t, height := n.chain.State()
	out = Audits{Height: height, Audits: []LedgerAudit{}, Duties: []Duty{}}
	for ref, a := range ledger.Audits(&t) {
		if len(out.Audits) == maxEntries {
			break
		}
		x := LedgerAudit{Size: ref.Size, Audit: *a, Drawn: []uint64{}}
		if x.Node, err = peer.FromPublic(ref.Node); err != nil {
			return out, err
		}
		if a.Phase != ledger.PhaseDraw {
			x.Drawn = append(x.Drawn, a.Indices(ref.Size)...)
		}
		out.Audits = append(out.Audits, x)
	}
	for _, d := range ledger.Duties(&t, n.key.Public().(ed25519.PublicKey)) {
		id, err := peer.FromPublic(d.Audit.Node)
		if err != nil {
			return out, err
		}
		out.Duties = append(out.Duties, Duty{d.Task, id, d.Audit.Size, d.Indices, d.Until})
	}
	return out, nil
}

// trialMethods are what commands may ask about disputes and audits.
func (n *Node) trialMethods() map[string]control.Method {
	return map[string]control.Method{
		"ledger-disputes": method(n.LedgerDisputes),
		"ledger-audits":   method(func(ctx context.Context, _ struct{}) (Audits, error) { return n.LedgerAudits(ctx) }),
	}
}

// LedgerDisputes is Node.LedgerDisputes.
func (r *Remote) LedgerDisputes(ctx context.Context, digits string) (out []LedgerDispute, err error) {
	err = r.client.Call(ctx, "ledger-disputes", digits, &out)
	return out, err
}

// LedgerAudits is Node.LedgerAudits.
func (r *Remote) LedgerAudits(ctx context.Context) (out Audits, err error) {
	err = r.client.Call(ctx, "ledger-audits", struct{}{}, &out)
	return out, err
}
