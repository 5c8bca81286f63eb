package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"math"
	"strconv"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/receipt"
)

// sampleThorough is a challenge as large for the tokens alone as it is for the
// layers.
const sampleThorough = "thorough"

const sampleHelp = `"auto", "thorough", or a share above 0 and up to 1`

// sampleSize says how many of so many places to compute again: a share of them
// or, with "auto", as many as find one wrong place in twenty with 99 %.
func sampleSize(sample string, all int) (int, error) {
	if sample == "auto" || sample == sampleThorough {
		return audit.SampleSize(all, audit.DefaultShare, audit.DefaultConfidence), nil
	}
	p, err := strconv.ParseFloat(sample, 64)
	if err != nil || !(p > 0 && p <= 1) {
		return 0, usageErrorf("--sample %q: want %s", clip(sample), sampleHelp)
	}
	return max(int(math.Ceil(p*float64(all))), 1), nil
}

// scopeOf tells what a sample of places finds.
func scopeOf(places, all int) *report.Scope {
	return &report.Scope{
		Places: places, Of: all, Share: audit.DefaultShare, Chance: audit.Detection(all, audit.ShareOf(all, audit.DefaultShare), places),
	}
}

// compute computes the answer of a receipt again and adds what came of it.
func (a *app) compute(ctx context.Context, o *verifyOptions, opt receipt.Options, v *verification) error {
	claims := v.file.Receipt.Claims()
	where, found, err := a.modelFor(ctx, o.model, claims.Model)
	if err != nil {
		return err
	}
	if !found {
		v.checks.Add(receipt.Check{
			Name: receipt.CheckComputation, Verdict: receipt.Unverified,
			Detail: "not computed again: no model with this fingerprint is known on this machine; --model names one, --offline does without",
		})
		return nil
	}
	m, check, err := a.openModel(ctx, where, &claims, o.modelOptions, &o.loraOptions)
	if err != nil {
		return err
	}
	if check != nil {
		v.checks.Add(*check)
		return nil
	}
	defer m.close()
	v.model = where.name
	if m.engine == nil { // another model: there is nothing to compute
		v.checks.Add(receipt.Check{
			Name: receipt.CheckModel, Verdict: receipt.Invalid,
			Detail: fmt.Sprintf("the receipt is for %v, %s is %v", claims.Model, where.name, m.root),
		})
		return nil
	}
	checks, scope, err := a.audit(ctx, o, opt, v.file, m)
	if err != nil {
		return err
	}
	v.checks, v.scope = checks, scope
	return nil
}

// checkedModel is a model whose file is known to be the receipt's.
type checkedModel struct {
	root     receipt.Hash
	adapters []receipt.Adapter
	engine   *engine.Engine // nil if the receipt names another model
}

func (m *checkedModel) auditor() *audit.Auditor {
	return &audit.Auditor{Engine: m.engine, Model: m.root, Adapters: m.adapters}
}

func (m *checkedModel) close() {
	if m.engine != nil {
		_ = m.engine.Close() // nothing is lost
	}
}

// openModel computes the fingerprint of a model's file, trusting no cache, and
// if it is the receipt's loads the model as it was open for the answer, with its
// adapters. A check says what is wrong with these.
func (a *app) openModel(ctx context.Context, where located, c *receipt.Claims, o modelOptions, lora *loraOptions) (*checkedModel, *receipt.Check, error) {
	id, err := issuer.Identify(where.path)
	if err != nil {
		return nil, nil, err
	}
	defer id.Close()
	id.Compute(ctx, "", o.threads)
	root, err := id.Root(ctx)
	if err != nil {
		return nil, nil, err
	}
	m := &checkedModel{root: root}
	if root != c.Model {
		return m, nil, nil
	}
	list, check, err := a.adaptersFor(ctx, lora, c, o.threads)
	if err != nil || check != nil {
		return nil, check, err
	}
	m.adapters = c.Adapters
	opt := o.engine(a)
	opt.Context, opt.Slots, opt.Adapters = contextOf(where.path, c), 1, list.models
	if m.engine, err = engine.Open(where.path, opt); err != nil {
		return nil, nil, err
	}
	if err := id.Unchanged(); err != nil {
		m.close()
		return nil, nil, err
	}
	return m, nil, nil
}

// contextOf is the context to open a model with to check a receipt: the one
// that the receipt names if bits depend on it, else as much as the run takes.
// What the receipt names may be more than the model can be loaded with.
func contextOf(path string, c *receipt.Claims) int {
	f, err := gguf.Inspect(path)
	if err != nil {
		return c.Params.Context // opening the model says what is wrong
	}
	defer f.Close()
	if arch, _ := f.String("general.architecture"); arch == "phi3" {
		return c.Params.Context
	}
	return c.PromptTokens + c.OutputTokens
}

// modelFor finds the model of a receipt: the one that was named, the built-in
// one, or one of the store that had this fingerprint when it was last computed
// here.
func (a *app) modelFor(ctx context.Context, named string, root receipt.Hash) (where located, found bool, err error) {
	if named != "" {
		where, err = a.locate(named)
		return where, err == nil, err
	}
	if builtinRoot(ctx) == root {
		where, err = a.locateBuiltin()
		return where, err == nil, err
	}
	cache := fingerprint.Cache{Dir: identityCache()}
	if cache.Dir == "" {
		return located{}, false, nil
	}
	s, err := a.openStore()
	if err != nil {
		return located{}, false, err
	}
	stored, err := s.List()
	if err != nil && len(stored) == 0 {
		return located{}, false, err
	}
	for _, m := range stored {
		paths, err := s.Paths(m)
		if err != nil {
			continue // one that is damaged is not the one
		}
		if cachedRoot(ctx, cache, paths[0]) == root {
			return located{name: m.Name, path: paths[0]}, true, nil
		}
	}
	return located{}, false, nil
}

// cachedRoot is the fingerprint that a file had; zero if it is not known.
func cachedRoot(ctx context.Context, cache fingerprint.Cache, path string) receipt.Hash {
	f, err := gguf.Open(path)
	if err != nil {
		return receipt.Hash{}
	}
	defer f.Close()
	if t, ok := cache.Load(ctx, f, 0); ok {
		return t.Root()
	}
	return receipt.Hash{}
}

// audit computes the whole answer, or a part of it, or checks what the prover
// opened for a challenge.
func (a *app) audit(ctx context.Context, o *verifyOptions, opt receipt.Options, f *receipt.File, m *checkedModel) (receipt.Report, *report.Scope, error) {
	auditor := m.auditor()
	if o.opening != "" || o.prover != "" || o.ask != nil {
		return a.auditOpened(ctx, o, opt, f, auditor)
	}
	full := audit.Options{Options: opt}
	var scope *report.Scope
	if o.sample != "" {
		drawn := f.Receipt.Claims().OutputTokens
		n, err := sampleSize(o.sample, drawn)
		if err != nil {
			return receipt.Report{}, nil, err
		}
		if n < drawn {
			full.Outputs, scope = n, scopeOf(n, drawn)
			_, _ = rand.Read(full.Random[:]) // never fails
		}
	}
	show, end := a.counting("computing the answer again")
	auditor.Progress = show
	checks, err := auditor.Full(ctx, f, full)
	end()
	return checks, scope, err
}
