package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/content"
	"github.com/avalnetwork/aval/internal/directory"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/mesh"
	"github.com/avalnetwork/aval/internal/node"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/internal/web"
	"github.com/avalnetwork/aval/receipt"
)

// Files of the console in the node's folder.
const (
	consoleToken = "console.token"
	consoleFile  = "console.json"
)

// consolePort is the port that is tried first.
const consolePort = 4720

// consoleNode is what the console asks of a node: one of this process, or the one
// that runs.
type consoleNode interface {
	asker
	Offers(ctx context.Context, q directory.Query) ([]directory.Listing, error)
	Add(ctx context.Context, l node.Link) error
	Remove(ctx context.Context, id peer.ID) error
	ledgerNode
}

var _, _ consoleNode = (*node.Node)(nil), (*node.Remote)(nil)

// console gives the pages of internal/web what they show.
type console struct {
	app    *app // says nothing: there is no terminal
	node   consoleNode
	host   *host
	self   peer.ID
	models *elsewhere

	mu    sync.Mutex
	roots map[served]receipt.Hash // fingerprints that are known
	trips map[peer.ID]trip        // ways to peers, as they were measured last
}

// trip is how long a call to a peer took, and when it was asked.
type trip struct {
	took  time.Duration // 0: not known
	asked time.Time
}

// measureAgain is for how long a round trip is good enough for a map.
const measureAgain = 15 * time.Second

// roundTrip is what was measured last; it is measured again beside if that is long
// ago.
func (c *console) roundTrip(p mesh.PeerInfo) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.trips[p.ID]
	if time.Since(t.asked) > measureAgain {
		t.asked = time.Now()
		c.trips[p.ID] = t
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), pingTime)
			defer cancel()
			took, err := c.node.Ping(ctx, p.ID)
			if err != nil {
				took = 0
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.trips[p.ID] = trip{took, time.Now()}
		}()
	}
	if t.took == 0 {
		return p.Latency
	}
	return t.took
}

// runningConsole is the content of consoleFile.
type runningConsole struct {
	Address string `json:"address"`
	Process int    `json:"process"`
}

// serveConsole serves the console of a node until ctx ends. ready is called when it
// can be opened, with a link to do so.
func (a *app) serveConsole(ctx context.Context, n consoleNode, folder string, port int, log *slog.Logger, ready func(link string) error) error {
	quiet := &app{in: strings.NewReader(""), out: io.Discard, err: io.Discard, getenv: a.getenv}
	// With the terminal, where a key with a passphrase is asked for.
	h, err := a.newHost(&serveOptions{slots: 4, models: 1, keepAlive: 30 * time.Minute}, nil)
	if err != nil {
		return err
	}
	h.app = quiet
	defer h.close()
	c := &console{app: quiet, node: n, host: h, roots: map[served]receipt.Hash{}, trips: map[peer.ID]trip{}}
	c.self = peer.FromPrivate(h.key)
	c.models = &elsewhere{node: n}
	path := filepath.Join(folder, consoleToken)
	token, err := web.OpenToken(path)
	if err != nil {
		return err
	}
	chain, err := ledgerOf(ctx, n)
	if err != nil {
		return err
	}
	srv, err := web.New(web.Config{
		Ledger: chain, Token: token, TokenFile: path, Chat: c, Audits: c, Network: c, Models: c, Version: buildVersion().Version, Log: log,
	})
	if err != nil {
		return err
	}
	ln, err := listenConsole(ctx, port)
	if err != nil {
		srv.Close()
		return err
	}
	base := "http://" + ln.Addr().String()
	text, err := json.Marshal(runningConsole{base, os.Getpid()})
	if err == nil {
		err = store.WriteFile(store.OS{}, filepath.Join(folder, consoleFile), 0o600, func(w io.Writer) error {
			_, err := w.Write(append(text, '\n'))
			return err
		})
	}
	if err == nil {
		defer func() { _ = os.Remove(filepath.Join(folder, consoleFile)) }() // who reads it then tries the address
		err = ready(srv.Link(base))
	}
	if err != nil {
		srv.Close()
		return errors.Join(err, ln.Close())
	}
	return srv.Serve(ctx, ln)
}

