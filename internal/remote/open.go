package remote

import (
	"context"
	"errors"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// MaxOpening bounds what is shown for one challenge, in bytes.
const MaxOpening = 256 << 20

// maxChallenge bounds a challenge, in bytes.
const maxChallenge = 64 << 10

// Open shows the parts of an answer's run that a challenge chooses.
func (v *service) Open(in *wire.OpenRequest, stream wire.DRPCInferenceService_OpenStream) error {
	return v.s.open(stream.Context(), in, stream.Send)
}

func (s *Server) open(ctx context.Context, in *wire.OpenRequest, send func(*wire.OpenResponse) error) error {
	call, _ := rpc.FromContext(ctx)
	id, err := hashOf(in.Receipt)
	if err != nil {
		return err
	}
	if len(in.Challenge) > maxChallenge || len(in.Ticket) > maxTicket {
		return requestErrorf("a challenge of %d bytes with a ticket of %d", len(in.Challenge), len(in.Ticket))
	}
	k, err := s.shelf.get(id, call.Caller, in.Ticket)
	if err != nil {
		return err
	}
	c, err := audit.DecodeChallenge(in.Challenge)
	if err != nil {
		return requestErrorf("%w", err)
	}
	// An opening costs as much as an answer, and waits in the same line.
	leave, err := s.gate.enter(ctx, call.Caller)
	if err != nil {
		return err
	}
	defer leave()
	l, err := s.cfg.Host.Open(ctx, k.model)
	if err != nil {
		return s.fault(ctx, err)
	}
	defer l.Close()
	o, err := l.OpenTrace(ctx, k.file, c)
	if err != nil {
		return s.fault(ctx, err)
	}
	data, err := o.Encode()
	if err == nil && len(data) > MaxOpening {
		err = requestErrorf("what the challenge chooses has %d bytes, at most %d are shown: choose less", len(data), MaxOpening)
	}
	if err != nil {
		return s.fault(ctx, err)
	}
	return rpc.Scatter(data, func(piece []byte, total uint64) error {
		return send(&wire.OpenResponse{Data: piece, Total: total})
	})
}

// Open asks the peer to show the parts of an answer's run that a challenge
// chooses: an encoded trace.Opening, which package audit checks. ticket is that of
// the answer; who asked for it needs none.
func (c *Client) Open(ctx context.Context, id receipt.Hash, ticket []byte, challenge []byte, progress func(done, total int64)) ([]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := wire.NewDRPCInferenceServiceClient(c.Conn).Open(ctx, &wire.OpenRequest{Receipt: id[:], Ticket: ticket, Challenge: challenge})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	data, err := rpc.Gather(MaxOpening, stream.Recv, progress)
	if errors.Is(err, rpc.ErrPieces) {
		return nil, lief("%v", err)
	}
	return data, err
}
