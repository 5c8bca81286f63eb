package sim

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// Limits of the network. A packet that exceeds one is dropped, as routers do.
const (
	// MaxPacket is the greatest packet in bytes: what Ethernet carries.
	MaxPacket = 1500
	// MaxQueued is how many packets wait for one endpoint at most.
	MaxQueued = 16384
)

// Config is what an Internet is like. The zero value delivers at once and loses
// nothing.
type Config struct {
	// Seed decides which packets are lost and how long each takes.
	Seed uint64
	// Latency is the time of a packet from one node to another, one way.
	Latency time.Duration
	// Spread is what pairs of nodes have in addition: each a time between zero
	// and Spread, the same in both directions and for the whole run.
	Spread time.Duration
	// Jitter is what each packet takes in addition: a time between zero and
	// Jitter. Jitter reorders packets.
	Jitter time.Duration
	// Loss is the share of packets that are lost, from 0 to 1.
	Loss float64
	// Bandwidth is what each node can send, and can receive, in bytes a second.
	// Zero: any amount.
	Bandwidth int64
	// Buffer is how long a packet waits for its turn at most before it is
	// dropped, where there is a Bandwidth. Zero: 200 ms.
	Buffer time.Duration
}

func (c *Config) validate() error {
	switch {
	case c.Latency < 0 || c.Spread < 0 || c.Jitter < 0 || c.Buffer < 0:
		return fmt.Errorf("sim: a negative time in the configuration")
	case !(c.Loss >= 0 && c.Loss <= 1):
		return fmt.Errorf("sim: loss is %v, want 0 to 1", c.Loss)
	case c.Bandwidth < 0:
		return fmt.Errorf("sim: bandwidth is %d bytes a second", c.Bandwidth)
	}
	if c.Buffer == 0 {
		c.Buffer = 200 * time.Millisecond
	}
	return nil
}

// Network is an Internet in memory. Its methods may be called at any time, from
// any goroutine.
type Network struct {
	cfg Config

	mu        sync.Mutex
	endpoints map[netip.AddrPort]*endpoint
	nodes     map[netip.Addr]*node
	sent      map[[2]netip.Addr]uint64 // packets so far of each pair: the dice of each depend on nothing else
	next      uint32
	stats     Stats
}

// node is what one address has.
type node struct {
	cut      bool
	group    int
	up, down time.Time // until when the line is busy
}

// Stats counts packets.
type Stats struct {
	Sent, Delivered, Lost, Cut, Full uint64
	Bytes                            uint64 // delivered
}

// New makes an Internet without nodes.
func New(cfg Config) (*Network, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return &Network{
		cfg: cfg, endpoints: map[netip.AddrPort]*endpoint{}, nodes: map[netip.Addr]*node{},
		sent: map[[2]netip.Addr]uint64{},
	}, nil
}

// Address gives a public address that nobody has yet. The addresses are spread,
// so that no two nodes look like neighbours.
func (n *Network) Address() netip.Addr {
	n.mu.Lock()
	defer n.mu.Unlock()
	i := n.next
	n.next++
	// 16.0.0.0 to 95.255.255.255 without private ranges: the first byte moves
	// fastest.
	return netip.AddrFrom4([4]byte{byte(16 + i%80), byte(1 + i/80%200), byte(1 + i/80/200%200), 5})
}

// Cut takes a node's cable out: nothing arrives and nothing leaves.
func (n *Network) Cut(a netip.Addr) { n.set(a, func(x *node) { x.cut = true }) }

// Restore puts the cable back.
func (n *Network) Restore(a netip.Addr) { n.set(a, func(x *node) { x.cut = false }) }

// Partition splits the Internet: only nodes of the same group reach each other.
// Nodes that are in none of the lists are one more group.
func (n *Network) Partition(groups ...[]netip.Addr) {
	n.Heal()
	for i, g := range groups {
		for _, a := range g {
			n.set(a, func(x *node) { x.group = i + 1 })
		}
	}
}

// Heal ends a partition.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, x := range n.nodes {
		x.group = 0
	}
}

// Stats gives the counts so far.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stats
}

func (n *Network) set(a netip.Addr, change func(*node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	change(n.node(a))
}

func (n *Network) node(a netip.Addr) *node {
	x := n.nodes[a]
	if x == nil {
		x = &node{}
		n.nodes[a] = x
	}
	return x
}

// send takes a packet on its way.
func (n *Network) send(from, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stats.Sent++
	src, dst := n.node(from.Addr()), n.node(to.Addr())
	target := n.endpoints[to]
	switch {
	case src.cut || dst.cut || src.group != dst.group:
		n.stats.Cut++
		return
	case target == nil || len(data) > MaxPacket:
		n.stats.Lost++
		return
	}
	pair := [2]netip.Addr{from.Addr(), to.Addr()}
	n.sent[pair]++
	dice := n.dice(pair, n.sent[pair])
	if n.cfg.Loss > 0 && unit(dice) < n.cfg.Loss {
		n.stats.Lost++
		return
	}
	now := time.Now()
	at := now.Add(n.latency(pair) + time.Duration(unit(mix(dice))*float64(n.cfg.Jitter)))
	if n.cfg.Bandwidth > 0 {
		takes := time.Duration(int64(len(data)) * int64(time.Second) / n.cfg.Bandwidth)
		waits, ok := queue(&src.up, now, takes, n.cfg.Buffer)
		if !ok {
			n.stats.Full++
			return
		}
		if _, ok = queue(&dst.down, at.Add(waits), takes, n.cfg.Buffer); !ok {
			n.stats.Full++
			return
		}
		at = dst.down
	}
	if !target.put(packet{at: at, from: from, data: append([]byte(nil), data...)}) {
		n.stats.Full++
		return
	}
	n.stats.Delivered++
	n.stats.Bytes += uint64(len(data))
}

// queue books a line from when on, and gives how long it takes until the packet
// has passed; false if that is too long.
func queue(busy *time.Time, when time.Time, takes, limit time.Duration) (time.Duration, bool) {
	begin := when
	if busy.After(begin) {
		begin = *busy
	}
	if begin.Sub(when) > limit {
		return 0, false
	}
	*busy = begin.Add(takes)
	return busy.Sub(when), true
}

// latency is the same in both directions.
func (n *Network) latency(pair [2]netip.Addr) time.Duration {
	if n.cfg.Spread == 0 {
		return n.cfg.Latency
	}
	if pair[1].Less(pair[0]) {
		pair[0], pair[1] = pair[1], pair[0]
	}
	return n.cfg.Latency + time.Duration(unit(n.dice(pair, 0))*float64(n.cfg.Spread))
}

// dice gives random bits that depend on the seed, the pair and the number of
// the packet, and not on what other nodes do meanwhile.
func (n *Network) dice(pair [2]netip.Addr, number uint64) uint64 {
	a, b := pair[0].As16(), pair[1].As16()
	x := mix(n.cfg.Seed ^ 0x9e3779b97f4a7c15)
	for _, half := range [][]byte{a[:8], a[8:], b[:8], b[8:]} {
		x = mix(x ^ binary.BigEndian.Uint64(half))
	}
	return mix(x ^ number)
}

// mix is the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit is a number from 0 to 1, without 1.
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }
