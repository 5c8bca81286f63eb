package ledger_test

import (
	"testing"

	"github.com/avalnetwork/aval/internal/ledger"
)

func TestFork(t *testing.T) {
	w := newWorld(t, 2, 1)
	m := w.m
	tx := w.tx(w.people[0], 0, ledger.KindBurn, &ledger.Burn{Amount: 1})
	before := m.Root()
	f := m.Fork()
	if err := f.Begin(ledger.Block{Height: 1, Time: f.Time()}); err != nil {
		t.Fatal(err)
	}
	if r := f.Apply(tx); r.Code != ledger.CodeOK {
		t.Fatal(r.Detail)
	}
	if out := f.End(); out.Root == before || out.Root != f.Root() || m.Root() != before || m.Height() != 0 {
		t.Error("the machine saw what its fork did")
	}
	addr := w.people[0].addr
	if f.Nonce(addr, nil) != 1 || m.Nonce(addr, nil) != 0 || f.Chain() != m.Chain() {
		t.Errorf("nonces of %d and %d, chains %q and %q", f.Nonce(addr, nil), m.Nonce(addr, nil), f.Chain(), m.Chain())
	}
	if err := m.Begin(ledger.Block{Height: 1, Time: m.Time()}); err != nil {
		t.Fatal(err)
	}
	if m.End().Root != before {
		t.Error("an empty block changed the state of the forked machine")
	}
}
