// Package page_test drives the page that checks receipts, and the console of a
// node, in a headless Chromium, as a person would. The scripts that do so need
// playwright-core: "npm ci" in the folder js.
package page_test

import (
	"bytes"
	"crypto/ed25519"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/receipt"
)

var shots = flag.String("shots", "", "folder that pictures of the page go to")

// browsers are the names under which distributions have Chromium.
var browsers = []string{"chromium", "chromium-browser", "google-chrome"}

// tools finds the programs that drive a page, or skips the test.
func tools(t *testing.T) (node, browser string) {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not installed")
	}
	if _, err := os.Stat(filepath.Join("js", "node_modules")); err != nil {
		t.Skip(`playwright-core is not installed: run "npm ci" in test/page/js`)
	}
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			return node, path
		}
	}
	t.Skipf("no browser is installed, want one of %v", browsers)
	return "", ""
}

func TestPage(t *testing.T) {
	node, browser := tools(t)
	dir := t.TempDir()
	page := filepath.Join(dir, "verify.html")
	build := exec.CommandContext(t.Context(), "go", "run", "../../web/verify/build", "-o", page)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	} else {
		t.Logf("%s", out)
	}
	receipts(t, dir)
	story(t, dir)

	var mu sync.Mutex
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.Path)
		mu.Unlock()
		if r.URL.Path == "/" {
			http.ServeFile(w, r, page)
			return
		}
		http.NotFound(w, r)
	}))
	defer srv.Close()

	args := []string{"--test-reporter=spec", "page.mjs", browser, srv.URL, dir}
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
	if bytes.Contains(out, []byte("# SKIP")) {
		t.Log("without a model, computing again was not tested")
	}
	for _, path := range asked {
		if path != "/" {
			t.Errorf("the page asked the server for %s", path)
		}
	}
}

var signer = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

// receipts writes the files that the script gives to the page.
func receipts(t *testing.T, dir string) {
	t.Helper()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	save := func(name string, f receipt.File) []byte {
		t.Helper()
		data, err := f.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		write(name, data)
		return data
	}
	f := answer(t, "Why is the sky blue?", "Because air scatters blue light the most.")
	data := save("signed.aval", f)
	save("hidden.aval", receipt.File{Receipt: f.Receipt})
	write("bare.aval", f.Receipt.Bytes())

	changed := *f.Opening
	changed.Text = &receipt.OpenedText{Salt: f.Opening.Text.Salt, Text: "Because it is painted."}
	save("exchanged.aval", receipt.File{Receipt: f.Receipt, Opening: &changed})
	i := bytes.Index(data, f.Receipt.Bytes())
	forged := bytes.Clone(data)
	forged[i+len(f.Receipt.Bytes())-1] ^= 1 // of the signature
	write("forged.aval", forged)
	write("cut.aval", data[:len(data)/2])
	write("garbage.aval", []byte("this is no receipt"))
	write("empty.aval", nil)
	write("huge.aval", make([]byte, receipt.MaxFile+1))
	write("nested.aval", bytes.Repeat([]byte{0x81}, 1<<20))

	const attack = `</blockquote><script>document.title = "hacked"</script><img src="/leak" onerror="document.title = 'hacked'"><h1>Valid</h1>`
	save("script.aval", answer(t, attack, attack+"\u202e"))
	save("long.aval", answer(t, strings.Repeat("word ", 1<<20), strings.Repeat("unbroken", 1<<18)))
}

// answer makes a receipt that no model stands behind.
func answer(t *testing.T, question, text string) receipt.File {
	t.Helper()
	o, err := receipt.Commit(receipt.Salt{1}, &receipt.Transcript{
		Source: receipt.Source{
			Kind: receipt.SourceChat, GenerationPrompt: true,
			Messages: []receipt.Message{{Role: "user", Content: question}},
		},
		Prompt: []int32{1, 2, 3}, Output: []int32{4, 5, 6, 2}, Text: text,
	})
	if err != nil {
		t.Fatal(err)
	}
	c := receipt.Claims{
		Model: receipt.Hash{1, 2, 3}, Params: receipt.Params{Temperature: 0.8, MaxTokens: 100},
		Seed: receipt.SelfSeed(7), Time: time.Now().Unix(),
	}
	o.Fill(&c)
	r, err := receipt.Sign(c, signer)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.File{Receipt: r, Opening: o}
}
