package replica_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/crdt/replica"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

// liar is a peer that does not keep to the protocol, in one of many ways.
type liar struct {
	mode int
	base crdt.ID // of the namespace
	ops  [][]byte
}

var lies = []string{
	"garbage for operations", "lists what it does not have", "another operation than asked for", "a snapshot of garbage", "an endless snapshot",
	"short hashes", "hashes without end", "an empty answer", "no base", "an empty message", "IDs cut", "operations of a stranger", "the same without end",
}

func (l *liar) Compare(_ context.Context, in *wire.CompareRequest) (*wire.CompareResponse, error) {
	out := &wire.CompareResponse{Base: l.base[:]}
	for range in.Prefixes {
		out.Nodes = append(out.Nodes, &wire.CompareResponse_Node{Listed: true, Ids: bytes.Repeat([]byte{7}, 32)})
	}
	switch l.mode {
	case 3, 4:
		out.Base, out.Height = bytes.Repeat([]byte{1}, 32), 1<<40
	case 5:
		out.Nodes[0] = &wire.CompareResponse_Node{Hashes: []byte{1}}
	case 6:
		for i := range out.Nodes {
			out.Nodes[i] = &wire.CompareResponse_Node{Hashes: bytes.Repeat([]byte{1}, 512)}
		}
	case 7:
		out.Nodes = nil
	case 8:
		out.Base = nil
	case 10:
		out.Nodes[0].Ids = []byte{1, 2, 3}
	}
	return out, nil
}

