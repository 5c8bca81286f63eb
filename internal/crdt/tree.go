package crdt

import (
	"crypto/sha256"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// Tree finds by few hashes what two sets of IDs do not share. It is a tree by
// the half bytes of the IDs, three deep; below are lists. With 100,000 IDs a list
// has about 25.
type Tree struct {
	lists map[uint16][]ID          // by the first three half bytes, ascending
	hash  [treeDepth]map[uint16]ID // of what begins with so many half bytes plus one; none when it changed
	root  ID
	size  int
	fresh bool
}

const (
	treeDepth = 3
	// SmallTree is how many IDs are listed rather than hashed.
	SmallTree = 64
)

// NewTree makes an empty tree.
func NewTree() *Tree {
	t := &Tree{lists: map[uint16][]ID{}}
	for i := range t.hash {
		t.hash[i] = map[uint16]ID{}
	}
	return t
}

func prefixOf(id ID) uint16 { return uint16(id[0])<<4 | uint16(id[1]>>4) }

// Add adds an ID.
func (t *Tree) Add(id ID) {
	p := prefixOf(id)
	list := t.lists[p]
	i, found := slices.BinarySearchFunc(list, id, compareID)
	if found {
		return
	}
	t.lists[p] = slices.Insert(list, i, id)
	t.size++
	t.fresh = false
	for d := treeDepth - 1; d >= 0; d-- {
		delete(t.hash[d], p)
		p >>= 4
	}
}

// Len is the number of IDs.
func (t *Tree) Len() int { return t.size }

// Prefix names the IDs that begin with a number of half bytes, 0 to 3.
type Prefix struct {
	Depth int
	Bits  uint16
}

// Valid tells whether a prefix, which may come from a peer, is one.
func (p Prefix) Valid() bool { return p.Depth >= 0 && p.Depth <= treeDepth && p.Bits>>(4*p.Depth) == 0 }

// Child is the prefix with one more half byte.
func (p Prefix) Child(i int) Prefix { return Prefix{p.Depth + 1, p.Bits<<4 | uint16(i)} }

// Hash is that of the IDs that begin with a prefix; zero if there are none.
func (t *Tree) Hash(p Prefix) ID {
	if p.Depth == 0 {
		if !t.fresh {
			t.root, t.fresh = t.join(p), true
		}
		return t.root
	}
	cache := t.hash[p.Depth-1]
	if h, ok := cache[p.Bits]; ok {
		return h
	}
	var h ID
	if p.Depth < treeDepth {
		h = t.join(p)
	} else if list := t.lists[p.Bits]; len(list) > 0 {
		d := sha256.New()
		d.Write([]byte("aval ids/1"))
		for _, id := range list {
			d.Write(id[:])
		}
		d.Sum(h[:0])
	}
	if !h.IsZero() {
		cache[p.Bits] = h
	}
	return h
}

func (t *Tree) join(p Prefix) ID {
	var parts [][]byte
	empty := true
	for i := range 16 {
		h := t.Hash(p.Child(i))
		empty = empty && h.IsZero()
		parts = append(parts, h[:])
	}
	if empty {
		return ID{}
	}
	return canon.Sum("aval id tree/1", parts...)
}

// IDs lists what begins with a prefix, ascending, or false if that is more than
// a limit.
func (t *Tree) IDs(p Prefix, limit int) ([]ID, bool) {
	out := []ID{}
	lo, hi := p.Bits<<(4*(treeDepth-p.Depth)), (p.Bits+1)<<(4*(treeDepth-p.Depth))
	if t.size <= limit && p.Depth == 0 {
		for _, list := range t.lists {
			out = append(out, list...)
		}
		return sortIDs(out), true
	}
	for b := lo; b < hi; b++ {
		if len(out)+len(t.lists[b]) > limit {
			return nil, false
		}
		out = append(out, t.lists[b]...)
	}
	return out, true
}
