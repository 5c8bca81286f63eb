package main

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
)

func newAccessCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use:   "access COMMAND",
		Short: "Say what other people's devices may do here, and take it back",
		Long: `Access is about this machine's node (see "aval net up"). Others may ask whether it
is there and what it is; all else is refused unless it is granted here, to a peer by
its ID or to whoever shows a token. What is taken back counts no more at once, in a
node that runs, too.
` + exitHelp,
		Example: "  aval access grant 12D3Koo...\n  aval access list\n  aval access revoke 12D3Koo...",
		Args:    cobra.NoArgs,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newAccessGrantCommand(a), newAccessListCommand(a), newAccessRevokeCommand(a), newAccessAddCommand(a), newAccessPassCommand(a), newAccessShowCommand(a))
	return c
}

// grantOptions are the flags of "aval access grant".
type grantOptions struct {
	lists     map[access.Action]*[]string
	life      time.Duration
	handOn    int
	perMinute int
	bearer    bool
	note      string
	json      bool
}

func newAccessGrantCommand(a *app) *cobra.Command {
	o := grantOptions{lists: map[access.Action]*[]string{}}
	c := &cobra.Command{
		Use: "grant [flags] [PEER]", Short: "Let a peer do something here", Args: cobra.MaximumNArgs(1),
		Long: `Grant lets a peer ask the models that this node serves, unless flags say what else
it may do. PEER is its ID ("aval net id" there) or its link. Nothing need be sent: the
node knows the peer by its key. Where the right is to be handed on, or is for whoever
has it (--bearer), a token is printed, which the other one adds with
"aval access add TOKEN".

A resource may end with a star, for all that begin so.
` + exitHelp,
		Example: `  aval access grant 12D3Koo...                       # ask all models, for 90 days
  aval access grant 12D3Koo... --ask 'llama*' --per-minute 10 --for 24h
  aval access grant 12D3Koo... --fetch '*' --note 'the other clinic'
  aval access grant --bearer --ask aval-mini         # a token for whoever has it`,
		RunE: func(c *cobra.Command, args []string) error { return a.accessGrant(c.Context(), &o, args) },
	}
	o.rightFlags(c)
	c.Flags().DurationVar(&o.life, "for", 90*24*time.Hour, "how long it holds")
	c.Flags().IntVar(&o.handOn, "hand-on", 0, "through how many further hands the peer may pass it (0 to 3)")
	c.Flags().IntVar(&o.perMinute, "per-minute", 0, "how often a minute it may be used; 0: no bound")
	c.Flags().BoolVar(&o.bearer, "bearer", false, "for whoever has the token: treat it like a password")
	c.Flags().StringVar(&o.note, "note", "", "what it is for, to remember")
	c.Flags().BoolVar(&o.json, "json", false, "print JSON")
	return c
}

// rightFlags are the flags that say what may be done.
func (o *grantOptions) rightFlags(c *cobra.Command) {
	for _, f := range []struct {
		action access.Action
		help   string
	}{
		{access.Ask, "name of a model that may be asked; again for more"},
		{access.Fetch, "root of content that may be fetched; again for more"},
		{access.Read, "ID of shared data that may be read (\"aval data list\"); again for more"},
		{access.Write, "ID of shared data that may be written; again for more"},
		{access.Call, "method that may be called, such as '/aval.v1.NetService/*'; again for more"},
		{access.Relay, "ID of a peer to which private requests are passed on; again for more"},
		{access.Audit, "\"receipts\" of answers that were given here, or \"openings\", which show what was asked and answered"},
	} {
		list := new([]string)
		o.lists[f.action] = list
		c.Flags().StringArrayVar(list, string(f.action), nil, f.help)
	}
}

// rights are those of the flags; otherwise if there are none.
func (o *grantOptions) rights(otherwise []access.Right) (list []access.Right, err error) {
	for _, action := range []access.Action{access.Ask, access.Fetch, access.Read, access.Write, access.Call, access.Relay, access.Audit} {
		for _, r := range *o.lists[action] {
			right := access.Right{Action: action, Resource: r}
			if err := right.Check(); err != nil {
				return nil, usageErrorf("--%s: %w", action, err)
			}
			list = append(list, right)
		}
	}
	if list == nil {
		list = otherwise
	}
	return list, nil
}

