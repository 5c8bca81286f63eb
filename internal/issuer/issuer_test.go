package issuer_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/receipt"
)

var key = ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))

func newIssuer(id *issuer.Identity) *issuer.Issuer {
	return issuer.New(issuer.Config{
		Key: key, Model: id, Context: 1000,
		Now: func() time.Time { return time.Unix(1e9, 0) }, Salt: func() receipt.Salt { return receipt.Salt{1} },
	})
}

var known = issuer.Known(receipt.Hash{1})

// TestClaims holds how requests and results become claims.
func TestClaims(t *testing.T) {
	greedy := receipt.Params{Context: 1000}
	eos := &engine.Result{PromptIDs: []int32{5, 6}, IDs: []int32{7}, EndToken: 2, Stop: engine.StopEOS, Text: "x"}
	for _, c := range []struct {
		name    string
		request engine.Request
		result  *engine.Result
		params  receipt.Params
		stop    receipt.Stop
		drawn   []int32
	}{
		{"nothing asked for", engine.Request{}, eos, greedy, receipt.StopEOS, []int32{7, 2}},
		{
			"what changes nothing is left out",
			engine.Request{Params: sample.Params{TopP: 1, RepeatPenalty: 1, RepeatLastN: 7, Temperature: float32(negativeZero())}, MaxTokens: -1},
			eos, greedy, receipt.StopEOS,
			[]int32{7, 2},
		},
		{
			"the usual window of a penalty",
			engine.Request{Params: sample.Params{RepeatPenalty: 1.5, RepeatLastN: sample.DefaultRepeatLastN}},
			eos,
			receipt.Params{Context: 1000, RepeatPenalty: 1.5},
			receipt.StopEOS,
			[]int32{7, 2},
		},
		{
			"a length",
			engine.Request{Params: sample.Params{Temperature: 0.5, TopK: 3, FrequencyPenalty: 1, RepeatLastN: -1}, MaxTokens: 2, IgnoreEOS: true},
			&engine.Result{PromptIDs: []int32{5, 6}, IDs: []int32{7, 8}, EndToken: -1, Stop: engine.StopLength},
			receipt.Params{Context: 1000, Temperature: 0.5, TopK: 3, FrequencyPenalty: 1, RepeatLastN: -1, MaxTokens: 2, IgnoreEOS: true},
			receipt.StopLength,
			[]int32{7, 8},
		},
		{
			"a stop string that the end of the text completes",
			engine.Request{Stop: []string{"x"}},
			&engine.Result{PromptIDs: []int32{5, 6}, IDs: []int32{7}, EndToken: 2, Stop: engine.StopString, StopText: "x"},
			receipt.Params{Context: 1000, Extra: true},
			receipt.StopString,
			[]int32{7, 2},
		},
	} {
		r := c.request
		r.Prompt, r.Params.Seed = c.result.PromptIDs, 9
		d, err := newIssuer(known).Begin(&r, issuer.Prompt{Source: issuer.IDs()}, issuer.Options{})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		d.Finish(c.result)
		f, err := d.File(t.Context())
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		claims := f.Receipt.Claims()
		if diff := cmp.Diff(c.params, claims.Params); diff != "" {
			t.Errorf("%s: parameters (-want +got):\n%s", c.name, diff)
		}
		if claims.Stop != c.stop || claims.Time != 1e9 || claims.Model != (receipt.Hash{1}) || !cmp.Equal(claims.Seed, receipt.SelfSeed(9)) {
			t.Errorf("%s: claims %+v", c.name, claims)
		}
		if diff := cmp.Diff(c.drawn, f.Opening.Output.IDs); diff != "" {
			t.Errorf("%s: drawn (-want +got):\n%s", c.name, diff)
		}
		if r := f.Check(receipt.Options{}); r.Failed() != nil {
			t.Errorf("%s: %v", c.name, &r)
		}
	}
}

// negativeZero is -0, which the compiler has no literal for.
func negativeZero() float64 {
	z := 0.0
	return -z
}

