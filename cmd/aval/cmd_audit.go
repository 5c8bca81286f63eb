package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

const auditHelp = `
An audit by messages has three steps:
  the one who checks   aval audit ask FILE -o challenge
  the one who answered aval audit answer FILE challenge -o opening
  the one who checks   aval verify --challenge challenge --opening opening FILE
The receipt must have been made with --trace. The challenge chooses places of the
computation by chance, after the receipt was signed; the opening shows what was
computed there, and each place is computed again by itself.`

func newAuditCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "audit",
		Short: "Ask whoever made a receipt to show parts of the computation",
		Long: `Audit checks a receipt by a sample, with the help of the one who made it, at a
fraction of the work of computing the answer again.
` + auditHelp + "\n" + exitHelp,
		Example: "  aval audit ask out.aval -o challenge\n  aval audit answer out.aval challenge -o opening",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAuditAskCommand(a), newAuditAnswerCommand(a))
	return c
}

type auditOptions struct {
	modelOptions
	loraOptions
	model, sample, out, with string
}

func newAuditAskCommand(a *app) *cobra.Command {
	var o auditOptions
	c := &cobra.Command{
		Use:   "ask [flags] FILE -o CHALLENGE",
		Short: "Choose by chance which parts of the computation to see",
		Long: `Ask writes a challenge for the receipt in FILE. Keep it: "aval verify" wants to see
that an opening answers this challenge and no other.
` + auditHelp + "\n" + receiptFileHelp + modelHelp + "\n" + exitHelp,
		Example: "  aval audit ask out.aval -o challenge\n  aval audit ask --sample 0.1 --model model.gguf out.aval -o challenge",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.auditAsk(c.Context(), &o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.sample, "sample", "auto", "share of the places to see: "+sampleHelp+` (auto: finds one wrong place in twenty with 99 %, and one wrong token in five if the rest is right; thorough: also one wrong token in twenty)`)
	f.StringVar(&o.model, "model", "", "MODEL of the receipt, whose number of layers is asked for")
	f.StringVarP(&o.out, "output-file", "o", "", "file to write")
	return c
}

func newAuditAnswerCommand(a *app) *cobra.Command {
	var o auditOptions
	c := &cobra.Command{
		Use:   "answer [flags] FILE CHALLENGE -o OPENING",
		Short: "Show the parts of the computation that a challenge chooses",
		Long: `Answer computes again what the receipt in FILE is about and writes the parts that
CHALLENGE chooses. FILE must show everything, as it does where the receipt was made.
An opening can reveal parts of the prompt to whoever gets it.
` + auditHelp + "\n" + receiptFileHelp + modelHelp + "\n" + exitHelp,
		Example: "  aval audit answer --model model.gguf out.aval challenge -o opening",
		Args:    cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.auditAnswer(c.Context(), &o, args[0], args[1])
		},
	}
	f := c.Flags()
	f.StringVar(&o.model, "model", "", "MODEL of the receipt (default: the one of the store with its fingerprint)")
	o.loraOptions.add(f, "an adapter of the receipt, in its order; the scale is the receipt's")
	f.StringVar(&o.with, "with", "", "private key of an auditor: take what was sealed for it")
	f.StringVarP(&o.out, "output-file", "o", "", "file to write")
	o.addThreads(f)
	return c
}

var errNoTrace = errors.New("the receipt has no trace, so that parts of the computation cannot be shown; verify it as a whole")

// newChallenge asks for a share of the places of a receipt.
func newChallenge(f *receipt.File, sample string, layers int) (*audit.Challenge, error) {
	c := f.Receipt.Claims()
	if c.Trace.IsZero() {
		return nil, errNoTrace
	}
	all := audit.Kinds{Layers: layers * positions(&c), Outputs: c.OutputTokens}
	var n audit.Kinds
	if sample == "auto" {
		n = audit.DefaultSample(all)
	} else {
		var err error
		if n.Layers, err = sampleSize(sample, all.Layers); err != nil {
			return nil, err
		}
		if n.Outputs, err = sampleSize(sample, all.Outputs); err != nil {
			return nil, err
		}
	}
	ch := &audit.Challenge{Receipt: f.Receipt.Hash(), Layers: n.Layers, Outputs: n.Outputs}
	_, _ = rand.Read(ch.Random[:]) // never fails
	return ch, nil
}

