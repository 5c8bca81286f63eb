package node_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
	"github.com/avalnetwork/aval/internal/rpc/wire"
)

var soak = flag.Duration("node.soak", 0, "how long hostile peers are at a node; it takes a minute more until their streams have ended")

// protocols are those that a node speaks, of ours and of libp2p's.
var protocols = []string{
	"/aval/rpc/1/control", "/aval/rpc/1/normal", "/aval/rpc/1/bulk", "/aval/content/1", "/aval/kad/1.0.0", "/aval/lan/kad/1.0.0",
	"/meshsub/1.2.0", "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0", "/libp2p/circuit/relay/0.2.0/hop", "/libp2p/dcutr", "/nothing/1",
}

// TestSoak lets hostile peers at a node: they come and go with ever new keys, open
// streams of every protocol and leave them open, send nonsense and half of what is
// sensible, call every method with what it does not want, and never read. All the
// while a friend is answered, and at the end nothing of them is left.
func TestSoak(t *testing.T) {
	if *soak == 0 {
		t.Skip("minutes: run with -node.soak 1m")
	}
	victim, err := node.New(t.Context(), node.Config{
		Mesh:    mesh.Config{Key: soakKey(1, 0), Mode: doctor.LAN, Bare: true, Listen: []string{"/ip4/127.0.0.1/tcp/0", "/ip4/127.0.0.1/udp/0/quic-v1"}},
		Content: node.ContentConfig{Folder: t.TempDir()}, Version: "test",
	})
	if err != nil {
		t.Fatal(err)
	}
	defer victim.Close()
	friend := start(t, 2)
	if _, err := friend.Mesh.Connect(t.Context(), victim.Mesh.Addresses()...); err != nil {
		t.Fatal(err)
	}
	answered := func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := probe.Ping(ctx, friend.Calls.To(victim.Mesh.Self(), rpc.Control), []byte("are you there"))
		return err
	}
	if err := answered(); err != nil {
		t.Fatal(err)
	}
	cost := hostCost(t)
	goroutines, heap := settled()

	ctx, cancel := context.WithTimeout(t.Context(), *soak)
	defer cancel()
	var wg sync.WaitGroup
	var lives, streams, calls atomic.Int64
	for i := range 6 {
		wg.Go(func() {
			dice := rand.New(rand.NewPCG(uint64(i), 7))
			for life := 0; ctx.Err() == nil; life++ {
				lives.Add(1)
				hostile(ctx, t, victim, soakKey(byte(10+i), uint64(life)), dice, &streams, &calls)
			}
		})
	}
	failed, asked := 0, 0
	for ctx.Err() == nil {
		asked++
		if err := answered(); err != nil {
			failed++
			t.Logf("the friend waits: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	wg.Wait()
	if failed > asked/50 {
		t.Errorf("%d of %d questions of a friend were not answered in time", failed, asked)
	}
	// Streams without a call end after a minute at the latest, connections when
	// their peer is gone.
	var after int
	var grown int64
	for range 150 {
		var left int64
		after, left = settled()
		grown = left - heap - lives.Load()*cost
		if after <= goroutines+20 && grown < 24<<20 {
			break
		}
		time.Sleep(time.Second)
	}
	t.Logf("%d hostile lives, %d streams and %d calls in %v; goroutines %d before and %d after, heap grown by %.1f MiB beside %d KiB for each hostile node that was made; a friend answered %d of %d times",
		lives.Load(), streams.Load(), calls.Load(), *soak, goroutines, after, float64(grown)/(1<<20), cost>>10, asked-failed, asked)
	if after > goroutines+20 {
		t.Errorf("%d goroutines are left of %d", after, goroutines)
	}
	if grown >= 24<<20 {
		t.Errorf("%d bytes are left", grown)
	}
	if err := answered(); err != nil {
		t.Errorf("at the end: %v", err)
	}
}

// hostCost is what making a node leaves in this process for ever, though the node
// is closed: libp2p assembles it by reflection, whose types are never freed. The
// hostile nodes live in this process, too, and this is not the victim's.
func hostCost(t *testing.T) int64 {
	t.Helper()
	const nodes = 40
	one := func(i int) {
		m, err := mesh.New(t.Context(), mesh.Config{Key: soakKey(9, uint64(i)), Mode: doctor.LAN, Bare: true, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
	}
	one(nodes)
	_, before := settled()
	for i := range nodes {
		one(i)
	}
	_, after := settled()
	return max(0, after-before) / nodes
}

func soakKey(n byte, life uint64) ed25519.PrivateKey {
	seed := slices.Repeat([]byte{n}, ed25519.SeedSize)
	binary.BigEndian.PutUint64(seed, life)
	return ed25519.NewKeyFromSeed(seed)
}

// settled counts what there is when nothing more is going on.
func settled() (goroutines int, heap int64) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return runtime.NumGoroutine(), int64(m.HeapAlloc)
}

// hostile is one life of a peer.
func hostile(ctx context.Context, t *testing.T, victim *node.Node, key ed25519.PrivateKey, dice *rand.Rand, streams, calls *atomic.Int64) {
	m, err := mesh.New(ctx, mesh.Config{Key: key, Mode: doctor.LAN, Bare: true, Listen: []string{"/ip4/127.0.0.1/tcp/0"}})
	if err != nil {
		if ctx.Err() == nil {
			t.Error(err)
		}
		return
	}
	defer m.Close()
	if _, err := m.Connect(ctx, victim.Mesh.Addresses()[dice.IntN(2)]); err != nil {
		return
	}
	to := victim.Mesh.Self()
	own, err := rpc.New(rpc.Config{Network: m, MaxMessage: 16 << 20, Tokens: nil})
	if err != nil {
		t.Error(err)
		return
	}
	defer own.Close()
	end := time.Now().Add(time.Duration(200+dice.IntN(1500)) * time.Millisecond)
	for ctx.Err() == nil && time.Now().Before(end) {
		limited, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		switch dice.IntN(3) {
		case 0: // streams, some of them left open, some with nonsense
			s, err := m.Open(limited, to, protocols[dice.IntN(len(protocols))], rpc.Class(dice.IntN(3)))
			if err != nil {
				break
			}
			streams.Add(1)
			_ = s.SetDeadline(time.Now().Add(200 * time.Millisecond))
			_, _ = s.Write(nonsense(dice))
			switch dice.IntN(3) {
			case 0:
				_ = s.Reset()
			case 1:
				_ = s.CloseWrite()
			}
		case 1: // calls that are not allowed, or mean nothing
			calls.Add(1)
			conn := own.To(to, rpc.Class(dice.IntN(3)))
			tokens := rpc.WithTokens(limited, nonsense(dice), forged(key))
			switch dice.IntN(5) {
			case 0:
				_, _ = wire.NewDRPCNetServiceClient(conn).Ping(tokens, &wire.PingRequest{Payload: make([]byte, dice.IntN(2<<20))})
			case 1:
				_, _ = wire.NewDRPCNetServiceClient(conn).Receive(tokens, &wire.ReceiveRequest{Bytes: 1 << 40, MessageBytes: 1})
			case 2:
				_, _ = wire.NewDRPCPrivateServiceClient(conn).Unseal(tokens, &wire.UnsealRequest{Sealed: nonsense(dice)})
			case 3:
				_, _ = wire.NewDRPCPrivateServiceClient(conn).Forward(tokens, &wire.ForwardRequest{Provider: nonsense(dice), Sealed: nonsense(dice)})
			case 4:
				_, _ = wire.NewDRPCPrivateServiceClient(conn).PrivateKey(tokens, &wire.PrivateKeyRequest{Provider: key.Public().(ed25519.PublicKey)})
			}
		case 2: // a stream that is asked much of and never read
			s, err := m.Open(limited, to, "/aval/rpc/1/bulk", rpc.Bulk)
			if err != nil {
				break
			}
			streams.Add(1)
			_ = s.SetDeadline(time.Now().Add(100 * time.Millisecond))
			for range 50 {
				if _, err := s.Write(make([]byte, 64<<10)); err != nil {
					break
				}
			}
		}
		cancel()
	}
}

// forged is a token of the victim's that it never gave.
func forged(key ed25519.PrivateKey) []byte {
	t, err := access.Issue(key, access.NewID(), access.Terms{
		Rights: []access.Right{{Action: access.Call, Resource: "*"}}, Begins: time.Unix(0, 0), Expires: time.Unix(1e8, 0),
	})
	if err != nil {
		panic(fmt.Sprint("internal error: ", err))
	}
	return t.Bytes()
}

// nonsense are bytes that begin as something sensible might.
func nonsense(dice *rand.Rand) []byte {
	b := make([]byte, dice.IntN(4000))
	for i := range b {
		b[i] = byte(dice.Uint32())
	}
	if len(b) > 8 && dice.IntN(2) == 0 {
		binary.BigEndian.PutUint32(b[1:], uint32(dice.IntN(1<<20)))
		b[0] = byte(dice.IntN(8))
	}
	return b
}
