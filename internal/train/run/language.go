package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/quant"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/token"
	"github.com/avalnetwork/aval/internal/train/lm"
)

// usualContext is the context of a run that names none.
const usualContext = 256

// newLanguage prepares a run that trains a language model or an adapter.
func newLanguage(ctx context.Context, c *Config, o Options) (_ *task, err error) {
	f, learned, err := c.vocabulary(ctx, o)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if c.Model != "" && adapter.Is(f) {
		return nil, fmt.Errorf("%w: %s is an adapter, not a model; give the model that it was made for", ErrConfig, c.Model)
	}
	tok, err := token.New(f)
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", c.Model, c.Tokenizer, err) // one of them is ""
	}
	m, err := c.openModel(f, o)
	if err != nil {
		return nil, err
	}
	t := &task{
		learner: m, machine: m.Machine(), vocabulary: learned, tokens: true, unit: "nats per token",
		close: func() { m.Close(); f.Close() },
	}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if err := t.readLanguage(ctx, c, o, f, tok); err != nil {
		return nil, err
	}
	for _, p := range m.Params() {
		t.parameters += len(p.Data)
	}
	if c.Kind == LoRA {
		t.result = LoRA.result()
		t.export = func(path string) error {
			a := m.Adapter()
			a.Name = c.Name
			return a.Write(path)
		}
		return t, nil
	}
	t.result = LM.result()
	t.export = func(path string) error {
		r, err := quant.ParseRecipe(c.Export)
		if err != nil {
			return err
		}
		return m.Export(path, r, c.setName)
	}
	t.sample = func(prompt string, tokens int) (string, error) { return write(m, tok, prompt, tokens) }
	return t, nil
}

// openModel makes the learner, and completes the configuration by what the model
// says.
func (c *Config) openModel(f *gguf.File, o Options) (*lm.Model, error) {
	opt := lm.Options{Context: c.Context, Recompute: c.Recompute, Threads: o.Threads, Kernel: o.Kernel}
	if c.fresh() {
		if c.Context == 0 {
			c.Context = usualContext
		}
		opt.Context = 0
		m, err := lm.Init(c.architecture(), f, c.Seed, opt)
		if file := (*model.FileError)(nil); errors.As(err, &file) { // there is no file yet
			return nil, fmt.Errorf("%w: there can be no model of this shape: %s %s", ErrConfig, file.Where, file.What)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrConfig, err)
		}
		return m, nil
	}
	if opt.Context == 0 {
		opt.Context = usualContext
		if arch, ok := f.String("general.architecture"); ok {
			if n, ok := f.Uint(arch + ".context_length"); ok && n < usualContext {
				opt.Context = int(n)
			}
		}
	}
	c.Context = opt.Context
	if c.Kind == LoRA {
		opt.LoRA = &lm.LoRA{Rank: c.Rank, Alpha: c.Alpha, Targets: c.Targets, Seed: c.Seed}
	}
	return lm.Open(f, opt)
}

// setName names the model in its file.
func (c *Config) setName(w *gguf.Writer) error {
	if c.Name == "" {
		return nil
	}
	return w.Set("general.name", gguf.ValueOf(c.Name))
}

// readLanguage reads the examples.
func (t *task) readLanguage(ctx context.Context, c *Config, o Options, f *gguf.File, tok *token.Tokenizer) error {
	if len(c.Data) == 0 { // of a run that is checked without its data
		return nil
	}
	opt := dataset.JSONLOptions{TextOptions: dataset.TextOptions{
		Tokenizer: tok, Context: c.Context, Separator: c.Separator, Threads: t.machine.Threads(),
	}}
	var err error
	if opt.Template, err = c.template(f); err != nil {
		return err
	}
	read := func(paths []string) (*dataset.Set, error) {
		texts, lines := byFormat(paths)
		a, err := dataset.ReadText(ctx, texts, opt.TextOptions)
		if err != nil {
			return nil, err
		}
		b, err := dataset.ReadJSONL(ctx, lines, opt)
		if err != nil {
			return nil, err
		}
		return a.Join(b), nil
	}
	all, err := read(c.Data)
	if err != nil {
		return err
	}
	var other *dataset.Set
	if len(c.ValidationData) > 0 {
		if other, err = read(c.ValidationData); err != nil {
			return err
		}
	}
	return t.split(c, all, other)
}

// template is the chat template that the configuration names, or the model's.
func (c *Config) template(f *gguf.File) (*chat.Template, error) {
	source, _ := f.String("tokenizer.chat_template")
	switch {
	case c.Template == "none":
		return nil, nil
	case c.Template == "":
		if source == "" {
			return nil, nil
		}
	case isFile(c.Template):
		b, err := os.ReadFile(c.Template)
		if err != nil {
			return nil, err
		}
		source = string(b)
	default:
		source = ""
		for _, name := range chat.BuiltinNames() {
			if name == c.Template {
				source = chat.Builtin(name)
			}
		}
		if source == "" {
			return nil, fmt.Errorf("%w: template %q is no file and no built-in one; those are %s", ErrConfig, c.Template, strings.Join(chat.BuiltinNames(), ", "))
		}
	}
	return chat.Parse(source)
}

// sampling is how samples are drawn: as "aval run" does by default.
var sampling = sample.Params{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1}

// write goes on with a prompt, for a look at what was learned. It computes the
// whole text anew for each token, so it is for short ones.
func write(m *lm.Model, tok *token.Tokenizer, prompt string, n int) (string, error) {
	ids, err := tok.Encode(prompt, token.EncodeOptions{AddSpecial: true})
	if err != nil {
		return "", err
	}
	if len(ids) == 0 {
		if tok.EOS() < 0 {
			return "", errors.New("the vocabulary has no token to begin a text with; give a prompt")
		}
		ids = append(ids, tok.EOS())
	}
	vocab := m.Config().Vocab
	s, err := sample.New(sampling, vocab)
	if err != nil {
		return "", err
	}
	begin := len(ids)
	for len(ids)-begin < n && len(ids) <= m.Limit() {
		logits, err := m.Logits(append(ids, 0)) // those of all but the last
		if err != nil {
			return "", err
		}
		next, err := s.Sample(logits[(len(ids)-1)*vocab:], ids, len(ids), nil)
		if err != nil {
			return "", err
		}
		if tok.EOG(next) {
			break
		}
		ids = append(ids, next)
	}
	return prompt + tok.DecodeMore(ids[begin:]), nil
}
