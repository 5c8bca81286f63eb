// Command build makes the page that checks receipts: it compiles
// web/verify/wasm to WebAssembly and packs it with the rest into one file,
// dist/verify.html or the one that -o names. Run it anywhere in the module, as
// "go run ./web/verify/build".
package main

import (
	"bytes"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/web/verify"
)

func main() {
	log.SetFlags(0)
	out := flag.String("o", filepath.Join("dist", "verify.html"), "where the page goes")
	flag.Parse()
	if err := build(*out); err != nil {
		log.Fatal("build: ", err)
	}
}

func build(out string) error {
	dir, err := os.MkdirTemp("", "aval-verify")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "verify.wasm")
	compile := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -buildid=", "-buildvcs=false", "-o", file,
		"github.com/avalnetwork/aval/web/verify/wasm")
	compile.Env = append(compile.Environ(), "GOOS=js", "GOARCH=wasm", "CGO_ENABLED=0")
	compile.Stderr = os.Stderr
	if err := compile.Run(); err != nil {
		return fmt.Errorf("compiling the program: %w", err)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	runtime, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "lib", "wasm", "wasm_exec.js"))
	if err != nil {
		return fmt.Errorf("the script that comes with Go: %w", err)
	}
	var page bytes.Buffer
	if err := verify.Write(&page, program, runtime, report.Style); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(out, page.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Printf("%s: %.1f MB (the program: %.1f MB, unpacked)\n", out, float64(page.Len())/1e6, float64(len(program))/1e6)
	return nil
}
