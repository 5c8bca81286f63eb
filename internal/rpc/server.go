package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
	"storj.io/drpc"
	"storj.io/drpc/drpcmetadata"
	"storj.io/drpc/drpcmux"
	"storj.io/drpc/drpcserver"

	"github.com/avalnetwork/aval/internal/peer"
)

// Limits of what the server keeps.
const (
	// relayedShare is by how much fewer calls a peer behind a relay may have
	// open.
	relayedShare = 8
	// grace is how long a handler may take to notice that its time is over.
	grace = time.Second
	// maxGuests bounds the peers of which the server remembers rates.
	maxGuests = 4096
)

// guest is what the server knows of a peer that calls.
type guest struct {
	streams [classes]int // open, by class
	calls   *rate.Limiter
	bytes   *rate.Limiter
	methods map[string]*rate.Limiter
	memory  atomic.Int64 // what is left
	seen    time.Time    // when it last had a stream
}

// server is the part of a node that is called.
type server struct {
	node    *Node
	mux     *drpcmux.Mux
	drpc    *drpcserver.Server
	mu      sync.Mutex
	guests  map[peer.ID]*guest
	total   int // streams of all guests
	methods map[string]*method
}

// method is what is known of a method beside its handler.
type method struct {
	limits Limits
	open   atomic.Int64
}

func newServer(n *Node) *server {
	s := &server{node: n, mux: drpcmux.New(), guests: map[peer.ID]*guest{}, methods: map[string]*method{}}
	s.drpc = drpcserver.NewWithOptions(s, drpcserver.Options{Manager: options(n.cfg.MaxMessage, n.cfg.Idle+grace)})
	return s
}

// admit takes a peer's stream in, or says why not.
func (s *server) admit(id peer.ID, class Class, relayed bool) (*guest, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cfg := &s.node.cfg
	g := s.guests[id]
	if g == nil {
		if len(s.guests) >= maxGuests && !s.forget() {
			return nil, Errorf(ResourceExhausted, "too many peers call")
		}
		g = &guest{methods: map[string]*rate.Limiter{}}
		g.memory.Store(cfg.Memory)
		if cfg.CallRate > 0 {
			g.calls = rate.NewLimiter(rate.Limit(cfg.CallRate), int(2*cfg.CallRate)+1)
		}
		if cfg.ByteRate > 0 {
			g.bytes = rate.NewLimiter(rate.Limit(cfg.ByteRate), int(min(2*cfg.ByteRate, 1<<30))+1)
		}
		s.guests[id] = g
	}
	most := cfg.lanes(class)
	if relayed {
		most = max(1, most/relayedShare)
	}
	switch {
	case g.streams[class] >= most:
		return nil, Errorf(ResourceExhausted, "the peer has %d streams open", most)
	case s.total >= cfg.MaxServed && class != Control || s.total >= 2*cfg.MaxServed:
		return nil, Errorf(ResourceExhausted, "%d streams are open", s.total)
	}
	g.streams[class]++
	s.total++
	return g, nil
}

// forget drops the guest without streams that was seen longest ago.
func (s *server) forget() bool {
	var oldest peer.ID
	var found *guest
	for id, g := range s.guests {
		if g.streams == [classes]int{} && (found == nil || g.seen.Before(found.seen)) {
			oldest, found = id, g
		}
	}
	delete(s.guests, oldest)
	return found != nil
}

func (s *server) leave(g *guest, class Class) {
	s.mu.Lock()
	g.streams[class]--
	g.seen = time.Now()
	s.total--
	s.mu.Unlock()
}

type visitKey struct{}

// visit is a stream that a peer opened.
type visit struct {
	guest *guest
	class Class
	t     *transport
}

// serve answers the calls that come on a stream until it ends.
func (s *server) serve(stream Stream, class Class) {
	g, err := s.admit(stream.Remote(), class, stream.Relayed())
	if err != nil {
		s.node.cfg.Logger.Debug("rpc: stream refused", "peer", stream.Remote(), "error", err)
		_ = stream.Reset()
		return
	}
	defer s.leave(g, class)
	ctx, cancel := context.WithCancel(s.node.ctx)
	defer cancel()
	t := &transport{Stream: stream, ctx: ctx, stall: writeStall, rate: g.bytes, budget: &g.memory}
	defer t.Close()
	defer context.AfterFunc(ctx, func() { _ = t.Reset() })()
	err = s.drpc.ServeOne(context.WithValue(ctx, visitKey{}, &visit{g, class, t}), t)
	if err != nil && !errors.Is(err, io.EOF) {
		s.node.cfg.Logger.Debug("rpc: stream ended", "peer", stream.Remote(), "error", err)
	}
}

// HandleRPC serves one call; drpc calls it.
func (s *server) HandleRPC(stream drpc.Stream, name string) error {
	v, _ := stream.Context().Value(visitKey{}).(*visit)
	v.t.release()
	m, _ := drpcmetadata.Get(stream.Context())
	start := time.Now()
	c := &Call{Caller: v.t.Remote(), Method: name, Class: v.class, Relayed: v.t.Relayed()}
	h := &serverStream{Stream: stream, visit: v, codec: codec{limit: s.node.cfg.MaxMessage, shrink: v.class != Bulk}}
	err := s.call(h, c, m)
	if observe := s.node.cfg.Observe; observe != nil {
		if s.methods[name] == nil {
			c.Method = "unknown" // not what a peer makes up
		}
		observe(Event{
			Peer: c.Caller, Method: c.Method, Class: c.Class, Served: true, Relayed: c.Relayed, Code: CodeOf(err),
			Took: time.Since(start), In: h.in.Load(), Out: h.codec.out,
		})
	}
	return toWire(err)
}

