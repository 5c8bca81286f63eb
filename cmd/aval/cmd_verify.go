package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// Exit codes of verify, which are its verdicts.
const (
	exitValid      = 0
	exitInvalid    = 1
	exitUnverified = 2
)

const verifyExitHelp = `
Exit codes:
  0    valid: every check passed and the answer was computed again; with
       --offline: every check passed that needs no model
  1    invalid: a check failed, and the output says which
  2    unverified: no check failed, but the answer could not be computed again;
       also wrong flags, and files that are missing or are no receipts
  130  interrupted`

type verifyOptions struct {
	modelOptions
	loraOptions
	model, sample, nonce, beacon, key string
	prompt, promptFile                string
	// ask has the prover show what a challenge chooses; nil: it is not asked.
	ask                                    func(ctx context.Context, ch *audit.Challenge) ([]byte, error)
	with, html, challenge, opening, prover string
	maxAge                                 time.Duration
	offline, json, details                 bool
	training                               verifyTrainingOptions
	given                                  map[string]bool // flags
}

// verifyJSON is what "aval verify --json" prints.
type verifyJSON struct {
	Verdict receipt.Verdict `json:"verdict"` // valid, invalid, unverified
	Checks  []checkJSON     `json:"checks"`
	ID      string          `json:"id,omitempty"`    // of the receipt, if it can be read
	Model   string          `json:"model,omitempty"` // that the answer was computed with
	Sample  *sampleJSON     `json:"sample,omitempty"`
	// Training tells of the steps of a training that were computed again.
	Training *trainingJSON `json:"training,omitempty"`
}

// checkJSON is one check. Passed is false also if it could not be made; then
// Verdict is "unverified".
type checkJSON struct {
	Name    string          `json:"name"`
	Verdict receipt.Verdict `json:"verdict"`
	Passed  bool            `json:"passed"`
	Detail  string          `json:"detail,omitempty"`
}

// sampleJSON tells of a check of a part.
type sampleJSON struct {
	Places int `json:"places"` // computed again
	Of     int `json:"of"`
	// Chance is the probability to find a forgery of this share of places.
	Share  float64 `json:"share"`
	Chance float64 `json:"chance"`
	// Tokens are such shares of the tokens alone, all else being right.
	Tokens []foundJSON `json:"tokens,omitempty"`
}

// foundJSON is a share of forged places and the probability to find it.
type foundJSON struct {
	Share  float64 `json:"share"`
	Chance float64 `json:"chance"`
}

func checksJSON(r *receipt.Report) []checkJSON {
	out := []checkJSON{}
	for _, c := range r.Checks {
		out = append(out, checkJSON{c.Name, c.Verdict, c.Passed(), c.Detail})
	}
	return out
}

