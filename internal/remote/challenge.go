package remote

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// Table is where a challenger plays: its moves go to the prover, and the prover's
// come from it. A [Game] is one.
type Table interface {
	// Terms are those that the prover offers, in their encoding.
	Terms() []byte
	// Exchange sends a move, if there is one, and waits for the next of the
	// prover's; the error is io.EOF if the prover has ended the call. After an
	// error the game is over.
	Exchange(ctx context.Context, move []byte) ([]byte, error)
	Close() error
}

// Game is a dispute with a peer that is the prover.
type Game struct {
	terms  []byte
	stream wire.DRPCInferenceService_DisputeClient
	cancel context.CancelFunc
}

// Dispute calls a peer to a dispute about a receipt of it, which this side is the
// challenger of, with the key of its messages. ticket is that of the answer; who
// asked for it needs none. It waits until the peer has computed its run again. The
// context is the game's.
func (c *Client) Dispute(ctx context.Context, id receipt.Hash, ticket []byte, challenger ed25519.PublicKey) (*Game, error) {
	ctx, cancel := context.WithCancel(ctx)
	stream, err := wire.NewDRPCInferenceServiceClient(c.Conn).Dispute(ctx)
	if err != nil {
		cancel()
		return nil, err
	}
	g := &Game{stream: stream, cancel: cancel}
	limited, end := context.WithTimeout(ctx, disputeBegin)
	defer end()
	in, err := g.exchange(limited, &wire.DisputeRequest{Part: &wire.DisputeRequest_Start{Start: &wire.DisputeStart{
		Receipt: id[:], Ticket: ticket, Challenger: challenger,
	}}}, func(in *wire.DisputeResponse) []byte { return in.GetTerms() })
	switch {
	case errors.Is(err, io.EOF) || err == nil && len(in) == 0:
		err = rpc.Errorf(rpc.DataLoss, "the peer offers no terms of a dispute")
	case err != nil && ctx.Err() == nil && limited.Err() != nil:
		err = rpc.Errorf(rpc.DeadlineExceeded, "the peer has offered no terms of a dispute for %v", disputeBegin)
	}
	if err != nil {
		_ = g.Close()
		return nil, err
	}
	g.terms = in
	return g, nil
}

// exchange sends a message, if there is one, and waits for one.
func (g *Game) exchange(ctx context.Context, out *wire.DisputeRequest, part func(*wire.DisputeResponse) []byte) ([]byte, error) {
	coming := take(func() ([]byte, error) {
		if out != nil {
			if err := g.stream.Send(out); err != nil && !errors.Is(err, io.EOF) { // of io.EOF Recv tells why
				return nil, err
			}
		}
		in, err := g.stream.Recv()
		if err != nil {
			return nil, err
		}
		return part(in), nil
	})
	select {
	case t := <-coming:
		return t.in, t.err
	case <-ctx.Done():
		g.cancel()
		return nil, ctx.Err()
	}
}

// Terms are those that the peer offers.
func (g *Game) Terms() []byte { return g.terms }

// Exchange is that of a Table.
func (g *Game) Exchange(ctx context.Context, move []byte) ([]byte, error) {
	var out *wire.DisputeRequest
	if move != nil {
		out = &wire.DisputeRequest{Part: &wire.DisputeRequest_Move{Move: move}}
	}
	return g.exchange(ctx, out, func(in *wire.DisputeResponse) []byte { return in.GetMove() })
}

// Close gives the game up, if it is not over.
func (g *Game) Close() error {
	err := g.stream.Close()
	g.cancel()
	return err
}

// Challenge is what a challenger plays with.
type Challenge struct {
	Run     dispute.Run        // of the receipt
	Key     ed25519.PrivateKey // whose public key the peer was called with
	Witness dispute.Witness
	Ticks   func() (ticks <-chan time.Time, stop func()) // one a second; nil: those of a real clock
}

// Played is how a game ended.
type Played struct {
	Outcome dispute.Outcome
	// Proof convicts the prover, if there is one: with the receipt it stands alone,
	// as dispute.Judge says. An outcome without one is known to the two alone.
	Proof           []byte
	Messages, Bytes int // of both sides
}

