package clients_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/sample"
)

var info = httpapi.ModelInfo{Name: "fake:1b", Architecture: "fake", Context: 1000, Vocab: 256, Dim: 4}

// fake is a backend and its one model. Tokens are bytes. It says what it is
// told to; see answer.
type fake struct{}

func find(name string) error {
	if name != info.Name {
		return fmt.Errorf("model %q: %w", name, httpapi.ErrModelNotFound)
	}
	return nil
}

func (fake) Models(context.Context) ([]httpapi.ModelInfo, error) {
	return []httpapi.ModelInfo{info}, nil
}
func (fake) Loaded(context.Context) ([]httpapi.LoadedModel, error) { return nil, nil }

func (fake) Describe(_ context.Context, name string) (*httpapi.ModelDetails, error) {
	return &httpapi.ModelDetails{ModelInfo: info}, find(name)
}

func (f fake) Open(_ context.Context, name string, _ httpapi.OpenOptions) (httpapi.Model, error) {
	return f, find(name)
}

func (fake) Pull(_ context.Context, _ string, on func(httpapi.PullStatus) error) error {
	return on(httpapi.PullStatus{Status: "pulling 12", Digest: "sha256:12", Total: 10, Completed: 10})
}

func (fake) Info() httpapi.ModelInfo { return info }
func (fake) Close()                  {}
func (fake) Piece(id int32) []byte   { return []byte{byte(id)} }

func (fake) Tokenize(text string, _ bool) ([]int32, error) {
	ids := make([]int32, len(text))
	for i := range len(text) {
		ids[i] = int32(text[i])
	}
	return ids, nil
}

func (f fake) Render(in chat.Input) ([]int32, error) {
	last := in.Messages[len(in.Messages)-1]
	return f.Tokenize(last.Role+" "+last.Content, true)
}

func (f fake) RenderWith(_ *chat.Template, in chat.Input) ([]int32, error) { return f.Render(in) }

func (fake) Embed(_ context.Context, ids []int32) ([]float32, error) {
	return []float32{0.5, -0.5, float32(len(ids)) / 2, 0}, nil
}

// answer gives the text for a prompt "ROLE COMMAND ..." or "COMMAND ...".
func answer(r engine.Request) string {
	var prompt []byte
	for _, id := range r.Prompt {
		prompt = append(prompt, byte(id))
	}
	cmd := strings.TrimPrefix(string(prompt), "user ")
	switch {
	case r.Grammar != nil:
		return `{"x":1}`
	case strings.HasPrefix(cmd, "tool "):
		return "It has " + cmd[len("tool "):] + "."
	case cmd == "weather":
		return "<tool_call>\n{\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n</tool_call>"
	case cmd == "count":
		return strings.Repeat("1 2 3 ", 100)
	case cmd == "break":
		return cmd
	}
	return strings.TrimPrefix(cmd, "say ")
}

func (fake) Generate(ctx context.Context, r engine.Request, on func(engine.Event) error) (*engine.Result, error) {
	text := answer(r)
	var char []byte
	for i := range len(text) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e := engine.Event{Token: int32(text[i]), Logprob: -1}
		if char = append(char, text[i]); utf8.FullRune(char) {
			e.Text, char = string(char), nil
		}
		for k := range r.Logprobs - 1 {
			e.Top = append(e.Top, sample.Logprob{ID: e.Token + int32(k), Logprob: -1})
		}
		if err := on(e); err != nil {
			return nil, err
		}
	}
	if text == "break" {
		return nil, errors.New("told to break")
	}
	return &engine.Result{Text: text, Stop: engine.StopEOS}, nil
}
