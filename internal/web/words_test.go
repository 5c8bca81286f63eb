package web

import (
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	inTemplates = regexp.MustCompile(`\.(?:T|N) "([a-z0-9.\-]+)"`)
	inGo        = regexp.MustCompile(`(?:\.T|\.N|say)\((?:p\.Lang, |l, |chosen\(r\), )?"([a-z0-9.\- ]+)"`)
	inRefuse    = regexp.MustCompile(`refuse\(w, r, [a-zA-Z.]+, "([a-z.]+)"\)`)
	inDone      = regexp.MustCompile(`s\.done\(w, r, "[a-z]+", "[^"]+", "([a-z]+)"`)
	verbs       = regexp.MustCompile(`%[a-z]|\{n\}`)
)

// made are keys that are put together when they are used.
var made = []string{"nav.", "phase.", "badge.valid", "badge.partly", "badge.invalid", "badge.unchecked", "way.", "mode.", "winner.", "reason.", "move.", "stage.", "done.", "ledger.block", "ledger.tx", "ledger.account", "ledger.entry"}

// TestCatalogue holds the texts to the pages that show them: every key that is used
// is there, every one that is there is used, and both languages have the same
// places for values.
func TestCatalogue(t *testing.T) {
	used := map[string]bool{}
	read := func(fsys fs.FS, pattern string, finders ...*regexp.Regexp) {
		names, err := fs.Glob(fsys, pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: %v, %v", pattern, names, err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text, err := fs.ReadFile(fsys, name)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range finders {
				for _, m := range f.FindAllStringSubmatch(string(text), -1) {
					key := m[1]
					if f == inDone {
						key = "done." + key
					}
					used[key] = true
				}
			}
		}
	}
	read(files, "templates/*.html", inTemplates)
	read(os.DirFS("."), "*.go", inGo, inRefuse, inDone)
	if len(used) < 150 {
		t.Fatalf("only %d keys were found in the pages", len(used))
	}
	for key := range used {
		_, ok := catalogue[key]
		_, one := catalogue[key+".one"]
		_, many := catalogue[key+".many"]
		if !ok && !(one && many) && !slices.ContainsFunc(made, func(p string) bool { return strings.HasSuffix(key, ".") && strings.HasPrefix(p, key) }) {
			t.Errorf("%q is used and not in the catalogue", key)
		}
	}
	for key, p := range catalogue {
		if p.en == "" || p.pt == "" {
			t.Errorf("%q is not in both languages", key)
		}
		a, b := verbs.FindAllString(p.en, -1), verbs.FindAllString(p.pt, -1)
		if !slices.Equal(a, b) {
			t.Errorf("%q has %v in English and %v in Portuguese", key, a, b)
		}
		base := strings.TrimSuffix(strings.TrimSuffix(key, ".one"), ".many")
		if !used[key] && !used[base] && !slices.ContainsFunc(made, func(p string) bool { return strings.HasPrefix(key, p) }) {
			t.Errorf("%q is in the catalogue and not used", key)
		}
	}
}

// TestWordsOfCodes holds the keys that are put together to what they are put
// together from.
func TestWordsOfCodes(t *testing.T) {
	for _, key := range []string{
		"phase.loading", "phase.asking", "phase.writing", "phase.signing", "phase.checking",
		"badge.valid", "badge.partly", "badge.invalid", "badge.unchecked",
		"way.direct", "way.relay", "way.local", "way.none", "mode.open", "mode.lan", "mode.alone", "mode.",
		"winner.challenger", "winner.prover", "winner.open",
		"stage.layer", "stage.position", "stage.token", "stage.operation", "stage.leaf",
		"stage.layer.some", "stage.position.some", "stage.token.some", "stage.operation.some", "stage.leaf.some",
		"ledger.block", "ledger.tx", "ledger.account", "ledger.entry",
		"nav.chat", "nav.network", "nav.models", "nav.audits", "nav.ledger", "nav.settings",
	} {
		if catalogue[key] == (phrase{}) {
			t.Errorf("%q is missing", key)
		}
	}
}

func TestNumbers(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{number(English, 1234567), "1,234,567"},
		{number(Portuguese, 1234567), "1.234.567"},
		{number(English, -999), "-999"},
		{number(Portuguese, -1000), "-1.000"},
		{size(Portuguese, 12_345_678), "12,3 MB"},
		{size(English, 999), "999 B"},
		{decimal(Portuguese, 1.25, 2), "1,25"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}
