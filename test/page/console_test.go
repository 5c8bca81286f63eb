package page_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/models"
)

// TestPageConsole drives the console of a real node, which is connected with one
// that answers truly and one that lies.
func TestPageConsole(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no signal to end a process in good order")
	}
	node, browser := tools(t)
	w := &devices{t: t, dir: t.TempDir(), aval: filepath.Join(t.TempDir(), "aval")}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", w.aval, "../../cmd/aval")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	own := strings.TrimSpace(w.run("own", "net", "id"))

	// The honest one has the built-in model; the liar's was changed after its
	// fingerprint was noted, as if it were still the true one.
	liar := filepath.Join(w.dir, "true.gguf")
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.WriteFile(liar, []byte(models.Mini()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(liar, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
	w.run("liar", "run", "--receipt", filepath.Join(w.dir, "before.aval"), "--max-tokens", "4", liar, "It was in July")
	w.run("honest", "list") // makes its folders
	spoil(t, liar, "blk.2.ffn_down.weight")
	network := []string{"--network", "lan", "--listen", "/ip4/127.0.0.1/tcp/0"}
	w.run("liar", "access", "grant", own)
	w.run("honest", "access", "grant", own)
	links := map[string]string{}
	links["liar"] = w.start("liar", append([]string{"net", "up", "--serve", liar}, network...)...)
	links["honest"] = w.start("honest", append([]string{"net", "up", "--serve", models.MiniName, "--offer", "--region", "next door"}, network...)...)
	first := w.start("own", append([]string{"ui"}, network...)...)

	w.run("own", "ledger", "pay", strings.Repeat("ab", 32), "2.5")

	facts, err := json.Marshal(map[string]string{"first": first, "liar": links["liar"], "honest": links["honest"], "dir": w.dir})
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"--test-reporter=spec", "console.mjs", browser, string(facts)}
	if *shots != "" {
		folder, err := filepath.Abs(*shots)
		if err != nil {
			t.Fatal(err)
		}
		args = append(args, folder)
	}
	cmd := exec.CommandContext(t.Context(), node, args...)
	cmd.Dir = "js"
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	}
	// A second link comes from the console that runs.
	if again := strings.TrimSpace(w.run("own", "ui")); !strings.HasPrefix(again, "http://127.0.0.1:") || again == first {
		t.Errorf("another link: %q", again)
	}
}

// devices are nodes on this machine, each with a home of its own.
type devices struct {
	t         *testing.T
	dir, aval string
}

func (w *devices) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	home := filepath.Join(w.dir, name)
	cmd := exec.CommandContext(ctx, w.aval, args...)
	cmd.Env = []string{"HOME=" + home, "AVAL_KEY=" + filepath.Join(home, "node.key"), "AVAL_MODELS=" + filepath.Join(home, "models"), "XDG_CACHE_HOME=" + filepath.Join(home, "cache"), "PATH=" + os.Getenv("PATH")}
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 20 * time.Second
	return cmd
}

// run runs a command and gives what it prints.
func (w *devices) run(name string, args ...string) string {
	w.t.Helper()
	cmd := w.command(w.t.Context(), name, args...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("%s: aval %v: %v\n%s", name, args, err, errors.Bytes())
	}
	return string(out)
}

// start starts one that runs until the end of the test, and gives the first line
// that it prints.
func (w *devices) start(name string, args ...string) string {
	w.t.Helper()
	cmd := w.command(w.t.Context(), name, args...)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		w.t.Logf("%s said:\n%s", name, errors.Bytes())
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		w.t.Fatalf("%s: aval %v: %v\n%s", name, args, err, errors.Bytes())
	}
	go func() { _, _ = io.Copy(io.Discard, out) }()
	return strings.TrimSpace(line)
}

// spoil zeroes the first half of a tensor of a model in place, and leaves the
// file's size and times.
func spoil(t *testing.T, path, tensor string) {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	data := bytes.Clone(f.Data(f.Tensor(tensor)))
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(file, data)
	clear(file[at : at+len(data)/2])
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
}
