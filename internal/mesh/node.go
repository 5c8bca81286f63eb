package mesh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p"
	dht "github.com/libp2p/go-libp2p-kad-dht"
	"github.com/libp2p/go-libp2p-kad-dht/dual"
	pubsub "github.com/libp2p/go-libp2p-pubsub"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	"github.com/libp2p/go-libp2p/core/routing"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/circuitv2/relay"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-libp2p/p2p/transport/websocket"
	webtransport "github.com/libp2p/go-libp2p/p2p/transport/webtransport"
	ma "github.com/multiformats/go-multiaddr"
	"go.uber.org/fx"

	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/mesh/portmap"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// prefix begins the names of our protocols, so that other networks' tables do
// not mix with ours.
const prefix = protocol.ID("/aval")

// perAddress is how many connections may come from one IPv4 address, or one
// IPv6 network of /56.
const perAddress = 64

// Node takes part in the network. It is an rpc.Network.
type Node struct {
	cfg     Config
	begin   []libp2ppeer.AddrInfo // cfg.Bootstrap
	given   []libp2ppeer.AddrInfo // cfg.Relays
	self    peer.ID
	started time.Time
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	gate    *gate
	watch   *watch
	traffic *metrics.BandwidthCounter

	ready   chan struct{}        // closed when the fields below are set
	host    host.Host            // nil in the mode Alone
	basic   *basichost.BasicHost // the same, without the table
	puncher *holepunch.Service   // nil without the mode Open
	opener  *opener              // nil if no router is asked for ports
	dht     *dual.DHT            // nil without the mode Open
	gossip  *pubsub.PubSub
	mdns    interface{ Close() error }

	mu       sync.Mutex
	handlers map[string]func(rpc.Stream)
	topics   map[string]*Topic
	records  map[string]published // by kind
}

var _ rpc.Network = (*Node)(nil)

