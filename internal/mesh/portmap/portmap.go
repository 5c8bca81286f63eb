// Package portmap asks the router to open ports: by PCP (RFC 6887), and by
// NAT-PMP (RFC 6886) where the router knows that alone. Call [Start], tell it the
// ports with [Client.Want], and ask for what the router gave with
// [Client.Mapping]. It does not speak UPnP, and opens nothing in IPv6 firewalls.
package portmap

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"
)

// Port is one that this device listens on.
type Port struct {
	Network string // "tcp" or "udp"
	Number  uint16
}

// Status is what came of asking for a port.
type Status struct {
	Port
	Protocol string         // "PCP" or "NAT-PMP"; empty if no router answers to either
	External netip.AddrPort // invalid if the router opened nothing
	Err      error          // why
}

// maxPorts bounds the ports that are asked for.
const maxPorts = 32

// Times. A router that says nothing is asked again, since devices move and
// routers are turned on.
const (
	firstWait = 250 * time.Millisecond // for an answer; doubled each time (RFC 6886 section 3.1)
	tries     = 4
	life      = 2 * time.Hour // of a mapping, as RFC 6886 section 3.3 recommends
	minLife   = 2 * time.Minute
	lookAgain = time.Minute      // for a router, where none answered
	lookAfter = 30 * time.Second // whether the route and the router are still the same
	clockSlip = 7.0 / 8          // of RFC 6887 section 8.5: a router's clock may run slower by an eighth
)

// Config is where to ask; the zero value is the router of the default route.
type Config struct {
	// Gateway gives the router and this device's address towards it; nil means
	// [Gateway]. RouterPort is where the router listens; 0 means 5351.
	Gateway    func() (router, self netip.Addr, err error)
	RouterPort uint16
	Logger     *slog.Logger // nil: slog.Default()
}

// mapping is a port that the router has opened.
type mapping struct {
	nonce    [12]byte
	external netip.AddrPort
	renew    time.Time // zero: at once
	err      error
}

// Client keeps ports open as long as it runs.
type Client struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{}
	wake   chan struct{} // holds one: other ports are wanted

	mu       sync.Mutex
	wanted   []Port
	ports    map[Port]mapping
	protocol string
	looked   chan struct{} // closed when the first look for a router is over
}

