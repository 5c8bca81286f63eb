package anchor

import (
	"crypto/ecdsa"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"

	"github.com/avalnetwork/aval/internal/canon"
)

// State is what a ledger says of one height: the application hash after it.
type State struct {
	Chain  string     `json:"chain"` // id, of the ledger's genesis
	Height uint64     `json:"height"`
	Root   canon.Hash `json:"root"`
}

func (s State) check() error {
	switch {
	case s.Chain == "":
		return errors.New("anchor: a state without the chain id of its ledger")
	case s.Height == 0 || s.Root.IsZero():
		return fmt.Errorf("anchor: the state of height %d with the root %s: neither may be zero", s.Height, s.Root)
	}
	return nil
}

// Attestation is one signer's word that a ledger had a root, for one contract.
type Attestation struct {
	State
	ChainID   uint64         `json:"chain_id"` // of the chain with the contract
	Contract  common.Address `json:"contract"`
	Signature Signature      `json:"signature"`
}

// Signature is that of secp256k1 with its recovery byte, 27 or 28, last.
type Signature [65]byte

// MarshalText writes hexadecimal digits.
func (s Signature) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, s[:]), nil }

// UnmarshalText reads hexadecimal digits.
func (s *Signature) UnmarshalText(b []byte) error {
	if len(b) != 2*len(s) {
		return fmt.Errorf("anchor: a signature of %d digits, want %d", len(b), 2*len(s))
	}
	_, err := hex.Decode(s[:], b)
	return err
}

// Sign is the word of the signer with a key that a ledger had a root. A signer
// MUST have the state from a node that it trusts: its own, or a light client.
func (c *Contract) Sign(key *ecdsa.PrivateKey, s State) (*Attestation, error) {
	if err := c.fits(s); err != nil {
		return nil, err
	}
	a := &Attestation{State: s, ChainID: c.ChainID.Uint64(), Contract: c.Address}
	sig, err := sign(key, a.digest())
	if err != nil {
		return nil, err
	}
	a.Signature = sig
	return a, nil
}

// fits checks that a state is of the contract's ledger.
func (c *Contract) fits(s State) error {
	if err := s.check(); err != nil {
		return err
	}
	if s.Chain != c.Ledger {
		return fmt.Errorf("anchor: the state is of the ledger %q, and the contract %s of %q", s.Chain, c.Address, c.Ledger)
	}
	return nil
}

// Signer is who made an attestation; it may be anyone.
func (a *Attestation) Signer() (common.Address, error) { return signer(a.digest(), a.Signature) }

func sign(key *ecdsa.PrivateKey, digest common.Hash) (s Signature, err error) {
	raw, err := crypto.Sign(digest[:], key)
	if err != nil {
		return s, fmt.Errorf("anchor: signing: %w", err)
	}
	copy(s[:], raw)
	s[64] += 27
	return s, nil
}

func signer(digest common.Hash, s Signature) (common.Address, error) {
	raw := s
	raw[64] -= 27
	if !crypto.ValidateSignatureValues(raw[64], new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:64]), true) {
		return common.Address{}, errors.New("anchor: not a signature")
	}
	key, err := crypto.SigToPub(digest[:], raw[:])
	if err != nil {
		return common.Address{}, fmt.Errorf("anchor: a signature: %w", err)
	}
	return crypto.PubkeyToAddress(*key), nil
}

// join puts signatures of one digest into the order that the contract wants,
// leaving out all but the first threshold ones of known signers.
func (s Signers) join(digest common.Hash, list []Signature) (data []byte, signed int) {
	by := map[common.Address]Signature{}
	for _, x := range list {
		if who, err := signer(digest, x); err == nil && slices.Contains(s.List, who) {
			by[who] = x
		}
	}
	for _, who := range s.List {
		if x, ok := by[who]; ok && signed < s.Threshold {
			data = append(data, x[:]...)
			signed++
		}
	}
	return data, signed
}

// The digests of EIP-712, so that wallets can show what they sign.
var (
	domainType  = crypto.Keccak256([]byte("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"))
	rootType    = crypto.Keccak256([]byte("Root(string ledger,uint64 height,bytes32 root)"))
	signersType = crypto.Keccak256([]byte("Signers(string ledger,uint64 epoch,address[] signers,uint256 threshold)"))
)

func word(n uint64) []byte { return common.BigToHash(new(big.Int).SetUint64(n)).Bytes() }

func digest(chainID uint64, contract common.Address, message ...[]byte) common.Hash {
	domain := crypto.Keccak256(domainType, crypto.Keccak256([]byte("Aval Anchor")), crypto.Keccak256([]byte("1")),
		word(chainID), common.LeftPadBytes(contract[:], 32))
	return crypto.Keccak256Hash([]byte{0x19, 1}, domain, crypto.Keccak256(message...))
}

func (a *Attestation) digest() common.Hash {
	return digest(a.ChainID, a.Contract, rootType, crypto.Keccak256([]byte(a.Chain)), word(a.Height), a.Root[:])
}

// SignChange is a present signer's word that others should be the signers. epoch
// is the one that begins: one more than [Contract.Epoch].
func (c *Contract) SignChange(key *ecdsa.PrivateKey, epoch uint64, next Signers) (Signature, error) {
	return sign(key, c.changeDigest(epoch, next))
}

func (c *Contract) changeDigest(epoch uint64, next Signers) common.Hash {
	var list []byte
	for _, a := range next.List {
		list = append(list, common.LeftPadBytes(a[:], 32)...)
	}
	return digest(c.ChainID.Uint64(), c.Address, signersType, crypto.Keccak256([]byte(c.Ledger)), word(epoch),
		crypto.Keccak256(list), word(uint64(next.Threshold)))
}
