package service

import (
	"context"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/receiptlog"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/rpc/wire"
	"github.com/avalnetwork/aval/receipt"
)

// Lie is an answer of a peer that cannot be true of its log, or breaks its bounds.
type Lie struct{ What string }

func (e *Lie) Error() string { return "the peer does not show its log as it signed it: " + e.What }

func lief(format string, args ...any) error { return &Lie{fmt.Sprintf(format, args...)} }

// Client asks one peer about its log.
type Client struct {
	Peer peer.ID
	Conn rpc.Conn // to the peer
}

func (c *Client) stub() wire.DRPCReceiptLogServiceClient {
	return wire.NewDRPCReceiptLogServiceClient(c.Conn)
}

// Checkpoint asks for a checkpoint of at least so many entries; 0: the newest.
func (c *Client) Checkpoint(ctx context.Context, size uint64) (receiptlog.Checkpoint, []byte, error) {
	out, err := c.stub().Checkpoint(ctx, &wire.CheckpointRequest{Size: size})
	if err != nil {
		return receiptlog.Checkpoint{}, nil, err
	}
	cp, err := receiptlog.ParseCheckpoint(c.Peer.Public(), out.Checkpoint)
	switch {
	case err != nil:
		return cp, nil, lief("its checkpoint: %v", err)
	case cp.Size < size:
		return cp, nil, lief("its checkpoint is of %d entries, asked for was one of %d", cp.Size, size)
	}
	return cp, out.Checkpoint, nil
}

// hashesOf reads those of a proof.
func hashesOf(b []byte) ([]canon.Hash, error) {
	if len(b)%canon.Size != 0 || len(b) > canon.Size*receiptlog.MaxProof {
		return nil, lief("a proof of %d bytes", len(b))
	}
	var list []canon.Hash
	for ; len(b) > 0; b = b[canon.Size:] {
		list = append(list, canon.Hash(b[:canon.Size]))
	}
	return list, nil
}

// ProveReceipt proves that a receipt is in the log, by a checkpoint that the peer
// signs for this if it has to.
func (c *Client) ProveReceipt(ctx context.Context, id canon.Hash) (*receiptlog.Proof, receiptlog.Checkpoint, error) {
	p, cp, got, err := c.prove(ctx, &wire.InclusionRequest{Receipt: id[:]})
	if err == nil && got != id {
		err = lief("it proves the receipt %v, asked for was %v", got, id)
	}
	return p, cp, err
}

// ProveIndex proves the entry with a number, and tells the identity of its receipt.
func (c *Client) ProveIndex(ctx context.Context, index uint64) (*receiptlog.Proof, receiptlog.Checkpoint, canon.Hash, error) {
	p, cp, id, err := c.prove(ctx, &wire.InclusionRequest{Index: index})
	if err == nil && p.Index != index {
		err = lief("it proves the entry %d, asked for was %d", p.Index, index)
	}
	return p, cp, id, err
}

func (c *Client) prove(ctx context.Context, in *wire.InclusionRequest) (*receiptlog.Proof, receiptlog.Checkpoint, canon.Hash, error) {
	var id canon.Hash
	var cp receiptlog.Checkpoint
	out, err := c.stub().Inclusion(ctx, in)
	if err != nil {
		return nil, cp, id, err
	}
	if len(out.Receipt) != canon.Size {
		return nil, cp, id, lief("the identity of a receipt has %d bytes", len(out.Receipt))
	}
	id = canon.Hash(out.Receipt)
	p := &receiptlog.Proof{Index: out.Index, Checkpoint: out.Checkpoint}
	if p.Hashes, err = hashesOf(out.Hashes); err != nil {
		return nil, cp, id, err
	}
	if cp, err = p.Verify(c.Peer.Public(), id); err != nil {
		return nil, cp, id, lief("%v", err)
	}
	return p, cp, id, nil
}

// Inclusion proves an entry in the log as it was with so many, of which the caller
// knows the root, such as from the ledger. It tells the identity of its receipt.
func (c *Client) Inclusion(ctx context.Context, size uint64, root canon.Hash, index uint64) (canon.Hash, []canon.Hash, error) {
	var id canon.Hash
	out, err := c.stub().Inclusion(ctx, &wire.InclusionRequest{Index: index, Size: size})
	if err != nil {
		return id, nil, err
	}
	proof, err := hashesOf(out.Hashes)
	if err != nil {
		return id, nil, err
	}
	if len(out.Receipt) != canon.Size {
		return id, nil, lief("the identity of a receipt has %d bytes", len(out.Receipt))
	}
	id = canon.Hash(out.Receipt)
	if err := receiptlog.VerifyInclusion(root, size, index, receiptlog.Leaf(id), proof); err != nil {
		return id, nil, lief("%v", err)
	}
	return id, proof, nil
}

// Consistency proves that the log of one size and root grew out of that of
// another.
func (c *Client) Consistency(ctx context.Context, oldSize uint64, oldRoot canon.Hash, newSize uint64, newRoot canon.Hash) ([]canon.Hash, error) {
	out, err := c.stub().Consistency(ctx, &wire.ConsistencyRequest{OldSize: oldSize, NewSize: newSize})
	if err != nil {
		return nil, err
	}
	proof, err := hashesOf(out.Hashes)
	if err != nil {
		return nil, err
	}
	if err := receiptlog.VerifyConsistency(oldSize, oldRoot, newSize, newRoot, proof); err != nil {
		return nil, lief("%v", err)
	}
	return proof, nil
}

// Receipt asks for the receipt of an entry, which the caller knows the identity of
// by a proof. opened asks for all that the peer keeps of it, too. What it shows is
// then still to be checked, as of any receipt.
func (c *Client) Receipt(ctx context.Context, index uint64, id canon.Hash, opened bool) (*receipt.File, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.stub().Receipt(ctx, &wire.ReceiptRequest{Index: index, Opened: opened})
	if err != nil {
		return nil, err
	}
	defer stream.Close()
	most := uint64(receipt.MaxReceipt)
	if opened {
		most = MaxFile
	}
	data, err := rpc.Gather(most, stream.Recv, nil)
	if errors.Is(err, rpc.ErrPieces) {
		return nil, lief("its receipt: %v", err)
	}
	if err != nil {
		return nil, err
	}
	f, err := receipt.ParseFile(data)
	if err != nil {
		return nil, lief("its receipt cannot be read: %v", err)
	}
	if got := f.Receipt.Hash(); got != id {
		return nil, lief("the entry %d is the receipt %v, shown is %v", index, id, got)
	}
	if !c.Peer.Public().Equal(f.Receipt.Claims().Key) {
		return nil, lief("the receipt %d is signed by another key: %s", index, receipt.FormatNodeKey(f.Receipt.Claims().Key))
	}
	if err := f.Receipt.Verify(); err != nil {
		return nil, lief("the receipt %d: %v", index, err)
	}
	return f, nil
}
