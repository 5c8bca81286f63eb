package crdt

import (
	"crypto/ed25519"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// MakeCheckpoint signs the state as the owner, so that replicas drop the
// operations that led to it. Operations that the owner has not seen by then do
// not count any more. The operations that are returned are those to send, the
// checkpoint last.
func (s *Space) MakeCheckpoint(key ed25519.PrivateKey) ([]*Op, error) {
	if peer.FromPrivate(key) != s.genesis.Owner {
		return nil, ErrDenied
	}
	var out []*Op
	heads := s.Heads()
	for len(heads) > MaxParents {
		o, err := s.makeOn(key, Change{Action: Merge}, sortIDs(slices.Clone(heads[:MaxParents])))
		if err != nil {
			return nil, err
		}
		out, heads = append(out, o), append(heads[MaxParents:], o.id)
	}
	root := s.Root()
	heads = nil
	for author := range s.authors {
		heads = append(heads, s.UpTo(author)...)
	}
	heads = sortIDs(heads)
	heads = heads[:min(len(heads), MaxUpTo)]
	o, err := s.make(key, Change{Action: Checkpoint, Root: root, UpTo: heads})
	if err != nil {
		return nil, err
	}
	return append(out, o), nil
}

// checkpoint takes a checkpoint whose past is here.
func (s *Space) checkpoint(n *node) ([]*Op, error) {
	if n.Author != s.genesis.Owner {
		return nil, invalidf("%w: a checkpoint of %s", ErrDenied, n.Author.Short())
	}
	past := s.past(n.Parents, nil)
	v := newView(s.evaluate(past), s.activeGrants(past))
	v.hash(s.id)
	if len(v.entries) > MaxEntries {
		return nil, invalidf("a checkpoint of %d entries, want at most %d", len(v.entries), MaxEntries)
	}
	if v.size > s.limits.MaxState {
		return nil, fmt.Errorf("%w: a checkpoint of %d bytes, at most %d are kept", ErrFull, v.size, s.limits.MaxState)
	}
	if v.root != n.Change.Root {
		return nil, invalidf("the owner's checkpoint %s states another state than its operations have", n.id)
	}
	var lost []*Op
	for id, other := range s.ops {
		if !past[id] {
			lost = append(lost, other.Op)
		}
	}
	SortOps(lost)
	s.adopt(n.Op, v)
	return lost, nil
}

// adopt makes a checkpoint the base.
func (s *Space) adopt(o *Op, v *view) {
	s.base, s.baseOp, s.baseHeight = o.id, o, o.Height
	s.baseState, s.grants = newState(), nil
	for _, e := range v.entries {
		if e.Type == granted {
			s.grants = append(s.grants, newGrant(e))
		} else {
			s.baseState.entries[e.path()] = e
		}
	}
	s.baseGrants = len(s.grants)
	s.reset()
	s.cache = v
}

// Snapshot is the checkpoint that the replica builds on, with the state that it
// states; nil without one. Operations since are not in it.
func (s *Space) Snapshot() []byte {
	if s.baseOp == nil {
		return nil
	}
	var grants []*Entry
	for _, g := range s.grants[:s.baseGrants] {
		grants = append(grants, g.entry)
	}
	v := newView(s.baseState, grants)
	out := appendItem(nil, s.baseOp.raw)
	for _, e := range v.entries {
		out = appendItem(out, mustMarshal(e))
	}
	return out
}

func appendItem(out, item []byte) []byte {
	return append(binary.BigEndian.AppendUint32(out, uint32(len(item))), item...)
}

func cutItem(data []byte, limit int) (item, rest []byte, err error) {
	if len(data) < 4 {
		return nil, nil, invalidf("a snapshot is cut")
	}
	n := binary.BigEndian.Uint32(data)
	if data = data[4:]; n > uint32(limit) || int(n) > len(data) {
		return nil, nil, invalidf("an item of a snapshot has %d bytes", n)
	}
	return data[:n], data[n:], nil
}

// Adopt takes a snapshot, if its checkpoint comes after the one that the
// replica builds on: the higher one, and of two as high that of the larger ID. It
// returns false if it does not. Of operations that it leaves behind, lost has those
// that are certain; of other authors' there may be some that it covers.
func (s *Space) Adopt(data []byte) (adopted bool, lost []*Op, err error) {
	if len(data) > MaxSnapshot {
		return false, nil, invalidf("a snapshot of %d bytes, want at most %d", len(data), MaxSnapshot)
	}
	raw, data, err := cutItem(data, MaxOp)
	if err != nil {
		return false, nil, err
	}
	o, err := Parse(raw)
	switch {
	case err != nil:
		return false, nil, err
	case o.Namespace != s.id || o.Change.Action != Checkpoint || o.Author != s.genesis.Owner:
		return false, nil, invalidf("the snapshot is not the owner's, of this namespace")
	case !s.before(o):
		return false, nil, nil
	}
	if int64(len(data)) > s.limits.MaxState {
		return false, nil, fmt.Errorf("%w: a checkpoint of %d bytes, at most %d are kept", ErrFull, len(data), s.limits.MaxState)
	}
	v := &view{size: int64(len(data))}
	last := ""
	for len(data) > 0 {
		var item []byte
		if item, data, err = cutItem(data, maxEntry); err != nil {
			return false, nil, err
		}
		e, err := parseEntry(item)
		if err != nil {
			return false, nil, err
		}
		path := e.path()
		if len(v.entries) > 0 && path <= last || len(v.entries) >= MaxEntries {
			return false, nil, invalidf("the entries of the snapshot are not in order, or too many")
		}
		last = path
		v.entries = append(v.entries, e)
		v.leaves = append(v.leaves, canon.Leaf(item))
	}
	if v.root = stateRoot(s.id, len(v.leaves), canon.Root(v.leaves)); v.root != o.Change.Root {
		return false, nil, invalidf("the snapshot is not the state that its checkpoint states")
	}
	if v.leaves == nil {
		v.leaves = []ID{}
	}
	lost = s.uncovered(o)
	s.adopt(o, v)
	return true, lost, nil
}

// uncovered lists the operations that a checkpoint whose past is not all here has
// certainly left behind. An author's own operations are in its replica, so that it
// knows the head of them that the checkpoint names, and what is above. Where the
// checkpoint builds on another, or had no room for all heads, nothing is certain.
func (s *Space) uncovered(o *Op) []*Op {
	if o.Base != s.base || len(o.Change.UpTo) >= MaxUpTo {
		return nil
	}
	covered := s.past(append(slices.Clone(o.Change.UpTo), o.Parents...), nil)
	var out []*Op
	for id, n := range s.ops {
		if !covered[id] {
			out = append(out, n.Op)
		}
	}
	SortOps(out)
	return out
}

// before tells whether a checkpoint comes after the base.
func (s *Space) before(o *Op) bool {
	if o.Height != s.baseHeight {
		return o.Height > s.baseHeight
	}
	return s.baseOp == nil || compareID(o.id, s.base) > 0
}
