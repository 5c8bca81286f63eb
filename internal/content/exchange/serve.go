package exchange

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// Store has objects.
type Store interface {
	// Object gives an object of what root names, checked. It is
	// content.ErrObject if it is not here, whether it ever was or is of another
	// root.
	Object(ctx context.Context, root content.Root, h content.Hash) ([]byte, error)
}

// ServerConfig is what is served, and to whom.
type ServerConfig struct {
	Network rpc.Network
	Store   Store
	// Allow decides whether a peer may have what a root names, before anything of
	// it is looked for; nil refuses everybody but the node itself.
	Allow func(ctx context.Context, who peer.ID, root content.Root, tokens [][]byte) error
	// Rate bounds the bytes a second to all peers together, PeerRate to one; 0
	// means no bound.
	Rate, PeerRate int64
	// MaxStreams bounds the streams of all peers; 0 means 64. One peer has at most
	// 4 of them.
	MaxStreams int
	// Sent is told of bytes that were given to a peer; nil tells nobody.
	Sent   func(who peer.ID, root content.Root, bytes int)
	Logger *slog.Logger
}

// peerStreams bounds the streams of one peer.
const peerStreams = 4

// Server gives objects to peers.
type Server struct {
	cfg    ServerConfig
	ctx    context.Context
	cancel context.CancelFunc
	all    *pace
	wg     sync.WaitGroup

	mu    sync.Mutex
	peers map[peer.ID]*visitor
	open  int
}

// visitor is a peer that has streams open.
type visitor struct {
	streams int
	pace    *pace
}

// Serve begins to serve.
func Serve(cfg ServerConfig) *Server {
	if cfg.MaxStreams == 0 {
		cfg.MaxStreams = 64
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	s := &Server{cfg: cfg, all: newPace(cfg.Rate), peers: map[peer.ID]*visitor{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	cfg.Network.Handle(Protocol, s.handle)
	return s
}

// Close ends the streams and serves no more.
func (s *Server) Close() error {
	s.cfg.Network.Handle(Protocol, nil)
	s.mu.Lock()
	s.cancel()
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// admit counts a stream in; nil if there are too many, or the server ends.
func (s *Server) admit(id peer.ID) *visitor {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.peers[id]
	if v == nil {
		v = &visitor{pace: newPace(s.cfg.PeerRate)}
	}
	if s.ctx.Err() != nil || s.open >= s.cfg.MaxStreams || v.streams >= peerStreams {
		return nil
	}
	s.peers[id] = v
	v.streams++
	s.open++
	s.wg.Add(1)
	return v
}

func (s *Server) leave(id peer.ID, v *visitor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open--
	if v.streams--; v.streams == 0 {
		delete(s.peers, id)
	}
	s.wg.Done()
}

// errDenied ends a stream in good order, so that the peer reads why.
var errDenied = errors.New("denied")

// handle serves one stream.
func (s *Server) handle(stream rpc.Stream) {
	id := stream.Remote()
	v := s.admit(id)
	if v == nil {
		_ = stream.SetDeadline(time.Now().Add(whole))
		_, _ = stream.Write(appendAnswer(nil, statusBusy, 0))
		_ = stream.Close()
		return
	}
	defer s.leave(id, v)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = stream.Reset() })()
	err := s.answer(ctx, stream, v)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errDenied) {
		s.cfg.Logger.Debug("content: a stream ended", "peer", id, "error", err)
		_ = stream.Reset()
		return
	}
	_ = stream.Close()
}

// answer answers the requests of a stream, one after the other.
func (s *Server) answer(ctx context.Context, stream rpc.Stream, v *visitor) error {
	id := stream.Remote()
	var head []byte
	var allowed content.Root // the last one that was
	for {
		_ = stream.SetReadDeadline(time.Now().Add(idle))
		root, tokens, hashes, err := readRequest(stream, func() { _ = stream.SetReadDeadline(time.Now().Add(whole)) })
		if err != nil {
			return err
		}
		if root != allowed || len(tokens) > 0 {
			if err := s.allow(ctx, id, root, tokens); err != nil {
				_ = stream.SetWriteDeadline(time.Now().Add(whole))
				_, _ = stream.Write(appendAnswer(nil, statusDenied, 0))
				return fmt.Errorf("%w: %w", errDenied, err)
			}
			allowed = root
		}
		for _, h := range hashes {
			object, err := s.cfg.Store.Object(ctx, root, h)
			switch {
			case errors.Is(err, content.ErrObject):
				head, object = appendAnswer(head[:0], statusMissing, 0), nil
			case err != nil:
				return err
			default:
				head = appendAnswer(head[:0], statusOK, len(object))
			}
			for _, p := range []*pace{v.pace, s.all} {
				if err := p.wait(ctx, len(head)+len(object)); err != nil {
					return err
				}
			}
			_ = stream.SetWriteDeadline(time.Now().Add(objectTime))
			if _, err := stream.Write(head); err != nil {
				return err
			}
			if _, err := stream.Write(object); err != nil {
				return err
			}
			if s.cfg.Sent != nil && len(object) > 0 {
				s.cfg.Sent(id, root, len(object))
			}
		}
	}
}

func (s *Server) allow(ctx context.Context, id peer.ID, root content.Root, tokens [][]byte) error {
	if id == s.cfg.Network.Self() {
		return nil
	}
	if s.cfg.Allow == nil {
		return rpc.Errorf(rpc.PermissionDenied, "nothing is shared")
	}
	return s.cfg.Allow(ctx, id, root, tokens)
}

// pace holds bytes to a rate; nil holds nothing.
type pace struct {
	rate float64 // bytes a second
	mu   sync.Mutex
	free time.Time // when what was let through is over
}

func newPace(rate int64) *pace {
	if rate <= 0 {
		return nil
	}
	return &pace{rate: float64(rate)}
}

// wait waits until n more bytes may go.
func (p *pace) wait(ctx context.Context, n int) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	if p.free.Before(now) {
		p.free = now
	}
	until := p.free
	p.free = p.free.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
	p.mu.Unlock()
	if !until.After(now) {
		return nil
	}
	timer := time.NewTimer(until.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
