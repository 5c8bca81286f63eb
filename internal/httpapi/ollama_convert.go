package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/sample"
)

// Ollama's defaults, where they differ from "change nothing".
const (
	ollamaTemperature   = 0.8
	ollamaTopK          = 40
	ollamaTopP          = 0.9
	ollamaRepeatPenalty = 1.1
	ollamaRepeatLastN   = 64
)

// apply converts the options. What is missing gets Ollama's default.
func (o *ollamaOptions) apply(j *job) error {
	for _, f := range []struct {
		name string
		v    *float32
		none float32
	}{{"mirostat", o.Mirostat, 0}, {"typical_p", o.TypicalP, 1}, {"tfs_z", o.TFSZ, 1}} {
		if f.v != nil && *f.v != f.none {
			return unsupported("options."+f.name, "option %s is not supported: use top_p or min_p", f.name)
		}
	}
	j.request.Params = sample.Params{
		Temperature:      or(o.Temperature, ollamaTemperature),
		TopK:             max(or(o.TopK, ollamaTopK), 0),
		TopP:             or(o.TopP, ollamaTopP),
		MinP:             or(o.MinP, 0),
		RepeatPenalty:    or(o.RepeatPenalty, ollamaRepeatPenalty),
		RepeatLastN:      or(o.RepeatLastN, ollamaRepeatLastN),
		FrequencyPenalty: or(o.FrequencyPenalty, 0),
		PresencePenalty:  or(o.PresencePenalty, 0),
	}
	if o.RepeatLastN != nil && *o.RepeatLastN == 0 { // 0 disables the penalties there
		j.request.Params.RepeatPenalty = 1
	}
	if o.Seed != nil && *o.Seed >= 0 {
		j.seeded = true
		j.request.Params.Seed = uint64(*o.Seed)
	}
	if err := j.request.Params.Validate(); err != nil {
		return badRequest("options", "options: %v", err)
	}
	if n := or(o.NumPredict, -1); n > 0 { // others: until the context is full
		j.request.MaxTokens = n
	}
	if n := or(o.NumCtx, 0); n < 0 {
		return badRequest("options.num_ctx", "option num_ctx is %d, want 1 or more", n)
	}
	var err error
	j.request.Stop, err = stops("options.stop", o.Stop)
	return err
}

// job converts the shared fields.
func (r *ollamaCommon) job() (*job, error) {
	j := &job{topLogp: -1, choices: 1}
	if err := r.Options.apply(j); err != nil {
		return nil, err
	}
	switch f := bytes.TrimSpace(r.Format); {
	case len(f) == 0, string(f) == "null", string(f) == `""`:
	case string(f) == `"json"`:
		j.request.Grammar = grammar.JSON()
	case f[0] == '{':
		var err error
		if j.request.Grammar, err = schemaGrammar("format", f); err != nil {
			return nil, err
		}
	default:
		return nil, badRequest("format", `format: want "json" or a JSON schema`)
	}
	if r.Logprobs || r.TopLogprobs != 0 {
		if j.topLogp = r.TopLogprobs; j.topLogp < 0 || j.topLogp > maxTopLogp {
			return nil, badRequest("top_logprobs", "top_logprobs is %d, want 0 to %d", j.topLogp, maxTopLogp)
		}
		j.request.Logprobs = j.topLogp + 1
	}
	if err := r.Receipt.apply(j); err != nil {
		return nil, err
	}
	var err error
	j.render.Extra, err = thinkExtra(r.Think)
	return j, err
}

// thinkExtra converts the wish for thoughts into template variables.
func thinkExtra(raw json.RawMessage) (map[string]any, error) {
	var on bool
	var effort string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return nil, nil
	case json.Unmarshal(raw, &on) == nil:
		return map[string]any{"enable_thinking": on}, nil
	case json.Unmarshal(raw, &effort) == nil:
		return map[string]any{"enable_thinking": true, "reasoning_effort": effort}, nil
	}
	return nil, badRequest("think", `think: want true, false, "low", "medium" or "high"`)
}

