// Package verify is the page on which anyone can check a receipt in a browser.
// [Write] puts it together from the program compiled to WebAssembly and the
// script that starts such programs; "go run ./web/verify/build" calls it and
// is how to make the page.
//
// The page is one file. It works from any web server and from a local folder,
// and its Content-Security-Policy denies it every connection: what it reads
// cannot leave. The words about receipts are those of internal/report; this
// package holds the page around them.
package verify

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"text/template"
)

var (
	//go:embed index.html
	index string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
	//go:embed worker.js
	worker string
)

// limits tells what to expect of a browser. docs/howto-verify.md has the
// measurements behind it.
const limits = "For small models, in one file of at most 1 GB. Browsers compute slowly: with a model of 135 million parameters, about five word pieces a second."

// Write writes the page. program is the WebAssembly file, runtime is
// wasm_exec.js of the Go release that compiled it, look the style of reports.
func Write(w io.Writer, program, runtime []byte, look string) error {
	css := look + style
	code := string(runtime) + "\n" + worker
	for name, text := range map[string]string{"script": script, "worker": code, "style": css} {
		// They stand inside elements that such text would end.
		if lower := strings.ToLower(text); strings.Contains(lower, "</s") || strings.Contains(lower, "<!--") {
			return fmt.Errorf("verify: the %s of the page contains text that ends an element", name)
		}
	}
	packed, err := pack(program)
	if err != nil {
		return err
	}
	t, err := template.New("index").Parse(index)
	if err != nil {
		return err
	}
	return t.Execute(w, map[string]string{
		"Policy": policy(css), "Style": css, "Script": script, "Worker": code, "Program": packed, "Limits": limits,
	})
}

// policy lets the page run its own script and style, known by their hashes,
// and the program inside it. There is no connection of any kind.
func policy(css string) string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src " + hash(script) + " 'wasm-unsafe-eval'",
		"style-src " + hash(css),
		"worker-src blob:",
		"img-src data:",
		"base-uri 'none'",
		"form-action 'none'",
	}, "; ")
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

func pack(program []byte) (string, error) {
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		return "", err
	}
	if _, err := z.Write(program); err != nil {
		return "", err
	}
	if err := z.Close(); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(b.Bytes()), nil
}
