package ledger_test

import (
	"bytes"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/receipt"
	"pgregory.net/rapid"
)

// reborn is the machine that a snapshot of m gives.
func reborn(t testing.TB, m *ledger.Machine) *ledger.Machine {
	t.Helper()
	var b bytes.Buffer
	if err := m.Snapshot(&b); err != nil {
		t.Fatal(err)
	}
	again, err := ledger.Restore(&b)
	if err != nil {
		t.Fatal(err)
	}
	return again
}

// TestRestart: between any two messages all may begin anew, the machine from a
// snapshot and the parties from what is on the ledger. It makes no difference.
func TestRestart(t *testing.T) {
	o := newOracle(t)
	roots := func(restart bool) (list []canon.Hash) {
		c := newCourt(t, o, 3)
		node, by := c.people[1], c.people[2]
		lie := o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
		x := c.sue(node, by, 1, o.sign(t, node.node, 0, lie), lie, o.run)
		c.must(by, ledger.KindDispute, x.open)
		for {
			if restart {
				c.m = reborn(t, c.m)
				x.sit(t)
			}
			list = append(list, c.m.Root())
			who, tx := c.next(x)
			if who == nil {
				return list
			}
			c.take(tx)
		}
	}
	one, other := roots(false), roots(true)
	if len(one) != len(other) {
		t.Fatalf("%d blocks, and %d with restarts", len(one), len(other))
	}
	for i := range one {
		if one[i] != other[i] {
			t.Errorf("block %d: root %s, with restarts %s", i, one[i], other[i])
		}
	}
}

// crowd is many disputes at once: of some nodes, each with some receipts.
func (c *court) crowd(n int) []*suit {
	c.t.Helper()
	var list []*suit
	lie := c.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
	half := len(c.people) / 2
	for i := 2; i < half; i++ {
		c.bond(c.people[i])
	}
	for i := range n {
		node, by := c.people[1+i%(half-1)], c.people[half+i%half]
		r := c.sign(c.t, node.node, uint64(i), lie)
		list = append(list, c.sue(node, by, uint64(i), r, lie, c.run))
	}
	return list
}

// batch signs transactions of many senders, each the next of its account.
type batch struct {
	*court
	sent map[*person]uint64
	txs  [][]byte
}

func (b *batch) add(p *person, fee ledger.Amount, kind ledger.Kind, payload any) {
	b.t.Helper()
	body, err := ledger.NewBody(chain, p.addr, b.account(p).Nonce+b.sent[p], fee, kind, payload)
	if err != nil {
		b.t.Fatal(err)
	}
	tx, err := body.Sign(p.policy, p.key)
	if err != nil {
		b.t.Fatal(err)
	}
	b.sent[p]++
	b.txs = append(b.txs, tx)
}

// round is the transactions of all whose turn it is.
func (c *court) round(list []*suit) [][]byte {
	c.t.Helper()
	b := &batch{court: c, sent: map[*person]uint64{}}
	s := c.m.State()
	for _, x := range list {
		for party, who := range []*person{dispute.ProverParty: x.node, dispute.ChallengerParty: x.by} {
			if who == nil {
				continue
			}
			m, err := x.seats[party].Next(&s)
			if err != nil {
				c.t.Fatal(err)
			}
			if m != nil {
				d, _ := ledger.DisputeAt(&s, x.id)
				b.add(who, c.params.MessageFee(d, m.Message), ledger.KindMove, m)
			}
		}
	}
	return b.txs
}

func (c *court) opening(list []*suit) [][]byte {
	c.t.Helper()
	b := &batch{court: c, sent: map[*person]uint64{}}
	for _, x := range list {
		b.add(x.by, c.params.MessageFee(nil, x.open.Message), ledger.KindDispute, x.open)
	}
	return b.txs
}

// TestManyDisputes: a hundred games at once, a message of each in every block.
func TestManyDisputes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	c := newCourt(t, newOracle(t), 20)
	list := c.crowd(100)
	c.take(c.opening(list)...)
	for {
		txs := c.round(list)
		if len(txs) == 0 {
			break
		}
		c.take(txs...)
	}
	for _, x := range list {
		if v := c.dispute(x).Judgment; v == nil || v.Winner != dispute.ChallengerParty || v.Reason != dispute.Fraud {
			t.Fatalf("%+v", v)
		}
	}
	for _, p := range c.people[1:10] {
		if n := c.node(p); n.Held != 0 || n.Record.Failed < 11 || n.Bond >= ledger.Unit {
			t.Errorf("%+v", n)
		}
	}
}

