package mesh

import (
	"errors"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/host/eventbus"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/libp2p/go-libp2p/p2p/protocol/holepunch"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/peer"
)

// remembered is how many of the last attempts of each kind are kept.
const remembered = 128

// watch writes down what the node tries and sees, for the doctor.
type watch struct {
	n    *Node
	subs event.Subscription
	done chan struct{}

	mu    sync.Mutex
	o     doctor.Observations // the lists that grow; the rest is filled when asked
	reach network.Reachability
	out   map[doctor.Outbound]*doctor.Outbound
}

func newWatch(n *Node) *watch {
	return &watch{n: n, done: make(chan struct{}), out: map[doctor.Outbound]*doctor.Outbound{}}
}

func (w *watch) start() error {
	sub, err := w.n.host.EventBus().Subscribe([]any{
		new(event.EvtLocalReachabilityChanged), new(event.EvtHostReachableAddrsChanged), new(event.EvtNATDeviceTypeChanged),
		new(event.EvtAutoRelayAddrsUpdated), new(event.EvtPeerIdentificationCompleted),
	}, eventbus.BufSize(256), eventbus.Name("aval"))
	if err != nil {
		return err
	}
	w.subs = sub
	go w.run()
	return nil
}

func (w *watch) close() {
	if w.subs != nil {
		w.subs.Close()
		<-w.done
	}
}

// run takes in what libp2p finds out.
func (w *watch) run() {
	defer close(w.done)
	for e := range w.subs.Out() {
		w.mu.Lock()
		switch e := e.(type) {
		case event.EvtLocalReachabilityChanged:
			w.reach = e.Reachability
		case event.EvtHostReachableAddrsChanged:
			w.o.Reach = nil
			for state, list := range map[doctor.State][]ma.Multiaddr{doctor.Public: e.Reachable, doctor.Private: e.Unreachable, "": e.Unknown} {
				for _, a := range list {
					w.o.Reach = append(w.o.Reach, doctor.Reach{Address: a.String(), State: state})
				}
			}
			slices.SortFunc(w.o.Reach, func(a, b doctor.Reach) int { return strings.Compare(a.Address, b.Address) })
		case event.EvtNATDeviceTypeChanged:
			kind := map[network.NATDeviceType]doctor.NAT{
				network.NATDeviceTypeEndpointIndependent: doctor.Cone, network.NATDeviceTypeEndpointDependent: doctor.Symmetric,
			}[e.NatDeviceType]
			if e.TransportProtocol == network.NATTransportUDP {
				w.o.NATUDP = kind
			} else {
				w.o.NATTCP = kind
			}
		case event.EvtAutoRelayAddrsUpdated:
			w.relayed(e.RelayAddrs)
		case event.EvtPeerIdentificationCompleted:
			w.seen(e)
		}
		w.mu.Unlock()
		if e, ok := e.(event.EvtPeerIdentificationCompleted); ok && w.n.cfg.Met != nil {
			if id, err := fromLibp2p(e.Peer); err == nil {
				w.n.cfg.Met(id)
			}
		}
	}
}

// seen notes under which address a peer sees us.
func (w *watch) seen(e event.EvtPeerIdentificationCompleted) {
	id, err := fromLibp2p(e.Peer)
	if err != nil || e.ObservedAddr == nil || e.Conn == nil || e.Conn.Stat().Limited {
		return
	}
	o := doctor.Observed{Address: e.ObservedAddr.String(), Local: e.Conn.LocalMultiaddr().String(), By: id}
	if ip, err := manet.ToIP(e.Conn.RemoteMultiaddr()); err == nil {
		o.ByIP = ip.String()
	}
	w.o.Observed = slices.DeleteFunc(w.o.Observed, func(x doctor.Observed) bool { return x.By == id && x.Local == o.Local })
	w.o.Observed = keep(w.o.Observed, o)
}

// observed is under which addresses peers see us.
func (w *watch) observed() []doctor.Observed {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.o.Observed)
}

// relayed notes the relays that keep a place for this node now.
func (w *watch) relayed(list []ma.Multiaddr) {
	w.o.Relays = nil
	for _, a := range list {
		info, err := libp2ppeer.AddrInfoFromString(strings.TrimSuffix(a.String(), "/p2p-circuit"))
		if err != nil {
			continue
		}
		id, err := fromLibp2p(info.ID)
		if err != nil {
			continue
		}
		w.o.Relays = append(w.o.Relays, doctor.Relay{ID: id, Address: a.String(), Expires: time.Now().Add(time.Hour)})
	}
}

func (w *watch) reachability() network.Reachability {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.reach
}

