package node_test

import (
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/directory"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// TestOffers: the directory goes from stranger to stranger, other data does not.
func TestOffers(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	if _, err := b.Mesh.Connect(t.Context(), a.Mesh.Addresses()[0]); err != nil {
		t.Fatal(err)
	}
	o := directory.Offer{Root: canon.Hash{1}, Name: "llama", Context: 4096, Expires: time.Now().Add(time.Hour).Unix()}
	if err := a.Offer(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if err := a.Offer(t.Context(), directory.Offer{}); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("an empty offer: %v", err)
	}
	if err := b.Data.SyncDirectory(t.Context(), directory.Models.ID(), a.Mesh.Self()); err != nil {
		t.Fatal(err)
	}
	list, err := b.Offers(t.Context(), directory.Query{})
	if err != nil || len(list) != 1 || list[0].Provider != a.Mesh.Self() || list[0].Offer != o {
		t.Errorf("%+v, %v", list, err)
	}
	g, err := a.NewSpace(t.Context(), "notes")
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Change(t.Context(), change(g.ID())); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JoinSpace(t.Context(), g.Bytes()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.SyncSpace(t.Context(), g.ID(), peer.ID{}); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("a stranger reads notes: %v", err)
	}
	if err := b.Change(t.Context(), change(g.ID())); err == nil {
		t.Error("a stranger writes notes")
	}
	if c, err := a.Read(t.Context(), g.ID(), ""); err != nil || len(c.Entries) != 1 || c.Entries[0].Type != crdt.Register {
		t.Errorf("%+v, %v", c, err)
	}
}

// TestMeet: what a peer knows comes as soon as it is connected.
func TestMeet(t *testing.T) {
	a, b := start(t, 1), start(t, 2)
	o := directory.Offer{Root: canon.Hash{1}, Name: "llama", Context: 4096, Expires: time.Now().Add(time.Hour).Unix()}
	if err := a.Offer(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Mesh.Connect(t.Context(), a.Mesh.Addresses()[0]); err != nil {
		t.Fatal(err)
	}
	within(t, "the offer comes", func() bool {
		list, err := b.Offers(t.Context(), directory.Query{})
		return err == nil && len(list) == 1 && list[0].Provider == a.Mesh.Self()
	})
}

func change(space crdt.ID) node.ChangeRequest {
	return node.ChangeRequest{Space: space, Change: crdt.Change{Action: crdt.Set, Key: "a", Value: []byte("1")}}
}