// New starts a node. ctx bounds the start alone; Close ends the node.
func New(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	begin, err := infos(cfg.Bootstrap)
	if err != nil {
		return nil, err
	}
	given, err := infos(cfg.Relays)
	if err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, begin: begin, given: given, self: peer.FromPrivate(cfg.Key), started: time.Now(), traffic: metrics.NewBandwidthCounter(),
		gate:  &gate{local: cfg.Mode == doctor.LAN, listening: make(chan struct{}), until: map[peer.ID]time.Time{}},
		ready: make(chan struct{}), handlers: map[string]func(rpc.Stream){}, topics: map[string]*Topic{}, records: map[string]published{},
	}
	n.watch = newWatch(n)
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if cfg.Mode == doctor.Alone {
		return n, nil
	}
	if err := n.start(ctx); err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) error {
	options, err := n.options()
	if err != nil {
		return err
	}
	options = append(options, n.cfg.Options...)
	if n.host, err = libp2p.New(options...); err == nil {
		err = n.listen()
	}
	close(n.gate.listening)
	if err != nil {
		return fmt.Errorf("mesh: start: %w", err)
	}
	if n.gossip, err = n.newGossip(); err != nil {
		return fmt.Errorf("mesh: publish and subscribe: %w", err)
	}
	close(n.ready)
	if err := n.watch.start(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if !n.cfg.Bare {
		m := mdns.NewMdnsService(n.host, "_aval._udp", heard{n})
		if err := m.Start(); err != nil { // a machine without a network: not a reason to stop
			n.watch.mdnsFailed(err)
		} else {
			n.mdns = m
		}
	}
	if n.dht != nil {
		if err := n.newPuncher(); err != nil {
			return err
		}
		n.wg.Go(n.bootstrap)
		n.wg.Go(n.republish)
		n.wg.Go(n.keepRelays)
		if n.cfg.ServeRelay {
			n.wg.Go(n.announceRelay)
		}
	}
	return nil
}

// options are libp2p's.
func (n *Node) options() ([]libp2p.Option, error) {
	key, err := crypto.UnmarshalEd25519PrivateKey(n.cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("mesh: the node's key: %w", err)
	}
	limits, err := n.limits()
	if err != nil {
		return nil, err
	}
	connections, err := connmgr.NewConnManager(n.cfg.MaxPeers*3/4, n.cfg.MaxPeers, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		return nil, fmt.Errorf("mesh: %w", err)
	}
	options := []libp2p.Option{
		libp2p.Identity(key), libp2p.NoListenAddrs, libp2p.UserAgent(n.cfg.Agent), libp2p.ProtocolVersion("aval/1"),
		libp2p.ResourceManager(limits), libp2p.ConnectionManager(connections), libp2p.ConnectionGater(n.gate),
		libp2p.BandwidthReporter(n.traffic), libp2p.DisableMetrics(), libp2p.SwarmOpts(swarm.WithDialRanker(n.rank)),
		libp2p.Transport(tcp.NewTCPTransport, tcp.WithDialerForAddr(n.dialerFor)),
	}
	if n.cfg.PrivateNetwork != nil {
		options = append(options, libp2p.PrivateNetwork(n.cfg.PrivateNetwork))
	} else {
		options = append(options, libp2p.ShareTCPListener(), libp2p.Transport(websocket.New),
			libp2p.Transport(quic.NewTransport), libp2p.Transport(webtransport.New))
	}
	if n.cfg.Mode != doctor.Open {
		return append(options, libp2p.DisableRelay()), nil
	}
	options = append(options,
		libp2p.EnableRelay(), libp2p.EnableAutoNATv2(), libp2p.EnableNATService(),
		libp2p.WithFxOption(fx.Invoke(func(h *basichost.BasicHost) { n.basic = h })),
		libp2p.EnableAutoRelayWithPeerSource(n.relays, relayOptions()...),
		libp2p.Routing(func(h host.Host) (routing.PeerRouting, error) {
			var err error
			n.dht, err = n.newTable(h)
			return n.dht, err
		}))
	if !n.cfg.Bare {
		options = append(options, libp2p.NATManager(func(net network.Network) basichost.NATManager {
			n.opener = newOpener(net, portmap.Start(portmap.Config{Logger: n.cfg.Logger}))
			return n.opener
		}))
	}
	switch n.cfg.Reach {
	case Public:
		options = append(options, libp2p.ForceReachabilityPublic())
	case Private:
		options = append(options, libp2p.ForceReachabilityPrivate())
	}
	if n.cfg.ServeRelay {
		r := relay.DefaultResources()
		r.Limit = &relay.RelayLimit{Duration: relayTime, Data: relayBytes}
		options = append(options, libp2p.EnableRelayService(relay.WithResources(r)))
	}
	return options, nil
}

// limits are what all peers and each of them may use.
func (n *Node) limits() (network.ResourceManager, error) {
	scaling := rcmgr.DefaultLimits
	libp2p.SetDefaultServiceLimits(&scaling)
	partial := rcmgr.PartialLimitConfig{
		System: rcmgr.ResourceLimits{
			Memory: rcmgr.LimitVal64(n.cfg.Memory), Conns: rcmgr.LimitVal(3 * n.cfg.MaxPeers), ConnsInbound: rcmgr.LimitVal(2 * n.cfg.MaxPeers),
			Streams: 8192, StreamsInbound: 4096,
		},
		// The handler of calls has bounds of its own for every peer; these are for
		// one that talks round it, and leave room for all classes of calls.
		Transient:           rcmgr.ResourceLimits{Streams: 4096, StreamsInbound: 2048, StreamsOutbound: 2048},
		ProtocolDefault:     rcmgr.ResourceLimits{Streams: 8192, StreamsInbound: 4096, StreamsOutbound: 4096},
		ProtocolPeerDefault: rcmgr.ResourceLimits{Streams: 576, StreamsInbound: 288, StreamsOutbound: 288},
		PeerDefault: rcmgr.ResourceLimits{
			Memory: rcmgr.LimitVal64(n.cfg.Memory / 4), Conns: 8 + 2*maxPunched, ConnsInbound: 8,
			ConnsOutbound: 2 * maxPunched, // attempts count: all addresses of a hole are dialled at once
			Streams:       512, StreamsInbound: 320, StreamsOutbound: 320,
		},
	}
	// Many nodes may come from one address: a household behind a router, and
	// everybody behind a relay, whose address counts for them.
	m, err := rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(partial.Build(scaling.Scale(n.cfg.Memory, 1024))), rcmgr.WithLimitPerSubnet(
		[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 32, ConnCount: perAddress}},
		[]rcmgr.ConnLimitPerSubnet{{PrefixLength: 56, ConnCount: perAddress}, {PrefixLength: 48, ConnCount: 2 * perAddress}}))
	if err != nil {
		return nil, fmt.Errorf("mesh: limits: %w", err)
	}
	return m, nil
}

