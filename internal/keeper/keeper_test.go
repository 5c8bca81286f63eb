package keeper_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/keeper"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/receiptlog/archive"
	"github.com/avalnetwork/aval/receipt"
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
		if a.most.Load() > 1 || a.checks.Load() != 2 {
			t.Errorf("%d runs at once, %d in all, want 1 and 2", a.most.Load(), a.checks.Load())
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

// TestDemand: what a node shows to nobody is demanded on the ledger, and its answer
// there, sealed for the auditor, is as good.
func TestDemand(t *testing.T) {
	n, p, auditors := trio(t, nil)
	p.deny.Store(true)
	n.start(n.devices...)
	p.append(n.receiptOf(p, 0, false), n.receiptOf(p, 1, false))
	n.until("the audit passes", func(t *tree.Tree) bool {
		x, _ := ledger.NodeAt(t, p.id())
		return x.Record.Passed > 0 && x.Held == 0
	})
	if x := n.node(p); x.Record.Slashed != 0 || x.Record.Failed != 0 {
		t.Errorf("the provider is %+v", x)
	}
	if d, a := n.count(ledger.KindDemand), n.count(ledger.KindAnswer); d != 4 || a != d {
		t.Errorf("%d demands and %d answers, want 4 of both", d, a)
	}
	for _, a := range auditors {
		if x := n.node(a); x.Record.Audits == 0 || x.Record.Slashed != 0 {
			t.Errorf("an auditor is %+v\n%s", x, a.said)
		}
	}
}

// TestWithheld: a node that does not answer a demand either loses half its bond;
// one whose answer cannot be read does, too.
func TestWithheld(t *testing.T) {
	for _, c := range []struct {
		name   string
		spoil  func(p *device)
		garble int
	}{
		{"silent", func(p *device) {
			p.refuse = func(kind ledger.Kind, _ any) error {
				if kind == ledger.KindAnswer {
					return errors.New("it stays silent")
				}
				return nil
			}
		}, 0},
		{"garbled", func(p *device) {
			p.change = func(_ ledger.Kind, payload any) {
				if a, ok := payload.(*ledger.Answer); ok {
					a.Box.Data = append([]byte(nil), a.Box.Data...)
					a.Box.Data[len(a.Box.Data)-1] ^= 1
				}
			}
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, p, auditors := trio(t, nil)
			p.deny.Store(true)
			c.spoil(p)
			n.start(n.devices...)
			p.append(n.receiptOf(p, 0, false))
			n.until("the node loses", func(t *tree.Tree) bool {
				x, _ := ledger.NodeAt(t, p.id())
				return x.Record.Failed > 0 && x.Held == 0
			})
			if x := n.node(p); x.Bond != n.params.NodeBond/2 {
				t.Errorf("the provider is %+v", x)
			}
			if got := n.count(ledger.KindGarbled); got != c.garble {
				t.Errorf("%d answers were shown to be garbled, want %d", got, c.garble)
			}
			for _, a := range auditors {
				if x := n.node(a); x.Record.Slashed != 0 {
					t.Errorf("an auditor is %+v", x)
				}
			}
		})
	}
}

// TestChallenge: a user disputes a true receipt: it loses its bond in the dispute,
// and nobody else anything. It cannot dispute it twice at once, nor without what
// was asked and answered.
func TestChallenge(t *testing.T) {
	n, p, _ := trio(t, nil)
	user := n.devices[2]
	user.config = func(c *keeper.Config) { c.Audit, c.Bond = false, false }
	p.start()
	user.start()
	n.until("the provider is a node", func(t *tree.Tree) bool { x, ok := ledger.NodeAt(t, p.id()); return ok && x.Bond > 0 })
	f := n.receiptOf(p, 0, false)
	p.append(f)
	ctx := t.Context()
	if err := user.keeper.Challenge(ctx, &receipt.File{Receipt: f.Receipt}); err == nil {
		t.Error("a receipt of which nothing is shown was disputed")
	}
	p.noModel.Store(true) // it is no longer served, but the node has it still
	if err := user.keeper.Challenge(ctx, f); err != nil {
		t.Fatal(err)
	}
	if err := user.keeper.Challenge(ctx, f); !errors.Is(err, keeper.ErrDisputed) {
		t.Errorf("the second dispute: %v", err)
	}
	n.until("the dispute ends", func(t *tree.Tree) bool {
		for _, d := range ledger.Disputes(t) {
			return d.Judgment != nil
		}
		return false
	})
	state := n.state()
	for _, d := range ledger.Disputes(&state) {
		if d.Judgment.Winner != dispute.ProverParty || d.Judgment.Reason != dispute.Silence || d.Moves == 0 {
			t.Errorf("it ended %+v after %d messages", d.Judgment, d.Moves)
		}
	}
	if x := n.node(p); x.Record.Failed != 0 || x.Bond != n.params.NodeBond {
		t.Errorf("the provider is %+v", x)
	}
	if got := user.checks.Load(); got != 1 {
		t.Errorf("the run was computed %d times", got)
	}
	if got := strings.Count(user.said.String(), "given up"); got != 1 {
		t.Errorf("it was told %d times:\n%s", got, user.said)
	}
	// A lie can be disputed by a user as well.
	p.noModel.Store(false)
	p.liar = true
	f = n.receiptOf(p, 1, true)
	p.append(f)
	if err := user.keeper.Challenge(ctx, f); err != nil {
		t.Fatal(err)
	}
	n.until("the liar is convicted", func(t *tree.Tree) bool { x, _ := ledger.NodeAt(t, p.id()); return x.Record.Failed == 1 })
	if err := user.keeper.Challenge(ctx, f); !errors.Is(err, keeper.ErrDisputed) {
		t.Errorf("the dispute of a convicted receipt: %v", err)
	}
}

// TestBatches: receipts wait for their number or for their time, also while there
// are always new ones, and large batches are cut.
func TestBatches(t *testing.T) {
	n, p, _ := trio(t, func(p *ledger.Params) { p.Audit.Cover = 1 })
	p.config = func(c *keeper.Config) { c.Every, c.Most = time.Hour, 3 }
	p.start()
	n.until("it is a node", func(t *tree.Tree) bool { x, ok := ledger.NodeAt(t, p.id()); return ok && x.Bond > 0 })
	file := func(i int) *receipt.File {
		c := n.claims
		c.Time = int64(1_700_000_000 + i)
		r, err := receipt.Sign(c, p.key)
		n.must(err)
		return &receipt.File{Receipt: r, Opening: n.opening}
	}
	posted := func(size uint64) {
		t.Helper()
		n.until("the batch", func(t *tree.Tree) bool { x, _ := ledger.NodeAt(t, p.id()); return x.Log.Size == size })
	}
	p.append(file(0), file(1))
	time.Sleep(50 * time.Millisecond)
	if x := n.node(p); x.Log.Size != 0 {
		t.Fatalf("%d receipts were posted before their time", x.Log.Size)
	}
	p.append(file(2))
	posted(3)
	// All of a batch are drawn here, so it has at most 64.
	p.stop()
	for i := range 100 {
		p.append(file(3 + i))
	}
	p.start()
	posted(103)
	if got := n.count(ledger.KindBatch); got != 3 {
		t.Errorf("%d batches, want 3", got)
	}
	p.stop()
	// By time, and not with every block.
	p.config = func(c *keeper.Config) { c.Every = 200 * time.Millisecond }
	p.start()
	before := n.count(ledger.KindBatch)
	begin := time.Now()
	for i := 0; time.Since(begin) < 500*time.Millisecond; i++ {
		p.append(file(200 + i))
		n.mu.Lock()
		n.block()
		n.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
	took := time.Since(begin)
	if got, most := n.count(ledger.KindBatch)-before, int(took/(200*time.Millisecond)); got < 1 || got > most {
		t.Errorf("%d batches in %v, want 1 to %d", got, took, most)
	}
}

// TestOldLog: a node whose log is an old copy posts nothing, and says so once.
func TestOldLog(t *testing.T) {
	n, p, _ := trio(t, func(p *ledger.Params) { p.Audit.Cover = 1 })
	p.start()
	p.append(n.receiptOf(p, 0, false), n.receiptOf(p, 1, false))
	n.until("the batch", func(t *tree.Tree) bool { x, ok := ledger.NodeAt(t, p.id()); return ok && x.Log.Size == 2 })
	p.stop()
	p.keepLog()
	p.append(n.receiptOf(p, 0, false), n.receiptOf(p, 7, false), n.receiptOf(p, 8, false))
	p.said = &lines{}
	p.start()
	time.Sleep(100 * time.Millisecond)
	if x := n.node(p); x.Log.Size != 2 {
		t.Errorf("%d receipts are posted", x.Log.Size)
	}
	if s := p.said.String(); strings.Count(s, "not the one that this node signed") != 1 {
		t.Errorf("it said:\n%s", s)
	}
	s := n.state()
	if err := p.keeper.Agrees(&s); !errors.Is(err, archive.ErrLost) {
		t.Errorf("it agrees: %v", err)
	}
}

// TestRetry: what does not get out is tried again, and told once.
func TestRetry(t *testing.T) {
	n, p, _ := trio(t, nil)
	fails := map[ledger.Kind]int{}
	p.refuse = func(kind ledger.Kind, _ any) error {
		if fails[kind]++; fails[kind] <= 3 {
			return errors.New("the network is away")
		}
		return nil
	}
	p.behind.Store(true)
	p.start()
	time.Sleep(50 * time.Millisecond)
	if n.mu.Lock(); fails[ledger.KindBond] != 0 {
		t.Error("it acted on an old state")
	}
	n.mu.Unlock()
	p.behind.Store(false)
	n.until("it is a node", func(t *tree.Tree) bool { x, ok := ledger.NodeAt(t, p.id()); return ok && x.Bond > 0 })
	if x := n.node(p); x.Bond != n.params.NodeBond {
		t.Errorf("it bonded %d", x.Bond)
	}
	if got := strings.Count(p.said.String(), "the network is away"); got != 1 {
		t.Errorf("it said so %d times:\n%s", got, p.said)
	}
	n.until("it forgets what is done", func(*tree.Tree) bool { return p.keeper.Remembered() == 0 })
	p.stop()
}
