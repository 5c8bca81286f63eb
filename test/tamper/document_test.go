package tamper_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/testdata"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/threat-model.md")

// TestDocument holds the tables of docs/threat-model.md to those of the tests.
func TestDocument(t *testing.T) {
	root, err := testdata.Root()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "docs", "threat-model.md")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := between(t, string(old), "lies", lyingTables())
	text = between(t, text, "unseen", unseenTable())
	text = between(t, text, "training", trainingTables())
	text = between(t, text, "training unseen", trainingUnseenTable())
	if text == string(old) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what the tests hold; run go test ./test/tamper -run TestDocument -update\n%s", path, cmp.Diff(string(old), text))
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

func lyingTables() string {
	var b strings.Builder
	all, offline, full, sampled := 0, 0, 0, 0
	for _, c := range classes() {
		all += len(c.lies)
		for _, l := range c.lies {
			switch {
			case l.offline != "":
				offline++
			case l.full != "":
				full++
			default:
				sampled++
			}
		}
	}
	fmt.Fprintf(&b, "%d lies: %d are found offline, %d more by computing everything again, and %d, told only to a sampled audit, by that.\n", all, offline, full, sampled)
	for _, c := range classes() {
		fmt.Fprintf(&b, "\n### %s\n\n| lie | offline | full | sampled | dispute |\n| --- | --- | --- | --- | --- |\n", c.title)
		for _, l := range c.lies {
			fault := ""
			if l.dispute != 0 {
				fault = l.dispute.String()
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", escape(l.name), code(l.offline), code(l.full), code(l.sampled), fault)
		}
	}
	return b.String()
}

func trainingTables() string {
	var b strings.Builder
	all, offline := 0, 0
	for _, c := range trainingClasses() {
		all += len(c.lies)
		for _, l := range c.lies {
			if l.offline != "" {
				offline++
			}
		}
	}
	fmt.Fprintf(&b, "%d lies: %d are found offline, %d more by computing the steps again.\n", all, offline, all-offline)
	for _, c := range trainingClasses() {
		fmt.Fprintf(&b, "\n### %s, in trainings\n\n| lie | offline | computed again |\n| --- | --- | --- |\n", c.title)
		for _, l := range c.lies {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", escape(l.name), code(l.offline), code(l.computed))
		}
	}
	return b.String()
}

func trainingUnseenTable() string {
	var b strings.Builder
	b.WriteString("| what is not as it seems | verdict | what the report says | what helps |\n| --- | --- | --- | --- |\n")
	for _, u := range trainingUnseens {
		fmt.Fprintf(&b, "| %s | %s | %s %s: %s | %s |\n", escape(u.name), code(string(u.full)), code(u.check), u.says, said(u.said), u.helps)
	}
	return b.String()
}

func unseenTable() string {
	var b strings.Builder
	b.WriteString("| what is not as it seems | verdict | what the report says | what helps |\n| --- | --- | --- | --- |\n")
	for _, u := range unseens {
		fmt.Fprintf(&b, "| %s | %s | %s %s: %s | %s |\n", escape(u.name), code(string(u.full)), code(u.check), u.says, said(u.detail), u.helps)
	}
	return b.String()
}

// said is the part of a check's detail that a test looks for.
func said(detail string) string {
	if detail == "" {
		return "…"
	}
	return "“… " + detail + " …”"
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}

func escape(s string) string { return strings.ReplaceAll(s, "|", `\|`) }
