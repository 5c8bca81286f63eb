package httpapi_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/httpapi"
)

// parseBare finds calls written <tool_call>NAME</tool_call>.
func parseBare(text string) (string, []chat.ToolCall) {
	content, rest, found := strings.Cut(text, "<tool_call>")
	name, _, closed := strings.Cut(rest, "</tool_call>")
	if !found || !closed {
		return text, nil
	}
	return content, []chat.ToolCall{{Name: name}}
}

var replyTests = []struct {
	name, text      string
	tools, thinking bool
	thought         string
	content         string
	calls           []chat.ToolCall
}{
	{name: "plain", text: "a < b\n", content: "a < b\n"},
	{name: "leading space", text: " \n a", content: " \n a"},
	{name: "only space", text: " \n", content: " \n"},
	{name: "nothing", text: "", content: ""},
	{name: "thoughts", text: "<think>\nhm, \n so\n</think>\n\nYes <think>", thought: "hm, \n so", content: "Yes <think>"},
	{name: "empty thoughts", text: "<think>\n\n</think>\n\nYes", content: "Yes"},
	{name: "thoughts without end", text: "<think>hm </thin", thought: "hm </thin"},
	{name: "thoughts opened by the prompt", text: "\nhm\n</think>Yes", thinking: true, thought: "hm", content: "Yes"},
	{name: "almost thoughts", text: "<thin>", content: "<thin>"},
	{name: "thoughts later", text: "a <think>b</think>", content: "a <think>b</think>"},
	{name: "call", text: "Ok: <tool_call>f</tool_call>", tools: true, content: "Ok: ", calls: []chat.ToolCall{{Name: "f"}}},
	{name: "call after thoughts", text: "<think>x</think>\n<tool_call>f</tool_call>", tools: true, thought: "x", calls: []chat.ToolCall{{Name: "f"}}},
	{name: "call without tools", text: "<tool_call>f</tool_call>", content: "<tool_call>f</tool_call>"},
	{name: "call without end", text: "a <tool_call>f", tools: true, content: "a <tool_call>f"},
	{name: "almost a call", text: "a <tool_cake> [b] {c}", tools: true, content: "a <tool_cake> [b] {c}"},
	{name: "object first", text: " {\"a\": 1}", tools: true, content: " {\"a\": 1}"},
	{name: "space with tools", text: " \n", tools: true, content: " \n"},
}

// TestReply feeds each text in one piece, byte by byte and cut in two at every
// place: the pieces must not matter.
func TestReply(t *testing.T) {
	for _, tt := range replyTests {
		t.Run(tt.name, func(t *testing.T) {
			cuts := [][]string{{tt.text}, strings.Split(tt.text, "")}
			for i := range len(tt.text) {
				cuts = append(cuts, []string{tt.text[:i], tt.text[i:]})
			}
			for _, parts := range cuts {
				thought, content, calls := httpapi.SplitReply(tt.tools, tt.thinking, parseBare, parts...)
				if thought != tt.thought || content != tt.content || !cmp.Equal(calls, tt.calls) {
					t.Fatalf("%q: thought %q, content %q, calls %v; want %q, %q, %v", parts, thought, content, calls, tt.thought, tt.content, tt.calls)
				}
			}
		})
	}
}

// FuzzReply compares any two ways to cut a text.
func FuzzReply(f *testing.F) {
	for _, tt := range replyTests {
		f.Add(tt.text, uint8(3), tt.tools, tt.thinking)
	}
	f.Fuzz(func(t *testing.T, text string, cut uint8, tools, thinking bool) {
		i := min(int(cut), len(text))
		th1, co1, ca1 := httpapi.SplitReply(tools, thinking, parseBare, text)
		th2, co2, ca2 := httpapi.SplitReply(tools, thinking, parseBare, text[:i], text[i:])
		if th1 != th2 || co1 != co2 || !cmp.Equal(ca1, ca2) {
			t.Errorf("%q cut at %d: %q %q %v, whole: %q %q %v", text, i, th2, co2, ca2, th1, co1, ca1)
		}
		if len(th1)+len(co1) > len(text) {
			t.Errorf("%q: more came out than went in", text)
		}
	})
}
