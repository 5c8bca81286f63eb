package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/bpe"
	"github.com/avalnetwork/aval/internal/chat"
)

type trainTokenizerOptions struct {
	output, name, pre string
	bos, eos, unknown string
	special           []string
	size, threads     int
	minCount          int64
	chat, force, json bool
}

// trainTokenizerJSON is what "aval train tokenizer --json" prints.
type trainTokenizerJSON struct {
	File      string `json:"file"`
	Size      int    `json:"size"`   // tokens
	Merges    int    `json:"merges"` // among them may be some that make the same token
	Texts     int    `json:"texts"`
	TextBytes int64  `json:"text_bytes"`
	Words     int    `json:"words"` // different ones
}

func newTrainTokenizerCommand(a *app) *cobra.Command {
	var o trainTokenizerOptions
	c := &cobra.Command{
		Use:   "tokenizer [flags] TEXT...",
		Short: "Learn a vocabulary from text",
		Long: `Tokenizer learns a byte-level BPE vocabulary from text files (UTF-8) and writes it
as a GGUF file without weights, which "aval train lm" makes models for and which
llama.cpp reads too. Any text can be written with it, in whatever language.

The vocabulary is a function of the texts and the flags: no bit of it depends on
--threads. Texts of special tokens are not learned from.

--pre says how text is cut into words before anything is learned: a name that
llama.cpp knows, such as gpt-2, llama-bpe (numbers in groups of three digits) or
qwen2 (digits one by one).
` + exitHelp,
		Example: "  aval train tokenizer book.txt\n  aval train tokenizer --size 8192 --pre llama-bpe --chat -o v.gguf a.txt b.txt",
		Args:    cobra.MinimumNArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.trainTokenizer(c.Context(), &o, args) },
	}
	f := c.Flags()
	f.StringVarP(&o.output, "output", "o", "tokenizer.gguf", "the file to write")
	f.IntVar(&o.size, "size", 4096, "tokens in the vocabulary: special ones, 256 bytes and what is learned")
	f.StringVar(&o.pre, "pre", "gpt-2", "how text is cut into words")
	f.Int64Var(&o.minCount, "min-count", 2, "learn no token for what occurs less often")
	f.StringVar(&o.bos, "bos", "<|startoftext|>", `the token that begins a text ("": none)`)
	f.StringVar(&o.eos, "eos", "<|endoftext|>", `the token that ends a text ("": none)`)
	f.StringVar(&o.unknown, "unk", "", "a token for what is unknown, which a vocabulary of bytes does not need")
	f.StringArrayVar(&o.special, "special", nil, "a further control token (may be repeated)")
	f.BoolVar(&o.chat, "chat", false, "add the tokens <|im_start|> and <|im_end|> and the chat template that uses them")
	f.StringVar(&o.name, "name", "", "the name in the file (default: that of the file)")
	f.IntVar(&o.threads, "threads", 0, "cut text on so many threads (0: one for each CPU)")
	f.BoolVar(&o.force, "force", false, "replace the output file if it exists")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (o *trainTokenizerOptions) options() bpe.Options {
	b := bpe.Options{
		Size: o.size, Pre: o.pre, MinCount: o.minCount, Threads: o.threads,
		BOS: o.bos, EOS: o.eos, Unknown: o.unknown, Special: o.special,
	}
	if o.chat {
		b.Special = append([]string{"<|im_start|>", "<|im_end|>"}, b.Special...)
	}
	if b.Threads == 0 {
		b.Threads = runtime.GOMAXPROCS(0)
	}
	return b
}

func (a *app) trainTokenizer(ctx context.Context, o *trainTokenizerOptions, texts []string) error {
	if err := (&modelOptions{threads: o.threads}).check(); err != nil {
		return err
	}
	t, err := bpe.NewTrainer(o.options())
	if err != nil {
		return usageError{err}
	}
	if err := writable(o.output, o.force); err != nil {
		return err
	}
	if err := a.learnWords(ctx, t, texts); err != nil {
		return err
	}
	show, end := a.counting("learning tokens")
	v, err := t.Train(ctx, show)
	end()
	if err != nil {
		return tellText(err)
	}
	if o.chat {
		v.Template = chat.ChatML
	}
	name := o.name
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(o.output), filepath.Ext(o.output))
	}
	if err := v.WriteFile(o.output, "llama", name); err != nil {
		return err
	}
	if len(v.Tokens) < o.size {
		a.note("the text gives only %d tokens, as no further pair occurs %d times; more text gives more", len(v.Tokens), o.minCount)
	}
	out := trainTokenizerJSON{
		File: o.output, Size: len(v.Tokens), Merges: len(v.Merges),
		Texts: len(texts), TextBytes: t.Bytes(), Words: t.Words(),
	}
	if o.json {
		return a.printJSON(out)
	}
	_, err = fmt.Fprintf(a.out, "%s\t%d tokens from %s of text\n", out.File, out.Size, size(out.TextBytes))
	return err
}

// learnWords counts the words of all texts. All are looked at before the first
// is read.
func (a *app) learnWords(ctx context.Context, t *bpe.Trainer, texts []string) error {
	var total, before int64
	for _, path := range texts {
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		if info.IsDir() {
			return usageErrorf("%s is a folder; name the files in it", path)
		}
		total += info.Size()
	}
	show, end := a.progress("reading")
	defer end()
	for _, path := range texts {
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		err = t.Add(ctx, path, f, func(n int64) { show(before+n, max(total, before+n)) })
		f.Close()
		if err != nil {
			return tellText(err)
		}
		before = t.Bytes()
	}
	return nil
}

// errBadData marks errors of the data that was to be learned from.
var errBadData = errors.New("the data cannot be used")

func tellText(err error) error {
	if errors.Is(err, bpe.ErrText) {
		return fmt.Errorf("%w: %w", errBadData, err)
	}
	return err
}

// writable reports whether a file may be written, so that nobody waits for a
// result that cannot be kept.
func writable(path string, force bool) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && !info.Mode().IsRegular():
		return usageErrorf("%s is not a file that can be replaced (%v); write to another", path, info.Mode().Type())
	case err == nil && !force:
		return usageErrorf("%s exists; replace it with --force", path)
	}
	dir, err := os.Stat(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("%w; make the folder first, or write to another", err)
	}
	if !dir.IsDir() {
		return usageErrorf("%s is not a folder", filepath.Dir(path))
	}
	return nil
}
