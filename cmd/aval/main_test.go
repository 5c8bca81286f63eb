package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/models"
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
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"alter": alter, "mode": mode, "makelora": makeLoRA, "retry": retry, "setenv": setEnv, "inet": inet, "mini": mini, "spoil": spoil, "port": port,
		},
	})
}

// alter FILE OLD NEW changes every OLD in a file to NEW, of the same length.
func alter(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || len(args[1]) != len(args[2]) {
		ts.Fatalf("usage: alter FILE OLD NEW")
	}
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	if !bytes.Contains(data, []byte(args[1])) {
		ts.Fatalf("%s does not hold %q", args[0], args[1])
	}
	ts.Check(os.WriteFile(path, bytes.ReplaceAll(data, []byte(args[1]), []byte(args[2])), 0o600))
}

// mode PERM FILE wants a file to have these permissions.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode PERM FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] && runtime.GOOS != "windows" {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// makelora FILE MODEL SEED writes an adapter with random numbers for a model.
func makeLoRA(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: makelora FILE MODEL SEED")
	}
	seed, err := strconv.ParseUint(args[2], 10, 64)
	ts.Check(err)
	base, err := gguf.Open(args[1])
	ts.Check(err)
	defer base.Close()
	ts.Check(randomAdapter(base, seed).Write(ts.MkAbs(args[0])))
}

// randomAdapter changes four matrices of each layer.
func randomAdapter(base *gguf.File, seed uint64) *adapter.Adapter {
	r := rand.New(rand.NewPCG(seed, 1))
	numbers := func(n int, deviation float64) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64() * deviation)
		}
		return v
	}
	a := &adapter.Adapter{Architecture: "llama", Alpha: 8}
	for _, t := range base.Tensors() {
		for _, target := range []string{"attn_q.weight", "attn_k.weight", "attn_v.weight", "ffn_down.weight"} {
			if strings.HasSuffix(t.Name, target) {
				const rank = 4
				a.Updates = append(a.Updates, adapter.Update{
					Name: t.Name, Rank: rank, In: t.Shape[0], Out: t.Shape[1],
					A: numbers(rank*t.Shape[0], 0.1), B: numbers(rank*t.Shape[1], 0.05),
				})
			}
		}
	}
	return a
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
	foreign := filepath.Join(dir, "foreign.gguf")
	w, err := gguf.Create(foreign)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Set("general.architecture", gguf.ValueOf("mamba")), w.Close()); err != nil {
		t.Fatal(err)
	}
	long := filepath.Join(dir, "long.json")
	if err := errors.Join(os.WriteFile(long, nil, 0o600), os.Truncate(long, maxInput+1)); err != nil {
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
		{"run --max-tokens 1", exitOK, "aval-mini"},
		{"run --no-such-flag x", exitUsage, "no-such-flag"},
		{"run --temperature -1 x y", exitUsage, "temperature"},
		{"run --seed x x y", exitUsage, "--seed"},
		{"run --schema a --grammar b x y", exitUsage, "schema"},
		{"bench", exitUsage, "--synthetic"},
		{"bench -p 0 -n 0 x", exitUsage, "nothing to measure"},
		{"pull not:a:name", exitUsage, ""},
		{"quantize a b Q9", exitUsage, "Q4_K_M"},
		{"serve --max-models 0", exitUsage, "--max-models"},
		{"train lm --receipt=false --config " + bad + " -o x", exitUsage, "wrong configuration"},
		{"train lora --receipt=false --rank 0 -o x " + bad + " " + bad, exitUsage, "rank"},
		{"run nobody hello", exitNotFound, "aval list"},
		{"run hf.co/some/one hello", exitNotFound, "aval pull hf.co/some/one"},
		{"run ./gone.gguf hello", exitNotFound, "gone.gguf"},
		{"rm nobody", exitNotFound, "aval list"},
		{"verify gone.aval", exitUnverified, "gone.aval"},
		{"verify " + bad, exitUnverified, ""},
		{"verify --sample 0 x", exitUsage, "--sample"},
		{"verify --offline --model x x", exitUsage, "exclude each other"},
		{"verify --opening x x", exitUsage, "--challenge"},
		{"verify --nonce 00 x", exitUsage, "8 to 32"},
		{"verify --max-age -1s x", exitUsage, "--max-age"},
		{"receipt", exitOK, ""},
		{"receipt show gone.aval", exitNotFound, "gone.aval"},
		{"receipt open x", exitUsage, "-o OUT"},
		{"receipt dance", exitUsage, "unknown command"},
		{"audit ask x", exitUsage, "-o CHALLENGE"},
		{"key dance", exitUsage, "unknown command"},
		{"run --privacy none --receipt x x y", exitUsage, "--privacy"},
		{"run --receipt x --beacon a:b:c x y", exitUsage, "--beacon"},
		{"run --receipt x --seal gone x y", exitNotFound, "--seal"},
		{"show " + bad, exitBadModel, "bad.gguf"},
		{"run " + bad + " hello", exitBadModel, "bad.gguf"},
		{"run " + foreign + " hello", exitBadModel, "known are llama"},
		{"bench " + foreign, exitBadModel, "known are llama"},
		{"run --threads -1 " + bad + " hello", exitUsage, "--threads"},
		{"run --ctx 2000000 " + bad + " hello", exitUsage, "--ctx"},
		{"bench --threads 2000 " + bad, exitUsage, "--threads"},
		{"perplexity --ctx -1 " + bad + " x", exitUsage, "--ctx"},
		{"serve --parallel 1000", exitUsage, "--parallel"},
		{"run " + os.DevNull + " hello", exitBadModel, "not a regular file"},
		{"run --schema " + long + " " + bad + " hello", exitUsage, "the limit"},
		{"quantize --force " + bad + " " + dir + " Q8_0", exitUsage, "is not a file that can be replaced"},
		{"quantize --force " + bad + " " + os.DevNull + " Q8_0", exitUsage, "is not a file that can be replaced"},
	} {
		code, _, said := invoke(t, "", env, strings.Fields(c.args)...)
		if code != c.want || !strings.Contains(said, c.says) {
			t.Errorf("aval %s: exit code %d, want %d; says %q, want %q in it", c.args, code, c.want, said, c.says)
		}
	}
}

