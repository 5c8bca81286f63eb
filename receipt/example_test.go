package receipt_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/receipt"
)

// Whoever answers signs a receipt, and hands over what the asker may see.
func ExampleSign() {
	opening, err := receipt.Commit(receipt.NewSalt(), &receipt.Transcript{
		Source: receipt.Source{Kind: receipt.SourceText, Text: []byte("The sky is"), AddSpecial: true},
		Prompt: []int32{1, 450, 14744, 338}, Output: []int32{7254, 2},
		Text: " blue",
	})
	if err != nil {
		log.Fatal(err)
	}
	claims := receipt.Claims{
		Model: receipt.Hash{1}, Params: receipt.Params{Temperature: 0.7},
		Seed: receipt.NonceSeed([]byte("from the asker")), Stop: receipt.StopEOS, Time: 1_790_000_000,
	}
	opening.Fill(&claims)
	_, key, _ := ed25519.GenerateKey(nil)
	r, err := receipt.Sign(claims, key)
	if err != nil {
		log.Fatal(err)
	}
	// The answer is shown, the prompt is not.
	f := receipt.File{Receipt: r, Opening: opening.Select(receipt.WholeOutput)}
	data, err := f.Marshal()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(r.Bytes()), "bytes,", len(data), "with the answer")
	// Output: 227 bytes, 493 with the answer
}

// Whoever gets a receipt says what they know, and reads what was found.
func ExampleOffline() {
	data, err := os.ReadFile("testdata/answer.aval")
	if err != nil {
		log.Fatal(err)
	}
	report := receipt.Offline(data, receipt.Options{
		Now:    time.Unix(1_790_000_100, 0),
		Expect: receipt.Expect{Nonce: []byte("another nonce...")},
	})
	fmt.Println(report.Verdict())
	fmt.Println(report.Failed())
	// Output:
	// invalid
	// invalid: seed: not the expected nonce: a replayed or other receipt
}

// TestHowto compiles and runs the program of docs/howto-check.md.
func TestHowto(t *testing.T) {
	if testing.Short() {
		t.Skip("compiles a program")
	}
	a := newCase(t)
	file := filepath.Join("testdata", "answer.aval")
	if *update {
		if err := os.WriteFile(file, a.file(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if data, err := os.ReadFile(file); err != nil || !bytes.Equal(data, a.file()) {
		t.Fatalf("%s is not the answer of these tests, run go test ./receipt -update: %v", file, err)
	}
	doc, err := os.ReadFile("../docs/howto-check.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(.*?)```").FindSubmatch(doc)
	if program == nil {
		t.Fatal("there is no program in the document")
	}
	dir := t.TempDir()
	src, bin := filepath.Join(dir, "main.go"), filepath.Join(dir, "check")
	if err := os.WriteFile(src, program[1], 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "build", "-o", bin, src).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out, err := exec.Command(bin, file, "sixteen byte nce").CombinedOutput()
	if want := "The receipt is unverified\nThe answer: Scattering.\n"; err != nil || !strings.HasSuffix(string(out), want) {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = exec.Command(bin, file, "another nonce").CombinedOutput()
	if want := "The receipt is invalid\n"; err == nil || !strings.HasSuffix(string(out), want) {
		t.Errorf("%v\n%s", err, out)
	}
}
