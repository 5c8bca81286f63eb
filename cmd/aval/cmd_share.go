package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/library"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
)

// sharer is the part of an asker that has to do with content.
type sharer interface {
	Share(ctx context.Context, r node.ShareRequest, progress func(node.Progress)) (node.Shared, error)
	Shares(ctx context.Context) ([]node.Shared, error)
	Unshare(ctx context.Context, root content.Root) error
	Pull(ctx context.Context, r node.PullRequest, progress func(node.Progress)) (node.Pulled, error)
	Settle(ctx context.Context, root content.Root, files []string) error
	Inspect(ctx context.Context, l node.ContentLink) (node.Statement, error)
	ReadContent(ctx context.Context, r node.ReadRequest) ([]byte, error)
}

// libraryFolder is the library of the node with a folder.
func libraryFolder(nodeFolder string) string { return nodeFolder + "-content" }

type shareOptions struct {
	netOptions
	name, kind               string
	licence, origin, consent string
	parents                  []string
	public, json             bool
}

func newShareCommand(a *app) *cobra.Command {
	var o shareOptions
	c := &cobra.Command{
		Use:   "share [flags] MODEL|FOLDER|FILE",
		Short: "Give a model or a folder to other people's devices",
		Long: `Share signs a statement of what the files are and where they come from, and prints a
link with which others fetch them ("aval pull LINK"). The files stay where they are
and are not copied; what is changed afterwards is not given any more until it is
shared again. Files and folders whose names begin with a dot are left out, and links
are refused.

Only those can fetch it to whom you grant it ("aval access grant PEER --fetch ROOT"),
and friends ("aval net up --friend", or --friend here), unless it is --public: then
everybody can who has the link, and the network is told that this node has it. If
this machine's node runs ("aval net up"), it gives the files as long as it
runs; otherwise this command does, until Ctrl-C.

MODEL is a model of the store ("aval list") or a GGUF file.
` + exitHelp,
		Example: `  aval share hf.co/user/repo:Q8_0
  aval share --licence CC-BY-4.0 --consent "all speakers agreed in writing" recordings/
  aval share --public --parent 3f0c...e1 tuned.gguf
  aval share list
  aval share stop tuned`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return a.share(c.Context(), c, &o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.name, "name", "", "how to call it (default: after the model, file or folder)")
	f.StringVar(&o.kind, "kind", "", "what it is: model, data or other (default: model for GGUF files, data for folders)")
	f.StringVar(&o.licence, "licence", "", "its licence, such as Apache-2.0")
	f.StringVar(&o.origin, "origin", "", "where it comes from: a URL or words")
	f.StringVar(&o.consent, "consent", "", "what those agreed to whose data it is")
	f.StringArrayVar(&o.parents, "parent", nil, "root or link of what it was made from; again for more")
	f.BoolVar(&o.public, "public", false, "let everybody fetch it")
	f.BoolVar(&o.json, "json", false, "print JSON")
	f.StringArrayVar(&o.friends, "friend", nil, "ID of a peer that may fetch it, if no node runs; again for more")
	o.flags(c)
	o.sharingFlags(c)
	c.AddCommand(newShareListCommand(a), newSharePinCommand(a), newShareStopCommand(a))
	return c
}

func (a *app) share(ctx context.Context, c *cobra.Command, o *shareOptions, arg string) error {
	r, err := a.shareRequest(o, arg)
	if err != nil {
		return err
	}
	o.content = true
	n, running, err := a.join(ctx, c, &o.netOptions)
	if err != nil {
		return err
	}
	defer n.Close()
	if running && len(o.friends) > 0 {
		return usageErrorf("this node runs already: end it and name its friends there (\"aval net up --friend\")")
	}
	show, end := a.progress("index " + r.Name)
	s, err := n.Share(ctx, r, func(m node.Progress) { show(m.Done, m.Total) })
	end()
	if err != nil {
		return err
	}
	if len(s.Hidden) > 0 {
		a.note("left out, since their names begin with a dot: %s", quoteLine(strings.Join(s.Hidden, ", ")))
	}
	if o.json {
		err = a.printJSON(s)
	} else {
		_, err = fmt.Fprintln(a.out, s.Link)
	}
	if err != nil || running {
		if err == nil {
			a.note("%s is shared with %s while \"aval net up\" runs; \"aval share stop %s\" ends it", s.Name, audience(s.Info), s.Root)
			if !s.Public {
				a.note("for a peer that is no friend: aval access grant PEER --fetch %s", s.Root)
			}
		}
		return err
	}
	a.note("%s is shared with %s until Ctrl-C", s.Name, audience(s.Info))
	<-ctx.Done()
	return nil
}

func audience(i library.Info) string {
	if i.Public {
		return "everybody"
	}
	return "friends"
}

// shareRequest finds what is meant.
func (a *app) shareRequest(o *shareOptions, arg string) (node.ShareRequest, error) {
	r := node.ShareRequest{Kind: content.Kind(o.kind), Licence: o.licence, Origin: o.origin, Consent: o.consent, Public: o.public}
	for _, p := range o.parents {
		name := p
		if l, err := node.ParseContentLink(p); err == nil {
			name = l.Content
		}
		root, err := content.ParseRoot(name)
		if err != nil {
			return r, usageErrorf("--parent %q: want a root of 64 hexadecimal digits, or a link that ends with one", p)
		}
		r.Parents = append(r.Parents, root)
	}
	err := a.shareFiles(&r, arg)
	if o.name != "" {
		r.Name = o.name
	}
	return r, err
}

func (a *app) shareFiles(r *node.ShareRequest, arg string) error {
	info, err := os.Stat(arg)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	kind := content.Model
	defer func() {
		if r.Kind == "" {
			r.Kind = kind
		}
	}()
	if err == nil {
		abs, err := filepath.Abs(arg)
		if err != nil {
			return err
		}
		r.Name = filepath.Base(abs)
		if info.IsDir() {
			kind, r.Folder = content.Data, abs
			return nil
		}
		if !strings.EqualFold(filepath.Ext(abs), ".gguf") {
			kind, r.Items = content.Other, []library.Item{{Path: r.Name, File: abs}}
			return nil
		}
		f, err := gguf.Inspect(abs) // of a split model it finds the other parts
		if err != nil {
			return fmt.Errorf("%w: %w", errBadModel, err)
		}
		defer f.Close()
		r.Name = r.Name[:len(r.Name)-len(".gguf")]
		for _, p := range f.Paths() {
			r.Items = append(r.Items, library.Item{Path: filepath.Base(p), File: p})
		}
		return nil
	}
	if isBuiltin(arg) {
		return usageErrorf("the built-in model is in every aval: there is nothing to share")
	}
	if _, err := a.locate(arg); err != nil { // which says best what is wrong
		return err
	}
	s, err := a.openStore()
	if err != nil {
		return err
	}
	m, err := s.Get(arg)
	if err != nil {
		return err
	}
	paths, err := s.Paths(m)
	if err != nil {
		return err
	}
	for i, f := range m.Files {
		r.Items = append(r.Items, library.Item{Path: f.Path, File: paths[i]})
	}
	name := m.Name[strings.LastIndexByte(m.Name, '/')+1:]
	r.Name = strings.ReplaceAll(strings.TrimSuffix(name, ":latest"), ":", "-")
	return nil
}

func newShareListCommand(a *app) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list [flags]", Short: "List what is shared, and what was fetched", Args: cobra.NoArgs,
		Long:    "List shows the content that this node knows: what it gives to others, and what was\nfetched.\n" + exitHelp,
		Example: "  aval share list\n  aval share list --json",
		RunE: func(c *cobra.Command, _ []string) error {
			list, err := a.shares(c.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return a.printJSON(append([]node.Shared{}, list...))
			}
			rows := []string{"NAME\tKIND\tSIZE\tSHARED WITH\tSTATE\tROOT"}
			for _, s := range list {
				rows = append(rows, fmt.Sprintf("%s\t%s\t%s\t%s\t%s\t%s", quoteLine(s.Name), s.Kind, size(s.Size), sharedWith(s.Info), shareState(s.Info), s.Root))
			}
			return a.table(rows...)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return c
}

func sharedWith(i library.Info) string {
	if !i.Offered {
		return "nobody"
	}
	return audience(i)
}

func shareState(i library.Info) string {
	switch {
	case len(i.Changed) > 0:
		return fmt.Sprintf("%d files changed: share it again", len(i.Changed))
	case !i.Complete:
		return "fetched in part"
	}
	return "whole"
}

func newSharePinCommand(a *app) *cobra.Command {
	var off bool
	c := &cobra.Command{
		Use: "pin [--off] ROOT|NAME|LINK", Short: "Keep something that was fetched", Args: cobra.ExactArgs(1),
		Long: `What was fetched into this node's own folder is removed when it becomes more than the
quota ("aval net up --quota"), what was used longest ago first. What is pinned stays,
whatever the quota; and so does what was fetched into a folder of yours, and what you
share from where it is.
` + exitHelp,
		Example: "  aval share pin tuned\n  aval share pin --off tuned",
		RunE: func(c *cobra.Command, args []string) error {
			list, err := a.shares(c.Context())
			if err != nil {
				return err
			}
			root, err := findShare(list, args[0])
			if err != nil {
				return err
			}
			return a.withShares(c.Context(),
				func(r *node.Remote) error { return r.Pin(c.Context(), root, !off) },
				func(l *library.Library) error { return l.Pin(root, !off) })
		},
	}
	c.Flags().BoolVar(&off, "off", false, "do not keep it any more")
	return c
}

func newShareStopCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "stop ROOT|NAME|LINK", Short: "Share something no longer", Args: cobra.ExactArgs(1),
		Long:    "Stop ends the sharing. The files stay as they are; those who have fetched them keep\ntheir copies. Of what was fetched in part, the part is removed.\n" + exitHelp,
		Example: "  aval share stop tuned",
		RunE: func(c *cobra.Command, args []string) error {
			list, err := a.shares(c.Context())
			if err != nil {
				return err
			}
			root, err := findShare(list, args[0])
			if err != nil {
				return err
			}
			return a.withShares(c.Context(),
				func(r *node.Remote) error { return r.Unshare(c.Context(), root) },
				func(l *library.Library) error { return l.Stop(root) })
		},
	}
}

