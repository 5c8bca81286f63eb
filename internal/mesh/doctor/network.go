package doctor

import (
	"fmt"
	"slices"
	"strings"
)

func (f *facts) outbound(network string, family int) (tried, connected int, lastError string) {
	for _, o := range f.o.Outbound {
		if (network == "" || o.Network == network) && (family == 0 || o.Family == family) {
			tried, connected = tried+o.Tried, connected+o.Connected
			if o.LastError != "" {
				lastError = o.LastError
			}
		}
	}
	return tried, connected, lastError
}

func checkOutbound(f facts) []Finding {
	udpTried, _, udpError := f.outbound("udp", 0)
	tcpTried, tcpGot, tcpError := f.outbound("tcp", 0)
	_, udpGot, _ := f.outbound("udp", 0)
	switch {
	case f.o.Mode == LAN:
		return nil
	case f.udpOut == no && f.tcpOut == no:
		if !f.up && len(f.o.Interfaces) > 0 {
			return nil // said already
		}
		return []Finding{{
			Code: "no-internet", Severity: Problem, Title: "Nothing gets out: no peer on the Internet answers",
			Tried: fmt.Sprintf("Connected %s over UDP and %s over TCP.", count(udpTried, "time", "times"), count(tcpTried, "time", "times")),
			Seen:  "No attempt succeeded. The last error: " + show(tcpError),
			Means: "There is no Internet here, or a firewall lets nothing out but the web.",
			Change: []string{
				"Open a web page. If that fails, the Internet connection is down.",
				"If it works: a hotel or guest network may ask you to log in on a web page first.",
				"Otherwise ask who runs the network to let UDP and TCP out, or use another network.",
			},
		}}
	case f.udpOut == no && f.tcpOut == yes:
		return []Finding{{
			Code: "udp-blocked", Severity: Warning, Title: "UDP is blocked: only TCP gets out of this network",
			Tried:  fmt.Sprintf("Connected %s over UDP (QUIC) and %s over TCP.", count(udpTried, "time", "times"), count(tcpTried, "time", "times")),
			Seen:   fmt.Sprintf("UDP: none succeeded (%s). TCP: %d did.", show(udpError), tcpGot),
			Means:  "A firewall between here and the Internet drops UDP. The node works over TCP; direct connections succeed less often, so more calls go through relays.",
			Change: []string{"Allow outgoing UDP in the firewall of the router or the company.", fmt.Sprintf("In this machine's firewall, allow UDP out, and UDP port %d in.", f.udpPort)},
		}}
	case f.tcpOut == no && f.udpOut == yes:
		return []Finding{{
			Code: "tcp-blocked", Severity: Warning, Title: "TCP is blocked: only UDP (QUIC) gets out of this network",
			Tried:  fmt.Sprintf("Connected %s over TCP and %s over UDP.", count(tcpTried, "time", "times"), count(udpTried, "time", "times")),
			Seen:   fmt.Sprintf("TCP: none succeeded (%s). UDP: %d did.", show(tcpError), udpGot),
			Means:  "The node works over QUIC. Peers and private networks that have only TCP cannot be reached.",
			Change: []string{"Allow outgoing TCP to all ports in the firewall of the router or the company."},
		}}
	}
	return nil
}

func checkBootstrap(f facts) []Finding {
	if f.o.Mode == LAN {
		return nil
	}
	tried, reached, lastError := 0, 0, ""
	for _, b := range f.o.Bootstrap {
		if !b.Tried {
			continue
		}
		if tried++; b.Error == "" {
			reached++
		} else {
			lastError = b.Error
		}
	}
	switch {
	case len(f.o.Bootstrap) == 0 && len(f.o.Peers) == 0:
		return []Finding{{
			Code: "no-bootstrap", Severity: Problem, Title: "This node knows nobody to start from",
			Seen:   "The bootstrap list is empty and no peer is connected.",
			Means:  "A node finds others by asking one that it knows.",
			Change: []string{"Add the address of a friend's node, or of a bootstrap node, to the list and start again."},
		}}
	case tried == 0 || reached > 0:
		return nil
	}
	_, words := plain(lastError)
	finding := Finding{
		Code: "bootstrap-failed", Severity: Warning, Title: "No bootstrap node answers",
		Tried:  fmt.Sprintf("Connected to all %d of the bootstrap list.", tried),
		Seen:   words + ".",
		Means:  fmt.Sprintf("The node goes on with the %s it is connected to, but does not learn of new ones easily.", count(len(f.o.Peers), "peer", "peers")),
		Change: []string{"Check the bootstrap list: their addresses may be old."},
	}
	if len(f.o.Peers) == 0 {
		finding.Severity = Problem
		finding.Means = "The node is not in the network: it finds nobody, and nobody finds it."
	}
	if f.udpOut == no && f.tcpOut == no {
		finding.Change = []string{"First mend the connection to the Internet, which fails altogether."}
	}
	return []Finding{finding}
}

