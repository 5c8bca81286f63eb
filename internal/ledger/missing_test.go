package ledger_test

import (
	"testing"

	"github.com/avalnetwork/aval/internal/ledger"
)

// TestMissing: a node that keeps a receipt out of its log is made to add it, or
// loses as if it had lied.
func TestMissing(t *testing.T) {
	for _, adds := range []bool{true, false} {
		w, p, _ := newAudits(t, 0)
		user := w.people[0]
		p.fill(t, 3)
		w.must(p.person, ledger.KindBatch, p.batch(t, 0))
		w.until(p, 0)
		hidden := p.answer(t, []byte("a nonce of an asker"))
		missing := &ledger.Missing{Receipt: hidden.Bytes()}
		show := &ledger.Show{Node: public(p.node), Receipt: hidden.Hash(), Index: 3, Proof: p.inclusion(t, 4, 3)}
		w.fails(ledger.CodeNotFound, "nobody misses", p.person, ledger.KindShow, show)
		w.must(user, ledger.KindMissing, missing)
		w.fails(ledger.CodeRefused, "already", user, ledger.KindMissing, missing)
		w.must(p.person, ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleNode, Key: public(p.node), Amount: 800 * ledger.Unit})
		w.now += 2000 // longer than unbonding takes
		w.block()
		if n := w.node(p.person); n.Held != 1 || n.Bond != 200*ledger.Unit {
			t.Fatalf("the node is %+v", n)
		}
		w.fails(ledger.CodeRefused, "not shown", p.person, ledger.KindShow, show)
		if adds {
			w.must(p.person, ledger.KindBatch, p.batch(t, 3))
			w.must(p.person, ledger.KindShow, show)
			w.until(p, 0)
		}
		before := w.account(user).Balance
		w.now += ledger.Day
		w.block()
		n := w.node(p.person)
		if adds {
			if n.Held != 0 || n.Record.Failed != 0 || n.Record.Slashed != 0 {
				t.Errorf("the node that added it is %+v", n)
			}
			continue
		}
		if n.Held != 0 || n.Record.Failed != 1 || n.Record.Slashed != 500*ledger.Unit {
			t.Errorf("the node that hid it is %+v", n)
		}
		if got, want := w.account(user).Balance, before+250*ledger.Unit+ledger.DefaultParams().Audit.DemandFee; got != want {
			t.Errorf("the user has %d, want %d", got, want)
		}
	}
}
