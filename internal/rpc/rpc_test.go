package rpc_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

var here, there = peer.ID{1}, peer.ID{2}

// service is what the called node does; a nil function is not implemented.
type service struct {
	wire.DRPCNetServiceUnimplementedServer
	ping    func(ctx context.Context, in *wire.PingRequest) (*wire.PingResponse, error)
	receive func(in *wire.ReceiveRequest, out wire.DRPCNetService_ReceiveStream) error
}

func (s *service) Ping(ctx context.Context, in *wire.PingRequest) (*wire.PingResponse, error) {
	return s.ping(ctx, in)
}

func (s *service) Receive(in *wire.ReceiveRequest, out wire.DRPCNetService_ReceiveStream) error {
	return s.receive(in, out)
}

// world is a caller and a called node.
type world struct {
	net      *memory.Network
	a, b     *rpc.Node
	onA, onB *memory.Node
	client   wire.DRPCNetServiceClient
}

func everybody(context.Context, *rpc.Call) error { return nil }

func newWorld(t testing.TB, s *service, called, calling rpc.Config, limits rpc.Limits) *world {
	t.Helper()
	w := &world{net: memory.New()}
	w.onA, w.onB = w.net.Join(here), w.net.Join(there)
	calling.Network, called.Network = w.onA, w.onB
	called.Logger = slog.New(slog.DiscardHandler)
	var err error
	if w.a, err = rpc.New(calling); err != nil {
		t.Fatal(err)
	}
	if w.b, err = rpc.New(called); err != nil {
		t.Fatal(err)
	}
	if err := w.b.Register(s, wire.DRPCNetServiceDescription{}, limits); err != nil {
		t.Fatal(err)
	}
	w.a.Start()
	w.b.Start()
	t.Cleanup(func() { w.a.Close(); w.b.Close() })
	w.client = wire.NewDRPCNetServiceClient(w.a.To(there, rpc.Normal))
	return w
}

func echo(_ context.Context, in *wire.PingRequest) (*wire.PingResponse, error) {
	return &wire.PingResponse{Payload: in.Payload}, nil
}

// soon waits for what must become true.
func soon(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("five seconds passed, and not yet: %s", what)
}

func TestErrorsTravel(t *testing.T) {
	var fail error
	w := newWorld(t, &service{ping: func(context.Context, *wire.PingRequest) (*wire.PingResponse, error) { return nil, fail }}, rpc.Config{Authorize: everybody}, rpc.Config{}, rpc.Limits{})
	for _, c := range []struct {
		err  error
		code rpc.Code
		text string
	}{
		{rpc.Errorf(rpc.NotFound, "no model %q", "x"), rpc.NotFound, `no model "x"`},
		{rpc.Errorf(rpc.Internal, "deep: %w", io.ErrUnexpectedEOF), rpc.Internal, "deep: unexpected EOF"},
		{errors.New("plain"), rpc.Unknown, "plain"},
		{context.Canceled, rpc.Canceled, ""},
		{rpc.Errorf(rpc.DataLoss, "%s", strings.Repeat("ä", rpc.MaxErrorText)), rpc.DataLoss, "ää"},
	} {
		fail = c.err
		_, err := w.client.Ping(t.Context(), &wire.PingRequest{})
		if rpc.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) || len(err.Error()) > rpc.MaxErrorText+100 {
			t.Errorf("%v came as %v (%v)", c.err, err, rpc.CodeOf(err))
		}
	}
	fail = &rpc.Error{Code: rpc.ResourceExhausted, Text: "later", RetryAfter: 1500 * time.Millisecond}
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{}); rpc.RetryAfter(err) != 1500*time.Millisecond {
		t.Errorf("RetryAfter came as %v", rpc.RetryAfter(err))
	}
	if _, err := w.client.About(t.Context(), &wire.AboutRequest{}); rpc.CodeOf(err) != rpc.Unimplemented {
		t.Errorf("a method that is not implemented: %v", err)
	}
}

