package page_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/token"
	"github.com/avalnetwork/aval/receipt"
)

// wrong is the token of lie.aval that the model did not draw, counted from 0.
const wrong = 37

// story writes receipts of answers that a small real model gave, and the model,
// if there is one.
func story(t *testing.T, dir string) {
	root, err := testdata.Root()
	if err != nil {
		t.Fatal(err)
	}
	models := filepath.Join(root, "..", "shared", "weights", "stories260K")
	path := filepath.Join(models, "stories260K-f32.gguf")
	if _, err := os.Stat(path); err != nil {
		t.Logf("computing again is not tested: %v", err)
		return
	}
	data := copyFile(t, path, filepath.Join(dir, "model.gguf"))
	copyFile(t, filepath.Join(models, "stories260K-Q4_K_M.gguf"), filepath.Join(dir, "other.gguf"))
	if err := os.WriteFile(filepath.Join(dir, "damaged.gguf"), data[:len(data)/2], 0o644); err != nil {
		t.Fatal(err)
	}

	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree, err := fingerprint.Of(t.Context(), f, 0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.OpenFile(f, path, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	greedy := receipt.Params{MaxTokens: 300}
	tell := func(name string, p receipt.Params, change func(*receipt.Transcript)) {
		t.Helper()
		data, err := tale(t, e, tree.Root(), p, change).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	tell("story.aval", greedy, nil)
	tell("sampled.aval", receipt.Params{Temperature: 0.9, TopP: 0.9, RepeatPenalty: 1.1, MaxTokens: 100}, nil)
	// Signed, but not what the model says.
	tell("lie.aval", greedy, func(s *receipt.Transcript) {
		s.Output = slices.Clone(s.Output)
		s.Output[wrong]++
	})
	tell("text.aval", greedy, func(s *receipt.Transcript) { s.Text += " And they paid." })
	tell("prompt.aval", greedy, func(s *receipt.Transcript) { s.Source.Text = []byte("Once upon a dime") })
}

// tale makes a receipt of an answer, of which change may make a lie.
func tale(t *testing.T, e *engine.Engine, model receipt.Hash, p receipt.Params, change func(*receipt.Transcript)) *receipt.File {
	t.Helper()
	src := receipt.Source{Kind: receipt.SourceText, Text: []byte("Once upon a time"), AddSpecial: true, ParseSpecial: true}
	ids, err := e.Tokenizer().Encode(string(src.Text), token.EncodeOptions{AddSpecial: true, ParseSpecial: true})
	if err != nil {
		t.Fatal(err)
	}
	seed := receipt.SelfSeed(11)
	res, err := e.Generate(t.Context(), engine.Request{
		Prompt: ids, MaxTokens: p.MaxTokens, Trace: true,
		Params: sample.Params{Temperature: p.Temperature, TopP: p.TopP, RepeatPenalty: p.RepeatPenalty, Seed: seed.Derive(ids)},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &receipt.Transcript{Source: src, Prompt: ids, Output: res.Drawn(), Text: res.Text}
	if change != nil {
		change(s)
	}
	master := receipt.Salt{1}
	o, err := receipt.Commit(master, s)
	if err != nil {
		t.Fatal(err)
	}
	c := receipt.Claims{Model: model, Params: p, Seed: seed, Time: time.Now().Unix()}
	if res.Stop == engine.StopLength {
		c.Stop = receipt.StopLength
	}
	o.Fill(&c)
	salt := master.Trace()
	c.Trace = res.Trace.Commitment(salt[:])
	r, err := receipt.Sign(c, signer)
	if err != nil {
		t.Fatal(err)
	}
	return &receipt.File{Receipt: r, Opening: o}
}

func copyFile(t *testing.T, from, to string) []byte {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return data
}
