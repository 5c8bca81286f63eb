package ledger_test

import (
	"crypto/ed25519"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/payment"
	"pgregory.net/rapid"
)

// market is a world in which people[1] offers a model at 2 and 3 units a
// million tokens.
type market struct {
	*world
	root         canon.Hash
	payer, payee *person
	key          ed25519.PrivateKey // of vouchers
}

func newMarket(t testing.TB) *market {
	k := &market{world: newWorld(t, 4, 2), root: canon.Sum("aval test model")}
	k.payee, k.payer = k.people[1], k.people[2]
	seed := canon.Sum("aval test voucher key")
	k.key = ed25519.NewKeyFromSeed(seed[:])
	k.bond(k.payee, 200*ledger.Unit)
	k.must(k.payee, ledger.KindModel, &ledger.Register{Root: k.root, Name: "mini", Numerics: "1", Licence: "MIT"})
	k.must(k.payee, ledger.KindOffer, &ledger.SetOffer{Key: public(k.payee.node), Model: k.root, Offer: &ledger.Offer{PriceIn: 2 * ledger.Unit, PriceOut: 3 * ledger.Unit}})
	return k
}

func (k *market) terms() *ledger.Open {
	return &ledger.Open{Node: public(k.payee.node), Model: k.root, Escrow: 10 * ledger.Unit, Expires: k.now + 10_000, Key: public(k.key), PriceIn: 2 * ledger.Unit, PriceOut: 4 * ledger.Unit}
}

// open opens a session and gives its identity.
func (k *market) open() canon.Hash {
	k.t.Helper()
	return k.must(k.payer, ledger.KindOpen, k.terms()).ID
}

func (k *market) session(id canon.Hash) *ledger.Session {
	return state[ledger.Session](k.world, ledger.SessionKey(id))
}

func (k *market) voucher(id canon.Hash, n ledger.Amount) *payment.Voucher {
	v := &payment.Voucher{Chain: chain, Session: id, Amount: uint64(n), Answers: 1}
	v.Sign(k.key)
	return v
}

func TestSession(t *testing.T) {
	k := newMarket(t)
	before, had := k.account(k.payer).Balance, k.account(k.payee).Balance
	res := k.must(k.payer, ledger.KindOpen, k.terms())
	id := res.ID
	before -= res.Fee
	s := k.session(id)
	if s == nil || s.PriceIn != 2*ledger.Unit || s.PriceOut != 3*ledger.Unit || s.Operator != k.payee.addr {
		t.Fatalf("the session is %+v, want one at the offer's prices", s)
	}
	if got := k.account(k.payer).Balance; got != before-10*ledger.Unit {
		t.Errorf("the payer has %d, want %d less than %d", got, 10*ledger.Unit, before)
	}
	v := k.voucher(id, 7)
	k.fails(ledger.CodeForbidden, "pays the account", k.payer, ledger.KindSettle, ledger.SettleWith(id, v))
	before = k.account(k.payer).Balance
	res = k.must(k.payee, ledger.KindSettle, ledger.SettleWith(id, v))
	if got := k.account(k.payer).Balance; got != before+10*ledger.Unit-7 {
		t.Errorf("the payer has %d, want all but 7 back", got)
	}
	if got := k.account(k.payee).Balance; got != had+7-res.Fee {
		t.Errorf("the operator has %d, want 7 more than %d without the fee", got, had)
	}
	k.fails(ledger.CodeNotFound, "no open session", k.payee, ledger.KindSettle, ledger.SettleWith(id, v))
	// Its deadline went with it.
	k.now += 100_000
	if _, out := k.block(); len(out.Events) != 0 {
		t.Errorf("after its end: %+v", out.Events)
	}
}

func TestOpenRefuses(t *testing.T) {
	k := newMarket(t)
	for _, c := range []struct {
		name, text string
		code       ledger.Code
		change     func(*ledger.Open)
	}{
		{"no escrow", "without an escrow", ledger.CodeRefused, func(m *ledger.Open) { m.Escrow = 0 }},
		{"more than there is", "the account has", ledger.CodeFunds, func(m *ledger.Open) { m.Escrow = ledger.MaxSupply }},
		{"a dearer node", "asks for", ledger.CodeRefused, func(m *ledger.Open) { m.PriceOut = 2 * ledger.Unit }},
		{"a past end", "expire", ledger.CodeRefused, func(m *ledger.Open) { m.Expires = k.now }},
		{"a far end", "expire", ledger.CodeRefused, func(m *ledger.Open) { m.Expires = k.now + 31*ledger.Day }},
		{"a weak key", "key", ledger.CodeRefused, func(m *ledger.Open) { m.Key = make([]byte, 32) }},
		{"no node", "no node", ledger.CodeNotFound, func(m *ledger.Open) { m.Node = public(k.payer.node) }},
		{"another model", "does not offer", ledger.CodeNotFound, func(m *ledger.Open) { m.Model[0] ^= 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := k.terms()
			c.change(m)
			k.fails(c.code, c.text, k.payer, ledger.KindOpen, m)
		})
	}
	k.must(k.payee, ledger.KindRevoke, &ledger.Revoke{Root: k.root, Reason: "x"})
	k.fails(ledger.CodeRefused, "revoked", k.payer, ledger.KindOpen, k.terms())
}

