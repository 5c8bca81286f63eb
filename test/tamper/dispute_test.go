package tamper_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/receipt"
)

// committed is a prover that stands by the states it committed to, and serves
// the cells that the model has.
type committed struct {
	*rerun.Run
	states [][]canon.Hash
}

func (c *committed) States() ([][]canon.Hash, error) { return c.states, nil }

// convict plays a dispute about the receipt, with everything served, and holds
// the referee, who has no model, to the fault.
func (f *forged) convict(t *testing.T, w *world, file *receipt.File, want dispute.Fault) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	g, err := gguf.Open(w.path)
	check(err)
	defer g.Close()
	m, err := model.Load(g, model.Options{Threads: 1, Context: room})
	check(err)
	defer m.Close()
	print, err := fingerprint.Of(context.Background(), g, 1)
	check(err)
	own, err := rerun.New(rerun.Config{Model: m, File: g, Print: print, Claims: file.Receipt.Claims(), Opening: file.Opening})
	check(err)
	defer own.Close()
	run, err := dispute.NewRun(file.Receipt)
	check(err)
	prover := &committed{Run: own}
	tree := f.states.tree(t)
	for l := range tree.Layers() {
		prover.states = append(prover.states, tree.Layer(l))
	}
	salt := master.Trace()
	served, err := dispute.ServeTrace(run, liar, salt[:], prover)
	check(err)
	cell, proof, err := dispute.Find(run, own, served)
	check(err)
	if proof == nil {
		leaves, err := dispute.ServeCell(run, liar, prover, cell)
		check(err)
		proof, err = dispute.Accuse(run, own, served, leaves)
		check(err)
	}
	data, err := proof.Encode()
	check(err)
	// The referee starts from the receipt alone.
	again, err := receipt.Parse(file.Receipt.Bytes())
	check(err)
	run, err = dispute.NewRun(again)
	check(err)
	found, err := dispute.Judge(run, data)
	check(err)
	if found.Fault != want {
		t.Errorf("dispute: %s, want the fault %q", found, want)
	}
	if !bytes.Equal(again.Claims().Key, liar.Public().(ed25519.PublicKey)) {
		t.Error("the receipt is not the liar's")
	}
}
