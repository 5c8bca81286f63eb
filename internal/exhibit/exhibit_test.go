package exhibit_test

import (
	"crypto/ed25519"
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/exhibit"
	"github.com/avalnetwork/aval/receipt"
)

// TestExhibit writes a receipt down that has everything, whole and in parts.
func TestExhibit(t *testing.T) {
	o, err := receipt.Commit(receipt.Salt{1}, &receipt.Transcript{
		Source: receipt.Source{
			Kind: receipt.SourceChat, Date: "2026-01-02", Tools: []string{"{}"}, Variables: map[string]string{"a": "true", "b": "not JSON"},
			Messages: []receipt.Message{
				{Role: "assistant", Reasoning: "r", ToolCalls: []receipt.ToolCall{{ID: "1", Name: "f", Arguments: "{}"}}},
				{Role: "tool", Content: "7", Name: "f", ToolCallID: "1"},
			},
		},
		Bias:   receipt.Bias{3: float32(math.Inf(-1)), 4: 0.5},
		Extra:  receipt.Extra{Stop: []string{"."}, Grammar: &receipt.Grammar{Kind: receipt.GrammarJSON}, Template: "t"},
		Prompt: []int32{1, 2, 3}, Output: []int32{4, 5}, Text: "yes", StopText: ".",
	})
	if err != nil {
		t.Fatal(err)
	}
	c := receipt.Claims{Model: receipt.Hash{1}, Seed: receipt.SelfSeed(7), Stop: receipt.StopString, Time: 1e9}
	o.Fill(&c)
	r, err := receipt.Sign(c, ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	part := o.Select(receipt.PartText | receipt.PartTrace)
	prompt, err := o.PromptRange(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	part.PromptRanges = append(part.PromptRanges, prompt)
	for _, tt := range []struct {
		name string
		file receipt.File
		want string // of "shown" and "sealed"
	}{
		{"nothing", receipt.File{Receipt: r}, `{}`},
		{"all", receipt.File{Receipt: r, Opening: o}, `{"shown": {
			"source": {"kind": "chat", "date": "2026-01-02", "tools": ["{}"], "variables": {"a": true, "b": "not JSON"}, "messages": [
				{"role": "assistant", "content": "", "reasoning": "r", "tool_calls": [{"id": "1", "name": "f", "arguments": "{}"}]},
				{"role": "tool", "content": "7", "name": "f", "tool_call_id": "1"}]},
			"logit_bias": {"3": -1e30, "4": 0.5}, "stop": ["."], "grammar": {"kind": "json"}, "template": "t",
			"prompt_ids": [1, 2, 3], "output_ids": [4, 5], "text": "yes", "stop_text": ".", "trace_salt": true}}`},
		{"a part", receipt.File{Receipt: r, Opening: part, Sealed: []receipt.Box{{Suite: "s", KeyID: [8]byte{1}, Data: []byte{1, 2}}}}, `{
			"shown": {"text": "yes", "stop_text": ".", "trace_salt": true, "prompt_ranges": [{"from": 1, "ids": [2, 3]}]},
			"sealed": [{"suite": "s", "key_id": "0100000000000000", "bytes": 2}]}`},
	} {
		b, err := json.Marshal(exhibit.Of(&tt.file))
		if err != nil {
			t.Fatal(err)
		}
		var got, want map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		h := r.Hash()
		if got["id"] != h.String() || got["bytes"] != float64(len(r.Bytes())) || got["claims"].(map[string]any)["stop"] != "stop" {
			t.Errorf("%s: %s", tt.name, b)
		}
		for _, k := range []string{"id", "bytes", "claims"} {
			delete(got, k)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}
