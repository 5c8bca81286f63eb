package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/receiptlog"
)

// AuditParams are the numbers of audits.
type AuditParams struct {
	_ struct{} `cbor:",toarray"`
	// Rate is how many of the receipts of a batch are audited, at least, in
	// ten thousandths; 0: none.
	Rate     uint64 `json:"rate"`
	Auditors uint64 `json:"auditors"` // of a batch, if there are as many
	// Price is what the node pays each auditor for each receipt.
	Price Amount `json:"price"`
	// Cover is the bond that a node has for each of its receipts whose audit is
	// not over, so that lying all at once does not pay either.
	Cover Amount `json:"cover"`
	// Spans in blocks: from the batch to the draw; for commitments, and longer
	// by Each for every receipt; for revealing them; for what follows from that.
	Delay  uint64 `json:"delay"`
	Commit uint64 `json:"commit"`
	Each   uint64 `json:"each"`
	Reveal uint64 `json:"reveal"`
	Settle uint64 `json:"settle"`
	// Tokens is how many a receipt has at most that auditors compute again for
	// the price.
	Tokens       uint64 `json:"tokens"`
	DemandFee    Amount `json:"demand_fee"`    // burned when a demand was met
	PlantDeposit Amount `json:"plant_deposit"` // for whoever finds a planted receipt, or was contested in vain
	// Parts of a bond, in ten thousandths: of an auditor that does not do its
	// duty, of one that called false answers right, of a node that does not
	// show what it logged.
	Miss     uint64 `json:"miss"`
	Lazy     uint64 `json:"lazy"`
	Withheld uint64 `json:"withheld"`
	Show     uint64 `json:"show"` // milliseconds to show that a receipt is in the log
}

func defaultAudit() AuditParams {
	return AuditParams{
		Rate: 500, Auditors: 2, Price: Unit / 100, Cover: Unit / 20,
		Delay: 2, Commit: 120, Each: 20, Reveal: 30, Settle: 60, Tokens: 1 << 14,
		DemandFee: Unit / 10, PlantDeposit: Unit,
		Miss: 100, Lazy: 5_000, Withheld: 5_000, Show: Day,
	}
}

// Limits of batches and audits.
const (
	MaxBatch      = 1 << 20 // receipts
	MaxDrawn      = 64      // receipts that are audited of a batch
	MaxAudits     = 64      // of a node at a time
	MaxAuditors   = 1 << 10 // nodes that audit
	maxPart       = 7       // auditors of a batch, those of all rounds
	maxAuditSpan  = 1 << 20 // blocks
	maxAuditRound = 3       // draws of auditors
)

func (p *AuditParams) validate() error {
	switch {
	case p.Rate > whole || p.Miss > whole || p.Lazy > whole || p.Withheld > whole:
		return fmt.Errorf("ledger: audits: a part of more than %d ten thousandths", whole)
	case p.Auditors < 1 || p.Auditors > maxPart-maxAuditRound+1:
		return fmt.Errorf("ledger: audits: %d auditors, want 1 to %d", p.Auditors, maxPart-maxAuditRound+1)
	case p.Price > maxPrice || p.Cover > MaxSupply || p.DemandFee > MaxSupply || p.PlantDeposit < 1 || p.PlantDeposit > MaxSupply:
		return fmt.Errorf("ledger: audits: an amount of more than %d, or a price of more than %d, or no deposit for plants", MaxSupply, maxPrice)
	case p.Tokens < 1 || p.Tokens > 1<<21:
		return fmt.Errorf("ledger: audits: receipts of %d tokens", p.Tokens)
	}
	for _, s := range []uint64{p.Delay, p.Commit, p.Reveal, p.Settle} {
		if s < 1 || s > maxAuditSpan {
			return fmt.Errorf("ledger: audits: a span of %d blocks, want 1 to %d", s, maxAuditSpan)
		}
	}
	if p.Show < 1 || p.Show > maxSpan {
		return fmt.Errorf("ledger: audits: %d ms to show a receipt, want 1 to %d", p.Show, uint64(maxSpan))
	}
	if p.Delay < minDelay {
		return fmt.Errorf("ledger: audits: a delay of %d blocks to the draw, want at least %d: the randomness of a block is known while the one before is decided", p.Delay, minDelay)
	}
	if p.Each > maxAuditSpan {
		return fmt.Errorf("ledger: audits: a span of %d blocks a receipt, want at most %d", p.Each, maxAuditSpan)
	}
	return nil
}

// Drawn is how many receipts of a batch of n are audited.
func (p *AuditParams) Drawn(n uint64) uint64 {
	if p.Rate == 0 {
		return 0
	}
	return (n*p.Rate + whole - 1) / whole // n is at most MaxBatch
}

