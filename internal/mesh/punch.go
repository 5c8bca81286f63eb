package mesh

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// Hole punching (DCUtR). libp2p tries once, when a relayed connection comes in,
// and gives up if it does not know its own public address by then, which takes
// a node its first seconds. So the node has a service of its own, knows more
// addresses that may work, and tries again.

// punchAfter is how long after a peer is seen behind a relay the next try is;
// after the last one, the node is content with the relay.
var punchAfter = []time.Duration{time.Second, 3 * time.Second, 10 * time.Second, time.Minute, 10 * time.Minute}

// punches bounds the tries that run at the same time.
const punches = 8

// newPuncher starts the service.
func (n *Node) newPuncher() error {
	s, err := holepunch.NewService(n.basic, n.basic.IDService(), n.punchable, holepunch.WithTracer(n.watch))
	if err != nil {
		return fmt.Errorf("mesh: hole punching: %w", err)
	}
	n.puncher = s
	n.wg.Go(n.punch)
	return nil
}

// relayedPeer is a peer that is connected through a relay alone.
type relayedPeer struct {
	since time.Time
	tries int
}

// punch looks for peers behind relays and tries to reach them directly.
func (n *Node) punch() {
	known := map[libp2ppeer.ID]*relayedPeer{}
	seats := make(chan struct{}, punches)
	for n.sleep(500*time.Millisecond + rand.N(500*time.Millisecond)) {
		now := time.Now()
		relayed := map[libp2ppeer.ID]bool{}
		for _, id := range n.host.Network().Peers() {
			if n.host.Network().Connectedness(id) != network.Limited || !n.called(id) {
				continue
			}
			relayed[id] = true
			p := known[id]
			if p == nil {
				p = &relayedPeer{since: now}
				known[id] = p
			}
			if p.tries == len(punchAfter) || now.Sub(p.since) < punchAfter[p.tries] {
				continue
			}
			select {
			case seats <- struct{}{}:
				p.tries++
				n.wg.Go(func() {
					defer func() { <-seats }()
					_ = n.puncher.DirectConnect(id) // what came of it goes to Trace
				})
			default:
			}
		}
		for id := range known {
			if !relayed[id] {
				delete(known, id)
			}
		}
	}
}

// called tells whether the peer began the connection through the relay. Then it
// is this node that begins to punch: if both did, both would dial as well, the
// SYNs would cross, and a TCP connection would come about of which each end
// believes that it began it, and that blocks the ports for the real attempt.
func (n *Node) called(id libp2ppeer.ID) bool {
	return slices.ContainsFunc(n.host.Network().ConnsToPeer(id), func(c network.Conn) bool {
		return c.Stat().Limited && c.Stat().Direction == network.DirInbound
	})
}

// punchable are public addresses under which the other side of a hole may find
// this node: its own, those that the router opened, those under which others see
// its listening ports, and, for a router that keeps port numbers, the same address
// with the ports of the other transport. Where the router gives each peer another
// port, what one of them sees is of no use to the next and is left out: every
// address costs the other side a dial, and all at once.
func (n *Node) punchable() []ma.Multiaddr {
	var out []ma.Multiaddr
	seen := map[string]bool{}
	add := func(a ma.Multiaddr) {
		if s := a.String(); manet.IsPublicAddr(a) && !seen[s] && len(out) < maxPunched {
			seen[s] = true
			out = append(out, a)
		}
	}
	listening := map[string]map[string]bool{"tcp": {}, "udp": {}} // ports
	for _, a := range n.host.Network().ListenAddresses() {
		network, port := transportPort(a)
		if port == "" || !plain(a) {
			continue
		}
		listening[network][port] = true
		if n.opener != nil {
			if open := n.opener.GetMapping(a); open != nil {
				add(open)
			}
		}
	}
	for _, a := range n.basic.AllAddrs() {
		if _, err := a.ValueForProtocol(ma.P_CIRCUIT); err != nil && plain(a) {
			add(a)
		}
	}
	agreed, lone := n.agreed(listening)
	for _, a := range agreed {
		add(a)
	}
	// Without any address of its own a node may not even say that it takes part
	// (libp2p's service waits for one), though the other side can perhaps be
	// reached.
	for i := 0; len(out) == 0 && i < len(lone); i++ {
		add(lone[i])
	}
	return out
}

// maxPunched bounds the addresses that the other side of a hole is told.
const maxPunched = 12

// agreed are the addresses of listening ports that two peers see alike, or that
// the only peer sees, and those that follow from them; lone are the others.
func (n *Node) agreed(listening map[string]map[string]bool) (agreed, lone []ma.Multiaddr) {
	type view struct{ network, family, ip, port, local string }
	observers := map[view]int{}
	all := map[view]int{} // with no port outside: of all peers
	var order []view
	for _, o := range n.watch.observed() {
		a, err := ma.NewMultiaddr(o.Address)
		local, err2 := ma.NewMultiaddr(o.Local)
		if err != nil || err2 != nil {
			continue
		}
		network, port := transportPort(a)
		_, localPort := transportPort(local)
		ip, err := manet.ToIP(a)
		if err != nil || port == "" || !listening[network][localPort] {
			continue // seen from a port that nobody listens on
		}
		v := view{network, "ip4", ip.String(), port, localPort}
		if ip.To4() == nil {
			v.family = "ip6"
		}
		if observers[v]++; observers[v] == 1 {
			order = append(order, v)
		}
		v.port = ""
		all[v]++
	}
	at := func(list *[]ma.Multiaddr, v view, network, port string) {
		s := fmt.Sprintf("/%s/%s/%s/%s", v.family, v.ip, network, port)
		if network == "udp" {
			s += "/quic-v1"
		}
		if a, err := ma.NewMultiaddr(s); err == nil {
			*list = append(*list, a)
		}
	}
	for _, v := range order {
		any := v
		any.port = ""
		if observers[v] < 2 && all[any] > 1 {
			at(&lone, v, v.network, v.port)
			continue
		}
		at(&agreed, v, v.network, v.port)
		if v.port == v.local { // the router keeps ports
			other := map[string]string{"tcp": "udp", "udp": "tcp"}[v.network]
			for p := range listening[other] {
				at(&agreed, v, other, p)
			}
		}
	}
	return agreed, lone
}

// plain tells an address of TCP or QUIC without more on top.
func plain(a ma.Multiaddr) bool {
	for _, p := range a.Protocols() {
		switch p.Code {
		case ma.P_WS, ma.P_WSS, ma.P_WEBTRANSPORT:
			return false
		}
	}
	return true
}

// transportPort is the network ("tcp" or "udp") and port of an address.
func transportPort(a ma.Multiaddr) (network, port string) {
	for name, code := range map[string]int{"tcp": ma.P_TCP, "udp": ma.P_UDP} {
		if v, err := a.ValueForProtocol(code); err == nil {
			if _, err := strconv.ParseUint(v, 10, 16); err == nil {
				return name, v
			}
		}
	}
	return "", ""
}
