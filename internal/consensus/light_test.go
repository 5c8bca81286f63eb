package consensus_test

import (
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/light"
)

// genesisTrust is what somebody who knows the genesis alone trusts.
func genesisTrust(t testing.TB, g *ledger.Genesis) *light.Trust {
	m, err := ledger.New(g)
	if err != nil {
		t.Fatal(err)
	}
	var vals []light.Validator
	for _, v := range m.Validators() {
		vals = append(vals, light.Validator{Key: canon.Hash(v.Key), Power: v.Power})
	}
	return light.Genesis(g.Chain, vals, time.Now())
}

func TestLight(t *testing.T) {
	t.Parallel()
	user := newKey("user")
	g := newGenesis(1, user)
	n := start(t, consensus.Config{Dir: t.TempDir(), Genesis: g, Key: validatorKey(0)})
	var last consensus.Committed
	for i := range uint64(5) {
		last = submit(t, n, transfer(t, user, i))
	}
	until(t, "the header after the last change", 5*time.Second, func() bool {
		_, h := root(n)
		return h > last.Height
	})
	fetch := func(h uint64) (*light.Block, error) { return n.LightBlock(h) }
	trust, err := genesisTrust(t, g).Follow(last.Height+1, time.Now(), 0, fetch)
	if err != nil {
		t.Fatal(err)
	}
	tree, _ := n.State()
	addr := ledger.AddressOf(public(user))
	key := append([]byte("a"), addr[:]...)
	if _, ok, err := trust.Entry(key, tree.Prove(key)); err != nil || !ok {
		t.Errorf("an account of the state: %v, %v", ok, err)
	}
	for h := uint64(1); h <= last.Height+1; h++ {
		if _, err := genesisTrust(t, g).Follow(h, time.Now(), 0, fetch); err != nil {
			t.Error(err)
		}
	}
}
