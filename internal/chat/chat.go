// Package chat turns conversations into the text that a model was trained on,
// and a model's text back into an answer.
//
// Call [Parse] on the Jinja template of a model's file, or on [Builtin] where
// it has none, and [Template.Render] for every prompt. [ParseToolCalls] finds
// the function calls in a model's reply, [SplitReasoning] its thoughts.
//
// The text is a function of the template and the [Input]: no clock, no locale,
// no file is read, and the order of the keys of tools and arguments is the one
// they were given in. Templates are untrusted; see package jinja below this one
// for their limits, and for why it is our own.
//
// [Encode] turns the text into tokens. The package does not decide whether a
// reply may call functions.
package chat

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/chat/jinja"
)

// Message is one turn of a conversation.
type Message struct {
	Role    string
	Content string
	// Name is the speaker, or the function whose result this is; may be empty.
	Name string
	// Reasoning is what an assistant thought before it answered; templates see
	// it as reasoning_content where it is not empty.
	Reasoning string
	// ToolCalls are the calls that an assistant made.
	ToolCalls []ToolCall
	// ToolCallID says which call a message with role tool answers.
	ToolCallID string
}

// ToolCall is a call of a function.
type ToolCall struct {
	ID   string
	Name string
	// Arguments is a JSON object, or, as in the OpenAI API, a JSON string that
	// holds one.
	Arguments json.RawMessage
}

// Tool is a function that the model may call.
type Tool struct {
	Type     string
	Function Function
	// Raw, if set, is the whole tool as JSON, which the template then sees
	// instead of the other fields. Decoding a Tool from JSON sets it.
	Raw json.RawMessage `json:"-"`
}

// Function describes a function.
type Function struct {
	Name        string
	Description string
	Parameters  json.RawMessage // a JSON schema
}

// UnmarshalJSON keeps the tool's text, and with it the order of its keys.
func (t *Tool) UnmarshalJSON(data []byte) error {
	var fields struct {
		Type     string
		Function Function
	}
	if err := json.Unmarshal(data, &fields); err != nil {
		return err
	}
	*t = Tool{Type: fields.Type, Function: fields.Function, Raw: bytes.Clone(data)}
	return nil
}

// Input is what a template renders.
type Input struct {
	Messages []Message
	Tools    []Tool
	// AddGenerationPrompt ends the text where the assistant's answer begins.
	AddGenerationPrompt bool
	// BOS and EOS are the texts of the model's tokens.
	BOS, EOS string
	// Extra variables, such as enable_thinking. They cannot be those that the
	// fields above set: a receipt shows the messages, and they must be the ones
	// that the model read.
	Extra map[string]any
	// Date is what strftime_now formats, as 2006-01-02 or 2006-01-02T15:04:05.
	// Empty means 2024-07-26, the date that Llama 3.1's template has for none.
	Date string
}

// RaisedError is the error of a template that refuses a conversation.
type RaisedError = jinja.RaisedError

// Template is a parsed chat template, safe for use by several goroutines.
type Template struct {
	jinja  *jinja.Template
	source string
}

// Parse reads a template.
func Parse(source string) (*Template, error) {
	t, err := jinja.Parse(source)
	if err != nil {
		return nil, err
	}
	return &Template{t, source}, nil
}

// Source is the text that was parsed.
func (t *Template) Source() string { return t.source }

// Render returns the text of a conversation. A template that refuses it gives
// a [RaisedError].
func (t *Template) Render(in Input) (string, error) {
	now, err := parseDate(in.Date)
	if err != nil {
		return "", err
	}
	vars, err := in.vars(false)
	if err != nil {
		return "", err
	}
	text, err := t.jinja.Render(vars, jinja.Options{Now: now})
	if err == nil || !in.hasCalls() || refused(err) {
		return text, err
	}
	// Most templates want a call's arguments as a mapping, which is what the
	// transformers library gives them; some add them to text.
	if vars, err2 := in.vars(true); err2 == nil {
		if text, err2 := t.jinja.Render(vars, jinja.Options{Now: now}); err2 == nil {
			return text, nil
		}
	}
	return "", err
}

func refused(err error) bool {
	var raised *RaisedError
	return errors.As(err, &raised) || errors.Is(err, jinja.ErrLimit)
}