// Start begins to look for a router.
func Start(cfg Config) *Client {
	if cfg.Gateway == nil {
		cfg.Gateway = Gateway
	}
	if cfg.RouterPort == 0 {
		cfg.RouterPort = routerPort
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	c := &Client{cfg: cfg, done: make(chan struct{}), wake: make(chan struct{}, 1), ports: map[Port]mapping{}, looked: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	go c.run()
	return c
}

// Want says which ports are to be open, in place of those said before. More than
// 32 are cut off.
func (c *Client) Want(list []Port) {
	list = slices.Clone(list[:min(len(list), maxPorts)])
	c.mu.Lock()
	same := slices.Equal(c.wanted, list)
	c.wanted = list
	c.mu.Unlock()
	if !same {
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
}

// Mapping is where a port is reached from outside; it is false if the router
// opened none.
func (c *Client) Mapping(p Port) (netip.AddrPort, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.ports[p]
	return m.external, m.external.IsValid()
}

// Status tells what came of every port that is wanted.
func (c *Client) Status() []Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []Status
	for _, p := range c.wanted {
		m := c.ports[p]
		list = append(list, Status{Port: p, Protocol: c.protocol, External: m.external, Err: m.err})
	}
	return list
}

// Looked is closed when it is known for the first time whether a router answers.
func (c *Client) Looked() <-chan struct{} { return c.looked }

// Found tells that a router answers.
func (c *Client) Found() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.protocol != ""
}

// Close gives the ports back, without waiting for an answer.
func (c *Client) Close() error {
	c.cancel()
	<-c.done
	return nil
}

// errNoRouter is that nothing answers.
var errNoRouter = errors.New("no router answers to PCP or NAT-PMP")

// router is one that answers.
type router struct {
	conn     *net.UDPConn
	addr     netip.Addr // its own, on this side
	self     netip.Addr // this device's, towards it
	version  byte
	external netip.Addr // NAT-PMP tells it apart from the ports
	epoch    uint32
	heard    time.Time
}

// run looks for a router, and then for what changes.
func (c *Client) run() {
	defer close(c.done)
	var r *router
	for {
		if r == nil {
			var err error
			if r, err = c.find(); err != nil {
				c.lost(err)
				c.tell()
			} else {
				c.cfg.Logger.Debug("portmap: a router answers", "router", r.addr, "protocol", r.name())
				c.mu.Lock()
				c.protocol = r.name()
				c.mu.Unlock()
			}
		}
		wait := lookAgain
		if r != nil {
			next, err := c.keep(r)
			c.tell()
			if err != nil && c.ctx.Err() == nil {
				c.lost(err)
				r.conn.Close()
				r = nil
			} else {
				wait = min(lookAfter, time.Until(next))
			}
		}
		timer := time.NewTimer(max(wait, 100*time.Millisecond))
		select {
		case <-timer.C:
		case <-c.wake:
		case <-c.ctx.Done():
			timer.Stop()
			if r != nil {
				c.giveBack(r)
				r.conn.Close()
			}
			return
		}
		timer.Stop()
		if r != nil { // the device may be in another network by now, or the router off
			addr, self, err := c.cfg.Gateway()
			if err == nil && (addr != r.addr || self != r.self) {
				err = errNoRouter
			}
			if err == nil {
				err = c.greet(r)
			}
			if err != nil && c.ctx.Err() == nil {
				c.lost(err)
				r.conn.Close()
				r = nil
			}
		}
	}
}

// tell closes looked, once.
func (c *Client) tell() {
	select {
	case <-c.looked:
	default:
		close(c.looked)
	}
}

// lost forgets what a router gave.
func (c *Client) lost(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.protocol = ""
	clear(c.ports)
	for _, p := range c.wanted {
		c.ports[p] = mapping{err: err}
	}
}

func (r *router) name() string {
	if r.version == versionPCP {
		return "PCP"
	}
	return "NAT-PMP"
}

// find asks the router of the default route which protocol it speaks.
func (c *Client) find() (*router, error) {
	addr, self, err := c.cfg.Gateway()
	if err != nil {
		return nil, err
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr, c.cfg.RouterPort)))
	if err != nil {
		return nil, err
	}
	r := &router{conn: conn, addr: addr, self: self, version: versionPCP}
	err = c.greet(r)
	if refused := (result{}); errors.As(err, &refused) && refused.code == 1 {
		r.version = versionPMP
		err = c.greet(r)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return r, nil
}

// greet asks whether the router is there and has not begun anew, and by NAT-PMP,
// which tells it nowhere else, for its address on the Internet. Every router that
// knows either protocol answers to PCP's question, if only that it does not know
// PCP (RFC 6887 section 9); one that does not know this question alone is there.
func (c *Client) greet(r *router) error {
	if r.version == versionPMP {
		a, err := c.exchange(r, addressRequest(), versionPMP, pmpAddress, nil)
		if err == nil {
			r.external = a.external
		}
		return err
	}
	_, err := c.exchange(r, pcpHeader(pcpAnnounce, r.self, 0), versionPCP, pcpAnnounce, nil)
	if refused := (result{}); errors.As(err, &refused) && refused.code != 1 {
		return nil
	}
	return err
}

// keep asks for what is wanted and not there, or ends soon, and gives back what
// is not wanted any more. It returns when to look again. The error is that the
// router does not answer.
func (c *Client) keep(r *router) (time.Time, error) {
	c.mu.Lock()
	wanted, have := slices.Clone(c.wanted), maps.Clone(c.ports)
	c.mu.Unlock()
	for p, m := range have {
		if !slices.Contains(wanted, p) && m.external.IsValid() {
			_, _ = r.conn.Write(r.request(p, m, 0))
			c.mu.Lock()
			delete(c.ports, p)
			c.mu.Unlock()
		}
	}
	next := time.Now().Add(life)
	for _, p := range wanted {
		m := have[p]
		if m.nonce == [12]byte{} {
			m = mapping{nonce: newNonce()}
		}
		moved := r.external.IsValid() && m.external.IsValid() && m.external.Addr() != r.external
		if moved || !time.Now().Before(m.renew) {
			var err error
			if m, err = c.open(r, p, m); err != nil {
				return next, err
			}
			c.mu.Lock()
			c.ports[p] = m
			c.mu.Unlock()
		}
		if m.renew.Before(next) {
			next = m.renew
		}
	}
	return next, nil
}

