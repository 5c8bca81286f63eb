package mesh_test

import (
	"io"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/mesh/sim"
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
