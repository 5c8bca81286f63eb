package doctor_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/peer"
)

var now = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func id(b byte) peer.ID {
	var p peer.ID
	for i := range p {
		p[i] = b
	}
	return p
}

// home is a node behind an ordinary home router, after a few minutes.
func home(change func(*doctor.Observations)) doctor.Observations {
	o := doctor.Observations{
		Self: id(1), Time: now, Uptime: 5 * time.Minute, OS: "linux",
		Listens: []doctor.Listen{{Address: "/ip4/0.0.0.0/udp/4001/quic-v1"}, {Address: "/ip4/0.0.0.0/tcp/4001"}},
		Interfaces: []doctor.Interface{
			{Name: "lo", Up: true, Loopback: true, Addresses: []string{"127.0.0.1/8"}},
			{Name: "eth0", Up: true, Addresses: []string{"192.168.1.20/24", "fe80::1/64"}},
		},
		Observed: observed(4001, 4001, 4001, 4001),
		Reach:    []doctor.Reach{{Address: "/ip4/5.5.5.11/udp/4001/quic-v1", State: doctor.Private}},
		Outbound: []doctor.Outbound{
			{Network: "udp", Family: 4, Tried: 9, Connected: 8},
			{Network: "tcp", Family: 4, Tried: 5, Connected: 5},
		},
		Peers:     []doctor.Peer{{ID: id(9), Address: "/ip4/5.5.5.2/udp/4001/quic-v1"}},
		Bootstrap: []doctor.Bootstrap{{Address: "/ip4/5.5.5.2/udp/4001/quic-v1", Tried: true}},
		Relays:    []doctor.Relay{{ID: id(9), Address: "/ip4/5.5.5.2/udp/4001/quic-v1", Expires: now.Add(time.Hour)}},
		MDNS:      doctor.MDNS{On: true},
	}
	if change != nil {
		change(&o)
	}
	return o
}

// observed are what four peers at different addresses saw of the same local
// UDP port.
func observed(ports ...int) []doctor.Observed {
	var all []doctor.Observed
	for i, p := range ports {
		all = append(all, doctor.Observed{
			Address: fmt.Sprintf("/ip4/5.5.5.11/udp/%d/quic-v1", p),
			Local:   "/ip4/192.168.1.20/udp/4001/quic-v1",
			By:      id(byte(20 + i)), ByIP: fmt.Sprintf("5.5.5.%d", 2+i),
		})
	}
	return all
}

func symmetric(o *doctor.Observations) { o.Observed = observed(1024, 40321, 1733, 50211) }

