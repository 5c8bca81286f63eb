package ledger

import (
	"crypto/ed25519"
	"fmt"
	"math/bits"

	"github.com/avalnetwork/aval/internal/canon"
)

// MaxVoucher bounds an encoded voucher, in bytes.
const MaxVoucher = 256

// Voucher is what a payer of a session gives the node as answers come: a
// promise of an amount for all of them together. A later one replaces the
// earlier. It needs no ledger until the node settles with the best that it has.
type Voucher struct {
	Chain   string     `cbor:"1,keyasint" json:"chain"`
	Session canon.Hash `cbor:"2,keyasint" json:"session"`
	Amount  Amount     `cbor:"3,keyasint" json:"amount"`  // since the session began
	Answers uint64     `cbor:"4,keyasint" json:"answers"` // begun since then; for people, nothing depends on it
	// Signature is that of the session's key over Message.
	Signature []byte `cbor:"5,keyasint,omitempty" json:"signature"`
}

// Message is what the session's key signs.
func (v *Voucher) Message() canon.Hash {
	unsigned := *v
	unsigned.Signature = nil
	raw, err := canon.Marshal(&unsigned)
	if err != nil {
		panic(fmt.Sprintf("ledger: internal error: a voucher: %v", err)) // it has only numbers and bytes
	}
	return canon.Sum("aval voucher/1", raw)
}

// Sign signs the voucher with the session's key.
func (v *Voucher) Sign(key ed25519.PrivateKey) {
	m := v.Message()
	v.Signature = ed25519.Sign(key, m[:])
}

// Verify checks that the voucher is of a session of a chain, for no more than
// its escrow, and signed by its key.
func (v *Voucher) Verify(chain string, id canon.Hash, s *Session) error {
	switch {
	case v.Chain != chain:
		return fail(CodeRefused, "the voucher is for the chain %q, this is %q", v.Chain, chain)
	case v.Session != id:
		return fail(CodeRefused, "the voucher is for the session %s, this is %s", v.Session, id)
	case v.Amount > s.Escrow:
		return fail(CodeFunds, "the voucher is for %d, the session holds %d", v.Amount, s.Escrow)
	case len(v.Signature) != ed25519.SignatureSize:
		return fail(CodeRefused, "the voucher has a signature of %d bytes, want %d", len(v.Signature), ed25519.SignatureSize)
	}
	if err := checkKey(s.Key); err != nil {
		return fail(CodeRefused, "the session's key: %w", err)
	}
	if m := v.Message(); !ed25519.Verify(s.Key, m[:], v.Signature) {
		return fail(CodeRefused, "the session's key did not sign the voucher")
	}
	return nil
}

// Encode is the canonical CBOR of the voucher with its signature.
func (v *Voucher) Encode() ([]byte, error) {
	raw, err := canon.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return raw, nil
}

// DecodeVoucher reads a voucher. Verify says what it is worth.
func DecodeVoucher(data []byte) (*Voucher, error) {
	if len(data) > MaxVoucher {
		return nil, fmt.Errorf("ledger: a voucher of %d bytes, want at most %d", len(data), MaxVoucher)
	}
	v := new(Voucher)
	if err := canon.UnmarshalMax(data, v, 16); err != nil {
		return nil, fmt.Errorf("ledger: the voucher: %w", err)
	}
	return v, nil
}

// Cost is what tokens of prompts and answers cost in the session, all of them
// together, rounded up once; at most MaxSupply.
func (s *Session) Cost(in, out uint64) Amount {
	hi, lo := bits.Mul64(uint64(s.PriceIn), in)
	hi2, lo2 := bits.Mul64(uint64(s.PriceOut), out)
	lo, carry := bits.Add64(lo, lo2, 0)
	hi, over := bits.Add64(hi, hi2, carry)
	lo, carry = bits.Add64(lo, million-1, 0)
	hi, over2 := bits.Add64(hi, 0, carry)
	if over+over2 > 0 || hi >= million {
		return MaxSupply
	}
	q, _ := bits.Div64(hi, lo, million)
	return min(Amount(q), MaxSupply)
}

// million is the number of tokens that prices are of.
const million = 1_000_000
