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
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/issuer"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/mesh/doctor"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
)

// netOptions are the flags of what joins the network.
type netOptions struct {
	network           string
	listen, bootstrap []string
	relays, friends   []string
	serveRelay, debug bool
	key               string // file of a private network's key
}

func (o *netOptions) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.network, "network", "open", "how much network: open, lan (the local network only) or alone (none)")
	f.StringArrayVar(&o.listen, "listen", nil, fmt.Sprintf("address to listen on, such as /ip4/0.0.0.0/tcp/4710; again for more (default port %d, all transports)", mesh.DefaultPort))
	f.StringArrayVar(&o.bootstrap, "bootstrap", nil, "address of a node to begin with; again for more")
	f.StringArrayVar(&o.relays, "relay", nil, "address of a relay to be reachable through; again for more")
	f.StringVar(&o.key, "private", "", "file of a private network's key (see \"aval net new-private\")")
	f.BoolVar(&o.debug, "debug", false, "tell everything that happens")
}

// start joins the network.
func (a *app) start(ctx context.Context, o *netOptions) (*node.Node, error) {
	key, err := a.nodeKey()
	if err != nil {
		return nil, err
	}
	level := slog.LevelWarn
	if o.debug {
		level = slog.LevelDebug
	}
	cfg := node.Config{Version: buildVersion().Version, Mesh: mesh.Config{
		Key: key, Mode: doctor.Mode(o.network), Listen: o.listen, Bootstrap: o.bootstrap, Relays: o.relays, ServeRelay: o.serveRelay,
		Logger: slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level})),
	}}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		if a.getenv(name) != "" {
			cfg.Mesh.Proxy = name // its address may hold a password
			break
		}
	}
	switch cfg.Mesh.Mode {
	case doctor.Open, doctor.LAN, doctor.Alone:
	default:
		return nil, usageErrorf("--network %s: want open, lan or alone", o.network)
	}
	for _, s := range o.friends {
		id, err := peer.Parse(s)
		if err != nil {
			return nil, usageErrorf("--friend: %w", err)
		}
		cfg.Friends = append(cfg.Friends, id)
	}
	if o.key != "" {
		if cfg.Mesh.PrivateNetwork, err = readPrivate(o.key); err != nil {
			return nil, err
		}
	}
	return node.New(ctx, cfg)
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

// reach finds the peer that an argument names: an address with its ID, or an ID
// alone, which the network must know.
func reach(ctx context.Context, n *node.Node, arg string) (peer.ID, error) {
	if strings.HasPrefix(arg, "/") {
		return n.Mesh.Connect(ctx, arg)
	}
	id, err := peer.Parse(strings.TrimPrefix(arg, "peer://"))
	if err != nil {
		return id, usageErrorf("%w; an address such as /ip4/192.0.2.1/tcp/4710/p2p/12D3Koo... will do, too", err)
	}
	if id == n.Mesh.Self() {
		return id, nil
	}
	return id, waitFor(ctx, func() error {
		_, err := n.Mesh.Find(ctx, id)
		return err
	})
}

// waitFor tries until it works or the time is over, and returns the last error.
func waitFor(ctx context.Context, try func() error) error {
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(500 * time.Millisecond):
		}
	}
}
