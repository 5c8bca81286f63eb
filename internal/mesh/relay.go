package mesh

import (
	"context"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/protocol/ping"
	ma "github.com/multiformats/go-multiaddr"
)

// A relay that is gone without a word is noticed by QUIC after 30 seconds, and by
// TCP later still. Until then nobody reaches the node through it, and calls over it
// hang. So a node asks the relays that it depends on now and then, and leaves those
// that are silent.
const (
	relayAsk     = 3 * time.Second
	relayAnswer  = 4 * time.Second
	relaySilence = 2 // questions without an answer
)

// keepRelays leaves relays that are silent.
func (n *Node) keepRelays() {
	for n.sleep(relayAsk) {
		var wg sync.WaitGroup
		for id := range n.relaysInUse() {
			wg.Go(func() {
				for range relaySilence {
					if n.answers(id) {
						return
					}
				}
				if n.ctx.Err() == nil {
					n.cfg.Logger.Debug("mesh: a relay does not answer any more", "relay", id)
					_ = n.host.Network().ClosePeer(id)
				}
			})
		}
		wg.Wait()
	}
}

// answers asks a peer that is connected for a sign of life.
func (n *Node) answers(id libp2ppeer.ID) bool {
	ctx, cancel := context.WithTimeout(network.WithNoDial(n.ctx, "a sign of life"), relayAnswer)
	defer cancel()
	r, ok := <-ping.Ping(ctx, n.host, id)
	return ok && r.Error == nil
}

// relaysInUse are the relays that are connected, carry a connection or keep a place
// for this node.
func (n *Node) relaysInUse() map[libp2ppeer.ID]struct{} {
	used := map[libp2ppeer.ID]struct{}{}
	add := func(a ma.Multiaddr) {
		if id, ok := relayOf(a); ok && n.host.Network().Connectedness(id) == network.Connected {
			used[id] = struct{}{}
		}
	}
	for _, c := range n.host.Network().Conns() {
		if c.Stat().Limited {
			add(c.RemoteMultiaddr())
		}
	}
	for _, a := range n.host.Addrs() {
		add(a)
	}
	return used
}

// relayOf is the relay of an address through one.
func relayOf(a ma.Multiaddr) (libp2ppeer.ID, bool) {
	before, circuit := ma.SplitFunc(a, func(c ma.Component) bool { return c.Protocol().Code == ma.P_CIRCUIT })
	if len(circuit) == 0 {
		return "", false
	}
	id, err := libp2ppeer.IDFromP2PAddr(before)
	return id, err == nil
}
