package ledger

import (
	"bytes"
	"crypto/ed25519"
	"iter"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Account is an account after the last block; one that nobody paid has nothing.
func (m *Machine) Account(a Address) Account { return *account(&m.state, a) }

// Node is a bonded node after the last block, or nil.
func (m *Machine) Node(key ed25519.PublicKey) *Node {
	n, _ := NodeAt(&m.state, key)
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
func (m *Machine) Params() Params { return ParamsAt(&m.state) }

// NodeAt reads a bonded node in a state.
func NodeAt(t *tree.Tree, key []byte) (*Node, bool) { return load[Node](t, tableNode.key(key)) }

// ParamsAt are the parameters in a state.
func ParamsAt(t *tree.Tree) Params { return meta(t).Params }

// IsAuditor tells whether a node may be drawn to audit others.
func IsAuditor(t *tree.Tree, key []byte) bool {
	_, ok := t.Get(tableAuditor.key(key))
	return ok
}

// DemandAt is what an auditor asked a node for on the ledger, at a place of an
// audit.
func DemandAt(t *tree.Tree, a AuditRef, place uint64, auditor []byte) (*Demanded, bool) {
	return load[Demanded](t, demandKey(auditKey(a.Node, a.Size), place, auditor))
}

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
	size := uint64(len(b.Content)) + 256 + signer*uint64(len(policy.Keys))
	return p.fee(size, usualWork+size)
}

// MetaKey is the key of what there is once.
func MetaKey() []byte { return tableMeta.key() }

// AccountKey is the key of an account in the state.
func AccountKey(a Address) []byte { return tableAccount.key(a[:]) }

// DeviceKey is the key of a device of an account in the state.
func DeviceKey(a Address, key []byte) []byte { return tableDevice.key(a[:], key) }

// DisputeKey is the key of a dispute in the state.
func DisputeKey(id canon.Hash) []byte { return tableDispute.key(id[:]) }

// OfferKey is the key of a node's offer of a model in the state.
func OfferKey(node ed25519.PublicKey, model canon.Hash) []byte { return tableOffer.key(node, model[:]) }
