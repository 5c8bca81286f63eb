package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/bpe"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/dataset"
)

// vocabulary opens the file that the model's vocabulary is from: the model, the
// tokenizer, or one in memory that is learned from the data, which is returned
// too.
func (c *Config) vocabulary(ctx context.Context, o Options) (*gguf.File, *bpe.Vocabulary, error) {
	path := c.Model
	if path == "" {
		path = c.Tokenizer
	}
	if path != "" {
		f, err := gguf.Open(path)
		return f, nil, err
	}
	v, err := c.learnVocabulary(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	f, err := inMemory(v)
	return f, v, err
}

func (c *Config) learnVocabulary(ctx context.Context, o Options) (*bpe.Vocabulary, error) {
	texts, lines := byFormat(c.Data)
	if c.VocabSize == 0 {
		n, err := vocabSize(c.Data)
		if err != nil {
			return nil, err
		}
		c.VocabSize = n
	}
	opt := bpe.Options{Size: c.VocabSize, BOS: "<|startoftext|>", EOS: "<|endoftext|>", Threads: threads(o.Threads)}
	if len(lines) > 0 { // there may be conversations
		opt.Special = []string{"<|im_start|>", "<|im_end|>"}
	}
	t, err := bpe.NewTrainer(opt)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	o.Events.stage("learning a vocabulary")
	for _, path := range texts {
		if err := addText(ctx, t, path); err != nil {
			return nil, vocabularyError(err)
		}
	}
	for _, path := range lines {
		err := dataset.EachText(ctx, path, func(text []byte) error {
			return t.Add(ctx, path, bytes.NewReader(text), nil)
		})
		if err != nil {
			return nil, vocabularyError(err)
		}
	}
	v, err := t.Train(ctx, nil)
	if err != nil {
		return nil, vocabularyError(err)
	}
	if len(lines) > 0 {
		v.Template = chat.ChatML
	}
	return v, nil
}

// vocabSize is how many tokens so much text is worth.
func vocabSize(paths []string) (int, error) {
	var total int64
	for _, p := range paths {
		info, err := os.Stat(p)
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	switch {
	case total < 100e3:
		return 512, nil
	case total < 1e6:
		return 1024, nil
	case total < 2e6:
		return 2048, nil
	case total < 16e6:
		return 4096, nil
	}
	return 8192, nil
}

func addText(ctx context.Context, t *bpe.Trainer, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return t.Add(ctx, path, io.LimitReader(f, dataset.MaxFile), nil)
}

func vocabularyError(err error) error {
	if errors.Is(err, bpe.ErrText) {
		return fmt.Errorf("%w: %w", dataset.ErrData, err)
	}
	return err
}

// inMemory writes a vocabulary into a file that is none.
func inMemory(v *bpe.Vocabulary) (*gguf.File, error) {
	var b bytes.Buffer
	w := gguf.NewWriter(&b)
	if err := errors.Join(v.Set(w), w.Close()); err != nil {
		return nil, err
	}
	return gguf.Parse(bytes.NewReader(b.Bytes()), int64(b.Len()))
}