func (a *app) accessGrant(ctx context.Context, o *grantOptions, args []string) error {
	if o.bearer == (len(args) == 1) {
		return usageErrorf("name one peer, or give --bearer: a right is for one of the two")
	}
	rights, err := o.rights([]access.Right{{Action: access.Ask, Resource: "*"}})
	if err != nil {
		return err
	}
	if o.life < time.Minute || o.life > access.MaxLife || o.perMinute < 0 {
		return usageErrorf("--for %s --per-minute %d: want a minute to ten years, and no less than 0", o.life, o.perMinute)
	}
	r := node.GrantRequest{Rights: rights, Life: o.life, HandOn: o.handOn, PerMinute: o.perMinute, Note: o.note}
	if !o.bearer {
		l, err := link(args[0])
		if err != nil {
			return err
		}
		r.Holder = l.Peer
	}
	var g node.Granted
	err = a.accessChange(ctx, func(running *node.Remote) error {
		g, err = running.Grant(ctx, r)
		return err
	}, func(b *access.Book) error {
		key, err := a.nodeKey()
		if err == nil {
			g, err = node.GrantIn(b, key, r, time.Now())
		}
		return err
	})
	if err != nil {
		return err
	}
	if o.json {
		return a.printJSON(g)
	}
	if o.bearer || o.handOn > 0 {
		fmt.Fprintln(a.out, g.Token)
		a.note("granted as %s until %s; the other one adds the token with \"aval access add\"", g.ID, g.Expires.Local().Format(time.DateTime))
	} else {
		a.note("granted as %s until %s; nothing need be sent", g.ID, g.Expires.Local().Format(time.DateTime))
	}
	if o.bearer {
		a.note("whoever has this token may use it: send it by a way that nobody else can read")
	}
	return nil
}

// accessChange changes the grants, in the running node or in the folder.
func (a *app) accessChange(ctx context.Context, running func(*node.Remote) error, folder func(*access.Book) error) error {
	r, path, err := a.runningNode(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return node.ChangeAccess(path, folder)
	}
	if err != nil {
		return err
	}
	defer r.Close()
	return running(r)
}

// accessBook reads the grants, of the running node or in the folder.
func (a *app) accessBook(ctx context.Context) (access.Book, error) {
	r, path, err := a.runningNode(ctx)
	if errors.Is(err, control.ErrNotRunning) {
		return node.ReadAccess(path)
	}
	if err != nil {
		return access.Book{}, err
	}
	defer r.Close()
	return r.Access(ctx)
}

func newAccessListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list [flags]", Short: "List what is granted, and the tokens that were received", Args: cobra.NoArgs,
		Long:    "List shows what this node allows and to whom, what was taken back or has ended, and\nthe tokens that others gave to it.\n" + exitHelp,
		Example: "  aval access list\n  aval access list --json",
		RunE: func(c *cobra.Command, _ []string) error {
			b, err := a.accessBook(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				if b.Granted == nil {
					b.Granted = []access.Grant{}
				}
				if b.Received == nil {
					b.Received = []access.Received{}
				}
				return a.printJSON(b)
			}
			if len(b.Granted)+len(b.Received)+len(b.Blocked) == 0 {
				a.note("nothing is granted: \"aval access grant PEER\" lets a peer ask the models here")
				return nil
			}
			return a.table(accessTable(b, time.Now())...)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func accessTable(b access.Book, now time.Time) []string {
	rows := []string{"ID\tWHO\tMAY\tUNTIL\tNOTE"}
	for _, g := range b.Granted {
		who, until := "whoever has the token", g.Expires.Local().Format(time.DateTime)
		if !g.Holder.IsZero() {
			who = g.Holder.String()
		}
		switch {
		case !g.Revoked.IsZero():
			until = "taken back"
		case !now.Before(g.Expires):
			until = "ended"
		}
		rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s", g.ID, who, rightsText(g.Rights), until, quoteLine(g.Note)))
	}
	for _, x := range b.Blocked {
		rows = append(rows, fmt.Sprintf("\t%s\tnothing, by no token\tgranted again\t", x.Peer))
	}
	for _, r := range b.Received {
		if t, err := access.ParseText(r.Token); err == nil {
			rows = append(rows, fmt.Sprintf("%s\tthis node, at %s\t%s\t%s\t%s", t.ID, t.Issuer.Short(), rightsText(t.Last().Rights), t.Last().Expires.Local().Format(time.DateTime), quoteLine(r.Note)))
		}
	}
	return rows
}

func rightsText(list []access.Right) string {
	var texts []string
	for _, r := range list {
		texts = append(texts, quoteLine(r.String()))
	}
	return strings.Join(texts, ", ")
}

func newAccessRevokeCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "revoke [--all] [ID|PEER]", Short: "Take back what was granted", Args: cobra.MaximumNArgs(1),
		Long: `Revoke takes back one grant, by the ID that "aval access list" shows, or all that a
peer has, or, with --all, everything. What was handed on from a grant goes with it.
A peer loses what others handed on to it, too, until you grant it something again.
Peers named by "aval net up --friend" are not in the list: leave out the flag.
` + exitHelp,
		Example: "  aval access revoke 3f2a...\n  aval access revoke 12D3Koo...\n  aval access revoke --all",
		RunE: func(c *cobra.Command, args []string) error {
			if all == (len(args) == 1) {
				return usageErrorf("name a grant or a peer, or give --all")
			}
			r := node.RevokeRequest{All: all}
			if !all {
				if b, err := hex.DecodeString(args[0]); err == nil && len(b) == len(r.ID) {
					r.ID = access.ID(b)
				} else if r.Peer, err = peer.Parse(args[0]); err != nil {
					return usageErrorf("%q is neither the ID of a grant nor that of a peer", args[0])
				}
			}
			var n int
			err := a.accessChange(c.Context(), func(running *node.Remote) (err error) {
				n, err = running.Revoke(c.Context(), r)
				return err
			}, func(b *access.Book) (err error) {
				n, err = node.RevokeIn(b, r, time.Now())
				return err
			})
			if err == nil {
				a.note("taken back: %d", n)
			}
			return err
		},
	}
	c.Flags().BoolVar(&all, "all", false, "take back everything")
	return c
}

