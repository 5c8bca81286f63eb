package consensus_test

import (
	"context"
	"crypto/ed25519"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
)

// network is some nodes that know one another, over TCP on this machine.
type network struct {
	testing.TB
	genesis *ledger.Genesis
	configs []consensus.Config
	nodes   []*consensus.Node // nil: not running
}

// freeAddress is one on which nobody listens.
func freeAddress(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func newNetwork(t testing.TB, validators, followers int, accounts ...ed25519.PrivateKey) *network {
	n := &network{TB: t, genesis: newGenesis(validators, accounts...)}
	for i := range validators + followers {
		n.configs = append(n.configs, consensus.Config{Dir: t.TempDir(), Genesis: n.genesis, Key: validatorKey(i), Listen: freeAddress(t), Logger: logger(t)})
		if l := n.configs[i].Logger; l != nil {
			n.configs[i].Logger = l.With("node", i)
		}
	}
	for i := range n.configs {
		for j := range n.configs {
			if i != j {
				n.configs[i].Peers = append(n.configs[i].Peers, consensus.Peer{Key: public(n.configs[j].Key), Address: n.configs[j].Listen})
			}
		}
	}
	n.nodes = make([]*consensus.Node, len(n.configs))
	return n
}

func (n *network) up(which ...int) {
	n.Helper()
	for _, i := range which {
		n.nodes[i] = start(n, n.configs[i])
	}
}

func (n *network) down(i int) {
	n.Helper()
	began := time.Now()
	if err := n.nodes[i].Close(); err != nil {
		n.Fatal(err)
	}
	n.Logf("closed in %v", time.Since(began))
	n.nodes[i] = nil
}

// same waits until all nodes that run have the same state at a height of at
// least that of the first.
func (n *network) same() canon.Hash {
	n.Helper()
	var roots []canon.Hash
	var heights []uint64
	for range 200 {
		roots, heights = nil, nil
		for _, x := range n.nodes {
			if x != nil {
				r, h := root(x)
				roots, heights = append(roots, r), append(heights, h)
			}
		}
		if len(slices.Compact(slices.Clone(heights))) == 1 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if len(slices.Compact(heights)) != 1 || len(slices.Compact(slices.Clone(roots))) != 1 {
		n.Fatalf("roots %v at heights %v", roots, heights)
	}
	return roots[0]
}

// until waits for something that does not come as a block.
func until(t testing.TB, what string, limit time.Duration, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v", what, limit)
		}
	}
}

func TestFourValidators(t *testing.T) {
	t.Parallel()
	user := newKey("user")
	n := newNetwork(t, 4, 0, user)
	began := time.Now()
	n.up(0, 1, 2, 3)
	submit(t, n.nodes[0], transfer(t, user, 0))
	t.Logf("first commit %v after the start", time.Since(began))
	n.same()
	nonce := uint64(1)
	for i := range n.nodes {
		before := time.Now()
		submit(t, n.nodes[i], transfer(t, user, nonce))
		t.Logf("commit %v", time.Since(before))
		nonce++
		n.same()
	}

	n.down(3)
	for range 3 {
		submit(t, n.nodes[0], transfer(t, user, nonce))
		nonce++
	}
	n.same()

	n.down(2)
	tx := transfer(t, user, nonce)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if c, err := n.nodes[0].Submit(ctx, tx); err == nil {
		t.Fatalf("two of four validators committed: %+v", c)
	}
	until(t, "a status that says why", 10*time.Second, func() bool { return n.nodes[0].Status().Halted != "" })
	t.Log(n.nodes[0].Status().Halted)

	began = time.Now()
	n.up(2)
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := n.nodes[0].Wait(ctx, ledger.TxID(tx)); err != nil {
		for _, x := range n.nodes {
			if x != nil {
				t.Log(x.Round())
			}
		}
		t.Fatal(err)
	}
	t.Logf("progress %v after the return", time.Since(began))
	if s := n.nodes[0].Status(); s.Halted != "" {
		t.Errorf("still halted: %s", s.Halted)
	}
	n.up(3)
	until(t, "the last one has all blocks", 20*time.Second, func() bool { return n.nodes[3].Status().Height >= n.nodes[0].Status().Height })
	submit(t, n.nodes[3], transfer(t, user, nonce+1))
	n.same()
}
