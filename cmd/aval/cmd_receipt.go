package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/term"

	"github.com/avalnetwork/aval/internal/exhibit"
	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

func newReceiptCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "receipt",
		Short: "Show receipts, and choose what of one others may see",
		Long: `A receipt is a signed statement of about 300 bytes: this model, with these
parameters and this source of randomness, gave an answer of so many tokens to a
prompt of so many. It commits to prompt and answer without showing them; what is
shown is in the receipt's file beside it. "aval run --receipt" and "aval serve"
make receipts, "aval verify" checks them. "aval train" makes receipts of trainings,
which these commands know, too.
` + exitHelp,
		Example: "  aval receipt show out.aval\n  aval receipt open out.aval --output -o answer.aval",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newReceiptShowCommand(a), newReceiptOpenCommand(a), newReceiptExamplesCommand(a))
	return c
}

// receiptFileHelp explains the arguments of commands about receipts.
const receiptFileHelp = `
FILE is the file of a receipt (its name usually ends in .aval), or "-" for
standard input.`

// receiptJSON is what "aval receipt show --json" prints.
type receiptJSON struct {
	exhibit.Exhibit
	// Verdict is that of the checks that need no model; a receipt that passes
	// them is "unverified" as long as nobody computes the answer again.
	Verdict receipt.Verdict `json:"verdict"`
	Checks  []checkJSON     `json:"checks"`
}

type receiptShowOptions struct {
	json, details bool
	html, with    string
}

func newReceiptShowCommand(a *app) *cobra.Command {
	var o receiptShowOptions
	c := &cobra.Command{
		Use:   "show [flags] FILE",
		Short: "Show what a receipt says, and what its file shows",
		Long: `Show tells what a receipt says and makes the checks that need no model: the
signature, the form, and whether what the file shows is what was signed. Whether
the model really gives this answer is for "aval verify". If a check fails, the
exit code is 1.
` + receiptFileHelp + "\n" + exitHelp,
		Example: "  aval receipt show out.aval\n  aval receipt show --json out.aval\n  aval receipt show --html out.html out.aval",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.receiptShow(c.Context(), &o, args[0]) },
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.BoolVar(&o.details, "details", false, "also what experts want to know")
	f.StringVar(&o.html, "html", "", "write a page of HTML to this file instead")
	f.StringVar(&o.with, "with", "", "show what was sealed for the auditor whose private key is in this file")
	return c
}

// errChecks ends a command whose output already tells which check failed.
var errChecks = errors.New("the receipt is not valid")

func (a *app) receiptShow(ctx context.Context, o *receiptShowOptions, path string) error {
	data, err := a.readInput(ctx, path)
	if err != nil {
		return err
	}
	if training.Is(data) {
		return a.showTraining(o, path, data)
	}
	f, err := parseReceipt(path, data)
	if err != nil {
		return err
	}
	if o.with != "" {
		if f.Opening, err = unseal(f, o.with); err != nil {
			return err
		}
	}
	checks := f.Check(receipt.Options{Now: time.Now()})
	switch {
	case o.json:
		err = a.printJSON(receiptJSON{exhibit.Of(f), checks.Verdict(), checksJSON(&checks)})
	default:
		err = a.tell(report.New(report.Input{File: f, Checks: checks}), o.html, o.details)
	}
	if err == nil && checks.Verdict() == receipt.Invalid {
		return errChecks
	}
	return err
}

// tell writes a report to standard output, or as a page to a file.
func (a *app) tell(r *report.Report, page string, details bool) error {
	if page != "" {
		return writeFile(page, []byte(r.Page()), 0o600) // it may show what only its owner should see
	}
	_, err := fmt.Fprint(a.out, r.Text(a.columns(), details))
	return err
}

// columns is the width of the terminal.
func (a *app) columns() int {
	const usual = 80
	if f, ok := a.out.(*os.File); ok && a.outTerminal {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return min(w, 100)
		}
	}
	return usual
}

// readReceipt reads the file of a receipt, or standard input.
func (a *app) readReceipt(ctx context.Context, path string) (*receipt.File, error) {
	data, err := a.readInput(ctx, path)
	if err != nil {
		return nil, err
	}
	if training.Is(data) {
		return nil, fmt.Errorf("%s is the receipt of a training; \"aval verify\" and \"aval receipt\" know what to do with it", path)
	}
	return parseReceipt(path, data)
}

