package doctor

import (
	"time"

	"github.com/avalnetwork/aval/internal/peer"
)

// Observations are what a node tried and saw. Addresses are written as
// multiaddresses ("/ip4/192.0.2.1/udp/4001/quic-v1"). A zero field means that
// nothing was tried or seen, and leads to no finding. Whoever fills the lists
// keeps them short; no more than maxEntries of each are read.
type Observations struct {
	Self   peer.ID       `json:"self"`
	Time   time.Time     `json:"time"`   // when this was written down
	Uptime time.Duration `json:"uptime"` // nanoseconds since the node started
	OS     string        `json:"os"`     // runtime.GOOS: chooses the commands that are named
	Mode   Mode          `json:"mode,omitempty"`

	Listens    []Listen    `json:"listens,omitempty"`
	Interfaces []Interface `json:"interfaces,omitempty"`

	// What others said of us.
	Observed []Observed `json:"observed,omitempty"`
	Reach    []Reach    `json:"reach,omitempty"`
	// NATUDP and NATTCP are set when the mesh has decided itself; otherwise
	// they are found from Observed.
	NATUDP NAT `json:"nat_udp,omitempty"`
	NATTCP NAT `json:"nat_tcp,omitempty"`

	// What the router was asked for.
	Mappings []Mapping `json:"mappings,omitempty"`

	// What went out: one entry for each kind of transport and family.
	Outbound []Outbound `json:"outbound,omitempty"`
	// Dials are the last attempts to connect to given peers, oldest first.
	Dials []Dial `json:"dials,omitempty"`
	Peers []Peer `json:"peers,omitempty"` // the peers connected now

	Bootstrap []Bootstrap `json:"bootstrap,omitempty"`
	// Relays are the relays asked for a place, with what they answered;
	// RelaysFound counts the peers that offer themselves as relays.
	Relays      []Relay     `json:"relays,omitempty"`
	RelaysFound int         `json:"relays_found,omitempty"`
	HolePunches []HolePunch `json:"hole_punches,omitempty"`
	MDNS        MDNS        `json:"mdns"`

	Clock []ClockSample `json:"clock,omitempty"`

	// PrivateNetwork tells that a pre-shared key is set. KeyMismatches counts
	// connections that ended before the handshake in the way that another key,
	// or none, ends them.
	PrivateNetwork bool `json:"private_network,omitempty"`
	KeyMismatches  int  `json:"key_mismatches,omitempty"`

	Firewalls []Firewall `json:"firewalls,omitempty"` // of this machine
	Proxy     string     `json:"proxy,omitempty"`     // a proxy that the system names; the mesh does not use it
}

// maxEntries is how many entries of each list are read.
const maxEntries = 1024

// Mode is how much network a node uses.
type Mode string

// The modes. The empty mode is Open.
const (
	Open  Mode = "open"  // the Internet and the local network
	LAN   Mode = "lan"   // the local network only
	Alone Mode = "alone" // no network at all
)

// Listen is an address that the node tried to listen on. Error is empty if it
// does.
type Listen struct {
	Address string `json:"address"`
	Error   string `json:"error,omitempty"`
}

// Interface is one network interface of the machine.
type Interface struct {
	Name      string   `json:"name"`
	Up        bool     `json:"up"`
	Loopback  bool     `json:"loopback,omitempty"`
	Addresses []string `json:"addresses,omitempty"` // IP addresses, with or without /prefix
}

// Observed is the address under which one other peer saw a connection of ours.
type Observed struct {
	Address string  `json:"address"`         // as the observer saw us
	Local   string  `json:"local"`           // our end of the same connection
	By      peer.ID `json:"by"`              // the observer
	ByIP    string  `json:"by_ip,omitempty"` // its IP address: two observers behind one address count once
}

// State is what is known of an address.
type State string

// The states of an address. The empty state is unknown.
const (
	Public  State = "public"  // somebody we had not dialled on it connected to it
	Private State = "private" // somebody tried, and could not
)

