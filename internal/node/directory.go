package node

import (
	"context"
	"path/filepath"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/crdt/replica"
	"github.com/avalnetwork/aval/internal/directory"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// syncMethods are open to everybody as calls: who may read which shared data is
// decided for each namespace (allowData).
var syncMethods = []string{
	"/aval.v1.SyncService/Compare", "/aval.v1.SyncService/Fetch", "/aval.v1.SyncService/Push",
	"/aval.v1.SyncService/Snapshot", "/aval.v1.SyncService/Authors",
}

// dataFolder is in the node's folder.
const dataFolder = "data"

// startData opens the shared data and the directory of models; the calls have not
// started yet.
func (n *Node) startData() (err error) {
	cfg := replica.Config{Calls: n.Calls, Key: n.key, Allow: n.allowData, Peers: n.connected, Keep: n.isContact, Logger: n.logger}
	if n.folder != nil {
		cfg.Folder = filepath.Join(n.folder.Path, dataFolder)
	}
	if n.Data, err = replica.New(cfg); err != nil {
		return err
	}
	n.Directory = directory.New(n.Data, directory.Models, n.Mesh.Self(), time.Now)
	return nil
}

// closeData writes what was seen of others and ends the replica.
func (n *Node) closeData() error {
	if n.Data == nil {
		return nil
	}
	if n.Directory != nil {
		if err := n.Directory.Flush(); err != nil {
			n.logger.Warn("what was seen of others could not be written", "error", err)
		}
	}
	return n.Data.Close()
}

// allowData decides who may read a namespace and send operations of it. The
// directory of models is for everybody; whose operations count is in the
// data itself.
func (n *Node) allowData(_ context.Context, who peer.ID, namespace string, tokens [][]byte) error {
	if namespace == directory.Models.ID().String() {
		return nil
	}
	return n.Guard.Allow(access.Request{Who: who, Action: access.Read, Resource: namespace, Tokens: tokens})
}

func (n *Node) connected() []peer.ID {
	var out []peer.ID
	for _, p := range n.Mesh.Peers() {
		out = append(out, p.ID)
	}
	return out
}

func (n *Node) isContact(id peer.ID) bool {
	for _, c := range n.Contacts() {
		if c.Peer == id {
			return true
		}
	}
	return false
}

// Offers finds offers of models.
func (n *Node) Offers(_ context.Context, q directory.Query) ([]directory.Listing, error) {
	list, err := n.Directory.Search(q)
	if err != nil {
		return nil, rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	return list, nil
}

// Offer publishes an offer of this node.
func (n *Node) Offer(_ context.Context, o directory.Offer) error {
	if err := n.Directory.Publish(o); err != nil {
		return rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	return nil
}

// Withdraw ends the offer of a model.
func (n *Node) Withdraw(_ context.Context, root canon.Hash) error { return n.Directory.Withdraw(root) }

// ChangeRequest is a change of a namespace, made and signed here.
type ChangeRequest struct {
	Space  crdt.ID     `json:"space"`
	Change crdt.Change `json:"change"`
	// Seen fills in what a removal, an insertion or a revocation names: all that
	// is here.
	Seen bool `json:"seen"`
}

// Change changes a namespace.
func (n *Node) Change(_ context.Context, r ChangeRequest) error {
	return n.Data.Do(r.Space, func(s *crdt.Space) ([]crdt.Change, error) {
		c := r.Change
		if r.Seen {
			switch c.Action {
			case crdt.Insert, crdt.Remove:
				c.Observed = s.Observed(c.Key, c.Value)
				if c.Action == crdt.Remove && len(c.Observed) == 0 {
					return nil, rpc.Errorf(rpc.NotFound, "the set %q has no such element", c.Key)
				}
			case crdt.Revoke:
				c.UpTo = s.UpTo(c.Writer)
			}
		}
		return []crdt.Change{c}, nil
	})
}

// SpaceInfo is a namespace of this device.
type SpaceInfo struct {
	ID     crdt.ID `json:"id"`
	Name   string  `json:"name"`
	Owner  peer.ID `json:"owner"`
	Ticket []byte  `json:"ticket"` // what another device joins with
	Ops    int     `json:"operations"`
	Bytes  int64   `json:"bytes"`
	Height uint64  `json:"checkpoint_height"`
	Root   crdt.ID `json:"root"`
}

// Spaces lists the namespaces.
func (n *Node) Spaces(context.Context) ([]SpaceInfo, error) {
	out := []SpaceInfo{}
	for _, g := range n.Data.List() {
		i := SpaceInfo{ID: g.ID(), Name: g.Name, Owner: g.Owner, Ticket: g.Bytes()}
		err := n.Data.View(i.ID, func(s *crdt.Space) error {
			i.Ops, i.Bytes, i.Root = s.Len(), s.Size(), s.Root()
			_, i.Height = s.Base()
			return nil
		})
		if err != nil {
			return nil, err
		}
		out = append(out, i)
	}
	return out, nil
}

// NewSpace makes a namespace that this device owns.
func (n *Node) NewSpace(_ context.Context, name string) (crdt.Genesis, error) {
	return n.Data.Create(name)
}

// JoinSpace takes part in the namespace of a ticket.
func (n *Node) JoinSpace(_ context.Context, ticket []byte) (crdt.Genesis, error) {
	g, err := crdt.ParseGenesis(ticket)
	if err != nil {
		return g, rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	return g, n.Data.Join(g)
}

// Content is what a namespace holds.
type Content struct {
	Entries []*crdt.Entry `json:"entries"`
	Grants  []*crdt.Entry `json:"grants"`
}

// maxShown bounds what Read gives at once.
const maxShown = 10_000

// Read gives the entries whose key begins with a prefix.
func (n *Node) Read(_ context.Context, space crdt.ID, prefix string) (out Content, err error) {
	err = n.Data.View(space, func(s *crdt.Space) error {
		out = Content{s.Entries(prefix), s.Grants()}
		if len(out.Entries) > maxShown {
			return rpc.Errorf(rpc.ResourceExhausted, "%d entries; name the beginning of their keys, so that there are at most %d", len(out.Entries), maxShown)
		}
		return nil
	})
	return out, err
}

// SyncSpace brings a namespace up to date with a peer, or, if that is nobody, with
// all that are connected; it fails if no peer shares it.
func (n *Node) SyncSpace(ctx context.Context, space crdt.ID, with peer.ID) (int, error) {
	peers := []peer.ID{with}
	if with.IsZero() {
		peers = n.connected()
	}
	done := 0
	err := error(rpc.Errorf(rpc.Unavailable, "no peer is connected"))
	for _, p := range peers {
		err2 := n.Data.Sync(ctx, space, p)
		if err2 == nil {
			done++
		}
		err = err2
	}
	if done > 0 {
		return done, nil
	}
	return 0, err
}

// Proved is a proof, and the root that it leads to.
type Proved struct {
	Root  crdt.ID `json:"root"`
	Proof []byte  `json:"proof"`
}

// ProveEntry proves what is, or is not, at a place.
func (n *Node) ProveEntry(_ context.Context, space crdt.ID, at crdt.Place) (out Proved, err error) {
	err = n.Data.View(space, func(s *crdt.Space) error {
		out = Proved{s.Root(), s.Prove(at).Bytes()}
		return nil
	})
	return out, err
}

// Requests of the door.
type (
	readRequest struct {
		Space  crdt.ID `json:"space"`
		Prefix string  `json:"prefix"`
	}
	syncRequest struct {
		Space crdt.ID `json:"space"`
		With  string  `json:"with"`
	}
	proveRequest struct {
		Space crdt.ID    `json:"space"`
		At    crdt.Place `json:"at"`
	}
)

func (n *Node) dataMethods() map[string]control.Method {
	return map[string]control.Method{
		"offers":   method(n.Offers),
		"offer":    method(func(ctx context.Context, in directory.Offer) (struct{}, error) { return struct{}{}, n.Offer(ctx, in) }),
		"withdraw": method(func(ctx context.Context, in canon.Hash) (struct{}, error) { return struct{}{}, n.Withdraw(ctx, in) }),

		"data-list":   method(func(ctx context.Context, _ struct{}) ([]SpaceInfo, error) { return n.Spaces(ctx) }),
		"data-new":    method(n.NewSpace),
		"data-join":   method(n.JoinSpace),
		"data-read":   method(func(ctx context.Context, in readRequest) (Content, error) { return n.Read(ctx, in.Space, in.Prefix) }),
		"data-change": method(func(ctx context.Context, in ChangeRequest) (struct{}, error) { return struct{}{}, n.Change(ctx, in) }),
		"data-checkpoint": method(func(_ context.Context, in crdt.ID) (struct{}, error) {
			return struct{}{}, n.Data.Checkpoint(in)
		}),
		"data-leave": method(func(_ context.Context, in crdt.ID) (struct{}, error) { return struct{}{}, n.Data.Leave(in) }),
		"data-sync": method(func(ctx context.Context, in syncRequest) (int, error) {
			var with peer.ID
			if in.With != "" {
				var err error
				if with, err = peer.Parse(in.With); err != nil {
					return 0, rpc.Errorf(rpc.InvalidArgument, "%w", err)
				}
			}
			return n.SyncSpace(ctx, in.Space, with)
		}),
		"data-prove": method(func(ctx context.Context, in proveRequest) (Proved, error) { return n.ProveEntry(ctx, in.Space, in.At) }),
	}
}
