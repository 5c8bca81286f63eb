package token

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// spm is SentencePiece's byte-pair merging: of all neighbours that together are
// a token, the one with the highest score is joined first. Characters that are
// no token are spelled by bytes.
type spm struct {
	vocab  *vocab
	prefix bool    // a space is put before the text and after special tokens
	words  bool    // no token has a space after another character
	byte   [256]ID // token of each byte, or none
}

func newSPM(v *vocab, prefix bool) (*spm, error) {
	if v.score == nil {
		return nil, keyError(keyScores, "missing or not an array of numbers; the tokenizer cannot work without")
	}
	s := &spm{vocab: v, prefix: prefix, words: true}
	for _, text := range v.text {
		if wordEnd(text) < len(text) {
			s.words = false
			break
		}
	}
	for i := range s.byte {
		s.byte[i] = v.lookup(byteToken(byte(i)))
		if s.byte[i] == none {
			s.byte[i] = v.lookup(string([]byte{byte(i)}))
		}
		if s.byte[i] == none {
			s.byte[i] = v.unk
		}
	}
	return s, nil
}

// charLen is the length of a UTF-8 character by its first byte. Bytes that
// begin none count as one.
func charLen(first byte) int {
	switch {
	case first < 0xC0:
		return 1
	case first < 0xE0:
		return 2
	case first < 0xF0:
		return 3
	}
	return 4
}

// encode appends the ids of a text without special tokens. afterSpecial tells
// that the text is the beginning or follows a special token.
func (p *spm) encode(s *session, text string, afterSpecial bool) error {
	if p.prefix && afterSpecial {
		text = " " + text
	}
	text = strings.ReplaceAll(text, " ", escapedSpace)
	rule := rule(func(left, right *atom) (uint32, int32, bool) {
		return p.rule(text[left.start:right.end])
	})
	byWord := p.words && utf8.ValidString(text) // else a character may reach over a space
	for start := 0; start < len(text); {
		end := len(text)
		if byWord {
			end = start + wordEnd(text[start:])
		}
		if err := p.merge(s, rule, text, start, end); err != nil {
			return err
		}
		start = end
	}
	return nil
}

// wordEnd returns the end of the spaces and other characters that text begins
// with: where a space follows another character. If no token goes over such a
// place then merging cannot either, and words can be merged one by one, with
// the same result as all at once but a queue that fits the cache.
func wordEnd(text string) int {
	i := 0
	for strings.HasPrefix(text[i:], escapedSpace) {
		i += len(escapedSpace)
	}
	if n := strings.Index(text[i:], escapedSpace); n >= 0 {
		return i + n
	}
	return len(text)
}

func (p *spm) rule(text string) (uint32, int32, bool) {
	if len(text) > p.vocab.longest {
		return 0, 0, false
	}
	id, ok := p.vocab.ids[text]
	if !ok {
		return 0, 0, false
	}
	return scoreKey(p.vocab.score[id]), id, true
}

// merge appends the ids of one part of the text.
func (p *spm) merge(s *session, r rule, text string, start, end int) error {
	m := &s.merge
	m.reset()
	for i := start; i < end; {
		next := min(i+charLen(text[i]), end)
		m.add(i, next, none)
		i = next
	}
	m.run(r)
	for i := int32(0); i >= 0; i = m.syms[i].next {
		sym := &m.syms[i]
		part := text[sym.start:sym.end]
		if sym.id == none {
			sym.id = p.vocab.lookup(part)
		}
		if sym.id != none {
			s.out = append(s.out, sym.id)
			continue
		}
		for _, c := range []byte(part) {
			id := p.byte[c]
			if id == none {
				return fmt.Errorf("token: the vocabulary has neither %q nor byte 0x%02X nor an unknown token", part, c)
			}
			s.out = append(s.out, id)
		}
	}
	return nil
}