var scenarios = []struct {
	name    string
	o       doctor.Observations
	verdict doctor.Verdict
	codes   []string // of findings that are not "ok", in order
	says    []string // must be in the text, whose lines are joined
	silent  []string // must not be in it
}{
	{
		name: "home router", o: home(nil), verdict: doctor.Punched,
		codes:  []string{"not-reachable", "ipv6-missing"},
		says:   []string{"A relay introduces the two of you", "forward UDP port 4001 and TCP port 4001 to 192.168.1.20", "/p2p-circuit/p2p/" + id(1).String()},
		silent: []string{"PROBLEM", "WARNING", "symmetric"},
	},
	{
		name: "public server", verdict: doctor.Direct,
		o: home(func(o *doctor.Observations) {
			o.Interfaces = []doctor.Interface{{Name: "eth0", Up: true, Addresses: []string{"5.5.5.11/24"}}}
			o.Reach[0].State = doctor.Public
			o.Relays = nil
		}),
		says: []string{"Yes, directly from anywhere", "/ip4/5.5.5.11/udp/4001/quic-v1/p2p/" + id(1).String()},
	},
	{
		name: "symmetric NAT", o: home(symmetric), verdict: doctor.Relayed,
		codes: []string{"nat-symmetric", "not-reachable", "ipv6-missing"},
		says:  []string{"symmetric NAT", "1024, 1733, 40321, 50211", "full cone NAT"},
	},
	{
		name: "symmetric NAT with a forwarded port", verdict: doctor.Direct,
		o:     home(func(o *doctor.Observations) { symmetric(o); o.Reach[0].State = doctor.Public }),
		codes: []string{"nat-symmetric"},
		says:  []string{"this node is reached directly all the same"},
	},
	{
		name: "one lying observer does not make a NAT symmetric", verdict: doctor.Punched,
		o:      home(func(o *doctor.Observations) { o.Observed = observed(4001, 4001, 4001, 4001, 666) }),
		codes:  []string{"not-reachable", "ipv6-missing"},
		silent: []string{"symmetric"},
	},
	{
		name: "observers behind one address count once", verdict: doctor.Relayed,
		o: home(func(o *doctor.Observations) {
			o.Observed = observed(4001, 9)
			o.Observed[1].ByIP = o.Observed[0].ByIP
		}),
		codes:  []string{"not-reachable", "ipv6-missing"},
		silent: []string{"symmetric"},
	},
	{
		name: "UDP blocked", verdict: doctor.Relayed,
		o: home(func(o *doctor.Observations) {
			o.Observed = nil
			o.Outbound = []doctor.Outbound{
				{Network: "udp", Family: 4, Tried: 12, LastError: "timeout: no recent network activity"},
				{Network: "tcp", Family: 4, Tried: 5, Connected: 5},
			}
		}),
		codes: []string{"udp-blocked", "not-reachable", "ipv6-missing"},
		says:  []string{"UDP is blocked", "12 times over UDP", "Allow outgoing UDP"},
	},
	{
		name: "TCP blocked", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Outbound[1] = doctor.Outbound{Network: "tcp", Family: 4, Tried: 5, LastError: "i/o timeout"}
		}),
		codes: []string{"tcp-blocked", "not-reachable", "ipv6-missing"},
		says:  []string{"TCP is blocked"},
	},
	{
		name: "nothing gets out", verdict: doctor.No,
		o: home(func(o *doctor.Observations) {
			o.Observed, o.Reach, o.Peers, o.Relays = nil, nil, nil, nil
			o.Outbound = []doctor.Outbound{
				{Network: "udp", Family: 4, Tried: 4, LastError: "timeout"},
				{Network: "tcp", Family: 4, Tried: 4, LastError: "dial tcp4: i/o timeout"},
			}
			o.Bootstrap[0].Error = "dial tcp4: i/o timeout"
		}),
		codes: []string{"no-internet", "bootstrap-failed"},
		says:  []string{"Open a web page", "First mend the connection to the Internet"},
	},
	{
		name: "web proxy only", verdict: doctor.No,
		o: home(func(o *doctor.Observations) {
			o.Observed, o.Reach, o.Peers, o.Relays, o.Bootstrap = nil, nil, nil, nil, nil
			o.Bootstrap = []doctor.Bootstrap{{Address: "/dnsaddr/boot.example", Tried: true, Error: "no such host"}}
			o.Outbound = []doctor.Outbound{{Network: "tcp", Family: 4, Tried: 4, LastError: "connection refused"}}
			o.Proxy = "http://proxy.example:3128"
		}),
		codes: []string{"bootstrap-failed", "proxy"},
		says:  []string{"lets only its web proxy out", "The name is not known"},
	},
	{
		name: "cable out", verdict: doctor.No,
		o: home(func(o *doctor.Observations) {
			o.Interfaces[1].Up = false
			o.Outbound[0].Connected, o.Outbound[1].Connected = 0, 0
			o.Peers, o.Reach = nil, nil
			o.Bootstrap[0].Error = "network is unreachable"
			o.Relays[0].Expires = now.Add(-time.Minute)
		}),
		codes: []string{"no-network", "bootstrap-failed", "no-relay"},
		says:  []string{"The cable is out, or Wi-Fi is off", "The last place has ended"},
	},
	{
		name: "no DHCP", verdict: doctor.Punched,
		o:     home(func(o *doctor.Observations) { o.Interfaces[1].Addresses = []string{"169.254.3.4/16", "fe80::1/64"} }),
		codes: []string{"no-address", "not-reachable", "ipv6-missing"},
		says:  []string{"gave this machine no address"},
	},
	{
		name: "port in use", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Listens[1].Error = "listen tcp4 0.0.0.0:4001: bind: address already in use"
		}),
		codes: []string{"listen-failed", "not-reachable", "ipv6-missing"},
		says:  []string{"Another program uses port 4001", "one other address works", "forward UDP port 4001 to"},
	},
	{
		name: "no permission for a low port", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Listens = []doctor.Listen{{Address: "/ip4/0.0.0.0/tcp/80", Error: "listen tcp4 0.0.0.0:80: bind: permission denied"}}
		}),
		codes: []string{"listen-failed", "not-reachable", "ipv6-missing"},
		says:  []string{"choose a port above 1023", "cannot listen on any address", "PROBLEM"},
	},
	{
		name: "clock behind", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Clock = []doctor.ClockSample{{By: id(3), Offset: time.Hour * 5}, {By: id(4), Offset: time.Hour * 5}, {By: id(5), Offset: -time.Hour * 900}, {By: id(6), Offset: time.Hour * 5}}
		}),
		codes: []string{"clock", "not-reachable", "ipv6-missing"},
		says:  []string{"The clock of this machine is 5 hours behind", "sudo timedatectl set-ntp true", "PROBLEM"},
	},
	{
		name: "clock a little ahead, on Windows", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.OS = "windows"
			o.Clock = []doctor.ClockSample{{Offset: -40 * time.Second}, {Offset: -41 * time.Second}, {Offset: -time.Minute}}
		}),
		codes: []string{"clock", "not-reachable", "ipv6-missing"},
		says:  []string{"41 seconds ahead", "w32tm /resync"},
	},
	{
		name: "two peers with a strange clock are not believed", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.OS = "plan9"
			o.Clock = []doctor.ClockSample{{Offset: time.Hour}, {Offset: time.Hour}}
		}),
		codes: []string{"clock", "not-reachable", "ipv6-missing"},
		says:  []string{"may be 60 minutes behind", "look at a clock first"}, silent: []string{"PROBLEM"},
	},
	{
		name: "good clock", verdict: doctor.Punched,
		o:     home(func(o *doctor.Observations) { o.Clock = []doctor.ClockSample{{Offset: time.Second}} }),
		codes: []string{"not-reachable", "ipv6-missing"},
	},
	{
		name: "carrier NAT", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Mappings = []doctor.Mapping{{Protocol: "UPnP", Network: "udp", Internal: 4001, External: "100.70.1.2:4001"}}
		}),
		codes: []string{"nat-carrier", "not-reachable", "ipv6-missing"},
		says:  []string{"CGNAT", "100.70.1.2:4001", "public IPv4 address"}, silent: []string{"port forwarding"},
	},
	{
		name: "carrier address on the machine itself", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Interfaces[1].Addresses = []string{"100.70.1.2/24"}
			for i := range o.Observed {
				o.Observed[i].Local = "/ip4/100.70.1.2/udp/4001/quic-v1"
			}
		}),
		codes: []string{"nat-carrier", "not-reachable", "ipv6-missing"},
	},
	{
		name: "a virtual private network is no carrier NAT", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Interfaces = append(o.Interfaces, doctor.Interface{Name: "tailscale0", Up: true, Addresses: []string{"100.101.1.2/32"}})
		}),
		codes: []string{"not-reachable", "ipv6-missing"}, silent: []string{"CGNAT"},
	},
	{
		name: "double NAT", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Mappings = []doctor.Mapping{{Protocol: "PCP", Network: "udp", Internal: 4001, External: "192.168.0.7:4001"}}
		}),
		codes: []string{"nat-double", "not-reachable", "ipv6-missing"},
		says:  []string{"192.168.0.7:4001", "bridge"},
	},
	{
		name: "the router's address is not the one that peers see", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Mappings = []doctor.Mapping{{Protocol: "UPnP", Network: "udp", Internal: 4001, External: "8.8.4.4:4001"}}
		}),
		codes: []string{"nat-double", "not-reachable", "ipv6-missing"},
		says:  []string{"peers see 5.5.5.11"},
	},
	{
		name: "no UPnP", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Mappings = []doctor.Mapping{{Network: "udp", Internal: 4001, Error: "no NAT device found"}}
		}),
		codes: []string{"mapping-failed", "not-reachable", "ipv6-missing"},
		says:  []string{"No router answered to UPnP"},
	},
	{
		name: "UPnP refused", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Mappings = []doctor.Mapping{{Protocol: "UPnP", Network: "udp", Error: "ConflictInMappingEntry"}}
		}),
		codes: []string{"mapping-failed", "not-reachable", "ipv6-missing"},
		says:  []string{"UPnP: ConflictInMappingEntry"},
	},
	{
		name: "mapped, but the machine's firewall is closed", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.OS = "windows"
			o.Mappings = []doctor.Mapping{{Protocol: "UPnP", Network: "udp", Internal: 4001, External: "5.5.5.11:4001"}}
		}),
		codes: []string{"host-firewall", "not-reachable", "ipv6-missing"},
		says:  []string{`netsh advfirewall firewall add rule name="Aval udp 4001" dir=in action=allow protocol=udp localport=4001`},
	},
	{
		name: "public address behind a firewall", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Interfaces = []doctor.Interface{{Name: "eth0", Up: true, Addresses: []string{"5.5.5.11/24"}}}
			o.OS = "darwin"
		}),
		codes: []string{"host-firewall", "ipv6-missing"},
		says:  []string{"this machine has the public address 5.5.5.11 itself", "socketfilterfw"},
	},
	{
		name: "ufw", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Firewalls = []doctor.Firewall{{Name: "ufw", Blocks: true, Detail: "incoming: deny"}, {Name: "nftables"}}
		}),
		codes: []string{"host-firewall", "not-reachable", "ipv6-missing"},
		says:  []string{"sudo ufw allow 4001/udp", "sudo ufw allow 4001/tcp"},
	},
	{
		name: "no relay", verdict: doctor.No,
		o:     home(func(o *doctor.Observations) { o.Relays = nil }),
		codes: []string{"no-relay", "not-reachable", "ipv6-missing"},
		says:  []string{"No peer offers to be a relay", "friend's node with a public address"},
	},
	{
		name: "full relays", verdict: doctor.No,
		o: home(func(o *doctor.Observations) {
			o.Relays = []doctor.Relay{{ID: id(9), Error: "reservation error: status: RESERVATION_REFUSED"}}
			o.RelaysFound = 3
		}),
		codes: []string{"no-relay", "not-reachable", "ipv6-missing"},
		says:  []string{"found 3, asked 1 of them", "no free place"},
	},
	{
		name: "no bootstrap list", verdict: doctor.No,
		o: doctor.Observations{
			Self: id(1), Time: now, OS: "linux", Uptime: time.Hour,
			Interfaces: []doctor.Interface{{Name: "eth0", Up: true, Addresses: []string{"192.168.1.20"}}},
			Listens:    []doctor.Listen{{Address: "/ip4/0.0.0.0/tcp/4001"}},
		},
		codes: []string{"no-bootstrap"},
		says:  []string{"knows nobody to start from", "/ip4/192.168.1.20/tcp/4001/p2p/"},
	},
	{
		name: "other network key", verdict: doctor.No,
		o: home(func(o *doctor.Observations) {
			o.PrivateNetwork, o.KeyMismatches, o.Peers, o.Relays, o.Reach = true, 4, nil, nil, nil
			o.Observed = nil
			o.Bootstrap[0].Error = "failed to negotiate security protocol: EOF"
		}),
		codes: []string{"bootstrap-failed", "network-key"},
		says:  []string{"byte for byte", "4 connections ended before the handshake"},
	},
	{
		name: "private network", verdict: doctor.Punched,
		o:     home(func(o *doctor.Observations) { o.PrivateNetwork = true }),
		codes: []string{"private-network", "not-reachable", "ipv6-missing"},
	},
	{
		name: "hole punching fails at the other end", verdict: doctor.Punched,
		o:     home(func(o *doctor.Observations) { o.HolePunches = []doctor.HolePunch{{Peer: id(4), Error: "i/o timeout"}} }),
		codes: []string{"hole-punching-failed", "not-reachable", "ipv6-missing"},
		says:  []string{"most likely at the other end"},
	},
	{
		name: "hole punching fails half the time", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.HolePunches = []doctor.HolePunch{{Peer: id(4)}, {Peer: id(4)}, {Peer: id(5), Success: true}}
		}),
		codes: []string{"not-reachable", "hole-punching", "ipv6-missing"},
		says:  []string{"1 of 3 attempts"},
	},
	{
		name: "IPv6 only", verdict: doctor.Direct,
		o: doctor.Observations{
			Self: id(1), Time: now, OS: "linux", Uptime: time.Hour,
			Interfaces: []doctor.Interface{{Name: "eth0", Up: true, Addresses: []string{"2a00::5/64"}}},
			Listens:    []doctor.Listen{{Address: "/ip6/::/udp/4001/quic-v1"}},
			Outbound:   []doctor.Outbound{{Network: "udp", Family: 6, Tried: 4, Connected: 4}, {Network: "udp", Family: 4, Tried: 4}},
			Peers:      []doctor.Peer{{ID: id(9)}},
			Reach:      []doctor.Reach{{Address: "/ip6/2a00::5/udp/4001/quic-v1", State: doctor.Public}},
		},
		codes: []string{"no-bootstrap", "ipv6-only"}[1:],
	},
	{
		name: "IPv6 broken", verdict: doctor.Punched,
		o: home(func(o *doctor.Observations) {
			o.Interfaces[1].Addresses = append(o.Interfaces[1].Addresses, "2a00::5/64")
			o.Outbound = append(o.Outbound, doctor.Outbound{Network: "tcp", Family: 6, Tried: 5, LastError: "network is unreachable"})
		}),
		codes: []string{"not-reachable", "ipv6-broken"},
	},
	{
		name: "guest Wi-Fi", verdict: doctor.Punched,
		o:     home(func(o *doctor.Observations) { o.MDNS = doctor.MDNS{On: true, Found: 2, Unreachable: 2} }),
		codes: []string{"lan-blocked", "not-reachable", "ipv6-missing"},
		says:  []string{"client isolation", "2 of 2"},
	},
	{
		name: "LAN mode without mDNS", verdict: doctor.LocalOnly,
		o: home(func(o *doctor.Observations) {
			o.Mode, o.MDNS = doctor.LAN, doctor.MDNS{Error: "listen udp 224.0.0.251:5353: bind: address already in use"}
		}),
		codes: []string{"mdns-failed"},
		says:  []string{"Only in the same local network", "/ip4/192.168.1.20/tcp/4001/p2p/"},
	},
	{
		name: "LAN mode, nobody there", verdict: doctor.LocalOnly,
		o:     home(func(o *doctor.Observations) { o.Mode = doctor.LAN }),
		codes: []string{"lan-empty"},
	},
	{
		name: "alone", o: home(func(o *doctor.Observations) { o.Mode = doctor.Alone }), verdict: doctor.No,
		codes: []string{"alone"},
	},
	{
		name: "just started", verdict: doctor.Unknown,
		o: home(func(o *doctor.Observations) {
			o.Uptime, o.Observed, o.Reach, o.Relays = 4*time.Second, nil, nil, nil
		}),
		codes: []string{"young"},
		says:  []string{"Not known yet", "It runs for 4s"},
	},
	{name: "nothing seen at all", o: doctor.Observations{}, verdict: doctor.No, codes: []string{"no-bootstrap"}},
}

