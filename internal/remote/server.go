package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// Host has the models that are served.
type Host interface {
	// Models lists them, at most MaxModels.
	Models(ctx context.Context) ([]Model, error)
	// Open takes a share of one, which it may have to load first. Close gives it
	// back.
	Open(ctx context.Context, name string) (Lease, error)
}

// Lease is a share of a model in memory: an *engine.Engine and what makes its
// receipts.
type Lease interface {
	Tokenize(text string, special bool) ([]int32, error)
	Render(in chat.Input) ([]int32, error)
	Generate(ctx context.Context, r engine.Request, on func(engine.Event) error) (*engine.Result, error)
	Context() int
	// Issuer makes the receipts; nil: there are none.
	Issuer() *issuer.Issuer
	// OpenTrace is audit.Auditor.Open, within the memory that the host allows.
	OpenTrace(ctx context.Context, f *receipt.File, c *audit.Challenge) (*trace.Opening, error)
	// Rerun computes the run of a receipt again, for a dispute. The context is that
	// of the dispute.
	Rerun(ctx context.Context, f *receipt.File) (Rerun, error)
	Close()
}

// ErrNoModel is what a host returns for a name that it does not know.
var ErrNoModel = errors.New("no such model is offered here")

// Config is how models are served. All but Host may be zero.
type Config struct {
	Host Host
	// Allow decides whether a peer may ask a model; tokens are the capability
	// tokens that came with the call, and use says that something is computed for it
	// now; else the model is only to be listed. Nil: whoever may make the call may ask
	// all.
	Allow func(ctx context.Context, who peer.ID, model string, tokens [][]byte, use bool) error
	// Answers are computed at the same time, and AnswersOfPeer of one peer; 0: 4
	// and 2. Queue may wait, of one peer as many as are computed; 0: 16.
	Answers, AnswersOfPeer, Queue int
	// MaxTokens bounds an answer; 0: 4,096.
	MaxTokens int
	// Timeout bounds the time of one; 0: 15 minutes.
	Timeout time.Duration
	// Keep is how long receipts are opened; 0: an hour. Kept and KeptBytes bound
	// how many there are and their memory; 0: 256 and 64 MiB.
	Keep      time.Duration
	Kept      int
	KeptBytes int64
	// Log keeps every receipt that is made for a peer, file and all, before the peer
	// gets it, and tells how many there are then; if it fails, so does the answer.
	// With it every answer to a peer has a receipt here, also if the peer wants
	// none. With LogOwn so do answers to the node itself. Nil: nothing is logged.
	Log    func(ctx context.Context, id receipt.Hash, file []byte) (size uint64, err error)
	LogOwn bool
	// Paid says whether a model answers a peer for payment only, by one of Sessions;
	// the context is that of the call. Nil: none does. A caller pays for Step
	// tokens ahead, and has PayWithin for it, in which the model may compute on what
	// is not given then; 0: 16, and 10 seconds.
	Paid      func(ctx context.Context, who peer.ID, m Model) bool
	Sessions  Sessions
	Step      int
	PayWithin time.Duration
	// Key is that of the receipts; with it disputes about them are played. Disputes
	// are played at the same time, DisputesOfPeer with one peer; 0: 2 and 1.
	Key                      ed25519.PrivateKey
	Disputes, DisputesOfPeer int
	// Ticks gives the clock of a dispute, one tick a second; nil: a real one.
	Ticks  func() (ticks <-chan time.Time, stop func())
	Logger *slog.Logger     // nil: slog.Default()
	Now    func() time.Time // nil: time.Now
}

