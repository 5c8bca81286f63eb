// Package replica keeps namespaces of shared data (internal/crdt) on disk and
// alike with those of peers. [New] starts it on the calls of a node;
// [Replica.Create] makes a namespace and [Replica.Join] takes part in one,
// [Replica.JoinDirectory] in an open directory; [Replica.Do] changes one and
// [Replica.View] reads it. [Replica.Sync] brings one up to date with a peer; the
// replica does so by itself as well, and passes on at once what is new.
//
// What two replicas lack is found by a tree of hashes over the IDs of their
// operations (spec/shared-data.md, part 7). Nothing that peers say is
// believed: every operation is checked, what builds on unknown ones is not
// kept but asked for, and who sends what cannot be right is not spoken to for a
// while. Who may read is decided by Config.Allow.
package replica

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	mrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

// Limits.
const (
	MaxSpaces  = 256  // namespaces, without the parts of directories
	MaxAuthors = 256  // parts of a directory that are kept
	maxBanned  = 4096 // peers that are not spoken to
	queueLen   = 256  // operations that wait to be passed on to a peer
	fanout     = 6    // peers to which an operation is passed on at once
	banTime    = 10 * time.Minute
	syncTime   = 2 * time.Minute // of one sync with one peer
	maxMeeting = 8               // peers that are met at once
	meetAgain  = 20 * time.Second
	maxMet     = 1024
)

// PartLimits bound one author's part of a directory.
var PartLimits = crdt.Limits{MaxOps: 256, MaxBytes: 64 << 10, MaxState: 40 << 10}

// ErrUnknown marks a namespace that this device does not have.
var ErrUnknown = errors.New("this device does not have that namespace")

// Config is what a replica is made of.
type Config struct {
	Calls *rpc.Node
	Key   ed25519.PrivateKey // that signs this device's operations
	// Folder keeps the namespaces; it is made. Empty: nothing is kept.
	Folder string
	// Allow decides whether a peer may read a namespace and push to it, by its
	// ID in hexadecimal. Nil refuses everybody.
	Allow func(ctx context.Context, who peer.ID, namespace string, tokens [][]byte) error
	// Peers are those that are connected; nil: none.
	Peers func() []peer.ID
	// Interval is how often every namespace is compared with one peer; 0 means
	// 30 seconds, less than zero never.
	Interval time.Duration
	// Keep tells which authors' parts of a directory are never dropped for those
	// of others; nil: this device's own.
	Keep   func(author peer.ID) bool
	Limits crdt.Limits // of a namespace
	// Changed is told of namespaces and directories that changed; it must not wait.
	Changed func(namespace crdt.ID)
	Logger  *slog.Logger // nil: slog.Default()
}

// Replica is all namespaces of a device.
type Replica struct {
	cfg    Config
	self   peer.ID
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	spaces map[crdt.ID]*entry
	dirs   map[crdt.ID]*directory
	banned map[peer.ID]time.Time
	queues map[peer.ID]chan parcel
	active map[syncKey]bool
	met    map[peer.ID]time.Time // those of the last meetAgain, about
	meets  int                   // that go on
	closed bool
}

type syncKey struct {
	space crdt.ID
	peer  peer.ID
}

// entry is a namespace, or a part of a directory.
type entry struct {
	address address
	mu      sync.Mutex
	space   *crdt.Space
	file    *file
	gone    bool // dropped from its directory
	loose   bool // a part that is not in its directory yet
	changed time.Time
}

// address is how a namespace is named on the wire.
type address struct {
	namespace crdt.ID // or the directory
	author    peer.ID // zero of a namespace
}

// directory is all parts of an open directory.
type directory struct {
	genesis crdt.Genesis // without an owner
	parts   map[peer.ID]*entry
}

// Directory names an open directory: everybody who takes the same name and salt
// is in the same.
type Directory struct {
	Name string
	Salt [16]byte
}

func (d Directory) genesis(owner peer.ID) crdt.Genesis {
	return crdt.Genesis{Owner: owner, Name: d.Name, Salt: d.Salt, Kind: crdt.Open}
}

// ID names the directory on the wire.
func (d Directory) ID() crdt.ID { return canon.Sum("aval directory/1", d.genesis(peer.ID{}).Bytes()) }

