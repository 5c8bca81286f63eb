package private_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/private"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

func key(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func id(n byte) peer.ID { return peer.FromPrivate(key(n)) }

const (
	asker    = 1
	relay    = 2
	provider = 3
	stranger = 4
)

// tap sees all bytes that pass a node, as the device that runs it could.
type tap struct {
	rpc.Network
	mu  sync.Mutex
	all bytes.Buffer
	met map[peer.ID]bool
}

func (t *tap) Open(ctx context.Context, to peer.ID, name string, class rpc.Class) (rpc.Stream, error) {
	s, err := t.Network.Open(ctx, to, name, class)
	if err != nil {
		return nil, err
	}
	return t.listen(s), nil
}

func (t *tap) Handle(name string, handler func(rpc.Stream)) {
	if handler == nil {
		t.Network.Handle(name, nil)
		return
	}
	t.Network.Handle(name, func(s rpc.Stream) { handler(t.listen(s)) })
}

func (t *tap) listen(s rpc.Stream) rpc.Stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.met[s.Remote()] = true
	return heard{s, t}
}

// seen is all that passed so far.
func (t *tap) seen() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Clone(t.all.Bytes())
}

func (t *tap) knows(id peer.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.met[id]
}

func (t *tap) hear(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all.Write(p)
}

type heard struct {
	rpc.Stream
	t *tap
}

func (h heard) Read(p []byte) (int, error) {
	n, err := h.Stream.Read(p)
	h.t.hear(p[:n])
	return n, err
}

func (h heard) Write(p []byte) (int, error) {
	h.t.hear(p)
	return h.Stream.Write(p)
}

// three is an asker, a relay and a provider, and what each of the two hops sees.
type three struct {
	calls  map[byte]*rpc.Node
	taps   map[byte]*tap
	passed atomic.Int64 // requests that the relay was asked to allow
}

func newThree(t *testing.T, handle private.Handler) *three {
	net := memory.New()
	w := &three{calls: map[byte]*rpc.Node{}, taps: map[byte]*tap{}}
	for _, n := range []byte{asker, relay, provider, stranger} {
		w.taps[n] = &tap{Network: net.Join(id(n)), met: map[peer.ID]bool{}}
		calls, err := rpc.New(rpc.Config{Network: w.taps[n], Authorize: func(context.Context, *rpc.Call) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		cfg := private.ServiceConfig{Key: key(n)}
		switch n {
		case relay:
			cfg.Relay = func(_ context.Context, who, to peer.ID, _ [][]byte, use bool) error {
				if use {
					w.passed.Add(1)
				}
				if who != id(asker) || to != id(provider) {
					return rpc.Errorf(rpc.PermissionDenied, "not you")
				}
				return nil
			}
		case provider:
			cfg.Provide = func(_ context.Context, who peer.ID, _ [][]byte) error {
				if who != id(relay) {
					return rpc.Errorf(rpc.PermissionDenied, "only the relay")
				}
				return nil
			}
			cfg.Handle = handle
		}
		if err := private.Register(calls, cfg); err != nil {
			t.Fatal(err)
		}
		calls.Start()
		t.Cleanup(func() { calls.Close() })
		w.calls[n] = calls
	}
	return w
}

func (w *three) ask(request string, receive func([]byte) error) error {
	return private.Ask(context.Background(), w.calls[asker], id(relay), id(provider), []byte(request), receive)
}

func TestAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const question, reply = "what only the provider may read", "what only the asker may read"
		w := newThree(t, func(_ context.Context, request []byte, send func([]byte) error) error {
			if string(request) != question {
				t.Errorf("the provider reads %q", request)
			}
			for range 3 {
				if err := send([]byte(reply)); err != nil {
					return err
				}
			}
			return nil
		})
		var got []string
		if err := w.ask(question, func(b []byte) error { got = append(got, string(b)); return nil }); err != nil {
			t.Fatal(err)
		}
		if n := w.passed.Load(); n != 1 {
			t.Errorf("one question counts as %d uses of the relay", n)
		}
		if strings.Join(got, "|") != reply+"|"+reply+"|"+reply {
			t.Errorf("%q", got)
		}
		seen := w.taps[relay].seen()
		if len(seen) < 2000 || bytes.Contains(seen, []byte("only the")) {
			t.Errorf("the relay sees %d bytes, with what is asked or answered in them", len(seen))
		}
		if w.taps[provider].knows(id(asker)) || !w.taps[provider].knows(id(relay)) || bytes.Contains(w.taps[provider].seen(), id(asker).Public()) {
			t.Error("the provider sees who asks")
		}
		if w.taps[asker].knows(id(provider)) {
			t.Error("the asker met the provider")
		}

		// Requests of one size class cannot be told apart by their length.
		lengths := map[int]bool{}
		config := keyOf(t, w)
		for _, n := range []int{0, 1, 500, 1020} {
			s, err := private.Seal(config, make([]byte, n))
			if err != nil {
				t.Fatal(err)
			}
			lengths[len(s.Bytes)] = true
		}
		if len(lengths) != 1 {
			t.Errorf("%d lengths", len(lengths))
		}
	})
}

