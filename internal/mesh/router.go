package mesh

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	basichost "github.com/libp2p/go-libp2p/p2p/host/basic"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/mesh/portmap"
)

// opener has the router open the ports that the node listens on: by PCP or
// NAT-PMP, and by UPnP, which libp2p speaks, where the router answers to neither.
// It is libp2p's NAT manager.
type opener struct {
	net    network.Network
	client *portmap.Client
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu   sync.Mutex
	upnp basichost.NATManager // nil until it is needed
}

var _ basichost.NATManager = (*opener)(nil)

// lookEvery is how often the listening ports are looked at.
const lookEvery = 5 * time.Second

func newOpener(net network.Network, client *portmap.Client) *opener {
	ctx, cancel := context.WithCancel(context.Background())
	o := &opener{net: net, client: client, cancel: cancel}
	o.wg.Go(func() { o.run(ctx) })
	return o
}

func (o *opener) run(ctx context.Context) {
	looked := o.client.Looked()
	next := time.NewTimer(0)
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-looked:
			looked = nil
			if !o.client.Found() {
				o.mu.Lock()
				o.upnp = basichost.NewNATManager(o.net)
				o.mu.Unlock()
			}
		case <-next.C:
			ports := o.ports()
			o.client.Want(ports)
			next.Reset(lookEvery)
			if len(ports) == 0 { // the node has only begun
				next.Reset(lookEvery / 50)
			}
		}
	}
}

// ports are those that the node listens on with IPv4.
func (o *opener) ports() (list []portmap.Port) {
	for _, a := range o.net.ListenAddresses() {
		if p, _, ok := mappable(a); ok && !slices.Contains(list, p) {
			list = append(list, p)
		}
	}
	slices.SortFunc(list, func(a, b portmap.Port) int {
		return strings.Compare(a.Network, b.Network)*1e6 + int(a.Number) - int(b.Number)
	})
	return list
}

// mappable gives the port of an address that a router can open, and what comes
// after it in the address.
func mappable(a ma.Multiaddr) (p portmap.Port, rest ma.Multiaddr, ok bool) {
	first, behind := ma.SplitFirst(a)
	if first == nil || first.Protocol().Code != ma.P_IP4 || manet.IsIPLoopback(a) || len(behind) == 0 {
		return p, nil, false
	}
	transport, rest := ma.SplitFirst(behind)
	name, port := transportPort(behind)
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || transport.Protocol().Name != name {
		return p, nil, false
	}
	return portmap.Port{Network: name, Number: uint16(n)}, rest, true
}

// GetMapping is where a listening address is reached from outside, nil if the
// router opened nothing.
func (o *opener) GetMapping(a ma.Multiaddr) ma.Multiaddr {
	p, rest, ok := mappable(a)
	if !ok {
		return nil
	}
	if at, open := o.client.Mapping(p); open {
		return outside(at, p.Network, rest)
	}
	o.mu.Lock()
	upnp := o.upnp
	o.mu.Unlock()
	if upnp == nil {
		return nil
	}
	return upnp.GetMapping(a)
}

// outside makes an address of what a router gave. One that is not of the Internet
// helps nobody: there is another router.
func outside(at netip.AddrPort, network string, rest ma.Multiaddr) ma.Multiaddr {
	a, err := ma.NewMultiaddr("/ip4/" + at.Addr().String() + "/" + network + "/" + strconv.Itoa(int(at.Port())))
	if err != nil || !manet.IsPublicAddr(a) {
		return nil
	}
	return ma.Join(a, rest)
}

// HasDiscoveredNAT tells that a router answers.
func (o *opener) HasDiscoveredNAT() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.client.Found() || o.upnp != nil && o.upnp.HasDiscoveredNAT()
}

// mappings tell the doctor what the router did.
func (o *opener) mappings() (list []doctor.Mapping) {
	o.mu.Lock()
	upnp := o.upnp
	o.mu.Unlock()
	for _, s := range o.client.Status() {
		m := doctor.Mapping{Protocol: s.Protocol, Network: s.Network, Internal: int(s.Number)}
		if s.External.IsValid() {
			m.External = s.External.String()
		}
		if s.Err != nil {
			m.Error = s.Err.Error()
		}
		if m.External == "" && upnp != nil && upnp.HasDiscoveredNAT() {
			m.Protocol, m.Error = "UPnP", "it opens no port"
			for _, a := range o.net.ListenAddresses() {
				if p, _, ok := mappable(a); ok && p == s.Port {
					if at := upnp.GetMapping(a); at != nil {
						ip, _ := manet.ToIP(at)
						_, port := transportPort(at)
						m.External, m.Error = ip.String()+":"+port, ""
					}
				}
			}
		}
		list = append(list, m)
	}
	return list
}

// Close gives the ports back.
func (o *opener) Close() error {
	o.cancel()
	o.wg.Wait()
	list := []error{o.client.Close()}
	if o.upnp != nil {
		list = append(list, o.upnp.Close())
	}
	return errors.Join(list...)
}
