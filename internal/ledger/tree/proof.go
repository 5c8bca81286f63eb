package tree

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// maxDepth is that of a tree of the longest keys.
const maxDepth = 9 * (MaxKey + 1)

// MaxProof bounds an encoded proof without its value, in bytes.
const MaxProof = 64 << 10

// ErrProof says that a proof shows nothing about a key under a root.
var ErrProof = errors.New("tree: the proof does not stand")

// Proof shows the one leaf that the bits of a key lead to: it is the key's, or
// the key is not there.
type Proof struct {
	_     struct{}   `cbor:",toarray"`
	Key   []byte     // of the leaf; none if the tree is empty
	Value canon.Hash // SHA-256 of its value
	Steps []Step     // from the leaf to the root
}

// Step is one inner node above a leaf.
type Step struct {
	_     struct{} `cbor:",toarray"`
	Bit   int      // that it tells apart
	Other canon.Hash
}

// Prove shows what there is about a key.
func (t *Tree) Prove(key []byte) *Proof {
	t.Root()
	p := &Proof{Steps: []Step{}}
	n := t.root
	if n == nil {
		return p
	}
	for !n.leaf() {
		side, other := n.left, n.right
		if bitAt(key, n.bit) == 1 {
			side, other = n.right, n.left
		}
		p.Steps = append(p.Steps, Step{Bit: n.bit, Other: other.hash})
		n = side
	}
	slices.Reverse(p.Steps)
	p.Key, p.Value = n.key, sha256.Sum256(n.value)
	return p
}

// Verify says whether the tree with a root has a key, and the hash of its
// value. ErrProof says that the proof shows neither.
func (p *Proof) Verify(root canon.Hash, key []byte) (value canon.Hash, present bool, err error) {
	bad := func(format string, args ...any) (canon.Hash, bool, error) {
		return canon.Hash{}, false, fmt.Errorf("%w: %s", ErrProof, fmt.Sprintf(format, args...))
	}
	if len(key) == 0 || len(key) > MaxKey || len(p.Key) > MaxKey || len(p.Steps) > maxDepth {
		return bad("a key of %d bytes, another of %d, %d steps", len(key), len(p.Key), len(p.Steps))
	}
	if len(p.Key) == 0 {
		if len(p.Steps) > 0 || !p.Value.IsZero() || root != sha256.Sum256(nil) {
			return bad("no leaf of a tree that is not empty")
		}
		return canon.Hash{}, false, nil
	}
	h, below := leafHash(p.Key, p.Value), maxDepth
	for _, s := range p.Steps {
		if s.Bit < 0 || s.Bit >= below {
			return bad("bit %d above bit %d", s.Bit, below)
		}
		below = s.Bit
		side := bitAt(p.Key, s.Bit)
		if side != bitAt(key, s.Bit) {
			return bad("the leaf is not where the key would be: they differ in bit %d", s.Bit)
		}
		if side == 0 {
			h = innerHash(s.Bit, h, s.Other)
		} else {
			h = innerHash(s.Bit, s.Other, h)
		}
	}
	if h != root {
		return bad("it is of a tree with the root %s, want %s", h, root)
	}
	if !bytes.Equal(p.Key, key) {
		return canon.Hash{}, false, nil
	}
	return p.Value, true, nil
}

// Encode is the canonical encoding.
func (p *Proof) Encode() ([]byte, error) { return canon.Marshal(p) }

// DecodeProof reads what Encode writes.
func DecodeProof(data []byte) (*Proof, error) {
	if len(data) > MaxProof {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrProof, len(data), MaxProof)
	}
	var p Proof
	if err := canon.Unmarshal(data, &p); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProof, err)
	}
	return &p, nil
}
