package engine

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/token"
)

// TestRender checks that a prompt begins with BOS once, whether the template
// writes it or leaves it to the tokenizer.
func TestRender(t *testing.T) {
	f, err := gguf.Inspect(testdata.Shared(t, "tokenizers", "ggml-vocab-llama-spm.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m := &modelFile{file: f}
	if m.tokenizer, err = token.New(f); err != nil {
		t.Fatal(err)
	}
	want, err := m.tokenizer.Encode("[INST] Hi [/INST]", token.EncodeOptions{AddSpecial: true})
	if err != nil {
		t.Fatal(err)
	}
	in := chat.Input{Messages: []chat.Message{{Role: "user", Content: "Hi"}}, AddGenerationPrompt: true}
	for _, src := range []string{
		"{{ bos_token }}[INST] {{ messages[0].content }} [/INST]",
		"[INST] {{ messages[0]['content'] }} [/INST]",
	} {
		if m.template, err = chat.Parse(src); err != nil {
			t.Fatal(err)
		}
		got, err := m.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) == 0 || got[0] != m.tokenizer.BOS() || len(got) > 1 && got[1] == m.tokenizer.BOS() {
			t.Errorf("%s: got %v", src, got)
		}
		if src[0] == '[' {
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", src, diff)
			}
		}
	}
	if m.template, err = chat.Parse("{{ raise_exception('no system message, please') }}"); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Render(in); err == nil {
		t.Error("a template that refuses was not heard")
	}
	m.template = nil
	if got, err := m.Render(in); err != nil || len(got) < 5 {
		t.Errorf("without template: %v, %v", got, err)
	}
}
