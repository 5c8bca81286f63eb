package crdt

import (
	"cmp"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// Limits bound what a replica holds since the last checkpoint. They are no part
// of the state: a replica that is full lacks operations until the owner makes a
// checkpoint, and says so by ErrFull.
type Limits struct {
	MaxOps   int   // operations; 0: 2^18. Of each author but the owner a quarter.
	MaxBytes int64 // of them; 0: 64 MiB, likewise.
	MaxState int64 // bytes of the entries of a checkpoint; 0: MaxSnapshot
}

// Space is a replica of one namespace.
type Space struct {
	genesis Genesis
	id      ID
	limits  Limits

	base       ID // the checkpoint that counts, the namespace's ID without one
	baseOp     *Op
	baseHeight uint64
	baseState  *state
	baseGrants int // of grants, those that the checkpoint holds

	ops     map[ID]*node
	heads   map[ID]bool
	bytes   int64
	authors map[peer.ID]*use
	grants  []grant
	revokes []*revocation
	state   *state
	cache   *view
	tree    *Tree
}

type use struct {
	ops   int
	bytes int64
}

// node is an operation since the base.
type node struct {
	*Op
	seen bits // grants in its past, by index
}

type grant struct {
	id     ID
	writer peer.ID
	prefix string
	types  Type
	entry  *Entry
}

// revocation ends the grants of a writer that it has seen, but for operations
// that it accepts.
type revocation struct {
	id       ID
	writer   peer.ID
	seen     bits
	accepted map[ID]bool
}

// bits is a set of indexes; never changed after it was made.
type bits []uint64

func (b bits) has(i int) bool { return i>>6 < len(b) && b[i>>6]>>(i&63)&1 == 1 }

func (b bits) with(i int) bits {
	out := make(bits, max(len(b), i>>6+1))
	copy(out, b)
	out[i>>6] |= 1 << (i & 63)
	return out
}

func (b bits) union(c bits) bits {
	if len(b) < len(c) {
		b, c = c, b
	}
	for i := range c {
		if c[i]&^b[i] != 0 {
			out := slices.Clone(b)
			for j := range c {
				out[j] |= c[j]
			}
			return out
		}
	}
	return b
}

// New makes an empty replica of a namespace.
func New(g Genesis, l Limits) (*Space, error) {
	if err := g.validate(); err != nil {
		return nil, err
	}
	if l.MaxOps <= 0 {
		l.MaxOps = 1 << 18
	}
	if l.MaxBytes <= 0 {
		l.MaxBytes = 64 << 20
	}
	if l.MaxState <= 0 || l.MaxState > MaxSnapshot-2*MaxOp {
		l.MaxState = MaxSnapshot - 2*MaxOp
	}
	s := &Space{genesis: g, id: g.ID(), limits: l}
	s.base = s.id
	s.baseState = newState()
	s.reset()
	return s, nil
}

// reset leaves nothing but the base.
func (s *Space) reset() {
	s.ops, s.heads, s.authors, s.bytes = map[ID]*node{}, map[ID]bool{}, map[peer.ID]*use{}, 0
	s.grants, s.revokes = s.grants[:s.baseGrants:s.baseGrants], nil
	s.state, s.cache, s.tree = s.baseState.clone(), nil, NewTree()
}

// Genesis tells what the namespace is; ID is its name.
func (s *Space) Genesis() Genesis { return s.genesis }

// ID names the namespace.
func (s *Space) ID() ID { return s.id }

// Base is the checkpoint that the replica builds on, and its height; without
// one the namespace's ID and 0.
func (s *Space) Base() (ID, uint64) { return s.base, s.baseHeight }

// Len is the number of operations since the base, Size their bytes.
func (s *Space) Len() int { return len(s.ops) }

// Size is the number of bytes of the operations since the base.
func (s *Space) Size() int64 { return s.bytes }

// Has tells whether an operation is here.
func (s *Space) Has(id ID) bool { return s.ops[id] != nil || s.baseOp != nil && id == s.base }

// Op gives an operation since the base.
func (s *Space) Op(id ID) (*Op, bool) {
	n := s.ops[id]
	if n == nil {
		return nil, false
	}
	return n.Op, true
}

// Heads are the operations since the base that no other names, ascending.
func (s *Space) Heads() []ID { return sortIDs(slices.Collect(maps.Keys(s.heads))) }

// Ops lists the operations since the base so that each comes after those it
// names.
func (s *Space) Ops() []*Op {
	out := make([]*Op, 0, len(s.ops))
	for _, n := range s.ops {
		out = append(out, n.Op)
	}
	SortOps(out)
	return out
}

// SortOps orders operations so that each comes after those it names.
func SortOps(ops []*Op) {
	slices.SortFunc(ops, func(a, b *Op) int { return a.stamp().Compare(b.stamp()) })
}

// Tree finds what two replicas do not share.
func (s *Space) Tree() *Tree { return s.tree }

// Add takes an operation. It returns false if it was here already. An error is
// ErrInvalid (or ErrDenied, which is ErrInvalid, too), ErrMissing,
// ErrSuperseded or ErrFull; the operation then has changed nothing. What a new
// checkpoint leaves behind, because it had not seen it, is in lost.
func (s *Space) Add(o *Op) (added bool, lost []*Op, err error) {
	if s.Has(o.id) {
		return false, nil, nil
	}
	n, err := s.place(o)
	if err != nil {
		return false, nil, err
	}
	if o.Change.Action == Checkpoint {
		lost, err := s.checkpoint(n)
		return err == nil, lost, err
	}
	s.insert(n)
	return true, nil, nil
}

// place checks an operation against those that are here.
func (s *Space) place(o *Op) (*node, error) {
	if o.raw == nil {
		panic("crdt: internal error: an operation that Parse or Make has not seen")
	}
	if o.Namespace != s.id {
		return nil, invalidf("the operation is of the namespace %s", o.Namespace)
	}
	if o.Base != s.base {
		return nil, ErrSuperseded
	}
	height, n := s.baseHeight, &node{Op: o}
	for _, p := range o.Parents {
		parent := s.ops[p]
		if parent == nil {
			return nil, fmt.Errorf("%w: %s", ErrMissing, p)
		}
		height = max(height, parent.Height)
		n.seen = n.seen.union(parent.seen)
	}
	if o.Height != height+1 {
		return nil, invalidf("a height of %d on %d", o.Height, height)
	}
	owner := o.Author == s.genesis.Owner
	if !owner {
		// What is denied here is denied everywhere and for ever: it depends on
		// the operation's past alone. So it need not be kept.
		if !slices.ContainsFunc(s.granting(n), func(int) bool { return true }) {
			return nil, invalidf("%w: %s may not change %q", ErrDenied, o.Author.Short(), o.Change.Key)
		}
	} else if s.genesis.Kind == Open && (o.Change.Action == Grant || o.Change.Action == Revoke) {
		return nil, invalidf("%w: in an open directory everybody writes their own part alone", ErrDenied)
	}
	if u := s.authors[o.Author]; o.Change.Action != Checkpoint {
		maxOps, maxBytes := s.limits.MaxOps, s.limits.MaxBytes
		if owner { // who must be able to revoke and to merge when others have filled it
			maxOps, maxBytes = maxOps+maxOps/4, maxBytes+maxBytes/4
		}
		if len(s.ops) >= maxOps || s.bytes+int64(len(o.raw)) > maxBytes ||
			!owner && u != nil && (u.ops >= s.limits.MaxOps/4 || u.bytes+int64(len(o.raw)) > s.limits.MaxBytes/4) {
			return nil, ErrFull
		}
	}
	return n, nil
}

// granting gives the grants in an operation's past that allow it.
func (s *Space) granting(n *node) []int {
	t := n.Change.Action.typeOf()
	if t == 0 {
		return nil
	}
	var out []int
	for i, g := range s.grants {
		if g.writer == n.Author && g.types&t != 0 && strings.HasPrefix(n.Change.Key, g.prefix) && (i < s.baseGrants || n.seen.has(i)) {
			out = append(out, i)
		}
	}
	return out
}

// counts tells whether an operation counts, given revocations.
func (s *Space) counts(n *node, revokes []*revocation) bool {
	if n.Author == s.genesis.Owner {
		return true
	}
	for _, i := range s.granting(n) {
		if !slices.ContainsFunc(revokes, func(r *revocation) bool { return s.ends(r, i) && !r.accepted[n.id] }) {
			return true
		}
	}
	return false
}

// ends tells whether a revocation ends a grant.
func (s *Space) ends(r *revocation, i int) bool {
	return r.writer == s.grants[i].writer && (i < s.baseGrants || r.seen.has(i))
}

func (s *Space) insert(n *node) {
	s.ops[n.id] = n
	s.bytes += int64(len(n.raw))
	u := s.authors[n.Author]
	if u == nil {
		u = &use{}
		s.authors[n.Author] = u
	}
	u.ops++
	u.bytes += int64(len(n.raw))
	for _, p := range n.Parents {
		delete(s.heads, p)
	}
	s.heads[n.id] = true
	s.tree.Add(n.id)
	s.cache = nil
	switch c := &n.Change; c.Action {
	case Grant:
		n.seen = n.seen.with(len(s.grants))
		s.grants = append(s.grants, newGrant(&Entry{
			Key: c.Key, Type: granted, Value: []byte{}, Stamp: n.stamp(), Writer: c.Writer, Types: c.Types,
		}))
	case Revoke:
		s.revokes = append(s.revokes, s.revocation(n))
		s.state = s.evaluate(nil)
	case Merge:
	default:
		if s.counts(n, s.revokes) {
			s.state.apply(n.Op)
		}
	}
}

func newGrant(e *Entry) grant { return grant{e.Stamp.ID, e.Writer, e.Key, e.Types, e} }

// revocation finds what a revocation accepts: of the writer's operations in its
// past, those at or below UpTo. So naming what it has not seen accepts nothing.
func (s *Space) revocation(n *node) *revocation {
	past := s.past(n.Parents, nil)
	r := &revocation{n.id, n.Change.Writer, n.seen, map[ID]bool{}}
	for id := range s.past(n.Change.UpTo, past) {
		if s.ops[id].Author == r.writer {
			r.accepted[id] = true
		}
	}
	return r
}

// past gives the operations at or below some, of those within, if it is not nil.
func (s *Space) past(from []ID, within map[ID]bool) map[ID]bool {
	out := map[ID]bool{}
	todo := slices.Clone(from)
	for len(todo) > 0 {
		id := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		n := s.ops[id]
		if n == nil || out[id] || within != nil && !within[id] {
			continue
		}
		out[id] = true
		todo = append(todo, n.Parents...)
	}
	return out
}

// evaluate computes the state of the operations within a set, all if it is nil.
func (s *Space) evaluate(within map[ID]bool) *state {
	revokes := s.revokesIn(within)
	st := s.baseState.clone()
	for id, n := range s.ops { // in any order: apply does not mind
		if (within == nil || within[id]) && n.Change.Action.typeOf() != 0 && s.counts(n, revokes) {
			st.apply(n.Op)
		}
	}
	return st
}

func (s *Space) revokesIn(within map[ID]bool) []*revocation {
	if within == nil {
		return s.revokes
	}
	var out []*revocation
	for _, r := range s.revokes {
		if within[r.id] {
			out = append(out, r)
		}
	}
	return out
}

// activeGrants gives the grants that are in force after the operations within a
// set, all if it is nil.
func (s *Space) activeGrants(within map[ID]bool) []*Entry {
	revokes := s.revokesIn(within)
	var out []*Entry
	for i, g := range s.grants {
		if (i < s.baseGrants || within == nil || within[g.id]) && !slices.ContainsFunc(revokes, func(r *revocation) bool { return s.ends(r, i) }) {
			out = append(out, g.entry)
		}
	}
	return out
}

// view is the state in the order of its tree.
type view struct {
	entries []*Entry
	leaves  []ID
	root    ID
	size    int64 // bytes of a snapshot's entries
}

func (s *Space) view() *view {
	if s.cache == nil {
		s.cache = newView(s.state, s.activeGrants(nil))
	}
	return s.cache
}

func newView(st *state, grants []*Entry) *view {
	v := &view{entries: append(st.sorted(), grants...)}
	if len(grants) > 0 {
		slices.SortFunc(v.entries, func(a, b *Entry) int { return cmp.Compare(a.path(), b.path()) })
	}
	return v
}

// hash fills in the tree, which reading does not need.
func (v *view) hash(space ID) {
	if v.leaves != nil {
		return
	}
	v.leaves = make([]ID, len(v.entries))
	for i, e := range v.entries {
		data := mustMarshal(e)
		v.leaves[i] = canon.Leaf(data)
		v.size += int64(len(data)) + 4
	}
	v.root = stateRoot(space, len(v.leaves), canon.Root(v.leaves))
}

// Root is the root of the state: what a checkpoint states and proofs lead to.
func (s *Space) Root() ID {
	v := s.view()
	v.hash(s.id)
	return v.root
}

// Make signs an operation on all that is here and adds it.
func (s *Space) Make(key ed25519.PrivateKey, c Change) (*Op, error) {
	if c.Action == Checkpoint {
		return nil, invalidf("checkpoints are made by MakeCheckpoint")
	}
	return s.make(key, c)
}

func (s *Space) make(key ed25519.PrivateKey, c Change) (*Op, error) {
	parents := s.Heads()
	if len(parents) > MaxParents { // the highest, so that the number of heads falls
		slices.SortFunc(parents, func(a, b ID) int { return s.ops[b].stamp().Compare(s.ops[a].stamp()) })
		parents = sortIDs(parents[:MaxParents])
	}
	return s.makeOn(key, c, parents)
}

func (s *Space) makeOn(key ed25519.PrivateKey, c Change, parents []ID) (*Op, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	height := s.baseHeight
	for _, p := range parents {
		height = max(height, s.ops[p].Height)
	}
	if parents == nil {
		parents = []ID{}
	}
	o := &Op{Namespace: s.id, Author: peer.FromPrivate(key), Base: s.base, Parents: parents, Height: height + 1, Change: c}
	if err := o.sign(key); err != nil {
		return nil, err
	}
	n, err := s.place(o)
	if err != nil {
		return nil, err
	}
	if c.Action != Checkpoint && o.Author != s.genesis.Owner && !s.counts(n, s.revokes) {
		return nil, fmt.Errorf("%w: the grant of %s was revoked", ErrDenied, o.Author.Short())
	}
	_, _, err = s.Add(o)
	return o, err
}

// Observed gives what a removal of an element, or a new insertion of it, names.
func (s *Space) Observed(key string, element []byte) []ID {
	e := s.state.entries[entryPath(key, Elements, string(element))]
	if e == nil {
		return nil
	}
	var out []ID
	for _, t := range e.Tags[max(0, len(e.Tags)-MaxObserved):] {
		out = append(out, t.ID)
	}
	return sortIDs(out)
}

// UpTo gives the heads of a writer's operations here: what a revocation names
// that accepts all that the owner has seen. Only the last MaxUpTo are named.
func (s *Space) UpTo(writer peer.ID) []ID {
	own := map[ID]*node{}
	covered := map[ID]bool{}
	for id, n := range s.ops {
		if n.Author == writer {
			own[id] = n
			for _, p := range n.Parents {
				covered[p] = true
			}
		}
	}
	var list []*Op
	for id, n := range own {
		if !covered[id] {
			list = append(list, n.Op)
		}
	}
	SortOps(list)
	out := []ID{}
	for _, o := range list[max(0, len(list)-MaxUpTo):] {
		out = append(out, o.id)
	}
	return sortIDs(out)
}
