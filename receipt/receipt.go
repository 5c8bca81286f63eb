package receipt

import (
	"crypto/ed25519"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// Receipt is a signed receipt as it was read or made; it cannot be changed.
type Receipt struct {
	message Statement
	claims  Claims
}

// Sign makes the receipt of claims. Their key may be left out; it becomes that
// of the signer.
func Sign(c Claims, key ed25519.PrivateKey) (Receipt, error) {
	if len(key) != ed25519.PrivateKeySize {
		return Receipt{}, errorf(CheckKey, "the private key has %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	public := key.Public().(ed25519.PublicKey)
	if c.Key != nil && !public.Equal(c.Key) {
		return Receipt{}, errorf(CheckKey, "the claims name another key than the one that signs")
	}
	c.Key = public
	if err := c.Validate(); err != nil {
		return Receipt{}, err
	}
	payload, err := c.encode()
	if err != nil {
		return Receipt{}, &Error{CheckClaims, "encode", err}
	}
	m, err := SignStatement(payload, key)
	if err != nil {
		return Receipt{}, err
	}
	return Parse(m.raw)
}

// Parse reads a receipt: it checks the form, the encoding and the ranges, but
// not the signature; see [Receipt.Verify].
func Parse(raw []byte) (Receipt, error) {
	m, err := ParseStatement(raw)
	if err != nil {
		return Receipt{}, err
	}
	claims, err := decodeClaims(m.msg.Payload)
	return Receipt{m, claims}, err
}

// Verify checks the key and its signature. That nothing else is wrong with the
// receipt was checked when it was read.
func (r *Receipt) Verify() error {
	if r.message.raw == nil {
		return errorf(CheckForm, "there is no receipt")
	}
	return r.message.Verify(r.claims.Key)
}

// Claims are what the receipt says.
func (r *Receipt) Claims() Claims {
	c := r.claims
	c.Key = slices.Clone(c.Key)
	c.Seed.Nonce = slices.Clone(c.Seed.Nonce)
	c.Adapters = slices.Clone(c.Adapters)
	if c.Ledger != nil {
		ledger := *c.Ledger
		c.Ledger = &ledger
	}
	return c
}

// Bytes is the receipt as it is stored and sent.
func (r *Receipt) Bytes() []byte { return r.message.Bytes() }

// Hash is the receipt's identity.
func (r *Receipt) Hash() Hash { return canon.Sum("aval receipt/1", r.message.raw) }
