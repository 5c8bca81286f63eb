package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/sample"
)

// job is a request in the server's own terms.
type job struct {
	render       chat.Input
	template     *chat.Template // instead of the model's own; may be nil
	request      engine.Request // without the prompt; the seed is that of the first choice
	seeded       bool           // the client gave the seed
	choices      int
	tools        bool           // look for tool calls
	forced       bool           // the answer must be one tool call
	oneCall      bool           // at most one tool call
	receipt      issuer.Options // what receipt is wanted
	receiptAsked bool           // the client asked for one, and does not just get it
	topLogp      int            // alternatives asked for, or -1 for no log probabilities
	usageLast    bool           // a stream ends with a piece on usage
}

// check refuses fields that are not supported.
func (f *refused) check() error {
	for _, field := range []struct {
		name     string
		raw      json.RawMessage
		harmless string // a value that asks for nothing
		hint     string
	}{
		{"audio", f.Audio, "null", "this server makes text only"},
		{"best_of", f.BestOf, "1", "use n and choose among the answers"},
		{"functions", f.Functions, "null", "use tools"},
		{"function_call", f.FunctionCall, `"none"`, "use tool_choice"},
		{"grammar", f.Grammar, "null", "use response_format with a JSON schema"},
		{"mirostat", f.Mirostat, "0", "use top_p or min_p"},
		{"suffix", f.Suffix, "null", "put the model's own fill-in-the-middle tokens into the prompt"},
		{"typical_p", f.TypicalP, "1", "use top_p or min_p"},
		{"web_search_options", f.WebSearchOpts, "null", "this server does not search"},
	} {
		switch string(field.raw) {
		case "", "null", field.harmless, `""`, "[]":
		default:
			return unsupported(field.name, "%s is not supported: %s", field.name, field.hint)
		}
	}
	return nil
}

// job converts the request. It does not look at the model.
func (r *chatRequest) job() (*job, error) {
	if err := r.refused.check(); err != nil {
		return nil, err
	}
	j := &job{topLogp: -1, usageLast: r.StreamOptions != nil && r.StreamOptions.IncludeUsage}
	if err := r.sampling.apply(j); err != nil {
		return nil, err
	}
	if r.MaxCompletionTokens != nil {
		n, err := maxTokens("max_completion_tokens", r.MaxCompletionTokens, 0)
		if err != nil {
			return nil, err
		}
		j.request.MaxTokens = n
	}
	for _, m := range r.Modalities {
		if m != "text" {
			return nil, unsupported("modalities", "modality %q is not supported: this server makes text only", m)
		}
	}
	if err := r.applyLogprobs(j); err != nil {
		return nil, err
	}
	var err error
	if j.render.Messages, err = convertMessages(r.Messages); err != nil {
		return nil, err
	}
	j.render.Extra = r.TemplateArgs
	if e := r.ReasoningEffort; e != nil {
		j.render.Extra = withExtra(j.render.Extra, "reasoning_effort", *e)
		j.render.Extra = withExtra(j.render.Extra, "enable_thinking", *e != "none")
	}
	if j.render.Tools, err = convertTools(r.Tools); err != nil {
		return nil, err
	}
	j.oneCall = r.ParallelToolCalls != nil && !*r.ParallelToolCalls
	if err := r.Receipt.apply(j); err != nil {
		return nil, err
	}
	return j, r.applyToolChoice(j)
}

// withExtra sets a template variable that the client has not set itself.
func withExtra(extra map[string]any, key string, value any) map[string]any {
	if _, ok := extra[key]; ok {
		return extra
	}
	if extra == nil {
		extra = map[string]any{}
	}
	extra[key] = value
	return extra
}

func (r *chatRequest) applyLogprobs(j *job) error {
	switch {
	case r.TopLogprobs == nil && !r.Logprobs:
		return nil
	case !r.Logprobs && *r.TopLogprobs != 0:
		return badRequest("top_logprobs", "top_logprobs needs logprobs to be true")
	case !r.Logprobs:
		return nil
	}
	j.topLogp = 0
	if r.TopLogprobs != nil {
		j.topLogp = *r.TopLogprobs
	}
	if j.topLogp < 0 || j.topLogp > maxTopLogp {
		return badRequest("top_logprobs", "top_logprobs is %d, want 0 to %d", j.topLogp, maxTopLogp)
	}
	j.request.Logprobs = j.topLogp + 1
	return nil
}

