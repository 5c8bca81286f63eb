package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/crdt"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
)

const spaceHelp = `
SPACE is the name of shared data on this device, or its ID or the beginning of it, as
"aval data list" shows them. The node that runs on this machine is asked ("aval net up").
`

// ticketPrefix begins what a person gives to others so that they can join.
const ticketPrefix = "aval-data-1:"

func newDataCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "data COMMAND", Short: "Keep notes, lists and counters together with other people's devices", Args: cobra.NoArgs,
		Long: `Data is shared among devices without a server: each writes when it likes, also
without a connection, and all come to the same. Every change is signed. The owner, who
made the data, says who may write which keys, and can take that back. Who may read it
is in "aval access" ("aval access grant PEER --read ID").

A key can hold a register (set), a counter (count), a set of elements (add, remove) and
a log (append), side by side. Do not keep balances here: two devices that spend the
same coin would both be right.
` + exitHelp,
		Example: `  aval data new notes
  aval data set notes menu/monday "soup"
  aval data grant notes 12D3KooW... --prefix menu/
  aval data show notes`,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newDataNewCommand(a), newDataJoinCommand(a), newDataListCommand(a), newDataShowCommand(a), newDataLeaveCommand(a),
		newDataGrantCommand(a), newDataRevokeCommand(a), newDataSyncCommand(a), newDataCheckpointCommand(a), newDataProveCommand(a), newDataVerifyCommand(a))
	for _, x := range dataChanges {
		c.AddCommand(x.command(a))
	}
	return c
}

// dataChange is a command that changes one entry.
type dataChange struct {
	name, args, short, long, example string
	value                            bool
	change                           func(key, value string) (crdt.Change, error)
	seen                             bool
}

func plainChange(action crdt.Action) func(key, value string) (crdt.Change, error) {
	return func(key, value string) (crdt.Change, error) {
		return crdt.Change{Action: action, Key: key, Value: []byte(value)}, nil
	}
}

var dataChanges = []dataChange{
	{"set", "VALUE", "Write a register", "Set writes a value of at most 64 KiB; of two who write without having seen each other\nall devices keep the same one. \"-\" reads it from standard input.", `aval data set notes menu/monday "soup"`, true, plainChange(crdt.Set), false},
	{"unset", "", "Delete a register", "Unset deletes what set wrote.", "aval data unset notes menu/monday", false, plainChange(crdt.Delete), false},
	{"count", "NUMBER", "Add to a counter", "Count adds a number, which may be negative (after --): all that anybody adds is counted.", "aval data count notes visitors 1\n  aval data count notes visitors -- -1", true, func(key, value string) (crdt.Change, error) {
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return crdt.Change{}, usageErrorf("%q is no whole number", value)
		}
		return crdt.Change{Action: crdt.Count, Key: key, Delta: n}, nil
	}, false},
	{"add", "ELEMENT", "Add an element to a set", "Add adds an element of at most 1 KiB. An element that somebody adds while somebody else,\nwho has not seen that, removes it, stays.", "aval data add notes members Ada", true, plainChange(crdt.Insert), true},
	{"remove", "ELEMENT", "Remove an element from a set", "Remove removes an element.", "aval data remove notes members Ada", true, plainChange(crdt.Remove), true},
	{"append", "TEXT", "Append to a log", "Append adds a record of at most 64 KiB, which stays. \"-\" reads it from standard input.", `aval data append notes diary "it rained"`, true, plainChange(crdt.Append), false},
}

func (x dataChange) command(a *app) *cobra.Command {
	n := 2
	if x.value {
		n = 3
	}
	return &cobra.Command{
		Use: strings.TrimSpace(x.name + " SPACE KEY " + x.args), Short: x.short, Args: cobra.ExactArgs(n), Long: x.long + "\n" + spaceHelp + exitHelp, Example: "  " + x.example,
		RunE: func(c *cobra.Command, args []string) error {
			value := ""
			if x.value {
				value = args[2]
			}
			if value == "-" {
				data, err := io.ReadAll(io.LimitReader(a.in, crdt.MaxValue+1))
				if err != nil {
					return err
				}
				value = string(data)
			}
			change, err := x.change(args[1], value)
			if err != nil {
				return err
			}
			return a.withSpace(c.Context(), args[0], func(r *node.Remote, s node.SpaceInfo) error {
				return r.Change(c.Context(), node.ChangeRequest{Space: s.ID, Change: change, Seen: x.seen})
			})
		},
	}
}

