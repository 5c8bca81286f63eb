package jinja_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/chat/jinja"
)

// hostile templates ask for too much, each in its own way.
var hostile = map[string]string{
	"long source":            strings.Repeat(" ", 2<<20),
	"nested parentheses":     "{{ " + strings.Repeat("(", 100000) + "1" + strings.Repeat(")", 100000) + " }}",
	"nested lists":           "{{ " + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + " }}",
	"nested not":             "{{ " + strings.Repeat("not ", 100000) + "1 }}",
	"nested minus":           "{{ " + strings.Repeat("-", 100000) + "1 }}",
	"nested if":              strings.Repeat("{% if 1 %}", 10000) + strings.Repeat("{% endif %}", 10000),
	"nested for":             strings.Repeat("{% for x in [1] %}", 10000) + strings.Repeat("{% endfor %}", 10000),
	"long sum":               "{{ 1" + strings.Repeat("+1", 100000) + " }}",
	"long path":              "{{ a" + strings.Repeat(".b", 100000) + " }}",
	"many filters":           "{{ a" + strings.Repeat("|d", 100000) + " }}",
	"many calls":             "{{ a" + strings.Repeat("()", 100000) + " }}",
	"long if else":           "{{ 1" + strings.Repeat(" if 1 else 1", 50000) + " }}",
	"long integer":           "{{ " + strings.Repeat("9", 100000) + " }}",
	"repetition":             "{{ 'a' * 1000000000 }}",
	"repetition of a list":   "{{ [1] * 1000000000 }}",
	"repetition, huge count": "{{ 'ab' * 9223372036854775807 }}",
	"range":                  "{{ range(1000000000)|list }}",
	"loops in loops":         strings.Repeat("{% for x in range(100000) %}", 3) + strings.Repeat("{% endfor %}", 3),
	"output":                 "{% for x in range(100000) %}" + strings.Repeat("a", 1000) + "{% endfor %}",
	"doubling":               "{% set n = namespace(s='aaaaaaaa') %}{% for x in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
	"doubling of lists":      "{% set n = namespace(s=[1]) %}{% for x in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
	"sharing":                "{% set n = namespace(s=[1]) %}{% for x in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s }}",
	"sharing as JSON":        "{% set n = namespace(s=[1]) %}{% for x in range(99) %}{% set n.s = [n.s, n.s] %}{% endfor %}{{ n.s|tojson }}",
	"comparing shared":       "{% set n = namespace(s=[1], t=[1]) %}{% for x in range(99) %}{% set n.s = [n.s, n.s] %}{% set n.t = [n.t, n.t] %}{% endfor %}{{ n.s == n.t }}",
	"depth":                  "{% set n = namespace(s=[]) %}{% for x in range(100000) %}{% set n.s = [n.s] %}{% endfor %}{{ n.s }}",
	"replace":                "{{ ('a' * 1000000).replace('a', 'b' * 1000000) }}",
	"join":                   "{{ range(100000)|join('b' * 1000000) }}",
	"pad":                    "{{ 'a'.ljust(10000000000) }}",
	"center":                 "{{ 'a'|center(10000000000) }}",
	"zfill":                  "{{ 'a'.zfill(10000000000) }}",
	"format width":           "{{ '{:100000000}'.format(1) }}",
	"format nested width":    "{{ '{:{}}'.format(1, 100000000) }}",
	"percent width":          "{{ '%100000000d' % 1 }}",
	"percent star":           "{{ '%*d' % (1000000000, 1) }}",
	"percent precision":      "{{ '%.100000000f' % 1.5 }}",
	"indent":                 "{{ ('\n' * 100000)|indent(1000000, blank=true) }}",
	"tojson indent":          "{{ [[[[1]]]]|tojson(indent=100000000) }}",
	"tojson indent text":     "{{ [range(9)|list]|tojson(indent='a' * 10000000) }}",
	"expandtabs":             "{{ ('\t' * 1000000).expandtabs(100000) }}",
	"power":                  "{{ 9 ** 999999 }}",
	"factorial":              "{% set n = namespace(x=1) %}{% for i in range(1, 100000) %}{% set n.x = n.x * i %}{% endfor %}",
	"macro":                  "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
	"macro tree":             "{% macro f(n) %}{% if n %}{{ f(n-1) }}{{ f(n-1) }}{% endif %}{% endmacro %}{{ f(60) }}",
	"caller":                 "{% macro f() %}{{ caller is defined }}{% call f() %}{% endcall %}{% endmacro %}{{ f() }}",
	"recursive loop":         "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
	"batch":                  "{{ [1]|batch(1000000000, 0)|list }}",
	"slice":                  "{{ [1]|slice(1000000000, 0)|list }}",
	"searching":              "{% set s = 'a' * 10000000 %}{% for x in range(100000) %}{{ 'b' in s }}{% endfor %}",
	"indexing":               "{% set s = 'é' * 1000000 %}{% for x in range(100000) %}{% set y = s[x] %}{% endfor %}",
	"case":                   "{% set s = 'Σ' * 1000000 %}{{ s.lower() }}",
	"block of text":          "{% for x in range(100000) %}{% set s %}" + strings.Repeat("a", 100000) + "{% endset %}{% endfor %}",
	"keywords":               "{% for x in range(100000) %}{{ dict(" + strings.Repeat("a", 1000) + "=1) }}{% endfor %}",
	"sort":                   "{% for x in range(1000) %}{% set y = range(100000)|sort(reverse=true) %}{% endfor %}",
	"chained generators":     "{% set n = namespace(g=[1]) %}{% for x in range(100000) %}{% set n.g = n.g|map('string') %}{% endfor %}{{ n.g|list }}",
	"time format":            "{{ strftime_now('%c' * 1000000) }}",
	"tuple keys":             "{% set n = namespace(k=(1,)) %}{% for x in range(99) %}{% set n.k = (n.k, n.k) %}{% endfor %}{{ {n.k: 1} }}",
}