func newVerifyCommand(a *app) *cobra.Command {
	var o verifyOptions
	c := &cobra.Command{
		Use:   "verify [flags] FILE",
		Short: "Check a receipt, and with the model compute the answer again",
		Long: `Verify checks the receipt in FILE: its signature, its form, and that the prompt
and the answer in the file are those that were signed. Then it computes the
answer again and compares every token; only then is a receipt valid.

That takes the model. Without --model it is looked for in the store, among the
models whose fingerprint this machine has computed before; if it is not there, the
receipt stays "unverified", with what was checked. --offline makes the checks that
need no model, and calls a receipt valid that passes them. If the receipt names
adapters, --lora gives their files, unless the store has them.

What you know of the answer goes into flags: with --nonce a receipt of an older or
other answer does not pass, with --key only one of that signer does.
` + verifyTrainingHelp + `
` + receiptFileHelp + modelHelp + "\n" + verifyExitHelp,
		Example: `  aval verify out.aval
  aval verify --model model.gguf --nonce 00112233445566778899 out.aval
  aval verify --offline --json out.aval
  aval verify --model model.gguf --html out.html out.aval`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			o.given = map[string]bool{}
			c.Flags().Visit(func(f *pflag.Flag) { o.given[f.Name] = true })
			return asVerdict(a.verify(c.Context(), &o, args[0]))
		},
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", "MODEL to compute with; it must be the one that the receipt names")
	o.loraOptions.add(f, "an adapter of the receipt, in its order; with SCALE the receipt must name this one")
	f.StringVar(&o.sample, "sample", "", "draw again only a share of the tokens, chosen by chance: "+sampleHelp+" (auto: finds one wrong token in twenty with 99 %; with --prover, as in \"aval audit ask\")")
	f.StringVar(&o.challenge, "challenge", "", "the challenge that \"aval audit ask\" wrote")
	f.StringVar(&o.opening, "opening", "", "what the prover opened for it: check this instead of computing everything")
	f.StringVar(&o.prover, "prover", "", "URL of the receipt at the server that made it: send it a challenge and check what it opens (with --sample)")
	f.BoolVar(&o.offline, "offline", false, "do not compute the answer again")
	f.StringVar(&o.nonce, "nonce", "", "the receipt must be for this nonce, as HEX")
	f.StringVar(&o.beacon, "beacon", "", "the receipt must be for this value, as NAME:ROUND:HEX")
	f.StringVar(&o.key, "key", "", "the receipt must be signed by this key (\"aval key\" shows one)")
	f.StringVar(&o.prompt, "prompt", "", "the prompt, or the last message, must be this text")
	f.StringVar(&o.promptFile, "prompt-file", "", "the same, in a file")
	f.DurationVar(&o.maxAge, "max-age", 0, "the receipt must not be older (as 10m or 24h)")
	f.StringVar(&o.with, "with", "", "private key of an auditor: check what was sealed for it")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.details, "details", false, "also what experts want to know")
	f.StringVar(&o.html, "html", "", "write a page of HTML to this file instead")
	o.training.add(f)
	o.addThreads(f)
	return c
}

// notFor refuses flags that mean nothing for a kind of receipts.
func notFor(given map[string]bool, what string, flags []string) error {
	for _, name := range flags {
		if given[name] {
			return usageErrorf("--%s means nothing for the receipt of %s", name, what)
		}
	}
	return nil
}

// verdictError ends a command with the exit code of a verdict. Its output has
// told the rest, unless there is an error.
type verdictError struct {
	code int
	err  error
}

func (e *verdictError) Error() string {
	if e.err == nil {
		return ""
	}
	return e.err.Error()
}

func (e *verdictError) Unwrap() error { return e.err }

// asVerdict gives what went wrong otherwise the exit code of a receipt that
// could not be checked.
func asVerdict(err error) error {
	var v *verdictError
	if err == nil || errors.As(err, &v) || errors.Is(err, context.Canceled) {
		return err
	}
	return &verdictError{exitUnverified, err}
}

// verification is a receipt on its way to a verdict.
type verification struct {
	file   *receipt.File // nil if it cannot be read
	checks receipt.Report
	// strange says that the bytes are no receipt at all.
	strange bool
	model   string // that the answer was computed with
	scope   *report.Scope
}

func (a *app) verify(ctx context.Context, o *verifyOptions, path string) error {
	opt, err := o.expect()
	if err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		if path, err = o.ofRun(path); err != nil {
			return err
		}
	}
	data, err := a.readInput(ctx, path)
	if err != nil {
		return a.unreadable(o, err)
	}
	if training.Is(data) {
		if err := notFor(o.given, "a training", answerFlags); err != nil {
			return err
		}
		return a.verifyTraining(ctx, o, opt, data)
	}
	if err := notFor(o.given, "an answer", trainingFlags); err != nil {
		return err
	}
	v, err := o.offlineChecks(ctx, data, opt)
	if err != nil {
		return err
	}
	own, err := o.ownChecks(ctx, v.file)
	if err != nil {
		return err
	}
	if v.file != nil && v.checks.Failed() == nil && own.Failed() == nil && !o.offline {
		var usage usageError
		switch err := a.compute(ctx, o, opt, v); {
		case err == nil:
		case errors.Is(err, context.Canceled), errors.As(err, &usage):
			return err
		default: // what was checked until then is still worth telling
			a.fail(err)
			v.checks.Add(receipt.Check{Name: receipt.CheckComputation, Verdict: receipt.Unverified, Detail: "not computed again: " + err.Error()})
		}
	}
	v.checks.Add(own.Checks...)
	return a.conclude(o, v)
}

