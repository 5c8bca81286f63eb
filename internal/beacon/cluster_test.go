package beacon_test

import (
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"sync"
	"testing"

	"github.com/avalnetwork/aval/internal/beacon"
)

// cluster is a group with all that its members have.
type cluster struct {
	secrets  []*beacon.Secret
	members  []beacon.Member
	group    *beacon.Group
	dealings []*beacon.Dealing
	key      *beacon.Key
	signers  []*beacon.Signer
}

// seed is that of a node.
func seed(i int) []byte {
	h := sha256.Sum256([]byte{byte(i)})
	return h[:]
}

func newSecret(t testing.TB, i int) *beacon.Secret {
	t.Helper()
	s, err := beacon.NewSecret(seed(i))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newGroup makes the group of the first n nodes.
func newGroup(t testing.TB, chain string, epoch uint64, n int) *cluster {
	t.Helper()
	c := &cluster{}
	nodes := make([]int, n)
	for i := range nodes {
		nodes[i] = i
	}
	id := func(i int) [32]byte { return [32]byte(ed25519.NewKeyFromSeed(seed(i)).Public().(ed25519.PublicKey)) }
	slices.SortFunc(nodes, func(a, b int) int {
		x, y := id(a), id(b)
		return slices.Compare(x[:], y[:])
	})
	for _, i := range nodes {
		s := newSecret(t, i)
		c.secrets = append(c.secrets, s)
		c.members = append(c.members, beacon.Member{ID: id(i), Key: s.Public(), Power: 10})
	}
	var err error
	if c.group, err = beacon.NewGroup(chain, epoch, c.members); err != nil {
		t.Fatal(err)
	}
	return c
}

func newCluster(t testing.TB, n int) *cluster {
	t.Helper()
	c := newGroup(t, "test", 1, n)
	for _, s := range c.secrets {
		d, err := c.group.Deal(s, [32]byte{})
		if err != nil {
			t.Fatal(err)
		}
		c.dealings = append(c.dealings, d)
	}
	c.finish(t)
	return c
}

// finish makes the key from the dealings, and the signers.
func (c *cluster) finish(t testing.TB) {
	t.Helper()
	var err error
	if c.key, err = c.group.Combine(c.dealings); err != nil {
		t.Fatal(err)
	}
	for _, s := range c.secrets {
		signer, err := c.key.Signer(s)
		if err != nil {
			t.Fatal(err)
		}
		c.signers = append(c.signers, signer)
	}
}

var (
	clustersMu sync.Mutex
	clusters   = map[int]*cluster{}
)

// ready is a cluster that tests share and don't change.
func ready(t testing.TB, n int) *cluster {
	t.Helper()
	clustersMu.Lock()
	defer clustersMu.Unlock()
	if clusters[n] == nil {
		clusters[n] = newCluster(t, n)
	}
	return clusters[n]
}

// shares gives those of a round of the members.
func (c *cluster) shares(round uint64, members ...int) []beacon.Share {
	var out []beacon.Share
	for _, m := range members {
		out = append(out, c.signers[m].Sign(round))
	}
	return out
}

func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
