package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/receiptlog/archive"
	"github.com/avalnetwork/aval/internal/receiptlog/service"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/receipt"
)

// ReceiptsConfig is how the receipts of answers to peers are logged.
type ReceiptsConfig struct {
	// Folder is that of the log; "": there is none.
	Folder string
	// Keep is how long receipts are kept, with what was asked and answered, for those
	// who audit; the log is kept for ever. 0: 30 days. What no checkpoint has yet is
	// kept, too.
	Keep time.Duration
	// Own logs answers to the node itself, too.
	Own bool
}

const (
	keepReceipts = 30 * 24 * time.Hour
	dropEvery    = time.Hour
)

// startReceipts opens the log and shows it to peers. It comes before the models.
func (n *Node) startReceipts(cfg ReceiptsConfig) (err error) {
	if cfg.Folder == "" {
		return nil
	}
	if n.receipts, err = archive.Open(cfg.Folder, archive.Config{Key: n.key, Logger: n.logger}); err != nil {
		return err
	}
	return service.Register(n.Calls, service.Config{
		Log: guardedLog{n.receipts, n}, Logger: n.logger,
		Allow: func(_ context.Context, who peer.ID, tokens [][]byte, index uint64, opened bool) error {
			if n.keeper != nil && n.keeper.Serves(who.Public(), index) { // the ledger drew it
				return nil
			}
			resource := access.Receipts
			if opened {
				resource = access.Openings
			}
			return n.Guard.Allow(access.Request{Who: who, Action: access.Audit, Resource: resource, Tokens: tokens})
		},
	})
}

// guardedLog is the log as peers see it: what is not the log on the ledger, such as
// an old copy, is not signed.
type guardedLog struct {
	*archive.Log
	node *Node
}

func (g guardedLog) Checkpoint(size uint64) ([]byte, error) {
	if n := g.node; n.keeper != nil {
		t, _ := n.chain.State()
		if err := n.keeper.Agrees(&t); err != nil {
			return nil, err
		}
	}
	return g.Log.Checkpoint(size)
}

// logReceipt is remote.Config.Log.
func (n *Node) logReceipt(ctx context.Context, id receipt.Hash, file []byte) (uint64, error) {
	at, err := n.receipts.Append(ctx, receiptlog.Entry{Receipt: id, File: file})
	return at + 1, err
}

// dropReceipts drops what is kept long enough, until ctx ends.
func (n *Node) dropReceipts(ctx context.Context, keep time.Duration) {
	if keep == 0 {
		keep = keepReceipts
	}
	for {
		before, err := n.receipts.Before(time.Now().Add(-keep))
		if c, _ := n.receipts.Latest(); err == nil {
			_, err = n.receipts.Drop(min(before, c.Size))
		}
		if err != nil {
			n.logger.Warn("old receipts cannot be dropped", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(dropEvery):
		}
	}
}

// Receipts is the node's log of receipts; nil if it keeps none.
func (n *Node) Receipts() *archive.Log { return n.receipts }

// LogRequest asks about a log of receipts: of a peer, or, if none is named, of this
// node.
type LogRequest struct {
	Link Link `json:"link,omitzero"`
	// Receipt or Index is the entry that a proof is wanted of.
	Receipt receipt.Hash `json:"receipt,omitzero"`
	Index   uint64       `json:"index"`
	// After is a checkpoint that the log must have grown out of; nil: none.
	After []byte `json:"after,omitempty"`
	// Opened asks for all that is kept of a receipt.
	Opened bool `json:"opened"`
}

// Logged is what is known of a log, all of it checked.
type Logged struct {
	Key        ed25519.PublicKey `json:"key"`
	Size       uint64            `json:"size"`
	Root       receipt.Hash      `json:"root"`
	Checkpoint []byte            `json:"checkpoint"`
	Index      uint64            `json:"index"`           // of the entry in question
	Receipt    receipt.Hash      `json:"receipt"`         // its receipt
	Proof      []byte            `json:"proof,omitempty"` // as text
	// Old is the size of the log that it grew out of.
	Old uint64 `json:"old"`
	// Lie says what of it is not as it was signed. It is not empty if the log did not
	// grow out of the checkpoint that was named, for example.
	Lie string `json:"lie,omitempty"`
	// Conflict says that the two checkpoints convict the node: one size, two roots.
	Conflict bool `json:"conflict,omitempty"`
}

// logOf is a client of the log that a request is about.
func (n *Node) logOf(ctx context.Context, l Link) (*service.Client, error) {
	if l.Peer.IsZero() {
		l.Peer = n.Mesh.Self()
	}
	if l.Peer == n.Mesh.Self() && n.receipts == nil {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "this node keeps no log of receipts, as it serves no model")
	}
	if err := n.reachFor(ctx, l); err != nil {
		return nil, err
	}
	return &service.Client{Peer: l.Peer, Conn: n.Calls.To(l.Peer, rpc.Normal)}, nil
}

