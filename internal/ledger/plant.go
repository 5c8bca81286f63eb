package ledger

import (
	"encoding/hex"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/receipt"
)

// Plant is a false receipt that a node has put, or will put, into its own log
// to find out whether auditors work. Before it is shown, its key is a
// commitment that tells nobody whose it is; afterwards the receipt's identity.
type Plant struct {
	By      Address `cbor:"1,keyasint" json:"by"`
	Deposit Amount  `cbor:"2,keyasint" json:"deposit"`
	Height  uint64  `cbor:"3,keyasint" json:"height"`
	Shown   bool    `cbor:"4,keyasint,omitempty" json:"shown,omitempty"`
}

func (p *Plant) held() Amount { return p.Deposit }

// PlantCommitment is the commitment to a planted receipt. The salt is one of 32
// random bytes.
func PlantCommitment(receiptID canon.Hash, salt []byte) canon.Hash {
	return canon.Sum("aval plant/1", receiptID[:], salt)
}

// PlantNonce is the nonce that the seed of a planted receipt has: an asker, who
// chooses its own, cannot get a planted receipt for an answer.
func PlantNonce(salt, node []byte) canon.Hash { return canon.Sum("aval plant nonce/1", salt, node) }

// Planted says whether a receipt was shown to be a planted one: no answer of
// anybody, and not to be disputed.
func Planted(t *tree.Tree, receiptID canon.Hash) bool {
	p, ok := load[Plant](t, tablePlant.key(receiptID[:]))
	return ok && p.Shown
}

// MakePlant promises, before the batch that has it, that a receipt is planted.
// Any account may send it: a commitment need not say whose it is.
type MakePlant struct {
	Commitment canon.Hash `cbor:"1,keyasint" json:"commitment"`
}

func (m *MakePlant) apply(c *call) error {
	key := tablePlant.key(m.Commitment[:])
	if _, ok := c.tree.Get(key); ok {
		return fail(CodeRefused, "there is such a commitment")
	}
	n := c.params.Audit.PlantDeposit
	if err := c.debit(n); err != nil {
		return err
	}
	save(c.tree, key, &Plant{By: c.from, Deposit: n, Height: c.block.Height})
	c.event("plant", "commitment", m.Commitment.String())
	return nil
}

// showPlant turns a commitment of the sender into a shown plant, and gives its
// deposit. With a height, the commitment is from before it.
func (c *call) showPlant(r *receipt.Receipt, salt []byte, before uint64) (Amount, error) {
	id, claims := r.Hash(), r.Claims()
	key := tablePlant.key(commitmentKey(id, salt))
	p, ok := load[Plant](c.tree, key)
	nonce := PlantNonce(salt, claims.Key)
	switch {
	case len(salt) != canon.Size:
		return 0, fail(CodeRefused, "a plant's salt of %d bytes, want %d", len(salt), canon.Size)
	case !ok || p.Shown || p.By != c.from:
		return 0, fail(CodeNotFound, "the account committed to no such plant")
	case before > 0 && p.Height >= before:
		return 0, fail(CodeRefused, "the plant is of height %d, its batch of %d", p.Height, before)
	case claims.Seed.Kind != receipt.SeedNonce || !slices.Equal(claims.Seed.Nonce, nonce[:]):
		return 0, fail(CodeRefused, "the receipt's nonce is not that of a plant: somebody may have asked for it")
	}
	n := p.Deposit
	c.tree.Delete(key)
	p.Deposit, p.Shown = 0, true
	save(c.tree, tablePlant.key(id[:]), p)
	// Who disputes it was led astray, and loses nothing.
	for _, d := range docketAt(c.tree, ofReceipt.key(id[:], claims.Key)).Open {
		x, _ := load[Dispute](c.tree, tableDispute.key(d[:]))
		c.trial(d, x).void(0)
	}
	return n, nil
}

func commitmentKey(id canon.Hash, salt []byte) []byte {
	h := PlantCommitment(id, salt)
	return h[:]
}

// Lift shows a plant that no audit drew, and gives its deposit back. It waits
// until no audit of the node is open. If somebody won a dispute about the
// receipt meanwhile, the deposit burns.
type Lift struct {
	Receipt []byte `cbor:"1,keyasint" json:"receipt"`
	Salt    []byte `cbor:"2,keyasint" json:"salt"`
}