// unreadable tells, for programs too, that there is nothing to check.
func (a *app) unreadable(o *verifyOptions, err error) error {
	if !o.json || errors.Is(err, context.Canceled) {
		return err
	}
	check := checkJSON{Name: receipt.CheckFile, Verdict: receipt.Unverified, Detail: err.Error()}
	return errors.Join(err, a.printJSON(verifyJSON{Verdict: receipt.Unverified, Checks: []checkJSON{check}}))
}

// expect turns the flags into what a receipt must say.
func (o *verifyOptions) expect() (receipt.Options, error) {
	opt := receipt.Options{Now: time.Now(), MaxAge: o.maxAge}
	if err := o.check(); err != nil {
		return opt, err
	}
	if o.maxAge < 0 {
		return opt, usageErrorf("--max-age is %v, want more than 0", o.maxAge)
	}
	if o.offline && o.model != "" {
		return opt, usageErrorf("--offline and --model exclude each other")
	}
	if o.offline && len(o.lora) > 0 {
		return opt, usageErrorf("--offline and --lora exclude each other")
	}
	if _, err := o.wanted(); err != nil {
		return opt, err
	}
	if (o.challenge == "") != (o.opening == "") {
		return opt, usageErrorf("--challenge and --opening go together: the challenge that you sent, and what came back")
	}
	if o.prover != "" && o.opening != "" {
		return opt, usageErrorf("--prover and --opening exclude each other")
	}
	if o.offline && (o.opening != "" || o.prover != "" || o.sample != "") {
		return opt, usageErrorf("--offline computes nothing; it does not go with --sample, --opening and --prover")
	}
	if o.sample != "" {
		if _, err := sampleSize(o.sample, 1); err != nil {
			return opt, err
		}
	}
	if o.prompt != "" && o.promptFile != "" {
		return opt, usageErrorf("--prompt and --prompt-file exclude each other")
	}
	var err error
	if o.nonce != "" {
		seed, err := parseNonce(o.nonce)
		if err != nil {
			return opt, err
		}
		opt.Expect.Nonce = seed.Nonce
	}
	if o.beacon != "" && o.nonce != "" {
		return opt, usageErrorf("--beacon and --nonce exclude each other")
	}
	if o.key != "" {
		if opt.Expect.Key, err = receipt.ParseNodeKey(o.key); err != nil {
			return opt, usageErrorf("--key: %w", err)
		}
	}
	return opt, nil
}

// marks are found in every receipt, at its beginning and further on: one that
// was damaged in one place still has the other.
var marks = [][]byte{{0x84, 0x43, 0xa1, 0x01, 0x27, 0xa0}, []byte("\x66aval/")}

// offlineChecks makes the checks that need no model.
func (o *verifyOptions) offlineChecks(ctx context.Context, data []byte, opt receipt.Options) (*verification, error) {
	v := &verification{}
	f, err := receipt.ParseFile(data)
	if err != nil {
		v.checks = receipt.Offline(data, opt) // names the check
		v.strange = !bytes.Contains(data, marks[0]) && !bytes.Contains(data, marks[1])
		return v, nil
	}
	v.file = f
	if o.with != "" {
		if f.Opening, err = unseal(f, o.with); err != nil {
			return nil, err
		}
	}
	v.checks = f.Check(opt)
	return v, nil
}

// checkPromptText names the check of --prompt.
const checkPromptText = "prompt"

// ownChecks are those of flags that the package receipt does not know.
func (o *verifyOptions) ownChecks(ctx context.Context, f *receipt.File) (r receipt.Report, err error) {
	want := o.prompt
	if o.promptFile != "" {
		b, err := readFile(ctx, o.promptFile)
		if err != nil {
			return r, err
		}
		want = string(b)
	}
	if want != "" && f != nil {
		r.Add(comparePrompt(f, want))
	}
	if o.beacon != "" {
		beacon, err := parseBeacon(o.beacon)
		if err != nil {
			return r, err
		}
		if f != nil {
			r.Add(compareBeacon(f, beacon))
		}
	}
	return r, nil
}

func compareBeacon(f *receipt.File, want *receipt.Seed) receipt.Check {
	got := f.Receipt.Claims().Seed
	if got.Kind != want.Kind || got.Beacon != want.Beacon {
		return receipt.Check{Name: receipt.CheckSeed, Verdict: receipt.Invalid, Detail: "not from the expected value of the beacon: a replayed or other receipt"}
	}
	return receipt.Check{
		Name: receipt.CheckSeed, Verdict: receipt.Valid,
		Detail: fmt.Sprintf("from the expected value of round %d of %q and the prompt", want.Beacon.Round, want.Beacon.Name),
	}
}

