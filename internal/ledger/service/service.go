// Package service is the ledger for those who do not have it (spec/light.md,
// section 5). [Register] serves the chain that a node takes part in to its peers;
// [Client] asks one peer, and believes nothing; [Light] asks several, follows the
// headers that validators signed from the genesis on, and is a ledger for a
// wallet.
//
// What is served is public: everybody who may call gets it. A light client
// believes what more than two thirds of the validators signed. It cannot tell a
// ledger that stands still from one that all its peers keep from it, and it does
// not check transactions.
package service

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/light"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

// Methods are the names of what is served, to everybody.
var Methods = []string{
	"/aval.v1.LedgerService/Genesis", "/aval.v1.LedgerService/Head", "/aval.v1.LedgerService/Entry",
	"/aval.v1.LedgerService/Submit", "/aval.v1.LedgerService/Places",
}

// Limits of calls.
const (
	MaxGenesis = 64 << 20 // bytes of a genesis that is served
	maxTx      = 1 << 20  // bytes; the chain allows less
	maxMessage = maxTx + 64
	maxCalls   = 128 // of a method at a time, of all peers together
	callRate   = 20  // of a method a second, of one peer
	callTime   = 30 * time.Second
	maxSubmits = 4   // at a time, of one peer
	maxPlaces  = 32  // of an answer
	maxPlace   = 512 // bytes
	waitTime   = 10 * time.Second
)

// Chain is a chain that is served.
type Chain interface {
	// LightBlock is the header of a height with its votes; 0: the newest.
	LightBlock(height uint64) (*light.Block, error)
	// Provable is the newest header whose state is here, with that state. It waits
	// for one above a height.
	Provable(ctx context.Context, after uint64) (*light.Block, tree.Tree, error)
	// Submit passes a transaction on, and waits until it is in a block, or cannot
	// get into one: then the height is 0.
	Submit(ctx context.Context, tx []byte) (height uint64, res ledger.Result, err error)
}

// Config is how a chain is served.
type Config struct {
	Genesis []byte // as ledger.Genesis.Encode gives it
	Chain   Chain
	// Places are where nodes of the chain may be connected with, as KEY@host:port;
	// nil: none is known.
	Places func() []string
	// None tells whether an error of Chain says that there is no such header here.
	None   func(error) bool
	Logger *slog.Logger // nil: slog.Default()
}

// Register serves a chain on a node.
func Register(n *rpc.Node, cfg Config) error {
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return n.Register(&server{cfg: cfg, submits: map[peer.ID]int{}}, wire.DRPCLedgerServiceDescription{},
		rpc.Limits{MaxMessage: maxMessage, MaxCalls: maxCalls, CallRate: callRate, Timeout: callTime})
}

type server struct {
	cfg Config

	mu      sync.Mutex
	submits map[peer.ID]int // that are being waited for
}

// fault is an error as a peer is told it.
func (s *server) fault(err error) error {
	switch {
	case rpc.CodeOf(err) != rpc.Unknown:
		return err
	case s.cfg.None != nil && s.cfg.None(err):
		return rpc.Errorf(rpc.NotFound, "%w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return rpc.Errorf(rpc.DeadlineExceeded, "%w", err)
	case errors.Is(err, context.Canceled):
		return rpc.Errorf(rpc.Canceled, "%w", err)
	}
	s.cfg.Logger.Warn("ledger: a peer could not be answered", "error", err)
	return rpc.Errorf(rpc.Unavailable, "the ledger cannot be asked here now; the node's owner sees why")
}

func (s *server) Genesis(_ *wire.GenesisRequest, stream wire.DRPCLedgerService_GenesisStream) error {
	data := s.cfg.Genesis
	if len(data) == 0 || len(data) > MaxGenesis {
		return rpc.Errorf(rpc.FailedPrecondition, "the genesis has %d bytes, more than is given to peers: ask the node's owner for the file", len(data))
	}
	return rpc.Scatter(data, func(piece []byte, total uint64) error {
		return stream.Send(&wire.GenesisResponse{Data: piece, Total: total})
	})
}

func (s *server) Head(_ context.Context, in *wire.HeadRequest) (*wire.HeadResponse, error) {
	b, err := s.cfg.Chain.LightBlock(in.Height)
	if err != nil {
		return nil, s.fault(err)
	}
	data, err := b.Encode()
	if err != nil {
		return nil, s.fault(err)
	}
	return &wire.HeadResponse{Block: data}, nil
}

func (s *server) Entry(ctx context.Context, in *wire.EntryRequest) (*wire.EntryResponse, error) {
	if len(in.Key) == 0 || len(in.Key) > tree.MaxKey {
		return nil, rpc.Errorf(rpc.InvalidArgument, "a key of %d bytes, want 1 to %d", len(in.Key), tree.MaxKey)
	}
	ctx, cancel := context.WithTimeout(ctx, waitTime)
	defer cancel()
	b, state, err := s.cfg.Chain.Provable(ctx, in.After)
	if err != nil {
		return nil, s.fault(err)
	}
	out := &wire.EntryResponse{Height: b.Header.Height}
	if out.Proof, err = state.Prove(in.Key).Encode(); err != nil {
		return nil, s.fault(err)
	}
	if in.Known != b.Header.Height {
		if out.Block, err = b.Encode(); err != nil {
			return nil, s.fault(err)
		}
	}
	out.Value, _ = state.Get(in.Key)
	return out, nil
}

// turn lets one peer wait for few transactions only.
func (s *server) turn(who peer.ID) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.submits[who] >= maxSubmits {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "%d transactions of this peer wait for a block already", maxSubmits)
	}
	s.submits[who]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.submits[who]--; s.submits[who] == 0 {
			delete(s.submits, who)
		}
	}, nil
}

func (s *server) Submit(ctx context.Context, in *wire.SubmitRequest) (*wire.SubmitResponse, error) {
	var who peer.ID
	if call, ok := rpc.FromContext(ctx); ok {
		who = call.Caller
	}
	if len(in.Transaction) == 0 || len(in.Transaction) > maxTx {
		return nil, rpc.Errorf(rpc.InvalidArgument, "a transaction of %d bytes, want 1 to %d", len(in.Transaction), maxTx)
	}
	done, err := s.turn(who)
	if err != nil {
		return nil, err
	}
	defer done()
	height, res, err := s.cfg.Chain.Submit(ctx, in.Transaction)
	if err != nil {
		return nil, s.fault(err)
	}
	return &wire.SubmitResponse{Height: height, Code: uint32(res.Code), Detail: clip(res.Detail), Fee: uint64(res.Fee)}, nil
}

// maxDetail bounds the words of a result.
const maxDetail = 4 << 10

func clip(s string) string { return s[:min(len(s), maxDetail)] }

func (s *server) Places(context.Context, *wire.PlacesRequest) (*wire.PlacesResponse, error) {
	out := &wire.PlacesResponse{}
	if s.cfg.Places != nil {
		out.Places = s.cfg.Places()
		out.Places = out.Places[:min(maxPlaces, len(out.Places))]
	}
	return out, nil
}