// text is the report as a person reads it, with its lines joined.
func text(t *testing.T, r doctor.Report) (lines, joined string) {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	return b.String(), strings.Join(strings.Fields(b.String()), " ")
}

func TestScenarios(t *testing.T) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			r := doctor.Examine(s.o)
			lines, joined := text(t, r)
			if r.Friend.Verdict != s.verdict {
				t.Errorf("verdict %q, want %q", r.Friend.Verdict, s.verdict)
			}
			var codes []string
			for _, f := range r.Findings {
				if f.Severity != doctor.OK {
					codes = append(codes, f.Code)
				}
				if f.Severity >= doctor.Warning && (f.Means == "" || len(f.Change) == 0 && !strings.Contains(f.Means, "other end")) && f.Code != "not-reachable" {
					t.Errorf("%s says not what it means or what to change", f.Code)
				}
			}
			slices.Sort(codes)
			want := slices.Sorted(slices.Values(s.codes))
			if d := cmp.Diff(want, codes); d != "" {
				t.Errorf("findings (-want +got):\n%s", d)
			}
			for _, w := range s.says {
				if !strings.Contains(joined, w) {
					t.Errorf("does not say %q", w)
				}
			}
			for _, w := range s.silent {
				if strings.Contains(joined, w) {
					t.Errorf("says %q", w)
				}
			}
			checkLines(t, lines)
			if t.Failed() {
				t.Log("\n" + lines)
			}
		})
	}
}

