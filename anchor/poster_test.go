package anchor_test

import (
	"context"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/avalnetwork/aval/anchor"
)

// said is a source whose state the test sets.
type said struct{ state anchor.State }

func (s *said) State(context.Context) (anchor.State, error) { return s.state, nil }

// faulty fails sometimes, before or after it did what it was asked for.
type faulty struct {
	anchor.Backend
	lose  bool // say yes to a transaction, and lose it
	after bool // take a transaction, and say no
	sent  []common.Hash
	tip   *big.Int
}

var errFault = errors.New("no connection")

func (f *faulty) SendTransaction(ctx context.Context, tx *types.Transaction) error {
	f.sent = append(f.sent, tx.Hash())
	if f.lose {
		return nil
	}
	err := f.Backend.SendTransaction(ctx, tx)
	if f.after {
		return errFault
	}
	return err
}

func (f *faulty) SuggestGasTipCap(ctx context.Context) (*big.Int, error) {
	if f.tip != nil {
		return f.tip, nil
	}
	return f.Backend.SuggestGasTipCap(ctx)
}

// posting is a poster whose surroundings a test can spoil.
type posting struct {
	*world
	backend  *faulty
	contract *anchor.Contract
	source   *said
	now      time.Time
	cfg      anchor.Config
	poster   *anchor.Poster
}

func newPosting(t *testing.T) *posting {
	t.Helper()
	w := newWorld(t)
	list := keys(10, 3)
	at := w.deploy(signersOf(2, list)).Address
	p := &posting{world: w, backend: &faulty{Backend: w.client}, source: &said{state(5, 1)}, now: time.Unix(1e9, 0)}
	var err error
	p.contract, err = anchor.Open(t.Context(), p.backend, at)
	w.must(err)
	p.cfg = anchor.Config{
		Contract: p.contract, Key: w.key, Source: p.source, Witness: anchor.Gathered{Keys: list[:2]},
		Journal: anchor.FileJournal(filepath.Join(t.TempDir(), "journal")), Now: func() time.Time { return p.now }, Confirmations: 2,
	}
	p.restart()
	return p
}

// restart forgets everything but the journal.
func (p *posting) restart() {
	p.Helper()
	var err error
	p.poster, err = anchor.NewPoster(p.cfg)
	p.must(err)
}

func (p *posting) step(want anchor.Outcome) {
	p.Helper()
	if got, err := p.poster.Step(p.Context()); err != nil || got != want {
		p.Fatalf("a step: %q, %v, want %q", got, err, want)
	}
}

// posts counts the transactions of the poster's key that are in the chain.
func (p *posting) nonce() uint64 {
	p.Helper()
	n, err := p.client.NonceAt(p.Context(), addressOf(p.key), nil)
	p.must(err)
	return n
}

func TestPoster(t *testing.T) {
	p := newPosting(t)
	before := p.nonce()
	p.step(anchor.Sent)
	p.step(anchor.Waiting)
	p.chain.Commit()
	p.step(anchor.Confirming)
	p.restart()
	p.chain.Commit()
	p.step(anchor.Confirming)
	p.chain.Commit()
	p.step(anchor.Done)
	p.step(anchor.Idle)
	if got := p.root(p.contract, 5); got != p.source.state.Root {
		t.Fatalf("the root %s", got)
	}
	// A second poster with the same key and a journal of its own has nothing to do.
	p.cfg.Journal = anchor.FileJournal(filepath.Join(t.TempDir(), "another"))
	p.cfg.Every = 10
	p.restart()
	p.step(anchor.Idle)
	p.source.state = state(14, 2)
	p.step(anchor.Idle)
	p.source.state = state(15, 2)
	p.step(anchor.Sent)
	p.chain.Commit()
	if n := p.nonce(); n != before+2 {
		t.Errorf("%d transactions, want 2", n-before)
	}
	// Another root than the one that is anchored.
	p = newPosting(t)
	p.must(p.post(p.contract, state(5, 9), p.signed(p.contract, state(5, 9), keys(10, 3)[1:]...)))
	if _, err := p.poster.Step(t.Context()); !errors.Is(err, anchor.ErrOther) {
		t.Errorf("another root: %v", err)
	}
	p.source.state.Chain = "another"
	if _, err := p.poster.Step(t.Context()); err == nil {
		t.Error("a state of another ledger is posted")
	}
}