// listen opens the addresses. It is enough that one of them can be used.
func (n *Node) listen() error {
	list, other := n.cfg.listen()
	if other != nil && !free(DefaultPort) {
		n.cfg.Logger.Info("mesh: the usual port is taken: taking another", "port", DefaultPort)
		list = other
	}
	good := 0
	for _, s := range list {
		a, err := ma.NewMultiaddr(s)
		if err == nil {
			err = n.host.Network().Listen(a)
		}
		n.watch.listened(s, err)
		if err == nil {
			good++
		} else {
			n.cfg.Logger.Debug("mesh: cannot listen", "address", s, "error", err)
		}
	}
	if good == 0 && len(list) > 0 {
		return fmt.Errorf("none of the addresses %v can be listened on: is another program using them?", list)
	}
	return nil
}

// free tells whether a port can be had for TCP and UDP.
func free(port int) bool {
	at := net.JoinHostPort("", strconv.Itoa(port))
	t, err := net.Listen("tcp", at)
	if err != nil {
		return false
	}
	t.Close()
	u, err := net.ListenPacket("udp", at)
	if err != nil {
		return false
	}
	u.Close()
	return true
}

// Self is the node's peer.
func (n *Node) Self() peer.ID { return n.self }

// Mode is how much network the node uses.
func (n *Node) Mode() doctor.Mode { return n.cfg.Mode }

// Addresses are where others may reach the node, each with its ID: what to give
// to a friend.
func (n *Node) Addresses() []string {
	if n.host == nil {
		return nil
	}
	var list []string
	for _, a := range n.host.Addrs() {
		list = append(list, fmt.Sprintf("%s/p2p/%s", a, n.host.ID()))
	}
	slices.Sort(list)
	return list
}

// Connect connects to a node by the best of its addresses: multiaddresses with
// /p2p/ID at their end, all of one node.
func (n *Node) Connect(ctx context.Context, addresses ...string) (peer.ID, error) {
	list, err := infos(addresses)
	if err != nil {
		return peer.ID{}, err
	}
	if len(list) == 0 {
		return peer.ID{}, rpc.Errorf(rpc.InvalidArgument, "no address is given")
	}
	if len(list) > 1 {
		return peer.ID{}, rpc.Errorf(rpc.InvalidArgument, "the addresses are of several nodes")
	}
	info := list[0]
	id, err := fromLibp2p(info.ID)
	if err != nil {
		return peer.ID{}, err
	}
	if n.host == nil {
		return id, rpc.Errorf(rpc.Unavailable, "this node runs alone, without a network")
	}
	n.forgive(info.ID) // somebody asks: that it did not work a moment ago is no answer
	return id, n.connect(ctx, info)
}

// forgive lets a peer be dialled although that has just failed.
func (n *Node) forgive(id libp2ppeer.ID) {
	if s, ok := n.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(id)
	}
}