// told puts a lie into what is returned, so that it can be shown what came.
func (l *Logged) told(err error) error {
	var lie *service.Lie
	if errors.As(err, &lie) {
		l.Lie = lie.What
		return nil
	}
	return err
}

func (l *Logged) checkpoint(c receiptlog.Checkpoint, note []byte) {
	l.Key, l.Size, l.Root, l.Checkpoint = c.Key, c.Size, c.Root, note
}

// LogCheckpoint asks for the newest checkpoint, and whether the log grew out of an
// older one.
func (n *Node) LogCheckpoint(ctx context.Context, r LogRequest) (out Logged, err error) {
	c, err := n.logOf(ctx, r.Link)
	if err != nil {
		return out, err
	}
	var old receiptlog.Checkpoint
	if r.After != nil {
		if old, err = receiptlog.ParseCheckpoint(c.Peer.Public(), r.After); err != nil {
			return out, rpc.Errorf(rpc.InvalidArgument, "the older checkpoint: %w", err)
		}
		out.Old = old.Size
	}
	cp, note, err := c.Checkpoint(ctx, old.Size)
	if rpc.CodeOf(err) == rpc.NotFound && r.After != nil {
		out.Lie = fmt.Sprintf("it signed a log of %d entries once, and has fewer now: %s", old.Size, plain(err))
		return out, nil
	}
	if err != nil {
		return out, out.told(err)
	}
	out.checkpoint(cp, note)
	if r.After == nil {
		return out, nil
	}
	if cp.Size == old.Size && cp.Root != old.Root {
		out.Conflict, out.Lie = true, fmt.Sprintf("it signed two logs of %d entries, with the roots %v and %v", cp.Size, old.Root, cp.Root)
		return out, nil
	}
	_, err = c.Consistency(ctx, old.Size, old.Root, cp.Size, cp.Root)
	return out, out.told(err)
}

// LogProof asks for the proof of an entry.
func (n *Node) LogProof(ctx context.Context, r LogRequest) (out Logged, err error) {
	c, err := n.logOf(ctx, r.Link)
	if err != nil {
		return out, err
	}
	var p *receiptlog.Proof
	var cp receiptlog.Checkpoint
	id := r.Receipt
	if id.IsZero() {
		p, cp, id, err = c.ProveIndex(ctx, r.Index)
	} else {
		p, cp, err = c.ProveReceipt(ctx, id)
	}
	if err != nil {
		return out, out.told(err)
	}
	out.checkpoint(cp, p.Checkpoint)
	out.Index, out.Receipt, out.Proof = p.Index, id, p.Text()
	return out, nil
}

