package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/probe"
)

const peerHelp = `
PEER is the address of a node with its ID at the end, as "aval net up" prints it
there (/ip4/192.0.2.1/tcp/4710/p2p/12D3Koo...), or the ID alone, if the node can
be found on the local network or through a node that is known (--bootstrap).`

func newNetCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "net COMMAND",
		Short: "Connect with other people's devices; find out why it does not work",
		Long: `Net joins devices without a platform in the middle: on the local network they find
one another; across the Internet one address is enough to begin with, and routers
are gone through by port mappings, hole punching and relays. A node is known by
its key, the one that signs its receipts.
` + exitHelp,
		Example: "  aval net up\n  aval net doctor\n  aval net ping /ip4/192.168.1.7/tcp/4710/p2p/12D3Koo...",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newNetUpCommand(a), newNetIDCommand(a), newNetPingCommand(a), newNetBenchCommand(a), newNetDoctorCommand(a), newNetPrivateCommand(a))
	return c
}

// netIDJSON is what "aval net id --json" prints.
type netIDJSON struct {
	ID  peer.ID `json:"id"`
	Key string  `json:"key"` // the same, as receipts show it
}

func newNetIDCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "id [flags]", Short: "Show the ID of this node", Args: cobra.NoArgs,
		Long:    "Id shows under which ID others know this node. It is the public key that signs its\nreceipts, in the form that addresses have.\n" + exitHelp,
		Example: "  aval net id",
		RunE: func(*cobra.Command, []string) error {
			key, err := a.nodeKey()
			if err != nil {
				return err
			}
			id := peer.FromPrivate(key)
			if asJSON {
				return a.printJSON(netIDJSON{id, id.Node()})
			}
			_, err = fmt.Fprintln(a.out, id)
			return err
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func newNetPrivateCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "new-private FILE", Short: "Make the key of a private network", Args: cobra.ExactArgs(1),
		Long: `New-private writes a new key to FILE, which must not exist yet. Only nodes that have
the same file (--private FILE) can connect with one another: others cannot even
see what they are. Such nodes use TCP alone.
` + exitHelp,
		Example: "  aval net new-private clinic.key\n  aval net up --private clinic.key",
		RunE:    func(_ *cobra.Command, args []string) error { return a.newPrivate(args[0]) },
	}
}

// netUpJSON is what "aval net up --json" prints once, when the node runs.
type netUpJSON struct {
	ID        peer.ID  `json:"id"`
	Network   string   `json:"network"`
	Addresses []string `json:"addresses"`
}

func newNetUpCommand(a *app) *cobra.Command {
	var o netOptions
	var asJSON bool
	c := &cobra.Command{
		Use: "up [flags]", Short: "Join the network until Ctrl-C", Args: cobra.NoArgs,
		Long: `Up starts the node and prints the addresses under which others may reach it. Who
connects is told on standard error. There is no server that everybody uses to
begin with: nodes on the local network find one another, and for others give one
address of a node that runs (--bootstrap).

Everybody may ask a node whether it is there and what it is ("aval net ping").
Measuring ("aval net bench") is for those whom you name with --friend.
` + exitHelp,
		Example: "  aval net up\n  aval net up --bootstrap /ip4/192.0.2.1/tcp/4710/p2p/12D3Koo...\n  aval net up --serve-relay   # on a machine that the Internet reaches",
		RunE:    func(c *cobra.Command, _ []string) error { return a.netUp(c.Context(), &o, asJSON) },
	}
	o.flags(c)
	c.Flags().StringArrayVar(&o.friends, "friend", nil, "ID of a peer that may make every call; again for more")
	c.Flags().BoolVar(&o.serveRelay, "serve-relay", false, "pass on the traffic of nodes that cannot be reached, if this one can")
	c.Flags().BoolVar(&asJSON, "json", false, "print the ID and the addresses as JSON, once")
	return c
}

func (a *app) netUp(ctx context.Context, o *netOptions, asJSON bool) error {
	n, err := a.start(ctx, o)
	if err != nil {
		return err
	}
	defer n.Close()
	j := netUpJSON{n.Mesh.Self(), o.network, n.Mesh.Addresses()}
	if asJSON {
		if j.Addresses == nil {
			j.Addresses = []string{}
		}
		if err := a.printJSON(j); err != nil {
			return err
		}
	} else {
		for _, s := range forFriends(j.Addresses) {
			fmt.Fprintln(a.out, s)
		}
	}
	a.note("this node is %s; Ctrl-C ends it", j.ID)
	if n.Mesh.Mode() == doctor.Alone {
		a.note("it uses no network")
	}
	known := map[peer.ID]mesh.PeerInfo{}
	for {
		select {
		case <-ctx.Done():
			return n.Close()
		case <-time.After(time.Second):
		}
		now := map[peer.ID]mesh.PeerInfo{}
		for _, p := range n.Mesh.Peers() {
			now[p.ID] = p
			before, was := known[p.ID]
			switch {
			case !was:
				a.note("+ %s  %s", p.ID, way(p))
			case before.Relayed && !p.Relayed:
				a.note("  %s is connected directly now  %s", p.ID, p.Address)
			}
		}
		for id := range known {
			if _, is := now[id]; !is {
				a.note("- %s", id)
			}
		}
		known = now
	}
}

