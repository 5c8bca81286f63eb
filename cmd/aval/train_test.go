package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrainInterrupted presses Ctrl-C, which ends the command's context, in the
// middle of a run, and does as it is told then.
func TestTrainInterrupted(t *testing.T) {
	dir := t.TempDir()
	table := filepath.Join(dir, "table.csv")
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "%d,%d,%d\n", i%7, i%11, i%2)
	}
	if err := os.WriteFile(table, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	train := func(folder string, more ...string) (code int, said string) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := &watcher{word: more[0], seen: cancel}
		a := &app{in: strings.NewReader(""), out: io.Discard, err: w, getenv: func(string) string { return "" }}
		code = execute(ctx, a, append([]string{"train", "classifier", "-o", filepath.Join(dir, folder)}, more[1:]...))
		return code, w.String()
	}
	if code, said := train("whole", "never", table, "--epochs", "20"); code != exitOK {
		t.Fatalf("code %d: %s", code, said)
	}
	code, said := train("cut", "validation", table, "--epochs", "20")
	if want := "go on with: aval train classifier --resume -o " + filepath.Join(dir, "cut"); code != exitInterrupted || !strings.Contains(said, want) {
		t.Fatalf("code %d: %s", code, said)
	}
	if _, err := os.Stat(filepath.Join(dir, "cut", "net.gguf")); err == nil {
		t.Fatal("the run was not interrupted")
	}
	if code, said := train("cut", "never", "--resume"); code != exitOK {
		t.Fatalf("code %d: %s", code, said)
	}
	for _, name := range []string{"net.gguf", "log.jsonl", "report.json", "curve.svg"} {
		want, err1 := os.ReadFile(filepath.Join(dir, "whole", name))
		got, err2 := os.ReadFile(filepath.Join(dir, "cut", name))
		if err1 != nil || err2 != nil || !bytes.Equal(want, got) {
			t.Errorf("%s differs: %v, %v", name, err1, err2)
		}
	}
}

// watcher calls seen when a word was written to it.
type watcher struct {
	bytes.Buffer
	word string
	seen func()
}

func (w *watcher) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(w.word)) {
		w.seen()
	}
	return w.Buffer.Write(p)
}
