//go:build js && wasm

// Command wasm is the program inside the page that checks receipts. It runs in
// a worker of a browser, where it puts the function aval(receipt, model,
// progress, done): two files, of which the second may be null, and two
// functions that it calls. web/verify/worker.js is the other side.
package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"syscall/js"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

const (
	// maxModel bounds a model's file. WebAssembly has 4 GiB of memory, and
	// browsers often give less.
	maxModel = 1 << 30
	// memory is what the collector keeps to, weights and all.
	memory = 3 << 30
	// pass is how many positions are computed between two signs of progress:
	// some tiles of the arithmetic.
	pass = 36
)

func main() {
	debug.SetMemoryLimit(memory)
	js.Global().Set("aval", js.FuncOf(func(_ js.Value, args []js.Value) any {
		// What takes long must not run while JavaScript waits for a return.
		go func() { args[3].Invoke(answer(args[0], args[1], args[2])) }()
		return nil
	}))
	js.Global().Call("postMessage", map[string]any{"ready": true})
	select {}
}

// answer checks a receipt, with the model if there is one, for the page.
func answer(file, model, progress js.Value) map[string]any {
	now := time.Now()
	data, err := (&blob{file: file}).all(receipt.MaxFile)
	if err == nil && training.Is(data) {
		return told(trained(data, now), "", false)
	}
	in := check(data, err, now)
	sound := in.Checks.Failed() == nil
	if !model.IsNull() && in.File != nil && sound {
		c := computation{in: &in, now: now, progress: progress, phase: "Reading the model …"}
		if err := c.run(&blob{file: model, progress: c.reading}); err != nil {
			in.Trouble = err.Error()
		}
	}
	r := report.New(in)
	// Worth it, as it never was or was with a wrong model.
	open := r.Computable && sound && r.Status != report.Valid && r.Status != report.Invalid
	return told(r, in.Trouble, open)
}

// told is a report for the page; open offers to compute the answer again.
func told(r *report.Report, trouble string, open bool) map[string]any {
	return map[string]any{"title": r.Title, "html": r.Fragment(), "page": r.Page(), "trouble": trouble, "open": open}
}

// trained reports on the receipt of a training, whose steps this page cannot
// compute.
func trained(data []byte, now time.Time) *report.Report {
	f, err := training.ParseFile(data)
	if err != nil {
		return report.NewTraining(report.TrainingInput{Checks: training.Offline(data, training.Options{})})
	}
	return report.NewTraining(report.TrainingInput{File: f, Checks: f.Check(training.Options{Now: now})})
}

// check reads a receipt and checks all that needs no model.
func check(data []byte, err error, now time.Time) report.Input {
	if err != nil {
		var in report.Input
		in.Checks.Add(receipt.Check{Name: receipt.CheckFile, Verdict: receipt.Invalid, Detail: fmt.Sprint(err)})
		return in
	}
	f, err := receipt.ParseFile(data)
	if err != nil {
		return report.Input{Checks: receipt.Offline(data, receipt.Options{})}
	}
	return report.Input{File: f, Checks: f.Check(receipt.Options{Now: now})}
}

// computation computes the answer of a receipt again.
type computation struct {
	in       *report.Input
	now      time.Time
	progress js.Value
	phase    string
}

func (c *computation) reading(done, all int64) {
	c.progress.Invoke(c.phase, float64(done), float64(all))
}

// run adds its checks to the report, or says why there are none.
func (c *computation) run(b *blob) error {
	if b.size() > maxModel {
		return fmt.Errorf("the model’s file has %.1f GB, and this page takes %.1f GB at most", float64(b.size())/1e9, float64(maxModel)/1e9)
	}
	ctx := context.Background()
	f, err := gguf.Parse(b, b.size())
	if err != nil {
		return fmt.Errorf("the model’s file cannot be read (%w)", err)
	}
	c.phase = "Finding out which model this is …"
	tree, err := fingerprint.Of(ctx, f, 1)
	if err != nil {
		return err
	}
	claims := c.in.File.Receipt.Claims()
	if tree.Root() != claims.Model {
		c.in.Checks.Add(receipt.Check{
			Name: receipt.CheckModel, Verdict: receipt.Invalid,
			Detail: fmt.Sprintf("the receipt is for %v, the file is %v", claims.Model, tree.Root()),
		})
		return nil
	}
	if n := len(claims.Adapters); n > 0 {
		return fmt.Errorf("the answer is by this model with adapters (%d), and this page does not take their files; the command “aval verify --lora FILE” does", n)
	}
	c.phase = "Loading the model …"
	e, err := engine.OpenFile(f, "the model’s file", engine.Options{
		Threads: 1, Slots: 1, Batch: pass, CacheBytes: -1, Context: claims.Params.Context,
	})
	if err != nil {
		return err
	}
	defer e.Close()
	c.phase = "Computing the answer again …"
	auditor := audit.Auditor{
		Engine: e, Model: tree.Root(), Pass: pass,
		Progress: func(done, all int) { c.progress.Invoke(c.phase, done, all) },
	}
	auditor.Progress(0, claims.PromptTokens+claims.OutputTokens-1)
	checks, err := auditor.Full(ctx, c.in.File, audit.Options{Options: receipt.Options{Now: c.now}})
	if err != nil {
		return err
	}
	c.in.Checks = checks
	c.in.Model, _ = f.String("general.name")
	return nil
}
