package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Limits on the reply in which tool calls are looked for.
const (
	maxReply     = 1 << 20 // bytes; a longer reply has no tool calls
	maxToolCalls = 128     // further ones stay in the content
	maxName      = 256     // bytes in the name of a function, an argument or a call
)

// ParseToolCalls finds the function calls in a reply and returns the text
// around them and the calls, in order. It knows what the models write whose
// templates pass tools:
//
//   - Hermes, Qwen, SmolLM3: <tool_call>{"name": ..., "arguments": {...}}</tool_call>
//   - Phi 4 mini, Granite: <|tool_call|>[{"name": ..., "arguments": {...}}]
//   - Mistral: [TOOL_CALLS][{"name": ..., "arguments": {...}, "id": ...}], and
//     [TOOL_CALLS]name[ARGS]{...}
//   - Llama 3: a reply that is {"name": ..., "parameters": {...}} and nothing
//     else, several of them after <|python_tag|> divided by ";", or
//     name.call(key="value"); and <function=name>{...}</function>
//
// What only looks like a call stays in the content.
func ParseToolCalls(text string) (content string, calls []ToolCall) {
	if len(text) > maxReply {
		return text, nil
	}
	var rest strings.Builder
	last := 0
	for i := 0; i < len(text); {
		n, found := callsAt(text[i:])
		if n == 0 || len(calls)+len(found) > maxToolCalls {
			i++
			continue
		}
		rest.WriteString(text[last:i])
		calls = append(calls, found...)
		i += n
		last = i
	}
	if len(calls) > 0 {
		rest.WriteString(text[last:])
		return strings.TrimSpace(rest.String()), calls
	}
	if calls = bareCalls(text); len(calls) > 0 {
		return "", calls
	}
	return text, nil
}

// callsAt reads the calls at the start of s, if it starts with a marker, and
// returns how long they are. It looks no further than it must, so that a reply
// full of markers takes no longer than another.
func callsAt(s string) (int, []ToolCall) {
	if s[0] != '<' && s[0] != '[' {
		return 0, nil
	}
	for _, m := range markers {
		if body, ok := strings.CutPrefix(s, m.open); ok {
			if n, calls := m.read(body); len(calls) > 0 {
				return len(m.open) + n, calls
			}
		}
	}
	return 0, nil
}

// markers lists what calls begin with and how to read what follows.
var markers = []struct {
	open string
	read func(string) (int, []ToolCall)
}{
	{"<tool_call>", func(s string) (int, []ToolCall) { return delimited(s, "</tool_call>") }},
	{"<|tool_call|>", func(s string) (int, []ToolCall) { return delimited(s, "<|/tool_call|>") }},
	{"[TOOL_CALLS]", mistralCalls},
	{"<|python_tag|>", llamaCalls},
	{"<function=", functionCall},
}

// jsonValue reads one JSON value at the start of s, and returns where it ends.
func jsonValue(s string) (json.RawMessage, int, bool) {
	dec := json.NewDecoder(strings.NewReader(s))
	var raw json.RawMessage
	if err := dec.Decode(&raw); err != nil {
		return nil, 0, false
	}
	return raw, int(dec.InputOffset()), true
}

// spaces returns how much white space s begins with.
func spaces(s string) int { return len(s) - len(strings.TrimLeft(s, " \t\r\n")) }

// delimited reads a call, or a list of calls, and the closing marker, which
// may be missing where the model stopped.
func delimited(s, end string) (int, []ToolCall) {
	raw, n, ok := jsonValue(s)
	if !ok {
		return 0, nil
	}
	calls := decodeCalls(raw)
	after := n + spaces(s[n:])
	if strings.HasPrefix(s[after:], end) {
		n = after + len(end)
	}
	return n, calls
}

func mistralCalls(s string) (int, []ToolCall) {
	if lead := spaces(s); strings.HasPrefix(s[lead:], "[") || strings.HasPrefix(s[lead:], "{") {
		raw, n, ok := jsonValue(s)
		if !ok {
			return 0, nil
		}
		return n, decodeCalls(raw)
	}
	const mark = "[ARGS]"
	head, ok := cutNear(s, mark, 2*maxName)
	name, id, _ := strings.Cut(head, "[CALL_ID]")
	if name = strings.TrimSpace(name); !ok || !isName(name) {
		return 0, nil
	}
	raw, n, ok := jsonValue(s[len(head)+len(mark):])
	if !ok {
		return 0, nil
	}
	return len(head) + len(mark) + n, []ToolCall{{ID: strings.TrimSpace(id), Name: name, Arguments: raw}}
}

// cutNear returns what stands before a mark in the first bytes of s.
func cutNear(s, mark string, limit int) (string, bool) {
	head, _, ok := strings.Cut(s[:min(len(s), limit+len(mark))], mark)
	return head, ok
}

// isName reports whether s can be the name of a function.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsAny(s, " \t\r\n<>[](){}\"'=,;")
}

