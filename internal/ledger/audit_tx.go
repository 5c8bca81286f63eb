package ledger

import (
	"bytes"
	"encoding/hex"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/receipt"
)

// Auditor is a node that may be drawn to audit others.
type Auditor struct {
	Since uint64 `cbor:"1,keyasint" json:"since"` // height
}

// SetAuditor lets a node audit others, or no longer. What it was drawn for
// before stays its duty.
type SetAuditor struct {
	Key []byte `cbor:"1,keyasint" json:"key"`
	On  bool   `cbor:"2,keyasint" json:"on"`
}

func (m *SetAuditor) apply(c *call) error {
	n, err := c.ownNode(m.Key)
	if err != nil {
		return err
	}
	key := tableAuditor.key(m.Key)
	_, is := c.tree.Get(key)
	if is == m.On {
		return fail(CodeRefused, "that is so already")
	}
	if !m.On {
		c.tree.Delete(key)
		c.event("auditor", "node", hex.EncodeToString(m.Key), "on", yesNo(false))
		return nil
	}
	if n.Bond < c.params.NodeBond {
		return fail(CodeFunds, "the node has a bond of %d, want at least %d", n.Bond, c.params.NodeBond)
	}
	if err := c.spend(nodeWork * MaxAuditors); err != nil {
		return err
	}
	if entries(c.tree, tableAuditor) >= MaxAuditors {
		return fail(CodeRefused, "there are %d auditors, which is the most", MaxAuditors)
	}
	save(c.tree, key, &Auditor{Since: c.block.Height})
	c.event("auditor", "node", hex.EncodeToString(m.Key), "on", yesNo(true))
	return nil
}

// AuditRef names an audit: by the node that is audited and the size of its log.
type AuditRef struct {
	_    struct{} `cbor:",toarray"`
	Node []byte   `json:"node"`
	Size uint64   `json:"size"`
}

// audit is an audit that is in a phase.
func (c *call) audit(r AuditRef, want Phase) ([]byte, *Audit, error) {
	key := auditKey(r.Node, r.Size)
	if len(r.Node) != canon.Size {
		return nil, nil, fail(CodeRefused, "a node's key of %d bytes", len(r.Node))
	}
	a, ok := load[Audit](c.tree, key)
	if !ok {
		return nil, nil, fail(CodeNotFound, "no audit of the node %x with %d receipts is going on", r.Node, r.Size)
	}
	if a.Phase != want {
		return nil, nil, fail(CodeRefused, "the audit is in the phase %q, not %q", a.Phase, want)
	}
	return key, a, nil
}

// part is the sender's part of an audit.
func (c *call) part(a *Audit, key []byte) (int, error) {
	i := slices.IndexFunc(a.Parts, func(p Part) bool { return slices.Equal(p.Key, key) })
	switch {
	case i < 0:
		return 0, fail(CodeNotFound, "the node %x was not drawn for this audit", key)
	case a.Parts[i].Operator != c.from:
		return 0, fail(CodeForbidden, "the auditor belongs to the account %s", a.Parts[i].Operator)
	}
	return i, nil
}

// auditor is an audit in a phase, and the place of the sender among its parts.
func (c *call) auditor(r AuditRef, want Phase, key []byte) ([]byte, *Audit, int, error) {
	at, a, err := c.audit(r, want)
	if err != nil {
		return nil, nil, 0, err
	}
	i, err := c.part(a, key)
	return at, a, i, err
}

// CommitmentOf is what an auditor commits to before anybody's findings are
// known. It holds the auditor's key, so that nobody can use another's.
func CommitmentOf(audit canon.Hash, auditor, salt []byte, findings []Finding) canon.Hash {
	raw, err := canon.Marshal(findings)
	if err != nil {
		panic("ledger: internal error: " + err.Error())
	}
	return canon.Sum("aval audit commit/1", audit[:], auditor, salt, raw)
}

// WorkSalt is the salt of the digest of an auditor's work: the same for all
// auditors of a receipt, and unknown before the receipt is drawn.
func WorkSalt(audit canon.Hash, index uint64, receiptID canon.Hash) receipt.Salt {
	h := canon.Sum("aval audit work/1", audit[:], u64(index), receiptID[:])
	return receipt.Salt(h[:])
}

