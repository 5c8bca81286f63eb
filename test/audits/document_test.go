package audits_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/testdata"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/audits.md")

// TestDocument holds the tables of docs/audits.md to the formulas and to what
// the simulation gives.
func TestDocument(t *testing.T) {
	if testing.Short() {
		t.Skip("plays some hundred games")
	}
	root, err := testdata.Root()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "docs", "audits.md")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := between(t, string(old), "never", neverTable())
	text = between(t, text, "lazy", lazyTable())
	text = between(t, text, "liars", liarsTable(t))
	text = between(t, text, "plants", plantsTable(t))
	if text == string(old) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the tests hold; run go test ./test/audits -run TestDocument -update\n%s", path, cmp.Diff(string(old), text))
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// between replaces what stands between two marks.
func between(t *testing.T, text, mark, what string) string {
	t.Helper()
	open, end := "<!-- "+mark+" -->\n", "<!-- /"+mark+" -->\n"
	before, rest, ok := strings.Cut(text, open)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("there are no marks %q", mark)
	}
	return before + open + "\n" + what + "\n" + end + after
}

// units is an amount as people read it.
func units(n float64) string { return fmt.Sprintf("%.4g", n/float64(ledger.Unit)) }

// percent is a share as people read it.
func percent(points uint64) string { return fmt.Sprintf("%.4g %%", float64(points)/100) }

// neverTable is the largest gain at which lying never pays.
func neverTable() string {
	var b strings.Builder
	b.WriteString("| bond | audit rate | bribed auditors | one by one | all at once | lying never pays below |\n| ---: | ---: | ---: | ---: | ---: | ---: |\n")
	p := ledger.DefaultParams()
	for _, bond := range []float64{100, 1_000, 10_000} {
		for _, rate := range []uint64{100, 500, 2000} {
			for _, bribed := range []float64{0, 0.5} {
				found := 1 - bribed*bribed
				single := found * float64(rate) / 10_000 * float64(p.Dispute.Slash) / 10_000 * bond * float64(ledger.Unit)
				burst := found * float64(p.Dispute.Slash) / 10_000 * float64(p.Audit.Cover)
				fmt.Fprintf(&b, "| %.0f | %s | %.0f %% | %s | %s | %s |\n", bond, percent(rate), bribed*100, units(single), units(burst), units(min(single, burst)))
			}
		}
	}
	return b.String()
}

// lazyTable is the largest saving at which laziness never pays.
func lazyTable() string {
	var b strings.Builder
	b.WriteString("| bond | planted of all receipts | an audit of 1 | an audit of 64 |\n| ---: | ---: | ---: | ---: |\n")
	p := ledger.DefaultParams()
	for _, bond := range []float64{100, 1_000, 10_000} {
		for _, q := range []float64{0.0001, 0.001, 0.01} {
			loss := float64(p.Audit.Lazy) / 10_000 * bond * float64(ledger.Unit)
			rest := 1.0
			for range 64 {
				rest *= 1 - q
			}
			fmt.Fprintf(&b, "| %.0f | %.4g %% | %s | %s |\n", bond, q*100, units(q*loss), units((1-rest)*loss/64))
		}
	}
	return b.String()
}

// liarsTable is how long liars last.
func liarsTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| audit rate | batch | lies in it | auditors | bribed | answers, by the formula | measured | runs | pays from a gain of |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range liars {
		o := r.result(t)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %.0f | %.0f | %d | %s |\n", percent(r.rate), r.batch, r.lies, r.auditors, r.bribed,
			float64(r.batch)/r.found(), float64(r.batch*o.batches)/float64(r.runs), r.runs, units(r.found()*float64(providerBond)/2/float64(r.lies)))
	}
	return b.String()
}

// plantsTable is how long lazy auditors last.
func plantsTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| audit rate | batch | planted in it | auditors | lazy | audits, by the formula | measured | runs |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range lazies {
		o := r.lazyResult(t)
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %.1f | %.1f | %d |\n", percent(r.rate), r.batch, r.plants, r.auditors, r.bribed,
			1/r.hit(r.plants), float64(o.batches)/float64(r.runs), r.runs)
	}
	return b.String()
}