// LogReceipt asks for the receipt of an entry: its file, which is then still to be
// checked as any other.
func (n *Node) LogReceipt(ctx context.Context, r LogRequest) ([]byte, error) {
	c, err := n.logOf(ctx, r.Link)
	if err != nil {
		return nil, err
	}
	_, _, id, err := c.ProveIndex(ctx, r.Index)
	var f *receipt.File
	if err == nil {
		f, err = c.Receipt(ctx, r.Index, id, r.Opened)
	}
	var lie *service.Lie
	if errors.As(err, &lie) {
		err = rpc.Errorf(rpc.DataLoss, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	return f.Marshal()
}

// logMethods are what commands may ask about logs.
func (n *Node) logMethods() map[string]control.Method {
	return map[string]control.Method{
		"log-checkpoint": method(n.LogCheckpoint), "log-proof": method(n.LogProof), "log-receipt": method(n.LogReceipt),
	}
}

// LogCheckpoint is Node.LogCheckpoint.
func (r *Remote) LogCheckpoint(ctx context.Context, in LogRequest) (out Logged, err error) {
	err = r.client.Call(ctx, "log-checkpoint", in, &out)
	return out, err
}

// LogProof is Node.LogProof.
func (r *Remote) LogProof(ctx context.Context, in LogRequest) (out Logged, err error) {
	err = r.client.Call(ctx, "log-proof", in, &out)
	return out, err
}

// LogReceipt is Node.LogReceipt.
func (r *Remote) LogReceipt(ctx context.Context, in LogRequest) (out []byte, err error) {
	err = r.client.Call(ctx, "log-receipt", in, &out)
	return out, err
}

// OwnLog answers as LogCheckpoint and LogProof do, from the folder of a log whose
// node does not run.
type OwnLog struct{ log *archive.Log }

// OpenOwnLog opens it.
func OpenOwnLog(folder string, key ed25519.PrivateKey) (*OwnLog, error) {
	l, err := archive.Open(folder, archive.Config{Key: key})
	if err != nil {
		return nil, err
	}
	return &OwnLog{l}, nil
}

// LogCheckpoint is Node.LogCheckpoint.
func (o *OwnLog) LogCheckpoint(_ context.Context, r LogRequest) (out Logged, err error) {
	if err := o.checkpoint(&out, o.log.Size()); err != nil || r.After == nil {
		return out, err
	}
	old, err := receiptlog.ParseCheckpoint(o.log.Key(), r.After)
	if err != nil {
		return out, rpc.Errorf(rpc.InvalidArgument, "the older checkpoint: %w", err)
	}
	out.Old = old.Size
	if err := o.log.Agrees(old.Size, old.Root); err != nil {
		if !errors.Is(err, archive.ErrLost) {
			return out, err
		}
		out.Lie, out.Conflict = err.Error(), old.Size == out.Size
	}
	return out, nil
}

// checkpoint signs the log.
func (o *OwnLog) checkpoint(out *Logged, size uint64) error {
	note, err := o.log.Checkpoint(size)
	if err != nil {
		return err
	}
	c, err := receiptlog.ParseCheckpoint(o.log.Key(), note)
	out.checkpoint(c, note)
	return err
}

// LogProof is Node.LogProof.
func (o *OwnLog) LogProof(_ context.Context, r LogRequest) (out Logged, err error) {
	out.Index, out.Receipt = r.Index, r.Receipt
	if r.Receipt.IsZero() {
		out.Receipt, err = o.log.Receipt(r.Index)
	} else {
		out.Index, err = o.log.Find(r.Receipt)
	}
	if err == nil {
		err = o.checkpoint(&out, o.log.Size())
	}
	var hashes []canon.Hash
	if err == nil {
		hashes, err = o.log.Inclusion(out.Size, out.Index)
	}
	if errors.Is(err, receiptlog.ErrRange) {
		err = rpc.Errorf(rpc.NotFound, "%w", err)
	}
	p := receiptlog.Proof{Index: out.Index, Hashes: hashes, Checkpoint: out.Checkpoint}
	out.Proof = p.Text()
	return out, err
}

// LogReceipt is Node.LogReceipt.
func (o *OwnLog) LogReceipt(_ context.Context, r LogRequest) ([]byte, error) {
	e, err := o.log.File(r.Index)
	if errors.Is(err, receiptlog.ErrRange) || errors.Is(err, receiptlog.ErrDropped) {
		err = rpc.Errorf(rpc.NotFound, "%w", err)
	}
	if err != nil || r.Opened {
		return e.File, err
	}
	f, err := receipt.ParseFile(e.File)
	if err != nil {
		return nil, err
	}
	return f.Receipt.Bytes(), nil
}

// Close gives the log back.
func (o *OwnLog) Close() error { return o.log.Close() }