func parseDate(s string) (time.Time, error) {
	if s == "" {
		return jinja.DefaultNow, nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("date %q of the prompt: write it as 2006-01-02 or 2006-01-02T15:04:05", s)
}

func (in *Input) hasCalls() bool {
	return slices.ContainsFunc(in.Messages, func(m Message) bool { return len(m.ToolCalls) > 0 })
}

// vars builds the template's variables, with the arguments of calls as
// mappings or as text.
func (in *Input) vars(textArgs bool) (*jinja.Dict, error) {
	vars := jinja.NewDict()
	messages := make([]jinja.Value, len(in.Messages))
	for i, msg := range in.Messages {
		messages[i] = msg.value(textArgs)
	}
	vars.Set("messages", jinja.NewList(messages...))
	vars.Set("tools", nil)
	vars.Set("documents", nil)
	if len(in.Tools) > 0 {
		tools := make([]jinja.Value, len(in.Tools))
		for i, tool := range in.Tools {
			v, err := tool.value()
			if err != nil {
				return nil, fmt.Errorf("tool %d (%q): %w", i, tool.Function.Name, err)
			}
			tools[i] = v
		}
		vars.Set("tools", jinja.NewList(tools...))
	}
	vars.Set("add_generation_prompt", in.AddGenerationPrompt)
	vars.Set("bos_token", valid(in.BOS))
	vars.Set("eos_token", valid(in.EOS))
	for id, x := range in.Extra { // the order of variables cannot be seen
		switch id {
		case "messages", "tools", "add_generation_prompt", "bos_token", "eos_token":
			return nil, fmt.Errorf("template variable %q: the conversation itself sets it", id)
		}
		v, err := jinja.FromGo(x)
		if err != nil {
			return nil, fmt.Errorf("template variable %q: %w", id, err)
		}
		vars.Set(id, v)
	}
	return vars, nil
}

// valid replaces what is not UTF-8.
func valid(s string) string { return strings.ToValidUTF8(s, "\ufffd") }

func (m *Message) value(textArgs bool) jinja.Value {
	d := jinja.NewDict()
	d.Set("role", valid(m.Role))
	d.Set("content", valid(m.Content))
	if m.Reasoning != "" {
		d.Set("reasoning_content", valid(m.Reasoning))
	}
	if len(m.ToolCalls) > 0 {
		calls := make([]jinja.Value, len(m.ToolCalls))
		for i, c := range m.ToolCalls {
			calls[i] = c.value(textArgs)
		}
		d.Set("tool_calls", jinja.NewList(calls...))
	}
	if m.ToolCallID != "" {
		d.Set("tool_call_id", valid(m.ToolCallID))
	}
	if m.Name != "" {
		d.Set("name", valid(m.Name))
	}
	return d
}

func (c *ToolCall) value(textArgs bool) jinja.Value {
	fn := jinja.NewDict()
	fn.Set("name", valid(c.Name))
	fn.Set("arguments", arguments(c.Arguments, textArgs))
	d := jinja.NewDict()
	if c.ID != "" {
		d.Set("id", valid(c.ID))
	}
	d.Set("type", "function")
	d.Set("function", fn)
	return d
}

// arguments returns the arguments of a call. What a model wrote need not be
// JSON; it is then passed on as text.
func arguments(raw json.RawMessage, asText bool) jinja.Value {
	raw = unquoted(raw)
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = json.RawMessage("{}")
	}
	if !asText {
		if v, err := jinja.ParseJSON(raw); err == nil {
			return v
		}
	}
	return valid(string(raw))
}

// unquoted returns the JSON text inside a JSON string, or else its argument.
func unquoted(raw json.RawMessage) json.RawMessage {
	if !bytes.HasPrefix(bytes.TrimSpace(raw), []byte{'"'}) {
		return raw
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return raw
	}
	return json.RawMessage(s)
}

func (t *Tool) value() (jinja.Value, error) {
	if len(t.Raw) > 0 {
		return jinja.ParseJSON(t.Raw)
	}
	fn := jinja.NewDict()
	fn.Set("name", valid(t.Function.Name))
	if t.Function.Description != "" {
		fn.Set("description", valid(t.Function.Description))
	}
	if len(t.Function.Parameters) > 0 {
		v, err := jinja.ParseJSON(t.Function.Parameters)
		if err != nil {
			return nil, err
		}
		fn.Set("parameters", v)
	}
	d := jinja.NewDict()
	typ := t.Type
	if typ == "" {
		typ = "function"
	}
	d.Set("type", valid(typ))
	d.Set("function", fn)
	return d, nil
}