// TestBeginRefuses holds that what no receipt can state is refused before
// anything is generated.
func TestBeginRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		r    engine.Request
		says string
	}{
		{"a stop string that is not UTF-8", engine.Request{Stop: []string{"\xff"}}, "UTF-8"},
		{"too many stop strings", engine.Request{Stop: make([]string, 1000)}, "stop strings"},
	} {
		c.r.Prompt = []int32{1}
		_, err := newIssuer(known).Begin(&c.r, issuer.Prompt{Source: issuer.IDs()}, issuer.Options{})
		if !errors.Is(err, engine.ErrRequest) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q in it", c.name, err, c.says)
		}
	}
}

// TestSeed holds that a nonce gives the request its seed, which depends on the
// prompt.
func TestSeed(t *testing.T) {
	seed, err := issuer.ParseNonce("0011223344556677")
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint64]bool{}
	for _, prompt := range [][]int32{{1}, {2}, {1, 2}} {
		r := engine.Request{Prompt: prompt}
		if _, err := newIssuer(known).Begin(&r, issuer.Prompt{Source: issuer.IDs()}, issuer.Options{Seed: seed}); err != nil {
			t.Fatal(err)
		}
		if r.Params.Seed != seed.Derive(prompt) {
			t.Errorf("prompt %d: seed %d", prompt, r.Params.Seed)
		}
		got[r.Params.Seed] = true
	}
	if len(got) != 3 {
		t.Errorf("three prompts have %d seeds", len(got))
	}
}

func TestParseSeeds(t *testing.T) {
	hash := strings.Repeat("ab", 32)
	for _, c := range []struct {
		got  func() (*receipt.Seed, error)
		want receipt.Seed
		says string
	}{
		{func() (*receipt.Seed, error) { return issuer.ParseNonce("0102030405060708") }, receipt.NonceSeed([]byte{1, 2, 3, 4, 5, 6, 7, 8}), ""},
		{func() (*receipt.Seed, error) { return issuer.ParseNonce("01020304050607") }, receipt.Seed{}, "7 bytes"},
		{func() (*receipt.Seed, error) { return issuer.ParseNonce(strings.Repeat("0", 66)) }, receipt.Seed{}, "33 bytes"},
		{func() (*receipt.Seed, error) { return issuer.ParseNonce("xyz") }, receipt.Seed{}, "hexadecimal"},
		{func() (*receipt.Seed, error) { return issuer.ParseBeacon("b", 7, hash) }, receipt.BeaconSeed("b", 7, receipt.Hash([]byte(strings.Repeat("\xab", 32)))), ""},
		{func() (*receipt.Seed, error) { return issuer.ParseBeacon("", 7, hash) }, receipt.Seed{}, "name"},
		{func() (*receipt.Seed, error) { return issuer.ParseBeacon(strings.Repeat("b", 33), 7, hash) }, receipt.Seed{}, "33 bytes"},
		{func() (*receipt.Seed, error) { return issuer.ParseBeacon("b", 7, "ab") }, receipt.Seed{}, "32 bytes"},
	} {
		got, err := c.got()
		switch {
		case c.says == "" && (err != nil || !cmp.Equal(*got, c.want)):
			t.Errorf("got %+v, %v, want %+v", got, err, c.want)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("got %v, want an error with %q", err, c.says)
		}
	}
}

