package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/models"
)

type runOptions struct {
	modelOptions
	loraOptions
	samplingOptions
	receiptOptions
	netOptions
	verify, via                            string // of models on other devices
	report                                 bool
	raw, json, verbose, noThink, ignoreEOS bool
	seeded                                 bool   // the command line has a --seed
	opening                                string // the prompt if there is none, not on a terminal
	system, date                           string
}

// runJSON is what "aval run --json" prints.
type runJSON struct {
	Model        string      `json:"model"`
	PromptIDs    []int32     `json:"prompt_ids"`
	IDs          []int32     `json:"ids"`
	Text         string      `json:"text"`
	Stop         string      `json:"stop"` // eos, stop, length
	StopText     string      `json:"stop_text,omitempty"`
	PromptTokens int         `json:"prompt_tokens"`
	Tokens       int         `json:"tokens"`
	Seed         uint64      `json:"seed"`
	Timings      timingsJSON `json:"timings"`
	// Receipt is there with --receipt.
	Receipt *runReceiptJSON `json:"receipt,omitempty"`
}

// runReceiptJSON names the receipt of an answer.
type runReceiptJSON struct {
	ID   string `json:"id"` // hash of the receipt
	Path string `json:"path"`
	// Of a model of another device: what shows there, for so long, that its holder
	// may have the receipt opened, or dispute it.
	Ticket      string `json:"ticket,omitempty"`
	KeptSeconds int    `json:"kept_seconds,omitempty"`
}

type timingsJSON struct {
	LoadSeconds           float64 `json:"load_seconds"`
	PromptSeconds         float64 `json:"prompt_seconds"`
	PromptTokensPerSecond float64 `json:"prompt_tokens_per_second"`
	DecodeSeconds         float64 `json:"decode_seconds"`
	DecodeTokensPerSecond float64 `json:"decode_tokens_per_second"`
}

func newRunCommand(a *app) *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run [flags] [MODEL [PROMPT...]]",
		Short: "Answer a prompt, or chat",
		Long: `Run answers PROMPT, or, on a terminal without one, starts a chat. Without PROMPT
and without a terminal the prompt is standard input; a PROMPT of "-" stands for
standard input too, so that both can be joined. Without MODEL it uses the small
one that is built in, aval-mini, which goes on with what you begin: no download,
no network.

The prompt is put into the model's own chat template, unless the model has none
or --raw is given. A prompt that does not fit the context is refused, never cut.
The default seed is 0: the same command gives the same answer everywhere.

With --receipt the answer gets a signed receipt, which "aval verify" checks: that
the answer was not changed, and, with the model, that this model gave it. The
file shows prompt and answer unless --privacy says otherwise. See "aval receipt".

MODEL can be on another device: peer://ID/MODEL?addr=ADDRESS, the link that "aval net
up --serve MODEL" prints there. It answers if its owner lets you ("aval access grant").
A nonce is made for the question, and the receipt that comes back is checked: that it
is signed by that device, for this prompt and this nonce, and names this answer. If
this machine has the model, the answer is computed again while it comes, and given up
at the first false token, unless --receipt keeps it (--verify). In a chat each answer
is checked, and a false one forgotten. With --via a relay carries the questions sealed,
so that the device does not see who asks.
` + modelHelp + "\n" + loraHelp + "\n" + exitHelp,
		Example: `  aval run                                               # the built-in model
  aval run aval-mini "The prince looked at"
  aval run model.gguf                                    # chat
  aval run smollm2 "Why is the sky blue?"
  cat report.txt | aval run smollm2 "Summarise this:" -
  aval run --raw --temperature 0 --max-tokens 64 model.gguf "Once upon a time"
  aval run --schema person.json smollm2 "Invent a person"
  aval run --lora poems.gguf --lora brief.gguf=0.5 smollm2 "Tell me of the sea"
  aval run --receipt sky.aval --nonce 00112233445566778899 smollm2 "Why is the sky blue?"
  aval run 'peer://12D3Koo.../smollm2?addr=/ip4/192.0.2.1/udp/4710/quic-v1' "Why is the sky blue?"`,
		RunE: func(c *cobra.Command, args []string) error {
			o.seeded = c.Flags().Changed("seed")
			if len(args) == 0 {
				args, o.opening = []string{models.MiniName}, "It was"
			}
			if isPeerModel(args[0]) {
				return a.runPeer(c.Context(), c, &o, args[0], args[1:])
			}
			for _, name := range append([]string{"verify", "via", "report"}, startFlags...) {
				if c.Flags().Changed(name) {
					return usageErrorf("--%s is about models of other devices: peer://ID/MODEL", name)
				}
			}
			return a.run(c.Context(), &o, args[0], args[1:])
		},
	}
	f := c.Flags()
	o.promptFlags(f)
	f.BoolVar(&o.ignoreEOS, "ignore-eos", false, "go on after the model says it is done (for measurements)")
	o.modelOptions.add(f)
	o.loraOptions.add(f, "change the model by this adapter")
	o.samplingOptions.add(f)
	o.receiptOptions.add(f)
	o.verifyFlag(f)
	f.StringVar(&o.via, "via", "", "link of a relay that carries the question sealed to another device")
	f.BoolVar(&o.report, "report", false, "note in the shared directory how asking another device went: everybody can read that you asked")
	o.netOptions.hiddenFlags(c)
	return c
}