// withSpace finds shared data of the running node.
func (a *app) withSpace(ctx context.Context, name string, do func(r *node.Remote, s node.SpaceInfo) error) error {
	r, err := a.mustRun(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	list, err := r.Spaces(ctx)
	if err != nil {
		return err
	}
	var found []node.SpaceInfo
	for _, s := range list {
		if s.Name == name || len(name) >= 8 && strings.HasPrefix(s.ID.String(), name) {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return usageErrorf("this device has no shared data %q; \"aval data list\" shows what it has", name)
	case 1:
		return do(r, found[0])
	}
	return usageErrorf("%d shared data are called %q: name one by its ID (\"aval data list\")", len(found), name)
}

// dataJSON is what "aval data new" and "join" print with --json, and "list" a list of.
type dataJSON struct {
	node.SpaceInfo
	Ticket string `json:"ticket"`
}

func ticketOf(bytes []byte) string { return ticketPrefix + base64.RawURLEncoding.EncodeToString(bytes) }

func newDataNewCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "new NAME", Short: "Begin shared data that you own", Args: cobra.ExactArgs(1),
		Long:    "New begins shared data and prints the ticket with which others join it (\"aval data join\").\nThe ticket says which data is meant; it is no secret and allows nothing.\n" + exitHelp,
		Example: "  aval data new notes",
		RunE: func(c *cobra.Command, args []string) error {
			r, err := a.mustRun(c.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			g, err := r.NewSpace(c.Context(), args[0])
			if err != nil {
				return err
			}
			a.note("for a device to read it: aval access grant PEER --read %s\nfor it to write: aval data grant %s PEER", g.ID(), g.Name)
			_, err = fmt.Fprintln(a.out, ticketOf(g.Bytes()))
			return err
		},
	}
}

func newDataJoinCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "join TICKET", Short: "Take part in somebody's shared data", Args: cobra.ExactArgs(1),
		Long:    "Join takes the ticket that \"aval data new\" printed and asks the peers that are connected\nfor the data, now and whenever the node runs.\n" + exitHelp,
		Example: "  aval data join aval-data-1:pAFYI...",
		RunE: func(c *cobra.Command, args []string) error {
			text, ok := strings.CutPrefix(args[0], ticketPrefix)
			ticket, err := base64.RawURLEncoding.DecodeString(text)
			if !ok || err != nil {
				return usageErrorf("this is no ticket: want %s... as \"aval data new\" prints it", ticketPrefix)
			}
			r, err := a.mustRun(c.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			g, err := r.JoinSpace(c.Context(), ticket)
			if err != nil {
				return err
			}
			if n, err := r.SyncSpace(c.Context(), g.ID(), peer.ID{}); err != nil {
				a.note("joined %s of %s; nothing came yet: %v", quoteLine(g.Name), g.Owner, err)
			} else {
				a.note("joined %s of %s, and got what %d peers have", quoteLine(g.Name), g.Owner, n)
			}
			return nil
		},
	}
}

func newDataListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list [flags]", Short: "List the shared data of this device", Args: cobra.NoArgs,
		Long:    "List shows which shared data this device has.\n" + exitHelp,
		Example: "  aval data list\n  aval data list --json",
		RunE: func(c *cobra.Command, _ []string) error {
			r, err := a.mustRun(c.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			list, err := r.Spaces(c.Context())
			if err != nil {
				return err
			}
			out := []dataJSON{}
			rows := []string{"NAME\tID\tCHANGES\tSIZE\tOWNER"}
			for _, s := range list {
				out = append(out, dataJSON{s, ticketOf(s.Ticket)})
				rows = append(rows, fmt.Sprintf("%s\t%s\t%d\t%s\t%s", quoteLine(s.Name), s.ID, s.Ops, size(s.Bytes), s.Owner))
			}
			if asJSON {
				return a.printJSON(out)
			}
			return a.table(rows...)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

// dataEntryJSON is one entry of "aval data show --json".
type dataEntryJSON struct {
	Key    string   `json:"key"`
	Type   string   `json:"type"`
	Text   string   `json:"text,omitempty"`
	Bytes  []byte   `json:"bytes,omitempty"` // where the value is not text
	Number *int64   `json:"number,omitempty"`
	Height uint64   `json:"height,omitempty"`
	Author peer.ID  `json:"author,omitzero"`
	ID     string   `json:"operation,omitempty"`
	Writer peer.ID  `json:"writer,omitzero"` // of a grant
	Types  []string `json:"types,omitempty"`
}

func newDataShowCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "show [flags] SPACE [PREFIX]", Short: "Show shared data, and who may write", Args: cobra.RangeArgs(1, 2), Aliases: []string{"get"},
		Long:    "Show lists the entries, those only whose keys begin with PREFIX if one is given, and the\ngrants. AUTHOR is who wrote the value.\n" + spaceHelp + exitHelp,
		Example: "  aval data show notes\n  aval data show notes menu/\n  aval data show --json notes",
		RunE: func(c *cobra.Command, args []string) error {
			prefix := ""
			if len(args) == 2 {
				prefix = args[1]
			}
			return a.withSpace(c.Context(), args[0], func(r *node.Remote, s node.SpaceInfo) error {
				all, err := r.Read(c.Context(), s.ID, prefix)
				if err != nil {
					return err
				}
				out := []dataEntryJSON{}
				rows := []string{"KEY\tTYPE\tVALUE\tAUTHOR"}
				for _, e := range all.Entries {
					j := dataEntryOf(e)
					out = append(out, j)
					value := fmt.Sprintf("%.200s", quoteLine(j.Text))
					if j.Number != nil {
						value = strconv.FormatInt(*j.Number, 10)
					} else if j.Bytes != nil {
						value = fmt.Sprintf("%d bytes", len(j.Bytes))
					}
					author := ""
					if e.Type != crdt.Counter {
						author = e.Stamp.Author.String()
					}
					rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s", quoteLine(e.Key), j.Type, value, author))
				}
				for _, e := range all.Grants {
					j := dataEntryOf(e)
					j.Writer = e.Writer
					for _, t := range []crdt.Type{crdt.Register, crdt.Counter, crdt.Elements, crdt.Log} {
						if e.Types&t != 0 {
							j.Types = append(j.Types, t.String())
						}
					}
					out = append(out, j)
					rows = append(rows, fmt.Sprintf("%s*\tgrant\t%s: %s\t%s", quoteLine(e.Key), e.Writer, strings.Join(j.Types, ", "), e.Stamp.Author))
				}
				if asJSON {
					return a.printJSON(out)
				}
				return a.table(rows...)
			})
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func dataEntryOf(e *crdt.Entry) dataEntryJSON {
	j := dataEntryJSON{Key: e.Key, Type: e.Type.String()}
	if e.Type == crdt.Counter {
		n := e.Sum()
		j.Number = &n
		return j
	}
	j.Height, j.Author, j.ID = e.Stamp.Height, e.Stamp.Author, e.Stamp.ID.String()
	if utf8.Valid(e.Value) {
		j.Text = string(e.Value)
	} else {
		j.Bytes = e.Value
	}
	return j
}

func newDataLeaveCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "leave SPACE", Short: "Forget shared data on this device", Args: cobra.ExactArgs(1),
		Long:    "Leave removes shared data from this device. Others keep it.\n" + spaceHelp + exitHelp,
		Example: "  aval data leave notes",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withSpace(c.Context(), args[0], func(r *node.Remote, s node.SpaceInfo) error { return r.LeaveSpace(c.Context(), s.ID) })
		},
	}
}

