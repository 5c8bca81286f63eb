package consensus_test

import (
	"context"
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
)

// withBeacon gives the nodes of a network the beacon of their keys.
func (n *network) withBeacon() *network {
	n.Helper()
	for i := range n.configs {
		n.configs[i].Beacon = beaconOf(n.TB, n.configs[i])
		n.configs[i].Tick = 100 * time.Millisecond
	}
	return n
}

func beaconOf(t testing.TB, cfg consensus.Config) *consensus.Beacon {
	t.Helper()
	b, err := consensus.LedgerBeacon(cfg.Key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// deal lets a node do its part in the making of keys until the test is over, or
// it is asked to stop.
func (n *network) deal(i int) (stop func()) {
	n.Helper()
	x, key := n.nodes[i], n.configs[i].Key
	maker, err := ledger.NewBeaconMaker(key)
	if err != nil {
		n.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			tx, err := nextBeacon(x, maker, key)
			if err != nil {
				n.Errorf("node %d: %v", i, err)
				return
			}
			if tx != nil {
				if c, err := x.Submit(ctx, tx); err == nil && c.Result.Code != ledger.CodeOK {
					n.Errorf("node %d: %s: %s", i, c.Result.Code, c.Result.Detail)
				}
			}
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	n.Cleanup(stop)
	return stop
}

// nextBeacon is the transaction that the ledger waits for, or nil.
func nextBeacon(n *consensus.Node, maker *ledger.BeaconMaker, key ed25519.PrivateKey) (tx []byte, err error) {
	n.View(func(m *ledger.Machine) {
		kind, payload, e := maker.Next(m)
		if err = e; payload == nil || err != nil {
			return
		}
		policy := ledger.Single(key.Public().(ed25519.PublicKey))
		var b *ledger.Body
		if b, err = ledger.NewBody(m.Chain(), policy.Address(), m.Nonce(policy.Address(), nil), 0, kind, payload); err != nil {
			return
		}
		params := m.Params()
		b.MaxFee = params.MaxFee(b, policy)
		tx, err = b.Sign(policy, key)
	})
	return tx, err
}

func beaconStatus(n *consensus.Node) (s ledger.BeaconStatus) {
	n.View(func(m *ledger.Machine) { s = m.Beacon() })
	return s
}

// serves waits until a key of some members serves.
func (n *network) serves(i, members int) {
	n.Helper()
	var s ledger.BeaconStatus
	for range 600 {
		s = beaconStatus(n.nodes[i])
		if s.Serves && s.Members == members && s.Making == "" {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	n.Fatalf("no key of %d members: %+v", members, s)
}

// blocksOf collects what a node has of blocks, as they come.
func blocksOf(t testing.TB, x *consensus.Node) (take func(height uint64) *consensus.Block) {
	ctx, cancel := context.WithCancel(context.Background())
	got := make(chan *consensus.Block, 10_000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b, err := range x.Blocks(ctx, 0) {
			if err != nil {
				return
			}
			got <- b
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	all := map[uint64]*consensus.Block{}
	return func(height uint64) *consensus.Block {
		t.Helper()
		for all[height] == nil {
			select {
			case b := <-got:
				all[b.Height] = b
			case <-time.After(5 * time.Second):
				t.Fatalf("no block %d", height)
			}
		}
		return all[height]
	}
}

func TestBeaconAlone(t *testing.T) {
	user := newKey("user")
	n := newNetwork(t, 1, 0, user).withBeacon()
	n.configs[0].Listen, n.configs[0].Peers = "", nil
	n.up(0)
	take := blocksOf(t, n.nodes[0])
	began := time.Now()
	n.deal(0)
	n.serves(0, 1)
	t.Logf("a key after %v", time.Since(began))
	_, h := root(n.nodes[0])
	time.Sleep(500 * time.Millisecond)
	if _, now := root(n.nodes[0]); now > h+1 {
		t.Errorf("%d blocks while nothing happens", now-h)
	}
	seen := map[canon.Hash]bool{}
	submit(t, n.nodes[0], transfer(t, user, 0)) // perhaps in the block of the first round, whose value is in the next
	for i := range 3 {
		c := submit(t, n.nodes[0], transfer(t, user, uint64(i+1)))
		v := take(c.Height).Beacon
		if v.IsZero() || seen[v] {
			t.Errorf("block %d has the beacon value %s", c.Height, v)
		}
		seen[v] = true
	}
	if v := take(1).Beacon; !v.IsZero() {
		t.Errorf("block 1 has the beacon value %s", v)
	}
}

func TestBeaconNetwork(t *testing.T) {
	if testing.Short() {
		t.Skip("four validators, for seconds")
	}
	user := newKey("user")
	n := newNetwork(t, 4, 1, user).withBeacon()
	n.genesis.Accounts = append(n.genesis.Accounts, ledger.GenesisAccount{Address: ledger.AddressOf(public(validatorKey(4))), Balance: 10_000 * ledger.Unit})
	n.up(0, 1, 2, 3, 4)
	var takes []func(uint64) *consensus.Block
	for _, x := range n.nodes {
		takes = append(takes, blocksOf(t, x))
	}
	began := time.Now()
	var stops []func()
	for i := range 4 {
		stops = append(stops, n.deal(i))
	}
	n.serves(0, 4)
	t.Logf("a key after %v", time.Since(began))
	nonce := uint64(0)
	var times []time.Duration
	send := func(node int) uint64 {
		t.Helper()
		before := time.Now()
		c := submit(t, n.nodes[node], transfer(t, user, nonce))
		times = append(times, time.Since(before))
		nonce++
		return c.Height
	}
	// same holds the value of a block to be one, and the same for all.
	same := func(height uint64, nodes ...int) {
		t.Helper()
		want := takes[nodes[0]](height).Beacon
		if want.IsZero() {
			t.Errorf("block %d has no beacon value", height)
		}
		for _, i := range nodes {
			if v := takes[i](height).Beacon; v != want {
				t.Errorf("block %d has the beacon value %s, for node %d %s", height, want, i, v)
			}
		}
	}
	first := max(send(0), beaconStatus(n.nodes[0]).From+1) // the value of a round is in the block after it
	for i := range 8 {
		send(i % 4)
		n.same()
	}
	last := send(1)
	for h := first; h <= last; h++ {
		same(h, 0, 1, 2, 3, 4)
	}
	slices.Sort(times)
	t.Logf("commits: median %v, longest %v", times[len(times)/2], times[len(times)-1])

	stops[3]()
	n.down(3)
	first = send(0)
	for range 2 {
		send(2)
	}
	last = send(1)
	for h := first; h <= last; h++ {
		same(h, 0, 1, 2, 4)
	}

	// The fifth node becomes a validator: another group, another key, and no
	// block without a value meanwhile.
	n.up(3)
	takes[3] = blocksOf(t, n.nodes[3])
	n.deal(3)
	joins := validatorKey(4)
	who := public(joins)
	var nonces [5]uint64
	pay := func(i int, kind ledger.Kind, payload any) {
		t.Helper()
		key := n.configs[i].Key
		n.nodes[i].View(func(m *ledger.Machine) { nonces[i] = m.Nonce(ledger.AddressOf(public(key)), nil) })
		submit(t, n.nodes[i], newTx(t, key, nonces[i], kind, payload))
	}
	pay(4, ledger.KindCandidate, &ledger.Candidate{Key: who, Amount: 2000 * ledger.Unit, Proof: ledger.ProveBond(joins, chain, ledger.RoleValidator, ledger.AddressOf(who))})
	n.deal(4)
	until(t, "the candidate's registration", 10*time.Second, func() (ok bool) {
		n.nodes[0].View(func(m *ledger.Machine) { s := m.State(); _, ok = s.Get(append([]byte("h"), who...)) })
		return ok
	})
	_, before := root(n.nodes[0])
	for i := range 3 {
		pay(i, ledger.KindVote, &ledger.Vote{Validator: public(n.configs[i].Key), Change: ledger.Change{Power: &ledger.PowerChange{Key: who, Power: 10}}})
	}
	began = time.Now()
	n.serves(0, 5)
	t.Logf("a key of five after %v", time.Since(began))
	for i := range 5 {
		last = send(i)
	}
	n.same()
	for h := before + 1; h <= last; h++ {
		same(h, 0, 1, 2, 4)
	}
	same(last, 0, 1, 2, 3, 4)
}
