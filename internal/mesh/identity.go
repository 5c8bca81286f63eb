package mesh

import (
	"crypto/ed25519"
	"fmt"

	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/crypto/pb"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/avalnetwork/aval/internal/peer"
)

// fromLibp2p gives the peer of a libp2p peer ID. Only Ed25519 keys are peers
// here: they are in the ID itself, and sign receipts.
func fromLibp2p(id libp2ppeer.ID) (peer.ID, error) {
	key, err := id.ExtractPublicKey()
	if err != nil {
		return peer.ID{}, fmt.Errorf("peer %s does not carry its key: nodes have Ed25519 keys: %w", id, err)
	}
	if key.Type() != pb.KeyType_Ed25519 {
		return peer.ID{}, fmt.Errorf("peer %s has a key of the kind %s: nodes have Ed25519 keys", id, key.Type())
	}
	raw, err := key.Raw()
	if err != nil {
		return peer.ID{}, err
	}
	return peer.FromPublic(ed25519.PublicKey(raw))
}

// toLibp2p gives the libp2p peer ID of a peer.
func toLibp2p(id peer.ID) (libp2ppeer.ID, error) {
	key, err := crypto.UnmarshalEd25519PublicKey(id[:])
	if err != nil {
		return "", err
	}
	return libp2ppeer.IDFromPublicKey(key)
}