// checkLines holds the text to 80 columns, but for addresses and commands,
// which are copied whole.
func checkLines(t *testing.T, lines string) {
	t.Helper()
	for _, l := range strings.Split(lines, "\n") {
		if len([]rune(l)) > 80 && !strings.Contains(l, "/") && !strings.Contains(l, "netsh") && !strings.HasPrefix(l, "Node ") {
			t.Errorf("%d columns: %s", len([]rune(l)), l)
		}
	}
}

// Findings of greater severity come first, and two runs say the same.
func TestOrder(t *testing.T) {
	for _, s := range scenarios {
		a, b := doctor.Examine(s.o), doctor.Examine(s.o)
		if d := cmp.Diff(a, b); d != "" {
			t.Errorf("%s: two runs differ:\n%s", s.name, d)
		}
		for i := 1; i < len(a.Findings); i++ {
			if a.Findings[i].Severity > a.Findings[i-1].Severity {
				t.Errorf("%s: %s after %s", s.name, a.Findings[i].Code, a.Findings[i-1].Code)
			}
		}
	}
}

func TestJSON(t *testing.T) {
	r := doctor.Examine(home(symmetric))
	data, err := r.JSON()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range []string{`"code": "nat-symmetric"`, `"severity": "warning"`, `"verdict": "relay"`, `"self": "12D3Koo`} {
		if !bytes.Contains(data, []byte(w)) {
			t.Errorf("JSON lacks %s", w)
		}
	}
	var back doctor.Report
	if err := json.Unmarshal(data, &back); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(r, back); d != "" {
		t.Errorf("JSON loses (-want +got):\n%s", d)
	}
	if r.Worst() != doctor.Warning {
		t.Errorf("worst is %v", r.Worst())
	}
	var s doctor.Severity
	if err := s.UnmarshalText([]byte("dire")); err == nil {
		t.Error("an unknown severity was read")
	}
}