// WorkDigest is the digest of an auditor's work on the receipt at an index of
// the log: the trace commitment (spec/trace.md, section 2) of the run as the
// auditor computed it again. So it is known to whoever computed only, and the
// auditor can be held to it like a prover to the trace of a receipt.
func WorkDigest(audit canon.Hash, index uint64, receiptID, root canon.Hash, layers, positions int) canon.Hash {
	return receipt.TraceCommitment(WorkSalt(audit, index, receiptID), root, layers, positions)
}

// Commit says that an auditor knows its findings.
type Commit struct {
	Audit      AuditRef   `cbor:"1,keyasint" json:"audit"`
	Auditor    []byte     `cbor:"2,keyasint" json:"auditor"`
	Commitment canon.Hash `cbor:"3,keyasint" json:"commitment"` // CommitmentOf
}

func (m *Commit) apply(c *call) error {
	key, a, i, err := c.auditor(m.Audit, PhaseCommit, m.Auditor)
	if err != nil {
		return err
	}
	p := &a.Parts[i]
	if p.Round != a.Round || p.Commit != nil {
		return fail(CodeRefused, "the auditor has committed itself, or did not in its time")
	}
	p.Commit = m.Commitment[:]
	c.withdraw(key, m.Auditor)
	missing := slices.ContainsFunc(a.Parts, func(p Part) bool { return p.Round == a.Round && p.Commit == nil })
	if missing {
		save(c.tree, key, a)
	} else {
		c.game().phase(key, a, PhaseReveal, c.block.Height+c.params.Audit.Reveal)
	}
	c.event("audit commit", "node", hex.EncodeToString(m.Audit.Node), "size", Amount(m.Audit.Size).String(), "auditor", hex.EncodeToString(m.Auditor))
	return nil
}

// Reveal opens a commitment.
type Reveal struct {
	Audit    AuditRef  `cbor:"1,keyasint" json:"audit"`
	Auditor  []byte    `cbor:"2,keyasint" json:"auditor"`
	Salt     []byte    `cbor:"3,keyasint" json:"salt"`     // 16 to 32 bytes
	Findings []Finding `cbor:"4,keyasint" json:"findings"` // in the order of Audit.Indices
}

func (m *Reveal) apply(c *call) error {
	key, a, i, err := c.auditor(m.Audit, PhaseReveal, m.Auditor)
	if err != nil {
		return err
	}
	p := &a.Parts[i]
	switch {
	case p.Commit == nil || p.Findings != nil:
		return fail(CodeRefused, "the auditor committed to nothing, or has revealed it")
	case uint64(len(m.Findings)) != a.Count:
		return fail(CodeRefused, "%d findings, want %d", len(m.Findings), a.Count)
	case len(m.Salt) < 16 || len(m.Salt) > 32:
		return fail(CodeRefused, "a salt of %d bytes, want 16 to 32", len(m.Salt))
	case CommitmentOf(AuditID(key, a), m.Auditor, m.Salt, m.Findings) != canon.Hash(p.Commit):
		return fail(CodeRefused, "the auditor committed to something else")
	}
	for i, f := range m.Findings {
		if f.Verdict < Right || f.Verdict > Large {
			return fail(CodeRefused, "finding %d has the verdict %d", i, f.Verdict)
		}
	}
	p.Findings = m.Findings
	save(c.tree, key, a)
	c.event("audit reveal", "node", hex.EncodeToString(m.Audit.Node), "size", Amount(m.Audit.Size).String(), "auditor", hex.EncodeToString(m.Auditor), "false", Amount(count(m.Findings, False)).String())
	if !slices.ContainsFunc(a.Parts, func(p Part) bool { return p.Commit != nil && p.Findings == nil && p.Round == a.Round }) {
		c.game().revealed(key, a)
	}
	return nil
}

// withdraw ends the demands of an auditor that knows enough: it got what it
// asked for some other way.
func (c *call) withdraw(key, auditor []byte) {
	var open [][]byte
	for k, d := range each[Demanded](c.tree, tableDemand, key[1:]) {
		if !d.Met && bytes.Equal(k[42:], auditor) {
			open = append(open, k)
		}
	}
	for _, k := range open {
		d, _ := load[Demanded](c.tree, k)
		notAt(c.tree, byHeight, d.Until, dueDemand, k)
		burn(c.tree, d.Fee)
		d.Met = true
		save(c.tree, k, d)
	}
}

