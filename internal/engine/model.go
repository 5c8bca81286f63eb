package engine

import (
	"fmt"
	"sync"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/token"
)

// modelFile is what a GGUF file says about a model besides its weights.
type modelFile struct {
	file      *gguf.File
	config    model.Config
	tokenizer *token.Tokenizer
	template  *chat.Template // nil if the file has none

	vocabularyOnce sync.Once
	vocabulary     *grammar.Vocabulary
	vocabularyErr  error
}

// Open loads the model in a GGUF file; of a split one, path names any part.
func Open(path string, opt Options) (*Engine, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	// The weights are packed into memory of their own, and metadata outlives
	// the file.
	defer f.Close()
	return open(f, path, opt)
}

// OpenFile loads the model in an open file, which it needs no more afterwards.
// Errors call it name.
func OpenFile(f *gguf.File, name string, opt Options) (*Engine, error) {
	if err := opt.validate(); err != nil {
		return nil, err
	}
	return open(f, name, opt)
}

func open(f *gguf.File, path string, opt Options) (*Engine, error) {
	e := &Engine{modelFile: modelFile{file: f}}
	// A large vocabulary takes about as long as the weights.
	words := make(chan error, 1)
	go func() { words <- e.readWords() }()
	m, err := model.Load(f, model.Options{Threads: opt.Threads, Kernel: opt.Kernel, Context: ContextFor(f, opt.Context), Adapters: opt.Adapters})
	wordsErr := <-words
	if err != nil && wordsErr == nil && len(f.Tensors()) == 0 {
		return nil, fmt.Errorf("%w: %s has a vocabulary and no weights: train a model for it, or choose another file", ErrFile, path)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	e.closers = append(e.closers, m)
	e.config = m.Config()
	if err = wordsErr; err == nil && e.tokenizer.Size() > e.config.Vocab {
		err = fmt.Errorf("the tokenizer has %d tokens, but the model computes %d logits: the file is damaged", e.tokenizer.Size(), e.config.Vocab)
	}
	if err != nil {
		err = fmt.Errorf("%w: %w", ErrFile, err)
	} else {
		err = e.start(&loadedModel{model: m}, newWords(e.tokenizer, e.config.Vocab), opt)
	}
	if err != nil {
		_ = m.Close() // the first error says more
		return nil, fmt.Errorf("engine: %s: %w", path, err)
	}
	return e, nil
}

// readWords makes the tokenizer and the chat template.
func (m *modelFile) readWords() error {
	var err error
	if m.tokenizer, err = token.New(m.file); err != nil {
		return err
	}
	if src, ok := m.file.String("tokenizer.chat_template"); ok {
		if m.template, err = chat.Parse(src); err != nil {
			return fmt.Errorf("chat template: %w", err)
		}
	}
	return nil
}

// minContext is the context of toy models whose files name less: other
// programs use them beyond it, and so do their readers.
const minContext = 512

// ContextFor returns how many positions a sequence of a model has if the user
// asked for want, or, with 0, did not.
func ContextFor(f *gguf.File, want int) int {
	if want != 0 {
		return want
	}
	arch, _ := f.String("general.architecture")
	if n, ok := f.Uint(arch + ".context_length"); ok && n < minContext {
		return minContext
	}
	return 0 // the model knows
}

// Config is the shape of the model.
func (m *modelFile) Config() model.Config { return m.config }

// File holds the metadata of the file. The file itself is closed.
func (m *modelFile) File() *gguf.File { return m.file }

// Tokenizer is that of the model.
func (m *modelFile) Tokenizer() *token.Tokenizer { return m.tokenizer }

// HasTemplate reports whether the file has a chat template of its own.
func (m *modelFile) HasTemplate() bool { return m.template != nil }

// Tokenize turns text into tokens. With special, tokens that the model wants
// around a text are added, and control tokens written in it are recognised.
func (m *modelFile) Tokenize(text string, special bool) ([]int32, error) {
	return m.tokenizer.Encode(text, token.EncodeOptions{AddSpecial: special, ParseSpecial: special})
}

// Render turns a conversation into tokens, through the model's own template
// or, if it has none, the one usual for its architecture. BOS and EOS of the
// input are filled in. Control tokens that a message spells out are recognised
// as such, as in other programs that use these templates.
func (m *modelFile) Render(in chat.Input) ([]int32, error) {
	t := m.template
	if t == nil {
		var err error
		if t, err = chat.Parse(chat.Builtin(m.config.Arch)); err != nil {
			return nil, fmt.Errorf("engine: internal error: built-in template: %w", err)
		}
	}
	return m.RenderWith(t, in)
}

// RenderWith is Render with another template.
func (m *modelFile) RenderWith(t *chat.Template, in chat.Input) ([]int32, error) {
	in.SetTokens(m.tokenizer)
	text, err := t.Render(in)
	if err != nil {
		return nil, requestErrorf("the chat template refuses the messages: %w", err)
	}
	return chat.Encode(m.tokenizer, text)
}

// constrain starts a grammar over the model's vocabulary.
func (m *modelFile) constrain(g *grammar.Grammar) (constraint, error) {
	m.vocabularyOnce.Do(func() {
		tok := m.tokenizer
		pieces := make([][]byte, m.config.Vocab)
		var ends []int32
		for i := range pieces {
			id := int32(i)
			pieces[i] = tok.Piece(id)
			if tok.EOG(id) {
				ends = append(ends, id)
			}
		}
		m.vocabulary, m.vocabularyErr = grammar.NewVocabulary(pieces, ends)
	})
	if m.vocabularyErr != nil {
		return nil, m.vocabularyErr
	}
	return grammar.NewMatcher(g, m.vocabulary).NewState(), nil
}

// FileContext is the context of an engine that is opened without asking for
// one.
func (m *modelFile) FileContext() int {
	if n := ContextFor(m.file, 0); n != 0 {
		return n
	}
	return min(m.config.Context, model.MaxContext)
}
