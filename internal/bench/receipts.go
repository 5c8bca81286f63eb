package bench

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"slices"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// ReceiptOptions say what [Receipts] measures. Prompt, Answer and Runs are 1 or
// more.
type ReceiptOptions struct {
	Threads        int    // 0: one for each CPU
	Kernel         string // "": the best
	Prompt, Answer int    // tokens
	Runs           int
	// Dispute is the tokens of the answer of the run that is disputed; 0: no
	// dispute is measured.
	Dispute int
}

// Cost is what something took: the processor time of all threads together, 0
// where the system does not tell it, and the time on the wall.
type Cost struct{ CPU, Wall time.Duration }

// ReceiptCosts are the figures of one model. The lists have an entry for each
// run; what is compared was measured in turns.
type ReceiptCosts struct {
	Fingerprint Cost // of the model's file, read once

	// An answer without a receipt, with one, and with one that has a trace.
	Plain, Receipt, Traced []Cost
	// Sign is making a receipt from an answer: commitments, signature, file.
	Sign []Cost
	Size int // bytes of the receipt alone, with a trace

	// Full is the audit that computes an answer again. Sampled is one of some
	// cells, Opening what the prover does for it.
	Full, Sampled, Opening []Cost
	Cells, Outputs         int // that the sample has
	Opened                 int // bytes that the prover shows
	// Found is the probability that the sample holds a wrong cell if one in
	// twenty of all is wrong; FoundOutputs, that it does if outputs alone are,
	// one in five of them, and FoundFew, one in twenty.
	Found, FoundOutputs, FoundFew float64

	// Offline is how many receipts alone are checked in a second by one
	// thread, and OfflineOpen with the prompt and the answer shown.
	Offline, OfflineOpen []float64

	Dispute *rerun.Cost
}

// Receipts measures what receipts, their audits and disputes cost, for an
// answer whose tokens are arbitrary: the work does not depend on them.
func Receipts(ctx context.Context, path string, o ReceiptOptions) (*ReceiptCosts, error) {
	if o.Prompt < 1 || o.Answer < 1 || o.Runs < 1 || o.Dispute < 0 {
		return nil, fmt.Errorf("nothing to measure: %d prompt tokens, %d tokens, %d runs", o.Prompt, o.Answer, o.Runs)
	}
	m := &receiptBench{options: o, costs: &ReceiptCosts{}}
	if err := m.measure(ctx, path); err != nil {
		return nil, err
	}
	return m.costs, nil
}

type receiptBench struct {
	options ReceiptOptions
	costs   *ReceiptCosts
	engine  *engine.Engine
	issuer  *issuer.Issuer
	auditor *audit.Auditor
	prompt  []int32
}

func (b *receiptBench) measure(ctx context.Context, path string) error {
	o := b.options
	root, err := b.fingerprint(ctx, path)
	if err != nil {
		return err
	}
	b.engine, err = engine.Open(path, engine.Options{Threads: o.Threads, Kernel: o.Kernel, CacheBytes: -1})
	if err != nil {
		return err
	}
	defer func() {
		if b.engine != nil {
			_ = b.engine.Close() // the first error says more
		}
	}()
	b.auditor = &audit.Auditor{Engine: b.engine, Model: root}
	b.issuer = issuer.New(issuer.Config{
		Key:   ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)),
		Model: issuer.Known(root), Context: b.engine.Context(),
	})
	vocab := b.engine.Config().Vocab
	b.prompt = make([]int32, o.Prompt)
	for i := range b.prompt {
		b.prompt[i] = int32((i*7919 + 10) % vocab)
	}
	if _, _, _, err := b.answer(ctx, min(o.Answer, 8), true); err != nil { // warm-up
		return err
	}
	for range o.Runs {
		if err := b.run(ctx); err != nil {
			return err
		}
	}
	if o.Dispute == 0 {
		return nil
	}
	// Two models in memory would be slower than one.
	err = b.engine.Close()
	if b.engine = nil; err != nil {
		return err
	}
	b.costs.Dispute, err = rerun.MeasureFile(ctx, path, o.Prompt, o.Dispute)
	return err
}

func (b *receiptBench) fingerprint(ctx context.Context, path string) (root receipt.Hash, err error) {
	f, err := gguf.Open(path)
	if err != nil {
		return root, err
	}
	defer f.Close()
	b.costs.Fingerprint, err = timed(func() error {
		t, err := fingerprint.Of(ctx, f, b.options.Threads)
		if err == nil {
			root = t.Root()
		}
		return err
	})
	return root, err
}

// timed measures what f takes.
func timed(f func() error) (Cost, error) {
	cpu, wall := cpuTime(), time.Now()
	err := f()
	return Cost{cpuTime() - cpu, time.Since(wall)}, err
}

