package payment_test

import (
	"crypto/ed25519"
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/payment"
	"pgregory.net/rapid"
)

func key(name string) ed25519.PrivateKey {
	seed := canon.Sum("aval test voucher key", []byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func terms(escrow uint64) payment.Terms {
	return payment.Terms{
		Chain: "test", Session: canon.Sum("aval test session"), Escrow: escrow,
		PriceIn: 2_000_000, PriceOut: 3_000_000, Key: key("payer").Public().(ed25519.PublicKey),
	}
}

func TestVoucher(t *testing.T) {
	s := terms(100)
	good := payment.Voucher{Chain: s.Chain, Session: s.Session, Amount: 7, Answers: 1}
	good.Sign(key("payer"))
	if err := good.Verify(&s); err != nil {
		t.Fatal(err)
	}
	raw, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	again, err := payment.DecodeVoucher(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Verify(&s); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(v *payment.Voucher, s *payment.Terms)
		sign   bool
		want   error
	}{
		"another chain":        {func(v *payment.Voucher, _ *payment.Terms) { v.Chain = "other" }, true, payment.ErrChain},
		"another session":      {func(v *payment.Voucher, _ *payment.Terms) { v.Session[0] ^= 1 }, true, payment.ErrSession},
		"chain forged":         {func(v *payment.Voucher, s *payment.Terms) { v.Chain, s.Chain = "other", "other" }, false, payment.ErrSignature},
		"session forged":       {func(v *payment.Voucher, s *payment.Terms) { v.Session[0] ^= 1; s.Session[0] ^= 1 }, false, payment.ErrSignature},
		"amount forged":        {func(v *payment.Voucher, _ *payment.Terms) { v.Amount++ }, false, payment.ErrSignature},
		"answers forged":       {func(v *payment.Voucher, _ *payment.Terms) { v.Answers++ }, false, payment.ErrSignature},
		"no signature":         {func(v *payment.Voucher, _ *payment.Terms) { v.Signature = nil }, false, payment.ErrSignature},
		"more than it holds":   {func(v *payment.Voucher, s *payment.Terms) { v.Amount = s.Escrow + 1 }, true, payment.ErrEscrow},
		"another key":          {func(_ *payment.Voucher, s *payment.Terms) { s.Key = key("other").Public().(ed25519.PublicKey) }, false, payment.ErrSignature},
		"a key of small order": {func(_ *payment.Voucher, s *payment.Terms) { s.Key = make([]byte, 32) }, false, payment.ErrKey},
	} {
		t.Run(name, func(t *testing.T) {
			v, s := good, s
			c.change(&v, &s)
			if c.sign {
				v.Sign(key("payer"))
			}
			if err := v.Verify(&s); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

// FuzzVoucher: what is read is what is written.
func FuzzVoucher(f *testing.F) {
	v := payment.Voucher{Chain: "test", Amount: 7}
	v.Sign(key("payer"))
	raw, err := v.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := payment.DecodeVoucher(data)
		if err != nil {
			return
		}
		again, err := v.Encode()
		if err != nil || string(again) != string(data) {
			t.Fatalf("%x came back as %x: %v", data, again, err)
		}
		v.Message()
	})
}

// TestCost compares with numbers of any size.
func TestCost(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		number := rapid.OneOf(rapid.Uint64Range(0, 3_000_000), rapid.Uint64())
		s := &payment.Terms{PriceIn: number.Draw(rt, "in price"), PriceOut: number.Draw(rt, "out price")}
		in, out := number.Draw(rt, "in"), number.Draw(rt, "out")
		n := func(a uint64) *big.Int { return new(big.Int).SetUint64(a) }
		want := new(big.Int).Mul(n(s.PriceIn), n(in))
		want.Add(want, new(big.Int).Mul(n(s.PriceOut), n(out)))
		want.Add(want, n(999_999))
		want.Div(want, n(1_000_000))
		if !want.IsUint64() {
			want = n(math.MaxUint64)
		}
		if got := s.Cost(in, out); n(got).Cmp(want) != 0 {
			rt.Fatalf("%d and %d tokens at %d and %d cost %d, want %s", in, out, s.PriceIn, s.PriceOut, got, want)
		}
	})
}

// TestBothBounded plays sessions of answers that end or break anywhere, over a
// way that loses vouchers and tokens, and holds both sides to their bounds: the
// node computes only what is covered, and nothing is signed for but what came,
// what broken answers lost, and one step.
func TestBothBounded(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := terms(rapid.Uint64Range(1, 400).Draw(rt, "escrow"))
		purse, err := payment.NewPurse(s, key("payer"), payment.State{})
		if err != nil {
			rt.Fatal(err)
		}
		var kept payment.State
		var lost uint64 // at most: what was signed for and had not come when answers broke off
		var came uint64
		for range rapid.IntRange(1, 5).Draw(rt, "answers") {
			if rapid.Bool().Draw(rt, "restart") {
				if purse, err = payment.NewPurse(s, key("payer"), purse.State()); err != nil {
					rt.Fatal(err)
				}
			}
			till, err := payment.NewTill(s, kept)
			if err != nil {
				rt.Fatal(err)
			}
			end := func(read bool) {
				if err := till.End(read, func(s payment.State) error { kept = s; return nil }); err != nil {
					rt.Fatal(err)
				}
			}
			in, step := rapid.Uint64Range(1, 20).Draw(rt, "prompt"), rapid.Uint64Range(1, 16).Draw(rt, "step")
			var old uint64 // signed for before, when a step may have been longer
			if v := purse.State().Voucher; v != nil {
				old = v.Amount
			}
			used, err := till.Begin(in)
			if err != nil {
				rt.Fatal(err)
			}
			v, err := purse.Begin(used, in, step, 0)
			if errors.Is(err, payment.ErrSpent) {
				end(false)
				continue
			} else if err != nil {
				rt.Fatal(err)
			}
			pay := func(v *payment.Voucher) {
				if v == nil || rapid.IntRange(0, 9).Draw(rt, "voucher lost") == 0 {
					return
				}
				if err := till.Take(v, nil); err != nil {
					rt.Fatal(err)
				}
			}
			pay(v)
			before, got, whole, read := came, uint64(0), true, false
			for n := range rapid.Uint64Range(0, 40).Draw(rt, "tokens") {
				if missing, _ := till.Covers(n + 1); missing > 0 {
					whole = false // unpaid
					break
				}
				read = true
				till.Gave(1)
				if rapid.IntRange(0, 19).Draw(rt, "breaks") == 0 {
					whole = false
					break
				}
				got++
				pay(purse.Got(1))
				signed := purse.State().Voucher.Amount
				if most := max(old, before+s.Cost(in, got+step)+lost); signed > most {
					rt.Fatalf("signed for %d, came for %d, lost at most %d, a step of %d", signed, s.Cost(in, got), lost, step)
				}
			}
			if !read {
				whole = false
			}
			came += s.Cost(in, got)
			purse.End(whole)
			end(read)
			a, b := purse.State(), kept
			if !whole {
				lost = a.Voucher.Amount - min(a.Voucher.Amount, came)
			}
			if b.Used > 0 && b.Used > b.Voucher.Amount {
				rt.Fatalf("the node used %d of %d", b.Used, b.Voucher.Amount)
			}
			if whole && a.Used != b.Used {
				rt.Fatalf("after a whole answer the payer counts %d, the node %d", a.Used, b.Used)
			}
		}
	})
}