func (m *Lift) apply(c *call) error {
	r, err := c.signed(m.Receipt)
	if err != nil {
		return err
	}
	node := r.Claims().Key
	for k := range each[Audit](c.tree, tableAudit, node) {
		return fail(CodeRefused, "the audit of %d receipts of the node is not over", sizeOf(k))
	}
	n, err := c.showPlant(r, m.Salt, 0)
	if err != nil {
		return err
	}
	if convicted(c.tree, r.Hash(), node) {
		burn(c.tree, n)
	} else {
		credit(c.tree, c.from, n)
	}
	c.event("lift", "node", hex.EncodeToString(node), "receipt", r.Hash().String())
	return nil
}

// Contest is a receipt that auditors called right, and somebody says is false.
type Contest struct {
	_       struct{}   `cbor:",toarray"`
	Place   uint64     `json:"place"`
	By      Address    `json:"by"`
	Deposit Amount     `json:"deposit"`
	Plant   bool       `json:"plant"`
	Receipt canon.Hash `json:"receipt"`
	Stands  []Stand    `json:"stands"`
}

// Stand is an auditor that showed its work.
type Stand struct {
	_         struct{}   `cbor:",toarray"`
	Part      uint64     `json:"part"`
	Root      canon.Hash `json:"root"`
	Layers    uint64     `json:"layers"`
	Positions uint64     `json:"positions"`
}

// Challenge contests a receipt of an audit: the auditors that called it right
// have to open their work, and to stand by it in a dispute. With a salt it is a
// plant of the sender.
type Challenge struct {
	Audit   AuditRef     `cbor:"1,keyasint" json:"audit"`
	Place   uint64       `cbor:"2,keyasint" json:"place"`
	Receipt []byte       `cbor:"3,keyasint" json:"receipt"`
	Proof   []canon.Hash `cbor:"4,keyasint" json:"proof"` // of inclusion
	Salt    []byte       `cbor:"5,keyasint,omitempty" json:"salt,omitempty"`
}

func (m *Challenge) apply(c *call) error {
	key, a, err := c.audit(m.Audit, PhaseSettle)
	if err != nil {
		return err
	}
	r, err := c.receiptOf(m.Audit.Node, m.Receipt)
	if err != nil {
		return err
	}
	id, plant := r.Hash(), len(m.Salt) > 0
	if err := c.inLog(a, m.Audit, m.Place, id, m.Proof); err != nil {
		return err
	}
	right := slices.ContainsFunc(a.Parts, func(p Part) bool {
		return p.Findings != nil && p.Findings[m.Place].Verdict != False
	})
	switch {
	case c.block.Height > a.Open:
		return fail(CodeRefused, "contests were taken until height %d", a.Open)
	case slices.ContainsFunc(a.Contests, func(x Contest) bool { return x.Place == m.Place && x.Plant == plant }):
		return fail(CodeRefused, "the receipt is contested already")
	case !plant && !right:
		return fail(CodeRefused, "no auditor called the receipt right")
	}
	x := Contest{Place: m.Place, By: c.from, Plant: plant, Receipt: id}
	if plant {
		if x.Deposit, err = c.showPlant(r, m.Salt, a.Batched); err != nil {
			return err
		}
	} else {
		x.Deposit = c.params.Audit.PlantDeposit
		if err := c.debit(x.Deposit); err != nil {
			return err
		}
	}
	g := c.game()
	if tokens(r.Claims()) <= c.params.Audit.Tokens {
		for i := range a.Parts {
			if p := &a.Parts[i]; p.Findings != nil && !p.Failed && p.Findings[m.Place].Verdict == Large {
				p.Failed = true
				g.slash(p.Key, c.params.Audit.Lazy, &c.from)
			}
		}
	}
	a.Contests = append(a.Contests, x)
	g.phase(key, a, PhaseSettle, max(a.Until, c.block.Height+c.params.Audit.Settle))
	c.event("contest", "node", hex.EncodeToString(m.Audit.Node), "size", Amount(m.Audit.Size).String(), "place", Amount(m.Place).String(), "receipt", id.String(), "plant", yesNo(plant))
	return nil
}

