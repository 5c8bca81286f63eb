package canon

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/bits"
)

// MaxLeaves bounds the leaves of a tree, so that a proof has at most
// 2 * 40 hashes.
const MaxLeaves = 1 << 40

// ErrProof says that a Merkle proof does not have the form that its range of
// leaves needs. A proof of the right form for other leaves gives another root
// instead.
var ErrProof = errors.New("the Merkle proof does not have the right form")

// Leaf is the hash of a leaf: SHA-256(0x00, value).
func Leaf(value []byte) Hash {
	h := sha256.New() // stays on the stack, as long as nothing asks for the interface
	h.Write([]byte{0})
	h.Write(value)
	var out Hash
	h.Sum(out[:0])
	return out
}

// Node is the hash of an inner node: SHA-256(0x01, left, right).
func Node(left, right Hash) Hash {
	var buf [1 + 2*Size]byte
	buf[0] = 1
	copy(buf[1:], left[:])
	copy(buf[1+Size:], right[:])
	return sha256.Sum256(buf[:])
}

// split is the number of leaves in the left half of a tree of n > 1: the
// largest power of two below n.
func split(n int) int { return 1 << (bits.Len(uint(n-1)) - 1) }

// Root is the root of the tree over hashed leaves. Without leaves it is
// SHA-256 of nothing.
func Root(leaves []Hash) Hash {
	var b Builder
	for _, h := range leaves {
		b.Add(h)
	}
	return b.Root()
}

// Builder computes a root leaf by leaf, in memory for one hash a level. The
// zero value is an empty tree.
type Builder struct {
	n     int
	peaks [40]Hash // of the full subtrees of the leaves so far, by level
}

// Add appends a hashed leaf.
func (b *Builder) Add(h Hash) {
	level := 0
	for ; b.n>>level&1 == 1; level++ {
		h = Node(b.peaks[level], h)
	}
	b.peaks[level] = h
	b.n++
}

// Root is the root of the leaves so far.
func (b *Builder) Root() Hash {
	if b.n == 0 {
		return sha256.Sum256(nil)
	}
	level := bits.TrailingZeros(uint(b.n))
	h := b.peaks[level]
	for level++; b.n>>level != 0; level++ {
		if b.n>>level&1 == 1 {
			h = Node(b.peaks[level], h)
		}
	}
	return h
}

// VectorRoot is the root of the tree over the tiles of a byte string: pieces
// of size bytes, the last one maybe shorter; at least one, which may be empty.
func VectorRoot(value []byte, size int) Hash {
	if len(value) <= size {
		return Leaf(value)
	}
	var b Builder
	for len(value) > size {
		b.Add(Leaf(value[:size]))
		value = value[size:]
	}
	b.Add(Leaf(value))
	return b.Root()
}

// Range proves leaves from to to-1 of the tree over hashed leaves: the hashes
// of the maximal subtrees outside of them, in the order of a walk from left to
// right. [RangeRoot] takes it.
func Range(leaves []Hash, from, to int) []Hash {
	if from < 0 || from >= to || to > len(leaves) {
		panic(fmt.Sprintf("canon: internal error: range %d to %d of %d leaves", from, to, len(leaves)))
	}
	var proof []Hash
	var walk func(lo, hi int)
	walk = func(lo, hi int) {
		switch {
		case hi <= from || lo >= to:
			proof = append(proof, Root(leaves[lo:hi]))
		case hi-lo > 1 && (lo < from || hi > to):
			mid := lo + split(hi-lo)
			walk(lo, mid)
			walk(mid, hi)
		}
	}
	walk(0, len(leaves))
	return proof
}

// RangeLen is the number of hashes that Range gives for leaves from to to-1 of
// n.
func RangeLen(n, from, to int) int {
	if from < 0 || from >= to || to > n {
		return 0
	}
	count := 0
	var walk func(lo, hi int)
	walk = func(lo, hi int) {
		switch {
		case hi <= from || lo >= to:
			count++
		case hi-lo > 1 && (lo < from || hi > to):
			mid := lo + split(hi-lo)
			walk(lo, mid)
			walk(mid, hi)
		}
	}
	walk(0, n)
	return count
}

// RangeRoot computes the root of a tree of n leaves from its hashed leaves
// from to from+len(leaves)-1 and a proof of [Range]. The caller compares it
// with the root that it trusts.
func RangeRoot(n, from int, leaves, proof []Hash) (Hash, error) {
	to := from + len(leaves)
	if n < 1 || int64(n) > MaxLeaves || from < 0 || len(leaves) == 0 || to > n || to < from {
		return Hash{}, fmt.Errorf("%w: leaves %d to %d of %d", ErrProof, from, to, n)
	}
	// The leaves bound the recursion: it opens only what overlaps their edges.
	if want := RangeLen(n, from, to); len(proof) != want {
		return Hash{}, fmt.Errorf("%w: %d hashes for leaves %d to %d of %d, want %d", ErrProof, len(proof), from, to, n, want)
	}
	var walk func(lo, hi int) Hash
	walk = func(lo, hi int) Hash {
		switch {
		case hi <= from || lo >= to:
			h := proof[0]
			proof = proof[1:]
			return h
		case lo >= from && hi <= to:
			return Root(leaves[lo-from : hi-from])
		}
		mid := lo + split(hi-lo)
		left := walk(lo, mid)
		return Node(left, walk(mid, hi))
	}
	return walk(0, n), nil
}
