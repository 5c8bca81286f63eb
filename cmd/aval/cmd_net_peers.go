package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
)

// runningNode gives the node that runs on this machine.
func (a *app) runningNode(ctx context.Context) (*node.Remote, string, error) {
	folder, err := a.nodeFolder()
	if err != nil {
		return nil, "", err
	}
	r, err := node.Dial(ctx, folder)
	return r, folder, err
}

// mustRun is runningNode for what only a running node can answer.
func (a *app) mustRun(ctx context.Context) (*node.Remote, error) {
	r, _, err := a.runningNode(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return nil, fmt.Errorf("%w: start it with \"aval up\", or \"aval net up\" for the network alone, in another window", err)
	}
	return r, err
}

func newNetLinkCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "link", Short: "Show the link of the running node, to give to a friend", Args: cobra.NoArgs,
		Long: `Link prints the link of the node that runs on this machine: its ID and where it can
be reached. It is no secret: who has it can connect, and do what you allow.
` + exitHelp,
		Example: "  aval net link",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.mustRun(c.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			s, err := r.Status(c.Context())
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(a.out, s.Link)
			return err
		},
	}
}

func newNetAddCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "add PEER", Short: "Stay connected with a node", Args: cobra.ExactArgs(1),
		Long: `Add makes a node a contact: this node connects with it whenever it runs, and finds
others through it. If it runs now, it connects at once. A contact may do no more
than anybody else.
` + peerHelp + "\n" + exitHelp,
		Example: "  aval net add 'peer://12D3Koo...?addr=/ip4/192.0.2.1/udp/4710/quic-v1'",
		RunE: func(c *cobra.Command, args []string) error {
			l, err := link(args[0])
			if err != nil {
				return err
			}
			return a.netAdd(c.Context(), l)
		},
	}
}

// addWait bounds how long "aval net add" waits for the new contact.
const addWait = 20 * time.Second

func (a *app) netAdd(ctx context.Context, l node.Link) error {
	r, folder, err := a.runningNode(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		if err := node.AddContact(folder, l, time.Now()); err != nil {
			return err
		}
		a.note("added; \"aval net up\" will connect with it")
		return nil
	}
	if err != nil {
		return err
	}
	defer r.Close()
	limited, cancel := context.WithTimeout(ctx, addWait)
	defer cancel()
	if err := r.Add(limited, l); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("added, but not connected yet: %w\n\"aval net doctor %s\" says why", err, l.Peer)
	}
	a.note("added, and connected")
	return nil
}

func newNetForgetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "forget PEER", Short: "Do not stay connected with a node any more", Args: cobra.ExactArgs(1),
		Long:    "Forget is the opposite of add.\n" + exitHelp,
		Example: "  aval net forget 12D3Koo...",
		RunE: func(c *cobra.Command, args []string) error {
			l, err := link(args[0])
			if err != nil {
				return err
			}
			r, folder, err := a.runningNode(c.Context())
			if errors.Is(err, control.ErrNotRunning) {
				return node.RemoveContact(folder, l.Peer)
			}
			if err != nil {
				return err
			}
			defer r.Close()
			return r.Remove(c.Context(), l.Peer)
		},
	}
}

func newNetPeersCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "peers [flags]", Short: "List the nodes that the running node is connected with", Args: cobra.NoArgs,
		Long:    "Peers lists who is connected with the node that runs on this machine, and the\ncontacts that are not.\n" + exitHelp,
		Example: "  aval net peers\n  aval net peers --json",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.mustRun(c.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			s, err := r.Status(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(s)
			}
			return a.table(peersTable(s, time.Now())...)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON: the whole state of the node")
	return c
}

func peersTable(s node.Status, now time.Time) []string {
	rows := []string{"PEER\tWAY\tSINCE\tROUND TRIP\tIN\tOUT\tPROGRAM"}
	connected := map[string]bool{}
	for _, p := range s.Peers {
		connected[p.ID.String()] = true
		trip := ""
		if p.Latency > 0 {
			trip = fmt.Sprintf("%.1f ms", p.Latency.Seconds()*1e3)
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s\t%.40s", p.ID, way(p), now.Sub(p.Since).Round(time.Second), trip, size(p.In), size(p.Out), quoteLine(p.Agent)))
	}
	for _, c := range s.Contacts {
		if !connected[c.Peer.String()] {
			rows = append(rows, fmt.Sprintf("%s\tnot connected\t\t\t\t\t", c.Peer))
		}
	}
	return rows
}