func parseReceipt(path string, data []byte) (*receipt.File, error) {
	f, err := receipt.ParseFile(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// readInput reads a file, or standard input if its name is "-".
func (a *app) readInput(ctx context.Context, path string) ([]byte, error) {
	if path == "-" {
		return readText(ctx, a.in, "standard input")
	}
	return readFile(ctx, path)
}

// unseal opens the box of a file that is for the key in another file.
func unseal(f *receipt.File, keyFile string) (*receipt.Opening, error) {
	text, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("--with: %w", err)
	}
	key, err := receipt.ParseAuditorSecret(string(text))
	if err != nil {
		return nil, usageErrorf("--with %s: %w", keyFile, err)
	}
	if len(f.Sealed) == 0 {
		return nil, fmt.Errorf("--with: nothing is sealed in the receipt's file")
	}
	h := f.Receipt.Hash()
	for _, box := range f.Sealed {
		if box.KeyID != key.Public().ID() {
			continue
		}
		return receipt.Unseal(box, h, key)
	}
	return nil, fmt.Errorf("--with: none of the %d sealed boxes is for this key", len(f.Sealed))
}

type receiptOpenOptions struct {
	prompt, output, traceSalt, all, json bool
	ids, seal                            []string
	out, with                            string
	training                             trainingOpenOptions
}

// openJSON is what "aval receipt open --json" prints.
type openJSON struct {
	ID    string   `json:"id"`
	Path  string   `json:"path"`
	Shown []string `json:"shown"`
	// Sealed is how many auditors can read what is not shown.
	Sealed int `json:"sealed"`
}

func newReceiptOpenCommand(a *app) *cobra.Command {
	var o receiptOpenOptions
	c := &cobra.Command{
		Use:   "open [flags] FILE -o OUT",
		Short: "Write a file of the same receipt that shows only a part",
		Long: `Open writes a new file with the receipt of FILE, unchanged, that shows only what
the flags name: without any, the bare receipt, which shows nothing. FILE must show
it itself. Each part is proved to be what was signed, and gives nothing away about
the parts that are not shown.

Tokens are counted from 0: those of the prompt first, those of the answer after
them. With --for, what is chosen (without a choice: everything) is not shown but
sealed, so that only that auditor can read it.

The receipt of a training shows none of its examples; --settings, --course, --steps
and --salts choose what of the rest is shown.
` + receiptFileHelp + "\n" + exitHelp,
		Example: `  aval receipt open out.aval -o bare.aval                      # prompt and answer stay private
  aval receipt open out.aval --output -o answer.aval           # the answer, not the prompt
  aval receipt open out.aval --ids 12:20 -o some.aval          # tokens 12 to 19
  aval receipt open out.aval --for auditor.pub -o sealed.aval
  aval receipt open sealed.aval --with auditor.key --all -o all.aval`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			given := map[string]bool{}
			c.Flags().Visit(func(f *pflag.Flag) { given[f.Name] = true })
			return a.receiptOpen(c.Context(), &o, args[0], given)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.prompt, "prompt", false, "show the prompt: its text, its tokens, and what limits the answer")
	f.BoolVar(&o.output, "output", false, "show the answer: its text and its tokens")
	f.StringArrayVar(&o.ids, "ids", nil, "FROM:TO, show the tokens FROM to TO-1 (may be repeated)")
	f.BoolVar(&o.traceSalt, "trace-salt", false, "show the salt of the trace, which lets others test guesses of the prompt")
	f.BoolVar(&o.all, "all", false, "show everything")
	f.StringArrayVar(&o.seal, "for", nil, "KEY of an auditor, or a file with it: seal instead of showing (may be repeated)")
	f.StringVar(&o.with, "with", "", "private key of an auditor: take what was sealed for it")
	o.training.add(c)
	f.StringVarP(&o.out, "output-file", "o", "", "file to write")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) receiptOpen(ctx context.Context, o *receiptOpenOptions, path string, given map[string]bool) error {
	if o.out == "" {
		return usageErrorf("-o OUT is missing: the file to write")
	}
	auditors, err := auditorKeys(ctx, "--for", o.seal)
	if err != nil {
		return err
	}
	data, err := a.readInput(ctx, path)
	if err != nil {
		return err
	}
	if training.Is(data) {
		if err := notFor(given, "a training", answerOpenFlags); err != nil {
			return err
		}
		return a.openTraining(o, path, data)
	}
	if err := notFor(given, "an answer", trainingOpenFlags); err != nil {
		return err
	}
	f, err := parseReceipt(path, data)
	if err != nil {
		return err
	}
	if o.with != "" {
		if f.Opening, err = unseal(f, o.with); err != nil {
			return err
		}
	}
	checks := f.Check(receipt.Options{})
	if bad := checks.Failed(); bad != nil {
		return fmt.Errorf("%s: %w: %s", path, errChecks, bad)
	}
	shown, err := o.choose(f, len(auditors) > 0)
	if err != nil {
		return err
	}
	out := &receipt.File{Receipt: f.Receipt, Opening: shown}
	h := f.Receipt.Hash()
	if len(auditors) > 0 {
		out.Opening = nil
		for _, key := range auditors {
			box, err := receipt.Seal(shown, h, key)
			if err != nil {
				return err
			}
			out.Sealed = append(out.Sealed, box)
		}
	}
	if err := writeReceipt(o.out, out); err != nil {
		return err
	}
	j := openJSON{ID: h.String(), Path: o.out, Shown: notNil(partNames(out.Opening)), Sealed: len(out.Sealed)}
	if o.json {
		return a.printJSON(j)
	}
	what := strings.Join(j.Shown, ", ")
	if what == "" {
		what = "nothing"
	}
	if j.Sealed > 0 {
		what = "nothing, but to the auditors it was sealed for"
	}
	a.note("%s shows %s", o.out, what)
	return nil
}

// choose is the opening that shows what was asked for; nil shows nothing.
func (o *receiptOpenOptions) choose(f *receipt.File, seal bool) (*receipt.Opening, error) {
	var want receipt.Part
	for _, w := range []struct {
		on   bool
		part receipt.Part
	}{{o.prompt, receipt.WholePrompt}, {o.output, receipt.WholeOutput}, {o.traceSalt, receipt.PartTrace}} {
		if w.on {
			want |= w.part
		}
	}
	nothing := want == 0 && len(o.ids) == 0 && !o.all
	if nothing && !seal {
		return nil, nil
	}
	from := f.Opening
	if from == nil {
		return nil, fmt.Errorf("the file shows nothing of its receipt, so that nothing can be passed on; --with opens what was sealed")
	}
	if o.all || nothing {
		return from, nil
	}
	if missing := want &^ from.Parts(); missing != 0 {
		return nil, fmt.Errorf("the file does not show this itself: %s", strings.Join(namesOf(missing), ", "))
	}
	shown := from.Select(want)
	for _, r := range o.ids {
		if err := addRange(shown, from, r); err != nil {
			return nil, err
		}
	}
	return shown, nil
}

// addRange shows tokens from:to of prompt and answer.
func addRange(shown, from *receipt.Opening, text string) error {
	a, b, ok := strings.Cut(text, ":")
	lo, err1 := strconv.Atoi(a)
	hi, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || lo < 0 || hi <= lo {
		return usageErrorf("--ids %q: want FROM:TO, as 12:20", clip(text))
	}
	if from.Prompt == nil || from.Output == nil {
		return fmt.Errorf("the file does not show all tokens itself, which a proof of some needs")
	}
	p := len(from.Prompt.IDs)
	if n := p + len(from.Output.IDs); hi > n {
		return usageErrorf("--ids %s: there are %d tokens, 0 to %d", text, n, n-1)
	}
	if lo < p {
		r, err := from.PromptRange(lo, min(hi, p))
		if err != nil {
			return err
		}
		shown.PromptRanges = append(shown.PromptRanges, r)
	}
	if hi > p {
		r, err := from.OutputRange(max(lo-p, 0), hi-p)
		if err != nil {
			return err
		}
		shown.OutputRanges = append(shown.OutputRanges, r)
	}
	return nil
}

// namesOf names parts of an opening.
func namesOf(p receipt.Part) []string {
	var names []string
	for i, name := range []string{"source", "bias", "extra", "prompt ids", "output ids", "text", "trace salt"} {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// partNames names what an opening shows.
func partNames(o *receipt.Opening) []string {
	if o == nil {
		return nil
	}
	names := namesOf(o.Parts())
	if len(o.PromptRanges) > 0 {
		names = append(names, "prompt range")
	}
	if len(o.OutputRanges) > 0 {
		names = append(names, "output range")
	}
	return names
}
