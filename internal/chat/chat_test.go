package chat_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/chat"
)

func render(t *testing.T, source string, in chat.Input) string {
	t.Helper()
	tmpl, err := chat.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	out, err := tmpl.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var talk = []chat.Message{
	{Role: "system", Content: "Be kind."},
	{Role: "user", Content: " Hi "},
	{Role: "assistant", Content: "Hello!"},
	{Role: "user", Content: "Bye"},
}

func TestBuiltin(t *testing.T) {
	for name, want := range map[string]string{
		"chatml": "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n<|im_start|>assistant\nHello!<|im_end|>\n" +
			"<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
		"llama2": "<s>[INST] <<SYS>>\nBe kind.\n<</SYS>>\n\nHi [/INST] Hello! </s><s>[INST] Bye [/INST]",
		"llama3": "<s><|start_header_id|>system<|end_header_id|>\n\nBe kind.<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>" +
			"<|start_header_id|>assistant<|end_header_id|>\n\nHello!<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>" +
			"<|start_header_id|>assistant<|end_header_id|>\n\n",
		"mistral": "<s>[INST] Be kind.\n\n Hi  [/INST] Hello!</s>[INST] Bye [/INST]",
		"zephyr":  "<|system|>\nBe kind.</s>\n<|user|>\n Hi </s>\n<|assistant|>\nHello!</s>\n<|user|>\nBye</s>\n<|assistant|>\n",
		"gemma": "<s><start_of_turn>user\nBe kind.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello!<end_of_turn>\n" +
			"<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
		"phi3": "<|system|>\nBe kind.<|end|>\n<|user|>\n Hi <|end|>\n<|assistant|>\nHello!<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n",
	} {
		t.Run(name, func(t *testing.T) {
			got := render(t, chat.Builtin(name), chat.Input{Messages: talk, AddGenerationPrompt: true, BOS: "<s>", EOS: "</s>"})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	for _, name := range chat.BuiltinNames() {
		if _, err := chat.Parse(chat.Builtin(name)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if chat.Builtin("gemma3") != chat.Builtin("gemma") || chat.Builtin("qwen3") != chat.Builtin("chatml") {
		t.Error("an architecture has the wrong template")
	}
}

func TestRenderInput(t *testing.T) {
	call := chat.ToolCall{ID: "c1", Name: "f", Arguments: json.RawMessage(`{"z":1,"a":[true,null,1.50],"é":"\u00fc"}`)}
	quoted := chat.ToolCall{Name: "g", Arguments: json.RawMessage(`"{\"x\": 1}"`)}
	broken := chat.ToolCall{Name: "h", Arguments: json.RawMessage(`{"x": `)}
	var raw chat.Tool
	if err := json.Unmarshal([]byte(`{"type":"function","function":{"strict":true,"name":"r","parameters":{"type":"object"}}}`), &raw); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, source string
		in           chat.Input
		want         string
	}{
		{"no tools", "{{ tools }} {{ documents }} {{ tools is none }} {{ add_generation_prompt }}", chat.Input{}, "None None True False"},
		{
			"messages", "{{ messages }}",
			chat.Input{Messages: []chat.Message{{Role: "user", Content: "a'b"}, {Role: "tool", Content: "x", Name: "f", ToolCallID: "c1"}}},
			`[{'role': 'user', 'content': "a'b"}, {'role': 'tool', 'content': 'x', 'tool_call_id': 'c1', 'name': 'f'}]`,
		},
		{"reasoning", "{{ messages[0].reasoning_content }}", chat.Input{Messages: []chat.Message{{Role: "assistant", Reasoning: "hm"}}}, "hm"},
		{
			"call", "{{ messages[0].tool_calls[0] | tojson }}",
			chat.Input{Messages: []chat.Message{{Role: "assistant", ToolCalls: []chat.ToolCall{call}}}},
			`{"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"z": 1, "a": [true, null, 1.5], "é": "ü"}}}`,
		},
		{
			"arguments in a string", "{{ messages[0].tool_calls[0] | tojson }}",
			chat.Input{Messages: []chat.Message{{ToolCalls: []chat.ToolCall{quoted}}}},
			`{"type": "function", "function": {"name": "g", "arguments": {"x": 1}}}`,
		},
		{"arguments that are no JSON", "{{ messages[0].tool_calls[0].function.arguments }}", chat.Input{Messages: []chat.Message{{ToolCalls: []chat.ToolCall{broken}}}}, `{"x": `},
		{"arguments added to text", "{{ 'a ' + messages[0].tool_calls[0].function.arguments }}", chat.Input{Messages: []chat.Message{{ToolCalls: []chat.ToolCall{quoted}}}}, `a {"x": 1}`},
		{
			"tool", "{{ tools[0] | tojson }}",
			chat.Input{Tools: []chat.Tool{{Function: chat.Function{Name: "f", Description: "d", Parameters: json.RawMessage(`{"b":1,"a":2}`)}}}},
			`{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"b": 1, "a": 2}}}`,
		},
		{"raw tool", "{{ tools[0] | tojson }}", chat.Input{Tools: []chat.Tool{raw}}, `{"type": "function", "function": {"strict": true, "name": "r", "parameters": {"type": "object"}}}`},
		{"extra", "{{ enable_thinking }} {{ l }} {{ m }}", chat.Input{Extra: map[string]any{"enable_thinking": false, "l": []any{1, "x"}, "m": map[string]any{"b": 1, "a": nil}}}, "False [1, 'x'] {'a': None, 'b': 1}"},
		{"date", "{{ strftime_now('%d %b %Y, %A %-d %j') }}", chat.Input{Date: "2026-02-03"}, "03 Feb 2026, Tuesday 3 034"},
		{"time", "{{ strftime_now('%H:%M:%S %p') }}", chat.Input{Date: "2026-02-03T14:05:06"}, "14:05:06 PM"},
		{"no date", "{{ strftime_now('%Y-%m-%d') }}", chat.Input{}, "2024-07-26"},
		{"invalid UTF-8", "{{ messages[0].content }}", chat.Input{Messages: []chat.Message{{Content: "a\xffb"}}}, "a\ufffdb"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, render(t, test.source, test.in)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestRenderErrors(t *testing.T) {
	tmpl, err := chat.Parse("{{ raise_exception('no ' + messages[0].role) }}")
	if err != nil {
		t.Fatal(err)
	}
	_, err = tmpl.Render(chat.Input{Messages: []chat.Message{{Role: "system"}}})
	var raised *chat.RaisedError
	if !errors.As(err, &raised) || raised.Message != "no system" {
		t.Errorf("got %v", err)
	}
	for name, in := range map[string]chat.Input{
		"date":              {Date: "today"},
		"tool":              {Tools: []chat.Tool{{Raw: json.RawMessage("{")}}},
		"extra":             {Extra: map[string]any{"x": struct{}{}}},
		"other messages":    {Extra: map[string]any{"messages": []any{}}},
		"other tools":       {Extra: map[string]any{"tools": nil}},
		"another ending":    {Extra: map[string]any{"add_generation_prompt": true}},
		"another end":       {Extra: map[string]any{"eos_token": ""}},
		"another beginning": {Extra: map[string]any{"bos_token": ""}},
	} {
		if _, err := tmpl.Render(in); err == nil || errors.As(err, &raised) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestParseToolCalls(t *testing.T) {
	call := func(name, args string) chat.ToolCall {
		return chat.ToolCall{Name: name, Arguments: json.RawMessage(args)}
	}
	for _, test := range []struct {
		name, text, content string
		calls               []chat.ToolCall
	}{
		{"none", "Hello <b>", "Hello <b>", nil},
		{"empty", "", "", nil},
		{"hermes", "Let me see.\n<tool_call>\n{\"name\": \"f\", \"arguments\": {\"a\": 1}}\n</tool_call>", "Let me see.", []chat.ToolCall{call("f", `{"a": 1}`)}},
		{
			"hermes, two", "<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>\n<tool_call>{\"arguments\":{\"x\":\"</tool_call>\"},\"name\":\"g\"}</tool_call>",
			"",
			[]chat.ToolCall{call("f", `{}`), call("g", `{"x":"</tool_call>"}`)},
		},
		{"hermes, not closed", "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}", "", []chat.ToolCall{call("f", `{}`)}},
		{"hermes, cut off", "<tool_call>\n{\"name\": \"f\", \"argu", "<tool_call>\n{\"name\": \"f\", \"argu", nil},
		{"hermes, no call", "<tool_call>{\"name\": 1}</tool_call> x", "<tool_call>{\"name\": 1}</tool_call> x", nil},
		{"hermes, no call and a call", "<tool_call>x</tool_call> <tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>", "<tool_call>x</tool_call>", []chat.ToolCall{call("f", `{}`)}},
		{"arguments in a string", "<tool_call>{\"name\":\"f\",\"arguments\":\"{\\\"a\\\": 2}\"}</tool_call>", "", []chat.ToolCall{call("f", `{"a": 2}`)}},
		{"phi", "<|tool_call|>[{\"name\":\"f\",\"arguments\":{}}]<|/tool_call|>", "", []chat.ToolCall{call("f", `{}`)}},
		{"llama", "{\"name\": \"f\", \"parameters\": {\"a\": \"b\"}}", "", []chat.ToolCall{call("f", `{"a": "b"}`)}},
		{"llama, with type", "{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": {}}}", "", []chat.ToolCall{call("f", `{}`)}},
		{"llama, text behind", "{\"name\": \"f\", \"parameters\": {}} done", "{\"name\": \"f\", \"parameters\": {}} done", nil},
		{"JSON that is no call", "{\"name\": \"Ann\", \"age\": 3}", "{\"name\": \"Ann\", \"age\": 3}", nil},
		{"python tag", "<|python_tag|>{\"name\": \"f\", \"parameters\": {}}; {\"name\": \"g\", \"parameters\": {}}", "", []chat.ToolCall{call("f", `{}`), call("g", `{}`)}},
		{"built-in tool", "<|python_tag|>brave_search.call(query=\"a, \\\"b\\\")\", n=2)", "", []chat.ToolCall{call("brave_search", `{"query": "a, \"b\")", "n": 2}`)}},
		{"python code", "<|python_tag|>print(1)", "<|python_tag|>print(1)", nil},
		{"function tag", "<function=f>{\"a\": 1}</function>", "", []chat.ToolCall{call("f", `{"a": 1}`)}},
		{
			"mistral", "ok [TOOL_CALLS][{\"name\": \"f\", \"arguments\": {\"a\": 1}, \"id\": \"abcdefghi\"}, {\"name\": \"g\", \"arguments\": {}}]", "ok",
			[]chat.ToolCall{{ID: "abcdefghi", Name: "f", Arguments: json.RawMessage(`{"a": 1}`)}, call("g", `{}`)},
		},
		{"mistral, new", "[TOOL_CALLS]f[ARGS]{\"a\": 1}[TOOL_CALLS]g[CALL_ID]xyz[ARGS]{}", "", []chat.ToolCall{call("f", `{"a": 1}`), {ID: "xyz", Name: "g", Arguments: json.RawMessage(`{}`)}}},
		{"deep", "<tool_call>" + deep(20000), "<tool_call>" + deep(20000), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			content, calls := chat.ParseToolCalls(test.text)
			if diff := cmp.Diff(test.content, content); diff != "" {
				t.Error("content", diff)
			}
			if diff := cmp.Diff(test.calls, calls); diff != "" {
				t.Error("calls", diff)
			}
		})
	}
}

func deep(n int) string {
	b := make([]byte, n)
	for i := range b {
		b[i] = '['
	}
	return string(b)
}

func TestSplitReasoning(t *testing.T) {
	for _, test := range []struct{ text, reasoning, content string }{
		{"", "", ""},
		{" plain ", "", " plain "},
		{"<think>\nhm\n</think>\n\nyes", "hm", "yes"},
		{"<think></think>yes", "", "yes"},
		{"hm</think>yes</think>", "hm", "yes</think>"},
		{"\n<think>still", "still", ""},
		{"a <think>b</think> c", "", "a <think>b</think> c"},
	} {
		reasoning, content := chat.SplitReasoning(test.text)
		if reasoning != test.reasoning || content != test.content {
			t.Errorf("%q: got %q and %q, want %q and %q", test.text, reasoning, content, test.reasoning, test.content)
		}
	}
}

func FuzzParseToolCalls(f *testing.F) {
	for _, s := range []string{
		"a<tool_call>{\"name\":\"f\",\"arguments\":{}}</tool_call>b", "[TOOL_CALLS][{\"name\":\"f\",\"arguments\":{},\"id\":\"x\"}]",
		"[TOOL_CALLS]f[ARGS]{}", "<|python_tag|>a.call(b=\"c\", d=1)", "{\"name\":\"f\",\"parameters\":{}};{\"name\":\"g\",\"parameters\":{}}",
		"<function=f>{}</function>", "<|tool_call|>[]<|/tool_call|>", "<tool_call><tool_call>", "<think>x</think>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		content, calls := chat.ParseToolCalls(text)
		if len(calls) == 0 && content != text {
			t.Errorf("no calls, but the content changed from %q to %q", text, content)
		}
		for _, c := range calls {
			if c.Name == "" || !json.Valid(c.Arguments) {
				t.Errorf("call %+v of %q", c, text)
			}
		}
		chat.SplitReasoning(text)
	})
}

// A reply made of markers must not take time that grows with its square.
func TestParseToolCallsHostile(t *testing.T) {
	for _, part := range []string{"<tool_call>", "[TOOL_CALLS]x", "<|python_tag|>a.call(b=", "<function=", "<tool_call>[\"", "<|tool_call|>[1,", "[TOOL_CALLS][", "<|python_tag|>{"} {
		text := strings.Repeat(part, 1<<20/len(part))
		if content, calls := chat.ParseToolCalls(text); content != text || calls != nil {
			t.Errorf("%q: got %d calls", part, len(calls))
		}
	}
}
