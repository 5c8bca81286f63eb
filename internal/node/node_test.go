package node_test

import (
	"crypto/ed25519"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

func start(t *testing.T, n byte, friends ...peer.ID) *node.Node {
	t.Helper()
	m := mesh.Config{
		Key: ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, 32)), Mode: doctor.LAN, Bare: true, Listen: []string{"/ip4/127.0.0.1/tcp/0"},
	}
	x, err := node.New(t.Context(), node.Config{Mesh: m, Friends: friends, Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

func TestWhoMayCall(t *testing.T) {
	a := start(t, 1)
	b := start(t, 2, a.Mesh.Self())
	c := start(t, 3)
	for _, other := range []*node.Node{b, c} {
		if _, err := a.Mesh.Connect(t.Context(), other.Mesh.Addresses()[0]); err != nil {
			t.Fatal(err)
		}
	}
	for _, x := range []*node.Node{b, c} {
		if p, err := probe.About(t.Context(), a.Calls.To(x.Mesh.Self(), rpc.Control)); err != nil || p.Version != "test" || p.Observed == "" {
			t.Errorf("About: %+v, %v", p, err)
		}
	}
	if _, err := probe.Bulk(t.Context(), a.Calls.To(b.Mesh.Self(), rpc.Bulk), 1<<20, 1<<16); err != nil {
		t.Errorf("a friend: %v", err)
	}
	if _, err := probe.Bulk(t.Context(), a.Calls.To(c.Mesh.Self(), rpc.Bulk), 1<<20, 1<<16); rpc.CodeOf(err) != rpc.PermissionDenied {
		t.Errorf("a stranger: %v", err)
	}
	r := a.Examine(t.Context())
	if r.Self != a.Mesh.Self() || len(r.Findings) == 0 {
		t.Errorf("Examine: %+v", r)
	}
	if s := a.Explain(t.Context(), b.Mesh.Self()); s.Verdict != doctor.Direct && s.Verdict != doctor.LocalOnly {
		t.Errorf("Explain a connected peer: %+v", s)
	}
}
