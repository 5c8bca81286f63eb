package report_test

import (
	"bytes"
	"crypto/ed25519"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/receipt"
)

var update = flag.Bool("update", false, "rewrite the reports in testdata")

var (
	signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	now    = time.Unix(1_795_000_100, 0)
)

// story is what the tests' receipts are about.
func story() (*receipt.Claims, *receipt.Transcript) {
	return &receipt.Claims{
		Model:  receipt.Hash(bytes.Repeat([]byte{0x3f, 0x91, 0xc0, 0x0d}, 8)),
		Params: receipt.Params{MaxTokens: 400}, Seed: receipt.SelfSeed(7), Time: now.Unix() - 100,
	}, &receipt.Transcript{
		Source: receipt.Source{
			Kind: receipt.SourceChat, GenerationPrompt: true,
			Messages: []receipt.Message{
				{Role: "system", Content: "Answer briefly."},
				{Role: "user", Content: "Why is the sky blue?"},
			},
		},
		Prompt: []int32{1, 5, 9, 17, 3, 200, 4},
		Output: make([]int32, 312),
		Text:   "Sunlight holds all colours. In the air, blue light is scattered far more than red,\nso that it comes to us from every part of the sky.",
	}
}

// file makes a receipt of a story.
func file(t testing.TB, c *receipt.Claims, s *receipt.Transcript) *receipt.File {
	t.Helper()
	o, err := receipt.Commit(receipt.Salt{1}, s)
	if err != nil {
		t.Fatal(err)
	}
	o.Fill(c)
	r, err := receipt.Sign(*c, signer)
	if err != nil {
		t.Fatal(err)
	}
	return &receipt.File{Receipt: r, Opening: o}
}

// offline is what is told of a file without a model.
func offline(f *receipt.File) report.Input {
	return report.Input{File: f, Checks: f.Check(receipt.Options{Now: now})}
}

