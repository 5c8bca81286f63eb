package grammar

import (
	"bytes"
	"fmt"
	"slices"
)

// Vocabulary is a model's set of pieces, arranged as two tries: one of the
// short pieces, which are nearly all, one of the rest. How far a counted
// repetition must be from its bounds for them not to matter depends on the
// longest piece; with two tries the few long ones do not spoil it for the
// others. A Vocabulary does not change and is safe for concurrent use.
type Vocabulary struct {
	pieces [][]byte
	eog    Mask
	ends   []int32
	tries  [2]trie
}

// trie holds pieces as nodes in depth-first order.
type trie struct {
	nodes   []node // the last one is a sentinel: depth 0, tokens up to the end
	ids     []int32
	longest int // bytes
}

type node struct {
	skip  int32 // index of the first node that is not below this one
	ids   int32 // its tokens are ids[ids:] up to those of the next node
	depth uint16
	b     byte
}

// NewVocabulary arranges pieces, the bytes that each token id adds to the
// text; empty ones (control tokens) are never allowed. The ids in ends finish
// a generation: they are allowed exactly where the grammar may end, whatever
// their pieces. The pieces must not change afterwards.
func NewVocabulary(pieces [][]byte, ends []int32) (*Vocabulary, error) {
	if len(pieces) > maxVocab {
		return nil, fmt.Errorf("grammar: vocabulary of %d pieces, at most %d are supported", len(pieces), maxVocab)
	}
	v := &Vocabulary{pieces: pieces, eog: NewMask(len(pieces)), ends: slices.Clone(ends)}
	for _, id := range ends {
		if id < 0 || int(id) >= len(pieces) {
			return nil, fmt.Errorf("grammar: end token %d, but the vocabulary has %d pieces", id, len(pieces))
		}
		v.eog.Add(id)
	}
	var short, long []int32
	for id, p := range pieces {
		switch {
		case len(p) > maxPiece:
			return nil, fmt.Errorf("grammar: piece of token %d has %d bytes, at most %d are supported", id, len(p), maxPiece)
		case len(p) == 0 || v.eog.Has(int32(id)):
		case len(p) <= shortPiece:
			short = append(short, int32(id))
		default:
			long = append(long, int32(id))
		}
	}
	v.tries = [2]trie{newTrie(pieces, short), newTrie(pieces, long)}
	return v, nil
}

// Size returns the number of pieces.
func (v *Vocabulary) Size() int { return len(v.pieces) }

func newTrie(pieces [][]byte, ids []int32) trie {
	slices.SortFunc(ids, func(a, b int32) int {
		if c := bytes.Compare(pieces[a], pieces[b]); c != 0 {
			return c
		}
		return int(a - b)
	})
	t := trie{ids: ids}
	var open []int32 // nodes on the path to the latest piece
	var prev []byte
	for i, id := range ids {
		p := pieces[id]
		common := 0
		for common < min(len(p), len(prev)) && p[common] == prev[common] {
			common++
		}
		for _, n := range open[common:] {
			t.nodes[n].skip = int32(len(t.nodes))
		}
		open = open[:common]
		for d := common; d < len(p); d++ {
			open = append(open, int32(len(t.nodes)))
			t.nodes = append(t.nodes, node{b: p[d], depth: uint16(d + 1), ids: int32(i)})
		}
		// A node's tokens end where the next node's begin, so inner nodes, all
		// with the same beginning, have none; equal pieces add no node.
		t.longest = max(t.longest, len(p))
		prev = p
	}
	for _, n := range open {
		t.nodes[n].skip = int32(len(t.nodes))
	}
	t.nodes = append(t.nodes, node{ids: int32(len(ids)), skip: int32(len(t.nodes) + 1)})
	return t
}
