package token

import (
	"slices"
)

// fragment is a stretch of the text to encode: either a token that was
// recognised as a whole, or text that is still to be encoded.
type fragment struct {
	id   ID // none for text
	text string
}

// specials finds tokens that are matched as a whole, before anything else.
//
// A longer token has precedence over a shorter one anywhere in the text, not
// only where both begin; among tokens of one length, the lower id. That is what
// searching the text for one token after the other gives, but done in one walk:
// a trie tells how long the longest token is that begins at each byte, and only
// those places are looked at again. (llama.cpp leaves the order within a length
// to its sorting routine, so there it is certain for at most sixteen tokens.
// Tokens of one length that overlap are not known from published models.)
type specials struct {
	edges map[uint32]int32 // node<<8 | byte -> node
	token []ID             // by node, none if no token ends there
	attr  []attr           // by token
	first [256]bool        // a token begins with this byte
}

// newSpecials builds the matcher of user-defined tokens, and if controls is set
// of control and unknown tokens too. A token can be both; then it counts as a
// control token.
func newSpecials(v *vocab, controls bool) (*specials, error) {
	s := &specials{edges: map[uint32]int32{}, token: []ID{none}, attr: v.attr}
	for id, text := range v.text {
		if a := v.attr[id]; a&(attrUser|attrSpecial) == 0 || a&attrSpecial != 0 && !controls {
			continue
		}
		if len(text) > maxSpecial {
			return nil, keyError(keyTokens, "special token %d has %d bytes, the limit is %d", id, len(text), maxSpecial)
		}
		node := int32(0)
		for i := 0; i < len(text); i++ {
			key := uint32(node)<<8 | uint32(text[i])
			next, ok := s.edges[key]
			if !ok {
				next = int32(len(s.token))
				if next == 1<<24 {
					return nil, keyError(keyTokens, "the special tokens have more than %d bytes together", 1<<24)
				}
				s.edges[key] = next
				s.token = append(s.token, none)
			}
			node = next
		}
		s.token[node] = v.ids[text]
		s.first[text[0]] = true
	}
	return s, nil
}

// match returns the token that is exactly text, or none.
func (s *specials) match(text string) ID {
	node := int32(0)
	for i := 0; i < len(text); i++ {
		next, ok := s.edges[uint32(node)<<8|uint32(text[i])]
		if !ok {
			return none
		}
		node = next
	}
	return s.token[node]
}

// longest returns the length of the longest token that text begins with, and
// adds the lengths of all of them to the set.
func (s *specials) longest(text string, lengths map[int]bool) int {
	node, best := int32(0), 0
	for i := 0; i < len(text); i++ {
		next, ok := s.edges[uint32(node)<<8|uint32(text[i])]
		if !ok {
			break
		}
		node = next
		if s.token[node] != none {
			best = i + 1
			lengths[best] = true
		}
	}
	return best
}

// hit is a place where a special token may be.
type hit struct{ pos, longest int }

// span is a part of the text that is no longer available: a token, or white
// space that a token swallowed.
type span struct {
	start, end int
	id         ID // none for swallowed white space
}

// split cuts text into special tokens and what lies between them.
func (s *specials) split(text string) []fragment {
	if text == "" {
		return nil
	}
	var hits []hit
	lengths := map[int]bool{}
	for i := 0; i < len(text); i++ {
		if !s.first[text[i]] {
			continue
		}
		if n := s.longest(text[i:], lengths); n > 0 {
			hits = append(hits, hit{i, n})
		}
	}
	if hits == nil {
		return []fragment{{none, text}}
	}
	return cut(text, s.claim(text, hits, lengths))
}

// claim gives each stretch of the text to the token with precedence.
func (s *specials) claim(text string, hits []hit, lengths map[int]bool) []span {
	taken := make([]bool, len(text))
	var spans []span
	take := func(start, end int, id ID) {
		for i := start; i < end; i++ {
			taken[i] = true
		}
		spans = append(spans, span{start, end, id})
	}
	order := make([]int, 0, len(lengths))
	for n := range lengths {
		order = append(order, n)
	}
	slices.Sort(order)
	slices.Reverse(order)
	for _, n := range order {
		for _, sp := range s.free(text, hits, taken, n) {
			if slices.Contains(taken[sp.start:sp.end], true) {
				continue
			}
			take(sp.start, sp.end, sp.id)
			if s.attr[sp.id]&attrLStrip != 0 {
				i := sp.start
				for i > 0 && !taken[i-1] && asciiSpace(text[i-1]) {
					i--
				}
				take(i, sp.start, none)
			}
			if s.attr[sp.id]&attrRStrip != 0 {
				i := sp.end
				for i < len(text) && !taken[i] && asciiSpace(text[i]) {
					i++
				}
				take(sp.end, i, none)
			}
		}
	}
	return spans
}

// free returns the places where a token of length n may still be, by id, then
// from left to right.
func (s *specials) free(text string, hits []hit, taken []bool, n int) []span {
	var out []span
	for _, h := range hits {
		end := h.pos + n
		if h.longest < n || taken[h.pos] || taken[end-1] {
			continue
		}
		if id := s.match(text[h.pos:end]); id != none {
			out = append(out, span{h.pos, end, id})
		}
	}
	slices.SortStableFunc(out, func(a, b span) int { return int(a.id - b.id) })
	return out
}

// cut turns the spans, in any order, into fragments in the order of the text.
func cut(text string, spans []span) []fragment {
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	var out []fragment
	pos := 0
	for _, sp := range spans {
		if sp.start == sp.end {
			continue
		}
		if sp.start > pos {
			out = append(out, fragment{none, text[pos:sp.start]})
		}
		if sp.id != none {
			out = append(out, fragment{sp.id, ""})
		}
		pos = sp.end
	}
	if pos < len(text) {
		out = append(out, fragment{none, text[pos:]})
	}
	return out
}

func asciiSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
