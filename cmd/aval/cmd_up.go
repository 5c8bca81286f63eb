package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/admin"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/service"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/models"
)

// roles are what a node may be, in the order of the help.
var roles = []string{"user", "provider", "auditor", "validator", "relay"}

type upOptions struct {
	netOptions
	price, region  string
	roles          []string
	genesis        string
	ledgerListen   string
	ledgerPeers    []string
	join           string
	light          bool
	admin          string
	profile        bool
	batch          time.Duration
	whileInput     bool
	json, ui       bool
	rolesWereGiven bool
	lightWasGiven  bool
}

func newUpCommand(a *app) *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use: "up [flags]", Short: "Start this device's node: network, ledger, models", Args: cobra.NoArgs,
		Long: `Up starts the node of this device and lets it run until Ctrl-C: it joins the
network, takes part in a ledger and, as a provider, answers others. The first start
makes all that is needed; with no flags it begins a ledger of this device alone,
which makes blocks only when something happens.

Roles say what the node does beside asking (user):
  provider   answers others with the models of --serve, for the prices it offers
  auditor    computes again what the ledger draws, and accuses who lied
  validator  makes blocks, if the ledger names its key as a validator's
  relay      passes on the traffic of nodes that cannot be reached

To take part in the ledger of another node, give the link that "aval up" printed
there (--join), once: this node gets the genesis from it, checks that against the
link, and connects with the nodes that listen (--ledger-listen). With --light it has
no chain: it asks nodes of the ledger for what it needs, and believes what the
validators signed. That suits a phone, and no node of the ledger has to listen; it
cannot validate, provide or audit. Without --light, what it joins it follows in full.
Or give the genesis ("aval ledger genesis" there) and where nodes listen
(--ledger-peer). Later starts remember all of it.
` + exitHelp,
		Example: `  aval up
  aval up --role provider --serve smollm2 --price 1/4
  aval up --join 'peer://12D3Koo...?addr=...&chain=...' --light
  aval up --genesis clinic.json --ledger-peer aval-node-1...@192.0.2.1:26656
  aval up --ledger-listen 0.0.0.0:26656      # let other nodes of the ledger connect`,
		RunE: func(c *cobra.Command, _ []string) error {
			o.rolesWereGiven, o.lightWasGiven = c.Flags().Changed("role"), c.Flags().Changed("light")
			return a.up(c.Context(), &o)
		},
	}
	f := c.Flags()
	o.netOptions.flags(c)
	o.sharingFlags(c)
	f.StringSliceVar(&o.roles, "role", []string{"user", "validator"}, "what the node does: "+strings.Join(roles, ", ")+"; again for more")
	f.StringArrayVar(&o.serve, "serve", nil, "MODEL that others may ask; again for more (default aval-mini, for a provider)")
	f.StringVar(&o.price, "price", "0/0", "what a million tokens read and written cost, in units: \"1/4\"")
	f.StringVar(&o.region, "region", "", "where a provider's device is, in words")
	f.StringArrayVar(&o.friends, "friend", nil, "ID of a peer that may do everything; again for more")
	o.receiptFlags(c)
	f.StringVar(&o.genesis, "genesis", "", "FILE with the genesis of the ledger to take part in")
	f.StringVar(&o.join, "join", "", "LINK of a node whose ledger to take part in, as \"aval up\" prints it there")
	f.BoolVar(&o.light, "light", false, "have no chain: ask nodes of the ledger for what is needed (with --join, once)")
	f.StringVar(&o.ledgerListen, "ledger-listen", "", "host:port where other nodes of the ledger may connect (default: none may)")
	f.StringArrayVar(&o.ledgerPeers, "ledger-peer", nil, "KEY@host:port of another node of the ledger; again for more")
	f.DurationVar(&o.batch, "batch", time.Minute, "how long receipts wait at most before the ledger gets their root (with --role provider)")
	f.StringVar(&o.admin, "admin", "", "host:port for health and metrics over HTTP, such as 127.0.0.1:9600 (default: none)")
	f.BoolVar(&o.ui, "ui", false, "serve the console to browsers of this machine, too (\"aval ui\" prints its link)")
	f.BoolVar(&o.profile, "pprof", false, "serve profiles there, too")
	f.BoolVar(&o.whileInput, "while-input", false, "end when standard input ends, too: for programs that start nodes")
	f.BoolVar(&o.quiet, "no-discovery", false, "look for no nodes on the local network by multicast")
	f.BoolVar(&o.json, "json", false, "print what was started as JSON, once")
	return c
}

