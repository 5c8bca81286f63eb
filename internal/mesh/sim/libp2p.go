package sim

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/p2p/transport/quicreuse"
	"github.com/quic-go/quic-go"
	"go.uber.org/fx"
)

// Port is the UDP port of every node.
const Port = 4001

// Listen4 is the multiaddress that a node at an address listens on.
func Listen4(a netip.Addr) string { return fmt.Sprintf("/ip4/%s/udp/%d/quic-v1", a, Port) }

// Options puts a host at an address of the simulated Internet. The host must
// listen on Listen4 of that address only, and use QUIC only.
func (n *Network) Options(a netip.Addr) []libp2p.Option {
	source := fixedSource(a.AsSlice())
	manager := func(life fx.Lifecycle, reset quic.StatelessResetKey, token quic.TokenGeneratorKey, opts ...quicreuse.Option) (*quicreuse.ConnManager, error) {
		cm, err := quicreuse.NewConnManager(reset, token, opts...)
		if err == nil {
			life.Append(fx.StopHook(cm.Close))
		}
		return cm, err
	}
	return []libp2p.Option{
		libp2p.QUICReuse(manager,
			quicreuse.OverrideSourceIPSelector(func() (quicreuse.SourceIPSelector, error) { return source, nil }),
			quicreuse.OverrideListenUDP(func(_ string, addr *net.UDPAddr) (net.PacketConn, error) {
				at := addr.AddrPort()
				ip, port := at.Addr().Unmap(), at.Port()
				if ip.IsUnspecified() {
					ip = a
				}
				if port == 0 {
					return n.listenAny(ip)
				}
				return n.Listen(netip.AddrPortFrom(ip, port))
			})),
	}
}

// listenAny opens a socket on a free port.
func (n *Network) listenAny(ip netip.Addr) (net.PacketConn, error) {
	for port := uint16(40000); port < 41000; port++ {
		if c, err := n.Listen(netip.AddrPortFrom(ip, port)); err == nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("sim: no free port at %v", ip)
}

// fixedSource is the one address of a node.
type fixedSource net.IP

func (f fixedSource) PreferredSourceIPForDestination(*net.UDPAddr) (net.IP, error) {
	return net.IP(f), nil
}
