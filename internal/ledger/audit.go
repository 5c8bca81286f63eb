package ledger

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/bits"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Phase is what an audit waits for.
type Phase uint8

// The phases.
const (
	PhaseDraw   Phase = 1 // the beacon that draws
	PhaseCommit Phase = 2 // commitments of the auditors
	PhaseReveal Phase = 3 // what they committed to
	PhaseSettle Phase = 4 // disputes and contests that follow from it
)

func (p Phase) String() string {
	names := [...]string{"", "draw", "commit", "reveal", "settle"}
	if int(p) < len(names) {
		return names[p]
	}
	return Amount(p).String()
}

// Audit is the audit of a batch, from the batch to its end.
type Audit struct {
	From     uint64     `cbor:"1,keyasint" json:"from"` // first entry of the log that is in the batch
	Root     canon.Hash `cbor:"2,keyasint" json:"root"` // of the log with the batch
	Operator Address    `cbor:"3,keyasint" json:"operator"`
	Batched  uint64     `cbor:"4,keyasint" json:"batched"` // height of the batch
	Pay      Amount     `cbor:"5,keyasint" json:"pay"`     // of an auditor
	Fee      Amount     `cbor:"6,keyasint" json:"fee"`     // that is left for them
	Count    uint64     `cbor:"7,keyasint" json:"count"`   // receipts drawn
	Want     uint64     `cbor:"8,keyasint" json:"want"`    // auditors drawn next
	Phase    Phase      `cbor:"9,keyasint" json:"phase"`
	Until    uint64     `cbor:"10,keyasint" json:"until"` // height at which the phase ends
	Round    uint64     `cbor:"11,keyasint" json:"round"` // draws of auditors so far
	Random   canon.Hash `cbor:"12,keyasint" json:"random"`
	// Parts are the auditors, in the order in which they were drawn.
	Parts []Part `cbor:"13,keyasint" json:"parts"`
	// Claims are the false receipts that auditors named, and are to prove.
	Claims   []Claim   `cbor:"14,keyasint" json:"claims"`
	Contests []Contest `cbor:"15,keyasint" json:"contests"`
	// Open is the last height at which claims and contests are taken.
	Open uint64 `cbor:"16,keyasint" json:"open"`
	// Roll are those who may be drawn, each a key and a bond of 8 bytes, as it
	// was two blocks before the draw or earlier: who makes the block of the draw
	// knows what will be drawn of it.
	Roll []byte `cbor:"17,keyasint,omitempty" json:"roll,omitempty"`
}

func (a *Audit) held() Amount {
	n := a.Fee
	for _, c := range a.Contests {
		n += c.Deposit
	}
	return n
}

// Part is one auditor's.
type Part struct {
	_        struct{}  `cbor:",toarray"`
	Key      []byte    `json:"key"`
	Operator Address   `json:"operator"`
	Round    uint64    `json:"round"`
	Commit   []byte    `json:"commit,omitempty"` // 32 bytes, or none yet
	Findings []Finding `json:"findings,omitempty"`
	Failed   bool      `json:"failed,omitempty"` // it lost its bond's part already
}

// Verdict is what an auditor says of a receipt.
type Verdict uint8

// The verdicts.
const (
	Right Verdict = 1 // computed again, with the same result
	False Verdict = 2 // not what the model gives
	Large Verdict = 3 // more tokens than are audited for the price
)

// Finding is what an auditor found of one receipt: Digest is the digest of the
// work for [Right] and the receipt's identity otherwise.
type Finding struct {
	_       struct{}   `cbor:",toarray"`
	Verdict Verdict    `json:"verdict"`
	Digest  canon.Hash `json:"digest"`
}

// Claim is a false receipt that an auditor is to prove in a dispute.
type Claim struct {
	_       struct{}   `cbor:",toarray"`
	Part    uint64     `json:"part"`
	Place   uint64     `json:"place"` // among those drawn
	Receipt canon.Hash `json:"receipt"`
}

func auditKey(node []byte, size uint64) []byte { return tableAudit.key(node, u64(size)) }

func sizeOf(key []byte) uint64 { return binary.BigEndian.Uint64(key[33:]) }

func nodeOf(key []byte) []byte { return key[1:33] }

// AuditID is the identity of the audit with this key in the state, once it was
// drawn: what its auditors bind their work and their commitments to.
func AuditID(key []byte, a *Audit) canon.Hash {
	return canon.Sum("aval audit/1", key[1:], a.Root[:], a.Random[:])
}

// random gives numbers that follow from a hash.
type random struct {
	seed canon.Hash
	n    uint64
}