func TestExplain(t *testing.T) {
	friend := id(7)
	dial := func(addr, err string) doctor.Dial {
		return doctor.Dial{Peer: friend, Address: addr, Error: err, Time: now}
	}
	tests := []struct {
		name    string
		change  func(*doctor.Observations)
		verdict doctor.Verdict
		says    []string
	}{
		{"direct", func(o *doctor.Observations) {
			o.Peers = append(o.Peers, doctor.Peer{ID: friend, Address: "/ip4/5.5.5.12/tcp/1"})
		}, doctor.Direct, []string{"connected directly"}},
		{"relayed", func(o *doctor.Observations) {
			symmetric(o)
			o.Peers = append(o.Peers, doctor.Peer{ID: friend, Relayed: true})
			o.HolePunches = []doctor.HolePunch{{Peer: friend, Error: "all retries failed: i/o timeout"}, {Peer: id(3), Success: true}}
		}, doctor.Relayed, []string{"through a relay", "Hole punching failed: No answer came", "symmetric NAT", "port forwarding"}},
		{"never tried", nil, doctor.Unknown, []string{"Nobody has tried"}},
		{"reached before", func(o *doctor.Observations) {
			o.Dials = []doctor.Dial{dial("/ip4/1.1.1.1/tcp/1", "refused"), dial("/ip4/1.1.1.1/tcp/1", "")}
		}, doctor.Unknown, []string{"reached before"}},
		{"wrong key", func(o *doctor.Observations) {
			o.Dials = []doctor.Dial{dial("/ip4/1.1.1.1/tcp/1", "i/o timeout"), dial("/ip4/1.1.1.1/tcp/2", "peer id mismatch: expected X, but remote key matches Y")}
		}, doctor.No, []string{"2 attempts", "Another node", "/tcp/2", "new address"}},
		{"refused", func(o *doctor.Observations) {
			o.Dials = []doctor.Dial{dial("/ip4/1.1.1.1/tcp/4001", "dial tcp4 1.1.1.1:4001: connect: connection refused")}
		}, doctor.No, []string{"nothing listens on TCP port 4001"}},
		{"local address", func(o *doctor.Observations) {
			o.Dials = []doctor.Dial{dial("/ip4/192.168.0.3/tcp/4001", "i/o timeout")}
		}, doctor.No, []string{"inside your friend's home"}},
		{"UDP blocked here", func(o *doctor.Observations) {
			o.Outbound[0].Connected = 0
			o.Dials = []doctor.Dial{dial("/ip4/1.1.1.1/udp/4001/quic-v1", "timeout: no recent network activity")}
		}, doctor.No, []string{"UDP is blocked in your network"}},
		{"friend is off", func(o *doctor.Observations) {
			o.Dials = []doctor.Dial{dial("/ip4/5.5.5.2/tcp/1/p2p/x/p2p-circuit", "error opening relay circuit: NO_RESERVATION (204)")}
		}, doctor.No, []string{"is off, or has just lost its relay"}},
		{"no address", func(o *doctor.Observations) { o.Dials = []doctor.Dial{dial("", "no addresses")} }, doctor.No, []string{"No address of it is known"}},
		{"IPv6 that does not work here", func(o *doctor.Observations) {
			o.Dials = []doctor.Dial{dial("/ip6/2a00::1/tcp/4001", "connect: network is unreachable")}
		}, doctor.No, []string{"IPv6, which does not work here"}},
		{"denied", func(o *doctor.Observations) {
			o.Dials = []doctor.Dial{dial("/ip4/1.1.1.1/tcp/4001", "gater disallows connection to peer")}
		}, doctor.No, []string{"let you in"}},
		{"unknown words", func(o *doctor.Observations) {
			o.Dials = []doctor.Dial{dial("/ip4/1.1.1.1/tcp/4001", "frob\x1b[31m nicated")}
		}, doctor.No, []string{"frob [31m nicated"}},
		{"alone", func(o *doctor.Observations) { o.Mode = doctor.Alone }, doctor.No, []string{"uses no network"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := doctor.Explain(home(test.change), friend)
			var b bytes.Buffer
			if err := s.WriteText(&b); err != nil {
				t.Fatal(err)
			}
			joined := strings.Join(strings.Fields(b.String()), " ")
			if s.Verdict != test.verdict {
				t.Errorf("verdict %q, want %q", s.Verdict, test.verdict)
			}
			for _, w := range test.says {
				if !strings.Contains(joined, w) {
					t.Errorf("does not say %q:\n%s", w, b.String())
				}
			}
			checkLines(t, b.String())
		})
	}
	if s := doctor.Explain(home(nil), id(1)); s.Verdict != doctor.Direct {
		t.Errorf("this node itself: %+v", s)
	}
}

// FuzzExamine reads any observations as JSON: what they hold comes in part
// from others, so nothing in them may break the screen or the program.
func FuzzExamine(f *testing.F) {
	for _, s := range scenarios {
		data, err := json.Marshal(s.o)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var o doctor.Observations
		if json.Unmarshal(data, &o) != nil {
			return
		}
		r := doctor.Examine(o)
		var b bytes.Buffer
		if err := r.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		for _, d := range o.Dials {
			if err := doctor.Explain(o, d.Peer).WriteText(&b); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range b.String() {
			if c != '\n' && !unicode.IsPrint(c) {
				t.Fatalf("the text has the character %U", c)
			}
		}
		if _, err := r.JSON(); err != nil {
			t.Fatal(err)
		}
	})
}