// TestSettleRefuses: a voucher counts for one session of one chain, up to its
// escrow, with its key's signature, in its time.
func TestSettleRefuses(t *testing.T) {
	k := newMarket(t)
	id, other := k.open(), k.open()
	signed := func(change func(*payment.Voucher)) *ledger.Settle {
		v := &payment.Voucher{Chain: chain, Session: id, Amount: 7}
		change(v)
		v.Sign(k.key)
		return ledger.SettleWith(id, v)
	}
	more := ledger.SettleWith(id, k.voucher(id, 7))
	more.Amount++
	counts := ledger.SettleWith(id, k.voucher(id, 7))
	counts.Answers++
	bare := &ledger.Settle{Session: id, Amount: 1}
	foreign := k.voucher(id, 7)
	foreign.Sign(k.payee.key)
	for _, c := range []struct {
		name, text string
		code       ledger.Code
		settle     *ledger.Settle
	}{
		{"another session's", "did not sign", ledger.CodeRefused, signed(func(v *payment.Voucher) { v.Session = other })},
		{"another chain's", "did not sign", ledger.CodeRefused, signed(func(v *payment.Voucher) { v.Chain = "other" })},
		{"more than signed", "did not sign", ledger.CodeRefused, more},
		{"other counts than signed", "did not sign", ledger.CodeRefused, counts},
		{"another key's", "did not sign", ledger.CodeRefused, ledger.SettleWith(id, foreign)},
		{"no signature", "did not sign", ledger.CodeRefused, bare},
		{"more than the escrow", "more than the session holds", ledger.CodeRefused, signed(func(v *payment.Voucher) { v.Amount = 10*uint64(ledger.Unit) + 1 })},
	} {
		t.Run(c.name, func(t *testing.T) { k.fails(c.code, c.text, k.payee, ledger.KindSettle, c.settle) })
	}
	// Nothing signed: everything goes back at once.
	before := k.account(k.payer).Balance
	k.must(k.payee, ledger.KindSettle, ledger.SettleWith(id, nil))
	if got := k.account(k.payer).Balance; got != before+10*ledger.Unit {
		t.Errorf("the payer has %d, want all of the escrow back", got)
	}
	k.now += 12_000
	k.fails(ledger.CodeRefused, "could be settled until", k.payee, ledger.KindSettle, ledger.SettleWith(other, k.voucher(other, 7)))
	if k.session(other) != nil {
		t.Error("a session that nobody settled in time is still there")
	}
	if got := k.account(k.payer).Balance; got != before+20*ledger.Unit {
		t.Errorf("the payer has %d, want the other escrow back, too", got)
	}
}

func TestSettleInTheGrace(t *testing.T) {
	k := newMarket(t)
	id := k.open()
	until := k.session(id).Until
	k.now = until - 100
	k.must(k.payee, ledger.KindSettle, ledger.SettleWith(id, k.voucher(id, 10*ledger.Unit)))
}

func TestClose(t *testing.T) {
	k := newMarket(t)
	id := k.open()
	agreed := func(id canon.Hash, n ledger.Amount) *ledger.Close {
		return &ledger.Close{Session: id, Amount: n, Proof: ledger.AgreeClose(k.payee.node, chain, id, n)}
	}
	cheap := agreed(id, 9)
	cheap.Amount = 8
	k.fails(ledger.CodeRefused, "did not sign", k.payer, ledger.KindClose, cheap)
	k.fails(ledger.CodeForbidden, "is of the account", k.payee, ledger.KindClose, agreed(id, 9))
	k.fails(ledger.CodeFunds, "holds", k.payer, ledger.KindClose, agreed(id, 11*ledger.Unit))
	had := k.account(k.payee).Balance
	k.must(k.payer, ledger.KindClose, agreed(id, 9))
	if got := k.account(k.payee).Balance; got != had+9 {
		t.Errorf("the operator has %d, want 9 more than %d", got, had)
	}
	k.fails(ledger.CodeNotFound, "no open session", k.payer, ledger.KindClose, agreed(id, 9))
}

