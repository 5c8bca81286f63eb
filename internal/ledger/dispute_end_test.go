package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/receipt"
)

// honestCourt is a court and a receipt of its node without a fault.
func honestCourt(t *testing.T, people int) (*court, receipt.Receipt) {
	t.Helper()
	o := newOracle(t)
	c := newCourt(t, o, people)
	return c, o.sign(t, c.people[1].node, 0, o.run)
}

// wire is a message as spec/dispute.md has it.
type wire struct {
	_         struct{} `cbor:",toarray"`
	Dispute   canon.Hash
	Round     int
	Kind      uint8
	Body      []byte
	Signature []byte
}

func (m wire) sign(t testing.TB, key ed25519.PrivateKey, head canon.Hash) []byte {
	t.Helper()
	round := binary.LittleEndian.AppendUint64(nil, uint64(m.Round))
	digest := canon.Sum("aval dispute message/1", m.Dispute[:], round, head[:], []byte{m.Kind}, m.Body)
	m.Signature = ed25519.Sign(key, digest[:])
	raw, err := canon.Marshal(&m)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestFalseChallenger: who accuses a right leaf loses its bond. It pays the
// prover's fees and the award, and the rest burns.
func TestFalseChallenger(t *testing.T) {
	c, r := honestCourt(t, 3)
	node, by := c.people[1], c.people[2]
	lie := c.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
	x := c.sue(node, by, 1, r, c.run, &against{c.run, lie})
	operator, challenger, supply := c.account(node).Balance, c.account(by).Balance, c.supply()
	opened := c.must(by, ledger.KindDispute, x.open)
	c.play(x)
	v := c.dispute(x).Judgment
	if v.Winner != dispute.ProverParty || v.Reason != dispute.Accusation || v.Taken != 10*ledger.Unit || v.Fault != nil {
		t.Fatalf("%+v", v)
	}
	s := c.m.State()
	var fees [2]ledger.Amount
	for i, m := range ledger.Moves(&s, x.id) {
		fees[i%2] += m.Fee
	}
	if fees[1] == 0 || v.Award != (v.Taken-fees[1])/2 || v.Burnt != v.Taken-fees[1]-v.Award {
		t.Errorf("%+v with fees of %d", v, fees[1])
	}
	if got := c.account(node).Balance; got != operator+v.Award {
		t.Errorf("the operator has %d, had %d, and an award of %d", got, operator, v.Award)
	}
	if got := c.account(by).Balance; got != challenger-v.Taken-fees[0]-opened.Fee {
		t.Errorf("the challenger has %d, had %d", got, challenger)
	}
	if got := c.supply(); got != supply-v.Burnt {
		t.Errorf("a supply of %d, was %d", got, supply)
	}
	if n := c.node(node); n.Held != 0 || n.Record.Failed != 0 || n.Bond != 100*ledger.Unit {
		t.Errorf("the node after it: %+v", n)
	}
	// Others may still dispute it, and the same account with another nonce.
	c.fails(ledger.CodeRefused, "already", by, ledger.KindDispute, x.open)
	c.must(by, ledger.KindDispute, c.sue(node, by, 2, r, c.run, c.run).open)
}

// TestOneMessage: a proof of fraud opens and ends a dispute in one transaction,
// whoever of the two is wrong.
func TestOneMessage(t *testing.T) {
	o := newOracle(t)
	c := newCourt(t, o, 3)
	node, by := c.people[1], c.people[2]
	for i, lied := range []bool{true, false} {
		lie := o.lie(dispute.Cell{Output: true, Position: 1}, 0, 0)
		var source dispute.Source = o.run
		var witness dispute.Witness = &against{o.run, lie}
		if lied {
			lie = o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
			source, witness = lie, o.run
		}
		x := c.sue(node, by, uint64(i), o.sign(t, node.node, uint64(i), source), source, witness)
		x.challenger.Accuse(c.proofOf(x))
		var err error
		if x.open.Message, err = x.challenger.Move(); err != nil {
			t.Fatal(err)
		}
		fee := c.params.MessageFee(nil, x.open.Message)
		before := c.account(by).Balance
		tx := c.txFee(by, fee, ledger.KindDispute, x.open)
		c.take(tx)
		d := c.dispute(x)
		if d.Moves != 1 || d.Judgment == nil || (d.Judgment.Winner == dispute.ChallengerParty) != lied {
			t.Fatalf("lied: %v: %+v, %+v", lied, d, d.Judgment)
		}
		t.Logf("a transaction of %d bytes and a work of %d", len(tx), d.Work)
		if len(tx) > 16<<10 {
			t.Errorf("a transaction of %d bytes", len(tx))
		}
		got, want := c.account(by).Balance, before+d.Judgment.Award
		if !lied {
			s := c.m.State()
			want = before - d.Judgment.Taken - ledger.Moves(&s, x.id)[0].Fee
		}
		if got != want {
			t.Errorf("lied: %v: the challenger has %d, had %d, want %d", lied, got, before, want)
		}
	}
}

// TestSilence: the last block in which a message counts is the deadline; at its
// end the mover loses.
func TestSilence(t *testing.T) {
	o := newOracle(t)
	c := newCourt(t, o, 3)
	node, by := c.people[1], c.people[2]
	for i, silent := range []int{0, 1, 2, 3} { // who says nothing at this message
		lie := o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
		x := c.sue(node, by, uint64(i), o.sign(t, node.node, uint64(i), lie), lie, o.run)
		c.must(by, ledger.KindDispute, x.open)
		for range silent {
			// In the last block that counts.
			for c.m.Height()+1 < c.dispute(x).Deadline {
				c.block()
			}
			_, tx := c.next(x)
			c.take(tx)
		}
		d := c.dispute(x)
		if want := c.m.Height() + c.params.Dispute.Move; d.Deadline != want {
			t.Fatalf("a deadline of %d, want %d", d.Deadline, want)
		}
		_, late := c.next(x)
		before := c.node(node)
		for c.m.Height() < d.Deadline {
			if c.dispute(x).Judgment != nil {
				t.Fatalf("it ended at height %d, before %d", c.m.Height(), d.Deadline)
			}
			if c.m.FreeTick() == nil {
				t.Fatal("no block happens while a game waits")
			}
			c.take(c.m.FreeTick())
		}
		v := c.dispute(x).Judgment
		loser := dispute.ChallengerParty
		if silent%2 == 1 {
			loser = dispute.ProverParty
		}
		if v == nil || v.Reason != dispute.Silence || v.Winner == loser {
			t.Fatalf("message %d: %+v", silent, v)
		}
		after := c.node(node)
		if lost := after.Record.Failed > before.Record.Failed; lost != (loser == dispute.ProverParty) || after.Held != 0 {
			t.Errorf("message %d: %+v, then %+v", silent, before, after)
		}
		if res, _ := c.block(late); res[0].Code != ledger.CodeRefused {
			t.Errorf("a message after the end: %s: %s", res[0].Code, res[0].Detail)
		}
	}
	if c.m.FreeTick() != nil {
		t.Error("something waits for a height after all games")
	}
}

// TestTotal: who uses up all its blocks loses, though no message took too long.
func TestTotal(t *testing.T) {
	o := newOracle(t)
	c := newCourt(t, o, 3)
	node, by := c.people[1], c.people[2]
	c.rules(func(p *ledger.DisputeParams) { p.Total = 7 })
	lie := o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
	x := c.sue(node, by, 0, o.sign(t, node.node, 0, lie), lie, o.run)
	c.must(by, ledger.KindDispute, x.open)
	for range 2 {
		for c.m.Height()+1 < c.dispute(x).Deadline {
			c.block()
		}
		_, tx := c.next(x)
		c.take(tx)
	}
	if d := c.dispute(x); d.Deadline != c.m.Height()+2 {
		t.Fatalf("a deadline of %d at height %d, with 2 of 7 blocks left", d.Deadline, c.m.Height())
	}
	c.block()
	c.block()
	if v := c.dispute(x).Judgment; v == nil || v.Reason != dispute.Silence || v.Winner != dispute.ProverParty {
		t.Fatalf("%+v", v)
	}
}

// TestMalformed: who signs something that is not a move loses.
func TestMalformed(t *testing.T) {
	o := newOracle(t)
	c := newCourt(t, o, 4)
	node, by, carrier := c.people[1], c.people[2], c.people[3]
	for i := range 2 {
		x := c.sue(node, by, uint64(i), o.sign(t, node.node, uint64(i), o.run), o.run, o.run)
		c.must(by, ledger.KindDispute, x.open)
		key, head, winner := by.node, x.id, dispute.ProverParty
		if i == 1 {
			_, tx := c.next(x)
			c.take(tx)
			s := c.m.State()
			var m wire
			if err := canon.Unmarshal(ledger.Moves(&s, x.id)[0].Message, &m); err != nil {
				t.Fatal(err)
			}
			head = canon.Sum("aval dispute message/1", x.id[:], make([]byte, 8), x.id[:], []byte{m.Kind}, m.Body)
			key, winner = node.node, dispute.ChallengerParty
		}
		bad := wire{Dispute: x.id, Round: i, Kind: 77, Body: []byte{1}}.sign(t, key, head)
		// Anybody may carry it.
		c.must(carrier, ledger.KindMove, &ledger.MakeMove{Dispute: x.id, Message: bad})
		if v := c.dispute(x).Judgment; v == nil || v.Reason != dispute.Malformed || v.Winner != winner {
			t.Errorf("message %d: %+v", i, v)
		}
	}
}

// TestIgnored: what is not a message of the party whose turn it is changes
// nothing, and costs who sent it the fee.
func TestIgnored(t *testing.T) {
	c, r := honestCourt(t, 5)
	c.rules(func(p *ledger.DisputeParams) { p.Move = 20 })
	node, by, other := c.people[1], c.people[2], c.people[3]
	lie := c.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
	x := c.sue(node, by, 0, r, c.run, &against{c.run, lie})
	c.must(by, ledger.KindDispute, x.open)
	for range 2 {
		_, tx := c.next(x)
		c.take(tx)
	}
	s := c.m.State()
	first := ledger.Moves(&s, x.id)[0].Message
	m, err := x.seats[dispute.ChallengerParty].Next(&s)
	if err != nil {
		t.Fatal(err)
	}
	twisted := bytes.Clone(m.Message)
	twisted[len(twisted)-1] ^= 1
	d := c.dispute(x)
	for name, b := range map[string][]byte{
		"nothing":                     {},
		"no message":                  {1, 2, 3},
		"an old message":              first,
		"a wrong signature":           twisted,
		"the other party's":           wire{Dispute: x.id, Round: 2, Kind: 2}.sign(t, node.node, canon.Hash{}),
		"another history":             wire{Dispute: x.id, Round: 2, Kind: 2}.sign(t, by.node, canon.Hash{}),
		"large and of another":        make([]byte, 200<<10),
		"the right one, and one more": append(bytes.Clone(m.Message), 0),
	} {
		pay := c.params.MessageFee(d, b)
		before := c.account(other)
		res, _ := c.block(c.txFee(other, pay, ledger.KindMove, &ledger.MakeMove{Dispute: x.id, Message: b}))
		if res[0].Code != ledger.CodeRefused || res[0].Fee == 0 {
			t.Errorf("%s: %s: %s, a fee of %d", name, res[0].Code, res[0].Detail, res[0].Fee)
		}
		if got := c.account(other); got.Balance != before.Balance-res[0].Fee || got.Nonce != before.Nonce+1 {
			t.Errorf("%s: %+v, then %+v with a fee of %d", name, before, got, res[0].Fee)
		}
		if now := c.dispute(x); now.Moves != d.Moves || now.Head != d.Head || now.Deadline != d.Deadline {
			t.Fatalf("%s: %+v, then %+v", name, d, now)
		}
	}
	// With too little for the work nothing is done.
	b := c.txFee(other, c.params.MessageFee(d, m.Message)/2, ledger.KindMove, m)
	if res, _ := c.block(b); res[0].Code != ledger.CodeWork {
		t.Errorf("%s: %s", res[0].Code, res[0].Detail)
	}
	if c.dispute(x).Judgment != nil {
		t.Fatal("it ended in between")
	}
	c.play(x)
	if v := c.dispute(x).Judgment; v.Winner != dispute.ProverParty {
		t.Errorf("%+v", v)
	}
}

// TestRefused: what cannot be disputed.
func TestRefused(t *testing.T) {
	c, r := honestCourt(t, 4)
	node, by, poor := c.people[1], c.people[2], c.people[3]
	open := c.sue(node, by, 0, r, c.run, c.run).open
	other := c.sign(t, poor.node, 0, nil)
	bad := bytes.Clone(r.Bytes())
	bad[len(bad)-1] ^= 1
	for _, x := range []struct {
		name, text string
		code       ledger.Code
		change     func(*ledger.OpenDispute)
	}{
		{"of no node", "no bond", ledger.CodeNotFound, func(m *ledger.OpenDispute) { m.Receipt = other.Bytes() }},
		{"of a wrong signature", "receipt", ledger.CodeRefused, func(m *ledger.OpenDispute) { m.Receipt = bad }},
		{"no receipt", "receipt", ledger.CodeRefused, func(m *ledger.OpenDispute) { m.Receipt = []byte{1} }},
		{"a large receipt", "bytes", ledger.CodeRefused, func(m *ledger.OpenDispute) { m.Receipt = make([]byte, 5000) }},
		{"by the prover", "prover", ledger.CodeRefused, func(m *ledger.OpenDispute) { m.Challenger = public(node.node) }},
		{"by no key", "key", ledger.CodeRefused, func(m *ledger.OpenDispute) { m.Challenger = []byte{1} }},
		{"with a message of another", "ignored", ledger.CodeRefused, func(m *ledger.OpenDispute) { m.Message = []byte{1} }},
	} {
		m := *open
		x.change(&m)
		before := c.account(by).Balance
		res := c.do(by, ledger.KindDispute, &m)
		if res.Code != x.code || !bytes.Contains([]byte(res.Detail), []byte(x.text)) {
			t.Errorf("%s: %s: %s", x.name, res.Code, res.Detail)
		}
		if got := c.account(by).Balance; got != before-res.Fee {
			t.Errorf("%s: it cost %d with a fee of %d", x.name, before-got, res.Fee)
		}
	}
	c.must(poor, ledger.KindBurn, &ledger.Burn{Amount: c.account(poor).Balance - 1*ledger.Unit})
	c.fails(ledger.CodeFunds, "the account has", poor, ledger.KindDispute, open)
	c.fails(ledger.CodeNotFound, "no dispute", by, ledger.KindMove, &ledger.MakeMove{Message: []byte{1}})
	// All is asked for, and paid out: nothing is left to lose.
	c.must(node, ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleNode, Key: public(node.node)})
	c.now += 5_000
	c.block()
	c.fails(ledger.CodeFunds, "no bond left", by, ledger.KindDispute, open)
}

