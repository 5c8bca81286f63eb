package replica

import (
	"context"
	"errors"
	"io"
	"maps"
	mrand "math/rand/v2"
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

// errLying marks what only a peer that does not keep to the protocol says.
var errLying = errors.New("the peer does not keep to the protocol")

func lyingf(format string, args ...any) error {
	return errors.Join(errLying, rpc.Errorf(rpc.DataLoss, format, args...))
}

func parse(raw [][]byte) ([]*crdt.Op, error) {
	out := make([]*crdt.Op, 0, len(raw))
	for _, data := range raw {
		o, err := crdt.Parse(data)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// take adds operations of a peer, which come after those they build on, keeps
// them and passes on what is new. missing tells that some build on unknown ones.
func (r *Replica) take(e *entry, ops []*crdt.Op, from peer.ID) (missing bool, err error) {
	var fresh []*crdt.Op
	var mine []*crdt.Op
	e.mu.Lock()
	if e.gone {
		e.mu.Unlock()
		return false, ErrUnknown
	}
	for _, o := range ops {
		added, lost, err2 := e.space.Add(o)
		switch {
		case err2 == nil && added:
			fresh = append(fresh, o)
			if o.Change.Action == crdt.Checkpoint {
				mine = append(mine, lost...)
				err = e.rewrite()
			} else {
				e.file.add(o)
			}
		case errors.Is(err2, crdt.ErrMissing), errors.Is(err2, crdt.ErrSuperseded):
			missing = true
		case err2 != nil:
			err = err2
		}
		if err != nil {
			break
		}
	}
	if err2 := e.file.flush(); err == nil {
		err = err2
	}
	if len(fresh) > 0 {
		e.changed = time.Now()
	}
	e.mu.Unlock()
	r.again(e, mine)
	r.spread(e, fresh, from)
	return missing, err
}

// again makes this device's own changes again that a checkpoint has left behind.
func (r *Replica) again(e *entry, lost []*crdt.Op) {
	var changes []crdt.Change
	for _, o := range lost {
		if c := o.Change; o.Author == r.self && c.Action <= crdt.Append {
			changes = append(changes, c)
		}
	}
	if len(changes) == 0 {
		return
	}
	for _, c := range changes {
		e.mu.Lock()
		made, err := e.change(r.cfg.Key, func(*crdt.Space) ([]crdt.Change, error) { return []crdt.Change{c}, nil })
		e.mu.Unlock()
		if err != nil {
			r.cfg.Logger.Warn("shared data: a change that a checkpoint left behind could not be made again", "error", err)
		}
		r.spread(e, made, peer.ID{})
	}
}

// Sync brings a namespace up to date with a peer, both ways.
func (r *Replica) Sync(ctx context.Context, id crdt.ID, with peer.ID) error {
	return r.sync(ctx, address{namespace: id}, with)
}

// SyncDirectory brings an open directory up to date with a peer.
func (r *Replica) SyncDirectory(ctx context.Context, id crdt.ID, with peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, syncTime)
	defer cancel()
	if r.isBanned(with) {
		return rpc.Errorf(rpc.Unavailable, "what peer %s sent before could not be right; it is left alone for a while", with.Short())
	}
	out, err := r.client(with).Authors(ctx, &wire.AuthorsRequest{Space: address{namespace: id}.wire()})
	if err != nil {
		return err
	}
	if len(out.Parts) > 4*MaxAuthors {
		err := lyingf("%d authors of a directory", len(out.Parts))
		r.ban(with, err)
		return err
	}
	theirs := map[peer.ID]part{}
	for _, p := range out.Parts {
		author, err := peer.FromPublic(p.Author)
		if err != nil || len(p.Base) != canon.Size || len(p.Hash) != canon.Size {
			r.ban(with, lyingf("a part of a directory without an author"))
			return err
		}
		theirs[author] = part{crdt.ID(p.Base), crdt.ID(p.Hash)}
	}
	ours := r.parts(id)
	var failed error
	for author, p := range theirs {
		if own, ok := ours[author]; ok && own == p {
			continue
		}
		if err := r.sync(ctx, address{id, author}, with); err != nil {
			failed = err
			if r.isBanned(with) || ctx.Err() != nil {
				return err
			}
		}
	}
	for author := range ours {
		if _, ok := theirs[author]; !ok {
			if e, err := r.find(address{id, author}, false); err == nil {
				e.mu.Lock()
				ops := e.space.Ops()
				e.mu.Unlock()
				failed = errors.Join(failed, r.push(ctx, e.address, with, ops))
			}
		}
	}
	return failed
}

// Meet brings everything up to date with a peer that has just connected, in the
// background. If too many come at once, some wait for the comparison that is made
// now and then anyway.
func (r *Replica) Meet(id peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if r.closed || id == r.self || r.meets >= maxMeeting || now.Before(r.banned[id]) || now.Sub(r.met[id]) < meetAgain {
		return
	}
	maps.DeleteFunc(r.met, func(_ peer.ID, at time.Time) bool { return now.Sub(at) >= meetAgain })
	if len(r.met) >= maxMet {
		return
	}
	r.met[id] = now
	r.meets++
	spaces, dirs := slices.Collect(maps.Keys(r.spaces)), slices.Collect(maps.Keys(r.dirs))
	r.wg.Go(func() {
		ctx, cancel := context.WithTimeout(r.ctx, syncTime)
		defer cancel()
		for _, d := range dirs {
			_ = r.SyncDirectory(ctx, d, id)
		}
		for _, s := range spaces {
			_ = r.Sync(ctx, s, id)
		}
		r.mu.Lock()
		r.meets--
		r.mu.Unlock()
	})
}

func (r *Replica) client(with peer.ID) wire.DRPCSyncServiceClient {
	return wire.NewDRPCSyncServiceClient(r.cfg.Calls.To(with, rpc.Normal))
}

// later syncs in the background, one at a time with each peer about each
// namespace.
func (r *Replica) later(a address, with peer.ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := r.key(a, with)
	if r.closed || r.active[key] || len(r.active) >= 64 {
		return
	}
	r.active[key] = true
	r.wg.Go(func() {
		_ = r.sync(r.ctx, a, with)
		r.mu.Lock()
		delete(r.active, key)
		r.mu.Unlock()
	})
}

func (r *Replica) key(a address, with peer.ID) syncKey {
	return syncKey{canon.Sum("aval sync key/1", a.namespace[:], a.author[:]), with}
}

func (r *Replica) sync(ctx context.Context, a address, with peer.ID) error {
	ctx, cancel := context.WithTimeout(ctx, syncTime)
	defer cancel()
	if r.isBanned(with) {
		return rpc.Errorf(rpc.Unavailable, "what peer %s sent before could not be right; it is left alone for a while", with.Short())
	}
	e, err := r.find(a, true)
	if err != nil {
		return err
	}
	for range 4 { // a checkpoint on either side begins it anew
		again, err := r.round(ctx, e, with)
		if errors.Is(err, errLying) || errors.Is(err, crdt.ErrInvalid) {
			r.ban(with, err)
		}
		if err == nil {
			err = r.settle(e)
		}
		if err != nil || !again {
			return err
		}
	}
	return rpc.Errorf(rpc.Aborted, "the namespace changed again and again")
}

// round finds what both sides lack and exchanges it.
func (r *Replica) round(ctx context.Context, e *entry, with peer.ID) (again bool, err error) {
	client := r.client(with)
	e.mu.Lock()
	base, height := e.space.Base()
	e.mu.Unlock()
	todo := []crdt.Prefix{{}}
	var need, give []crdt.ID
	for len(todo) > 0 {
		in := &wire.CompareRequest{Space: e.address.wire()}
		for _, p := range todo[:min(len(todo), maxPrefixes)] {
			in.Prefixes = append(in.Prefixes, writePrefix(p))
		}
		out, err := client.Compare(ctx, in)
		if err != nil {
			return false, err
		}
		if len(out.Base) != canon.Size || len(out.Nodes) > len(in.Prefixes) {
			return false, lyingf("an answer without a base, or with too much")
		}
		if theirs := crdt.ID(out.Base); theirs != base {
			if out.Height > height || out.Height == height && slices.Compare(theirs[:], base[:]) > 0 {
				return r.adopt(ctx, e, with, base)
			}
			return false, nil // it is behind, and learns of that when it asks
		}
		if len(out.Nodes) == 0 {
			return false, lyingf("an answer without content")
		}
		asked := todo[:len(out.Nodes)]
		todo = slices.Clone(todo[len(out.Nodes):])
		e.mu.Lock()
		for i, node := range out.Nodes {
			p := asked[i]
			if !node.Listed {
				if len(node.Hashes) != 16*canon.Size || p.Depth == 3 {
					e.mu.Unlock()
					return false, lyingf("a node with %d bytes of hashes", len(node.Hashes))
				}
				for k := range 16 {
					if c := p.Child(k); e.space.Tree().Hash(c) != crdt.ID(node.Hashes[k*canon.Size:(k+1)*canon.Size]) {
						todo = append(todo, c)
					}
				}
				continue
			}
			theirs, err := splitIDs(node.Ids, maxListed)
			if err != nil {
				e.mu.Unlock()
				return false, lyingf("%w", err)
			}
			have := map[crdt.ID]bool{}
			for _, id := range theirs {
				have[id] = true
				if !e.space.Has(id) {
					need = append(need, id)
				}
			}
			own, _ := e.space.Tree().IDs(p, 1<<30)
			for _, id := range own {
				if !have[id] {
					give = append(give, id)
				}
			}
		}
		e.mu.Unlock()
		if len(need) > maxFetch {
			break // all of it, then, in order
		}
	}
	if len(need) > 0 {
		ids := need
		if len(need) > maxFetch {
			ids, again = nil, true
		}
		if err := r.fetch(ctx, e, with, base, ids); err != nil {
			if rpc.CodeOf(err) == rpc.FailedPrecondition {
				return true, nil
			}
			return false, err
		}
	}
	e.mu.Lock()
	var ops []*crdt.Op
	for _, id := range give {
		if o, ok := e.space.Op(id); ok {
			ops = append(ops, o)
		}
	}
	e.mu.Unlock()
	crdt.SortOps(ops)
	return again, r.push(ctx, e.address, with, ops)
}

// fetch asks for operations, all if none are named.
func (r *Replica) fetch(ctx context.Context, e *entry, with peer.ID, base crdt.ID, ids []crdt.ID) error {
	stream, err := r.client(with).Fetch(ctx, &wire.FetchRequest{Space: e.address.wire(), Base: base[:], Ids: joinIDs(ids)})
	if err != nil {
		return err
	}
	defer stream.Close()
	wanted := map[crdt.ID]bool{}
	for _, id := range ids {
		wanted[id] = true
	}
	got := 0
	var last *crdt.Op
	for {
		out, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if len(out.Operations) == 0 {
			return lyingf("an empty message")
		}
		ops, err := parse(out.Operations)
		if err != nil {
			return err
		}
		for _, o := range ops {
			if len(ids) > 0 && !wanted[o.ID()] {
				return lyingf("an operation that was not asked for")
			}
			delete(wanted, o.ID())
			if last != nil && last.Height > o.Height { // so that it ends
				return lyingf("operations out of order")
			}
			last = o
		}
		got += len(ops)
		missing, err := r.take(e, ops, with)
		if err != nil {
			return err
		}
		if missing { // they came there while we compared, or there is a checkpoint
			return rpc.Errorf(rpc.FailedPrecondition, "operations came without those that they build on")
		}
	}
	if len(wanted) > 0 || got == 0 {
		return lyingf("%d operations that it has are not sent", len(wanted))
	}
	return nil
}

// push sends operations, each after those it builds on.
func (r *Replica) push(ctx context.Context, a address, with peer.ID, ops []*crdt.Op) error {
	for len(ops) > 0 {
		in := &wire.PushRequest{Space: a.wire()}
		size := 0
		for len(in.Operations) < maxPush && len(in.Operations) < len(ops) {
			raw := ops[len(in.Operations)].Bytes()
			if size += len(raw); size > maxPushed {
				break
			}
			in.Operations = append(in.Operations, raw)
		}
		ops = ops[len(in.Operations):]
		if _, err := r.client(with).Push(ctx, in); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes a peer's checkpoint.
func (r *Replica) adopt(ctx context.Context, e *entry, with peer.ID, base crdt.ID) (again bool, err error) {
	stream, err := r.client(with).Snapshot(ctx, &wire.SnapshotRequest{Space: e.address.wire()})
	if err != nil {
		return false, err
	}
	defer stream.Close()
	limit := int64(crdt.MaxSnapshot)
	if !e.address.author.IsZero() {
		limit = PartLimits.MaxState + 2*crdt.MaxOp
	}
	var data []byte
	for {
		out, err := stream.Recv()
		if err == io.EOF {
			break
		}
		if err != nil {
			return false, err
		}
		if len(out.Data) == 0 || int64(len(data)+len(out.Data)) > limit {
			return false, lyingf("a snapshot of more than %d bytes", limit)
		}
		data = append(data, out.Data...)
	}
	e.mu.Lock()
	if e.gone {
		e.mu.Unlock()
		return false, ErrUnknown
	}
	before, _ := e.space.Base()
	ok, lost, err := e.space.Adopt(data)
	if err == nil && ok {
		err = e.rewrite()
		e.changed = time.Now()
	}
	e.mu.Unlock()
	switch {
	case err != nil:
		return false, err
	case !ok && before != base:
		return true, nil // another peer was faster
	case !ok:
		return false, lyingf("a snapshot of another checkpoint than it said")
	}
	r.again(e, lost)
	if r.cfg.Changed != nil {
		r.cfg.Changed(e.address.namespace)
	}
	return true, nil
}

// parcel is an operation on its way to a peer.
type parcel struct {
	address address
	op      *crdt.Op
}

// spread passes new operations on to some of the peers that are connected. What
// finds no room in a peer's queue comes with the next sync.
func (r *Replica) spread(e *entry, ops []*crdt.Op, from peer.ID) {
	if len(ops) == 0 {
		return
	}
	if r.cfg.Changed != nil {
		r.cfg.Changed(e.address.namespace)
	}
	if r.cfg.Peers == nil {
		return
	}
	peers := slices.DeleteFunc(slices.Clone(r.cfg.Peers()), func(id peer.ID) bool { return id == r.self || id == from || r.isBanned(id) })
	mrand.Shuffle(len(peers), func(i, j int) { peers[i], peers[j] = peers[j], peers[i] })
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return
	}
	for _, id := range peers[:min(fanout, len(peers))] {
		q := r.queues[id]
		if q == nil {
			q = make(chan parcel, queueLen)
			r.queues[id] = q
			r.wg.Go(func() { r.post(id, q) })
		}
		for _, o := range ops {
			select {
			case q <- parcel{e.address, o}:
			default:
			}
		}
	}
}

// pushTime bounds how long a peer may take for what is passed on to it.
const pushTime = 20 * time.Second

// post sends what is in a peer's queue and ends when it is empty.
func (r *Replica) post(id peer.ID, q chan parcel) {
	for {
		var list []parcel
		r.mu.Lock()
		for len(q) > 0 && len(list) < maxPush {
			list = append(list, <-q)
		}
		if len(list) == 0 || r.closed {
			delete(r.queues, id)
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		for len(list) > 0 { // those of one namespace together
			a := list[0].address
			var ops []*crdt.Op
			list = slices.DeleteFunc(list, func(p parcel) bool {
				if p.address == a {
					ops = append(ops, p.op)
				}
				return p.address == a
			})
			ctx, cancel := context.WithTimeout(r.ctx, pushTime)
			_ = r.push(ctx, a, id, ops)
			cancel()
		}
	}
}