// Reach is whether others can reach one of our addresses without help.
type Reach struct {
	Address string `json:"address"`
	State   State  `json:"state"`
}

// NAT is how the router chooses the port that the Internet sees.
type NAT string

// The kinds of NAT (RFC 4787 section 4.1). The empty kind is unknown.
const (
	NoNAT     NAT = "none"      // the address of the machine is the one that others see
	Cone      NAT = "cone"      // endpoint-independent mapping: one port for all destinations; can be punched
	Symmetric NAT = "symmetric" // address-dependent mapping: another port for every destination; cannot be foretold
)

// Mapping is one attempt to have the router open a port.
type Mapping struct {
	Protocol string `json:"protocol"`           // "UPnP", "PCP" or "NAT-PMP"; empty: no router answered to any
	Network  string `json:"network"`            // "udp" or "tcp"
	Internal int    `json:"internal,omitempty"` // port on this machine
	External string `json:"external,omitempty"` // "IP:port" that the router says is ours; empty: none
	Error    string `json:"error,omitempty"`
}

// Outbound counts attempts to connect outwards to addresses that are not on the
// local network.
type Outbound struct {
	Network   string `json:"network"` // "udp" or "tcp"
	Family    int    `json:"family"`  // 4 or 6
	Tried     int    `json:"tried"`
	Connected int    `json:"connected"`
	LastError string `json:"last_error,omitempty"`
}

// Dial is an attempt to connect to a peer at one address. An empty Address
// means that none was known; an empty Error that it succeeded.
type Dial struct {
	Peer    peer.ID       `json:"peer"`
	Address string        `json:"address,omitempty"`
	Error   string        `json:"error,omitempty"`
	Time    time.Time     `json:"time"`
	Took    time.Duration `json:"took,omitempty"` // nanoseconds
}

// Peer is a connected peer.
type Peer struct {
	ID      peer.ID `json:"id"`
	Address string  `json:"address"`
	Relayed bool    `json:"relayed,omitempty"` // only through a relay
	Inbound bool    `json:"inbound,omitempty"`
}

// Bootstrap is a node of the bootstrap list. Error is empty if it answered.
type Bootstrap struct {
	Address string `json:"address"`
	Error   string `json:"error,omitempty"`
	Tried   bool   `json:"tried"`
}

// Relay is a relay that was asked to keep a place for us.
type Relay struct {
	ID      peer.ID   `json:"id"`
	Address string    `json:"address"` // of the relay
	Expires time.Time `json:"expires"` // end of the place; zero: none was given
	Error   string    `json:"error,omitempty"`
}

// HolePunch is an attempt to turn a relayed connection into a direct one.
type HolePunch struct {
	Peer    peer.ID   `json:"peer"`
	Success bool      `json:"success"`
	Tries   int       `json:"tries,omitempty"`
	Error   string    `json:"error,omitempty"`
	Time    time.Time `json:"time"`
}

// MDNS is what looking for peers on the local network gave.
type MDNS struct {
	On          bool   `json:"on"`
	Error       string `json:"error,omitempty"`
	Found       int    `json:"found,omitempty"`       // peers that were heard
	Unreachable int    `json:"unreachable,omitempty"` // of these, not reached by any local address
}

// ClockSample is how far another peer's clock is ahead of ours, less half the
// round trip, in nanoseconds; negative if it is behind.
type ClockSample struct {
	By     peer.ID       `json:"by"`
	Offset time.Duration `json:"offset"`
}

// Firewall is a firewall of this machine that the node could look at.
type Firewall struct {
	Name string `json:"name"` // "ufw", "firewalld", "nftables", "iptables", "windows", "macos" or another
	// Blocks tells that it is on and drops what comes in to our ports, as far
	// as its settings could be read.
	Blocks bool   `json:"blocks"`
	Detail string `json:"detail,omitempty"`
}