// keyOf asks the provider for its key.
func keyOf(t *testing.T, w *three) *private.Config {
	t.Helper()
	k, err := wire.NewDRPCPrivateServiceClient(w.calls[stranger].To(id(provider), rpc.Normal)).PrivateKey(t.Context(), &wire.PrivateKeyRequest{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := private.OpenConfig(id(provider), k.Config, time.Unix(k.Expires, 0), k.Signature, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newThree(t, func(ctx context.Context, request []byte, send func([]byte) error) error {
			switch string(request) {
			case "fail":
				return errors.New("a secret reason")
			case "large":
				return send(make([]byte, private.MaxChunk+1))
			case "endless":
				for {
					if err := send(make([]byte, private.MaxChunk)); err != nil {
						return err
					}
				}
			case "wait":
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		})
		nothing := func([]byte) error { return nil }
		var told *private.ErrAnswer
		if err := w.ask("fail", nothing); !errors.As(err, &told) || told.Text != "a secret reason" {
			t.Errorf("a failure: %v", err)
		}
		if bytes.Contains(w.taps[relay].seen(), []byte("secret reason")) {
			t.Error("the relay learns why it failed")
		}
		for _, request := range []string{"large", "endless"} {
			if err := w.ask(request, nothing); err == nil {
				t.Errorf("%s: no error", request)
			}
		}
		if err := w.ask(strings.Repeat("x", private.MaxRequest+1), nothing); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Errorf("a request that is too large: %v", err)
		}
		for name, c := range map[string]struct {
			from      byte
			via, to   peer.ID
			want      rpc.Code
			otherwise string
		}{
			"a stranger at the relay":     {stranger, id(relay), id(provider), rpc.PermissionDenied, ""},
			"to somebody else":            {asker, id(relay), id(stranger), rpc.PermissionDenied, ""},
			"through who is no relay":     {asker, id(stranger), id(provider), rpc.PermissionDenied, ""},
			"relay and provider are one":  {asker, id(provider), id(provider), rpc.InvalidArgument, ""},
			"the asker is its own relay":  {relay, id(relay), id(provider), rpc.InvalidArgument, ""},
			"a provider that is not here": {asker, id(9), id(provider), rpc.Unavailable, ""},
		} {
			if err := private.Ask(t.Context(), w.calls[c.from], c.via, c.to, nil, nothing); rpc.CodeOf(err) != c.want {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Who brings a request without being the relay is refused.
		s, err := private.Seal(keyOf(t, w), nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := unseal(t, w.calls[stranger], s.Bytes); rpc.CodeOf(err) != rpc.PermissionDenied {
			t.Errorf("not the relay: %v", err)
		}
		// One request is answered once, and one that is damaged not at all.
		if err := unseal(t, w.calls[relay], s.Bytes); err != nil {
			t.Errorf("the first time: %v", err)
		}
		if err := unseal(t, w.calls[relay], s.Bytes); rpc.CodeOf(err) != rpc.AlreadyExists {
			t.Errorf("the second time: %v", err)
		}
		for i := 0; i < len(s.Bytes); i += 97 {
			bad := bytes.Clone(s.Bytes)
			bad[i] ^= 1
			if err := unseal(t, w.calls[relay], bad); rpc.CodeOf(err) != rpc.InvalidArgument {
				t.Errorf("byte %d: %v", i, err)
			}
		}
		// More at a time than the relay passes on for one peer.
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _ = private.Ask(ctx, w.calls[asker], id(relay), id(provider), []byte("wait"), nothing) })
		}
		synctest.Wait()
		if err := w.ask("", nothing); rpc.CodeOf(err) != rpc.ResourceExhausted {
			t.Errorf("a fifth at a time: %v", err)
		}
		cancel()
		wg.Wait()
		time.Sleep(time.Second)
		if err := w.ask("", nothing); err != nil {
			t.Errorf("after the others have gone: %v", err)
		}
		// The keys change, and what was sealed to an old one is answered for a while.
		old, err := private.Seal(keyOf(t, w), nil)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(13 * time.Hour)
		if err := w.ask("", nothing); err != nil {
			t.Error(err)
		}
		if err := unseal(t, w.calls[relay], old.Bytes); err != nil {
			t.Errorf("a key of 13 hours: %v", err)
		}
		time.Sleep(12 * time.Hour)
		if err := w.ask("", nothing); err != nil {
			t.Error(err)
		}
		if err := unseal(t, w.calls[relay], old.Bytes); err == nil {
			t.Error("a key of 25 hours still opens")
		}
	})
}

// One relay does not take all places of a provider.
func TestPlacesOfARelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newThree(t, func(ctx context.Context, request []byte, _ func([]byte) error) error {
			if string(request) == "wait" {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		bring := func(ctx context.Context, from *rpc.Node, request string) error {
			s, err := private.Seal(keyOf(t, w), []byte(request))
			if err != nil {
				return err
			}
			stream, err := wire.NewDRPCPrivateServiceClient(from.To(id(provider), rpc.Normal)).Unseal(ctx, &wire.UnsealRequest{Sealed: s.Bytes})
			if err != nil {
				return err
			}
			defer stream.Close()
			_, err = stream.Recv()
			return err
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { _ = bring(ctx, w.calls[relay], "wait") })
		}
		synctest.Wait()
		if err := bring(t.Context(), w.calls[relay], ""); rpc.CodeOf(err) != rpc.ResourceExhausted {
			t.Errorf("a ninth of one relay: %v", err)
		}
		if err := bring(t.Context(), w.calls[provider], ""); err != nil {
			t.Errorf("another one: %v", err)
		}
		cancel()
		wg.Wait()
		time.Sleep(time.Second)
		if err := bring(t.Context(), w.calls[relay], ""); err != nil {
			t.Errorf("after the others have gone: %v", err)
		}
	})
}

