package tamper_test

import (
	"errors"
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

// loaded is the honest model as the parties of a dispute have it.
type loaded struct {
	file  *gguf.File
	model *model.Model
	print *fingerprint.Tree
	loras []rerun.Adapter
}

func load(t *testing.T, path string, loras ...*lora) *loaded {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m, err := model.Load(f, model.Options{Threads: 1, Context: room, Adapters: models(loras)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	p, err := fingerprint.Of(t.Context(), f, 1)
	if err != nil {
		t.Fatal(err)
	}
	out := &loaded{file: f, model: m, print: p}
	for _, l := range loras {
		out.loras = append(out.loras, rerun.Adapter{File: l.file, Print: l.print})
	}
	return out
}

// convict plays a dispute about the receipt, with everything served, and holds
// the referee, who has no model, to the fault.
func (f *forged) convict(t *testing.T, w *world, file *receipt.File, want dispute.Fault) {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("dispute: %v", err)
		}
	}
	l := w.loaded
	cfg := rerun.Config{Model: l.model, File: l.file, Print: l.print, Adapters: l.loras, Claims: file.Receipt.Claims(), Opening: file.Opening}
	run, err := dispute.NewRun(file.Receipt)
	check(err)
	proof := f.impossible(t, run, cfg)
	if proof == nil {
		own, err := rerun.New(t.Context(), cfg)
		check(err)
		defer own.Close()
		proof = f.accuse(t, run, own)
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
}

// impossible proves that no run can be what the receipt says, if that is so.
func (f *forged) impossible(t *testing.T, run dispute.Run, cfg rerun.Config) *dispute.Proof {
	t.Helper()
	own, err := rerun.New(t.Context(), cfg)
	var e *rerun.ImpossibleError
	if !errors.As(err, &e) {
		if err == nil {
			own.Close()
		}
		return nil
	}
	description, err := rerun.Describe(cfg, e.Cell)
	if err != nil {
		t.Fatalf("dispute: %v", err)
	}
	p, err := dispute.Impossible(run, e.Cell, description)
	if err != nil {
		t.Fatalf("dispute: %v", err)
	}
	return p
}

// accuse finds the cell where the liar's states, or its tokens, are not the
// model's, and proves it.
func (f *forged) accuse(t *testing.T, run dispute.Run, own *rerun.Run) *dispute.Proof {
	t.Helper()
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("dispute: %v", err)
		}
	}
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
	return proof
}
