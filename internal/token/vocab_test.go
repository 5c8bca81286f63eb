package token_test

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/token"
	"github.com/google/go-cmp/cmp"
)

// meta is metadata for tests.
type meta map[string]any

func get[T any](m meta, key string) (T, bool) {
	v, ok := m[key].(T)
	return v, ok
}

func (m meta) String(key string) (string, bool)    { return get[string](m, key) }
func (m meta) Uint(key string) (uint64, bool)      { return get[uint64](m, key) }
func (m meta) Bool(key string) (bool, bool)        { return get[bool](m, key) }
func (m meta) Strings(key string) ([]string, bool) { return get[[]string](m, key) }
func (m meta) Ints(key string) ([]int64, bool)     { return get[[]int64](m, key) }
func (m meta) Floats(key string) ([]float32, bool) { return get[[]float32](m, key) }
func (m meta) with(key string, value any) meta {
	out := meta{}
	for k, v := range m {
		out[k] = v
	}
	out[key] = value
	return out
}

// load makes the tokenizer of a vocabulary file in the shared data.
func load(t testing.TB, name string) *token.Tokenizer {
	t.Helper()
	f, err := gguf.Open(testdata.Shared(t, "tokenizers", "ggml-vocab-"+name+".gguf"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	tok, err := token.New(f)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

// llama3Meta makes the metadata of Llama 3.2's vocabulary, with the given
// pre-tokenizer.
func llama3Meta(t testing.TB, pre string) meta {
	t.Helper()
	read := func(name string) []byte {
		b, err := os.ReadFile(testdata.Shared(t, "tokenizers", "llama3.2", name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	ids := map[string]int{}
	if err := json.Unmarshal(read("encoder.json"), &ids); err != nil {
		t.Fatal(err)
	}
	texts := make([]string, len(ids))
	for text, id := range ids {
		texts[id] = text
	}
	lines := strings.Split(strings.TrimRight(string(read("vocab.bpe")), "\n"), "\n")
	if strings.HasPrefix(lines[0], "#version") {
		lines = lines[1:]
	}
	return meta{
		"tokenizer.ggml.model":  "gpt2",
		"tokenizer.ggml.pre":    pre,
		"tokenizer.ggml.tokens": texts,
		"tokenizer.ggml.merges": lines,
	}
}

func mustNew(t testing.TB, m token.Meta) *token.Tokenizer {
	t.Helper()
	tok, err := token.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func encode(t testing.TB, tok *token.Tokenizer, text string, opt token.EncodeOptions) []token.ID {
	t.Helper()
	ids, err := tok.Encode(text, opt)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// cases reads the texts and ids recorded for a vocabulary.
func cases(t *testing.T, name string) (texts []string, ids [][]token.ID) {
	t.Helper()
	base := "ggml-vocab-" + name + ".gguf"
	inp, err := os.ReadFile(testdata.Shared(t, "tokenizers", base+".inp"))
	if err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(testdata.Shared(t, "tokenizers", base+".out"))
	if err != nil {
		t.Fatal(err)
	}
	texts = strings.Split(string(inp), "\n__ggml_vocab_test__\n")
	if texts[len(texts)-1] == "" { // the file ends with a separator
		texts = texts[:len(texts)-1]
	}
	for _, line := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n") {
		row := []token.ID{}
		for _, f := range strings.Fields(line) {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, token.ID(n))
		}
		ids = append(ids, row)
	}
	if len(texts) != len(ids) {
		t.Fatalf("%s: %d texts, %d lines of ids", base, len(texts), len(ids))
	}
	return texts, ids
}

// TestRecordedIDs compares with the ids recorded by llama.cpp's authors.
func TestRecordedIDs(t *testing.T) {
	for _, name := range []string{"bert-bge", "deepseek-llm", "gpt-2", "llama-bpe", "llama-spm", "phi-3", "starcoder"} {
		t.Run(name, func(t *testing.T) {
			texts, want := cases(t, name)
			var tok *token.Tokenizer
			if name == "llama-bpe" {
				tok = mustNew(t, llama3Meta(t, "llama-bpe"))
			} else {
				tok = load(t, name)
			}
			for i, text := range texts {
				got := encode(t, tok, text, token.EncodeOptions{})
				if diff := cmp.Diff(want[i], got); diff != "" {
					t.Errorf("text %d %q (-want +got):\n%s", i, text, diff)
				}
			}
		})
	}
}

// TestRecordedQwen2 has the ids but not the vocabulary. Llama 3's grew from the
// same one, so that with Qwen2's pre-tokenizer an ASCII text must have as many
// tokens.
func TestRecordedQwen2(t *testing.T) {
	texts, want := cases(t, "qwen2")
	tok := mustNew(t, llama3Meta(t, "qwen2"))
	for i, text := range texts {
		if strings.IndexFunc(text, func(r rune) bool { return r > '~' }) >= 0 {
			continue
		}
		if got := encode(t, tok, text, token.EncodeOptions{}); len(got) != len(want[i]) {
			t.Errorf("%q: %d tokens, %d recorded", text, len(got), len(want[i]))
		}
	}
	t.Skip("the ids themselves need Qwen2's vocabulary, which is not in the shared data")
}

// TestStories encodes and decodes with a real model's file.
func TestStories(t *testing.T) {
	f, err := gguf.Open(testdata.Shared(t, "weights", "stories260K", "stories260K-f32.gguf"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tok := mustNew(t, f)
	got := encode(t, tok, "Once upon a time", token.EncodeOptions{AddSpecial: true})
	if diff := cmp.Diff([]token.ID{1, 403, 407, 261, 378}, got); diff != "" {
		t.Errorf("prompt (-want +got):\n%s", diff)
	}
	more := tok.DecodeMore([]token.ID{432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338})
	if want := ", there was a little girl named L"; !strings.HasPrefix(more, want) {
		t.Errorf("continuation: got %q, want %q", more, want)
	}
}
