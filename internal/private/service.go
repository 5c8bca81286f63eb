package private

import (
	stdcontext "context"
	"crypto/ed25519"
	"crypto/hpke"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

// Limits of what the two hops do for one peer.
const (
	maxAsked   = 4  // requests of one peer that a relay passes on at a time
	maxPassed  = 64 // of all peers
	maxOpened  = 16 // requests that a provider answers at a time
	maxBrought = 8  // of one relay
	askTime    = 10 * time.Minute
	maxKeys    = 256 // of providers that a relay keeps
	keyFetched = time.Hour
)

// Methods are those of the service. They decide themselves who may call them:
// a guard lets everybody through to them.
var Methods = []string{"/aval.v1.PrivateService/PrivateKey", "/aval.v1.PrivateService/Forward", "/aval.v1.PrivateService/Unseal"}

// Handler answers a request; send sends parts of the answer, at most MaxChunk
// bytes each. It does not learn who asks.
type Handler func(ctx stdcontext.Context, request []byte, send func([]byte) error) error

// ServiceConfig is what a node does for others.
type ServiceConfig struct {
	Key ed25519.PrivateKey // signs the keys of this node as a provider
	// Relay allows a peer to have its requests passed on to a provider; nil: nobody
	// may. use says that one is passed on now; else the peer only wants to know the
	// provider's key.
	Relay func(ctx stdcontext.Context, who, provider peer.ID, tokens [][]byte, use bool) error
	// Provide allows a relay to bring requests, and Handle answers them; nil: there
	// are none.
	Provide func(ctx stdcontext.Context, relay peer.ID, tokens [][]byte) error
	Handle  Handler
}

type service struct {
	cfg            ServiceConfig
	calls          *rpc.Node
	ring           *keyring
	opened, passed *places
	mu             sync.Mutex
	known          map[peer.ID]knownKey
}

// knownKey is the key of a provider that a relay has asked for.
type knownKey struct {
	response *wire.PrivateKeyResponse
	at       time.Time
}

// Register serves private requests on a node.
func Register(calls *rpc.Node, cfg ServiceConfig) error {
	s := &service{
		cfg: cfg, calls: calls, ring: &keyring{sign: cfg.Key, now: time.Now}, opened: newPlaces(maxOpened, maxBrought), passed: newPlaces(maxPassed, maxAsked),
		known: map[peer.ID]knownKey{},
	}
	return calls.Register(s, wire.DRPCPrivateServiceDescription{}, rpc.Limits{MaxMessage: maxSealed + 1024, Timeout: askTime})
}

// caller is who calls, and with which tokens.
func caller(ctx stdcontext.Context) (peer.ID, [][]byte) {
	c, _ := rpc.FromContext(ctx)
	return c.Caller, c.Tokens
}

// providerID reads the key of a provider.
func providerID(b []byte) (id peer.ID, err error) {
	if len(b) != len(id) {
		return id, rpc.Errorf(rpc.InvalidArgument, "the provider's key has %d bytes, want %d", len(b), len(id))
	}
	return peer.ID(b), nil
}

// mayPass asks whether a peer may have requests passed on.
func (s *service) mayPass(ctx stdcontext.Context, provider peer.ID, use bool) (peer.ID, error) {
	who, tokens := caller(ctx)
	if who == s.calls.Self() {
		return who, nil
	}
	if s.cfg.Relay == nil {
		return who, rpc.Errorf(rpc.PermissionDenied, "this node passes no private requests on")
	}
	return who, s.cfg.Relay(ctx, who, provider, tokens, use)
}

// PrivateKey gives this node's key, or, as a relay, that of a provider.
func (s *service) PrivateKey(ctx stdcontext.Context, in *wire.PrivateKeyRequest) (*wire.PrivateKeyResponse, error) {
	if len(in.Provider) == 0 {
		if s.cfg.Handle == nil {
			return nil, rpc.Errorf(rpc.Unimplemented, "this node answers no private requests")
		}
		k, err := s.ring.current()
		if err != nil {
			return nil, rpc.Errorf(rpc.Internal, "%w", err)
		}
		return &wire.PrivateKeyResponse{Config: k.config, Expires: k.end.Unix(), Signature: k.signature}, nil
	}
	provider, err := providerID(in.Provider)
	if err == nil {
		_, err = s.mayPass(ctx, provider, false)
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	k, ok := s.known[provider]
	s.mu.Unlock()
	if now := time.Now(); ok && now.Sub(k.at) < keyFetched && now.Unix() < k.response.Expires {
		return k.response, nil
	}
	out, err := wire.NewDRPCPrivateServiceClient(s.calls.To(provider, rpc.Normal)).PrivateKey(ctx, &wire.PrivateKeyRequest{})
	if err != nil {
		return nil, err
	}
	if _, err := OpenConfig(provider, out.Config, time.Unix(out.Expires, 0), out.Signature, time.Now()); err != nil {
		return nil, rpc.Errorf(rpc.DataLoss, "%w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxKeys {
		clear(s.known)
	}
	s.known[provider] = knownKey{out, time.Now()}
	return out, nil
}

// stale tells whether an error of Unseal may mean that the key is not used any
// more, as after the provider was started again.
func stale(err error) bool {
	code := rpc.CodeOf(err)
	return code == rpc.InvalidArgument || code == rpc.FailedPrecondition
}

// forgetAfter is how old a key must be to be asked for again before its time:
// whoever sends what cannot be opened does not make the relay ask each time.
const forgetAfter = time.Second

// forget makes a relay ask for the key of a provider again.
func (s *service) forget(provider peer.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k, ok := s.known[provider]; ok && time.Since(k.at) >= forgetAfter {
		delete(s.known, provider)
	}
}

// places are those of requests at a time: of all peers, and of each.
type places struct {
	all, each int
	mu        sync.Mutex
	taken     map[peer.ID]int
	sum       int
}

func newPlaces(all, each int) *places {
	return &places{all: all, each: each, taken: map[peer.ID]int{}}
}

// take counts a request of a peer in, until leave.
func (p *places) take(id peer.ID) (leave func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sum >= p.all || p.taken[id] >= p.each {
		return nil, &rpc.Error{Code: rpc.ResourceExhausted, Text: "too many private requests at a time", RetryAfter: time.Second}
	}
	p.sum++
	p.taken[id]++
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.sum--
		if p.taken[id]--; p.taken[id] == 0 {
			delete(p.taken, id)
		}
	}, nil
}

// Forward passes a request on. The provider sees this node alone: nothing of the
// caller's goes along.
func (s *service) Forward(in *wire.ForwardRequest, stream wire.DRPCPrivateService_ForwardStream) error {
	ctx := stream.Context()
	provider, err := providerID(in.Provider)
	if err != nil {
		return err
	}
	who, err := s.mayPass(ctx, provider, true)
	if err != nil {
		return err
	}
	if len(in.Sealed) > maxSealed {
		return rpc.Errorf(rpc.InvalidArgument, "a sealed request of %d bytes, want at most %d", len(in.Sealed), maxSealed)
	}
	leave, err := s.passed.take(who)
	if err != nil {
		return err
	}
	defer leave()
	// Not the caller's own deadline, which would say something of it.
	limited, cancel := stdcontext.WithTimeout(stdcontext.WithoutCancel(ctx), askTime)
	defer cancel()
	defer stdcontext.AfterFunc(ctx, cancel)()
	next, err := wire.NewDRPCPrivateServiceClient(s.calls.To(provider, rpc.Normal)).Unseal(limited, &wire.UnsealRequest{Sealed: in.Sealed})
	if err != nil {
		return err
	}
	defer next.Close()
	total := 0
	for {
		out, err := next.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			if total == 0 && stale(err) {
				s.forget(provider)
			}
			return err
		}
		if total += len(out.Sealed); total > 2*MaxAnswer {
			return rpc.Errorf(rpc.ResourceExhausted, "the answer has more than %d bytes", 2*MaxAnswer)
		}
		if err := stream.Send(&wire.ForwardResponse{Sealed: out.Sealed}); err != nil {
			return err
		}
	}
}

// Unseal answers a request.
func (s *service) Unseal(in *wire.UnsealRequest, stream wire.DRPCPrivateService_UnsealStream) error {
	ctx := stream.Context()
	relay, tokens := caller(ctx)
	if s.cfg.Handle == nil {
		return rpc.Errorf(rpc.Unimplemented, "this node answers no private requests")
	}
	if relay != s.calls.Self() {
		if s.cfg.Provide == nil {
			return rpc.Errorf(rpc.PermissionDenied, "this node takes private requests from nobody")
		}
		if err := s.cfg.Provide(ctx, relay, tokens); err != nil {
			return err
		}
	}
	leave, err := s.opened.take(relay)
	if err != nil {
		return err
	}
	defer leave()
	var key *ringKey
	o, err := Open(func(id byte) hpke.PrivateKey {
		if key = s.ring.find(id); key == nil {
			return nil
		}
		return key.private
	}, in.Sealed)
	if err == nil {
		err = s.ring.first(key, sha256.Sum256(o.Enc))
	} else {
		err = rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	if err != nil {
		return err
	}
	answer, err := o.Answer()
	if err != nil {
		return rpc.Errorf(rpc.Internal, "%w", err)
	}
	total := 0
	send := func(kind byte, data []byte) error {
		if len(data) > MaxChunk {
			return rpc.Errorf(rpc.Internal, "a part of %d bytes, want at most %d", len(data), MaxChunk)
		}
		if total += len(data); total > MaxAnswer {
			return rpc.Errorf(rpc.ResourceExhausted, "the answer has more than %d bytes", MaxAnswer)
		}
		return stream.Send(&wire.UnsealResponse{Sealed: answer.part(kind, data)})
	}
	err = s.cfg.Handle(ctx, o.Request, func(b []byte) error { return send(partData, b) })
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil { // for the asker alone: the relay does not learn why
		text := err.Error()
		return send(partError, []byte(text[:min(len(text), rpc.MaxErrorText)]))
	}
	return send(partEnd, nil)
}

// Ask asks a provider through a relay; receive takes the parts of the answer. The
// error is an *ErrAnswer if the provider sealed one. Without an error the answer is
// whole.
func Ask(ctx stdcontext.Context, calls *rpc.Node, relay, provider peer.ID, request []byte, receive func([]byte) error) error {
	if relay == provider {
		return rpc.Errorf(rpc.InvalidArgument, "the relay and the provider are one: it would see who asks and what")
	}
	if relay == calls.Self() {
		return rpc.Errorf(rpc.InvalidArgument, "this node cannot be its own relay: the provider would see it")
	}
	// A provider that was started again has other keys, of which the relay learns
	// by the refusal. Each try is sealed anew, and nothing of an answer has come. A
	// relay that lies about the refusal has the provider answer twice, not more.
	again, err := ask(ctx, calls, relay, provider, request, receive)
	if again {
		_, err = ask(ctx, calls, relay, provider, request, receive)
	}
	return err
}

// ask is one try of Ask; again tells that another one may help.
func ask(ctx stdcontext.Context, calls *rpc.Node, relay, provider peer.ID, request []byte, receive func([]byte) error) (again bool, err error) {
	client := wire.NewDRPCPrivateServiceClient(calls.To(relay, rpc.Normal))
	k, err := client.PrivateKey(ctx, &wire.PrivateKeyRequest{Provider: provider[:]})
	if err != nil {
		return false, err
	}
	config, err := OpenConfig(provider, k.Config, time.Unix(k.Expires, 0), k.Signature, time.Now())
	if err != nil {
		return false, rpc.Errorf(rpc.DataLoss, "%w", err)
	}
	sealed, err := Seal(config, request)
	if err != nil {
		return false, rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	ctx, cancel := stdcontext.WithCancel(ctx)
	defer cancel()
	stream, err := client.Forward(ctx, &wire.ForwardRequest{Provider: provider[:], Sealed: sealed.Bytes})
	if err != nil {
		return false, err
	}
	defer stream.Close()
	parts, total := sealed.Reader(), 0
	for begun := false; ; begun = true {
		in, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			if !parts.Whole {
				return false, rpc.Errorf(rpc.DataLoss, "the answer was cut off on the way")
			}
			return false, nil
		}
		if err != nil {
			return !begun && stale(err), err
		}
		data, err := parts.Next(in.Sealed)
		var told *ErrAnswer
		switch {
		case errors.As(err, &told):
			return false, told
		case err != nil:
			return false, rpc.Errorf(rpc.DataLoss, "%w", err)
		}
		if total += len(data); total > MaxAnswer {
			return false, rpc.Errorf(rpc.ResourceExhausted, "the answer has more than %d bytes", MaxAnswer)
		}
		if len(data) > 0 {
			if err := receive(data); err != nil {
				return false, err
			}
		}
	}
}
