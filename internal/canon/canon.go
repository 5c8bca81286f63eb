// Package canon holds what two parties must do alike before they can compare
// anything: hashes with their purpose in them, Merkle trees, and canonical
// CBOR.
//
// [Sum] hashes parts under the name of their purpose, so that no hash means
// two things. [Root], [Range] and [RangeRoot] are the trees: those of RFC 9162
// section 2.1, with SHA-256, whose proofs here are of ranges of leaves.
// [VectorRoot] is the tree of a byte string cut into tiles. [Marshal] and
// [Unmarshal] are CBOR in the deterministic encoding of RFC 8949 section
// 4.2.1; what is not in that form is refused. [Reader] reads it item by item.
//
// It keeps nothing and does no I/O.
package canon

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Size is the length of a hash in bytes.
const Size = sha256.Size

// Hash is a SHA-256 hash.
type Hash [Size]byte

// String gives the hash in hexadecimal.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// IsZero reports whether h is the zero value, which no input is known to hash
// to.
func (h Hash) IsZero() bool { return h == Hash{} }

// MarshalText is String.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText writes.
func (h *Hash) UnmarshalText(b []byte) error {
	if len(b) != 2*Size {
		return fmt.Errorf("a hash has %d hexadecimal digits, want %d", len(b), 2*Size)
	}
	_, err := hex.Decode(h[:], b)
	return err
}

// Sum hashes the parts for a purpose. The input is one byte for the length of
// the purpose, the purpose, and for each part eight bytes of its length, big
// endian, and the part: no two lists of parts give the same input. Since a
// purpose has at least two bytes, the input differs from that of a leaf or a
// node of a tree, which begin with 0 or 1.
func Sum(purpose string, parts ...[]byte) Hash {
	if len(purpose) < 2 || len(purpose) > 255 {
		panic("canon: internal error: the purpose of a hash has 2 to 255 bytes")
	}
	h := sha256.New()
	h.Write([]byte{byte(len(purpose))})
	h.Write([]byte(purpose))
	var n [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	var out Hash
	h.Sum(out[:0])
	return out
}
