package mesh

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ipfs/go-cid"
	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/autorelay"
	relayproto "github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/proto"
	ma "github.com/multiformats/go-multiaddr"
	"github.com/multiformats/go-multihash"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// How often a node does again what is forgotten.
const (
	bootstrapEvery = 5 * time.Minute // as long as no peer is connected: a fifth of a minute
	announceEvery  = 6 * time.Hour
	findTimeout    = 30 * time.Second
)

// relayKey is what relays provide, so that who needs one finds them.
var relayKey = canon.Sum("aval relays/1")

// heard is told of peers on the local network.
type heard struct{ n *Node }

// HandlePeerFound connects to a peer that mDNS found.
func (h heard) HandlePeerFound(info libp2ppeer.AddrInfo) {
	if info.ID == h.n.host.ID() {
		return
	}
	if _, err := fromLibp2p(info.ID); err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(h.n.ctx, findTimeout)
	defer cancel()
	err := h.n.connect(ctx, info)
	h.n.watch.mdnsFound(err)
}

// bootstrap keeps the node connected with the nodes it was given to begin with,
// and through them with the table.
func (n *Node) bootstrap() {
	list := slices.Concat(n.begin, n.given)
	for {
		for _, info := range list {
			if n.host.Network().Connectedness(info.ID) == network.Connected {
				n.watch.bootstrapped(info, nil)
				continue
			}
			ctx, cancel := context.WithTimeout(n.ctx, findTimeout)
			n.watch.bootstrapped(info, n.connect(ctx, info))
			cancel()
		}
		_ = n.dht.Bootstrap(n.ctx)
		wait := bootstrapEvery
		if len(list) > 0 && len(n.host.Network().Peers()) == 0 {
			wait /= 25
		}
		if !n.sleep(wait) {
			return
		}
	}
}

// sleep waits; it is false when the node closes.
func (n *Node) sleep(d time.Duration) bool { return n.pause(n.ctx, d) }

// announceRelay tells the table that this node is a relay, if it is one.
func (n *Node) announceRelay() {
	for n.sleep(10 * time.Second) {
		if n.cfg.Reach != Public && n.watch.reachability() != network.ReachabilityPublic {
			continue
		}
		ctx, cancel := context.WithTimeout(n.ctx, findTimeout)
		err := n.Provide(ctx, relayKey)
		cancel()
		if err == nil && !n.sleep(announceEvery) {
			return
		}
	}
}

func relayOptions() []autorelay.Option {
	return []autorelay.Option{
		autorelay.WithNumRelays(2), autorelay.WithMinCandidates(1), autorelay.WithBootDelay(5 * time.Second),
		autorelay.WithBackoff(time.Minute), autorelay.WithMinInterval(10 * time.Second),
	}
}

// relays proposes nodes that may keep a place for this one: those given, those
// connected that offer it, and those the table knows.
func (n *Node) relays(ctx context.Context, want int) <-chan libp2ppeer.AddrInfo {
	out := make(chan libp2ppeer.AddrInfo, want)
	go func() {
		defer close(out)
		select {
		case <-n.ready:
		case <-ctx.Done():
			return
		}
		seen := map[libp2ppeer.ID]bool{}
		offer := func(info libp2ppeer.AddrInfo) bool {
			if seen[info.ID] || info.ID == n.host.ID() || len(info.Addrs) == 0 {
				return len(seen) < want
			}
			select {
			case out <- info:
				seen[info.ID] = true
				n.watch.relayFound()
			case <-ctx.Done():
				return false
			}
			return len(seen) < want
		}
		for _, info := range n.given {
			if !offer(info) {
				return
			}
		}
		for _, id := range n.host.Network().Peers() {
			if ok, _ := n.host.Peerstore().SupportsProtocols(id, relayproto.ProtoIDv2Hop); len(ok) > 0 && !offer(n.host.Peerstore().PeerInfo(id)) {
				return
			}
		}
		find, cancel := context.WithTimeout(ctx, findTimeout)
		defer cancel()
		for info := range n.dht.FindProvidersAsync(find, contentID(relayKey), want) {
			if !offer(info) {
				return
			}
		}
	}()
	return out
}

// contentID names a key of 32 bytes as the table does.
func contentID(key [32]byte) cid.Cid {
	sum, err := multihash.Encode(key[:], multihash.SHA2_256)
	if err != nil {
		panic("mesh: internal error: " + err.Error())
	}
	return cid.NewCidV1(cid.Raw, sum)
}

// Provide tells the table that this node has what a key names. The table
// forgets it after 48 hours.
func (n *Node) Provide(ctx context.Context, key [32]byte) error {
	if n.dht == nil {
		return fmt.Errorf("mesh: in the mode %s there is no table", n.cfg.Mode)
	}
	if err := n.dht.Provide(ctx, contentID(key), true); err != nil {
		return fmt.Errorf("mesh: tell the table what is here: %w", err)
	}
	return nil
}

// FindProviders looks for peers that have what a key names, at most max of them.
// The channel ends when no more are found or ctx ends. Who is found only claims
// to have it.
func (n *Node) FindProviders(ctx context.Context, key [32]byte, max int) <-chan peer.ID {
	out := make(chan peer.ID, max)
	if n.dht == nil {
		close(out)
		return out
	}
	n.wg.Go(func() {
		defer close(out)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(n.ctx, cancel)()
		for info := range n.dht.FindProvidersAsync(ctx, contentID(key), max) {
			id, err := fromLibp2p(info.ID)
			if err != nil || id == n.self {
				continue
			}
			select {
			case out <- id:
			case <-ctx.Done():
				return
			}
		}
	})
	return out
}

// Find looks up where a peer can be reached.
func (n *Node) Find(ctx context.Context, id peer.ID) ([]string, error) {
	p, err := toLibp2p(id)
	if err != nil {
		return nil, err
	}
	if n.host == nil {
		return nil, fmt.Errorf("mesh: this node runs alone, without a network")
	}
	info := n.host.Peerstore().PeerInfo(p)
	if len(info.Addrs) == 0 && n.dht != nil {
		ctx, cancel := context.WithTimeout(ctx, findTimeout)
		defer cancel()
		if info, err = n.dht.FindPeer(ctx, p); err != nil {
			return nil, fmt.Errorf("mesh: peer %s: %w", id.Short(), err)
		}
	}
	return texts(info.Addrs), nil
}

func texts(list []ma.Multiaddr) (out []string) {
	for _, a := range list {
		out = append(out, a.String())
	}
	slices.Sort(out)
	return out
}