// check reads the flags that need no files.
func (o *upOptions) check() (peers []consensus.Peer, err error) {
	for _, r := range o.roles {
		if !slices.Contains(roles, r) {
			return nil, usageErrorf("--role %s: want %s", clip(r), strings.Join(roles, ", "))
		}
	}
	if o.profile && o.admin == "" {
		return nil, usageErrorf("--pprof is served at --admin: give that, too")
	}
	if o.has("provider") && len(o.serve) == 0 {
		o.serve = []string{models.MiniName}
	}
	if _, _, err := prices(o.price); err != nil {
		return nil, err
	}
	if o.join != "" && o.genesis != "" {
		return nil, usageErrorf("--join gets the genesis from the node of the link: leave out --genesis")
	}
	return parsePlaces(o.ledgerPeers)
}

func parsePlaces(list []string) (peers []consensus.Peer, err error) {
	for _, s := range list {
		p, err := service.ParsePlace(s)
		if err != nil {
			return nil, usageErrorf("--ledger-peer: %w", err)
		}
		peers = append(peers, consensus.Peer{Key: p.Key, Address: p.Address})
	}
	return peers, nil
}

// joinTime is how long the node of a link is asked for its ledger.
const joinTime = time.Minute

// joined asks the node of a link for its ledger.
func (a *app) joined(ctx context.Context, o *upOptions, folder *control.Folder) (*ledger.Genesis, []consensus.Peer, node.Link, error) {
	l, err := node.ParseLink(o.join)
	if err != nil {
		return nil, nil, l, usageErrorf("--join: %w", err)
	}
	contacts, err := node.ReadContacts(folder.Path)
	if err != nil {
		return nil, nil, l, err
	}
	granted, err := node.ReadAccess(folder.Path)
	if err != nil {
		return nil, nil, l, err
	}
	// The chain has to be known before the node starts, so this asks with one that
	// does nothing else.
	first := o.netOptions
	first.serve, first.library, first.ledger = nil, "", nil
	n, err := a.start(ctx, &first, nil, contacts, granted)
	if err != nil {
		return nil, nil, l, err
	}
	defer n.Close()
	limited, cancel := context.WithTimeout(ctx, joinTime)
	defer cancel()
	g, peers, err := n.LedgerSource(limited, l)
	if err != nil {
		return nil, nil, l, fmt.Errorf("--join: %w", err)
	}
	hash, err := g.Hash()
	if err != nil {
		return nil, nil, l, err
	}
	if l.Chain.IsZero() {
		a.note("the ledger is %s with the genesis %s: the link does not say which one it should be, so compare that with somebody who knows", g.Chain, hash)
	} else {
		a.note("the ledger is %s with the genesis %s, as the link says", g.Chain, hash)
	}
	l.Chain = hash
	return g, peers, l, nil
}

// addLink adds a link, or what is new of one that is there.
func addLink(list []node.Link, l node.Link) []node.Link {
	list = slices.DeleteFunc(list, func(o node.Link) bool { return o.Peer == l.Peer })
	return append([]node.Link{l}, list[:min(len(list), maxLinks-1)]...)
}

// maxLinks bounds the nodes of a ledger that are remembered to be asked.
const maxLinks = 8

// has tells whether the node has a role.
func (o *upOptions) has(role string) bool { return slices.Contains(o.roles, role) }