// findShare finds what a root, a name or a link means.
func findShare(list []node.Shared, arg string) (content.Root, error) {
	if l, err := node.ParseContentLink(arg); err == nil {
		arg = l.Content
	}
	var found []content.Root
	for _, s := range list {
		if s.Root.String() == arg {
			return s.Root, nil
		}
		if s.Name == arg {
			found = append(found, s.Root)
		}
	}
	switch len(found) {
	case 0:
		return content.Root{}, fmt.Errorf("nothing called %s is shared here: see \"aval share list\"", quoteLine(arg))
	case 1:
		return found[0], nil
	}
	return content.Root{}, fmt.Errorf("%d things are called %s: give the root of one, as \"aval share list\" shows it", len(found), quoteLine(arg))
}

// shares lists what the running node knows, or what its library says.
func (a *app) shares(ctx context.Context) (list []node.Shared, err error) {
	err = a.withShares(ctx,
		func(r *node.Remote) (err error) { list, err = r.Shares(ctx); return err },
		func(l *library.Library) error {
			for _, i := range l.List() {
				list = append(list, node.Shared{Info: i})
			}
			return nil
		})
	return slices.Clip(list), err
}

// withShares asks the running node or opens the library.
func (a *app) withShares(ctx context.Context, remote func(*node.Remote) error, own func(*library.Library) error) error {
	r, folder, err := a.runningNode(ctx)
	if err == nil {
		defer r.Close()
		return remote(r)
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return err
	}
	l, err := library.Open(library.Config{Folder: libraryFolder(folder)})
	if errors.Is(err, library.ErrBusy) {
		return fmt.Errorf("%w: an \"aval share\" or \"aval pull\" that runs; end it, or start \"aval net up\" before", err)
	}
	if err != nil {
		return err
	}
	defer l.Close()
	return own(l)
}
