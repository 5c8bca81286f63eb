package receipt_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// drawTranscript makes any transcript.
func drawTranscript(t *rapid.T) *receipt.Transcript {
	ids := rapid.SliceOfN(rapid.Int32Min(0), 1, 70)
	str := rapid.StringN(0, 8, 32)
	tr := &receipt.Transcript{Prompt: ids.Draw(t, "prompt"), Output: ids.Draw(t, "output"), Text: str.Draw(t, "text")}
	switch s := &tr.Source; receipt.SourceKind(rapid.IntRange(0, 2).Draw(t, "kind")) {
	case receipt.SourceText:
		s.Text = rapid.SliceOfN(rapid.Byte(), 0, 20).Draw(t, "source")
		s.AddSpecial, s.ParseSpecial = rapid.Bool().Draw(t, "add"), rapid.Bool().Draw(t, "parse")
	case receipt.SourceChat:
		s.Kind = receipt.SourceChat
		for range rapid.IntRange(0, 3).Draw(t, "messages") {
			m := receipt.Message{Role: str.Draw(t, "role"), Content: str.Draw(t, "content"), Name: str.Draw(t, "name")}
			for range rapid.IntRange(0, 2).Draw(t, "calls") {
				m.ToolCalls = append(m.ToolCalls, receipt.ToolCall{Name: str.Draw(t, "function"), Arguments: str.Draw(t, "arguments")})
			}
			s.Messages = append(s.Messages, m)
		}
		s.Tools = rapid.SliceOfN(str, 0, 2).Draw(t, "tools")
		s.Variables = rapid.MapOfN(str, str, 0, 3).Draw(t, "variables")
	default:
		s.Kind = receipt.SourceIDs
	}
	tr.Bias = rapid.MapOfN(rapid.Int32Min(0), rapid.Float32(), 0, 5).Draw(t, "bias")
	tr.Extra.Stop = rapid.SliceOfN(rapid.StringN(1, 4, 16), 0, 3).Draw(t, "stop")
	tr.Extra.Template = str.Draw(t, "template")
	return tr
}

func claimsOf(o *receipt.Opening, model byte) *receipt.Claims {
	c := &receipt.Claims{Model: hash(model), Time: 1}
	o.Fill(c)
	return c
}

func failures(checks []receipt.Check) []string {
	var out []string
	for _, c := range checks {
		if c.Verdict == receipt.Invalid {
			out = append(out, c.Name)
		}
	}
	return out
}

// TestOpenings: any part of any transcript can be shown, written, read and
// checked; what was hidden is not in the bytes; nothing opens another.
func TestOpenings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTranscript(t)
		whole, err := receipt.Commit(receipt.Salt{1}, tr)
		if err != nil {
			t.Fatal(err)
		}
		c := claimsOf(whole, 1)
		part := receipt.Part(rapid.IntRange(0, int(receipt.Whole)).Draw(t, "part"))
		o := whole.Select(part)
		for range rapid.IntRange(0, 3).Draw(t, "ranges") {
			from := rapid.IntRange(0, len(tr.Prompt)-1).Draw(t, "from")
			r, err := whole.PromptRange(from, rapid.IntRange(from+1, len(tr.Prompt)).Draw(t, "to"))
			if err != nil {
				t.Fatal(err)
			}
			o.PromptRanges = append(o.PromptRanges, r)
		}
		b, err := canon.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		var read receipt.Opening
		if err := canon.Unmarshal(b, &read); err != nil {
			t.Fatal(err)
		}
		if read.Parts() != part {
			t.Errorf("parts %b, want %b", read.Parts(), part)
		}
		checks := read.Check(c)
		if f := failures(checks); f != nil {
			t.Fatalf("%v\n%v", f, checks)
		}
		// Another transcript, or the same one under another salt.
		tr2 := *tr
		if rapid.Bool().Draw(t, "other") {
			tr2.Prompt = append(slices.Clone(tr.Prompt), 7)
		}
		whole2, err := receipt.Commit(receipt.Salt{2}, &tr2)
		if err != nil {
			t.Fatal(err)
		}
		if f := failures(read.Check(claimsOf(whole2, 1))); !slices.Equal(f, []string{receipt.CheckTranscript}) {
			t.Fatalf("opens another receipt: %v", f)
		}
		// A part of another transcript in this one's digests.
		mixed := whole2.Select(part &^ receipt.PartTrace)
		mixed.Digests = whole.Digests
		if got := failures(mixed.Check(c)); len(got) != popcount(part&^receipt.PartTrace) {
			t.Fatalf("parts %b of another transcript: %v fail", part, got)
		}
	})
}