// TestRandomGames lets disputes go in any way: several about few receipts, of
// liars and of honest nodes, with messages in time, late, mixed up, twice, by
// anybody. After every block the amounts are the supply (world.sound), and a
// machine that is made anew from time to time has the same root. In the end no
// bond is held, and nobody honest is convicted.
func TestRandomGames(t *testing.T) {
	o := newOracle(t)
	lie := o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
	rapid.Check(t, func(rt *rapid.T) {
		c := newCourt(t, o, 5)
		c.bond(c.people[2])
		twin := reborn(t, c.m)
		liar, good := c.people[1], c.people[2]
		block := func(txs ...[]byte) {
			b := ledger.Block{Height: c.m.Height() + 1, Time: c.now + 100, Proposer: public(c.people[0].node)}
			c.now += 100
			_, out := c.blockWith(b, txs...)
			if err := twin.Begin(b); err != nil {
				rt.Fatal(err)
			}
			for _, tx := range txs {
				twin.Apply(tx)
			}
			if again := twin.End(); again.Root != out.Root {
				rt.Fatalf("block %d: roots %s and %s", b.Height, out.Root, again.Root)
			}
		}
		var suits []*suit
		var old []*ledger.MakeMove
		for range rapid.IntRange(1, 15).Draw(rt, "blocks") {
			b := &batch{court: c, sent: map[*person]uint64{}}
			for range rapid.IntRange(0, 3).Draw(rt, "transactions") {
				by := c.people[rapid.IntRange(3, 4).Draw(rt, "challenger")]
				what := rapid.IntRange(0, 9).Draw(rt, "what")
				switch {
				case what <= 2:
					var x *suit
					receipt := rapid.Uint64Range(0, 1).Draw(rt, "receipt")
					nonce := rapid.Uint64Range(0, 3).Draw(rt, "nonce")
					if rapid.Bool().Draw(rt, "of the liar") {
						x = c.sue(liar, by, nonce, o.sign(t, liar.node, receipt, lie), lie, o.run)
					} else {
						x = c.sue(good, by, nonce, o.sign(t, good.node, receipt, o.run), o.run, &against{o.run, lie})
					}
					if rapid.IntRange(0, 2).Draw(rt, "first") == 0 {
						m, err := x.challenger.Move()
						if err != nil {
							rt.Fatal(err)
						}
						x.open.Message = m
					}
					suits = append(suits, x)
					b.add(by, 200_000, ledger.KindDispute, x.open)
				case what <= 7 && len(suits) > 0:
					x := suits[rapid.IntRange(0, len(suits)-1).Draw(rt, "suit")]
					s := c.m.State()
					d, ok := ledger.DisputeAt(&s, x.id)
					if !ok || d.Judgment != nil {
						continue
					}
					x.sit(t)
					m, err := x.seats[d.Mover()].Next(&s)
					if err != nil {
						rt.Fatal(err)
					}
					old = append(old, m)
					b.add(by, 200_000, ledger.KindMove, m)
				case what == 8 && len(old) > 0:
					m := *old[rapid.IntRange(0, len(old)-1).Draw(rt, "message")]
					if len(suits) > 0 && rapid.Bool().Draw(rt, "elsewhere") {
						m.Dispute = suits[rapid.IntRange(0, len(suits)-1).Draw(rt, "to")].id
					}
					b.add(by, 200_000, ledger.KindMove, &m)
				case what == 9:
					p := c.people[rapid.IntRange(1, 2).Draw(rt, "node")]
					b.add(p, 200_000, ledger.KindUnbond, &ledger.Unbond{Role: ledger.RoleNode, Key: public(p.node)})
				}
			}
			block(b.txs...)
			if rapid.IntRange(0, 3).Draw(rt, "restart") == 0 {
				twin = reborn(t, twin)
			}
		}
		for range 2*int(c.params.Dispute.Total) + 2 {
			if tick := c.m.FreeTick(); tick != nil {
				block(tick)
			}
		}
		if c.m.FreeTick() != nil {
			rt.Fatal("games go on for ever")
		}
		for _, p := range []*person{liar, good} {
			if n := c.node(p); n.Held != 0 || p == good && n.Record.Failed > silences(c, public(p.node)) {
				rt.Fatalf("after all games: %+v", n)
			}
		}
		s := c.m.State()
		for id, d := range ledger.Disputes(&s) {
			if d.Judgment == nil || d.Bond != 0 || d.Deadline != 0 {
				rt.Fatalf("the dispute %s is open: %+v", id, d)
			}
			if r := d.Judgment.Reason; bytes.Equal(d.Prover, public(good.node)) && (r == dispute.Fraud || r == dispute.Malformed) {
				rt.Fatalf("an honest node lost by %s", r)
			}
		}
		c.now += 10_000
		block()
		s = c.m.State()
		for id := range ledger.Disputes(&s) {
			rt.Fatalf("the dispute %s is not forgotten", id)
		}
	})
}

