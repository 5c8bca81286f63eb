package jinja_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
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

// compareWith checks that this package does what the oracle did.
func compareWith(t *testing.T, s sample, want answer) {
	t.Helper()
	got, err := render(s)
	switch {
	case err != nil && want.Output != nil:
		t.Errorf("template %.300q\nvars %.300s\nerror %v\nwant  %q", s.Template, s.Vars, err, *want.Output)
	case err == nil && want.Output == nil:
		t.Errorf("template %.300q\nvars %.300s\ngot  %q\nwant error %s", s.Template, s.Vars, got, want.Error)
	case err == nil && got != *want.Output:
		t.Errorf("template %.300q\nvars %.300s\ngot  %q\nwant %q", s.Template, s.Vars, got, *want.Output)
	}
}