func (w *watch) listened(address string, err error) {
	l := doctor.Listen{Address: address}
	if err != nil {
		l.Error = short(err).Error()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.o.Listens = append(w.o.Listens, l)
}

func (w *watch) mdnsFailed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.o.MDNS.Error = short(err).Error()
}

func (w *watch) mdnsFound(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.o.MDNS.Found++
	if err != nil {
		w.o.MDNS.Unreachable++
	}
}

func (w *watch) relayFound() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.o.RelaysFound++
}

func (w *watch) bootstrapped(info libp2ppeer.AddrInfo, err error) {
	list, e := libp2ppeer.AddrInfoToP2pAddrs(&info)
	if e != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range list {
		b := doctor.Bootstrap{Address: a.String(), Tried: true}
		if err != nil {
			b.Error = err.Error()
		}
		if i := slices.IndexFunc(w.o.Bootstrap, func(x doctor.Bootstrap) bool { return x.Address == b.Address }); i >= 0 {
			w.o.Bootstrap[i] = b
			continue
		}
		w.o.Bootstrap = keep(w.o.Bootstrap, b)
	}
}

// dialled notes an attempt to reach a peer, address by address where libp2p
// tells.
func (w *watch) dialled(id libp2ppeer.ID, err error, took time.Duration) {
	p, e := fromLibp2p(id)
	if e != nil {
		return
	}
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		for _, c := range w.n.host.Network().ConnsToPeer(id) {
			w.o.Dials = keep(w.o.Dials, doctor.Dial{Peer: p, Address: c.RemoteMultiaddr().String(), Time: now, Took: took})
			w.count(c.RemoteMultiaddr(), nil)
			break
		}
		return
	}
	var all *swarm.DialError
	if !errors.As(err, &all) || len(all.DialErrors) == 0 {
		w.o.Dials = keep(w.o.Dials, doctor.Dial{Peer: p, Error: short(err).Error(), Time: now, Took: took})
		return
	}
	for _, d := range all.DialErrors {
		w.o.Dials = keep(w.o.Dials, doctor.Dial{Peer: p, Address: d.Address.String(), Error: short(d.Cause).Error(), Time: now, Took: took})
		w.count(d.Address, d.Cause)
		if w.n.cfg.PrivateNetwork != nil && (errors.Is(d.Cause, os.ErrDeadlineExceeded) || strings.Contains(d.Cause.Error(), "EOF") || strings.Contains(d.Cause.Error(), "reset")) {
			w.o.KeyMismatches++
		}
	}
}

// count notes whether connecting outwards works, by network and family.
func (w *watch) count(a ma.Multiaddr, err error) {
	if manet.IsPrivateAddr(a) || manet.IsIPLoopback(a) {
		return
	}
	if _, e := a.ValueForProtocol(ma.P_CIRCUIT); e == nil {
		return
	}
	kind := doctor.Outbound{Network: "tcp", Family: 4}
	if _, e := a.ValueForProtocol(ma.P_UDP); e == nil {
		kind.Network = "udp"
	}
	if _, e := a.ValueForProtocol(ma.P_IP6); e == nil {
		kind.Family = 6
	}
	o := w.out[kind]
	if o == nil {
		o = &doctor.Outbound{Network: kind.Network, Family: kind.Family}
		w.out[kind] = o
	}
	if o.Tried++; err == nil {
		o.Connected++
		return
	}
	o.LastError = short(err).Error()
}