// TestInterruptedReading holds that a command that waits for its input can be
// interrupted.
func TestInterruptedReading(t *testing.T) {
	model := testdata.Shared(t, "weights", "stories260K", "stories260K-f32.gguf")
	for _, args := range [][]string{{"tokenize", model}, {"run", model}, {"run", model, "hello", "-"}} {
		silent, end := io.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var out, said bytes.Buffer
		a := &app{in: silent, out: &out, err: &said, getenv: func(string) string { return "" }}
		if code := execute(ctx, a, args); code != exitInterrupted || out.Len() > 0 || said.Len() > 0 {
			t.Errorf("%q: exit code %d, want %d; prints %q, says %q", args, code, exitInterrupted, &out, &said)
		}
		end.Close()
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

// overflowing copies the small model with an output norm so large that no
// logit is finite.
func overflowing(t *testing.T) string {
	t.Helper()
	src, err := gguf.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-f32.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	path := filepath.Join(t.TempDir(), "overflow.gguf")
	w, err := gguf.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	err = w.SetFrom(src)
	for _, x := range src.Tensors() {
		err = errors.Join(err, w.Declare(x.Name, x.Type, x.Shape...))
	}
	for _, x := range src.Tensors() {
		data := bytes.Clone(src.Data(x))
		if x.Name == "output_norm.weight" {
			data = bytes.Repeat([]byte{0xff, 0xff, 0x7f, 0x7f}, len(data)/4) // the largest float32
		}
		err = errors.Join(err, w.WriteTensor(x.Name, data))
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNotFinite holds that a model that computes no numbers gives an error,
// and neither text nor JSON.
func TestNotFinite(t *testing.T) {
	model := overflowing(t)
	for _, args := range [][]string{
		{"run", "--raw", model, "hello"},
		{"run", "--raw", "--json", model, "hello"},
		{"perplexity", "--json", model, "main_test.go"},
	} {
		code, out, said := invoke(t, "", nil, args...)
		if code != exitBadModel || out != "" || !strings.Contains(said, "not finite") {
			t.Errorf("%q: exit code %d, want %d; prints %q, says %q", args, code, exitBadModel, out, said)
		}
	}
}

// TestBuiltinContext holds the context that the built-in model is opened with to
// what its file says.
func TestBuiltinContext(t *testing.T) {
	f, err := gguf.Parse(strings.NewReader(models.Mini()), int64(len(models.Mini())))
	if err != nil {
		t.Fatal(err)
	}
	if n, _ := f.Uint("llama.context_length"); n != builtinContext {
		t.Errorf("the file names %d positions, builtinContext is %d", n, builtinContext)
	}
}

func TestShortest(t *testing.T) {
	long, short := strings.Repeat("x", 30), strings.Repeat("x", 20)
	for width, want := range map[int]string{0: long, 200: long, 42: long, 41: short, 32: short, 10: short} {
		if got := shortest(width, long, short); got != want {
			t.Errorf("width %d: %q, want %q", width, got, want)
		}
	}
}