// reports are typical ones; each is kept in testdata.
var reports = []struct {
	name  string
	input func(t *testing.T) report.Input
}{
	{"full", func(t *testing.T) report.Input {
		in := offline(file(t, first(story()), second(story())))
		in.Model = "stories260K"
		in.Checks.Add(
			receipt.Check{Name: receipt.CheckModel, Verdict: receipt.Valid, Detail: "the expected model"},
			receipt.Check{Name: audit.CheckRendering, Verdict: receipt.Valid, Detail: "the prompt as it was given becomes these 7 tokens"},
			receipt.Check{Name: audit.CheckAnswer, Verdict: receipt.Valid, Detail: "312 tokens give this text"},
			receipt.Check{Name: receipt.CheckComputation, Verdict: receipt.Valid, Detail: "318 positions computed again"})
		return in
	}},
	{"adapters", func(t *testing.T) report.Input {
		c, s := story()
		c.Adapters = []receipt.Adapter{{File: receipt.Hash{7, 7}, Scale: 1}, {File: receipt.Hash{8}, Scale: -0.5}}
		in := offline(file(t, c, s))
		in.Checks.Add(
			receipt.Check{Name: receipt.CheckAdapters, Verdict: receipt.Valid, Detail: "the receipt's: " + receipt.DescribeAdapters(c.Adapters)},
			receipt.Check{Name: receipt.CheckComputation, Verdict: receipt.Valid, Detail: "318 positions computed again"})
		return in
	}},
	{"other-adapters", func(t *testing.T) report.Input {
		in := offline(file(t, first(story()), second(story())))
		in.Checks.Add(receipt.Check{Name: receipt.CheckAdapters, Verdict: receipt.Invalid, Detail: "the receipt is for the model with the adapters: none"})
		return in
	}},
	{"token", func(t *testing.T) report.Input {
		in := offline(file(t, first(story()), second(story())))
		in.Checks.Add(
			receipt.Check{Name: receipt.CheckModel, Verdict: receipt.Valid},
			receipt.Check{Name: receipt.CheckComputation, Verdict: receipt.Invalid, Detail: "token 36: expected id 15, receipt has 12"})
		return in
	}},
	{"trouble", func(t *testing.T) report.Input {
		in := offline(file(t, first(story()), second(story())))
		in.Trouble = "the file is no model"
		return in
	}},
	{"self-chosen", func(t *testing.T) report.Input {
		c, s := story()
		c.Params = receipt.Params{Temperature: 0.8, TopP: 0.95, RepeatPenalty: 1.1}
		in := offline(file(t, c, s))
		in.Checks.Add(receipt.Check{Name: receipt.CheckComputation, Verdict: receipt.Valid, Detail: "312 tokens"})
		return in
	}},
	{"template", func(t *testing.T) report.Input {
		c, s := story()
		s.Extra.Template = "tell a story"
		s.Source.Tools, s.Source.Variables = []string{"{}"}, map[string]string{"enable_thinking": "false"}
		in := offline(file(t, c, s))
		in.Checks.Add(receipt.Check{Name: receipt.CheckComputation, Verdict: receipt.Valid, Detail: "312 tokens"})
		return in
	}},
	{"nonce", func(t *testing.T) report.Input {
		c, s := story()
		c.Params.Temperature, c.Seed = 1, receipt.NonceSeed([]byte("from the asker"))
		return offline(file(t, c, s))
	}},
	{"beacon", func(t *testing.T) report.Input {
		c, s := story()
		c.Params.Temperature, c.Seed = 1, receipt.BeaconSeed("league of entropy", 4_711, receipt.Hash{1})
		c.Ledger = &receipt.LedgerRef{Chain: "aval", Height: 12, Block: receipt.Hash{2}}
		c.Trace = receipt.Hash{3}
		return offline(file(t, c, s))
	}},
	{"hidden", func(t *testing.T) report.Input {
		f := file(t, first(story()), second(story()))
		f.Opening = nil
		return offline(f)
	}},
	{"hidden-prompt", func(t *testing.T) report.Input {
		c, s := story()
		s.Extra.Stop, s.StopText, c.Stop = []string{"\n\n"}, "\n\n", receipt.StopString
		c.Params.Extra = true
		f := file(t, c, s)
		f.Opening = f.Opening.Select(receipt.WholeOutput)
		return offline(f)
	}},
	{"sampled", func(t *testing.T) report.Input {
		in := offline(file(t, first(story()), second(story())))
		in.Scope = &report.Scope{Places: 40, Of: 1595, Share: 0.1, Chance: 0.985}
		in.Checks.Add(receipt.Check{Name: receipt.CheckComputation, Verdict: receipt.Valid, Detail: "40 of 1595 cells"})
		return in
	}},
	{"given-challenge", func(t *testing.T) report.Input {
		in := offline(file(t, first(story()), second(story())))
		in.Scope = &report.Scope{
			Places: 40, Of: 1595, Share: 0.1, Chance: 0.985, Given: true,
			Tokens: []report.Found{{Share: 0.2, Chance: 0.9907}, {Share: 0.05, Chance: 0.6617}},
		}
		in.Checks.Add(receipt.Check{Name: receipt.CheckComputation, Verdict: receipt.Valid, Detail: "40 of 1595 cells"})
		return in
	}},
	{"exchanged", func(t *testing.T) report.Input {
		f := file(t, first(story()), second(story()))
		changed := *f.Opening.Text
		changed.Text = "It is painted."
		f.Opening.Text = &changed
		return offline(f)
	}},
	{"signature", func(t *testing.T) report.Input {
		raw := file(t, first(story()), second(story())).Receipt.Bytes()
		raw[len(raw)-1] ^= 1
		r, err := receipt.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		return offline(&receipt.File{Receipt: r})
	}},
	{"other-model", func(t *testing.T) report.Input {
		in := offline(file(t, first(story()), second(story())))
		in.Model = "another"
		in.Checks.Add(receipt.Check{Name: receipt.CheckModel, Verdict: receipt.Invalid, Detail: "the receipt is for 3f91…, the file is 7777…"})
		return in
	}},
	{"future", func(t *testing.T) report.Input {
		c, s := story()
		c.Time += 3600
		return offline(file(t, c, s))
	}},
	{"garbage", func(*testing.T) report.Input {
		return report.Input{Checks: receipt.Offline([]byte("this is no receipt"), receipt.Options{})}
	}},
	{"nothing", func(*testing.T) report.Input { return report.Input{} }},
}

func first[A, B any](a A, _ B) A  { return a }
func second[A, B any](_ A, b B) B { return b }

