package remote_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// bank is the sessions of a provider, in memory.
type bank struct {
	mu     sync.Mutex
	free   bool
	terms  map[receipt.Hash]payment.Terms
	states map[receipt.Hash]payment.State
	keep   error // of Keep
}

func (b *bank) paid(context.Context, peer.ID, remote.Model) bool { return !b.free }

func (b *bank) Session(_ context.Context, id receipt.Hash) (payment.Terms, payment.State, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t, ok := b.terms[id]
	if !ok {
		return t, payment.State{}, errors.New("there is no such session")
	}
	return t, b.states[id], nil
}

func (b *bank) Keep(_ context.Context, id receipt.Hash, s payment.State) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keep != nil {
		return b.keep
	}
	b.states[id] = s
	return nil
}

func (b *bank) state(id receipt.Hash) payment.State {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.states[id]
}

var voucherKey = key(77)

func (w *world) terms() payment.Terms {
	return payment.Terms{
		Chain: "test", Session: receipt.Hash{1}, Node: id(provider).Public(), Model: w.host.root, Escrow: 1000,
		PriceIn: 2e6, PriceOut: 3e6, Key: voucherKey.Public().(ed25519.PublicKey), Expires: 1 << 60,
	}
}

// paying is a world in which the provider wants to be paid, and the caller has a
// session.
func paying(t *testing.T, cfg remote.Config, change func(*payment.Terms)) (*world, *bank) {
	t.Helper()
	b := &bank{terms: map[receipt.Hash]payment.Terms{}, states: map[receipt.Hash]payment.State{}}
	cfg.Paid, cfg.Sessions, cfg.Logger = b.paid, b, slog.New(slog.NewTextHandler(io.Discard, nil))
	w := newWorld(t, cfg)
	terms := w.terms()
	if change != nil {
		change(&terms)
	}
	b.terms[terms.Session] = terms
	purse, err := payment.NewPurse(terms, voucherKey, payment.State{})
	if err != nil {
		t.Fatal(err)
	}
	w.client.Pay = &remote.Paying{Purse: purse}
	return w, b
}

