// Package service shows a node's log of receipts to its peers, and asks other
// nodes about theirs (spec/receipt-log.md, section 6). [Register] serves a log
// on a node; [Client] asks a peer, which may say anything: what the client
// returns was checked against what the peer signed.
//
// Checkpoints and proofs are for everybody who may call; about receipts the node
// asks [Config.Allow]. The package keeps nothing; package archive does.
package service

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// Methods are the names of what is served. They decide themselves who may have
// what.
var Methods = []string{
	"/aval.v1.ReceiptLogService/Checkpoint", "/aval.v1.ReceiptLogService/Inclusion", "/aval.v1.ReceiptLogService/Consistency", "/aval.v1.ReceiptLogService/Receipt",
}

// Limits of calls.
const (
	maxMessage = 64 << 10 // bytes
	maxCalls   = 32       // at a time, of all peers together
	callRate   = 50       // a second, of one peer
	callTime   = 30 * time.Second
)

// MaxFile bounds the file of a receipt in bytes.
const MaxFile = 16 << 20

// Log is a log that is served: an *archive.Log.
type Log interface {
	Key() ed25519.PublicKey
	Size() uint64
	Latest() (receiptlog.Checkpoint, []byte)
	Checkpoint(size uint64) ([]byte, error)
	Inclusion(size, index uint64) ([]canon.Hash, error)
	Consistency(oldSize, newSize uint64) ([]canon.Hash, error)
	Find(id canon.Hash) (uint64, error)
	Receipt(index uint64) (canon.Hash, error)
	File(index uint64) (receiptlog.Entry, error)
}

// Config is how a log is served.
type Config struct {
	Log Log
	// Allow decides whether a peer may have the receipt at an index; opened says that it wants all
	// that is kept of one. Nil: nobody may.
	Allow func(ctx context.Context, who peer.ID, tokens [][]byte, index uint64, opened bool) error
	// Every is how much time lies at least between two checkpoints that peers have
	// signed; who asks for one earlier waits. 0: a second.
	Every  time.Duration
	Logger *slog.Logger // nil: slog.Default()
}

// Register serves a log on a node.
func Register(n *rpc.Node, cfg Config) error {
	if cfg.Every == 0 {
		cfg.Every = time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return n.Register(&server{cfg: cfg}, wire.DRPCReceiptLogServiceDescription{},
		rpc.Limits{MaxMessage: maxMessage, MaxCalls: maxCalls, CallRate: callRate, Timeout: callTime})
}

type server struct {
	cfg Config

	mu   sync.Mutex // held while one waits to sign
	last time.Time  // when a checkpoint was signed for a peer
}

// fault is an error as a peer is told it.
func (s *server) fault(err error) error {
	switch {
	case rpc.CodeOf(err) != rpc.Unknown:
		return err
	case errors.Is(err, receiptlog.ErrRange), errors.Is(err, receiptlog.ErrDropped):
		return rpc.Errorf(rpc.NotFound, "%w", err)
	}
	s.cfg.Logger.Error("receipt log: a peer could not be answered", "error", err)
	return rpc.Errorf(rpc.Internal, "the log cannot be read; the node's owner sees why")
}

func (s *server) Checkpoint(ctx context.Context, in *wire.CheckpointRequest) (*wire.CheckpointResponse, error) {
	note, err := s.checkpoint(ctx, in.Size)
	if err != nil {
		return nil, s.fault(err)
	}
	return &wire.CheckpointResponse{Checkpoint: note}, nil
}

// checkpoint gives one of at least so many entries, and signs it if need be.
func (s *server) checkpoint(ctx context.Context, size uint64) ([]byte, error) {
	if c, note := s.cfg.Log.Latest(); note != nil && c.Size >= size {
		return note, nil
	}
	if have := s.cfg.Log.Size(); size > have {
		return nil, rpc.Errorf(rpc.NotFound, "the log has %d entries, not %d", have, size)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if c, note := s.cfg.Log.Latest(); note != nil && c.Size >= size { // for one who waited, too
		return note, nil
	}
	select {
	case <-time.After(time.Until(s.last.Add(s.cfg.Every))):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	note, err := s.cfg.Log.Checkpoint(s.cfg.Log.Size())
	s.last = time.Now()
	return note, err
}

func (s *server) Inclusion(ctx context.Context, in *wire.InclusionRequest) (*wire.InclusionResponse, error) {
	out, err := s.inclusion(ctx, in)
	if err != nil {
		return nil, s.fault(err)
	}
	return out, nil
}

func (s *server) inclusion(ctx context.Context, in *wire.InclusionRequest) (*wire.InclusionResponse, error) {
	var id canon.Hash
	index := in.Index
	var err error
	switch len(in.Receipt) {
	case 0:
		id, err = s.cfg.Log.Receipt(index)
	case canon.Size:
		id = canon.Hash(in.Receipt)
		index, err = s.cfg.Log.Find(id)
	default:
		err = rpc.Errorf(rpc.InvalidArgument, "the identity of a receipt has %d bytes, not %d", canon.Size, len(in.Receipt))
	}
	if err != nil {
		return nil, err
	}
	out := &wire.InclusionResponse{Index: index, Receipt: id[:]}
	size := in.Size
	if size == 0 {
		if out.Checkpoint, err = s.checkpoint(ctx, index+1); err != nil {
			return nil, err
		}
		c, err := receiptlog.ParseCheckpoint(s.cfg.Log.Key(), out.Checkpoint)
		if err != nil {
			return nil, err
		}
		size = c.Size
	}
	if have := s.cfg.Log.Size(); size > have || index >= size {
		return nil, rpc.Errorf(rpc.InvalidArgument, "the entry %d in a log of %d; this one has %d", index, size, have)
	}
	proof, err := s.cfg.Log.Inclusion(size, index)
	out.Hashes = receiptlog.EncodeTile(proof)
	return out, err
}

func (s *server) Consistency(_ context.Context, in *wire.ConsistencyRequest) (*wire.ConsistencyResponse, error) {
	if have := s.cfg.Log.Size(); in.OldSize > in.NewSize || in.NewSize > have {
		return nil, rpc.Errorf(rpc.InvalidArgument, "from %d to %d entries; the log has %d", in.OldSize, in.NewSize, have)
	}
	proof, err := s.cfg.Log.Consistency(in.OldSize, in.NewSize)
	if err != nil {
		return nil, s.fault(err)
	}
	return &wire.ConsistencyResponse{Hashes: receiptlog.EncodeTile(proof)}, nil
}

func (s *server) Receipt(in *wire.ReceiptRequest, stream wire.DRPCReceiptLogService_ReceiptStream) error {
	call, _ := rpc.FromContext(stream.Context())
	err := rpc.Errorf(rpc.PermissionDenied, "this node shows its receipts to nobody")
	if s.cfg.Allow != nil {
		err = s.cfg.Allow(stream.Context(), call.Caller, call.Tokens, in.Index, in.Opened)
	}
	if err != nil {
		if rpc.CodeOf(err) == rpc.Unknown {
			err = rpc.Errorf(rpc.PermissionDenied, "%w", err)
		}
		return err
	}
	e, err := s.cfg.Log.File(in.Index)
	if err != nil {
		return s.fault(err)
	}
	data := e.File
	if !in.Opened {
		f, err := receipt.ParseFile(e.File)
		if err != nil {
			return s.fault(err)
		}
		data = f.Receipt.Bytes()
	}
	return rpc.Scatter(data, func(piece []byte, total uint64) error {
		return stream.Send(&wire.ReceiptResponse{Data: piece, Total: total})
	})
}
