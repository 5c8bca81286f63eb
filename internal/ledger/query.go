package ledger

import (
	"bytes"
	"crypto/ed25519"
	"iter"

	"github.com/avalnetwork/aval/internal/canon"
)

// Account is an account after the last block; one that nobody paid has nothing.
func (m *Machine) Account(a Address) Account { return *account(&m.state, a) }

// Node is a bonded node after the last block, or nil.
func (m *Machine) Node(key ed25519.PublicKey) *Node {
	n, _ := load[Node](&m.state, tableNode.key(key))
	return n
}

// Model is a registered model after the last block, or nil.
func (m *Machine) Model(root canon.Hash) *Model {
	e, _ := load[Model](&m.state, tableModel.key(root[:]))
	return e
}

// OfferOf is an offer with whose it is.
type OfferOf struct {
	Node  ed25519.PublicKey
	Model canon.Hash
	Offer
}

// Offers are all offers after the last block, in the order of the nodes' keys.
func (m *Machine) Offers() iter.Seq[OfferOf] {
	return func(yield func(OfferOf) bool) {
		for k, o := range each[Offer](&m.state, tableOffer) {
			if !yield(OfferOf{Node: bytes.Clone(k[1:33]), Model: canon.Hash(k[33:]), Offer: *o}) {
				return
			}
		}
	}
}

// Params are those after the last block.
func (m *Machine) Params() Params { return meta(&m.state).Params }

// Table is the first byte of the keys of a table.
func Table(name string) (first byte, ok bool) {
	for _, r := range tables {
		if r.name == name {
			return byte(r.table), true
		}
	}
	return 0, false
}

// Tables are the names of all tables.
func Tables() []string {
	var list []string
	for _, r := range tables {
		list = append(list, r.name)
	}
	return list
}

// Payload is an empty struct of a kind, to read content into; nil if there is no
// such kind.
func (k Kind) Payload() any {
	if r := k.row(); r != nil {
		return r.make()
	}
	return nil
}

// usualWork is more than a transaction takes that is not about a dispute.
const usualWork = 20_000

// MaxFee is a fee that suffices for what a transaction usually costs.
func (p *Params) MaxFee(b *Body, policy Policy) Amount {
	const signer = 34 + 68 // bytes of a key and a signature
	return p.fee(uint64(len(b.Content))+256+signer*uint64(len(policy.Keys)), usualWork)
}

// MetaKey is the key of what there is once.
func MetaKey() []byte { return tableMeta.key() }

// AccountKey is the key of an account in the state.
func AccountKey(a Address) []byte { return tableAccount.key(a[:]) }

// DeviceKey is the key of a device of an account in the state.
func DeviceKey(a Address, key []byte) []byte { return tableDevice.key(a[:], key) }

// Pay makes a transaction of the account of one key, as the next one after the
// last block, with a fee that suffices for what it can cost, as far as the
// account has it. What is not needed is given back.
func Pay(m *Machine, key ed25519.PrivateKey, kind Kind, payload any) ([]byte, error) {
	policy := Single(key.Public().(ed25519.PublicKey))
	a := policy.Address()
	b, err := NewBody(m.Chain(), a, m.Nonce(a, nil), 0, kind, payload)
	if err != nil {
		return nil, err
	}
	params := m.Params()
	size := uint64(len(b.Content)) + 512
	fee := params.fee(size, usualWork+size)
	switch p := payload.(type) {
	case *OpenDispute:
		fee = params.MessageFee(nil, p.Message)
	case *MakeMove:
		if d, ok := DisputeAt(&m.state, p.Dispute); ok {
			fee = params.MessageFee(d, p.Message)
		}
	}
	b.MaxFee = min(fee, m.Account(a).Balance)
	return b.Sign(policy, key)
}
