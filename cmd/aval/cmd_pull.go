package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/hub"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/store"
)

type pullOptions struct {
	netOptions
	name, dir string
	json      bool
}

func newPullCommand(a *app) *cobra.Command {
	var o pullOptions
	c := &cobra.Command{
		Use:   "pull [flags] MODEL|LINK",
		Short: "Download a model into the store, or what a friend shares",
		Long: `Pull downloads a model from Hugging Face, or a model or folder from other people's
devices. A download that was interrupted goes on where it stopped. Nothing is kept
whose hashes are not the ones that were announced.

MODEL is hf.co/user/repo, with :quant to choose among its files.

LINK is peer://ID/ROOT, as "aval share" prints it there, or peer://ID/NAME, which asks
that peer what it calls so. It is fetched from all that have it at once; who sends
anything else is dropped. What this machine has already, such as the model from which
it was made, is not fetched again. A model goes into the store, a folder into a new
folder here.
` + environmentHelp + "\n" + exitHelp,
		Example: `  aval pull hf.co/user/repo
  aval pull hf.co/user/repo:Q8_0
  HF_ENDPOINT=https://mirror.example aval pull hf.co/user/repo
  aval pull 'peer://12D3Koo.../3f0c...e1?addr=/ip4/192.0.2.1/tcp/4710'
  aval pull --dir recordings peer://12D3Koo.../recordings`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if node.IsContentLink(args[0]) {
				return a.pullContent(c.Context(), c, &o, args[0])
			}
			return a.pull(c.Context(), args[0], o.json)
		},
	}
	f := c.Flags()
	f.BoolVar(&o.json, "json", false, "print what is there then as JSON")
	f.StringVar(&o.name, "name", "", "of a LINK to a model: its name in the store (default: the one that it is shared under)")
	f.StringVar(&o.dir, "dir", "", "of a LINK to a folder: where its files go (default: a folder of its name)")
	o.flags(c)
	return c
}

func (a *app) pull(ctx context.Context, model string, asJSON bool) error {
	ref, err := hub.ParseReference(model)
	if err != nil {
		return usageError{err}
	}
	s, err := a.openStore()
	if err != nil {
		return err
	}
	show, end := a.progress(ref.String())
	m, err := hub.Pull(ctx, a.hubConfig(), s, ref, func(p hub.Progress) {
		switch p.Phase {
		case hub.Downloading:
			show(p.Done, p.Total)
		case hub.Waiting, hub.Retrying:
			end()
			a.note("%s: %s", p.Phase, p.Note)
		}
	})
	end()
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(listed(m))
	}
	fmt.Fprintln(a.out, m.Name)
	return nil
}

func (a *app) hubConfig() hub.Config {
	return hub.Config{
		Endpoint: a.getenv("HF_ENDPOINT"), Token: a.getenv("HF_TOKEN"),
		UserAgent: "aval/" + buildVersion().Version, Proxy: http.ProxyFromEnvironment,
	}
}

// pulledJSON is what "aval pull --json LINK" prints.
type pulledJSON struct {
	Root    content.Root          `json:"root"`
	Kind    content.Kind          `json:"kind"`
	Name    string                `json:"name"`            // under which it is shared
	Model   string                `json:"model,omitempty"` // in the store
	Place   string                `json:"place"`
	Size    int64                 `json:"size"`
	Fetched int64                 `json:"fetched"` // bytes that came over the network this time
	Peers   []exchange.PeerResult `json:"peers"`
	Licence string                `json:"licence,omitempty"`
	Origin  string                `json:"origin,omitempty"`
	Consent string                `json:"consent,omitempty"`
	Parents []content.Root        `json:"parents,omitempty"`
	Signer  string                `json:"publisher"`
}