// Batch moves the log of a node on: it answers for all receipts in it. The
// sender pays for their audit.
type Batch struct {
	Key  []byte     `cbor:"1,keyasint" json:"key"`
	Size uint64     `cbor:"2,keyasint" json:"size"` // entries of the log now
	Root canon.Hash `cbor:"3,keyasint" json:"root"`
	// Proof shows that the log begins with the one before (RFC 9162).
	Proof []canon.Hash `cbor:"4,keyasint" json:"proof"`
	// Signature is that of the log's checkpoint (spec/receipt-log.md).
	Signature []byte `cbor:"5,keyasint" json:"signature"`
}

// SignBatch is the signature of a batch.
func SignBatch(key ed25519.PrivateKey, size uint64, root canon.Hash) []byte {
	c := receiptlog.Checkpoint{Key: key.Public().(ed25519.PublicKey), Size: size, Root: root}
	return ed25519.Sign(key, []byte(c.Text()))
}

// Work of a batch: of a hash of a proof, of drawing, and of each node that may
// be drawn.
const (
	hashWork = 2
	drawWork = 100
	nodeWork = 3
)

func (m *Batch) apply(c *call) error {
	n, err := c.ownNode(m.Key)
	if err != nil {
		return err
	}
	p := &c.params.Audit
	old, oldRoot := n.Log.Size, receiptlog.EmptyRoot()
	if old > 0 {
		oldRoot = canon.Hash(n.Log.Root)
	}
	count := m.Size - old
	drawn := p.Drawn(count)
	switch {
	case m.Size <= old:
		return fail(CodeRefused, "a log of %d entries, it has %d", m.Size, old)
	case count > MaxBatch || drawn > MaxDrawn:
		return fail(CodeRefused, "a batch of %d receipts, of which %d are to be audited, want at most %d and %d: send several", count, drawn, MaxBatch, MaxDrawn)
	case n.Bond < c.params.NodeBond:
		return fail(CodeFunds, "the node has a bond of %d, want at least %d", n.Bond, c.params.NodeBond)
	case len(m.Proof) > receiptlog.MaxProof:
		return fail(CodeRefused, "a proof of %d hashes, want at most %d", len(m.Proof), receiptlog.MaxProof)
	}
	if err := c.spend(sigWork + hashWork*2*uint64(len(m.Proof))); err != nil {
		return err
	}
	if !ed25519.Verify(m.Key, []byte(receiptlog.Checkpoint{Key: m.Key, Size: m.Size, Root: m.Root}.Text()), m.Signature) {
		return fail(CodeRefused, "the node did not sign a log of %d entries with the root %s", m.Size, m.Root)
	}
	if err := receiptlog.VerifyConsistency(old, oldRoot, m.Size, m.Root, m.Proof); err != nil {
		return fail(CodeRefused, "the log does not go on from %d entries: %w", old, err)
	}
	n.Log = Log{Size: m.Size, Root: m.Root[:]}
	if drawn == 0 {
		save(c.tree, tableNode.key(m.Key), n)
		c.event("batch", "node", hex.EncodeToString(m.Key), "size", Amount(m.Size).String(), "root", m.Root.String())
		return nil
	}
	pending, open := count, 0
	for k, a := range each[Audit](c.tree, tableAudit, m.Key) {
		pending += sizeOf(k) - a.From
		open++
	}
	if err := c.spend(drawWork + nodeWork*(uint64(open)+entries(c.tree, tableAuditor))); err != nil {
		return err
	}
	if open >= MaxAudits || times(p.Cover, pending) > n.Bond {
		return fail(CodeFunds, "%d receipts in %d audits are more than a bond of %d covers, %d each in at most %d audits: wait until some are over, or bond more", pending, open+1, n.Bond, p.Cover, MaxAudits)
	}
	a := &Audit{
		From: old, Root: m.Root, Operator: n.Operator, Batched: c.block.Height,
		Pay: times(p.Price, drawn), Count: drawn, Want: p.Auditors,
	}
	a.Fee = times(a.Pay, a.Want)
	if err := c.debit(a.Fee); err != nil {
		return err
	}
	n.Held++
	save(c.tree, tableNode.key(m.Key), n)
	g := c.game()
	g.toDraw(auditKey(m.Key, m.Size), a)
	c.event("batch", "node", hex.EncodeToString(m.Key), "size", Amount(m.Size).String(), "root", m.Root.String(), "drawn", Amount(drawn).String())
	return nil
}

// entries counts those of a table.
func entries(t *tree.Tree, of table) (n uint64) {
	for range t.Ascend(of.key()) {
		n++
	}
	return n
}
