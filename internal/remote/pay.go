package remote

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// Sessions are those of the ledger that pay for answers.
type Sessions interface {
	// Session finds an open session of the ledger, and what Keep got of it last.
	Session(ctx context.Context, id receipt.Hash) (payment.Terms, payment.State, error)
	// Keep keeps where a session stands. What a voucher pays for is given only
	// after it was kept.
	Keep(ctx context.Context, id receipt.Hash, s payment.State) error
}

// counter takes the vouchers of answers that are coming.
type counter struct {
	mu    sync.Mutex
	tills map[receipt.Hash]*selling
}

// selling is one answer that is paid for as it comes.
type selling struct {
	server *Server
	till   *payment.Till
	id     receipt.Hash
	caller peer.ID
	read   bool // the prompt was paid for
	ended  sync.Once
	given  uint64
	last   chan struct{} // closed when no more will be paid
	once   sync.Once
}

// paid says whether an answer is to be paid for.
func (s *Server) paid(ctx context.Context, who peer.ID, m Model) bool {
	return s.cfg.Sessions != nil && who != s.self && s.cfg.Paid(ctx, who, m)
}

// sell begins an answer of a session; the caller ends it.
func (s *Server) sell(ctx context.Context, who peer.ID, m Model, id receipt.Hash) (*selling, error) {
	if id.IsZero() {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "%s answers for payment: open a session with this node on the ledger", m.Name)
	}
	terms, state, err := s.cfg.Sessions.Session(ctx, id)
	if err != nil {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "the session %v: %w", id, err)
	}
	switch {
	case terms.Session != id || !slices.Equal(terms.Node, s.self.Public()):
		return nil, rpc.Errorf(rpc.FailedPrecondition, "the session %v pays another node", id)
	case terms.Model != m.Root:
		return nil, rpc.Errorf(rpc.FailedPrecondition, "the session %v is for the model %v, not for %v", id, terms.Model, m.Root)
	case uint64(s.cfg.Now().UnixMilli()) >= terms.Expires:
		return nil, rpc.Errorf(rpc.FailedPrecondition, "the session %v has expired: open another one", id)
	}
	till, err := payment.NewTill(terms, state)
	if err != nil {
		return nil, err
	}
	b := &selling{server: s, till: till, id: id, caller: who, last: make(chan struct{})}
	s.counter.mu.Lock()
	defer s.counter.mu.Unlock()
	if s.counter.tills[id] != nil {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "another answer of the session %v is coming: it pays for one at a time", id)
	}
	s.counter.tills[id] = b
	return b, nil
}

// begin says what the caller is to pay for.
func (b *selling) begin(prompt int) (*wire.PaymentDue, error) {
	used, err := b.till.Begin(uint64(prompt))
	if err != nil {
		return nil, err
	}
	return &wire.PaymentDue{Used: used, Step: uint32(b.server.cfg.Step)}, nil
}

// gave counts tokens that were sent.
func (b *selling) gave(tokens int) {
	b.given += uint64(tokens)
	b.till.Gave(uint64(tokens))
}

