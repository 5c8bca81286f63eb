package consensus

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cstypes "github.com/cometbft/cometbft/consensus/types"
	"github.com/cometbft/cometbft/mempool"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/store"
)

// Defaults of a [Config].
const (
	DefaultMaxBlock      = 512 << 10
	DefaultSnapshotEvery = 1000
	DefaultKeepBlocks    = 10_000
	DefaultTick          = time.Second
)

// Config is how a node takes part. Dir, Genesis and Key are needed; with nothing
// else and a genesis whose one validator is Key, the chain runs in this process
// alone and opens no socket.
type Config struct {
	Dir     string // of the chain's data, for one process at a time; made if it is not there
	Genesis *ledger.Genesis
	Key     ed25519.PrivateKey // of this node: it signs blocks, if it is a validator's, and connections
	Follow  bool               // never sign blocks

	Listen string // host:port for other nodes; "": none may connect
	Peers  []Peer // to stay connected with
	// Sync lets a node without data begin with a snapshot of its peers, instead
	// of all blocks.
	Sync *Sync

	Beacon *Beacon // nil: none; the same on all nodes of a chain
	Logger *slog.Logger

	MaxBlock      int           // bytes; the same on all nodes of a chain; 0: DefaultMaxBlock
	SnapshotEvery uint64        // blocks; 0: DefaultSnapshotEvery
	KeepBlocks    uint64        // for peers that are behind; 0: DefaultKeepBlocks
	Tick          time.Duration // between blocks that only a waiting game needs; 0: DefaultTick

	FS  store.FS         // for snapshots and what was signed; nil: the system's
	Now func() time.Time // nil: time.Now
}

// Peer is another node.
type Peer struct {
	Key     ed25519.PublicKey
	Address string // host:port
}

// ErrClosed is the error of what is asked of a closed node.
var ErrClosed = errors.New("consensus: the node is closed")

// ErrFull is the error of a transaction that comes when too many wait.
var ErrFull = errors.New("consensus: too many transactions wait for a block; try again later")

// ErrCatchingUp is the error of a transaction that comes before the node has all
// blocks.
var ErrCatchingUp = errors.New("consensus: the node does not have all blocks yet; try again later")

// Node is a running node of a chain.
type Node struct {
	cfg    Config
	app    *app
	snaps  *snapshots
	feed   *feed
	engine *engine
	unlock func()
	log    *slog.Logger

	stop   context.CancelFunc
	group  sync.WaitGroup
	once   sync.Once
	closed error

	mu       sync.Mutex
	failure  string // why the chain cannot go on here
	sick     error  // what keeps it from signing for now
	progress progress
	round    *cstypes.RoundState
}

func (c *Config) defaults() error {
	switch {
	case c.Dir == "" || c.Genesis == nil || len(c.Key) != ed25519.PrivateKeySize:
		return errors.New("consensus: a node needs a folder, a genesis and a key")
	case len(c.Genesis.Chain) > maxChainName:
		return fmt.Errorf("consensus: the chain's name has %d bytes, want at most %d", len(c.Genesis.Chain), maxChainName)
	case c.MaxBlock != 0 && (c.MaxBlock < 64<<10 || c.MaxBlock > 16<<20):
		return fmt.Errorf("consensus: blocks of %d bytes, want 64 KiB to 16 MiB", c.MaxBlock)
	}
	if c.Listen != "" {
		if _, _, err := net.SplitHostPort(c.Listen); err != nil {
			return fmt.Errorf("consensus: the address to listen on: %w", err)
		}
	}
	for _, p := range c.Peers {
		if len(p.Key) != ed25519.PublicKeySize {
			return fmt.Errorf("consensus: the peer at %s has a key of %d bytes", p.Address, len(p.Key))
		}
		if _, _, err := net.SplitHostPort(p.Address); err != nil {
			return fmt.Errorf("consensus: the address of a peer: %w", err)
		}
	}
	orElse(&c.MaxBlock, DefaultMaxBlock)
	orElse(&c.SnapshotEvery, DefaultSnapshotEvery)
	orElse(&c.KeepBlocks, DefaultKeepBlocks)
	orElse(&c.Tick, DefaultTick)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.FS == nil {
		c.FS = store.OS{}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return nil
}

func orElse[T comparable](v *T, other T) {
	var zero T
	if *v == zero {
		*v = other
	}
}

// Start runs a node until Close. The context bounds the start alone, in which
// the blocks after the newest snapshot are applied again.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.defaults(); err != nil {
		return nil, err
	}
	snapDir := filepath.Join(cfg.Dir, "snapshots")
	if err := os.MkdirAll(snapDir, 0o700); err != nil {
		return nil, fmt.Errorf("consensus: %w", err)
	}
	unlock, err := store.Lock(filepath.Join(cfg.Dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("consensus: the folder %s: %w", cfg.Dir, err)
	}
	n := &Node{cfg: cfg, feed: newFeed(), unlock: unlock, log: cfg.Logger}
	n.snaps = &snapshots{fs: cfg.FS, dir: snapDir, every: cfg.SnapshotEvery, log: cfg.Logger}
	n.app = &app{
		chain: cfg.Genesis.Chain, beacon: cfg.Beacon, maxBlock: int64(cfg.MaxBlock), keep: cfg.KeepBlocks,
		now: cfg.Now, log: cfg.Logger, snaps: n.snaps, feed: n.feed, turn: map[sender]uint64{},
	}
	if err := n.start(ctx); err != nil {
		n.stopAll()
		unlock()
		return nil, err
	}
	return n, nil
}

