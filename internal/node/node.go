// Package node is one device on the network, running: the mesh, the calls on it,
// who may make them, and one Close for all. [New] starts it from a [Config]
// whose zero value, but for the key, is a sensible node. It reads no flags, no
// environment and no files.
package node

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

// Config is what a node is made of.
type Config struct {
	Mesh mesh.Config
	// Friends may make every call. Others may ask whether the node is there and
	// what it is, and nothing else.
	Friends []peer.ID
	Version string // of the program, told to who asks
}

// Node is a running node.
type Node struct {
	Mesh  *mesh.Node
	Calls *rpc.Node
}

// open are the methods that everybody may call. All others are for friends.
var open = []string{"/aval.v1.NetService/Ping", "/aval.v1.NetService/About"}

// Rates of one peer's calls; friends are held to them, too.
const (
	callRate = 100_000 // a second
	byteRate = 4 << 30 // a second
)

// New starts a node. ctx bounds the start alone.
func New(ctx context.Context, cfg Config) (*Node, error) {
	m, err := mesh.New(ctx, cfg.Mesh)
	if err != nil {
		return nil, err
	}
	n := &Node{Mesh: m}
	n.Calls, err = rpc.New(rpc.Config{
		Network: m, Logger: cfg.Mesh.Logger, CallRate: callRate, ByteRate: byteRate,
		Authorize: func(_ context.Context, c *rpc.Call) error { return allow(c, cfg.Friends) },
	})
	if err == nil {
		err = probe.Register(n.Calls, probe.Info{Version: cfg.Version, Observed: n.observed})
	}
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	n.Calls.Start()
	return n, nil
}

// allow decides about a call of another peer.
func allow(c *rpc.Call, friends []peer.ID) error {
	if slices.Contains(open, c.Method) || slices.Contains(friends, c.Caller) {
		return nil
	}
	return rpc.Errorf(rpc.PermissionDenied, "peer %s may not call %s here: its owner can let you with \"aval net up --friend %s\"", c.Caller.Short(), c.Method, c.Caller)
}

// observed is from where a peer comes.
func (n *Node) observed(id peer.ID) string {
	for _, p := range n.Mesh.Peers() {
		if p.ID == id {
			return p.Address
		}
	}
	return ""
}

// How much the doctor asks others.
const (
	clocks      = 8
	clockAnswer = 3 * time.Second
)

// Examine says how the node is connected and what could be better. It asks some
// of the peers for their clocks.
func (n *Node) Examine(ctx context.Context) doctor.Report {
	return doctor.Examine(n.observations(ctx))
}

// Explain says why a peer can or cannot be reached.
func (n *Node) Explain(ctx context.Context, id peer.ID) doctor.Summary {
	return doctor.Explain(n.observations(ctx), id)
}

func (n *Node) observations(ctx context.Context) doctor.Observations {
	o := n.Mesh.Observations()
	ctx, cancel := context.WithTimeout(ctx, clockAnswer)
	defer cancel()
	var wg sync.WaitGroup
	var mu sync.Mutex
	peers := n.Mesh.Peers()
	for _, p := range peers[:min(clocks, len(peers))] {
		wg.Go(func() {
			about, err := probe.About(ctx, n.Calls.To(p.ID, rpc.Control))
			if err != nil {
				return
			}
			mu.Lock()
			o.Clock = append(o.Clock, doctor.ClockSample{By: p.ID, Offset: about.Ahead})
			mu.Unlock()
		})
	}
	wg.Wait()
	slices.SortFunc(o.Clock, func(a, b doctor.ClockSample) int { return a.By.Compare(b.By) })
	return o
}

// Close ends the node.
func (n *Node) Close() error {
	var err error
	if n.Calls != nil {
		err = n.Calls.Close()
	}
	return errors.Join(err, n.Mesh.Close())
}
