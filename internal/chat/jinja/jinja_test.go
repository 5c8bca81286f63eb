package jinja_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/chat/jinja"
)

var update = flag.Bool("update", false, "let Python's jinja2 write the expected outputs anew")

// constructVars are the variables of testdata/constructs.jsonl.
const constructVars = `{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello", "name": "bot"}, {"role": "user", "content": "Bye"}],
"tools": [{"type": "function", "function": {"name": "f", "description": "\"quoted\" <é> & more", "parameters": {"type": "object", "properties":
{"z": {"type": "string"}, "a": {"type": "array", "items": {"type": "integer"}}}, "required": ["z"]}}}],
"add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"}`

// construct is one line of testdata/constructs.jsonl: a template for one
// construct of the language and the output of Python's jinja2, none where it
// refuses the template.
type construct struct {
	Template string  `json:"template"`
	Output   *string `json:"output,omitempty"`
}

func constructs(t testing.TB) []construct {
	t.Helper()
	data, err := os.ReadFile("testdata/constructs.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	var list []construct
	for line := range bytes.Lines(data) {
		var c construct
		if err := json.Unmarshal(line, &c); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

// TestConstructs compares every construct with the recorded output.
func TestConstructs(t *testing.T) {
	list := constructs(t)
	if *update {
		updateConstructs(t, list)
	}
	for _, c := range list {
		got, err := render(sample{c.Template, []byte(constructVars)})
		switch {
		case err != nil && c.Output != nil:
			t.Errorf("%q: got error %v, want %q", c.Template, err, *c.Output)
		case err == nil && c.Output == nil:
			t.Errorf("%q: got %q, want an error", c.Template, got)
		case err == nil && got != *c.Output:
			t.Errorf("%q:\ngot  %q\nwant %q", c.Template, got, *c.Output)
		}
	}
}

func updateConstructs(t *testing.T, list []construct) {
	t.Helper()
	var samples []sample
	for _, c := range list {
		samples = append(samples, sample{c.Template, []byte(strings.ReplaceAll(constructVars, "\n", " "))})
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	for i, a := range askOracle(t, samples) {
		list[i].Output = a.Output
		if err := enc.Encode(list[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("testdata/constructs.jsonl", b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestRefused lists what jinja2 would do and this package does not.
func TestRefused(t *testing.T) {
	for template, want := range map[string]string{
		"{{ [1]|random }}":                         "no filter",
		"{{ 'a'|urlize }}":                         "no filter",
		"{{ lipsum() }}":                           "not supported",
		"{{ 'a'.upper }}":                          "same everywhere",
		"{{ [1]|map('string') }}":                  "same everywhere",
		"{{ range }}":                              "same everywhere",
		"{{ 'a' is sameas 'a' }}":                  "same everywhere",
		"{{ 2 ** 0.5 }}":                           "not supported",
		"{{ '\\N{BULLET}' }}":                      "not supported",
		"{{ {}.keys() - [] }}":                     "not supported",
		"{{ 'a'.encode() }}":                       "not supported",
		"{% include 'x' %}":                        "not allowed",
		"{% from 'x' import y %}":                  "not allowed",
		"{% autoescape true %}{% endautoescape %}": "unknown tag",
	} {
		_, err := render(sample{Template: template})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want an error with %q", template, err, want)
		}
	}
}

func TestErrors(t *testing.T) {
	for template, line := range map[string]int{
		"a\n{{ 1 +": 2, "a\nb\n{% if %}": 3, "\n\n{{ nosuch.x }}": 3, "{% for x in [1] %}\n{{ x.y.z }}{% endfor %}": 2,
		"{% macro f() %}\n\n{{ 1/0 }}{% endmacro %}{{ f() }}": 3, "a\n{# b": 2, "\n{{ 'a'|nosuch }}": 2,
	} {
		_, err := render(sample{Template: template})
		var e *jinja.Error
		if !errors.As(err, &e) || e.Line != line {
			t.Errorf("%q: got %v, want an error at line %d", template, err, line)
		}
	}
	_, err := render(sample{Template: "{{ raise_exception('why ' ~ 1) }}"})
	var raised *jinja.RaisedError
	if !errors.As(err, &raised) || raised.Message != "why 1" {
		t.Errorf("got %v", err)
	}
}

// TestUnchanged checks that rendering leaves its variables as they were, and
// that a template can be used again.
func TestUnchanged(t *testing.T) {
	v, err := jinja.ParseJSON([]byte(constructVars))
	if err != nil {
		t.Fatal(err)
	}
	vars := v.(*jinja.Dict)
	n := vars.Len()
	tmpl, err := jinja.Parse("{% set messages = messages[1:] %}{% set new = 1 %}{{ messages|length }}{{ tools|tojson }}")
	if err != nil {
		t.Fatal(err)
	}
	first, err := tmpl.Render(vars, jinja.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		again, err := tmpl.Render(vars, jinja.Options{})
		if err != nil || again != first || vars.Len() != n {
			t.Fatalf("got %q, %v; want %q", again, err, first)
		}
	}
}

func TestParseJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{"b":1,"a":2,"b":3}`:               `{"b": 3, "a": 2}`,
		`[1.0,1e5,-0,10000000000000000000]`: `[1.0, 100000.0, 0, 10000000000000000000]`,
		` "\ud83d\ude00\u00e9" `:            `"😀é"`,
		`[[],{},null,true]`:                 `[[], {}, null, true]`,
	} {
		v, err := jinja.ParseJSON([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		vars := jinja.NewDict()
		vars.Set("v", v)
		tmpl, err := jinja.Parse("{{ v|tojson }}")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := tmpl.Render(vars, jinja.Options{}); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "{", "[1,]", "1 2", "nul", `{"a"}`, strings.Repeat("[", 300) + strings.Repeat("]", 300)} {
		if _, err := jinja.ParseJSON([]byte(text)); err == nil {
			t.Errorf("%.20q: no error", text)
		}
	}
}
