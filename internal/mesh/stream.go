package mesh

import (
	"context"
	"errors"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
	multistream "github.com/multiformats/go-multistream"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
)

// openTimeout bounds how long the way to a peer is looked for.
const openTimeout = 30 * time.Second

// stream is one of libp2p's as calls use it.
type stream struct {
	network.Stream
	remote  peer.ID
	relayed bool
}

func (s *stream) Remote() peer.ID { return s.remote }
func (s *stream) Relayed() bool   { return s.relayed }

// wrap tells who is at the other end.
func wrap(s network.Stream) (*stream, error) {
	id, err := fromLibp2p(s.Conn().RemotePeer())
	if err != nil {
		_ = s.Reset()
		return nil, err
	}
	return &stream{s, id, s.Conn().Stat().Limited}, nil
}

// Open opens a stream to a peer: over the connection that there is, or over the
// best that can be made, directly or through a relay.
func (n *Node) Open(ctx context.Context, to peer.ID, name string, class rpc.Class) (rpc.Stream, error) {
	if err := n.ctx.Err(); err != nil {
		return nil, rpc.Errorf(rpc.Unavailable, "this node is closing")
	}
	if to == n.self {
		return n.openSelf(name)
	}
	if n.host == nil {
		return nil, rpc.Errorf(rpc.Unavailable, "this node runs alone, without a network")
	}
	id, err := toLibp2p(to)
	if err != nil {
		return nil, rpc.Errorf(rpc.InvalidArgument, "the peer's ID is not a key: %w", err)
	}
	ctx, cancel := context.WithTimeout(network.WithAllowLimitedConn(ctx, "call"), openTimeout)
	defer cancel()
	if n.host.Network().Connectedness(id) == network.NotConnected {
		if err := n.connect(ctx, n.host.Peerstore().PeerInfo(id)); err != nil {
			return nil, err
		}
	}
	s, err := n.host.NewStream(ctx, id, protocol.ID(name))
	if err != nil {
		var unknown multistream.ErrNotSupported[protocol.ID]
		if errors.As(err, &unknown) {
			return nil, rpc.Errorf(rpc.Unimplemented, "peer %s does not speak %s: is its program older?", to.Short(), name)
		}
		return nil, rpc.Errorf(rpc.Unavailable, "no stream to peer %s: %w", to.Short(), short(err))
	}
	return wrap(s)
}

// openSelf joins the node with itself, without a network.
func (n *Node) openSelf(name string) (rpc.Stream, error) {
	n.mu.Lock()
	handler := n.handlers[name]
	n.mu.Unlock()
	if handler == nil {
		return nil, rpc.Errorf(rpc.Unimplemented, "this node does not speak %s", name)
	}
	mine, theirs := memory.Pair(n.self, n.self)
	go handler(theirs)
	return mine, nil
}

// Handle takes the streams that peers open for a protocol. How many there may be
// is bounded for each peer and for all.
func (n *Node) Handle(name string, handler func(rpc.Stream)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if handler == nil {
		delete(n.handlers, name)
		if n.host != nil {
			n.host.RemoveStreamHandler(protocol.ID(name))
		}
		return
	}
	n.handlers[name] = handler
	if n.host == nil {
		return
	}
	n.host.SetStreamHandler(protocol.ID(name), func(s network.Stream) {
		if w, err := wrap(s); err == nil {
			handler(w)
		}
	})
}

// rank orders the addresses to dial.
func (n *Node) rank(list []ma.Multiaddr) []network.AddrDelay {
	return rankRelays(rankDirect(list), func(relay libp2ppeer.ID) bool {
		select {
		case <-n.ready:
			return n.host.Network().Connectedness(relay) == network.Connected
		default:
			return false
		}
	})
}

// rankRelays puts off what would hold up the rest: libp2p dials a peer through one
// relay at a time, and asks a relay that is gone for five seconds, once for each of
// its addresses. So relays that are connected come first, and the second address of
// a relay, of which the first one tries all, comes late.
func rankRelays(list []network.AddrDelay, connected func(libp2ppeer.ID) bool) []network.AddrDelay {
	const elsewhere, again = time.Second, 6 * time.Second
	seen := map[libp2ppeer.ID]bool{}
	for i := range list {
		id, ok := relayOf(list[i].Addr)
		switch {
		case !ok:
		case seen[id]:
			list[i].Delay += again
		case !connected(id):
			list[i].Delay += elsewhere
		}
		if ok {
			seen[id] = true
		}
	}
	return list
}

// rankDirect orders addresses as libp2p does, but on the local network TCP comes
// before QUIC: it moves three times as much there (docs/benchmarks.md), and there is
// no NAT to go through.
func rankDirect(list []ma.Multiaddr) []network.AddrDelay {
	const later = 200 * time.Millisecond
	var near, far []ma.Multiaddr
	tcp := false
	for _, a := range list {
		_, relayErr := a.ValueForProtocol(ma.P_CIRCUIT)
		if relayErr != nil && (manet.IsPrivateAddr(a) || manet.IsIPLoopback(a)) {
			near = append(near, a)
			tcp = tcp || plainTCP(a)
			continue
		}
		far = append(far, a)
	}
	if !tcp {
		return swarm.DefaultDialRanker(list)
	}
	out := swarm.DefaultDialRanker(far)
	for _, a := range near {
		d := network.AddrDelay{Addr: a}
		if !plainTCP(a) {
			d.Delay = later
		}
		out = append(out, d)
	}
	return out
}

// plainTCP tells an address of TCP without WebSocket.
func plainTCP(a ma.Multiaddr) bool {
	_, err := a.ValueForProtocol(ma.P_TCP)
	return err == nil && plain(a)
}