// chainOf prepares the chain in the node's folder.
func (a *app) chainOf(ctx context.Context, o *upOptions, folder *control.Folder, peers []consensus.Peer) (*node.LedgerConfig, error) {
	g, err := node.ReadGenesis(folder.Path)
	if err != nil {
		return nil, err
	}
	was := g != nil
	join, err := node.ReadJoin(folder.Path)
	if err != nil {
		return nil, err
	}
	switch {
	case o.join != "":
		var more []consensus.Peer
		var l node.Link
		if g, more, l, err = a.joined(ctx, o, folder); err != nil {
			return nil, err
		}
		peers = append(peers, more...)
		join.Links = addLink(join.Links, l)
	case o.genesis != "":
		data, err := os.ReadFile(o.genesis)
		if err != nil {
			return nil, err
		}
		if g, err = ledger.ParseGenesis(data); err != nil {
			return nil, fmt.Errorf("%s: %w", o.genesis, err)
		}
	case g == nil && o.light:
		return nil, usageErrorf("--light asks nodes of a ledger: give the link of one (--join)")
	case g == nil:
		key, err := a.nodeKey()
		if err != nil {
			return nil, err
		}
		g = node.OwnGenesis(key, time.Now())
	}
	if o.lightWasGiven || !was {
		join.Light = o.light
	}
	if join.Light {
		if len(join.Links) == 0 {
			return nil, usageErrorf("--light asks nodes of a ledger: give the link of one (--join)")
		}
		for _, r := range []string{"provider", "auditor", "validator"} {
			if o.rolesWereGiven && o.has(r) {
				return nil, usageErrorf("--role %s needs the chain: leave out --light, or start with --light=false", r)
			}
		}
	} else if len(peers) > 0 {
		join.Places = nil
		for _, p := range peers {
			if place := (service.Place{Key: p.Key, Address: p.Address}).String(); !slices.Contains(join.Places, place) {
				join.Places = append(join.Places, place)
			}
		}
	} else if peers, err = parsePlaces(join.Places); err != nil {
		return nil, err
	}
	if o.join != "" && !join.Light && len(peers) == 0 {
		return nil, fmt.Errorf("--join: no node of the ledger lets others connect, as far as the node of the link knows: start that with --ledger-listen host:port, or this one with --light")
	}
	if err := node.WriteGenesis(folder, g); err != nil {
		return nil, err
	}
	if err := node.WriteJoin(folder, join, o.join != ""); err != nil {
		return nil, err
	}
	cfg := &node.LedgerConfig{
		Genesis: g, Light: join.Light, Ask: join.Links, Follow: o.rolesWereGiven && !o.has("validator"), Sync: len(join.Links) > 0,
		Listen: o.ledgerListen, Peers: peers,
	}
	cfg.Audit, cfg.Batch = o.has("auditor"), o.batch
	if o.has("auditor") {
		cfg.Bond = true // it can lose something
	}
	if o.has("provider") {
		cfg.Provide = &node.ProviderConfig{Region: o.region}
		if cfg.Provide.PriceIn, cfg.Provide.PriceOut, err = prices(o.price); err != nil {
			return nil, err
		}
	}
	return cfg, nil
}

// raise starts the node of the flags.
func (a *app) raise(ctx context.Context, o *upOptions) (*node.Node, error) {
	peers, err := o.check()
	if err != nil {
		return nil, err
	}
	o.serveRelay = o.has("relay")
	return a.startIn(ctx, &o.netOptions, "aval status", func(folder *control.Folder) (err error) {
		o.netOptions.ledger, err = a.chainOf(ctx, o, folder, peers)
		return err
	})
}

func (a *app) up(ctx context.Context, o *upOptions) error {
	if o.whileInput {
		var end context.CancelFunc
		ctx, end = context.WithCancel(ctx)
		defer end()
		go func() {
			_, _ = io.Copy(io.Discard, a.in) // however it ends
			end()
		}()
	}
	n, err := a.raise(ctx, o)
	if err != nil {
		return err
	}
	defer n.Close()
	if o.admin != "" {
		s, err := admin.Listen(ctx, admin.Config{
			Address: o.admin, Metrics: n.Metrics(), Profile: o.profile,
			Health: func() (any, bool) { return n.Health() },
		})
		if err != nil {
			return err
		}
		defer s.Close()
		a.note("health and metrics: http://%s/health and /metrics", s.Address())
	}
	s, err := n.Status(ctx)
	if err != nil {
		return err
	}
	l, err := n.LedgerStatus(ctx)
	if err != nil {
		return err
	}
	if o.json {
		if err := a.printJSON(upJSON{netUpJSON{s.ID, string(s.Network), s.Link.String(), nonNil(s.Addresses)}, l}); err != nil {
			return err
		}
	} else if err := a.tellUp(s, false); err != nil {
		return err
	}
	a.note("the ledger is %s, at block %d; this device's account is %s with %s units", l.Chain, l.Height, l.Account, units(l.Balance))
	if !l.Light {
		a.note("others take part in it with: aval up --join '%s' (--light, if this node does not listen for them)", s.Link)
	}
	if o.ui {
		path, err := a.nodeFolder()
		if err != nil {
			return err
		}
		defer a.consoleBeside(ctx, n, path, o.debug)()
	}
	return a.watch(ctx, n, s)
}

