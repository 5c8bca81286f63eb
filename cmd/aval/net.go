package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
)

// netOptions are the flags of what joins the network.
type netOptions struct {
	network           string
	listen, bootstrap []string
	relays, friends   []string
	serve             []string // models
	offer             bool
	price             string // "IN/OUT UNIT"
	region            string
	serveRelay, debug bool
	quiet             bool   // nobody is looked for by multicast
	key               string // file of a private network's key
	content           bool   // the node of this command shares or fetches
	receipts          node.ReceiptsConfig
	library           string // folder of the library, if the node has one
	upload            float64
	quota             float64 // gigabytes
	ledger            *node.LedgerConfig
}

// startFlags are the flags that say how a node starts.
var startFlags = []string{"network", "listen", "bootstrap", "relay", "private", "debug", "upload", "quota"}

func (o *netOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.network, "network", "open", "how much network: open, lan (the local network only) or alone (none)")
	f.StringArrayVar(&o.listen, "listen", nil, fmt.Sprintf("address to listen on, such as /ip4/0.0.0.0/tcp/4710; again for more (default port %d, all transports)", mesh.DefaultPort))
	f.StringArrayVar(&o.bootstrap, "bootstrap", nil, "link or address of a node to begin with; again for more")
	f.StringArrayVar(&o.relays, "relay", nil, "link or address of a relay to be reachable through; again for more")
	f.StringVar(&o.key, "private", "", "file of a private network's key (see \"aval net new-private\")")
	f.BoolVar(&o.debug, "debug", false, "tell everything that happens")
}

// hiddenFlags are flags for commands whose help is about other things: "aval net up"
// explains them.
func (o *netOptions) hiddenFlags(c *cobra.Command) {
	o.flags(c)
	for _, name := range startFlags {
		_ = c.Flags().MarkHidden(name)
	}
}

// sharingFlags are the flags of what gives content to others for long.
func (o *netOptions) sharingFlags(c *cobra.Command) {
	c.Flags().Float64Var(&o.quota, "quota", 0, "gigabytes of what was fetched that are kept in the node's own folder (default 34)")
	c.Flags().Float64Var(&o.upload, "upload", 0, "megabytes a second that others get of what is shared, at most (default no bound)")
}

// receiptFlags are the flags of what gives receipts to others.
func (o *netOptions) receiptFlags(c *cobra.Command) {
	c.Flags().DurationVar(&o.receipts.Keep, "keep-receipts", 30*24*time.Hour, "how long receipts of answers are kept, with what was asked and answered, for those who audit (with --serve; see \"aval log\")")
	c.Flags().BoolVar(&o.receipts.Own, "log-own", false, "log answers to this device itself, too (with --serve)")
}

// asker is what commands ask of a node: one that this process starts, or the one
// that runs.
type asker interface {
	Status(ctx context.Context) (node.Status, error)
	Reach(ctx context.Context, l node.Link, wait time.Duration) (node.Reached, error)
	Ping(ctx context.Context, id peer.ID) (time.Duration, error)
	Measure(ctx context.Context, id peer.ID, which int, long time.Duration) (node.Measurement, error)
	Diagnose(ctx context.Context, l node.Link) (node.Diagnosis, error)
	sharer
	peerAsker
	logger
}

var _, _ asker = (*node.Node)(nil), (*node.Remote)(nil)

// nodeFolder is the folder of the node: beside its key, since two processes may
// not be the same node.
func (a *app) nodeFolder() (string, error) {
	path, err := a.keyPath()
	if err != nil {
		return "", err
	}
	if short, ok := strings.CutSuffix(path, ".key"); ok && filepath.Base(short) != "." {
		return short, nil
	}
	return path + ".node", nil
}

// join gives the node that runs on this machine, or starts one for this command.
// running tells which.
func (a *app) join(ctx context.Context, c *cobra.Command, o *netOptions) (n asker, running bool, err error) {
	r, folder, err := a.runningNode(ctx)
	if err == nil {
		if name := o.changed(c); name != "" {
			_ = r.Close()
			return nil, true, usageErrorf("this node runs already, in process %d, with flags of its own: leave out --%s, or end it first", r.Process(), name)
		}
		return r, true, nil
	}
	if !errors.Is(err, control.ErrNotRunning) {
		return nil, false, err
	}
	contacts, err := node.ReadContacts(folder)
	if err != nil {
		return nil, false, err
	}
	granted, err := node.ReadAccess(folder)
	if err != nil {
		return nil, false, err
	}
	if o.content {
		o.library = libraryFolder(folder)
	}
	started, err := a.start(ctx, o, nil, contacts, granted)
	if err != nil {
		return nil, false, err
	}
	return started, false, nil
}

// changed names a flag that the person gave and that says how a node starts.
func (o *netOptions) changed(c *cobra.Command) string {
	for _, name := range startFlags {
		if f := c.Flags().Lookup(name); f != nil && f.Changed {
			return name
		}
	}
	return ""
}

