package node_test

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// run starts a node on a folder.
func run(t *testing.T, seed byte, path string, listen string) *node.Node {
	t.Helper()
	f, err := control.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	n, err := node.New(t.Context(), node.Config{Folder: f, Version: "test", Mesh: mesh.Config{
		Key: ed25519.NewKeyFromSeed(slices.Repeat([]byte{seed}, 32)), Mode: doctor.LAN, Bare: true, Listen: []string{listen},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n
}

const anyPort = "/ip4/127.0.0.1/tcp/0"

func link(n *node.Node) node.Link { return node.LinkOf(n.Mesh.Self(), n.Mesh.Addresses()) }

// TestContacts holds that a node comes back to its contacts: when one comes back
// itself, and when the node starts again; and that it stops when one is removed.
func TestContacts(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	fixed := fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", l.Addr().(*net.TCPAddr).Port)
	l.Close()
	here, there := filepath.Join(t.TempDir(), "a"), filepath.Join(t.TempDir(), "b")
	a, b := run(t, 1, here, anyPort), run(t, 2, there, fixed)
	if err := a.Add(t.Context(), link(b)); err != nil {
		t.Fatal(err)
	}
	connected := func(n *node.Node) bool { return len(n.Mesh.Peers()) == 1 }
	if !connected(a) {
		t.Fatal("not connected")
	}
	if err := a.Add(t.Context(), link(a)); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("itself as a contact: %v", err)
	}
	eventually := func(what string, f func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	eventually("b is still there", func() bool { return !connected(a) })
	b = run(t, 2, there, fixed)
	eventually("a does not come back to b", func() bool { return connected(a) })

	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	a = run(t, 1, here, anyPort)
	eventually("a has forgotten b", func() bool { return connected(a) })
	id := b.Mesh.Self()
	if err := a.Remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	eventually("a keeps the connection", func() bool { return !connected(a) })
	if err := a.Remove(t.Context(), id); rpc.CodeOf(err) != rpc.NotFound {
		t.Errorf("removed twice: %v", err)
	}
	if list, err := node.ReadContacts(here); err != nil || len(list) != 0 {
		t.Errorf("the folder has %v, %v", list, err)
	}
}

// TestRemote holds that the door gives what the node gives.
func TestRemote(t *testing.T) {
	dir, err := os.MkdirTemp("", "aval") // with a name short enough for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	path := filepath.Join(dir, "a")
	if _, err := node.Dial(t.Context(), path); !errors.Is(err, control.ErrNotRunning) {
		t.Errorf("nobody there: %v", err)
	}
	a, b := run(t, 1, path, anyPort), run(t, 2, filepath.Join(dir, "b"), anyPort)
	r, err := node.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if r.Process() != os.Getpid() {
		t.Errorf("process %d", r.Process())
	}
	if err := r.Add(t.Context(), link(b)); err != nil {
		t.Fatal(err)
	}
	id := b.Mesh.Self()
	reached, err := r.Reach(t.Context(), node.Link{Peer: id}, time.Second)
	if err != nil || reached.Peer != id || reached.About.Version != "test" || !strings.HasPrefix(reached.Way, "/ip4/") {
		t.Errorf("reach: %+v, %v", reached, err)
	}
	if took, err := r.Ping(t.Context(), id); err != nil || took <= 0 {
		t.Errorf("ping: %v, %v", took, err)
	}
	if m, err := r.Measure(t.Context(), a.Mesh.Self(), 0, 10*time.Millisecond); err != nil || m.Calls == nil || m.Calls.Calls == 0 {
		t.Errorf("measure: %+v, %v", m, err)
	}
	for _, bad := range []int{-1, node.Measurements} {
		if _, err := r.Measure(t.Context(), id, bad, time.Second); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Errorf("measurement %d: %v", bad, err)
		}
	}
	if _, err := r.Measure(t.Context(), id, 0, time.Hour); rpc.CodeOf(err) != rpc.InvalidArgument {
		t.Errorf("a measurement of an hour: %v", err)
	}
	d, err := r.Diagnose(t.Context(), node.Link{Peer: id})
	if err != nil || d.Self != a.Mesh.Self() || d.Peer == nil || len(d.Findings) == 0 {
		t.Errorf("diagnose: %+v, %v", d, err)
	}
	here, err := a.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	there, err := r.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	here.Peers, there.Peers = nil, nil // their counts go on
	if diff := cmp.Diff(here, there); diff != "" {
		t.Error(diff)
	}
	if err := r.Remove(t.Context(), id); err != nil {
		t.Error(err)
	}
}

// TestContactsFile holds that a node that does not run can be given contacts, and
// that a file that is damaged is told, not lost.
func TestContactsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node")
	l, err := node.ParseLink("peer://" + someID + "?addr=/ip4/192.0.2.1/tcp/1")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for range 2 { // the second replaces the first
		if err := node.AddContact(path, l, now); err != nil {
			t.Fatal(err)
		}
	}
	want := []node.Contact{{Link: l, Added: now}}
	if got, err := node.ReadContacts(path); err != nil || !cmp.Equal(got, want) {
		t.Errorf("%+v, %v", got, err)
	}
	file := filepath.Join(path, "contacts.json")
	for _, text := range []string{"", "{", `{"version":2}`, `{"version":1,"contacts":[{"peer":"x"}]}`, strings.Repeat(" ", 4<<20)} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := node.ReadContacts(path); err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%.20q is read: %v", text, err)
		}
		if err := node.AddContact(path, l, now); err == nil {
			t.Errorf("%.20q is overwritten", text)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	var full error
	for i := range 300 {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			t.Fatal(err)
		}
		l, err := node.ParseLink(peer.FromPrivate(key).String())
		if err != nil {
			t.Fatal(err)
		}
		if full = node.AddContact(path, l, now); full != nil {
			if i < 200 {
				t.Errorf("full after %d: %v", i, full)
			}
			break
		}
	}
	if rpc.CodeOf(full) != rpc.ResourceExhausted {
		t.Errorf("contacts without end: %v", full)
	}
}
