package ledger_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// oracle is a tiny model with one run. Receipts of the run may be of anybody.
type oracle struct {
	claims receipt.Claims
	run    *rerun.Run
}

var master = receipt.Salt{3}

func newOracle(t testing.TB) *oracle {
	t.Helper()
	path, err := testmodel.Models[0].Write(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	m, err := model.Load(f, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	p, err := fingerprint.Of(context.Background(), f, 0)
	if err != nil {
		t.Fatal(err)
	}
	o := &oracle{claims: receipt.Claims{
		Model: p.Root(), Stop: receipt.StopLength, Time: 1_700_000_000,
		Seed: receipt.SelfSeed(1), Params: receipt.Params{MaxTokens: 4},
	}}
	prompt, output := testmodel.Text()[:9], []int32{1, 1, 1, 1}
	for range len(output) + 1 { // the ids that the model draws, one more right each time
		opening, err := receipt.Commit(master, &receipt.Transcript{Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: prompt, Output: output})
		if err != nil {
			t.Fatal(err)
		}
		opening.Fill(&o.claims)
		if o.run != nil {
			o.run.Close()
		}
		if o.run, err = rerun.New(t.Context(), rerun.Config{Model: m, File: f, Print: p, Claims: o.claims, Opening: opening}); err != nil {
			t.Fatal(err)
		}
		i, wrong := o.run.Output()
		if !wrong {
			break
		}
		v, ops, err := o.run.Cell(dispute.Cell{Output: true, Position: i})
		if err != nil {
			t.Fatal(err)
		}
		output[i] = int32(binary.LittleEndian.Uint32(v.Leaf(ops-1, 0)))
	}
	if i, wrong := o.run.Output(); wrong {
		t.Fatalf("token %d of the run is wrong", i)
	}
	t.Cleanup(func() { o.run.Close(); m.Close(); f.Close() })
	return o
}

// lie is a run whose cell has a wrong leaf.
func (o *oracle) lie(c dispute.Cell, op, leaf int) *rerun.Liar {
	return &rerun.Liar{Source: o.run, At: c, Op: op, Leaf: leaf}
}

// sign is the receipt of a node; with a trace if a source is given.
func (o *oracle) sign(t testing.TB, key ed25519.PrivateKey, time uint64, s dispute.Source) receipt.Receipt {
	t.Helper()
	c := o.claims
	c.Time = int64(1_700_000_000 + time)
	if s != nil {
		states, err := s.States()
		if err != nil {
			t.Fatal(err)
		}
		tree, err := trace.NewTree(slices.Concat(states...), len(states), len(states[0]))
		if err != nil {
			t.Fatal(err)
		}
		salt := master.Trace()
		c.Trace = tree.Commitment(salt[:])
	}
	r, err := receipt.Sign(c, key)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// against is a challenger who sees what a liar would have said.
type against struct {
	dispute.Witness
	lie *rerun.Liar
}

func (a *against) States() ([][]canon.Hash, error)                  { return a.lie.States() }
func (a *against) Cell(c dispute.Cell) (dispute.Values, int, error) { return a.lie.Cell(c) }
func (a *against) Output() (int, bool)                              { return a.lie.At.Position, a.lie.At.Output }

// court is a world with a node of the second person, and an oracle.
type court struct {
	*world
	*oracle
	params ledger.Params
}

func courtGenesis(people []*person) *ledger.Genesis {
	g := newGenesis(people, 1)
	g.Params.Dispute.Move, g.Params.Dispute.Total, g.Params.Dispute.Keep = 5, 20, 5_000
	return g
}

func newCourt(t testing.TB, o *oracle, people int) *court {
	t.Helper()
	w := &world{t: t, now: 1_000_000}
	for i := range people {
		w.people = append(w.people, newPerson(i))
	}
	g := courtGenesis(w.people)
	m, err := ledger.New(g)
	if err != nil {
		t.Fatal(err)
	}
	w.m = m
	c := &court{world: w, oracle: o, params: *g.Params}
	c.bond(w.people[1])
	return c
}

// rules changes the parameters of disputes by vote.
func (c *court) rules(change func(*ledger.DisputeParams)) {
	c.t.Helper()
	change(&c.params.Dispute)
	c.must(c.people[0], ledger.KindVote, &ledger.Vote{Validator: public(c.people[0].node), Change: ledger.Change{Params: &c.params}})
}

func (c *court) bond(p *person) {
	c.t.Helper()
	c.must(p, ledger.KindBond, &ledger.Bond{Key: public(p.node), Amount: 100 * ledger.Unit, Proof: ledger.ProveBond(p.node, chain, ledger.RoleNode, p.addr)})
}

// suit is a dispute and its two parties.
type suit struct {
	id         canon.Hash
	open       *ledger.OpenDispute
	by         *person // challenger; its node's key signs its messages
	node       *person
	run        dispute.Run
	terms      dispute.Terms
	prover     *dispute.Prover
	challenger *dispute.Challenger
	seats      [3]*ledger.Seat // by dispute.Party
	source     dispute.Source
	witness    dispute.Witness
}

// sue prepares a dispute about a receipt.
func (c *court) sue(node, by *person, nonce uint64, r receipt.Receipt, s dispute.Source, w dispute.Witness) *suit {
	c.t.Helper()
	run, err := dispute.NewRun(r)
	if err != nil {
		c.t.Fatal(err)
	}
	x := &suit{node: node, by: by, run: run, source: s, witness: w}
	x.terms = c.params.DisputeTerms(chain, by.addr, public(by.node), nonce)
	x.id = x.terms.ID(run.Claim())
	x.open = &ledger.OpenDispute{Receipt: r.Bytes(), Challenger: public(by.node), Nonce: nonce}
	x.sit(c.t)
	return x
}

// sit makes both parties anew, as after a crash.
func (x *suit) sit(t testing.TB) {
	t.Helper()
	salt := master.Trace()
	var err error
	if x.prover, err = dispute.NewProver(x.run, x.terms, x.node.node, salt[:], x.source); err != nil {
		t.Fatal(err)
	}
	if x.challenger, err = dispute.NewChallenger(x.run, x.terms, x.by.node, x.witness); err != nil {
		t.Fatal(err)
	}
	x.seats = [3]*ledger.Seat{dispute.ProverParty: ledger.NewSeat(x.id, x.prover), dispute.ChallengerParty: ledger.NewSeat(x.id, x.challenger)}
}

// next is the transaction of whose turn it is, nil after the end.
func (c *court) next(x *suit) (*person, []byte) {
	c.t.Helper()
	s := c.m.State()
	for party, who := range []*person{dispute.ProverParty: x.node, dispute.ChallengerParty: x.by} {
		if who == nil {
			continue
		}
		m, err := x.seats[party].Next(&s)
		if err != nil {
			c.t.Fatal(err)
		}
		if m == nil {
			continue
		}
		d, _ := ledger.DisputeAt(&s, x.id)
		if d.Mover() != dispute.Party(party) {
			c.t.Fatalf("the %s has a message, and it is the %s's turn", dispute.Party(party), d.Mover())
		}
		return who, c.txFee(who, c.params.MessageFee(d, m.Message), ledger.KindMove, m)
	}
	return nil, nil
}

func (c *court) txFee(p *person, fee ledger.Amount, kind ledger.Kind, payload any) []byte {
	c.t.Helper()
	b, err := ledger.NewBody(chain, p.addr, c.account(p).Nonce, fee, kind, payload)
	if err != nil {
		c.t.Fatal(err)
	}
	tx, err := b.Sign(p.policy, p.key)
	if err != nil {
		c.t.Fatal(err)
	}
	return tx
}

func (c *court) take(txs ...[]byte) {
	c.t.Helper()
	res, _ := c.block(txs...)
	for i, r := range res {
		if r.Code != ledger.CodeOK {
			c.t.Fatalf("transaction %d: %s: %s", i, r.Code, r.Detail)
		}
	}
}

// play plays a game to its end and gives the transactions' bytes.
func (c *court) play(x *suit) (messages, size int) {
	c.t.Helper()
	for {
		who, tx := c.next(x)
		if who == nil {
			return messages, size
		}
		c.take(tx)
		messages++
		size += len(tx)
	}
}

func (c *court) dispute(x *suit) *ledger.Dispute {
	c.t.Helper()
	s := c.m.State()
	d, ok := ledger.DisputeAt(&s, x.id)
	if !ok {
		c.t.Fatalf("there is no dispute %s", x.id)
	}
	return d
}

func (c *court) node(p *person) *ledger.Node {
	return state[ledger.Node](c.world, []byte("n"), public(p.node))
}

func (c *court) supply() ledger.Amount { return state[ledger.Meta](c.world, []byte("g")).Supply }

// proofOf is the proof of fraud of a witness against a source that hands over
// its trees.
func (c *court) proofOf(x *suit) []byte {
	c.t.Helper()
	salt := master.Trace()
	tr, err := dispute.ServeTrace(x.run, x.node.node, salt[:], x.source)
	if err != nil {
		c.t.Fatal(err)
	}
	cell, p, err := dispute.Find(x.run, x.witness, tr)
	if err != nil {
		c.t.Fatal(err)
	}
	if p == nil {
		sc, err := dispute.ServeCell(x.run, x.node.node, x.source, cell)
		if err != nil {
			c.t.Fatal(err)
		}
		if p, err = dispute.Accuse(x.run, x.witness, tr, sc); err != nil {
			c.t.Fatal(err)
		}
	}
	data, err := p.Encode()
	if err != nil {
		c.t.Fatal(err)
	}
	return data
}

// TestLiarByGame: a node that computed one leaf wrong loses the game, and half
// its bond; the challenger has its fees and bond back, and its award.
func TestLiarByGame(t *testing.T) {
	o := newOracle(t)
	c := newCourt(t, o, 3)
	node, by := c.people[1], c.people[2]
	lie := o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
	r := o.sign(t, node.node, 0, lie)
	x := c.sue(node, by, 1, r, lie, o.run)
	before, operator, supply := c.account(by).Balance, c.account(node).Balance, c.supply()
	c.must(by, ledger.KindDispute, x.open)
	if n := c.node(node); n.Held != 1 {
		t.Errorf("held %d with one dispute", n.Held)
	}
	messages, size := c.play(x)
	d := c.dispute(x)
	v := d.Judgment
	t.Logf("%d messages, %d bytes of transactions, work %d: %+v, %+v", messages, size, d.Work, v, v.Fault)
	if v.Winner != dispute.ChallengerParty || v.Reason != dispute.Fraud || v.Fault.Fault != dispute.WrongLeaf || v.Fault.Layer != 1 || v.Fault.Position != 5 || v.Fault.Operation != 2 || v.Fault.Leaf != 0 {
		t.Fatalf("%+v", v)
	}
	n := c.node(node)
	if n.Held != 0 || n.Record.Failed != 1 || n.Bond != 50*ledger.Unit || n.Record.Slashed != 50*ledger.Unit || v.Taken != 50*ledger.Unit {
		t.Errorf("the node after it: %+v", n)
	}
	s := c.m.State()
	fees := [3]ledger.Amount{dispute.ChallengerParty: d.Fee}
	for i, m := range ledger.Moves(&s, x.id) {
		fees[1+(i+1)%2] += m.Fee
	}
	if want := (v.Taken - fees[dispute.ChallengerParty]) / 2; v.Award != want || v.Burnt != v.Taken-fees[dispute.ChallengerParty]-want {
		t.Errorf("an award of %d and %d burnt, of %d with fees of %d", v.Award, v.Burnt, v.Taken, fees[dispute.ChallengerParty])
	}
	if got := c.account(by).Balance; got != before+v.Award {
		t.Errorf("the challenger has %d, had %d, and an award of %d", got, before, v.Award)
	}
	if got := c.account(node).Balance; got != operator-fees[dispute.ProverParty] {
		t.Errorf("the liar has %d, had %d, and paid %d", got, operator, fees[dispute.ProverParty])
	}
	if got := c.supply(); got != supply-v.Burnt {
		t.Errorf("a supply of %d after %d was burnt of %d", got, v.Burnt, supply)
	}
	// It convicts once.
	again := c.sue(node, by, 2, r, lie, o.run)
	c.fails(ledger.CodeRefused, "convicts once", by, ledger.KindDispute, again.open)
	what := r.Hash()
	if e := ledger.ReceiptDisputes(&s, what, public(node.node)); e.Lost == nil || *e.Lost != x.id || len(e.Open) != 0 {
		t.Errorf("the receipt's docket: %+v", e)
	}
	// It is forgotten after a while, and the conviction is not.
	c.now += 10_000
	c.block()
	s = c.m.State()
	if _, ok := ledger.DisputeAt(&s, x.id); ok || len(ledger.Moves(&s, x.id)) != 0 {
		t.Error("the dispute is still there")
	}
	c.fails(ledger.CodeRefused, "convicts once", by, ledger.KindDispute, again.open)
}
