package payment

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// MaxVoucher bounds an encoded voucher, in bytes.
const MaxVoucher = 256

// Terms are those of a session, as the ledger has them.
type Terms struct {
	Chain    string     `json:"chain"`
	Session  canon.Hash `json:"session"`
	Node     []byte     `json:"node"` // key of who answers
	Model    canon.Hash `json:"model"`
	Escrow   uint64     `json:"escrow"`
	PriceIn  uint64     `json:"price_in"`  // for a million tokens of prompt
	PriceOut uint64     `json:"price_out"` // for a million tokens of answer
	Key      []byte     `json:"key"`       // that signs vouchers
	Expires  uint64     `json:"expires"`   // milliseconds since 1970
}

// million is the number of tokens that prices are of.
const million = 1_000_000

// Cost is what an answer costs, rounded up; at most what no session holds.
func (t *Terms) Cost(in, out uint64) uint64 {
	hi, lo := bits.Mul64(t.PriceIn, in)
	hi2, lo2 := bits.Mul64(t.PriceOut, out)
	lo, carry := bits.Add64(lo, lo2, 0)
	hi, over := bits.Add64(hi, hi2, carry)
	lo, carry = bits.Add64(lo, million-1, 0)
	hi, over2 := bits.Add64(hi, 0, carry)
	if over+over2 > 0 || hi >= million {
		return math.MaxUint64
	}
	q, _ := bits.Div64(hi, lo, million)
	return q
}

// add stops at the largest number.
func add(a, b uint64) uint64 {
	if sum, over := bits.Add64(a, b, 0); over == 0 {
		return sum
	}
	return math.MaxUint64
}

// Voucher is a promise of an amount for all answers of a session together. A
// later one replaces the earlier.
type Voucher struct {
	Chain   string     `cbor:"1,keyasint" json:"chain"`
	Session canon.Hash `cbor:"2,keyasint" json:"session"`
	Amount  uint64     `cbor:"3,keyasint" json:"amount"`  // since the session began
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
		panic(fmt.Sprintf("payment: internal error: a voucher: %v", err)) // it has only numbers and bytes
	}
	return canon.Sum("aval voucher/1", raw)
}

// Sign signs the voucher with the session's key.
func (v *Voucher) Sign(key ed25519.PrivateKey) {
	m := v.Message()
	v.Signature = ed25519.Sign(key, m[:])
}

// Why a voucher is worth nothing.
var (
	ErrChain     = errors.New("the voucher is of another chain")
	ErrSession   = errors.New("the voucher is of another session")
	ErrEscrow    = errors.New("the voucher is for more than the session holds")
	ErrKey       = errors.New("the session's key is none that signs vouchers")
	ErrSignature = errors.New("the session's key did not sign the voucher")
)

// Verify checks that the voucher is of a session, for no more than its escrow,
// and signed by its key.
func (v *Voucher) Verify(t *Terms) error {
	switch {
	case v.Chain != t.Chain:
		return fmt.Errorf("%w: %.80q, not %q", ErrChain, v.Chain, t.Chain)
	case v.Session != t.Session:
		return fmt.Errorf("%w: %s, not %s", ErrSession, v.Session, t.Session)
	case v.Amount > t.Escrow:
		return fmt.Errorf("%w: %d of %d", ErrEscrow, v.Amount, t.Escrow)
	case len(t.Key) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: it has %d bytes", ErrKey, len(t.Key))
	}
	if _, err := receipt.ParseNodeKey(receipt.FormatNodeKey(t.Key)); err != nil {
		return fmt.Errorf("%w: %w", ErrKey, err)
	}
	if m := v.Message(); len(v.Signature) != ed25519.SignatureSize || !ed25519.Verify(t.Key, m[:], v.Signature) {
		return ErrSignature
	}
	return nil
}

// Encode is the canonical CBOR of the voucher with its signature.
func (v *Voucher) Encode() ([]byte, error) {
	raw, err := canon.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("payment: %w", err)
	}
	return raw, nil
}

// DecodeVoucher reads a voucher. Verify says what it is worth.
func DecodeVoucher(data []byte) (*Voucher, error) {
	if len(data) > MaxVoucher {
		return nil, fmt.Errorf("payment: a voucher of %d bytes, want at most %d", len(data), MaxVoucher)
	}
	v := new(Voucher)
	if err := canon.UnmarshalMax(data, v, 16); err != nil {
		return nil, fmt.Errorf("payment: the voucher: %w", err)
	}
	return v, nil
}
