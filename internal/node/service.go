package node

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

// Status is how a node is at the moment.
type Status struct {
	ID        peer.ID         `json:"id"`
	Network   doctor.Mode     `json:"network"`
	Private   bool            `json:"private"`
	Version   string          `json:"version"`
	Process   int             `json:"process"`
	Since     time.Time       `json:"since"`
	Link      Link            `json:"link"`
	Addresses []string        `json:"addresses"`
	Peers     []mesh.PeerInfo `json:"peers"`
	Contacts  []Contact       `json:"contacts"`
}

// Status tells how the node is.
func (n *Node) Status(context.Context) (Status, error) {
	addresses := n.Mesh.Addresses()
	return Status{
		ID: n.Mesh.Self(), Network: n.Mesh.Mode(), Private: n.private, Version: n.version, Process: os.Getpid(), Since: n.since,
		Link: LinkOf(n.Mesh.Self(), addresses), Addresses: addresses, Peers: n.Mesh.Peers(), Contacts: n.Contacts(),
	}, nil
}

// Reached is a peer that answered.
type Reached struct {
	Peer  peer.ID    `json:"peer"`
	Way   string     `json:"way"` // "relay", "self" or the address
	About probe.Peer `json:"about"`
}

// maxWait bounds how long Reach looks for a peer.
const maxWait = 10 * time.Minute

// Reach connects with a peer and asks what it is, again and again until wait is
// over. The error then says why, as far as the node can tell.
func (n *Node) Reach(ctx context.Context, l Link, wait time.Duration) (Reached, error) {
	limited, cancel := context.WithTimeout(ctx, min(wait, maxWait))
	defer cancel()
	var err error
	if l.Peer != n.Mesh.Self() {
		if len(l.Addresses) > 0 { // whoever gives addresses wants to know at once that they are wrong
			err = n.connect(limited, l)
		} else {
			err = waitFor(limited, func() error { _, err := n.Mesh.Find(limited, l.Peer); return err })
		}
	}
	var about *probe.Peer
	if err == nil {
		err = waitFor(limited, func() error {
			about, err = probe.About(limited, n.Calls.To(l.Peer, rpc.Control))
			return err
		})
	}
	if err == nil {
		return Reached{l.Peer, n.way(l.Peer), *about}, nil
	}
	if ctx.Err() != nil {
		return Reached{}, ctx.Err()
	}
	why := ""
	if s := n.Explain(ctx, l.Peer); s.Verdict == doctor.No || s.Verdict == doctor.Unknown {
		why = "\n" + s.Answer
	}
	if n.private && rpc.CodeOf(err) == rpc.Unavailable { // which looks like a node that is off, or like a broken connection
		why += "\nThis node is in a private network: a node with another key of the network, or none, cannot be reached from it. Compare the files of the key."
	}
	if why != "" {
		err = rpc.Errorf(rpc.Unavailable, "%s%s", plain(err), why)
	}
	return Reached{}, err
}

// plain is an error without its code, where another one is put before it.
func plain(err error) string {
	if e, ok := err.(*rpc.Error); ok && e.Text != "" {
		return e.Text
	}
	return err.Error()
}

// way is how a peer is connected.
func (n *Node) way(id peer.ID) string {
	if id == n.Mesh.Self() {
		return "self"
	}
	if p, ok := n.Mesh.Peer(id); ok && !p.Relayed {
		return p.Address
	}
	return "relay"
}

// waitFor tries until it works or the time is over, and returns the last error.
func waitFor(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// Ping tells how long a call to a peer takes.
func (n *Node) Ping(ctx context.Context, id peer.ID) (time.Duration, error) {
	return probe.Ping(ctx, n.Calls.To(id, rpc.Control), nil)
}

// Diagnosis is what the doctor says.
type Diagnosis struct {
	doctor.Report
	Peer *doctor.Summary `json:"peer,omitempty"`
}

// peerTry is how long Diagnose tries to reach a peer.
const peerTry = 10 * time.Second

// Diagnose says how the node is connected, and, if a peer is given, why that one
// can or cannot be reached, after it was tried.
func (n *Node) Diagnose(ctx context.Context, l Link) (Diagnosis, error) {
	var d Diagnosis
	if !l.Peer.IsZero() {
		_, err := n.Reach(ctx, l, peerTry) // what came of it is remembered
		if rpc.CodeOf(err) == rpc.InvalidArgument {
			return d, err
		}
	}
	o := n.observations(ctx)
	d.Report = doctor.Examine(o)
	if !l.Peer.IsZero() {
		s := doctor.Explain(o, l.Peer)
		d.Peer = &s
	}
	return d, ctx.Err()
}

// Requests of the door; see Remote.
type (
	reachRequest struct {
		Link Link          `json:"link"`
		Wait time.Duration `json:"wait"`
	}
	measureRequest struct {
		Peer  peer.ID       `json:"peer"`
		Which int           `json:"which"`
		Long  time.Duration `json:"long"`
	}
)

// methods are what commands may ask of the running node.
func (n *Node) methods() map[string]control.Method {
	m := map[string]control.Method{
		"status": method(func(ctx context.Context, _ struct{}) (Status, error) { return n.Status(ctx) }),
		"reach":  method(func(ctx context.Context, in reachRequest) (Reached, error) { return n.Reach(ctx, in.Link, in.Wait) }),
		"ping":   method(n.Ping),
		"measure": method(func(ctx context.Context, in measureRequest) (Measurement, error) {
			return n.Measure(ctx, in.Peer, in.Which, in.Long)
		}),
		"diagnose": method(n.Diagnose),
		"add":      method(func(ctx context.Context, in Link) (struct{}, error) { return struct{}{}, n.Add(ctx, in) }),
		"access":   method(func(ctx context.Context, _ struct{}) (access.Book, error) { return n.Access(ctx) }),
		"grant":    method(n.Grant),
		"revoke":   method(n.Revoke),
		"receive":  method(func(ctx context.Context, in ReceiveRequest) (struct{}, error) { return struct{}{}, n.Receive(ctx, in) }),
		"remove":   method(func(ctx context.Context, in peer.ID) (struct{}, error) { return struct{}{}, n.Remove(ctx, in) }),
	}
	maps.Copy(m, n.contentMethods())
	maps.Copy(m, n.modelMethods())
	maps.Copy(m, n.disputeMethods())
	maps.Copy(m, n.logMethods())
	maps.Copy(m, n.dataMethods())
	maps.Copy(m, n.ledgerMethods())
	maps.Copy(m, n.blockMethods())
	maps.Copy(m, n.marketMethods())
	maps.Copy(m, n.keeperMethods())
	maps.Copy(m, n.payMethods())
	maps.Copy(m, n.trialMethods())
	return m
}

// method makes a method of a function.
func method[In, Out any](f func(context.Context, In) (Out, error)) control.Method {
	return func(ctx context.Context, raw json.RawMessage) (any, error) {
		var in In
		if err := json.Unmarshal(raw, &in); err != nil {
			return nil, rpc.Errorf(rpc.InvalidArgument, "%w", err)
		}
		return f(ctx, in)
	}
}
