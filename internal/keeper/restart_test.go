package keeper_test

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// TestRestart: a party that begins anew after every transaction goes on where it was, in
// an audit whose receipt has to be demanded on the ledger and in the dispute that
// follows from it.
func TestRestart(t *testing.T) {
	if testing.Short() {
		t.Skip("plays whole games")
	}
	for who, name := range []string{"provider", "auditor"} {
		t.Run(name, func(t *testing.T) {
			n, p, auditors := trio(t, func(p *ledger.Params) { p.Audit.Auditors = 1 })
			p.liar = true
			p.deny.Store(true)
			n.start(p, auditors[0])
			f := n.receiptOf(p, 0, true)
			p.append(f)
			d := n.devices[who]
			restarts, last := 0, 0
			n.until("the liar is convicted", func(t *tree.Tree) bool {
				if now := n.transactions(); now != last {
					last = now
					d.stop()
					d.start()
					restarts++
				}
				x, _ := ledger.NodeAt(t, p.id())
				return x.Record.Failed > 0 && x.Held == 0
			})
			if restarts < 5 {
				t.Errorf("%d restarts", restarts)
			}
			s := n.state()
			for _, x := range ledger.Disputes(&s) {
				if x.Judgment.Reason != dispute.Fraud {
					t.Errorf("the dispute ended by %v", x.Judgment.Reason)
				}
			}
			if x := n.node(auditors[0]); x.Record.Slashed != 0 || n.count(ledger.KindDispute) != 1 || n.count(ledger.KindDemand) != 1 {
				t.Errorf("the auditor is %+v, with %d disputes and %d demands", x, n.count(ledger.KindDispute), n.count(ledger.KindDemand))
			}
		})
	}
}

// TestLostFindings: an auditor that lost what it found says so, and reveals nothing.
func TestLostFindings(t *testing.T) {
	n, p, auditors := trio(t, func(p *ledger.Params) { p.Audit.Auditors = 1 })
	a := auditors[0]
	a.refuse = func(kind ledger.Kind, _ any) error {
		if kind == ledger.KindReveal {
			return os.ErrDeadlineExceeded
		}
		return nil
	}
	n.start(p, a)
	p.append(n.receiptOf(p, 0, false))
	n.until("it commits itself", func(*tree.Tree) bool { return n.count(ledger.KindCommit) == 1 })
	a.stop()
	n.must(os.RemoveAll(filepath.Join(a.folder, "audits")))
	n.mu.Lock()
	a.refuse = nil
	n.mu.Unlock()
	a.start()
	n.until("it misses the audit", func(t *tree.Tree) bool {
		x, _ := ledger.NodeAt(t, a.id())
		return x.Record.Missed == 1
	})
	if n.count(ledger.KindReveal) != 0 {
		t.Error("it revealed something")
	}
	if s := a.said.String(); strings.Count(s, "is gone from") != 1 {
		t.Errorf("it said:\n%s", s)
	}
}

// TestContested: an auditor stands by its work on a receipt that somebody contests,
// and wins the dispute in which it has to prove it; also if it begins anew meanwhile.
func TestContested(t *testing.T) {
	n := newNetwork(t, 4, nil)
	p, auditors, user := n.devices[0], n.devices[1:3], n.devices[3]
	p.keepLog()
	n.start(p, auditors[0], auditors[1])
	f := n.receiptOf(p, 0, false)
	p.append(f)
	n.until("all is revealed", func(*tree.Tree) bool { return n.count(ledger.KindReveal) == 2 })
	proof, err := p.log.Inclusion(1, 0)
	n.must(err)
	ref := ledger.AuditRef{Node: p.id(), Size: 1}
	ctx := t.Context()
	n.must(user.Send(ctx, ledger.KindContest, &ledger.Challenge{Audit: ref, Receipt: f.Receipt.Bytes(), Proof: proof}))
	n.until("both stand by it", func(*tree.Tree) bool { return n.count(ledger.KindStand) == 2 })
	a := auditors[0]
	n.must(user.Send(ctx, ledger.KindDispute, &ledger.OpenDispute{
		Receipt: f.Receipt.Bytes(), Challenger: user.id(), Work: &ledger.WorkRef{Audit: ref, Auditor: a.id()},
	}))
	var id canon.Hash
	s := n.state()
	for x, d := range ledger.Disputes(&s) {
		if d.Digest == nil {
			t.Fatal("the dispute is not about work")
		}
		id = x
	}
	d, _ := ledger.DisputeAt(&s, id)
	run, err := d.Run()
	n.must(err)
	witness := n.rerun(f.Receipt.Claims(), f.Opening)
	defer witness.Close()
	c, err := dispute.NewChallenger(run, d.Terms(chainName), user.key, &against{witness, lie(witness)})
	n.must(err)
	seat := ledger.NewSeat(id, c)
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		s := n.state()
		if d, _ = ledger.DisputeAt(&s, id); d.Judgment != nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the dispute has no end\n%s", a.said)
		}
		n.busy.Add(1)
		m, err := seat.Next(&s)
		n.must(err)
		if m != nil {
			n.must(user.Send(ctx, ledger.KindMove, m))
			a.stop()
			a.start()
		}
		n.busy.Add(-1)
	}
	if d.Judgment.Winner != dispute.ProverParty || d.Judgment.Reason != dispute.Accusation || d.Moves < 4 {
		t.Errorf("it ended %+v after %d messages", d.Judgment, d.Moves)
	}
	n.until("the audit passes", func(t *tree.Tree) bool {
		x, _ := ledger.NodeAt(t, p.id())
		return x.Record.Passed == 1 && x.Held == 0
	})
	for _, a := range auditors {
		if x := n.node(a); x.Record.Audits != 1 || x.Record.Slashed != 0 || x.Record.Failed != 0 {
			t.Errorf("an auditor is %+v", x)
		}
	}
}

// against is a challenger who sees what a liar would have said.
type against struct {
	dispute.Witness
	lie dispute.Source
}

func (a *against) States() ([][]canon.Hash, error)                  { return a.lie.States() }
func (a *against) Cell(c dispute.Cell) (dispute.Values, int, error) { return a.lie.Cell(c) }

// TestEnds: a keeper that is stopped in the middle of a game leaves nothing running.
func TestEnds(t *testing.T) {
	if testing.Short() {
		t.Skip("plays whole games")
	}
	n, p, auditors := trio(t, func(p *ledger.Params) { p.Audit.Auditors = 1 })
	p.liar = true
	f := n.receiptOf(p, 0, true)
	before := runtime.NumGoroutine()
	n.start(p, auditors[0])
	p.append(f)
	n.until("they play", func(t *tree.Tree) bool {
		for _, d := range ledger.Disputes(t) {
			return d.Moves >= 3 && d.Judgment == nil
		}
		return false
	})
	p.stop()
	auditors[0].stop()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
