package bpe

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/avalnetwork/aval/internal/token"
)

// Limits of what is learned from. They bound the memory to about 3 GiB.
const (
	// MaxSize is the most tokens that a vocabulary may have.
	MaxSize = 1 << 20
	// MaxTokenBytes is the longest token that merging makes.
	MaxTokenBytes = 64

	pieceSize  = 1 << 20 // bytes of text that are cut into words at once
	maxWord    = 256     // bytes; longer words are learned from in parts
	maxWords   = 1 << 23 // different words
	maxSpecial = 256     // special tokens
	maxLetters = 1 << 28 // bytes in all different words
)

// ErrOptions says that the options contradict themselves or the limits.
var ErrOptions = errors.New("bpe: wrong options")

// ErrText says that a text cannot be learned from.
var ErrText = errors.New("bpe: the text cannot be learned from")

// Options say what to learn. Zero values have the meanings that are stated.
type Options struct {
	// Size is the number of tokens: special ones, 256 bytes and merged ones.
	Size int
	// Pre names the pre-tokenizer: a value of tokenizer.ggml.pre that
	// internal/token and llama.cpp know ("": gpt-2).
	Pre string
	// MinCount is how often a pair must occur to be joined (0: 2).
	MinCount int64
	// BOS and EOS begin and end a text ("": there is none). They may be the
	// same token. Unknown is never needed in a vocabulary of bytes, but may be
	// wished for.
	BOS, EOS, Unknown string
	// Special are further control tokens, such as those of chat templates.
	Special []string
	// Threads that cut text into words (0: 1).
	Threads int
}

// specials are the texts of all special tokens in the order of their ids.
func (o *Options) specials() []string {
	var out []string
	for _, s := range append([]string{o.BOS, o.EOS, o.Unknown}, o.Special...) {
		if s != "" && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

func (o *Options) check() error {
	special := o.specials()
	for _, s := range special {
		if !utf8.ValidString(s) || len(s) > MaxTokenBytes || len(s) < 2 || strings.ContainsAny(s, " \n") {
			return fmt.Errorf("%w: special token %q; want 2 to %d bytes of UTF-8 without spaces", ErrOptions, s, MaxTokenBytes)
		}
	}
	least := len(special) + 256
	switch {
	case len(special) > maxSpecial:
		return fmt.Errorf("%w: %d special tokens, the limit is %d", ErrOptions, len(special), maxSpecial)
	case o.Size < least || o.Size > MaxSize:
		return fmt.Errorf("%w: a vocabulary of %d tokens; want %d (256 bytes and %d special tokens) to %d",
			ErrOptions, o.Size, least, len(special), MaxSize)
	case o.MinCount < 0:
		return fmt.Errorf("%w: a least count of %d; want 0 or more", ErrOptions, o.MinCount)
	case o.Threads < 0:
		return fmt.Errorf("%w: %d threads", ErrOptions, o.Threads)
	}
	return nil
}

// Trainer learns one vocabulary. One goroutine at a time may use it.
type Trainer struct {
	opt     Options
	special []string
	words   map[string]int64 // how often each word occurs
	letters int64            // bytes in all different words
	bytes   int64            // of text so far
}

// NewTrainer makes a trainer that has seen no text. The error wraps
// [ErrOptions], or tells which pre-tokenizers are known.
func NewTrainer(o Options) (*Trainer, error) {
	if o.Pre == "" {
		o.Pre = "gpt-2"
	}
	if o.MinCount == 0 {
		o.MinCount = 2
	}
	if o.Threads == 0 {
		o.Threads = 1
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	if _, err := token.NewSplitter(o.Pre); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	return &Trainer{opt: o, special: o.specials(), words: map[string]int64{}}, nil
}

// Bytes is how much text was added.
func (t *Trainer) Bytes() int64 { return t.bytes }

// Words is how many different words there were.
func (t *Trainer) Words() int { return len(t.words) }

// Train learns the vocabulary from all texts so far. It tells progress, which
// may be nil, how many of the wanted tokens there are.
func (t *Trainer) Train(ctx context.Context, progress func(done, total int)) (*Vocabulary, error) {
	if len(t.words) == 0 {
		return nil, fmt.Errorf("%w: it is empty", ErrText)
	}
	v := &Vocabulary{Pre: t.opt.Pre, BOS: -1, EOS: -1, Unknown: -1}
	for i, s := range t.special {
		kind := kindControl
		if s == t.opt.Unknown && s != t.opt.BOS && s != t.opt.EOS {
			kind = kindUnknown
		}
		v.add(s, kind)
		for _, role := range []struct {
			text string
			id   *int
		}{{t.opt.BOS, &v.BOS}, {t.opt.EOS, &v.EOS}, {t.opt.Unknown, &v.Unknown}} {
			if role.text == s {
				*role.id = i
			}
		}
	}
	for b := range 256 {
		v.add(token.ByteText([]byte{byte(b)}), kindNormal)
	}
	m := newMerger(t.words, t.special)
	want := t.opt.Size - len(v.Tokens)
	for made := 0; made < want; {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		left, right, added, ok := m.next(t.opt.MinCount)
		if !ok {
			break
		}
		a, b := token.ByteText(m.text[left]), token.ByteText(m.text[right])
		v.Merges = append(v.Merges, a+" "+b)
		if added {
			v.add(a+b, kindNormal)
			made++
		}
		if progress != nil {
			progress(made, want)
		}
	}
	return v, nil
}
