package token

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// wordPiece is the tokenizer of BERT: the text is cut into words, and each word
// into the longest tokens from its left. Tokens that begin a word are written
// with U+2581 before them. A word that cannot be made of tokens is unknown as a
// whole.
type wordPiece struct {
	vocab   *vocab
	lower   bool
	strip   bool  // remove accents
	lengths []int // of tokens in bytes, longest first
}

func newWordPiece(f Meta, v *vocab) (*wordPiece, error) {
	if v.unk == none {
		return nil, keyError("tokenizer.ggml.unknown_token_id", "missing; the tokenizer cannot work without")
	}
	w := &wordPiece{vocab: v, lower: true}
	if on, ok := f.Bool("tokenizer.ggml.normalizer.lowercase"); ok {
		w.lower = on
	}
	w.strip = w.lower
	if on, ok := f.Bool("tokenizer.ggml.normalizer.strip_accents"); ok {
		w.strip = on
	}
	for _, text := range v.text {
		w.lengths = append(w.lengths, len(text))
	}
	slices.Sort(w.lengths)
	w.lengths = slices.Compact(w.lengths)
	slices.Reverse(w.lengths)
	return w, nil
}

// encode appends the ids of a text without special tokens.
func (w *wordPiece) encode(s *session, text string) {
	for _, word := range w.words(text) {
		s.out = w.pieces(s.out, escapedSpace+word)
	}
}

// pieces appends the tokens of one word, or the unknown token.
func (w *wordPiece) pieces(out []ID, word string) []ID {
	start := len(out)
	for i := 0; i < len(word); {
		id, n := w.longest(word[i:])
		if id == none {
			return append(out[:start], w.vocab.unk)
		}
		out = append(out, id)
		i += n
	}
	return out
}

// longest returns the longest token that text begins with, and its length.
func (w *wordPiece) longest(text string) (ID, int) {
	for _, n := range w.lengths {
		if n <= len(text) {
			if id, ok := w.vocab.ids[text[:n]]; ok {
				return id, n
			}
		}
	}
	return none, 0
}

// words normalises a text and cuts it at white space and around punctuation
// and Chinese characters.
func (w *wordPiece) words(text string) []string {
	table := classes()
	var words []string
	var word strings.Builder
	flush := func() {
		if word.Len() > 0 {
			words = append(words, word.String())
			word.Reset()
		}
	}
	for _, r := range text {
		if w.strip {
			r = baseRune(r)
		}
		c := table[r]
		switch {
		case c&space != 0:
			flush()
			continue
		case r == 0, r == utf8.RuneError, c&control != 0, w.strip && c&mark != 0:
			continue
		}
		low := r
		if w.lower {
			low = unicode.ToLower(r)
		}
		if c&punct != 0 || r < 0x7F && c&symbol != 0 || isIdeograph(r) {
			flush()
			word.WriteRune(low)
			flush()
		} else {
			word.WriteRune(low)
		}
	}
	flush()
	return words
}

// baseRune returns the first character of the canonical decomposition. The rest
// would be accents, which are removed anyway, or the further letters of a
// Korean syllable, which llama.cpp drops.
func baseRune(r rune) rune {
	switch {
	case r < 0xC0:
		return r
	case between(r, 0xAC00, 0xD7A3): // computed: 588 syllables a consonant
		return 0x1100 + (r-0xAC00)/588
	}
	var buf [utf8.UTFMax]byte
	d := norm.NFD.Properties(buf[:utf8.EncodeRune(buf[:], r)]).Decomposition()
	if len(d) == 0 {
		return r
	}
	first, _ := utf8.DecodeRune(d)
	return first
}

// isIdeograph reports whether r is a word of its own. One range begins at
// U+2B920 where U+2B820 was meant, in the tokenizer that the models were trained
// with as well.
func isIdeograph(r rune) bool {
	return between(r, 0x4E00, 0x9FFF) || between(r, 0x3400, 0x4DBF) || between(r, 0x20000, 0x2A6DF) ||
		between(r, 0x2A700, 0x2B81F) || between(r, 0x2B920, 0x2CEAF) || between(r, 0xF900, 0xFAFF) ||
		between(r, 0x2F800, 0x2FA1F)
}