// start joins the network, with the node's folder or, for one command, without.
func (a *app) start(ctx context.Context, o *netOptions, folder *control.Folder, contacts []node.Contact, granted access.Book) (*node.Node, error) {
	cfg, err := a.nodeConfig(o)
	var h *peerHost
	if err == nil && len(o.serve) > 0 {
		if h, err = a.servePeers(o.serve, &serveOptions{slots: 4, models: len(o.serve), keepAlive: 30 * time.Minute}); err == nil {
			a.closers = append(a.closers, h.close)
			cfg.Models = h
			cfg.Receipts = o.receipts
			if o.offer || o.ledger != nil {
				h.identify()
			}
		}
	}
	if err != nil {
		if folder != nil {
			_ = folder.Close()
		}
		return nil, err
	}
	if o.ledger != nil {
		o.ledger.Models = &reruns{app: a, host: h}
	}
	cfg.Folder, cfg.Contacts, cfg.Access, cfg.Ledger = folder, contacts, granted, o.ledger
	return node.New(ctx, cfg)
}

// offered reads the flags that say how the models are offered; nil if they are not.
func (o *netOptions) offered() (*node.Offer, error) {
	switch {
	case !o.offer && (o.price != "" || o.region != ""):
		return nil, usageErrorf("--price and --region tell of an offer: add --offer")
	case !o.offer:
		return nil, nil
	case len(o.serve) == 0:
		return nil, usageErrorf("--offer tells what is served: add --serve MODEL")
	}
	offer := &node.Offer{Region: o.region}
	if o.price == "" {
		return offer, nil
	}
	if n, err := fmt.Sscanf(o.price, "%d/%d %s", &offer.PriceIn, &offer.PriceOut, &offer.Unit); err != nil || n != 3 {
		return nil, usageErrorf("--price %q: want IN/OUT UNIT, for 1,000 tokens read and written, such as '1/4 credits'", clip(o.price))
	}
	return offer, nil
}

func (a *app) nodeConfig(o *netOptions) (node.Config, error) {
	var cfg node.Config
	switch mode := doctor.Mode(o.network); mode {
	case doctor.Open, doctor.LAN, doctor.Alone:
	default:
		return cfg, usageErrorf("--network %s: want open, lan or alone", o.network)
	}
	if !(o.upload >= 0 && o.quota >= 0 && o.quota < 1e6) {
		return cfg, usageErrorf("--upload %g --quota %g: want 0 or more, and a quota below a million gigabytes", o.upload, o.quota)
	}
	if o.receipts.Keep < 0 {
		return cfg, usageErrorf("--keep-receipts %v: want 0 or more", o.receipts.Keep)
	}
	cfg.Content = node.ContentConfig{Folder: o.library, Rate: o.upload * 1e6, Quota: int64(o.quota * 1e9)}
	var err error
	if cfg.Offer, err = o.offered(); err != nil {
		return cfg, err
	}
	for _, s := range o.friends {
		id, err := peer.Parse(s)
		if err != nil {
			return cfg, usageErrorf("--friend: %w", err)
		}
		cfg.Friends = append(cfg.Friends, id)
	}
	key, err := a.nodeKey()
	if err != nil {
		return cfg, err
	}
	level := slog.LevelWarn
	if o.debug {
		level = slog.LevelDebug
	}
	cfg.Version = buildVersion().Version
	cfg.Mesh = mesh.Config{
		Key: key, Mode: doctor.Mode(o.network), Listen: o.listen, ServeRelay: o.serveRelay, Bare: o.quiet,
		Logger: slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level})),
	}
	for _, list := range []struct {
		name string
		from []string
		to   *[]string
	}{{"bootstrap", o.bootstrap, &cfg.Mesh.Bootstrap}, {"relay", o.relays, &cfg.Mesh.Relays}} {
		for _, s := range list.from {
			l, err := node.ParseLink(s)
			if err == nil && len(l.Addresses) == 0 {
				err = errors.New("the ID alone does not say where the node is")
			}
			if err != nil {
				return cfg, usageErrorf("--%s: %w", list.name, err)
			}
			*list.to = append(*list.to, l.Addresses...)
		}
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		if a.getenv(name) != "" {
			cfg.Mesh.Proxy = name // its address may hold a password
			break
		}
	}
	if o.key != "" {
		cfg.Mesh.PrivateNetwork, err = readPrivate(o.key)
	}
	return cfg, err
}

// privateHeader begins the file of a private network's key.
const privateHeader = "aval-private-network-1 "

// newPrivate makes the key of a private network.
func (a *app) newPrivate(path string) error {
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	err := issuer.CreatePrivate(path, privateHeader+hex.EncodeToString(key)+"\n")
	if errors.Is(err, fs.ErrExist) {
		return usageErrorf("%s exists already, and a private key is never replaced", path)
	}
	if err == nil {
		a.note("give %s to every node of the private network, by a way that nobody else can read", path)
	}
	return err
}

// readPrivate reads the key of a private network; errors do not show it.
func readPrivate(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<10))
	if err != nil {
		return nil, err
	}
	digits, ok := strings.CutPrefix(strings.TrimSpace(string(text)), privateHeader)
	key, err := hex.DecodeString(digits)
	if !ok || err != nil || len(key) != 32 {
		return nil, fmt.Errorf("%s is not the key of a private network: make one with \"aval net new-private FILE\"", path)
	}
	return key, nil
}

// link reads the argument that names a peer.
func link(arg string) (node.Link, error) {
	l, err := node.ParseLink(arg)
	if err != nil {
		return l, usageErrorf("%w; an address such as /ip4/192.0.2.1/tcp/4710/p2p/12D3Koo... will do, too", err)
	}
	return l, nil
}
