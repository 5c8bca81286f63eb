package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/content/exchange"
	"github.com/avalnetwork/aval/internal/content/library"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// ContentConfig is what a node shares and how.
type ContentConfig struct {
	// Folder is the library's; empty: the node has none, and shares nothing.
	Folder string
	Quota  int64   // bytes; 0 means library.DefaultQuota
	Rate   float64 // bytes a second that others are given; 0: no bound
}

// contents is the part of a node that shares.
type contents struct {
	library *library.Library
	server  *exchange.Server
	changed chan struct{} // something is to be announced

	mu       sync.Mutex
	progress map[string]Progress // of what is under way, by the name that who asked gave it
}

// incoming is where, in the library's folder, models are on their way to the store.
const incoming = "incoming"

// ErrNoContent says that a node has no library.
var ErrNoContent = errors.New("this node runs without a library of content")

// startContent opens the library and serves it.
func (n *Node) startContent(cfg Config) (err error) {
	c := cfg.Content
	if c.Folder == "" {
		return nil
	}
	n.content.progress, n.content.changed = map[string]Progress{}, make(chan struct{}, 1)
	n.contentConfig = c
	n.content.library, err = library.Open(library.Config{Folder: c.Folder, Quota: c.Quota, Logger: n.logger})
	if errors.Is(err, library.ErrBusy) {
		return rpc.Errorf(rpc.FailedPrecondition, "another command of this node shares or fetches content at the moment: end it, or start \"aval net up\", which serves all of them")
	}
	if err != nil {
		return err
	}
	lib := n.content.library
	n.content.server = exchange.Serve(exchange.ServerConfig{
		Network: n.Mesh, Source: lib, Named: lib.Named, Rate: c.Rate, Logger: n.logger, Allow: n.allowContent,
	})
	return nil
}

func (n *Node) closeContent() error {
	if n.content.server != nil {
		_ = n.content.server.Close()
	}
	if n.content.library != nil {
		return n.content.library.Close()
	}
	return nil
}

// allowContent decides about content: what is public is for everybody, what else
// is offered for those to whom the guard lets it go. To others it is the same
// whether it is there.
func (n *Node) allowContent(_ context.Context, who peer.ID, root content.Root, tokens [][]byte) error {
	offered, public := n.content.library.Offered(root)
	if offered && public {
		return nil
	}
	if err := n.Guard.Allow(access.Request{Who: who, Action: access.Fetch, Resource: root.String(), Tokens: tokens}); err != nil {
		return err
	}
	if !offered {
		return rpc.Errorf(rpc.NotFound, "this content is not shared here")
	}
	return nil
}

// ContentLink says which content is meant and where it may be had.
type ContentLink struct {
	Link
	Content string `json:"content"` // a root, 64 hexadecimal digits, or a name at that peer
}

// IsContentLink tells whether a text looks like a link to content.
func IsContentLink(s string) bool { return strings.HasPrefix(s, linkScheme) }

// ParseContentLink reads peer://ID/ROOT?addr=ADDRESS,ADDRESS, with a name instead
// of the root if the peer is asked what it means.
func ParseContentLink(s string) (ContentLink, error) {
	bad := func(why string) (ContentLink, error) {
		return ContentLink{}, fmt.Errorf("%w and content: %.200q %s; want peer://ID/ROOT or peer://ID/NAME, as \"aval share\" prints it", ErrLink, s, why)
	}
	rest, ok := strings.CutPrefix(s, linkScheme)
	if !ok || len(s) > MaxLink {
		return bad("does not begin with peer://, or is too long")
	}
	path, query, has := strings.Cut(rest, "?")
	id, name, ok := strings.Cut(path, "/")
	if !ok || name == "" || len(name) > content.MaxName || strings.Contains(name, "/") {
		return bad("names no content")
	}
	if has {
		id += "?" + query
	}
	l, err := ParseLink(linkScheme + id)
	return ContentLink{l, name}, err
}

// String is the link to copy.
func (l ContentLink) String() string {
	id, query, has := strings.Cut(l.Link.String(), "?")
	id += "/" + l.Content
	if has {
		id += "?" + query
	}
	return id
}

// Progress is how far something is.
type Progress struct {
	Done  int64 `json:"done"` // bytes
	Total int64 `json:"total"`
	Peers int   `json:"peers"` // that serve it
}

