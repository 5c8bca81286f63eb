package replica_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/crdt/replica"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
)

func key(n int) ed25519.PrivateKey {
	seed := make([]byte, 32)
	seed[0], seed[1] = byte(n), byte(n>>8)
	return ed25519.NewKeyFromSeed(seed)
}

func id(n int) peer.ID { return peer.FromPrivate(key(n)) }

func everybody(context.Context, peer.ID, string, [][]byte) error { return nil }

// node is one device of a test.
type node struct {
	*replica.Replica
	calls *rpc.Node
	seen  atomic.Int64 // bytes of messages that it read or wrote as a caller
}

func start(t testing.TB, net *memory.Network, n int, cfg replica.Config) *node {
	t.Helper()
	x := &node{}
	calls, err := rpc.New(rpc.Config{
		Network: net.Join(id(n)), Authorize: func(context.Context, *rpc.Call) error { return nil },
		Observe: func(e rpc.Event) {
			if !e.Served {
				x.seen.Add(e.In + e.Out)
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Calls, cfg.Key = calls, key(n)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Allow == nil {
		cfg.Allow = everybody
	}
	if cfg.Interval == 0 {
		cfg.Interval = -1
	}
	x.calls = calls
	if x.Replica, err = replica.New(cfg); err != nil {
		t.Fatal(err)
	}
	calls.Start()
	t.Cleanup(func() {
		if err := errors.Join(x.Close(), calls.Close()); err != nil {
			t.Error(err)
		}
	})
	return x
}

func change(t testing.TB, x *node, space crdt.ID, list ...crdt.Change) {
	t.Helper()
	if err := x.Do(space, func(*crdt.Space) ([]crdt.Change, error) { return list, nil }); err != nil {
		t.Fatal(err)
	}
}

func set(k, v string) crdt.Change {
	return crdt.Change{Action: crdt.Set, Key: k, Value: []byte(v)}
}

func look(t testing.TB, x *node, space crdt.ID) (root crdt.ID, ops int) {
	t.Helper()
	if err := x.View(space, func(s *crdt.Space) error { root, ops = s.Root(), s.Len(); return nil }); err != nil {
		t.Fatal(err)
	}
	return root, ops
}

func grantAll(n int) crdt.Change {
	return crdt.Change{Action: crdt.Grant, Writer: id(n), Types: crdt.AllTypes}
}

func same(t testing.TB, space crdt.ID, a, b *node) {
	t.Helper()
	ra, na := look(t, a, space)
	rb, nb := look(t, b, space)
	if ra != rb || na != nb {
		t.Errorf("two replicas differ after a sync: %d and %d operations", na, nb)
	}
}

func TestSync(t *testing.T) {
	net := memory.New()
	a, b := start(t, net, 1, replica.Config{}), start(t, net, 2, replica.Config{})
	g, err := a.Create("notes")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Join(g); err != nil {
		t.Fatal(err)
	}
	space := g.ID()
	change(t, a, space, grantAll(2), set("a", "1"))
	if err := b.Sync(t.Context(), space, id(1)); err != nil {
		t.Fatal(err)
	}
	same(t, space, a, b)
	for i := range 300 { // both write without seeing each other: more than one listing
		change(t, a, space, set(fmt.Sprint("a", i), "x"))
		change(t, b, space, set(fmt.Sprint("b", i), "x"))
	}
	if err := a.Sync(t.Context(), space, id(2)); err != nil { // takes and gives
		t.Fatal(err)
	}
	same(t, space, a, b)
	if _, n := look(t, a, space); n != 602 {
		t.Errorf("%d operations", n)
	}
	if err := a.Checkpoint(space); err != nil {
		t.Fatal(err)
	}
	change(t, a, space, set("later", "1"))
	change(t, b, space, set("lost?", "no")) // does not know of the checkpoint
	c := start(t, net, 3, replica.Config{})
	if err := c.Join(g); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*node{c, b, a} {
		with := id(1)
		if x == a {
			with = id(2)
		}
		if err := x.Sync(t.Context(), space, with); err != nil {
			t.Fatal(err)
		}
	}
	same(t, space, a, b)
	if err := c.Sync(t.Context(), space, id(1)); err != nil {
		t.Fatal(err)
	}
	same(t, space, a, c)
	_ = c.View(space, func(s *crdt.Space) error {
		if e, ok := s.Get("lost?", crdt.Register); !ok || string(e.Value) != "no" || s.Len() != 2 {
			t.Errorf("a change that the checkpoint left behind was not made again: %v, %d operations", e, s.Len())
		}
		return nil
	})
}

func TestNotAllowed(t *testing.T) {
	net := memory.New()
	only := func(_ context.Context, who peer.ID, _ string, tokens [][]byte) error {
		if who == id(2) || len(tokens) == 1 && string(tokens[0]) == "open" {
			return nil
		}
		return errors.New("no")
	}
	a := start(t, net, 1, replica.Config{Allow: only})
	g, _ := a.Create("notes")
	for n, want := range map[int]rpc.Code{2: rpc.OK, 3: rpc.PermissionDenied} {
		x := start(t, net, n, replica.Config{})
		if err := x.Join(g); err != nil {
			t.Fatal(err)
		}
		if err := x.Sync(t.Context(), g.ID(), id(1)); rpc.CodeOf(err) != want {
			t.Errorf("%d: %v", n, err)
		}
		if n == 3 {
			if err := x.Sync(rpc.WithTokens(t.Context(), []byte("open")), g.ID(), id(1)); err != nil {
				t.Errorf("with a token: %v", err)
			}
		}
	}
}

// TestCost: of many operations few are missing; finding them must not take the
// others along.
func TestCost(t *testing.T) { cost(t, 10_000) }

// BenchmarkCost is TestCost with 100,000 operations.
func BenchmarkCost(b *testing.B) {
	for b.Loop() {
		b.ReportMetric(float64(cost(b, 100_000)), "bytes-for-ten")
	}
}

func cost(t testing.TB, n int) int64 {
	net := memory.New()
	a, b := start(t, net, 1, replica.Config{}), start(t, net, 2, replica.Config{})
	g, _ := a.Create("notes")
	if err := b.Join(g); err != nil {
		t.Fatal(err)
	}
	var list []crdt.Change
	for i := range n {
		list = append(list, set(fmt.Sprint(i%1000), fmt.Sprint(i)))
	}
	change(t, a, g.ID(), list...)
	if err := b.Sync(t.Context(), g.ID(), id(1)); err != nil {
		t.Fatal(err)
	}
	same(t, g.ID(), a, b)
	all := b.seen.Swap(0)
	change(t, a, g.ID(), list[:10]...)
	if err := b.Sync(t.Context(), g.ID(), id(1)); err != nil {
		t.Fatal(err)
	}
	same(t, g.ID(), a, b)
	t.Logf("all: %d bytes; ten more: %d bytes", all, b.seen.Load())
	if b.seen.Load() > 64<<10 {
		t.Errorf("ten missing operations cost %d bytes", b.seen.Load())
	}
	return b.seen.Load()
}

// TestTornFile: whatever part of the last record a crash left, the file opens with
// all records before it, and goes on.
func TestTornFile(t *testing.T) {
	folder := t.TempDir()
	open := func() *node {
		return start(t, memory.New(), 1, replica.Config{Folder: folder})
	}
	x := open()
	g, err := x.Create("notes")
	if err != nil {
		t.Fatal(err)
	}
	change(t, x, g.ID(), set("a", "1"), set("b", "2"))
	if err := x.Checkpoint(g.ID()); err != nil {
		t.Fatal(err)
	}
	change(t, x, g.ID(), set("c", "3"))
	path := filepath.Join(folder, g.ID().String()+".ops")
	before, _ := os.ReadFile(path)
	want, _ := look(t, x, g.ID())
	change(t, x, g.ID(), set("d", "4"))
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	whole, _ := os.ReadFile(path)
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	for n := len(before); n < len(whole); n++ {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		x := open()
		if root, ops := look(t, x, g.ID()); root != want || ops != 1 {
			t.Fatalf("cut at byte %d of %d: %d operations", n, len(whole), ops)
		}
		if n%50 == 0 {
			change(t, x, g.ID(), set("e", "5"))
		}
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	bad := append([]byte{}, whole...)
	bad[len(bad)-1] ^= 1
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	if root, _ := look(t, open(), g.ID()); root != want {
		t.Error("a last record with a changed byte")
	}
}

// FuzzFile starts a replica on a file of any content.
func FuzzFile(f *testing.F) {
	folder := f.TempDir()
	x := start(f, memory.New(), 1, replica.Config{Folder: folder})
	g, err := x.Create("notes")
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(folder, g.ID().String()+".ops")
	change(f, x, g.ID(), set("a", "1"), grantAll(2))
	for range 2 {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		if err := x.Checkpoint(g.ID()); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		folder := t.TempDir()
		if err := os.WriteFile(filepath.Join(folder, "any.ops"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		x := start(t, memory.New(), 1, replica.Config{Folder: folder})
		for _, g := range x.List() {
			look(t, x, g.ID())
		}
	})
}

var killed = flag.String("killed", "", "folder that TestKilled's child writes to")

// TestKilled kills a process that writes; every change whose Do had returned is
// there afterwards.
func TestKilled(t *testing.T) {
	if *killed != "" {
		x := start(t, memory.New(), 1, replica.Config{Folder: *killed})
		g, err := x.Create("notes")
		if err != nil {
			t.Fatal(err)
		}
		for i := 1; ; i++ {
			change(t, x, g.ID(), set(fmt.Sprint(i), "x"))
			fmt.Println("done", i)
		}
	}
	for _, after := range []int{1, 7, 40} {
		folder := t.TempDir()
		c := exec.Command(os.Args[0], "-test.run=^TestKilled$", "-killed="+folder)
		out, err := c.StdoutPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		done := 0
		for lines := bufio.NewScanner(out); done < after && lines.Scan(); {
			_, _ = fmt.Sscanf(lines.Text(), "done %d", &done)
		}
		_ = c.Process.Kill()
		_ = c.Wait()
		x := start(t, memory.New(), 1, replica.Config{Folder: folder})
		list := x.List()
		if len(list) != 1 || done < after {
			t.Fatalf("%d namespaces after %d changes", len(list), done)
		}
		if _, n := look(t, x, list[0].ID()); n < done {
			t.Errorf("%d of %d changes are there", n, done)
		}
	}
}

func TestPush(t *testing.T) {
	net := memory.New()
	var peers []peer.ID
	for n := 1; n <= 3; n++ {
		peers = append(peers, id(n))
	}
	cfg := replica.Config{Peers: func() []peer.ID { return peers }}
	changed := make(chan crdt.ID, 100)
	a, b := start(t, net, 1, cfg), start(t, net, 2, cfg)
	cfg.Changed = func(id crdt.ID) {
		select {
		case changed <- id:
		default:
		}
	}
	c := start(t, net, 3, cfg)
	g, _ := a.Create("notes")
	for _, x := range []*node{b, c} {
		if err := x.Join(g); err != nil {
			t.Fatal(err)
		}
	}
	change(t, a, g.ID(), set("a", "1"))
	select {
	case <-changed:
	case <-time.After(20 * time.Second):
		t.Fatal("what is new was not passed on")
	}
	same(t, g.ID(), a, c)
}
