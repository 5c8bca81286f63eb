package sim

import (
	"container/heap"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// packet is one on its way.
type packet struct {
	at   time.Time // of arrival
	seq  uint64    // order of those that arrive together
	from netip.AddrPort
	data []byte
}

// arrivals is a heap of packets, the first to arrive on top.
type arrivals []packet

func (a arrivals) Len() int { return len(a) }
func (a arrivals) Less(i, j int) bool {
	return a[i].at.Before(a[j].at) || a[i].at.Equal(a[j].at) && a[i].seq < a[j].seq
}
func (a arrivals) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *arrivals) Push(x any)   { *a = append(*a, x.(packet)) }
func (a *arrivals) Pop() any {
	old := *a
	p := old[len(old)-1]
	old[len(old)-1] = packet{}
	*a = old[:len(old)-1]
	return p
}

// endpoint is a UDP socket of the simulated Internet, a net.PacketConn. One
// goroutine reads.
type endpoint struct {
	network *Network
	addr    netip.AddrPort

	mu       sync.Mutex
	packets  arrivals
	seq      uint64
	deadline time.Time
	closed   bool
	wake     chan struct{} // holds one: something above changed
}

// Listen opens a socket on an address that is free.
func (n *Network) Listen(addr netip.AddrPort) (net.PacketConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !addr.IsValid() || addr.Port() == 0 || addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("sim: listen on %v: an address and a port are needed", addr)
	}
	if n.endpoints[addr] != nil {
		return nil, fmt.Errorf("sim: listen on %v: address already in use", addr)
	}
	e := &endpoint{network: n, addr: addr, wake: make(chan struct{}, 1)}
	n.endpoints[addr] = e
	return e, nil
}

// put stores a packet until its time; false if too many wait.
func (e *endpoint) put(p packet) bool {
	e.mu.Lock()
	if e.closed || len(e.packets) >= MaxQueued {
		e.mu.Unlock()
		return false
	}
	e.seq++
	p.seq = e.seq
	heap.Push(&e.packets, p)
	first := e.packets[0].seq == p.seq
	e.mu.Unlock()
	if first {
		e.signal()
	}
	return true
}

func (e *endpoint) signal() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// ReadFrom gives the next packet at its time.
func (e *endpoint) ReadFrom(b []byte) (int, net.Addr, error) {
	var timer *time.Timer
	for {
		e.mu.Lock()
		now := time.Now()
		wait := time.Duration(-1)
		switch {
		case e.closed:
			e.mu.Unlock()
			return 0, nil, net.ErrClosed
		case !e.deadline.IsZero() && !now.Before(e.deadline):
			e.mu.Unlock()
			return 0, nil, os.ErrDeadlineExceeded
		case len(e.packets) > 0 && !now.Before(e.packets[0].at):
			p := heap.Pop(&e.packets).(packet)
			e.mu.Unlock()
			return copy(b, p.data), net.UDPAddrFromAddrPort(p.from), nil
		case len(e.packets) > 0:
			wait = e.packets[0].at.Sub(now)
		}
		if !e.deadline.IsZero() && (wait < 0 || e.deadline.Sub(now) < wait) {
			wait = e.deadline.Sub(now)
		}
		e.mu.Unlock()
		if wait < 0 {
			<-e.wake
			continue
		}
		if timer == nil {
			timer = time.NewTimer(wait)
			defer timer.Stop()
		} else {
			timer.Reset(wait)
		}
		select {
		case <-e.wake:
		case <-timer.C:
		}
	}
}

// WriteTo sends a packet. As with UDP, no error means nothing.
func (e *endpoint) WriteTo(b []byte, to net.Addr) (int, error) {
	udp, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("sim: write to %v: not a UDP address", to)
	}
	e.mu.Lock()
	closed := e.closed
	e.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	target := udp.AddrPort()
	e.network.send(e.addr, netip.AddrPortFrom(target.Addr().Unmap(), target.Port()), b)
	return len(b), nil
}

// Close frees the address.
func (e *endpoint) Close() error {
	e.network.mu.Lock()
	if e.network.endpoints[e.addr] == e {
		delete(e.network.endpoints, e.addr)
	}
	e.network.mu.Unlock()
	e.mu.Lock()
	e.closed, e.packets = true, nil
	e.mu.Unlock()
	e.signal()
	return nil
}

func (e *endpoint) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(e.addr) }

func (e *endpoint) SetDeadline(t time.Time) error { return e.SetReadDeadline(t) }

func (e *endpoint) SetReadDeadline(t time.Time) error {
	e.mu.Lock()
	e.deadline = t
	e.mu.Unlock()
	e.signal()
	return nil
}

// SetWriteDeadline does nothing: writing never waits.
func (e *endpoint) SetWriteDeadline(time.Time) error { return nil }

// SetReadBuffer and SetWriteBuffer are asked for by quic-go; MaxQueued is the
// size here.
func (e *endpoint) SetReadBuffer(int) error  { return nil }
func (e *endpoint) SetWriteBuffer(int) error { return nil }