func newDataGrantCommand(a *app) *cobra.Command {
	var prefix string
	var types []string
	c := &cobra.Command{
		Use: "grant [flags] SPACE PEER", Short: "Let somebody write in shared data that you own", Args: cobra.ExactArgs(2),
		Long:    "Grant lets the peer with this ID change keys that begin with --prefix. It holds until\n\"aval data revoke\". To read, \"aval access grant PEER --read ID\".\n" + spaceHelp + exitHelp,
		Example: "  aval data grant notes 12D3KooW... --prefix menu/\n  aval data grant notes 12D3KooW... --type log",
		RunE: func(c *cobra.Command, args []string) error {
			change := crdt.Change{Action: crdt.Grant, Key: prefix}
			var err error
			if change.Writer, err = peer.Parse(args[1]); err != nil {
				return usageErrorf("%w", err)
			}
			known := map[string]crdt.Type{"register": crdt.Register, "counter": crdt.Counter, "set": crdt.Elements, "log": crdt.Log, "all": crdt.AllTypes}
			for _, t := range types {
				if known[t] == 0 {
					return usageErrorf("--type %s: want register, counter, set, log or all", t)
				}
				change.Types |= known[t]
			}
			return a.withSpace(c.Context(), args[0], func(r *node.Remote, s node.SpaceInfo) error {
				return r.Change(c.Context(), node.ChangeRequest{Space: s.ID, Change: change})
			})
		},
	}
	c.Flags().StringVar(&prefix, "prefix", "", "beginning of the keys that may be changed (default: all keys)")
	c.Flags().StringArrayVar(&types, "type", []string{"all"}, "what may be changed: register, counter, set, log or all; again for more")
	return c
}

func newDataRevokeCommand(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use: "revoke [flags] SPACE PEER", Short: "Take back what a peer may write", Args: cobra.ExactArgs(2),
		Long: `Revoke ends all grants of a peer. What it wrote and this device has stays; what comes
later, or claims to be older and has not come yet, does not count on any device. With
--everything nothing that it wrote counts, since the last checkpoint: for a stolen key.
` + spaceHelp + exitHelp,
		Example: "  aval data revoke notes 12D3KooW...\n  aval data revoke --everything notes 12D3KooW...",
		RunE: func(c *cobra.Command, args []string) error {
			change := crdt.Change{Action: crdt.Revoke}
			var err error
			if change.Writer, err = peer.Parse(args[1]); err != nil {
				return usageErrorf("%w", err)
			}
			return a.withSpace(c.Context(), args[0], func(r *node.Remote, s node.SpaceInfo) error {
				return r.Change(c.Context(), node.ChangeRequest{Space: s.ID, Change: change, Seen: !all})
			})
		},
	}
	c.Flags().BoolVar(&all, "everything", false, "void what the peer wrote before, too")
	return c
}

func newDataSyncCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "sync SPACE [PEER]", Short: "Compare shared data with a peer now", Args: cobra.RangeArgs(1, 2),
		Long:    "Sync exchanges what one side lacks with PEER, or with all peers that are connected. The\nnode does so by itself twice a minute or so.\n" + spaceHelp + exitHelp,
		Example: "  aval data sync notes\n  aval data sync notes 12D3KooW...",
		RunE: func(c *cobra.Command, args []string) error {
			var with peer.ID
			if len(args) == 2 {
				l, err := link(args[1])
				if err != nil {
					return err
				}
				with = l.Peer
			}
			return a.withSpace(c.Context(), args[0], func(r *node.Remote, s node.SpaceInfo) error {
				n, err := r.SyncSpace(c.Context(), s.ID, with)
				if err == nil {
					a.note("up to date with %d peers", n)
				}
				return err
			})
		},
	}
}

func newDataCheckpointCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "checkpoint SPACE", Short: "Drop the history of shared data that you own", Args: cobra.ExactArgs(1),
		Long:    "Checkpoint signs the data as it is here, so that all devices drop the changes that led to\nit. A change that this device has not seen yet does not count any more; the device that\nmade it makes it again when it hears of the checkpoint.\n" + spaceHelp + exitHelp,
		Example: "  aval data checkpoint notes",
		RunE: func(c *cobra.Command, args []string) error {
			return a.withSpace(c.Context(), args[0], func(r *node.Remote, s node.SpaceInfo) error { return r.CheckpointSpace(c.Context(), s.ID) })
		},
	}
}