// Play plays a challenger to its end. dispute.ErrSame says that there is nothing
// to accuse. Where the connection breaks, nothing is decided, and the error says
// so. A prover that ends the call while its message is due has lost by silence, as
// it can send none any more.
func Play(ctx context.Context, t Table, c Challenge) (*Played, error) {
	terms, err := dispute.DecodeTerms(t.Terms())
	if err != nil {
		return nil, rpc.Errorf(rpc.DataLoss, "the terms that the peer offers: %w", err)
	}
	switch {
	case !terms.Challenger.Equal(c.Key.Public()):
		return nil, rpc.Errorf(rpc.DataLoss, "the terms that the peer offers are for another challenger")
	case terms.Move < leastMove || terms.Move > mostMove || terms.Total < leastTotal || terms.Total > mostTotal:
		return nil, rpc.Errorf(rpc.FailedPrecondition, "the peer offers %d seconds for a move and %d in all; want %d to %d, and %d to %d",
			terms.Move, terms.Total, leastMove, mostMove, leastTotal, mostTotal)
	}
	own, err := dispute.NewChallenger(c.Run, terms, c.Key, c.Witness)
	if err != nil {
		return nil, rpc.Errorf(rpc.DataLoss, "the terms that the peer offers: %w", err)
	}
	if c.Ticks == nil {
		c.Ticks = seconds
	}
	p := &playing{table: t, own: own, terms: terms}
	if err := p.play(ctx, c.Ticks); err != nil {
		return nil, err
	}
	p.out.Outcome, _ = own.Outcome()
	if p.silent != "" {
		p.out.Outcome.Detail = p.silent
	}
	return &p.out, nil
}

// playing is a game on its way.
type playing struct {
	table   Table
	own     *dispute.Challenger
	terms   dispute.Terms
	ignored int
	silent  string // why the prover says nothing more, if not for its clock
	out     Played
}

func (p *playing) play(ctx context.Context, clock func() (<-chan time.Time, func())) error {
	for {
		if _, over := p.own.Outcome(); over {
			return nil
		}
		move, err := p.own.Move()
		if err != nil {
			return err
		}
		if move != nil {
			if err := p.step(move); err != nil {
				return err
			}
			if o, over := p.own.Outcome(); over {
				if o.Reason == dispute.Fraud {
					p.out.Proof = p.own.Proof()
				}
				p.last(ctx, move)
				return nil
			}
		}
		if err := p.wait(ctx, move, clock); err != nil {
			return err
		}
	}
}

func (p *playing) step(message []byte) error {
	err := p.own.Step(message)
	if err == nil {
		p.out.Messages++
		p.out.Bytes += len(message)
	}
	return err
}

// last sends the message that ends the game. That it comes is of no use but to
// the prover.
func (p *playing) last(ctx context.Context, move []byte) {
	ctx, cancel := context.WithTimeout(ctx, disputeLast)
	defer cancel()
	_, _ = p.table.Exchange(ctx, move)
}

// wait sends a move and takes the next message of the prover, beside the clock.
func (p *playing) wait(ctx context.Context, move []byte, clock func() (<-chan time.Time, func())) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ticks, stop := clock()
	defer stop()
	coming := take(func() ([]byte, error) { return p.table.Exchange(ctx, move) })
	for {
		select {
		case <-ticks:
			if p.own.Tick(1); p.over() {
				return nil
			}
		case t := <-coming:
			if t.err != nil {
				return p.ended(ctx, t.err)
			}
			err := p.step(t.in)
			if err == nil {
				return nil
			}
			if p.ignored++; p.ignored > maxIgnored {
				p.quiet("it sent %d messages that are not of this dispute, the last one: %v", p.ignored, err)
				return nil
			}
			coming = take(func() ([]byte, error) { return p.table.Exchange(ctx, nil) })
		}
	}
}

func (p *playing) over() bool {
	_, over := p.own.Outcome()
	return over
}

// ended tells what it means that nothing more comes.
func (p *playing) ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch rpc.CodeOf(err) {
	case rpc.Unavailable, rpc.Canceled:
		return rpc.Errorf(rpc.Unavailable, "the dispute broke off, so that nothing is decided; it can be played again while the peer keeps the receipt: %w", err)
	case rpc.DeadlineExceeded: // by the prover's clock it was this side that took too long
		return err
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("without a reason")
	}
	p.quiet("it ended the call when its message was due: %v", err)
	return nil
}

// quiet ends the game as the clock would: the prover can say nothing more.
func (p *playing) quiet(format string, args ...any) {
	p.own.Tick(p.terms.Move + 1)
	p.silent = "the prover has nothing more to say: " + fmt.Sprintf(format, args...)
}
