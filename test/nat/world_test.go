//go:build linux

package nat_test

import (
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"
)

// kind is how a site is connected to the Internet of the test.
type kind string

// The kinds of sites. Each router drops what comes in and was not asked for.
const (
	openSite  kind = "open"      // a public address, IPv4 and IPv6, nothing between
	cone      kind = "cone"      // a router that keeps ports: endpoint-independent mapping
	symmetric kind = "symmetric" // a router that takes a new port for each destination
	udpBlock  kind = "udp-block" // cone, and UDP does not pass
	double    kind = "double"    // cone behind cone
	v6Only    kind = "ipv6"      // IPv6 only, behind a firewall that lets only answers in
	natPMP    kind = "nat-pmp"   // symmetric, and the router opens ports when it is asked (RFC 6886)
	pcp       kind = "pcp"       // the same by PCP (RFC 6887)
	hostWall  kind = "host-fw"   // a public address; the machine's own firewall drops
)

var kinds = []kind{openSite, cone, symmetric, udpBlock, double, v6Only, hostWall, natPMP, pcp}

// relayIPs are the addresses of the four relays: an address that peers observe
// counts from four observers on.
var relayIPs = []string{"5.5.5.2", "5.5.5.3", "5.5.5.4", "5.5.5.5"}

// relayIP6s are those of the same relays in IPv6. Both ranges look public to
// multiaddr, which the ranges for documentation do not. Each has a prefix of
// its own: limits for one address count a whole /56 of IPv6.
var relayIP6s = []string{"2a05:5:2::1", "2a05:5:3::1", "2a05:5:4::1", "2a05:5:5::1"}

// world is an Internet: a bridge named wan, relays, and sites.
type world struct {
	t     testing.TB
	mu    sync.Mutex // builds one site after the other
	sites int
}

// site is one home: the namespace of its machine and what is known of it.
type site struct {
	name  string
	kind  kind
	host  string // namespace of the machine
	iface string // the machine's interface
	ip    string // the machine's own address
}

// sh runs a script in a namespace and fails the test if it fails.
func (w *world) sh(ns, script string) {
	w.t.Helper()
	if out, err := exec.Command("ip", "netns", "exec", ns, "/bin/sh", "-ec", script).CombinedOutput(); err != nil {
		w.t.Fatalf("in namespace %s:\n%s\n%v: %s", ns, script, err, out)
	}
}

func (w *world) namespace(name string) {
	w.t.Helper()
	if out, err := exec.Command("ip", "netns", "add", name).CombinedOutput(); err != nil {
		w.t.Fatalf("ip netns add %s: %v: %s", name, err, out)
	}
	w.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", name).Run() }) // for the next world
	w.sh(name, `echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad
echo 0 > /proc/sys/net/ipv6/conf/default/accept_ra
ip link set lo up`)
}

// wire joins two namespaces by a cable.
func (w *world) wire(a, ifaceA, b, ifaceB string) {
	w.t.Helper()
	out, err := exec.Command("ip", "link", "add", ifaceA, "netns", a, "type", "veth", "peer", "name", ifaceB, "netns", b).CombinedOutput()
	if err != nil {
		w.t.Fatalf("cable %s-%s: %v: %s", a, b, err, out)
	}
	w.sh(a, "ip link set "+ifaceA+" up")
	w.sh(b, "ip link set "+ifaceB+" up")
}

// newWorld builds the Internet without any site.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t}
	w.namespace("wan")
	w.sh("wan", `ip link add br0 type bridge mcast_snooping 0
ip link set br0 up
ip addr add 5.5.5.1/24 dev br0
ip -6 addr add 2a05:5::1/32 dev br0 nodad
echo 1 > /proc/sys/net/ipv4/ip_forward
echo 1 > /proc/sys/net/ipv6/conf/all/forwarding`)
	w.namespace("relays")
	w.plug("relays", "eth0")
	for i := range relayIPs {
		w.sh("relays", fmt.Sprintf("ip addr add %s/24 dev eth0; ip -6 addr add %s/32 dev eth0 nodad", relayIPs[i], relayIP6s[i]))
	}
	w.defaults("relays", "eth0")
	return w
}

// plug connects an interface of a namespace to the Internet.
func (w *world) plug(ns, iface string) {
	port := "p-" + ns
	w.wire(ns, iface, "wan", port)
	w.sh("wan", "ip link set "+port+" master br0")
}

func (w *world) defaults(ns, iface string) {
	w.sh(ns, "ip route add default via 5.5.5.1 dev "+iface+"; ip -6 route add default via 2a05:5::1 dev "+iface)
}

// answersOnly is a firewall that lets only answers through hook, and what comes
// from the interfaces named.
func answersOnly(hook string, from ...string) string {
	rules := []string{
		"add table inet wall",
		"add chain inet wall " + hook + "side { type filter hook " + hook + " priority 0; policy drop; }",
		"add rule inet wall " + hook + "side ct state established,related accept",
		"add rule inet wall " + hook + "side meta l4proto ipv6-icmp accept",
	}
	for _, f := range from {
		rules = append(rules, fmt.Sprintf("add rule inet wall %sside iifname \"%s\" accept", hook, f))
	}
	return nft(rules...)
}

