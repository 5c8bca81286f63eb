package mesh_test

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/libp2p/go-libp2p"
	dhtpb "github.com/libp2p/go-libp2p-kad-dht/pb"
	recordpb "github.com/libp2p/go-libp2p-record/pb"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/metrics"
	libp2pnet "github.com/libp2p/go-libp2p/core/network"
	libp2ppeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/peerstore"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	quictransport "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-msgio/pbio"
	ma "github.com/multiformats/go-multiaddr"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/sim"
)

var (
	worldNodes   = flag.Int("mesh.nodes", 24, "nodes of the simulated network")
	worldMinutes = flag.Int("mesh.minutes", 3, "minutes that the simulated network lives")
	worldSeed    = flag.Uint64("mesh.seed", 1, "of the simulated network")
)

// world is a simulated network with people who come and go, and liars.
type world struct {
	t    *testing.T
	net  *sim.Network
	next uint64 // of the keys
	dice *rand.Rand
	live []*citizen
	home []string // addresses of the nodes that stay
}

// citizen is an honest node.
type citizen struct {
	*mesh.Node
	value string // of its record
	stays bool
}

func (w *world) key() ed25519.PrivateKey {
	w.next++
	return ed25519.NewKeyFromSeed(binary.BigEndian.AppendUint64(make([]byte, ed25519.SeedSize-8), w.next))
}