func (c *Config) validate() error {
	if c.Host == nil {
		return errors.New("remote: no host is given")
	}
	if (c.Paid == nil) != (c.Sessions == nil) {
		return errors.New("remote: what is paid for, and the sessions that pay, are given together")
	}
	if c.Answers < 0 || c.AnswersOfPeer < 0 || c.Queue < 0 || c.MaxTokens < 0 || c.MaxTokens > MaxTokens || c.Timeout < 0 || c.Keep < 0 || c.Kept < 0 || c.KeptBytes < 0 ||
		c.Disputes < 0 || c.DisputesOfPeer < 0 || c.Step < 0 || c.PayWithin < 0 {
		return fmt.Errorf("remote: a limit is less than zero, or answers have more than %d tokens", MaxTokens)
	}
	defaultTo(&c.Answers, defaultAnswers)
	defaultTo(&c.AnswersOfPeer, defaultOfPeer)
	defaultTo(&c.Queue, defaultQueue)
	defaultTo(&c.MaxTokens, defaultTokens)
	defaultTo(&c.Timeout, defaultTimeout)
	defaultTo(&c.Keep, defaultKeep)
	defaultTo(&c.Kept, defaultKept)
	defaultTo(&c.KeptBytes, defaultKeptSize)
	defaultTo(&c.Disputes, defaultDisputes)
	defaultTo(&c.Step, defaultStep)
	defaultTo(&c.PayWithin, defaultPayWithin)
	defaultTo(&c.DisputesOfPeer, 1)
	if c.Ticks == nil {
		c.Ticks = seconds
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

func defaultTo[T comparable](v *T, value T) {
	var zero T
	if *v == zero {
		*v = value
	}
}

// Server answers peers.
type Server struct {
	cfg      Config
	self     peer.ID
	gate     *gate
	disputes *gate
	shelf    *shelf
	counter  counter

	mu     sync.Mutex
	speeds map[string]float64 // tokens a second of each model, the last answers counting most
}

// Speed is how many tokens a second a model gave lately; 0: not known yet.
func (s *Server) Speed(model string) float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.speeds[model]
}

// leastMeasured is how many tokens an answer must have to tell a speed.
const leastMeasured = 8

func (s *Server) measured(model string, res *engine.Result) {
	took := res.Timings.Generate.Seconds()
	if len(res.IDs) < leastMeasured || took <= 0 {
		return
	}
	rate := float64(len(res.IDs)-1) / took
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.speeds[model]; old > 0 {
		rate = (3*old + rate) / 4
	}
	s.speeds[model] = rate
}

// New makes the serving side.
func New(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, gate: newGate(cfg.Answers, cfg.AnswersOfPeer, cfg.Queue), disputes: newGate(cfg.Disputes, cfg.DisputesOfPeer, waitingDisputes),
		speeds: map[string]float64{}, counter: counter{tills: map[receipt.Hash]*selling{}},
		shelf: &shelf{most: cfg.Kept, bytes: cfg.KeptBytes, long: cfg.Keep, now: cfg.Now},
	}
	if cfg.Key != nil {
		s.self = peer.FromPrivate(cfg.Key)
	}
	return s, nil
}

// Register serves a node's peers.
func (s *Server) Register(n *rpc.Node) error {
	return n.Register(&service{s: s}, wire.DRPCInferenceServiceDescription{}, rpc.Limits{MaxMessage: maxRequest, Timeout: s.cfg.Timeout})
}

// service is the server as generated code calls it.
type service struct{ s *Server }

func (v *service) Models(ctx context.Context, _ *wire.ModelsRequest) (*wire.ModelsResponse, error) {
	return v.s.models(ctx)
}

func (v *service) Answer(in *wire.AnswerRequest, stream wire.DRPCInferenceService_AnswerStream) error {
	return v.s.answer(stream.Context(), in, stream.Send, false)
}

