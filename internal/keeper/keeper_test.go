package keeper_test

import (
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// trio is a provider with a log, and auditors, not started.
func trio(t *testing.T, change func(*ledger.Params)) (n *network, provider *device, auditors []*device) {
	n = newNetwork(t, 3, change)
	n.devices[0].keepLog()
	return n, n.devices[0], n.devices[1:]
}

// TestHonest: receipts are posted, audited by two nodes, and pass.
func TestHonest(t *testing.T) {
	n, p, auditors := trio(t, nil)
	n.start(n.devices...)
	p.append(n.receiptOf(p, 0, false), n.receiptOf(p, 1, false))
	n.until("the audits pass", func(t *tree.Tree) bool {
		x, _ := ledger.NodeAt(t, p.id())
		return x.Log.Size == 2 && x.Record.Passed > 0 && x.Held == 0
	})
	for _, a := range auditors {
		if x := n.node(a); x.Record.Audits == 0 || x.Record.Missed != 0 || x.Record.Slashed != 0 || x.Held != 0 {
			t.Errorf("an auditor is %+v", x)
		}
		if a.most.Load() > 1 {
			t.Errorf("%d runs at once", a.most.Load())
		}
	}
	if x := n.node(p); x.Record.Failed != 0 || x.Record.Skipped != 0 || x.Record.Slashed != 0 {
		t.Errorf("the provider is %+v", x)
	}
}

// TestLiar: a node whose run has one wrong leaf is found by the auditors, loses
// the dispute that its keeper plays to the end, and half its bond; the proof is
// one that anybody can judge.
func TestLiar(t *testing.T) {
	n, p, auditors := trio(t, nil)
	p.liar = true
	n.start(n.devices...)
	f := n.receiptOf(p, 0, true)
	p.append(f)
	n.until("the liar is convicted", func(t *tree.Tree) bool {
		x, _ := ledger.NodeAt(t, p.id())
		return x.Record.Failed > 0 && x.Held == 0
	})
	if x := n.node(p); x.Record.Slashed == 0 || x.Record.Passed != 0 {
		t.Errorf("the liar is %+v", x)
	}
	state, proofs := n.state(), 0
	for id, d := range ledger.Disputes(&state) {
		if d.Judgment == nil || d.Judgment.Winner != dispute.ChallengerParty {
			continue
		}
		if d.Judgment.Reason != dispute.Fraud || d.Moves < 6 {
			t.Errorf("a dispute of %d messages ended by %v", d.Moves, d.Judgment.Reason)
		}
		for _, a := range auditors {
			proof, err := a.keeper.Proof(id)
			if err != nil {
				t.Fatal(err)
			}
			if proof == nil {
				continue
			}
			run, err := dispute.NewRun(f.Receipt)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := dispute.Judge(run, proof); err != nil {
				t.Errorf("the proof: %v", err)
			}
			proofs++
		}
	}
	if proofs != 1 {
		t.Errorf("%d proofs of the dispute that was won", proofs)
	}
	n.until("the audit is over", func(t *tree.Tree) bool { return len(ledger.Duties(t, auditors[0].id())) == 0 })
	for _, a := range auditors {
		if x := n.node(a); x.Record.Slashed != 0 || x.Record.Audits != 1 {
			t.Errorf("an auditor is %+v\n%s", x, a.said)
		}
	}
}
