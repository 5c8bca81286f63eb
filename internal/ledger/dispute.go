package ledger

import (
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/receipt"
)

// DisputeParams are the parameters of disputes.
type DisputeParams struct {
	Bond  Amount `cbor:"1,keyasint" json:"bond"`  // that a challenger puts in
	Move  uint64 `cbor:"2,keyasint" json:"move"`  // blocks for one message
	Total uint64 `cbor:"3,keyasint" json:"total"` // blocks for all messages of a party
	// Fanout is how many hashes an answer shows: with more there are fewer
	// rounds and larger messages. With 32 all of a game is smallest.
	Fanout uint64 `cbor:"4,keyasint" json:"fanout"`
	// Slash is the part of a node's bond that it loses with a dispute, and Award
	// the part of what the loser loses that the winner gets, when the fees of
	// the honest are paid; the rest burns. Both in ten thousandths.
	Slash uint64 `cbor:"5,keyasint" json:"slash"`
	Award uint64 `cbor:"6,keyasint" json:"award"`
	Keep  uint64 `cbor:"7,keyasint" json:"keep"` // milliseconds for which a dispute can be read after its end
	// How many disputes may be open about one node's receipts, and by one
	// account.
	PerNode    uint64 `cbor:"8,keyasint" json:"per_node"`
	PerAccount uint64 `cbor:"9,keyasint" json:"per_account"`
}

func defaultDisputes() DisputeParams {
	return DisputeParams{
		Bond: 10 * Unit, Move: 600, Total: 3600, Fanout: 32,
		Slash: 5_000, Award: 5_000, Keep: 30 * Day, PerNode: 64, PerAccount: 64,
	}
}

// maxDocket bounds what may be open of one node, account or receipt.
const maxDocket = 1024

func (p *DisputeParams) validate() error {
	switch {
	case p.Bond < 1 || p.Bond > MaxSupply:
		return fmt.Errorf("ledger: a challenger's bond of %d, want 1 to %d", p.Bond, MaxSupply)
	case p.Move < 1 || p.Move > maxBlocks || p.Total < 1 || p.Total > maxBlocks:
		return fmt.Errorf("ledger: %d blocks for a move and %d for all, want 1 to %d", p.Move, p.Total, maxBlocks)
	case p.Fanout < 2 || p.Fanout > 1024:
		return fmt.Errorf("ledger: answers of %d hashes, want 2 to 1024", p.Fanout)
	case p.Slash < 1 || p.Slash > whole || p.Award > whole:
		return fmt.Errorf("ledger: a slash of %d and an award of %d ten thousandths, want 1 to %d and 0 to %d", p.Slash, p.Award, whole, whole)
	case p.Keep < 1 || p.Keep > maxSpan:
		return fmt.Errorf("ledger: disputes that are kept for %d ms, want 1 to %d", p.Keep, uint64(maxSpan))
	case p.PerNode < 1 || p.PerNode > maxDocket || p.PerAccount < 1 || p.PerAccount > maxDocket:
		return fmt.Errorf("ledger: %d open disputes of a node and %d of an account, want 1 to %d", p.PerNode, p.PerAccount, maxDocket)
	}
	return nil
}

// maxBlocks bounds the deadlines of games.
const maxBlocks = 1 << 32

// Dispute is a game about a receipt (spec/dispute.md). The node that signed the
// receipt is the prover; even messages are the challenger's. Its messages are
// entries of their own: [Moves].
type Dispute struct {
	Receipt    []byte  `cbor:"1,keyasint" json:"receipt"`
	Prover     []byte  `cbor:"2,keyasint" json:"prover"`     // key of the node
	Challenger []byte  `cbor:"3,keyasint" json:"challenger"` // key that signs the challenger's messages
	Account    Address `cbor:"4,keyasint" json:"account"`    // that opened it
	Nonce      uint64  `cbor:"5,keyasint" json:"nonce"`
	Move       uint64  `cbor:"6,keyasint" json:"move"` // terms: blocks for a message, for all, hashes of an answer
	Total      uint64  `cbor:"7,keyasint" json:"total"`
	Fanout     uint64  `cbor:"8,keyasint" json:"fanout"`

	Bond   Amount `cbor:"9,keyasint" json:"bond"`    // of the challenger; 0 after the end
	Fee    Amount `cbor:"10,keyasint" json:"fee"`    // of the transaction that opened it
	Opened uint64 `cbor:"11,keyasint" json:"opened"` // height

	Moves uint64     `cbor:"12,keyasint" json:"moves"` // messages taken
	Head  canon.Hash `cbor:"13,keyasint" json:"head"`  // of all that happened in the game
	Work  uint64     `cbor:"14,keyasint" json:"work"`  // of the referee so far, as charged
	// Deadline is the last height at which the message that is due counts; 0
	// after the end.
	Deadline uint64    `cbor:"15,keyasint" json:"deadline"`
	Judgment *Judgment `cbor:"16,keyasint,omitempty" json:"judgment,omitempty"` // nil while it is open
	// Digest is that of an auditor's work, if the prover is one that called the
	// receipt right.
	Digest *canon.Hash `cbor:"17,keyasint,omitempty" json:"digest,omitempty"`
}

