package bpe

import (
	"maps"
	"slices"
)

// merger holds all words as lists of tokens and joins pairs in them. Here a
// token's number is its byte, or 256 and up in the order of making.
//
// Each pair knows how often it occurs and in which words it has occurred, so
// that a merge touches only those. The heap may hold a pair several times; an
// entry whose count is no longer the pair's is replaced when it comes up.
type merger struct {
	text  [][]byte         // what each token stands for
	ids   map[string]int32 // and back
	words []word
	pairs map[uint64]*pair
	heap  []entry
}

type word struct {
	tokens []int32
	count  int64
}

type pair struct {
	count int64
	words []int32 // may hold words that no longer have the pair
}

type entry struct {
	count int64
	key   uint64
}

// before is the order in which pairs are joined.
func (a entry) before(b entry) bool {
	return a.count > b.count || a.count == b.count && a.key < b.key
}

func key(left, right int32) uint64 { return uint64(left)<<32 | uint64(right) }

func newMerger(counts map[string]int64, special []string) *merger {
	m := &merger{ids: map[string]int32{}, pairs: map[uint64]*pair{}}
	for b := range 256 {
		m.text = append(m.text, []byte{byte(b)})
		m.ids[string(m.text[b])] = int32(b)
	}
	for _, s := range special {
		m.ids[s] = -1 // not to be made a second time
	}
	for _, w := range slices.Sorted(maps.Keys(counts)) {
		if len(w) < 2 {
			continue
		}
		tokens := make([]int32, len(w))
		for i := range tokens {
			tokens[i] = int32(w[i])
		}
		m.words = append(m.words, word{tokens, counts[w]})
		m.count(len(m.words)-1, 1)
	}
	for k, p := range m.pairs {
		m.heap = append(m.heap, entry{p.count, k})
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m
}

// count adds the pairs of a word to the counts, or with sign -1 takes them away.
func (m *merger) count(w int, sign int64) {
	tokens, n := m.words[w].tokens, sign*m.words[w].count
	for i := 1; i < len(tokens); i++ {
		k := key(tokens[i-1], tokens[i])
		p := m.pairs[k]
		if p == nil {
			p = &pair{}
			m.pairs[k] = p
		}
		p.count += n
		if last := len(p.words) - 1; sign > 0 && (last < 0 || p.words[last] != int32(w)) {
			p.words = append(p.words, int32(w))
		}
	}
}

// next joins the most frequent pair. It reports whether that made a new token,
// and false at the end if there is no pair that occurs often enough.
func (m *merger) next(least int64) (left, right int32, added, ok bool) {
	for len(m.heap) > 0 {
		e := m.heap[0]
		p := m.pairs[e.key]
		if p == nil || p.count < least {
			m.pop()
			if p != nil && p.count == 0 {
				delete(m.pairs, e.key)
			}
			continue
		}
		if p.count != e.count {
			m.heap[0].count = p.count
			m.down(0)
			continue
		}
		m.pop()
		left, right = int32(e.key>>32), int32(e.key&0xFFFFFFFF)
		text := slices.Concat(m.text[left], m.text[right])
		id, exists := m.ids[string(text)]
		if len(text) > MaxTokenBytes || exists && id < 0 {
			delete(m.pairs, e.key) // never to be joined
			continue
		}
		if !exists {
			id = int32(len(m.text))
			m.text = append(m.text, text)
			m.ids[string(text)] = id
		}
		m.join(p.words, left, right, id)
		delete(m.pairs, e.key)
		return left, right, !exists, true
	}
	return 0, 0, false, false
}

// join makes one token of a pair in all words that have it.
func (m *merger) join(words []int32, left, right, id int32) {
	var grown []uint64
	for _, w := range words {
		tokens := m.words[w].tokens
		if !has(tokens, left, right) {
			continue
		}
		m.count(int(w), -1)
		out := tokens[:0]
		for i := 0; i < len(tokens); i++ {
			if i+1 < len(tokens) && tokens[i] == left && tokens[i+1] == right {
				out = append(out, id)
				i++
			} else {
				out = append(out, tokens[i])
			}
		}
		m.words[w].tokens = out
		m.count(int(w), 1)
		for i := 1; i < len(out); i++ {
			if out[i-1] == id || out[i] == id {
				grown = append(grown, key(out[i-1], out[i]))
			}
		}
	}
	slices.Sort(grown)
	for _, k := range slices.Compact(grown) {
		m.push(entry{m.pairs[k].count, k})
	}
}

func has(tokens []int32, left, right int32) bool {
	for i := 1; i < len(tokens); i++ {
		if tokens[i-1] == left && tokens[i] == right {
			return true
		}
	}
	return false
}

func (m *merger) push(e entry) {
	m.heap = append(m.heap, e)
	for i := len(m.heap) - 1; i > 0; {
		up := (i - 1) / 2
		if !m.heap[i].before(m.heap[up]) {
			return
		}
		m.heap[i], m.heap[up] = m.heap[up], m.heap[i]
		i = up
	}
}

func (m *merger) pop() {
	last := len(m.heap) - 1
	m.heap[0] = m.heap[last]
	m.heap = m.heap[:last]
	m.down(0)
}

func (m *merger) down(i int) {
	for {
		best := i
		for c := 2*i + 1; c <= 2*i+2 && c < len(m.heap); c++ {
			if m.heap[c].before(m.heap[best]) {
				best = c
			}
		}
		if best == i {
			return
		}
		m.heap[i], m.heap[best] = m.heap[best], m.heap[i]
		i = best
	}
}
