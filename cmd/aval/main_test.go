package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/avalnetwork/aval/internal/testdata"
)

func TestMain(m *testing.M) { testscript.Main(m, map[string]func(){"aval": main}) }

// TestScripts runs the command in the scripts of testdata. Those that need
// weights have $W, the folder of a small real model.
func TestScripts(t *testing.T) {
	root, err := testdata.Root()
	if err != nil {
		t.Fatal(err)
	}
	weights := filepath.Join(root, "..", "shared", "weights", "stories260K")
	_, statErr := os.Stat(weights)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("W", weights)
			env.Setenv("AVAL_MODELS", filepath.Join(env.WorkDir, "models"))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, "cache"))
			env.Setenv("HOME", env.WorkDir)
			return nil
		},
		Condition: func(cond string) (bool, error) { return cond == "weights" && statErr == nil, nil },
	})
}

// invoke runs one command line in this process.
func invoke(t *testing.T, in string, env map[string]string, args ...string) (code int, out, err string) {
	t.Helper()
	var outBuf, errBuf bytes.Buffer
	a := &app{in: strings.NewReader(in), out: &outBuf, err: &errBuf, getenv: func(k string) string { return env[k] }}
	code = execute(t.Context(), a, args)
	return code, outBuf.String(), errBuf.String()
}

func TestExitCodes(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.gguf")
	if err := os.WriteFile(bad, []byte("GGUF and then nothing"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := map[string]string{"AVAL_MODELS": filepath.Join(dir, "models")}
	for _, c := range []struct {
		args string
		want int
		says string // on standard error
	}{
		{"help", exitOK, ""},
		{"version", exitOK, ""},
		{"list", exitOK, "no models yet"},
		{"list --json", exitOK, ""},
		{"dance", exitUsage, "aval help"},
		{"run", exitUsage, "usage: aval run"},
		{"run --no-such-flag x", exitUsage, "no-such-flag"},
		{"run --temperature -1 x y", exitUsage, "temperature"},
		{"run --seed x x y", exitUsage, "--seed"},
		{"run --schema a --grammar b x y", exitUsage, "schema"},
		{"bench", exitUsage, "--synthetic"},
		{"bench -p 0 -n 0 x", exitUsage, "nothing to measure"},
		{"pull not:a:name", exitUsage, ""},
		{"quantize a b Q9", exitUsage, "Q4_K_M"},
		{"serve --max-models 0", exitUsage, "--max-models"},
		{"run nobody hello", exitNotFound, "aval list"},
		{"run hf.co/some/one hello", exitNotFound, "aval pull hf.co/some/one"},
		{"run ./gone.gguf hello", exitNotFound, "gone.gguf"},
		{"rm nobody", exitNotFound, "aval list"},
		{"show " + bad, exitBadModel, "bad.gguf"},
		{"run " + bad + " hello", exitBadModel, "bad.gguf"},
	} {
		code, _, said := invoke(t, "", env, strings.Fields(c.args)...)
		if code != c.want || !strings.Contains(said, c.says) {
			t.Errorf("aval %s: exit code %d, want %d; says %q, want %q in it", c.args, code, c.want, said, c.says)
		}
	}
}

func TestRefusedPrompt(t *testing.T) {
	model := testdata.Shared(t, "weights", "stories260K", "stories260K-f32.gguf")
	code, out, said := invoke(t, "", nil, "run", "--raw", "--ctx", "16", model, strings.Repeat("Once upon a time ", 20))
	if code != exitRefused || out != "" || !strings.Contains(said, "context holds 16") {
		t.Errorf("exit code %d, want %d; says %q", code, exitRefused, said)
	}
}

func TestUnavailableKernel(t *testing.T) {
	code, _, said := invoke(t, "", map[string]string{"AVAL_KERNEL": "abacus"}, "version")
	if code != exitUsage || !strings.Contains(said, "abacus") {
		t.Errorf("exit code %d, says %q", code, said)
	}
}

func TestEveryCommandHasHelp(t *testing.T) {
	root := newRootCommand(newApp())
	for _, c := range root.Commands() {
		if c.Example == "" && c.Name() != "completion" && c.Name() != "help" {
			t.Errorf("%s has no example", c.Name())
		}
		if !strings.Contains(c.Long, "Exit codes:") && c.Name() != "completion" && c.Name() != "help" {
			t.Errorf("the help of %s does not tell the exit codes", c.Name())
		}
	}
}

func TestAddress(t *testing.T) {
	for _, c := range []struct {
		o         serveOptions
		env, want string
	}{
		{serveOptions{}, "", "127.0.0.1:11434"},
		{serveOptions{port: 80}, "0.0.0.0", "0.0.0.0:80"},
		{serveOptions{}, "http://example:99/", "example:99"},
		{serveOptions{host: "::1"}, "example:99", "[::1]:99"},
		{serveOptions{}, "a:b", ""},
		{serveOptions{port: 1 << 17}, "", ""},
	} {
		got, err := c.o.address(c.env)
		if got != c.want || (err != nil) != (c.want == "") {
			t.Errorf("%+v, %q: got %q, %v, want %q", c.o, c.env, got, err, c.want)
		}
	}
}