// TestUnbonding: who asks for its bond while a dispute is open waits for its
// end, and loses its part.
func TestUnbonding(t *testing.T) {
	o := newOracle(t)
	c := newCourt(t, o, 3)
	node, by := c.people[1], c.people[2]
	lie := o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
	x := c.sue(node, by, 0, o.sign(t, node.node, 0, lie), lie, o.run)
	c.must(by, ledger.KindDispute, x.open)
	c.must(node, ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleNode, Key: public(node.node)})
	before := c.account(node).Balance
	c.now += 2_000
	c.block()
	if got := c.account(node).Balance; got != before {
		t.Fatalf("%d was released with a dispute open", got-before)
	}
	c.play(x)
	if v := c.dispute(x).Judgment; v.Winner != dispute.ChallengerParty || v.Taken != 50*ledger.Unit {
		t.Fatalf("%+v", v)
	}
	before = c.account(node).Balance
	c.now += 120_000
	c.block()
	if got := c.account(node).Balance; got != before+50*ledger.Unit {
		t.Errorf("%d was released after the dispute", got-before)
	}
}

// TestSiblings: when one dispute convicts a receipt, all others about it are
// void, and who began them has everything back.
func TestSiblings(t *testing.T) {
	o := newOracle(t)
	c := newCourt(t, o, 4)
	c.rules(func(p *ledger.DisputeParams) { p.Move = 20 })
	node, by, late := c.people[1], c.people[2], c.people[3]
	lie := o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
	r := o.sign(t, node.node, 0, lie)
	before := c.account(late).Balance
	x, y := c.sue(node, by, 0, r, lie, o.run), c.sue(node, late, 0, r, lie, o.run)
	c.must(by, ledger.KindDispute, x.open)
	c.must(late, ledger.KindDispute, y.open)
	if n := c.node(node); n.Held != 2 {
		t.Fatalf("held %d", n.Held)
	}
	_, tx := c.next(y)
	c.take(tx)
	c.play(x)
	d := c.dispute(y)
	if d.Judgment == nil || d.Judgment.Winner != 0 || d.Bond != 0 || d.Mover() != 0 {
		t.Fatalf("%+v", d)
	}
	if got := c.account(late).Balance; got != before {
		t.Errorf("the other challenger has %d, had %d", got, before)
	}
	if n := c.node(node); n.Held != 0 || n.Record.Failed != 1 {
		t.Errorf("%+v", n)
	}
	if who, _ := c.next(y); who != nil {
		t.Error("a message is due in a void dispute")
	}
	if c.m.FreeTick() != nil {
		t.Error("a void dispute still waits")
	}
}