func (l *liar) Fetch(in *wire.FetchRequest, s wire.DRPCSyncService_FetchStream) error {
	switch l.mode {
	case 0:
		return s.Send(&wire.FetchResponse{Operations: [][]byte{bytes.Repeat([]byte{0xa1}, 100)}})
	case 2, 11:
		return s.Send(&wire.FetchResponse{Operations: l.ops})
	case 9:
		return s.Send(&wire.FetchResponse{})
	case 12:
		for {
			if err := s.Send(&wire.FetchResponse{Operations: l.ops}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *liar) Snapshot(_ *wire.SnapshotRequest, s wire.DRPCSyncService_SnapshotStream) error {
	for {
		if err := s.Send(&wire.SnapshotResponse{Data: make([]byte, 1<<20)}); err != nil || l.mode == 3 {
			return err
		}
	}
}

func (l *liar) Push(context.Context, *wire.PushRequest) (*wire.PushResponse, error) {
	return &wire.PushResponse{}, nil // keeps all to itself
}

func (l *liar) Authors(context.Context, *wire.AuthorsRequest) (*wire.AuthorsResponse, error) {
	return &wire.AuthorsResponse{Parts: []*wire.AuthorsResponse_Part{{Author: []byte{1}}}}, nil
}

// strange are operations of somebody whom nobody granted anything.
func strange(t testing.TB, g crdt.Genesis, who int) [][]byte {
	t.Helper()
	own := g
	own.Owner = id(who)
	s, err := crdt.New(own, crdt.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Make(key(who), set("a", "stranger"))
	if err != nil {
		t.Fatal(err)
	}
	return [][]byte{o.Bytes()}
}

func lie(t testing.TB, net *memory.Network, n int, l *liar) *rpc.Node {
	t.Helper()
	calls, err := rpc.New(rpc.Config{Network: net.Join(id(n)), Authorize: func(context.Context, *rpc.Call) error { return nil }})
	if err == nil {
		err = calls.Register(l, wire.DRPCSyncServiceDescription{}, rpc.Limits{})
	}
	if err != nil {
		t.Fatal(err)
	}
	calls.Start()
	t.Cleanup(func() { _ = calls.Close() })
	return calls
}

func TestLiars(t *testing.T) {
	for mode, name := range lies {
		t.Run(name, func(t *testing.T) {
			net := memory.New()
			a := start(t, net, 1, replica.Config{})
			g, _ := a.Create("notes")
			change(t, a, g.ID(), set("a", "1"))
			root, n := look(t, a, g.ID())
			lie(t, net, 2, &liar{mode: mode, base: g.ID(), ops: strange(t, g, 2)})
			if err := a.Sync(t.Context(), g.ID(), id(2)); err == nil {
				t.Error("a sync with a liar worked")
			}
			if err := a.Sync(t.Context(), g.ID(), id(2)); rpc.CodeOf(err) != rpc.Unavailable {
				t.Errorf("it is still spoken to: %v", err)
			}
			if r, m := look(t, a, g.ID()); r != root || m != n {
				t.Error("the liar changed something")
			}
		})
	}
}

func TestHostileCallers(t *testing.T) {
	net := memory.New()
	a := start(t, net, 1, replica.Config{})
	g, _ := a.Create("notes")
	space := g.ID()
	change(t, a, space, set("a", "1"))
	d := replica.Directory{Name: "models"}
	a.JoinDirectory(d)
	dir := d.ID()
	for i, in := range []*wire.PushRequest{
		{Space: &wire.Space{Namespace: space[:]}, Operations: [][]byte{{1, 2, 3}}},
		{Space: &wire.Space{Namespace: space[:]}, Operations: strange(t, g, 9)},
		{Space: &wire.Space{Namespace: space[:]}, Operations: make([][]byte, 1000)},
		{Space: &wire.Space{Namespace: []byte{1}}},
		{},
		{Space: &wire.Space{Namespace: dir[:], Author: bytes.Repeat([]byte{5}, 32)}, Operations: strange(t, g, 9)},
	} {
		calls := lie(t, net, 20+i, &liar{})
		client := wire.NewDRPCSyncServiceClient(calls.To(id(1), rpc.Normal))
		if _, err := client.Push(t.Context(), in); err == nil {
			t.Errorf("%d was taken", i)
		}
		if i < 2 {
			if _, err := client.Compare(t.Context(), &wire.CompareRequest{Space: &wire.Space{Namespace: space[:]}, Prefixes: []uint32{0}}); rpc.CodeOf(err) != rpc.ResourceExhausted {
				t.Errorf("%d is still served: %v", i, err)
			}
		}
	}
	calls := lie(t, net, 40, &liar{})
	client := wire.NewDRPCSyncServiceClient(calls.To(id(1), rpc.Normal))
	for _, prefix := range []uint32{1, 4 << 16, 3<<16 | 0x1000, 1 << 31} {
		if _, err := client.Compare(t.Context(), &wire.CompareRequest{Space: &wire.Space{Namespace: space[:]}, Prefixes: []uint32{prefix}}); rpc.CodeOf(err) != rpc.InvalidArgument {
			t.Errorf("prefix %#x: %v", prefix, err)
		}
	}
	if _, n := look(t, a, space); n != 1 {
		t.Errorf("%d operations", n)
	}
}

// blamed fails a test when somebody is blamed who is not a liar.
type blamed struct {
	t     *testing.T
	liars map[string]bool
}

func (b *blamed) Enabled(context.Context, slog.Level) bool { return true }
func (b *blamed) WithAttrs([]slog.Attr) slog.Handler       { return b }
func (b *blamed) WithGroup(string) slog.Handler            { return b }
func (b *blamed) Handle(_ context.Context, r slog.Record) error {
	text := ""
	blames, right := false, false
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		if a.Key == "peer" {
			blames, right = true, b.liars[a.Value.String()]
		}
		return true
	})
	if blames && !right {
		b.t.Errorf("%s%s", r.Message, text)
	}
	return nil
}

// TestMany is 200 devices, 20 of which lie, in every way there is; a fifth of the
// others is cut off at any time while twenty write. When the writing and the
// cutting end, all that are honest have the same state within two minutes of
// the network's time.
func TestMany(t *testing.T) {
	if testing.Short() {
		t.Skip("200 nodes")
	}
	// rpc keeps compressors in a pool, whose channels belong to the bubble that made
	// them; two collections empty it for the tests that follow.
	defer func() { runtime.GC(); runtime.GC() }()
	synctest.Test(t, func(t *testing.T) {
		const nodes, liars, writers = 200, 20, 20
		rng := rand.New(rand.NewPCG(1, 2))
		net := memory.New()
		net.Delay(func(peer.ID, peer.ID) time.Duration { return 20 * time.Millisecond })
		neighbours := make([][]int, nodes)
		for i := range neighbours {
			for _, j := range []int{(i + 1) % nodes, rng.IntN(nodes), rng.IntN(nodes), rng.IntN(nodes)} {
				if i != j {
					neighbours[i], neighbours[j] = append(neighbours[i], j), append(neighbours[j], i)
				}
			}
		}
		lying := map[string]bool{}
		for k := range liars {
			lying[id(10*k+9).String()] = true
		}
		logger := slog.New(&blamed{t, lying})
		var honest []*node
		var indexes []int
		var g crdt.Genesis
		for i := range nodes {
			if i%10 == 9 {
				continue
			}
			cfg := replica.Config{Interval: 20 * time.Second, Logger: logger, Peers: func() []peer.ID {
				var out []peer.ID
				for _, j := range neighbours[i] {
					out = append(out, id(j))
				}
				return out
			}}
			x := start(t, net, i, cfg)
			if i == 0 {
				g, _ = x.Create("notes")
			} else if err := x.Join(g); err != nil {
				t.Fatal(err)
			}
			honest, indexes = append(honest, x), append(indexes, i)
		}
		for k := range liars {
			i := 10*k + 9
			l := &liar{mode: k % len(lies), base: g.ID(), ops: strange(t, g, i)}
			calls := lie(t, net, i, l)
			for _, j := range neighbours[i][:2] { // they call, too
				go func() {
					space := g.ID()
					ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
					defer cancel()
					for range 3 {
						_, _ = wire.NewDRPCSyncServiceClient(calls.To(id(j), rpc.Normal)).Push(ctx, &wire.PushRequest{
							Space: &wire.Space{Namespace: space[:]}, Operations: l.ops,
						})
					}
				}()
			}
		}
		var grants []crdt.Change
		for k := 1; k <= writers; k++ {
			grants = append(grants, grantAll(indexes[k*7]))
		}
		change(t, honest[0], g.ID(), grants...)
		time.Sleep(time.Minute)
		written := 0
		for minute := range 3 {
			var off []int
			for range len(honest) / 5 {
				off = append(off, indexes[rng.IntN(len(indexes))])
			}
			for _, i := range off {
				for _, j := range neighbours[i] {
					net.Cut(id(i), id(j))
				}
			}
			for k := 1; k <= writers; k++ {
				err := honest[k*7].Do(g.ID(), func(*crdt.Space) ([]crdt.Change, error) {
					return []crdt.Change{set("shared", fmt.Sprint(minute, k)), {Action: crdt.Count, Key: "n", Delta: 1}}, nil
				})
				if err == nil { // else it has not heard of its grant
					written++
				}
			}
			time.Sleep(time.Minute)
			for _, i := range off {
				for _, j := range neighbours[i] {
					net.Mend(id(i), id(j))
				}
			}
		}
		begin := time.Now()
		for {
			roots := map[crdt.ID]int{}
			least := 1 << 30
			for _, x := range honest {
				root, n := look(t, x, g.ID())
				roots[root]++
				least = min(least, n)
			}
			took := time.Since(begin)
			if len(roots) == 1 && least == writers+2*written {
				t.Logf("%d replicas agree on %d operations %v after the network is whole", len(honest), least, took)
				break
			}
			if took > 2*time.Minute {
				t.Fatalf("%d different states after %v; %d of %d operations", len(roots), took, least, writers+2*written)
			}
			time.Sleep(time.Second)
		}
		if written < writers {
			t.Errorf("only %d writes", written)
		}
		for _, x := range slices.Backward(honest) {
			_ = x.Close()
		}
	})
}

// crowd is a peer that tells of many authors who have written nothing.
type crowd struct{ liar }

func (c *crowd) Authors(context.Context, *wire.AuthorsRequest) (*wire.AuthorsResponse, error) {
	out := &wire.AuthorsResponse{}
	for i := range 500 {
		author := id(1000 + i)
		out.Parts = append(out.Parts, &wire.AuthorsResponse_Part{Author: author[:], Base: make([]byte, 32), Hash: bytes.Repeat([]byte{1}, 32)})
	}
	return out, nil
}

func (c *crowd) Compare(_ context.Context, in *wire.CompareRequest) (*wire.CompareResponse, error) {
	g := crdt.Genesis{Name: "models", Kind: crdt.Open}
	copy(g.Owner[:], in.Space.Author)
	base := g.ID()
	return &wire.CompareResponse{Base: base[:], Nodes: []*wire.CompareResponse_Node{{Listed: true}}}, nil
}

// TestCrowd: names of authors alone take no room, in memory or on disk.
func TestCrowd(t *testing.T) {
	net := memory.New()
	folder := t.TempDir()
	a := start(t, net, 1, replica.Config{Folder: folder})
	d := replica.Directory{Name: "models"}
	a.JoinDirectory(d)
	calls, err := rpc.New(rpc.Config{Network: net.Join(id(2)), Authorize: func(context.Context, *rpc.Call) error { return nil }})
	if err == nil {
		err = calls.Register(&crowd{}, wire.DRPCSyncServiceDescription{}, rpc.Limits{})
	}
	if err != nil {
		t.Fatal(err)
	}
	calls.Start()
	t.Cleanup(func() { _ = calls.Close() })
	if err := a.SyncDirectory(t.Context(), d.ID(), id(2)); err != nil {
		t.Fatal(err)
	}
	n := 0
	_ = a.ViewDirectory(d, func(peer.ID, *crdt.Space) error { n++; return nil })
	files, _ := os.ReadDir(folder)
	if n != 0 || len(files) != 0 {
		t.Errorf("%d parts and %d files", n, len(files))
	}
	// Those who did write come in up to the bound, and this device's own always.
	for i := range replica.MaxAuthors + 10 {
		part, err := crdt.New(crdt.Genesis{Owner: id(2000 + i), Name: "models", Kind: crdt.Open}, replica.PartLimits)
		if err != nil {
			t.Fatal(err)
		}
		o, err := part.Make(key(2000+i), set("offer", "x"))
		if err != nil {
			t.Fatal(err)
		}
		author, dir := id(2000+i), d.ID()
		_, err = wire.NewDRPCSyncServiceClient(calls.To(id(1), rpc.Normal)).Push(t.Context(), &wire.PushRequest{
			Space: &wire.Space{Namespace: dir[:], Author: author[:]}, Operations: [][]byte{o.Bytes()},
		})
		if want := i >= replica.MaxAuthors; (rpc.CodeOf(err) == rpc.ResourceExhausted) != want {
			t.Fatalf("author %d: %v", i, err)
		}
	}
	if err := a.DoDirectory(d, func(*crdt.Space) ([]crdt.Change, error) { return []crdt.Change{set("offer", "mine")}, nil }); err != nil {
		t.Error(err)
	}
}
