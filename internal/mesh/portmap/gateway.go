package portmap

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/libp2p/go-netroute"
)

// Gateway is the router of the default route, and this device's address towards
// it. It looks at the system's table and sends nothing.
func Gateway() (router, self netip.Addr, err error) {
	routes, err := netroute.New()
	if err != nil {
		return router, self, fmt.Errorf("portmap: the routes of this device: %w", err)
	}
	_, gateway, source, err := routes.Route(net.IPv4(192, 88, 99, 1)) // any address of the Internet
	if err != nil {
		return router, self, fmt.Errorf("portmap: no route to the Internet: %w", err)
	}
	router, ok := netip.AddrFromSlice(gateway)
	self, ok2 := netip.AddrFromSlice(source)
	if !ok || !ok2 || router.IsUnspecified() {
		return router, self, fmt.Errorf("portmap: the route to the Internet has no router")
	}
	return router.Unmap(), self.Unmap(), nil
}