// dataProofJSON is a proof as a file.
type dataProofJSON struct {
	Space crdt.ID `json:"space"`
	Root  crdt.ID `json:"root"`
	Key   string  `json:"key"`
	Type  string  `json:"type"`
	// Element of a set; Record of a log.
	Element []byte      `json:"element,omitempty"`
	Record  *crdt.Stamp `json:"record,omitempty"`
	Proof   []byte      `json:"proof"`
}

func newDataProveCommand(a *app) *cobra.Command {
	var kind, element string
	c := &cobra.Command{
		Use: "prove [flags] SPACE KEY", Short: "Prove that shared data has an entry, or has none", Args: cobra.ExactArgs(2),
		Long:    "Prove prints a proof as JSON: that a register or counter is there or not, or, with\n--element, that a set has an element or not. It leads to the root of the state, which\n\"aval data list --json\" shows on every device that has the same data.\n" + spaceHelp + exitHelp,
		Example: "  aval data prove notes menu/monday > monday.proof\n  aval data prove --element Ada notes members",
		RunE: func(c *cobra.Command, args []string) error {
			at := crdt.Place{Key: args[1], Type: crdt.Register}
			switch {
			case c.Flags().Changed("element"):
				at.Type, at.Element, kind = crdt.Elements, []byte(element), "set"
			case kind == "counter":
				at.Type = crdt.Counter
			case kind != "register":
				return usageErrorf("--type %s: want register or counter", kind)
			}
			return a.withSpace(c.Context(), args[0], func(r *node.Remote, s node.SpaceInfo) error {
				p, err := r.ProveEntry(c.Context(), s.ID, at)
				if err != nil {
					return err
				}
				return a.printJSON(dataProofJSON{Space: s.ID, Root: p.Root, Key: at.Key, Type: at.Type.String(), Element: at.Element, Proof: p.Proof})
			})
		},
	}
	c.Flags().StringVar(&kind, "type", "register", "what is proved: register or counter")
	c.Flags().StringVar(&element, "element", "", "an element of a set")
	return c
}

// maxProofFile bounds a proof's file.
const maxProofFile = 1 << 20

func newDataVerifyCommand(a *app) *cobra.Command {
	var root string
	c := &cobra.Command{
		Use: "verify --root ROOT FILE", Short: "Check a proof of \"aval data prove\"", Args: cobra.ExactArgs(1),
		Long:    "Verify checks a proof against the root of a state, which must come from somebody that you\ntrust, such as your own device (\"aval data list --json\"). No node need run.\n" + exitHelp,
		Example: "  aval data verify --root 5b1e... monday.proof",
		RunE: func(_ *cobra.Command, args []string) error {
			var trusted canon.Hash
			if err := trusted.UnmarshalText([]byte(root)); err != nil {
				return usageErrorf("--root: %w", err)
			}
			f, err := os.Open(args[0])
			if err != nil {
				return err
			}
			defer f.Close()
			data, err := io.ReadAll(io.LimitReader(f, maxProofFile))
			if err != nil {
				return err
			}
			var j dataProofJSON
			if err := json.Unmarshal(data, &j); err != nil {
				return fmt.Errorf("%s is no proof: %w", args[0], err)
			}
			p, err := crdt.ParseProof(j.Proof)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			at := crdt.Place{Key: j.Key, Element: j.Element}
			for _, t := range []crdt.Type{crdt.Register, crdt.Counter, crdt.Elements} {
				if t.String() == j.Type {
					at.Type = t
				}
			}
			if at.Type == 0 || p.Space != j.Space {
				return errors.New("the proof is of another type or of other data than its file says")
			}
			e, err := crdt.Verify(trusted, at, p)
			if err != nil {
				return err
			}
			if e == nil {
				_, err = fmt.Fprintf(a.out, "%s has no %s %s\n", j.Space, j.Type, quoteLine(j.Key))
				return err
			}
			return a.printJSON(dataEntryOf(e))
		},
	}
	c.Flags().StringVar(&root, "root", "", "root of the state that is trusted, 64 hexadecimal digits")
	return c
}