// listenConsole takes the port that was asked for or, if none was, the usual one or
// else any.
func listenConsole(ctx context.Context, port int) (net.Listener, error) {
	try := func(port int) (net.Listener, error) {
		return new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(defaultHost, strconv.Itoa(port)))
	}
	if port != 0 {
		ln, err := try(port)
		if err != nil {
			err = fmt.Errorf("the console: %w (choose another --port)", err)
		}
		return ln, err
	}
	if ln, err := try(consolePort); err == nil {
		return ln, nil
	}
	return try(0)
}

// openConsole asks the console that runs on a folder for a link. ok says that there
// is one.
func openConsole(ctx context.Context, folder string) (link string, ok bool, err error) {
	text, err := readBounded(ctx, filepath.Join(folder, consoleFile), 4<<10)
	if err != nil {
		return "", false, nil // none runs
	}
	var at runningConsole
	if json.Unmarshal(text, &at) != nil {
		return "", false, nil
	}
	host, _, err := net.SplitHostPort(strings.TrimPrefix(at.Address, "http://"))
	if ip, ipErr := netip.ParseAddr(host); err != nil || ipErr != nil || !ip.IsLoopback() {
		return "", false, nil // the secret goes nowhere else
	}
	token, err := web.OpenToken(filepath.Join(folder, consoleToken))
	if err != nil {
		return "", false, err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, at.Address+"/link", nil)
	if err != nil {
		return "", false, err
	}
	r.Header.Set("Authorization", token.Bearer())
	r.Header.Set("Accept", "application/json")
	res, err := (&http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}).Do(r)
	if err != nil {
		return "", false, nil // left by a process that died
	}
	defer res.Body.Close()
	var out struct{ Link string }
	if res.StatusCode != http.StatusOK || json.NewDecoder(io.LimitReader(res.Body, 4<<10)).Decode(&out) != nil || out.Link == "" {
		return "", false, nil // another program has the port now
	}
	return out.Link, true, nil
}

// Network tells of the node and its peers.
func (c *console) Network(ctx context.Context) (web.NetworkView, error) {
	s, err := c.node.Status(ctx)
	if err != nil {
		return web.NetworkView{}, err
	}
	v := web.NetworkView{
		Self: s.ID.String(), Short: s.ID.Short(), Link: s.Link.String(), Mode: string(s.Network), Private: s.Private, Version: s.Version,
		Since: s.Since, Addresses: s.Addresses,
	}
	offers := map[peer.ID]int{}
	if list, err := c.node.Offers(ctx, directory.Query{}); err == nil {
		for _, l := range list {
			offers[l.Provider]++
		}
	}
	contact := map[peer.ID]bool{}
	for _, k := range s.Contacts {
		contact[k.Peer] = true
	}
	seen := map[peer.ID]bool{}
	c.forget(s.Peers)
	for _, p := range s.Peers {
		seen[p.ID] = true
		v.Peers = append(v.Peers, web.Peer{
			ID: p.ID.String(), Short: p.ID.Short(), Way: wayOf(p), Address: p.Address, Inbound: p.Inbound, Since: p.Since, RoundTrip: c.roundTrip(p),
			In: p.In, Out: p.Out, Agent: p.Agent, Contact: contact[p.ID], Offers: offers[p.ID],
		})
	}
	for _, k := range s.Contacts {
		if !seen[k.Peer] {
			v.Peers = append(v.Peers, web.Peer{ID: k.Peer.String(), Short: k.Peer.Short(), Way: web.Nowhere, Contact: true, Offers: offers[k.Peer]})
		}
	}
	return v, nil
}

// forget drops what was measured of peers that left.
func (c *console) forget(here []mesh.PeerInfo) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id := range c.trips {
		if !slices.ContainsFunc(here, func(p mesh.PeerInfo) bool { return p.ID == id }) {
			delete(c.trips, id)
		}
	}
}

// wayOf tells the local network from the Internet by the address.
func wayOf(p mesh.PeerInfo) web.Way {
	if p.Relayed {
		return web.Relayed
	}
	parts := strings.Split(p.Address, "/") // "", "ip4", address ...
	if len(parts) > 2 {
		if ip, err := netip.ParseAddr(parts[2]); err == nil && (ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast()) {
			return web.Local
		}
	}
	return web.Direct
}

// Add makes a peer a contact.
func (c *console) Add(ctx context.Context, text string) error {
	l, err := node.ParseLink(text)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, addWait)
	defer cancel()
	return c.node.Add(ctx, l)
}

// Remove makes a peer no contact.
func (c *console) Remove(ctx context.Context, id string) error {
	p, err := peer.Parse(id)
	if err != nil {
		return err
	}
	return c.node.Remove(ctx, p)
}

