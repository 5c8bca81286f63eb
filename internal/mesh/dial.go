package mesh

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"syscall"

	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/libp2p/go-reuseport"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"
)

// dialer makes TCP connections from the ports that the node listens on, as
// libp2p's own does, so that others see where they can reach it and holes can be
// punched. It differs in one thing: a connection that is given up before it is
// made is reset. When two SYNs cross, and one answer is lost on the way, the
// system would try to close in good order for minutes, and until it is done no
// other connection can be made between the two ports.
type dialer struct {
	n     *Node
	local bool // to this machine or its own network: any listening address will do
}

func (n *Node) dialerFor(a ma.Multiaddr) (tcp.ContextDialer, error) {
	return dialer{n, manet.IsIPLoopback(a)}, nil
}

// DialContext connects to an address, if need be from a port by chance.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	from := d.from(network)
	if from == nil {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	own := net.Dialer{LocalAddr: from, Control: func(network, address string, c syscall.RawConn) error {
		if err := resetOnClose(c); err != nil {
			return err
		}
		return reuseport.Control(network, address, c)
	}}
	conn, err := own.DialContext(ctx, network, address)
	if err != nil && ctx.Err() == nil && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EADDRINUSE)) {
		return (&net.Dialer{}).DialContext(ctx, network, address) // another connection has the two ports
	}
	return conn, err
}

// from is where the node listens for this family; nil if nowhere that can be left
// from.
func (d dialer) from(network string) net.Addr {
	if d.n.host == nil || !reuseport.Available() {
		return nil
	}
	for _, a := range d.n.host.Network().ListenAddresses() {
		kind, port := transportPort(a)
		ip, err := manet.ToIP(a)
		if err != nil || kind != "tcp" || (ip.To4() != nil) != (network == "tcp4") || ip.IsLoopback() && !d.local {
			continue
		}
		n, err := strconv.ParseUint(port, 10, 16)
		at, ok := netip.AddrFromSlice(ip)
		if err != nil || !ok {
			continue
		}
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(at.Unmap(), uint16(n)))
	}
	return nil
}