// ShareRequest says what is to be shared.
type ShareRequest struct {
	Kind    content.Kind   `json:"kind"`
	Name    string         `json:"name"`
	Folder  string         `json:"folder,omitempty"` // all that is in it; or
	Items   []library.Item `json:"items,omitempty"`  // these files
	Licence string         `json:"licence,omitempty"`
	Origin  string         `json:"origin,omitempty"`
	Consent string         `json:"consent,omitempty"`
	Parents []content.Root `json:"parents,omitempty"`
	Public  bool           `json:"public"`
	Job     string         `json:"job,omitempty"` // under which Progress tells how far it is
}

// Shared is what came of it.
type Shared struct {
	library.Info
	Link   ContentLink `json:"link"`
	Hidden []string    `json:"hidden,omitempty"` // what was left out, for its name begins with a dot; some of it
}

// maxHidden bounds the names in Shared.
const maxHidden = 20

// Share indexes files where they are and offers them.
func (n *Node) Share(ctx context.Context, r ShareRequest, progress func(Progress)) (Shared, error) {
	var s Shared
	if n.content.library == nil {
		return s, ErrNoContent
	}
	show, end := n.content.job(r.Job, progress)
	defer end()
	items := r.Items
	if r.Folder != "" {
		var err error
		if items, s.Hidden, err = library.Walk(r.Folder); err != nil {
			return s, err
		}
		if len(items) == 0 {
			return s, rpc.Errorf(rpc.InvalidArgument, "%s has no files to share", r.Folder)
		}
	}
	s.Hidden = s.Hidden[:min(len(s.Hidden), maxHidden)]
	var err error
	s.Info, err = n.content.library.Share(ctx, library.Proposal{
		Manifest: content.Manifest{Kind: r.Kind, Name: r.Name, Licence: r.Licence, Origin: r.Origin, Consent: r.Consent, Parents: r.Parents},
		Items:    items, Key: n.key, Public: r.Public,
	}, func(done, total int64) { show(Progress{Done: done, Total: total}) })
	if err == nil {
		s.Link = n.contentLink(s.Root)
		n.content.announce()
	}
	return s, err
}

func (n *Node) contentLink(root content.Root) ContentLink {
	return ContentLink{LinkOf(n.Mesh.Self(), n.Mesh.Addresses()), root.String()}
}

// Shares lists what is here.
func (n *Node) Shares(context.Context) ([]Shared, error) {
	if n.content.library == nil {
		return nil, ErrNoContent
	}
	var list []Shared
	for _, i := range n.content.library.List() {
		list = append(list, Shared{Info: i, Link: n.contentLink(i.Root)})
	}
	return list, nil
}

// Unshare ends the offering of content.
func (n *Node) Unshare(_ context.Context, root content.Root) error {
	if n.content.library == nil {
		return ErrNoContent
	}
	return n.content.library.Stop(root)
}

// pinRequest is what Pin is asked.
type pinRequest struct {
	Root   content.Root `json:"root"`
	Pinned bool         `json:"pinned"`
}

// Pin keeps content that was fetched whatever the quota, or does so no longer.
func (n *Node) Pin(_ context.Context, root content.Root, pinned bool) error {
	if n.content.library == nil {
		return ErrNoContent
	}
	return n.content.library.Pin(root, pinned)
}

// PullRequest says what is to be fetched.
type PullRequest struct {
	Link ContentLink `json:"link"`
	// Folder is where the files go; empty: models into a folder of the library,
	// from which they are taken with Settle, others into Base under their name.
	Folder string `json:"folder,omitempty"`
	Base   string `json:"base,omitempty"`
	Job    string `json:"job,omitempty"`
}

// Pulled is what came of it.
type Pulled struct {
	library.Info
	FilePlaces []string              `json:"file_places,omitempty"` // of a model
	Fetched    int64                 `json:"fetched"`
	Peers      []exchange.PeerResult `json:"peers"`
}

// Pull fetches content. What it got is kept if it fails, and it goes on there.
func (n *Node) Pull(ctx context.Context, r PullRequest, progress func(Progress)) (Pulled, error) {
	var out Pulled
	lib := n.content.library
	if lib == nil {
		return out, ErrNoContent
	}
	show, end := n.content.job(r.Job, progress)
	defer end()
	o, err := n.openContent(ctx, r.Link, func(root content.Root, m *content.Manifest) string {
		switch {
		case r.Folder != "":
			return r.Folder
		case m.Kind == content.Model:
			return filepath.Join(n.contentConfig.Folder, incoming, root.String())
		}
		return filepath.Join(r.Base, m.Name)
	})
	if err != nil {
		return out, err
	}
	defer o.Close()
	root := o.root
	if i, err := lib.Info(root); err == nil && r.Folder != "" && !i.InPlace && i.Place != r.Folder {
		return out, rpc.Errorf(rpc.FailedPrecondition, "this content was fetched into %s before, at least in part: name that folder, or have it forgotten with \"aval share stop %s\"", i.Place, root)
	}
	res, err := o.Fetch(ctx, root, exchange.Whole, func(p exchange.Progress) { show(Progress{p.Done, p.Total, p.Peers}) })
	out.Fetched, out.Peers = res.Fetched, res.Peers
	if err != nil {
		return out, o.explain(ctx, err)
	}
	if out.Info, err = lib.Info(root); err == nil && out.Kind == content.Model {
		out.FilePlaces, err = lib.Files(root)
	}
	return out, err
}

