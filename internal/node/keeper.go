package node

import (
	"context"
	"crypto/ed25519"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/keeper"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/receiptlog/service"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/receipt"
)

// keeperFolder is what the keeper needs after a crash, in the node's folder.
const keeperFolder = "keeper"

// newKeeper makes what does in time what the ledger expects of the node.
func (n *Node) newKeeper(cfg *LedgerConfig) {
	k := keeper.Config{
		Key: n.key, Chain: n.chain, Folder: filepath.Join(n.folder.Path, keeperFolder), Models: cfg.Models, Peers: n,
		Audit: cfg.Audit, Bond: cfg.Bond, Every: cfg.Batch, Logger: n.logger,
	}
	if n.receipts != nil {
		k.Log = n.receipts
	}
	n.keeper = keeper.New(k)
}

// startKeeper lets the node do it.
func (n *Node) startKeeper(ctx context.Context) {
	if n.chain == nil {
		return
	}
	n.beside.Go(func() { n.keeper.Run(ctx) })
	n.beside.Go(func() { n.chain.follow(ctx) })
	n.beside.Go(func() { n.settle(ctx) })
}

// Receipt gets a receipt from another node's log.
func (n *Node) Receipt(ctx context.Context, node ed25519.PublicKey, size uint64, root canon.Hash, index uint64) (*receipt.File, []canon.Hash, error) {
	id, err := peer.FromPublic(node)
	if err != nil {
		return nil, nil, err
	}
	if err := n.reachFor(ctx, Link{Peer: id}); err != nil {
		return nil, nil, err
	}
	c := &service.Client{Peer: id, Conn: n.Calls.To(id, rpc.Normal)}
	what, proof, err := c.Inclusion(ctx, size, root, index)
	if err != nil {
		return nil, nil, err
	}
	f, err := c.Receipt(ctx, index, what, true)
	return f, proof, err
}

// keptAnswers bounds the answers to demands that are kept from blocks.
const keptAnswers = 256

// feed is what a chain's blocks brought.
type feed struct {
	mu      sync.Mutex
	changed chan struct{}
	answers []*ledger.Answer // of the last blocks, the newest last
}

// follow reads the blocks as they come.
func (c *chain) follow(ctx context.Context) {
	var height uint64
	for ctx.Err() == nil {
		for b, err := range c.node.Blocks(ctx, height) {
			if err != nil {
				break
			}
			height = b.Height
			c.take(b)
		}
		select { // it was closed, or could not go on
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

func (c *chain) take(b *consensus.Block) {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	for i, tx := range b.Txs {
		if !ledger.Answered(b.Results[i]) {
			continue // most need not be read again
		}
		_, body, err := ledger.DecodeTx(tx)
		if err != nil || body.Kind != ledger.KindAnswer {
			continue
		}
		if p, err := body.Payload(); err == nil {
			c.feed.answers = append(c.feed.answers, p.(*ledger.Answer))
		}
	}
	if n := len(c.feed.answers) - keptAnswers; n > 0 {
		c.feed.answers = c.feed.answers[n:]
	}
	if c.feed.changed != nil {
		close(c.feed.changed)
		c.feed.changed = nil
	}
}

// Changed is closed with the next block.
func (c *chain) Changed() <-chan struct{} {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	if c.feed.changed == nil {
		c.feed.changed = make(chan struct{})
	}
	return c.feed.changed
}

// Answers are the answers to demands of the last blocks.
func (c *chain) Answers() []*ledger.Answer {
	c.feed.mu.Lock()
	defer c.feed.mu.Unlock()
	return slices.Clone(c.feed.answers)
}

// State is the state after the last block, with its height.
func (c *chain) State() (tree.Tree, uint64) { return c.node.State() }

// Ready tells whether the node has caught up with the chain.
func (c *chain) Ready() bool { return !c.node.Status().CatchingUp }

// Account is the account of the node's own key.
func (c *chain) Account() ledger.Address {
	return ledger.AddressOf(c.key.Public().(ed25519.PublicKey))
}

// Name is the chain's.
func (c *chain) Name() string { return c.name }

// Send signs and sends a transaction of the node's account.
func (c *chain) Send(ctx context.Context, kind ledger.Kind, payload any) error {
	s, err := c.send(ctx, kind, payload)
	if err != nil {
		return err
	}
	return s.Err()
}

// Challenge disputes a receipt on the ledger, and gives the identity of the
// dispute. The receipt's file shows what was asked and answered, and the node's
// account pays the bond; the keeper plays the game.
func (n *Node) Challenge(ctx context.Context, file []byte) (id canon.Hash, err error) {
	if n.chain == nil {
		return id, n.noLedger()
	}
	f, err := receipt.ParseFile(file)
	if err != nil {
		return id, rpc.Errorf(rpc.InvalidArgument, "%w", err)
	}
	if err := n.keeper.Challenge(ctx, f); err != nil {
		return id, err
	}
	t, _ := n.chain.State()
	for _, open := range ledger.ReceiptDisputes(&t, f.Receipt.Hash(), f.Receipt.Claims().Key).Open {
		if d, ok := ledger.DisputeAt(&t, open); ok && d.Account == n.chain.Account() {
			id = open
		}
	}
	return id, nil
}

// FraudProof is the proof of fraud that this node made in a dispute; empty if it
// made none.
func (n *Node) FraudProof(_ context.Context, dispute canon.Hash) ([]byte, error) {
	if n.chain == nil {
		return nil, n.noLedger()
	}
	return n.keeper.Proof(dispute)
}

// keeperMethods are what commands may ask of the keeper.
func (n *Node) keeperMethods() map[string]control.Method {
	return map[string]control.Method{"ledger-challenge": method(n.Challenge), "ledger-fraud": method(n.FraudProof)}
}

// Challenge is Node.Challenge.
func (r *Remote) Challenge(ctx context.Context, file []byte) (out canon.Hash, err error) {
	err = r.client.Call(ctx, "ledger-challenge", file, &out)
	return out, err
}

// FraudProof is Node.FraudProof.
func (r *Remote) FraudProof(ctx context.Context, dispute canon.Hash) (out []byte, err error) {
	err = r.client.Call(ctx, "ledger-fraud", dispute, &out)
	return out, err
}
