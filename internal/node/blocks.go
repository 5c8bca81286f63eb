package node

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/receipt"
)

// BlockInfo is a block of the ledger, for people.
type BlockInfo struct {
	Height   uint64         `json:"height"`
	Time     time.Time      `json:"time"`
	Hash     canon.Hash     `json:"hash"`
	Root     canon.Hash     `json:"root"`               // of the state after it; zero if that is not known
	Proposer string         `json:"proposer,omitempty"` // key of the validator that made it
	Count    int            `json:"transactions"`
	Txs      []TxInfo       `json:"txs,omitempty"` // not in a list of blocks
	Events   []ledger.Event `json:"events,omitempty"`
}

// TxInfo is a transaction in a block.
type TxInfo struct {
	ID      canon.Hash      `json:"id"`
	Height  uint64          `json:"height"`
	Index   int             `json:"index"`
	Kind    string          `json:"kind,omitempty"` // "": the bytes are no transaction
	Account ledger.Address  `json:"account"`
	Nonce   uint64          `json:"nonce"`
	MaxFee  ledger.Amount   `json:"max_fee"`
	Bytes   int             `json:"bytes"`
	Content json.RawMessage `json:"content,omitempty"`
	// Result is what came of it; nil if that is too long ago.
	Result *Sent `json:"result,omitempty"`
}

// BlocksRequest asks for blocks below a height, the newest first.
type BlocksRequest struct {
	Before uint64 `json:"before,omitempty"` // 0: the newest
	Limit  int    `json:"limit,omitempty"`  // 0: maxBlocks
}

// Bounds of one answer.
const (
	maxBlocks  = 100
	maxScanned = 2000 // blocks that are looked through for a transaction
	maxContent = 8 << 10
)

// LedgerBlocks lists blocks, without their transactions.
func (n *Node) LedgerBlocks(_ context.Context, r BlocksRequest) ([]BlockInfo, error) {
	if n.chain == nil {
		return nil, n.noLedger()
	}
	first, last := n.chain.node.Stored()
	if r.Before > 0 {
		last = min(last, r.Before-1)
	}
	limit := maxBlocks
	if r.Limit > 0 {
		limit = min(limit, r.Limit)
	}
	list := []BlockInfo{}
	for h := last; h >= max(first, 1) && len(list) < limit; h-- {
		b, err := n.chain.block(h)
		if errors.Is(err, consensus.ErrNoBlock) { // it was removed meanwhile
			break
		}
		if err != nil {
			return nil, err
		}
		b.Txs, b.Events = nil, nil
		list = append(list, b)
	}
	return list, nil
}

// LedgerBlock is one block with its transactions.
func (n *Node) LedgerBlock(_ context.Context, height uint64) (BlockInfo, error) {
	if n.chain == nil {
		return BlockInfo{}, n.noLedger()
	}
	b, err := n.chain.block(height)
	if errors.Is(err, consensus.ErrNoBlock) {
		err = rpc.Errorf(rpc.NotFound, "there is no block %d here", height)
	}
	return b, err
}

// LedgerTx finds a transaction among the newest blocks.
func (n *Node) LedgerTx(ctx context.Context, id canon.Hash) (TxInfo, error) {
	if n.chain == nil {
		return TxInfo{}, n.noLedger()
	}
	first, last := n.chain.node.Stored()
	if c, ok := n.chain.node.Find(id); ok {
		first, last = c.Height, c.Height
	}
	for h, i := last, 0; h >= max(first, 1) && i < maxScanned && ctx.Err() == nil; h, i = h-1, i+1 {
		b, err := n.chain.node.StoredBlock(h)
		if errors.Is(err, consensus.ErrNoBlock) {
			break
		}
		if err != nil {
			return TxInfo{}, err
		}
		for at, other := range b.TxIDs() {
			if other == id {
				return txInfo(b, at, id), nil
			}
		}
	}
	return TxInfo{}, rpc.Errorf(rpc.NotFound, "no transaction %v is in the newest blocks here", id)
}

func (c *chain) block(height uint64) (BlockInfo, error) {
	b, err := c.node.StoredBlock(height)
	if err != nil {
		return BlockInfo{}, err
	}
	out := BlockInfo{Height: height, Time: time.UnixMilli(int64(b.Time)), Hash: b.Hash, Count: len(b.Txs)}
	if len(b.Proposer) > 0 {
		out.Proposer = receipt.FormatNodeKey(b.Proposer)
	}
	if b.Done != nil {
		out.Root, out.Events = b.Done.Root, b.Done.Events
	} else if next, err := c.node.StoredBlock(height + 1); err == nil {
		out.Root = next.Before
	}
	for i, id := range b.TxIDs() {
		out.Txs = append(out.Txs, txInfo(b, i, id))
	}
	return out, nil
}

// txInfo reads a transaction of a block.
func txInfo(b *consensus.StoredBlock, i int, id canon.Hash) TxInfo {
	out := TxInfo{ID: id, Height: b.Height, Index: i, Bytes: len(b.Txs[i])}
	if b.Done != nil && i < len(b.Done.Results) {
		s := sent(ledger.Done{Height: b.Height, Result: b.Done.Results[i]})
		out.Result = &s
	}
	_, body, err := ledger.DecodeTx(b.Txs[i])
	if err != nil {
		return out
	}
	out.Kind, out.Account, out.Nonce, out.MaxFee = body.Kind.String(), body.Account, body.Nonce, body.MaxFee
	if len(body.Content) > maxContent { // a proof of fraud: nothing to read
		return out
	}
	payload := body.Kind.Payload()
	if canon.Unmarshal(body.Content, payload) == nil {
		if raw, err := json.Marshal(payload); err == nil {
			out.Content = raw
		}
	}
	return out
}

// blockMethods are what commands may ask about blocks.
func (n *Node) blockMethods() map[string]control.Method {
	return map[string]control.Method{
		"ledger-blocks": method(n.LedgerBlocks),
		"ledger-block":  method(n.LedgerBlock),
		"ledger-tx":     method(n.LedgerTx),
	}
}

// LedgerBlocks is Node.LedgerBlocks.
func (r *Remote) LedgerBlocks(ctx context.Context, in BlocksRequest) (out []BlockInfo, err error) {
	err = r.client.Call(ctx, "ledger-blocks", in, &out)
	return out, err
}

// LedgerBlock is Node.LedgerBlock.
func (r *Remote) LedgerBlock(ctx context.Context, height uint64) (out BlockInfo, err error) {
	err = r.client.Call(ctx, "ledger-block", height, &out)
	return out, err
}

// LedgerTx is Node.LedgerTx.
func (r *Remote) LedgerTx(ctx context.Context, id canon.Hash) (out TxInfo, err error) {
	err = r.client.Call(ctx, "ledger-tx", id, &out)
	return out, err
}
