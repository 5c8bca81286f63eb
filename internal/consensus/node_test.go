package consensus_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
)

const chain = "test"

// newKey is a key that depends on a name alone.
func newKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func validatorKey(i int) ed25519.PrivateKey { return newKey(fmt.Sprint("validator ", i)) }

// newGenesis has some validators and some accounts of one key each.
func newGenesis(validators int, accounts ...ed25519.PrivateKey) *ledger.Genesis {
	g := &ledger.Genesis{Chain: chain, Time: uint64(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).UnixMilli())}
	for i := range validators {
		k := public(validatorKey(i))
		g.Validators = append(g.Validators, ledger.GenesisValidator{Key: canon.Hash(k), Operator: ledger.AddressOf(k), Power: 10, Bond: 2000 * ledger.Unit})
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: ledger.AddressOf(k), Balance: 10_000 * ledger.Unit})
	}
	for _, a := range accounts {
		g.Accounts = append(g.Accounts, ledger.GenesisAccount{Address: ledger.AddressOf(public(a)), Balance: 1_000_000 * ledger.Unit})
	}
	return g
}

// newTx is a transaction of a key.
func newTx(t testing.TB, from ed25519.PrivateKey, nonce uint64, kind ledger.Kind, payload any) []byte {
	t.Helper()
	b, err := ledger.NewBody(chain, ledger.AddressOf(public(from)), nonce, ledger.Unit, kind, payload)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := b.Sign(ledger.Single(public(from)), from)
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func transfer(t testing.TB, from ed25519.PrivateKey, nonce uint64) []byte {
	return newTx(t, from, nonce, ledger.KindTransfer, &ledger.Transfer{To: ledger.AddressOf(public(newKey("sink"))), Amount: 1})
}

func logger(t testing.TB) *slog.Logger {
	if os.Getenv("AVAL_TEST_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func start(t testing.TB, cfg consensus.Config) *consensus.Node {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = logger(t)
	}
	n, err := consensus.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func submit(t testing.TB, n *consensus.Node, tx []byte) consensus.Committed {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := n.Submit(ctx, tx)
	if err != nil {
		t.Fatal(err)
	}
	if c.Result.Code != ledger.CodeOK {
		t.Fatalf("%v: %s", c.Result.Code, c.Result.Detail)
	}
	return c
}

func root(n *consensus.Node) (canon.Hash, uint64) {
	t, h := n.State()
	return t.Root(), h
}

func TestAlone(t *testing.T) {
	t.Parallel()
	user := newKey("user")
	cfg := consensus.Config{Dir: t.TempDir(), Genesis: newGenesis(1, user), Key: validatorKey(0)}
	n := start(t, cfg)
	before := time.Now()
	c := submit(t, n, transfer(t, user, 0))
	t.Logf("committed at height %d after %v", c.Height, time.Since(before))
	submit(t, n, transfer(t, user, 1))

	var rej *consensus.Rejected
	if _, err := n.Submit(t.Context(), transfer(t, user, 1)); err != nil {
		t.Errorf("the same transaction again: %v", err)
	}
	if _, err := n.Submit(t.Context(), transfer(t, user, 5)); !errors.As(err, &rej) || rej.Result.Code != ledger.CodeNonce {
		t.Errorf("a nonce before its turn: %v", err)
	}
	if _, err := n.Submit(t.Context(), []byte("nonsense")); !errors.As(err, &rej) || rej.Result.Code != ledger.CodeMalformed {
		t.Errorf("nonsense: %v", err)
	}

	// An idle chain makes one block for the new root, and no more.
	time.Sleep(500 * time.Millisecond)
	want, height := root(n)
	time.Sleep(500 * time.Millisecond)
	if _, h := root(n); h != height {
		t.Errorf("an idle chain went from height %d to %d", height, h)
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.Submit(t.Context(), transfer(t, user, 2)); !errors.Is(err, consensus.ErrClosed) {
		t.Errorf("a closed node: %v", err)
	}

	before = time.Now()
	n = start(t, cfg)
	if r, h := root(n); r != want || h != height {
		t.Errorf("after a restart the height is %d, want %d; the root is %s, want %s", h, height, r, want)
	}
	submit(t, n, transfer(t, user, 2))
	t.Logf("first commit %v after a restart", time.Since(before))
	files, _ := filepath.Glob(filepath.Join(cfg.Dir, "*"))
	t.Log(files)
}