// TestGreedyNode: what a node counts too much, nobody signs for.
func TestGreedyNode(t *testing.T) {
	s := terms(1000)
	p, err := payment.NewPurse(s, key("payer"), payment.State{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Begin(1, 3, 4, 0); !errors.Is(err, payment.ErrCount) {
		t.Errorf("a count before the first answer: %v", err)
	}
	if _, err := p.Begin(0, 1000, 4, 0); !errors.Is(err, payment.ErrSpent) {
		t.Errorf("a prompt that costs more than there is: %v", err)
	}
	if _, err := p.Begin(0, 3, 4, 5); !errors.Is(err, payment.ErrSpent) {
		t.Errorf("a prompt that costs more than may be spent: %v", err)
	}
	v, err := p.Begin(0, 3, 4, 30)
	if err != nil || v.Amount != 3*2+4*3 {
		t.Fatalf("the first voucher is %+v, %v", v, err)
	}
	if _, err := p.Begin(0, 3, 4, 0); !errors.Is(err, payment.ErrInUse) {
		t.Errorf("two answers at a time: %v", err)
	}
	for range 20 {
		p.Got(1)
	}
	if got := p.State().Voucher.Amount; got != 30 {
		t.Errorf("signed for %d, want the 30 that may be spent", got)
	}
	p.End(true)
	// What it cost is known, and another count is not taken.
	if _, err := p.Begin(31, 3, 4, 0); !errors.Is(err, payment.ErrCount) {
		t.Errorf("a count beyond: %v", err)
	}
}

func TestTill(t *testing.T) {
	s := terms(1000)
	till, err := payment.NewTill(s, payment.State{})
	if err != nil {
		t.Fatal(err)
	}
	voucher := func(n uint64) *payment.Voucher {
		v := &payment.Voucher{Chain: s.Chain, Session: s.Session, Amount: n}
		v.Sign(key("payer"))
		return v
	}
	if _, err := till.Begin(3); err != nil {
		t.Fatal(err)
	}
	missing, more := till.Covers(1)
	if missing != 9 {
		t.Fatalf("%d is missing, want 9", missing)
	}
	broken := errors.New("the disk is full")
	if err := till.Take(voucher(9), func(payment.State) error { return broken }); !errors.Is(err, broken) {
		t.Errorf("a voucher that cannot be kept: %v", err)
	}
	if missing, _ := till.Covers(1); missing != 9 {
		t.Error("a voucher that could not be kept counts")
	}
	var kept payment.State
	if err := till.Take(voucher(9), func(s payment.State) error { kept = s; return nil }); err != nil {
		t.Fatal(err)
	}
	select {
	case <-more:
	default:
		t.Error("who waits is not told")
	}
	if kept.Voucher.Amount != 9 || !kept.Broken {
		t.Errorf("kept is %+v", kept)
	}
	if err := till.Take(voucher(8), nil); !errors.Is(err, payment.ErrOld) {
		t.Errorf("an old voucher: %v", err)
	}
	till.Gave(1)
	if err := till.End(true, func(s payment.State) error { kept = s; return nil }); err != nil || kept.Used != 9 || kept.Broken {
		t.Errorf("after the answer: %+v, %v", kept, err)
	}
	if err := till.Take(voucher(10), nil); !errors.Is(err, payment.ErrClosed) {
		t.Errorf("a voucher after the answer: %v", err)
	}
	if _, err := payment.NewTill(s, payment.State{Used: 1}); err == nil {
		t.Error("a state with more used than promised is taken")
	}
}
