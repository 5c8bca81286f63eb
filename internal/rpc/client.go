package rpc

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcmetadata"
	"storj.io/drpc/drpcpool"

	"github.com/avalnetwork/aval/internal/peer"
)

// writeStall is how long a peer may leave what is sent to it unread.
const writeStall = time.Minute

// route is where the calls of a class to a peer go.
type route struct {
	peer  peer.ID
	class Class
}

// lane bounds the calls of a route that are open at once.
type lane struct {
	seats chan struct{}
	users int // that have the lane; it goes when none has
}

// link is a stream that carries one call after the other.
type link struct {
	*drpcconn.Conn
	t *transport
}

// Invoke makes a unary call. A message that cannot be written leaves a stream
// of drpc's that the peer waits for without end, so the link goes with it; and so
// does one that the peer has ended meanwhile.
func (l *link) Invoke(ctx context.Context, method string, enc drpc.Encoding, in, out drpc.Message) error {
	err := l.Conn.Invoke(ctx, method, enc, in, out)
	if c, ok := enc.(*codec); ok {
		c.stale = err != nil && !c.begun && ctx.Err() == nil
		if c.stale || c.failed {
			_ = l.Close()
		}
	}
	return err
}

// NewStream begins a streaming call. On a link that the peer has ended meanwhile
// it sends nothing that anybody acts on, and the link goes.
func (l *link) NewStream(ctx context.Context, method string, enc drpc.Encoding) (drpc.Stream, error) {
	s, err := l.Conn.NewStream(ctx, method, enc)
	if c, ok := enc.(*codec); ok {
		if c.stale = err != nil && ctx.Err() == nil; c.stale {
			_ = l.Close()
		}
	}
	return s, err
}

// maxStale is how many streams that the peer has ended a call may come upon.
const maxStale = 3

// caller is the part of a node that calls.
type caller struct {
	node *Node
	pool *drpcpool.Pool[route, *link]
	mu   sync.Mutex
	lane map[route]*lane
}

func newCaller(n *Node) *caller {
	return &caller{
		node: n, lane: map[route]*lane{},
		pool: drpcpool.New[route, *link](drpcpool.Options{Expiration: n.cfg.Idle, KeyCapacity: n.cfg.MaxCalls, Capacity: n.cfg.MaxServed}),
	}
}

// enter waits for a seat on a route and returns what gives it back.
func (c *caller) enter(ctx context.Context, r route) (leave func(), err error) {
	c.mu.Lock()
	l := c.lane[r]
	if l == nil {
		l = &lane{seats: make(chan struct{}, c.node.cfg.lanes(r.class))}
		c.lane[r] = l
	}
	l.users++
	c.mu.Unlock()
	forget := func() {
		c.mu.Lock()
		if l.users--; l.users == 0 {
			delete(c.lane, r)
		}
		c.mu.Unlock()
	}
	select {
	case l.seats <- struct{}{}:
		return func() { <-l.seats; forget() }, nil
	case <-ctx.Done():
		forget()
		return nil, ctx.Err()
	case <-c.node.ctx.Done():
		forget()
		return nil, Errorf(Unavailable, "this node is closing")
	}
}

// dial opens a stream to a peer.
func (c *caller) dial(ctx context.Context, r route) (*link, error) {
	s, err := c.node.cfg.Network.Open(ctx, r.peer, protocol(r.class), r.class)
	if err != nil {
		if CodeOf(err) == Unknown {
			err = Errorf(Unavailable, "peer %s cannot be reached: %w", r.peer.Short(), err)
		}
		return nil, err
	}
	t := &transport{Stream: s, ctx: c.node.ctx, stall: writeStall}
	return &link{drpcconn.NewWithOptions(t, drpcconn.Options{Manager: options(c.node.cfg.MaxMessage, 0)}), t}, nil
}

// conn is how a peer is called; it is the drpc.Conn of generated clients.
type conn struct {
	caller *caller
	route  route
	below  drpcpool.Conn
	closed chan struct{}
	once   sync.Once
}

func (c *caller) to(r route) *conn {
	return &conn{caller: c, route: r, below: c.pool.Get(context.Background(), r, c.dial), closed: make(chan struct{})}
}

// Close refuses further calls. The node keeps its streams for others.
func (c *conn) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.below.Close()
}