// Handler answers requests that come in another way: the bytes of an
// AnswerRequest in, those of each AnswerResponse out. It is for whoever carries
// them, in an envelope of its own; the context's call, if there is one, is the
// carrier's.
func (s *Server) Handler() func(ctx context.Context, request []byte, send func([]byte) error) error {
	return func(ctx context.Context, request []byte, send func([]byte) error) error {
		if len(request) > maxRequest {
			return requestErrorf("a request of %d bytes, want at most %d", len(request), maxRequest)
		}
		in := &wire.AnswerRequest{}
		if err := wire.Unmarshal(request, in); err != nil {
			return requestErrorf("the request cannot be read: %w", err)
		}
		ctx, cancel := context.WithTimeout(ctx, s.cfg.Timeout)
		defer cancel()
		return s.answer(ctx, in, func(out *wire.AnswerResponse) error {
			data, err := wire.Marshal(out)
			if err != nil {
				return err
			}
			return send(data)
		}, true)
	}
}

// allow asks Config.Allow about the call of a context.
func (s *Server) allow(ctx context.Context, model string, use bool) (peer.ID, error) {
	call, _ := rpc.FromContext(ctx)
	if s.cfg.Allow == nil {
		return call.Caller, nil
	}
	err := s.cfg.Allow(ctx, call.Caller, model, call.Tokens, use)
	if err != nil && rpc.CodeOf(err) == rpc.Unknown {
		err = rpc.Errorf(rpc.PermissionDenied, "%w", err)
	}
	return call.Caller, err
}

func (s *Server) models(ctx context.Context) (*wire.ModelsResponse, error) {
	list, err := s.offered(ctx)
	if err != nil {
		return nil, err
	}
	out := &wire.ModelsResponse{}
	for _, m := range list {
		if who, err := s.allow(ctx, m.Name, false); err == nil {
			m.Paid = s.paid(ctx, who, m)
			out.Models = append(out.Models, m.wire())
		}
	}
	return out, nil
}

// offered are the host's models as the server offers them.
func (s *Server) offered(ctx context.Context) ([]Model, error) {
	list, err := s.cfg.Host.Models(ctx)
	if err != nil {
		return nil, s.fault(ctx, err)
	}
	list = list[:min(len(list), MaxModels)]
	for i := range list {
		list[i].MaxTokens = min(s.cfg.MaxTokens, list[i].Context)
	}
	return list, nil
}

// pick finds the model of a request.
func (s *Server) pick(ctx context.Context, r *Request) (Model, error) {
	list, err := s.offered(ctx)
	if err != nil {
		return Model{}, err
	}
	if r.Model == "" && len(list) == 1 {
		return list[0], nil
	}
	for _, m := range list {
		if r.Model == m.Name || r.Model == "" && !r.Root.IsZero() && m.Root == r.Root {
			return m, nil
		}
	}
	if r.Model == "" {
		return Model{}, rpc.Errorf(rpc.InvalidArgument, "this peer offers %d models: name one (\"aval net models\" lists them)", len(list))
	}
	return Model{}, rpc.Errorf(rpc.NotFound, "the model %q is not offered here (\"aval net models\" lists those that are)", r.Model)
}

// answer answers one request. Who carries one for somebody does not pay for it.
func (s *Server) answer(ctx context.Context, in *wire.AnswerRequest, send func(*wire.AnswerResponse) error, carried bool) error {
	r, err := requestOf(in)
	if err != nil {
		return err
	}
	m, err := s.pick(ctx, r)
	if err != nil {
		return err
	}
	who, err := s.allow(ctx, m.Name, true)
	if err != nil {
		return err
	}
	m.Paid = s.paid(ctx, who, m)
	if m.Paid && carried {
		return rpc.Errorf(rpc.FailedPrecondition, "%s answers for payment, and a session shows who pays: it cannot be asked privately", m.Name)
	}
	leave, err := s.gate.enter(ctx, who)
	if err != nil {
		return err
	}
	defer leave()
	l, err := s.cfg.Host.Open(ctx, m.Name)
	if err != nil {
		return s.fault(ctx, err)
	}
	defer l.Close()
	a, err := s.begin(ctx, l, m, r, who)
	if err != nil {
		return s.fault(ctx, err)
	}
	a.send = send
	if m.Paid {
		if a.sold, err = s.sell(ctx, who, a.model, r.session); err != nil {
			return s.fault(ctx, err)
		}
		defer a.sold.end(ctx)
	}
	if err := a.run(ctx); err != nil {
		return s.fault(ctx, err)
	}
	return nil
}

