// Package fake is a backend for tests of the HTTP server: one model whose tokens
// are bytes and which says what it is told to. Begin with [New] and [Config].
// A prompt is a line "ROLE: TEXT" for each message; what the model makes of the
// last user's text, see [Backend.Open]. It is not for production code.
package fake

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// Time is when everything happens on a server of [Config].
var Time = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// Context is the context of the model, in tokens.
const Context = 1000

// Backend is a backend of one model, "fake:1b".
type Backend struct {
	Info httpapi.ModelInfo

	Opened  atomic.Int64 // models opened and not closed
	Running atomic.Int64 // generations
	// Started, if not nil, receives after the first token of each generation,
	// which goes on when Release sends or is closed.
	Started chan struct{}
	Release chan struct{}
	// Identity is that of the model. Receipts are signed with a key that
	// everybody knows, and their salts are all the same.
	Identity *issuer.Identity
	NoIssuer bool // answers get no receipts

	mu       sync.Mutex
	loaded   bool
	requests []engine.Request
	renders  []chat.Input
}

// New returns a backend that has not been used.
func New() *Backend {
	return &Backend{Identity: issuer.Known(receipt.Hash{31: 1}), Info: httpapi.ModelInfo{
		Name: "fake:1b", Digest: strings.Repeat("0123456789abcdef", 4), Size: 1234, Modified: Time,
		Architecture: "fake", Parameters: "1B", Quantization: "Q8_0", Context: Context, Vocab: 256, Dim: 4,
		Capabilities: []string{"completion", "tools", "embedding"},
	}}
}

// Config is a server of b whose answers are always the same.
func Config(b *Backend) httpapi.Config {
	var n atomic.Uint64
	return httpapi.Config{
		Backend: b, Puller: b, Deleter: b, Version: "1.2.3",
		Now:    func() time.Time { return Time },
		Random: func() uint64 { return n.Add(1) << 11 }, // 1, 2, 3, ... in the upper bits
	}
}

// Requests are the generations asked for so far.
func (f *Backend) Requests() []engine.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.requests)
}

// Renders are the inputs that the chat template got so far.
func (f *Backend) Renders() []chat.Input {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.renders)
}

// Models lists the one model.
func (f *Backend) Models(context.Context) ([]httpapi.ModelInfo, error) {
	return []httpapi.ModelInfo{f.Info}, nil
}

func (f *Backend) check(name string) error {
	if name != f.Info.Name && name != "fake" {
		return fmt.Errorf("model %q: %w", name, httpapi.ErrModelNotFound)
	}
	return nil
}

// Describe shows the one model.
func (f *Backend) Describe(_ context.Context, name string) (*httpapi.ModelDetails, error) {
	if err := f.check(name); err != nil {
		return nil, err
	}
	return &httpapi.ModelDetails{
		ModelInfo: f.Info, Template: "{{ messages }}", License: "Apache-2.0",
		Metadata: []httpapi.KeyValue{{Key: "general.architecture", Value: "fake"}, {Key: "fake.context_length", Value: 1000}},
	}, nil
}

