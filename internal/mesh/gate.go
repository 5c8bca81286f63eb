package mesh

import (
	"net"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/connmgr"
	"github.com/libp2p/go-libp2p/core/control"
	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/avalnetwork/aval/internal/peer"
)

// maxBans bounds the peers that are kept away.
const maxBans = 4096

// gate decides who may connect: peers with Ed25519 keys that are not banned, in
// the mode LAN from the local network only. Nobody is dialled before this node
// listens: a connection made earlier leaves from another port than the one that
// is listened on, so that the peer sees an address at which nobody answers, and
// a router keeps no way in.
type gate struct {
	local     bool
	listening chan struct{} // closed when the node listens, or will not
	mu        sync.Mutex
	until     map[peer.ID]time.Time
	nets      []*net.IPNet // of this machine's interfaces
	asked     time.Time    // when they were looked up
}

var _ connmgr.ConnectionGater = (*gate)(nil)

// ban keeps a peer away for a while.
func (g *gate) ban(id peer.ID, d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	for id, t := range g.until {
		if now.After(t) {
			delete(g.until, id)
		}
	}
	if len(g.until) < maxBans || !g.until[id].IsZero() {
		g.until[id] = now.Add(d)
	}
}

func (g *gate) allowed(id libp2ppeer.ID) bool {
	p, err := fromLibp2p(id)
	if err != nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return !time.Now().Before(g.until[p])
}

// near tells whether an address may be on the local network: a private one, or
// one of the networks that this machine is in.
func (g *gate) near(a ma.Multiaddr) bool {
	if !g.local || manet.IsPrivateAddr(a) || manet.IsIPLoopback(a) || manet.IsIP6LinkLocal(a) {
		return true
	}
	ip, err := manet.ToIP(a)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(g.networks(), func(n *net.IPNet) bool { return n.Contains(ip) })
}

// networks are those of the interfaces, looked up now and then: a device moves.
func (g *gate) networks() []*net.IPNet {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := time.Now(); g.asked.IsZero() || now.Sub(g.asked) > 10*time.Second {
		g.asked, g.nets = now, nil
		list, _ := net.InterfaceAddrs()
		for _, a := range list {
			if n, ok := a.(*net.IPNet); ok {
				g.nets = append(g.nets, n)
			}
		}
	}
	return g.nets
}

func (g *gate) InterceptPeerDial(id libp2ppeer.ID) bool {
	<-g.listening
	return g.allowed(id)
}

func (g *gate) InterceptAddrDial(_ libp2ppeer.ID, a ma.Multiaddr) bool { return g.near(a) }

func (g *gate) InterceptAccept(a network.ConnMultiaddrs) bool { return g.near(a.RemoteMultiaddr()) }

func (g *gate) InterceptSecured(_ network.Direction, id libp2ppeer.ID, _ network.ConnMultiaddrs) bool {
	return g.allowed(id)
}

func (g *gate) InterceptUpgraded(network.Conn) (bool, control.DisconnectReason) { return true, 0 }
