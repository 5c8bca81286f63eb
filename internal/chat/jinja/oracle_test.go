package jinja_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/chat/jinja"
)

// python is the interpreter that Debian's python3-jinja2 belongs to.
const python = "/usr/bin/python3"

// sample is one template with its variables; the oracle's answer is output,
// or an error.
type sample struct {
	Template string          `json:"template"`
	Vars     json.RawMessage `json:"vars"`
}

type answer struct {
	Output *string `json:"output,omitempty"`
	Error  string  `json:"error,omitempty"`
}

// askOracle renders samples with Python's jinja2 and skips without it.
func askOracle(t *testing.T, samples []sample) []answer {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import jinja2").CombinedOutput(); err != nil {
		t.Skipf("no %s with jinja2 to compare with: %v %s", python, err, out)
	}
	var in bytes.Buffer
	for _, s := range samples {
		line, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		in.Write(append(line, '\n'))
	}
	cmd := exec.Command(python, "testdata/oracle.py")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	answers := make([]answer, len(samples))
	for i := range answers {
		if err := dec.Decode(&answers[i]); err != nil {
			t.Fatal(err)
		}
	}
	return answers
}

// render renders a sample with this package.
func render(s sample) (string, error) {
	tmpl, err := jinja.Parse(s.Template)
	if err != nil {
		return "", err
	}
	vars := jinja.NewDict()
	if len(s.Vars) > 0 {
		v, err := jinja.ParseJSON(s.Vars)
		if err != nil {
			return "", err
		}
		vars = v.(*jinja.Dict)
	}
	return tmpl.Render(vars, jinja.Options{})
}

// compareWith reports how this package differs from the oracle. What it
// declares as not supported, or as not the same in every run, it may refuse.
func compareWith(s sample, want answer) (diff string, refused bool) {
	got, err := render(s)
	head := "template …" + s.Template[max(0, len(s.Template)-160):] + "\nvars " + string(s.Vars[:min(len(s.Vars), 200)])
	switch {
	case err != nil && want.Output != nil:
		if strings.Contains(err.Error(), "not supported") || strings.Contains(err.Error(), "same everywhere") {
			return "", true
		}
		return fmt.Sprintf("%s\nerror %v\nwant  %q", head, err, *want.Output), false
	case err == nil && want.Output == nil:
		return fmt.Sprintf("%s\ngot  %q\nwant error %s", head, got, want.Error), false
	case err == nil && got != *want.Output:
		return fmt.Sprintf("%s\ngot  %q\nwant %q", head, got, *want.Output), false
	}
	return "", false
}
