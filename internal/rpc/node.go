package rpc

import (
	"context"
	"fmt"
	"reflect"

	"storj.io/drpc"

	"github.com/avalnetwork/aval/internal/peer"
)

// protocol is the name under which calls of a class are spoken. The number
// grows when old and new nodes would not understand each other.
func protocol(c Class) string { return "/aval/rpc/1/" + c.String() }

// Node makes calls and serves them.
type Node struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	caller *caller
	server *server
}

// New makes a node. It serves nothing before Register and Start.
func New(cfg Config) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	n.caller, n.server = newCaller(n), newServer(n)
	return n, nil
}

// Self is this node's peer ID.
func (n *Node) Self() peer.ID { return n.cfg.Network.Self() }

// Register adds the methods of a service; desc is what is generated for it. All
// services are registered before Start.
func (n *Node) Register(service any, desc drpc.Description, limits Limits) error {
	for i := range desc.NumMethods() {
		name, _, _, handler, ok := desc.Method(i)
		if !ok || n.server.methods[name] != nil {
			return fmt.Errorf("rpc: the method %q is registered twice, or has no description", name)
		}
		m := &method{limits: limits}
		if unary := reflect.TypeOf(handler).NumOut() == 2; !unary { // the streaming ones return an error alone
			defaultTo(&m.limits.Timeout, n.cfg.StreamTimeout)
		}
		n.server.methods[name] = m
	}
	return n.server.mux.Register(service, desc)
}

// Start begins to serve.
func (n *Node) Start() {
	for c := Control; c < classes; c++ {
		n.cfg.Network.Handle(protocol(c), func(s Stream) { n.server.serve(s, c) })
	}
}

// Conn is a connection to a peer, for generated clients.
type Conn = drpc.Conn

// To is the connection of generated clients to a peer. It opens streams when
// calls need them, and may be used by many goroutines.
func (n *Node) To(id peer.ID, class Class) Conn { return n.caller.to(route{id, class}) }

// Close ends all calls and serves no more.
func (n *Node) Close() error {
	for c := Control; c < classes; c++ {
		n.cfg.Network.Handle(protocol(c), nil)
	}
	n.cancel()
	return n.caller.pool.Close()
}

// limits are those of a method, with the node's where it has none.
func (n *Node) limits(name string) Limits {
	l := Limits{}
	if m := n.server.methods[name]; m != nil {
		l = m.limits
	}
	defaultTo(&l.MaxMessage, n.cfg.MaxMessage)
	l.MaxMessage = min(l.MaxMessage, n.cfg.MaxMessage)
	defaultTo(&l.Timeout, n.cfg.Timeout)
	return l
}
