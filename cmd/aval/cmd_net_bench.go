package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

// netBenchJSON is a row of what "aval net bench --json" prints.
type netBenchJSON struct {
	Way       string            `json:"way"` // "quic", "tcp", or how the peer is connected
	Bytes     int               `json:"bytes,omitempty"`
	Parallel  int               `json:"parallel,omitempty"`
	Calls     *probe.Rate       `json:"calls,omitempty"`
	Bulk      *probe.Throughput `json:"bulk,omitempty"`
	UnderBulk *probe.Rate       `json:"control_calls_beside_bulk,omitempty"`
}

func newNetBenchCommand(a *app) *cobra.Command {
	var o netOptions
	var long, wait time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use: "bench [flags] [PEER]", Short: "Measure calls and bytes, to a peer or between two nodes here", Args: cobra.MaximumNArgs(1),
		Long: `Bench measures how many calls a second there can be, how long they take (median,
and the time that 99 of 100 keep), and how fast bytes come. Without PEER it starts
two nodes on this machine and measures between them, over QUIC and over TCP. With
PEER, its owner must have let you: "aval net up --friend" with your "aval net id".
` + peerHelp + "\n" + exitHelp,
		Example: "  aval net bench\n  aval net bench /ip4/192.168.1.7/tcp/4710/p2p/12D3Koo...",
		RunE: func(c *cobra.Command, args []string) error {
			if long < 10*time.Millisecond || long > time.Minute {
				return usageErrorf("--time %s: want 10ms to 1m", long)
			}
			rows, err := a.netBench(c.Context(), &o, args, long, wait)
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(rows)
			}
			return a.table(benchTable(rows)...)
		},
	}
	o.flags(c)
	c.Flags().DurationVar(&long, "time", 2*time.Second, "how long each measurement takes")
	c.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to look for the peer")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) netBench(ctx context.Context, o *netOptions, args []string, long, wait time.Duration) ([]netBenchJSON, error) {
	show, done := a.counting("measuring")
	defer done()
	if len(args) > 0 {
		n, id, _, err := a.find(ctx, o, args[0], wait)
		if err != nil {
			return nil, err
		}
		defer n.Close()
		name := "relay"
		for _, p := range n.Mesh.Peers() {
			if p.ID == id && !p.Relayed {
				name = p.Address
			}
		}
		if id == n.Mesh.Self() {
			name = "this node"
		}
		return measureNet(ctx, name, n, id, long, show)
	}
	var rows []netBenchJSON
	for _, transport := range []struct{ name, listen string }{{"quic", "/ip4/127.0.0.1/udp/0/quic-v1"}, {"tcp", "/ip4/127.0.0.1/tcp/0"}} {
		part, err := benchPair(ctx, transport.name, transport.listen, long, show)
		if err != nil {
			return nil, err
		}
		rows = append(rows, part...)
	}
	return rows, nil
}

// benchPair measures between two nodes of this process.
func benchPair(ctx context.Context, name, listen string, long time.Duration, show func(done, total int)) ([]netBenchJSON, error) {
	var nodes [2]*node.Node
	for i := range nodes {
		_, key, err := ed25519.GenerateKey(nil)
		if err != nil {
			return nil, err
		}
		cfg := node.Config{Mesh: mesh.Config{Key: key, Mode: doctor.LAN, Listen: []string{listen}, Bare: true}}
		if i > 0 {
			cfg.Friends = []peer.ID{nodes[0].Mesh.Self()}
		}
		if nodes[i], err = node.New(ctx, cfg); err != nil {
			return nil, err
		}
		defer nodes[i].Close()
	}
	if _, err := nodes[0].Mesh.Connect(ctx, nodes[1].Mesh.Addresses()[0]); err != nil {
		return nil, err
	}
	return measureNet(ctx, name, nodes[0], nodes[1].Mesh.Self(), long, show)
}

// measureNet measures calls of two sizes, bytes, and urgent calls beside them.
func measureNet(ctx context.Context, name string, n *node.Node, id peer.ID, long time.Duration, show func(done, total int)) (rows []netBenchJSON, err error) {
	conn, bulk, control := n.Calls.To(id, rpc.Normal), n.Calls.To(id, rpc.Bulk), n.Calls.To(id, rpc.Control)
	sizes := []struct{ bytes, parallel int }{{128, 1}, {128, 64}, {256 << 10, 1}, {256 << 10, 8}}
	for i, s := range sizes {
		show(i, len(sizes)+1)
		r, err := probe.Calls(ctx, conn, s.bytes, s.parallel, long)
		if err != nil {
			return nil, err
		}
		rows = append(rows, netBenchJSON{Way: name, Bytes: s.bytes, Parallel: s.parallel, Calls: &r})
	}
	row, err := measureBulk(ctx, bulk, control, long)
	row.Way = name
	return append(rows, row), err
}

// measureBulk receives for about a time, with urgent calls beside it.
func measureBulk(ctx context.Context, bulk, control rpc.Conn, long time.Duration) (row netBenchJSON, err error) {
	const message = 256 << 10
	first, err := probe.Bulk(ctx, bulk, 32<<20, message)
	if err != nil {
		return row, err
	}
	t, err := probe.Bulk(ctx, bulk, max(1<<20, uint64(first.PerSecond*long.Seconds())), message)
	if err != nil {
		return row, err
	}
	row.Bulk = &t
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = probe.Bulk(ctx, bulk, probe.MaxReceive, message) // until the calls beside it are counted
	}()
	r, err := probe.Calls(ctx, control, 128, 1, long)
	cancel()
	<-ended
	row.UnderBulk = &r
	return row, err
}

func benchTable(rows []netBenchJSON) []string {
	out := []string{"WAY\tWHAT\tPER SECOND\tMEDIAN\tP99"}
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1e3) }
	for _, r := range rows {
		if r.Calls != nil {
			out = append(out, fmt.Sprintf("%s\tcalls of %s, %d at once\t%.0f\t%s\t%s", r.Way, binarySize(r.Bytes), r.Parallel, r.Calls.PerSecond, ms(r.Calls.P50), ms(r.Calls.P99)))
		}
		if r.Bulk != nil {
			out = append(out, fmt.Sprintf("%s\tbytes\t%s\t\t", r.Way, size(int64(r.Bulk.PerSecond))))
		}
		if r.UnderBulk != nil {
			out = append(out, fmt.Sprintf("%s\turgent calls beside them\t%.0f\t%s\t%s", r.Way, r.UnderBulk.PerSecond, ms(r.UnderBulk.P50), ms(r.UnderBulk.P99)))
		}
	}
	return out
}

func binarySize(n int) string {
	if n >= 1<<10 {
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d B", n)
}