// apply converts the sampling fields. What is missing gets OpenAI's default.
func (r *sampling) apply(j *job) error {
	p := sample.Params{
		Temperature:      or(r.Temperature, 1),
		TopP:             or(r.TopP, 1),
		TopK:             max(or(r.TopK, 0), 0), // -1 means all, too
		MinP:             or(r.MinP, 0),
		RepeatPenalty:    or(r.RepeatPenalty, 1),
		RepeatLastN:      or(r.RepeatLastN, 0),
		FrequencyPenalty: or(r.FrequencyPenalty, 0),
		PresencePenalty:  or(r.PresencePenalty, 0),
		Seed:             uint64(or(r.Seed, 0)),
	}
	for _, c := range []struct {
		name   string
		v      float32
		lo, hi float32
	}{
		{"temperature", p.Temperature, 0, 2},
		{"top_p", p.TopP, 0, 1},
		{"min_p", p.MinP, 0, 1},
		{"repeat_penalty", p.RepeatPenalty, 0, 10},
		{"frequency_penalty", p.FrequencyPenalty, -2, 2},
		{"presence_penalty", p.PresencePenalty, -2, 2},
	} {
		if !(c.v >= c.lo && c.v <= c.hi) {
			return badRequest(c.name, "%s is %v, want %v to %v", c.name, c.v, c.lo, c.hi)
		}
	}
	var err error
	if p.LogitBias, err = logitBias(r.LogitBias); err != nil {
		return err
	}
	if err := p.Validate(); err != nil {
		return badRequest("", "%v", err)
	}
	j.seeded = r.Seed != nil
	j.request.Params = p
	if j.request.MaxTokens, err = maxTokens("max_tokens", r.MaxTokens, 0); err != nil {
		return err
	}
	if j.choices = or(r.N, 1); j.choices < 1 || j.choices > maxChoices {
		return badRequest("n", "n is %d, want 1 to %d", j.choices, maxChoices)
	}
	if j.request.Stop, err = stops("stop", r.Stop); err != nil {
		return err
	}
	j.request.Grammar, err = r.ResponseFormat.grammar()
	return err
}

func or[T any](p *T, value T) T {
	if p == nil {
		return value
	}
	return *p
}

// maxTokens reads a limit; -1 means none, as for other local servers.
func maxTokens(name string, n *int, missing int) (int, error) {
	switch {
	case n == nil:
		return missing, nil
	case *n == -1:
		return 0, nil
	case *n < 1:
		return 0, badRequest(name, "%s is %d, want at least 1, or -1 for no limit", name, *n)
	}
	return *n, nil
}

func stops(name string, list []string) ([]string, error) {
	if len(list) > maxStops {
		return nil, badRequest(name, "%s has %d strings, want at most %d", name, len(list), maxStops)
	}
	for i, s := range list {
		if s == "" || len(s) > maxStopBytes {
			return nil, badRequest(name, "%s[%d] has %d bytes, want 1 to %d", name, i, len(s), maxStopBytes)
		}
	}
	return list, nil
}

func logitBias(in map[string]float32) (map[int32]float32, error) {
	if len(in) == 0 {
		return nil, nil
	}
	if len(in) > maxLogitBias {
		return nil, badRequest("logit_bias", "logit_bias has %d tokens, want at most %d", len(in), maxLogitBias)
	}
	out := make(map[int32]float32, len(in))
	for key, v := range in {
		id, err := strconv.ParseInt(key, 10, 32)
		if err != nil || id < 0 {
			return nil, badRequest("logit_bias", "a key of logit_bias is not a token id")
		}
		if !(v >= -100 && v <= 100) {
			return nil, badRequest("logit_bias", "a value of logit_bias is outside of -100 to 100")
		}
		out[int32(id)] = v
	}
	return out, nil
}

