package audit_test

import (
	"crypto/ed25519"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/token"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

var (
	fingerprint = receipt.Hash{1, 2, 3}
	key         = ed25519.NewKeyFromSeed(make([]byte, 32))
	now         = time.Unix(1_790_000_000, 0)
	master      = receipt.Salt{4, 5, 6}
)

// open opens a model of the shared test data.
func open(t testing.TB, quant string, opt engine.Options) *engine.Engine {
	t.Helper()
	e, err := engine.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-"+quant+".gguf"), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// asked is a request as a client makes it.
type asked struct {
	source receipt.Source
	extra  receipt.Extra
	bias   receipt.Bias
	params receipt.Params
	seed   receipt.Seed
	trace  bool
}

// answered is what the prover of the tests knows.
type answered struct {
	transcript receipt.Transcript
	claims     receipt.Claims
	result     *engine.Result
}

// story is a request that writes some text.
func story() asked {
	return asked{
		source: receipt.Source{Kind: receipt.SourceText, Text: []byte("Once upon a time"), AddSpecial: true, ParseSpecial: true},
		params: receipt.Params{Temperature: 1, TopP: 0.95, RepeatPenalty: 1.1, MaxTokens: 24},
		seed:   receipt.NonceSeed([]byte("a nonce of mine")),
		trace:  true,
	}
}

// tokens makes the tokens of a source, as a server does.
func tokens(t testing.TB, e *engine.Engine, q *asked) []int32 {
	t.Helper()
	var ids []int32
	var err error
	switch q.source.Kind {
	case receipt.SourceText:
		ids, err = e.Tokenizer().Encode(string(q.source.Text), token.EncodeOptions{AddSpecial: q.source.AddSpecial, ParseSpecial: q.source.ParseSpecial})
	case receipt.SourceChat:
		in := chat.Input{AddGenerationPrompt: q.source.GenerationPrompt, Date: q.source.Date}
		for _, m := range q.source.Messages {
			in.Messages = append(in.Messages, chat.Message{Role: m.Role, Content: m.Content})
		}
		if q.extra.Template == "" {
			ids, err = e.Render(in)
		} else {
			var template *chat.Template
			if template, err = chat.Parse(q.extra.Template); err == nil {
				ids, err = e.RenderWith(template, in)
			}
		}
	default:
		ids = []int32{1, 403, 407, 261, 378}
	}
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// answer answers a request.
func answer(t testing.TB, e *engine.Engine, q asked) *answered {
	t.Helper()
	ids := tokens(t, e, &q)
	r := engine.Request{
		Prompt: ids, MaxTokens: q.params.MaxTokens, Stop: q.extra.Stop, IgnoreEOS: q.params.IgnoreEOS, Trace: q.trace,
		Params: sample.Params{
			Temperature: q.params.Temperature, TopK: q.params.TopK, TopP: q.params.TopP, MinP: q.params.MinP,
			RepeatPenalty: q.params.RepeatPenalty, FrequencyPenalty: q.params.FrequencyPenalty,
			PresencePenalty: q.params.PresencePenalty, RepeatLastN: q.params.RepeatLastN,
			LogitBias: q.bias, Seed: q.seed.Derive(ids),
		},
	}
	if g := q.extra.Grammar; g != nil {
		var err error
		if r.Grammar, err = grammar.FromGBNF(g.Text); err != nil {
			t.Fatal(err)
		}
	}
	res, err := e.Generate(t.Context(), r, nil)
	if err != nil {
		t.Fatal(err)
	}
	a := &answered{result: res}
	a.transcript = receipt.Transcript{
		Source: q.source, Bias: q.bias, Extra: q.extra,
		Prompt: ids, Output: res.Drawn(), Text: res.Text, StopText: res.StopText,
	}
	a.claims = receipt.Claims{Model: fingerprint, Params: q.params, Seed: q.seed, Time: now.Unix()}
	switch res.Stop {
	case engine.StopEOS:
		a.claims.Stop = receipt.StopEOS
	case engine.StopString:
		a.claims.Stop = receipt.StopString
	default:
		a.claims.Stop = receipt.StopLength
	}
	if res.Trace != nil {
		a.claims.Trace = commitment(res.Trace)
	}
	return a
}

func commitment(t *trace.Tree) receipt.Hash {
	return receipt.TraceCommitment(master.Trace(), t.Root(), t.Layers(), t.Positions())
}

// sign makes the file of an answer that shows all.
func (a *answered) sign(t testing.TB) *receipt.File {
	t.Helper()
	o, err := receipt.Commit(master, &a.transcript)
	if err != nil {
		t.Fatal(err)
	}
	o.Fill(&a.claims)
	r, err := receipt.Sign(a.claims, key)
	if err != nil {
		t.Fatal(err)
	}
	if a.claims.Trace.IsZero() {
		o.Trace = nil
	}
	// As one gets it.
	data, err := (&receipt.File{Receipt: r, Opening: o}).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	f, err := receipt.ParseFile(data)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func options() audit.Options {
	return audit.Options{Options: receipt.Options{Now: now, Expect: receipt.Expect{Nonce: []byte("a nonce of mine")}}}
}

// expect compares a report with the verdict and, if it is not valid, with the
// check that decides it.
func expect(t *testing.T, r *receipt.Report, want receipt.Verdict, check, detail string) {
	t.Helper()
	if got := r.Verdict(); got != want {
		t.Errorf("the verdict is %s, want %s\n%s", got, want, r)
		return
	}
	for _, c := range r.Checks {
		if c.Name == check && c.Verdict == want && strings.Contains(c.Detail, detail) {
			return
		}
	}
	t.Errorf("no check %q is %s with %q\n%s", check, want, detail, r)
}

// requests are the kinds of requests that there are.
var requests = map[string]func() asked{
	"sampled": story,
	"greedy":  func() asked { q := story(); q.params = receipt.Params{MaxTokens: 30}; return q },
	"no trace": func() asked {
		q := story()
		q.trace = false
		return q
	},
	"one token": func() asked { q := story(); q.params.MaxTokens = 1; return q },
	"stop string": func() asked {
		q := story()
		q.params.Temperature = 0
		q.params.MaxTokens = 60
		q.extra.Stop = []string{"ball", "play"}
		return q
	},
	"the model's end": func() asked {
		q := story()
		q.extra.Grammar = &receipt.Grammar{Kind: receipt.GrammarGBNF, Text: `root ::= " " ("yes" | "no") "!"`}
		return q
	},
	"bias": func() asked { q := story(); q.bias = receipt.Bias{432: -100, 383: 3}; return q },
	"penalties": func() asked {
		q := story()
		q.params.FrequencyPenalty, q.params.PresencePenalty, q.params.RepeatLastN, q.params.MinP, q.params.TopK = 0.5, 0.25, -1, 0.01, 200
		return q
	},
	"ids": func() asked { q := story(); q.source = receipt.Source{Kind: receipt.SourceIDs}; return q },
	"chat": func() asked {
		q := story()
		q.source = receipt.Source{Kind: receipt.SourceChat, Messages: []receipt.Message{{Role: "user", Content: "Tell me of Lily."}}, GenerationPrompt: true}
		return q
	},
	"template": func() asked {
		q := story()
		q.source = receipt.Source{Kind: receipt.SourceChat, Messages: []receipt.Message{{Role: "user", Content: "Tell me of Lily."}}}
		q.extra.Template = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
		return q
	},
	"a full context": func() asked {
		q := story()
		q.params.MaxTokens, q.params.Context, q.params.IgnoreEOS = 0, 60, true
		return q
	},
}

// TestFull finds answers of all kinds right, by one who computes otherwise
// than the prover.
func TestFull(t *testing.T) {
	prover := open(t, "Q4_K_M", engine.Options{Threads: 1, Batch: 5})
	small := open(t, "Q4_K_M", engine.Options{Threads: 1, Context: 60})
	a := &audit.Auditor{Engine: open(t, "Q4_K_M", engine.Options{Threads: 2}), Model: fingerprint}
	for name, q := range requests {
		t.Run(name, func(t *testing.T) {
			e, req := prover, q()
			if req.params.Context != 0 {
				e = small
			}
			f := answer(t, e, req).sign(t)
			for _, pass := range []int{0, 1, 7} {
				a := *a
				a.Pass = pass
				r, err := a.Full(t.Context(), f, options())
				if err != nil {
					t.Fatal(err)
				}
				expect(t, &r, receipt.Valid, receipt.CheckComputation, "are right")
			}
		})
	}
}

// TestFullFinds looks for every kind of lie.
func TestFullFinds(t *testing.T) {
	e := open(t, "Q4_K_M", engine.Options{Threads: 2})
	other := open(t, "p192-Q4_0", engine.Options{Threads: 2})
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	for _, c := range []struct {
		name    string
		request func() asked
		change  func(t *testing.T, a *answered)
		check   string
		detail  string
	}{
		{"another token", story, func(_ *testing.T, a *answered) { a.transcript.Output[7] ^= 1 }, receipt.CheckComputation, "token 7: expected id "},
		{"the last token", story, func(_ *testing.T, a *answered) { a.transcript.Output[23] ^= 1 }, receipt.CheckComputation, "token 23: expected id "},
		{"no such token", story, func(_ *testing.T, a *answered) { a.transcript.Output[23] = 1 << 20 }, receipt.CheckComputation, "token 23: id 1048576 is not in"},
		{"no such token inside", story, func(_ *testing.T, a *answered) { a.transcript.Output[7] = 1 << 20 }, receipt.CheckComputation, "token 7"},
		{"no such token in the prompt", requests["ids"], func(_ *testing.T, a *answered) { a.transcript.Prompt[2] = 1 << 20 }, receipt.CheckComputation, "token 2 of the prompt"},
		{"another prompt", story, func(_ *testing.T, a *answered) { a.transcript.Source.Text = []byte("Once upon a rime") }, audit.CheckRendering, "token "},
		{"a longer prompt", story, func(_ *testing.T, a *answered) { a.transcript.Source.Text = []byte("Once upon a time,") }, audit.CheckRendering, "has 6 tokens, receipt has 5"},
		{"another conversation", requests["chat"], func(_ *testing.T, a *answered) { a.transcript.Source.Messages[0].Content = "Tell me of Tom." }, audit.CheckRendering, "token "},
		{"a prompt that no template takes", requests["template"], func(_ *testing.T, a *answered) { a.transcript.Extra.Template = "{% if %}" }, audit.CheckRendering, "cannot be made tokens"},
		{"another template", requests["template"], func(_ *testing.T, a *answered) { a.transcript.Extra.Template = "{{ messages[0].content }}" }, audit.CheckRendering, "token "},
		{"another text", story, func(_ *testing.T, a *answered) { a.transcript.Text += "!" }, audit.CheckAnswer, "another text"},
		{"another temperature", story, func(_ *testing.T, a *answered) { a.claims.Params.Temperature = 0.5 }, receipt.CheckComputation, "token "},
		{"another penalty", story, func(_ *testing.T, a *answered) { a.claims.Params.RepeatPenalty = 2 }, receipt.CheckComputation, "token "},
		{"a seed of the prover's", story, func(t *testing.T, a *answered) {
			q := story()
			q.seed = receipt.SelfSeed(1)
			b := answer(t, e, q)
			a.transcript, a.claims.Trace = b.transcript, b.claims.Trace
		}, receipt.CheckComputation, "token "},
		{"a bias that was not there", story, func(_ *testing.T, a *answered) { a.transcript.Bias = receipt.Bias{a.transcript.Output[3]: -100} }, receipt.CheckComputation, "token 3: "},
		{"a bias that is denied", requests["bias"], func(_ *testing.T, a *answered) { a.transcript.Bias = nil }, receipt.CheckComputation, "token "},
		{"a grammar that is denied", requests["the model's end"], func(_ *testing.T, a *answered) { a.transcript.Extra.Grammar = nil }, receipt.CheckComputation, "token "},
		{"a grammar that was not there", story, func(_ *testing.T, a *answered) {
			a.transcript.Extra.Grammar = &receipt.Grammar{Kind: receipt.GrammarGBNF, Text: `root ::= "no"`}
		}, receipt.CheckComputation, "token 0"},
		{"a grammar that is none", story, func(_ *testing.T, a *answered) {
			a.transcript.Extra.Grammar = &receipt.Grammar{Kind: receipt.GrammarGBNF, Text: `root := `}
		}, receipt.CheckComputation, "no engine takes"},
		{"cut", story, func(_ *testing.T, a *answered) {
			a.transcript.Output = a.transcript.Output[:20]
			a.transcript.Text = a.transcript.Text[:10]
		}, audit.CheckAnswer, "nothing ends the answer after token 19"},
		{"goes on after a stop string", requests["greedy"], func(_ *testing.T, a *answered) { a.transcript.Extra.Stop = []string{" there"} }, audit.CheckAnswer, "the answer ends with token "},
		{"another stop reason", requests["stop string"], func(_ *testing.T, a *answered) {
			a.claims.Stop, a.transcript.StopText = receipt.StopLength, ""
			a.claims.Params.MaxTokens = len(a.transcript.Output)
		}, audit.CheckAnswer, "receipt says"},
		{"another stop string", requests["stop string"], func(_ *testing.T, a *answered) {
			a.transcript.StopText = "ball"
		}, audit.CheckAnswer, "stop string"},
		{"an end that is none", story, func(_ *testing.T, a *answered) { a.claims.Stop = receipt.StopEOS }, audit.CheckAnswer, "receipt says"},
		{"a shorter limit", story, func(_ *testing.T, a *answered) { a.claims.Params.MaxTokens = 30 }, audit.CheckAnswer, "nothing ends the answer"},
		{"another model", story, func(t *testing.T, a *answered) {
			b := answer(t, other, story())
			a.transcript, a.claims.Trace = b.transcript, b.claims.Trace
		}, receipt.CheckComputation, "token "},
		{"another fingerprint", story, func(_ *testing.T, a *answered) { a.claims.Model = receipt.Hash{9} }, receipt.CheckModel, ""},
		{"another trace", story, func(_ *testing.T, a *answered) { a.claims.Trace[0] ^= 1 }, receipt.CheckTrace, "give another trace"},
		{"another nonce", story, func(_ *testing.T, a *answered) { a.claims.Seed = receipt.NonceSeed([]byte("not from me")) }, receipt.CheckSeed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := answer(t, e, c.request())
			c.change(t, b)
			r, err := a.Full(t.Context(), b.sign(t), options())
			if err != nil {
				t.Fatal(err)
			}
			expect(t, &r, receipt.Invalid, c.check, c.detail)
		})
	}
}

// TestFullUnverified leaves open what is not shown.
func TestFullUnverified(t *testing.T) {
	e := open(t, "Q4_K_M", engine.Options{Threads: 2})
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	b := requests["bias"]()
	b.extra.Stop = []string{"never there"}
	f := answer(t, e, b).sign(t)
	whole := f.Opening
	for _, c := range []struct {
		name   string
		shown  receipt.Part
		detail string
	}{
		{receipt.CheckComputation, receipt.Whole &^ receipt.PartPrompt, "the tokens of the prompt"},
		{receipt.CheckComputation, receipt.Whole &^ receipt.PartOutput, "the tokens drawn"},
		{receipt.CheckComputation, receipt.Whole &^ receipt.PartBias, "the logit bias"},
		{receipt.CheckComputation, receipt.Whole &^ receipt.PartExtra, "the stop strings"},
	} {
		f.Opening = whole.Select(c.shown)
		r, err := a.Full(t.Context(), f, options())
		if err != nil {
			t.Fatal(err)
		}
		expect(t, &r, receipt.Unverified, c.name, c.detail)
	}
	f.Opening = nil
	r, err := a.Full(t.Context(), f, options())
	if err != nil {
		t.Fatal(err)
	}
	expect(t, &r, receipt.Unverified, receipt.CheckComputation, "the tokens of the prompt")
	// The source and the text may stay hidden.
	f.Opening = whole.Select(receipt.IDs | receipt.PartTrace)
	if r, err = a.Full(t.Context(), f, options()); err != nil {
		t.Fatal(err)
	}
	expect(t, &r, receipt.Valid, audit.CheckAnswer, "the text is not shown")
	small := &audit.Auditor{Engine: open(t, "Q4_K_M", engine.Options{Threads: 1, Context: 20}), Model: fingerprint}
	if r, err = small.Full(t.Context(), f, options()); err != nil {
		t.Fatal(err)
	}
	expect(t, &r, receipt.Unverified, audit.CheckContext, "open it with more")
}

// TestFullProver names the state that differs first.
func TestFullProver(t *testing.T) {
	e := open(t, "Q4_K_M", engine.Options{Threads: 2})
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	b := answer(t, e, story())
	states := slices.Concat(b.result.Trace.Layer(0), b.result.Trace.Layer(1), b.result.Trace.Layer(2), b.result.Trace.Layer(3), b.result.Trace.Layer(4))
	states[2*b.result.Trace.Positions()+11][0] ^= 1
	lie, err := trace.NewTree(states, b.result.Trace.Layers(), b.result.Trace.Positions())
	if err != nil {
		t.Fatal(err)
	}
	b.claims.Trace = commitment(lie)
	o := options()
	o.Prover = lie
	f := b.sign(t)
	r, err := a.Full(t.Context(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, &r, receipt.Invalid, receipt.CheckTrace, "that of layer 2, position 11")
	f.Opening.Trace = nil
	if r, err = a.Full(t.Context(), f, o); err != nil {
		t.Fatal(err)
	}
	expect(t, &r, receipt.Unverified, receipt.CheckTrace, "that of layer 2, position 11")
}

// TestFullSomeOutputs draws some tokens again, those that the auditor's number
// chooses.
func TestFullSomeOutputs(t *testing.T) {
	e := open(t, "Q4_K_M", engine.Options{Threads: 2})
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	b := answer(t, e, story())
	right := b.sign(t)
	o := options()
	o.Outputs = 10
	r, err := a.Full(t.Context(), right, o)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, &r, receipt.Valid, receipt.CheckComputation, "10 of 24 tokens are right")
	found := 0
	b.transcript.Output[23] ^= 1 // in no state
	wrong := b.sign(t)
	wrong.Opening.Text = nil
	for i := range 60 {
		o.Random[0] = byte(i)
		if r, err = a.Full(t.Context(), wrong, o); err != nil {
			t.Fatal(err)
		}
		if r.Verdict() == receipt.Invalid {
			found++
		}
	}
	// Binomial(60, 10/24): outside of 10 to 40 with probability below 2e-4;
	// the numbers are fixed.
	if found < 10 || found > 40 {
		t.Errorf("a wrong token was found %d times of 60, want about 25", found)
	}
}

// TestFullBeside checks answers with an engine that is answering others.
func TestFullBeside(t *testing.T) {
	e := open(t, "Q4_K_M", engine.Options{Threads: 2})
	a := &audit.Auditor{Engine: e, Model: fingerprint, Pass: 8}
	want := answer(t, e, story())
	f := want.sign(t)
	c := challenge(f, 20, 10, 1)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			if got := answer(t, e, story()); got.transcript.Text != want.transcript.Text || got.claims.Trace != want.claims.Trace {
				t.Errorf("another answer beside an audit: %q, want %q", got.transcript.Text, want.transcript.Text)
			}
		})
		wg.Go(func() {
			r, err := a.Full(t.Context(), f, options())
			if err != nil || r.Verdict() != receipt.Valid {
				t.Errorf("%v\n%s", err, &r)
			}
			o, err := a.Open(t.Context(), f, c)
			if err != nil {
				t.Error(err)
				return
			}
			if r, err = a.Sampled(t.Context(), f, c, o, options().Options); err != nil || r.Verdict() != receipt.Valid {
				t.Errorf("%v\n%s", err, &r)
			}
		})
	}
	wg.Wait()
}