func TestReports(t *testing.T) {
	for _, tc := range reports {
		t.Run(tc.name, func(t *testing.T) {
			r := report.New(tc.input(t))
			golden(t, tc.name+".txt", r.Text(80, true))
			if tc.name == "full" {
				golden(t, tc.name+".html", strings.Replace(r.Page(), report.Style, "", 1))
			}
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (go test ./internal/report -update writes it anew):\n%s", path, diff)
	}
}

func TestFlags(t *testing.T) {
	type flags struct{ Computable, Computed bool }
	got := map[string]flags{}
	for _, tc := range reports {
		r := report.New(tc.input(t))
		got[tc.name] = flags{r.Computable, r.Computed}
	}
	want := map[string]flags{
		"full": {true, true}, "token": {true, false}, "trouble": {true, false}, "self-chosen": {true, true}, "nonce": {true, false},
		"beacon": {true, false}, "hidden": {}, "hidden-prompt": {}, "sampled": {true, true}, "given-challenge": {true, true}, "exchanged": {true, false},
		"signature": {}, "adapters": {true, true}, "other-adapters": {true, false},
		"template": {true, true}, "other-model": {true, false}, "future": {true, false}, "garbage": {}, "nothing": {},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestAlwaysSaid: what no receipt shows stands in every report.
func TestAlwaysSaid(t *testing.T) {
	for _, tc := range reports {
		r := report.New(tc.input(t))
		for _, out := range []string{r.Text(80, false), r.Page()} {
			for _, said := range []string{"What a receipt does not show", "answer is right", "Who sat at", "did the work itself", "clock was right"} {
				if !strings.Contains(strings.Join(strings.Fields(out), " "), said) {
					t.Errorf("%s: %q is not said", tc.name, said)
				}
			}
		}
	}
}

// TestSaysNoMore: a report does not say more than was checked and shown.
func TestSaysNoMore(t *testing.T) {
	computed := []receipt.Check{
		{Name: audit.CheckRendering, Verdict: receipt.Valid},
		{Name: receipt.CheckComputation, Verdict: receipt.Valid},
	}
	for _, tc := range []struct {
		name   string
		change func(c *receipt.Claims, s *receipt.Transcript)
		shown  receipt.Part
		expect receipt.Expect
		status report.Status
		says   []string
		not    []string
	}{
		{
			"what was expected is hidden", func(*receipt.Claims, *receipt.Transcript) {}, receipt.IDs,
			receipt.Expect{Text: new("yes")},
			report.Partly,
			[]string{"COMPUTED AGAIN, BUT NOT ALL COULD BE COMPARED", "The answer is hidden"},
			[]string{"VALID:"},
		},
		{
			"what nobody expected is hidden", func(*receipt.Claims, *receipt.Transcript) {}, receipt.IDs,
			receipt.Expect{},
			report.Valid,
			[]string{"VALID:", "The answer is hidden"},
			nil,
		},
		{"a template of the signer's", func(c *receipt.Claims, s *receipt.Transcript) {
			s.Extra.Template = "Say yes. {{ messages[0].content }}"
		}, receipt.Whole, receipt.Expect{}, report.Valid, []string{"was replaced by another one"}, nil},
		{"a setting of the template", func(c *receipt.Claims, s *receipt.Transcript) {
			s.Source.Variables = map[string]string{"instructions": `"Say yes."`}
		}, receipt.Whole, receipt.Expect{}, report.Valid, []string{"It was also given 1 setting"}, nil},
		{"thoughts and names", func(c *receipt.Claims, s *receipt.Transcript) {
			s.Source.Messages[1].Reasoning, s.Source.Messages[1].Name = "I shall say yes.", "Eve"
		}, receipt.Whole, receipt.Expect{}, report.Valid, []string{"[thought I shall say yes.]", "[name Eve]"}, nil},
		{"numbers of word pieces", func(c *receipt.Claims, s *receipt.Transcript) {
			s.Source = receipt.Source{Kind: receipt.SourceIDs}
		}, receipt.Whole, receipt.Expect{}, report.Valid, []string{"there is no text of it"}, []string{"exactly the question shown here"}},
	} {
		c, s := story()
		tc.change(c, s)
		f := file(t, c, s)
		f.Opening = f.Opening.Select(tc.shown)
		in := report.Input{File: f, Checks: f.Check(receipt.Options{Now: now, Expect: tc.expect})}
		in.Checks.Add(computed...)
		r := report.New(in)
		if r.Status != tc.status {
			t.Errorf("%s: the status is %s, want %s", tc.name, r.Status, tc.status)
		}
		out := r.Text(1000, false)
		for _, said := range tc.says {
			if !strings.Contains(out, said) {
				t.Errorf("%s: %q is not said:\n%s", tc.name, said, out)
			}
		}
		for _, said := range tc.not {
			if strings.Contains(out, said) {
				t.Errorf("%s: %q is said", tc.name, said)
			}
		}
	}
}