// silences counts the disputes that a node lost because nobody sent its
// messages.
func silences(c *court, node []byte) (n uint64) {
	s := c.m.State()
	for _, d := range ledger.Disputes(&s) {
		if v := d.Judgment; v != nil && v.Winner == dispute.ChallengerParty && v.Reason == dispute.Silence && bytes.Equal(d.Prover, node) {
			n++
		}
	}
	return n
}

// FuzzMove gives any message, and a receipt with any message, to a game in which
// the challenger's, or the prover's, is due. Nobody loses by what it did not
// sign.
func FuzzMove(f *testing.F) {
	o := newOracle(f)
	setup := func(t testing.TB) (*court, *suit) {
		c := newCourt(t, o, 4)
		node, by := c.people[1], c.people[2]
		lie := o.lie(dispute.Cell{Layer: 1, Position: 5}, 2, 0)
		x := c.sue(node, by, 1, o.sign(t, node.node, 0, lie), lie, o.run)
		c.must(by, ledger.KindDispute, x.open)
		return c, x
	}
	c, x := setup(f)
	for {
		s := c.m.State()
		d := c.dispute(x)
		if d.Judgment != nil {
			break
		}
		m, err := x.seats[d.Mover()].Next(&s)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(d.Moves), m.Message)
		_, tx := c.next(x)
		c.take(tx)
	}
	c, x = setup(f)
	bases := []*ledger.Machine{reborn(f, c.m)}
	var right [][]byte
	for range 2 {
		s := c.m.State()
		m, err := x.seats[c.dispute(x).Mover()].Next(&s)
		if err != nil {
			f.Fatal(err)
		}
		right = append(right, m.Message)
		_, tx := c.next(x)
		c.take(tx)
		bases = append(bases, reborn(f, c.m))
	}
	f.Fuzz(func(t *testing.T, at uint8, message []byte) {
		if len(message) > ledger.MaxTx {
			return
		}
		at %= 3
		w := &court{world: &world{t: t, m: reborn(t, bases[at]), people: c.people, now: c.now + 100}, oracle: o, params: c.params}
		before := w.dispute(x)
		other := w.people[3]
		res, _ := w.block(w.txFee(other, 200_000, ledger.KindMove, &ledger.MakeMove{Dispute: x.id, Message: message}))
		after := w.dispute(x)
		signed := int(at) < len(right) && bytes.Equal(message, right[at])
		if !signed && res[0].Code == ledger.CodeOK && at < 2 {
			t.Errorf("a message that nobody signed was taken: %+v", after)
		}
		if res[0].Code != ledger.CodeOK && (after.Moves != before.Moves || after.Judgment != nil) {
			t.Errorf("%s: %+v, then %+v", res[0].Code, before, after)
		}
		open := *x.open
		open.Nonce, open.Message = 9, message
		if res, _ := w.block(w.txFee(other, 200_000, ledger.KindDispute, &open)); res[0].Code == ledger.CodeOK && len(message) > 0 {
			t.Error("a dispute was opened with a message of another")
		}
	})
}

