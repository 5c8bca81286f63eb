package probe_test

import (
	"context"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/memory"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

func everybody(context.Context, *rpc.Call) error { return nil }

// BenchmarkCalls measures what calls cost above a network that costs little.
func BenchmarkCalls(b *testing.B) {
	net := memory.New()
	na := node(b, net.Join(peer.ID{1}), rpc.Config{})
	node(b, net.Join(peer.ID{2}), rpc.Config{Authorize: everybody, CallRate: 1e7, ByteRate: 1e12})
	conn := na.To(peer.ID{2}, rpc.Normal)
	for _, parallel := range []int{1, 8, 64} {
		b.Run(map[int]string{1: "one", 8: "eight", 64: "sixtyfour"}[parallel], func(b *testing.B) {
			for b.Loop() {
				r, err := probe.Calls(b.Context(), conn, 128, parallel, 300*time.Millisecond)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(r.PerSecond, "calls/s")
				b.ReportMetric(float64(r.P99.Microseconds()), "p99-us")
			}
		})
	}
}