// below draws a number below n; its bias is less than n/2^128.
func (r *random) below(n uint64) uint64 {
	h := canon.Sum("aval audit number/1", r.seed[:], u64(r.n))
	r.n++
	hi, lo := binary.BigEndian.Uint64(h[:]), binary.BigEndian.Uint64(h[8:])
	return bits.Rem64(hi, lo, n)
}

// Indices are the entries of the log that are audited, ascending.
func (a *Audit) Indices(size uint64) []uint64 {
	r := random{seed: a.Random}
	n := size - a.From
	var out []uint64
	for j := n - a.Count; j < n; j++ { // Floyd's algorithm
		x := r.below(j+1) + a.From
		if slices.Contains(out, x) {
			x = j + a.From
		}
		out = append(out, x)
	}
	slices.Sort(out)
	return out
}

// game is what audits are moved on with, by transactions and deadlines.
type game struct {
	tree   *tree.Tree
	height uint64
	params *Params
	event  func(kind string, pairs ...string)
}

func (c *call) game() *game { return &game{c.tree, c.block.Height, c.params, c.event} }

func (m *Machine) game() *game {
	return &game{&m.work, m.block.Height, &meta(&m.work).Params, m.event}
}

// rollEntry is the length of one entry of a roll.
const rollEntry = 32 + 8

// roll lists the auditors with their bonds.
func (g *game) roll() (list []byte) {
	for k := range g.tree.Ascend(tableAuditor.key()) {
		if n, ok := load[Node](g.tree, tableNode.key(k[1:])); ok && n.Bond > 0 && n.Bond >= g.params.NodeBond {
			list = append(append(list, k[1:]...), u64(uint64(n.Bond))...)
		}
	}
	return list
}

// toDraw lets an audit wait for a draw of auditors. The beacon of a block is of
// the height before, and may decide about what is in blocks below that only: so
// the draw is two blocks off at least, and who may be drawn is settled now.
func (g *game) toDraw(key []byte, a *Audit) {
	a.Roll = g.roll()
	g.phase(key, a, PhaseDraw, g.height+max(g.params.Audit.Delay, minDelay))
}

// minDelay is the least number of blocks from what is drawn about to the draw.
const minDelay = 2

// phase lets an audit wait for something until a height, and saves it.
func (g *game) phase(key []byte, a *Audit, p Phase, until uint64) {
	notAt(g.tree, byHeight, a.Until, dueAudit, key)
	a.Phase, a.Until = p, max(until, g.height+1)
	at(g.tree, byHeight, a.Until, dueAudit, key)
	save(g.tree, key, a)
}

// auditDue: the phase of an audit is over.
func (m *Machine) auditDue(key []byte) {
	a, ok := load[Audit](&m.work, key)
	if !ok {
		panic("ledger: internal error: no audit to move on")
	}
	g := m.game()
	switch a.Phase {
	case PhaseDraw:
		g.draw(key, a, m.block.Beacon)
	case PhaseCommit:
		if slices.ContainsFunc(a.Parts, func(p Part) bool { return p.Round == a.Round && p.Commit != nil }) {
			g.phase(key, a, PhaseReveal, g.height+g.params.Audit.Reveal)
		} else {
			g.revealed(key, a)
		}
	case PhaseReveal:
		g.revealed(key, a)
	default:
		g.settle(key, a)
	}
}

// Blocks for which an audit waits for a beacon, if nobody makes a key for one,
// and if a group does.
const (
	beaconWait       = 16
	beaconMakingWait = 1_000
)

// draw draws the receipts, once, and auditors.
func (g *game) draw(key []byte, a *Audit, beacon canon.Hash) {
	if beacon.IsZero() {
		wait := uint64(beaconWait)
		if loadBeacon(g.tree).Making != nil {
			wait = beaconMakingWait
		}
		if g.height < a.Until+wait { // Until stays the height from which it waits
			at(g.tree, byHeight, g.height+1, dueAudit, key)
			return
		}
		g.unaudited(key, a, "the network has no beacon")
		return
	}
	seed := canon.Sum("aval audit draw/1", beacon[:], key, u64(a.Round))
	if a.Round == 0 {
		a.Random = seed
	}
	a.Round++
	drawn := g.auditors(a, seed)
	a.Roll = nil
	if len(drawn) == 0 {
		g.unaudited(key, a, "nobody can audit it")
		return
	}
	for _, p := range drawn {
		n, _ := load[Node](g.tree, tableNode.key(p.Key))
		n.Held++
		save(g.tree, tableNode.key(p.Key), n)
		a.Parts = append(a.Parts, p)
		g.event("audit drawn", "node", hex.EncodeToString(nodeOf(key)), "size", Amount(sizeOf(key)).String(), "auditor", hex.EncodeToString(p.Key))
	}
	p := &g.params.Audit
	g.phase(key, a, PhaseCommit, g.height+p.Commit+p.Each*a.Count)
}

