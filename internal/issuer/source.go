package issuer

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/receipt"
)

// Text is the source of a prompt that was given as a text; special is that of
// [engine.Engine.Tokenize].
func Text(text string, special bool) receipt.Source {
	return receipt.Source{Kind: receipt.SourceText, Text: []byte(text), AddSpecial: special, ParseSpecial: special}
}

// IDs is the source of a prompt that was given as token ids.
func IDs() receipt.Source { return receipt.Source{Kind: receipt.SourceIDs} }

// Chat is the source of a prompt that was given as a conversation. Templates
// see what is not UTF-8 as U+FFFD, and so does the source.
func Chat(in chat.Input) (receipt.Source, error) {
	s := receipt.Source{Kind: receipt.SourceChat, Date: in.Date, GenerationPrompt: in.AddGenerationPrompt}
	for i, m := range in.Messages {
		to := receipt.Message{
			Role: valid(m.Role), Content: valid(m.Content), Name: valid(m.Name),
			Reasoning: valid(m.Reasoning), ToolCallID: valid(m.ToolCallID),
		}
		for _, c := range m.ToolCalls {
			if !utf8.Valid(c.Arguments) {
				return s, fmt.Errorf("%w: a tool call in message %d is not UTF-8", engine.ErrRequest, i)
			}
			to.ToolCalls = append(to.ToolCalls, receipt.ToolCall{ID: valid(c.ID), Name: valid(c.Name), Arguments: string(c.Arguments)})
		}
		s.Messages = append(s.Messages, to)
	}
	for i, t := range in.Tools {
		text, err := toolText(&t)
		if err != nil {
			return s, fmt.Errorf("%w: tool %d: %w", engine.ErrRequest, i, err)
		}
		s.Tools = append(s.Tools, text)
	}
	for name, v := range in.Extra {
		text, err := json.Marshal(v)
		if err != nil {
			return s, fmt.Errorf("%w: template variable %q: %w", engine.ErrRequest, name, err)
		}
		if s.Variables == nil {
			s.Variables = map[string]string{}
		}
		s.Variables[name] = string(text)
	}
	return s, nil
}

func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

// toolText is a tool as JSON, with its keys in the order that templates see.
func toolText(t *chat.Tool) (string, error) {
	if len(t.Raw) > 0 {
		if !utf8.Valid(t.Raw) {
			return "", fmt.Errorf("not UTF-8")
		}
		return string(t.Raw), nil
	}
	type function struct {
		Name        string          `json:"name"`
		Description string          `json:"description,omitempty"`
		Parameters  json.RawMessage `json:"parameters,omitempty"`
	}
	typ := t.Type
	if typ == "" {
		typ = "function"
	}
	b, err := json.Marshal(struct {
		Type     string   `json:"type"`
		Function function `json:"function"`
	}{typ, function{t.Function.Name, t.Function.Description, t.Function.Parameters}})
	return string(b), err
}

// Extra are the parameters of a request that do not fit into the claims.
func Extra(r *engine.Request, template *chat.Template) receipt.Extra {
	e := receipt.Extra{Stop: r.Stop}
	if r.Grammar != nil {
		kind, text := r.Grammar.Source()
		e.Grammar = &receipt.Grammar{Kind: string(kind), Text: text}
	}
	if template != nil {
		e.Template = template.Source()
	}
	return e
}

// Params are those of a request that fit into the claims, for an engine of a
// context. What changes nothing is left out, so that the
// same request always has the same claims.
func Params(r *engine.Request, context int) receipt.Params {
	p := r.Params
	unless := func(v, none float32) float32 {
		if v == none || v == 0 { // also -0
			return 0
		}
		return v
	}
	out := receipt.Params{
		Temperature: unless(p.Temperature, 0), TopK: p.TopK, TopP: unless(p.TopP, 1), MinP: unless(p.MinP, 0),
		RepeatPenalty: unless(p.RepeatPenalty, 1), FrequencyPenalty: unless(p.FrequencyPenalty, 0),
		PresencePenalty: unless(p.PresencePenalty, 0), RepeatLastN: p.RepeatLastN,
		MaxTokens: max(r.MaxTokens, 0), Context: context, IgnoreEOS: r.IgnoreEOS,
	}
	penalties := out.RepeatPenalty != 0 || out.FrequencyPenalty != 0 || out.PresencePenalty != 0
	if !penalties || out.RepeatLastN == sample.DefaultRepeatLastN {
		out.RepeatLastN = 0
	}
	// Limits beyond all contexts are none.
	if out.TopK > math.MaxInt32 {
		out.TopK = 0
	}
	if out.MaxTokens > math.MaxInt32 {
		out.MaxTokens = 0
	}
	if out.RepeatLastN > math.MaxInt32 {
		out.RepeatLastN = -1
	}
	return out
}
