package wallet_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/internal/wallet"
)

func key(name string) ed25519.PrivateKey {
	seed := canon.Sum("aval test wallet", []byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// chain is a machine whose every transaction is a block.
type chain struct {
	mu  sync.Mutex
	m   *ledger.Machine
	now uint64
}

func newChain(t *testing.T) *chain {
	t.Helper()
	v := key("validator")
	g := &ledger.Genesis{Chain: "test", Time: 1000, Validators: []ledger.GenesisValidator{{Key: canon.Hash(public(v)), Operator: ledger.AddressOf(public(v)), Power: 1, Bond: 1000 * ledger.Unit}}}
	for _, name := range []string{"a", "b"} {
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: ledger.AddressOf(public(key(name))), Balance: 1000 * ledger.Unit})
	}
	m, err := ledger.New(g)
	if err != nil {
		t.Fatal(err)
	}
	return &chain{m: m, now: g.Time}
}

func (c *chain) Entry(_ context.Context, key []byte) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.m.State()
	v, _ := s.Get(key)
	return v, nil
}

func (c *chain) Submit(_ context.Context, tx []byte) (ledger.Done, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now++
	if err := c.m.Begin(ledger.Block{Height: c.m.Height() + 1, Time: c.now, Proposer: public(key("validator"))}); err != nil {
		return ledger.Done{}, err
	}
	res := c.m.Apply(tx)
	c.m.End()
	return ledger.Done{Height: c.m.Height(), Result: res}, nil
}

