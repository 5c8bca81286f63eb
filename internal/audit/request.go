package audit

import (
	"encoding/json"
	"fmt"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/token"
	"github.com/avalnetwork/aval/receipt"
)

// requestOf is the request that a receipt is the answer of; all parts that
// decide tokens are shown.
func requestOf(c *receipt.Claims, o *receipt.Opening) (engine.Request, error) {
	p := c.Params
	r := engine.Request{
		Prompt: o.Prompt.IDs,
		Params: sample.Params{
			Temperature: p.Temperature, TopK: p.TopK, TopP: p.TopP, MinP: p.MinP,
			RepeatPenalty: p.RepeatPenalty, FrequencyPenalty: p.FrequencyPenalty, PresencePenalty: p.PresencePenalty,
			RepeatLastN: p.RepeatLastN, Seed: c.Seed.Derive(o.Prompt.IDs),
		},
		MaxTokens: p.MaxTokens, IgnoreEOS: p.IgnoreEOS,
	}
	if o.Bias != nil && len(o.Bias.Bias) > 0 {
		r.Params.LogitBias = o.Bias.Bias
	}
	if o.Extra == nil {
		return r, nil
	}
	r.Stop = o.Extra.Extra.Stop
	var err error
	if g := o.Extra.Extra.Grammar; g != nil {
		switch g.Kind {
		case receipt.GrammarJSON:
			r.Grammar = grammar.JSON()
		case receipt.GrammarSchema:
			r.Grammar, err = grammar.FromJSONSchema([]byte(g.Text))
		case receipt.GrammarGBNF:
			r.Grammar, err = grammar.FromGBNF(g.Text)
		default:
			err = fmt.Errorf("grammar of kind %q", g.Kind)
		}
	}
	return r, err
}

// checkRendering makes the tokens of the prompt again.
func (a *Auditor) checkRendering(s *receipt.Source, o *receipt.Opening) receipt.Check {
	var ids []int32
	var err error
	switch s.Kind {
	case receipt.SourceIDs:
		return valid(CheckRendering, "the prompt was given as tokens")
	case receipt.SourceText:
		ids, err = a.Engine.Tokenizer().Encode(string(s.Text), token.EncodeOptions{AddSpecial: s.AddSpecial, ParseSpecial: s.ParseSpecial})
	default:
		// A template of its own is an extra parameter. Where it is hidden,
		// missing says so first if there is any.
		template := ""
		if o.Extra != nil {
			template = o.Extra.Extra.Template
		}
		ids, err = a.render(s, template)
	}
	if err != nil {
		return invalid(CheckRendering, "the prompt as it was given cannot be made tokens: %v", err)
	}
	have := o.Prompt.IDs
	for i := range min(len(ids), len(have)) {
		if ids[i] != have[i] {
			return invalid(CheckRendering, "token %d of the prompt: expected id %d, receipt has %d", i, ids[i], have[i])
		}
	}
	if len(ids) != len(have) {
		return invalid(CheckRendering, "the prompt as it was given has %d tokens, receipt has %d", len(ids), len(have))
	}
	return valid(CheckRendering, "the prompt as it was given becomes these %d tokens", len(ids))
}

// render makes the tokens of a conversation.
func (a *Auditor) render(s *receipt.Source, template string) ([]int32, error) {
	in := chat.Input{AddGenerationPrompt: s.GenerationPrompt, Date: s.Date}
	for _, m := range s.Messages {
		to := chat.Message{Role: m.Role, Content: m.Content, Name: m.Name, Reasoning: m.Reasoning, ToolCallID: m.ToolCallID}
		for _, c := range m.ToolCalls {
			call := chat.ToolCall{ID: c.ID, Name: c.Name}
			if c.Arguments != "" {
				call.Arguments = json.RawMessage(c.Arguments)
			}
			to.ToolCalls = append(to.ToolCalls, call)
		}
		in.Messages = append(in.Messages, to)
	}
	for i, text := range s.Tools {
		var t chat.Tool
		if err := json.Unmarshal([]byte(text), &t); err != nil {
			return nil, fmt.Errorf("tool %d: %w", i, err)
		}
		in.Tools = append(in.Tools, t)
	}
	for name, text := range s.Variables {
		var v any
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			return nil, fmt.Errorf("template variable %q: %w", name, err)
		}
		if in.Extra == nil {
			in.Extra = map[string]any{}
		}
		in.Extra[name] = v
	}
	if template == "" {
		return a.Engine.Render(in)
	}
	t, err := chat.Parse(template)
	if err != nil {
		return nil, err
	}
	return a.Engine.RenderWith(t, in)
}