// TestVoid: what rules of others end is void: the challenger has its bond and
// what it is given.
func TestVoid(t *testing.T) {
	c, r := honestCourt(t, 3)
	node, by := c.people[1], c.people[2]
	x := c.sue(node, by, 0, r, c.run, c.run)
	c.must(by, ledger.KindDispute, x.open)
	if open, lost := c.m.Disputed(r.Hash(), public(node.node)); !open || lost {
		t.Errorf("open %v, lost %v", open, lost)
	}
	c.must(by, ledger.KindBurn, &ledger.Burn{Amount: 1000})
	c.now += 100
	before := c.account(by).Balance
	if err := c.m.Begin(ledger.Block{Height: c.m.Height() + 1, Time: c.now, Proposer: public(c.people[0].node)}); err != nil {
		t.Fatal(err)
	}
	c.m.VoidDispute(x.id, 1000)
	c.m.End()
	c.sound()
	if got := c.account(by).Balance; got != before+10*ledger.Unit+1000 {
		t.Errorf("the challenger has %d, had %d before the end", got, before)
	}
	if d := c.dispute(x); d.Judgment.Winner != 0 || d.Judgment.Award != 1000 || d.Bond != 0 {
		t.Errorf("%+v", d)
	}
	if open, lost := c.m.Disputed(r.Hash(), public(node.node)); open || lost || c.node(node).Held != 0 || c.m.FreeTick() != nil {
		t.Errorf("open %v, lost %v, held %d", open, lost, c.node(node).Held)
	}
}

