package ledger

import (
	"crypto/ed25519"
	"encoding/hex"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/payment"
)

// Session is an amount set aside for answers of a node. The payer promises more
// and more of it by vouchers, off the ledger; the node's operator settles with
// one of them. Whatever happens, the node gets no more than a voucher says, and
// the payer everything else.
type Session struct {
	Payer    Address    `cbor:"1,keyasint" json:"payer"`
	Node     []byte     `cbor:"2,keyasint" json:"node"`
	Operator Address    `cbor:"3,keyasint" json:"operator"` // of the node: who is paid
	Model    canon.Hash `cbor:"4,keyasint" json:"model"`
	Escrow   Amount     `cbor:"5,keyasint" json:"escrow"`
	PriceIn  Amount     `cbor:"6,keyasint" json:"price_in"`  // for a million tokens of prompt
	PriceOut Amount     `cbor:"7,keyasint" json:"price_out"` // for a million tokens of answer
	Key      []byte     `cbor:"8,keyasint" json:"key"`       // that signs vouchers
	// Expires is until when the node should answer, in milliseconds since 1970;
	// Until, the last time at which it may settle.
	Expires uint64 `cbor:"9,keyasint" json:"expires"`
	Until   uint64 `cbor:"10,keyasint" json:"until"`
	// Device is the key that opened the session, if it was not the account's,
	// and Grant that of its limit, which gets back what the account gets back.
	Device []byte `cbor:"11,keyasint,omitempty" json:"device,omitempty"`
	Grant  uint64 `cbor:"12,keyasint,omitempty" json:"grant,omitempty"`
}

func (s *Session) held() Amount { return s.Escrow }

// Terms is the session for those who pay and are paid off the ledger.
func (s *Session) Terms(chain string, id canon.Hash) payment.Terms {
	return payment.Terms{
		Chain: chain, Session: id, Node: s.Node, Model: s.Model, Escrow: uint64(s.Escrow),
		PriceIn: uint64(s.PriceIn), PriceOut: uint64(s.PriceOut), Key: s.Key, Expires: s.Expires,
	}
}

// SessionKey is the key of a session in the state.
func SessionKey(id canon.Hash) []byte { return tableSession.key(id[:]) }

// Open opens a session. Its identity is TxID of the transaction, so that the
// payer knows it before the ledger does. The prices are those of the node's
// offer; the ones here are the most that the payer agrees to.
type Open struct {
	Node     []byte     `cbor:"1,keyasint" json:"node"`
	Model    canon.Hash `cbor:"2,keyasint" json:"model"`
	Escrow   Amount     `cbor:"3,keyasint" json:"escrow"`
	Expires  uint64     `cbor:"4,keyasint" json:"expires"` // milliseconds since 1970
	Key      []byte     `cbor:"5,keyasint" json:"key"`     // that will sign vouchers; best one of its own
	PriceIn  Amount     `cbor:"6,keyasint" json:"price_in"`
	PriceOut Amount     `cbor:"7,keyasint" json:"price_out"`
}

func (m *Open) apply(c *call) error {
	if len(m.Node) != ed25519.PublicKeySize {
		return fail(CodeRefused, "a node's key of %d bytes", len(m.Node))
	}
	if err := checkKey(m.Key); err != nil {
		return fail(CodeRefused, "the key of the vouchers: %w", err)
	}
	n, ok := load[Node](c.tree, tableNode.key(m.Node))
	if !ok {
		return fail(CodeNotFound, "no node %x", m.Node)
	}
	offer, ok := load[Offer](c.tree, tableOffer.key(m.Node, m.Model[:]))
	if !ok {
		return fail(CodeNotFound, "the node does not offer the model %s", m.Model)
	}
	model, ok := load[Model](c.tree, tableModel.key(m.Model[:]))
	switch {
	case !ok || model.Revoked != nil:
		return fail(CodeRefused, "the model %s was revoked", m.Model)
	case n.Bond < c.params.NodeBond:
		return fail(CodeRefused, "the node has a bond of %d, want at least %d", n.Bond, c.params.NodeBond)
	case offer.PriceIn > m.PriceIn || offer.PriceOut > m.PriceOut:
		return fail(CodeRefused, "the node asks for %d and %d, more than %d and %d", offer.PriceIn, offer.PriceOut, m.PriceIn, m.PriceOut)
	case m.Escrow == 0:
		return fail(CodeRefused, "a session without an escrow")
	case m.Expires <= c.block.Time || m.Expires-c.block.Time > c.params.SessionSpan:
		return fail(CodeRefused, "it would expire at %d ms, this is %d: want at most %d ms from now", m.Expires, c.block.Time, c.params.SessionSpan)
	}
	if err := c.debit(m.Escrow); err != nil {
		return err
	}
	s := &Session{
		Payer: c.from, Node: m.Node, Operator: n.Operator, Model: m.Model, Escrow: m.Escrow,
		PriceIn: offer.PriceIn, PriceOut: offer.PriceOut, Key: m.Key,
		Expires: m.Expires, Until: m.Expires + c.params.SessionGrace,
	}
	if c.device != nil {
		d, _ := load[Device](c.tree, tableDevice.key(c.from[:], c.device))
		s.Device, s.Grant = c.device, d.Grant
	}
	save(c.tree, SessionKey(c.id), s)
	at(c.tree, byTime, s.Until+1, dueSession, c.id[:])
	c.event("open", "session", c.id.String(), "payer", s.Payer.String(), "node", hex.EncodeToString(s.Node), "escrow", s.Escrow.String())
	return nil
}