// A provider that was started again has other keys. The relay, which keeps the old
// one, finds out, and the asker notices nothing.
func TestProviderStartsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := 0
		handle := func(_ context.Context, _ []byte, send func([]byte) error) error {
			answers++
			return send([]byte("yes"))
		}
		w := newThree(t, handle)
		ask := func() (got string, err error) {
			err = w.ask("?", func(b []byte) error { got += string(b); return nil })
			return got, err
		}
		if got, err := ask(); err != nil || got != "yes" {
			t.Fatalf("%q, %v", got, err)
		}
		if err := w.calls[provider].Close(); err != nil {
			t.Fatal(err)
		}
		calls, err := rpc.New(rpc.Config{Network: w.taps[provider], Authorize: func(context.Context, *rpc.Call) error { return nil }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { calls.Close() })
		allow := func(context.Context, peer.ID, [][]byte) error { return nil }
		if err := private.Register(calls, private.ServiceConfig{Key: key(provider), Provide: allow, Handle: handle}); err != nil {
			t.Fatal(err)
		}
		calls.Start()
		w.calls[provider] = calls
		time.Sleep(time.Minute) // less than the relay keeps a key for
		if got, err := ask(); err != nil || got != "yes" || answers != 2 {
			t.Errorf("%q, %v, after %d answers", got, err, answers)
		}
	})
}

func unseal(t *testing.T, calls *rpc.Node, sealed []byte) error {
	t.Helper()
	stream, err := wire.NewDRPCPrivateServiceClient(calls.To(id(provider), rpc.Normal)).Unseal(t.Context(), &wire.UnsealRequest{Sealed: sealed})
	if err != nil {
		return err
	}
	defer stream.Close()
	_, err = stream.Recv()
	return err
}