// fault is an error as the caller is told it: what is the request's fault in
// words, what is not by its kind alone.
func (s *Server) fault(ctx context.Context, err error) error {
	var long *engine.PromptTooLongError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case rpc.CodeOf(err) != rpc.Unknown:
		return err
	case errors.Is(err, ErrNoModel):
		return rpc.Errorf(rpc.NotFound, "%w", err)
	case errors.Is(err, engine.ErrBusy):
		return &rpc.Error{Code: rpc.ResourceExhausted, Text: "too many are asking the model: try again later", RetryAfter: retryAfter}
	case errors.As(err, &long):
		return requestErrorf("the prompt has %d tokens, and the context here is %d with at least one for the answer: shorten it", long.Prompt, long.Context)
	case errors.Is(err, engine.ErrRequest), errors.Is(err, engine.ErrEmptyPrompt), errors.Is(err, audit.ErrChallenge):
		return requestErrorf("%w", err)
	}
	s.cfg.Logger.Warn("a peer could not be answered", "error", err)
	return rpc.Errorf(rpc.Internal, "the model could not answer; the peer's owner sees why")
}

// answering is one answer on its way.
type answering struct {
	server  *Server
	lease   Lease
	model   Model
	request *Request
	engine  engine.Request
	draft   *issuer.Draft // nil: no receipt
	logged  bool          // the receipt goes to the log
	sold    *selling      // nil: it is free
	caller  peer.ID
	send    func(*wire.AnswerResponse) error
}

// logs tells whether the answers to a peer are logged.
func (s *Server) logs(who peer.ID) bool {
	return s.cfg.Log != nil && (s.cfg.LogOwn || who != s.self)
}

func (s *Server) begin(ctx context.Context, l Lease, m Model, r *Request, who peer.ID) (*answering, error) {
	a := &answering{server: s, lease: l, model: m, request: r, caller: who}
	a.model.Context = l.Context()
	i := l.Issuer()
	if i == nil && (r.Receipt || m.Paid || !r.Root.IsZero()) {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "the answers of %s get no receipts here", m.Name)
	}
	a.logged = i != nil && s.logs(who)
	if i != nil && (r.Receipt || a.logged || m.Paid || !r.Root.IsZero()) {
		var err error
		if a.model.Root, err = i.Model().Root(ctx); err != nil {
			return nil, err
		}
	}
	if !r.Root.IsZero() && a.model.Root != r.Root {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "%s has the fingerprint %v here, not %v", m.Name, a.model.Root, r.Root)
	}
	var ids []int32
	var err error
	if len(r.Messages) > 0 {
		ids, err = l.Render(r.input())
	} else {
		ids, err = l.Tokenize(r.Text, true)
	}
	if err != nil {
		return nil, requestErrorf("the prompt: %w", err)
	}
	most := min(s.cfg.MaxTokens, l.Context())
	if r.MaxTokens > most {
		return nil, requestErrorf("an answer of %d tokens, this peer gives at most %d", r.MaxTokens, most)
	}
	if r.MaxTokens > 0 {
		most = r.MaxTokens
	}
	a.engine = r.engine(ids, most)
	a.engine.Trace = false // unless the receipt asks for it
	seed, err := r.seed()
	switch {
	case err != nil:
		return nil, err
	case r.Receipt || a.logged:
		source, err := r.source()
		if err != nil {
			return nil, err
		}
		a.draft, err = i.Begin(&a.engine, issuer.Prompt{Source: source}, issuer.Options{Seed: seed, Trace: r.Trace})
		return a, err
	case seed != nil:
		a.engine.Params.Seed = seed.Derive(ids)
	}
	return a, nil
}