// TestSource holds what of a request a receipt commits to.
func TestSource(t *testing.T) {
	var tool chat.Tool
	if err := tool.UnmarshalJSON([]byte(`{"function": {"name": "f"}, "type": "function"}`)); err != nil {
		t.Fatal(err)
	}
	plain := chat.Tool{Function: chat.Function{Name: "g", Parameters: []byte(`{"z":1,"a":2}`)}}
	got, err := issuer.Chat(chat.Input{
		Messages: []chat.Message{
			{Role: "user", Content: "a\xffb", Name: "n"},
			{Role: "assistant", Reasoning: "r", ToolCalls: []chat.ToolCall{{ID: "1", Name: "f", Arguments: []byte(`{"z": 1}`)}}},
			{Role: "tool", ToolCallID: "1", Content: "7"},
		},
		Tools: []chat.Tool{tool, plain}, Extra: map[string]any{"enable_thinking": false}, Date: "2026-01-02", AddGenerationPrompt: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := receipt.Source{
		Kind: receipt.SourceChat, Date: "2026-01-02", GenerationPrompt: true,
		Messages: []receipt.Message{
			{Role: "user", Content: "a\ufffdb", Name: "n"},
			{Role: "assistant", Reasoning: "r", ToolCalls: []receipt.ToolCall{{ID: "1", Name: "f", Arguments: `{"z": 1}`}}},
			{Role: "tool", ToolCallID: "1", Content: "7"},
		},
		Tools: []string{
			`{"function": {"name": "f"}, "type": "function"}`,
			`{"type":"function","function":{"name":"g","parameters":{"z":1,"a":2}}}`,
		},
		Variables: map[string]string{"enable_thinking": "false"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("source (-want +got):\n%s", diff)
	}
	if _, err := issuer.Chat(chat.Input{Tools: []chat.Tool{{Raw: []byte("\"\xff\"")}}}); !errors.Is(err, engine.ErrRequest) {
		t.Errorf("a tool that is not UTF-8: %v", err)
	}
}

// TestIdentity holds that a file that changes has no identity.
func TestIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.gguf")
	write := func(arch string) {
		w, err := gguf.Create(path)
		if err == nil {
			err = errors.Join(w.Set("general.architecture", gguf.ValueOf(arch)), w.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("a")
	cache := t.TempDir()
	root := func(change func()) (receipt.Hash, error) {
		id, err := issuer.Identify(path)
		if err != nil {
			t.Fatal(err)
		}
		if id.Ready() {
			t.Error("an identity is ready before it was computed")
		}
		change()
		id.Compute(t.Context(), cache, 1)
		if !id.Ready() {
			t.Error("an identity is not ready after it was computed")
		}
		return id.Root(t.Context())
	}
	first, err := root(func() {})
	if again, err2 := root(func() {}); err != nil || err2 != nil || first != again || first.IsZero() {
		t.Errorf("%v, %v; %v, %v", first, err, again, err2)
	}
	if _, err := root(func() { write("b") }); !errors.Is(err, issuer.ErrChanged) {
		t.Errorf("a file that was replaced: %v", err)
	}
	if _, err := root(func() { os.Remove(path) }); !errors.Is(err, issuer.ErrChanged) {
		t.Errorf("a file that is gone: %v", err)
	}
	write("c")
	id, err := issuer.Identify(path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := id.Root(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting for an identity that nobody computes: %v", err)
	}
	id.Close()
	if _, err := id.Root(t.Context()); err == nil {
		t.Error("an identity that was given up has a root")
	}
}

// BenchmarkIssue measures what receipts cost an answer, and what they cost when
// somebody asks for one.
func BenchmarkIssue(b *testing.B) {
	i := newIssuer(known)
	g, err := grammar.FromJSONSchema([]byte(`{"type":"object"}`))
	if err != nil {
		b.Fatal(err)
	}
	in := chat.Input{Messages: []chat.Message{{Role: "user", Content: strings.Repeat("word ", 400)}}}
	prompt, output := make([]int32, 512), make([]int32, 256)
	res := &engine.Result{PromptIDs: prompt, IDs: output, EndToken: -1, Stop: engine.StopLength, Text: strings.Repeat("word ", 200)}
	issue := func() *issuer.Draft {
		source, err := issuer.Chat(in)
		if err != nil {
			b.Fatal(err)
		}
		r := engine.Request{Prompt: prompt, MaxTokens: len(output), Grammar: g}
		d, err := i.Begin(&r, issuer.Prompt{Source: source}, issuer.Options{})
		if err != nil {
			b.Fatal(err)
		}
		d.Finish(res)
		return d
	}
	b.Run("draft", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			issue()
		}
	})
	b.Run("file", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			f, err := issue().File(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := f.Marshal(); err != nil {
				b.Fatal(err)
			}
		}
	})
}
