package service_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/service"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/light"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
	"github.com/avalnetwork/aval/internal/wallet"
)

func newKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func address(name string) ledger.Address { return ledger.AddressOf(public(newKey(name))) }

func genesis() *ledger.Genesis {
	return &ledger.Genesis{
		Chain: "test", Time: uint64(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC).UnixMilli()),
		Accounts:   []ledger.GenesisAccount{{Address: address("user"), Balance: 1_000_000 * ledger.Unit}, {Address: address("other"), Balance: 1000 * ledger.Unit}},
		Validators: []ledger.GenesisValidator{{Key: canon.Hash(public(newKey("validator"))), Operator: address("validator"), Power: 1, Bond: 2000 * ledger.Unit}},
	}
}

// chain is a chain of one validator, as the node shows it.
type chain struct{ *consensus.Node }

func (c chain) Submit(ctx context.Context, tx []byte) (uint64, ledger.Result, error) {
	done, err := c.Node.Submit(ctx, tx)
	var no *consensus.Rejected
	if errors.As(err, &no) {
		return 0, no.Result, nil
	}
	return done.Height, done.Result, err
}

func startChain(t testing.TB) chain {
	t.Helper()
	n, err := consensus.Start(t.Context(), consensus.Config{Dir: t.TempDir(), Genesis: genesis(), Key: newKey("validator")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, _, err := n.Provable(ctx, 0); err != nil { // the first block comes by itself
		t.Fatal(err)
	}
	return chain{n}
}

// network is some nodes that serve a chain, and one that asks them.
type network struct {
	net   *memory.Network
	asker *rpc.Node
	peers []*service.Client
}

func newNetwork(t testing.TB, chains ...service.Chain) *network {
	t.Helper()
	n := &network{net: memory.New()}
	everybody := func(context.Context, *rpc.Call) error { return nil }
	quiet := slog.New(slog.DiscardHandler)
	data, err := genesis().Encode()
	if err != nil {
		t.Fatal(err)
	}
	n.asker, err = rpc.New(rpc.Config{Network: n.net.Join(peer.ID{99}), Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	n.asker.Start()
	t.Cleanup(func() { n.asker.Close() })
	for i, c := range chains {
		id := peer.ID{byte(i + 1)}
		s, err := rpc.New(rpc.Config{Network: n.net.Join(id), Authorize: everybody, Logger: quiet})
		if err == nil {
			err = service.Register(s, service.Config{
				Genesis: data, Chain: c, Logger: quiet, None: func(err error) bool { return errors.Is(err, consensus.ErrNoBlock) },
				Places: func() []string {
					return []string{service.Place{Key: public(newKey("validator")), Address: "192.0.2.1:26656"}.String()}
				},
			})
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { s.Close() })
		n.peers = append(n.peers, &service.Client{Peer: id, Conn: n.asker.To(id, rpc.Normal)})
	}
	return n
}

func (n *network) light(t testing.TB, cfg service.LightConfig) *service.Light {
	t.Helper()
	cfg.Genesis = genesis()
	if cfg.Peers == nil {
		cfg.Peers = func() []*service.Client { return n.peers }
	}
	l, err := service.NewLight(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// pay sends a transfer of a key through a ledger.
func pay(t testing.TB, l wallet.Ledger, from, to string, amount ledger.Amount) {
	t.Helper()
	w, err := wallet.New(wallet.Single(newKey(from)), l)
	if err == nil {
		_, err = w.Send(t.Context(), ledger.KindTransfer, &ledger.Transfer{To: address(to), Amount: amount})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func balance(t testing.TB, l wallet.Ledger, of string) ledger.Amount {
	t.Helper()
	w, err := wallet.New(wallet.Single(newKey(of)), l)
	if err != nil {
		t.Fatal(err)
	}
	b, err := w.Balance(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lied(t testing.TB, err error, what string) {
	t.Helper()
	var lie *service.Lie
	if !errors.As(err, &lie) || !strings.Contains(err.Error(), what) {
		t.Errorf("%v, want a lie about %q", err, what)
	}
}

func TestService(t *testing.T) {
	t.Parallel()
	here := startChain(t)
	n := newNetwork(t, here, here)
	c, ctx := n.peers[0], t.Context()
	want, err := genesis().Hash()
	if err != nil {
		t.Fatal(err)
	}
	g, err := c.Genesis(ctx, want)
	if err != nil || g.Chain != "test" || len(g.Accounts) != 2 {
		t.Fatalf("%+v, %v", g, err)
	}
	_, err = c.Genesis(ctx, canon.Hash{1})
	lied(t, err, "want 0100")
	if _, err := c.Head(ctx, 1<<40); rpc.CodeOf(err) != rpc.NotFound {
		t.Errorf("a header that is not there: %v", err)
	}
	places, err := c.Places(ctx)
	if err != nil || len(places) != 1 || places[0].Address != "192.0.2.1:26656" {
		t.Errorf("%v, %v", places, err)
	}

	var kept []*light.Trust
	l := n.light(t, service.LightConfig{Keep: func(t *light.Trust) error { kept = append(kept, t); return nil }})
	for i := range 5 {
		pay(t, l, "user", "sink", 10)
		if got := balance(t, l, "sink"); got != ledger.Amount(10*(i+1)) {
			t.Fatalf("after %d payments the sink has %d", i+1, got)
		}
	}
	if err := l.Update(ctx); err != nil || l.Agreed() != 2 {
		t.Errorf("%v, %d agree", err, l.Agreed())
	}
	if got := balance(t, l, "nobody"); got != 0 {
		t.Errorf("nobody has %d", got)
	}
	w, err := wallet.New(wallet.Single(newKey("user")), l)
	if err != nil {
		t.Fatal(err)
	}
	var failed *wallet.Failed
	if _, err := w.Send(ctx, ledger.KindTransfer, &ledger.Transfer{To: address("sink"), Amount: ledger.MaxSupply}); !errors.As(err, &failed) || failed.Result.Code != ledger.CodeFunds {
		t.Errorf("more than there is: %v", err)
	}
	if res, err := l.Submit(ctx, []byte("nonsense")); err != nil || res.Code != ledger.CodeMalformed {
		t.Errorf("nonsense: %v, %v", res, err)
	}

	// Another run goes on from what was kept, if that is not too old.
	last := kept[len(kept)-1]
	if got := balance(t, n.light(t, service.LightConfig{Trust: last}), "sink"); got != 50 {
		t.Errorf("after a restart the sink has %d", got)
	}
	old := *last
	old.Checked -= int64(72 * time.Hour / time.Second)
	if _, err := n.light(t, service.LightConfig{Trust: &old}).Entry(ctx, ledger.MetaKey()); !errors.Is(err, light.ErrExpired) {
		t.Errorf("what was checked three days ago: %v", err)
	}

	// What was proved is checked with the genesis alone.
	key := ledger.AccountKey(address("sink"))
	p, err := l.Prove(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	file := map[string]any{"key": hex.EncodeToString(key), "value": p.Value}
	if file["proof"], err = p.Proof.Encode(); err != nil {
		t.Fatal(err)
	}
	if file["block"], err = p.Block.Encode(); err != nil {
		t.Fatal(err)
	}
	verify := func() (*service.Verified, error) {
		data, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		return service.VerifyFile(genesis(), data, time.Now())
	}
	v, err := verify()
	if err != nil || v.Value.(*ledger.Account).Balance != 50 {
		t.Errorf("%+v, %v", v, err)
	}
	file["value"] = append([]byte{}, p.Value[:len(p.Value)-1]...)
	if _, err := verify(); err == nil {
		t.Error("another value stands")
	}
	file["value"], file["key"] = p.Value, hex.EncodeToString(ledger.AccountKey(address("user")))
	if _, err := verify(); err == nil {
		t.Error("a proof of another entry stands")
	}
}

// liar shows a chain as it is not.
type liar struct {
	chain
	mu     sync.Mutex
	head   func(*light.Block)                                            // what it changes of headers
	state  func(*light.Block, *tree.Tree) (*light.Block, *tree.Tree)     // and of what it proves
	submit func(tx []byte) (height uint64, res ledger.Result, err error) // what it does with transactions
}

func (l *liar) LightBlock(height uint64) (*light.Block, error) {
	b, err := l.chain.LightBlock(height)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.head != nil {
		l.head(b)
	}
	return b, err
}

func (l *liar) Provable(ctx context.Context, after uint64) (*light.Block, tree.Tree, error) {
	l.mu.Lock()
	state := l.state
	l.mu.Unlock()
	if state != nil {
		after = 0
	}
	b, s, err := l.chain.Provable(ctx, after)
	if err == nil && state != nil {
		var out *tree.Tree
		b, out = state(b, &s)
		s = *out
	}
	return b, s, err
}

func (l *liar) Submit(ctx context.Context, tx []byte) (uint64, ledger.Result, error) {
	l.mu.Lock()
	submit := l.submit
	l.mu.Unlock()
	if submit != nil {
		return submit(tx)
	}
	return l.chain.Submit(ctx, tx)
}

func (l *liar) set(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.head, l.state, l.submit = nil, nil, nil
	f()
}

func TestHostilePeer(t *testing.T) {
	t.Parallel()
	here := startChain(t)
	bad := &liar{chain: here}
	n := newNetwork(t, bad, here)
	alone := &network{net: n.net, asker: n.asker, peers: n.peers[:1]}
	user := ledger.AccountKey(address("user"))
	pay(t, n.light(t, service.LightConfig{}), "user", "sink", 7)

	// Headers that nobody signed.
	for name, change := range map[string]func(*light.Block){
		"another root":       func(b *light.Block) { b.Header.Root[3] ^= 1 },
		"another time":       func(b *light.Block) { b.Header.Time.Seconds++ },
		"a forged signature": func(b *light.Block) { b.Votes[0].Signature = append([]byte{1}, b.Votes[0].Signature[1:]...) },
		"no votes":           func(b *light.Block) { b.Votes[0].Signature = nil },
		"other validators": func(b *light.Block) {
			b.Validators[0].Key = canon.Hash(public(newKey("liar")))
		},
		"another chain": func(b *light.Block) { b.Header.Chain = "other" },
	} {
		bad.set(func() {
			bad.head = change
			bad.state = func(b *light.Block, s *tree.Tree) (*light.Block, *tree.Tree) {
				c := *b
				c.Votes = append([]light.Vote{}, b.Votes...)
				c.Validators = append([]light.Validator{}, b.Validators...)
				change(&c)
				return &c, s
			}
		})
		l := alone.light(t, service.LightConfig{})
		if err := l.Update(t.Context()); err == nil || l.Trust().Height != 0 {
			t.Errorf("%s is believed: %v", name, err)
		}
		_, err := l.Entry(t.Context(), user)
		lied(t, err, "the header does not stand")
		// Beside a node that does not lie it does no harm.
		both := n.light(t, service.LightConfig{})
		if err := both.Update(t.Context()); err != nil || both.Agreed() != 1 {
			t.Errorf("%s, beside a node that does not lie: %v, %d agree", name, err, both.Agreed())
		}
		if got := balance(t, both, "sink"); got != 7 {
			t.Errorf("%s: the sink has %d", name, got)
		}
	}

	// Another state, or none of an entry.
	for name, change := range map[string]func(*tree.Tree){
		"another value": func(s *tree.Tree) { s.Set(user, []byte{1}) },
		"no entry":      func(s *tree.Tree) { s.Delete(user) },
	} {
		bad.set(func() {
			bad.state = func(b *light.Block, s *tree.Tree) (*light.Block, *tree.Tree) {
				c := s.Clone()
				change(&c)
				return b, &c
			}
		})
		_, err := alone.light(t, service.LightConfig{}).Entry(t.Context(), user)
		lied(t, err, "the proof does not stand")
		if err == nil {
			t.Errorf("%s is believed", name)
		}
	}

	// An old state, to who knows a newer one.
	bad.set(func() {})
	l := n.light(t, service.LightConfig{})
	oldBlock, oldState, err := here.Provable(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	pay(t, l, "user", "sink", 7)
	bad.set(func() {
		bad.state = func(*light.Block, *tree.Tree) (*light.Block, *tree.Tree) { return oldBlock, &oldState }
	})
	n.peers[1], n.peers = n.peers[0], n.peers[:1]
	_, err = l.Entry(t.Context(), user)
	lied(t, err, "asked for was one above")

	// A transaction that was not sent.
	bad.set(func() {
		bad.submit = func([]byte) (uint64, ledger.Result, error) { return oldBlock.Header.Height, ledger.Result{}, nil }
	})
	w, err := wallet.New(wallet.Single(newKey("user")), l)
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.Send(t.Context(), ledger.KindTransfer, &ledger.Transfer{To: address("sink"), Amount: 1})
	lied(t, err, "of which this is not one")
}

// TestRefusal: what one node refuses may be sent through another.
func TestRefusal(t *testing.T) {
	t.Parallel()
	here := startChain(t)
	bad := &liar{chain: here, submit: func([]byte) (uint64, ledger.Result, error) {
		return 0, ledger.Result{Code: ledger.CodeFee, Detail: "no"}, nil
	}}
	n := newNetwork(t, bad, here)
	l := n.light(t, service.LightConfig{})
	pay(t, l, "user", "sink", 7)
	n.peers = n.peers[:1]
	w, err := wallet.New(wallet.Single(newKey("user")), l)
	if err != nil {
		t.Fatal(err)
	}
	var failed *wallet.Failed
	if _, err := w.Send(t.Context(), ledger.KindTransfer, &ledger.Transfer{To: address("sink"), Amount: 1}); !errors.As(err, &failed) || failed.Result.Code != ledger.CodeFee {
		t.Errorf("%v, want that it was refused", err)
	}
}

// TestFork: a validator that runs two chains with one name is found out, however
// high the two are.
func TestFork(t *testing.T) {
	t.Parallel()
	a, b := startChain(t), startChain(t)
	n := newNetwork(t, a, b)
	first, second := &network{peers: n.peers[:1]}, &network{peers: n.peers[1:]}
	pay(t, first.light(t, service.LightConfig{}), "user", "sink", 1)
	pay(t, second.light(t, service.LightConfig{}), "user", "sink", 2)
	pay(t, second.light(t, service.LightConfig{}), "user", "sink", 2)

	var kept *service.Fork
	l := n.light(t, service.LightConfig{Forked: func(f *service.Fork) { kept = f }})
	var fork *service.Fork
	if err := l.Update(t.Context()); !errors.As(err, &fork) {
		t.Fatalf("%v, want a fork", err)
	}
	if fork.Blocks[0].Header.Height != fork.Height || fork.Blocks[1].Header.Height != fork.Height || fork.Blocks[0].Header.Hash() == fork.Blocks[1].Header.Hash() {
		t.Errorf("the evidence is no fork: %+v", fork)
	}
	if _, err := l.Entry(t.Context(), ledger.MetaKey()); !errors.As(err, &fork) {
		t.Errorf("after a fork it answers: %v", err)
	}

	data, err := kept.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if kept, err = service.DecodeFork(data); err != nil || kept.Error() != fork.Error() {
		t.Errorf("%v became %v, %v", fork, kept, err)
	}
	if _, err := n.light(t, service.LightConfig{Fork: kept}).Entry(t.Context(), ledger.MetaKey()); !errors.As(err, &fork) {
		t.Errorf("after a fork and a restart it answers: %v", err)
	}

	// It knows one chain, and is shown the other, which is lower.
	knows := n.light(t, service.LightConfig{Peers: func() []*service.Client { return second.peers }})
	if err := knows.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	trust := knows.Trust()
	again := n.light(t, service.LightConfig{Trust: &trust})
	if err := again.Update(t.Context()); !errors.As(err, &fork) {
		t.Errorf("%v, want a fork", err)
	}
}

// TestLoad: several who send and one who reads at once.
func TestLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Parallel()
	here := startChain(t)
	n := newNetwork(t, here, here)
	l := n.light(t, service.LightConfig{})
	var wg sync.WaitGroup
	for _, from := range []string{"user", "other"} {
		wg.Go(func() {
			w, err := wallet.New(wallet.Single(newKey(from)), l)
			for range 5 {
				if err == nil {
					_, err = w.Send(t.Context(), ledger.KindTransfer, &ledger.Transfer{To: address("sink"), Amount: 1})
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			if err := l.Update(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if got := balance(t, l, "sink"); got != 10 {
		t.Errorf("the sink has %d", got)
	}
}

// TestPlace and TestAltered are no fuzz targets: to instrument a chain's node takes
// minutes.
func TestPlace(t *testing.T) {
	good := service.Place{Key: public(newKey("a")), Address: "192.0.2.1:26656"}.String()
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.Just(good+"1"), rapid.Custom(func(t *rapid.T) string {
			b := []byte(good)
			b[rapid.IntRange(0, len(b)-1).Draw(t, "at")] = rapid.Byte().Draw(t, "byte")
			return string(b)
		})).Draw(t, "place")
		p, err := service.ParsePlace(s)
		if err != nil {
			return
		}
		if again, err := service.ParsePlace(p.String()); err != nil || again.Address != p.Address || !again.Key.Equal(p.Key) {
			t.Fatalf("%q became %v, %v", s, again, err)
		}
	})
}

// TestAltered: a proof's file with some bytes changed is refused, or shows the same.
func TestAltered(t *testing.T) {
	t.Parallel()
	l := newNetwork(t, startChain(t)).light(t, service.LightConfig{})
	var files [][]byte
	var want []string
	for _, name := range []string{"user", "nobody"} {
		key := ledger.AccountKey(address(name))
		p, err := l.Prove(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		proof, err1 := p.Proof.Encode()
		block, err2 := p.Block.Encode()
		data, err3 := json.Marshal(map[string]any{"key": hex.EncodeToString(key), "value": p.Value, "proof": proof, "block": block})
		if err := errors.Join(err1, err2, err3); err != nil {
			t.Fatal(err)
		}
		v, err := service.VerifyFile(genesis(), data, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		files, want = append(files, data), append(want, shown(t, v))
	}
	rapid.Check(t, func(rt *rapid.T) {
		i := rapid.IntRange(0, 1).Draw(rt, "file")
		data := append([]byte{}, files[i]...)
		for range rapid.IntRange(1, 3).Draw(rt, "changes") {
			data[rapid.IntRange(0, len(data)-1).Draw(rt, "at")] = rapid.Byte().Draw(rt, "byte")
		}
		v, err := service.VerifyFile(genesis(), data, time.Now())
		if err == nil && shown(t, v) != want[i] {
			rt.Fatalf("%q shows %s, want %s", data, shown(t, v), want[i])
		}
	})
}

func shown(t testing.TB, v *service.Verified) string {
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