// comparePrompt holds the prompt, or the last message, against a text.
func comparePrompt(f *receipt.File, want string) receipt.Check {
	if f.Opening == nil || f.Opening.Source == nil {
		return receipt.Check{Name: checkPromptText, Verdict: receipt.Unverified, Detail: "expected, but the receipt's file does not show it"}
	}
	s := &f.Opening.Source.Source
	got := string(s.Text)
	switch {
	case s.Kind == receipt.SourceIDs:
		return receipt.Check{Name: checkPromptText, Verdict: receipt.Unverified, Detail: "expected, but the prompt was given as token ids"}
	case s.Kind == receipt.SourceChat && len(s.Messages) > 0:
		got = s.Messages[len(s.Messages)-1].Content
	}
	if got != want {
		return receipt.Check{Name: checkPromptText, Verdict: receipt.Invalid, Detail: "not the expected text"}
	}
	if e := f.Opening.Extra; s.Kind == receipt.SourceChat && (e != nil && e.Extra.Template != "" || e == nil && f.Receipt.Claims().Params.Extra) {
		return receipt.Check{Name: checkPromptText, Verdict: receipt.Unverified, Detail: "the expected text, but a template that is not the model's may have decided what the model read"}
	}
	return receipt.Check{Name: checkPromptText, Verdict: receipt.Valid, Detail: "the expected text"}
}

// verdict is what the checks say together. With --offline nobody asks for the
// computation.
func (v *verification) verdict(o *verifyOptions) receipt.Verdict {
	if v.strange {
		return receipt.Unverified
	}
	checks := v.checks
	if o.offline {
		checks.Checks = slices.DeleteFunc(slices.Clone(checks.Checks), func(c receipt.Check) bool { return c.Name == receipt.CheckComputation })
	}
	return audit.Verdict(&checks)
}

// checksJSON lists the checks. Where an answer was computed again, its seed was
// one of the inputs: what is open then is only who chose it, which stays in the
// detail.
func (v *verification) checksJSON() []checkJSON {
	list := checksJSON(&v.checks)
	i := slices.IndexFunc(list, func(c checkJSON) bool { return c.Name == receipt.CheckSeed && c.Verdict == receipt.Unverified })
	if i >= 0 && v.computed() {
		list[i].Verdict, list[i].Passed = receipt.Valid, true
		list[i].Detail = "the answer was drawn with it; " + list[i].Detail
	}
	return list
}

// computed reports whether the answer was computed again, and is right.
func (v *verification) computed() bool {
	return slices.ContainsFunc(v.checks.Checks, func(c receipt.Check) bool { return c.Name == receipt.CheckComputation && c.Passed() })
}

// conclude tells the verdict.
func (a *app) conclude(o *verifyOptions, v *verification) error {
	verdict := v.verdict(o)
	var err error
	if o.json {
		j := verifyJSON{Verdict: verdict, Checks: v.checksJSON(), Model: v.model}
		if v.file != nil {
			h := v.file.Receipt.Hash()
			j.ID = h.String()
		}
		if s := v.scope; s != nil {
			j.Sample = &sampleJSON{Places: s.Places, Of: s.Of, Share: s.Share, Chance: s.Chance}
			for _, t := range s.Tokens {
				j.Sample.Tokens = append(j.Sample.Tokens, foundJSON(t))
			}
		}
		err = a.printJSON(j)
	}
	if !o.json || o.html != "" {
		r := report.New(report.Input{File: v.file, Checks: v.checks, Model: v.model, Scope: v.scope})
		err = errors.Join(err, a.tell(r, o.html, o.details))
	}
	if err != nil {
		return err
	}
	return exitOf(verdict)
}

// exitOf is the error of a verdict that has been told: an exit code, or none.
func exitOf(v receipt.Verdict) error {
	switch v {
	case receipt.Valid:
		return nil
	case receipt.Invalid:
		return &verdictError{code: exitInvalid}
	}
	return &verdictError{code: exitUnverified}
}
