package token

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// bpe is byte-pair merging by rank.
//
// Merges are rules over texts. Each text that occurs in a merge or in the
// vocabulary has a number: a token's is its id, others follow after the last
// id. That makes a merge one look-up of a pair of numbers.
type bpe struct {
	vocab  *vocab
	preset preset
	extra  map[string]int32 // numbers of texts that are not tokens
	pairs  map[uint64]joined
	byte   [256]int32 // number of each byte's character
	spell  [256]ID    // token to fall back to for each byte, or none
}

// joined is the result of a merge.
type joined struct {
	rank uint32
	id   int32
}

// byteRune returns the character that byte-level vocabularies write a byte as:
// itself if it is printable, else one of those from U+0100 on.
func byteRune(b byte) rune {
	switch {
	case '!' <= b && b <= '~', 0xA1 <= b && b <= 0xAC, 0xAE <= b:
		return rune(b)
	case b <= ' ':
		return 0x100 + rune(b)
	case b <= 0xA0:
		return 0x100 + 33 + rune(b-0x7F)
	default: // 0xAD
		return 0x100 + 67
	}
}

// runeByte is the inverse of byteRune.
func runeByte(r rune) (byte, bool) {
	switch {
	case between(r, '!', '~'), between(r, 0xA1, 0xAC), between(r, 0xAE, 0xFF):
		return byte(r), true
	case between(r, 0x100, 0x120):
		return byte(r - 0x100), true
	case between(r, 0x121, 0x142):
		return byte(r-0x121) + 0x7F, true
	case r == 0x143:
		return 0xAD, true
	}
	return 0, false
}

// byteToken is the text of the token that stands for a byte in vocabularies
// with byte fallback.
func byteToken(b byte) string { return fmt.Sprintf("<0x%02X>", b) }

func newBPE(f Meta, v *vocab, p preset, needMerges bool) (*bpe, error) {
	b := &bpe{vocab: v, preset: p, extra: map[string]int32{}}
	merges, ok := f.Strings(keyMerges)
	switch {
	case !ok && needMerges:
		return nil, keyError(keyMerges, "missing or not an array of strings; the tokenizer cannot work without")
	case len(merges) > maxMerges:
		return nil, keyError(keyMerges, "%d merges, the limit is %d", len(merges), maxMerges)
	}
	b.pairs = make(map[uint64]joined, len(merges))
	var text []byte
	for rank, m := range slices.Backward(merges) { // so that of equal merges the first stays
		// The text before the space is not empty, so a merge of spaces works.
		cut := -1
		if len(m) > 0 {
			cut = strings.IndexByte(m[1:], ' ') + 1
		}
		if cut <= 0 || cut+1 == len(m) {
			continue // joins nothing
		}
		if len(m) > 2*maxTokenText {
			return nil, keyError(keyMerges, "merge %d has %d bytes, the limit is %d", rank, len(m), 2*maxTokenText)
		}
		left, right := m[:cut], m[cut+1:]
		text = append(append(text[:0], left...), right...)
		id, ok := v.ids[string(text)]
		if !ok {
			id = b.number(string(text))
		}
		b.pairs[pairKey(b.number(left), b.number(right))] = joined{uint32(rank), id}
	}
	for i := range b.byte {
		c := byte(i)
		b.byte[i] = b.number(string(byteRune(c)))
		b.spell[i] = none
		if p.raw {
			b.spell[i] = v.lookup(byteToken(c))
		} else if '!' <= c && c <= '~' {
			b.spell[i] = v.lookup(string(rune(c)))
		}
	}
	return b, nil
}

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

// number returns the number of a text, giving it one if it has none.
func (b *bpe) number(text string) int32 {
	n, ok := b.known(text)
	if !ok {
		n = int32(len(b.vocab.text) + len(b.extra))
		b.extra[text] = n
	}
	return n
}

// known returns the number of a text if it has one.
func (b *bpe) known(text string) (int32, bool) {
	if id, ok := b.vocab.ids[text]; ok {
		return id, true
	}
	n, ok := b.extra[text]
	return n, ok
}

func (b *bpe) rule(left, right *atom) (uint32, int32, bool) {
	j, ok := b.pairs[pairKey(left.id, right.id)]
	return j.rank, j.id, ok
}

// session holds the buffers of one call of Encode.
type session struct {
	split splitter
	merge merger
	text  []byte
	out   []ID
}

// encode appends the ids of a text without special tokens.
func (b *bpe) encode(s *session, text string) {
	if !utf8.ValidString(text) {
		text = replaceInvalid(text)
	}
	if b.preset.escape {
		text = strings.ReplaceAll(text, " ", escapedSpace)
	}
	s.split.stages = b.preset.stages
	rule := rule(b.rule)
	s.split.words(text, func(word string) { b.word(s, rule, word) })
}

func (b *bpe) word(s *session, r rule, word string) {
	if b.preset.whole || b.preset.lines && word[0] == '\n' {
		if id := b.wholeWord(s, word); id != none {
			s.out = append(s.out, id)
			return
		}
	}
	m := &s.merge
	m.reset()
	if b.preset.raw {
		for i := 0; i < len(word); {
			_, n := utf8.DecodeRuneInString(word[i:])
			id, ok := b.known(word[i : i+n])
			if !ok {
				id = -1
			}
			m.add(i, i+n, id)
			i += n
		}
	} else {
		for i := 0; i < len(word); i++ {
			m.add(i, i+1, b.byte[word[i]])
		}
	}
	m.run(r)
	for i := int32(0); i >= 0; i = m.syms[i].next {
		sym := &m.syms[i]
		if sym.id >= 0 && int(sym.id) < len(b.vocab.text) {
			s.out = append(s.out, sym.id)
			continue
		}
		// Not a token: byte by byte, and bytes that have no token are lost,
		// which happens only with incomplete vocabularies.
		for _, c := range []byte(word[sym.start:sym.end]) {
			if id := b.spell[c]; id != none {
				s.out = append(s.out, id)
			}
		}
	}
}

// wholeWord returns the token that is the word, if there is one.
func (b *bpe) wholeWord(s *session, word string) ID {
	if b.preset.raw {
		return b.vocab.lookup(word)
	}
	s.text = s.text[:0]
	for i := 0; i < len(word); i++ {
		s.text = utf8.AppendRune(s.text, byteRune(word[i]))
	}
	if id, ok := b.vocab.ids[string(s.text)]; ok {
		return id
	}
	return none
}

// replaceInvalid replaces each byte that is not part of a UTF-8 character by
// U+FFFD.
func replaceInvalid(text string) string {
	return string([]rune(text))
}

// bytePiece returns the bytes that a byte-level token stands for. A token whose
// text has other characters, such as one added to a vocabulary later, stands
// for its text.
func bytePiece(text string) []byte {
	out := make([]byte, 0, len(text))
	for _, r := range text {
		b, ok := runeByte(r)
		if !ok {
			return []byte(text)
		}
		out = append(out, b)
	}
	return out
}