func checkNAT(f facts) []Finding {
	all := []Finding{}
	if f.natUDP == Symmetric || f.natTCP == Symmetric && f.natUDP != Cone && f.natUDP != NoNAT {
		finding := Finding{
			Code: "nat-symmetric", Severity: Warning, Title: "The router has a symmetric NAT: it uses a new port for every peer",
			Tried:  "Compared under which port different peers see this node.",
			Seen:   seenPorts(f.portsUDP),
			Means:  "Nobody can foresee the port, so two such routers cannot connect directly. Calls to these peers go through a relay: they work, but slower.",
			Change: []string{f.forward(), "Or turn on UPnP, or \"full cone NAT\" or \"open NAT\", in the router."},
		}
		if f.double == carrierNAT {
			finding.Change = []string{"The provider's NAT does this: ask for a public IPv4 address, or for IPv6."}
		}
		if f.reach == yes {
			finding.Severity = Note
			finding.Means = "That would hinder direct connections, but this node is reached directly all the same."
			finding.Change = nil
		}
		all = append(all, finding)
	}
	return all
}

func seenPorts(ports []int) string {
	if len(ports) < 2 {
		return "The port changes from one peer to the next."
	}
	shown := []string{}
	for _, p := range ports[:min(len(ports), 6)] {
		shown = append(shown, fmt.Sprint(p))
	}
	return "Different peers saw one local port as ports " + strings.Join(shown, ", ") + "."
}

func checkDoubleNAT(f facts) []Finding {
	outer := ""
	if len(f.mapped) > 0 {
		outer = show(f.mapped[0].External)
	}
	switch f.double {
	case carrierNAT:
		return []Finding{{
			Code: "nat-carrier", Severity: Warning, Title: "The Internet provider puts its own NAT before your router (CGNAT)",
			Tried: "Asked the router for its address on the Internet.",
			Seen:  fmt.Sprintf("The router has no public address: it is in the range 100.64.0.0 to 100.127.255.255 (%s).", pick(outer, f.private4.String())),
			Means: "Forwarding a port in your router has no effect: the provider's NAT stands before it. Hole punching and relays still work.",
			Change: []string{
				"Ask the provider for a public IPv4 address (some give one for free when asked).",
				"Or turn on IPv6 in the router: it needs no NAT.",
			},
		}}
	case twoRouters:
		seen := fmt.Sprintf("The router says that its address is %s, which is not one of the Internet.", outer)
		if isPublic(parseIP(outer)) {
			seen = fmt.Sprintf("The router says that its address is %s; peers see %s.", outer, f.outside)
		}
		return []Finding{{
			Code: "nat-double", Severity: Warning, Title: "There are two routers, one behind the other (double NAT)",
			Tried: "Asked the router for its address on the Internet.",
			Seen:  seen,
			Means: "A port that the first router opens is still closed at the second. Hole punching and relays still work.",
			Change: []string{
				"Set one of the two routers to \"bridge\" or \"access point\" mode.",
				fmt.Sprintf("Or forward %s in both: in the outer one to the inner one.", f.ports()),
			},
		}}
	}
	return nil
}

func pick(first, second string) string {
	if first != "" {
		return first
	}
	return second
}