// promptFlags are the flags that say how something is asked, and told.
func (o *runOptions) promptFlags(f *pflag.FlagSet) {
	f.BoolVar(&o.raw, "raw", false, "give the prompt to the model as it is, without a chat template")
	f.StringVar(&o.system, "system", "", "system message: who the model should be")
	f.BoolVar(&o.noThink, "no-think", false, "ask models that can to answer without thinking first")
	f.StringVar(&o.date, "date", "", "today's date as YYYY-MM-DD, for templates that tell it to the model")
	f.BoolVar(&o.json, "json", false, "print one JSON object instead of text")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "tell the speed on standard error")
}

func (o *runOptions) verifyFlag(f *pflag.FlagSet) {
	f.StringVar(&o.verify, "verify", verifyAuto, "what is checked of an answer of another device: its receipt; computed again in full, or sampled; none; auto: in full if the model is here")
}

func (a *app) run(ctx context.Context, o *runOptions, model string, words []string) error {
	if err := o.check(); err != nil {
		return err
	}
	r, err := o.request(ctx)
	if err != nil {
		return err
	}
	r.IgnoreEOS = o.ignoreEOS
	wish, err := o.receiptOptions.options(ctx, o.seeded)
	if err != nil {
		return err
	}
	interactive := len(words) == 0 && a.inTerminal
	if interactive && o.json {
		return usageErrorf("--json needs a PROMPT, or a prompt on standard input")
	}
	if interactive && o.path != "" {
		return usageErrorf("--receipt needs a PROMPT, or a prompt on standard input: a receipt is of one answer, and a chat has many")
	}
	where, err := a.locate(model)
	if errors.Is(err, store.ErrName) && len(words) == 0 && strings.ContainsAny(model, " \t\n") {
		return usageErrorf("%q is no model; a prompt comes after the model, as in: aval run %s %q", clip(model), models.MiniName, clip(model))
	}
	if err != nil {
		return err
	}
	text := ""
	if !interactive {
		text, err = a.promptText(ctx, words)
		if errors.Is(err, engine.ErrEmptyPrompt) && o.opening != "" {
			text, err = o.opening, nil
		} else {
			o.opening = ""
		}
		if err != nil {
			return err
		}
	}
	begin := time.Now()
	lora, err := a.readAdapters(&o.loraOptions, o.path != "")
	if err != nil {
		return err
	}
	defer lora.close()
	var sign *signer
	if o.path != "" {
		if sign, err = a.newSigner(where.path, lora, wish); err != nil {
			return err
		}
		defer sign.close()
	}
	opt := o.engine(a)
	opt.Adapters, opt.Context = lora.models, contextFor(where.name, opt.Context)
	e, err := engine.Open(where.path, opt)
	if err != nil {
		return err
	}
	defer e.Close()
	s := &session{conversation: conversation{app: a, options: o}, engine: e, request: r, name: where.name, load: time.Since(begin), sign: sign}
	s.reply = func(ctx context.Context, text string) (string, bool, error) {
		res, err := s.answer(ctx, text, true)
		if res == nil {
			return "", false, err
		}
		return res.Text, true, err
	}
	if o.system != "" {
		s.messages = append(s.messages, chat.Message{Role: "system", Content: o.system})
	}
	if !o.raw && !e.HasTemplate() {
		o.raw = true
		if isBuiltin(where.name) {
			a.note("aval: %s goes on with what you begin. It has read novels and plays, and knows nothing else", where.name)
		} else {
			a.note("aval: %s has no chat template; the prompt is given to it as it is", where.name)
		}
	}
	if interactive {
		return s.chat(ctx, s.name, e.Context())
	}
	if !o.json {
		fmt.Fprint(a.out, o.opening) // nobody typed it
	}
	return s.once(ctx, text)
}