func popcount(p receipt.Part) (n int) {
	for ; p != 0; p &= p - 1 {
		n++
	}
	return n
}

// TestRangesProveOnlyTheirIDs changes each id and each place of every range of
// a small prompt.
func TestRangesProveOnlyTheirIDs(t *testing.T) {
	for n := 1; n <= 9; n++ {
		tr := transcript()
		tr.Prompt = make([]int32, n) // all alike: only salts and places differ
		o, err := receipt.Commit(master, tr)
		if err != nil {
			t.Fatal(err)
		}
		c := claimsOf(o, 1)
		for from := range n {
			for to := from + 1; to <= n; to++ {
				r, err := o.PromptRange(from, to)
				if err != nil {
					t.Fatal(err)
				}
				try := func(what string, want bool, r receipt.Range) {
					s := o.Select(0)
					s.PromptRanges = []receipt.Range{r}
					if got := failures(s.Check(c)) == nil; got != want {
						t.Errorf("%d to %d of %d, %s: %t", from, to, n, what, got)
					}
				}
				try("right", true, r)
				for i := range r.IDs {
					x := r
					x.IDs = slices.Clone(r.IDs)
					x.IDs[i]++
					try("another id", false, x)
				}
				for place := range n {
					x := r
					x.From = place
					try("place", place == from, x)
				}
			}
		}
	}
}

func TestCommitRefuses(t *testing.T) {
	for _, c := range []struct {
		name, check string
		change      func(tr *receipt.Transcript)
	}{
		{"no prompt", receipt.CheckPrompt, func(tr *receipt.Transcript) { tr.Prompt = nil }},
		{"a negative id", receipt.CheckOutput, func(tr *receipt.Transcript) { tr.Output = []int32{5, -1} }},
		{"too many ids", receipt.CheckPrompt, func(tr *receipt.Transcript) { tr.Prompt = make([]int32, receipt.MaxIDs+1) }},
		{"text that is not UTF-8", receipt.CheckText, func(tr *receipt.Transcript) { tr.Text = "\xff" }},
		{"a message that is not UTF-8", receipt.CheckSource, func(tr *receipt.Transcript) { tr.Source.Messages[0].Content = "\xff" }},
		{"a text that is too long", receipt.CheckText, func(tr *receipt.Transcript) { tr.Text = strings.Repeat("x", receipt.MaxText+1) }},
		{"a text in a chat", receipt.CheckSource, func(tr *receipt.Transcript) { tr.Source.Text = []byte("x") }},
		{"a chat in a text", receipt.CheckSource, func(tr *receipt.Transcript) { tr.Source.Kind = receipt.SourceText }},
		{"too many messages", receipt.CheckSource, func(tr *receipt.Transcript) { tr.Source.Messages = make([]receipt.Message, receipt.MaxItems+1) }},
		{"too many calls", receipt.CheckSource, func(tr *receipt.Transcript) {
			tr.Source.Messages[0].ToolCalls = make([]receipt.ToolCall, receipt.MaxItems+1)
		}},
		{"too many calls in all", receipt.CheckSource, func(tr *receipt.Transcript) {
			tr.Source.Messages = make([]receipt.Message, 100)
			for i := range tr.Source.Messages {
				tr.Source.Messages[i].ToolCalls = make([]receipt.ToolCall, receipt.MaxItems)
			}
		}},
		{"too many biases", receipt.CheckBias, func(tr *receipt.Transcript) {
			for i := range int32(receipt.MaxBias + 1) {
				tr.Bias[i] = 1
			}
		}},
		{"an infinite bias", receipt.CheckBias, func(tr *receipt.Transcript) { tr.Bias[1] = float32(math.Inf(1)) }},
		{"too many stop strings", receipt.CheckExtra, func(tr *receipt.Transcript) { tr.Extra.Stop = make([]string, receipt.MaxStops+1) }},
		{"a stop string that is too long", receipt.CheckExtra, func(tr *receipt.Transcript) { tr.Extra.Stop = []string{strings.Repeat("x", receipt.MaxStop+1)} }},
		{"any JSON with a text", receipt.CheckExtra, func(tr *receipt.Transcript) { tr.Extra.Grammar.Text = "{}" }},
	} {
		tr := transcript()
		c.change(tr)
		_, err := receipt.Commit(master, tr)
		var e *receipt.Error
		if !errors.As(err, &e) || e.Check != c.check {
			t.Errorf("%s: %v, want an error of the check %q", c.name, err, c.check)
		}
	}
}