// run computes the answer and sends it as it comes.
func (a *answering) run(ctx context.Context) error {
	a.engine.User = a.caller.String()
	start := &wire.AnswerStart{
		Model: a.model.wire(), PromptIds: a.engine.Prompt, MaxTokens: uint32(a.engine.MaxTokens), Receipt: a.request.Receipt,
	}
	if a.sold != nil {
		var err error
		if start.Payment, err = a.sold.begin(len(a.engine.Prompt)); err != nil {
			return err
		}
	}
	if err := a.send(&wire.AnswerResponse{Part: &wire.AnswerResponse_Start{Start: start}}); err != nil {
		return err
	}
	if a.sold != nil {
		if err := a.sold.wait(ctx); err != nil {
			return err
		}
	}
	res, err := a.lease.Generate(ctx, a.engine, func(ev engine.Event) error {
		d := &wire.AnswerDelta{Text: ev.Text}
		if ev.Token >= 0 {
			d.Ids = []int32{ev.Token}
		} else if ev.Text == "" {
			return nil
		}
		if err := a.send(&wire.AnswerResponse{Part: &wire.AnswerResponse_Delta{Delta: d}}); err != nil || a.sold == nil {
			return err
		}
		a.sold.gave(len(d.Ids))
		if a.sold.given >= uint64(a.engine.MaxTokens) {
			return nil // the last one
		}
		return a.sold.wait(ctx)
	})
	if err != nil {
		return err
	}
	a.server.measured(a.model.Name, res)
	end := &wire.AnswerEnd{Stop: string(res.Stop), StopText: res.StopText, EndId: uint32(res.EndToken + 1), Tokens: uint32(len(res.IDs))}
	var file []byte
	if a.draft != nil {
		if file, err = a.finish(ctx, res, end); err != nil {
			return err
		}
	}
	if a.sold != nil {
		a.sold.end(ctx) // before the caller may ask for the next one
	}
	if err := a.send(&wire.AnswerResponse{Part: &wire.AnswerResponse_End{End: end}}); err != nil {
		return err
	}
	for len(file) > 0 {
		n := min(piece, len(file))
		if err := a.send(&wire.AnswerResponse{Part: &wire.AnswerResponse_Receipt{Receipt: file[:n]}}); err != nil {
			return err
		}
		file = file[n:]
	}
	return nil
}

// finish makes the receipt and keeps it. It returns what the caller gets of it.
func (a *answering) finish(ctx context.Context, res *engine.Result, end *wire.AnswerEnd) ([]byte, error) {
	a.draft.Finish(res)
	f, err := a.draft.File(ctx)
	if err != nil {
		return nil, err
	}
	data, err := f.Marshal()
	if err != nil {
		return nil, err
	}
	if len(data) > MaxReceipt {
		return nil, fmt.Errorf("remote: a receipt of %d bytes, want at most %d", len(data), MaxReceipt)
	}
	if a.logged {
		// It is given, and so logged, even if the caller goes away now.
		if end.Logged, err = a.server.cfg.Log(context.WithoutCancel(ctx), f.Receipt.Hash(), data); err != nil {
			return nil, fmt.Errorf("remote: the receipt is not given out, as it cannot be logged: %w", err)
		}
	}
	if !a.request.Receipt {
		return nil, nil
	}
	k := &kept{id: f.Receipt.Hash(), file: f, model: a.model.Name, caller: a.caller, ticket: make([]byte, ticketSize), bytes: a.draft.Size()}
	rand.Read(k.ticket) // never fails
	a.server.shelf.put(k)
	end.ReceiptBytes, end.Ticket, end.KeptSeconds = uint32(len(data)), k.ticket, uint32(a.server.cfg.Keep/time.Second)
	return data, nil
}
