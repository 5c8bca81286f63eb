package portmap_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/mesh/portmap"
)

// router answers to PCP, to NAT-PMP or to both, as RFC 6887 and RFC 6886 say.
type router struct {
	t        *testing.T
	conn     *net.UDPConn
	pcp, pmp bool
	refuse   byte // the code with which requests for ports are refused
	silent   int  // requests that are lost first
	garbage  bool // sends nonsense before each answer
	external netip.Addr

	mu    sync.Mutex
	began time.Time
	open  map[portmap.Port]uint16 // to the port outside
	asked int
}

func newRouter(t *testing.T, r *router) *router {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	r.t, r.conn, r.began, r.open = t, conn, time.Now().Add(-time.Hour), map[portmap.Port]uint16{}
	if !r.external.IsValid() {
		r.external = netip.MustParseAddr("203.0.113.7")
	}
	t.Cleanup(func() { conn.Close() })
	go r.serve()
	return r
}

func (r *router) serve() {
	buf := make([]byte, 2000)
	for {
		n, from, err := r.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		r.mu.Lock()
		if r.asked++; r.asked > r.silent {
			if r.garbage {
				for _, b := range [][]byte{{}, {0}, {2, 129}, make([]byte, 60), append([]byte{2, 129, 0, 0}, make([]byte, 60)...), make([]byte, 1500)} {
					_, _ = r.conn.WriteToUDPAddrPort(b, from)
				}
			}
			if reply := r.answer(buf[:n]); reply != nil {
				_, _ = r.conn.WriteToUDPAddrPort(reply, from)
			}
		}
		r.mu.Unlock()
	}
}

func (r *router) answer(req []byte) []byte {
	epoch := uint32(time.Since(r.began).Seconds())
	if req[0] == 2 && !r.pcp {
		if !r.pmp {
			return nil
		}
		return binary.BigEndian.AppendUint32([]byte{0, req[1] | 128, 0, 1}, epoch)
	}
	if req[0] == 2 {
		out := make([]byte, 24, 60)
		out[0], out[1] = 2, req[1]|128
		copy(out[4:8], req[4:8])
		binary.BigEndian.PutUint32(out[8:], epoch)
		if req[1] == 0 {
			return out
		}
		p := portmap.Port{Network: map[byte]string{6: "tcp", 17: "udp"}[req[36]], Number: binary.BigEndian.Uint16(req[40:])}
		if out[3] = r.refuse; r.refuse != 0 {
			return append(out, req[24:60]...)
		}
		if binary.BigEndian.Uint32(req[4:]) == 0 {
			delete(r.open, p)
		} else {
			r.open[p] = binary.BigEndian.Uint16(req[42:]) + 1 // not what was asked for
		}
		out = append(out, req[24:42]...)
		out = binary.BigEndian.AppendUint16(out, r.open[p])
		to := r.external.As16()
		return append(out, to[:]...)
	}
	if !r.pmp {
		return nil
	}
	out := binary.BigEndian.AppendUint32([]byte{0, req[1] | 128, 0, 0}, epoch)
	if req[1] == 0 {
		return append(out, r.external.AsSlice()...)
	}
	p := portmap.Port{Network: map[byte]string{1: "udp", 2: "tcp"}[req[1]], Number: binary.BigEndian.Uint16(req[4:])}
	if r.refuse != 0 {
		out[3] = r.refuse
		return append(out, req[4:12]...)
	}
	if binary.BigEndian.Uint32(req[8:]) == 0 {
		delete(r.open, p)
	} else {
		r.open[p] = binary.BigEndian.Uint16(req[6:])
	}
	out = append(out, req[4:6]...)
	out = binary.BigEndian.AppendUint16(out, r.open[p])
	return append(out, req[8:12]...)
}

func (r *router) client() *portmap.Client {
	at := r.conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return portmap.Start(portmap.Config{
		RouterPort: at.Port(),
		Gateway:    func() (router, self netip.Addr, err error) { return at.Addr(), at.Addr(), nil },
	})
}

func (r *router) ports() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.open)
}

func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("ten seconds passed, and not yet: %s", what)
}

var (
	quic = portmap.Port{Network: "udp", Number: 4710}
	tcp  = portmap.Port{Network: "tcp", Number: 4710}
)

func TestMapping(t *testing.T) {
	for _, c := range []struct {
		name     string
		router   *router
		protocol string
		external string
	}{
		{"PCP", &router{pcp: true}, "PCP", "203.0.113.7:4711"},
		{"NAT-PMP", &router{pmp: true}, "NAT-PMP", "203.0.113.7:4710"},
		{"both", &router{pcp: true, pmp: true}, "PCP", "203.0.113.7:4711"},
		{"packets are lost", &router{pcp: true, silent: 2}, "PCP", "203.0.113.7:4711"},
		{"nonsense comes first", &router{pcp: true, garbage: true}, "PCP", "203.0.113.7:4711"},
		{"nonsense comes first in NAT-PMP", &router{pmp: true, garbage: true}, "NAT-PMP", "203.0.113.7:4710"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t, c.router)
			client := r.client()
			client.Want([]portmap.Port{quic, tcp})
			within(t, "both ports are open", func() bool {
				_, one := client.Mapping(quic)
				_, two := client.Mapping(tcp)
				return one && two
			})
			<-client.Looked()
			for _, s := range client.Status() {
				if s.Protocol != c.protocol || s.External.String() != c.external || s.Err != nil {
					t.Errorf("%+v", s)
				}
			}
			client.Want([]portmap.Port{quic})
			within(t, "one is given back", func() bool { return r.ports() == 1 })
			if _, open := client.Mapping(tcp); open {
				t.Error("a port that is not wanted is still open")
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
			within(t, "the other is given back", func() bool { return r.ports() == 0 })
		})
	}
}

func TestRefused(t *testing.T) {
	for _, c := range []struct {
		name   string
		router *router
		says   string
	}{
		{"PCP", &router{pcp: true, refuse: 2}, "refuses"},
		{"NAT-PMP", &router{pmp: true, refuse: 2}, "refuses"},
		{"behind another router", &router{pcp: true, refuse: 12}, "another router in between"},
		{"an unknown code", &router{pcp: true, refuse: 99}, "code 99"},
		{"nobody answers", &router{}, "no router answers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client := newRouter(t, c.router).client()
			client.Want([]portmap.Port{quic})
			<-client.Looked()
			within(t, "it says why", func() bool {
				s := client.Status()
				return s[0].Err != nil && strings.Contains(s[0].Err.Error(), c.says)
			})
			if _, open := client.Mapping(quic); open {
				t.Error("the port is said to be open")
			}
			if err := client.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A device without a network, which then gets one.
func TestNoRoute(t *testing.T) {
	client := portmap.Start(portmap.Config{Gateway: func() (a, b netip.Addr, err error) { return a, b, net.ErrClosed }})
	<-client.Looked()
	if client.Found() {
		t.Error("a router is found")
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	if router, self, err := portmap.Gateway(); err == nil && (!router.IsValid() || !self.IsValid()) {
		t.Errorf("Gateway: %v, %v", router, self)
	}
}