func TestPanic(t *testing.T) {
	w := newWorld(t, &service{ping: func(context.Context, *wire.PingRequest) (*wire.PingResponse, error) { panic("a bug with a secret") }}, rpc.Config{Authorize: everybody}, rpc.Config{}, rpc.Limits{})
	for range 3 {
		_, err := w.client.Ping(t.Context(), &wire.PingRequest{})
		if rpc.CodeOf(err) != rpc.Internal || strings.Contains(err.Error(), "secret") {
			t.Errorf("a panic came as %v", err)
		}
	}
}

func TestDeadline(t *testing.T) {
	ended := make(chan error, 4)
	w := newWorld(t, &service{ping: func(ctx context.Context, in *wire.PingRequest) (*wire.PingResponse, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("the handler has no deadline")
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	}}, rpc.Config{Authorize: everybody}, rpc.Config{}, rpc.Limits{Timeout: 100 * time.Millisecond})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.client.Ping(ctx, &wire.PingRequest{}); !errors.Is(err, context.DeadlineExceeded) || rpc.CodeOf(err) != rpc.DeadlineExceeded {
		t.Errorf("the caller's deadline: %v", err)
	}
	<-ended
	// Without a deadline of the caller, the method's own.
	start := time.Now()
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{}); rpc.CodeOf(err) != rpc.DeadlineExceeded || time.Since(start) > 5*time.Second {
		t.Errorf("the method's deadline: %v after %v", err, time.Since(start))
	}
	<-ended
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := w.client.Ping(ctx, &wire.PingRequest{}); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller gives up: %v", err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the handler does not learn that the caller gave up")
	}
}

func TestWhoMayCall(t *testing.T) {
	w := newWorld(t, &service{ping: echo}, rpc.Config{}, rpc.Config{}, rpc.Limits{})
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{}); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("nobody is allowed, and yet: %v", err)
	}
	own := wire.NewDRPCNetServiceClient(w.b.To(there, rpc.Normal))
	if _, err := own.Ping(t.Context(), &wire.PingRequest{}); rpc.CodeOf(err) != rpc.Unavailable && err != nil {
		t.Errorf("the node itself: %v", err)
	}
	var got rpc.Call
	var fromHandler rpc.Call
	w = newWorld(t, &service{ping: func(ctx context.Context, in *wire.PingRequest) (*wire.PingResponse, error) {
		fromHandler, _ = rpc.FromContext(ctx)
		return echo(ctx, in)
	}}, rpc.Config{Authorize: func(_ context.Context, c *rpc.Call) error { got = *c; return nil }}, rpc.Config{Tokens: func(peer.ID) [][]byte { return [][]byte{[]byte("standing")} }}, rpc.Limits{})
	if _, err := w.client.Ping(rpc.WithTokens(t.Context(), []byte("one"), []byte("two")), &wire.PingRequest{}); err != nil {
		t.Fatal(err)
	}
	if got.Caller != here || got.Method != "/aval.v1.NetService/Ping" || got.Class != rpc.Normal || len(got.Tokens) != 2 || string(got.Tokens[1]) != "two" || fromHandler.Caller != here {
		t.Errorf("the call is seen as %+v", got)
	}
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{}); err != nil || len(got.Tokens) != 1 || string(got.Tokens[0]) != "standing" {
		t.Errorf("standing tokens: %v, %v", got.Tokens, err)
	}
	many := make([][]byte, rpc.MaxTokens+1)
	if _, err := w.client.Ping(rpc.WithTokens(t.Context(), many...), &wire.PingRequest{}); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("too many tokens: %v", err)
	}
	if _, err := w.client.Ping(rpc.WithTokens(t.Context(), make([]byte, rpc.MaxTokenBytes+1)), &wire.PingRequest{}); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("a token that is too large: %v", err)
	}
}

