// Package peer names the parties of the network: a peer is its Ed25519 public
// key, which its receipts are signed with, too. Parse reads what people copy
// to each other; ID.String writes it. Nothing here connects to anybody: that
// is the mesh.
package peer

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/mr-tron/base58"

	"github.com/avalnetwork/aval/receipt"
)

// maxText bounds what Parse looks at; the longest form has 60 characters.
const maxText = 128

// identity is what stands before the 32 bytes of a key in a peer ID of libp2p
// (specs/peer-ids): an identity multihash (0x00) of 36 bytes, which are a
// protobuf message with the key's type (field 1: Ed25519, 1) and its bytes
// (field 2, 32 long).
var identity = []byte{0x00, 36, 0x08, 1, 0x12, 32}

// ErrID marks a text that does not name a peer.
var ErrID = errors.New("not the name of a peer")

// ID is a peer: its Ed25519 public key. IDs can be compared and can be the keys
// of a map. The zero ID is nobody.
type ID [ed25519.PublicKeySize]byte

// FromPublic gives the peer of a public key. It fails if the key does not have
// 32 bytes.
func FromPublic(key ed25519.PublicKey) (ID, error) {
	var id ID
	if len(key) != len(id) {
		return ID{}, fmt.Errorf("%w: a public key has %d bytes, this one %d", ErrID, len(id), len(key))
	}
	copy(id[:], key)
	return id, nil
}

// FromPrivate gives the peer of a private key.
func FromPrivate(key ed25519.PrivateKey) ID {
	var id ID
	copy(id[:], key.Public().(ed25519.PublicKey))
	return id
}

// Parse reads a peer's name in one of its two forms: the peer ID of libp2p
// ("12D3Koo...", base58) and the key as receipts show it. Only Ed25519 keys
// are peers here.
func Parse(s string) (ID, error) {
	if len(s) > maxText {
		return ID{}, fmt.Errorf("%w: it has %d characters", ErrID, len(s))
	}
	if key, err := receipt.ParseNodeKey(s); err == nil {
		return FromPublic(key)
	}
	data, err := base58.Decode(s)
	switch {
	case err != nil || len(data) == 0:
		return ID{}, fmt.Errorf("%w: %q is neither a peer ID (12D3Koo...) nor the key of a node", ErrID, s)
	case !bytes.HasPrefix(data, identity) || len(data) != len(identity)+ed25519.PublicKeySize:
		return ID{}, fmt.Errorf("%w: %q is cut, or not of an Ed25519 key", ErrID, s)
	}
	return FromPublic(ed25519.PublicKey(data[len(identity):]))
}

// String is the peer ID of libp2p, "12D3Koo...", which Parse reads.
func (id ID) String() string {
	return base58.Encode(append(bytes.Clone(identity), id[:]...))
}

// Short is the end of String, enough to tell a few peers apart on a screen; it
// is no proof of anything.
func (id ID) Short() string {
	s := id.String()
	return s[len(s)-8:]
}

// Public is the peer's key.
func (id ID) Public() ed25519.PublicKey { return bytes.Clone(id[:]) }

// Node is the peer's key in the form of receipts.
func (id ID) Node() string { return receipt.FormatNodeKey(id.Public()) }

// IsZero tells whether the ID is nobody's.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders IDs by their bytes, for results that must not depend on
// chance.
func (id ID) Compare(other ID) int { return cmp.Compare(string(id[:]), string(other[:])) }

// MarshalText writes the ID as String does.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the ID as Parse does.
func (id *ID) UnmarshalText(text []byte) error {
	parsed, err := Parse(strings.TrimSpace(string(text)))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
