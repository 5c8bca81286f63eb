package node_test

import (
	"crypto/ed25519"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
)

// What is taken back counts no more, even if the disk does not take it.
func TestRevokeWithoutDisk(t *testing.T) {
	dir, err := os.MkdirTemp("", "aval") // a short name, for the socket
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "node")
	folder, err := control.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(t.Context(), node.Config{Folder: folder, Mesh: mesh.Config{
		Key: ed25519.NewKeyFromSeed(slices.Repeat([]byte{1}, 32)), Mode: doctor.Alone,
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	friend := peer.FromPrivate(ed25519.NewKeyFromSeed(slices.Repeat([]byte{2}, 32)))
	asks := access.Request{Who: friend, Action: access.Ask, Resource: "m"}
	right := []access.Right{{Action: access.Ask, Resource: "*"}}
	if _, err := n.Grant(t.Context(), node.GrantRequest{Holder: friend, Rights: right, Life: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if err := n.Guard.Allow(asks); err != nil {
		t.Fatal(err)
	}
	// A folder in the place of the file is what nothing can be written over.
	file := filepath.Join(path, "access.json")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(file, "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	if n, err := n.Revoke(t.Context(), node.RevokeRequest{Peer: friend}); n != 1 || err == nil || !strings.Contains(err.Error(), "not on the disk") {
		t.Errorf("%d taken back, %v", n, err)
	}
	if err := n.Guard.Allow(asks); err == nil {
		t.Error("what was taken back counts")
	}
	if _, err := n.Grant(t.Context(), node.GrantRequest{Holder: friend, Rights: right, Life: time.Hour}); err == nil {
		t.Error("a grant that was not written counts")
	}
	if err := n.Guard.Allow(asks); err == nil {
		t.Error("what was granted, but not kept, counts")
	}
}