// New starts a replica with what its folder holds, and serves it on cfg.Calls,
// which has not started yet.
func New(cfg Config) (*Replica, error) {
	if cfg.Calls == nil || len(cfg.Key) != ed25519.PrivateKeySize {
		return nil, errors.New("replica: no calls or no key are given")
	}
	if cfg.Interval == 0 {
		cfg.Interval = 30 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	r := &Replica{
		cfg: cfg, self: peer.FromPrivate(cfg.Key), spaces: map[crdt.ID]*entry{}, dirs: map[crdt.ID]*directory{},
		banned: map[peer.ID]time.Time{}, queues: map[peer.ID]chan parcel{}, active: map[syncKey]bool{},
		met: map[peer.ID]time.Time{},
	}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	if cfg.Folder != "" {
		if err := r.restore(); err != nil {
			return nil, err
		}
	}
	if err := cfg.Calls.Register(&server{r: r}, wire.DRPCSyncServiceDescription{}, rpc.Limits{MaxMessage: 4 << 20, MaxCalls: 64, Timeout: syncTime}); err != nil {
		return nil, err
	}
	if cfg.Interval > 0 && cfg.Peers != nil {
		r.wg.Go(r.run)
	}
	return r, nil
}

// restore reads the folder. A file that cannot be read is left alone and told of.
func (r *Replica) restore() error {
	if err := os.MkdirAll(r.cfg.Folder, 0o700); err != nil {
		return err
	}
	paths, err := stored(r.cfg.Folder)
	if err != nil {
		return err
	}
	for _, p := range paths {
		s, f, err := load(p, r.cfg.Limits)
		if err != nil {
			r.cfg.Logger.Warn("shared data: a namespace could not be read", "error", err)
			continue
		}
		g := s.Genesis()
		if g.Kind == crdt.Open {
			d := r.directory(Directory{g.Name, g.Salt})
			d.parts[g.Owner] = &entry{address: address{Directory{g.Name, g.Salt}.ID(), g.Owner}, space: s, file: f}
			continue
		}
		r.spaces[s.ID()] = &entry{address: address{namespace: s.ID()}, space: s, file: f}
	}
	return nil
}

func (r *Replica) directory(d Directory) *directory {
	dir := r.dirs[d.ID()]
	if dir == nil {
		dir = &directory{genesis: d.genesis(peer.ID{}), parts: map[peer.ID]*entry{}}
		r.dirs[d.ID()] = dir
	}
	return dir
}

// Close ends what runs and closes the files.
func (r *Replica) Close() error {
	r.mu.Lock()
	closed := r.closed
	r.closed = true
	r.mu.Unlock()
	if closed {
		return nil
	}
	r.cancel()
	r.wg.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.entries() {
		e.mu.Lock()
		e.file.close()
		e.gone = true
		e.mu.Unlock()
	}
	return nil
}

// entries lists all; r.mu is held.
func (r *Replica) entries() []*entry {
	out := slices.Collect(maps.Values(r.spaces))
	for _, d := range r.dirs {
		out = append(out, slices.Collect(maps.Values(d.parts))...)
	}
	return out
}

// Create makes a namespace that this device owns.
func (r *Replica) Create(name string) (crdt.Genesis, error) {
	g := crdt.Genesis{Owner: r.self, Name: name, Kind: crdt.Owned}
	if _, err := rand.Read(g.Salt[:]); err != nil {
		return g, err
	}
	return g, r.Join(g)
}

// Join takes part in a namespace; whoever gives its genesis to others lets them
// ask for it.
func (r *Replica) Join(g crdt.Genesis) error {
	if g.Kind != crdt.Owned {
		return errors.New("an open directory is joined as a whole")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.spaces[g.ID()] != nil {
		return nil
	}
	if len(r.spaces) >= MaxSpaces {
		return fmt.Errorf("this device has %d namespaces already, which is the most", MaxSpaces)
	}
	e, err := r.newEntry(g, address{namespace: g.ID()}, r.cfg.Limits)
	if err == nil {
		r.spaces[g.ID()] = e
	}
	return err
}

func (r *Replica) newEntry(g crdt.Genesis, a address, l crdt.Limits) (*entry, error) {
	s, err := crdt.New(g, l)
	if err != nil {
		return nil, err
	}
	e := &entry{address: a, space: s, changed: time.Now()}
	if r.cfg.Folder != "" {
		if _, err := os.Stat(r.path(s.ID())); err == nil && a.author.IsZero() {
			return nil, fmt.Errorf("%s is there but could not be read: move it away to begin anew", r.path(s.ID()))
		}
		if e.file, err = rewrite(r.path(s.ID()), s); err != nil {
			return nil, err
		}
	}
	return e, nil
}

func (r *Replica) path(id crdt.ID) string {
	return filepath.Join(r.cfg.Folder, id.String()+extension)
}

// Leave forgets a namespace and removes its file.
func (r *Replica) Leave(id crdt.ID) error {
	r.mu.Lock()
	e := r.spaces[id]
	delete(r.spaces, id)
	r.mu.Unlock()
	if e == nil {
		return ErrUnknown
	}
	return r.drop(e)
}

func (r *Replica) drop(e *entry) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.gone = true
	if e.file == nil {
		return nil
	}
	e.file.close()
	err := os.Remove(e.file.path)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return err
}

// JoinDirectory takes part in an open directory.
func (r *Replica) JoinDirectory(d Directory) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.directory(d)
}

