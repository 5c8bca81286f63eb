package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
)

// netPingJSON is what "aval net ping --json" prints.
type netPingJSON struct {
	Peer  peer.ID `json:"peer"`
	Way   string  `json:"way"` // "relay", "self", or the address
	About struct {
		Version  string `json:"version"`
		System   string `json:"system"`
		Observed string `json:"observed_address,omitempty"`
	} `json:"about"`
	ClockAhead float64   `json:"clock_ahead_seconds"`
	Times      []float64 `json:"seconds"` // of each ping
}

func newNetPingCommand(a *app) *cobra.Command {
	var o netOptions
	var count int
	var wait time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use: "ping [flags] PEER", Short: "Ask a node whether it is there", Args: cobra.ExactArgs(1),
		Long:    "Ping connects to a node, asks what it is, and measures how long a call takes.\n" + peerHelp + "\n" + exitHelp,
		Example: "  aval net ping /ip4/192.168.1.7/tcp/4710/p2p/12D3Koo...",
		RunE: func(c *cobra.Command, args []string) error {
			if count < 1 || count > 1000 {
				return usageErrorf("--count %d: want 1 to 1000", count)
			}
			return a.netPing(c, &o, args[0], count, wait, asJSON)
		},
	}
	o.flags(c)
	c.Flags().IntVarP(&count, "count", "c", 5, "how often")
	c.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to look for the node")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) netPing(c *cobra.Command, o *netOptions, arg string, count int, wait time.Duration, asJSON bool) error {
	ctx := c.Context()
	l, err := link(arg)
	if err != nil {
		return err
	}
	n, _, err := a.join(ctx, c, o)
	if err != nil {
		return err
	}
	defer n.Close()
	r, err := n.Reach(ctx, l, wait)
	if err != nil {
		return err
	}
	j := netPingJSON{Peer: r.Peer, Way: r.Way, ClockAhead: r.About.Ahead.Seconds()}
	j.About.Version, j.About.System, j.About.Observed = r.About.Version, r.About.System, r.About.Observed
	if !asJSON {
		fmt.Fprintf(a.out, "%s  aval %s on %s, %s\n", r.Peer, quoteLine(r.About.Version), quoteLine(r.About.System), j.Way)
	}
	for i := range count {
		if i > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
		}
		took, err := n.Ping(ctx, r.Peer)
		if err != nil {
			return err
		}
		j.Times = append(j.Times, took.Seconds())
		if !asJSON {
			fmt.Fprintf(a.out, "%d  %.2f ms\n", i+1, took.Seconds()*1e3)
		}
	}
	if asJSON {
		return a.printJSON(j)
	}
	slices.Sort(j.Times)
	_, err = fmt.Fprintf(a.out, "median %.2f ms; its clock is %+.1f s from ours\n", j.Times[len(j.Times)/2]*1e3, j.ClockAhead)
	return err
}

func newNetDoctorCommand(a *app) *cobra.Command {
	var o netOptions
	var wait time.Duration
	var asJSON bool
	c := &cobra.Command{
		Use: "doctor [flags] [PEER]", Short: "Say whether others can reach this node, and what to change if not", Args: cobra.MaximumNArgs(1),
		Long: `Doctor says in plain words what the node tried, what it saw and what to change:
ports, router, firewall, relay, clock. It starts the node and lets it try for a
while, unless it runs already. With PEER it also tries to reach that node and says
why it can or cannot.
` + peerHelp + "\n" + exitHelp,
		Example: "  aval net doctor\n  aval net doctor --bootstrap /ip4/192.0.2.1/tcp/4710/p2p/12D3Koo...",
		RunE: func(c *cobra.Command, args []string) error {
			return a.netDoctor(c, &o, args, wait, asJSON)
		},
	}
	o.flags(c)
	c.Flags().DurationVar(&wait, "wait", 15*time.Second, "how long the node may try first")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func (a *app) netDoctor(c *cobra.Command, o *netOptions, args []string, wait time.Duration, asJSON bool) error {
	ctx := c.Context()
	var l node.Link
	var err error
	if len(args) > 0 {
		if l, err = link(args[0]); err != nil {
			return err
		}
	}
	n, running, err := a.join(ctx, c, o)
	if err != nil {
		return err
	}
	defer n.Close()
	if !running {
		if err := a.letTry(ctx, wait); err != nil {
			return err
		}
	}
	d, err := n.Diagnose(ctx, l)
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(d)
	}
	if err := d.WriteText(a.out); err != nil || d.Peer == nil {
		return err
	}
	fmt.Fprintln(a.out)
	return d.Peer.WriteText(a.out)
}

// letTry gives a new node time to find out how it is connected.
func (a *app) letTry(ctx context.Context, wait time.Duration) error {
	show, done := a.counting("trying")
	defer done()
	end := time.Now().Add(wait)
	for left := time.Until(end); left > 0; left = time.Until(end) {
		show(int((wait - left).Seconds()), int(wait.Seconds()))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(left, time.Second)):
		}
	}
	return nil
}
