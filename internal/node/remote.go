package node

import (
	"context"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
)

// Remote asks the node that runs in another process of this machine. Its methods
// are those of Node.
type Remote struct{ client *control.Client }

// Dial finds the node that runs on a folder, or returns control.ErrNotRunning.
func Dial(ctx context.Context, folder string) (*Remote, error) {
	c, err := control.Dial(ctx, folder)
	if err != nil {
		return nil, err
	}
	return &Remote{c}, nil
}

// Process is the number of the node's process.
func (r *Remote) Process() int { return r.client.Process }

// Status is Node.Status.
func (r *Remote) Status(ctx context.Context) (out Status, err error) {
	err = r.client.Call(ctx, "status", struct{}{}, &out)
	return out, err
}

// Reach is Node.Reach.
func (r *Remote) Reach(ctx context.Context, l Link, wait time.Duration) (out Reached, err error) {
	err = r.client.Call(ctx, "reach", reachRequest{l, wait}, &out)
	return out, err
}

// Ping is Node.Ping.
func (r *Remote) Ping(ctx context.Context, id peer.ID) (out time.Duration, err error) {
	err = r.client.Call(ctx, "ping", id, &out)
	return out, err
}

// Measure is Node.Measure.
func (r *Remote) Measure(ctx context.Context, id peer.ID, which int, long time.Duration) (out Measurement, err error) {
	err = r.client.Call(ctx, "measure", measureRequest{id, which, long}, &out)
	return out, err
}

// Diagnose is Node.Diagnose.
func (r *Remote) Diagnose(ctx context.Context, l Link) (out Diagnosis, err error) {
	err = r.client.Call(ctx, "diagnose", l, &out)
	return out, err
}

// Add is Node.Add.
func (r *Remote) Add(ctx context.Context, l Link) error { return r.client.Call(ctx, "add", l, nil) }

// Remove is Node.Remove.
func (r *Remote) Remove(ctx context.Context, id peer.ID) error {
	return r.client.Call(ctx, "remove", id, nil)
}

// Access is Node.Access.
func (r *Remote) Access(ctx context.Context) (out access.Book, err error) {
	err = r.client.Call(ctx, "access", struct{}{}, &out)
	return out, err
}

// Grant is Node.Grant.
func (r *Remote) Grant(ctx context.Context, in GrantRequest) (out Granted, err error) {
	err = r.client.Call(ctx, "grant", in, &out)
	return out, err
}

// Revoke is Node.Revoke.
func (r *Remote) Revoke(ctx context.Context, in RevokeRequest) (out int, err error) {
	err = r.client.Call(ctx, "revoke", in, &out)
	return out, err
}

// Receive is Node.Receive.
func (r *Remote) Receive(ctx context.Context, in ReceiveRequest) error {
	return r.client.Call(ctx, "receive", in, nil)
}

// Close lets the node alone; it runs on.
func (r *Remote) Close() error { return r.client.Close() }