// open asks for one port. That the router refuses is in the mapping; the error is
// that it does not answer.
func (c *Client) open(r *router, p Port, m mapping) (mapping, error) {
	version, op := r.version, byte(pcpMap)
	if version == versionPMP {
		op = map[string]byte{"udp": 1, "tcp": 2}[p.Network]
	}
	a, err := c.exchange(r, r.request(p, m, life), version, op, func(a answer) bool {
		return a.internal == p.Number && a.protocol == protocolNumber(p.Network) && (version == versionPMP || a.nonce == m.nonce)
	})
	m.err, m.renew = err, time.Now().Add(lookAgain)
	if err != nil {
		m.external = netip.AddrPort{}
		if errors.As(err, &result{}) {
			err = nil
		}
		return m, err
	}
	if version == versionPMP {
		a.external = r.external
	}
	if a.port == 0 || !a.external.IsValid() || a.external.IsUnspecified() {
		m.err, m.external = errors.New("it gave no address or port"), netip.AddrPort{}
		return m, nil
	}
	m.external = netip.AddrPortFrom(a.external, a.port)
	m.renew = time.Now().Add(max(min(a.life, life), minLife) / 2)
	return m, nil
}

// request asks for a port, or gives it back if the life is zero.
func (r *router) request(p Port, m mapping, life time.Duration) []byte {
	if r.version == versionPCP {
		suggest := m.external
		if !suggest.IsValid() {
			suggest = netip.AddrPortFrom(netip.Addr{}, p.Number)
		}
		return pcpRequest(p, m.nonce, r.self, suggest, life)
	}
	suggest := p.Number
	if m.external.IsValid() {
		suggest = m.external.Port()
	}
	if life == 0 {
		suggest = 0
	}
	return pmpRequest(p, suggest, life)
}

// exchange asks until the router answers. Only the router's own address is
// heard, since the socket is connected to it.
func (c *Client) exchange(r *router, request []byte, version, op byte, fits func(answer) bool) (answer, error) {
	defer context.AfterFunc(c.ctx, func() { _ = r.conn.SetReadDeadline(time.Now()) })()
	buf := make([]byte, maxMessage+1)
	wait := firstWait
	for range tries {
		if _, err := r.conn.Write(request); err != nil && !strings.Contains(err.Error(), "refused") {
			return answer{}, err
		}
		end := time.Now().Add(wait)
		for c.ctx.Err() == nil && time.Now().Before(end) {
			_ = r.conn.SetReadDeadline(end)
			n, err := r.conn.Read(buf)
			if err != nil {
				if !errors.Is(err, net.ErrClosed) && strings.Contains(err.Error(), "refused") {
					return answer{}, errNoRouter // nobody listens on that port of the router
				}
				break
			}
			a, err := parse(buf[:n], version, op)
			var refused result
			switch {
			case errors.As(err, &refused):
				return a, err
			case err != nil || fits != nil && !fits(a):
				continue // an answer to an earlier question
			}
			c.heard(r, a)
			return a, nil
		}
		if c.ctx.Err() != nil {
			return answer{}, c.ctx.Err()
		}
		wait *= 2
	}
	return answer{}, errNoRouter
}

// heard compares the router's clock with ours: one that began anew has forgotten
// the ports (RFC 6887 section 8.5, RFC 6886 section 3.6).
func (c *Client) heard(r *router, a answer) {
	now := time.Now()
	if !r.heard.IsZero() && float64(a.epoch)+2 < float64(r.epoch)+clockSlip*now.Sub(r.heard).Seconds() {
		c.cfg.Logger.Debug("portmap: the router began anew: asking again", "router", r.addr)
		c.mu.Lock()
		for p, m := range c.ports {
			m.renew = time.Time{}
			c.ports[p] = m
		}
		c.mu.Unlock()
		select {
		case c.wake <- struct{}{}:
		default:
		}
	}
	r.epoch, r.heard = a.epoch, now
}

// giveBack closes the ports.
func (c *Client) giveBack(r *router) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p, m := range c.ports {
		if m.external.IsValid() {
			_, _ = r.conn.Write(r.request(p, m, 0))
		}
	}
}

func newNonce() (n [12]byte) {
	_, _ = rand.Read(n[:]) // never fails
	return n
}
