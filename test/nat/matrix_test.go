//go:build linux

package nat_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	runNAT    = flag.Bool("nat", false, "build networks in namespaces and run the NAT tests: minutes")
	onlyKinds = flag.String("nat.kinds", "", "comma-separated kinds of sites for the matrix; empty: all")
	strict    = flag.Bool("nat.strict", false, "fail for every pair that could be connected directly and is not")
	tableOut  = flag.String("nat.json", "", "write the results of the NAT matrix to this file, as JSON")
)

// need skips a test that this machine cannot run, or that was not asked for.
func need(t *testing.T) {
	t.Helper()
	switch {
	case !*runNAT:
		t.Skip("networks in namespaces: run with -nat")
	case whySkip != "":
		t.Skip(whySkip)
	}
}

// pair is one row of the matrix.
type pair struct {
	From      kind    `json:"from"` // the site that connects
	To        kind    `json:"to"`
	Connected bool    `json:"connected"`
	Direct    bool    `json:"direct"`
	Expected  bool    `json:"direct_expected"`
	Connect   float64 `json:"connect_ms"`          // until there is any connection
	DirectMS  float64 `json:"direct_ms,omitempty"` // until there is a direct one, from the start
	FirstByte float64 `json:"first_byte_ms"`       // of the first call, on whatever connection there is
	Call      float64 `json:"call_ms"`             // 64 KiB there and back, at the end
	Address   string  `json:"address,omitempty"`   // of the other side, as it ended
	Error     string  `json:"error,omitempty"`
	Why       string  `json:"why,omitempty"` // what both sides saw, if they are not directly connected and could be
}

// punchable tells whether a direct connection is possible: what the two
// routers do, not what the program does.
func punchable(from, to kind) bool {
	two := map[kind]bool{from: true, to: true}
	switch {
	case two[v6Only]: // meets only those that have IPv6
		return from == to || two[openSite]
	case two[openSite], two[natPMP], two[pcp]:
		return true
	case two[symmetric]:
		return false // the port cannot be foreseen, and all others let only answers in
	}
	return true
}

// relays starts the four relays, and gives the addresses to begin from.
func (w *world) relays(t *testing.T, bytes int64) (nodes []*node, bootstrap []string) {
	t.Helper()
	for i := range relayIPs {
		n := start(t, "relays", nodeConfig{Name: fmt.Sprintf("relay%d", i), Seed: byte(200 + i), Relay: true, RelayBytes: bytes, Bootstrap: bootstrap, Listen: listen(relayIPs[i], relayIP6s[i])})
		nodes = append(nodes, n)
		bootstrap = append(bootstrap, n.addresses...)
	}
	return nodes, bootstrap
}

func listen(ip4, ip6 string) []string {
	return []string{
		"/ip4/" + ip4 + "/udp/4001/quic-v1", "/ip4/" + ip4 + "/tcp/4001",
		"/ip6/" + ip6 + "/udp/4001/quic-v1", "/ip6/" + ip6 + "/tcp/4001",
	}
}

// home starts a node at a site.
func (w *world) home(t *testing.T, s *site, seed byte, bootstrap []string) *node {
	t.Helper()
	return start(t, s.host, nodeConfig{Name: s.name, Seed: seed, Bootstrap: bootstrap, Listen: listen("0.0.0.0", "::")})
}

// settle waits until a node has found all that it can: places at relays, its
// addresses.
func settle(t *testing.T, n *node, k kind) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(250 * time.Millisecond) {
		a := n.ask(command{Do: "info"}, 5*time.Second)
		n.addresses = a.Addresses
		if a.Relays > 0 || k == openSite && len(a.Addresses) > 0 {
			return
		}
	}
	t.Errorf("%s: no relay keeps a place for it; addresses %v", n.name, n.addresses)
}

