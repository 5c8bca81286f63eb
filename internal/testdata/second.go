package testdata

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Second returns a function that runs a script of spec/second, the second
// implementation of a text, and gives what it prints, without the white space
// around it. It skips the test if there is no Python with numpy here.
func Second(t testing.TB, script string) (run func(t testing.TB, args ...string) string) {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	for _, python := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(python, "-c", "import numpy").Run() != nil {
			continue
		}
		return func(t testing.TB, args ...string) string {
			t.Helper()
			var stderr bytes.Buffer
			cmd := exec.Command(python, append([]string{filepath.Join(root, "spec", "second", script)}, args...)...)
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			if err != nil || stderr.Len() > 0 {
				t.Fatalf("%s: %v\n%s", script, err, &stderr)
			}
			return strings.TrimSpace(string(out))
		}
	}
	t.Skip("no python3 with numpy (on Debian: apt-get install python3-numpy)")
	return nil
}
