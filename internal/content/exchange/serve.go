package exchange

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// ServerConfig is how a node gives content to others.
type ServerConfig struct {
	Network rpc.Network
	Source  Source
	// Allow decides whether a peer may have content. It is asked before anything
	// is told, even whether the content is there, and again every minute of a
	// stream. Nil allows nobody but the node itself.
	Allow func(ctx context.Context, who peer.ID, root content.Root, tokens [][]byte) error
	// Named gives the roots of what has a name, those that others should get
	// first; nil: nothing has one. Allow is asked about them.
	Named func(name string) []content.Root
	// Rate is how many bytes a second all peers together are given at most, and
	// PeerRate each one; 0 means no bound.
	Rate, PeerRate float64
	// MaxStreams bounds the streams of all peers, each of which holds a chunk in
	// memory; 0 means 64. MaxPeerStreams bounds those of one peer; 0 means 4.
	MaxStreams, MaxPeerStreams int
	Logger                     *slog.Logger // nil: slog.Default()
}

func (c *ServerConfig) defaults() {
	if c.MaxStreams == 0 {
		c.MaxStreams = 64
	}
	if c.MaxPeerStreams == 0 {
		c.MaxPeerStreams = 4
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Server gives content to peers.
type Server struct {
	cfg    ServerConfig
	ctx    context.Context
	cancel context.CancelFunc
	all    *bucket
	done   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	streams int
	peers   map[peer.ID]*served
	open    map[rpc.Stream]bool
	given   int64
}

// served is what is known of a peer while it has streams open.
type served struct {
	streams int
	rate    *bucket
}

// Serve gives content until Close.
func Serve(cfg ServerConfig) *Server {
	cfg.defaults()
	s := &Server{cfg: cfg, all: newBucket(cfg.Rate), peers: map[peer.ID]*served{}, open: map[rpc.Stream]bool{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	cfg.Network.Handle(Protocol, s.handle)
	return s
}

// Given is how many bytes of chunks peers were given.
func (s *Server) Given() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given
}

// Close ends all streams.
func (s *Server) Close() error {
	s.cfg.Network.Handle(Protocol, nil)
	s.mu.Lock()
	s.closed = true
	for st := range s.open {
		_ = st.Reset()
	}
	s.mu.Unlock()
	s.cancel()
	s.done.Wait()
	return nil
}

// begin counts a stream, or says why it is one too many.
func (s *Server) begin(st rpc.Stream) (*served, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[st.Remote()]
	switch {
	case s.closed:
		return nil, rpc.Errorf(rpc.Unavailable, "this node is closing")
	case s.streams >= s.cfg.MaxStreams, p != nil && p.streams >= s.cfg.MaxPeerStreams:
		return nil, &rpc.Error{Code: rpc.ResourceExhausted, Text: "too many streams for content are open here", RetryAfter: 5 * time.Second}
	case p == nil:
		p = &served{rate: newBucket(s.cfg.PeerRate)}
		s.peers[st.Remote()] = p
	}
	p.streams++
	s.streams++
	s.open[st] = true
	s.done.Add(1)
	return p, nil
}

func (s *Server) finish(st rpc.Stream, p *served) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, st)
	s.streams--
	if p.streams--; p.streams == 0 {
		delete(s.peers, st.Remote())
	}
	s.done.Done()
}

func (s *Server) handle(st rpc.Stream) {
	p, err := s.begin(st)
	if err != nil {
		refuse(st, err)
		return
	}
	defer s.finish(st, p)
	err = s.serve(st, p)
	if err == nil {
		_ = st.Close()
		return
	}
	s.cfg.Logger.Debug("content: a stream ended", "peer", st.Remote().Short(), "error", err)
	var e *rpc.Error
	if errors.As(err, &e) {
		refuse(st, e)
		return
	}
	_ = st.Reset()
}

// refuse tells the peer of an error and ends the stream.
func refuse(st rpc.Stream, err error) {
	_ = st.SetDeadline(time.Now().Add(5 * time.Second))
	if _, werr := st.Write(errorFrame(err)); werr != nil {
		_ = st.Reset()
		return
	}
	_ = st.CloseWrite()
	// What the peer sent and nobody reads would make a close a reset, which takes
	// the error away again.
	_, _ = io.Copy(io.Discard, io.LimitReader(st, 256<<10))
	_ = st.Close()
}

// allowFor is how long an answer of Allow counts.
const allowFor = time.Minute

func (s *Server) allow(who peer.ID, root content.Root, tokens [][]byte) error {
	switch {
	case who == s.cfg.Network.Self():
		return nil
	case s.cfg.Allow == nil:
		return rpc.Errorf(rpc.PermissionDenied, "this node gives its content to nobody")
	}
	ctx, cancel := context.WithTimeout(s.ctx, openTime)
	defer cancel()
	return s.cfg.Allow(ctx, who, root, tokens)
}

// maxNamed bounds how many contents of one name Allow is asked about.
const maxNamed = 16

// choose finds what a peer wants, if it may have it. Of a name it learns nothing
// else.
func (s *Server) choose(who peer.ID, want wanted, tokens [][]byte) (content.Root, error) {
	if want.name == "" {
		return want.root, s.allow(who, want.root, tokens)
	}
	if s.cfg.Named != nil {
		list := s.cfg.Named(want.name)
		for _, root := range list[:min(len(list), maxNamed)] {
			if s.allow(who, root, tokens) == nil {
				return root, nil
			}
		}
	}
	return content.Root{}, rpc.Errorf(rpc.PermissionDenied, "there is nothing of this name here that you may have")
}

func (s *Server) serve(st rpc.Stream, p *served) error {
	_ = st.SetReadDeadline(time.Now().Add(openTime))
	_, n, err := readHeader(st, frameOpen)
	if err != nil {
		return err
	}
	data, err := readPayload(st, n, nil)
	if err != nil {
		return err
	}
	want, tokens, err := parseOpen(data)
	if err != nil {
		return err
	}
	root, err := s.choose(st.Remote(), want, tokens)
	if err != nil {
		return err
	}
	allowed := time.Now()
	if _, err := s.cfg.Source.Manifest(root); err != nil {
		return told(err)
	}
	first := append([]byte{0}, root[:]...)
	if s.cfg.Source.Complete(root) {
		first[0] = 1
	}
	g := &giver{Server: s, st: st, root: root, peer: p, buf: make([]byte, headerBytes+content.MaxNode)}
	if err := g.send(answerOpen, first); err != nil {
		return err
	}
	for {
		_ = st.SetReadDeadline(time.Now().Add(idleTime))
		k, n, err := readHeader(st, frameManifest, frameNodes, frameHave, frameChunks)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var small [16]byte
		data, err := readPayload(st, n, small[:])
		if err != nil {
			return err
		}
		r, err := parseRequest(k, data)
		if err != nil {
			return err
		}
		if time.Since(allowed) > allowFor { // it may have been revoked
			if err := s.allow(st.Remote(), root, tokens); err != nil {
				return err
			}
			allowed = time.Now()
		}
		if err := g.answer(r); err != nil {
			return told(err)
		}
	}
}

// told is an error of the source as peers are told it: nothing of this machine.
func told(err error) error {
	if errors.Is(err, ErrMissing) {
		return rpc.Errorf(rpc.NotFound, "this content is not here")
	}
	return err
}

// giver answers the requests of one stream.
type giver struct {
	*Server
	st   rpc.Stream
	root content.Root
	peer *served
	buf  []byte
}

func (g *giver) answer(r request) error {
	switch r.kind {
	case frameManifest:
		data, err := g.cfg.Source.Manifest(g.root)
		return g.sendOr(answerManifest, data, err)
	case frameHave:
		bits, err := g.cfg.Source.Have(g.root, r.file)
		return g.sendOr(answerHave, bits, err)
	}
	tree, err := g.cfg.Source.Tree(g.root, r.file)
	if err != nil && !errors.Is(err, ErrMissing) {
		return err
	}
	for i := r.from; i < r.from+r.count; i++ {
		switch {
		case tree == nil:
			err = g.send(answerMissing, nil)
		case r.kind == frameChunks:
			err = g.chunk(tree, r.file, i)
		default:
			level := r.level
			if level == topLevel {
				level = tree.Levels() - 1
			}
			if node := tree.Node(level, i); node != nil {
				err = g.send(answerNode, node)
			} else {
				err = g.send(answerMissing, nil)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (g *giver) sendOr(k frameKind, data []byte, err error) error {
	if errors.Is(err, ErrMissing) {
		return g.send(answerMissing, nil)
	}
	if err != nil {
		return err
	}
	return g.send(k, data)
}

func (g *giver) chunk(tree *content.Tree, file, index int) error {
	if index >= tree.Len() {
		return g.send(answerMissing, nil)
	}
	if want := headerBytes + int(tree.Chunk(index).Size); len(g.buf) < want {
		g.buf = make([]byte, headerBytes+content.MaxChunk)
	}
	n, err := g.cfg.Source.ReadChunk(g.root, file, index, g.buf[headerBytes:])
	if errors.Is(err, ErrMissing) {
		return g.send(answerMissing, nil)
	}
	if err != nil {
		return err
	}
	if err := g.pay(n); err != nil {
		return err
	}
	putHeader(g.buf, answerChunk, n)
	if err := g.write(g.buf[:headerBytes+n]); err != nil {
		return err
	}
	g.mu.Lock()
	g.given += int64(n)
	g.mu.Unlock()
	return nil
}

// pay waits until the rates allow so many bytes.
func (g *giver) pay(n int) error {
	now := time.Now()
	wait := max(g.all.take(n, now), g.peer.rate.take(n, now))
	if wait <= 0 {
		return nil
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-g.ctx.Done():
		return g.ctx.Err()
	}
}

func (g *giver) send(k frameKind, data []byte) error {
	if len(data) > content.MaxNode { // a manifest, or what is had of a large file
		if err := g.pay(len(data)); err != nil {
			return err
		}
		return g.write(appendFrame(make([]byte, 0, headerBytes+len(data)), k, data))
	}
	g.buf = appendFrame(g.buf[:0], k, data)
	err := g.write(g.buf)
	g.buf = g.buf[:cap(g.buf)]
	return err
}

func (g *giver) write(data []byte) error {
	_ = g.st.SetWriteDeadline(time.Now().Add(writeTime))
	_, err := g.st.Write(data)
	return err
}
