package replica

import (
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

// Limits of messages.
const (
	maxPrefixes = 256
	maxListed   = 1 << 16 // IDs of one node of the tree
	maxReply    = 2 << 20 // bytes of IDs and hashes in an answer to Compare
	maxFetch    = 8192    // IDs that one Fetch asks for
	maxPush     = 256     // operations
	maxPushed   = 1 << 20 // bytes of them
	batch       = 256 << 10
)

// server answers peers.
type server struct{ r *Replica }

var _ wire.DRPCSyncServiceServer = (*server)(nil)

// who finds out whether the caller may ask for a namespace. What is not here and
// what is not allowed look the same, so that nobody can try out IDs.
func (s *server) who(ctx context.Context, in *wire.Space) (address, peer.ID, error) {
	a, err := readAddress(in)
	if err != nil {
		return a, peer.ID{}, err
	}
	call, _ := rpc.FromContext(ctx)
	if s.r.isBanned(call.Caller) {
		return a, call.Caller, rpc.Errorf(rpc.ResourceExhausted, "what you sent before could not be right")
	}
	denied := rpc.Errorf(rpc.PermissionDenied, "this device does not share the namespace %s with you", a.namespace)
	if call.Caller != s.r.self {
		if s.r.cfg.Allow == nil || s.r.cfg.Allow(ctx, call.Caller, a.namespace.String(), call.Tokens) != nil {
			return a, call.Caller, denied
		}
	}
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if s.r.spaces[a.namespace] == nil && s.r.dirs[a.namespace] == nil {
		return a, call.Caller, denied
	}
	return a, call.Caller, nil
}

func (s *server) entry(ctx context.Context, in *wire.Space) (*entry, error) {
	a, _, err := s.who(ctx, in)
	if err != nil {
		return nil, err
	}
	e, err := s.r.find(a, false)
	if err != nil {
		return nil, rpc.Errorf(rpc.NotFound, "%w", err)
	}
	return e, nil
}

func readAddress(in *wire.Space) (address, error) {
	var a address
	if len(in.GetNamespace()) != canon.Size || len(in.Author) != 0 && len(in.Author) != len(a.author) {
		return a, rpc.Errorf(rpc.InvalidArgument, "a namespace has 32 bytes, an author 32 or none")
	}
	copy(a.namespace[:], in.Namespace)
	copy(a.author[:], in.Author)
	return a, nil
}

func (a address) wire() *wire.Space {
	out := &wire.Space{Namespace: a.namespace[:]}
	if !a.author.IsZero() {
		out.Author = a.author[:]
	}
	return out
}

func (s *server) Compare(ctx context.Context, in *wire.CompareRequest) (*wire.CompareResponse, error) {
	if len(in.Prefixes) > maxPrefixes {
		return nil, rpc.Errorf(rpc.InvalidArgument, "%d prefixes, want at most %d", len(in.Prefixes), maxPrefixes)
	}
	e, err := s.entry(ctx, in.Space)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	base, height := e.space.Base()
	out := &wire.CompareResponse{Base: base[:], Height: height}
	size := 0
	for _, p := range in.Prefixes {
		prefix, ok := readPrefix(p)
		if !ok {
			return nil, rpc.Errorf(rpc.InvalidArgument, "%#x is no prefix", p)
		}
		node := nodeOf(e.space.Tree(), prefix)
		if size += len(node.Hashes) + len(node.Ids); size > maxReply {
			break // the caller asks for the rest again
		}
		out.Nodes = append(out.Nodes, node)
	}
	return out, nil
}

func readPrefix(p uint32) (crdt.Prefix, bool) {
	out := crdt.Prefix{Depth: int(p >> 16), Bits: uint16(p)}
	return out, p>>16 <= 3 && out.Valid()
}

func writePrefix(p crdt.Prefix) uint32 { return uint32(p.Depth)<<16 | uint32(p.Bits) }

// nodeOf tells of a prefix what is cheaper: the IDs or the hashes below.
func nodeOf(t *crdt.Tree, p crdt.Prefix) *wire.CompareResponse_Node {
	limit := crdt.SmallTree
	if p.Depth == 3 {
		limit = maxListed
	}
	ids, ok := t.IDs(p, limit)
	if ok || p.Depth == 3 {
		return &wire.CompareResponse_Node{Listed: true, Ids: joinIDs(ids)}
	}
	node := &wire.CompareResponse_Node{}
	for i := range 16 {
		h := t.Hash(p.Child(i))
		node.Hashes = append(node.Hashes, h[:]...)
	}
	return node
}

func joinIDs(ids []crdt.ID) []byte {
	out := make([]byte, 0, len(ids)*canon.Size)
	for _, id := range ids {
		out = append(out, id[:]...)
	}
	return out
}

func splitIDs(data []byte, limit int) ([]crdt.ID, error) {
	if len(data)%canon.Size != 0 || len(data) > limit*canon.Size {
		return nil, rpc.Errorf(rpc.InvalidArgument, "%d bytes are not at most %d IDs", len(data), limit)
	}
	out := make([]crdt.ID, 0, len(data)/canon.Size)
	for c := range slices.Chunk(data, canon.Size) {
		out = append(out, crdt.ID(c))
	}
	return out, nil
}

func (s *server) Fetch(in *wire.FetchRequest, stream wire.DRPCSyncService_FetchStream) error {
	ids, err := splitIDs(in.Ids, maxFetch)
	if err != nil {
		return err
	}
	e, err := s.entry(stream.Context(), in.Space)
	if err != nil {
		return err
	}
	e.mu.Lock()
	base, _ := e.space.Base()
	var ops []*crdt.Op // which are shared with the space, and never change
	if len(ids) == 0 {
		ops = e.space.Ops()
	} else {
		for _, id := range ids {
			if o, ok := e.space.Op(id); ok {
				ops = append(ops, o)
			}
		}
		crdt.SortOps(ops)
	}
	e.mu.Unlock()
	if string(base[:]) != string(in.Base) {
		return rpc.Errorf(rpc.FailedPrecondition, "there is another checkpoint")
	}
	for len(ops) > 0 {
		n, size := 0, 0
		out := &wire.FetchResponse{}
		for n < len(ops) && (n == 0 || size+len(ops[n].Bytes()) <= batch) {
			out.Operations = append(out.Operations, ops[n].Bytes())
			size += len(ops[n].Bytes())
			n++
		}
		ops = ops[n:]
		if err := stream.Send(out); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) Push(ctx context.Context, in *wire.PushRequest) (*wire.PushResponse, error) {
	size := 0
	for _, raw := range in.Operations {
		size += len(raw)
	}
	if len(in.Operations) > maxPush || size > maxPushed {
		return nil, rpc.Errorf(rpc.InvalidArgument, "%d operations of %d bytes, want at most %d of %d", len(in.Operations), size, maxPush, maxPushed)
	}
	a, caller, err := s.who(ctx, in.Space)
	if err != nil {
		return nil, err
	}
	raw := in.Operations
	if e, err := s.r.find(a, false); err == nil { // most come from several peers, and checking a signature takes time
		e.mu.Lock()
		raw = slices.DeleteFunc(slices.Clone(raw), func(data []byte) bool { return e.space.Has(sha256.Sum256(data)) })
		e.mu.Unlock()
	}
	ops, err := parse(raw)
	if err != nil {
		s.r.ban(caller, err)
		return nil, rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	if len(ops) == 0 {
		return &wire.PushResponse{}, nil
	}
	// A stranger's part of a directory is made only for an operation of theirs.
	e, err := s.r.find(a, ops[0].Author == a.author)
	if err != nil {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "%w", err)
	}
	missing, err := s.r.take(e, ops, caller)
	if errors.Is(err, crdt.ErrInvalid) {
		s.r.ban(caller, err)
		return nil, rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	if errors.Is(err, crdt.ErrFull) {
		return nil, rpc.Errorf(rpc.ResourceExhausted, "%w", err)
	}
	if err == nil {
		if err = s.r.settle(e); err != nil {
			return nil, rpc.Errorf(rpc.ResourceExhausted, "%w", err)
		}
	}
	if missing {
		s.r.later(e.address, caller)
	}
	return &wire.PushResponse{Missing: missing}, err
}

// snapshotPiece is how much of a snapshot goes into one message.
const snapshotPiece = 256 << 10

func (s *server) Snapshot(in *wire.SnapshotRequest, stream wire.DRPCSyncService_SnapshotStream) error {
	e, err := s.entry(stream.Context(), in.Space)
	if err != nil {
		return err
	}
	e.mu.Lock()
	data := e.space.Snapshot()
	e.mu.Unlock()
	for piece := range slices.Chunk(data, snapshotPiece) {
		if err := stream.Send(&wire.SnapshotResponse{Data: piece}); err != nil {
			return err
		}
	}
	return nil
}

func (s *server) Authors(ctx context.Context, in *wire.AuthorsRequest) (*wire.AuthorsResponse, error) {
	a, _, err := s.who(ctx, in.Space)
	if err != nil {
		return nil, err
	}
	out := &wire.AuthorsResponse{}
	for author, part := range s.r.parts(a.namespace) {
		out.Parts = append(out.Parts, &wire.AuthorsResponse_Part{Author: author[:], Base: part.base[:], Hash: part.hash[:]})
	}
	return out, nil
}

// part is how an author's part of a directory is.
type part struct{ base, hash crdt.ID }

func (r *Replica) parts(directory crdt.ID) map[peer.ID]part {
	r.mu.Lock()
	var list []*entry
	if d := r.dirs[directory]; d != nil {
		for _, e := range d.parts {
			list = append(list, e)
		}
	}
	r.mu.Unlock()
	out := make(map[peer.ID]part, len(list))
	for _, e := range list {
		e.mu.Lock()
		base, _ := e.space.Base()
		out[e.address.author] = part{base, e.space.Tree().Hash(crdt.Prefix{})}
		e.mu.Unlock()
	}
	return out
}