// positions is how many positions the model of a receipt read.
func positions(c *receipt.Claims) int { return c.PromptTokens + c.OutputTokens - 1 }

func (a *app) auditAsk(ctx context.Context, o *auditOptions, path string) error {
	if o.out == "" {
		return usageErrorf("-o CHALLENGE is missing: the file to write")
	}
	if _, err := sampleSize(o.sample, 1); err != nil {
		return err
	}
	f, err := a.readReceipt(ctx, path)
	if err != nil {
		return err
	}
	claims := f.Receipt.Claims()
	where, found, err := a.modelFor(ctx, o.model, claims.Model)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w: how many layers the receipt's model has is not known; name it with --model", errNoModel)
	}
	layers, err := layersOf(where.path)
	if err != nil {
		return err
	}
	ch, err := newChallenge(f, o.sample, layers)
	if err != nil {
		return err
	}
	data, err := ch.Encode()
	if err != nil {
		return err
	}
	if err := writeFile(o.out, data, 0o600); err != nil { // known too early, it tells a liar where to be honest
		return err
	}
	s := scopeOfChallenge(ch, layers, &claims)
	a.note("asks for %d of %d places; if one in twenty is wrong, that shows with a probability of %.2f %%", s.Places, s.Of, 100*s.Chance)
	if len(s.Tokens) == 0 {
		a.note("every token is among them")
	}
	for _, t := range s.Tokens {
		a.note("if only tokens are wrong, one in %.0f, that shows with a probability of %.2f %%", 1/t.Share, 100*t.Chance)
	}
	return nil
}

// scopeOfChallenge tells what a challenge finds: the tokens also alone, as they
// are few places, and all that is wrong in the text of another model.
func scopeOfChallenge(ch *audit.Challenge, layers int, c *receipt.Claims) *report.Scope {
	all := audit.Kinds{Layers: layers * positions(c), Outputs: c.OutputTokens}
	n := audit.Kinds{Layers: min(ch.Layers, all.Layers), Outputs: min(ch.Outputs, all.Outputs)}
	s := &report.Scope{Places: n.Layers + n.Outputs, Of: all.Layers + all.Outputs, Share: audit.DefaultShare}
	s.Chance = audit.DetectionOf(all, audit.ShareOf(s.Of, s.Share), n)
	if n.Outputs < all.Outputs {
		for _, share := range []float64{audit.OutputShare, audit.DefaultShare} {
			s.Tokens = append(s.Tokens, report.Found{Share: share, Chance: audit.Detection(all.Outputs, audit.ShareOf(all.Outputs, share), n.Outputs)})
		}
	}
	return s
}

