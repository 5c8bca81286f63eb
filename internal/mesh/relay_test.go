package mesh

import (
	"testing"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/avalnetwork/aval/internal/peer"
)

// TestRankRelays: a relay that may be gone does not come before one that is there.
func TestRankRelays(t *testing.T) {
	var relays [2]libp2ppeer.ID
	for i := range relays {
		id, err := toLibp2p(peer.FromPrivate(testKey(byte(i + 1))))
		if err != nil {
			t.Fatal(err)
		}
		relays[i] = id
	}
	gone, here := relays[0].String(), relays[1].String()
	want := []struct {
		addr string
		wait time.Duration
	}{
		{"/ip4/10.2.0.2/tcp/4001", 0},
		{"/ip4/5.5.5.2/udp/4001/quic-v1/p2p/" + gone + "/p2p-circuit", time.Second},
		{"/ip4/5.5.5.2/tcp/4001/p2p/" + gone + "/p2p-circuit", 6 * time.Second},
		{"/ip4/5.5.5.3/udp/4001/quic-v1/p2p/" + here + "/p2p-circuit", 0},
		{"/ip4/5.5.5.3/tcp/4001/p2p/" + here + "/p2p-circuit", 6 * time.Second},
	}
	var list []network.AddrDelay
	for _, w := range want {
		list = append(list, network.AddrDelay{Addr: ma.StringCast(w.addr), Delay: 500 * time.Millisecond})
	}
	for i, got := range rankRelays(list, func(id libp2ppeer.ID) bool { return id == relays[1] }) {
		if got.Delay != want[i].wait+500*time.Millisecond {
			t.Errorf("%s waits %v, want %v", want[i].addr, got.Delay, want[i].wait+500*time.Millisecond)
		}
	}
}