// call checks a call and runs its handler.
func (s *server) call(h *serverStream, c *Call, meta map[string]string) error {
	m := s.methods[c.Method]
	if m == nil {
		return Errorf(Unimplemented, "there is no method %.100q", c.Method)
	}
	left, tokens, err := readMetadata(meta)
	if err != nil {
		return err
	}
	c.Tokens = tokens
	limits := s.node.limits(c.Method)
	h.codec.limit = limits.MaxMessage
	if err := s.pace(h.visit.guest, c.Method, m); err != nil {
		return err
	}
	most := limits.Timeout
	switch {
	case left > 0 && m.limits.Timeout > 0:
		most = min(left, m.limits.Timeout)
	case left > 0:
		most = min(left, s.node.cfg.StreamTimeout)
	}
	ctx, cancel := context.WithTimeout(h.Stream.Context(), most)
	defer cancel()
	h.ctx = callContext{ctx, c}
	if err := s.authorize(h.ctx, c); err != nil {
		return err
	}
	if open := m.open.Add(1); m.limits.MaxCalls > 0 && open > int64(m.limits.MaxCalls) {
		m.open.Add(-1)
		return &Error{Code: ResourceExhausted, Text: fmt.Sprintf("%d calls of %s are open", open-1, c.Method), RetryAfter: time.Second}
	}
	defer m.open.Add(-1)
	defer context.AfterFunc(ctx, func() { h.abort(ctx) })()
	return s.run(h, c.Method)
}

// pace holds a peer to its rates.
func (s *server) pace(g *guest, name string, m *method) error {
	wait := func(l *rate.Limiter) error {
		now := time.Now()
		if l == nil || l.AllowN(now, 1) {
			return nil
		}
		after := time.Duration((1 - l.TokensAt(now)) / float64(l.Limit()) * float64(time.Second))
		return &Error{Code: ResourceExhausted, Text: fmt.Sprintf("more than %g calls a second", float64(l.Limit())), RetryAfter: after}
	}
	if err := wait(g.calls); err != nil {
		return err
	}
	if m.limits.CallRate == 0 {
		return nil
	}
	s.mu.Lock()
	l := g.methods[name]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(m.limits.CallRate), int(2*m.limits.CallRate)+1)
		g.methods[name] = l
	}
	s.mu.Unlock()
	return wait(l)
}

func (s *server) authorize(ctx context.Context, c *Call) error {
	if c.Caller == s.node.cfg.Network.Self() {
		return nil
	}
	if s.node.cfg.Authorize == nil {
		return Errorf(PermissionDenied, "this node serves nobody else")
	}
	err := s.node.cfg.Authorize(ctx, c)
	if err != nil && CodeOf(err) == Unknown {
		err = Errorf(PermissionDenied, "%w", err)
	}
	return err
}

// run runs the handler. A panic of it is our bug, not the peer's business.
func (s *server) run(h *serverStream, name string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.node.cfg.Logger.Error("rpc: a handler panicked", "method", name, "panic", p, "stack", string(debug.Stack()))
			err = Errorf(Internal, "the handler failed")
		}
	}()
	err = s.mux.HandleRPC(h, name)
	if ctxErr := h.ctx.Err(); err != nil && ctxErr != nil {
		return &Error{Code: CodeOf(ctxErr), Text: "the call's time was over", cause: err}
	}
	return err
}

// serverStream is a call as its handler sees it.
type serverStream struct {
	drpc.Stream
	ctx   context.Context
	visit *visit
	codec codec
	in    atomic.Int64 // bytes read; a handler may end while another goroutine of it still waits for a message
}

// Context ends with the call's time.
func (h *serverStream) Context() context.Context { return h.ctx }

// MsgSend sends a message.
func (h *serverStream) MsgSend(msg drpc.Message, enc drpc.Encoding) error {
	h.codec.Encoding = enc
	return h.codec.send(h.Stream, msg)
}

// MsgRecv reads a message.
func (h *serverStream) MsgRecv(msg drpc.Message, enc drpc.Encoding) error {
	in := codec{Encoding: enc, limit: h.codec.limit}
	err := h.Stream.MsgRecv(msg, &in)
	h.in.Add(in.in)
	h.visit.t.release()
	if err != nil && !errors.Is(err, io.EOF) && CodeOf(err) == Unknown {
		err = Errorf(Canceled, "the caller is gone: %w", err)
	}
	return err
}

// abort ends a call whose handler does not notice that it must.
func (h *serverStream) abort(ctx context.Context) {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return
	}
	// A handler that waits for a message learns of it from the stream's end.
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-timer.C:
		_ = h.visit.t.Reset()
	case <-h.Stream.Context().Done():
	}
}
