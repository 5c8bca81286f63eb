// Package clients_test runs clients that others wrote against the server. Those
// for JavaScript must be installed first: "npm ci" in the folder js.
package clients_test

import (
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/avalnetwork/aval/internal/httpapi"
	"github.com/avalnetwork/aval/internal/httpapi/fake"
)

// key is what the server wants to see.
const key = "secret"

// serve starts a server for f and returns its address.
func serve(t *testing.T, f *fake.Backend) string {
	t.Helper()
	cfg := fake.Config(f)
	cfg.APIKey = key
	s, err := httpapi.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(s.Handler())
	t.Cleanup(func() {
		srv.Close()
		if n := f.Opened.Load(); n != 0 {
			t.Errorf("%d models were opened and not closed", n)
		}
	})
	return srv.URL
}

// last is the newest of what the model got.
func last[T any](t *testing.T, all []T) T {
	t.Helper()
	if len(all) == 0 {
		t.Fatal("the model got nothing")
	}
	return all[len(all)-1]
}

func TestOpenAIJavaScript(t *testing.T) { runScript(t, "openai.mjs") }
func TestOllamaJavaScript(t *testing.T) { runScript(t, "ollama.mjs") }

// runScript runs a script of the folder js with the address and the key of a
// server.
func runScript(t *testing.T, script string) {
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	if _, err := os.Stat(filepath.Join("js", "node_modules")); err != nil {
		t.Skip(`the clients are not installed: run "npm ci" in test/clients/js`)
	}
	f := fake.New()
	f.Info.Capabilities = nil // the server fills in what every model can do
	cmd := exec.CommandContext(t.Context(), node, script, serve(t, f), key)
	cmd.Dir = "js"
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