func count(list []Finding, v Verdict) (n uint64) {
	for _, f := range list {
		if f.Verdict == v {
			n++
		}
	}
	return n
}

// Accuse names the receipt that an auditor called false, and shows that it is
// in the log. The auditor has to prove it in a dispute (part of the ledger's
// disputes) that is open before the audit is settled.
type Accuse struct {
	Audit   AuditRef     `cbor:"1,keyasint" json:"audit"`
	Auditor []byte       `cbor:"2,keyasint" json:"auditor"`
	Place   uint64       `cbor:"3,keyasint" json:"place"`
	Proof   []canon.Hash `cbor:"4,keyasint" json:"proof"` // of inclusion
}

func (m *Accuse) apply(c *call) error {
	key, a, i, err := c.auditor(m.Audit, PhaseSettle, m.Auditor)
	if err != nil {
		return err
	}
	p := &a.Parts[i]
	switch {
	case p.Findings == nil || m.Place >= a.Count || p.Findings[m.Place].Verdict != False:
		return fail(CodeRefused, "the auditor did not call the receipt at place %d false", m.Place)
	case c.block.Height > a.Open:
		return fail(CodeRefused, "accusations were taken until height %d", a.Open)
	case slices.ContainsFunc(a.Claims, func(x Claim) bool { return x.Part == uint64(i) && x.Place == m.Place }):
		return fail(CodeRefused, "that was said before")
	}
	id := p.Findings[m.Place].Digest
	if err := c.inLog(a, m.Audit, m.Place, id, m.Proof); err != nil {
		return err
	}
	a.Claims = append(a.Claims, Claim{Part: uint64(i), Place: m.Place, Receipt: id})
	save(c.tree, key, a)
	c.event("accuse", "node", hex.EncodeToString(m.Audit.Node), "auditor", hex.EncodeToString(m.Auditor), "receipt", id.String())
	return nil
}

// inLog checks that a receipt is the one that was drawn at a place.
func (c *call) inLog(a *Audit, r AuditRef, place uint64, id canon.Hash, proof []canon.Hash) error {
	if place >= a.Count {
		return fail(CodeRefused, "place %d of %d", place, a.Count)
	}
	if len(proof) > receiptlog.MaxProof {
		return fail(CodeRefused, "a proof of %d hashes, want at most %d", len(proof), receiptlog.MaxProof)
	}
	if err := c.spend(hashWork * (uint64(len(proof)) + 2*a.Count)); err != nil {
		return err
	}
	index := a.Indices(r.Size)[place]
	if err := receiptlog.VerifyInclusion(a.Root, r.Size, index, receiptlog.Leaf(id), proof); err != nil {
		return fail(CodeRefused, "the receipt %s is not entry %d of the log: %w", id, index, err)
	}
	return nil
}

// signed reads a receipt whose signature is good.
func (c *call) signed(raw []byte) (*receipt.Receipt, error) {
	if err := c.spend(2 * sigWork); err != nil {
		return nil, err
	}
	if len(raw) > receipt.MaxReceipt {
		return nil, fail(CodeRefused, "a receipt of %d bytes, want at most %d", len(raw), receipt.MaxReceipt)
	}
	r, err := receipt.Parse(raw)
	if err == nil {
		err = r.Verify()
	}
	if err != nil {
		return nil, fail(CodeRefused, "the receipt: %w", err)
	}
	return &r, nil
}

// receiptOf reads a receipt of a node.
func (c *call) receiptOf(node, raw []byte) (*receipt.Receipt, error) {
	r, err := c.signed(raw)
	if err != nil {
		return nil, err
	}
	if k := r.Claims().Key; !slices.Equal(k, node) {
		return nil, fail(CodeRefused, "the receipt is of %x, not of the node %x", []byte(k), node)
	}
	return r, nil
}

// tokens are all of a receipt.
func tokens(c receipt.Claims) uint64 { return uint64(c.PromptTokens) + uint64(c.OutputTokens) }
