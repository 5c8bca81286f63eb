package node

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/service"
	"github.com/avalnetwork/aval/internal/light"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/wallet"
)

// How the nodes of a ledger are looked for and asked.
const (
	lightEvery = 15 * time.Second // for new headers
	lightFirst = time.Second      // after the start, until one answered
	probeTime  = 3 * time.Second
	reachTime  = 10 * time.Second
	maxProbes  = 16 // of peers at a time
	probeAgain = 10 * time.Minute
)

// lightChain is the ledger as a node sees it that asks others for it.
type lightChain struct {
	*service.Light
	node    *Node
	name    string
	genesis canon.Hash
	links   []Link // of nodes of the ledger
	wallet  *wallet.Wallet
	account ledger.Address

	sending sync.Mutex // one transaction of the account after the other

	mu     sync.Mutex
	serves map[peer.ID]bool      // peers that showed the ledger
	tried  map[peer.ID]time.Time // those that did not
	said   error                 // why the last update failed
}

var _ wallet.Ledger = (*service.Light)(nil)

// Files of what is believed, and of the evidence against the chain's validators,
// in the chain's folder.
const (
	trustFile = "trust"
	forkFile  = "fork"
)

// startLight follows the ledger without its chain.
func (n *Node) startLight(ctx context.Context, cfg *LedgerConfig) error {
	hash, err := cfg.Genesis.Hash()
	if err != nil {
		return err
	}
	c := &lightChain{
		node: n, name: cfg.Genesis.Chain, genesis: hash, links: cfg.Ask,
		account: ledger.AddressOf(n.key.Public().(ed25519.PublicKey)),
		serves:  map[peer.ID]bool{}, tried: map[peer.ID]time.Time{},
	}
	trust, err := readTrust(filepath.Join(n.folder.Path, chainFolder, trustFile))
	if err != nil {
		return err
	}
	fork, err := readFork(filepath.Join(n.folder.Path, chainFolder, forkFile))
	if err != nil {
		return err
	}
	c.Light, err = service.NewLight(service.LightConfig{Genesis: cfg.Genesis, Trust: trust, Fork: fork, Peers: c.peers, Keep: c.keep, Forked: c.forked})
	if err != nil {
		return err
	}
	if c.wallet, err = wallet.New(wallet.Single(n.key), c.Light); err != nil {
		return err
	}
	n.light = c
	n.beside.Go(func() { c.run(ctx) })
	return nil
}

