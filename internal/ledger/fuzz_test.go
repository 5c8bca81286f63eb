package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/receipt"
	"pgregory.net/rapid"
)

// TestRandom lets people do anything, in blocks of any content, and holds the
// states to what world.sound says; and a second machine, which begins with a
// snapshot, to the same roots.
func TestRandom(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newMarket(t).world
		var snapshot bytes.Buffer
		if err := w.m.Snapshot(&snapshot); err != nil {
			rt.Fatal(err)
		}
		twin, err := ledger.Restore(&snapshot)
		if err != nil {
			rt.Fatal(err)
		}
		amount := rapid.OneOf(rapid.Just(ledger.Amount(0)), rapid.Just(ledger.Amount(1)), rapid.Just(100*ledger.Unit), rapid.Just(1500*ledger.Unit), rapid.Just(ledger.MaxSupply))
		who := rapid.IntRange(0, 3)
		root := canon.Sum("aval test model")
		var sessions []canon.Hash
		params := newGenesis(w.people, 2).Params
		var opened []canon.Hash // disputes, maybe
		for range rapid.IntRange(1, 8).Draw(rt, "blocks") {
			var txs [][]byte
			sent := map[int]uint64{}
			for range rapid.IntRange(0, 4).Draw(rt, "transactions") {
				i := who.Draw(rt, "sender")
				p, other := w.people[i], w.people[who.Draw(rt, "other")]
				key := public(other.node)
				var kind ledger.Kind
				var payload any
				switch rapid.IntRange(0, 14).Draw(rt, "kind") {
				case 0:
					kind, payload = ledger.KindTransfer, &ledger.Transfer{To: other.addr, Amount: amount.Draw(rt, "amount")}
				case 1:
					kind, payload = ledger.KindBurn, &ledger.Burn{Amount: amount.Draw(rt, "amount")}
				case 2:
					kind, payload = ledger.KindBond, &ledger.Bond{Key: key, Amount: amount.Draw(rt, "amount"), Proof: ledger.ProveBond(other.node, chain, ledger.RoleNode, p.addr)}
				case 3:
					kind, payload = ledger.KindUnbond, &ledger.Unbond{Role: ledger.Role(rapid.IntRange(0, 3).Draw(rt, "role")), Key: key, Amount: amount.Draw(rt, "amount")}
				case 4:
					kind, payload = ledger.KindCandidate, &ledger.Candidate{Key: key, Amount: amount.Draw(rt, "amount"), Proof: ledger.ProveBond(other.node, chain, ledger.RoleValidator, p.addr)}
				case 5:
					kind, payload = ledger.KindVote, &ledger.Vote{Validator: public(p.node), Against: rapid.Bool().Draw(rt, "against"), Change: ledger.Change{Power: &ledger.PowerChange{Key: key, Power: uint64(rapid.IntRange(0, 2).Draw(rt, "power"))}}}
				case 6:
					kind, payload = ledger.KindModel, &ledger.Register{Root: root, Name: "m", Numerics: "1", Licence: "MIT"}
				case 7:
					kind, payload = ledger.KindOffer, &ledger.SetOffer{Key: key, Model: root, Offer: &ledger.Offer{PriceIn: 1}}
				case 8:
					kind, payload = ledger.KindAuthorise, &ledger.Authorise{Key: key, Limit: amount.Draw(rt, "amount"), Expires: w.now}
				case 9:
					kind, payload = ledger.KindOpen, &ledger.Open{Node: key, Model: root, Escrow: amount.Draw(rt, "amount"), Expires: w.now + 500, Key: public(p.node), PriceIn: 1}
				case 10:
					id := rapid.SampledFrom(append(sessions, root)).Draw(rt, "session")
					v := &payment.Voucher{Chain: chain, Session: id, Amount: uint64(amount.Draw(rt, "amount"))}
					v.Sign(other.node)
					kind, payload = ledger.KindSettle, ledger.SettleWith(id, v)
				case 14:
					maker, err := ledger.NewBeaconMaker(other.node)
					if err != nil {
						rt.Fatal(err)
					}
					if kind, payload, err = maker.Next(w.m); err != nil {
						rt.Fatal(err)
					}
					if payload == nil {
						kind, payload = ledger.KindDeal, &ledger.Deal{Key: key, Epoch: w.m.BeaconEpoch(), Dealing: root[:]}
					}
				case 11:
					id := rapid.SampledFrom(append(sessions, root)).Draw(rt, "session")
					n := amount.Draw(rt, "amount")
					kind, payload = ledger.KindClose, &ledger.Close{Session: id, Amount: n, Proof: ledger.AgreeClose(other.node, chain, id, n)}
				case 12:
					r := claimed(t, other.node)
					m := &ledger.OpenDispute{Receipt: r.Bytes(), Challenger: public(p.node), Nonce: uint64(i)}
					run, err := dispute.NewRun(r)
					if err != nil {
						rt.Fatal(err)
					}
					terms := params.DisputeTerms(chain, p.addr, m.Challenger, m.Nonce)
					opened = append(opened, terms.ID(run.Claim()))
					kind, payload = ledger.KindDispute, m
				case 13:
					m := &ledger.MakeMove{Message: []byte{1}}
					if len(opened) > 0 {
						m.Dispute = rapid.SampledFrom(opened).Draw(rt, "dispute")
						m.Message = wire{Dispute: m.Dispute, Kind: uint8(rapid.IntRange(1, 2).Draw(rt, "message")), Body: []byte{0x80}}.sign(t, other.node, m.Dispute)
					}
					kind, payload = ledger.KindMove, m
				}
				tx := w.tx(p, sent[i], kind, payload)
				if kind == ledger.KindOpen {
					sessions = append(sessions, ledger.TxID(tx))
				}
				txs = append(txs, tx)
				sent[i]++
			}
			b := ledger.Block{Height: w.m.Height() + 1, Proposer: public(w.people[0].node)}
			w.now += uint64(rapid.SampledFrom([]int{0, 1, 400, 2000}).Draw(rt, "wait"))
			b.Time = w.now
			if rapid.IntRange(0, 9).Draw(rt, "misbehaviour") == 0 {
				b.Misbehaving = []ledger.Misbehaviour{{Key: public(w.people[who.Draw(rt, "who")].node), Height: 1}}
			}
			_, out := w.blockWith(b, txs...)
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
	})
}