// unaudited goes on without (more) auditors.
func (g *game) unaudited(key []byte, a *Audit, why string) {
	g.event("audit skipped", "node", hex.EncodeToString(nodeOf(key)), "size", Amount(sizeOf(key)).String(), "why", why)
	a.Want, a.Roll = 0, nil
	g.revealed(key, a)
}

// auditors draws those of an audit, by their bonds. No two are of one operator,
// and none is of the node's or took part before.
func (g *game) auditors(a *Audit, seed canon.Hash) []Part {
	type candidate struct {
		key      []byte
		operator Address
		bond     uint64
	}
	var all []candidate
	total := uint64(0)
	taken := map[Address]bool{a.Operator: true}
	for _, p := range a.Parts {
		taken[p.Operator] = true
	}
	for roll := a.Roll; len(roll) >= rollEntry; roll = roll[rollEntry:] {
		key, bond := roll[:32], binary.BigEndian.Uint64(roll[32:])
		n, ok := load[Node](g.tree, tableNode.key(key))
		if ok && !taken[n.Operator] { // a node keeps its operator
			all = append(all, candidate{key, n.Operator, bond})
			total += bond
		}
	}
	var out []Part
	r := random{seed: seed}
	for uint64(len(out)) < a.Want && len(a.Parts)+len(out) < maxPart && len(all) > 0 {
		x := r.below(total)
		i := 0
		for x >= all[i].bond {
			x -= all[i].bond
			i++
		}
		one := all[i]
		if !g.audits(one.key) { // it stopped meanwhile: another one instead of it
			total -= one.bond
			all = slices.Delete(all, i, i+1)
			continue
		}
		out = append(out, Part{Key: bytes.Clone(one.key), Operator: one.operator, Round: a.Round})
		all = slices.DeleteFunc(all, func(c candidate) bool {
			if c.operator != one.operator {
				return false
			}
			total -= c.bond
			return true
		})
	}
	return out
}

// audits says whether a node audits others still.
func (g *game) audits(node []byte) bool {
	_, is := g.tree.Get(tableAuditor.key(node))
	n, ok := load[Node](g.tree, tableNode.key(node))
	return is && ok && n.Bond > 0 && n.Bond >= g.params.NodeBond
}

// ballot is what auditors who did not call a receipt false said of it.
type ballot map[Finding]int

// winner is the finding that most gave, if more gave it than any other, or all
// of whoever spoke. The order of the map does not matter to it.
func (b ballot) winner() (f Finding, agreed bool) {
	most, second := 0, 0
	for x, n := range b {
		switch {
		case n > most:
			f, most, second = x, n, most
		case n > second:
			second = n
		}
	}
	return f, most > second && (most >= 2 || len(b) == 1)
}

func (a *Audit) ballot(place uint64) ballot {
	b := ballot{}
	for _, p := range a.Parts {
		if p.Findings != nil && !p.Failed && p.Findings[place].Verdict != False {
			b[p.Findings[place]]++
		}
	}
	return b
}

// revealed: whoever was to say something has, or will not.
func (g *game) revealed(key []byte, a *Audit) {
	spoke := 0
	for _, p := range a.Parts {
		if p.Findings != nil {
			spoke++
		}
	}
	again := uint64(0)
	if spoke == 0 {
		again = a.Want
	} else {
		for i := range a.Count {
			if b := a.ballot(i); len(b) > 0 {
				if _, agreed := b.winner(); !agreed {
					again = 1
				}
			}
		}
	}
	if again > 0 && a.Want > 0 && a.Round < maxAuditRound && len(a.Parts) < maxPart {
		a.Want, a.Open = again, g.height
		g.toDraw(key, a)
		return
	}
	if spoke == 0 {
		g.finish(key, a)
		return
	}
	a.Open = g.height + g.params.Audit.Settle
	g.phase(key, a, PhaseSettle, a.Open)
}