// TestLimits: so many may be open of a node and of an account, and a proof that
// ends at once needs no place.
func TestLimits(t *testing.T) {
	o := newOracle(t)
	c := newCourt(t, o, 4)
	node, by, third := c.people[1], c.people[2], c.people[3]
	c.rules(func(p *ledger.DisputeParams) { p.PerNode, p.PerAccount = 2, 1 })
	lie := o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
	sue := func(p *person, i uint64) *suit {
		return c.sue(node, p, i, o.sign(t, node.node, i, lie), lie, o.run)
	}
	c.must(by, ledger.KindDispute, sue(by, 1).open)
	c.fails(ledger.CodeRefused, "about the account", by, ledger.KindDispute, sue(by, 2).open)
	c.must(third, ledger.KindDispute, sue(third, 3).open)
	s := c.m.State()
	if n, a := ledger.NodeDisputes(&s, public(node.node)), ledger.AccountDisputes(&s, by.addr); len(n) != 2 || len(a) != 1 {
		t.Errorf("%d open of the node and %d of the account", len(n), len(a))
	}
	c.fails(ledger.CodeRefused, "about the node", c.people[0], ledger.KindDispute, sue(c.people[0], 4).open)
	x := sue(by, 5)
	x.challenger.Accuse(c.proofOf(x))
	var err error
	if x.open.Message, err = x.challenger.Move(); err != nil {
		t.Fatal(err)
	}
	c.must(by, ledger.KindDispute, x.open)
	if v := c.dispute(x).Judgment; v == nil || v.Winner != dispute.ChallengerParty {
		t.Errorf("%+v", v)
	}
}