func (n *Node) start(ctx context.Context) error {
	fresh, err := ledger.New(n.cfg.Genesis)
	if err != nil {
		return err
	}
	n.engine = &engine{cfg: &n.cfg, log: &logger{to: n.log, failed: n.fail}, sick: n.setSick}
	if err := n.engine.open(fresh); err != nil {
		return err
	}
	n.engine.snaps = n.snaps
	if n.engine.empty() && n.cfg.Sync != nil && len(n.cfg.Peers) > 0 {
		if err := n.engine.fetchSnapshot(ctx); err != nil {
			return err
		}
	}
	m, err := n.snaps.load(n.cfg.Genesis.Chain, uint64(n.engine.top()))
	if err != nil {
		return err
	}
	if m == nil {
		m = fresh
	}
	n.app.m = m
	n.app.keepState()
	run, stop := context.WithCancel(context.Background())
	n.stop = stop
	if err := n.engine.start(ctx, n.app); err != nil {
		return err
	}
	n.look()
	n.group.Go(func() { n.watch(run) })
	n.group.Go(func() { n.observe(run) })
	n.group.Go(func() { n.tick(run) })
	return nil
}

// watch notices when consensus ends before the node does.
func (n *Node) watch(ctx context.Context) {
	ended := make(chan struct{})
	go func() {
		n.engine.state.Wait()
		close(ended)
	}()
	select {
	case <-ended:
		n.fail("consensus has stopped")
	case <-ctx.Done():
	}
}

// fail notes why the chain cannot go on in this process.
func (n *Node) fail(reason string) {
	n.mu.Lock()
	if n.failure == "" {
		n.failure = reason
	}
	reason = n.failure
	n.mu.Unlock()
	n.feed.end(fmt.Errorf("consensus: the chain cannot go on in this process: %s; look for what it needs, such as space on the disk, and restart", reason))
}

func (n *Node) setSick(err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if (err == nil) != (n.sick == nil) {
		n.log.Warn("consensus: this validator cannot sign, or can again", "err", err)
	}
	n.sick = err
}

// tick proposes the transaction that makes a block when a game waits for one and
// nothing else comes.
func (n *Node) tick(ctx context.Context) {
	t := time.NewTicker(n.cfg.Tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		n.app.mu.Lock()
		tx := n.app.m.FreeTick()
		n.app.mu.Unlock()
		if tx != nil && n.engine.pool.Size() == 0 {
			_ = n.engine.pool.CheckTx(tx, nil, mempool.TxInfo{}) // of a block that came meanwhile, or that it waits for already
		}
	}
}

// Close stops the node and writes a snapshot, so that the next start is quick.
func (n *Node) Close() error {
	n.once.Do(func() {
		n.stop()
		n.feed.end(ErrClosed)
		n.stopAll()
		n.group.Wait()
		n.app.mu.Lock()
		defer n.app.mu.Unlock()
		if m := n.app.m; m.Height() > n.snaps.latest() {
			n.closed = n.snaps.write(m)
		}
		n.unlock()
	})
	return n.closed
}

func (n *Node) stopAll() {
	if n.stop != nil {
		n.stop()
	}
	if n.engine != nil {
		n.engine.close()
	}
	n.snaps.group.Wait()
}