func (b *receiptBench) request(n int) engine.Request {
	return engine.Request{
		Prompt: slices.Clone(b.prompt), MaxTokens: n, IgnoreEOS: true, Params: sample.Params{Temperature: 0.8, TopK: 40, TopP: 0.95},
	}
}

// answer writes an answer and its receipt: all of it, and the receipt alone.
func (b *receiptBench) answer(ctx context.Context, n int, traced bool) (f *receipt.File, all, sign Cost, err error) {
	all, err = timed(func() error {
		r := b.request(n)
		seed := receipt.NonceSeed(make([]byte, 16))
		d, err := b.issuer.Begin(&r, issuer.Prompt{Source: receipt.Source{Kind: receipt.SourceIDs}}, issuer.Options{Seed: &seed, Trace: traced})
		if err != nil {
			return err
		}
		res, err := b.engine.Generate(ctx, r, nil)
		if err != nil {
			return err
		}
		sign, err = timed(func() error {
			d.Finish(res)
			f, err = d.File(ctx)
			return err
		})
		return err
	})
	return f, all, sign, err
}

// run measures everything once, one after the other.
func (b *receiptBench) run(ctx context.Context) error {
	c, n := b.costs, b.options.Answer
	plain, err := timed(func() error {
		_, err := b.engine.Generate(ctx, b.request(n), nil)
		return err
	})
	if err != nil {
		return err
	}
	_, with, sign, err := b.answer(ctx, n, false)
	if err != nil {
		return err
	}
	f, traced, _, err := b.answer(ctx, n, true)
	if err != nil {
		return err
	}
	c.Plain, c.Receipt, c.Traced, c.Sign = append(c.Plain, plain), append(c.Receipt, with), append(c.Traced, traced), append(c.Sign, sign)
	c.Size = len(f.Receipt.Bytes())
	if err := b.audits(ctx, f); err != nil {
		return err
	}
	alone, err := perSecond(f.Receipt.Bytes())
	if err != nil {
		return err
	}
	data, err := f.Marshal()
	if err != nil {
		return err
	}
	open, err := perSecond(data)
	c.Offline, c.OfflineOpen = append(c.Offline, alone), append(c.OfflineOpen, open)
	return err
}

func (b *receiptBench) audits(ctx context.Context, f *receipt.File) error {
	c := b.costs
	full, err := timed(func() error { return sound(b.auditor.Full(ctx, f, audit.Options{})) })
	if err != nil {
		return err
	}
	layers, positions := b.engine.Config().Layers, b.options.Prompt+b.options.Answer-1
	ask := audit.NewChallenge(f.Receipt.Hash(), [32]byte{5}, layers, positions, b.options.Answer)
	c.Cells, c.Outputs = ask.Layers, ask.Outputs
	all := audit.Kinds{Layers: layers * positions, Outputs: b.options.Answer}
	outputs := func(share float64) float64 {
		return audit.Detection(all.Outputs, audit.ShareOf(all.Outputs, share), ask.Outputs)
	}
	c.Found = audit.DetectionOf(all, audit.ShareOf(all.Layers+all.Outputs, audit.DefaultShare), audit.Kinds{Layers: ask.Layers, Outputs: ask.Outputs})
	c.FoundOutputs, c.FoundFew = outputs(audit.OutputShare), outputs(audit.DefaultShare)
	var data []byte
	opening, err := timed(func() error {
		o, err := b.auditor.Open(ctx, f, ask)
		if err == nil {
			data, err = o.Encode()
		}
		return err
	})
	if err != nil {
		return err
	}
	sampled, err := timed(func() error {
		o, err := trace.Decode(data)
		if err != nil {
			return err
		}
		return sound(b.auditor.Sampled(ctx, f, ask, o, receipt.Options{}))
	})
	c.Full, c.Opening, c.Sampled, c.Opened = append(c.Full, full), append(c.Opening, opening), append(c.Sampled, sampled), len(data)
	return err
}

// sound makes a failed check an error: what fails early is fast.
func sound(r receipt.Report, err error) error {
	if failed := r.Failed(); err == nil && failed != nil {
		return fmt.Errorf("bench: internal error: a right receipt fails: %s", failed)
	}
	return err
}

// perSecond tells how often a receipt is checked in a second, by one thread.
func perSecond(data []byte) (float64, error) {
	const atLeast = 300 * time.Millisecond
	start := time.Now()
	for n := 1; ; n++ {
		if r := receipt.Offline(data, receipt.Options{}); r.Failed() != nil {
			return 0, sound(r, nil)
		}
		if took := time.Since(start); took >= atLeast {
			return float64(n) / took.Seconds(), nil
		}
	}
}