// TestSessionOfADevice: what a device set aside comes back to its limit, but
// not to one that was set since.
func TestSessionOfADevice(t *testing.T) {
	k := newMarket(t)
	phone := k.people[3].node
	nonce := uint64(0)
	open := func() canon.Hash {
		t.Helper()
		b, err := ledger.NewBody(chain, k.payer.addr, nonce, fee, ledger.KindOpen, k.terms())
		if err != nil {
			t.Fatal(err)
		}
		nonce++
		tx, err := b.Sign(ledger.Single(public(phone)), phone)
		if err != nil {
			t.Fatal(err)
		}
		res, _ := k.block(tx)
		if res[0].Code != ledger.CodeOK {
			t.Fatalf("%s: %s", res[0].Code, res[0].Detail)
		}
		return res[0].ID
	}
	limit := func() ledger.Amount {
		return state[ledger.Device](k.world, []byte("d"), k.payer.addr[:], public(phone)).Limit
	}
	k.must(k.payer, ledger.KindAuthorise, &ledger.Authorise{Key: public(phone), Limit: 30 * ledger.Unit, Expires: k.now + 100_000})
	first, second := open(), open()
	left := limit()
	if left >= 10*ledger.Unit {
		t.Fatalf("the device may spend %d after two escrows of %d", left, 10*ledger.Unit)
	}
	k.must(k.payee, ledger.KindSettle, ledger.SettleWith(first, k.voucher(first, 4)))
	if got := limit(); got != left+10*ledger.Unit-4 {
		t.Errorf("the device may spend %d, want %d more all but 4", got, left)
	}
	k.must(k.payer, ledger.KindAuthorise, &ledger.Authorise{Key: public(phone), Limit: 0, Expires: k.now + 100_000})
	k.must(k.payee, ledger.KindSettle, ledger.SettleWith(second, nil))
	if got := limit(); got != 0 {
		t.Errorf("a device that may spend nothing has %d back", got)
	}
}

// TestSessionBounds holds what both may gain and lose, whatever they send: the
// operator never gets more than the largest voucher that was signed for it, the
// payer never pays more than that.
func TestSessionBounds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		k := newMarket(t)
		k.t = t
		id, other := k.open(), k.open()
		escrow := 10 * ledger.Unit
		amounts := rapid.Custom(func(rt *rapid.T) ledger.Amount {
			return ledger.Amount(rapid.OneOf(rapid.Uint64Range(0, uint64(escrow)+2), rapid.Just(uint64(escrow)), rapid.Just(uint64(ledger.MaxSupply))).Draw(rt, "amount"))
		})
		signed := map[canon.Hash][]*payment.Voucher{}
		best, paid := map[canon.Hash]ledger.Amount{}, map[canon.Hash]ledger.Amount{}
		for range rapid.IntRange(0, 4).Draw(rt, "vouchers") {
			to := rapid.SampledFrom([]canon.Hash{id, other}).Draw(rt, "to")
			v := k.voucher(to, amounts.Draw(rt, "amount"))
			signed[to] = append(signed[to], v)
			best[to] = max(best[to], ledger.Amount(v.Amount))
		}
		payer, payee := k.account(k.payer).Balance, k.account(k.payee).Balance
		var fees [2]ledger.Amount
		for range rapid.IntRange(1, 5).Draw(rt, "attempts") {
			of := rapid.SampledFrom([]canon.Hash{id, other}).Draw(rt, "of")
			all := append(append([]*payment.Voucher{nil}, signed[id]...), signed[other]...)
			m := ledger.SettleWith(of, rapid.SampledFrom(all).Draw(rt, "voucher"))
			if rapid.Bool().Draw(rt, "forged") {
				m.Amount = amounts.Draw(rt, "forged amount")
			}
			res := k.do(k.payee, ledger.KindSettle, m)
			fees[1] += res.Fee
			if res.Code == ledger.CodeOK {
				paid[of] = m.Amount
				if m.Amount > best[of] {
					rt.Fatalf("settled for %d, the best voucher is of %d", m.Amount, best[of])
				}
			}
			k.now += uint64(rapid.IntRange(0, 8000).Draw(rt, "wait"))
		}
		k.now += 20_000
		k.block()
		sum := paid[id] + paid[other]
		if got, want := k.account(k.payer).Balance, payer+2*escrow-sum; got != want {
			rt.Fatalf("the payer has %d, want %d", got, want)
		}
		if got, want := k.account(k.payee).Balance, payee+sum-fees[1]; got != want {
			rt.Fatalf("the operator has %d, want %d", got, want)
		}
	})
}
