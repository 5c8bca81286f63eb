package token

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Piece returns the bytes that a token adds to a text. They need not be whole
// characters. It is nil for tokens that are not part of the visible text
// (control, unknown and unused tokens) and for ids that are not in the
// vocabulary.
func (t *Tokenizer) Piece(id ID) []byte {
	if !t.valid(id) {
		return nil
	}
	text, a := t.vocab.text[id], t.vocab.attr[id]
	switch {
	case a&attrSpecial != 0:
		return nil
	case a&attrUser != 0:
		return []byte(text)
	case a&attrByte != 0:
		if b, ok := parseByte(text); ok {
			return []byte{b}
		}
		return []byte(text)
	case a&attrNormal == 0:
		return nil
	case t.bpe != nil && !t.bpe.preset.raw:
		return bytePiece(text)
	case t.bpe != nil && !t.bpe.preset.escape:
		return []byte(text)
	}
	return []byte(strings.ReplaceAll(text, escapedSpace, " "))
}

// parseByte reads the text of a byte token, such as "<0x0A>".
func parseByte(text string) (byte, bool) {
	hex, ok := strings.CutPrefix(text, "<0x")
	if !ok || len(hex) != 3 || hex[2] != '>' {
		return 0, false
	}
	n, err := strconv.ParseUint(hex[:2], 16, 8)
	return byte(n), err == nil
}

// Decode returns the text of ids that are a whole text, such as Encode returns:
// special tokens are dropped, and so is the one space that Encode put before
// the text, if the tokenizer does that. Bytes that are not UTF-8 become U+FFFD.
//
// For ids that continue a text, such as a model generates, use a [Stream] or
// [Tokenizer.DecodeMore].
func (t *Tokenizer) Decode(ids []ID) string {
	text := t.DecodeMore(ids)
	if t.trimmed {
		text = strings.TrimPrefix(text, " ")
	}
	return text
}

// DecodeMore returns the text that ids add to a text before them: like Decode,
// but a space at the beginning stays. It is what a Stream returns for the same
// ids, all together.
func (t *Tokenizer) DecodeMore(ids []ID) string {
	s := t.NewStream()
	var b strings.Builder
	for _, id := range ids {
		b.WriteString(s.Add(id))
	}
	b.WriteString(s.Flush())
	return b.String()
}

// A Stream turns ids into text one by one, as they are generated. It returns
// only whole characters: a token that ends within one is held back until the
// next completes it.
type Stream struct {
	tok     *Tokenizer
	pending []byte // the beginning of a character
}

// NewStream returns a stream for ids that continue a text.
func (t *Tokenizer) NewStream() *Stream { return &Stream{tok: t} }

// Add takes the next id and returns the text that is now certain, which may be
// empty. Bytes that cannot become a character become U+FFFD, one for each
// longest stretch that could have begun one.
func (s *Stream) Add(id ID) string {
	piece := s.tok.Piece(id)
	if len(s.pending) == 0 && utf8.Valid(piece) {
		return string(piece)
	}
	s.pending = append(s.pending, piece...)
	var out strings.Builder
	b := s.pending
	for len(b) > 0 && utf8.FullRune(b) {
		r, n := utf8.DecodeRune(b)
		if r == utf8.RuneError && n == 1 {
			n = brokenLen(b)
		}
		out.WriteRune(r)
		b = b[n:]
	}
	s.pending = append(s.pending[:0], b...)
	return out.String()
}

// Flush returns the text for what is held back when no more ids come: U+FFFD if
// a character was begun, else nothing.
func (s *Stream) Flush() string {
	if len(s.pending) == 0 {
		return ""
	}
	s.pending = s.pending[:0]
	return string(utf8.RuneError)
}

// brokenLen returns the length of the longest stretch at the start of b, at
// least 1, that begins a character which b does not complete.
func brokenLen(b []byte) int {
	n := 1
	for n < len(b) && !utf8.FullRune(b[:n]) && !utf8.FullRune(b[:n+1]) {
		n++
	}
	return n
}