// pingTime is how long a peer has to answer.
const pingTime = 10 * time.Second

// Ping measures the way to a peer.
func (c *console) Ping(ctx context.Context, id string) (time.Duration, error) {
	p, err := peer.Parse(id)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, pingTime)
	defer cancel()
	return c.node.Ping(ctx, p)
}

// Models tells of what is here and elsewhere.
func (c *console) Models(ctx context.Context) (web.ModelsView, error) {
	var v web.ModelsView
	list, err := c.host.Models(ctx)
	if err != nil {
		return v, err
	}
	loaded := map[string]bool{}
	if in, err := c.host.Loaded(ctx); err == nil {
		for _, m := range in {
			loaded[m.Name] = true
		}
	}
	for _, m := range list {
		root := ""
		if r := c.root(ctx, m.Name); !r.IsZero() {
			root = r.String()
		}
		v.Local = append(v.Local, web.Model{
			Name: m.Name, Architecture: m.Architecture, Parameters: m.Parameters, Quantization: m.Quantization, Context: m.Context, Size: m.Size,
			Root: root, Loaded: loaded[m.Name], Builtin: isBuiltin(m.Name),
		})
	}
	offers, err := c.node.Offers(ctx, directory.Query{Sort: directory.ByTrust})
	if err != nil {
		return v, err
	}
	for _, l := range offers {
		o := web.Offer{
			Name: l.Name, Quantization: l.Quant, Root: l.Root.String(), Provider: l.Provider.String(), Short: l.Provider.Short(), Context: l.Context,
			PriceIn: l.PriceIn, PriceOut: l.PriceOut, Unit: l.Unit, Region: l.Region, Speed: l.Speed, Expires: time.Unix(l.Expires, 0),
			Observers: l.Observers, Own: l.Provider == c.self,
		}
		if !o.Own {
			o.Target = peerTarget(l.Provider, l.Name)
		}
		if l.Own != nil {
			o.Calls, o.Failures, o.Verified, o.False = l.Own.Calls, l.Own.Failures, l.Own.Verified, l.Own.False
		}
		v.Offers = append(v.Offers, o)
	}
	shares, err := c.node.Shares(ctx)
	if errors.Is(err, node.ErrNoContent) {
		err = nil
	}
	for _, s := range shares {
		v.Shares = append(v.Shares, web.Share{
			Name: s.Name, Kind: string(s.Kind), Root: s.Root.String(), Link: s.Link.String(), Size: s.Size, Public: s.Public, Offered: s.Offered, Whole: s.Complete,
		})
	}
	return v, err
}

// root is a model's fingerprint, if it was computed before.
func (c *console) root(ctx context.Context, name string) receipt.Hash {
	f, err := c.host.find(name)
	if err != nil {
		return receipt.Hash{}
	}
	as := served{name, f.path}
	c.mu.Lock()
	r, ok := c.roots[as]
	c.mu.Unlock()
	if ok {
		return r
	}
	if r = cachedRoot(ctx, fingerprint.Cache{Dir: identityCache()}, f.path); !r.IsZero() {
		c.mu.Lock()
		c.roots[as] = r
		c.mu.Unlock()
	}
	return r
}

// Share gives a model to others.
func (c *console) Share(ctx context.Context, name string, public bool) error {
	r, err := c.app.shareRequest(&shareOptions{public: public}, name)
	if err != nil {
		return err
	}
	_, err = c.node.Share(ctx, r, func(node.Progress) {})
	return err
}

// Unshare ends that.
func (c *console) Unshare(ctx context.Context, root string) error {
	r, err := content.ParseRoot(root)
	if err != nil {
		return err
	}
	return c.node.Unshare(ctx, r)
}

// Fetch gets a model that somebody shares into the store.
func (c *console) Fetch(ctx context.Context, link string, on func(done, total int64)) (string, error) {
	l, err := node.ParseContentLink(link)
	if err != nil {
		return "", err
	}
	if _, err := c.node.Inspect(ctx, l); err != nil { // which refuses what is no model
		return "", err
	}
	p, err := c.node.Pull(ctx, node.PullRequest{Link: l}, func(m node.Progress) { on(m.Done, m.Total) })
	if err != nil {
		return "", err
	}
	return c.app.settle(ctx, c.host.store, c.node, p, "")
}