// upJSON is what "aval up --json" prints once, when the node runs.
type upJSON struct {
	netUpJSON
	Ledger node.LedgerStatus `json:"ledger"`
}

func nonNil[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// units writes an amount as people reckon: 12.5.
func units(n ledger.Amount) string {
	s := fmt.Sprintf("%d.%06d", n/ledger.Unit, n%ledger.Unit)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// parseUnits reads what units writes.
func parseUnits(s string) (ledger.Amount, error) {
	whole, part, _ := strings.Cut(s, ".")
	if len(part) > 6 {
		return 0, fmt.Errorf("%q has more than six digits behind the point", s)
	}
	var w, p uint64
	if _, err := fmt.Sscanf(whole+" "+part+strings.Repeat("0", 6-len(part)), "%d %d", &w, &p); err != nil || w > uint64(ledger.MaxSupply/ledger.Unit) || whole[0] == '+' {
		return 0, fmt.Errorf("%q is not an amount such as 12 or 0.5", s)
	}
	return ledger.Amount(w)*ledger.Unit + ledger.Amount(p), nil
}

func newStatusCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "status [flags]", Short: "Show how this device's node is", Args: cobra.NoArgs,
		Long:    "Status asks the node that runs on this machine (\"aval up\"): how it is connected, where\nthe ledger is, what its account has, how audits of it went.\n" + exitHelp,
		Example: "  aval status\n  aval status --json",
		RunE:    func(c *cobra.Command, _ []string) error { return a.status(c.Context(), asJSON) },
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// statusJSON is what "aval status --json" prints.
type statusJSON struct {
	node.Status
	Ledger *node.LedgerStatus `json:"ledger"` // null: the node takes part in none
}

func (a *app) status(ctx context.Context, asJSON bool) error {
	r, err := a.mustRun(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	s, err := r.Status(ctx)
	if err != nil {
		return err
	}
	out := statusJSON{Status: s}
	if l, err := r.LedgerStatus(ctx); err == nil {
		out.Ledger = &l
	} else if !node.IsNoLedger(err) {
		return err
	}
	if asJSON {
		return a.printJSON(out)
	}
	row := func(name, format string, args ...any) {
		fmt.Fprintf(a.out, "%-10s "+format+"\n", append([]any{name}, args...)...)
	}
	row("node", "%s", s.ID)
	row("up since", "%s, process %d", s.Since.Local().Format(time.DateTime), s.Process)
	relayed := 0
	for _, p := range s.Peers {
		if p.Relayed {
			relayed++
		}
	}
	row("network", "%s, %d peers (%d through relays)", s.Network, len(s.Peers), relayed)
	l := out.Ledger
	if l == nil {
		row("ledger", "none (\"aval up\" takes part in one)")
		return nil
	}
	row("ledger", "%s, block %d of %s", l.Chain, l.Height, l.Time.Local().Format(time.DateTime))
	switch {
	case l.Halted != "":
		row("", "HALTED: %s", l.Halted)
	case l.Light:
		row("", "this node has no chain: %d nodes that it asked agree on the newest header, of %d validators", l.Peers, len(l.Validators))
	case l.CatchingUp:
		row("", "catching up with %d nodes", l.Peers)
	case l.Validates:
		row("", "this node makes blocks, one of %d validators", len(l.Validators))
	default:
		row("", "this node follows %d validators", len(l.Validators))
	}
	switch b := l.Beacon; {
	case b.Serves:
		row("beacon", "serves since block %d: a key of %d validators, %d of whom have their share (epoch %d)", b.From, b.Members, b.Confirmed, b.Epoch)
	case b.Making == "":
		row("beacon", "none: %s", b.Why)
	}
	if b := l.Beacon; b.Making != "" {
		row("beacon", "a key is being made: %s", b.Making)
	} else if b.Serves && b.Why != "" {
		row("", "no new key: %s", b.Why)
	}
	row("account", "%s", l.Account)
	row("balance", "%s units", units(l.Balance))
	if l.Node != nil {
		row("bond", "%s units", units(l.Node.Bond))
		row("record", "%d answers passed audits, %d failed; %d audits made, %d missed", l.Node.Record.Passed, l.Node.Record.Failed, l.Node.Record.Audits, l.Node.Record.Missed)
	}
	return nil
}
