package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/demo"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/receipt"
)

// collect reads what everybody has at the end, while the ledger runs.
func (d *demoRun) collect(ctx context.Context) error {
	d.view.stage(demoStages, "writing the story")
	for i, n := range d.nodes {
		for len(d.story.Nodes) <= i {
			d.story.Nodes = append(d.story.Nodes, demo.Node{})
		}
		x := &d.story.Nodes[i]
		x.Name, x.Roles, x.Key, x.Lies = n.name, n.roles, receipt.FormatNodeKey(n.key), n.lies
	}
	if d.user == nil {
		return nil
	}
	if s, err := d.user.LedgerStatus(ctx); err == nil {
		d.story.Blocks = s.Height
	}
	accounts := demoEntries[ledger.Account](ctx, d, "account")
	nodes := demoEntries[ledger.Node](ctx, d, "node")
	for _, x := range demoEntries[ledger.Session](ctx, d, "session") {
		if x.Payer == d.me.account {
			d.story.Escrow += x.Escrow
		}
	}
	for i, n := range append(slices.Clone(d.nodes), d.me) {
		a, key := &d.story.Accounts[i], hex.EncodeToString(n.key)
		a.After = accounts[n.account.String()].Balance
		a.Bond = nodes[key].Bond + n.bond
		a.Slashed = nodes[key].Record.Slashed
	}
	return nil
}

// write writes the page, and the evidence beside it.
func (d *demoRun) write() error {
	d.story.Seconds = time.Since(d.began).Seconds()
	folder := strings.TrimSuffix(d.o.out, filepath.Ext(d.o.out))
	if folder == d.o.out {
		folder += "-evidence"
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	keep := func(name, what string, data []byte) error {
		if len(data) == 0 {
			return nil
		}
		d.story.Files = append(d.story.Files, demo.File{Name: filepath.Join(filepath.Base(folder), name), What: what})
		return writeFile(filepath.Join(folder, name), data, 0o644)
	}
	honest, err := os.ReadFile(filepath.Join(d.dir, "honest.aval"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err = errors.Join(
		keep("genesis.json", "what the ledger began with", d.genesis),
		keep("honest.aval", "the receipt of the right answer, with prompt and answer", honest),
		keep("lie.aval", "the receipt that the liar signed", d.lie),
		keep("fraud.proof", "the proof of fraud, as it ended the dispute", d.proof),
		keep("dispute.json", "the dispute on the ledger with the proof that it was in its state, as “aval ledger proof” printed it", d.entry),
	)
	if err != nil {
		return err
	}
	if d.proof != nil {
		liar, err := gguf.Open(d.model)
		if err != nil {
			return err
		}
		defer liar.Close()
		if d.story.Leaf, err = demo.ReadLeaf(d.lie, d.proof, liar); err != nil && !errors.Is(err, demo.ErrNoLeaf) {
			return err
		}
	}
	d.commands(folder, honest)
	return writeFile(d.o.out, []byte(d.story.Page()), 0o644)
}

// commands are those with which a reader checks the evidence, each of which works
// where the page is.
func (d *demoRun) commands(folder string, honest []byte) {
	add := func(what, format string, args ...any) {
		d.story.Commands = append(d.story.Commands, demo.Command{Text: fmt.Sprintf(format, args...), What: what})
	}
	at := func(name string) string { return filepath.Join(filepath.Base(folder), name) }
	if d.proof != nil {
		add("The proof convicts whoever signed the receipt: one step is computed again, without the model and without a network.", "aval dispute judge %s %s", at("lie.aval"), at("fraud.proof"))
	}
	if d.lie != nil {
		add("The whole answer is computed again: it says that the computation is not what the model gives.", "aval verify %s", at("lie.aval"))
	}
	if honest != nil {
		add("The honest answer holds.", "aval verify %s", at("honest.aval"))
	}
}
