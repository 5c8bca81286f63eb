package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/sample"
)

// fakeTime is when everything happens in these tests.
var fakeTime = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const fakeContext = 1000

var fakeInfo = httpapi.ModelInfo{
	Name: "fake:1b", Digest: strings.Repeat("0123456789abcdef", 4), Size: 1234, Modified: fakeTime,
	Architecture: "fake", Parameters: "1B", Quantization: "Q8_0", Context: fakeContext, Vocab: 256, Dim: 4,
	Capabilities: []string{"completion", "tools", "embedding"},
}

// fake is a backend of one model, which does what it is told: see answer. Its
// tokens are bytes.
type fake struct {
	info httpapi.ModelInfo

	mu       sync.Mutex
	loaded   bool
	requests []engine.Request
	renders  []chat.Input
	opens    []httpapi.OpenOptions

	open    atomic.Int64 // models opened and not closed
	running atomic.Int64 // generations
	// started receives once per generation of "wait" if not nil; the
	// generation goes on when release is closed.
	started chan struct{}
	release chan struct{}
}

func newFake() *fake { return &fake{info: fakeInfo} }

func (f *fake) Models(context.Context) ([]httpapi.ModelInfo, error) {
	return []httpapi.ModelInfo{f.info}, nil
}

func (f *fake) check(name string) error {
	if name != f.info.Name && name != "fake" {
		return fmt.Errorf("model %q: %w", name, httpapi.ErrModelNotFound)
	}
	return nil
}

func (f *fake) Describe(_ context.Context, name string) (*httpapi.ModelDetails, error) {
	if err := f.check(name); err != nil {
		return nil, err
	}
	return &httpapi.ModelDetails{
		ModelInfo: f.info, Template: "{{ messages }}", License: "Apache-2.0",
		Metadata: []httpapi.KeyValue{{Key: "general.architecture", Value: "fake"}, {Key: "fake.context_length", Value: 1000}},
	}, nil
}

func (f *fake) Open(_ context.Context, name string, opt httpapi.OpenOptions) (httpapi.Model, error) {
	if err := f.check(name); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.loaded = opt.KeepAlive == nil || *opt.KeepAlive != 0
	f.opens = append(f.opens, opt)
	f.open.Add(1)
	return fakeModel{f}, nil
}

func (f *fake) Loaded(context.Context) ([]httpapi.LoadedModel, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.loaded {
		return nil, nil
	}
	return []httpapi.LoadedModel{{ModelInfo: f.info, Memory: 2345, Expires: fakeTime.Add(5 * time.Minute)}}, nil
}

func (f *fake) lastRequest(t *testing.T) engine.Request {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.requests) == 0 {
		t.Fatal("the model got no request")
	}
	return f.requests[len(f.requests)-1]
}

type fakeModel struct{ f *fake }

func (m fakeModel) Info() httpapi.ModelInfo { return m.f.info }
func (m fakeModel) Close()                  { m.f.open.Add(-1) }
func (m fakeModel) Piece(id int32) []byte   { return []byte{byte(id)} }

func bytesToIDs(s string) []int32 {
	ids := make([]int32, len(s))
	for i := range len(s) {
		ids[i] = int32(s[i])
	}
	return ids
}

func (m fakeModel) Tokenize(text string, _ bool) ([]int32, error) { return bytesToIDs(text), nil }

func (m fakeModel) RenderWith(_ *chat.Template, in chat.Input) ([]int32, error) {
	in.Messages = append([]chat.Message{{Role: "template", Content: "other"}}, in.Messages...)
	return m.Render(in)
}

// Render writes one line per message.
func (m fakeModel) Render(in chat.Input) ([]int32, error) {
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

// answer is the whole text that the fake gives for a request. The command is
// the last user message, or the whole prompt.
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
	}
	return "Hello!"
}

func (m fakeModel) Generate(ctx context.Context, r engine.Request, on func(engine.Event) error) (*engine.Result, error) {
	m.f.running.Add(1)
	defer m.f.running.Add(-1)
	m.f.mu.Lock()
	m.f.requests = append(m.f.requests, r)
	m.f.mu.Unlock()
	text, res := answer(r), &engine.Result{Stop: engine.StopEOS, Timings: engine.Timings{Reused: 3}}
	switch text {
	case "panic":
		panic("fake: internal error: told to")
	case "fail":
		return nil, errors.New("fake: told to fail")
	}
	for _, stop := range r.Stop {
		if before, _, found := strings.Cut(text, stop); found {
			text, res.Stop = before, engine.StopString
		}
	}
	limit := fakeContext - len(r.Prompt)
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
		if i == 0 && m.f.started != nil {
			m.f.started <- struct{}{}
			select {
			case <-m.f.release:
			case <-ctx.Done():
				res.Stop = engine.StopCancelled
				return res, nil
			}
		}
	}
	return res, nil
}

func (m fakeModel) Embed(ctx context.Context, ids []int32) ([]float32, error) {
	return []float32{0.5, -0.5, float32(len(ids)) / 2, 0}, ctx.Err()
}

// Pull reports a file of 100 bytes.
func (f *fake) Pull(_ context.Context, name string, on func(httpapi.PullStatus) error) error {
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

func (f *fake) Delete(_ context.Context, name string) error { return f.check(name) }

// counter is a Random that gives 1, 2, 3, … in the upper bits.
func counter() func() uint64 {
	var n atomic.Uint64
	return func() uint64 { return n.Add(1) << 11 }
}

// fakeConfig is a server whose answers are always the same.
func fakeConfig(f *fake) httpapi.Config {
	return httpapi.Config{
		Backend: f, Puller: f, Deleter: f, Random: counter(), Version: "1.2.3",
		Now: func() time.Time { return fakeTime },
	}
}

func newServer(t testing.TB, cfg httpapi.Config) *httpapi.Server {
	t.Helper()
	s, err := httpapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
