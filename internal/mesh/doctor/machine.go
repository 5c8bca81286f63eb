package doctor

import (
	"fmt"
	"strings"
	"time"
)

// settled is how long a node needs until most of what it looks for was found or
// has failed.
const settled = 30 * time.Second

func checkYoung(f facts) []Finding {
	if f.o.Uptime <= 0 || f.o.Uptime >= settled {
		return nil
	}
	return []Finding{{
		Code: "young", Severity: Note, Title: "This node has just started",
		Seen:   fmt.Sprintf("It runs for %s.", f.o.Uptime.Round(time.Second)),
		Means:  "Relays, addresses and the kind of router take up to half a minute to find.",
		Change: []string{"Ask again in a minute if something below is missing."},
	}}
}

func checkInterfaces(f facts) []Finding {
	switch {
	case len(f.o.Interfaces) == 0:
		return nil
	case !f.up:
		return []Finding{{
			Code: "no-network", Severity: Problem, Title: "This machine is not connected to any network",
			Tried:  fmt.Sprintf("Looked at %s.", count(len(f.o.Interfaces), "network interface", "network interfaces")),
			Seen:   "None but the machine's own loopback is up.",
			Means:  "The cable is out, or Wi-Fi is off. The node goes on by itself when the network is back.",
			Change: []string{"Plug in the cable, or connect to Wi-Fi."},
		}}
	case f.linkLocalOnly:
		return []Finding{{
			Code: "no-address", Severity: Problem, Title: "The network gave this machine no address",
			Tried:  fmt.Sprintf("Looked at %s.", count(len(f.o.Interfaces), "network interface", "network interfaces")),
			Seen:   "An interface is up, but has only an address that the machine made up itself.",
			Means:  "The router did not answer (DHCP). Nothing outside the machine can be reached.",
			Change: []string{"Reconnect to the network; if that does not help, restart the router."},
		}}
	}
	return nil
}

func checkListens(f facts) []Finding {
	good, bad := []string{}, []Listen{}
	for _, l := range f.o.Listens {
		if l.Error == "" {
			good = append(good, l.Address)
		} else {
			bad = append(bad, l)
		}
	}
	if len(bad) == 0 {
		return nil
	}
	finding := Finding{
		Code: "listen-failed", Severity: Warning, Title: "The node cannot listen on some of its addresses",
		Tried: fmt.Sprintf("Tried to listen on %s.", count(len(f.o.Listens), "address", "addresses")),
		Seen:  fmt.Sprintf("%s: %s", show(bad[0].Address), show(bad[0].Error)),
		Means: fmt.Sprintf("Others cannot connect there; %s work.", count(len(good), "other address does", "other addresses")),
	}
	if len(good) == 1 {
		finding.Means = "Others cannot connect there; one other address works."
	}
	if len(good) == 0 {
		finding.Severity, finding.Title = Problem, "The node cannot listen on any address"
		finding.Means = "Nobody can connect to it directly. It can still connect outwards."
	}
	port := parseAddress(bad[0].Address).port
	text := strings.ToLower(bad[0].Error)
	switch {
	case strings.Contains(text, "in use"), strings.Contains(text, "only one usage"):
		finding.Change = append(finding.Change, fmt.Sprintf("Another program uses port %d, perhaps a second aval: end it, or choose another port.", port))
	case strings.Contains(text, "permission"), strings.Contains(text, "forbidden"):
		finding.Change = append(finding.Change, fmt.Sprintf("The system does not let this user use port %d: choose a port above 1023.", port))
	case strings.Contains(text, "cannot assign"), strings.Contains(text, "not valid in its context"):
		finding.Change = append(finding.Change, "This machine does not have that IP address: listen on 0.0.0.0 and :: in its place.")
	default:
		finding.Change = append(finding.Change, "Choose another port, or remove this address from the list.")
	}
	return []Finding{finding}
}

// A receipt or a token that is a few minutes old must not look like one from
// the future.
const (
	clockWarning = 20 * time.Second
	clockProblem = 2 * time.Minute
)

func checkClock(f facts) []Finding {
	offset, n := f.clockOffset()
	by := offset.Abs()
	if n == 0 || by < clockWarning {
		return nil
	}
	word := "behind"
	if offset < 0 {
		word = "ahead"
	}
	finding := Finding{
		Code: "clock", Severity: Warning,
		Title:  fmt.Sprintf("The clock of this machine is %s %s", rough(by), word),
		Tried:  fmt.Sprintf("Compared it with %s.", count(n, "other peer", "other peers")),
		Seen:   fmt.Sprintf("The middle one of them is %s away from ours.", rough(by)),
		Means:  "Records, tokens and receipts carry times. A wrong clock makes good ones look expired.",
		Change: f.setClock(),
	}
	switch {
	case n < enoughTries:
		// One or two peers may be the ones that are wrong.
		finding.Title = fmt.Sprintf("The clock of this machine may be %s %s", rough(by), word)
		finding.Means += " So few peers may be wrong themselves: look at a clock first."
	case by >= clockProblem:
		finding.Severity = Problem
		finding.Means = "Records, tokens and receipts carry times: others refuse ours, and theirs look expired here."
	}
	return []Finding{finding}
}

