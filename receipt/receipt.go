package receipt

import (
	"bytes"
	"crypto/ed25519"
	"slices"

	"github.com/veraison/go-cose"

	"github.com/avalnetwork/aval/internal/canon"
)

// protected is the protected header, {1: -8}: the algorithm EdDSA.
var protected = []byte{0x43, 0xa1, 0x01, 0x27}

// Receipt is a signed receipt as it was read or made; it cannot be changed.
type Receipt struct {
	raw    []byte
	claims Claims
	msg    cose.Sign1Message
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
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		return Receipt{}, &Error{CheckKey, "signer", err}
	}
	headers := cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA}}
	raw, err := cose.Sign1(nil, signer, headers, payload, nil)
	if err != nil {
		return Receipt{}, &Error{CheckSignature, "sign", err}
	}
	return Parse(raw)
}

// Parse reads a receipt: it checks the form, the encoding and the ranges, but
// not the signature; see [Receipt.Verify].
func Parse(raw []byte) (Receipt, error) {
	if len(raw) > MaxReceipt {
		return Receipt{}, errorf(CheckForm, "%d bytes, want at most %d", len(raw), MaxReceipt)
	}
	r := Receipt{raw: slices.Clone(raw)}
	if err := r.msg.UnmarshalCBOR(r.raw); err != nil {
		return Receipt{}, &Error{CheckForm, "not a COSE_Sign1 message with tag 18", err}
	}
	switch h := &r.msg.Headers; {
	case !bytes.Equal(h.RawProtected, protected):
		return Receipt{}, errorf(CheckAlgorithm, "the protected header is %x, want %x: EdDSA and nothing else", clip(h.RawProtected), protected)
	case !bytes.Equal(h.RawUnprotected, []byte{0xa0}):
		return Receipt{}, errorf(CheckHeaders, "the unprotected header is not empty")
	case r.msg.Payload == nil:
		return Receipt{}, errorf(CheckPayload, "the claims are not in the message")
	case len(r.msg.Signature) != ed25519.SignatureSize:
		return Receipt{}, errorf(CheckForm, "the signature has %d bytes, want %d", len(r.msg.Signature), ed25519.SignatureSize)
	}
	if again, err := r.msg.MarshalCBOR(); err != nil || !bytes.Equal(again, raw) {
		return Receipt{}, errorf(CheckForm, "a length is not in its shortest form")
	}
	var err error
	r.claims, err = decodeClaims(r.msg.Payload)
	return r, err
}

// Verify checks the key and its signature. That nothing else is wrong with the
// receipt was checked when it was read.
func (r *Receipt) Verify() error {
	if r.raw == nil {
		return errorf(CheckForm, "there is no receipt")
	}
	if err := checkKey(r.claims.Key); err != nil {
		return err
	}
	verifier, err := cose.NewVerifier(cose.AlgorithmEdDSA, r.claims.Key)
	if err != nil {
		return &Error{CheckKey, "verifier", err}
	}
	if err := r.msg.Verify(nil, verifier); err != nil {
		return errorf(CheckSignature, "it is not that of the key over these claims: the receipt was changed, or never signed")
	}
	return nil
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
func (r *Receipt) Bytes() []byte { return slices.Clone(r.raw) }

// Hash is the receipt's identity.
func (r *Receipt) Hash() Hash { return canon.Sum("aval receipt/1", r.raw) }

// clip keeps error messages short.
func clip(b []byte) []byte { return b[:min(len(b), 32)] }