func (c *chain) wallet(t *testing.T, k wallet.Keys) *wallet.Wallet {
	t.Helper()
	w, err := wallet.New(k, c)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func send(t *testing.T, w *wallet.Wallet, kind ledger.Kind, payload any) ledger.Result {
	t.Helper()
	res, err := w.Send(t.Context(), kind, payload)
	if err != nil {
		t.Fatal(err)
	}
	return res.Result
}

func balance(t *testing.T, w *wallet.Wallet) ledger.Amount {
	t.Helper()
	n, err := w.Balance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSend(t *testing.T) {
	c := newChain(t)
	a, b := c.wallet(t, wallet.Single(key("a"))), c.wallet(t, wallet.Single(key("b")))
	before := balance(t, b)
	for range 3 {
		send(t, a, ledger.KindTransfer, &ledger.Transfer{To: b.Account(), Amount: 5})
	}
	if got := balance(t, b); got != before+15 {
		t.Errorf("b has %d, want 15 more than %d", got, before)
	}
	// All but what the fee takes.
	rest := balance(t, a) - 1000
	send(t, a, ledger.KindTransfer, &ledger.Transfer{To: b.Account(), Amount: rest})
	var failed *wallet.Failed
	if _, err := a.Send(t.Context(), ledger.KindTransfer, &ledger.Transfer{To: b.Account(), Amount: ledger.Unit}); !errors.As(err, &failed) || failed.Result.Code != ledger.CodeFunds {
		t.Errorf("more than there is: %v", err)
	}
	poor := c.wallet(t, wallet.Single(key("nobody")))
	if _, err := poor.Send(t.Context(), ledger.KindBurn, &ledger.Burn{Amount: 1}); err == nil {
		t.Error("an account that has nothing sends")
	}
}

func TestDevice(t *testing.T) {
	c := newChain(t)
	a := c.wallet(t, wallet.Single(key("a")))
	phone := c.wallet(t, wallet.Device(a.Account(), key("phone")))
	pay := &ledger.Transfer{To: ledger.AddressOf(public(key("b"))), Amount: 5}
	if _, err := phone.Send(t.Context(), ledger.KindTransfer, pay); err == nil {
		t.Error("a device that nobody authorised sends")
	}
	send(t, a, ledger.KindAuthorise, &ledger.Authorise{Key: public(key("phone")), Limit: ledger.Unit, Expires: 1 << 40})
	send(t, phone, ledger.KindTransfer, pay)
	send(t, phone, ledger.KindTransfer, pay)
	var failed *wallet.Failed
	if _, err := phone.Send(t.Context(), ledger.KindBurn, &ledger.Burn{Amount: 1}); !errors.As(err, &failed) {
		t.Errorf("a burn by a device: %v", err)
	}
}

func TestShared(t *testing.T) {
	c := newChain(t)
	policy := ledger.NewPolicy(2, public(key("a")), public(key("b")), public(key("c")))
	keys := func(names ...string) wallet.Keys {
		var here []ed25519.PrivateKey
		for _, n := range names {
			here = append(here, key(n))
		}
		k, err := wallet.Shared(policy, here...)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	send(t, c.wallet(t, wallet.Single(key("a"))), ledger.KindTransfer, &ledger.Transfer{To: policy.Address(), Amount: 10 * ledger.Unit})
	pay := &ledger.Transfer{To: ledger.AddressOf(public(key("b"))), Amount: 5}
	one, other := c.wallet(t, keys("c")), c.wallet(t, keys("a"))
	tx, err := one.Draft(t.Context(), ledger.KindTransfer, pay)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Submit(t.Context(), tx); err == nil {
		t.Error("a transaction with half of its signatures is sent")
	}
	if again, done, err := one.Cosign(tx); err != nil || done || !bytes.Equal(again, tx) {
		t.Errorf("one key signs twice: %v, %v", done, err)
	}
	whole, done, err := other.Cosign(tx)
	if err != nil || !done {
		t.Fatalf("%v, %v", done, err)
	}
	if _, err := other.Submit(t.Context(), whole); err != nil {
		t.Error(err)
	}
	send(t, c.wallet(t, keys("a", "b", "c")), ledger.KindTransfer, pay)
	if _, err := wallet.Shared(policy, key("d")); err == nil {
		t.Error("a key that does not sign for the account is taken")
	}
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wallet.json")
	k, err := wallet.Shared(ledger.NewPolicy(2, public(key("a")), public(key("b"))), key("b"))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []wallet.Keys{wallet.Single(key("a")), k, wallet.Device(k.Account, key("phone"))} {
		if err := k.Save(path); err != nil {
			t.Fatal(err)
		}
		again, err := wallet.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		if again.Account != k.Account || again.Policy.Address() != k.Policy.Address() {
			t.Errorf("%+v came back as %+v", k, again)
		}
		if info, err := os.Stat(path); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("the file has the mode %v, %v", info.Mode(), err)
		}
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string][]byte{
		"half of it":      whole[:len(whole)/2],
		"another version": bytes.Replace(whole, []byte(`"version": 1`), []byte(`"version": 2`), 1),
		"another seed":    bytes.Replace(whole, []byte(`"seeds": [`+"\n    \""), []byte(`"seeds": [`+"\n    \"00"), 1),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := wallet.Load(path); err == nil {
			t.Errorf("%s is read", name)
		}
	}
	if runtime.GOOS == "windows" {
		return
	}
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := wallet.Load(path); err == nil {
		t.Error("a file that all may read is taken")
	}
}

// TestSession opens a session, pays, and settles it with both wallets.
func TestSession(t *testing.T) {
	c := newChain(t)
	payer, payee := c.wallet(t, wallet.Single(key("a"))), c.wallet(t, wallet.Single(key("b")))
	node, model := key("node"), canon.Sum("aval test model")
	send(t, payee, ledger.KindBond, &ledger.Bond{Key: public(node), Amount: 200 * ledger.Unit, Proof: ledger.ProveBond(node, "test", ledger.RoleNode, payee.Account())})
	send(t, payee, ledger.KindModel, &ledger.Register{Root: model, Name: "mini", Numerics: "1", Licence: "MIT"})
	send(t, payee, ledger.KindOffer, &ledger.SetOffer{Key: public(node), Model: model, Offer: &ledger.Offer{PriceIn: 1e6, PriceOut: 2e6}})
	terms := ledger.Open{Node: public(node), Model: model, Escrow: 100, Expires: 100_000, PriceIn: 1e6, PriceOut: 2e6}
	purse, err := payer.Open(t.Context(), terms)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := purse.Begin(0, 4, 3, 0); err != nil {
		t.Fatal(err)
	}
	id := purse.Terms().Session
	// Another process of the payer finds the key again.
	again, err := payer.Purse(t.Context(), id, purse.State())
	if err != nil {
		t.Fatal(err)
	}
	if got := again.State().Voucher.Amount; got != 10 {
		t.Errorf("signed for %d, want 10", got)
	}
	if _, err := payee.Purse(t.Context(), id, payment.State{}); err == nil {
		t.Error("who is paid has the purse")
	}
	before := balance(t, payer)
	if _, err := payee.Settle(t.Context(), id, purse.State()); err != nil {
		t.Fatal(err)
	}
	if got := balance(t, payer); got != before+90 {
		t.Errorf("the payer has %d, want 90 more than %d", got, before)
	}
	if _, err := payer.Purse(t.Context(), id, payment.State{}); err == nil {
		t.Error("a session that has ended has a purse")
	}
}

func FuzzCosign(f *testing.F) {
	a := wallet.Single(key("a"))
	b, err := ledger.NewBody("test", a.Account, 0, 1000, ledger.KindBurn, &ledger.Burn{Amount: 1})
	if err != nil {
		f.Fatal(err)
	}
	tx, err := b.Sign(a.Policy)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tx)
	f.Fuzz(func(t *testing.T, data []byte) {
		signed, done, err := ledger.Cosign(data, key("a"))
		if err != nil || !done {
			return
		}
		if _, _, err := ledger.ReadDraft(signed); err != nil {
			t.Fatalf("a whole transaction cannot be read again: %v", err)
		}
	})
}

func FuzzParse(f *testing.F) {
	path := filepath.Join(f.TempDir(), "wallet.json")
	k := wallet.Single(key("a"))
	if err := k.Save(path); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := wallet.Parse(data)
		if err != nil {
			return
		}
		// What is read can act: it signs without a panic.
		if _, err := wallet.New(k, nil); err != nil {
			t.Fatalf("keys that are read make no wallet: %v", err)
		}
	})
}