// Move is a message of a dispute.
type Move struct {
	Message []byte  `cbor:"1,keyasint" json:"message"`
	Height  uint64  `cbor:"2,keyasint" json:"height"`
	By      Address `cbor:"3,keyasint" json:"by"`  // who paid for it
	Fee     Amount  `cbor:"4,keyasint" json:"fee"` // what it cost
}

// Judgment is how a dispute ended.
type Judgment struct {
	Height uint64        `cbor:"1,keyasint" json:"height"`
	Winner dispute.Party `cbor:"2,keyasint" json:"winner"` // 0: nobody, the dispute was void
	// Reason is one of package dispute; 0 of a void dispute.
	Reason dispute.Reason `cbor:"3,keyasint" json:"reason"`
	Taken  Amount         `cbor:"4,keyasint" json:"taken"` // from the loser
	Award  Amount         `cbor:"5,keyasint" json:"award"` // of that to the winner, beside fees
	Burnt  Amount         `cbor:"6,keyasint" json:"burnt"` // of that
	Fault  *Fault         `cbor:"7,keyasint,omitempty" json:"fault,omitempty"`
}

// Fault is what a proof of fraud showed: a dispute.Finding.
type Fault struct {
	_         struct{}      `cbor:",toarray"`
	Fault     dispute.Fault `json:"fault"`
	Output    bool          `json:"output"`
	Layer     uint64        `json:"layer"`
	Position  uint64        `json:"position"`
	Operation uint64        `json:"operation"`
	Leaf      uint64        `json:"leaf"`
	Want      canon.Hash    `json:"want"`
	Got       canon.Hash    `json:"got"`
}

func (d *Dispute) held() Amount { return d.Bond }

// Mover is the party whose message is due, 0 after the end.
func (d *Dispute) Mover() dispute.Party {
	switch {
	case d.Judgment != nil:
		return 0
	case d.Moves%2 == 0:
		return dispute.ChallengerParty
	}
	return dispute.ProverParty
}

// Terms are the terms of the game, on a chain of this name.
func (d *Dispute) Terms(chain string) dispute.Terms {
	nonce := canon.Sum("aval dispute nonce/1", []byte(chain), d.Account[:], u64(d.Nonce))
	return dispute.Terms{Challenger: d.Challenger, Nonce: nonce[:], Move: d.Move, Total: d.Total, Fanout: int(d.Fanout)}
}

// Run is the referee's view of the receipt.
func (d *Dispute) Run() (dispute.Run, error) {
	r, err := receipt.Parse(d.Receipt)
	if err != nil {
		return nil, err
	}
	if d.Digest != nil {
		return dispute.NewWork(r, d.Prover, *d.Digest)
	}
	return dispute.NewRun(r)
}

// Docket lists the open disputes about a receipt or a node's receipts, or of an
// account. That of a receipt says which dispute it lost.
type Docket struct {
	Open []canon.Hash `cbor:"1,keyasint,omitempty" json:"open,omitempty"`
	Lost *canon.Hash  `cbor:"2,keyasint,omitempty" json:"lost,omitempty"`
}

// docket is a kind of docket, the second byte of its key.
type docket byte

const (
	ofReceipt docket = 'r' // identity of the receipt, key of the node
	ofNode    docket = 'n' // key
	ofAccount docket = 'a' // address
)

func (k docket) key(parts ...[]byte) []byte {
	return tableDocket.key(append([][]byte{{byte(k)}}, parts...)...)
}

