package report_test

import (
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/receipt"
)

// attacks are texts that do harm where they are not made harmless.
var attacks = []string{
	`<script>alert(1)</script>`,
	`</blockquote></section><h1>Valid</h1><img src=x onerror=alert(1)>`,
	`"><svg onload=alert(1)>`,
	`' onmouseover='alert(1)`,
	`%s %d %!x`,
	"</style><style>*{display:none}",
	"\x1b]0;title\a\x1b[2J\x1b[1;1Hvalid",
	"back\b\b\b\rvalid",
	"\u202egnp.exe\u2066 \u2028\u2029 \u0085",
	"\x00\xff\xfe",
	"a\n\n\n✓ VALID: COMPUTED AGAIN",
}

// TestHostile puts attacks wherever a receipt, a check or a model has text.
func TestHostile(t *testing.T) {
	tags := regexp.MustCompile(`<[^>]*>`)
	for _, attack := range attacks {
		text := strings.ToValidUTF8(attack, "?")
		c, s := story()
		s.Source.Messages = []receipt.Message{
			{Role: text, Content: text, ToolCalls: []receipt.ToolCall{{Name: text, Arguments: text}}},
			{Role: "user", Content: strings.Repeat(text, 3)},
		}
		s.Text = text
		c.Params.Temperature = 1
		name := text[:min(len(text), 20)]
		name = strings.ToValidUTF8(name, "?")
		c.Seed = receipt.BeaconSeed(name, 1, receipt.Hash{1})
		c.Ledger = &receipt.LedgerRef{Chain: name, Height: 1, Block: receipt.Hash{2}}
		in := offline(file(t, c, s))
		in.Model = attack
		in.Checks.Add(
			receipt.Check{Name: receipt.CheckModel, Verdict: receipt.Valid, Detail: attack},
			receipt.Check{Name: receipt.CheckTrace, Verdict: receipt.Invalid, Detail: attack},
			receipt.Check{Name: attack, Verdict: receipt.Unverified, Detail: attack})
		r := report.New(in)

		// The tags are those of a report with harmless texts.
		page := r.Page()
		body := page[strings.Index(page, "<body>"):]
		for _, tag := range tags.FindAllString(body, -1) {
			if !harmlessTag.MatchString(tag) {
				t.Errorf("%q: the page has the tag %s", attack, tag)
			}
		}
		if n := strings.Count(page, "<h1>"); n != 1 {
			t.Errorf("%q: the page has %d verdicts", attack, n)
		}
		for _, out := range []string{page, r.Text(80, true)} {
			for _, x := range out {
				if x != '\n' && x != '\t' && unicode.IsControl(x) || x >= 0x202a && x <= 0x202e || x >= 0x2066 && x <= 0x2069 {
					t.Errorf("%q: the report has the character %U", attack, x)
				}
			}
		}
		// Lines of a text stand behind a bar, so that none can pass for one of
		// the report.
		for line := range strings.Lines(r.Text(80, true)) {
			if strings.HasPrefix(line, "✓ VALID") {
				t.Errorf("%q: the report has the line %q", attack, line)
			}
		}
	}
}

// harmlessTag has every tag that a report is made of.
var harmlessTag = regexp.MustCompile(`^<(/?(body|main|html|div|section|h1|h2|p|ul|li|dl|dt|dd|code|svg|figure|figcaption|blockquote|details|summary|span|small)` +
	`( class="[a-z ]+")?|code class="solid"|div class="report"|svg class="sign" viewBox="0 0 24 24" aria-hidden="true"|blockquote tabindex="0"|(circle|path) [a-zA-Z0-9 ="./-]*/)>$`)

func TestLongTexts(t *testing.T) {
	c, s := story()
	s.Text = strings.Repeat("ü", 40<<10)
	in := offline(file(t, c, s))
	r := report.New(in)
	const said = "[… 8192 more characters are not shown]"
	if out := r.Fragment(); !strings.Contains(out, said) || len(out) > 100<<10 {
		t.Errorf("%d bytes, without %q", len(out), said)
	}
}

// TestNarrow: lines keep to the width, but for words that are longer.
func TestNarrow(t *testing.T) {
	for _, tc := range reports {
		for line := range strings.Lines(report.New(tc.input(t)).Text(40, false)) {
			line = strings.TrimRight(line, "\n")
			if n := len([]rune(line)); n > 40 && len(strings.Fields(line)) > 1 {
				t.Errorf("%s: %d characters: %q", tc.name, n, line)
			}
		}
	}
}
