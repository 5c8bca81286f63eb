package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Limits of a transaction.
const (
	MaxTx      = 64 << 10 // bytes, but of the kinds that carry a proof of fraud
	MaxLargeTx = 1 << 20
	MaxChain   = 64 // bytes of a chain's name
	MaxKeys    = 16 // of an account
	maxTxItems = 256
	sigWork    = 50 // work of one signature; a unit is about a microsecond
	kindWork   = 20 // of any transaction
)

// Address names an account: the hash of who may sign for it.
type Address = canon.Hash

// Policy says who signs for an account: Threshold of the keys, which are
// ascending. One key of one is the common case.
type Policy struct {
	_         struct{} `cbor:",toarray"`
	Threshold int
	Keys      [][]byte
}

// Single is the policy of one key.
func Single(key ed25519.PublicKey) Policy { return Policy{Threshold: 1, Keys: [][]byte{key}} }

// NewPolicy is the policy of a threshold of keys.
func NewPolicy(threshold int, keys ...ed25519.PublicKey) Policy {
	p := Policy{Threshold: threshold}
	for _, k := range keys {
		p.Keys = append(p.Keys, k)
	}
	slices.SortFunc(p.Keys, slices.Compare[[]byte])
	return p
}

// AddressOf is the account of one key.
func AddressOf(key ed25519.PublicKey) Address { return Single(key).Address() }

// Address is the account that the policy is of.
func (p Policy) Address() Address {
	parts := [][]byte{{byte(p.Threshold)}}
	return canon.Sum("aval account/1", append(parts, p.Keys...)...)
}

// Validate checks the form of a policy.
func (p Policy) Validate() error {
	if len(p.Keys) < 1 || len(p.Keys) > MaxKeys || p.Threshold < 1 || p.Threshold > len(p.Keys) {
		return fmt.Errorf("%d of %d keys sign, want 1 to %d keys and no more than all of them", p.Threshold, len(p.Keys), MaxKeys)
	}
	for i, k := range p.Keys {
		if err := checkKey(k); err != nil {
			return fmt.Errorf("key %d: %w", i, err)
		}
		if i > 0 && slices.Compare(p.Keys[i-1], k) >= 0 {
			return fmt.Errorf("key %d is not above the one before", i)
		}
	}
	return nil
}

// checkKey refuses keys that some implementations take and others don't.
func checkKey(k []byte) error {
	if len(k) != ed25519.PublicKeySize {
		return fmt.Errorf("a key of %d bytes, want %d", len(k), ed25519.PublicKeySize)
	}
	_, err := receipt.ParseNodeKey(receipt.FormatNodeKey(k))
	return err
}

// Body is what the signers of a transaction sign.
type Body struct {
	Chain   string  `cbor:"1,keyasint"`
	Account Address `cbor:"2,keyasint"` // that pays and acts
	Nonce   uint64  `cbor:"3,keyasint"` // how many the account sent before; a device has its own count
	MaxFee  Amount  `cbor:"4,keyasint"`
	Until   uint64  `cbor:"5,keyasint,omitempty"` // the last time at which it counts, in milliseconds since 1970; 0: any
	Kind    Kind    `cbor:"6,keyasint"`
	Content []byte  `cbor:"7,keyasint"` // canonical CBOR of the kind's struct
}

// Signature is that of one key of the policy.
type Signature struct {
	_     struct{} `cbor:",toarray"`
	Key   int      // its place in the policy
	Bytes []byte
}

// Tx is a transaction.
type Tx struct {
	_          struct{} `cbor:",toarray"`
	Body       []byte   // canonical CBOR of Body
	Policy     Policy   // of the account, or the one key of a device
	Signatures []Signature
}

// NewBody makes a body with a payload, a pointer to the kind's struct.
func NewBody(chain string, account Address, nonce uint64, maxFee Amount, kind Kind, payload any) (*Body, error) {
	raw, err := canon.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return &Body{Chain: chain, Account: account, Nonce: nonce, MaxFee: maxFee, Kind: kind, Content: raw}, nil
}

func signedBytes(body []byte) []byte {
	h := canon.Sum("aval transaction/1", body)
	return h[:]
}

// Sign makes the transaction, signed with the keys, which the policy has.
func (b *Body) Sign(policy Policy, keys ...ed25519.PrivateKey) ([]byte, error) {
	raw, err := canon.Marshal(b)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	tx := Tx{Body: raw, Policy: policy}
	for _, k := range keys {
		i := slices.IndexFunc(policy.Keys, func(p []byte) bool { return slices.Equal(p, k.Public().(ed25519.PublicKey)) })
		if i < 0 {
			return nil, fmt.Errorf("ledger: the key %s is not of the account", hex.EncodeToString(k.Public().(ed25519.PublicKey)))
		}
		tx.Signatures = append(tx.Signatures, Signature{Key: i, Bytes: ed25519.Sign(k, signedBytes(raw))})
	}
	slices.SortFunc(tx.Signatures, func(a, b Signature) int { return a.Key - b.Key })
	return canon.Marshal(&tx)
}

