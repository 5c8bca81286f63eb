package doctor

import (
	"fmt"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/peer"
)

// maxShown is how many addresses a summary gives.
const maxShown = 4

// Reachable answers: can a friend reach me?
func Reachable(o Observations) Summary {
	f := learn(o)
	s := Summary{Question: "Can a friend reach me?", Verdict: Unknown}
	switch {
	case f.o.Mode == Alone:
		s.Verdict, s.Answer = No, "This node uses no network, as it was told."
	case len(f.o.Interfaces) > 0 && !f.up:
		s.Verdict, s.Answer = No, "This machine is not connected to any network."
		s.Change = []string{"Plug in the cable, or connect to Wi-Fi."}
	case f.o.Mode == LAN:
		s.Verdict, s.Answer = LocalOnly, "Only in the same local network, as this node was told."
		s.Addresses = f.localAddresses()
	case f.reach == yes:
		s.Verdict, s.Answer = Direct, "Yes, directly from anywhere."
		for _, r := range f.reachOpen {
			s.Addresses = append(s.Addresses, f.withPeer(r.Address))
		}
	case len(f.places) > 0 && f.canPunch():
		s.Verdict = Punched
		s.Answer = "Yes. A relay introduces the two of you; then you talk directly, if your friend's router allows it, and through the relay if not."
		s.Addresses = f.relayedAddresses()
	case len(f.places) > 0:
		s.Verdict = Relayed
		s.Answer = "Yes, through a relay: that works, but slower. Friends with a public address are reached directly when this node calls them."
		s.Addresses = f.relayedAddresses()
	case f.reach == no:
		s.Verdict = No
		s.Answer = "No. The node is not reachable directly, and no relay keeps a place for it. It can still call others."
		s.Change = []string{f.forward()}
		if f.double == carrierNAT {
			s.Change = []string{"Ask the provider for a public IPv4 address, or for IPv6."}
		}
	case len(f.o.Peers) == 0:
		s.Verdict = No
		s.Answer = "Not from the Internet: this node is not connected to any peer there."
		s.Addresses = f.localAddresses()
	default:
		s.Answer = "Not known yet: no other peer has tried to connect to this node."
		s.Change = []string{"Ask again in a minute."}
	}
	s.Addresses = unique(s.Addresses)
	return s
}

func unique(s []string) []string {
	out := []string{}
	for _, a := range s {
		if !slices.Contains(out, a) && len(out) < maxShown {
			out = append(out, a)
		}
	}
	return out
}

// withPeer ends an address with our name, which makes it safe to give away:
// whoever answers there must prove to be us.
func (f *facts) withPeer(addr string) string {
	if f.o.Self.IsZero() || strings.Contains(addr, "/p2p/"+f.o.Self.String()) {
		return cut(addr, maxAddress)
	}
	return cut(strings.TrimSuffix(addr, "/"), maxAddress) + "/p2p/" + f.o.Self.String()
}

func (f *facts) relayedAddresses() []string {
	all := []string{}
	for _, r := range f.places {
		addr := strings.TrimSuffix(r.Address, "/")
		if !strings.Contains(addr, "/p2p/") {
			addr += "/p2p/" + r.ID.String()
		}
		if !strings.HasSuffix(addr, "/p2p-circuit") {
			addr += "/p2p-circuit"
		}
		all = append(all, f.withPeer(addr))
	}
	return all
}

func (f *facts) localAddresses() []string {
	all := []string{}
	for _, l := range f.o.Listens {
		a := parseAddress(l.Address)
		if l.Error != "" || a.relayed || a.ip.IsLoopback() || !a.ip.IsValid() {
			continue
		}
		if a.ip.IsUnspecified() {
			if !a.ip.Is4() || !f.private4.IsValid() {
				continue
			}
			all = append(all, f.withPeer(strings.Replace(l.Address, "/ip4/0.0.0.0/", "/ip4/"+f.private4.String()+"/", 1)))
			continue
		}
		all = append(all, f.withPeer(l.Address))
	}
	return all
}

// Explain answers: why can I not reach this peer?
func Explain(o Observations, id peer.ID) Summary {
	f := learn(o)
	s := Summary{Question: fmt.Sprintf("Why can I not reach %s?", id), Verdict: No}
	for _, p := range f.o.Peers {
		if p.ID != id {
			continue
		}
		if !p.Relayed {
			s.Verdict, s.Answer = Direct, "You can: the two are connected directly, at "+show(p.Address)+"."
			return s
		}
		s.Verdict, s.Answer = Relayed, "You can: the two are connected through a relay. That works, but slower."
	}
	if s.Verdict == Relayed {
		f.explainPunch(&s, id)
		return s
	}
	if id == f.o.Self {
		s.Verdict, s.Answer = Direct, "That is this node itself."
		return s
	}
	f.explainDials(&s, id)
	return s
}

