package wallet_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/internal/wallet"
	"github.com/avalnetwork/aval/models"
	"github.com/avalnetwork/aval/receipt"
)

// host serves the built-in model.
type host struct {
	engine *engine.Engine
	root   receipt.Hash
	key    ed25519.PrivateKey
}

func newHost(t *testing.T, key ed25519.PrivateKey) *host {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mini.gguf")
	if err := os.WriteFile(path, []byte(models.Mini()), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	print, err := fingerprint.Of(t.Context(), f, 0)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(path, engine.Options{Slots: 2, Context: 256})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return &host{e, print.Root(), key}
}

func (h *host) Models(context.Context) ([]remote.Model, error) {
	return []remote.Model{{Name: "mini", Root: h.root, Context: h.engine.Context(), Receipts: true}}, nil
}

func (h *host) Open(context.Context, string) (remote.Lease, error) {
	return &lease{h.engine, h}, nil
}

type lease struct {
	*engine.Engine
	h *host
}

func (l *lease) Close() {}

func (l *lease) Issuer() *issuer.Issuer {
	return issuer.New(issuer.Config{Key: l.h.key, Model: issuer.Known(l.h.root), Context: l.Context()})
}

func (l *lease) OpenTrace(context.Context, *receipt.File, *audit.Challenge) (*trace.Opening, error) {
	return nil, errors.New("not in this test")
}

func (l *lease) Rerun(context.Context, *receipt.File) (remote.Rerun, error) {
	return nil, errors.New("not in this test")
}

// market is a ledger, a node that offers the model on it, and somebody who asks.
type market struct {
	*chain
	payer, payee *wallet.Wallet
	owes, earns  *wallet.Book // where sessions stand for the payer, for the node
	conn         rpc.Conn
	node         ed25519.PrivateKey
	host         *host
}

const priceIn, priceOut = 2 * ledger.Unit, 5 * ledger.Unit

func newMarket(t *testing.T) *market {
	t.Helper()
	k := &market{chain: newChain(t), node: key("node")}
	k.now = uint64(time.Now().UnixMilli())
	k.payer, k.payee = k.wallet(t, wallet.Single(key("a"))), k.wallet(t, wallet.Single(key("b")))
	k.host = newHost(t, k.node)
	send(t, k.payee, ledger.KindBond, &ledger.Bond{Key: public(k.node), Amount: 200 * ledger.Unit, Proof: ledger.ProveBond(k.node, "test", ledger.RoleNode, k.payee.Account())})
	send(t, k.payee, ledger.KindModel, &ledger.Register{Root: k.host.root, Name: "mini", Numerics: "1", Licence: "MIT"})
	send(t, k.payee, ledger.KindOffer, &ledger.SetOffer{Key: public(k.node), Model: k.host.root, Offer: &ledger.Offer{PriceIn: priceIn, PriceOut: priceOut}})
	var err error
	if k.owes, err = wallet.NewBook(t.TempDir(), k); err != nil {
		t.Fatal(err)
	}
	if k.earns, err = wallet.NewBook(t.TempDir(), k); err != nil {
		t.Fatal(err)
	}
	server, err := remote.New(remote.Config{
		Host: k.host, Key: k.node, Step: 4, PayWithin: 300 * time.Millisecond, Sessions: k.earns,
		Paid: func(context.Context, peer.ID, remote.Model) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	net := memory.New()
	join := func(key ed25519.PrivateKey) *rpc.Node {
		n, err := rpc.New(rpc.Config{Network: net.Join(peer.FromPrivate(key)), Authorize: func(context.Context, *rpc.Call) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { n.Close() })
		return n
	}
	serves := join(k.node)
	if err := server.Register(serves); err != nil {
		t.Fatal(err)
	}
	serves.Start()
	k.conn = join(key("a")).To(peer.FromPrivate(k.node), rpc.Normal)
	return k
}

func (k *market) open(t *testing.T) *payment.Purse {
	t.Helper()
	p, err := k.payer.Open(t.Context(), ledger.Open{
		Node: public(k.node), Model: k.host.root, Escrow: ledger.Unit, Expires: k.now + 60_000, PriceIn: priceIn, PriceOut: priceOut,
	})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (k *market) ask(t *testing.T, p *remote.Paying) (*remote.Answer, error) {
	t.Helper()
	c := &remote.Client{Peer: peer.FromPrivate(k.node), Conn: k.conn, Pay: p}
	return c.Ask(t.Context(), remote.Request{Text: "It was in July", MaxTokens: 24, Nonce: []byte("12345678"), Receipt: true}, nil)
}

// TestAnswersArePaid opens a session, asks, pays as the answers come, and
// settles: everybody has to the last unit what the answers cost.
func TestAnswersArePaid(t *testing.T) {
	k := newMarket(t)
	purse := k.open(t)
	id := purse.Terms().Session
	payer, payee := balance(t, k.payer), balance(t, k.payee)
	pays := &remote.Paying{Purse: purse, Keep: func(s payment.State) error { return k.owes.Keep(t.Context(), id, s) }}
	var cost uint64
	for i := range 3 {
		if i == 2 { // the payer begins anew
			s, err := k.owes.State(id)
			if err != nil {
				t.Fatal(err)
			}
			if pays.Purse, err = k.payer.Purse(t.Context(), id, s); err != nil {
				t.Fatal(err)
			}
		}
		a, err := k.ask(t, pays)
		if err != nil {
			t.Fatal(err)
		}
		terms := purse.Terms()
		cost += terms.Cost(uint64(len(a.PromptIDs)), uint64(len(a.IDs)))
	}
	s, err := k.earns.State(id)
	if err != nil {
		t.Fatal(err)
	}
	if s.Used != cost || s.Voucher.Amount < cost || s.Voucher.Amount > cost+4*uint64(priceOut)/1e6 {
		t.Fatalf("the answers cost %d, the node has %+v with %d", cost, s, s.Voucher.Amount)
	}

	// More than the voucher says, the ledger does not give.
	greedy := ledger.SettleWith(id, s.Voucher)
	greedy.Amount++
	var failed *wallet.Failed
	if _, err := k.payee.Send(t.Context(), ledger.KindSettle, greedy); !errors.As(err, &failed) || failed.Result.Code != ledger.CodeRefused {
		t.Errorf("settled for more than the voucher: %v", err)
	}
	payee -= failed.Result.Fee
	// It is not time yet.
	if done, err := k.earns.Settle(t.Context(), k.payee, k.now, k.now); err != nil || len(done) != 0 {
		t.Errorf("settled before its time: %v, %v", done, err)
	}
	// It is too late: that would cost a fee for nothing.
	before := balance(t, k.payee)
	if done, err := k.earns.Settle(t.Context(), k.payee, k.now+4*ledger.Day, k.now+5*ledger.Day); err != nil || len(done) != 0 {
		t.Errorf("settled after its time: %v, %v", done, err)
	}
	// Nothing was promised in another one.
	rich := balance(t, k.payer)
	empty := k.open(t).Terms().Session
	payer -= rich - balance(t, k.payer)
	if err := k.earns.Keep(t.Context(), empty, payment.State{}); err != nil {
		t.Fatal(err)
	}
	done, err := k.earns.Settle(t.Context(), k.payee, k.now, k.now+2*ledger.Day)
	if err != nil || len(done) != 1 || done[0] != id {
		t.Fatalf("settled %v, %v", done, err)
	}
	paid := ledger.Amount(s.Voucher.Amount)
	if got := balance(t, k.payer); got != payer+ledger.Unit-paid {
		t.Errorf("the payer has %d, want the escrow without %d back to %d", got, paid, payer)
	}
	fee := before + paid - balance(t, k.payee)
	if fee == 0 || fee > 1000 || before != payee {
		t.Errorf("who is paid had %d, has %d after %d", before, balance(t, k.payee), paid)
	}
	if left, err := k.earns.Sessions(); err != nil || len(left) != 1 || left[0] != empty {
		t.Errorf("kept is still %v, %v", left, err)
	}
	// The session is over.
	if _, err := k.ask(t, pays); rpc.CodeOf(err) != rpc.FailedPrecondition || !strings.Contains(err.Error(), "not open") {
		t.Errorf("an answer for a session that has ended: %v", err)
	}
}

// TestPayerStops: who does not pay gets nothing, who may spend little gets as
// much of an answer, and the node settles for that.
func TestPayerStops(t *testing.T) {
	k := newMarket(t)
	if _, err := k.ask(t, nil); rpc.CodeOf(err) != rpc.FailedPrecondition || !strings.Contains(err.Error(), "open a session") {
		t.Errorf("without a session: %v", err)
	}
	purse := k.open(t)
	terms := purse.Terms()
	a, err := k.ask(t, &remote.Paying{Purse: purse, Spend: terms.Cost(8, 6)})
	if rpc.CodeOf(err) != rpc.FailedPrecondition || len(a.IDs) == 0 || len(a.IDs) > 8 {
		t.Fatalf("%d tokens, %v", len(a.IDs), err)
	}
	payer := balance(t, k.payer)
	if _, err := k.earns.Settle(t.Context(), k.payee, k.now, k.now+2*ledger.Day); err != nil {
		t.Fatal(err)
	}
	paid := payer + ledger.Unit - balance(t, k.payer)
	if cost := terms.Cost(uint64(len(a.PromptIDs)), uint64(len(a.IDs))); uint64(paid) < cost || uint64(paid) > terms.Cost(8, 6) {
		t.Errorf("%d tokens that cost %d were paid %d", len(a.IDs), cost, paid)
	}

	// A session whose node never settles costs nothing.
	lost := k.open(t)
	payer = balance(t, k.payer)
	k.now += 2 * ledger.Day
	send(t, k.payee, ledger.KindTick, &ledger.Tick{})
	if got := balance(t, k.payer); got != payer+ledger.Unit {
		t.Errorf("the payer has %d, want the escrow back to %d", got, payer)
	}
	if _, err := k.payee.Settle(t.Context(), lost.Terms().Session, payment.State{}); err == nil {
		t.Error("a session is settled after its time")
	}
}

func TestBook(t *testing.T) {
	c := newChain(t)
	folder := t.TempDir()
	b, err := wallet.NewBook(folder, c)
	if err != nil {
		t.Fatal(err)
	}
	id := canon.Sum("aval test session")
	if s, err := b.State(id); err != nil || s.Voucher != nil {
		t.Errorf("of a session that nothing was kept of: %+v, %v", s, err)
	}
	if _, _, err := b.Session(t.Context(), id); err == nil {
		t.Error("a session that is not on the ledger is found")
	}
	v := &payment.Voucher{Chain: "test", Session: id, Amount: 7}
	v.Sign(key("vouchers"))
	if err := b.Keep(t.Context(), id, payment.State{Voucher: v, Used: 3, Broken: true}); err != nil {
		t.Fatal(err)
	}
	s, err := b.State(id)
	if err != nil || s.Used != 3 || !s.Broken || s.Voucher.Amount != 7 || string(s.Voucher.Signature) != string(v.Signature) {
		t.Errorf("%+v, %v", s, err)
	}
	if err := os.WriteFile(filepath.Join(folder, id.String()+".json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := b.State(id); err == nil {
		t.Error("half a file is read")
	}
	// What is not on the ledger any more is forgotten.
	w := c.wallet(t, wallet.Single(key("a")))
	if _, err := b.Settle(t.Context(), w, 0, 0); err != nil {
		t.Fatal(err)
	}
	if left, err := b.Sessions(); err != nil || len(left) != 0 {
		t.Errorf("%v, %v", left, err)
	}
}