// settle starts an honest node, which publishes a record as soon as it can.
func (w *world) settle(stays bool) *citizen {
	a := w.net.Address()
	n, err := mesh.New(w.t.Context(), mesh.Config{
		Key: w.key(), Bare: true, Reach: mesh.Public, Listen: []string{sim.Listen4(a)}, Bootstrap: w.home, Options: w.net.Options(a),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	c := &citizen{Node: n, value: fmt.Sprint("record ", w.next), stays: stays}
	w.live = append(w.live, c)
	if stays {
		w.home = append(w.home, n.Addresses()...)
	}
	go func() {
		for {
			ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
			err := c.PutRecord(ctx, "offer", []byte(c.value), time.Hour)
			cancel()
			if err == nil || w.t.Context().Err() != nil || strings.Contains(err.Error(), "closed") {
				return
			}
			time.Sleep(5 * time.Second)
		}
	}()
	return c
}

// leave ends a node that may go, without a word to the others: its cable is out
// first.
func (w *world) leave() {
	for {
		i := w.dice.IntN(len(w.live))
		c := w.live[i]
		if c.stays {
			continue
		}
		w.live = append(w.live[:i], w.live[i+1:]...)
		a, err := ma.NewMultiaddr(c.Addresses()[0])
		if err != nil {
			w.t.Fatal(err)
		}
		ip, _ := a.ValueForProtocol(ma.P_IP4)
		w.net.Cut(netip.MustParseAddr(ip))
		go c.Close()
		return
	}
}

// liar is a node of the table that does harm: it gives false records, names
// peers that do not exist, says nothing at all, or hangs up. Each does one of
// these to all.
func (w *world) liar(kind int) host.Host {
	a := w.net.Address()
	priv, err := crypto.UnmarshalEd25519PrivateKey(w.key())
	if err != nil {
		w.t.Fatal(err)
	}
	h, err := libp2p.New(append([]libp2p.Option{
		libp2p.Identity(priv), libp2p.ListenAddrStrings(sim.Listen4(a)), libp2p.Transport(quictransport.NewTransport), libp2p.DisableRelay(),
		libp2p.DisableMetrics(), libp2p.SwarmOpts(swarm.WithDialTimeout(5 * time.Second)), libp2p.ForceReachabilityPublic(),
	}, w.net.Options(a)...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	seed := w.next
	h.SetStreamHandler("/aval/kad/1.0.0", func(s libp2pnet.Stream) { lie(s, kind, rand.New(rand.NewPCG(seed, 1))) })
	for _, addr := range w.home {
		info, err := libp2ppeer.AddrInfoFromString(addr)
		if err == nil {
			h.Peerstore().AddAddrs(info.ID, info.Addrs, peerstore.PermanentAddrTTL)
			go h.Connect(w.t.Context(), *info)
		}
	}
	return h
}

// lie answers the questions of one stream.
func lie(s libp2pnet.Stream, kind int, dice *rand.Rand) {
	defer s.Reset()
	in, out := pbio.NewDelimitedReader(s, 1<<20), pbio.NewDelimitedWriter(s)
	for {
		var m dhtpb.Message
		if err := in.ReadMsg(&m); err != nil {
			return
		}
		switch kind {
		case 0: // a record that nobody signed, and one of another key
			m.Record = &recordpb.Record{Key: m.Key, Value: junk(dice, 300)}
			m.CloserPeers = nil
		case 1: // peers that do not exist, all of them nearest
			m.CloserPeers = nil
			for range 20 {
				_, pub, err := crypto.GenerateEd25519Key(reader{dice})
				if err != nil {
					return
				}
				id, err := libp2ppeer.IDFromPublicKey(pub)
				if err != nil {
					return
				}
				addr, err := ma.NewMultiaddr(fmt.Sprintf("/ip4/%d.9.9.9/udp/4001/quic-v1", 16+dice.IntN(60)))
				if err != nil {
					return
				}
				m.CloserPeers = append(m.CloserPeers, &dhtpb.Message_Peer{Id: []byte(id), Addrs: [][]byte{addr.Bytes()}})
			}
		case 2: // silence
			_, _ = io.Copy(io.Discard, s)
			return
		case 3: // bytes that mean nothing
			_, _ = s.Write(junk(dice, 4000))
			return
		}
		if err := out.WriteMsg(&m); err != nil {
			return
		}
	}
}

// reader makes a source of bytes of dice.
type reader struct{ dice *rand.Rand }

func (r reader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.dice.Uint32())
	}
	return len(p), nil
}

func junk(dice *rand.Rand, n int) []byte {
	p := make([]byte, n)
	_, _ = reader{dice}.Read(p)
	return p
}

// TestWorld: one node in ten lies and a fifth of the others is replaced each
// minute, cut off without a word; then everybody who is there finds what
// everybody else has published, and no node holds more than its share of memory.
func TestWorld(t *testing.T) {
	metrics.NewBandwidthCounter().LogSentMessage(1) // starts the one goroutine that counts for all, outside the bubble
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		net, err := sim.New(sim.Config{Seed: *worldSeed, Latency: 20 * time.Millisecond, Spread: 80 * time.Millisecond, Jitter: 5 * time.Millisecond, Loss: 0.005})
		if err != nil {
			t.Fatal(err)
		}
		var before runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		w := &world{t: t, net: net, dice: rand.New(rand.NewPCG(*worldSeed, 2))}
		honest := *worldNodes - *worldNodes/10
		for range 3 {
			w.settle(true)
		}
		var liars []host.Host
		for i := range *worldNodes / 10 {
			liars = append(liars, w.liar(i%4))
		}
		for len(w.live) < honest {
			w.settle(false)
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Minute)
		changes := honest / 5
		for range *worldMinutes * changes {
			time.Sleep(time.Minute / time.Duration(changes))
			w.leave()
			w.settle(false)
		}
		time.Sleep(30 * time.Second) // the last ones arrive

		var mu sync.Mutex
		found, asked := 0, 0
		var slowest, sum time.Duration
		var wg sync.WaitGroup
		seats := make(chan struct{}, 64)
		for i, c := range w.live {
			for j := range 5 { // each is looked for by five others
				other := w.live[(i+1+(j*7919+i*31)%(len(w.live)-1))%len(w.live)]
				wg.Go(func() {
					seats <- struct{}{}
					defer func() { <-seats }()
					start := time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					r, err := other.GetRecord(ctx, c.Self(), "offer")
					took := time.Since(start)
					mu.Lock()
					defer mu.Unlock()
					asked++
					sum, slowest = sum+took, max(slowest, took)
					switch {
					case err != nil:
						t.Errorf("%s does not find the record of %s: %v", other.Self().Short(), c.Self().Short(), err)
					case string(r.Value) != c.value:
						t.Errorf("the record of %s is %q, want %q", c.Self().Short(), r.Value, c.value)
					default:
						found++
					}
				})
			}
		}
		wg.Wait()
		var after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&after)
		perNode := int(after.HeapAlloc-before.HeapAlloc) / *worldNodes
		goroutines := runtime.NumGoroutine() / *worldNodes
		t.Logf("%d nodes, %d of them liars, %d replaced in %d minutes: %d of %d searches found what they sought, in %v on average, %v at most; %d KiB and %d goroutines a node; %v simulated",
			*worldNodes, len(liars), *worldMinutes*changes, *worldMinutes, found, asked, (sum / time.Duration(asked)).Round(time.Millisecond), slowest.Round(time.Millisecond), perNode>>10, goroutines, time.Since(began).Round(time.Second))
		if perNode > 8<<20 {
			t.Errorf("%d bytes a node", perNode)
		}
		for _, h := range liars {
			_ = h.Close()
		}
		for _, c := range w.live {
			_ = c.Close()
		}
	})
}
