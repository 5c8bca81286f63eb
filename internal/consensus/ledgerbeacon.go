package consensus

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/beacon"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
)

// LedgerBeacon is the beacon whose keys the validators make on the ledger. The
// key is that of the node; a node that does not validate verifies.
func LedgerBeacon(key ed25519.PrivateKey) (*Beacon, error) {
	secret, err := beacon.NewSecret(key.Seed())
	if err != nil {
		return nil, fmt.Errorf("consensus: %w", err)
	}
	b := &ledgerBeacon{id: canon.Hash(key.Public().(ed25519.PublicKey)), secret: secret}
	return &Beacon{Extend: b.extend, VerifyShare: b.verifyShare, Combine: b.combine, Value: b.value}, nil
}

type ledgerBeacon struct {
	id     canon.Hash
	secret *beacon.Secret

	of     *beacon.Key // of what follows; a memory
	signer *beacon.Signer
	err    error
}

func (b *ledgerBeacon) extend(m *ledger.Machine, height uint64) ([]byte, error) {
	r, err := m.BeaconAt(height)
	if err != nil || r == nil {
		return nil, err
	}
	if i, ok := r.Key.Group().Index(b.id); !ok || r.Key.Group().Member(i).Key != b.secret.Public() {
		return nil, nil
	}
	if b.of != r.Key {
		b.of = r.Key
		b.signer, b.err = r.Key.Signer(b.secret)
	}
	if errors.Is(b.err, beacon.ErrShare) { // it has no part in this key
		return nil, nil
	}
	if b.err != nil {
		return nil, b.err
	}
	share := b.signer.Sign(height)
	return share[:], nil
}

func (b *ledgerBeacon) verifyShare(m *ledger.Machine, height uint64, validator ed25519.PublicKey, raw []byte) error {
	r, err := m.BeaconAt(height)
	if err != nil {
		return err
	}
	if r == nil {
		if len(raw) > 0 {
			return errors.New("consensus: a share, and no beacon key serves")
		}
		return nil
	}
	i, member := r.Key.Group().Index(canon.Hash(validator))
	switch {
	case len(raw) == 0 && member && r.Must(i):
		return errors.New("consensus: no share of a validator that confirmed the beacon key")
	case len(raw) == 0:
		return nil
	case !member || len(raw) != beacon.ShareSize || beacon.Share(raw).Member() != i:
		return fmt.Errorf("consensus: %d bytes that are not the validator's share", len(raw))
	}
	return r.Key.VerifyShare(height, beacon.Share(raw))
}

func (b *ledgerBeacon) combine(m *ledger.Machine, height uint64, shares []Share) ([]byte, error) {
	r, err := m.BeaconAt(height)
	if err != nil || r == nil {
		return nil, err
	}
	var list []beacon.Share
	for _, s := range shares {
		if i, ok := r.Key.Group().Index(canon.Hash(s.Validator)); ok && len(s.Data) == beacon.ShareSize && beacon.Share(s.Data).Member() == i {
			list = append(list, beacon.Share(s.Data))
		}
	}
	signature, err := r.Key.Recover(height, list)
	return signature[:], err
}

func (b *ledgerBeacon) value(m *ledger.Machine, height uint64, proof []byte) (canon.Hash, error) {
	r, err := m.BeaconAt(height)
	if err != nil {
		return canon.Hash{}, err
	}
	if r == nil {
		if len(proof) > 0 {
			return canon.Hash{}, errors.New("consensus: a proof, and no beacon key serves")
		}
		return canon.Hash{}, nil
	}
	var s beacon.Signature
	if len(proof) != len(s) {
		return canon.Hash{}, fmt.Errorf("consensus: a signature of %d bytes, want %d", len(proof), len(s))
	}
	copy(s[:], proof)
	if err := r.Key.Verify(height, s); err != nil {
		return canon.Hash{}, err
	}
	return s.Output(), nil
}