// settle ends an audit, or waits for the disputes that follow from it.
func (g *game) settle(key []byte, a *Audit) {
	for _, c := range a.Claims {
		if !a.planted(c.Place) && disputed(g.tree, c.Receipt, nodeOf(key)) {
			g.phase(key, a, PhaseSettle, g.height+1)
			return
		}
	}
	for _, c := range a.Contests {
		for _, s := range c.Stands {
			if disputed(g.tree, c.Receipt, a.Parts[s.Part].Key) {
				g.phase(key, a, PhaseSettle, g.height+1)
				return
			}
		}
	}
	for i := range a.Parts {
		p := &a.Parts[i]
		for place, f := range p.Findings {
			if p.Failed || f.Verdict != False || a.planted(uint64(place)) {
				continue
			}
			named := slices.ContainsFunc(a.Claims, func(c Claim) bool { return c.Part == uint64(i) && c.Place == uint64(place) })
			if !named || !convicted(g.tree, f.Digest, nodeOf(key)) { // it accused, and did not prove it
				p.Failed = true
				g.slash(p.Key, g.params.Audit.Miss, nil)
			}
		}
	}
	for _, plants := range []bool{true, false} { // what is slashed goes to a planter first
		for i := range a.Contests {
			if c := &a.Contests[i]; c.Plant == plants {
				g.endContest(a, c)
			}
		}
	}
	g.finish(key, a)
}

// planted says whether the receipt at a place turned out to be a planted one.
func (a *Audit) planted(place uint64) bool {
	return slices.ContainsFunc(a.Contests, func(c Contest) bool { return c.Plant && c.Place == place })
}

// slash takes a part of the bond of a node, half of it for somebody; the rest
// burns.
func (g *game) slash(key []byte, points uint64, to *Address) {
	b, err := bonded(g.tree, RoleNode, key)
	if err != nil {
		panic("ledger: internal error: an auditor without a bond")
	}
	n := b.take(g.tree, share(b.all(g.tree), points))
	half := Amount(0)
	if to != nil {
		half = n / 2
		credit(g.tree, *to, half)
	}
	burn(g.tree, n-half)
	g.event("slash", "node", hex.EncodeToString(key), "amount", n.String(), "burned", (n - half).String())
}

// finish pays the auditors that did their duty, and gives back what is left.
func (g *game) finish(key []byte, a *Audit) {
	passed, settled := false, true
	agreed := make([]Finding, a.Count)
	open := make([]bool, a.Count) // without agreement
	for i := range agreed {
		b := a.ballot(uint64(i))
		f, ok := b.winner()
		agreed[i], open[i] = f, len(b) > 0 && !ok
	}
	for i := range a.Parts {
		p := &a.Parts[i]
		n, _ := load[Node](g.tree, tableNode.key(p.Key))
		n.Held--
		save(g.tree, tableNode.key(p.Key), n)
		good, unclear := p.Findings != nil && !p.Failed, false
		for place, f := range p.Findings {
			if f.Verdict == False {
				continue
			}
			unclear = unclear || open[place]
			if !open[place] && f != agreed[place] {
				good = false
			}
		}
		switch {
		case good && unclear: // nobody knows who was right
			settled = false
			continue
		case good:
			passed = true
			pay := min(a.Pay, a.Fee)
			a.Fee -= pay
			credit(g.tree, p.Operator, pay)
			n.Record.Audits++
			save(g.tree, tableNode.key(p.Key), n)
		default:
			n.Record.Missed++
			save(g.tree, tableNode.key(p.Key), n)
			if !p.Failed {
				g.slash(p.Key, g.params.Audit.Miss, nil)
			}
		}
		g.event("audit made", "node", hex.EncodeToString(nodeOf(key)), "size", Amount(sizeOf(key)).String(), "auditor", hex.EncodeToString(p.Key), "good", yesNo(good))
	}
	guilty := slices.ContainsFunc(a.Claims, func(c Claim) bool {
		return !a.planted(c.Place) && convicted(g.tree, c.Receipt, nodeOf(key))
	})
	g.close(key, a, func(r *Record) {
		switch {
		case guilty: // the dispute has counted it
		case passed && settled:
			r.Passed++
		default:
			r.Skipped++
		}
	})
}

// close takes an audit off the ledger.
func (g *game) close(key []byte, a *Audit, count func(r *Record)) {
	n, _ := load[Node](g.tree, tableNode.key(nodeOf(key)))
	n.Held--
	count(&n.Record)
	save(g.tree, tableNode.key(nodeOf(key)), n)
	credit(g.tree, a.Operator, a.Fee)
	notAt(g.tree, byHeight, a.Until, dueAudit, key)
	g.tree.Delete(key)
	var demands [][]byte
	for k, d := range each[Demanded](g.tree, tableDemand, key[1:]) {
		demands = append(demands, k)
		if !d.Met {
			notAt(g.tree, byHeight, d.Until, dueDemand, k)
			credit(g.tree, d.By, d.Fee)
		}
	}
	for _, k := range demands {
		g.tree.Delete(k)
	}
	g.event("audit over", "node", hex.EncodeToString(nodeOf(key)), "size", Amount(sizeOf(key)).String(), "passed", Amount(n.Record.Passed).String(), "failed", Amount(n.Record.Failed).String(), "skipped", Amount(n.Record.Skipped).String())
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
