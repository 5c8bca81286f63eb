package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Demanded is a receipt that an auditor did not get from the node and asked for
// on the ledger.
type Demanded struct {
	By    Address `cbor:"1,keyasint" json:"by"`
	Fee   Amount  `cbor:"2,keyasint" json:"fee"`   // comes back if the demand is not met
	Key   string  `cbor:"3,keyasint" json:"key"`   // that the opening is sealed for
	Until uint64  `cbor:"4,keyasint" json:"until"` // height
	// Met says that there was an answer, and Answer which.
	Met    bool   `cbor:"5,keyasint,omitempty" json:"met,omitempty"`
	Answer []byte `cbor:"6,keyasint,omitempty" json:"answer,omitempty"`
}

func (d *Demanded) held() Amount {
	if d.Met {
		return 0
	}
	return d.Fee
}

func demandKey(audit []byte, place uint64, auditor []byte) []byte {
	return tableDemand.key(audit[1:], []byte{byte(place)}, auditor) // places are below MaxDrawn
}

// Demand asks the node on the ledger for a receipt that was drawn, before the
// auditor commits itself. The node answers in time or loses a part of its bond.
type Demand struct {
	Audit   AuditRef `cbor:"1,keyasint" json:"audit"`
	Auditor []byte   `cbor:"2,keyasint" json:"auditor"`
	Place   uint64   `cbor:"3,keyasint" json:"place"`
	// Key is made for this demand: if what comes cannot be read, its secret is
	// shown to everybody.
	Key string `cbor:"4,keyasint" json:"key"` // receipt.AuditorKey
}

func (m *Demand) apply(c *call) error {
	key, a, i, err := c.auditor(m.Audit, PhaseCommit, m.Auditor)
	if err != nil {
		return err
	}
	if err := c.spend(sigWork); err != nil {
		return err
	}
	k, err := receipt.ParseAuditorKey(m.Key)
	switch p := &a.Parts[i]; {
	case err != nil || k.String() != m.Key:
		return fail(CodeRefused, "not an auditor's key as it is written: %v", err)
	case p.Round != a.Round || p.Commit != nil:
		return fail(CodeRefused, "the auditor has committed itself, or did not in its time")
	case m.Place >= a.Count:
		return fail(CodeRefused, "place %d of %d", m.Place, a.Count)
	}
	dk := demandKey(key, m.Place, m.Auditor)
	if _, ok := c.tree.Get(dk); ok {
		return fail(CodeRefused, "the auditor has asked for it before")
	}
	p := &c.params.Audit
	if err := c.debit(p.DemandFee); err != nil {
		return err
	}
	d := &Demanded{By: c.from, Fee: p.DemandFee, Key: m.Key, Until: c.block.Height + p.Commit}
	save(c.tree, dk, d)
	at(c.tree, byHeight, d.Until, dueDemand, dk)
	c.game().phase(key, a, PhaseCommit, max(a.Until, d.Until+1))
	c.event("demand", "node", hex.EncodeToString(m.Audit.Node), "size", Amount(m.Audit.Size).String(), "place", Amount(m.Place).String(), "auditor", hex.EncodeToString(m.Auditor), "until", Amount(d.Until).String())
	return nil
}

// demandDue: nobody answered.
func (m *Machine) demandDue(dk []byte) {
	key, place := tableAudit.key(dk[1:41]), dk[41]
	a, ok := load[Audit](&m.work, key)
	d, ok2 := load[Demanded](&m.work, dk)
	if !ok || !ok2 {
		panic("ledger: internal error: a demand without an audit")
	}
	m.game().withheld(key, a, uint64(place), dk[42:], d)
}

// withheld ends an audit of which the node does not show all.
func (g *game) withheld(key []byte, a *Audit, place uint64, auditor []byte, d *Demanded) {
	g.slash(nodeOf(key), g.params.Audit.Withheld, &d.By)
	pay := min(a.Pay, a.Fee)
	credit(g.tree, d.By, pay)
	burn(g.tree, a.Fee-pay)
	a.Fee = 0
	for _, p := range a.Parts {
		n, _ := load[Node](g.tree, tableNode.key(p.Key))
		n.Held--
		if string(p.Key) == string(auditor) {
			n.Record.Audits++
		}
		save(g.tree, tableNode.key(p.Key), n)
	}
	g.event("withheld", "node", hex.EncodeToString(nodeOf(key)), "size", Amount(sizeOf(key)).String(), "place", Amount(place).String(), "auditor", hex.EncodeToString(auditor))
	g.close(key, a, func(r *Record) { r.Failed++ })
}

// Answer meets a demand.
type Answer struct {
	Audit   AuditRef     `cbor:"1,keyasint" json:"audit"`
	Auditor []byte       `cbor:"2,keyasint" json:"auditor"`
	Place   uint64       `cbor:"3,keyasint" json:"place"`
	Receipt []byte       `cbor:"4,keyasint" json:"receipt"`
	Proof   []canon.Hash `cbor:"5,keyasint" json:"proof"` // of inclusion
	// Box is the opening that computing again needs ([AuditParts]), sealed for
	// the key of the demand. A receipt of too many tokens needs none.
	Box *receipt.Box `cbor:"6,keyasint,omitempty" json:"box,omitempty"`
}

const eventAnswer = "answer"