// TestPosterSignatures: it waits for signatures and takes no others.
func TestPosterSignatures(t *testing.T) {
	p := newPosting(t)
	list := keys(10, 3)
	dir := t.TempDir()
	own := anchor.Gathered{Keys: list[:1]}
	path := filepath.Join(dir, "attestations.json")
	troubles := 0
	own.Places = []anchor.Place{anchor.Place(path)}
	own.Trouble = func(anchor.Place, error) { troubles++ }
	p.cfg.Witness = own
	p.restart()
	p.step(anchor.Short)
	for _, junk := range []string{"", "x", "[]", "{}", `[{"chain":"aval-test"}]`} {
		p.must(os.WriteFile(path, []byte(junk), 0o600))
		p.step(anchor.Short)
	}
	if troubles == 0 {
		t.Error("nobody was told of what could not be read")
	}
	write := func(s anchor.State, n int) {
		a, err := p.contract.Sign(keys(10, 3)[n], s)
		p.must(err)
		data, err := encodeJSON(a)
		p.must(err)
		p.must(os.WriteFile(path, data, 0o600))
	}
	write(p.source.state, 0) // the same signer again
	p.step(anchor.Short)
	write(state(5, 2), 1) // another root
	p.step(anchor.Short)
	write(p.source.state, 1)
	p.step(anchor.Sent)
	p.chain.Commit()
	if got := p.root(p.contract, 5); got != p.source.state.Root {
		t.Errorf("the root %s", got)
	}
}

// TestPosterFaults: connections that break, transactions that are lost, prices
// that rise; the root is posted once.
func TestPosterFaults(t *testing.T) {
	p := newPosting(t)
	before := p.nonce()
	p.backend.after = true // it was sent, and the poster hears that it was not
	if _, err := p.poster.Step(t.Context()); !errors.Is(err, errFault) {
		t.Fatalf("%v", err)
	}
	p.backend.after = false
	p.restart()
	p.step(anchor.Waiting)
	p.chain.Commit()
	p.step(anchor.Confirming)
	p.chain.Commit()
	p.chain.Commit()
	p.step(anchor.Done)
	if n := p.nonce() - before; n != 1 {
		t.Fatalf("%d transactions, want 1", n)
	}

	p = newPosting(t)
	p.backend.lose = true
	p.step(anchor.Sent)
	p.backend.lose = false
	p.restart()
	p.step(anchor.Waiting) // sends it again
	p.chain.Commit()
	p.step(anchor.Confirming)

	// Nobody takes it at its price: it is sent again, dearer, with its nonce.
	p = newPosting(t)
	before = p.nonce()
	p.step(anchor.Sent)
	p.now = p.now.Add(time.Minute)
	p.step(anchor.Waiting)
	p.now = p.now.Add(2 * time.Minute)
	p.step(anchor.Raised)
	p.restart()
	p.chain.Commit()
	p.chain.Commit()
	p.chain.Commit()
	p.step(anchor.Done)
	p.step(anchor.Idle)
	if n := p.nonce() - before; n != 1 {
		t.Fatalf("%d transactions, want 1", n)
	}

	// Too dear from the beginning.
	p = newPosting(t)
	p.cfg.MaxPrice = big.NewInt(1)
	p.restart()
	p.step(anchor.Dear)
	if len(p.backend.sent) != 0 {
		t.Error("it was sent at any price")
	}
	p.cfg.MaxPrice = big.NewInt(5e9)
	p.backend.tip = big.NewInt(4e9)
	p.restart()
	p.step(anchor.Sent)
	// Later it may not be raised beyond that, and stays.
	for range 20 {
		p.now = p.now.Add(time.Hour)
		if out, err := p.poster.Step(t.Context()); err != nil || out != anchor.Raised && out != anchor.Waiting {
			t.Fatalf("%q, %v", out, err)
		}
	}
	tx, _, err := p.client.TransactionByHash(t.Context(), p.backend.sent[len(p.backend.sent)-1])
	p.must(err)
	if tx.GasFeeCap().Cmp(p.cfg.MaxPrice) > 0 {
		t.Errorf("a price of %s, at most %s is allowed", tx.GasFeeCap(), p.cfg.MaxPrice)
	}
}

