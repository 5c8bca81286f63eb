package dispute

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/canon"
)

func numbered(n int) []canon.Hash {
	leaves := make([]canon.Hash, n)
	for i := range leaves {
		leaves[i] = canon.Leaf(binary.LittleEndian.AppendUint32(nil, uint32(i)))
	}
	return leaves
}

// TestCut: the parts cover the trees in order, are at most fanout, are nodes of
// the trees, and give their roots.
func TestCut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		sizes := make([]int, 1+r.IntN(5))
		var leaves [][]canon.Hash
		for i := range sizes {
			sizes[i] = 1 + r.IntN(1+r.IntN(300))
			leaves = append(leaves, numbered(sizes[i]))
		}
		fanout := 2 + r.IntN(40)
		trees := forest(sizes...)
		parts := cut(trees, fanout)
		if len(parts) > max(fanout, len(sizes)) {
			t.Fatalf("%v in %d parts, want at most %d", sizes, len(parts), fanout)
		}
		var joined []span
		for _, p := range parts {
			if n := len(joined); n > 0 && joined[n-1].tree == p.tree && joined[n-1].to == p.from {
				joined[n-1].to = p.to
			} else {
				joined = append(joined, p)
			}
		}
		if !slices.Equal(joined, trees) {
			t.Fatalf("%v cut into %v", sizes, parts)
		}
		v := &reveal{trees, parts, show(leaves, parts)}
		for i, root := range v.roots() {
			if root != canon.Root(leaves[i]) {
				t.Fatalf("%v in %d parts: tree %d has another root", sizes, fanout, i)
			}
		}
		for _, p := range parts { // the part is a node: its hash proves its leaves
			proof := canon.Range(leaves[p.tree], p.from, p.to)
			got, err := canon.RangeRoot(sizes[p.tree], p.from, leaves[p.tree][p.from:p.to], proof)
			if err != nil || got != canon.Root(leaves[p.tree]) {
				t.Fatalf("part %v of %v: %v", p, sizes, err)
			}
			if sub := cut([]span{p}, fanout); len(sub) > 1 {
				h := (&reveal{[]span{p}, sub, show(leaves, sub)}).roots()[0]
				if h != canon.Root(leaves[p.tree][p.from:p.to]) {
					t.Fatalf("below part %v of %v: another hash", p, sizes)
				}
			}
		}
	}
}

// descend is the number of answers until a leaf is shown, at worst.
func descend(fanout int, sizes ...int) int {
	trees, n := forest(sizes...), 0
	for {
		n++
		parts := cut(trees, fanout)
		largest := slices.MaxFunc(parts, func(a, b span) int { return a.len() - b.len() })
		if largest.len() == 1 {
			return n
		}
		trees = []span{largest}
	}
}

// TestDescend is the table of section 7 of spec/dispute.md: answers until a
// leaf is known.
func TestDescend(t *testing.T) {
	for _, c := range []struct{ trees, leaves, want int }{
		{1, 1, 1},
		{1, 1024, 1},
		{1, 1025, 2},
		{24, 42, 1},
		{24, 43, 2},
		{24, 1 << 15, 2},
		{30, 1 << 15, 2},
		{24, 1 << 17, 3},
		{1, 1 << 20, 2},
		{1024, 1 << 20, 3},
	} {
		if got := descend(1024, slices.Repeat([]int{c.leaves}, c.trees)...); got != c.want {
			t.Errorf("%d trees of %d leaves: %d answers, want %d", c.trees, c.leaves, got, c.want)
		}
	}
}

// TestView: what a challenger knows of the prover's trees suffices to prove
// everything up to the first difference.
func TestView(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 300 {
		var own, theirs [][]canon.Hash
		var sizes []int
		for range 1 + r.IntN(4) {
			n := 1 + r.IntN(1+r.IntN(200))
			sizes, own, theirs = append(sizes, n), append(own, numbered(n)), append(theirs, numbered(n))
		}
		tree := r.IntN(len(sizes))
		first := r.IntN(sizes[tree])
		for i, l := range theirs {
			for k := range l {
				if i == tree && k == first || (i > tree || i == tree && k > first) && r.IntN(2) == 0 {
					l[k] = canon.Hash{byte(r.Uint32()), 1}
				}
			}
		}
		fanout := 2 + r.IntN(20)
		v := &view{own: own}
		for trees := forest(sizes...); ; {
			parts := cut(trees, fanout)
			v.reveals = append(v.reveals, &reveal{trees, parts, show(theirs, parts)})
			i, ok := v.difference()
			if !ok {
				t.Fatal("no difference")
			}
			if p := parts[i]; p.len() > 1 {
				trees = []span{p}
				continue
			} else if p.tree != tree || p.from != first {
				t.Fatalf("found %v, want %d of tree %d", p, first, tree)
			}
			break
		}
		at := span{tree, first, first + 1}
		if v.node(at) != theirs[tree][first] {
			t.Error("the leaf is another one")
		}
		check := func(s span) {
			if diff := cmp.Diff(canon.Range(theirs[s.tree], s.from, s.to), v.prove(s)); diff != "" {
				t.Errorf("%v of %v with %v first (-want +got):\n%s", s, sizes, at, diff)
			}
		}
		check(at)
		for k := range tree + 1 {
			n := sizes[k]
			if k == tree {
				n = first
			}
			if n > 0 {
				from := r.IntN(n)
				check(span{k, from, from + 1 + r.IntN(n-from)})
			}
		}
	}
}
