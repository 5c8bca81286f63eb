package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/avalnetwork/aval/internal/chat"
)

// Some models write their thoughts first, between these marks.
const (
	thinkBegin = "<think>"
	thinkEnd   = "</think>"
)

// toolMarks begin a tool call in the formats that models write; toolStarts do
// so only as the first thing of an answer.
var (
	toolMarks = []string{
		"<tool_call>", "<function=", "<|python_tag|>", "<|tool_call|>", "<|tool_call>",
		"[TOOL_CALLS]", "<tool_code>", "<|tool_calls_section_begin|>", "<｜tool▁calls▁begin｜>", "functools[",
	}
	toolStarts = []string{"{", "[", "```json", "```tool_code"}
)

// reply sorts the text of an answer into thoughts, content and tool calls
// while it comes in.
type reply struct {
	tools   bool // tool calls are looked for
	forced  bool // the whole text is one tool call, made by forcedSchema
	state   replyState
	buf     string // text not yet sorted
	thought bool   // thoughts have been given out
	spoke   bool   // content other than white space has been given out
	calls   func(text string) (content string, calls []chat.ToolCall)
}

type replyState int

const (
	replyStart replyState = iota // nothing but white space so far
	replyThinking
	replyAfter // thoughts have ended, and white space is dropped
	replyContent
	replyHeld // a tool call has begun; all text is kept for end
)

// newReply starts an answer. thinking says that the prompt ends within the
// model's thoughts.
func newReply(tools, forced, thinking bool) *reply {
	r := &reply{tools: tools, forced: forced, calls: chat.ParseToolCalls}
	switch {
	case forced:
		r.state = replyHeld
	case thinking:
		r.state = replyThinking
	}
	return r
}

// add takes the next text and returns what is certain by now.
func (r *reply) add(text string) (thinking, content string) {
	r.buf += text
	for {
		before := r.state
		th, c := r.step()
		thinking += th
		content += c
		if r.state == before {
			return thinking, content
		}
	}
}

func (r *reply) step() (thinking, content string) {
	switch r.state {
	case replyStart:
		rest := strings.TrimLeft(r.buf, " \t\r\n")
		switch {
		case strings.HasPrefix(rest, thinkBegin):
			r.state, r.buf = replyThinking, rest[len(thinkBegin):]
		case !strings.HasPrefix(thinkBegin, rest):
			r.state = replyContent
		}
	case replyThinking:
		return r.stepThinking(), ""
	case replyAfter:
		if r.buf = strings.TrimLeft(r.buf, " \t\r\n"); r.buf != "" {
			r.state = replyContent
		}
	case replyContent:
		return "", r.stepContent()
	}
	return "", ""
}

// stepThinking gives out thoughts without the line breaks around them.
func (r *reply) stepThinking() string {
	if !r.thought {
		r.buf = strings.TrimLeft(r.buf, "\r\n")
	}
	before, after, found := strings.Cut(r.buf, thinkEnd)
	if found {
		r.state, r.buf = replyAfter, after
		return strings.TrimRight(before, "\r\n")
	}
	rest := r.buf[:len(r.buf)-partial(r.buf, []string{thinkEnd})]
	rest = strings.TrimRight(rest, "\r\n")
	r.thought = r.thought || rest != ""
	return r.give(len(rest))
}

// stepContent gives out content up to where a tool call begins or may begin.
func (r *reply) stepContent() string {
	if !r.tools {
		return r.give(len(r.buf))
	}
	if !r.spoke {
		rest := strings.TrimLeft(r.buf, " \t\r\n")
		for _, mark := range toolStarts {
			if strings.HasPrefix(rest, mark) {
				r.state = replyHeld
				return ""
			}
			if strings.HasPrefix(mark, rest) {
				return "" // also when there is only white space
			}
		}
	}
	first := -1
	for _, mark := range toolMarks {
		if i := strings.Index(r.buf, mark); i >= 0 && (first < 0 || i < first) {
			first = i
		}
	}
	if first >= 0 {
		r.state = replyHeld
		return r.give(first)
	}
	n := len(r.buf) - partial(r.buf, toolMarks)
	r.spoke = r.spoke || strings.TrimSpace(r.buf[:n]) != ""
	return r.give(n)
}

// give cuts the first n bytes off the buffer.
func (r *reply) give(n int) string {
	s := r.buf[:n]
	r.buf = r.buf[n:]
	return s
}

// end returns what add kept back, with the tool calls in it.
func (r *reply) end() (thinking, content string, calls []chat.ToolCall) {
	rest := r.buf
	r.buf = ""
	switch {
	case r.forced:
		if call, ok := parseForced(rest); ok {
			return "", "", []chat.ToolCall{call}
		}
		return "", rest, nil
	case r.state == replyThinking:
		return strings.TrimRight(rest, "\r\n"), "", nil
	case r.state == replyHeld:
		content, calls = r.calls(rest)
		if len(calls) == 0 {
			return "", rest, nil
		}
		return "", content, calls
	}
	return "", rest, nil
}

// partial returns the length of the longest end of s that begins, but is not,
// one of the marks.
func partial(s string, marks []string) int {
	longest := 0
	for _, mark := range marks {
		for n := min(len(mark)-1, len(s)); n > longest; n-- {
			if strings.HasSuffix(s, mark[:n]) {
				longest = n
				break
			}
		}
	}
	return longest
}

// forcedSchema returns the JSON schema of a call of one of the tools. An
// answer that it constrains is read by parseForced.
func forcedSchema(tools []chat.Tool) ([]byte, error) {
	// The struct keeps the order of the properties, in which they are generated:
	// a model chooses the function first.
	type properties struct {
		Name      map[string]string `json:"name"`
		Arguments json.RawMessage   `json:"arguments"`
	}
	type object struct {
		Type       string     `json:"type"`
		Properties properties `json:"properties"`
		Required   []string   `json:"required"`
		Additional bool       `json:"additionalProperties"`
	}
	var calls []object
	for _, t := range tools {
		params := t.Function.Parameters
		if len(params) == 0 {
			params = json.RawMessage(`{"type":"object","properties":{},"additionalProperties":false}`)
		}
		calls = append(calls, object{
			Type:       "object",
			Properties: properties{map[string]string{"const": t.Function.Name}, params},
			Required:   []string{"name", "arguments"},
		})
	}
	var schema any = map[string]any{"anyOf": calls}
	if len(calls) == 1 {
		schema = calls[0]
	}
	b, err := encode(schema)
	if err != nil {
		return nil, fmt.Errorf("tools: %w", err)
	}
	return b, nil
}

// parseForced reads what forcedSchema allows.
func parseForced(text string) (chat.ToolCall, bool) {
	var call struct {
		Name      string          `json:"name"`
		Arguments json.RawMessage `json:"arguments"`
	}
	if json.Unmarshal([]byte(text), &call) != nil || call.Name == "" {
		return chat.ToolCall{}, false // cut off by a limit
	}
	return chat.ToolCall{Name: call.Name, Arguments: call.Arguments}, true
}
