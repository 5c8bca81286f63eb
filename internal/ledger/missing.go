package ledger

import (
	"encoding/hex"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
)

// Missed is a receipt that somebody has and did not find in the log of the node
// that signed it. What is not in the log cannot be drawn by an audit.
type Missed struct {
	By    Address `cbor:"1,keyasint" json:"by"`
	Fee   Amount  `cbor:"2,keyasint" json:"fee"`   // comes back if the receipt is not shown
	Until uint64  `cbor:"3,keyasint" json:"until"` // milliseconds since 1970
}

func (m *Missed) held() Amount { return m.Fee }

// Missing asks a node to show that its log has a receipt, which it may still
// add. If it does not in time, it loses as if it had lied.
type Missing struct {
	Receipt []byte `cbor:"1,keyasint" json:"receipt"`
}

func (m *Missing) apply(c *call) error {
	r, err := c.signed(m.Receipt)
	if err != nil {
		return err
	}
	id, node := r.Hash(), r.Claims().Key
	b, err := bonded(c.tree, RoleNode, node)
	if err != nil {
		return err
	}
	key := tableMissing.key(node, id[:])
	if _, ok := c.tree.Get(key); ok {
		return fail(CodeRefused, "the node is to show this receipt already")
	}
	if b.all(c.tree) == 0 {
		return fail(CodeFunds, "the node %x has no bond left to lose", []byte(node))
	}
	p := &c.params.Audit
	if err := c.debit(p.DemandFee); err != nil {
		return err
	}
	b.node.Held++
	b.save(c.tree)
	x := &Missed{By: c.from, Fee: p.DemandFee, Until: c.block.Time + p.Show}
	save(c.tree, key, x)
	at(c.tree, byTime, x.Until, dueMissing, key)
	c.event("missing", "node", hex.EncodeToString(node), "receipt", id.String(), "until", Amount(x.Until).String())
	return nil
}

// Show proves that the log of a node has a receipt that somebody missed. Anybody
// may send it.
type Show struct {
	Node    []byte       `cbor:"1,keyasint" json:"node"`
	Receipt canon.Hash   `cbor:"2,keyasint" json:"receipt"`
	Index   uint64       `cbor:"3,keyasint" json:"index"`
	Proof   []canon.Hash `cbor:"4,keyasint" json:"proof"` // of inclusion in the log as it is on the ledger
}

func (m *Show) apply(c *call) error {
	if len(m.Node) != canon.Size || len(m.Proof) > receiptlog.MaxProof {
		return fail(CodeRefused, "a node's key of %d bytes, or a proof of %d hashes", len(m.Node), len(m.Proof))
	}
	if err := c.spend(hashWork * uint64(len(m.Proof))); err != nil {
		return err
	}
	key := tableMissing.key(m.Node, m.Receipt[:])
	x, ok := load[Missed](c.tree, key)
	n, ok2 := load[Node](c.tree, tableNode.key(m.Node))
	if !ok || !ok2 {
		return fail(CodeNotFound, "nobody misses this receipt")
	}
	if n.Log.Size == 0 {
		return fail(CodeRefused, "the node has no log on the ledger")
	}
	if err := receiptlog.VerifyInclusion(canon.Hash(n.Log.Root), n.Log.Size, m.Index, receiptlog.Leaf(m.Receipt), m.Proof); err != nil {
		return fail(CodeRefused, "the receipt is not shown to be in the log: %w", err)
	}
	notAt(c.tree, byTime, x.Until, dueMissing, key)
	c.tree.Delete(key)
	burn(c.tree, x.Fee)
	n.Held--
	save(c.tree, tableNode.key(m.Node), n)
	c.event("show", "node", hex.EncodeToString(m.Node), "receipt", m.Receipt.String(), "index", Amount(m.Index).String())
	return nil
}

// missingDue: the node has not shown the receipt.
func (m *Machine) missingDue(key []byte) {
	x, ok := load[Missed](&m.work, key)
	if !ok {
		panic("ledger: internal error: no receipt to show")
	}
	m.work.Delete(key)
	credit(&m.work, x.By, x.Fee)
	g := m.game()
	g.slash(nodeOf(key), g.params.Audit.Withheld, &x.By)
	n, _ := load[Node](&m.work, tableNode.key(nodeOf(key)))
	n.Held--
	n.Record.Failed++
	save(&m.work, tableNode.key(nodeOf(key)), n)
	g.event("not shown", "node", hex.EncodeToString(nodeOf(key)), "receipt", hex.EncodeToString(key[33:]))
}