// layersOf reads how many layers a model has from its header.
func layersOf(path string) (int, error) {
	f, err := gguf.Inspect(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	arch, _ := f.String("general.architecture")
	n, ok := f.Uint(arch + ".block_count")
	if !ok || n == 0 || n > trace.MaxLayers {
		return 0, fmt.Errorf("%w: %s does not say how many layers it has", errBadModel, path)
	}
	return int(n), nil
}

func (a *app) auditAnswer(ctx context.Context, o *auditOptions, path, challenge string) error {
	if o.out == "" {
		return usageErrorf("-o OPENING is missing: the file to write")
	}
	if err := o.check(); err != nil {
		return err
	}
	f, err := a.readReceipt(ctx, path)
	if err != nil {
		return err
	}
	if o.with != "" {
		if f.Opening, err = unseal(f, o.with); err != nil {
			return err
		}
	}
	ch, err := readChallenge(ctx, challenge)
	if err != nil {
		return err
	}
	claims := f.Receipt.Claims()
	if claims.Trace.IsZero() {
		return errNoTrace
	}
	where, found, err := a.modelFor(ctx, o.model, claims.Model)
	if err != nil {
		return err
	}
	if !found {
		return fmt.Errorf("%w with the receipt's fingerprint is known on this machine; name it with --model", errNoModel)
	}
	m, check, err := a.openModel(ctx, where, &claims, o.modelOptions, &o.loraOptions)
	if err != nil {
		return err
	}
	if check != nil {
		return errors.New(check.Detail)
	}
	defer m.close()
	if m.engine == nil {
		return fmt.Errorf("the receipt is for the model %v, %s is %v", claims.Model, where.name, m.root)
	}
	auditor := m.auditor()
	show, end := a.counting("computing the answer again")
	auditor.Progress = show
	opening, err := auditor.Open(ctx, f, ch)
	end()
	if err != nil {
		return err
	}
	data, err := opening.Encode()
	if err != nil {
		return err
	}
	return writeFile(o.out, data, 0o600)
}

func readChallenge(ctx context.Context, path string) (*audit.Challenge, error) {
	data, err := readFile(ctx, path)
	if err != nil {
		return nil, err
	}
	ch, err := audit.DecodeChallenge(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return ch, nil
}

// auditOpened checks what the prover opened for a challenge, or asks it to.
func (a *app) auditOpened(ctx context.Context, o *verifyOptions, opt receipt.Options, f *receipt.File, auditor *audit.Auditor) (receipt.Report, *report.Scope, error) {
	none := receipt.Report{}
	claims := f.Receipt.Claims()
	layers := auditor.Engine.Config().Layers
	var (
		ch   *audit.Challenge
		data []byte
		err  error
	)
	ask := o.ask
	if o.prover != "" {
		ask = func(ctx context.Context, ch *audit.Challenge) ([]byte, error) { return a.askProver(ctx, o, ch) }
	}
	if ask != nil {
		sample := o.sample
		if sample == "" {
			sample = "auto"
		}
		if ch, err = newChallenge(f, sample, layers); err == nil {
			data, err = ask(ctx, ch)
		}
	} else if ch, err = readChallenge(ctx, o.challenge); err == nil {
		data, err = readOpening(ctx, o.opening)
	}
	if err != nil {
		return none, nil, err
	}
	opening, err := trace.Decode(data)
	if err != nil {
		checks := f.Check(opt)
		checks.Add(receipt.Check{Name: receipt.CheckTrace, Verdict: receipt.Invalid, Detail: err.Error()})
		return checks, nil, nil
	}
	checks, err := auditor.Sampled(ctx, f, ch, opening, opt)
	scope := scopeOfChallenge(ch, layers, &claims)
	scope.Given = ask == nil
	return checks, scope, err
}

// readOpening reads a file that may be larger than a text.
func readOpening(ctx context.Context, path string) ([]byte, error) {
	return readBounded(ctx, path, trace.MaxOpening)
}

// askProver sends a challenge to the server that made the receipt.
func (a *app) askProver(ctx context.Context, o *verifyOptions, ch *audit.Challenge) ([]byte, error) {
	u, err := url.Parse(o.prover)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, usageErrorf("--prover %q: want the address of the receipt, as http://host:11434/v1/receipts/rcpt-...", clip(o.prover))
	}
	body, err := ch.Encode()
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(u.String(), "/")+"/audit", bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", "application/cbor")
	if key := a.getenv("AVAL_API_KEY"); key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, fmt.Errorf("the prover: %w", err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, trace.MaxOpening+1))
	if err != nil {
		return nil, fmt.Errorf("the prover: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the prover refuses: %s: %s", resp.Status, quoteLine(clip(strings.TrimSpace(string(data)))))
	}
	return data, nil
}