func checkMapping(f facts) []Finding {
	behind := f.natUDP == Cone || f.natUDP == Symmetric || f.natTCP == Cone || f.natTCP == Symmetric
	if len(f.o.Mappings) == 0 || f.reach == yes || len(f.mapped) > 0 || !behind {
		return nil
	}
	reason := "No router answered to UPnP, PCP or NAT-PMP."
	for _, m := range f.mapFailed {
		if m.Protocol != "" && m.Error != "" {
			reason = fmt.Sprintf("%s: %s", show(m.Protocol), show(m.Error))
		}
	}
	finding := Finding{
		Code: "mapping-failed", Severity: Note, Title: "The router does not open ports by itself",
		Tried:  fmt.Sprintf("Asked it by UPnP, PCP and NAT-PMP to forward %s.", f.ports()),
		Seen:   reason,
		Means:  "The router's port stays closed until a connection goes out.",
		Change: []string{"Turn on UPnP or NAT-PMP in the router.", "Or: " + f.forward()},
	}
	return []Finding{finding}
}

func checkReach(f facts) []Finding {
	switch {
	case f.o.Mode == LAN || f.reach == unknown:
		return nil
	case f.reach == yes:
		return []Finding{{
			Code: "reachable", Severity: OK, Title: "Other peers can connect to this node directly",
			Tried: "Asked other peers to connect to us.",
			Seen:  "They did, at " + cut(f.reachOpen[0].Address, maxAddress),
		}}
	}
	finding := Finding{
		Code: "not-reachable", Severity: Warning, Title: "Other peers cannot connect to this node by themselves",
		Tried:  "Asked other peers to connect to us.",
		Seen:   fmt.Sprintf("They could not, at %s.", show(f.reachBlocked[0].Address)),
		Means:  "Something closes the port: most often the router. Hole punching or a relay is needed.",
		Change: []string{f.forward()},
	}
	switch {
	case f.double == carrierNAT:
		finding.Means = "The provider's NAT closes the port. Hole punching or a relay is needed."
		finding.Change = nil
	case f.canPunch():
		finding.Severity = Note
		finding.Means = "The router closes the port, as most home routers do. Hole punching opens it when it is needed; nothing must be changed. A forwarded port makes it faster and surer."
	}
	if f.public4.IsValid() && f.natUDP != Cone && f.natUDP != Symmetric {
		return nil // checkFirewall says it better
	}
	return []Finding{finding}
}

func checkRelays(f facts) []Finding {
	switch {
	case f.o.Mode == LAN || f.reach == yes:
		return nil
	case len(f.places) > 0:
		return []Finding{{
			Code: "relay", Severity: OK, Title: fmt.Sprintf("%s a place for this node", count(len(f.places), "relay keeps", "relays keep")),
			Seen:  "Peers that cannot connect directly reach it through " + cut(f.places[0].Address, maxAddress),
			Means: "A relay sees who talks to whom and how much, not what is said: that is encrypted.",
		}}
	}
	finding := Finding{
		Code: "no-relay", Severity: Problem, Title: "No relay keeps a place for this node",
		Tried: fmt.Sprintf("Looked for relays: found %d, asked %s.", max(f.o.RelaysFound, len(f.o.Relays)), count(len(f.o.Relays), "of them", "of them")),
		Means: "Peers that cannot connect directly cannot reach this node at all, and hole punching cannot begin.",
		Change: []string{
			"Connect to a friend's node with a public address: it serves as a relay.",
			f.forward(),
		},
	}
	for _, r := range f.o.Relays {
		if r.Error != "" {
			_, words := plain(r.Error)
			finding.Seen = words + "."
		} else if !r.Expires.IsZero() {
			finding.Seen = "The last place has ended and was not renewed."
		}
	}
	if finding.Seen == "" && len(f.o.Relays) == 0 {
		finding.Seen = "No peer offers to be a relay."
	}
	if f.reach == unknown && f.natUDP != Cone && f.natUDP != Symmetric && f.natTCP != Symmetric {
		if f.o.Uptime > 0 && f.o.Uptime < settled || len(f.o.Peers) == 0 {
			return nil // too early, or the cause is said elsewhere
		}
		finding.Severity = Warning
		finding.Means = "If this node turns out not to be reachable, nobody behind a router can call it."
	}
	return []Finding{finding}
}