// rough writes a duration as people say it.
func rough(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(d.Hours()/24))
	case d >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(d.Hours()))
	case d >= 2*time.Minute:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return count(int(d.Seconds()), "second", "seconds")
}

func checkPrivateNetwork(f facts) []Finding {
	switch {
	case f.o.KeyMismatches == 0 && !f.o.PrivateNetwork:
		return nil
	case f.o.KeyMismatches == 0:
		return []Finding{{
			Code: "private-network", Severity: Note, Title: "This node is in a private network",
			Means: "Only peers with the same network key can connect. Connections use TCP, not QUIC, and hole punching works less often.",
		}}
	}
	finding := Finding{
		Code: "network-key", Severity: Warning, Title: "Some peers have another network key, or none",
		Tried: "Connected to peers.",
		Seen:  fmt.Sprintf("%s ended before the handshake, as it does when the keys of the network differ.", count(f.o.KeyMismatches, "connection", "connections")),
		Means: "A private network and the public one cannot talk to each other.",
	}
	if f.o.PrivateNetwork {
		finding.Change = []string{"Give every node of the network the same key file, byte for byte."}
	} else {
		finding.Change = []string{"These peers are in a private network: ask their owner for its key, or remove them from the list."}
	}
	if len(f.o.Peers) == 0 {
		finding.Severity, finding.Title = Problem, "The network key does not fit: no peer could be reached"
	}
	return []Finding{finding}
}

func checkProxy(f facts) []Finding {
	if f.o.Proxy == "" {
		return nil
	}
	finding := Finding{
		Code: "proxy", Severity: Note, Title: "The system names a web proxy, which Aval cannot use",
		Seen:  show(f.o.Proxy),
		Means: "Peers are reached directly, not through the proxy.",
	}
	if f.tcpOut == no && f.udpOut != yes {
		finding.Severity, finding.Title = Problem, "This network lets only its web proxy out"
		finding.Means = "Peers cannot be reached through a web proxy."
		finding.Change = []string{fmt.Sprintf("Ask who runs the network to let %s out, or use another network.", f.ports())}
	}
	return []Finding{finding}
}

func checkFirewall(f facts) []Finding {
	all := []Finding{}
	for _, w := range f.o.Firewalls {
		if !w.Blocks {
			continue
		}
		finding := Finding{
			Code: "host-firewall", Severity: Warning, Title: "The firewall of this machine blocks the node's ports",
			Tried:  fmt.Sprintf("Read the settings of %s.", show(w.Name)),
			Seen:   show(w.Detail),
			Means:  "What others send to this node is dropped before the node sees it, whatever the router does.",
			Change: f.openPorts(w.Name),
		}
		if f.reach == yes {
			finding.Severity = Note
			finding.Title = "The firewall of this machine may block some of the node's ports"
			finding.Means = "The node was reached all the same."
		}
		all = append(all, finding)
	}
	if len(all) > 0 || f.reach != no {
		return all
	}
	// Nothing could be read, but the signs are there.
	switch {
	case f.public4.IsValid() && f.natUDP != Cone && f.natUDP != Symmetric:
		all = append(all, Finding{
			Code: "host-firewall", Severity: Warning, Title: "A firewall blocks the node's ports, most likely on this machine",
			Tried:  "Asked other peers to connect to us.",
			Seen:   fmt.Sprintf("They could not, though this machine has the public address %s itself: no router is between.", f.public4),
			Means:  "Others reach this node only through a relay.",
			Change: append(f.openPorts(""), fmt.Sprintf("If that changes nothing, let %s in where the machine is rented or connected.", f.ports())),
		})
	case len(f.mapped) > 0 && f.double == singleNAT:
		all = append(all, Finding{
			Code: "host-firewall", Severity: Warning, Title: "The router opened the port, but the node is still not reached",
			Tried:  fmt.Sprintf("Asked the router by %s to forward %s port %d; then asked peers to connect.", show(f.mapped[0].Protocol), upper(f.mapped[0].Network), f.mapped[0].Internal),
			Seen:   fmt.Sprintf("The router says that %s is ours; peers cannot connect there.", show(f.mapped[0].External)),
			Means:  "The firewall of this machine is the most likely cause.",
			Change: f.openPorts(""),
		})
	}
	return all
}