// llamaCalls reads what follows <|python_tag|>.
func llamaCalls(s string) (int, []ToolCall) {
	var calls []ToolCall
	end := 0
	for p := 0; ; {
		p += spaces(s[p:])
		raw, n, ok := jsonValue(s[p:])
		if !ok {
			break
		}
		c, ok := decodeCall(raw)
		if !ok {
			break
		}
		calls = append(calls, c)
		p += n
		end = p
		p += spaces(s[p:])
		if strings.HasPrefix(s[p:], ";") {
			p++
		}
	}
	if len(calls) > 0 {
		return end, calls
	}
	return builtinCall(s)
}

// builtinCall reads name.call(key="value", ...).
func builtinCall(s string) (int, []ToolCall) {
	name, ok := cutNear(s, ".call(", maxName)
	if !ok || !isName(name) {
		return 0, nil
	}
	n := len(name) + len(".call(")
	rest := s[n:]
	var args bytes.Buffer
	args.WriteByte('{')
	for !strings.HasPrefix(rest, ")") {
		if args.Len() > 1 {
			if !strings.HasPrefix(rest, ",") {
				return 0, nil
			}
			skip := 1 + spaces(rest[1:])
			n, rest = n+skip, rest[skip:]
			args.WriteString(", ")
		}
		key, ok := cutNear(rest, "=", maxName)
		if !ok || !isName(key) {
			return 0, nil
		}
		raw, size, ok := jsonValue(rest[len(key)+1:])
		if !ok {
			return 0, nil
		}
		quoted, err := json.Marshal(key)
		if err != nil {
			return 0, nil
		}
		fmt.Fprintf(&args, "%s: %s", quoted, raw)
		skip := len(key) + 1 + size
		n, rest = n+skip, rest[skip:]
	}
	args.WriteByte('}')
	return n + 1, []ToolCall{{Name: name, Arguments: args.Bytes()}}
}

// functionCall reads name>{...}</function>.
func functionCall(s string) (int, []ToolCall) {
	name, ok := cutNear(s, ">", maxName)
	if !ok || !isName(name) {
		return 0, nil
	}
	raw, n, ok := jsonValue(s[len(name)+1:])
	if !ok || raw[0] != '{' {
		return 0, nil
	}
	n += len(name) + 1
	if after := n + spaces(s[n:]); strings.HasPrefix(s[after:], "</function>") {
		n = after + len("</function>")
	}
	return n, []ToolCall{{Name: name, Arguments: raw}}
}

// bareCalls reads a reply that is nothing but calls in JSON.
func bareCalls(text string) []ToolCall {
	text = strings.TrimSpace(text)
	if !strings.HasPrefix(text, "{") {
		return nil
	}
	n, calls := llamaCalls(text)
	if strings.Trim(text[n:], "; \t\r\n") != "" || len(calls) > maxToolCalls {
		return nil
	}
	return calls
}

// decodeCalls reads a call or a list of calls; all must be calls.
func decodeCalls(raw json.RawMessage) []ToolCall {
	if c, ok := decodeCall(raw); ok {
		return []ToolCall{c}
	}
	var list []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var calls []ToolCall
	for _, item := range list {
		c, ok := decodeCall(item)
		if !ok {
			return nil
		}
		calls = append(calls, c)
	}
	return calls
}

// decodeCall reads {"name": ..., "arguments" or "parameters": ..., "id": ...},
// also inside {"type": "function", "function": {...}}.
func decodeCall(raw json.RawMessage) (ToolCall, bool) {
	if len(raw) == 0 || raw[0] != '{' {
		return ToolCall{}, false
	}
	f, err := fields(raw)
	if err != nil {
		return ToolCall{}, false
	}
	if inner, ok := f["function"]; ok && len(inner) > 0 && inner[0] == '{' {
		id := f["id"]
		if f, err = fields(inner); err != nil {
			return ToolCall{}, false
		}
		if id != nil {
			f["id"] = id
		}
	}
	var c ToolCall
	if json.Unmarshal(f["name"], &c.Name) != nil || c.Name == "" {
		return ToolCall{}, false
	}
	if id, ok := f["id"]; ok {
		_ = json.Unmarshal(id, &c.ID) // an id that is no text counts as none
	}
	args, ok := f["arguments"]
	if !ok {
		args, ok = f["parameters"]
	}
	if !ok {
		return ToolCall{}, false
	}
	args = unquoted(args)
	if !json.Valid(args) || bytes.TrimSpace(args)[0] != '{' {
		return ToolCall{}, false
	}
	c.Arguments = args
	return c, true
}

// fields reads the members of an object with their exact names; encoding/json
// would take them in any case into a struct.
func fields(raw json.RawMessage) (map[string]json.RawMessage, error) {
	var f map[string]json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(raw))
	if err := dec.Decode(&f); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("more than one value")
	}
	return f, nil
}