// explainPunch says why a relayed connection did not become a direct one.
func (f *facts) explainPunch(s *Summary, id peer.ID) {
	for _, h := range slices.Backward(f.o.HolePunches) {
		if h.Peer != id || h.Success {
			continue
		}
		_, words := plain(h.Error)
		s.Answer += " Hole punching failed: " + words + "."
		break
	}
	if f.natUDP == Symmetric {
		s.Answer += " This node's router has a symmetric NAT, which cannot be punched unless the other side is open."
		s.Change = []string{f.forward()}
	}
}

// explainDials says what became of the attempts to connect.
func (f *facts) explainDials(s *Summary, id peer.ID) {
	if f.o.Mode == Alone {
		s.Answer = "This node uses no network, as it was told."
		return
	}
	failed := map[cause]int{}
	order := []cause{}
	example := map[cause]Dial{}
	for _, d := range f.o.Dials {
		if d.Peer != id {
			continue
		}
		if d.Error == "" {
			s.Verdict, s.Answer = Unknown, "It was reached before, but is not connected now. Call it: the node connects by itself."
			failed, order = map[cause]int{}, nil
			continue
		}
		c, _ := plain(d.Error)
		if failed[c] == 0 {
			order = append(order, c)
		}
		failed[c]++
		example[c] = d
	}
	switch {
	case len(order) == 0 && s.Verdict == Unknown:
		return
	case len(order) == 0:
		s.Verdict, s.Answer = Unknown, "Nobody has tried yet: call it, then ask again."
		return
	}
	s.Verdict = No
	// The cause that says most comes first; a name that is not found after
	// everything else failed says least.
	slices.SortStableFunc(order, func(a, b cause) int { return int(a) - int(b) })
	c := order[0]
	_, words := plain(example[c].Error)
	tries := 0
	for _, n := range failed {
		tries += n
	}
	s.Answer = fmt.Sprintf("%s failed. %s.", count(tries, "attempt", "attempts"), words)
	if addr := example[c].Address; addr != "" {
		s.Answer = fmt.Sprintf("%s failed, the last at %s. %s.", count(tries, "attempt", "attempts"), show(addr), words)
	}
	s.Change = f.remedy(c, example[c])
}

// remedy is what to change for one cause.
func (f *facts) remedy(c cause, d Dial) []string {
	a := parseAddress(d.Address)
	switch c {
	case causeIdentity:
		return []string{"Another node answers at this address: ask your friend for the new address."}
	case causeKey:
		return []string{"Give both nodes the same network key, or none."}
	case causeDenied:
		return []string{"Ask the owner of the other node to let you in.", "Look at your own list of blocked peers."}
	case causeBusy:
		return []string{"Try again in a minute."}
	case causeNoPlace:
		return []string{"The other node is off, or has just lost its relay: ask your friend to start it, then try again in a minute."}
	case causeRefused:
		return []string{fmt.Sprintf("The machine is on, but nothing listens on %s port %d: ask your friend whether aval runs, and on which port.", upper(a.network), a.port)}
	case causeUnreachable:
		if a.ip.Is6() && f.v6Out != yes {
			return []string{"This address is IPv6, which does not work here: ask for an IPv4 address, or one through a relay."}
		}
		return []string{"Check that this machine is on the Internet."}
	case causeTimeout:
		if a.ip.IsValid() && !isPublic(a.ip) {
			return []string{"This is an address inside your friend's home: it works only there. Ask for one that \"aval net doctor\" gives."}
		}
		if a.network == "udp" && f.udpOut == no {
			return []string{"UDP is blocked in your network: ask for a TCP address, or one through a relay."}
		}
		return []string{
			"Ask your friend to run \"aval net doctor\" and to send you the address that it gives.",
			"If it gives none: the other router must forward the port, or the node needs a relay.",
		}
	case causeNoAddress:
		return []string{"Ask your friend to run \"aval net doctor\" and to send you the address that it gives; connect to that."}
	case causeName:
		return []string{"Check the name for a slip, and your DNS settings."}
	}
	return []string{"Ask your friend to run \"aval net doctor\", too."}
}