// TestSecretsStayInside formats everything that a program may log.
func TestSecretsStayInside(t *testing.T) {
	a := newCase(t)
	secret := "sky blue"
	for i, o := range []*receipt.Opening{a.opening, a.opening.Select(receipt.PartExtra)} {
		f := receipt.File{Receipt: *a.sign(), Opening: o}
		wrong := receipt.Source{Kind: receipt.SourceText, Text: []byte(secret)}
		text := secret
		report := f.Check(receipt.Options{Expect: receipt.Expect{
			Nonce: []byte(secret), Source: &wrong, Text: &text, Prompt: []int32{424242}, Extra: &receipt.Extra{Stop: []string{secret}},
			Bias: receipt.Bias{424242: 1},
		}})
		if report.Verdict() != receipt.Invalid {
			t.Errorf("%d: %s", i, report.String())
		}
		for _, s := range []string{secret, "Scattering", "200000", "424242"} {
			if strings.Contains(report.String(), s) || strings.Contains(mustJSON(t, report), s) {
				t.Errorf("%d: the report shows %q:\n%s", i, s, report.String())
			}
		}
	}
	key, err := receipt.NewAuditorSecret(false)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%v %s %x %v %+v", key, key, master, master, receipt.OpenedIDs{Salt: master})
	if want := "(private key of an auditor) (private key of an auditor)"; !strings.HasPrefix(shown, want) || strings.Contains(shown, "0102") || strings.Contains(shown, "1 2 3") {
		t.Error(shown)
	}
}

func TestReport(t *testing.T) {
	var r receipt.Report
	check := func(name string, v receipt.Verdict) receipt.Check { return receipt.Check{Name: name, Verdict: v} }
	want := func(v receipt.Verdict) {
		t.Helper()
		if got := r.Verdict(); got != v {
			t.Errorf("%s, want %s", got, v)
		}
	}
	want(receipt.Unverified)
	r.Add(check("a", receipt.Valid))
	want(receipt.Valid)
	r.Add(check("b", receipt.Unverified))
	want(receipt.Unverified)
	r.Add(check("b", receipt.Valid), check("a", receipt.Valid))
	want(receipt.Valid)
	if diff := cmp.Diff([]receipt.Check{check("a", receipt.Valid), check("b", receipt.Valid), check("a", receipt.Valid)}, r.Checks); diff != "" {
		t.Error(diff)
	}
	r.Add(check("a", receipt.Invalid), check("c", receipt.Unverified))
	want(receipt.Invalid)
	if f := r.Failed(); f == nil || f.Name != "a" {
		t.Error(f)
	}
	if r = (receipt.Report{}); r.Failed() != nil {
		t.Error("nothing failed")
	}
	r.Add(check("a", ""))
	want(receipt.Invalid) // no verdict is not a good one
}