// connect reaches a peer and remembers what came of it.
func (n *Node) connect(ctx context.Context, info libp2ppeer.AddrInfo) error {
	start := time.Now()
	ctx = network.WithAllowLimitedConn(ctx, "call")
	err := n.host.Connect(ctx, info)
	for range crossings {
		if !crossed(err) || !n.pause(ctx, rand.N(crossingWait)) {
			break
		}
		n.forgive(info.ID)
		err = n.host.Connect(ctx, info) // at once, if the other one was faster
	}
	n.watch.dialled(info.ID, err, time.Since(start))
	if err != nil {
		id, _ := fromLibp2p(info.ID)
		return rpc.Errorf(rpc.Unavailable, "peer %s cannot be reached: %w", id.Short(), short(err))
	}
	return nil
}

// Two nodes that dial one another at the same moment, each from the port that it
// listens on, get one TCP connection at which both believe to have begun, and the
// handshake fails at both (RFC 9293 section 3.5, figure 8). The chance waits are
// what lets one of them be first the next time.
const (
	crossings    = 3
	crossingWait = 200 * time.Millisecond
)

// crossed tells whether this may have happened.
func crossed(err error) bool {
	return err != nil && strings.Contains(err.Error(), "failed to negotiate security protocol")
}

// pause waits; it is false when the context or the node ends.
func (n *Node) pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-n.ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// maxShort bounds an error of libp2p's as it is told, in bytes.
const maxShort = 400

// short puts libp2p's long errors on one line.
func short(err error) error {
	text := strings.Join(strings.Fields(err.Error()), " ")
	if text == err.Error() && len(text) <= maxShort {
		return err
	}
	if len(text) > maxShort {
		text = strings.ToValidUTF8(text[:maxShort], "") + " ..."
	}
	return errors.New(text)
}

// Disconnect ends the connections with a peer. It may come back.
func (n *Node) Disconnect(id peer.ID) error {
	p, err := toLibp2p(id)
	if err != nil || n.host == nil {
		return err
	}
	return n.host.Network().ClosePeer(p)
}

// Ban ends the connections of a peer and keeps it away for a while.
func (n *Node) Ban(id peer.ID, d time.Duration) {
	n.gate.ban(id, d)
	_ = n.Disconnect(id)
}

// Close ends the node; its streams fail.
func (n *Node) Close() error {
	n.cancel()
	var list []error
	if n.mdns != nil {
		list = append(list, n.mdns.Close())
	}
	n.mu.Lock()
	for _, t := range n.topics {
		t.close()
	}
	n.mu.Unlock()
	n.watch.close()
	if n.puncher != nil {
		list = append(list, n.puncher.Close())
	}
	if n.dht != nil {
		list = append(list, n.dht.Close())
	}
	if n.host != nil {
		list = append(list, n.host.Close())
	}
	n.wg.Wait()
	if err := errors.Join(list...); err != nil && !errors.Is(err, os.ErrClosed) && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("mesh: close: %w", err)
	}
	return nil
}

// newTable makes the distributed hash table: one for the Internet and one for
// the local network.
func (n *Node) newTable(h host.Host) (*dual.DHT, error) {
	options := []dht.Option{
		dht.ProtocolPrefix(prefix), dht.NamespacedValidator(recordSpace, validator{time.Now}),
		dht.MaxRecordAge(MaxRecordLife),
	}
	if n.cfg.Reach == Public {
		options = append(options, dht.Mode(dht.ModeServer))
	}
	options = append(options, dht.BootstrapPeers(n.begin...))
	// Several nodes may share a machine without a network.
	everywhere := dht.AddressFilter(func(list []ma.Multiaddr) []ma.Multiaddr { return list })
	t, err := dual.New(h, dual.DHTOption(options...), dual.LanDHTOption(everywhere))
	if err != nil {
		return nil, fmt.Errorf("mesh: the table: %w", err)
	}
	return t, nil
}
