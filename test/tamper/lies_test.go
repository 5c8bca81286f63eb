package tamper_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/receipt"
)

// lie is one way to forge a receipt, and the check that each kind of
// verification catches it with: "" for one that cannot. What is caught offline
// is caught by the others too, before they compute anything.
type lie struct {
	name  string
	forge forger

	offline, full, sampled string
	dispute                dispute.Fault
}

// forger makes the file of a lie.
type forger func(t *testing.T, w *world) *forged

// class is a kind of lies, a table of docs/threat-model.md.
type class struct {
	title string
	lies  []lie
	// adapted says that the honest model is one with adapters.
	adapted bool
}

// classes are all lies that must be found.
func classes() []class {
	return []class{
		{title: "Another model, or another arithmetic", lies: modelLies},
		{title: "Other adapters", lies: adapterLies, adapted: true},
		{title: "Another prompt", lies: promptLies},
		{title: "Another answer", lies: outputLies},
		{title: "Another way to end", lies: endLies},
		{title: "Other parameters", lies: parameterLies},
		{title: "Other randomness, another time", lies: seedLies},
		{title: "Another trace", lies: traceLies},
		{title: "Openings and boxes", lies: openingLies},
		{title: "Another signer, another form", lies: formLies},
		{title: "What fits together, and should not", lies: attackLies},
	}
}

// TestLies forges every receipt, and holds each verification to the check that
// it must name, and to the place.
func TestLies(t *testing.T) {
	w := newWorld(t)
	adapted := w.adapted(t, adapters(t)...)
	seen := map[string]bool{}
	count := 0
	for _, c := range classes() {
		for _, l := range c.lies {
			if seen[l.name] {
				t.Errorf("two lies are called %q", l.name)
			}
			seen[l.name] = true
			count++
			in := w
			if c.adapted {
				in = adapted
			}
			t.Run(c.title+"/"+l.name, func(t *testing.T) { l.try(t, in) })
		}
	}
	if count < 70 {
		t.Errorf("%d lies, want at least 70", count)
	}
	t.Logf("%d lies", count)
}

// try forges a receipt and checks it in every way.
func (l *lie) try(t *testing.T, w *world) {
	f := l.forge(t, w)
	data := f.bytes(t)
	file, report := f.offline(data)
	if l.offline != "" {
		f.fails(t, "offline", &report, l.offline, f.detail)
		if file == nil {
			return
		}
		report = f.full(t, w, file)
		f.fails(t, "full", &report, l.offline, f.detail)
		return
	}
	if file == nil || report.Verdict() != receipt.Unverified {
		t.Fatalf("offline the receipt should be sound, and is %s:\n%s", report.Verdict(), &report)
	}
	report = f.full(t, w, file)
	if l.full != "" {
		f.fails(t, "full", &report, l.full, f.detail)
	} else if report.Failed() != nil {
		t.Errorf("full: it should not be seen, but:\n%s", &report)
	}
	if l.sampled != "" {
		detail := f.sampled
		if detail == "" {
			detail = f.detail
		}
		report = f.sample(t, w, file)
		f.fails(t, "sampled", &report, l.sampled, detail)
	} else if !file.Receipt.Claims().Trace.IsZero() {
		t.Errorf("a sampled audit can be made, and nothing is expected of it")
	}
	if l.dispute != 0 {
		f.convict(t, w, file, l.dispute)
	}
}

// fails holds a report to the check that fails, and to its detail.
func (f *forged) fails(t *testing.T, how string, r *receipt.Report, check, detail string) {
	t.Helper()
	if r.Verdict() != receipt.Invalid {
		t.Errorf("%s: the lie gets through: %s\n%s", how, r.Verdict(), r)
		return
	}
	name, got := failed(r)
	switch {
	case name != check:
		t.Errorf("%s: caught by %q (%s), want %q", how, name, got, check)
	case detail == "":
		t.Errorf("%s: this lie does not say where it must be found: %q says %q", how, name, got)
	case !strings.Contains(got, detail):
		t.Errorf("%s: %q says %q, want %q", how, name, got, detail)
	}
}

// options is what the one who checks knows.
func (f *forged) options() receipt.Options {
	o := receipt.Options{Now: now, MaxAge: f.maxAge, Expect: f.expect}
	if f.timeless {
		o.Now = time.Time{}
	}
	return o
}

// offline makes the checks that need no model, also of what is sealed. The file
// is nil if it cannot be read.
func (f *forged) offline(data []byte) (*receipt.File, receipt.Report) {
	file, err := receipt.ParseFile(data)
	if err != nil {
		return nil, audit.Offline(data, f.options())
	}
	if f.auditor != nil {
		o, err := file.Unseal(*f.auditor)
		if err != nil {
			var r receipt.Report
			r.Add(receipt.Check{Name: receipt.CheckSeal, Verdict: receipt.Invalid, Detail: err.Error()})
			return nil, r
		}
		file.Opening = o
	}
	return file, file.Check(f.options())
}

// full computes everything again. Where the liar's states are at hand, the
// report names the first that differs.
func (f *forged) full(t *testing.T, w *world, file *receipt.File) receipt.Report {
	t.Helper()
	o := audit.Options{Options: f.options()}
	if f.states != nil {
		o.Prover = f.states.tree(t)
	}
	r, err := w.auditor.Full(t.Context(), file, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// sample checks all cells: a sample finds what is found here with the
// probability that the sizes give.
func (f *forged) sample(t *testing.T, w *world, file *receipt.File) receipt.Report {
	t.Helper()
	c := &audit.Challenge{Receipt: file.Receipt.Hash(), Random: [32]byte{1}, Layers: audit.MaxCells, Outputs: audit.MaxCells}
	o := f.states.open(t)
	if f.open != nil {
		f.open(o)
	}
	r, err := w.auditor.Sampled(t.Context(), file, c, o, f.options())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// with is a request with a change.
func with(q ask, change func(q *ask)) ask {
	q.source.Messages = slices.Clone(q.source.Messages)
	change(&q)
	return q
}

// changed says which token of an answer must be named, and how.
func changed(t testing.TB, right, wrong []int32) string {
	t.Helper()
	i := firstDifference(t, right, wrong)
	return fmt.Sprintf("token %d: expected id %d, receipt has %d", i, right[i], wrong[i])
}