// grammar returns what the answer must obey, nil for nothing.
func (f *responseFormat) grammar() (*grammar.Grammar, error) {
	if f == nil {
		return nil, nil
	}
	switch f.Type {
	case "text", "":
		return nil, nil
	case "json_object":
		if isSchema(f.Schema) {
			return schemaGrammar("response_format", f.Schema)
		}
		return grammar.JSON(), nil
	case "json_schema":
		if f.JSONSchema == nil || !isSchema(f.JSONSchema.Schema) {
			return nil, badRequest("response_format", "response_format.json_schema.schema is missing")
		}
		return schemaGrammar("response_format", f.JSONSchema.Schema)
	}
	return nil, badRequest("response_format", "response_format.type is %q, want text, json_object or json_schema", f.Type)
}

// schemaGrammar compiles a schema that the field param of a request gives.
func schemaGrammar(param string, schema []byte) (*grammar.Grammar, error) {
	g, err := grammar.FromJSONSchema(schema)
	if err != nil {
		return nil, badRequest(param, "the schema in %s: %v", param, err)
	}
	return g, nil
}

func isSchema(raw json.RawMessage) bool {
	return len(raw) > 0 && !bytes.Equal(raw, []byte("null"))
}

func convertMessages(in []chatMessage) ([]chat.Message, error) {
	if len(in) == 0 || len(in) > maxMessages {
		return nil, badRequest("messages", "messages has %d messages, want 1 to %d", len(in), maxMessages)
	}
	out := make([]chat.Message, len(in))
	for i, m := range in {
		at := fmt.Sprintf("messages[%d]", i)
		role, err := convertRole(at, m.Role)
		if err != nil {
			return nil, err
		}
		content, err := textContent(at+".content", m.Content)
		if err != nil {
			return nil, err
		}
		out[i] = chat.Message{Role: role, Content: content, Name: m.Name, Reasoning: m.Reasoning, ToolCallID: m.ToolCallID}
		for k, c := range m.ToolCalls {
			if c.Type != "function" && c.Type != "" {
				return nil, unsupported(fmt.Sprintf("%s.tool_calls[%d].type", at, k), "tool calls of type %q are not supported, only function", c.Type)
			}
			out[i].ToolCalls = append(out[i].ToolCalls, chat.ToolCall{
				ID: c.ID, Name: c.Function.Name, Arguments: rawArguments(c.Function.Arguments),
			})
		}
	}
	return out, nil
}

// rawArguments returns the arguments as JSON; what a model once wrote may not be.
func rawArguments(s string) json.RawMessage {
	if strings.TrimSpace(s) == "" {
		return json.RawMessage("{}")
	}
	if json.Valid([]byte(s)) {
		return json.RawMessage(s)
	}
	b, err := encode(s)
	if err != nil {
		panic("httpapi: internal error: cannot encode a string: " + err.Error())
	}
	return b
}

// convertRole maps the roles to those that templates know.
func convertRole(at, role string) (string, error) {
	switch role {
	case "system", "user", "assistant", "tool":
		return role, nil
	case "developer":
		return "system", nil
	case "function":
		return "tool", nil
	}
	return "", badRequest(at+".role", "%s.role is %q, want system, developer, user, assistant or tool", at, role)
}

// textContent reads a message's content: a string, null, or parts, which are
// joined by line breaks.
func textContent(at string, raw json.RawMessage) (string, error) {
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		var s string
		err := json.Unmarshal(raw, &s)
		return s, err
	case raw[0] != '[':
		return "", badRequest(at, "%s: want a string or an array of parts", at)
	}
	var parts []contentPart
	if err := json.Unmarshal(raw, &parts); err != nil {
		return "", badRequest(at, "%s: want an array of parts with a type and a text", at)
	}
	texts := make([]string, len(parts))
	for i, p := range parts {
		switch p.Type {
		case "text":
			texts[i] = p.Text
		case "refusal":
			texts[i] = p.Refusal
		default:
			where := fmt.Sprintf("%s[%d]", at, i)
			return "", unsupported(where, "%s has the type %q: this server reads text parts only", where, p.Type)
		}
	}
	return strings.Join(texts, "\n"), nil
}

