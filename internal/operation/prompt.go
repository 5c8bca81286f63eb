package operation

import (
	"fmt"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/token"
)

// Prompt is a prompt as it was given, before it became tokens. That step has no
// plan: which ids a text becomes depends on the whole vocabulary, so what a
// referee is shown of it is as large as the tokenizer.
type Prompt struct {
	// Text is the prompt, if Chat is nil.
	Text    string
	Options token.EncodeOptions // of Text
	// Chat is a conversation, rendered by Template, or if that is empty by the
	// template of the model. Its BOS and EOS are set from the model.
	Chat     *chat.Input
	Template string
}

// IDs repeats the step. Of the metadata it reads general.architecture,
// general.name, and what begins with tokenizer and a dot.
func (p *Prompt) IDs(meta model.Metadata) ([]int32, error) {
	tokenizer, err := token.New(words{meta})
	if err != nil {
		return nil, err
	}
	if p.Chat == nil {
		return tokenizer.Encode(p.Text, p.Options)
	}
	source := p.Template
	if source == "" {
		var ok bool
		if source, ok = (words{meta}).String("tokenizer.chat_template"); !ok {
			arch, _ := words{meta}.String("general.architecture")
			source = chat.Builtin(arch)
		}
	}
	template, err := chat.Parse(source)
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	in := *p.Chat
	in.SetTokens(tokenizer)
	text, err := template.Render(in)
	if err != nil {
		return nil, fmt.Errorf("the chat template refuses the messages: %w", err)
	}
	return chat.Encode(tokenizer, text)
}

// words is metadata as a tokenizer reads it.
type words struct{ model.Metadata }

func read[T any](w words, key string, as func(gguf.Value) (T, bool)) (x T, ok bool) {
	if v, found := w.Value(key); found {
		return as(v)
	}
	return x, false
}

func (w words) String(key string) (string, bool)    { return read(w, key, gguf.Value.Text) }
func (w words) Uint(key string) (uint64, bool)      { return read(w, key, gguf.Value.Uint) }
func (w words) Bool(key string) (bool, bool)        { return read(w, key, gguf.Value.Bool) }
func (w words) Strings(key string) ([]string, bool) { return read(w, key, gguf.Value.Strings) }
func (w words) Ints(key string) ([]int64, bool)     { return read(w, key, gguf.Value.Ints) }
func (w words) Floats(key string) ([]float32, bool) { return read(w, key, gguf.Value.Floats) }
