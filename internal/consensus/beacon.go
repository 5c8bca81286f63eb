package consensus

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
)

// Beacon draws randomness from the validators: each adds a share to its vote for
// a block, and the proposer of the next one combines what more than two thirds
// of them gave. Either all nodes of a chain have a beacon or none has.
//
// The functions are called one at a time, with the machine after the last block,
// which they must not keep or change. What they say of a height may depend on
// nothing that a block of that height or a later one can change.
type Beacon struct {
	// Extend is this validator's share at a height; none if it has none.
	Extend func(m *ledger.Machine, height uint64) ([]byte, error)
	// VerifyShare says why a validator's vote does not count with this share,
	// which may be empty.
	VerifyShare func(m *ledger.Machine, height uint64, validator ed25519.PublicKey, share []byte) error
	// Combine makes the proof of the randomness of a height from the shares of
	// validators with more than two thirds of the power, all of them verified.
	// It is empty at heights that have none.
	Combine func(m *ledger.Machine, height uint64, shares []Share) ([]byte, error)
	// Value checks a proof and gives the randomness that it proves: zero for the
	// empty one, where that is right.
	Value func(m *ledger.Machine, height uint64, proof []byte) (canon.Hash, error)
}

// Share is what one validator gave.
type Share struct {
	Validator ed25519.PublicKey
	Data      []byte
}

// Limits of what a beacon may say.
const (
	maxShare = 4 << 10
	maxProof = 4 << 10
)

// beaconPurpose begins the first entry of a block, which no transaction can be:
// the proof of the randomness of the height before.
const beaconPurpose = "aval beacon/1"

func encodeProof(proof []byte) []byte { return append([]byte(beaconPurpose), proof...) }

// split takes the proof off the entries of a block and checks it.
func (b *Beacon) split(m *ledger.Machine, height uint64, txs [][]byte) (value canon.Hash, rest [][]byte, err error) {
	if b == nil || height <= 1 { // before the second block nobody voted
		return canon.Hash{}, txs, nil
	}
	if len(txs) == 0 {
		return canon.Hash{}, nil, errors.New("consensus: a block without the proof of its randomness")
	}
	proof, ok := bytes.CutPrefix(txs[0], []byte(beaconPurpose))
	if !ok || len(proof) > maxProof {
		return canon.Hash{}, nil, errors.New("consensus: a block that does not begin with the proof of its randomness")
	}
	value, err = b.Value(m, height-1, proof)
	if err != nil {
		return canon.Hash{}, nil, fmt.Errorf("consensus: the proof of a block's randomness: %w", err)
	}
	return value, txs[1:], nil
}