// wait waits until the prompt and the next token are paid for.
func (b *selling) wait(ctx context.Context) error {
	patience := time.NewTimer(b.server.cfg.PayWithin)
	defer patience.Stop()
	last := b.last
	for {
		missing, more := b.till.Covers(b.given + 1)
		if missing == 0 {
			b.read = true
			return nil
		}
		if last == nil {
			return rpc.Errorf(rpc.FailedPrecondition, "the answer ends here, after %d tokens: %d is missing for the next one, and no more will be paid", b.given, missing)
		}
		select {
		case <-more:
		case <-last:
			last = nil // what came with it may suffice
		case <-patience.C:
			return rpc.Errorf(rpc.FailedPrecondition, "the answer ends here, after %d tokens: %d is missing for the next one, and nothing was paid for %v", b.given, missing, b.server.cfg.PayWithin)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end ends the answer and keeps what it cost. Only the first call counts.
func (b *selling) end(ctx context.Context) { b.ended.Do(func() { b.finish(ctx) }) }

func (b *selling) finish(ctx context.Context) {
	s := b.server
	err := b.till.End(b.read, func(state payment.State) error {
		return s.cfg.Sessions.Keep(context.WithoutCancel(ctx), b.id, state)
	})
	if err != nil {
		s.cfg.Logger.Error("what was paid for an answer is not kept", "session", b.id, "error", err)
	}
	s.counter.mu.Lock()
	defer s.counter.mu.Unlock()
	delete(s.counter.tills, b.id)
}

func (v *service) Pay(ctx context.Context, in *wire.PayRequest) (*wire.PayResponse, error) {
	return &wire.PayResponse{}, v.s.pay(ctx, in)
}

// pay takes a voucher for an answer that is coming.
func (s *Server) pay(ctx context.Context, in *wire.PayRequest) error {
	id, err := hashOf(in.Session)
	if err != nil {
		return err
	}
	call, _ := rpc.FromContext(ctx)
	s.counter.mu.Lock()
	b := s.counter.tills[id]
	s.counter.mu.Unlock()
	if b == nil || b.caller != call.Caller {
		return rpc.Errorf(rpc.NotFound, "no answer to you is coming that the session %v pays", id)
	}
	v, err := payment.DecodeVoucher(in.Voucher)
	if err != nil {
		return requestErrorf("%w", err)
	}
	var kept error
	err = b.till.Take(v, func(state payment.State) error {
		kept = s.cfg.Sessions.Keep(ctx, id, state)
		return kept
	})
	switch {
	case kept != nil:
		s.cfg.Logger.Error("a voucher is not kept", "session", id, "error", kept)
		return rpc.Errorf(rpc.Internal, "the voucher cannot be kept; the peer's owner sees why")
	case errors.Is(err, payment.ErrClosed):
		return rpc.Errorf(rpc.NotFound, "the answer has ended")
	case err != nil:
		return requestErrorf("%w", err)
	}
	if in.Last {
		b.once.Do(func() { close(b.last) })
	}
	return nil
}

// Paying is how a client pays for answers.
type Paying struct {
	Purse *payment.Purse
	// Spend is the most that one answer may cost; 0: what the session holds.
	Spend uint64
	// MaxStep is how many tokens may be paid ahead; 0: 64.
	MaxStep int
	// Keep keeps where the session stands, before a voucher is given away; nil: it
	// is not kept.
	Keep func(payment.State) error
}

const defaultMaxStep = 64

// ready holds a request to the session that is to pay for it.
func (p *Paying) ready(r *Request, who peer.ID) error {
	t := p.Purse.Terms()
	switch {
	case !slices.Equal(t.Node, who.Public()):
		return requestErrorf("the session %v pays another node than %v", t.Session, who)
	case r.Root.IsZero():
		r.Root = t.Model
	case r.Root != t.Model:
		return requestErrorf("the session %v is for the model %v, not for %v", t.Session, t.Model, r.Root)
	}
	r.session = t.Session
	return nil
}

// payer pays for one answer, beside the reading of it.
type payer struct {
	p     *Paying
	begun bool

	next chan *wire.PayRequest // of one: the newest that was not sent
	done chan struct{}
}

// start begins to pay for an answer of so many tokens at most.
func (y *payer) start(due *wire.PaymentDue, prompt, tokens int) error {
	p := y.p
	most := p.MaxStep
	if most == 0 {
		most = defaultMaxStep
	}
	if due.Step < 1 || int64(due.Step) > int64(most) {
		return lief("it wants %d tokens to be paid ahead, at most %d are", due.Step, most)
	}
	terms := p.Purse.Terms()
	limit := terms.Cost(uint64(prompt), uint64(tokens)) // nothing is promised beyond its end
	if p.Spend > 0 {
		limit = min(limit, p.Spend)
	}
	v, err := p.Purse.Begin(due.Used, uint64(prompt), uint64(due.Step), limit)
	if errors.Is(err, payment.ErrCount) {
		return lief("%v", err)
	}
	if err != nil {
		return rpc.Errorf(rpc.FailedPrecondition, "%w", err)
	}
	y.begun = true
	return y.give(v)
}

// got counts tokens that came, and pays on.
func (y *payer) got(tokens int) error {
	if !y.begun || tokens == 0 {
		return nil
	}
	if v := y.p.Purse.Got(uint64(tokens)); v != nil {
		return y.give(v)
	}
	return nil
}

// give has a voucher sent; one that was not sent yet gives way to it.
func (y *payer) give(v *payment.Voucher) error {
	if y.p.Keep != nil {
		if err := y.p.Keep(y.p.Purse.State()); err != nil {
			return rpc.Errorf(rpc.Internal, "the voucher is not sent, as it cannot be kept: %w", err)
		}
	}
	raw, err := v.Encode()
	if err != nil {
		return rpc.Errorf(rpc.Internal, "%w", err)
	}
	select {
	case <-y.next:
	default:
	}
	y.next <- &wire.PayRequest{Session: v.Session[:], Voucher: raw, Last: y.p.Purse.Last()}
	return nil
}

// send sends vouchers until stop; failed is called if the peer does not take
// one.
func (y *payer) send(ctx context.Context, conn rpc.Conn, failed func(error)) {
	y.next, y.done = make(chan *wire.PayRequest, 1), make(chan struct{})
	go func() {
		defer close(y.done)
		for {
			select {
			case in := <-y.next:
				_, err := wire.NewDRPCInferenceServiceClient(conn).Pay(ctx, in)
				// After the end of the answer nobody takes any.
				if err != nil && ctx.Err() == nil && rpc.CodeOf(err) != rpc.NotFound {
					failed(rpc.Errorf(rpc.CodeOf(err), "the peer does not take the payment: %w", err))
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
}

// stop waits until nothing is sent any more, whose context has ended, and keeps
// what the answer cost.
func (y *payer) stop(whole bool) error {
	<-y.done
	if !y.begun {
		return nil
	}
	y.p.Purse.End(whole)
	if y.p.Keep != nil {
		if err := y.p.Keep(y.p.Purse.State()); err != nil {
			return rpc.Errorf(rpc.Internal, "what the answer cost cannot be kept: %w", err)
		}
	}
	return nil
}
