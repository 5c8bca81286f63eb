//go:build linux

package nat_test

import (
	"strings"
	"testing"
	"time"
)

// routerOf is the namespace of a site's router.
func (s *site) routerOf() string { return "r" + strings.TrimPrefix(s.host, "h") }

// reach connects and calls until it works, and gives how long that took.
func reach(t *testing.T, a, b *node, patience time.Duration) time.Duration {
	t.Helper()
	began := time.Now()
	var last answer
	for time.Since(began) < patience {
		// What the other one says of itself now: a link that was sent before may be
		// old.
		if i := b.ask(command{Do: "info"}, 5*time.Second); len(i.Addresses) > 0 {
			b.addresses = i.Addresses
		}
		if last = a.ask(command{Do: "connect", Peer: b.id, Addresses: b.addresses}, 10*time.Second); last.Error == "" {
			if last = a.ask(command{Do: "call", Peer: b.id, Size: 128}, 5*time.Second); last.Error == "" {
				return time.Since(began)
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
	t.Fatalf("%s does not reach %s after %v: %s\n  it is at %v", a.name, b.name, patience, last.Error, b.addresses)
	return 0
}

// TestCable pulls a cable in the middle of a call and puts it back: the call fails
// in time, with a reason, and calls work again.
func TestCable(t *testing.T) {
	need(t)
	w := newWorld(t)
	_, bootstrap := w.relays(t, 0)
	sa, sb := w.site(cone), w.site(cone)
	a, b := w.home(t, sa, 1, bootstrap), w.home(t, sb, 2, bootstrap)
	settle(t, a, cone)
	settle(t, b, cone)
	t.Logf("connected after %v", reach(t, a, b, 30*time.Second))
	for _, pause := range []time.Duration{3 * time.Second, 40 * time.Second} { // longer than connections live without a word
		running := make(chan answer, 1)
		go func() { running <- a.ask(command{Do: "call", Peer: b.id, Size: 1 << 30}, 60*time.Second) }()
		time.Sleep(500 * time.Millisecond)
		w.sh(sb.routerOf(), "ip link set lan0 down")
		out := time.Now()
		call := a.ask(command{Do: "call", Peer: b.id, Size: 128}, 5*time.Second)
		if call.Error == "" && pause > 5*time.Second {
			t.Error("a call through a cable that is not there")
		}
		if took := time.Since(out); took > 15*time.Second {
			t.Errorf("a call hangs for %v", took)
		}
		time.Sleep(pause - min(pause, time.Since(out)))
		w.sh(sb.routerOf(), "ip link set lan0 up")
		took := reach(t, a, b, 60*time.Second)
		back := reach(t, b, a, 60*time.Second)
		long := <-running
		t.Logf("without the cable for %v: reached again after %v, the other way after %v; the call in the middle: %q after %d bytes", pause, took.Round(time.Millisecond), back.Round(time.Millisecond), long.Error, long.Bytes)
	}
}

// TestRelayDies ends the relay that carries a connection: the two find another.
func TestRelayDies(t *testing.T) {
	need(t)
	w := newWorld(t)
	relays, bootstrap := w.relays(t, 0)
	sa, sb := w.site(symmetric), w.site(symmetric)
	a, b := w.home(t, sa, 1, bootstrap), w.home(t, sb, 2, bootstrap)
	settle(t, a, symmetric)
	settle(t, b, symmetric)
	reach(t, a, b, 30*time.Second)
	s := a.ask(command{Do: "status", Peer: b.id}, 5*time.Second)
	if !s.Relayed {
		t.Fatalf("not through a relay: %+v", s)
	}
	killed := false
	for i, r := range relays {
		if strings.Contains(s.Address, r.id) || strings.Contains(s.Address, "/"+relayIPs[i]+"/") {
			r.kill()
			killed = true
		}
	}
	if !killed {
		t.Fatalf("which relay is %s?", s.Address)
	}
	t.Logf("the relay died: reached through another after %v", reach(t, a, b, 90*time.Second).Round(time.Millisecond))
}
