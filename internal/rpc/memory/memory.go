// Package memory is a network inside one process, for tests of what uses
// rpc: streams with flow control, deadlines and resets, links that take time,
// are cut and come back. Call [New], then [Network.Join] for each node. It
// encrypts nothing and finds nobody; who has joined can be reached.
package memory

import (
	"context"
	"io"
	"os"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// window is how many bytes may be on their way in one direction of a stream.
const window = 256 << 10

// Network joins nodes. It works inside the bubbles of testing/synctest.
type Network struct {
	mu    sync.Mutex
	nodes map[peer.ID]*Node
	// delay is how long bytes take from one node to another.
	delay func(from, to peer.ID) time.Duration
	cut   map[pair]bool
	relay map[pair]bool
}

type pair struct{ a, b peer.ID }

func link(a, b peer.ID) pair {
	if a.Compare(b) > 0 {
		a, b = b, a
	}
	return pair{a, b}
}

// New makes a network without delays.
func New() *Network {
	return &Network{nodes: map[peer.ID]*Node{}, cut: map[pair]bool{}, relay: map[pair]bool{}}
}

// Delay sets how long bytes take between nodes; nil for no time.
func (n *Network) Delay(d func(from, to peer.ID) time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.delay = d
}

// Cut breaks the link of two nodes: their streams are reset, and new ones fail
// until Mend.
func (n *Network) Cut(a, b peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[link(a, b)] = true
	for _, id := range []peer.ID{a, b} {
		if node := n.nodes[id]; node != nil {
			node.reset(a, b)
		}
	}
}

// Mend joins what Cut broke.
func (n *Network) Mend(a, b peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, link(a, b))
}

// Relay makes the streams of two nodes say that they are relayed.
func (n *Network) Relay(a, b peer.ID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.relay[link(a, b)] = true
}

// Join adds a node.
func (n *Network) Join(id peer.ID) *Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	node := &Node{net: n, id: id, handlers: map[string]func(rpc.Stream){}, streams: map[*stream]bool{}}
	n.nodes[id] = node
	return node
}

// Pair joins two peers by one stream, each with its end; they may be one peer.
func Pair(a, b peer.ID) (ofA, ofB rpc.Stream) {
	node := &Node{streams: map[*stream]bool{}}
	there, back := newHalf(0), newHalf(0)
	return &stream{node: node, from: a, remote: b, r: back, w: there}, &stream{node: node, from: b, remote: a, r: there, w: back}
}

// Node is a member; it is an rpc.Network.
type Node struct {
	net      *Network
	id       peer.ID
	mu       sync.Mutex
	handlers map[string]func(rpc.Stream)
	streams  map[*stream]bool
}

var _ rpc.Network = (*Node)(nil)

// Self is the node's peer.
func (n *Node) Self() peer.ID { return n.id }

// Leave takes the node off the network, as a crash does.
func (n *Node) Leave() {
	n.net.mu.Lock()
	delete(n.net.nodes, n.id)
	n.net.mu.Unlock()
	n.reset(n.id, n.id)
}

// reset ends the streams between two nodes, all of this node's if they are one.
func (n *Node) reset(a, b peer.ID) {
	n.mu.Lock()
	var list []*stream
	for s := range n.streams {
		if a == b || link(s.from, s.remote) == link(a, b) {
			list = append(list, s)
		}
	}
	n.mu.Unlock()
	for _, s := range list {
		_ = s.Reset()
	}
}

// Streams is how many streams the node has open.
func (n *Node) Streams() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.streams)
}

// Handle takes the streams of a protocol.
func (n *Node) Handle(protocol string, handler func(rpc.Stream)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if handler == nil {
		delete(n.handlers, protocol)
		return
	}
	n.handlers[protocol] = handler
}

// Open opens a stream.
func (n *Node) Open(ctx context.Context, to peer.ID, protocol string, _ rpc.Class) (rpc.Stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	n.net.mu.Lock()
	other, cut, relayed, delay := n.net.nodes[to], n.net.cut[link(n.id, to)], n.net.relay[link(n.id, to)], n.net.delay
	n.net.mu.Unlock()
	if other == nil || cut {
		return nil, rpc.Errorf(rpc.Unavailable, "no way to peer %s", to.Short())
	}
	other.mu.Lock()
	handler := other.handlers[protocol]
	other.mu.Unlock()
	if handler == nil {
		return nil, rpc.Errorf(rpc.Unimplemented, "peer %s does not speak %s", to.Short(), protocol)
	}
	var there, back time.Duration
	if delay != nil {
		there, back = delay(n.id, to), delay(to, n.id)
	}
	out, in := newHalf(there), newHalf(back)
	mine := &stream{node: n, from: n.id, remote: to, relayed: relayed, r: in, w: out}
	theirs := &stream{node: other, from: to, remote: n.id, relayed: relayed, r: out, w: in}
	n.add(mine)
	other.add(theirs)
	go handler(theirs)
	return mine, nil
}