// convertTools keeps the text of the tools, and with it the order of keys that
// a model sees.
func convertTools(in []json.RawMessage) ([]chat.Tool, error) {
	if len(in) > maxTools {
		return nil, badRequest("tools", "tools has %d tools, want at most %d", len(in), maxTools)
	}
	var out []chat.Tool
	for i, raw := range in {
		at := fmt.Sprintf("tools[%d]", i)
		var tool chat.Tool
		if err := json.Unmarshal(raw, &tool); err != nil {
			return nil, badRequest(at, "%s: want an object with type and function", at)
		}
		if tool.Type != "function" && tool.Type != "" {
			return nil, unsupported(at+".type", "%s has the type %q, and only function is supported", at, tool.Type)
		}
		if tool.Function.Name == "" {
			return nil, badRequest(at+".function.name", "%s.function.name is missing", at)
		}
		if tool.Type == "" { // templates expect one
			tool.Type, tool.Raw = "function", nil
		}
		if !isSchema(tool.Function.Parameters) {
			tool.Function.Parameters = nil
		}
		out = append(out, tool)
	}
	return out, nil
}

// applyToolChoice makes a required call certain by constraining the answer to
// it; a model's own format of tool calls does not matter then.
func (r *chatRequest) applyToolChoice(j *job) error {
	var (
		mode  string
		named struct {
			Type     string `json:"type"`
			Function struct {
				Name string `json:"name"`
			} `json:"function"`
		}
	)
	if raw := r.ToolChoice; len(raw) > 0 && string(raw) != "null" {
		if json.Unmarshal(raw, &mode) != nil {
			if err := json.Unmarshal(raw, &named); err != nil || named.Type != "function" {
				return unsupported("tool_choice", "tool_choice: want none, auto, required, or an object of type function")
			}
			mode = "named"
		}
	}
	candidates := j.render.Tools
	switch mode {
	case "none":
		j.render.Tools = nil
		return nil
	case "", "auto":
		j.tools = len(j.render.Tools) > 0
		return nil
	case "required":
	case "named":
		candidates = nil
		for _, t := range j.render.Tools {
			if t.Function.Name == named.Function.Name {
				candidates = []chat.Tool{t}
			}
		}
	default:
		return badRequest("tool_choice", "tool_choice is %q, want none, auto, required, or an object of type function", mode)
	}
	if len(candidates) == 0 {
		return badRequest("tool_choice", "tool_choice asks for a function that tools does not have")
	}
	if j.request.Grammar != nil {
		return badRequest("tool_choice", "tool_choice requires a call and response_format something else")
	}
	schema, err := forcedSchema(candidates)
	if err != nil {
		return err
	}
	j.tools, j.forced = true, true
	j.request.Grammar, err = schemaGrammar("tools", schema)
	return err
}

// finishReason is OpenAI's word for why an answer ended.
func finishReason(stop engine.StopReason, calls bool) string {
	switch {
	case calls:
		return "tool_calls"
	case stop == engine.StopLength:
		return "length"
	}
	return "stop"
}

// convertCalls gives calls the ids that clients refer to.
func convertCalls(calls []chat.ToolCall, newID func() string, indexed bool) []chatToolCall {
	var out []chatToolCall
	for i, c := range calls {
		args := c.Arguments
		if len(args) == 0 {
			args = json.RawMessage("{}")
		}
		call := chatToolCall{ID: c.ID, Type: "function", Function: chatFunctionCall{Name: c.Name, Arguments: string(args)}}
		if call.ID == "" {
			call.ID = newID()
		}
		if indexed {
			call.Index = &i
		}
		out = append(out, call)
	}
	return out
}

// lowestLogprob stands for minus infinity, which JSON does not have.
const lowestLogprob = -9999

func finiteLogprob(v float64) float64 {
	if math.IsNaN(v) || v < lowestLogprob {
		return lowestLogprob
	}
	return v
}

// convertLogprob describes a token and its alternatives.
func convertLogprob(piece func(int32) []byte, e engine.Event, top int) tokenLogprob {
	t := describeToken(piece, e.Token, e.Logprob)
	t.Top = make([]tokenLogprob, 0, top)
	for _, alt := range e.Top[:min(top, len(e.Top))] {
		t.Top = append(t.Top, describeToken(piece, alt.ID, alt.Logprob))
	}
	return t
}

func describeToken(piece func(int32) []byte, id int32, logprob float64) tokenLogprob {
	b := piece(id)
	t := tokenLogprob{Token: strings.ToValidUTF8(string(b), "\uFFFD"), Logprob: finiteLogprob(logprob), Bytes: make([]int, len(b))}
	for i, c := range b {
		t.Bytes[i] = int(c)
	}
	return t
}
