package token

import (
	"fmt"
	"unicode/utf8"
)

// A Splitter cuts text into words as a pre-tokenizer does, before any merging.
// It is what a program that learns merges needs to see; encoding a text needs
// only a [Tokenizer]. A Splitter holds buffers: one goroutine at a time may use
// it.
type Splitter struct{ split splitter }

// NewSplitter returns the pre-tokenizer that tokenizer.ggml.pre calls name. It
// takes those whose words are written byte by byte and refuses the others.
func NewSplitter(name string) (*Splitter, error) {
	p, err := findPreset(name)
	if err != nil {
		return nil, err
	}
	if p.raw || p.escape {
		return nil, fmt.Errorf("token: pre-tokenizer %q does not write words byte by byte; take another, such as gpt-2 or llama-bpe", name)
	}
	return &Splitter{splitter{stages: p.stages}}, nil
}

// Words calls yield with each word of the text, in order; together they are the
// text. Each byte that is not part of a UTF-8 character becomes U+FFFD first,
// as when encoding.
func (s *Splitter) Words(text string, yield func(word string)) {
	if !utf8.ValidString(text) {
		text = replaceInvalid(text)
	}
	s.split.words(text, yield)
}

// ByteText is how byte-level vocabularies write bytes: each as one printable
// character.
func ByteText(b []byte) string {
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = utf8.AppendRune(out, byteRune(c))
	}
	return string(out)
}