// Closed tells that Close was called.
func (c *conn) Closed() <-chan struct{} { return c.closed }

// begin prepares a call.
func (c *conn) begin(ctx context.Context, method string, enc drpc.Encoding) (context.Context, *pending, error) {
	p := &pending{conn: c, method: method, start: time.Now(), codec: codec{Encoding: enc, limit: c.caller.node.limits(method).MaxMessage, shrink: c.route.class != Bulk}}
	m, err := c.caller.node.metadata(ctx, c.route.peer)
	if err != nil {
		return nil, nil, err
	}
	if p.leave, err = c.caller.enter(ctx, c.route); err != nil {
		return nil, nil, fromWire(ctx, err)
	}
	ctx = sendContext{ctx}
	if len(m) > 0 {
		ctx = drpcmetadata.AddPairs(ctx, m)
	}
	return ctx, p, nil
}

// sendContext is the caller's context without its values: drpc would send the
// metadata that it finds there.
type sendContext struct{ context.Context }

func (sendContext) Value(any) any { return nil }

// pending is a call that this node makes.
type pending struct {
	conn   *conn
	method string
	start  time.Time
	codec  codec
	leave  func()
	once   sync.Once
}

// end frees the call's seat and tells what came of it.
func (p *pending) end(err error) {
	p.once.Do(func() {
		p.leave()
		if errors.Is(err, io.EOF) {
			err = nil
		}
		if observe := p.conn.caller.node.cfg.Observe; observe != nil {
			observe(Event{
				Peer: p.conn.route.peer, Method: p.method, Class: p.conn.route.class, Code: CodeOf(err),
				Took: time.Since(p.start), In: p.codec.in, Out: p.codec.out,
			})
		}
	})
}

// Invoke makes a unary call.
func (c *conn) Invoke(ctx context.Context, method string, enc drpc.Encoding, in, out drpc.Message) error {
	if _, limited := ctx.Deadline(); !limited {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.caller.node.limits(method).Timeout)
		defer cancel()
	}
	inner, p, err := c.begin(ctx, method, enc)
	if err != nil {
		return err
	}
	for range maxStale { // nothing was sent on one that is stale
		if err = c.below.Invoke(inner, method, &p.codec, in, out); !p.codec.stale {
			break
		}
	}
	if errors.Is(err, io.EOF) { // the peer sent no answer, and no error
		err = Errorf(Internal, "the peer ended the call without an answer")
	}
	err = fromWire(ctx, err)
	p.end(err)
	return err
}

// NewStream begins a streaming call. It ends with its context, or when both
// sides have closed it.
func (c *conn) NewStream(ctx context.Context, method string, enc drpc.Encoding) (drpc.Stream, error) {
	inner, p, err := c.begin(ctx, method, enc)
	if err != nil {
		return nil, err
	}
	var s drpc.Stream
	for range maxStale {
		if s, err = c.below.NewStream(inner, method, &p.codec); !p.codec.stale {
			break
		}
	}
	if err != nil {
		err = fromWire(ctx, err)
		p.end(err)
		return nil, err
	}
	// Not context.AfterFunc: this context of drpc's is done before it has an error.
	go func() {
		<-s.Context().Done()
		p.end(nil)
	}()
	return &clientStream{Stream: s, ctx: ctx, pending: p}, nil
}

// clientStream is a streaming call as its caller sees it.
type clientStream struct {
	drpc.Stream
	ctx     context.Context
	pending *pending
}

// MsgSend sends a message. If the peer has ended the call, the error is io.EOF
// and MsgRecv tells why.
func (s *clientStream) MsgSend(msg drpc.Message, _ drpc.Encoding) error {
	return fromWire(s.ctx, s.pending.codec.send(s.Stream, msg))
}

// MsgRecv reads a message; the error is io.EOF after the last one.
func (s *clientStream) MsgRecv(msg drpc.Message, _ drpc.Encoding) error {
	err := fromWire(s.ctx, s.Stream.MsgRecv(msg, &s.pending.codec))
	if err != nil {
		s.pending.end(err)
	}
	return err
}

// Close gives the call up.
func (s *clientStream) Close() error {
	err := s.Stream.Close()
	s.pending.end(nil)
	return err
}
