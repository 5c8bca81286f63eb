// Package tree is the ledger's state as a Merkle tree: keys with values in
// order, one root, and proofs that a key has a value or is not there
// (spec/ledger.md).
//
// The zero [Tree] is empty. [Tree.Clone] costs nothing, and neither copy sees
// what the other does afterwards: a transaction works on a clone that is kept
// or dropped. [Tree.Prove] makes a [Proof], which [Proof.Verify] checks with
// nothing but the root. The shape depends on the keys alone, not on the order
// in which they came.
//
// It keeps everything in memory and does no I/O. A tree is not for several
// goroutines, but for reading after Root.
package tree

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"math/bits"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of what is kept.
const (
	MaxKey   = 128
	MaxValue = 1 << 20
)

// Tree is a binary radix tree: an inner node names the first bit in which the
// keys below it differ.
type Tree struct {
	root  *node
	size  int
	owner *owner
}

// owner tells which tree may change a node in place.
type owner struct{ _ byte }

type node struct {
	owner  *owner
	hashed bool
	hash   canon.Hash
	// An inner node has a bit and two children, a leaf a key and a value.
	bit         int
	left, right *node
	key, value  []byte
}

func (n *node) leaf() bool { return n.left == nil }

// bitAt gives a bit of a key. Each byte has nine: first a one, which tells that
// there is such a byte, and then its own, the highest first. So no key is the
// beginning of another.
func bitAt(key []byte, bit int) int {
	i, r := bit/9, bit%9
	switch {
	case i >= len(key):
		return 0
	case r == 0:
		return 1
	}
	return int(key[i]>>(8-r)) & 1
}

// differ is the first bit in which two keys differ, -1 if none.
func differ(a, b []byte) int {
	n := min(len(a), len(b))
	for i := range n {
		if x := a[i] ^ b[i]; x != 0 {
			return 9*i + 1 + bits.LeadingZeros8(x)
		}
	}
	if len(a) == len(b) {
		return -1
	}
	return 9 * n
}

// Len is the number of keys.
func (t *Tree) Len() int { return t.size }

// Clone is another tree with the same content.
func (t *Tree) Clone() Tree {
	t.owner = nil // what both have is nobody's
	return *t
}

// Get is the value of a key, not to be changed.
func (t *Tree) Get(key []byte) (value []byte, ok bool) {
	n := t.find(key)
	if n == nil || !bytes.Equal(n.key, key) {
		return nil, false
	}
	return n.value, true
}

// find is the leaf that the bits of a key lead to.
func (t *Tree) find(key []byte) *node {
	n := t.root
	for n != nil && !n.leaf() {
		if bitAt(key, n.bit) == 0 {
			n = n.left
		} else {
			n = n.right
		}
	}
	return n
}

// own is n, or a copy of it, that the tree may change.
func (t *Tree) own(n *node) *node {
	if t.owner == nil {
		t.owner = new(owner)
	}
	if n.owner != t.owner {
		c := *n
		n = &c
		n.owner = t.owner
	}
	n.hashed = false
	return n
}

// Set gives a key a value. The tree keeps both slices.
func (t *Tree) Set(key, value []byte) {
	if len(key) == 0 || len(key) > MaxKey || len(value) > MaxValue {
		panic(fmt.Sprintf("tree: internal error: a key of %d bytes with a value of %d", len(key), len(value)))
	}
	if t.root == nil {
		t.root = t.own(&node{key: key, value: value})
		t.size = 1
		return
	}
	near := t.find(key)
	bit := differ(near.key, key)
	if bit < 0 && bytes.Equal(near.value, value) {
		return
	}
	at := &t.root
	for !(*at).leaf() && (bit < 0 || (*at).bit < bit) {
		n := t.own(*at)
		*at = n
		at = n.child(key)
	}
	if bit < 0 {
		n := t.own(*at)
		n.value = value
		*at = n
		return
	}
	leaf := t.own(&node{key: key, value: value})
	inner := t.own(&node{bit: bit, left: leaf, right: *at})
	if bitAt(key, bit) == 1 {
		inner.left, inner.right = *at, leaf
	}
	*at = inner
	t.size++
}

// child is the side of an inner node on which a key is.
func (n *node) child(key []byte) **node {
	if bitAt(key, n.bit) == 0 {
		return &n.left
	}
	return &n.right
}

// Delete takes a key out, if it is there.
func (t *Tree) Delete(key []byte) {
	if _, ok := t.Get(key); !ok {
		return
	}
	t.size--
	if t.root.leaf() {
		t.root = nil
		return
	}
	at := &t.root
	for {
		if side := *(*at).child(key); side.leaf() {
			if n := *at; n.left == side {
				*at = n.right
			} else {
				*at = n.left
			}
			return
		}
		n := t.own(*at)
		*at = n
		at = n.child(key)
	}
}

// Ascend lists the keys that begin with a prefix, ascending. The tree must not
// be changed meanwhile; a clone may.
func (t *Tree) Ascend(prefix []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		n := t.root
		for n != nil && !n.leaf() && n.bit < 9*len(prefix) {
			n = *n.child(prefix)
		}
		if n == nil {
			return
		}
		some := n
		for !some.leaf() {
			some = some.left
		}
		if bytes.HasPrefix(some.key, prefix) {
			n.each(yield)
		}
	}
}

func (n *node) each(yield func(key, value []byte) bool) bool {
	if n.leaf() {
		return yield(n.key, n.value)
	}
	return n.left.each(yield) && n.right.each(yield)
}

// Root is the hash of everything; of an empty tree that of nothing.
func (t *Tree) Root() canon.Hash {
	if t.root == nil {
		return sha256.Sum256(nil)
	}
	return t.root.sum()
}

func (n *node) sum() canon.Hash {
	if n.hashed {
		return n.hash
	}
	if n.leaf() {
		n.hash = leafHash(n.key, sha256.Sum256(n.value))
	} else {
		n.hash = innerHash(n.bit, n.left.sum(), n.right.sum())
	}
	n.hashed = true
	return n.hash
}

// leafHash is SHA-256(0x00, length of the key, key, hash of the value).
func leafHash(key []byte, value canon.Hash) canon.Hash {
	var buf [2 + MaxKey + canon.Size]byte
	b := append(buf[:0], 0, byte(len(key)))
	b = append(b, key...)
	return sha256.Sum256(append(b, value[:]...))
}

// innerHash is SHA-256(0x01, the bit in two bytes, left, right).
func innerHash(bit int, left, right canon.Hash) canon.Hash {
	var buf [3 + 2*canon.Size]byte
	buf[0] = 1
	binary.BigEndian.PutUint16(buf[1:], uint16(bit))
	copy(buf[3:], left[:])
	copy(buf[3+canon.Size:], right[:])
	return sha256.Sum256(buf[:])
}