// Answered tells whether a transaction met a demand.
func Answered(r Result) bool {
	return r.Code == CodeOK && slices.ContainsFunc(r.Events, func(e Event) bool { return e.Kind == eventAnswer })
}

// AuditParts are the parts of a receipt that its auditors see.
func AuditParts(c *receipt.Claims) receipt.Part {
	p := receipt.PartPrompt | receipt.PartOutput | dispute.OutputParts(c)
	if !c.Trace.IsZero() {
		p |= receipt.PartTrace
	}
	return p
}

func answerHash(raw []byte, box *receipt.Box) []byte {
	var b []byte
	if box != nil {
		b = append(append([]byte(box.Suite), box.KeyID[:]...), box.Data...)
	}
	h := canon.Sum("aval audit answer/1", raw, b)
	return h[:]
}

func (m *Answer) apply(c *call) error {
	key, a, err := c.audit(m.Audit, PhaseCommit)
	if err != nil {
		return err
	}
	if _, err := c.ownNode(m.Audit.Node); err != nil {
		return err
	}
	dk := demandKey(key, m.Place, m.Auditor)
	d, ok := load[Demanded](c.tree, dk)
	if len(m.Auditor) != canon.Size || !ok || d.Met {
		return fail(CodeNotFound, "there is no such demand")
	}
	r, err := c.receiptOf(m.Audit.Node, m.Receipt)
	if err != nil {
		return err
	}
	if err := c.inLog(a, m.Audit, m.Place, r.Hash(), m.Proof); err != nil {
		return err
	}
	switch k, err := receipt.ParseAuditorKey(d.Key); {
	case err != nil:
		return fail(CodeRefused, "the key of the demand: %w", err)
	case m.Box == nil && tokens(r.Claims()) <= c.params.Audit.Tokens:
		return fail(CodeRefused, "the opening of a receipt of %d tokens is missing", tokens(r.Claims()))
	case m.Box != nil && m.Box.KeyID != k.ID():
		return fail(CodeRefused, "the box is sealed for the key %x, the demand's is %x", m.Box.KeyID, k.ID())
	}
	d.Met, d.Answer = true, answerHash(m.Receipt, m.Box)
	notAt(c.tree, byHeight, d.Until, dueDemand, dk)
	save(c.tree, dk, d)
	burn(c.tree, d.Fee)
	p := &c.params.Audit
	c.game().phase(key, a, PhaseCommit, max(a.Until, c.block.Height+p.Commit+p.Each))
	c.event(eventAnswer, "node", hex.EncodeToString(m.Audit.Node), "size", Amount(m.Audit.Size).String(), "place", Amount(m.Place).String(), "auditor", hex.EncodeToString(m.Auditor))
	return nil
}

// Garbled shows that an answer cannot be read, by the secret of the demand's
// key: everybody opens the box.
type Garbled struct {
	Audit   AuditRef     `cbor:"1,keyasint" json:"audit"`
	Auditor []byte       `cbor:"2,keyasint" json:"auditor"`
	Place   uint64       `cbor:"3,keyasint" json:"place"`
	Receipt []byte       `cbor:"4,keyasint" json:"receipt"` // as in the answer
	Box     *receipt.Box `cbor:"5,keyasint" json:"box"`
	Secret  string       `cbor:"6,keyasint" json:"secret"`
}

func (m *Garbled) apply(c *call) error {
	key, a, i, err := c.auditor(m.Audit, PhaseCommit, m.Auditor)
	if err != nil {
		return err
	}
	d, ok := load[Demanded](c.tree, demandKey(key, m.Place, m.Auditor))
	switch {
	case !ok || !d.Met || m.Box == nil || string(d.Answer) != string(answerHash(m.Receipt, m.Box)):
		return fail(CodeNotFound, "no demand was answered so")
	case a.Parts[i].Commit != nil:
		return fail(CodeRefused, "the auditor has committed itself")
	}
	r, err := c.receiptOf(m.Audit.Node, m.Receipt)
	if err != nil {
		return err
	}
	if err := c.spend(500 + uint64(len(m.Box.Data))/16); err != nil {
		return err
	}
	secret, err := receipt.ParseAuditorSecret(m.Secret)
	if err != nil || secret.Public().String() != d.Key {
		return fail(CodeRefused, "not the secret of the demand's key")
	}
	claims := r.Claims()
	if readable(*m.Box, r.Hash(), &claims, secret) {
		return fail(CodeRefused, "the answer opens the receipt")
	}
	c.game().withheld(key, a, m.Place, m.Auditor, d)
	return nil
}

// readable says whether a box has what an auditor needs.
func readable(b receipt.Box, id canon.Hash, claims *receipt.Claims, secret receipt.AuditorSecret) bool {
	o, err := receipt.Unseal(b, id, secret)
	return err == nil && Shows(o, claims, AuditParts(claims)) == nil
}

// Shows checks that an opening shows parts of a receipt. The salt of the trace is
// shown by being there: only the trace itself can tell whether it is the right one.
func Shows(o *receipt.Opening, claims *receipt.Claims, want receipt.Part) error {
	if o == nil || o.Parts()&want != want {
		return errors.New("ledger: it is not shown what was asked and answered")
	}
	for _, check := range o.Select(want).Check(claims) {
		if !check.Passed() && (check.Verdict == receipt.Invalid || check.Name != receipt.CheckTrace) {
			return fmt.Errorf("ledger: what is shown is not of the receipt: %s", check)
		}
	}
	return nil
}