func newAccessAddCommand(a *app) *cobra.Command {
	var note string
	c := &cobra.Command{
		Use: "add [flags] TOKEN", Short: "Keep a token that another node gave to this one", Args: cobra.ExactArgs(1),
		Long:    "Add keeps a token, which this node then shows to the one that issued it.\n" + exitHelp,
		Example: "  aval access add aval-token:o2...",
		RunE: func(c *cobra.Command, args []string) error {
			key, err := a.nodeKey()
			if err != nil {
				return err
			}
			r := node.ReceiveRequest{Token: args[0], Note: note}
			err = a.accessChange(c.Context(), func(running *node.Remote) error { return running.Receive(c.Context(), r) },
				func(b *access.Book) error { return node.ReceiveIn(b, peer.FromPrivate(key), r, time.Now()) })
			if errors.Is(err, access.ErrToken) {
				return usageError{err}
			}
			if err == nil {
				a.note("kept; it is shown whenever this node calls the one that issued it")
			}
			return err
		},
	}
	c.Flags().StringVar(&note, "note", "", "what it is for, to remember")
	return c
}

// tokenJSON is what "aval access show --json" prints.
type tokenJSON struct {
	ID      access.ID      `json:"id"`
	Issuer  peer.ID        `json:"issuer"`
	Holder  peer.ID        `json:"holder,omitzero"`
	Hands   int            `json:"hands"` // through which it has gone
	Rights  []access.Right `json:"rights"`
	Begins  time.Time      `json:"begins"`
	Expires time.Time      `json:"expires"`
	HandOn  int            `json:"hand_on"`
}

func newAccessShowCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "show [flags] TOKEN", Short: "Say what a token allows", Args: cobra.ExactArgs(1),
		Long:    "Show says who issued a token, to whom, what it allows and until when. Whether it was\ntaken back, only its issuer knows.\n" + exitHelp,
		Example: "  aval access show aval-token:o2...",
		RunE: func(_ *cobra.Command, args []string) error {
			t, err := access.ParseText(args[0])
			if err != nil {
				return usageError{err}
			}
			last := t.Last()
			if asJSON {
				return a.printJSON(tokenAsJSON(t))
			}
			who := "whoever has it"
			if !last.Holder.IsZero() {
				who = last.Holder.String()
			}
			fmt.Fprintf(a.out, "issued by  %s\nfor        %s\nmay        %s\nuntil      %s\n", t.Issuer, who, rightsText(last.Rights), last.Expires.Local().Format(time.DateTime))
			if n := len(t.Blocks) - 1; n > 0 {
				fmt.Fprintf(a.out, "through    %d hands\n", n)
			}
			if last.HandOn > 0 {
				fmt.Fprintf(a.out, "may go on  through %d more\n", last.HandOn)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}
