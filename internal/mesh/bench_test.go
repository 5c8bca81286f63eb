package mesh_test

import (
	"context"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
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

// shelf is content of one file in memory: a source, and a sink that keeps which
// chunks came, and not their bytes.
type shelf struct {
	root     content.Root
	manifest []byte
	tree     *content.Tree
	data     []byte
	garbage  bool // gives other bytes
	mu       sync.Mutex
	bits     []byte
}

func newShelf(b *testing.B, bytes int) *shelf {
	s := &shelf{data: make([]byte, bytes)}
	r := mathrand.NewChaCha8([32]byte{1})
	_, _ = r.Read(s.data)
	var chunks []content.Chunk
	err := content.Split(strings.NewReader(string(s.data)), int64(bytes), nil, func(data []byte) error {
		chunks = append(chunks, content.Chunk{Hash: content.ChunkHash(data), Size: uint32(len(data))})
		return nil
	})
	if err == nil {
		s.tree, err = content.NewTree(chunks)
	}
	if err == nil {
		m := &content.Manifest{Kind: content.Data, Name: "noise", Files: []content.File{{Path: "noise", Size: int64(bytes), Root: s.tree.Root()}}, Created: time.Now()}
		s.manifest, s.root, err = m.Sign(key(99))
	}
	if err != nil {
		b.Fatal(err)
	}
	s.bits = slices.Repeat([]byte{0xff}, (len(chunks)+7)/8)
	return s
}

func (s *shelf) Manifest(content.Root) ([]byte, error) {
	if s.manifest == nil {
		return nil, exchange.ErrMissing
	}
	return s.manifest, nil
}

func (s *shelf) Tree(content.Root, int) (*content.Tree, error) {
	if s.tree == nil {
		return nil, exchange.ErrMissing
	}
	return s.tree, nil
}

func (s *shelf) Have(content.Root, int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.bits), nil
}

func (s *shelf) Complete(content.Root) bool { return s.data != nil }

func (s *shelf) ReadChunk(_ content.Root, _, i int, buf []byte) (int, error) {
	n := copy(buf, s.data[s.tree.Offset(i):s.tree.Offset(i+1)])
	if s.garbage {
		buf[0] ^= 1
	}
	return n, nil
}

func (s *shelf) WriteManifest(_ content.Root, data []byte) error { s.manifest = data; return nil }

func (s *shelf) WriteTree(_ content.Root, _ int, t *content.Tree) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tree, s.bits = t, make([]byte, (t.Len()+7)/8)
	return nil
}

func (s *shelf) Gather(content.Root, int, []bool) error { return nil }

func (s *shelf) WriteChunk(_ content.Root, _, i int, _ []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bits[i/8] |= 0x80 >> (i % 8)
	return nil
}

// give serves content to everybody.
func give(b *testing.B, n *mesh.Node, s *shelf, rate float64) {
	server := exchange.Serve(exchange.ServerConfig{Network: n, Source: s, Rate: rate, Allow: func(context.Context, peer.ID, content.Root, [][]byte) error { return nil }})
	b.Cleanup(func() { server.Close() })
}

// fetch gets all of it.
func fetch(b *testing.B, n *mesh.Node, root content.Root, from ...peer.ID) *exchange.Result {
	f := exchange.Fetcher{Network: n, Sink: &shelf{}, Finder: exchange.Given(from)}
	r, err := f.Fetch(b.Context(), root, exchange.Whole, nil)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkContent measures content from one peer, every chunk checked; compare
// with the bare stream of BenchmarkBulk.
func BenchmarkContent(b *testing.B) {
	s := newShelf(b, 256<<20)
	for _, transport := range []string{"/quic-v1/p2p", "/tcp/"} {
		x, y := start(b, 1, mesh.Config{Mode: doctor.LAN}), start(b, 2, mesh.Config{Mode: doctor.LAN})
		meet(b, x, y, transport)
		give(b, y, s, 0)
		b.Run(map[string]string{"/quic-v1/p2p": "quic", "/tcp/": "tcp"}[transport], func(b *testing.B) {
			b.SetBytes(256 << 20)
			for b.Loop() {
				fetch(b, x, s.root, y.Self())
			}
		})
	}
}

// BenchmarkSwarm fetches 500 MB from four peers with 50 MB/s each, one of which
// sends garbage and one of which dies after a second, and compares the time with
// the least that is possible.
func BenchmarkSwarm(b *testing.B) {
	const bytes, rate = 500_000_000, 50_000_000
	s := newShelf(b, bytes)
	liar := &shelf{root: s.root, manifest: s.manifest, tree: s.tree, data: s.data, bits: s.bits, garbage: true}
	for b.Loop() {
		x := start(b, 1, mesh.Config{Mode: doctor.LAN})
		var nodes []*mesh.Node
		var ids []peer.ID
		for i := range 4 {
			y := start(b, byte(2+i), mesh.Config{Mode: doctor.LAN})
			meet(b, x, y, "/tcp/")
			give(b, y, map[bool]*shelf{true: liar, false: s}[i == 0], rate)
			nodes, ids = append(nodes, y), append(ids, y.Self())
		}
		time.AfterFunc(time.Second, func() { nodes[3].Close() })
		began := time.Now()
		r := fetch(b, x, s.root, ids...)
		took := time.Since(began).Seconds()
		ideal := 1 + (float64(bytes)-3*rate)/(2*rate)
		b.ReportMetric(took/ideal, "of-ideal")
		b.ReportMetric(float64(r.Duplicate)/1e6, "duplicate-MB")
	}
}
