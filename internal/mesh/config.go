package mesh

import (
	"crypto/ed25519"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"

	"github.com/libp2p/go-libp2p"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/peer"
)

// DefaultPort is where a node listens if it can, with UDP and TCP; else it takes
// a free port.
const DefaultPort = 4710

// Reach is what a node believes of itself before anybody tried to reach it.
type Reach string

// The values of Reach. Auto finds out.
const (
	Auto    Reach = ""
	Public  Reach = "public"  // others reach it: it serves the table and, if asked, as a relay
	Private Reach = "private" // nobody reaches it directly: it looks for relays at once
)

// Config is how a node takes part in the network. Key is needed.
type Config struct {
	Key ed25519.PrivateKey // the node's identity, that of its receipts
	// Mode is how much network is used: the Internet and the local network,
	// the local network only, or none. Empty means doctor.Open.
	Mode doctor.Mode
	// Listen are multiaddresses; nil means DefaultPort, or a free port, of all
	// interfaces, with QUIC, WebTransport, TCP and WebSocket.
	Listen []string
	// Bootstrap are multiaddresses with /p2p/ID of nodes to begin with. There
	// are none by default: any node that is known will do.
	Bootstrap []string
	// Relays are nodes to ask for a place before others are looked for.
	Relays []string
	// ServeRelay makes the node a relay for others as soon as it can be reached.
	ServeRelay bool
	// PrivateNetwork is a pre-shared key of 32 bytes. Nodes with another key, or
	// none, cannot connect. Such a node speaks TCP alone: QUIC has no place for
	// the key.
	PrivateNetwork []byte
	Reach          Reach
	// MaxPeers is about how many connections are kept; 0 means 128.
	MaxPeers int
	// Memory is what connections and streams may use in all, in bytes; 0 means
	// 256 MiB.
	Memory int64
	// Met is told of a peer that has connected and whose protocols are known, once
	// for each connection; it must not wait.
	Met func(peer.ID)
	// Options are libp2p's own, applied last: for simulated networks. Bare turns
	// off what needs a real one: mDNS and port mappings.
	Options []libp2p.Option
	Bare    bool
	// Proxy names a proxy that the system is set to use, for the doctor: the mesh
	// does not use it.
	Proxy  string
	Agent  string       // what the node tells of itself; empty: the program and its version
	Logger *slog.Logger // nil: slog.Default()
}

// Limits of a relay: how long a circuit lives and what it carries each way. They
// leave room for calls and answers, which the two minutes and 128 KiB that are
// usual do not, and still cost a relay little.
const (
	relayTime  = time.Hour
	relayBytes = 64 << 20
)

func (c *Config) validate() error {
	switch {
	case len(c.Key) != ed25519.PrivateKeySize:
		return fmt.Errorf("mesh: the node needs an Ed25519 key")
	case c.Mode != "" && c.Mode != doctor.Open && c.Mode != doctor.LAN && c.Mode != doctor.Alone:
		return fmt.Errorf("mesh: unknown mode %q: it is open, lan or alone", c.Mode)
	case c.Reach != Auto && c.Reach != Public && c.Reach != Private:
		return fmt.Errorf("mesh: unknown reach %q: it is public, private or empty", c.Reach)
	case c.PrivateNetwork != nil && len(c.PrivateNetwork) != 32:
		return fmt.Errorf("mesh: a private network's key has 32 bytes, this one %d", len(c.PrivateNetwork))
	case c.MaxPeers < 0 || c.Memory < 0:
		return fmt.Errorf("mesh: a limit is less than zero")
	}
	for _, s := range c.Listen {
		if _, err := ma.NewMultiaddr(s); err != nil {
			return fmt.Errorf("mesh: %q is not an address to listen on, such as /ip4/0.0.0.0/udp/%d/quic-v1: %w", s, DefaultPort, err)
		}
	}
	if c.Mode == "" {
		c.Mode = doctor.Open
	}
	if c.MaxPeers == 0 {
		c.MaxPeers = 128
	}
	if c.Memory == 0 {
		c.Memory = 256 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Agent == "" {
		c.Agent = "aval"
		if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
			c.Agent += "/" + info.Main.Version
		}
	}
	return nil
}

// infos reads addresses of nodes, each with /p2p/ID at its end, and gives each
// node once, with all its addresses.
func infos(list []string) ([]libp2ppeer.AddrInfo, error) {
	var out []libp2ppeer.AddrInfo
	for _, s := range list {
		info, err := libp2ppeer.AddrInfoFromString(s)
		if err != nil {
			return nil, fmt.Errorf("mesh: %q is not the address of a node, such as /ip4/192.0.2.1/tcp/%d/p2p/12D3Koo...: %w", s, DefaultPort, err)
		}
		if _, err := fromLibp2p(info.ID); err != nil {
			return nil, fmt.Errorf("mesh: %s: %w", s, err)
		}
		if i := slices.IndexFunc(out, func(x libp2ppeer.AddrInfo) bool { return x.ID == info.ID }); i >= 0 {
			out[i].Addrs = append(out[i].Addrs, info.Addrs...)
			continue
		}
		out = append(out, *info)
	}
	return out, nil
}

// listen are the addresses to try, and those to fall back on.
func (c *Config) listen() (first, then []string) {
	if c.Mode == doctor.Alone {
		return nil, nil
	}
	if c.Listen != nil {
		return c.Listen, nil
	}
	at := func(port int) (list []string) {
		for _, ip := range []string{"/ip4/0.0.0.0", "/ip6/::"} {
			list = append(list, fmt.Sprintf("%s/tcp/%d", ip, port))
			if c.PrivateNetwork == nil {
				list = append(list, fmt.Sprintf("%s/tcp/%d/ws", ip, port), fmt.Sprintf("%s/udp/%d/quic-v1", ip, port), fmt.Sprintf("%s/udp/%d/quic-v1/webtransport", ip, port))
			}
		}
		return list
	}
	return at(DefaultPort), at(0)
}