// List gives the namespaces of this device, without directories, by name and ID.
func (r *Replica) List() []crdt.Genesis {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []crdt.Genesis
	for _, e := range r.spaces {
		out = append(out, e.space.Genesis()) // which never changes
	}
	slices.SortFunc(out, func(a, b crdt.Genesis) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID().String(), b.ID().String()))
	})
	return out
}

// View lets read see a namespace, which it must not keep.
func (r *Replica) View(id crdt.ID, read func(*crdt.Space) error) error {
	e, err := r.find(address{namespace: id}, false)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return read(e.space)
}

// ViewDirectory lets read see every part of a directory, in the order of their
// authors.
func (r *Replica) ViewDirectory(d Directory, read func(author peer.ID, s *crdt.Space) error) error {
	r.mu.Lock()
	dir := r.dirs[d.ID()]
	var parts map[peer.ID]*entry
	if dir != nil {
		parts = maps.Clone(dir.parts)
	}
	r.mu.Unlock()
	if dir == nil {
		return ErrUnknown
	}
	for _, a := range slices.SortedFunc(maps.Keys(parts), peer.ID.Compare) {
		e := parts[a]
		e.mu.Lock()
		err := read(a, e.space)
		e.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// Do makes changes, which change returns, knowing the space as it is; it signs
// them with this device's key, keeps them and passes them on.
func (r *Replica) Do(id crdt.ID, change func(*crdt.Space) ([]crdt.Change, error)) error {
	return r.do(address{namespace: id}, change)
}

// DoDirectory is Do for this device's own part of a directory. When the part is
// half full, a checkpoint makes room.
func (r *Replica) DoDirectory(d Directory, change func(*crdt.Space) ([]crdt.Change, error)) error {
	a := address{d.ID(), r.self}
	if err := r.do(a, change); err != nil {
		return err
	}
	e, err := r.find(a, false)
	if err != nil {
		return err
	}
	e.mu.Lock()
	full := e.space.Len() > PartLimits.MaxOps/2 || e.space.Size() > PartLimits.MaxBytes/2
	e.mu.Unlock()
	if full {
		return r.checkpoint(a)
	}
	return nil
}

func (r *Replica) do(a address, change func(*crdt.Space) ([]crdt.Change, error)) error {
	e, err := r.find(a, a.author == r.self && !a.author.IsZero())
	if err != nil {
		return err
	}
	e.mu.Lock()
	made, err := e.change(r.cfg.Key, change)
	e.mu.Unlock()
	if err == nil {
		err = r.settle(e)
	}
	r.spread(e, made, peer.ID{})
	return err
}

func (e *entry) change(key ed25519.PrivateKey, change func(*crdt.Space) ([]crdt.Change, error)) ([]*crdt.Op, error) {
	if e.gone {
		return nil, ErrUnknown
	}
	list, err := change(e.space)
	if err != nil {
		return nil, err
	}
	var made []*crdt.Op
	for _, c := range list {
		o, err := e.space.Make(key, c)
		if err != nil {
			return made, errors.Join(err, e.file.flush())
		}
		e.file.add(o)
		made = append(made, o)
	}
	e.changed = time.Now()
	return made, e.file.flush()
}

// Checkpoint makes a checkpoint of a namespace that this device owns.
func (r *Replica) Checkpoint(id crdt.ID) error { return r.checkpoint(address{namespace: id}) }

func (r *Replica) checkpoint(a address) error {
	e, err := r.find(a, false)
	if err != nil {
		return err
	}
	e.mu.Lock()
	made, err := e.space.MakeCheckpoint(r.cfg.Key)
	if err == nil {
		err = e.rewrite()
	}
	e.mu.Unlock()
	r.spread(e, made, peer.ID{})
	return err
}

// rewrite follows a checkpoint.
func (e *entry) rewrite() error {
	if e.file == nil {
		return nil
	}
	f, err := rewrite(e.file.path, e.space)
	if err != nil {
		return err
	}
	e.file.close()
	e.file = f
	return nil
}

// find gives what an address names. A part of a directory that is not here is
// made, if make is set.
func (r *Replica) find(a address, make bool) (*entry, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errors.New("the replica is closed")
	}
	if a.author.IsZero() {
		if e := r.spaces[a.namespace]; e != nil {
			return e, nil
		}
		return nil, ErrUnknown
	}
	d := r.dirs[a.namespace]
	if d == nil {
		return nil, ErrUnknown
	}
	if e := d.parts[a.author]; e != nil {
		return e, nil
	}
	if !make {
		return nil, ErrUnknown
	}
	g := d.genesis
	g.Owner = a.author
	s, err := crdt.New(g, PartLimits)
	if err != nil {
		return nil, err
	}
	return &entry{address: a, space: s, changed: time.Now(), loose: true}, nil
}

// settle takes a part that find made into its directory, once it has something in
// it: names of authors alone, of which anybody can make up many, take no room.
func (r *Replica) settle(e *entry) error {
	e.mu.Lock()
	base, _ := e.space.Base()
	keep := e.loose && (e.space.Len() > 0 || base != e.space.ID())
	e.mu.Unlock()
	if !keep {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	d := r.dirs[e.address.namespace]
	if d == nil || r.closed {
		return ErrUnknown
	}
	if d.parts[e.address.author] != nil {
		return nil // another was faster, and has or will get the same
	}
	if len(d.parts) >= MaxAuthors && e.address.author != r.self && !r.room(d) {
		return fmt.Errorf("%w: the directory has %d authors here", crdt.ErrFull, len(d.parts))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if r.cfg.Folder != "" {
		f, err := rewrite(r.path(e.space.ID()), e.space)
		if err != nil {
			return err
		}
		e.file = f
	}
	e.loose = false
	d.parts[e.address.author] = e
	return nil
}

// stale is after how long without a change an author may be dropped for another.
const stale = 24 * time.Hour

// room drops the author of a directory that has not written for the longest
// time, if that is long. Somebody with many keys can keep others out of a full
// directory for that time, but not those that Keep names.
func (r *Replica) room(d *directory) bool {
	var oldest *entry
	for a, e := range d.parts {
		if a == r.self || r.cfg.Keep != nil && r.cfg.Keep(a) {
			continue
		}
		e.mu.Lock()
		if oldest == nil || e.changed.Before(oldest.changed) {
			oldest = e
		}
		e.mu.Unlock()
	}
	if oldest == nil || time.Since(oldest.changed) < stale {
		return false
	}
	delete(d.parts, oldest.address.author)
	return r.drop(oldest) == nil
}

// ban ends talks with a peer for a while.
func (r *Replica) ban(id peer.ID, why error) {
	if id == r.self {
		return
	}
	r.cfg.Logger.Warn("shared data: a peer sends what cannot be right; it is left alone for a while", "peer", id, "error", why)
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	if len(r.banned) >= maxBanned {
		maps.DeleteFunc(r.banned, func(_ peer.ID, until time.Time) bool { return now.After(until) })
	}
	if len(r.banned) < maxBanned {
		r.banned[id] = now.Add(banTime)
	}
}

func (r *Replica) isBanned(id peer.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.banned[id])
}

// run compares every namespace with a peer now and then.
func (r *Replica) run() {
	for {
		wait := r.cfg.Interval/2 + time.Duration(mrand.Int64N(int64(r.cfg.Interval)))
		select {
		case <-r.ctx.Done():
			return
		case <-time.After(wait):
		}
		peers := slices.DeleteFunc(r.cfg.Peers(), func(id peer.ID) bool { return id == r.self || r.isBanned(id) })
		if len(peers) == 0 {
			continue
		}
		r.mu.Lock()
		spaces, dirs := slices.Collect(maps.Keys(r.spaces)), slices.Collect(maps.Keys(r.dirs))
		r.mu.Unlock()
		for _, id := range spaces {
			r.later(address{namespace: id}, peers[mrand.IntN(len(peers))]) // so that a slow peer holds up one namespace
		}
		for _, id := range dirs {
			_ = r.SyncDirectory(r.ctx, id, peers[mrand.IntN(len(peers))])
		}
	}
}