func TestPay(t *testing.T) {
	w, b := paying(t, remote.Config{Step: 4}, nil)
	terms := w.terms()
	var due uint64
	var most uint64
	w.client.Pay.Keep = func(s payment.State) error { most = max(most, s.Voucher.Amount); return nil }
	for range 3 {
		begin, in, out := due, uint64(0), uint64(0)
		a, err := w.client.Ask(t.Context(), request(), func(d remote.Delta) error {
			if d.Start != nil {
				in = uint64(len(d.Start.PromptIDs))
			}
			out += uint64(len(d.IDs))
			// Never more than what came and one step.
			if got, bound := w.client.Pay.Purse.State().Voucher.Amount, begin+terms.Cost(in, out+4); got > bound {
				t.Errorf("signed for %d after %d tokens, want at most %d", got, out, bound)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		due += terms.Cost(uint64(len(a.PromptIDs)), uint64(len(a.IDs)))
		mine, theirs := w.client.Pay.Purse.State(), b.state(terms.Session)
		if mine.Used != due || theirs.Used != due || theirs.Voucher.Amount < due || theirs.Voucher.Amount > due+terms.Cost(0, 4) || theirs.Broken {
			t.Errorf("answers for %d: the caller counts %+v, the provider %+v", due, mine, theirs)
		}
	}
	if most != w.client.Pay.Purse.State().Voucher.Amount {
		t.Errorf("kept is %d", most)
	}
	w.closed(t)
}

// TestFreeStaysFree: a free model takes nothing, whatever the caller offers.
func TestFreeStaysFree(t *testing.T) {
	w, b := paying(t, remote.Config{}, nil)
	b.free = true
	if _, err := w.client.Ask(t.Context(), request(), nil); err != nil {
		t.Fatal(err)
	}
	if v := w.client.Pay.Purse.State().Voucher; v != nil {
		t.Errorf("signed for %d", v.Amount)
	}
	list, err := w.client.Models(t.Context())
	if err != nil || list[0].Paid {
		t.Errorf("%+v, %v", list, err)
	}
	b.free = false
	list, err = w.client.Models(t.Context())
	if err != nil || !list[0].Paid {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestPayRefused: answers that nobody pays for are not begun.
func TestPayRefused(t *testing.T) {
	for name, c := range map[string]struct {
		terms  func(*payment.Terms) // that the provider sees
		change func(w *world, b *bank, r *remote.Request)
		says   string
	}{
		"no session":      {change: func(w *world, _ *bank, _ *remote.Request) { w.client.Pay = nil }, says: "open a session"},
		"unknown session": {change: func(_ *world, b *bank, _ *remote.Request) { clear(b.terms) }, says: "no such session"},
		"expired":         {terms: func(t *payment.Terms) { t.Expires = 1 }, says: "has expired"},
		"another model": {change: func(w *world, b *bank, _ *remote.Request) {
			t := w.terms()
			t.Model[0] ^= 1
			b.terms[t.Session] = t
		}, says: "is for the model"},
		"another node": {change: func(w *world, b *bank, _ *remote.Request) {
			t := w.terms()
			t.Node = id(caller).Public()
			b.terms[t.Session] = t
		}, says: "pays another node"},
		"another key": {change: func(w *world, b *bank, _ *remote.Request) {
			t := w.terms()
			t.Key = key(78).Public().(ed25519.PublicKey)
			b.terms[t.Session] = t
		}, says: "did not sign"},
		"another chain": {change: func(w *world, b *bank, _ *remote.Request) {
			t := w.terms()
			t.Chain = "other"
			b.terms[t.Session] = t
		}, says: "another chain"},
		"too small":          {terms: func(t *payment.Terms) { t.Escrow = 4 }, says: "costs more than may be spent"},
		"too dear":           {change: func(w *world, _ *bank, _ *remote.Request) { w.client.Pay.Spend = 3 }, says: "costs more than may be spent"},
		"too far ahead":      {change: func(w *world, _ *bank, _ *remote.Request) { w.client.Pay.MaxStep = 3 }, says: "wants 16 tokens"},
		"root of the caller": {change: func(_ *world, _ *bank, r *remote.Request) { r.Root[0] = 1 }, says: "is for the model"},
		"cannot keep":        {change: func(_ *world, b *bank, _ *remote.Request) { b.keep = errors.New("full") }, says: "cannot be kept"},
	} {
		t.Run(name, func(t *testing.T) {
			w, b := paying(t, remote.Config{PayWithin: time.Second}, c.terms)
			r := request()
			if c.change != nil {
				c.change(w, b, &r)
			}
			a, err := w.client.Ask(t.Context(), r, nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			if a != nil && len(a.IDs) > 0 {
				t.Errorf("%d tokens came", len(a.IDs))
			}
			w.closed(t)
		})
	}
}

// closed waits until the provider has given back what it opened.
func (w *world) closed(t *testing.T) {
	t.Helper()
	for range 500 {
		if w.host.shares() == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d shares are open", w.host.shares())
}

// TestSpend: what may be spent ends, and so does the answer, at once and in
// words; both count the same afterwards.
func TestSpend(t *testing.T) {
	w, b := paying(t, remote.Config{Step: 4, PayWithin: time.Minute}, nil)
	terms := w.terms()
	first := uint64(0)
	began := time.Now()
	w.client.Pay.Spend = terms.Cost(4, 5) + 1
	a, err := w.client.Ask(t.Context(), request(), func(d remote.Delta) error {
		if d.Start != nil {
			first = uint64(len(d.Start.PromptIDs))
		}
		return nil
	})
	if rpc.CodeOf(err) != rpc.FailedPrecondition || !strings.Contains(err.Error(), "no more will be paid") {
		t.Fatalf("%v", err)
	}
	if time.Since(began) > 30*time.Second {
		t.Error("it waited")
	}
	cost := terms.Cost(first, uint64(len(a.IDs)))
	if len(a.IDs) == 0 || cost > w.client.Pay.Spend {
		t.Errorf("%d tokens for %d", len(a.IDs), cost)
	}
	if s := b.state(terms.Session); s.Used != cost || s.Voucher.Amount > w.client.Pay.Spend {
		t.Errorf("the provider counts %+v, want %d", s, cost)
	}
	// The session goes on.
	w.client.Pay.Spend = 0
	if _, err := w.client.Ask(t.Context(), request(), nil); err != nil {
		t.Error(err)
	}
}

// asker asks as a client that pays as it likes.
type asker struct {
	w     *world
	terms payment.Terms
	vouch func(amount uint64) *payment.Voucher
}

func (w *world) asker() *asker {
	s := w.terms()
	return &asker{w, s, func(n uint64) *payment.Voucher {
		v := &payment.Voucher{Chain: s.Chain, Session: s.Session, Amount: n}
		v.Sign(voucherKey)
		return v
	}}
}

func (k *asker) pay(ctx context.Context, conn rpc.Conn, v *payment.Voucher) error {
	raw, err := v.Encode()
	if err != nil {
		return err
	}
	_, err = wire.NewDRPCInferenceServiceClient(conn).Pay(ctx, &wire.PayRequest{Session: v.Session[:], Voucher: raw})
	return err
}

// ask begins an answer, calls after with the number of tokens that came after
// each part, and gives how many came in all.
func (k *asker) ask(t *testing.T, after func(prompt, tokens int)) (int, error) {
	t.Helper()
	stream, err := wire.NewDRPCInferenceServiceClient(k.w.client.Conn).Answer(t.Context(), &wire.AnswerRequest{
		Model: "mini", Text: "It was in July", MaxTokens: 40, Session: k.terms.Session[:], Sampling: &wire.Sampling{Temperature: 1, Seed: 3},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Close()
	prompt, tokens := 0, 0
	for {
		in, err := stream.Recv()
		if err != nil {
			return tokens, err
		}
		if s := in.GetStart(); s != nil {
			prompt = len(s.PromptIds)
		}
		tokens += len(in.GetDelta().GetIds())
		after(prompt, tokens)
		if in.GetEnd() != nil {
			return tokens, nil
		}
	}
}

// TestCheatingCaller: who stops paying, or pays with what was paid before, or
// from somebody else's session, gets no more than was paid for.
func TestCheatingCaller(t *testing.T) {
	w, b := paying(t, remote.Config{Step: 4, PayWithin: 200 * time.Millisecond}, nil)
	k := w.asker()
	conn := w.client.Conn

	if n, err := k.ask(t, func(int, int) {}); n != 0 || rpc.CodeOf(err) != rpc.FailedPrecondition || !strings.Contains(err.Error(), "nothing was paid") {
		t.Errorf("who never pays gets %d tokens, %v", n, err)
	}
	if s := b.state(k.terms.Session); s.Used != 0 {
		t.Errorf("and owes %d", s.Used)
	}

	// Five tokens are paid for.
	paid := uint64(0)
	n, err := k.ask(t, func(prompt, tokens int) {
		if tokens == 0 {
			paid = k.terms.Cost(uint64(prompt), 5)
			if err := k.pay(t.Context(), conn, k.vouch(paid)); err != nil {
				t.Error(err)
			}
		}
		if tokens == 5 {
			if err := k.pay(t.Context(), conn, k.vouch(paid)); err != nil { // nothing more
				t.Error(err)
			}
			if err := k.pay(t.Context(), conn, k.vouch(paid-1)); rpc.CodeOf(err) != rpc.InvalidArgument || !strings.Contains(err.Error(), "less than one before") {
				t.Errorf("an old voucher: %v", err)
			}
			forged := k.vouch(paid)
			forged.Amount *= 2
			if err := k.pay(t.Context(), conn, forged); rpc.CodeOf(err) != rpc.InvalidArgument {
				t.Errorf("a forged voucher: %v", err)
			}
			if err := k.pay(t.Context(), conn, k.vouch(k.terms.Escrow+1)); rpc.CodeOf(err) != rpc.InvalidArgument {
				t.Errorf("more than the escrow: %v", err)
			}
			other := k.vouch(2 * paid)
			other.Session[0] ^= 1
			other.Sign(voucherKey)
			if err := k.pay(t.Context(), conn, other); rpc.CodeOf(err) != rpc.NotFound {
				t.Errorf("another session: %v", err)
			}
		}
	})
	if n != 5 || rpc.CodeOf(err) != rpc.FailedPrecondition {
		t.Errorf("who pays for 5 tokens gets %d, %v", n, err)
	}
	if s := b.state(k.terms.Session); s.Used != paid || s.Voucher.Amount != paid {
		t.Errorf("the provider has %+v, want %d", s, paid)
	}

	// The same vouchers again pay for nothing.
	n, err = k.ask(t, func(_, tokens int) {
		if tokens == 0 {
			if err := k.pay(t.Context(), conn, k.vouch(paid)); err != nil {
				t.Error(err)
			}
		}
	})
	if n != 0 || rpc.CodeOf(err) != rpc.FailedPrecondition {
		t.Errorf("a voucher that was used pays for %d tokens, %v", n, err)
	}

	// Nobody else pays, and nobody pays when no answer comes.
	third := w.node(t, 9).To(id(provider), rpc.Normal)
	if _, err := k.ask(t, func(_, tokens int) {
		if tokens == 0 {
			if err := k.pay(t.Context(), third, k.vouch(2*paid)); rpc.CodeOf(err) != rpc.NotFound {
				t.Errorf("somebody else pays: %v", err)
			}
		}
	}); err == nil {
		t.Error("an answer that nobody paid for came")
	}
	if err := k.pay(t.Context(), conn, k.vouch(2*paid)); rpc.CodeOf(err) != rpc.NotFound {
		t.Errorf("no answer is coming: %v", err)
	}
	w.closed(t)
}

// TestOneAtATime: a session pays for one answer at a time.
func TestOneAtATime(t *testing.T) {
	w, _ := paying(t, remote.Config{PayWithin: 200 * time.Millisecond}, nil)
	k := w.asker()
	if _, err := k.ask(t, func(_, tokens int) {
		if tokens == 0 {
			if _, err := w.client.Ask(t.Context(), request(), nil); rpc.CodeOf(err) != rpc.FailedPrecondition || !strings.Contains(err.Error(), "one at a time") {
				t.Errorf("a second answer: %v", err)
			}
		}
	}); err == nil {
		t.Error("an answer that nobody paid for came")
	}
}

// TestPrivateIsNotPaid: who carries a sealed request does not pay for it.
func TestPrivateIsNotPaid(t *testing.T) {
	w, _ := paying(t, remote.Config{}, nil)
	r := request()
	data, err := r.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	err = w.server.Handler()(t.Context(), data, func([]byte) error { return nil })
	if rpc.CodeOf(err) != rpc.FailedPrecondition || !strings.Contains(err.Error(), "privately") {
		t.Errorf("%v", err)
	}
}

// greedy is a provider that wants more than it gives.
type greedy struct {
	wire.DRPCInferenceServiceUnimplementedServer
	due  *wire.PaymentDue
	root receipt.Hash
	ids  int // of the prompt, as it says
	paid []uint64
	mu   sync.Mutex
}

func (g *greedy) Pay(_ context.Context, in *wire.PayRequest) (*wire.PayResponse, error) {
	v, err := payment.DecodeVoucher(in.Voucher)
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.paid = append(g.paid, v.Amount)
	return &wire.PayResponse{}, nil
}

func (g *greedy) Answer(_ *wire.AnswerRequest, stream wire.DRPCInferenceService_AnswerStream) error {
	m := &wire.OfferedModel{Name: "mini", Root: g.root[:]}
	ids := make([]int32, g.ids)
	if err := stream.Send(&wire.AnswerResponse{Part: &wire.AnswerResponse_Start{Start: &wire.AnswerStart{Model: m, PromptIds: ids, MaxTokens: 12, Receipt: true, Payment: g.due}}}); err != nil {
		return err
	}
	<-stream.Context().Done() // it gives nothing
	return stream.Context().Err()
}

// TestGreedyProvider: who counts what it did not give, or wants to be paid far
// ahead, gets nothing; who gives nothing gets one step.
func TestGreedyProvider(t *testing.T) {
	for name, c := range map[string]struct {
		due  *wire.PaymentDue
		ids  int
		most uint64 // that it may get
		says string
	}{
		"counts before": {&wire.PaymentDue{Used: 1, Step: 4}, 3, 0, "counts more than it gave"},
		"far ahead":     {&wire.PaymentDue{Step: 1000}, 3, 0, "1000 tokens"},
		"no step":       {&wire.PaymentDue{}, 3, 0, "0 tokens"},
		"a long prompt": {&wire.PaymentDue{Step: 4}, 300, 0, "costs more than may be spent"},
		"gives nothing": {&wire.PaymentDue{Step: 4}, 3, 3*2 + 4*3, "exceeded"},
	} {
		t.Run(name, func(t *testing.T) {
			w, _ := paying(t, remote.Config{}, nil)
			g := &greedy{due: c.due, root: w.host.root, ids: c.ids}
			bad := w.node(t, 8)
			if err := bad.Register(g, wire.DRPCInferenceServiceDescription{}, rpc.Limits{Timeout: time.Minute}); err != nil {
				t.Fatal(err)
			}
			bad.Start()
			terms := w.terms()
			terms.Node = id(8).Public()
			purse, err := payment.NewPurse(terms, voucherKey, payment.State{})
			if err != nil {
				t.Fatal(err)
			}
			client := &remote.Client{Peer: id(8), Conn: w.calls.To(id(8), rpc.Normal), Pay: &remote.Paying{Purse: purse, Spend: 200}}
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			_, err = client.Ask(ctx, request(), nil)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, want %q", err, c.says)
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, n := range g.paid {
				if n > c.most {
					t.Errorf("it was paid %d, want at most %d", n, c.most)
				}
			}
			if c.most > 0 && len(g.paid) == 0 {
				t.Error("it was not paid at all")
			}
		})
	}
}
