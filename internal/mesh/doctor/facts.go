package doctor

import (
	"net/netip"
	"slices"
	"time"
)

// facts are what follows from the observations, computed once for all checks.
type facts struct {
	o Observations

	udpPort, tcpPort int // that the node listens on; zero: none
	up               bool
	linkLocalOnly    bool       // interfaces are up, but nobody gave them an address
	private4         netip.Addr // an address of this machine on the local network
	public4, public6 netip.Addr // addresses of this machine that are not behind a NAT
	outside          netip.Addr // IPv4 address under which the Internet sees us
	natUDP, natTCP   NAT
	portsUDP         []int // what different observers saw for one local UDP port
	double           doubleNAT

	udpOut, tcpOut answer // does anything get out, over IPv4 or IPv6
	v4Out, v6Out   answer

	reach        answer // is any public address reachable without help
	reachBlocked []Reach
	reachOpen    []Reach
	places       []Relay // relays that keep a place for us now
	mapped       []Mapping
	mapFailed    []Mapping
}

// answer is yes, no or not known.
type answer uint8

const (
	unknown answer = iota
	yes
	no
)

// enoughTries is how many failed attempts over one transport it takes to say
// that the transport is blocked: fewer may be peers that went away.
const enoughTries = 3

// learn computes the facts.
func learn(o Observations) facts {
	f := facts{o: bounded(o)}
	f.learnListens()
	f.learnInterfaces()
	f.learnObserved()
	f.learnOutbound()
	f.learnMappings()
	f.learnReach()
	for _, r := range f.o.Relays {
		if r.Expires.After(f.o.Time) && r.Error == "" {
			f.places = append(f.places, r)
		}
	}
	return f
}

// bounded cuts lists that are too long; the newest entries stand at the end.
func bounded(o Observations) Observations {
	if o.Mode == "" {
		o.Mode = Open
	}
	o.Listens, o.Interfaces = last(o.Listens), last(o.Interfaces)
	o.Observed, o.Reach, o.Mappings = last(o.Observed), last(o.Reach), last(o.Mappings)
	o.Outbound, o.Dials, o.Peers = last(o.Outbound), last(o.Dials), last(o.Peers)
	o.Bootstrap, o.Relays, o.HolePunches = last(o.Bootstrap), last(o.Relays), last(o.HolePunches)
	o.Clock, o.Firewalls = last(o.Clock), last(o.Firewalls)
	return o
}

func last[T any](s []T) []T { return s[max(0, len(s)-maxEntries):] }

func (f *facts) learnListens() {
	for _, l := range f.o.Listens {
		a := parseAddress(l.Address)
		switch {
		case l.Error != "" || a.relayed || a.ip.IsLoopback():
		case a.network == "udp" && f.udpPort == 0:
			f.udpPort = a.port
		case a.network == "tcp" && f.tcpPort == 0:
			f.tcpPort = a.port
		}
	}
}

func (f *facts) learnInterfaces() {
	addressed := false
	for _, i := range f.o.Interfaces {
		if i.Loopback || !i.Up {
			continue
		}
		f.up = true
		for _, s := range i.Addresses {
			ip := parseIP(s)
			switch {
			case !ip.IsValid() || ip.IsLoopback() || ip.IsLinkLocalUnicast():
			case isPublic(ip) && ip.Is4():
				f.public4, addressed = ip, true
			case isPublic(ip):
				f.public6, addressed = ip, true
			case ip.Is4():
				addressed = true
				// A virtual private network may use the range of providers.
				if !f.private4.IsValid() || carrierRange.Contains(f.private4) {
					f.private4 = ip
				}
			default:
				addressed = true
			}
		}
	}
	f.linkLocalOnly = f.up && !addressed
}

// learnObserved finds the kind of NAT as RFC 5780 section 4.3 does: by whether
// observers at different addresses see one local port as one outside port.
func (f *facts) learnObserved() {
	f.natUDP, f.natTCP = f.o.NATUDP, f.o.NATTCP
	for _, network := range []string{"udp", "tcp"} {
		ports, kind := f.outsidePorts(network)
		if network == "udp" {
			f.portsUDP = ports
			if f.natUDP == "" {
				f.natUDP = kind
			}
		} else if f.natTCP == "" {
			f.natTCP = kind
		}
	}
}