// origin is content that may be elsewhere, opened to be fetched.
type origin struct {
	exchange.Fetcher
	*library.Download
	root      content.Root
	from      ContentLink
	unreached error // why the peer of the link is not connected
}

// openContent asks the peer of a link what its name means, if it is one, and
// prepares to fetch that into the folder that place says, empty for the library's own,
// unless it has one.
func (n *Node) openContent(ctx context.Context, l ContentLink, place func(content.Root, *content.Manifest) string) (*origin, error) {
	o := &origin{Fetcher: exchange.Fetcher{Network: n.Mesh, Tokens: n.Guard.Tokens, Logger: n.logger}, from: l}
	if l.Peer != n.Mesh.Self() {
		o.unreached = n.connect(ctx, l.Link)
	}
	var err error
	if o.root, err = content.ParseRoot(l.Content); err != nil {
		if o.root, err = o.Lookup(ctx, l.Peer, l.Content); err != nil {
			return nil, fmt.Errorf("ask %s what %q is: %w", l.Peer, l.Content, err)
		}
	}
	o.Download, err = n.content.library.Download(o.root, func(m *content.Manifest) (string, error) { return place(o.root, m), nil })
	o.Sink, o.Finder = o.Download, &finder{mesh: n.Mesh, given: l.Peer}
	return o, err
}

// explain adds to an error why the peer cannot be asked.
func (o *origin) explain(ctx context.Context, err error) error {
	if o.unreached == nil || ctx.Err() != nil {
		return err
	}
	return fmt.Errorf("%w\n%s is not connected: %s\n\"aval net doctor %s\" says why", err, o.from.Peer, plain(o.unreached), o.from.Peer)
}

// openModel opens a model that may be elsewhere; what is fetched of it goes into the
// library's own folder, within the quota.
func (n *Node) openModel(ctx context.Context, l ContentLink) (*origin, error) {
	if n.content.library == nil {
		return nil, ErrNoContent
	}
	return n.openContent(ctx, l, func(content.Root, *content.Manifest) string { return "" })
}

// Statement is what is said of content by who published it.
type Statement struct {
	Root     content.Root     `json:"root"`
	Manifest content.Manifest `json:"manifest"`
}

// Inspect gets the statement about a model that may be elsewhere, and no more.
func (n *Node) Inspect(ctx context.Context, l ContentLink) (Statement, error) {
	o, err := n.openModel(ctx, l)
	if err != nil {
		return Statement{}, err
	}
	defer o.Close()
	s := Statement{Root: o.root}
	_, err = o.Fetch(ctx, o.root, func(m *content.Manifest) ([]exchange.Range, error) {
		if m.Kind != content.Model {
			return nil, rpc.Errorf(rpc.InvalidArgument, "%s is %s, not a model: \"aval pull\" fetches it", o.root, m.Kind)
		}
		s.Manifest = *m
		return nil, nil
	}, nil)
	if err != nil {
		return Statement{}, o.explain(ctx, err)
	}
	return s, nil
}

// MaxRead bounds what ReadContent reads at once.
const MaxRead = 4 << 20

// ReadRequest says which bytes of a model are to be read.
type ReadRequest struct {
	Link   ContentLink `json:"link"`
	Path   string      `json:"path"` // of the file
	Offset int64       `json:"offset"`
	Length int         `json:"length"` // at most MaxRead
}

// ReadContent reads a part of a model that may be elsewhere. It fetches the chunks
// that this part lies in, as far as they are not here, and checks them; they are
// kept, so that a pull does not fetch them again. Less comes only at the end of the
// file.
func (n *Node) ReadContent(ctx context.Context, r ReadRequest) ([]byte, error) {
	if r.Length < 0 || r.Length > MaxRead {
		return nil, rpc.Errorf(rpc.InvalidArgument, "%d bytes, want at most %d at once", r.Length, MaxRead)
	}
	o, err := n.openModel(ctx, r.Link)
	if err != nil {
		return nil, err
	}
	defer o.Close()
	f, err := o.OpenReader(ctx, o.root, r.Path)
	if err != nil {
		return nil, o.explain(ctx, err)
	}
	data := make([]byte, r.Length)
	k, err := f.ReadAt(data, r.Offset)
	if err != nil && err != io.EOF {
		return nil, o.explain(ctx, err)
	}
	return data[:k], nil
}