func TestLimits(t *testing.T) {
	release := make(chan struct{})
	var open atomic.Int32
	w := newWorld(t, &service{ping: func(_ context.Context, in *wire.PingRequest) (*wire.PingResponse, error) {
		if len(in.Payload) == 1 {
			open.Add(1)
			<-release
		}
		return &wire.PingResponse{}, nil
	}}, rpc.Config{Authorize: everybody, MaxMessage: 64 << 10}, rpc.Config{}, rpc.Limits{MaxCalls: 3, MaxMessage: 1 << 10})
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{Payload: make([]byte, 2<<10)}); rpc.CodeOf(err) != rpc.ResourceExhausted {
		t.Errorf("a message over the method's bound: %v", err)
	}
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{Payload: make([]byte, 1<<20)}); err == nil {
		t.Error("a message over the node's bound: no error")
	}
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{Payload: make([]byte, 8<<20)}); rpc.CodeOf(err) != rpc.ResourceExhausted {
		t.Errorf("a message over the caller's own bound: %v", err)
	}
	done := make(chan error, 3)
	for range 3 {
		go func() {
			_, err := w.client.Ping(t.Context(), &wire.PingRequest{Payload: []byte{1}})
			done <- err
		}()
	}
	soon(t, "three calls are open", func() bool {
		select {
		case err := <-done:
			t.Fatal(err)
		default:
		}
		return open.Load() == 3
	})
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{}); rpc.CodeOf(err) != rpc.ResourceExhausted || rpc.RetryAfter(err) == 0 {
		t.Errorf("a fourth call: %v", err)
	}
	close(release)
	for range 3 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{}); err != nil {
		t.Errorf("after them: %v", err)
	}
}

func TestRate(t *testing.T) {
	w := newWorld(t, &service{ping: echo}, rpc.Config{Authorize: everybody, CallRate: 10}, rpc.Config{}, rpc.Limits{})
	refused := 0
	for range 100 {
		_, err := w.client.Ping(t.Context(), &wire.PingRequest{})
		switch rpc.CodeOf(err) {
		case rpc.OK:
		case rpc.ResourceExhausted:
			if after := rpc.RetryAfter(err); after <= 0 || after > 200*time.Millisecond {
				t.Fatalf("RetryAfter is %v at ten calls a second", after)
			}
			refused++
		default:
			t.Fatal(err)
		}
	}
	if refused < 60 || refused > 80 {
		t.Errorf("%d of 100 calls were refused; 21 may come at once", refused)
	}
}

// TestObserve holds that both sides are told of every call.
func TestObserve(t *testing.T) {
	events := make(chan rpc.Event, 8)
	tell := func(e rpc.Event) { events <- e }
	w := newWorld(t, &service{ping: echo}, rpc.Config{Authorize: everybody, Observe: tell}, rpc.Config{Observe: tell}, rpc.Limits{MaxMessage: 100})
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{Payload: []byte("five!")}); err != nil {
		t.Fatal(err)
	}
	sides := map[bool]rpc.Event{}
	for range 2 {
		e := <-events
		sides[e.Served] = e
	}
	if e := sides[true]; e.Peer != here || e.Method != "/aval.v1.NetService/Ping" || e.Code != rpc.OK || e.In != 7 || e.Out != 7 {
		t.Errorf("the called node is told %+v", e)
	}
	if e := sides[false]; e.Peer != there || e.Class != rpc.Normal || e.Code != rpc.OK || e.Took <= 0 || e.In != 7 || e.Out != 7 {
		t.Errorf("the caller is told %+v", e)
	}
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{Payload: make([]byte, 200)}); err == nil {
		t.Fatal("a message over the bound")
	}
	for range 2 {
		if e := <-events; e.Code != rpc.ResourceExhausted {
			t.Errorf("of a refused call: %+v", e)
		}
	}
}

// TestBackPressure lets a caller stop reading: the handler must stop writing.
func TestBackPressure(t *testing.T) {
	var sent atomic.Int64
	ended := make(chan error, 1)
	w := newWorld(t, &service{receive: func(_ *wire.ReceiveRequest, out wire.DRPCNetService_ReceiveStream) error {
		for {
			if err := out.Send(&wire.ReceiveResponse{Data: make([]byte, 64<<10)}); err != nil {
				ended <- err
				return err
			}
			sent.Add(64 << 10)
		}
	}}, rpc.Config{Authorize: everybody}, rpc.Config{}, rpc.Limits{})
	s, err := w.client.Receive(t.Context(), &wire.ReceiveRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Recv(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond)
	before := sent.Load()
	time.Sleep(100 * time.Millisecond)
	if after := sent.Load(); after != before || after > 4<<20 {
		t.Errorf("%d bytes were sent to one who does not read, then %d", before, after)
	}
	_ = s.Close()
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the handler does not learn that the caller closed")
	}
}

