package sim_test

import (
	"errors"
	"math"
	"net"
	"net/netip"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalnetwork/aval/internal/mesh/sim"
)

func newNetwork(t *testing.T, cfg sim.Config) *sim.Network {
	t.Helper()
	n, err := sim.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// socket opens a socket at an address of its own.
func socket(t *testing.T, n *sim.Network) (net.PacketConn, netip.Addr) {
	t.Helper()
	a := n.Address()
	c, err := n.Listen(netip.AddrPortFrom(a, sim.Port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, a
}

func at(a netip.Addr) net.Addr { return net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, sim.Port)) }

// receive counts what arrives until the time is over.
func receive(t *testing.T, c net.PacketConn, wait time.Duration) (packets int, last time.Time) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, sim.MaxPacket)
	for {
		if _, _, err := c.ReadFrom(buf); err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatal(err)
			}
			return packets, last
		}
		packets, last = packets+1, time.Now()
	}
}

func TestLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, sim.Config{Latency: 75 * time.Millisecond})
		a, _ := socket(t, n)
		b, to := socket(t, n)
		began := time.Now()
		if _, err := a.WriteTo([]byte("x"), at(to)); err != nil {
			t.Fatal(err)
		}
		count, last := receive(t, b, time.Second)
		if count != 1 || last.Sub(began) != 75*time.Millisecond {
			t.Errorf("%d packets, after %v", count, last.Sub(began))
		}
	})
}

// The same seed loses the same packets, and another one others; the share is
// what was asked for. With 20,000 packets its standard deviation is 0.0028, so
// 0.015 is more than five of them.
func TestLoss(t *testing.T) {
	run := func(seed uint64) (got []byte) {
		synctest.Test(t, func(t *testing.T) {
			n := newNetwork(t, sim.Config{Seed: seed, Loss: 0.2})
			a, _ := socket(t, n)
			b, to := socket(t, n)
			buf := make([]byte, sim.MaxPacket)
			for range 20000 {
				if _, err := a.WriteTo([]byte("x"), at(to)); err != nil {
					t.Fatal(err)
				}
				_ = b.SetReadDeadline(time.Now().Add(time.Millisecond))
				arrived := byte(0)
				if _, _, err := b.ReadFrom(buf); err == nil {
					arrived = 1
				}
				got = append(got, arrived)
			}
		})
		return got
	}
	one, again, other := run(1), run(1), run(2)
	if string(one) != string(again) {
		t.Error("the same seed lost other packets")
	}
	if string(one) == string(other) {
		t.Error("another seed lost the same packets")
	}
	sum := 0
	for _, x := range one {
		sum += int(x)
	}
	if share := 1 - float64(sum)/float64(len(one)); math.Abs(share-0.2) > 0.015 {
		t.Errorf("lost %v, want 0.2", share)
	}
}

func TestPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, sim.Config{})
		a, fromA := socket(t, n)
		b, toB := socket(t, n)
		arrives := func() bool {
			if _, err := a.WriteTo([]byte("x"), at(toB)); err != nil {
				t.Fatal(err)
			}
			count, _ := receive(t, b, time.Millisecond)
			return count == 1
		}
		if !arrives() {
			t.Error("lost without a reason")
		}
		n.Cut(toB)
		if arrives() {
			t.Error("arrives where the cable is out")
		}
		n.Restore(toB)
		if !arrives() {
			t.Error("lost after the cable was put back")
		}
		n.Partition([]netip.Addr{fromA})
		if arrives() {
			t.Error("arrives from another partition")
		}
		n.Partition([]netip.Addr{fromA, toB})
		if !arrives() {
			t.Error("lost within a partition")
		}
		n.Partition([]netip.Addr{fromA}, []netip.Addr{toB})
		if arrives() {
			t.Error("arrives from another partition")
		}
		n.Heal()
		if !arrives() {
			t.Error("lost after the partition was healed")
		}
		if s := n.Stats(); s.Cut != 3 || s.Delivered != 4 || s.Sent != 7 {
			t.Errorf("%+v", s)
		}
	})
}

// A megabyte over a line of a megabyte a second takes a second, and what comes
// too fast is dropped.
func TestBandwidth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, sim.Config{Bandwidth: 1e6, Buffer: 2 * time.Second})
		a, _ := socket(t, n)
		b, to := socket(t, n)
		began := time.Now()
		for range 1000 {
			if _, err := a.WriteTo(make([]byte, 1000), at(to)); err != nil {
				t.Fatal(err)
			}
		}
		count, last := receive(t, b, 5*time.Second)
		if took := last.Sub(began); count != 1000 || took < time.Second || took > 1002*time.Millisecond {
			t.Errorf("%d packets in %v", count, took)
		}
		for range 5000 {
			_, _ = a.WriteTo(make([]byte, 1000), at(to))
		}
		if count, _ = receive(t, b, 5*time.Second); count < 2000 || count > 2003 {
			t.Errorf("%d packets passed a buffer of 2,000", count)
		}
	})
}

// A socket that is closed ends its reader, and frees the address.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(t, sim.Config{})
		c, a := socket(t, n)
		ended := make(chan error, 1)
		go func() {
			_, _, err := c.ReadFrom(make([]byte, 10))
			ended <- err
		}()
		synctest.Wait()
		if _, err := n.Listen(netip.AddrPortFrom(a, sim.Port)); err == nil {
			t.Error("two sockets at one address")
		}
		c.Close()
		if err := <-ended; !errors.Is(err, net.ErrClosed) {
			t.Errorf("reading ends with %v", err)
		}
		if _, err := c.WriteTo([]byte("x"), at(a)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("writing ends with %v", err)
		}
		again, err := n.Listen(netip.AddrPortFrom(a, sim.Port))
		if err != nil {
			t.Fatal(err)
		}
		again.Close()
	})
}

func TestConfigRefused(t *testing.T) {
	for _, cfg := range []sim.Config{{Latency: -1}, {Loss: 1.5}, {Loss: math.NaN()}, {Bandwidth: -1}} {
		if _, err := sim.New(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
	n := newNetwork(t, sim.Config{})
	seen := map[netip.Addr]bool{}
	for range 20000 {
		a := n.Address()
		if seen[a] || a.IsPrivate() || !a.IsGlobalUnicast() {
			t.Fatalf("address %v", a)
		}
		seen[a] = true
	}
}