// Open counts in Opened. The model obeys the last user's text. "say TEXT" says
// the text, but "say panic" and "say fail" do that at once and "say break" fails
// after the text. "count" counts for as long as there is room, "params" and
// "seed" tell what the request asks for, "weather" calls a tool and then tells
// its result. With a grammar the answer is the first that fits of a few. To all
// else the model says "Hello!".
func (f *Backend) Open(_ context.Context, name string, opt httpapi.OpenOptions) (httpapi.Model, error) {
	if err := f.check(name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loaded = opt.KeepAlive == nil || *opt.KeepAlive != 0
	f.Opened.Add(1)
	return model{f}, nil
}

// Loaded lists the model if it was opened to stay.
func (f *Backend) Loaded(context.Context) ([]httpapi.LoadedModel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.loaded {
		return nil, nil
	}
	return []httpapi.LoadedModel{{ModelInfo: f.Info, Memory: 2345, Expires: Time.Add(5 * time.Minute)}}, nil
}

// model is an opened Backend.
type model struct{ f *Backend }

func (m model) Info() httpapi.ModelInfo { return m.f.Info }
func (m model) Close()                  { m.f.Opened.Add(-1) }
func (m model) Piece(id int32) []byte   { return []byte{byte(id)} }

// Key signs the receipts of the model.
var Key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func (m model) Issuer() *issuer.Issuer {
	if m.f.NoIssuer {
		return nil
	}
	return issuer.New(issuer.Config{
		Key: Key, Model: m.f.Identity, Context: Context,
		Now: func() time.Time { return Time }, Salt: func() receipt.Salt { return receipt.Salt{1} },
	})
}

func bytesToIDs(s string) []int32 {
	ids := make([]int32, len(s))
	for i := range len(s) {
		ids[i] = int32(s[i])
	}
	return ids
}

func (m model) Tokenize(text string, _ bool) ([]int32, error) { return bytesToIDs(text), nil }

func (m model) RenderWith(_ *chat.Template, in chat.Input) ([]int32, error) {
	in.Messages = append([]chat.Message{{Role: "template", Content: "other"}}, in.Messages...)
	return m.Render(in)
}

// Render writes one line per message.
func (m model) Render(in chat.Input) ([]int32, error) {
	m.f.mu.Lock()
	m.f.renders = append(m.f.renders, in)
	m.f.mu.Unlock()
	var b strings.Builder
	for _, t := range in.Tools {
		fmt.Fprintf(&b, "tool: %s\n", t.Function.Name)
	}
	for _, msg := range in.Messages {
		if msg.Content == "refuse" {
			return nil, errors.New("roles must alternate")
		}
		fmt.Fprintf(&b, "%s: %s", msg.Role, msg.Content)
		for _, c := range msg.ToolCalls {
			fmt.Fprintf(&b, "%s(%s)", c.Name, c.Arguments)
		}
		b.WriteByte('\n')
	}
	if in.AddGenerationPrompt {
		b.WriteString("assistant:")
	}
	if in.Extra["thought"] == true {
		b.WriteString("<think>\n")
	}
	return bytesToIDs(b.String()), nil
}

// obedient returns the first of a few answers that a grammar allows.
func obedient(g *grammar.Grammar) string {
	pieces := make([][]byte, 257)
	for i := range 256 {
		pieces[i] = []byte{byte(i)}
	}
	v, err := grammar.NewVocabulary(pieces, []int32{256})
	if err != nil {
		panic(err)
	}
	m := grammar.NewMatcher(g, v)
	for _, text := range []string{`{"name":"get_weather","arguments":{"city":"Paris"}}`, `{"x":1}`, `{"ok":true}`} {
		if s := m.NewState(); s.AcceptText([]byte(text)) == nil && s.CanEnd() {
			return text
		}
	}
	return "nothing fits"
}

// toolCall is a call as some models write it.
const toolCall = "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>"

// answer is the whole text that the model gives for a request. The command is
// the last user message with what follows, or the whole prompt.
func answer(r engine.Request) string {
	var prompt strings.Builder
	for _, id := range r.Prompt {
		prompt.WriteByte(byte(id))
	}
	cmd := prompt.String()
	if i := strings.LastIndex(cmd, "user: "); i >= 0 {
		cmd = cmd[i+len("user: "):]
		if i := strings.LastIndex(cmd, "\nassistant:"); i >= 0 {
			cmd = cmd[:i]
		}
	}
	verb, rest, _ := strings.Cut(cmd, " ")
	switch {
	case r.Grammar != nil:
		return obedient(r.Grammar)
	case verb == "say":
		return rest
	case verb == "count":
		var b strings.Builder
		for i := range 10000 {
			fmt.Fprintf(&b, "%d ", i)
		}
		return b.String()
	case verb == "params":
		b, _ := json.Marshal(struct {
			sample.Params
			MaxTokens int
			Stop      []string
		}{r.Params, r.MaxTokens, r.Stop})
		return string(b)
	case verb == "seed":
		return fmt.Sprint(r.Params.Seed)
	case strings.HasPrefix(cmd, "weather"):
		if _, result, ok := strings.Cut(cmd, "\ntool: "); ok {
			return "It has " + result + "."
		}
		return toolCall
	}
	return "Hello!"
}

func (m model) Generate(ctx context.Context, r engine.Request, on func(engine.Event) error) (*engine.Result, error) {
	m.f.Running.Add(1)
	defer m.f.Running.Add(-1)
	m.f.mu.Lock()
	m.f.requests = append(m.f.requests, r)
	m.f.mu.Unlock()
	text, res := answer(r), &engine.Result{PromptIDs: r.Prompt, Stop: engine.StopEOS, EndToken: -1, Timings: engine.Timings{Reused: 3}}
	switch text {
	case "panic":
		panic("fake: internal error: told to")
	case "fail":
		return nil, errors.New("fake: told to fail")
	}
	for _, stop := range r.Stop {
		if before, _, found := strings.Cut(text, stop); found {
			text, res.Stop, res.StopText = before, engine.StopString, stop
		}
	}
	limit := Context - len(r.Prompt)
	if r.MaxTokens > 0 {
		limit = min(limit, r.MaxTokens)
	}
	var char []byte
	for i := range len(text) {
		if i == limit {
			res.Stop = engine.StopLength
			break
		}
		if err := ctx.Err(); err != nil {
			res.Stop = engine.StopCancelled
			return res, err
		}
		e := engine.Event{Token: int32(text[i])}
		if char = append(char, text[i]); utf8.FullRune(char) {
			e.Text, char = string(char), nil
		}
		if r.Logprobs > 0 {
			e.Logprob = -0.25
			for k := range r.Logprobs - 1 {
				e.Top = append(e.Top, sample.Logprob{ID: (e.Token + int32(k)) % 256, Logprob: -0.25 - float64(k)})
			}
		}
		res.IDs = append(res.IDs, e.Token)
		res.Text += e.Text
		if err := on(e); err != nil {
			return nil, err
		}
		if i == 0 && m.f.Started != nil {
			m.f.Started <- struct{}{}
			select {
			case <-m.f.Release:
			case <-ctx.Done():
				res.Stop = engine.StopCancelled
				return res, nil
			}
		}
	}
	if text == "break" {
		return nil, errors.New("fake: told to break")
	}
	if res.Stop == engine.StopEOS {
		res.EndToken = 0
	}
	if r.Trace {
		res.Trace = traceOf(append(slices.Clone(r.Prompt), res.Drawn()...))
	}
	return res, nil
}

// layers is how many the model has.
const layers = 2

// traceOf is the trace of an answer: states that follow from the tokens.
func traceOf(ids []int32) *trace.Tree {
	read := ids[:len(ids)-1]
	var states []receipt.Hash
	for l := range layers {
		for p := range read {
			states = append(states, canon.Leaf(fmt.Append(nil, l, read[:p+1])))
		}
	}
	t, err := trace.NewTree(states, layers, len(read))
	if err != nil {
		panic("fake: internal error: " + err.Error())
	}
	return t
}

// OpenTrace shows the roots of the layers, and no state.
func (m model) OpenTrace(ctx context.Context, f *receipt.File, c *audit.Challenge) (*trace.Opening, error) {
	if c.Receipt != f.Receipt.Hash() {
		return nil, fmt.Errorf("%w: it is for another receipt", audit.ErrChallenge)
	}
	o := f.Opening
	return trace.NewOpening(traceOf(append(slices.Clone(o.Prompt.IDs), o.Output.IDs...)), o.Trace[:]), ctx.Err()
}

func (m model) Embed(ctx context.Context, ids []int32) ([]float32, error) {
	return []float32{0.5, -0.5, float32(len(ids)) / 2, 0}, ctx.Err()
}

// Pull reports a file of 100 bytes. There is no model "missing", and "broken"
// fails at the end.
func (f *Backend) Pull(_ context.Context, name string, on func(httpapi.PullStatus) error) error {
	if name == "missing" {
		return fmt.Errorf("pull model manifest: %w", httpapi.ErrModelNotFound)
	}
	steps := []httpapi.PullStatus{
		{Status: "pulling manifest"},
		{Status: "pulling 0123", Digest: "sha256:0123", Total: 100},
		{Status: "pulling 0123", Digest: "sha256:0123", Total: 100, Completed: 100},
		{Status: "verifying sha256 digest"},
	}
	for _, s := range steps {
		if err := on(s); err != nil {
			return err
		}
	}
	if name == "broken" {
		return errors.New("wrong hash")
	}
	return nil
}

// Delete forgets nothing.
func (f *Backend) Delete(_ context.Context, name string) error { return f.check(name) }
