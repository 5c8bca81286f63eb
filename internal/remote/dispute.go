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
type taken[T any] struct {
	in  T
	err error
}

// take waits for one message beside the clock.
func take[T any](receive func() (T, error)) <-chan taken[T] {
	c := make(chan taken[T], 1)
	go func() {
		in, err := receive()
		c <- taken[T]{in, err}
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

// startOf takes the first message of a call.
func startOf(ctx context.Context, stream disputeStream) (*wire.DisputeStart, error) {
	select {
	case f := <-take(stream.Recv):
		start := f.in.GetStart()
		switch {
		case f.err != nil:
			return nil, f.err
		case start == nil:
			return nil, requestErrorf("a dispute begins with a start")
		case len(start.Ticket) > maxTicket || len(start.Challenger) != ed25519.PublicKeySize:
			return nil, requestErrorf("a challenger's key of %d bytes with a ticket of %d", len(start.Challenger), len(start.Ticket))
		}
		return start, nil
	case <-time.After(disputeStart):
		return nil, rpc.Errorf(rpc.DeadlineExceeded, "nothing came for %v", disputeStart)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *Server) dispute(ctx context.Context, stream disputeStream) error {
	if s.cfg.Key == nil {
		return rpc.Errorf(rpc.Unimplemented, "no disputes are played here")
	}
	start, err := startOf(ctx, stream)
	if err != nil {
		return err
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
	o, err := s.defend(ctx, k, start.Challenger, stream)
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

// defend computes a run again, sends the terms and plays.
func (s *Server) defend(ctx context.Context, k *kept, challenger ed25519.PublicKey, stream disputeStream) (o dispute.Outcome, err error) {
	run, err := dispute.NewRun(k.file.Receipt)
	if err != nil {
		return o, err
	}
	t := dispute.Terms{Challenger: challenger, Nonce: make([]byte, disputeNonce), Move: disputeMove, Total: disputeTotal}
	rand.Read(t.Nonce) // never fails
	if _, err := dispute.NewReferee(run, t); err != nil {
		return o, requestErrorf("%w", err)
	}
	terms, err := t.Encode()
	if err != nil {
		return o, err
	}
	l, err := s.cfg.Host.Open(ctx, k.model)
	if err != nil {
		return o, err
	}
	defer l.Close()
	source, err := l.Rerun(ctx, k.file)
	if err != nil {
		return o, err
	}
	defer source.Close()
	var salt []byte
	if k.file.Opening != nil && k.file.Opening.Trace != nil {
		salt = k.file.Opening.Trace[:]
	}
	p, err := dispute.NewProver(run, t, s.cfg.Key, salt, source)
	if err != nil {
		return o, err
	}
	if err := stream.Send(&wire.DisputeResponse{Part: &wire.DisputeResponse_Terms{Terms: terms}}); err != nil {
		return o, rpc.Errorf(rpc.Canceled, "the challenger is gone: %w", err)
	}
	return s.play(ctx, p, stream)
}

// play plays the prover to the end of the game.
func (s *Server) play(ctx context.Context, p *dispute.Prover, stream disputeStream) (dispute.Outcome, error) {
	ticks, stop := s.cfg.Ticks()
	defer stop()
	var coming <-chan taken[*wire.DisputeRequest]
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
			coming = take(stream.Recv)
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
			if err := p.Step(t.in.GetMove()); err == nil {
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