// A relay that puts its own key in place of the provider's is found out, and so
// is one that alters, drops, repeats or reorders parts of the answer.
func TestHostileRelay(t *testing.T) {
	for name, alter := range map[string]func([][]byte) [][]byte{
		"nothing":   func(p [][]byte) [][]byte { return p },
		"alters":    func(p [][]byte) [][]byte { p[1][5] ^= 1; return p },
		"drops":     func(p [][]byte) [][]byte { return append(p[:1:1], p[2:]...) },
		"cuts":      func(p [][]byte) [][]byte { return p[:2] },
		"all gone":  func([][]byte) [][]byte { return nil },
		"repeats":   func(p [][]byte) [][]byte { return append([][]byte{p[0], p[1], p[1]}, p[2:]...) },
		"reorders":  func(p [][]byte) [][]byte { p[1], p[2] = p[2], p[1]; return p },
		"adds":      func(p [][]byte) [][]byte { return append(p, make([]byte, 300)) },
		"empties":   func(p [][]byte) [][]byte { p[0] = nil; return p },
		"stretches": func(p [][]byte) [][]byte { p[2] = make([]byte, 80<<10); return p },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newThree(t, func(_ context.Context, _ []byte, send func([]byte) error) error {
					for _, s := range []string{"one", "two", "three"} {
						if err := send([]byte(s)); err != nil {
							return err
						}
					}
					return nil
				})
				evil := w.hostile(t, alter, nil)
				var got []string
				err := private.Ask(t.Context(), w.calls[asker], evil, id(provider), nil, func(b []byte) error { got = append(got, string(b)); return nil })
				if ok := name == "nothing"; (err == nil) != ok || !ok && rpc.CodeOf(err) != rpc.DataLoss {
					t.Errorf("%q, %v", got, err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		w := newThree(t, func(context.Context, []byte, func([]byte) error) error { return nil })
		evil := w.hostile(t, nil, func(k *wire.PrivateKeyResponse) { k.Expires++ })
		if err := private.Ask(t.Context(), w.calls[asker], evil, id(provider), nil, nil); err == nil || !strings.Contains(err.Error(), "another one in its place") {
			t.Errorf("a key that the provider did not sign: %v", err)
		}
	})
}

// hostile makes the stranger a relay that changes what it passes on.
func (w *three) hostile(t *testing.T, alter func([][]byte) [][]byte, change func(*wire.PrivateKeyResponse)) peer.ID {
	t.Helper()
	net := memory.New()
	// The asker sees only the hostile relay, which has the real network behind it.
	node := net.Join(id(stranger))
	calls, err := rpc.New(rpc.Config{Network: node, Authorize: func(context.Context, *rpc.Call) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := calls.Register(&evil{w: w, alter: alter, change: change}, wire.DRPCPrivateServiceDescription{}, rpc.Limits{}); err != nil {
		t.Fatal(err)
	}
	calls.Start()
	t.Cleanup(func() { calls.Close() })
	me, err := rpc.New(rpc.Config{Network: net.Join(id(asker))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { me.Close() })
	w.calls[asker] = me
	return id(stranger)
}

type evil struct {
	wire.DRPCPrivateServiceUnimplementedServer
	w      *three
	alter  func([][]byte) [][]byte
	change func(*wire.PrivateKeyResponse)
}

func (e *evil) PrivateKey(ctx context.Context, _ *wire.PrivateKeyRequest) (*wire.PrivateKeyResponse, error) {
	k, err := wire.NewDRPCPrivateServiceClient(e.w.calls[relay].To(id(provider), rpc.Normal)).PrivateKey(ctx, &wire.PrivateKeyRequest{})
	if err == nil && e.change != nil {
		e.change(k)
	}
	return k, err
}

func (e *evil) Forward(in *wire.ForwardRequest, stream wire.DRPCPrivateService_ForwardStream) error {
	next, err := wire.NewDRPCPrivateServiceClient(e.w.calls[relay].To(id(provider), rpc.Normal)).Unseal(stream.Context(), &wire.UnsealRequest{Sealed: in.Sealed})
	if err != nil {
		return err
	}
	var parts [][]byte
	for {
		out, err := next.Recv()
		if err != nil {
			break
		}
		parts = append(parts, out.Sealed)
	}
	for _, p := range e.alter(parts) {
		if err := stream.Send(&wire.ForwardResponse{Sealed: p}); err != nil {
			return err
		}
	}
	return nil
}