func (n *Node) add(s *stream) {
	n.mu.Lock()
	n.streams[s] = true
	n.mu.Unlock()
}

// stream is one end of a stream.
type stream struct {
	node         *Node
	from, remote peer.ID
	relayed      bool
	r, w         *half
}

func (s *stream) Read(p []byte) (int, error)         { return s.r.read(p) }
func (s *stream) Write(p []byte) (int, error)        { return s.w.write(p) }
func (s *stream) Remote() peer.ID                    { return s.remote }
func (s *stream) Relayed() bool                      { return s.relayed }
func (s *stream) CloseWrite() error                  { s.w.end(io.EOF); return nil }
func (s *stream) SetReadDeadline(t time.Time) error  { s.r.deadline(&s.r.readBy, t); return nil }
func (s *stream) SetWriteDeadline(t time.Time) error { s.w.deadline(&s.w.writeBy, t); return nil }

func (s *stream) SetDeadline(t time.Time) error {
	_ = s.SetReadDeadline(t)
	return s.SetWriteDeadline(t)
}

func (s *stream) Close() error {
	s.w.end(io.EOF)
	s.r.end(errReset)
	s.gone()
	return nil
}

func (s *stream) Reset() error {
	s.w.end(errReset)
	s.r.end(errReset)
	s.gone()
	return nil
}

func (s *stream) gone() {
	s.node.mu.Lock()
	delete(s.node.streams, s)
	s.node.mu.Unlock()
}

var errReset = rpc.Errorf(rpc.Unavailable, "stream reset")

// half is one direction of a stream.
type half struct {
	mu              sync.Mutex
	wake            chan struct{} // closed and replaced at every change
	parts           []part
	size            int
	err             error // io.EOF is told after the bytes, errReset at once
	delay           time.Duration
	readBy, writeBy time.Time
}

type part struct {
	data []byte
	at   time.Time // when it arrives
}

func newHalf(delay time.Duration) *half { return &half{wake: make(chan struct{}), delay: delay} }

func (h *half) changed() {
	close(h.wake)
	h.wake = make(chan struct{})
}

func (h *half) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil || err == errReset {
		h.err = err
		if err == errReset {
			h.parts, h.size = nil, 0
		}
		h.changed()
	}
}

func (h *half) deadline(which *time.Time, t time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*which = t
	h.changed()
}

// wait sleeps until something changes or a time comes; the lock is held before
// and after.
func (h *half) wait(until ...time.Time) {
	var first time.Time
	for _, t := range until {
		if !t.IsZero() && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	wake := h.wake
	h.mu.Unlock()
	defer h.mu.Lock()
	if first.IsZero() {
		<-wake
		return
	}
	timer := time.NewTimer(time.Until(first))
	defer timer.Stop()
	select {
	case <-wake:
	case <-timer.C:
	}
}

func past(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (h *half) read(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for {
		arrives := time.Time{}
		if len(h.parts) > 0 {
			arrives = h.parts[0].at
		}
		switch {
		case len(h.parts) > 0 && (h.delay == 0 || past(arrives)):
			n := copy(p, h.parts[0].data)
			if h.parts[0].data = h.parts[0].data[n:]; len(h.parts[0].data) == 0 {
				h.parts = h.parts[1:]
			}
			h.size -= n
			h.changed()
			return n, nil
		case len(h.parts) == 0 && h.err != nil:
			return 0, h.err
		case past(h.readBy):
			return 0, os.ErrDeadlineExceeded
		}
		h.wait(arrives, h.readBy)
	}
}

func (h *half) write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	done := 0
	for done < len(p) {
		switch n := min(len(p)-done, window-h.size); {
		case h.err != nil:
			return done, errReset
		case past(h.writeBy):
			return done, os.ErrDeadlineExceeded
		case n > 0:
			h.parts = append(h.parts, part{append([]byte(nil), p[done:done+n]...), time.Now().Add(h.delay)})
			h.size += n
			done += n
			h.changed()
		default:
			h.wait(h.writeBy)
		}
	}
	return done, nil
}