// settleRequest is what Settle is asked.
type settleRequest struct {
	Root  content.Root `json:"root"`
	Files []string     `json:"files"`
}

// Settle says that a model that was fetched is in the store now, in these files, in
// their order. What is left of it in the library's folder is removed.
func (n *Node) Settle(_ context.Context, root content.Root, files []string) error {
	if n.content.library == nil {
		return ErrNoContent
	}
	if err := n.content.library.Moved(root, files); err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(n.contentConfig.Folder, incoming, root.String()))
}

// finder knows one peer and, from the second time on, asks the table for others.
type finder struct {
	mesh  *mesh.Node
	given peer.ID
	again atomic.Bool
}

// Find gives the peer that was given first.
func (f *finder) Find(ctx context.Context, root content.Root) ([]peer.ID, error) {
	list := []peer.ID{f.given}
	if !f.again.Swap(true) || f.mesh.Mode() != doctor.Open {
		return list, nil
	}
	ctx, cancel := context.WithTimeout(ctx, findTime)
	defer cancel()
	for id := range f.mesh.FindProviders(ctx, root, exchange.MaxPeers) {
		if !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list, nil
}

// findTime is how long the table is asked.
const findTime = 5 * time.Second

// How often the table is told what is public; it forgets after 48 hours.
const (
	announceEvery = 12 * time.Hour
	announceTime  = time.Minute
	announceFirst = 30 * time.Second // until there are peers
)

func (c *contents) announce() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// announceContent tells the table what everybody may have. What is for friends
// alone is told to nobody.
func (n *Node) announceContent(ctx context.Context) {
	if n.content.library == nil || n.Mesh.Mode() != doctor.Open { // there is no table
		return
	}
	next := announceFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.content.changed:
		case <-time.After(next):
		}
		next = announceEvery
		for _, i := range n.content.library.List() {
			if !i.Offered || !i.Public || len(i.Changed) > 0 {
				continue
			}
			limited, cancel := context.WithTimeout(ctx, announceTime)
			if err := n.Mesh.Provide(limited, i.Root); err != nil && ctx.Err() == nil {
				n.logger.Debug("node: public content is not announced", "root", i.Root, "error", err)
				next = 10 * announceFirst
			}
			cancel()
		}
	}
}

// maxJobs bounds what Progress knows of.
const maxJobs = 64

// job lets Progress tell of something under a name.
func (c *contents) job(name string, progress func(Progress)) (show func(Progress), end func()) {
	show = func(m Progress) {
		if progress != nil {
			progress(m)
		}
		if name == "" {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if _, ok := c.progress[name]; ok || len(c.progress) < maxJobs {
			c.progress[name] = m
		}
	}
	return show, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.progress, name)
	}
}

// Progress tells how far a Share or Pull is that was given a job's name.
func (n *Node) Progress(_ context.Context, job string) (Progress, error) {
	n.content.mu.Lock()
	defer n.content.mu.Unlock()
	return n.content.progress[job], nil
}

// contentMethods are what commands may ask about content.
func (n *Node) contentMethods() map[string]control.Method {
	return map[string]control.Method{
		"share": method(func(ctx context.Context, in ShareRequest) (Shared, error) { return n.Share(ctx, in, nil) }),
		"shares": method(func(ctx context.Context, _ struct{}) ([]Shared, error) {
			return n.Shares(ctx)
		}),
		"unshare":  method(func(ctx context.Context, in content.Root) (struct{}, error) { return struct{}{}, n.Unshare(ctx, in) }),
		"pull":     method(func(ctx context.Context, in PullRequest) (Pulled, error) { return n.Pull(ctx, in, nil) }),
		"progress": method(n.Progress),
		"inspect":  method(n.Inspect),
		"read":     method(n.ReadContent),
		"pin": method(func(ctx context.Context, in pinRequest) (struct{}, error) {
			return struct{}{}, n.Pin(ctx, in.Root, in.Pinned)
		}),
		"settle": method(func(ctx context.Context, in settleRequest) (struct{}, error) {
			return struct{}{}, n.Settle(ctx, in.Root, in.Files)
		}),
	}
}
