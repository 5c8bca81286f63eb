package bpe

import (
	"errors"

	"github.com/avalnetwork/aval/gguf"
)

// The token kinds of a GGUF file that a vocabulary of bytes has.
const (
	kindNormal  int32 = 1
	kindUnknown int32 = 2
	kindControl int32 = 3
)

// Vocabulary is what was learned.
type Vocabulary struct {
	Pre    string   // the pre-tokenizer
	Tokens []string // as byte-level vocabularies write them, by id
	Types  []int32  // of the tokens: 1 normal, 2 unknown, 3 control
	Merges []string // two tokens with a space between, best first

	BOS, EOS, Unknown int // ids, -1 if there is none

	// Template is the chat template in Jinja, "" for none.
	Template string
}

func (v *Vocabulary) add(text string, kind int32) {
	v.Tokens = append(v.Tokens, text)
	v.Types = append(v.Types, kind)
}

// Set writes the keys of the tokenizer into a file's metadata. If there is a
// BOS, texts are to begin with it.
func (v *Vocabulary) Set(w *gguf.Writer) error {
	errs := []error{
		w.Set("tokenizer.ggml.model", gguf.ValueOf("gpt2")),
		w.Set("tokenizer.ggml.pre", gguf.ValueOf(v.Pre)),
		w.Set("tokenizer.ggml.tokens", gguf.ArrayOf(v.Tokens)),
		w.Set("tokenizer.ggml.token_type", gguf.ArrayOf(v.Types)),
		w.Set("tokenizer.ggml.merges", gguf.ArrayOf(v.Merges)),
	}
	for _, s := range []struct {
		key string
		id  int
	}{
		{"tokenizer.ggml.bos_token_id", v.BOS},
		{"tokenizer.ggml.eos_token_id", v.EOS},
		{"tokenizer.ggml.unknown_token_id", v.Unknown},
	} {
		if s.id >= 0 {
			errs = append(errs, w.Set(s.key, gguf.ValueOf(uint32(s.id))))
		}
	}
	errs = append(errs,
		w.Set("tokenizer.ggml.add_bos_token", gguf.ValueOf(v.BOS >= 0)),
		w.Set("tokenizer.ggml.add_eos_token", gguf.ValueOf(false)))
	if v.Template != "" {
		errs = append(errs, w.Set("tokenizer.chat_template", gguf.ValueOf(v.Template)))
	}
	return errors.Join(errs...)
}

// WriteFile writes a file that holds the vocabulary and no weights, for models
// of an architecture (such as "llama") to be made with.
func (v *Vocabulary) WriteFile(path, architecture, name string) error {
	w, err := gguf.Create(path)
	if err != nil {
		return err
	}
	defer w.Abort()
	return errors.Join(
		w.Set("general.architecture", gguf.ValueOf(architecture)),
		w.Set("general.name", gguf.ValueOf(name)),
		v.Set(w),
		w.Close())
}