// FuzzApply gives the machine any bytes as a transaction.
func FuzzApply(f *testing.F) {
	w := newWorld(f, 2, 1)
	p := w.people[1]
	f.Add(w.tx(p, 0, ledger.KindTransfer, &ledger.Transfer{To: p.addr, Amount: 1}))
	f.Add(w.tx(p, 0, ledger.KindVote, &ledger.Vote{Validator: public(p.node), Change: ledger.Change{Note: "x"}}))
	f.Add([]byte("aval tick/1\x00\x00\x00\x00\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, data []byte) {
		w := newWorld(t, 2, 1)
		root := w.m.Root()
		res, out := w.block(data)
		if res[0].Code != ledger.CodeOK && res[0].Code < ledger.CodeRefused && out.Root != root {
			t.Errorf("%s: the state changed", res[0].Code)
		}
	})
}

// FuzzContent gives each kind any content, rightly signed.
func FuzzContent(f *testing.F) {
	for _, k := range ledger.Kinds() {
		f.Add(uint16(k), []byte{0xa0})
	}
	f.Fuzz(func(t *testing.T, kind uint16, content []byte) {
		w := newWorld(t, 2, 1)
		p := w.people[0]
		if len(content) > ledger.MaxTx/2 {
			return
		}
		b := &ledger.Body{Chain: chain, Account: p.addr, MaxFee: 1_000_000, Kind: ledger.Kind(kind), Content: content}
		tx, err := b.Sign(p.policy, p.key)
		if err != nil {
			t.Fatal(err)
		}
		w.block(tx)
	})
}

// BenchmarkBlock is a block of 1,000 transfers between 10,000 accounts.
func BenchmarkBlock(b *testing.B) {
	w := newWorld(b, 10_000, 4)
	for b.Loop() {
		b.StopTimer()
		var txs [][]byte
		for i := range 1000 {
			txs = append(txs, w.tx(w.people[(i*7+int(w.m.Height()))%10_000], 0, ledger.KindTransfer, &ledger.Transfer{To: w.people[(i*13)%10_000].addr, Amount: 1}))
		}
		w.now += 100
		b.StartTimer()
		if err := w.m.Begin(ledger.Block{Height: w.m.Height() + 1, Time: w.now, Proposer: public(w.people[0].node)}); err != nil {
			b.Fatal(err)
		}
		for _, tx := range txs {
			if r := w.m.Apply(tx); r.Code != ledger.CodeOK {
				b.Fatal(r.Detail)
			}
		}
		w.m.End()
	}
}

// claimed is a receipt that a node signed, of a run that nobody knows.
func claimed(t testing.TB, node ed25519.PrivateKey) receipt.Receipt {
	t.Helper()
	o, err := receipt.Commit(receipt.Salt{1}, &receipt.Transcript{Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: []int32{1}, Output: []int32{2}})
	if err != nil {
		t.Fatal(err)
	}
	c := receipt.Claims{
		Model: canon.Sum("aval test model"), Stop: receipt.StopLength, Time: 1, Seed: receipt.SelfSeed(1),
		Params: receipt.Params{MaxTokens: 1},
	}
	o.Fill(&c)
	r, err := receipt.Sign(c, node)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