// TestMatrix connects every kind of site to every other, in both directions.
func TestMatrix(t *testing.T) {
	need(t)
	kinds := kinds
	if *onlyKinds != "" {
		kinds = nil
		for _, k := range strings.Split(*onlyKinds, ",") {
			kinds = append(kinds, kind(k))
		}
	}
	w := newWorld(t)
	_, bootstrap := w.relays(t, 0)
	var callers, called []*node
	begun := time.Now()
	for i, k := range kinds {
		callers = append(callers, w.home(t, w.site(k), byte(1+i), bootstrap))
		called = append(called, w.home(t, w.site(k), byte(101+i), bootstrap))
	}
	var wg sync.WaitGroup
	for i, k := range kinds {
		wg.Go(func() { settle(t, callers[i], k) })
		wg.Go(func() { settle(t, called[i], k) })
	}
	wg.Wait()
	t.Logf("%d sites and 4 relays are ready after %v", 2*len(kinds), time.Since(begun).Round(time.Millisecond))

	rows := make([][]pair, len(kinds))
	for i := range rows {
		rows[i] = make([]pair, len(kinds))
	}
	// In each round every node has one pair.
	for round := range kinds {
		for i := range kinds {
			j := (i + round) % len(kinds)
			wg.Go(func() { rows[i][j] = try(callers[i], called[j], kinds[i], kinds[j]) })
		}
		wg.Wait()
	}
	var all []pair
	for _, r := range rows {
		all = append(all, r...)
	}
	t.Logf("%d pairs in %v\n%s", len(all), time.Since(begun).Round(time.Second), table(all))
	judge(t, all)
	if *tableOut != "" {
		data, err := json.MarshalIndent(all, "", "  ")
		if err == nil {
			err = os.WriteFile(*tableOut, append(data, '\n'), 0o644)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// try connects one pair, calls, and waits for the connection to become direct.
func try(a, b *node, from, to kind) pair {
	p := pair{From: from, To: to, Expected: punchable(from, to)}
	began := time.Now()
	c := a.ask(command{Do: "connect", Peer: b.id, Addresses: b.addresses}, 30*time.Second)
	if c.Error != "" {
		p.Error = fmt.Sprintf("connect: %s\n  it was to be reached at %v\n  it is now at %v\n  %s", c.Error, b.addresses, b.ask(command{Do: "info"}, 5*time.Second).Addresses, a.ask(command{Do: "why", Peer: b.id}, 5*time.Second).Text)
		return p
	}
	p.Connected, p.Connect = true, milliseconds(time.Since(began))
	call := a.ask(command{Do: "call", Peer: b.id, Size: 128}, 20*time.Second)
	if call.Error != "" {
		p.Error = "first call: " + call.Error
	}
	p.FirstByte = call.FirstByte
	patience := 25 * time.Second
	if !p.Expected {
		patience = 8 * time.Second
	}
	var s answer
	for {
		s = a.ask(command{Do: "status", Peer: b.id}, 5*time.Second)
		if s.Error == "" && !s.Relayed {
			p.Direct, p.DirectMS = true, milliseconds(time.Since(began))
			break
		}
		if time.Since(began) > patience {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.Address = s.Address
	if p.Expected && !p.Direct {
		p.Why = fmt.Sprintf("%s\n%s  %s\n%s", a.name, a.ask(command{Do: "why", Peer: b.id}, 5*time.Second).Text, b.name, b.ask(command{Do: "why", Peer: a.id}, 5*time.Second).Text)
	}
	call = a.ask(command{Do: "call", Peer: b.id, Size: 64 << 10}, 20*time.Second)
	if call.Error != "" {
		p.Error = "call: " + call.Error
	}
	p.Call = call.Total
	back := b.ask(command{Do: "call", Peer: a.id, Size: 1 << 10}, 20*time.Second)
	if back.Error != "" {
		p.Error = "call back: " + back.Error
	}
	return p
}

// crossing tells a pair that only two TCP connections can join that begin at the
// same moment: UDP does not pass, and neither side lets anybody in. What routers
// make of the two SYNs is chance, and a half-open connection that is left blocks
// the ports for a minute.
func crossing(from, to kind) bool {
	two := map[kind]bool{from: true, to: true}
	return two[udpBlock] && !two[openSite] && !two[natPMP] && !two[pcp]
}

// judge holds the rows to what must be: everybody connected, calls work, direct
// wherever it can be. A busy machine may miss the moment of a punch; so without
// -nat.strict one pair in ten may, and those that are left to chance are not
// counted.
func judge(t *testing.T, all []pair) {
	can, missed := 0, 0
	defer func() {
		if missed*10 > can {
			t.Errorf("%d of %d pairs that can be direct are not", missed, can)
		}
	}()
	for _, p := range all {
		counts := *strict || !crossing(p.From, p.To)
		if p.Expected && counts {
			can++
		}
		switch {
		case !p.Connected || p.Error != "":
			t.Errorf("%s -> %s: %s", p.From, p.To, p.Error)
		case p.Expected && !p.Direct:
			if counts {
				missed++
			}
			say := t.Logf
			if *strict {
				say = t.Errorf
			}
			say("%s -> %s: goes through a relay; a direct connection is possible\n  %s", p.From, p.To, p.Why)
		case !p.Expected && p.Direct:
			t.Errorf("%s -> %s: direct, which these routers do not allow: the test's network is wrong", p.From, p.To)
		}
	}
}

// table is the matrix in Markdown.
func table(all []pair) string {
	var b strings.Builder
	b.WriteString("| from | to | path | connected, ms | direct after, ms | first byte, ms | 64 KiB call, ms | |\n|---|---|---|---:|---:|---:|---:|---|\n")
	connected, direct, expected := 0, 0, 0
	for _, p := range all {
		path, after := "none", ""
		if p.Connected {
			connected++
			path = "relay"
		}
		if p.Direct {
			direct++
			path, after = "direct", fmt.Sprintf("%.0f", p.DirectMS)
		}
		if p.Expected {
			expected++
		}
		transport := ""
		switch {
		case strings.Contains(p.Address, "/quic"):
			transport = "QUIC"
		case strings.Contains(p.Address, "/tcp/"):
			transport = "TCP"
		}
		if p.Expected && !p.Direct {
			transport += ", could be direct"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %.0f | %s | %.0f | %.1f | %s%s |\n", p.From, p.To, path, p.Connect, after, p.FirstByte, p.Call, transport, p.Error)
	}
	fmt.Fprintf(&b, "\n%d of %d pairs connected; %d direct, %d can be.\n", connected, len(all), direct, expected)
	return b.String()
}