// elsewhere are the models that peers let this node ask. They are asked for beside
// the pages, which wait for it a moment.
type elsewhere struct {
	node consoleNode

	mu    sync.Mutex
	list  []web.Target
	known map[string]remote.Model // by the target's ID
	asked time.Time
	done  chan struct{} // closed when the running question is answered; nil: none runs
}

const (
	askAgain  = 15 * time.Second
	askWait   = 700 * time.Millisecond // of a page
	askPeer   = 3 * time.Second
	mostPeers = 64 // that are asked
)

func peerTarget(id peer.ID, model string) string { return peerScheme + id.String() + "/" + model }

// targets gives what is known, after asking if that is long ago.
func (e *elsewhere) targets(ctx context.Context) []web.Target {
	e.mu.Lock()
	if e.done == nil && time.Since(e.asked) > askAgain {
		e.done = make(chan struct{})
		go e.ask()
	}
	done := e.done
	e.mu.Unlock()
	if done != nil {
		select {
		case <-done:
		case <-time.After(askWait):
		case <-ctx.Done():
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.list)
}

func (e *elsewhere) ask() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*askPeer)
	defer cancel()
	var mu sync.Mutex
	var list []web.Target
	known := map[string]remote.Model{}
	var wg sync.WaitGroup
	if s, err := e.node.Status(ctx); err == nil {
		for _, p := range s.Peers[:min(len(s.Peers), mostPeers)] {
			wg.Go(func() {
				limited, cancel := context.WithTimeout(ctx, askPeer)
				defer cancel()
				models, err := e.node.Models(limited, node.Link{Peer: p.ID})
				if err != nil {
					return // it has none, or none for us
				}
				mu.Lock()
				defer mu.Unlock()
				for _, m := range models {
					t := web.Target{
						ID: peerTarget(p.ID, m.Name), Name: m.Name, Peer: p.ID.String(), Short: p.ID.Short(),
						Detail: m.Architecture, Talks: m.Chat, Receipts: m.Receipts,
					}
					known[t.ID] = m
					list = append(list, t)
				}
			})
		}
	}
	wg.Wait()
	if offers, err := e.node.Offers(ctx, directory.Query{}); err == nil {
		for _, o := range offers {
			for i := range list {
				if list[i].ID == peerTarget(o.Provider, o.Name) && (o.PriceIn > 0 || o.PriceOut > 0) {
					list[i].Price = fmt.Sprintf("%d/%d %s", o.PriceIn, o.PriceOut, o.Unit)
				}
			}
		}
	}
	slices.SortFunc(list, func(a, b web.Target) int { return strings.Compare(a.Name+"\x00"+a.Peer, b.Name+"\x00"+b.Peer) })
	e.mu.Lock()
	e.list, e.known, e.asked = list, known, time.Now()
	close(e.done)
	e.done = nil
	e.mu.Unlock()
}

// model is one that a peer told of.
func (e *elsewhere) model(id string) (remote.Model, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	m, ok := e.known[id]
	return m, ok
}

// fresh draws a nonce.
func fresh() []byte {
	nonce := make([]byte, nonceBytes)
	_, _ = rand.Read(nonce) // never fails
	return nonce
}

// Verify checks a receipt that somebody handed in.
func (c *console) Verify(ctx context.Context, file []byte) (web.Result, error) {
	if !bytes.Contains(file, marks[0]) && !bytes.Contains(file, marks[1]) {
		return web.Result{}, errors.New("this file is no receipt of an answer")
	}
	v, err := (&verifyOptions{}).offlineChecks(ctx, file, receipt.Options{Now: time.Now()})
	if err != nil {
		return web.Result{}, err
	}
	out := web.Result{File: v.file, Data: file, Checks: v.checks}
	if v.file == nil || v.checks.Failed() != nil {
		return out, nil
	}
	return c.compute(ctx, out, receipt.Options{Now: time.Now()}), nil
}

// compute adds what computing an answer again gives, if this device can.
func (c *console) compute(ctx context.Context, in web.Result, opt receipt.Options) web.Result {
	v := &verification{file: in.File, checks: in.File.Check(opt)}
	if err := c.app.compute(ctx, &verifyOptions{}, opt, v); err != nil {
		in.Trouble = err.Error()
		return in
	}
	in.Checks, in.Model, in.Trouble = v.checks, v.model, ""
	if v.model == "" {
		in.Trouble = "this device does not have the model"
	}
	return in
}
