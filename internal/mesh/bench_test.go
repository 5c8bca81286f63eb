package mesh_test

import (
	"context"
	"io"
	mathrand "math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/mesh/sim"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

// BenchmarkCalls measures calls between two nodes of one process over loopback,
// with authorisation and limits on.
func BenchmarkCalls(b *testing.B) {
	for _, transport := range []string{"/quic-v1/p2p", "/tcp/"} {
		x, y := start(b, 1, mesh.Config{Mode: doctor.LAN}), start(b, 2, mesh.Config{Mode: doctor.LAN})
		meet(b, x, y, transport)
		conn := serve(b, x).To(y.Self(), rpc.Normal)
		serve(b, y)
		name := map[string]string{"/quic-v1/p2p": "quic", "/tcp/": "tcp"}[transport]
		for _, c := range []struct {
			name            string
			bytes, parallel int
		}{{"128B-1", 128, 1}, {"128B-8", 128, 8}, {"128B-64", 128, 64}, {"256K-1", 256 << 10, 1}, {"256K-8", 256 << 10, 8}} {
			b.Run(name+"/"+c.name, func(b *testing.B) {
				for b.Loop() {
					r, err := probe.Calls(b.Context(), conn, c.bytes, c.parallel, time.Second)
					if err != nil {
						b.Fatal(err)
					}
					b.ReportMetric(r.PerSecond, "calls/s")
					b.ReportMetric(float64(r.P50.Microseconds()), "p50-us")
					b.ReportMetric(float64(r.P99.Microseconds()), "p99-us")
				}
			})
		}
	}
}

// BenchmarkBulk compares a streaming call with a bare stream of the same
// connection.
func BenchmarkBulk(b *testing.B) {
	const bytes = 1 << 30
	for _, transport := range []string{"/quic-v1/p2p", "/tcp/"} {
		x, y := start(b, 1, mesh.Config{Mode: doctor.LAN}), start(b, 2, mesh.Config{Mode: doctor.LAN})
		meet(b, x, y, transport)
		name := map[string]string{"/quic-v1/p2p": "quic", "/tcp/": "tcp"}[transport]
		conn := serve(b, x).To(y.Self(), rpc.Bulk)
		serve(b, y)
		b.Run(name+"/call", func(b *testing.B) {
			for b.Loop() {
				r, err := probe.Bulk(b.Context(), conn, bytes, 256<<10)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.PerSecond/1e6, "MB/s")
			}
		})
		y.Handle("/bare", func(s rpc.Stream) {
			data := make([]byte, 256<<10)
			for range bytes / len(data) {
				if _, err := s.Write(data); err != nil {
					return
				}
			}
			_ = s.Close()
		})
		b.Run(name+"/bare", func(b *testing.B) {
			for b.Loop() {
				start := time.Now()
				s, err := x.Open(b.Context(), y.Self(), "/bare", rpc.Bulk)
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{s}, make([]byte, 256<<10))
				if err != nil || n != bytes {
					b.Fatal(n, err)
				}
				b.ReportMetric(float64(n)/time.Since(start).Seconds()/1e6, "MB/s")
			}
		})
	}
}

// BenchmarkFar measures calls between two nodes with a round trip of 150 ms, as
// between continents, over a simulated network that loses nothing.
func BenchmarkFar(b *testing.B) {
	net, err := sim.New(sim.Config{Seed: 1, Latency: 75 * time.Millisecond, Bandwidth: 125e6})
	if err != nil {
		b.Fatal(err)
	}
	var nodes [2]*mesh.Node
	for i := range nodes {
		a := net.Address()
		nodes[i] = start(b, byte(1+i), mesh.Config{Reach: mesh.Public, Listen: []string{sim.Listen4(a)}, Options: net.Options(a)})
	}
	if _, err := nodes[0].Connect(b.Context(), nodes[1].Addresses()...); err != nil {
		b.Fatal(err)
	}
	conn := serve(b, nodes[0]).To(nodes[1].Self(), rpc.Normal)
	serve(b, nodes[1])
	for _, c := range []struct {
		name            string
		bytes, parallel int
	}{{"128B-192", 128, 192}, {"256K-24", 256 << 10, 24}} {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if _, err := probe.Calls(b.Context(), conn, c.bytes, c.parallel, 3*time.Second); err != nil { // the windows open
					b.Fatal(err)
				}
				r, err := probe.Calls(b.Context(), conn, c.bytes, c.parallel, 10*time.Second)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.PerSecond, "calls/s")
				b.ReportMetric(float64(r.P50.Milliseconds()), "p50-ms")
				b.ReportMetric(float64(r.P99.Milliseconds()), "p99-ms")
			}
		})
	}
}

