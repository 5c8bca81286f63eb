package node

import (
	"context"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/directory"
	"github.com/avalnetwork/aval/internal/peer"
)

// Offers is Node.Offers.
func (r *Remote) Offers(ctx context.Context, q directory.Query) (out []directory.Listing, err error) {
	err = r.client.Call(ctx, "offers", q, &out)
	return out, err
}

// Offer is Node.Offer.
func (r *Remote) Offer(ctx context.Context, o directory.Offer) error {
	return r.client.Call(ctx, "offer", o, nil)
}

// Withdraw is Node.Withdraw.
func (r *Remote) Withdraw(ctx context.Context, root canon.Hash) error {
	return r.client.Call(ctx, "withdraw", root, nil)
}

// Spaces is Node.Spaces.
func (r *Remote) Spaces(ctx context.Context) (out []SpaceInfo, err error) {
	err = r.client.Call(ctx, "data-list", struct{}{}, &out)
	return out, err
}

// NewSpace is Node.NewSpace.
func (r *Remote) NewSpace(ctx context.Context, name string) (out crdt.Genesis, err error) {
	err = r.client.Call(ctx, "data-new", name, &out)
	return out, err
}

// JoinSpace is Node.JoinSpace.
func (r *Remote) JoinSpace(ctx context.Context, ticket []byte) (out crdt.Genesis, err error) {
	err = r.client.Call(ctx, "data-join", ticket, &out)
	return out, err
}

// LeaveSpace forgets a namespace.
func (r *Remote) LeaveSpace(ctx context.Context, space crdt.ID) error {
	return r.client.Call(ctx, "data-leave", space, nil)
}

// Read is Node.Read.
func (r *Remote) Read(ctx context.Context, space crdt.ID, prefix string) (out Content, err error) {
	err = r.client.Call(ctx, "data-read", readRequest{space, prefix}, &out)
	return out, err
}

// Change is Node.Change.
func (r *Remote) Change(ctx context.Context, in ChangeRequest) error {
	return r.client.Call(ctx, "data-change", in, nil)
}

// CheckpointSpace makes a checkpoint of a namespace.
func (r *Remote) CheckpointSpace(ctx context.Context, space crdt.ID) error {
	return r.client.Call(ctx, "data-checkpoint", space, nil)
}

// SyncSpace is Node.SyncSpace.
func (r *Remote) SyncSpace(ctx context.Context, space crdt.ID, with peer.ID) (out int, err error) {
	in := syncRequest{Space: space}
	if !with.IsZero() {
		in.With = with.String()
	}
	err = r.client.Call(ctx, "data-sync", in, &out)
	return out, err
}

// ProveEntry is Node.ProveEntry.
func (r *Remote) ProveEntry(ctx context.Context, space crdt.ID, at crdt.Place) (out Proved, err error) {
	err = r.client.Call(ctx, "data-prove", proveRequest{space, at}, &out)
	return out, err
}
