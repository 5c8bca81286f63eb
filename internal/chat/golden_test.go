package chat_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/testdata"
)

var update = flag.Bool("update", false, "let Python's jinja2 write the expected outputs anew")

// conversation is one of testdata/conversations.json. Vars are what the
// transformers library passes to a template, and what the oracle gets.
type conversation struct {
	Name string
	Vars json.RawMessage
}

// rendering is the expected output for a conversation; nil if the template
// refuses it.
type rendering struct {
	Name   string  `json:"name"`
	Output *string `json:"output"`
}

func conversations(t *testing.T) []conversation {
	t.Helper()
	data, err := os.ReadFile("testdata/conversations.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []conversation
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

// input turns the variables of a conversation into an Input.
func input(t *testing.T, vars json.RawMessage) chat.Input {
	t.Helper()
	var v struct {
		Messages []struct {
			Role, Content, Name string
			Reasoning           string `json:"reasoning_content"`
			ToolCallID          string `json:"tool_call_id"`
			ToolCalls           []struct {
				ID       string
				Function struct {
					Name      string
					Arguments json.RawMessage
				}
			} `json:"tool_calls"`
		}
		Tools []chat.Tool
		Add   bool   `json:"add_generation_prompt"`
		BOS   string `json:"bos_token"`
		EOS   string `json:"eos_token"`
	}
	extra := map[string]any{}
	if err := json.Unmarshal(vars, &v); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(vars, &extra); err != nil {
		t.Fatal(err)
	}
	for _, known := range []string{"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"} {
		delete(extra, known)
	}
	in := chat.Input{Tools: v.Tools, AddGenerationPrompt: v.Add, BOS: v.BOS, EOS: v.EOS, Extra: extra}
	for _, m := range v.Messages {
		msg := chat.Message{Role: m.Role, Content: m.Content, Name: m.Name, Reasoning: m.Reasoning, ToolCallID: m.ToolCallID}
		for _, c := range m.ToolCalls {
			msg.ToolCalls = append(msg.ToolCalls, chat.ToolCall{ID: c.ID, Name: c.Function.Name, Arguments: c.Function.Arguments})
		}
		in.Messages = append(in.Messages, msg)
	}
	return in
}

// askOracle renders all conversations with Python's jinja2.
func askOracle(t *testing.T, source string, list []conversation) []rendering {
	t.Helper()
	var stdin bytes.Buffer
	for _, c := range list {
		line, err := json.Marshal(map[string]any{"template": source, "vars": c.Vars})
		if err != nil {
			t.Fatal(err)
		}
		stdin.Write(append(line, '\n'))
	}
	cmd := exec.Command("/usr/bin/python3", "jinja/testdata/oracle.py")
	cmd.Stdin = &stdin
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("the oracle needs /usr/bin/python3 with jinja2: %v", err)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	var answers []rendering
	for _, c := range list {
		r := rendering{Name: c.Name}
		if err := dec.Decode(&r); err != nil {
			t.Fatal(err)
		}
		answers = append(answers, r)
	}
	return answers
}

// checkGolden compares a template's renderings with testdata/golden/name.json.
func checkGolden(t *testing.T, name, source string) {
	t.Helper()
	list := conversations(t)
	path := filepath.Join("testdata", "golden", name+".json")
	if *update {
		var b bytes.Buffer
		b.WriteString("[\n")
		for i, r := range askOracle(t, source, list) {
			if i > 0 {
				b.WriteString(",\n")
			}
			enc := json.NewEncoder(&b)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(r); err != nil {
				t.Fatal(err)
			}
			b.Truncate(b.Len() - 1)
		}
		b.WriteString("\n]\n")
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want []rendering
	if err := json.Unmarshal(data, &want); err != nil {
		t.Fatal(err)
	}
	tmpl, err := chat.Parse(source)
	if err != nil {
		t.Fatal(err)
	}
	var got []rendering
	for _, c := range list {
		r := rendering{Name: c.Name}
		if out, err := tmpl.Render(input(t, c.Vars)); err == nil {
			r.Output = &out
		}
		got = append(got, r)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestPublishedTemplates renders the templates of published models.
func TestPublishedTemplates(t *testing.T) {
	folder := testdata.Shared(t, "tokenizers", "chat-templates")
	files, err := filepath.Glob(filepath.Join(folder, "*.jinja"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no templates in %s: %v", folder, err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, name, string(source))
		})
	}
}

// TestBuiltinGolden renders the built-in templates.
func TestBuiltinGolden(t *testing.T) {
	for _, name := range chat.BuiltinNames() {
		t.Run(name, func(t *testing.T) { checkGolden(t, name, chat.Builtin(name)) })
	}
}