// job converts the request.
func (r *ollamaChatRequest) job() (*job, error) {
	j, err := r.ollamaCommon.job()
	if err != nil {
		return nil, err
	}
	if len(r.Messages) > maxMessages {
		return nil, badRequest("messages", "messages has %d messages, want at most %d", len(r.Messages), maxMessages)
	}
	for i, m := range r.Messages {
		at := fmt.Sprintf("messages[%d]", i)
		role, err := convertRole(at, m.Role)
		if err != nil {
			return nil, err
		}
		if len(m.Images) > 0 {
			return nil, unsupported(at+".images", "%s has images: this server reads text only", at)
		}
		msg := chat.Message{Role: role, Content: m.Content, Name: m.ToolName, Reasoning: m.Thinking, ToolCallID: m.ToolCallID}
		for _, c := range m.ToolCalls {
			call := chat.ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments}
			if len(call.Arguments) == 0 {
				call.Arguments = json.RawMessage("{}")
			}
			msg.ToolCalls = append(msg.ToolCalls, call)
		}
		j.render.Messages = append(j.render.Messages, msg)
	}
	if j.render.Tools, err = convertTools(r.Tools); err != nil {
		return nil, err
	}
	j.tools = len(j.render.Tools) > 0
	return j, nil
}

// job converts the request. A raw prompt has no messages.
func (r *ollamaGenerateRequest) job() (*job, error) {
	switch {
	case r.Suffix != "":
		return nil, unsupported("suffix", "suffix is not supported: use raw and put the model's own fill-in-the-middle tokens into the prompt")
	case len(r.Images) > 0:
		return nil, unsupported("images", "images are not supported: this server reads text only")
	case len(r.Context) > 0:
		return nil, unsupported("context", "context is not supported: use /api/chat and send the messages")
	case r.Raw && (r.System != "" || r.Template != ""):
		return nil, badRequest("raw", "raw sends the prompt as it is; it does not go with system or template")
	case isGoTemplate(r.Template):
		return nil, unsupported("template", "template is in Go's template language, and this server's chat templates are in Jinja: use raw, or leave template out")
	}
	j, err := r.ollamaCommon.job()
	if err != nil || r.Raw {
		return j, err
	}
	if r.System != "" {
		j.render.Messages = append(j.render.Messages, chat.Message{Role: "system", Content: r.System})
	}
	j.render.Messages = append(j.render.Messages, chat.Message{Role: "user", Content: r.Prompt})
	if r.Template != "" {
		if j.template, err = chat.Parse(r.Template); err != nil {
			return nil, badRequest("template", "template: %v", err)
		}
	}
	return j, nil
}

// isGoTemplate tells Go's templates, whose variables begin with a dot, from
// Jinja's.
func isGoTemplate(s string) bool {
	for rest := s; ; {
		_, after, found := strings.Cut(rest, "{{")
		if !found {
			return false
		}
		if strings.HasPrefix(strings.TrimLeft(after, "- "), ".") {
			return true
		}
		rest = after
	}
}

// ollamaCalls are calls as Ollama writes them, with an object of arguments.
func ollamaCalls(calls []chat.ToolCall) []ollamaToolCall {
	out := make([]ollamaToolCall, len(calls))
	for i, c := range calls {
		out[i].ID = c.ID
		out[i].Function.Index = i
		out[i].Function.Name = c.Name
		out[i].Function.Arguments = objectArguments(c.Arguments)
	}
	return out
}

// objectArguments unwraps arguments that a model wrote as JSON in a string.
func objectArguments(raw json.RawMessage) json.RawMessage {
	var s string
	if json.Unmarshal(raw, &s) == nil && json.Valid([]byte(s)) && strings.HasPrefix(strings.TrimSpace(s), "{") {
		return json.RawMessage(s)
	}
	if len(raw) == 0 {
		return json.RawMessage("{}")
	}
	return raw
}

func doneReason(stop engine.StopReason) string {
	if stop == engine.StopLength {
		return "length"
	}
	return "stop"
}

func convertDetails(m ModelInfo) ollamaDetails {
	return ollamaDetails{
		Format: "gguf", Family: m.Architecture, Families: []string{m.Architecture},
		ParameterSize: m.Parameters, QuantizationLevel: m.Quantization,
	}
}
