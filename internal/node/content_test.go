package node_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/library"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// sharing starts a node with a library.
func sharing(t *testing.T, n byte, change func(*node.Config)) *node.Node {
	t.Helper()
	cfg := node.Config{
		Mesh: mesh.Config{
			Key: ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, 32)), Mode: doctor.LAN, Bare: true, Listen: []string{"/ip4/127.0.0.1/tcp/0"}, Logger: quiet,
		},
		Version: "test", Content: node.ContentConfig{Folder: t.TempDir()},
	}
	if change != nil {
		change(&cfg)
	}
	x, err := node.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func TestWhoMayFetch(t *testing.T) {
	key := func(n byte) peer.ID {
		return peer.FromPrivate(ed25519.NewKeyFromSeed(slices.Repeat([]byte{n}, 32)))
	}
	const friendly, granted, bearer, strange = 2, 3, 4, 5
	a := sharing(t, 1, func(c *node.Config) { c.Friends = []peer.ID{key(friendly)} })
	dir := t.TempDir()
	data := bytes.Repeat([]byte("data "), 100_000)
	if err := os.WriteFile(filepath.Join(dir, "file"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	share := func(name string, public bool) node.Shared {
		t.Helper()
		s, err := a.Share(t.Context(), node.ShareRequest{Kind: content.Data, Name: name, Folder: dir, Public: public}, nil)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	private, public := share("private", false), share("public", true)
	grant := func(who peer.ID) node.Granted {
		t.Helper()
		g, err := a.Grant(t.Context(), node.GrantRequest{
			Holder: who, Rights: []access.Right{{Action: access.Fetch, Resource: private.Root.String()}}, Life: time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	grant(key(granted))
	ticket := grant(peer.ID{}) // for whoever has it
	for _, c := range []struct {
		who  byte
		what node.Shared
		code rpc.Code
	}{
		{friendly, private, rpc.OK},
		{friendly, public, rpc.OK},
		{granted, private, rpc.OK},
		{granted, public, rpc.OK},
		{bearer, private, rpc.OK},
		{strange, private, rpc.PermissionDenied},
		{strange, public, rpc.OK},
	} {
		x := sharing(t, c.who, nil)
		if c.who == bearer {
			if err := x.Receive(t.Context(), node.ReceiveRequest{Token: ticket.Token}); err != nil {
				t.Fatal(err)
			}
		}
		base := t.TempDir()
		for _, name := range []string{c.what.Root.String(), c.what.Name} {
			l := c.what.Link
			l.Content = name
			p, err := x.Pull(t.Context(), node.PullRequest{Link: l, Base: base}, nil)
			if rpc.CodeOf(err) != c.code {
				t.Errorf("peer %d, %s: %v, want %v", c.who, name, err, c.code)
			}
			if c.code != rpc.OK {
				continue
			}
			if got, err := os.ReadFile(filepath.Join(base, c.what.Name, "file")); err != nil || !bytes.Equal(got, data) || p.Root != c.what.Root {
				t.Errorf("peer %d, %s: %d bytes, %v", c.who, name, len(got), err)
			}
		}
		_ = x.Close()
	}
	if err := a.Unshare(t.Context(), private.Root); err != nil {
		t.Fatal(err)
	}
	x := sharing(t, friendly, nil)
	if _, err := x.Pull(t.Context(), node.PullRequest{Link: private.Link, Base: t.TempDir()}, nil); rpc.CodeOf(err) != rpc.NotFound {
		t.Errorf("what is shared no longer: %v", err)
	}
}

// TestFromOthers fetches public content whose link names a peer that is gone: the
// table knows another.
func TestFromOthers(t *testing.T) {
	table := func(c *node.Config) { c.Mesh.Mode, c.Mesh.Reach = doctor.Open, mesh.Public }
	a, b, c := sharing(t, 1, table), sharing(t, 2, table), sharing(t, 3, table)
	for _, x := range []*node.Node{b, c} {
		if _, err := x.Mesh.Connect(t.Context(), a.Mesh.Addresses()[0]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Mesh.Connect(t.Context(), b.Mesh.Addresses()[0]); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := b.Share(t.Context(), node.ShareRequest{Kind: content.Data, Name: "set", Folder: dir, Public: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	within(t, "it is announced", func() bool { return b.Mesh.Provide(t.Context(), s.Root) == nil })
	gone := s.Link
	gone.Link = node.Link{Peer: peer.FromPrivate(benchKey(77))}
	base := t.TempDir()
	var p node.Pulled
	within(t, "it is fetched", func() bool {
		p, err = c.Pull(t.Context(), node.PullRequest{Link: gone, Base: base}, nil)
		return err == nil
	})
	if got, err := os.ReadFile(filepath.Join(base, "set", "file")); err != nil || string(got) != "data" || p.Peers[0].Peer != b.Mesh.Self() {
		t.Errorf("%q from %+v, %v", got, p.Peers, err)
	}
}

// within waits for something that must become true soon.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 200 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("not yet: %s", what)
}

func TestOneLibrary(t *testing.T) {
	folder := t.TempDir()
	l, err := library.Open(library.Config{Folder: folder})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = node.New(t.Context(), node.Config{
		Mesh:    mesh.Config{Key: benchKey(1), Mode: doctor.Alone, Logger: quiet},
		Content: node.ContentConfig{Folder: folder},
	})
	if rpc.CodeOf(err) != rpc.FailedPrecondition {
		t.Errorf("a library that another has: %v", err)
	}
	x := start(t, 2)
	if _, err := x.Shares(t.Context()); !errors.Is(err, node.ErrNoContent) {
		t.Errorf("a node without a library: %v", err)
	}
}

func TestContentLink(t *testing.T) {
	id := peer.FromPrivate(benchKey(1)).String()
	root := strings.Repeat("0f", 32)
	for _, s := range []string{"peer://" + id + "/" + root, "peer://" + id + "/name", "peer://" + id + "/" + root + "?addr=/ip4/192.0.2.1/tcp/1,/ip4/192.0.2.1/tcp/2"} {
		l, err := node.ParseContentLink(s)
		if err != nil || l.String() != s {
			t.Errorf("%s became %s, %v", s, l, err)
		}
	}
	l, err := node.ParseContentLink("peer://" + id + "/x?addr=/ip4/192.0.2.1/tcp/1")
	want := node.ContentLink{Link: node.Link{Peer: peer.FromPrivate(benchKey(1)), Addresses: []string{"/ip4/192.0.2.1/tcp/1/p2p/" + id}}, Content: "x"}
	if diff := cmp.Diff(want, l); err != nil || diff != "" {
		t.Error(err, diff)
	}
	for _, s := range []string{
		"", "peer://", "peer://" + id, "peer://" + id + "/", "peer://" + id + "/a/b", "peer://x/" + root, id + "/" + root, "peer://" + id + "/a?x=1",
		"peer://" + id + "/" + strings.Repeat("a", 129), "peer://" + id + "/a?addr=" + strings.Repeat("/", 5000),
	} {
		if l, err := node.ParseContentLink(s); !errors.Is(err, node.ErrLink) {
			t.Errorf("%.80q became %v, %v", s, l, err)
		}
	}
}