// dockets are the keys of those that a dispute is in.
func (d *Dispute) dockets(receiptID canon.Hash) [3][]byte {
	return [3][]byte{ofReceipt.key(receiptID[:], d.Prover), ofNode.key(d.Prover), ofAccount.key(d.Account[:])}
}

func docketAt(t *tree.Tree, key []byte) *Docket {
	if e, ok := load[Docket](t, key); ok {
		return e
	}
	return &Docket{}
}

// disputed says whether a dispute about a receipt of a node is open.
func disputed(t *tree.Tree, receiptID canon.Hash, node []byte) bool {
	return len(docketAt(t, ofReceipt.key(receiptID[:], node)).Open) > 0
}

// convicted says whether a node lost a dispute about a receipt of its own.
func convicted(t *tree.Tree, receiptID canon.Hash, node []byte) bool {
	return docketAt(t, ofReceipt.key(receiptID[:], node)).Lost != nil
}

// OpenDispute begins a dispute about a receipt of a bonded node. The bond of the
// parameters is taken from the sender. [DisputeTerms] gives the terms, whose
// identity is the dispute's.
type OpenDispute struct {
	Receipt    []byte `cbor:"1,keyasint" json:"receipt"`
	Challenger []byte `cbor:"2,keyasint" json:"challenger"` // key that will sign the challenger's messages
	Nonce      uint64 `cbor:"3,keyasint" json:"nonce"`      // that the account used for no dispute about the receipt
	// Message is the first message of the game. If it is a proof of fraud, the
	// game ends at once.
	Message []byte `cbor:"4,keyasint,omitempty" json:"message,omitempty"`
	// Work names an auditor that called the receipt right and stands by it: the
	// dispute is with it instead of the node that signed the receipt.
	Work *WorkRef `cbor:"5,keyasint,omitempty" json:"work,omitempty"`
}

func (m *OpenDispute) apply(c *call) error {
	if len(m.Receipt) > receipt.MaxReceipt {
		return fail(CodeRefused, "a receipt of %d bytes, want at most %d", len(m.Receipt), receipt.MaxReceipt)
	}
	if err := c.spend(openWork(m.Receipt)); err != nil {
		return err
	}
	rules := &c.params.Dispute
	d := &Dispute{
		Receipt: m.Receipt, Challenger: m.Challenger, Account: c.from, Nonce: m.Nonce,
		Move: rules.Move, Total: rules.Total, Fanout: rules.Fanout,
		Bond: rules.Bond, Opened: c.block.Height,
	}
	if m.Work != nil {
		digest, err := c.standing(m.Work, m.Receipt)
		if err != nil {
			return err
		}
		d.Digest, d.Prover = digest, m.Work.Auditor
	}
	run, err := d.Run()
	if err != nil {
		return fail(CodeRefused, "the receipt: %w", err)
	}
	d.Prover = run.Claim().Key
	referee, err := dispute.NewReferee(run, d.Terms(c.chain))
	if err != nil {
		return fail(CodeRefused, "%w", err)
	}
	id, what := referee.ID(), run.Claim().Receipt
	if _, ok := load[Dispute](c.tree, tableDispute.key(id[:])); ok {
		return fail(CodeRefused, "the account has this dispute already; take another nonce")
	}
	if convicted(c.tree, what, d.Prover) {
		return fail(CodeRefused, "the receipt has been proved wrong: it convicts once")
	}
	if m.Work == nil && Planted(c.tree, what) {
		return fail(CodeRefused, "the receipt is a planted one, which was shown: it is nobody's answer")
	}
	b, err := bonded(c.tree, RoleNode, d.Prover)
	if err != nil {
		return err
	}
	if b.all(c.tree) == 0 {
		return fail(CodeFunds, "the node %x has no bond left to lose", d.Prover)
	}
	if err := c.debit(d.Bond); err != nil {
		return err
	}
	b.node.Held++
	b.save(c.tree)
	var full error
	for i, key := range d.dockets(what) {
		e := docketAt(c.tree, key)
		e.Open = append(e.Open, id)
		save(c.tree, key, e)
		if limit := []uint64{maxDocket, rules.PerNode, rules.PerAccount}[i]; uint64(len(e.Open)) > limit {
			full = fail(CodeRefused, "there are %d open disputes about the %s already", limit, []string{"receipt", "node", "account"}[i])
		}
	}
	d.Head = id
	c.event("dispute", "id", id.String(), "receipt", what.String(), "node", hex.EncodeToString(d.Prover), "account", c.from.String())
	g := c.trial(id, d)
	d.Deadline = c.block.Height + referee.Left()
	at(c.tree, byHeight, d.Deadline, dueSilence, id[:])
	if len(m.Message) > 0 {
		if err := c.play(g, referee, m.Message); err != nil {
			return err
		}
	} else {
		d.Fee = c.fee()
		save(c.tree, tableDispute.key(id[:]), d)
	}
	// A proof that ends the game at once takes no place.
	if full != nil && d.Judgment == nil {
		return full
	}
	return nil
}