func TestCut(t *testing.T) {
	began := make(chan struct{}, 8)
	w := newWorld(t, &service{ping: func(ctx context.Context, in *wire.PingRequest) (*wire.PingResponse, error) {
		if len(in.Payload) == 1 {
			began <- struct{}{}
			<-ctx.Done()
		}
		return &wire.PingResponse{}, nil
	}}, rpc.Config{Authorize: everybody}, rpc.Config{}, rpc.Limits{})
	failed := make(chan error, 1)
	go func() {
		_, err := w.client.Ping(t.Context(), &wire.PingRequest{Payload: []byte{1}})
		failed <- err
	}()
	<-began
	w.net.Cut(here, there)
	if err := <-failed; rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("the link is cut in mid-call: %v", err)
	}
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{}); rpc.CodeOf(err) != rpc.Unavailable {
		t.Errorf("a call while it is cut: %v", err)
	}
	w.net.Mend(here, there)
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{}); err != nil {
		t.Errorf("after the link is back: %v", err)
	}
}

// TestHostile sends a node everything but calls, and asks after it whether it
// still serves others, and has let go of everything.
func TestHostile(t *testing.T) {
	w := newWorld(t, &service{ping: echo}, rpc.Config{Authorize: everybody, MaxCalls: 16, Idle: 200 * time.Millisecond}, rpc.Config{}, rpc.Limits{Timeout: 300 * time.Millisecond})
	if _, err := w.client.Ping(t.Context(), &wire.PingRequest{}); err != nil {
		t.Fatal(err)
	}
	start := runtime.NumGoroutine()
	bad := w.net.Join(peer.ID{66})
	attacks := map[string]func(s rpc.Stream){
		"silence": func(rpc.Stream) {},
		"garbage": func(s rpc.Stream) { _, _ = s.Write(bytes.Repeat([]byte{0xff, 0x13, 0x37}, 100_000)) },
		"zeros":   func(s rpc.Stream) { _, _ = s.Write(make([]byte, 1<<20)) },
		"a frame without end": func(s rpc.Stream) {
			_, _ = s.Write([]byte{0x02, 1, 1, 0xff, 0xff, 0xff, 0xff, 0x7f})
			for range 1000 {
				if _, err := s.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		},
		"half a call":        func(s rpc.Stream) { _, _ = s.Write([]byte{0x02, 1, 1, 24, '/', 'a'}) },
		"a call, no message": func(s rpc.Stream) { _, _ = s.Write(append([]byte{0x03, 1, 1, 24}, "/aval.v1.NetService/Ping"...)) },
		"half closed":        func(s rpc.Stream) { _ = s.CloseWrite() },
		"reset":              func(s rpc.Stream) { _ = s.Reset() },
	}
	for name, attack := range attacks {
		for range 40 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			s, err := bad.Open(ctx, there, "/aval/rpc/1/normal", rpc.Normal)
			cancel()
			if err != nil {
				continue
			}
			_ = s.SetDeadline(time.Now().Add(500 * time.Millisecond))
			go attack(s)
		}
		if _, err := w.client.Ping(t.Context(), &wire.PingRequest{Payload: []byte("still there?")}); err != nil {
			t.Errorf("%s: another peer's call: %v", name, err)
		}
	}
	bad.Leave()
	soon(t, "everything is let go", func() bool { return runtime.NumGoroutine() <= start+2 })
}

func FuzzServer(f *testing.F) {
	f.Add(append([]byte{0x03, 1, 1, 24}, "/aval.v1.NetService/Ping"...))
	f.Add([]byte{0xff, 0xff, 0xff})
	f.Add([]byte{})
	w := newWorld(f, &service{ping: echo}, rpc.Config{Authorize: everybody, MaxMessage: 4 << 10}, rpc.Config{}, rpc.Limits{})
	bad := w.net.Join(peer.ID{66})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := bad.Open(t.Context(), there, "/aval/rpc/1/normal", rpc.Normal)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.SetDeadline(time.Now().Add(2 * time.Second))
		_, _ = s.Write(data)
		_ = s.CloseWrite()
		_, _ = io.Copy(io.Discard, io.LimitReader(s, 1<<20))
		_ = s.Reset()
	})
}