// outsidePorts gives the outside ports that observers at different IPv4
// addresses saw for the local port with most observers, and what kind of NAT
// that shows.
func (f *facts) outsidePorts(network string) ([]int, NAT) {
	type seen struct {
		by   string
		port int
	}
	byLocal := map[int][]seen{}
	locals := []int{}
	for _, ob := range f.o.Observed {
		out, local := parseAddress(ob.Address), parseAddress(ob.Local)
		if out.network != network || out.relayed || !out.ip.Is4() || !isPublic(out.ip) {
			continue
		}
		f.outside = out.ip
		if local.ip.Is4() && local.ip.IsPrivate() {
			f.private4 = local.ip // the one that really goes out
		}
		by := ob.ByIP
		if by == "" {
			by = ob.By.String()
		}
		if slices.ContainsFunc(byLocal[local.port], func(s seen) bool { return s.by == by }) {
			continue
		}
		if byLocal[local.port] == nil {
			locals = append(locals, local.port)
		}
		byLocal[local.port] = append(byLocal[local.port], seen{by, out.port})
	}
	slices.Sort(locals)
	best := []seen{}
	for _, l := range locals {
		if len(byLocal[l]) > len(best) {
			best = byLocal[l]
		}
	}
	ports := []int{}
	for _, s := range best {
		if !slices.Contains(ports, s.port) {
			ports = append(ports, s.port)
		}
	}
	slices.Sort(ports)
	switch {
	case f.outside.IsValid() && f.outside == f.public4:
		return ports, NoNAT
	case len(best) < 2:
		return ports, ""
	case len(ports)*2 > len(best):
		// Nearly every observer saw another port; with two observers, both.
		if len(ports) > 1 {
			return ports, Symmetric
		}
	}
	most := 0
	for _, p := range ports {
		n := 0
		for _, s := range best {
			if s.port == p {
				n++
			}
		}
		most = max(most, n)
	}
	if most*2 > len(best) {
		return ports, Cone // some observers may err, or lie
	}
	return ports, ""
}

func (f *facts) learnOutbound() {
	sum := func(match func(Outbound) bool) answer {
		tried, connected := 0, 0
		for _, out := range f.o.Outbound {
			if match(out) {
				tried, connected = tried+out.Tried, connected+out.Connected
			}
		}
		switch {
		case connected > 0:
			return yes
		case tried >= enoughTries:
			return no
		}
		return unknown
	}
	f.udpOut = sum(func(o Outbound) bool { return o.Network == "udp" })
	f.tcpOut = sum(func(o Outbound) bool { return o.Network == "tcp" })
	f.v4Out = sum(func(o Outbound) bool { return o.Family == 4 })
	f.v6Out = sum(func(o Outbound) bool { return o.Family == 6 })
}

// doubleNAT says what stands between the router and the Internet.
type doubleNAT uint8

const (
	singleNAT  doubleNAT = iota
	twoRouters           // the router's own outside address is private
	carrierNAT           // ... or in the range that providers use
)

func (f *facts) learnMappings() {
	for _, m := range f.o.Mappings {
		outer := parseIP(m.External)
		switch {
		case m.Error != "" || m.External == "":
			f.mapFailed = append(f.mapFailed, m)
			continue
		case carrierRange.Contains(outer):
			f.double = carrierNAT
		case outer.IsValid() && !isPublic(outer), outer.Is4() && f.outside.IsValid() && outer != f.outside:
			f.double = max(f.double, twoRouters)
		}
		f.mapped = append(f.mapped, m)
	}
	if f.private4.IsValid() && carrierRange.Contains(f.private4) {
		f.double = carrierNAT
	}
}

func (f *facts) learnReach() {
	for _, r := range f.o.Reach {
		a := parseAddress(r.Address)
		if a.relayed || a.ip.IsValid() && !isPublic(a.ip) {
			continue
		}
		switch r.State {
		case Public:
			f.reachOpen = append(f.reachOpen, r)
		case Private:
			f.reachBlocked = append(f.reachBlocked, r)
		}
	}
	switch {
	case len(f.reachOpen) > 0:
		f.reach = yes
	case len(f.reachBlocked) > 0:
		f.reach = no
	}
}

// canPunch tells whether hole punching has a chance: a foreseeable outside
// port over at least one transport that gets out.
func (f *facts) canPunch() bool {
	good := func(n NAT) bool { return n == Cone || n == NoNAT }
	return good(f.natUDP) && f.udpOut != no || good(f.natTCP) && f.tcpOut != no
}

// clockOffset is the median of what at least three others say of our clock, so
// that one that lies moves nothing, or the only sample's if there are fewer.
func (f *facts) clockOffset() (offset time.Duration, samples int) {
	all := []time.Duration{}
	for _, c := range f.o.Clock {
		all = append(all, c.Offset)
	}
	slices.Sort(all)
	if len(all) == 0 {
		return 0, 0
	}
	return all[len(all)/2], len(all)
}