// MakeMove is a message of a dispute. The party that it is of has signed it, so
// anybody may carry it; who did gets the fee back if the party wins.
type MakeMove struct {
	Dispute canon.Hash `cbor:"1,keyasint" json:"dispute"`
	Message []byte     `cbor:"2,keyasint" json:"message"`
}

func (m *MakeMove) apply(c *call) error {
	d, ok := load[Dispute](c.tree, tableDispute.key(m.Dispute[:]))
	switch {
	case !ok:
		return fail(CodeNotFound, "there is no dispute %s", m.Dispute)
	case d.Judgment != nil:
		return fail(CodeRefused, "the dispute ended at height %d", d.Judgment.Height)
	}
	// What the referee did before is paid again: it may have to be done again.
	if err := c.spend(d.Work); err != nil {
		return err
	}
	r, err := c.m.referee(c.tree, c.chain, m.Dispute, d)
	if err != nil {
		return fail(CodeRefused, "%w", err)
	}
	return c.play(c.trial(m.Dispute, d), r, m.Message)
}

// play lets the referee, who is at the last message, take one, and ends the
// dispute if it ends the game. It saves the dispute.
func (c *call) play(g *trial, r *dispute.Referee, message []byte) error {
	d := g.dispute
	work := messageWork(message)
	if err := c.spend(work); err != nil {
		return err
	}
	r.Tick(c.block.Height - g.last())
	before, over := r.Outcome()
	if over {
		// Only if blocks went by without the end of the last one: see silence.
		panic("ledger: internal error: an open dispute whose game is over: " + before.String())
	}
	if err := r.Step(message); err != nil {
		code := CodeRefused
		if !errors.Is(err, dispute.ErrIgnored) {
			code = CodeMalformed
		}
		return fail(code, "%w", err)
	}
	notAt(c.tree, byHeight, d.Deadline, dueSilence, g.id[:])
	number := d.Moves
	m := &Move{Message: message, Height: c.block.Height, By: c.from, Fee: c.fee()}
	save(c.tree, moveKey(g.id, number), m)
	forget := d.Head
	d.Moves++
	d.Work += work
	d.Head = canon.Sum("aval dispute moves/1", d.Head[:], u64(m.Height), message)
	c.event("move", "dispute", g.id.String(), "number", Amount(number).String())
	if o, over := r.Outcome(); over {
		g.end(o)
		delete(c.m.games, forget)
		return nil
	}
	d.Deadline = c.block.Height + r.Left()
	at(c.tree, byHeight, d.Deadline, dueSilence, g.id[:])
	save(c.tree, tableDispute.key(g.id[:]), d)
	c.m.remember(forget, d.Head, r)
	return nil
}

// fee is that of the transaction, if it does no more work.
func (c *call) fee() Amount { return c.params.fee(c.size, c.work) }

func moveKey(id canon.Hash, number uint64) []byte { return tableMove.key(id[:], u64(number)) }

// Work of the referee, in units of about a microsecond. The largest leaf of a
// plan looks at 16 KiB (spec/trace.md, section 4), so beside a fixed part all of
// it is linear in the bytes of the message; BenchmarkWork has the dearest ones.
const (
	stepWork  = 4 * sigWork // a message has a signature, and up to two statements in it
	heavyWork = 3_000       // a description, and a leaf
	bytesWork = 8           // bytes in a unit, of hashes that are hashed
	idsWork   = 2           // bytes in a unit, of ids that are proved
)

// openWork is what reading a receipt and beginning a game can cost.
func openWork(receipt []byte) uint64 { return sigWork + stepWork + uint64(len(receipt))/bytesWork }

// messageWork is the most that taking a message can cost.
func messageWork(message []byte) uint64 {
	n := uint64(len(message))
	if dispute.Heavy(message) {
		return stepWork + heavyWork + n/idsWork
	}
	return stepWork + n/bytesWork
}
