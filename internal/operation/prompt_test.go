package operation_test

import (
	"slices"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/token"
)

// TestPrompt holds the ids of a prompt to be those of the file's tokenizer,
// also where the metadata comes from a proof.
func TestPrompt(t *testing.T) {
	f, err := gguf.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-Q4_K_M.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tree, err := fingerprint.Of(t.Context(), f, 0)
	if err != nil {
		t.Fatal(err)
	}
	proof, err := tree.Prove(t.Context(), fingerprint.Request{
		Keys: []string{"general.architecture", "general.name"}, Whole: []string{"tokenizer."},
	})
	if err != nil {
		t.Fatal(err)
	}
	facts, err := proof.Verify(tree.Root())
	if err != nil {
		t.Fatal(err)
	}
	tokenizer, err := token.New(f)
	if err != nil {
		t.Fatal(err)
	}
	conversation := &chat.Input{Messages: []chat.Message{{Role: "user", Content: "Once upon"}}, AddGenerationPrompt: true}
	in := *conversation
	in.SetTokens(tokenizer)
	builtin, err := chat.Parse(chat.Builtin("llama"))
	if err != nil {
		t.Fatal(err)
	}
	rendered, err := builtin.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	encode := func(text string, opt token.EncodeOptions) []int32 {
		ids, err := tokenizer.Encode(text, opt)
		if err != nil {
			t.Fatal(err)
		}
		return ids
	}
	special := token.EncodeOptions{AddSpecial: true, ParseSpecial: true}
	for _, c := range []struct {
		name   string
		prompt operation.Prompt
		want   []int32
	}{
		{"text", operation.Prompt{Text: "Once upon a time"}, encode("Once upon a time", token.EncodeOptions{})},
		{"special", operation.Prompt{Text: "Once upon a time", Options: special}, []int32{1, 403, 407, 261, 378}},
		{"chat", operation.Prompt{Chat: conversation}, encode(rendered, special)},
		{"template", operation.Prompt{Chat: conversation, Template: "{{ bos_token }}{{ messages[0].content }} a time"}, []int32{1, 403, 407, 261, 378}},
	} {
		for name, meta := range map[string]interface {
			Value(string) (gguf.Value, bool)
		}{"file": f, "facts": facts} {
			got, err := c.prompt.IDs(meta)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s, %s: %v, %v, want %v", c.name, name, got, err, c.want)
			}
		}
	}
	if err := facts.Err(); err != nil {
		t.Error(err)
	}
}

// TestStory holds the output cells of a trained model to choose what the engine
// drew, token after token.
func TestStory(t *testing.T) {
	for _, file := range []string{"stories260K-f32.gguf", "stories260K-Q4_K_M.gguf", "stories260K-p192-Q8_0.gguf"} {
		r := openFile(t, testdata.Shared(t, "weights", "stories260K", file))
		for _, params := range []sample.Params{{}, {Temperature: 0.8, TopK: 50, TopP: 0.95, MinP: 0.01, RepeatPenalty: 1.05, Seed: 5}} {
			sampler, err := sample.New(params, r.vocab())
			if err != nil {
				t.Fatal(err)
			}
			tokens := []int32{1, 403, 407, 261, 378}
			const prompt, drawn = 5, 20
			for i := range drawn {
				r.tokens = tokens
				logits := r.logits()
				id, err := sampler.Sample(logits[len(logits)-r.vocab():], tokens, i, nil)
				if err != nil {
					t.Fatal(err)
				}
				tokens = append(tokens, id)
			}
			r.read(tokens[:len(tokens)-1])
			r.tokens, r.prompt = tokens, prompt
			for i := range drawn {
				v := r.compute(r.output(i, params))
				op, _, _ := v.Plan().State()
				if got, err := v.Plan().Token(v.Leaf(op, 0)); err != nil || got != tokens[prompt+i] {
					t.Fatalf("%s, %+v: token %d is %d, %v, the engine drew %d", file, params, i, got, err, tokens[prompt+i])
				}
			}
		}
	}
}