// forFriends leaves out addresses that say nothing new to a person: those of
// this machine alone, and the same ports over WebSocket and WebTransport.
func forFriends(list []string) []string {
	short := slices.DeleteFunc(slices.Clone(list), func(s string) bool {
		for _, part := range []string{"/ip4/127.", "/ip6/::1/", "/ws/", "/webtransport/"} {
			if strings.Contains(s, part) {
				return true
			}
		}
		return false
	})
	if len(short) == 0 {
		return list
	}
	return short
}

// way says how a peer is connected.
func way(p mesh.PeerInfo) string {
	if p.Relayed {
		return "through a relay"
	}
	return p.Address
}

// netPingJSON is what "aval net ping --json" prints.
type netPingJSON struct {
	Peer  peer.ID `json:"peer"`
	Way   string  `json:"way"` // "relay", or the address
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
			return a.netPing(c.Context(), &o, args[0], count, wait, asJSON)
		},
	}
	o.flags(c)
	c.Flags().IntVarP(&count, "count", "c", 5, "how often")
	c.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to look for the node")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// find starts a node and reaches a peer.
func (a *app) find(ctx context.Context, o *netOptions, arg string, wait time.Duration) (*node.Node, peer.ID, *probe.Peer, error) {
	n, err := a.start(ctx, o)
	if err != nil {
		return nil, peer.ID{}, nil, err
	}
	limited, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	id, err := reach(limited, n, arg)
	var about *probe.Peer
	if err == nil {
		err = waitFor(limited, func() error {
			about, err = probe.About(limited, n.Calls.To(id, rpc.Control))
			return err
		})
	}
	if err == nil {
		return n, id, about, nil
	}
	if !id.IsZero() && ctx.Err() == nil {
		if s := n.Explain(ctx, id); s.Verdict == doctor.No || s.Verdict == doctor.Unknown {
			err = fmt.Errorf("%w\n%s", err, s.Answer)
		}
	}
	_ = n.Close()
	return nil, id, nil, err
}

func (a *app) netPing(ctx context.Context, o *netOptions, arg string, count int, wait time.Duration, asJSON bool) error {
	n, id, about, err := a.find(ctx, o, arg, wait)
	if err != nil {
		return err
	}
	defer n.Close()
	j := netPingJSON{Peer: id, Way: "relay", ClockAhead: about.Ahead.Seconds()}
	j.About.Version, j.About.System, j.About.Observed = about.Version, about.System, about.Observed
	for _, p := range n.Mesh.Peers() {
		if p.ID == id && !p.Relayed {
			j.Way = p.Address
		}
	}
	if !asJSON {
		fmt.Fprintf(a.out, "%s  aval %s on %s, %s\n", id, about.Version, about.System, j.Way)
	}
	for i := range count {
		if i > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(200 * time.Millisecond):
			}
		}
		took, err := probe.Ping(ctx, n.Calls.To(id, rpc.Control), nil)
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
		Long: `Doctor starts the node, lets it try for a while, and says in plain words what it
tried, what it saw and what to change: ports, router, firewall, relay, clock. With
PEER it also tries to reach that node and says why it can or cannot.
` + peerHelp + "\n" + exitHelp,
		Example: "  aval net doctor\n  aval net doctor --bootstrap /ip4/192.0.2.1/tcp/4710/p2p/12D3Koo...",
		RunE: func(c *cobra.Command, args []string) error {
			return a.netDoctor(c.Context(), &o, args, wait, asJSON)
		},
	}
	o.flags(c)
	c.Flags().DurationVar(&wait, "wait", 15*time.Second, "how long the node may try first")
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// netDoctorJSON is what "aval net doctor --json" prints.
type netDoctorJSON struct {
	doctor.Report
	Peer *doctor.Summary `json:"peer,omitempty"`
}

func (a *app) netDoctor(ctx context.Context, o *netOptions, args []string, wait time.Duration, asJSON bool) error {
	n, err := a.start(ctx, o)
	if err != nil {
		return err
	}
	defer n.Close()
	end := time.Now().Add(wait)
	var id peer.ID
	if len(args) > 0 {
		limited, cancel := context.WithTimeout(ctx, max(wait, 5*time.Second))
		id, err = reach(limited, n, args[0])
		if err == nil {
			_, _ = probe.About(limited, n.Calls.To(id, rpc.Control)) // what came of it is remembered
		}
		cancel()
		if id.IsZero() {
			return err
		}
	}
	show, done := a.counting("trying")
	for left := time.Until(end); left > 0; left = time.Until(end) {
		show(int((wait - left).Seconds()), int(wait.Seconds()))
		select {
		case <-ctx.Done():
			done()
			return ctx.Err()
		case <-time.After(min(left, time.Second)):
		}
	}
	done()
	j := netDoctorJSON{Report: n.Examine(ctx)}
	if !id.IsZero() {
		s := n.Explain(ctx, id)
		j.Peer = &s
	}
	if asJSON {
		return a.printJSON(j)
	}
	if err := j.WriteText(a.out); err != nil || j.Peer == nil {
		return err
	}
	fmt.Fprintln(a.out)
	return j.Peer.WriteText(a.out)
}
