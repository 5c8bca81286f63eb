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
)

// netBenchJSON is a row of what "aval net bench --json" prints.
type netBenchJSON struct {
	Way string `json:"way"` // "quic", "tcp", or how the peer is connected
	node.Measurement
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
PEER, its owner must have let you: "aval access grant YOU --call '/aval.v1.NetService/*'",
with your "aval net id" for YOU.
` + peerHelp + "\n" + exitHelp,
		Example: "  aval net bench\n  aval net bench /ip4/192.168.1.7/tcp/4710/p2p/12D3Koo...",
		RunE: func(c *cobra.Command, args []string) error {
			if long < 10*time.Millisecond || long > time.Minute {
				return usageErrorf("--time %s: want 10ms to 1m", long)
			}
			rows, err := a.netBench(c, &o, args, long, wait)
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

func (a *app) netBench(c *cobra.Command, o *netOptions, args []string, long, wait time.Duration) ([]netBenchJSON, error) {
	ctx := c.Context()
	show, done := a.counting("measuring")
	defer done()
	if len(args) > 0 {
		l, err := link(args[0])
		if err != nil {
			return nil, err
		}
		n, _, err := a.join(ctx, c, o)
		if err != nil {
			return nil, err
		}
		defer n.Close()
		r, err := n.Reach(ctx, l, wait)
		if err != nil {
			return nil, err
		}
		return measureNet(ctx, r.Way, n, l.Peer, long, show)
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

// measureNet makes all measurements of the way to a peer.
func measureNet(ctx context.Context, name string, n asker, id peer.ID, long time.Duration, show func(done, total int)) (rows []netBenchJSON, err error) {
	for i := range node.Measurements {
		show(i, node.Measurements)
		m, err := n.Measure(ctx, id, i, long)
		if err != nil {
			return nil, err
		}
		rows = append(rows, netBenchJSON{name, m})
	}
	return rows, nil
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