// MakeStand opens the work of an auditor on a contested receipt.
type MakeStand struct {
	Audit     AuditRef   `cbor:"1,keyasint" json:"audit"`
	Auditor   []byte     `cbor:"2,keyasint" json:"auditor"`
	Place     uint64     `cbor:"3,keyasint" json:"place"`
	Root      canon.Hash `cbor:"4,keyasint" json:"root"`
	Layers    uint64     `cbor:"5,keyasint" json:"layers"`
	Positions uint64     `cbor:"6,keyasint" json:"positions"`
}

func (m *MakeStand) apply(c *call) error {
	key, a, i, err := c.auditor(m.Audit, PhaseSettle, m.Auditor)
	if err != nil {
		return err
	}
	if err := c.spend(hashWork * 2 * a.Count); err != nil {
		return err
	}
	p, stood := &a.Parts[i], false
	for j := range a.Contests {
		x := &a.Contests[j]
		if x.Place != m.Place || p.Findings == nil || p.Failed || p.Findings[m.Place].Verdict != Right {
			continue
		}
		if slices.ContainsFunc(x.Stands, func(s Stand) bool { return s.Part == uint64(i) }) {
			continue
		}
		index := a.Indices(m.Audit.Size)[m.Place]
		if m.Layers > 1<<20 || m.Positions > 1<<22 || WorkDigest(AuditID(key, a), index, x.Receipt, m.Root, int(m.Layers), int(m.Positions)) != p.Findings[m.Place].Digest {
			return fail(CodeRefused, "this is not the work that the auditor stated")
		}
		x.Stands = append(x.Stands, Stand{Part: uint64(i), Root: m.Root, Layers: m.Layers, Positions: m.Positions})
		stood = true
	}
	if !stood {
		return fail(CodeNotFound, "nobody waits for this auditor to stand by place %d", m.Place)
	}
	c.game().phase(key, a, PhaseSettle, max(a.Until, c.block.Height+c.params.Audit.Settle))
	c.event("stand", "node", hex.EncodeToString(m.Audit.Node), "size", Amount(m.Audit.Size).String(), "place", Amount(m.Place).String(), "auditor", hex.EncodeToString(m.Auditor))
	return nil
}

// WorkRef names an auditor's work on a receipt.
type WorkRef struct {
	_       struct{} `cbor:",toarray"`
	Audit   AuditRef `json:"audit"`
	Auditor []byte   `json:"auditor"`
	Place   uint64   `json:"place"`
}

// standing is the digest of an auditor's work on a contested receipt, which it
// opened.
func (c *call) standing(m *WorkRef, raw []byte) (*canon.Hash, error) {
	_, a, err := c.audit(m.Audit, PhaseSettle)
	if err != nil {
		return nil, err
	}
	r, err := c.receiptOf(m.Audit.Node, raw)
	if err != nil {
		return nil, err
	}
	id := r.Hash()
	for _, x := range a.Contests {
		for _, s := range x.Stands {
			if p := &a.Parts[s.Part]; x.Place == m.Place && x.Receipt == id && slices.Equal(p.Key, m.Auditor) {
				return &p.Findings[x.Place].Digest, nil
			}
		}
	}
	return nil, fail(CodeNotFound, "the auditor %x does not stand by the receipt %s in this audit", m.Auditor, id)
}

// endContest settles a contest: an auditor that did not show its work, or was
// convicted of it, was lazy. The others, and who found a plant, share the
// deposit; without any it goes back.
func (g *game) endContest(a *Audit, x *Contest) {
	var winners []Address
	for i := range a.Parts {
		p := &a.Parts[i]
		if p.Findings == nil || p.Failed {
			continue
		}
		switch p.Findings[x.Place].Verdict {
		case False:
			if x.Plant {
				winners = append(winners, p.Operator)
			}
		case Right:
			stood := slices.ContainsFunc(x.Stands, func(s Stand) bool { return s.Part == uint64(i) })
			switch {
			case stood && convicted(g.tree, x.Receipt, p.Key):
				p.Failed = true // the dispute took its part of the bond
			case stood:
				winners = append(winners, p.Operator)
			default:
				p.Failed = true
				g.slash(p.Key, g.params.Audit.Lazy, &x.By)
			}
		}
	}
	rest := x.Deposit
	x.Deposit = 0
	if len(winners) == 0 {
		winners = []Address{x.By}
	}
	each := rest / Amount(len(winners))
	for _, w := range winners {
		credit(g.tree, w, each)
		rest -= each
	}
	burn(g.tree, rest)
}
