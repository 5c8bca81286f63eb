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
	again      = 2 * time.Second // after a failure
	idle       = time.Second     // between looks at what no block tells of
)

// Keeper does a node's duties.
type Keeper struct {
	cfg Config
	log *slog.Logger

	mu      sync.Mutex
	working map[string]bool      // tasks that are being done
	wait    map[string]time.Time // tasks that failed: not before
	told    map[string]string    // what was said of a task last
	serve   map[canon.Hash]bool  // keys of nodes that may see receipts now

	waiting time.Time // since when receipts wait for a batch
}

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
	return &Keeper{cfg: cfg, log: cfg.Logger, working: map[string]bool{}, wait: map[string]time.Time{}, told: map[string]string{}, serve: map[canon.Hash]bool{}}
}

func (k *Keeper) public() ed25519.PublicKey { return k.cfg.Key.Public().(ed25519.PublicKey) }

// Run works until ctx ends, and what it does has ended.
func (k *Keeper) Run(ctx context.Context) {
	var group sync.WaitGroup
	defer group.Wait()
	for {
		changed := k.cfg.Chain.Changed()
		t, _ := k.cfg.Chain.State()
		for _, w := range k.look(&t) {
			if !k.begin(w.name) {
				continue
			}
			group.Go(func() { k.end(ctx, w.name, w.do(ctx)) })
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-time.After(idle):
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
	if k.working[name] || time.Now().Before(k.wait[name]) {
		return false
	}
	delete(k.wait, name)
	k.working[name] = true
	return true
}

func (k *Keeper) end(ctx context.Context, name string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.working, name)
	if err == nil || ctx.Err() != nil {
		delete(k.told, name)
		return
	}
	k.wait[name] = time.Now().Add(again)
	if why := err.Error(); k.told[name] != why {
		k.told[name] = why
		k.log.Warn("a duty of the ledger waits", "duty", name, "why", why)
	}
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

// Serves tells whether the ledger says that a node may see receipts of this one.
func (k *Keeper) Serves(node ed25519.PublicKey) bool {
	if len(node) != canon.Size {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.serve[canon.Hash(node)]
}
