package dispute

import (
	"math/bits"

	"github.com/avalnetwork/aval/internal/canon"
)

// span is a node of one of the trees of a forest: the subtree over the leaves
// from ... to-1 of that tree.
type span struct{ tree, from, to int }

func (s span) len() int { return s.to - s.from }

// forest is whole trees with these numbers of leaves.
func forest(sizes ...int) []span {
	trees := make([]span, len(sizes))
	for i, n := range sizes {
		trees[i] = span{i, 0, n}
	}
	return trees
}

// cut is the nodes that an answer shows of trees: those at height h, 2^h leaves
// each but for the last one of a tree, where h is the smallest height with at
// most fanout nodes in all. In a tree of RFC 9162 every such piece is a node,
// and the tree over the pieces has the same root. A forest of more trees than
// fanout shows the roots.
func cut(trees []span, fanout int) []span {
	largest := 1
	for _, t := range trees {
		largest = max(largest, t.len())
	}
	count := func(h int) (n int) {
		for _, t := range trees {
			n += (t.len() + 1<<h - 1) >> h
		}
		return n
	}
	h, last := 0, bits.Len(uint(largest-1)) // at height last every tree is one node
	for h < last && count(h) > fanout {
		h++
	}
	parts := make([]span, 0, count(h))
	for _, t := range trees {
		for from := t.from; from < t.to; from += 1 << h {
			parts = append(parts, span{t.tree, from, min(from+1<<h, t.to)})
		}
	}
	return parts
}

// reveal is an answer: the hashes of the parts that trees were cut into.
type reveal struct {
	trees  []span
	parts  []span
	hashes []canon.Hash // one a part
}

// roots computes the root of each tree from the parts.
func (r *reveal) roots() []canon.Hash {
	roots := make([]canon.Hash, len(r.trees))
	at := 0
	for i, t := range r.trees {
		end := at
		for end < len(r.parts) && r.parts[end].tree == t.tree {
			end++
		}
		roots[i] = canon.Root(r.hashes[at:end])
		at = end
	}
	return roots
}

// covers gives the hash of a node that is made of whole parts.
func (r *reveal) covers(s span) (canon.Hash, bool) {
	first := -1
	for i, p := range r.parts {
		if p.tree == s.tree && p.from == s.from {
			first = i
		}
		if first >= 0 && p.tree == s.tree && p.to == s.to {
			return canon.Root(r.hashes[first : i+1]), true
		}
	}
	return canon.Hash{}, false
}

// show hashes the parts of trees whose hashed leaves are known.
func show(leaves [][]canon.Hash, parts []span) []canon.Hash {
	hashes := make([]canon.Hash, len(parts))
	for i, p := range parts {
		hashes[i] = canon.Root(leaves[p.tree][p.from:p.to])
	}
	return hashes
}

// view is a challenger's knowledge of the prover's trees: what the prover
// showed of them, and left of the first difference the challenger's own leaves,
// which are the same.
type view struct {
	own     [][]canon.Hash
	reveals []*reveal
}

func (v *view) last() *reveal { return v.reveals[len(v.reveals)-1] }

// difference is the first part of the last reveal that is not the challenger's
// own.
func (v *view) difference() (int, bool) {
	last := v.last()
	for i, p := range last.parts {
		if last.hashes[i] != canon.Root(v.own[p.tree][p.from:p.to]) {
			return i, true
		}
	}
	return 0, false
}

// node is the prover's hash of a node that lies left of the first difference or
// beside the path to it.
func (v *view) node(s span) canon.Hash {
	for i := len(v.reveals) - 1; i >= 0; i-- {
		if h, ok := v.reveals[i].covers(s); ok {
			return h
		}
	}
	return canon.Root(v.own[s.tree][s.from:s.to])
}

// prove is canon.Range of the prover's tree.
func (v *view) prove(s span) []canon.Hash {
	var proof []canon.Hash
	var walk func(n span)
	walk = func(n span) {
		switch {
		case n.to <= s.from || n.from >= s.to:
			proof = append(proof, v.node(n))
		case n.len() > 1 && (n.from < s.from || n.to > s.to):
			mid := n.from + 1<<(bits.Len(uint(n.len()-1))-1)
			walk(span{n.tree, n.from, mid})
			walk(span{n.tree, mid, n.to})
		}
	}
	walk(span{s.tree, 0, len(v.own[s.tree])})
	return proof
}