// ReadDraft reads a transaction that may lack signatures.
func ReadDraft(data []byte) (*Tx, *Body, error) {
	if len(data) > MaxLargeTx {
		return nil, nil, fail(CodeTooLarge, "a transaction of %d bytes, want at most %d", len(data), MaxLargeTx)
	}
	tx, b := new(Tx), new(Body)
	if err := canon.UnmarshalMax(data, tx, maxTxItems); err != nil {
		return nil, nil, fail(CodeMalformed, "the transaction: %w", err)
	}
	if err := canon.UnmarshalMax(tx.Body, b, maxTxItems); err != nil {
		return nil, nil, fail(CodeMalformed, "the transaction's body: %w", err)
	}
	if err := tx.Policy.Validate(); err != nil {
		return nil, nil, fail(CodeMalformed, "who signs: %w", err)
	}
	return tx, b, nil
}

// Cosign adds signatures of keys of the policy that a transaction lacks, and
// says whether it has all that it needs.
func Cosign(data []byte, keys ...ed25519.PrivateKey) (signed []byte, done bool, err error) {
	tx, _, err := ReadDraft(data)
	if err != nil {
		return nil, false, err
	}
	for _, k := range keys {
		i := slices.IndexFunc(tx.Policy.Keys, func(p []byte) bool { return slices.Equal(p, k.Public().(ed25519.PublicKey)) })
		if i < 0 || len(tx.Signatures) >= tx.Policy.Threshold || slices.ContainsFunc(tx.Signatures, func(s Signature) bool { return s.Key == i }) {
			continue
		}
		tx.Signatures = append(tx.Signatures, Signature{Key: i, Bytes: ed25519.Sign(k, signedBytes(tx.Body))})
	}
	slices.SortFunc(tx.Signatures, func(a, b Signature) int { return a.Key - b.Key })
	signed, err = canon.Marshal(tx)
	return signed, len(tx.Signatures) == tx.Policy.Threshold, err
}

// TxID is the identity of an encoded transaction.
func TxID(tx []byte) canon.Hash { return canon.Sum("aval transaction id/1", tx) }

// DecodeTx reads a transaction and its body, and checks their form.
func DecodeTx(data []byte) (*Tx, *Body, error) {
	if len(data) > MaxLargeTx {
		return nil, nil, fail(CodeTooLarge, "a transaction of %d bytes, want at most %d", len(data), MaxLargeTx)
	}
	var tx Tx
	var b Body
	if err := canon.UnmarshalMax(data, &tx, maxTxItems); err != nil {
		return nil, nil, fail(CodeMalformed, "the transaction: %w", err)
	}
	if err := canon.UnmarshalMax(tx.Body, &b, maxTxItems); err != nil {
		return nil, nil, fail(CodeMalformed, "the transaction's body: %w", err)
	}
	k := b.Kind.row()
	switch {
	case k == nil:
		return nil, nil, fail(CodeMalformed, "kind %d is not known; a newer version may know it", uint16(b.Kind))
	case k.traits&isLarge == 0 && len(data) > MaxTx:
		return nil, nil, fail(CodeTooLarge, "a %s of %d bytes, want at most %d", k.name, len(data), MaxTx)
	case b.Chain == "" || len(b.Chain) > MaxChain:
		return nil, nil, fail(CodeMalformed, "a chain's name of %d bytes, want 1 to %d", len(b.Chain), MaxChain)
	}
	if err := tx.Policy.Validate(); err != nil {
		return nil, nil, fail(CodeMalformed, "who signs: %w", err)
	}
	if len(tx.Signatures) != tx.Policy.Threshold {
		return nil, nil, fail(CodeMalformed, "%d signatures, want exactly %d", len(tx.Signatures), tx.Policy.Threshold)
	}
	last := -1
	for _, s := range tx.Signatures {
		if s.Key <= last || s.Key >= len(tx.Policy.Keys) || len(s.Bytes) != ed25519.SignatureSize {
			return nil, nil, fail(CodeMalformed, "a signature of %d bytes by key %d after key %d", len(s.Bytes), s.Key, last)
		}
		last = s.Key
	}
	return &tx, &b, nil
}

// verify checks all signatures.
func (t *Tx) verify() error {
	msg := signedBytes(t.Body)
	for _, s := range t.Signatures {
		if !ed25519.Verify(t.Policy.Keys[s.Key], msg, s.Bytes) {
			return fail(CodeSignature, "the signature of key %d is not over this transaction", s.Key)
		}
	}
	return nil
}

// intrinsic is the work of a transaction before it does anything.
func (t *Tx) intrinsic() uint64 { return kindWork + sigWork*uint64(len(t.Signatures)) }