func (a *app) pullContent(ctx context.Context, c *cobra.Command, o *pullOptions, arg string) error {
	l, err := node.ParseContentLink(arg)
	if err != nil {
		return usageError{err}
	}
	s, err := a.openStore()
	if err != nil {
		return err
	}
	if o.name != "" {
		if err := free(s, o.name); err != nil {
			return err
		}
	}
	r := node.PullRequest{Link: l}
	if r.Base, err = os.Getwd(); err == nil && o.dir != "" {
		r.Folder, err = filepath.Abs(o.dir)
	}
	if err != nil {
		return err
	}
	o.content = true
	n, _, err := a.join(ctx, c, &o.netOptions)
	if err != nil {
		return err
	}
	defer n.Close()
	show, end := a.progress("fetch")
	p, err := n.Pull(ctx, r, func(m node.Progress) { show(m.Done, m.Total) })
	end()
	for _, peer := range p.Peers {
		if peer.Garbage {
			a.note("%s was dropped: %s", peer.Peer, peer.Error)
		}
	}
	if err != nil {
		if ctx.Err() != nil {
			a.note("what has come is kept: the same command goes on with it")
		}
		return err
	}
	out := pulledJSON{
		Root: p.Root, Kind: p.Kind, Name: p.Name, Place: p.Place, Size: p.Size, Fetched: p.Fetched, Peers: append([]exchange.PeerResult{}, p.Peers...),
		Licence: p.Licence, Origin: p.Origin, Consent: p.Consent, Parents: p.Parents, Signer: p.Publisher,
	}
	if p.Kind == content.Model && o.dir == "" {
		if out.Model, err = a.settle(ctx, s, n, p, o.name); err != nil {
			return err
		}
	}
	switch {
	case o.json:
		return a.printJSON(out)
	case out.Model != "":
		fmt.Fprintln(a.out, out.Model)
	default:
		fmt.Fprintln(a.out, out.Place)
	}
	a.note("published by %s%s", p.Publisher, provenance(p))
	return nil
}

func provenance(p node.Pulled) (s string) {
	for _, t := range []struct{ what, text string }{{"licence", p.Licence}, {"origin", p.Origin}, {"consent", p.Consent}} {
		if t.text != "" {
			s += fmt.Sprintf("; %s: %.200s", t.what, quoteLine(t.text))
		}
	}
	return s
}

// free refuses a name that a model of the store has.
func free(s *store.Store, name string) error {
	if _, err := store.ParseName(name); err != nil {
		return usageErrorf("--name: %w", err)
	}
	if m, err := s.Get(name); err == nil {
		return usageErrorf("the store has a model %s already: choose another name with --name, or remove that one with \"aval rm %s\"", m.Name, m.Name)
	} else if !errors.Is(err, store.ErrNotFound) {
		return err
	}
	return nil
}

// settle puts a model that was fetched into the store, and has the node find it
// there.
func (a *app) settle(ctx context.Context, s *store.Store, n asker, p node.Pulled, name string) (string, error) {
	if p.InPlace { // it was fetched before, or is this node's own
		models, _ := s.List()
		for _, m := range models {
			if paths, err := s.Paths(m); err == nil && slices.Equal(paths, p.FilePlaces) {
				return m.Name, nil
			}
		}
		return "", nil
	}
	if name == "" {
		name = p.Name
	}
	if err := free(s, name); err != nil {
		return "", err
	}
	f, err := gguf.Inspect(p.FilePlaces[0])
	if err != nil {
		return "", fmt.Errorf("%w: what was fetched is not what it is said to be: %w", errBadModel, err)
	}
	parts := f.Paths()
	if err := f.Close(); err != nil {
		return "", err
	}
	if len(parts) != len(p.FilePlaces) {
		return "", fmt.Errorf("%w: what was fetched has %d files, and the model %d: fetch it into a folder with --dir", errBadModel, len(p.FilePlaces), len(parts))
	}
	show, end := a.progress("store " + name)
	m, err := s.Import(ctx, name, p.FilePlaces[0], time.Now(), show)
	end()
	if err != nil {
		return "", err
	}
	paths, err := s.Paths(m)
	if err != nil {
		return "", err
	}
	files := make([]string, len(p.FilePlaces))
	for i, place := range p.FilePlaces {
		at := slices.IndexFunc(m.Files, func(f store.File) bool { return f.Path == filepath.Base(place) })
		if at < 0 {
			return m.Name, nil // the library keeps its copy
		}
		files[i] = paths[at]
	}
	return m.Name, n.Settle(ctx, p.Root, files)
}