// promptText joins the arguments, in which "-" stands for standard input.
func (a *app) promptText(ctx context.Context, words []string) (string, error) {
	if len(words) == 0 {
		words = []string{"-"}
	}
	var parts []string
	for _, w := range words {
		if w != "-" {
			parts = append(parts, w)
			continue
		}
		src, err := readText(ctx, a.in, "standard input")
		if err != nil {
			return "", err
		}
		parts = append(parts, strings.TrimRight(string(src), "\r\n"))
	}
	text := strings.Join(parts, " ")
	if text == "" {
		return "", fmt.Errorf("%w (PROMPT, or standard input)", engine.ErrEmptyPrompt)
	}
	return text, nil
}

// session is one open model and, in a chat, what was said.
type session struct {
	conversation
	engine  *engine.Engine
	request engine.Request
	name    string
	load    time.Duration
	sign    *signer // nil without --receipt
	seed    uint64  // of the last answer
}

// once answers a single prompt.
func (s *session) once(ctx context.Context, text string) error {
	res, err := s.answer(ctx, text, !s.options.json)
	if err != nil {
		return err
	}
	var written *runReceiptJSON
	if s.sign != nil {
		if written, err = s.writeReceipt(ctx); err != nil {
			return err
		}
	}
	if !s.options.json {
		return nil
	}
	t := s.timings(res)
	return s.printRow(runJSON{
		Model: s.name, PromptIDs: res.PromptIDs, IDs: notNil(res.IDs), Text: res.Text, Stop: string(res.Stop), StopText: res.StopText,
		PromptTokens: len(res.PromptIDs), Tokens: len(res.IDs), Seed: s.seed, Timings: t, Receipt: written,
	})
}

// answer generates the answer to one prompt or message, and prints it as it
// comes if asked to.
func (s *session) answer(ctx context.Context, text string, show bool) (*engine.Result, error) {
	r := s.request
	var err error
	if s.options.raw {
		r.Prompt, err = s.engine.Tokenize(text, true)
	} else {
		r.Prompt, err = s.engine.Render(s.input(text))
	}
	if err != nil {
		return nil, err
	}
	if s.options.maxTokens == 0 && s.options.context == 0 {
		r.MaxTokens = trainedFor(s.engine.Config().Context, s.engine.Context(), len(r.Prompt))
	}
	if s.sign != nil {
		if err := s.draft(&r, text); err != nil {
			return nil, err
		}
	}
	s.seed = r.Params.Seed
	last := ""
	res, err := s.engine.Generate(ctx, r, func(ev engine.Event) error {
		if !show || ev.Text == "" {
			return nil
		}
		last = ev.Text
		_, err := io.WriteString(s.out, ev.Text)
		return err
	})
	if show && !strings.HasSuffix(last, "\n") && (err == nil || res != nil) {
		fmt.Fprintln(s.out)
	}
	if err == nil && s.options.verbose {
		s.tellSpeed(res)
	}
	if err == nil && s.sign != nil {
		s.sign.draft.Finish(res)
	}
	return res, err
}

// trainedFor bounds an answer that nobody bounded: the context is at least 512
// tokens, but a small model that was trained for less writes nonsense beyond. A
// prompt that goes beyond by itself is not bounded (0).
func trainedFor(trained, context, prompt int) int {
	if trained >= context || prompt >= trained {
		return 0
	}
	return trained - prompt
}

// input is the conversation so far and one more message.
func (s *session) input(text string) chat.Input {
	in := chat.Input{
		Messages:            append(s.messages[:len(s.messages):len(s.messages)], chat.Message{Role: "user", Content: text}),
		AddGenerationPrompt: true,
		Date:                s.options.date,
	}
	if s.options.noThink {
		in.Extra = map[string]any{"enable_thinking": false}
	}
	return in
}

func (s *session) timings(res *engine.Result) timingsJSON {
	t := res.Timings
	return timingsJSON{
		LoadSeconds:           s.load.Seconds(),
		PromptSeconds:         t.Prompt.Seconds(),
		PromptTokensPerSecond: perSecond(len(res.PromptIDs)-t.Reused, t.Prompt),
		DecodeSeconds:         t.Generate.Seconds(),
		DecodeTokensPerSecond: perSecond(len(res.IDs)-1, t.Generate),
	}
}

func (s *session) tellSpeed(res *engine.Result) {
	t := s.timings(res)
	s.note("load %.2f s · prompt %d tokens (%d reused), %.1f tokens/s · answer %d tokens, %.1f tokens/s · stop: %s",
		t.LoadSeconds, len(res.PromptIDs), res.Timings.Reused, t.PromptTokensPerSecond, len(res.IDs), t.DecodeTokensPerSecond, res.Stop)
}

func perSecond(n int, d time.Duration) float64 {
	if n <= 0 || d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// notNil makes an empty list [] in JSON, not null.
func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// gone reports whether the person interrupted.
func gone(err error) bool { return errors.Is(err, context.Canceled) }