// nft is a script that gives each rule to nft on a line of its own.
func nft(rules ...string) string {
	return "nft -f - <<'RULES'\n" + strings.Join(rules, "\n") + "\nRULES"
}

func masquerade(how string) string {
	return nft(
		"add table ip masq",
		"add chain ip masq post { type nat hook postrouting priority 100; }",
		strings.TrimSpace("add rule ip masq post oifname \"wan0\" masquerade "+how))
}

// site builds a home of a kind. Names of interfaces have at most 15 characters.
func (w *world) site(k kind) *site {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sites++
	n := w.sites
	s := &site{name: fmt.Sprintf("%s%d", k, n), kind: k, host: fmt.Sprintf("h%d", n), iface: "eth0"}
	w.namespace(s.host)
	switch k {
	case openSite, hostWall:
		w.plug(s.host, "eth0")
		s.ip = fmt.Sprintf("5.5.5.%d", 10+n)
		w.sh(s.host, fmt.Sprintf("ip addr add %s/24 dev eth0", s.ip))
		if k == openSite {
			w.sh(s.host, fmt.Sprintf("ip -6 addr add 2a05:5:%x::1/32 dev eth0 nodad", 0x100+n))
			w.defaults(s.host, "eth0")
		} else {
			w.sh(s.host, "ip route add default via 5.5.5.1 dev eth0")
			w.sh(s.host, answersOnly("input", "lo"))
		}
	case v6Only:
		router := w.router(n)
		w.wire(router, "lan0", s.host, "eth0")
		s.ip = fmt.Sprintf("2a06:6:%x::2", n)
		w.sh(router, fmt.Sprintf("ip -6 addr add 2a05:5:%x::1/32 dev wan0 nodad; ip -6 addr add 2a06:6:%x::1/64 dev lan0 nodad; ip -6 route add default via 2a05:5::1 dev wan0", 0x200+n, n))
		w.sh(router, answersOnly("forward", "lan0"))
		w.sh(router, answersOnly("input", "lan0"))
		w.sh("wan", fmt.Sprintf("ip -6 route add 2a06:6:%x::/64 via 2a05:5:%x::1 dev br0", n, 0x200+n))
		w.sh(s.host, fmt.Sprintf("ip -6 addr add %s/64 dev eth0 nodad; ip -6 route add default via 2a06:6:%x::1 dev eth0", s.ip, n))
	default:
		router := w.router(n)
		w.sh(router, fmt.Sprintf("ip addr add 5.5.5.%d/24 dev wan0; ip route add default via 5.5.5.1 dev wan0", 10+n))
		w.sh(router, answersOnly("forward", "lan0"))
		w.sh(router, answersOnly("input", "lan0"))
		how := ""
		if k == symmetric || k == natPMP || k == pcp {
			how = "fully-random"
		}
		w.sh(router, masquerade(how))
		if k == udpBlock {
			w.sh(router, nft("insert rule inet wall forwardside meta l4proto udp drop"))
		}
		inside := router
		if k == double {
			inside = fmt.Sprintf("q%d", n)
			w.namespace(inside)
			w.sh(inside, "echo 1 > /proc/sys/net/ipv4/ip_forward")
			w.wire(router, "lan0", inside, "wan0")
			w.sh(router, fmt.Sprintf("ip addr add 192.168.%d.1/24 dev lan0", n))
			w.sh(inside, fmt.Sprintf("ip addr add 192.168.%d.2/24 dev wan0; ip route add default via 192.168.%d.1 dev wan0", n, n))
			w.sh(inside, answersOnly("forward", "lan0"))
			w.sh(inside, answersOnly("input", "lan0"))
			w.sh(inside, masquerade(""))
		}
		w.wire(inside, "lan0", s.host, "eth0")
		s.ip = fmt.Sprintf("10.%d.0.2", n)
		w.sh(inside, fmt.Sprintf("ip addr add 10.%d.0.1/24 dev lan0", n))
		w.sh(s.host, fmt.Sprintf("ip addr add %s/24 dev eth0; ip route add default via 10.%d.0.1 dev eth0", s.ip, n))
		if k == natPMP || k == pcp {
			w.sh(router, nft("add table ip pmp", "add chain ip pmp pre { type nat hook prerouting priority -100; }",
				"add rule inet wall forwardside ct status dnat accept"))
			startNATPMP(w.t, router, natPMPConfig{Listen: fmt.Sprintf("10.%d.0.1", n), External: fmt.Sprintf("5.5.5.%d", 10+n), PCP: k == pcp})
		}
	}
	return s
}

// router makes a namespace that forwards, with wan0 on the Internet.
func (w *world) router(n int) string {
	name := fmt.Sprintf("r%d", n)
	w.namespace(name)
	w.sh(name, "echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding")
	w.plug(name, "wan0")
	return name
}
