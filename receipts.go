package aval

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/receipt"
)

// LoadKey reads the key that signs receipts from a file, and makes one first if
// there is no file. Only the owner may read the file; others are refused.
func LoadKey(path string) (ed25519.PrivateKey, error) {
	key, err := issuer.LoadKey(path)
	if err != nil {
		return nil, fmt.Errorf("aval: %w", err)
	}
	return key, nil
}

// Verification is what came of checking a receipt.
type Verification struct {
	// Verdict is receipt.Valid only if the answer was computed again and every
	// check passed.
	Verdict receipt.Verdict
	// Checks are all that were made, in their order.
	Checks []receipt.Check
}

// VerifyReceipt checks the file of a receipt and computes its answer again with
// this model. The options say what the receipt must be: for which nonce, by
// which key, how old; nil expects nothing but a time that is not in the future. A bad receipt is no error: the
// verification says which check failed. Without a model, receipt.Offline makes
// the checks that need none.
//
// The first receipt that a model makes or verifies takes as long as reading the
// model's file once, for its fingerprint.
func (m *Model) VerifyReceipt(ctx context.Context, file []byte, o *receipt.Options) (*Verification, error) {
	if o == nil {
		o = &receipt.Options{Now: time.Now()}
	}
	f, err := receipt.ParseFile(file)
	if err != nil {
		r := receipt.Offline(file, *o) // names the check
		return &Verification{audit.Verdict(&r), r.Checks}, nil
	}
	root, err := m.root(ctx)
	if err != nil {
		return nil, fmt.Errorf("aval: verify: %w", err)
	}
	adapters, err := m.issuer.Adapters(ctx)
	if err != nil {
		return nil, fmt.Errorf("aval: verify: %w", err)
	}
	r, err := (&audit.Auditor{Engine: m.engine, Model: root, Adapters: adapters}).Full(ctx, f, audit.Options{Options: *o})
	if err != nil {
		return nil, fmt.Errorf("aval: verify: %w", err)
	}
	return &Verification{audit.Verdict(&r), r.Checks}, nil
}

// root is the fingerprint of the model, computed when it is first needed.
func (m *Model) root(ctx context.Context) (receipt.Hash, error) {
	go m.id.Compute(m.ctx, "", m.threads) // only the first does something
	for _, a := range m.adapters {
		go a.File.Compute(m.ctx, "", m.threads)
	}
	return m.id.Root(ctx)
}

// draft begins the receipt of a request.
func (m *Model) draft(r *engine.Request, source receipt.Source, o *Options) (*issuer.Draft, error) {
	if !m.signs {
		return nil, errors.New("the model was opened without Config.Key")
	}
	opt := issuer.Options{Trace: o.Receipt.Trace, Auditors: o.Receipt.Auditors}
	if o.Receipt.HidePrompt {
		opt.Hide |= receipt.WholePrompt | receipt.PartTrace
	}
	if o.Receipt.HideAnswer {
		opt.Hide |= receipt.WholeOutput | receipt.PartTrace
	}
	if o.Receipt.Nonce != nil {
		if o.Seed != 0 {
			return nil, errors.New("Options.Seed and Receipt.Nonce exclude each other: the seed follows from the nonce")
		}
		var err error
		if opt.Seed, err = issuer.Nonce(o.Receipt.Nonce); err != nil {
			return nil, err
		}
	}
	return m.issuer.Begin(r, issuer.Prompt{Source: source}, opt)
}

// finish is the file of a receipt.
func (m *Model) finish(ctx context.Context, d *issuer.Draft) ([]byte, error) {
	if _, err := m.root(ctx); err != nil {
		return nil, err
	}
	f, err := d.File(ctx)
	if err != nil {
		return nil, err
	}
	return f.Marshal()
}
