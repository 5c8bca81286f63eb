// Package keeper does in time what the ledger expects of a node: it posts the
// receipts that the node gave by the batch, shows them to the auditors that the
// ledger drew, audits others when it is drawn itself, and plays disputes, on
// either side, from the state of the ledger alone. [New] makes a [Keeper] from a
// [Config]; [Keeper.Run] works until its context ends.
//
// What has to survive a crash is in its folder: receipts that it disputes, and
// what it committed itself to. All else follows from the ledger, so a node that
// comes back goes on where it was. It computes nothing itself: [Models] does.
package keeper

import (
	"context"
	"crypto/ed25519"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/receipt"
)

// Chain is the ledger as a node has it.
type Chain interface {
	// State is the state after the last block, with its height.
	State() (tree.Tree, uint64)
	// Send signs and sends a transaction of the node's account, and waits until it
	// is in a block. The error says why it did nothing.
	Send(ctx context.Context, kind ledger.Kind, payload any) error
	// Account is the node's account, Name the chain's.
	Account() ledger.Address
	Name() string
	// Ready tells whether State is what the network has, and not one of long ago that
	// the node is catching up from.
	Ready() bool
	// Changed is closed with the next block.
	Changed() <-chan struct{}
	// Answers are the answers to demands that came into blocks, as far as the node
	// still has them.
	Answers() []*ledger.Answer
}

// Log is the node's log of receipts: an *archive.Log.
type Log interface {
	Head() (uint64, canon.Hash)
	Root(size uint64) (canon.Hash, error)
	Consistency(oldSize, newSize uint64) ([]canon.Hash, error)
	Inclusion(size, index uint64) ([]canon.Hash, error)
	File(index uint64) (receiptlog.Entry, error)
	Find(id canon.Hash) (uint64, error)
	// Agrees is an error if the log is not one that had this root at this size.
	Agrees(size uint64, root canon.Hash) error
}

// Peers asks other nodes for receipts of their logs.
type Peers interface {
	// Receipt gives the receipt at an index of a node's log of a size and root, with
	// all that its auditors see, and the proof of inclusion. It checks the proof, and
	// that the receipt is the one.
	Receipt(ctx context.Context, node ed25519.PublicKey, size uint64, root canon.Hash, index uint64) (*receipt.File, []canon.Hash, error)
}

// ErrNoModel is the error of [Models] for a model that the device does not have.
var ErrNoModel = errors.New("this device does not have the model")

// Models computes runs again.
type Models interface {
	// Prove computes the run of a receipt as the node gave it.
	Prove(ctx context.Context, f *receipt.File) (Source, error)
	// Check computes the run of a receipt with a model whose fingerprint it
	// computes from the file. If no run can be what the receipt says, there is only
	// a proof of that.
	Check(ctx context.Context, f *receipt.File) (w Witness, proof []byte, err error)
}

// Source is what a prover knows.
type Source interface {
	dispute.Source
	Close()
}

// Witness is what a challenger knows.
type Witness interface {
	dispute.Witness
	Close()
}

// Config is what a keeper works with.
type Config struct {
	Key    ed25519.PrivateKey // of the node
	Chain  Chain
	Folder string // for what must survive a crash
	Models Models // nil: nothing is computed
	Log    Log    // nil: nothing is posted
	Peers  Peers  // nil: nothing is audited
	Audit  bool   // the node audits others
	Bond   bool   // bond the least that is allowed, if the node has none
	// Every is how long receipts wait for a batch at most, and Most how many wait
	// at most; 0: a minute and 1,000.
	Every  time.Duration
	Most   uint64
	Logger *slog.Logger // nil: slog.Default()
}

// Defaults of a Config.
const (
	batchEvery = time.Minute
	batchMost  = 1000
	again      = 2 * time.Second  // after a failure, and twice as long after the next
	againMost  = 8                // times again, at most: blocks go by meanwhile
	idle       = time.Second      // between looks at what no block tells of
	askTime    = 30 * time.Second // for another node to show a receipt
)