func readTrust(path string) (*light.Trust, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	t, err := light.DecodeTrust(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func readFork(path string) (*service.Fork, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := service.DecodeFork(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// forked keeps the evidence of a fork: nothing of the chain is believed from then
// on, after a restart neither.
func (c *lightChain) forked(f *service.Fork) {
	c.node.logger.Error("ledger: " + f.Error())
	data, err := f.Encode()
	if err == nil {
		err = c.node.folder.WriteFile(filepath.Join(chainFolder, forkFile), data)
	}
	if err != nil {
		c.node.logger.Error("ledger: the evidence of a fork is not kept", "error", err)
	}
}

func (c *lightChain) keep(t *light.Trust) error {
	data, err := t.Encode()
	if err != nil {
		return err
	}
	return c.node.folder.WriteFile(filepath.Join(chainFolder, trustFile), data)
}

// peers are those to ask: the nodes that the owner named, then others that showed
// the ledger.
func (c *lightChain) peers() []*service.Client {
	var list []*service.Client
	has := map[peer.ID]bool{}
	add := func(id peer.ID) {
		if _, ok := c.node.Mesh.Peer(id); ok && !has[id] {
			has[id] = true
			list = append(list, c.node.ledgerClient(Link{Peer: id}))
		}
	}
	for _, l := range c.links {
		add(l.Peer)
	}
	c.mu.Lock()
	others := make([]peer.ID, 0, len(c.serves))
	for id := range c.serves {
		others = append(others, id)
	}
	c.mu.Unlock()
	slices.SortFunc(others, peer.ID.Compare)
	for _, id := range others {
		add(id)
	}
	return list
}

// reach connects with the nodes that the owner named, if nobody can be asked.
func (c *lightChain) reach(ctx context.Context) {
	if len(c.peers()) == 0 {
		c.connect(ctx)
	}
}

// connect connects with the nodes that the owner named.
func (c *lightChain) connect(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, reachTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, l := range c.links {
		wg.Go(func() { _ = c.node.reachFor(ctx, l) }) // asking says who is missing
	}
	wg.Wait()
}

// probe looks for nodes of the ledger among the peers that are connected.
func (c *lightChain) probe(ctx context.Context) {
	var list []peer.ID
	c.mu.Lock()
	for _, p := range c.node.Mesh.Peers() {
		if !c.serves[p.ID] && time.Since(c.tried[p.ID]) > probeAgain && len(list) < maxProbes {
			list = append(list, p.ID)
		}
	}
	if len(c.tried) > 64*maxProbes {
		clear(c.tried)
	}
	c.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var wg sync.WaitGroup
	for _, id := range list {
		wg.Go(func() {
			b, err := c.node.ledgerClient(Link{Peer: id}).Head(ctx, 0)
			c.mu.Lock()
			defer c.mu.Unlock()
			if err == nil && b.Header.Chain == c.name {
				c.serves[id] = true
				return
			}
			c.tried[id] = time.Now()
		})
	}
	wg.Wait()
}

// run asks for new headers now and then.
func (c *lightChain) run(ctx context.Context) {
	for ctx.Err() == nil {
		c.connect(ctx)
		c.probe(ctx)
		wait := lightEvery
		if err := c.update(ctx); err != nil {
			wait = lightFirst
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

func (c *lightChain) update(ctx context.Context) error {
	err := c.Update(ctx)
	if err != nil {
		err = explainLight(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && (c.said == nil || c.said.Error() != err.Error()) && ctx.Err() == nil {
		c.node.logger.Warn("ledger: no newer header is known", "error", err)
	}
	c.said = err
	return err
}

// last is why the last update failed, or nil.
func (c *lightChain) last() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}

// explainLight says what to do.
func explainLight(err error) error {
	if errors.Is(err, light.ErrExpired) {
		return rpc.Errorf(rpc.FailedPrecondition, "%w: start again with \"aval up --join LINK\", with a link that you got from somebody you trust", err)
	}
	return err
}

// errWhole is what is said of a node that has no state.
var errWhole = rpc.Errorf(rpc.FailedPrecondition, "this node asks others for single entries of the ledger (--light): what was asked needs the whole state, which a node has that was started without --light")

// noLedger is why the node has no chain.
func (n *Node) noLedger() error {
	if n.light != nil {
		return errWhole
	}
	return errNoLedger
}

func (c *lightChain) status(ctx context.Context) (LedgerStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	c.reach(ctx)
	err := c.update(ctx)
	t := c.Trust()
	out := LedgerStatus{Chain: c.name, Genesis: c.genesis, Light: true, Height: t.Height, Time: t.Time.Go(), Root: t.Root, Peers: c.Agreed(), Account: c.account}
	for _, v := range t.Validators {
		out.Validators = append(out.Validators, ValidatorStatus{hex.EncodeToString(v.Key[:]), v.Power})
	}
	if err == nil {
		out.Balance, err = c.wallet.Balance(ctx)
	}
	if err == nil {
		first, _ := ledger.Table("node")
		var e *Entry
		if e, _, err = c.entry(ctx, append([]byte{first}, c.node.key.Public().(ed25519.PublicKey)...)); e != nil {
			out.Node, _ = e.Value.(*ledger.Node)
		}
	}
	if err != nil {
		out.Halted = plain(explainLight(err))
	}
	return out, nil
}

// entry gets an entry, or that there is none, with its proof.
func (c *lightChain) entry(ctx context.Context, key []byte) (*Entry, *service.Proved, error) {
	c.reach(ctx)
	p, err := c.Prove(ctx, key)
	if err != nil {
		return nil, nil, explainLight(err)
	}
	if p.Value == nil {
		return nil, p, nil
	}
	e, err := entryOf(key, p.Value)
	if err != nil {
		return nil, nil, rpc.Errorf(rpc.DataLoss, "what is in the ledger cannot be read: %w", err)
	}
	return &e, p, nil
}

// entries is one entry as a list, as far as that can be asked for.
func (c *lightChain) entries(ctx context.Context, key []byte) ([]Entry, error) {
	if len(key) < 2 {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "%w; one entry can be asked for with all of its key (--prefix)", errWhole)
	}
	e, _, err := c.entry(ctx, key)
	if err != nil {
		return nil, err
	}
	if e == nil {
		return nil, rpc.Errorf(rpc.NotFound, "there is no entry with exactly the key %x; %w", key, errWhole)
	}
	return []Entry{*e}, nil
}

func (c *lightChain) proof(ctx context.Context, key []byte) (EntryProof, error) {
	e, p, err := c.entry(ctx, key)
	if err != nil {
		return EntryProof{}, err
	}
	out := EntryProof{Key: hex.EncodeToString(key), Entry: e, Value: p.Value, Root: p.Trust.Root, Height: p.Trust.Height - 1, Genesis: c.genesis}
	if out.Proof, err = p.Proof.Encode(); err != nil {
		return out, err
	}
	out.Block, err = p.Block.Encode()
	return out, err
}

// send is chain.send.
func (c *lightChain) send(ctx context.Context, kind ledger.Kind, payload any) (Sent, error) {
	c.sending.Lock()
	defer c.sending.Unlock()
	c.reach(ctx)
	tx, err := c.wallet.Draft(ctx, kind, payload)
	if err != nil {
		return Sent{}, explainLight(err)
	}
	return c.submit(ctx, tx)
}

func (c *lightChain) submit(ctx context.Context, tx []byte) (Sent, error) {
	c.reach(ctx)
	done, err := c.Submit(ctx, tx)
	if err != nil {
		return Sent{}, explainLight(err)
	}
	return sent(done), nil
}

// joinFile says how a node takes part in a chain, in the chain's folder.
const joinFile = "join.json"

// maxJoin bounds that file, in bytes.
const maxJoin = 256 << 10

// Join is how a node takes part in a chain, as its folder remembers it.
type Join struct {
	Version int      `json:"version"`          // 1
	Light   bool     `json:"light"`            // it asks others for what it needs
	Links   []Link   `json:"links,omitempty"`  // of nodes of the chain, to ask
	Places  []string `json:"places,omitempty"` // of nodes of the chain, to connect with: KEY@host:port
}

// ReadJoin reads what WriteJoin wrote; without that, how a node begins.
func ReadJoin(folder string) (Join, error) {
	path := filepath.Join(folder, chainFolder, joinFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Join{Version: 1}, nil
	}
	var j Join
	if err == nil && len(data) > maxJoin {
		err = fmt.Errorf("it has %d bytes, want at most %d", len(data), maxJoin)
	}
	if err == nil {
		err = json.Unmarshal(data, &j)
	}
	if err == nil && j.Version != 1 {
		err = fmt.Errorf("its version is %d, this program reads 1", j.Version)
	}
	if err != nil {
		return Join{}, fmt.Errorf("node: %s: %w", path, err)
	}
	return j, nil
}

// WriteJoin remembers how a node takes part in the chain of its folder. Anew says
// that its owner has just said again which chain that is: what was believed of it
// is forgotten.
func WriteJoin(f *control.Folder, j Join, anew bool) error {
	j.Version = 1
	data, err := json.MarshalIndent(j, "", "  ")
	if err != nil {
		return fmt.Errorf("node: %w", err)
	}
	if anew {
		for _, name := range []string{trustFile, forkFile} {
			if err := os.Remove(filepath.Join(f.Path, chainFolder, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return f.WriteFile(filepath.Join(chainFolder, joinFile), append(data, '\n'))
}
