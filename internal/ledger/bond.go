package ledger

import (
	"crypto/ed25519"
	"encoding/hex"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Role is what a bond stands behind.
type Role uint8

// The roles.
const (
	RoleNode      Role = 1 // answers and audits
	RoleValidator Role = 2 // blocks
)

// Node is a device that offers models or audits others. Its bond is what it
// loses when it lies.
type Node struct {
	Operator Address `cbor:"1,keyasint" json:"operator"` // account that bonded it
	Bond     Amount  `cbor:"2,keyasint" json:"bond"`
	// Held counts what the bond still has to answer for, such as open disputes:
	// as long as there is any, nothing of it is released.
	Held uint64 `cbor:"3,keyasint,omitempty" json:"held,omitempty"`
	// Record is how audits and disputes about the node went.
	Record Record `cbor:"4,keyasint" json:"record"`
	Log    Log    `cbor:"5,keyasint" json:"log"`
}

// Record counts what became known about a node.
type Record struct {
	_       struct{} `cbor:",toarray"`
	Passed  uint64   `json:"passed"`  // audits of its answers that found nothing
	Failed  uint64   `json:"failed"`  // disputes about its answers that it lost
	Audits  uint64   `json:"audits"`  // audits that it made in time
	Missed  uint64   `json:"missed"`  // audits that it did not make, or lost as auditor
	Slashed Amount   `json:"slashed"` // of its bond, ever
	Skipped uint64   `json:"skipped"` // audits of its answers that nobody made, or that came to no result
}

// Log is the newest state of a node's log of receipts that is on the ledger.
type Log struct {
	_    struct{} `cbor:",toarray"`
	Size uint64   `json:"size"`
	Root []byte   `json:"root"` // 32 bytes, empty before the first
}

func (n *Node) held() Amount { return n.Bond }

// Unbonding is a part of a bond that its operator asked for. It can be slashed
// until it is released.
type Unbonding struct {
	To     Address `cbor:"1,keyasint" json:"to"`
	Amount Amount  `cbor:"2,keyasint" json:"amount"`
}

func (u *Unbonding) held() Amount { return u.Amount }

// Bond adds to the bond of a node, or makes it one.
type Bond struct {
	Key    []byte `cbor:"1,keyasint" json:"key"`
	Amount Amount `cbor:"2,keyasint" json:"amount"`
	// Proof is the node's signature over BondMessage, so that nobody takes
	// another's key; needed for the first bond only.
	Proof []byte `cbor:"3,keyasint,omitempty" json:"proof,omitempty"`
}

// BondMessage is what a key signs to say that it belongs to an operator.
func BondMessage(chain string, role Role, operator Address) canon.Hash {
	return canon.Sum("aval bond/1", []byte(chain), []byte{byte(role)}, operator[:])
}

// ProveBond is the proof for the key of a role.
func ProveBond(key ed25519.PrivateKey, chain string, role Role, operator Address) []byte {
	m := BondMessage(chain, role, operator)
	return ed25519.Sign(key, m[:])
}

func (m *Bond) apply(c *call) error {
	key := tableNode.key(m.Key)
	if len(m.Key) != ed25519.PublicKeySize {
		return fail(CodeRefused, "a node's key of %d bytes", len(m.Key))
	}
	n, ok := load[Node](c.tree, key)
	if !ok {
		if err := c.proved(m.Key, m.Proof, BondMessage(c.chain, RoleNode, c.from)); err != nil {
			return err
		}
		n = &Node{Operator: c.from}
	}
	switch {
	case n.Operator != c.from:
		return fail(CodeForbidden, "the node belongs to the account %s", n.Operator)
	case plus(n.Bond, m.Amount) < c.params.NodeBond:
		return fail(CodeFunds, "a bond of %d, want at least %d", plus(n.Bond, m.Amount), c.params.NodeBond)
	}
	if err := c.debit(m.Amount); err != nil {
		return err
	}
	n.Bond += m.Amount
	save(c.tree, key, n)
	c.event("bond", "node", hex.EncodeToString(m.Key), "operator", c.from.String(), "amount", m.Amount.String(), "bond", n.Bond.String())
	return nil
}

// Unbond asks for a part of a bond. It is released after the unbonding time, if
// nothing is open against who bonded it then. All of it is 0: then the node's
// offers end, and a validator loses its power.
type Unbond struct {
	Role   Role   `cbor:"1,keyasint" json:"role"`
	Key    []byte `cbor:"2,keyasint" json:"key"`
	Amount Amount `cbor:"3,keyasint" json:"amount"`
}

func (m *Unbond) apply(c *call) error {
	b, err := bonded(c.tree, m.Role, m.Key)
	if err != nil {
		return err
	}
	n := m.Amount
	if n == 0 {
		n = *b.amount
	}
	least := c.params.NodeBond
	if m.Role == RoleValidator {
		least = c.params.ValidatorBond
	}
	switch {
	case b.operator != c.from:
		return fail(CodeForbidden, "the bond belongs to the account %s", b.operator)
	case n == 0 || n > *b.amount:
		return fail(CodeFunds, "the bond is %d, and this takes %d", *b.amount, n)
	case n < *b.amount && *b.amount-n < least:
		return fail(CodeFunds, "it would leave a bond of %d, want at least %d or nothing", *b.amount-n, least)
	}
	*b.amount -= n
	if v := b.validator; v != nil && v.Bond == 0 && v.Power > 0 {
		if err := c.setPower(m.Key, v, 0); err != nil {
			return err
		}
	}
	b.save(c.tree)
	if b.node != nil && b.node.Bond == 0 {
		for k := range each[Offer](c.tree, tableOffer, m.Key) {
			c.tree.Delete(k)
		}
	}
	when := c.block.Time + c.params.Unbonding
	key := tableUnbonding.key([]byte{byte(m.Role)}, m.Key, u64(when), u64(serial(c.tree)))
	save(c.tree, key, &Unbonding{To: c.from, Amount: n})
	at(c.tree, byTime, when, dueUnbonding, key)
	c.event("unbond", "key", hex.EncodeToString(m.Key), "amount", n.String(), "until", Amount(when).String())
	return nil
}

// bondOf is the bond of a node or a validator.
type bondOf struct {
	role      Role
	key       []byte
	operator  Address
	amount    *Amount
	node      *Node
	validator *Validator
}

func bonded(t *tree.Tree, role Role, key []byte) (*bondOf, error) {
	b := &bondOf{role: role, key: key}
	var ok bool
	switch role {
	case RoleNode:
		if b.node, ok = load[Node](t, tableNode.key(key)); ok {
			b.operator, b.amount = b.node.Operator, &b.node.Bond
		}
	case RoleValidator:
		if b.validator, ok = load[Validator](t, tableValidator.key(key)); ok {
			b.operator, b.amount = b.validator.Operator, &b.validator.Bond
		}
	}
	if !ok {
		return nil, fail(CodeNotFound, "no bond of the key %x in the role %d", key, role)
	}
	return b, nil
}

func (b *bondOf) save(t *tree.Tree) {
	if b.node != nil {
		save(t, tableNode.key(b.key), b.node)
	} else {
		save(t, tableValidator.key(b.key), b.validator)
	}
}

// take takes up to an amount from a bond, first from what is bonded, then from
// what is being released, the latest first. What it gives is in nobody's
// account then.
func (b *bondOf) take(t *tree.Tree, n Amount) (taken Amount) {
	taken = min(n, *b.amount)
	*b.amount -= taken
	if b.node != nil {
		b.node.Record.Slashed += taken
	}
	prefix := [][]byte{{byte(b.role)}, b.key}
	var keys [][]byte
	for k := range each[Unbonding](t, tableUnbonding, prefix...) {
		keys = append(keys, k)
	}
	for i := len(keys) - 1; i >= 0 && taken < n; i-- {
		u, _ := load[Unbonding](t, keys[i])
		x := min(n-taken, u.Amount)
		u.Amount -= x
		taken += x
		if b.node != nil {
			b.node.Record.Slashed += x
		}
		save(t, keys[i], u)
	}
	b.save(t)
	return taken
}

// all is what can be taken from a bond.
func (b *bondOf) all(t *tree.Tree) Amount {
	sum := *b.amount
	for _, u := range each[Unbonding](t, tableUnbonding, []byte{byte(b.role)}, b.key) {
		sum += u.Amount
	}
	return sum
}

// releaseBond pays out what was asked for, or waits on.
func (m *Machine) releaseBond(key []byte) {
	u, ok := load[Unbonding](&m.work, key)
	if !ok {
		panic("ledger: internal error: nothing to release")
	}
	role, node := Role(key[1]), key[2:34]
	if n, ok := load[Node](&m.work, tableNode.key(node)); ok && role == RoleNode && n.Held > 0 {
		// Asked again a minute later; disputes end.
		at(&m.work, byTime, m.block.Time+60_000, dueUnbonding, key)
		return
	}
	m.work.Delete(key)
	credit(&m.work, u.To, u.Amount)
	m.event("release", "key", hex.EncodeToString(node), "to", u.To.String(), "amount", u.Amount.String())
}

// Offer is what a node asks for answers of a model.
type Offer struct {
	PriceIn  Amount `cbor:"1,keyasint" json:"price_in"`  // for a million tokens of prompt
	PriceOut Amount `cbor:"2,keyasint" json:"price_out"` // for a million tokens of answer
	Speed    uint64 `cbor:"3,keyasint" json:"speed"`     // tokens a second that it says it makes
	Region   string `cbor:"4,keyasint,omitempty" json:"region,omitempty"`
}

// SetOffer makes, changes or ends an offer.
type SetOffer struct {
	Key   []byte     `cbor:"1,keyasint" json:"key"`
	Model canon.Hash `cbor:"2,keyasint" json:"model"`
	Offer *Offer     `cbor:"3,keyasint,omitempty" json:"offer,omitempty"` // nil ends it
}

func (m *SetOffer) apply(c *call) error {
	n, err := c.ownNode(m.Key)
	if err != nil {
		return err
	}
	key := tableOffer.key(m.Key, m.Model[:])
	if m.Offer == nil {
		c.tree.Delete(key)
		c.event("offer", "node", hex.EncodeToString(m.Key), "model", m.Model.String(), "state", "ended")
		return nil
	}
	model, ok := load[Model](c.tree, tableModel.key(m.Model[:]))
	switch {
	case !ok:
		return fail(CodeNotFound, "the model %s is not registered", m.Model)
	case model.Revoked != nil:
		return fail(CodeRefused, "the model %s was revoked: %s", m.Model, model.Revoked.Reason)
	case n.Bond < c.params.NodeBond:
		return fail(CodeFunds, "the node has a bond of %d, want at least %d", n.Bond, c.params.NodeBond)
	case m.Offer.PriceIn > MaxSupply || m.Offer.PriceOut > MaxSupply || len(m.Offer.Region) > maxWord:
		return fail(CodeRefused, "a price of more than %d, or a region of more than %d bytes", MaxSupply, maxWord)
	}
	save(c.tree, key, m.Offer)
	c.event("offer", "node", hex.EncodeToString(m.Key), "model", m.Model.String(), "in", m.Offer.PriceIn.String(), "out", m.Offer.PriceOut.String())
	return nil
}

// ownNode is a node of the sender.
func (c *call) ownNode(key []byte) (*Node, error) {
	n, ok := load[Node](c.tree, tableNode.key(key))
	switch {
	case len(key) != ed25519.PublicKeySize || !ok:
		return nil, fail(CodeNotFound, "no node %x", key)
	case n.Operator != c.from:
		return nil, fail(CodeForbidden, "the node belongs to the account %s", n.Operator)
	}
	return n, nil
}