// Keeper does a node's duties.
type Keeper struct {
	cfg   Config
	log   *slog.Logger
	again time.Duration
	idle  time.Duration
	// computing is held while a receipt of an audit is computed again: one at a time,
	// as each fills the device.
	computing chan struct{}
	accusing  sync.Mutex // held while a dispute is opened, so that none is opened twice

	mu      sync.Mutex
	working map[string]bool        // tasks that are being done
	tried   map[string]try         // tasks that failed
	serve   map[showing]bool       // what other nodes may see now
	partial map[canon.Hash][]found // of audits whose receipts are not all examined

	// Of Run's goroutine alone.
	waiting time.Time // since when receipts wait for a batch
	posted  uint64    // receipts that the ledger had then
	agreed  uint64    // receipts of which the log is as the ledger has it
}

// try is a task that failed.
type try struct {
	until time.Time     // not before
	last  time.Duration // that it waits
	told  string        // what was said of it
}

// showing is a receipt of the log that a node may see.
type showing struct {
	node  canon.Hash
	index uint64
}

// hopeless is an error of a task that is not to be tried again.
type hopeless struct{ error }

func (h hopeless) Unwrap() error { return h.error }

// New makes a keeper.
func New(cfg Config) *Keeper {
	if cfg.Every == 0 {
		cfg.Every = batchEvery
	}
	if cfg.Most == 0 {
		cfg.Most = batchMost
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	return &Keeper{
		cfg: cfg, log: cfg.Logger, again: again, idle: idle, computing: make(chan struct{}, 1),
		working: map[string]bool{}, tried: map[string]try{}, serve: map[showing]bool{}, partial: map[canon.Hash][]found{},
	}
}

func (k *Keeper) public() ed25519.PublicKey { return k.cfg.Key.Public().(ed25519.PublicKey) }

// Run works until ctx ends, and what it does has ended.
func (k *Keeper) Run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		changed := k.cfg.Chain.Changed()
		if k.cfg.Chain.Ready() {
			t, _ := k.cfg.Chain.State()
			list := k.look(&t)
			k.forget(list)
			for _, w := range list {
				if !k.begin(w.name) {
					continue
				}
				group.Go(func() { k.end(ctx, w.name, w.do(ctx)) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(k.idle):
		}
	}
}

// task is something to do.
type task struct {
	name string
	do   func(ctx context.Context) error
}

func (k *Keeper) begin(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.working[name] || time.Now().Before(k.tried[name].until) {
		return false
	}
	k.working[name] = true
	return true
}

func (k *Keeper) end(ctx context.Context, name string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.working, name)
	if err == nil || ctx.Err() != nil {
		delete(k.tried, name)
		return
	}
	k.failed(name, err)
}

// failed lets a task wait, longer each time, and says why once. Its caller holds mu.
func (k *Keeper) failed(name string, err error) {
	x := k.tried[name]
	x.last = min(max(2*x.last, k.again), againMost*k.again)
	x.until = time.Now().Add(x.last)
	message := "a duty of the ledger waits"
	if errors.As(err, new(hopeless)) {
		x.until, message = time.Now().AddDate(1, 0, 0), "a duty of the ledger is given up"
	}
	if why := err.Error(); x.told != why {
		x.told = why
		k.log.Warn(message, "duty", name, "why", why)
	}
	k.tried[name] = x
}

// forget drops what is known of tasks that are none any more.
func (k *Keeper) forget(list []task) {
	names := map[string]bool{}
	for _, w := range list {
		names[w.name] = true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.tried, func(name string, _ try) bool { return !names[name] && !k.working[name] })
}

// look lists what is to be done in a state.
func (k *Keeper) look(t *tree.Tree) (list []task) {
	list = append(list, k.bond(t)...)
	list = append(list, k.batches(t)...)
	list = append(list, k.audits(t)...)
	return append(list, k.disputes(t)...)
}

// bond makes the device a node of the ledger.
func (k *Keeper) bond(t *tree.Tree) []task {
	if n, ok := ledger.NodeAt(t, k.public()); !k.cfg.Bond || ok && n.Bond > 0 {
		return nil
	}
	least, c := ledger.ParamsAt(t).NodeBond, k.cfg.Chain
	return []task{{"bond", func(ctx context.Context) error {
		return c.Send(ctx, ledger.KindBond, &ledger.Bond{
			Key: k.public(), Amount: least, Proof: ledger.ProveBond(k.cfg.Key, c.Name(), ledger.RoleNode, c.Account()),
		})
	}}}
}

// Serves tells whether the ledger drew a node to audit a receipt of this one's
// log, and it has not committed itself to what it found.
func (k *Keeper) Serves(node ed25519.PublicKey, index uint64) bool {
	if len(node) != canon.Size {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.serve[showing{canon.Hash(node), index}]
}
