//go:build js && wasm

// Command wasm is the program inside the page that checks receipts. It runs in
// a worker of a browser, where it puts the function aval(receipt, model,
// progress, done): two files, of which the second may be null, and two
// functions that it calls. web/verify/worker.js is the other side.
package main

import (
	"fmt"
	"syscall/js"
	"time"

	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/receipt"
)

func main() {
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
	in := check(&blob{file: file}, time.Now())
	_, _ = model, progress
	r := report.New(in)
	return map[string]any{
		"title": r.Title, "html": r.Fragment(), "page": r.Page(),
		"computable": r.Computable && r.Status == report.Partly, "computed": r.Computed,
	}
}

// check reads a receipt and checks all that needs no model.
func check(b *blob, now time.Time) report.Input {
	data, err := b.all(receipt.MaxFile)
	if err != nil {
		return unread(err)
	}
	f, err := receipt.ParseFile(data)
	if err != nil {
		return report.Input{Checks: receipt.Offline(data, receipt.Options{})}
	}
	return report.Input{File: f, Checks: f.Check(receipt.Options{Now: now})}
}

// unread tells of a file that could not be read.
func unread(err error) report.Input {
	var in report.Input
	in.Checks.Add(receipt.Check{Name: receipt.CheckFile, Verdict: receipt.Invalid, Detail: fmt.Sprint(err)})
	return in
}