func checkHolePunches(f facts) []Finding {
	won, lost, lastError := 0, 0, ""
	for _, h := range f.o.HolePunches {
		if h.Success {
			won++
		} else {
			lost++
			lastError = h.Error
		}
	}
	switch {
	case won+lost == 0:
		return nil
	case won > 0 && lost <= won:
		return []Finding{{
			Code: "hole-punching", Severity: OK, Title: "Hole punching works here",
			Seen: fmt.Sprintf("%d of %d attempts made a direct connection.", won, won+lost),
		}}
	case won > 0:
		return []Finding{{
			Code: "hole-punching", Severity: Note, Title: "Hole punching works to some peers",
			Seen:  fmt.Sprintf("%d of %d attempts made a direct connection.", won, won+lost),
			Means: "It depends on both routers. The rest goes through relays.",
		}}
	}
	_, words := plain(lastError)
	finding := Finding{
		Code: "hole-punching-failed", Severity: Warning, Title: "Hole punching did not work so far",
		Tried:  fmt.Sprintf("Tried with %s.", count(lost, "peer", "peers")),
		Seen:   words + ".",
		Means:  "Calls to these peers go through a relay: they work, but slower.",
		Change: []string{f.forward()},
	}
	switch {
	case f.natUDP == Symmetric:
		finding.Severity = Note
		finding.Means = "That is what a symmetric NAT does. Calls go through a relay."
	case f.canPunch():
		finding.Means = "The cause is most likely at the other end: its router, or a firewall. Calls go through a relay."
		finding.Change = nil
	}
	return []Finding{finding}
}

func checkIPv6(f facts) []Finding {
	switch {
	case f.o.Mode == LAN:
		return nil
	case f.v6Out == yes && f.v4Out != yes && !f.private4.IsValid() && !f.public4.IsValid():
		return []Finding{{
			Code: "ipv6-only", Severity: Note, Title: "This machine has IPv6 only",
			Means: "It reaches peers that have IPv6, and the others only through a relay that has both.",
		}}
	case f.v6Out == no && f.v4Out == yes && f.public6.IsValid():
		_, _, text := f.outbound("", 6)
		_, words := plain(text)
		return []Finding{{
			Code: "ipv6-broken", Severity: Note, Title: "IPv6 is set up here, but does not get out",
			Tried:  "Connected to peers over IPv6.",
			Seen:   words + ".",
			Means:  "Peers are reached over IPv4; that costs a moment at each connection.",
			Change: []string{"Restart the router, or ask the provider about IPv6."},
		}}
	case f.v6Out != yes && !f.public6.IsValid() && f.reach == no && len(f.o.Interfaces) > 0:
		return []Finding{{
			Code: "ipv6-missing", Severity: Note, Title: "This network has no IPv6",
			Means:  "IPv6 has no NAT: two peers that have it need no hole punching.",
			Change: []string{"Turn on IPv6 in the router, if the provider offers it."},
		}}
	}
	return nil
}

func checkLAN(f facts) []Finding {
	m := f.o.MDNS
	switch {
	case m.Error != "":
		finding := Finding{
			Code: "mdns-failed", Severity: Note, Title: "Peers on the local network cannot be looked for",
			Tried: "Multicast DNS, UDP port 5353.", Seen: show(m.Error),
			Means:  "Peers in the same house are found over the Internet only, or by their address.",
			Change: f.openPort("", "udp", 5353),
		}
		if f.o.Mode == LAN {
			finding.Severity = Problem
			finding.Means = "In this mode peers are found in no other way."
		}
		return []Finding{finding}
	case m.Unreachable > 0:
		return []Finding{{
			Code: "lan-blocked", Severity: Warning, Title: "Peers on the local network are heard, but cannot be reached",
			Tried: "Connected to their local addresses.",
			Seen:  fmt.Sprintf("%d of %d could not be reached.", m.Unreachable, max(m.Found, m.Unreachable)),
			Means: "Their firewall blocks the port, or the Wi-Fi keeps its devices apart (guest network, \"client isolation\").",
			Change: slices.Concat([]string{"Put both devices into the same network, not the guest network.", "On the other device, open its ports; for one like this:"},
				f.openPorts("")),
		}}
	case f.o.Mode == LAN && m.On && m.Found == 0 && f.o.Uptime >= settled:
		return []Finding{{
			Code: "lan-empty", Severity: Note, Title: "No other node answers on the local network",
			Tried:  "Multicast DNS, UDP port 5353.",
			Means:  "There is none, or a firewall or a guest network keeps them apart.",
			Change: f.openPort("", "udp", 5353),
		}}
	}
	return nil
}