// Settle ends a session: the node's operator gets what a voucher says, the payer
// the rest. Without a signature the amount is 0, and all goes back.
type Settle struct {
	Session   canon.Hash `cbor:"1,keyasint" json:"session"`
	Amount    Amount     `cbor:"2,keyasint" json:"amount"`
	Answers   uint64     `cbor:"3,keyasint" json:"answers"`
	Signature []byte     `cbor:"4,keyasint,omitempty" json:"signature,omitempty"` // of the voucher
}

// SettleWith is what settles with a voucher; nil gives everything back.
func SettleWith(id canon.Hash, v *payment.Voucher) *Settle {
	if v == nil {
		return &Settle{Session: id}
	}
	return &Settle{Session: id, Amount: Amount(v.Amount), Answers: v.Answers, Signature: v.Signature}
}

func (m *Settle) apply(c *call) error {
	s, ok := load[Session](c.tree, SessionKey(m.Session))
	switch {
	case !ok:
		return fail(CodeNotFound, "there is no open session %s", m.Session)
	case s.Operator != c.from:
		return fail(CodeForbidden, "the session pays the account %s", s.Operator)
	case c.block.Time > s.Until:
		return fail(CodeRefused, "the session could be settled until %d ms, this is %d", s.Until, c.block.Time)
	}
	if len(m.Signature) > 0 || m.Amount > 0 || m.Answers > 0 {
		if err := c.spend(sigWork); err != nil {
			return err
		}
		v := payment.Voucher{Chain: c.chain, Session: m.Session, Amount: uint64(m.Amount), Answers: m.Answers, Signature: m.Signature}
		terms := s.Terms(c.chain, m.Session)
		if err := v.Verify(&terms); err != nil {
			return fail(CodeRefused, "%w", err)
		}
	}
	endSession(c.tree, m.Session, s, m.Amount)
	c.event("settle", "session", m.Session.String(), "paid", m.Amount.String(), "back", (s.Escrow - m.Amount).String())
	return nil
}

// Close ends a session at the payer's wish, if the node agrees to the amount
// that it gets: its key signs CloseMessage.
type Close struct {
	Session canon.Hash `cbor:"1,keyasint" json:"session"`
	Amount  Amount     `cbor:"2,keyasint" json:"amount"`
	Proof   []byte     `cbor:"3,keyasint" json:"proof"`
}

// CloseMessage is what a node signs to agree that a session ends with an
// amount.
func CloseMessage(chain string, id canon.Hash, n Amount) canon.Hash {
	return canon.Sum("aval session close/1", []byte(chain), id[:], u64(uint64(n)))
}

// AgreeClose is the node's proof for Close.
func AgreeClose(node ed25519.PrivateKey, chain string, id canon.Hash, n Amount) []byte {
	m := CloseMessage(chain, id, n)
	return ed25519.Sign(node, m[:])
}

func (m *Close) apply(c *call) error {
	s, ok := load[Session](c.tree, SessionKey(m.Session))
	switch {
	case !ok:
		return fail(CodeNotFound, "there is no open session %s", m.Session)
	case s.Payer != c.from:
		return fail(CodeForbidden, "the session is of the account %s", s.Payer)
	case c.device != nil && string(c.device) != string(s.Device):
		return fail(CodeForbidden, "a device closes only what it opened")
	case m.Amount > s.Escrow:
		return fail(CodeFunds, "the session holds %d, and this pays %d", s.Escrow, m.Amount)
	}
	if err := c.proved(s.Node, m.Proof, CloseMessage(c.chain, m.Session, m.Amount)); err != nil {
		return err
	}
	endSession(c.tree, m.Session, s, m.Amount)
	c.event("close", "session", m.Session.String(), "paid", m.Amount.String(), "back", (s.Escrow - m.Amount).String())
	return nil
}

// endSession pays what is due and gives the rest back.
func endSession(t *tree.Tree, id canon.Hash, s *Session, paid Amount) {
	t.Delete(SessionKey(id))
	notAt(t, byTime, s.Until+1, dueSession, id[:])
	credit(t, s.Operator, paid)
	back := s.Escrow - paid
	credit(t, s.Payer, back)
	if s.Device == nil {
		return
	}
	key := tableDevice.key(s.Payer[:], s.Device)
	if d, ok := load[Device](t, key); ok && d.Grant == s.Grant {
		d.Limit = plus(d.Limit, back)
		save(t, key, d)
	}
}

// expireSession gives the escrow back of what nobody settled in time.
func (m *Machine) expireSession(key []byte) {
	id := canon.Hash(key)
	s, ok := load[Session](&m.work, SessionKey(id))
	if !ok {
		panic("ledger: internal error: no session to expire")
	}
	endSession(&m.work, id, s, 0)
	m.event("expire", "session", id.String(), "back", s.Escrow.String())
}