// Trace notes attempts to punch a hole; libp2p calls it.
func (w *watch) Trace(e *holepunch.Event) {
	id, err := fromLibp2p(e.Remote)
	if err != nil {
		return
	}
	h := doctor.HolePunch{Peer: id, Time: time.Unix(0, e.Timestamp)}
	switch e := e.Evt.(type) {
	case *holepunch.DirectDialEvt:
		if !e.Success {
			return // an attempt to punch follows
		}
		h.Success = true
	case *holepunch.EndHolePunchEvt:
		h.Success, h.Error = e.Success, e.Error
	case *holepunch.ProtocolErrorEvt:
		h.Error = e.Error
	default:
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.o.HolePunches = keep(w.o.HolePunches, h)
}

// keep appends to a list of the last attempts.
func keep[T any](list []T, v T) []T {
	if len(list) >= remembered {
		list = list[1:]
	}
	return append(list, v)
}

// Observations are what the node tried and saw so far, for the doctor.
func (n *Node) Observations() doctor.Observations {
	n.watch.mu.Lock()
	o := n.watch.o
	o.Reach, o.Listens, o.Dials = slices.Clone(o.Reach), slices.Clone(o.Listens), slices.Clone(o.Dials)
	o.Observed = slices.Clone(o.Observed)
	o.HolePunches, o.Bootstrap, o.Relays = slices.Clone(o.HolePunches), slices.Clone(o.Bootstrap), slices.Clone(o.Relays)
	for _, out := range n.watch.out {
		o.Outbound = append(o.Outbound, *out)
	}
	n.watch.mu.Unlock()
	slices.SortFunc(o.Outbound, func(a, b doctor.Outbound) int { return strings.Compare(a.Network, b.Network)*8 + a.Family - b.Family })
	o.Self, o.Time, o.OS, o.Mode = n.self, time.Now(), runtime.GOOS, n.cfg.Mode
	o.Uptime = o.Time.Sub(n.started)
	o.PrivateNetwork = n.cfg.PrivateNetwork != nil
	o.MDNS.On = n.mdns != nil
	o.Interfaces = interfaces()
	o.Proxy = n.cfg.Proxy
	if n.host == nil {
		return o
	}
	if n.opener != nil {
		o.Mappings = n.opener.mappings()
	}
	for _, b := range n.cfg.Bootstrap {
		if !slices.ContainsFunc(o.Bootstrap, func(x doctor.Bootstrap) bool { return x.Address == b }) {
			o.Bootstrap = append(o.Bootstrap, doctor.Bootstrap{Address: b})
		}
	}
	for _, p := range n.Peers() {
		o.Peers = append(o.Peers, doctor.Peer{ID: p.ID, Address: p.Address, Relayed: p.Relayed, Inbound: p.Inbound})
	}
	return o
}

func interfaces() (list []doctor.Interface) {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, i := range all {
		d := doctor.Interface{Name: i.Name, Up: i.Flags&net.FlagUp != 0, Loopback: i.Flags&net.FlagLoopback != 0}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			d.Addresses = append(d.Addresses, a.String())
		}
		list = append(list, d)
	}
	return list
}

// PeerInfo is a peer that is connected.
type PeerInfo struct {
	ID      peer.ID       `json:"id"`
	Address string        `json:"address"` // the best connection's
	Relayed bool          `json:"relayed"`
	Inbound bool          `json:"inbound"`
	Since   time.Time     `json:"since"`
	Agent   string        `json:"agent,omitempty"` // what it says of its program
	Latency time.Duration `json:"latency"`         // 0: not measured yet
	Streams int           `json:"streams"`
	In      int64         `json:"bytes_in"`
	Out     int64         `json:"bytes_out"`
}

// maxAgent bounds what a peer says of its program.
const maxAgent = 80

// Peers are the peers that are connected, in the order of their IDs.
func (n *Node) Peers() []PeerInfo {
	if n.host == nil {
		return nil
	}
	var list []PeerInfo
	for _, id := range n.host.Network().Peers() {
		if p, ok := n.info(id); ok {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b PeerInfo) int { return a.ID.Compare(b.ID) })
	return list
}

// Peer tells about one peer; it is false if that one is not connected.
func (n *Node) Peer(id peer.ID) (PeerInfo, bool) {
	p, err := toLibp2p(id)
	if err != nil || n.host == nil {
		return PeerInfo{}, false
	}
	return n.info(p)
}

// info looks at the connections with a peer.
func (n *Node) info(id libp2ppeer.ID) (PeerInfo, bool) {
	p, err := fromLibp2p(id)
	conns := n.host.Network().ConnsToPeer(id)
	if err != nil || len(conns) == 0 {
		return PeerInfo{}, false
	}
	best := slices.MinFunc(conns, func(a, b network.Conn) int {
		if a.Stat().Limited != b.Stat().Limited {
			if b.Stat().Limited {
				return -1
			}
			return 1
		}
		return a.Stat().Opened.Compare(b.Stat().Opened)
	})
	traffic := n.traffic.GetBandwidthForPeer(id)
	info := PeerInfo{
		ID: p, Address: best.RemoteMultiaddr().String(), Relayed: best.Stat().Limited, Inbound: best.Stat().Direction == network.DirInbound,
		Since: best.Stat().Opened, Latency: n.host.Peerstore().LatencyEWMA(id), In: traffic.TotalIn, Out: traffic.TotalOut,
	}
	for _, c := range conns {
		info.Streams += len(c.GetStreams())
	}
	if agent, err := n.host.Peerstore().Get(id, "AgentVersion"); err == nil {
		if s, ok := agent.(string); ok {
			info.Agent = strings.ToValidUTF8(s[:min(len(s), maxAgent)], "")
		}
	}
	return info, true
}
