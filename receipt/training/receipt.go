package training

import (
	"crypto/ed25519"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Receipt is a signed receipt as it was read or made; it cannot be changed.
type Receipt struct {
	statement receipt.Statement
	claims    Claims
	raw       []byte
}

// Sign makes the receipt of claims. Their key may be left out; it becomes that
// of the signer.
func Sign(c Claims, key ed25519.PrivateKey) (Receipt, error) {
	if len(key) != ed25519.PrivateKeySize {
		return Receipt{}, errorf(receipt.CheckKey, "the private key has %d bytes, want %d", len(key), ed25519.PrivateKeySize)
	}
	public := key.Public().(ed25519.PublicKey)
	if c.Key != nil && !public.Equal(c.Key) {
		return Receipt{}, errorf(receipt.CheckKey, "the claims name another key than the one that signs")
	}
	c.Key = public
	if err := c.Validate(); err != nil {
		return Receipt{}, err
	}
	payload, err := c.encode()
	if err != nil {
		return Receipt{}, &receipt.Error{Check: receipt.CheckClaims, Detail: "encode", Err: err}
	}
	s, err := receipt.SignStatement(payload, key)
	if err != nil {
		return Receipt{}, err
	}
	return Parse(s.Bytes())
}

// Parse reads a receipt: it checks the form, the encoding and the ranges, but
// not the signature; see [Receipt.Verify].
func Parse(raw []byte) (Receipt, error) {
	s, err := receipt.ParseStatement(raw)
	if err != nil {
		return Receipt{}, err
	}
	claims, err := decodeClaims(s.Payload())
	return Receipt{s, claims, s.Bytes()}, err
}

// Verify checks the key and its signature. That nothing else is wrong with the
// receipt was checked when it was read.
func (r *Receipt) Verify() error {
	if r.raw == nil {
		return errorf(receipt.CheckForm, "there is no receipt")
	}
	return r.statement.Verify(r.claims.Key)
}

// Claims are what the receipt says.
func (r *Receipt) Claims() Claims { return r.claims.clone() }

// Bytes is the receipt as it is stored and sent.
func (r *Receipt) Bytes() []byte { return r.statement.Bytes() }

// Hash is the receipt's identity.
func (r *Receipt) Hash() Hash { return canon.Sum("aval receipt/1", r.raw) }
