package aval_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"log"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/receipt"
)

func ExampleModel_VerifyReceipt() {
	key, err := aval.LoadKey("node.key")
	if err != nil {
		log.Fatal(err)
	}
	m, err := aval.Open("model.gguf", &aval.Config{Key: key})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	nonce := []byte("from who checks")
	answer, err := m.Generate(context.Background(), "Once upon a time", &aval.Options{Receipt: &aval.Receipt{Nonce: nonce}})
	if err != nil {
		log.Fatal(err)
	}

	// Somebody else, with the same model:
	v, err := m.VerifyReceipt(context.Background(), answer.Receipt, &receipt.Options{
		Now: time.Now(), Expect: receipt.Expect{Nonce: nonce},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(v.Verdict)
}

func TestReceipt(t *testing.T) {
	key, err := aval.LoadKey(filepath.Join(t.TempDir(), "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := aval.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-F16.gguf"), &aval.Config{Threads: 1, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	nonce := []byte("12345678")
	opt := aval.Options{Temperature: 0.9, MaxTokens: 20, Stop: []string{" day"}, Receipt: &aval.Receipt{Nonce: nonce, Trace: true}}
	generated, err := m.Generate(t.Context(), "Once upon a time", &opt)
	if err != nil {
		t.Fatal(err)
	}
	chatted, err := m.Chat(t.Context(), []aval.Message{{Role: "user", Content: "Hi"}}, &opt)
	if err != nil {
		t.Fatal(err)
	}
	expect := func(e receipt.Expect) *receipt.Options { return &receipt.Options{Now: time.Now(), Expect: e} }
	mine := expect(receipt.Expect{Nonce: nonce, Key: key.Public().(ed25519.PublicKey)})
	tampered := bytes.Clone(generated.Receipt)
	tampered[bytes.Index(tampered, []byte(generated.Text))] ^= 1
	for _, c := range []struct {
		name    string
		file    []byte
		o       *receipt.Options
		verdict receipt.Verdict
		check   string // that failed
	}{
		{"right", generated.Receipt, mine, receipt.Valid, ""},
		{"right chat", chatted.Receipt, mine, receipt.Valid, ""},
		{"no options", generated.Receipt, nil, receipt.Valid, ""},
		{"other nonce", generated.Receipt, expect(receipt.Expect{Nonce: []byte("87654321")}), receipt.Invalid, receipt.CheckSeed},
		{"other text", tampered, mine, receipt.Invalid, receipt.CheckText},
		{"cut", generated.Receipt[:len(generated.Receipt)/2], mine, receipt.Invalid, receipt.CheckFile},
	} {
		v, err := m.VerifyReceipt(t.Context(), c.file, c.o)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		r := receipt.Report{Checks: v.Checks}
		failed := ""
		if f := r.Failed(); f != nil {
			failed = f.Name
		}
		if v.Verdict != c.verdict || failed != c.check {
			t.Errorf("%s: %s, failed %q, want %s, %q: %v", c.name, v.Verdict, failed, c.verdict, c.check, &r)
		}
	}
}

func TestReceiptRefused(t *testing.T) {
	m := open(t)
	for _, c := range []struct {
		o    aval.Options
		says string
	}{
		{aval.Options{Receipt: &aval.Receipt{}}, "Config.Key"},
	} {
		if _, err := m.Generate(t.Context(), "x", &c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want an error with %q", c.o, err, c.says)
		}
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	m, err := aval.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-F16.gguf"), &aval.Config{Threads: 1, Key: key})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, c := range []struct {
		o    aval.Options
		says string
	}{
		{aval.Options{Seed: 1, Receipt: &aval.Receipt{Nonce: make([]byte, 8)}}, "exclude each other"},
		{aval.Options{Receipt: &aval.Receipt{Nonce: make([]byte, 7)}}, "7 bytes"},
	} {
		if _, err := m.Generate(t.Context(), "x", &c.o); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want an error with %q", c.o, err, c.says)
		}
	}
}

// TestAdapters opens a model with adapters: they change the answer, and a
// receipt is valid with the same ones only.
func TestAdapters(t *testing.T) {
	path := testdata.Shared(t, "weights", "stories260K", "stories260K-F16.gguf")
	lora := filepath.Join(t.TempDir(), "lora.gguf")
	r := rand.New(rand.NewPCG(1, 2))
	a := &adapter.Adapter{Architecture: "llama", Alpha: 4, Updates: []adapter.Update{{Name: "blk.1.attn_q.weight", Rank: 2, In: 64, Out: 64}}}
	for u := &a.Updates[0]; len(u.B) < 128; u.B = append(u.B, float32(r.NormFloat64())) {
		u.A = append(u.A, float32(r.NormFloat64()))
	}
	if err := a.Write(lora); err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	opened := func(list ...aval.Adapter) *aval.Model {
		m, err := aval.Open(path, &aval.Config{Threads: 1, Key: key, Adapters: list})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { m.Close() })
		return m
	}
	plain, one, half := opened(), opened(aval.Adapter{Path: lora}), opened(aval.Adapter{Path: lora, Scale: 0.5})
	opt := aval.Options{MaxTokens: 20, Receipt: &aval.Receipt{}}
	texts := map[string]bool{}
	for _, m := range []*aval.Model{plain, one, half} {
		got, err := m.Generate(t.Context(), "Once upon a time", &opt)
		if err != nil {
			t.Fatal(err)
		}
		texts[got.Text] = true
		for _, by := range []*aval.Model{plain, one, half} {
			v, err := by.VerifyReceipt(t.Context(), got.Receipt, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := receipt.Invalid
			if by == m {
				want = receipt.Valid
			}
			if v.Verdict != want {
				t.Errorf("%s, want %s: %v", v.Verdict, want, v.Checks)
			}
		}
	}
	if len(texts) != 3 {
		t.Errorf("the adapter changes too little: %v", texts)
	}
	if _, err := aval.Open(path, &aval.Config{Adapters: []aval.Adapter{{Path: path}}}); err == nil || !strings.Contains(err.Error(), "not a LoRA adapter") {
		t.Errorf("a model as an adapter: %v", err)
	}
}