// TestPosterReorganisation: the block with the transaction is replaced by others
// before it is deep enough.
func TestPosterReorganisation(t *testing.T) {
	p := newPosting(t)
	head, err := p.client.HeaderByNumber(t.Context(), nil)
	p.must(err)
	p.step(anchor.Sent)
	p.chain.Commit()
	p.step(anchor.Confirming)
	p.must(p.chain.Fork(head.Hash()))
	p.chain.Rollback()
	p.chain.Commit()
	p.chain.Commit()
	for range 10 {
		out, err := p.poster.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if out == anchor.Done {
			break
		}
		p.chain.Commit()
	}
	if got := p.root(p.contract, 5); got != p.source.state.Root {
		t.Fatalf("the root %s", got)
	}
	if _, err := p.client.TransactionReceipt(t.Context(), p.backend.sent[0]); err != nil {
		t.Errorf("another transaction than the first: %v", err)
	}
}

// TestPosterStrangers: transactions of the same key that it does not know.
func TestPosterStrangers(t *testing.T) {
	p := newPosting(t)
	to := addressOf(keyOf(50))
	transfer := func(nonce uint64, tip int64) {
		tx, err := types.SignNewTx(p.key, types.LatestSignerForChainID(p.contract.ChainID), &types.DynamicFeeTx{
			ChainID: p.contract.ChainID, Nonce: nonce, GasTipCap: big.NewInt(tip), GasFeeCap: big.NewInt(100e9), Gas: 21000, To: &to, Value: big.NewInt(1),
		})
		p.must(err)
		p.must(p.client.SendTransaction(p.Context(), tx))
	}
	transfer(p.nonce(), 1e9)
	if _, err := p.poster.Step(t.Context()); err == nil {
		t.Fatal("it does not see that another transaction waits")
	}
	p.chain.Commit()
	p.backend.lose = true
	p.step(anchor.Sent)
	transfer(p.nonce(), 1e9)
	p.chain.Commit()
	p.step(anchor.Waiting) // a node may just not know yet which transaction it was
	p.chain.Commit()
	p.chain.Commit()
	p.step(anchor.Dropped)
	p.backend.lose = false
	p.step(anchor.Sent)
	p.chain.Commit()
	if got := p.root(p.contract, 5); got != p.source.state.Root {
		t.Errorf("the root %s", got)
	}
	// A journal of another contract is not touched.
	other := p.deploy(signersOf(2, keys(10, 3)))
	p.cfg.Contract = other
	p.restart()
	if _, err := p.poster.Step(t.Context()); err == nil {
		t.Error("a journal of another contract is followed")
	}
}

// TestPosterRefused: signers change while a transaction waits.
func TestPosterRefused(t *testing.T) {
	p := newPosting(t)
	p.step(anchor.Sent)
	pending, err := p.cfg.Journal.Load()
	p.must(err)
	if len(pending.Forms) != 1 || pending.State != p.source.state {
		t.Fatalf("the journal has %+v", pending)
	}
	_, err = p.client.TransactionReceipt(t.Context(), pending.Forms[0].Hash)
	if !errors.Is(err, ethereum.NotFound) {
		t.Fatalf("%v", err)
	}
	p.chain.Rollback() // it is gone from the pool
	old, next := keys(10, 3), signersOf(1, keys(20, 1))
	var data []byte
	for _, k := range old[:2] {
		s, err := p.contract.SignChange(k, 1, next)
		p.must(err)
		data = append(data, s[:]...)
	}
	// From another key, so that the nonce stays free.
	k := keyOf(60)
	opts := *p.opts
	opts.From = addressOf(k)
	transfer, err := types.SignNewTx(p.key, types.LatestSignerForChainID(p.contract.ChainID), &types.DynamicFeeTx{
		ChainID: p.contract.ChainID, Nonce: pending.Nonce, GasTipCap: big.NewInt(3e9), GasFeeCap: big.NewInt(100e9), Gas: 21000, To: &opts.From, Value: big.NewInt(1e18),
	})
	p.must(err)
	p.must(p.client.SendTransaction(t.Context(), transfer))
	p.chain.Commit()
	p.chain.Commit()
	p.chain.Commit()
	p.step(anchor.Dropped)
	tx, err := p.raw(p.contract).Transact(p.opts, "change", next.List, big.NewInt(1), data)
	p.must(err)
	p.mined(tx)
	p.step(anchor.Short)
}
