package ledger

import (
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// trial is an open dispute in a block: what it takes to end it.
type trial struct {
	id      canon.Hash
	dispute *Dispute
	tree    *tree.Tree
	params  *Params
	block   *Block
	event   func(kind string, pairs ...string)
}

func (c *call) trial(id canon.Hash, d *Dispute) *trial {
	return &trial{id: id, dispute: d, tree: c.tree, params: c.params, block: c.block, event: c.event}
}

// dueTrial is the dispute that something is due about.
func (m *Machine) dueTrial(id []byte) *trial {
	d, ok := load[Dispute](&m.work, tableDispute.key(id))
	if !ok {
		panic("ledger: internal error: something is due about no dispute")
	}
	return &trial{id: canon.Hash(id), dispute: d, tree: &m.work, params: &meta(&m.work).Params, block: m.block, event: m.event}
}

// last is the height of the last message, or of the beginning.
func (g *trial) last() uint64 {
	d := g.dispute
	if d.Moves == 0 {
		return d.Opened
	}
	m, ok := load[Move](g.tree, moveKey(g.id, d.Moves-1))
	if !ok {
		panic("ledger: internal error: a dispute without its last message")
	}
	return m.Height
}

// maxGames bounds the memory of games.
const maxGames = 1 << 10

// referee is the referee of an open dispute after its last message, for the
// caller to change. If the machine does not remember it, the messages are
// played again: this is a memory of a pure function, and changes no result.
func (m *Machine) referee(t *tree.Tree, chain string, id canon.Hash, d *Dispute) (*dispute.Referee, error) {
	if r, ok := m.games[d.Head]; ok {
		return r.Clone(), nil
	}
	r, err := replay(t, chain, id, d)
	if err != nil {
		return nil, err
	}
	m.remember(canon.Hash{}, d.Head, r)
	return r.Clone(), nil
}

func (m *Machine) remember(old, now canon.Hash, r *dispute.Referee) {
	delete(m.games, old)
	if m.games == nil || len(m.games) >= maxGames {
		m.games = make(map[canon.Hash]*dispute.Referee)
	}
	m.games[now] = r
}

// replay plays the messages of a dispute.
func replay(t *tree.Tree, chain string, id canon.Hash, d *Dispute) (*dispute.Referee, error) {
	run, err := d.Run()
	if err != nil {
		return nil, err
	}
	r, err := dispute.NewReferee(run, d.Terms(chain))
	if err != nil {
		return nil, err
	}
	height := d.Opened
	for i := range d.Moves {
		m, ok := load[Move](t, moveKey(id, i))
		if !ok {
			return nil, fmt.Errorf("message %d of the dispute %s is not there any more", i, id)
		}
		r.Tick(m.Height - height)
		if err := r.Step(m.Message); err != nil {
			return nil, fmt.Errorf("message %d of the dispute %s: %w", i, id, err)
		}
		height = m.Height
	}
	return r, nil
}

// silence ends a dispute whose mover let its last block go by.
func (m *Machine) silence(id []byte) {
	g := m.dueTrial(id)
	if g.dispute.Judgment != nil {
		return // another one, whose time ended in the same block, has made it void
	}
	delete(m.games, g.dispute.Head)
	winner := dispute.ProverParty
	if g.dispute.Mover() == winner {
		winner = dispute.ChallengerParty
	}
	g.end(dispute.Outcome{Winner: winner, Reason: dispute.Silence})
}

// end ends a dispute: the loser's stake pays the fees of the honest, the
// winner's award, and the rest burns. It saves the dispute.
func (g *trial) end(o dispute.Outcome) {
	d, rules := g.dispute, &g.params.Dispute
	v := &Judgment{Height: g.block.Height, Winner: o.Winner, Reason: o.Reason}
	if o.Reason == dispute.Fraud {
		f := o.Finding
		v.Fault = &Fault{
			Fault: f.Fault, Output: f.Cell.Output, Layer: uint64(f.Cell.Layer), Position: uint64(f.Cell.Position),
			Operation: uint64(f.Operation), Leaf: uint64(f.Leaf), Want: f.Want, Got: f.Got,
		}
	}
	b, err := bonded(g.tree, RoleNode, d.Prover)
	if err != nil {
		panic("ledger: internal error: a dispute about no node: " + err.Error())
	}
	pay := func(to Address, n Amount) Amount {
		credit(g.tree, to, n)
		return n
	}
	rest, to := d.Bond, b.operator
	if o.Winner == dispute.ChallengerParty {
		b.node.Record.Failed++
		rest, to = b.take(g.tree, share(b.all(g.tree), rules.Slash)), d.Account
		pay(d.Account, d.Bond)
	}
	v.Taken = rest
	rest -= g.refund(o.Winner, rest)
	others := g.close(v)
	for _, other := range others {
		rest -= other.refund(dispute.ChallengerParty, rest)
		pay(other.dispute.Account, other.dispute.Bond)
		other.finish(&Judgment{Height: g.block.Height})
		g.event("void", "dispute", other.id.String(), "award", "0")
	}
	v.Award = pay(to, share(rest, rules.Award))
	v.Burnt = rest - v.Award
	burn(g.tree, v.Burnt)
	g.finish(v)
	g.event("judgment", "dispute", g.id.String(), "node", hex.EncodeToString(d.Prover), "winner", o.Winner.String(),
		"reason", o.Reason.String(), "detail", o.Detail, "taken", v.Taken.String(), "award", v.Award.String(), "burnt", v.Burnt.String())
}

// refund gives back, from an amount, the fees of a party's messages to who paid
// them, and says how much that was.
func (g *trial) refund(p dispute.Party, from Amount) (paid Amount) {
	d := g.dispute
	back := func(to Address, fee Amount) {
		n := min(fee, from-paid)
		credit(g.tree, to, n)
		paid += n
	}
	first := uint64(1)
	if p == dispute.ChallengerParty {
		first = 0
		back(d.Account, d.Fee)
	}
	for i := first; i < d.Moves; i += 2 {
		m, _ := load[Move](g.tree, moveKey(g.id, i))
		back(m.By, m.Fee)
	}
	return paid
}

// close takes a dispute off the dockets. If the receipt lost, all others about
// it are void; they are given to be ended.
func (g *trial) close(v *Judgment) (others []*trial) {
	run, err := g.dispute.Run()
	if err != nil {
		panic("ledger: internal error: the receipt of a dispute: " + err.Error())
	}
	what := run.Claim().Receipt
	g.leave(what)
	if v.Winner != dispute.ChallengerParty {
		return nil
	}
	key := ofReceipt.key(what[:], g.dispute.Prover)
	e := docketAt(g.tree, key)
	e.Lost = &g.id
	save(g.tree, key, e)
	for _, id := range e.Open {
		d, _ := load[Dispute](g.tree, tableDispute.key(id[:]))
		o := *g
		o.id, o.dispute = id, d
		o.leave(what)
		others = append(others, &o)
	}
	return others
}

// leave takes a dispute off its dockets, and the node's bond is no longer held
// for it.
func (g *trial) leave(receiptID canon.Hash) {
	for _, key := range g.dispute.dockets(receiptID) {
		e := docketAt(g.tree, key)
		if e.Open = slices.DeleteFunc(e.Open, func(x canon.Hash) bool { return x == g.id }); len(e.Open) == 0 && e.Lost == nil {
			g.tree.Delete(key)
		} else {
			save(g.tree, key, e)
		}
	}
	n, _ := load[Node](g.tree, tableNode.key(g.dispute.Prover))
	n.Held--
	save(g.tree, tableNode.key(g.dispute.Prover), n)
}

// finish marks a dispute as ended, from which the bond was taken, and lets it be
// forgotten later.
func (g *trial) finish(v *Judgment) {
	d := g.dispute
	notAt(g.tree, byHeight, d.Deadline, dueSilence, g.id[:])
	d.Judgment, d.Bond, d.Deadline = v, 0, 0
	save(g.tree, tableDispute.key(g.id[:]), d)
	at(g.tree, byTime, g.block.Time+g.params.Dispute.Keep, dueForget, g.id[:])
}

// void ends an open dispute in which nobody wins: the challenger has its bond
// back, and gets an amount that is in nobody's account, such as the deposit of
// who led it astray.
func (g *trial) void(amount Amount) {
	d := g.dispute
	run, err := d.Run()
	if err != nil {
		panic("ledger: internal error: the receipt of a dispute: " + err.Error())
	}
	g.leave(run.Claim().Receipt)
	credit(g.tree, d.Account, d.Bond+amount)
	g.finish(&Judgment{Height: g.block.Height, Award: amount})
	g.event("void", "dispute", g.id.String(), "award", amount.String())
}

// forgetDispute removes an ended dispute and its messages. What the receipt
// lost stays in its docket.
func (m *Machine) forgetDispute(id []byte) {
	g := m.dueTrial(id)
	for i := range g.dispute.Moves {
		m.work.Delete(moveKey(g.id, i))
	}
	m.work.Delete(tableDispute.key(id))
}