// BenchmarkDisputes is a hundred disputes at once, by whole games and by proofs
// of one message. It gives the time in blocks and the bytes of transactions of
// each dispute, and the longest block.
func BenchmarkDisputes(b *testing.B) {
	o := newOracle(b)
	const n = 100
	for _, kind := range []string{"game", "proof"} {
		b.Run(kind, func(b *testing.B) {
			var size int
			var longest, total time.Duration
			var work uint64
			for b.Loop() {
				b.StopTimer()
				c := newCourt(b, o, 20)
				list := c.crowd(n)
				if kind == "proof" {
					for _, x := range list {
						x.challenger.Accuse(c.proofOf(x))
						var err error
						if x.open.Message, err = x.challenger.Move(); err != nil {
							b.Fatal(err)
						}
					}
				}
				txs := c.opening(list)
				for len(txs) > 0 {
					c.now += 100
					b.StartTimer()
					start := time.Now()
					if err := c.m.Begin(ledger.Block{Height: c.m.Height() + 1, Time: c.now, Proposer: public(c.people[0].node)}); err != nil {
						b.Fatal(err)
					}
					for _, tx := range txs {
						r := c.m.Apply(tx)
						if r.Code != ledger.CodeOK {
							b.Fatal(r.Detail)
						}
						work += r.Work
						size += len(tx)
					}
					c.m.End()
					took := time.Since(start)
					b.StopTimer()
					longest, total = max(longest, took), total+took
					txs = c.round(list)
				}
				if d := c.dispute(list[n-1]); d.Judgment == nil || d.Judgment.Winner != dispute.ChallengerParty {
					b.Fatalf("%+v", d)
				}
				b.StartTimer()
			}
			each := float64(b.N * n)
			b.ReportMetric(float64(total.Microseconds())/each/1000, "ms/dispute")
			b.ReportMetric(float64(size)/each, "bytes/dispute")
			b.ReportMetric(float64(work)/each, "work/dispute")
			b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-block")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkWork gives the time that a referee takes for the dearest messages, in
// microseconds for a unit of what they are charged: descriptions with all ids of
// a long prompt.
func BenchmarkWork(b *testing.B) {
	p := newPerson(1)
	path, err := testmodel.Models[0].Write(b.TempDir(), false)
	if err != nil {
		b.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { f.Close() })
	print, err := fingerprint.Of(b.Context(), f, 0)
	if err != nil {
		b.Fatal(err)
	}
	v, _ := f.Value("general.architecture")
	arch, _ := v.Text()
	cell := dispute.Cell{Output: true}
	header, err := print.Prove(b.Context(), dispute.HeaderRequest(arch, cell))
	if err != nil {
		b.Fatal(err)
	}
	raw, err := header.Encode()
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{10, 1000, 100_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			o, err := receipt.Commit(master, &receipt.Transcript{Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: make([]int32, n), Output: []int32{1, 2}})
			if err != nil {
				b.Fatal(err)
			}
			claims := receipt.Claims{
				Model: print.Root(), Stop: receipt.StopLength, Time: 1, Seed: receipt.NonceSeed([]byte("a nonce of an asker")),
				Params: receipt.Params{MaxTokens: 2, Temperature: 1, Context: 1 << 19},
			}
			o.Fill(&claims)
			r, err := receipt.Sign(claims, p.node)
			if err != nil {
				b.Fatal(err)
			}
			run, err := dispute.NewRun(r)
			if err != nil {
				b.Fatal(err)
			}
			d := dispute.Description{Model: raw, Opening: o.Select(dispute.OutputParts(&claims))}
			data, err := d.Encode()
			if err != nil {
				b.Fatal(err)
			}
			proof, err := (&dispute.Proof{Fault: dispute.WrongRun, Output: true, Description: data}).Encode()
			if err != nil {
				b.Fatal(err)
			}
			terms := dispute.Terms{Challenger: public(newPerson(2).node)}
			id := terms.ID(run.Claim())
			message := wire{Dispute: id, Kind: 4, Body: proof}.sign(b, newPerson(2).node, id)
			for b.Loop() {
				referee, err := dispute.NewReferee(run, terms)
				if err != nil {
					b.Fatal(err)
				}
				if err := referee.Step(message); err != nil {
					b.Fatal(err)
				}
				if o, _ := referee.Outcome(); o.Reason != dispute.Accusation || !strings.Contains(o.Detail, "can be such a run") {
					b.Fatal(o)
				}
			}
			took := float64(b.Elapsed().Nanoseconds()) / 1000 / float64(b.N)
			b.ReportMetric(took/float64(ledger.MessageWork(message)), "us/unit")
			b.ReportMetric(float64(len(message)), "bytes")
		})
	}
}
