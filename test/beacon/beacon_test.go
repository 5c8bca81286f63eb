// Package beacon_test checks the vectors of spec/beacon.md with a program that
// was written from its words, on another library for the curve. That must be
// installed first: "npm ci" in the folder js.
package beacon_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

func TestSecondJavaScript(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	if _, err := os.Stat(filepath.Join("js", "node_modules")); err != nil {
		t.Skip(`the library is not installed: run "npm ci" in test/beacon/js`)
	}
	const vectors = "../../spec/vectors/beacon.json"
	if _, err := os.Stat(vectors); err != nil { // so that a change of it runs the test again
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), node, "js/beacon.mjs", vectors).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