// TestLimits checks that what asks for too much gets an error that says so.
func TestLimits(t *testing.T) {
	for name, template := range hostile {
		t.Run(name, func(t *testing.T) {
			out, err := render(sample{Template: template})
			if !errors.Is(err, jinja.ErrLimit) {
				t.Errorf("got %d bytes and %v, want a limit", len(out), err)
			}
		})
	}
}

// TestWithinLimits checks that the limits leave room for long conversations.
func TestWithinLimits(t *testing.T) {
	messages := &strings.Builder{}
	messages.WriteString(`{"messages": [`)
	for i := range 1000 {
		if i > 0 {
			messages.WriteString(",")
		}
		messages.WriteString(`{"role": "user", "content": "` + strings.Repeat("word ", 400) + `"}`)
	}
	messages.WriteString("]}")
	const template = "{% set ns = namespace(n=0) %}{% for m in messages[::-1] %}{% if m.content.startswith('x') and '</think>' in m.content %}x{% endif %}" +
		"{% set ns.n = ns.n + 1 %}{% endfor %}{% for m in messages %}{{ '<|' + m.role + '|>' + m.content|trim + '<|end|>' }}{% endfor %}{{ ns.n }}"
	out, err := render(sample{template, []byte(messages.String())})
	if err != nil || !strings.HasSuffix(out, "1000") {
		t.Errorf("got %d bytes, %v", len(out), err)
	}
}

func FuzzRender(f *testing.F) {
	for _, c := range constructs(f) {
		f.Add(c.Template)
	}
	for _, name := range []string{"sharing", "macro tree", "recursive loop", "format nested width", "percent star", "doubling"} {
		f.Add(hostile[name])
	}
	v, err := jinja.ParseJSON([]byte(constructVars))
	if err != nil {
		f.Fatal(err)
	}
	vars := v.(*jinja.Dict)
	f.Fuzz(func(t *testing.T, source string) {
		tmpl, err := jinja.Parse(source)
		if err != nil {
			return
		}
		first, err1 := tmpl.Render(vars, jinja.Options{})
		again, err2 := tmpl.Render(vars, jinja.Options{})
		if first != again || (err1 == nil) != (err2 == nil) {
			t.Errorf("two renderings differ: %q, %v and %q, %v", first, err1, again, err2)
		}
	})
}

func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(constructVars))
	f.Add([]byte(`[1.5e300, -0, "\ud800", {"a": {}}]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := jinja.ParseJSON(data)
		if err != nil {
			return
		}
		vars := jinja.NewDict()
		vars.Set("v", v)
		tmpl, err := jinja.Parse("{{ v|tojson }}")
		if err != nil {
			t.Fatal(err)
		}
		out, err := tmpl.Render(vars, jinja.Options{})
		if err != nil || strings.Contains(out, "Infinity") { // which Python writes, too
			return
		}
		if w, err := jinja.ParseJSON([]byte(out)); err != nil && !errors.Is(err, jinja.ErrLimit) {
			t.Errorf("%q became %q (%v), which is not JSON: %v", data, out, w, err)
		}
	})
}
