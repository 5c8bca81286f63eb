package remote

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"io"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// Rerun is the run of a receipt, computed again. Close frees its memory.
type Rerun interface {
	dispute.Source
	Close()
}

// The terms of disputes that a server offers. A tick is a second; the run is
// computed before the game begins, so that moves take no time to speak of.
const (
	disputeMove  = 120
	disputeTotal = 240
)

// The terms that a challenger takes: enough time for its own moves, and an end of
// the prover's.
const (
	leastMove, leastTotal = 10, 30
	mostMove, mostTotal   = 600, 3600
)

// maxIgnored is how many messages that are not of the game one side sends before
// the other one listens no more.
const maxIgnored = 16

const (
	disputeNonce = 16               // bytes
	disputeStart = 30 * time.Second // for the first message
	disputeBegin = 10 * time.Minute // until the terms come: the run is computed
	disputeLast  = 10 * time.Second // for a message that nobody answers
)

// seconds are the ticks of a real clock.
func seconds() (<-chan time.Time, func()) {
	t := time.NewTicker(time.Second)
	return t.C, t.Stop
}

// taken is what came on a stream.
type taken struct {
	move []byte
	err  error
}

// take waits for one message beside the clock.
func take(receive func() ([]byte, error)) <-chan taken {
	c := make(chan taken, 1)
	go func() {
		move, err := receive()
		c <- taken{move, err}
	}()
	return c
}

// Dispute plays the prover.
func (v *service) Dispute(stream wire.DRPCInferenceService_DisputeStream) error {
	return v.s.dispute(stream.Context(), stream)
}

// disputeStream is the prover's side of a call.
type disputeStream interface {
	Send(*wire.DisputeResponse) error
	Recv() (*wire.DisputeRequest, error)
}

func (s *Server) dispute(ctx context.Context, stream disputeStream) error {
	if s.cfg.Key == nil {
		return rpc.Errorf(rpc.Unimplemented, "no disputes are played here")
	}
	begin := make(chan *wire.DisputeStart, 1)
	first := take(func() ([]byte, error) {
		in, err := stream.Recv()
		begin <- in.GetStart()
		return nil, err
	})
	var start *wire.DisputeStart
	select {
	case t := <-first:
		if t.err != nil {
			return t.err
		}
		start = <-begin
	case <-time.After(disputeStart):
		return rpc.Errorf(rpc.DeadlineExceeded, "nothing came for %v", disputeStart)
	case <-ctx.Done():
		return ctx.Err()
	}
	switch {
	case start == nil:
		return requestErrorf("a dispute begins with a start")
	case len(start.Ticket) > 64 || len(start.Challenger) != ed25519.PublicKeySize:
		return requestErrorf("a challenger's key of %d bytes with a ticket of %d", len(start.Challenger), len(start.Ticket))
	}
	id, err := hashOf(start.Receipt)
	if err != nil {
		return err
	}
	call, _ := rpc.FromContext(ctx)
	k, err := s.shelf.get(id, call.Caller, start.Ticket)
	if err != nil {
		return err
	}
	// It costs as much as an answer, and who may not ask may not make this device
	// compute either.
	who, err := s.allow(ctx, k.model, true)
	if err != nil {
		return err
	}
	leave, err := s.disputes.enter(ctx, who)
	if err != nil {
		return err
	}
	defer leave()
	l, err := s.cfg.Host.Open(ctx, k.model)
	if err != nil {
		return s.fault(ctx, err)
	}
	defer l.Close()
	source, err := l.Rerun(ctx, k.file)
	if err != nil {
		return s.fault(ctx, err)
	}
	defer source.Close()
	p, terms, err := s.prover(k.file, start.Challenger, source)
	if err != nil {
		return s.fault(ctx, err)
	}
	if err := stream.Send(&wire.DisputeResponse{Part: &wire.DisputeResponse_Terms{Terms: terms}}); err != nil {
		return rpc.Errorf(rpc.Canceled, "the challenger is gone: %w", err)
	}
	o, err := s.play(ctx, p, stream)
	if err != nil {
		return s.fault(ctx, err)
	}
	level := s.cfg.Logger.Debug
	if o.Winner == dispute.ChallengerParty {
		level = s.cfg.Logger.Error // the owner had better know
	}
	level("a dispute about a receipt of this device ended", "receipt", id, "challenger", who, "outcome", o.String())
	if o.Reason == dispute.Silence {
		return rpc.Errorf(rpc.DeadlineExceeded, "the dispute is over: %s", o.Detail)
	}
	return nil
}

// prover begins a game, and gives its terms.
func (s *Server) prover(f *receipt.File, challenger ed25519.PublicKey, source dispute.Source) (*dispute.Prover, []byte, error) {
	run, err := dispute.NewRun(f.Receipt)
	if err != nil {
		return nil, nil, err
	}
	t := dispute.Terms{Challenger: challenger, Nonce: make([]byte, disputeNonce), Move: disputeMove, Total: disputeTotal}
	rand.Read(t.Nonce) // never fails
	var salt []byte
	if f.Opening != nil && f.Opening.Trace != nil {
		salt = f.Opening.Trace[:]
	}
	p, err := dispute.NewProver(run, t, s.cfg.Key, salt, source)
	if err != nil {
		return nil, nil, requestErrorf("%w", err)
	}
	terms, err := t.Encode()
	return p, terms, err
}

// play plays the prover to the end of the game.
func (s *Server) play(ctx context.Context, p *dispute.Prover, stream disputeStream) (dispute.Outcome, error) {
	ticks, stop := s.cfg.Ticks()
	defer stop()
	var coming <-chan taken
	for ignored := 0; ; {
		if o, over := p.Outcome(); over {
			return o, nil
		}
		move, err := p.Move()
		if err != nil {
			return dispute.Outcome{}, err
		}
		if move != nil {
			if err := stream.Send(&wire.DisputeResponse{Part: &wire.DisputeResponse_Move{Move: move}}); err != nil {
				return dispute.Outcome{}, rpc.Errorf(rpc.Canceled, "the challenger is gone: %w", err)
			}
			if err := p.Step(move); err != nil {
				return dispute.Outcome{}, err
			}
			continue
		}
		if coming == nil {
			coming = take(func() ([]byte, error) {
				in, err := stream.Recv()
				return in.GetMove(), err
			})
		}
		select {
		case t := <-coming:
			coming = nil
			if errors.Is(t.err, io.EOF) {
				return dispute.Outcome{}, rpc.Errorf(rpc.Canceled, "the challenger gave the dispute up")
			}
			if t.err != nil {
				return dispute.Outcome{}, t.err
			}
			if err := p.Step(t.move); err == nil {
				continue
			} else if ignored++; ignored > maxIgnored {
				return dispute.Outcome{}, requestErrorf("%d messages are not of this dispute, the last one: %w", ignored, err)
			}
		case <-ticks:
			p.Tick(1)
		case <-ctx.Done():
			return dispute.Outcome{}, ctx.Err()
		}
	}
}
