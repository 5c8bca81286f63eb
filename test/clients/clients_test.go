// Package clients_test runs clients that others wrote, in other languages,
// against the server. They must be installed first: "npm ci" in the folder js.
package clients_test

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/avalnetwork/aval/internal/httpapi"
)

func TestOpenAIJavaScript(t *testing.T) { runScript(t, "openai.mjs") }
func TestOllamaJavaScript(t *testing.T) { runScript(t, "ollama.mjs") }

// runScript runs a script of the folder js with the address and the key of a
// server whose model is fake.
func runScript(t *testing.T, script string) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	if _, err := os.Stat(filepath.Join("js", "node_modules")); err != nil {
		t.Skip(`the clients are not installed: run "npm ci" in test/clients/js`)
	}
	f := fake{}
	s, err := httpapi.New(httpapi.Config{Backend: f, Puller: f, APIKey: "secret", Version: "1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	defer srv.Close()
	cmd := exec.CommandContext(t.Context(), node, script, srv.URL, "secret")
	cmd.Dir = "js"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