// memoryShelf is a store of content in memory.
type memoryShelf map[content.Hash][]byte

func (s memoryShelf) Object(_ context.Context, _ content.Root, h content.Hash) ([]byte, error) {
	if b, ok := s[h]; ok {
		return b, nil
	}
	return nil, content.ErrObject
}

// shelf makes bytes as chunks.
func shelf(b *testing.B, bytes int) ([]content.Chunk, memoryShelf) {
	s := memoryShelf{}
	data := make([]byte, bytes)
	r := mathrand.NewChaCha8([32]byte{1})
	_, _ = r.Read(data)
	f, err := content.Split(b.Context(), strings.NewReader(string(data)), int64(bytes), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	at := f.Offsets()
	for i, c := range f.Chunks {
		s[c.Hash] = data[at[i]:at[i+1]]
	}
	return f.Chunks, s
}

// BenchmarkContent measures content from one peer, every chunk checked; compare
// with the bare stream of BenchmarkBulk.
func BenchmarkContent(b *testing.B) {
	list, s := shelf(b, 256<<20)
	for _, transport := range []string{"/quic-v1/p2p", "/tcp/"} {
		x, y := start(b, 1, mesh.Config{Mode: doctor.LAN}), start(b, 2, mesh.Config{Mode: doctor.LAN})
		meet(b, x, y, transport)
		server := exchange.Serve(exchange.ServerConfig{Network: y, Store: s, Allow: func(context.Context, peer.ID, content.Root, [][]byte) error { return nil }})
		b.Run(map[string]string{"/quic-v1/p2p": "quic", "/tcp/": "tcp"}[transport], func(b *testing.B) {
			b.SetBytes(256 << 20)
			for b.Loop() {
				cfg := exchange.Config{Network: x, Sources: []exchange.Source{{Peer: y.Self()}}}
				if _, err := exchange.Fetch(b.Context(), cfg, exchange.Chunks(list), nil, func(int, []byte) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
		server.Close()
	}
}

// BenchmarkSwarm fetches 500 MB from four peers with 50 MB/s each, one of which
// sends garbage and one of which dies after a second, and compares the time with
// the least that is possible.
func BenchmarkSwarm(b *testing.B) {
	const bytes, rate = 500_000_000, 50_000_000
	list, s := shelf(b, bytes)
	for b.Loop() {
		x := start(b, 1, mesh.Config{Mode: doctor.LAN})
		cfg := exchange.Config{Network: x}
		var nodes []*mesh.Node
		for i := range 4 {
			y := start(b, byte(2+i), mesh.Config{Mode: doctor.LAN})
			meet(b, x, y, "/tcp/")
			store := exchange.Store(s)
			if i == 0 {
				store = garbage{}
			}
			exchange.Serve(exchange.ServerConfig{Network: y, Store: store, Rate: rate, Allow: func(context.Context, peer.ID, content.Root, [][]byte) error { return nil }})
			cfg.Sources = append(cfg.Sources, exchange.Source{Peer: y.Self()})
			nodes = append(nodes, y)
		}
		time.AfterFunc(time.Second, func() { nodes[3].Close() })
		began := time.Now()
		r, err := exchange.Fetch(b.Context(), cfg, exchange.Chunks(list), nil, func(int, []byte) error { return nil })
		took := time.Since(began).Seconds()
		if err != nil {
			b.Fatal(err)
		}
		ideal := 1 + (float64(bytes)-3*rate)/(2*rate)
		b.ReportMetric(took/ideal, "of-ideal")
		b.ReportMetric(float64(r.Wasted)/1e6, "wasted-MB")
	}
}

// garbage answers everything with other bytes.
type garbage struct{}

func (garbage) Object(context.Context, content.Root, content.Hash) ([]byte, error) {
	return make([]byte, 256<<10), nil
}