// Submit sends a transaction and waits until it is in a block. A [*Rejected]
// error says that it cannot get into one; a result with a code other than
// [ledger.CodeOK] that it did, and failed at its sender's cost.
func (n *Node) Submit(ctx context.Context, tx []byte) (Committed, error) {
	if err := n.caughtUp(ctx); err != nil {
		return Committed{}, err
	}
	done, cancel := n.feed.expect(ledger.TxID(tx))
	defer cancel()
	for end := time.Now().Add(turnTime); ; {
		err := n.Send(tx)
		if err == nil {
			return wait(ctx, done)
		}
		if !n.early(tx, err) || time.Now().After(end) {
			return Committed{}, err
		}
		select { // what comes before it may be on its way
		case <-time.After(turnTime / 20):
		case <-ctx.Done():
			return Committed{}, ctx.Err()
		}
	}
}

// turnTime is how long Submit waits for the turn of a transaction.
const turnTime = 2 * time.Second

// early says that a transaction was refused since its turn has not come.
func (n *Node) early(tx []byte, err error) bool {
	var r *Rejected
	if !errors.As(err, &r) || r.Result.Code != ledger.CodeNonce {
		return false
	}
	t, body, err := ledger.DecodeTx(tx)
	if err != nil {
		return false
	}
	var device []byte
	if t.Policy.Address() != body.Account {
		device = t.Policy.Keys[0]
	}
	n.app.mu.Lock()
	defer n.app.mu.Unlock()
	return body.Nonce > n.app.m.Nonce(body.Account, device)
}

// caughtUp waits until the node has all blocks, for it would refuse what builds
// on those that it lacks.
func (n *Node) caughtUp(ctx context.Context) error {
	for n.catchingUp() && n.feed.err() == nil {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrCatchingUp, ctx.Err())
		}
	}
	return nil
}

func (n *Node) catchingUp() bool { return n.engine.consensus != nil && n.engine.consensus.WaitSync() }

// Send passes a transaction on to those who make blocks, and does not wait.
func (n *Node) Send(tx []byte) error {
	if err := n.feed.err(); err != nil {
		return err
	}
	if n.catchingUp() {
		return ErrCatchingUp
	}
	var res *abci.ResponseCheckTx
	err := n.engine.pool.CheckTx(tx, func(r *abci.ResponseCheckTx) { res = r }, mempool.TxInfo{})
	var full mempool.ErrMempoolIsFull
	var large mempool.ErrTxTooLarge
	switch {
	case errors.Is(err, mempool.ErrTxInCache):
		return nil // it waits, or is in a block
	case errors.As(err, &full) || errors.Is(err, mempool.ErrRecheckFull):
		return ErrFull
	case errors.As(err, &large):
		return &Rejected{ledger.Result{ID: ledger.TxID(tx), Code: ledger.CodeTooLarge, Detail: err.Error()}}
	case err != nil:
		return fmt.Errorf("consensus: %w", err)
	case res == nil:
		return errors.New("consensus: internal error: a transaction was not checked")
	case res.Code != uint32(ledger.CodeOK):
		return &Rejected{ledger.Result{ID: ledger.TxID(tx), Code: ledger.Code(res.Code), Detail: res.Log}}
	}
	return nil
}

// Wait waits until a transaction is in a block: one of the last ones, or one to
// come.
func (n *Node) Wait(ctx context.Context, id canon.Hash) (Committed, error) {
	done, cancel := n.feed.expect(id)
	defer cancel()
	return wait(ctx, done)
}

func wait(ctx context.Context, done <-chan outcome) (Committed, error) {
	select {
	case o := <-done:
		return o.done, o.err
	case <-ctx.Done():
		return Committed{}, ctx.Err()
	}
}

// Blocks are the blocks above a height, as they are committed. Of past ones only
// some are there, and who reads slowly misses some: then the height jumps.
func (n *Node) Blocks(ctx context.Context, after uint64) iter.Seq2[*Block, error] {
	return n.feed.blocks(ctx, after)
}

// State is the state after the last block, with its height.
func (n *Node) State() (tree.Tree, uint64) {
	n.app.mu.Lock()
	defer n.app.mu.Unlock()
	return n.app.m.State(), n.app.m.Height()
}

// View calls f with the machine after the last block, which f must not keep or
// change. No block happens meanwhile.
func (n *Node) View(f func(m *ledger.Machine)) {
	n.app.mu.Lock()
	defer n.app.mu.Unlock()
	f(n.app.m)
}
