package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
)

const peerHelp = `
PEER is the link of a node, as "aval net up" prints it there, or one address with
the node's ID at its end (/ip4/192.0.2.1/tcp/4710/p2p/12D3Koo...), or the ID alone,
if the node can be found on the local network or through one that is known. If this
machine's node runs ("aval net up"), it is the one that is asked.`

func newNetCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "net COMMAND",
		Short: "Connect with other people's devices; find out why it does not work",
		Long: `Net joins devices without a platform in the middle: on the local network they find
one another; across the Internet the link of one is enough to begin with, and
routers are gone through by port mappings, hole punching and relays. A node is
known by its key, the one that signs its receipts. What it keeps, its contacts,
is in a folder beside the key (~/.aval/node).
` + exitHelp,
		Example: "  aval net up\n  aval net add 'peer://12D3Koo...?addr=/ip4/192.0.2.1/udp/4710/quic-v1'\n  aval net doctor",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newNetUpCommand(a), newNetIDCommand(a), newNetLinkCommand(a), newNetAddCommand(a), newNetForgetCommand(a),
		newNetPeersCommand(a), newNetModelsCommand(a), newNetPingCommand(a), newNetBenchCommand(a), newNetDoctorCommand(a), newNetPrivateCommand(a))
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
	Link      string   `json:"link"`
	Addresses []string `json:"addresses"`
}

func newNetUpCommand(a *app) *cobra.Command {
	var o netOptions
	var asJSON, ui bool
	c := &cobra.Command{
		Use: "up [flags]", Short: "Join the network until Ctrl-C", Args: cobra.NoArgs,
		Long: `Up starts the node and prints its link, which others can add ("aval net add"), and
the addresses in it. Who connects is told on standard error. There is no server
that everybody uses to begin with: nodes on the local network find one another,
contacts ("aval net add") are connected with again and again, and --bootstrap names
a node to begin with for this time. While it runs, the other "aval net" commands of
this machine ask it.

Everybody may ask a node whether it is there and what it is ("aval net ping"). All
else, such as measuring ("aval net bench"), is for those to whom it is granted
("aval access grant"), and for those whom you name with --friend.

With --serve MODEL others ask a model of this machine ("aval run peer://ID/MODEL"): a
name of the store or a file. Every answer gets a receipt, signed by this node, and is
in a log of which others can have proofs ("aval log"). --offer tells everybody of the
model; who may ask is still what you grant.

With --ui it serves its console to browsers of this machine, too; "aval ui" prints the
link that opens it.
` + exitHelp,
		Example: "  aval net up\n  aval net up --serve smollm2\n  aval net up --bootstrap 'peer://12D3Koo...?addr=/ip4/192.0.2.1/tcp/4710'\n  aval net up --serve-relay   # on a machine that the Internet reaches",
		RunE:    func(c *cobra.Command, _ []string) error { return a.netUp(c.Context(), &o, asJSON, ui) },
	}
	o.flags(c)
	o.sharingFlags(c)
	c.Flags().StringArrayVar(&o.friends, "friend", nil, "ID of a peer that may do everything; again for more")
	c.Flags().StringArrayVar(&o.serve, "serve", nil, "MODEL that those to whom it is granted may ask; again for more")
	c.Flags().BoolVar(&o.offer, "offer", false, "tell everybody what is served, in the directory that devices share (\"aval net models\")")
	c.Flags().StringVar(&o.price, "price", "", "what 1,000 tokens read and written cost, in words: \"1/4 credits\" (with --offer)")
	c.Flags().StringVar(&o.region, "region", "", "where this device is, in words (with --offer)")
	o.receiptFlags(c)
	c.Flags().BoolVar(&o.serveRelay, "serve-relay", false, "pass on the traffic of nodes that cannot be reached, if this one can")
	c.Flags().BoolVar(&ui, "ui", false, "serve the console, too (\"aval ui\")")
	c.Flags().BoolVar(&asJSON, "json", false, "print the ID and the addresses as JSON, once")
	return c
}

// startIn starts the node in its folder, which no other process may have; asks is
// the command that asks the node that has it. prepare, if not nil, is called with
// the folder before the node starts.
func (a *app) startIn(ctx context.Context, o *netOptions, asks string, prepare func(*control.Folder) error) (*node.Node, error) {
	path, err := a.nodeFolder()
	if err != nil {
		return nil, err
	}
	folder, err := control.Open(path)
	if errors.As(err, new(*control.RunningError)) {
		return nil, fmt.Errorf("%w: %q asks it; for another node on this machine set AVAL_KEY to another file", err, asks)
	}
	if err != nil {
		return nil, err
	}
	if prepare != nil {
		if err := prepare(folder); err != nil {
			_ = folder.Close()
			return nil, err
		}
	}
	o.library = libraryFolder(path)
	o.receipts.Folder = logsFolder(path)
	return a.start(ctx, o, folder, nil, access.Book{})
}

func (a *app) netUp(ctx context.Context, o *netOptions, asJSON, ui bool) error {
	n, err := a.startIn(ctx, o, "aval net peers", nil)
	if err != nil {
		return err
	}
	defer n.Close()
	s, err := n.Status(ctx)
	if err != nil {
		return err
	}
	if err := a.tellUp(s, asJSON); err != nil {
		return err
	}
	if ui {
		path, err := a.nodeFolder()
		if err != nil {
			return err
		}
		defer a.consoleBeside(ctx, n, path, o.debug)()
	}
	return a.watch(ctx, n, s)
}

// watch tells who connects with a node, until Ctrl-C.
func (a *app) watch(ctx context.Context, n *node.Node, s node.Status) (err error) {
	known, link := map[peer.ID]mesh.PeerInfo{}, s.Link.String()
	for {
		select {
		case <-ctx.Done():
			return n.Close()
		case <-time.After(time.Second):
		}
		if s, err = n.Status(ctx); err != nil {
			return err
		}
		if l := s.Link.String(); l != link { // a router opened a port, or a relay gave a place
			link = l
			a.note("the link of this node is now %s", link)
		}
		known = a.tellPeers(known, s.Peers)
	}
}

// tellUp says what runs now.
func (a *app) tellUp(s node.Status, asJSON bool) error {
	if asJSON {
		if s.Addresses == nil {
			s.Addresses = []string{}
		}
		if err := a.printJSON(netUpJSON{s.ID, string(s.Network), s.Link.String(), s.Addresses}); err != nil {
			return err
		}
	} else {
		fmt.Fprintln(a.out, s.Link)
		for _, address := range node.ForFriends(s.Addresses) {
			fmt.Fprintln(a.out, address)
		}
	}
	a.note("this node is %s; Ctrl-C ends it", s.ID)
	switch {
	case s.Network == doctor.Alone:
		a.note("it uses no network")
	case s.Private:
		a.note("only nodes with the same private key connect with it")
	default:
		a.note("a friend adds it with: aval net add '%s'", s.Link)
	}
	return nil
}

// tellPeers says who came and went, and returns who is there.
func (a *app) tellPeers(known map[peer.ID]mesh.PeerInfo, list []mesh.PeerInfo) map[peer.ID]mesh.PeerInfo {
	now := map[peer.ID]mesh.PeerInfo{}
	for _, p := range list {
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
	return now
}

// way says how a peer is connected.
func way(p mesh.PeerInfo) string {
	if p.Relayed {
		return "through a relay"
	}
	return p.Address
}
