package consensus

import (
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
)

// StoredBlock is a block as it is on disk.
type StoredBlock struct {
	Height   uint64
	Time     uint64     // milliseconds since 1970
	Hash     canon.Hash // of its header
	Before   canon.Hash // root of the state before it
	Proposer []byte     // key of the validator that made it; nil if it is not known
	Txs      [][]byte
	// Done is the block as it was applied; nil if that is too long ago. What came
	// of transactions is not on disk.
	Done *Block
}

// Stored is the range of heights of the blocks that are here; 0, 0 if there is none.
func (n *Node) Stored() (first, last uint64) {
	return uint64(max(n.engine.blocks.Base(), 0)), uint64(max(n.engine.blocks.Height(), 0))
}

// StoredBlock reads a block. ErrNoBlock says that it is not here.
func (n *Node) StoredBlock(height uint64) (*StoredBlock, error) {
	if err := n.feed.err(); err != nil {
		return nil, err
	}
	first, last := n.Stored()
	if height < max(first, 1) || height > last {
		return nil, ErrNoBlock
	}
	b := n.engine.blocks.LoadBlock(int64(height))
	if b == nil {
		return nil, ErrNoBlock
	}
	out := &StoredBlock{Height: height, Time: uint64(b.Time.UnixMilli()), Hash: hashOf(b.Hash()), Before: hashOf(b.AppHash), Done: n.feed.at(height)}
	for _, tx := range b.Txs {
		out.Txs = append(out.Txs, tx)
	}
	if set, err := n.engine.states.LoadValidators(int64(height)); err == nil {
		if _, v := set.GetByAddress(b.ProposerAddress); v != nil {
			out.Proposer = v.PubKey.Bytes()
		}
	}
	return out, nil
}

// Find is where a recent transaction ended up.
func (n *Node) Find(id canon.Hash) (Committed, bool) {
	n.feed.mu.Lock()
	defer n.feed.mu.Unlock()
	c, ok := n.feed.done[id]
	return c, ok
}

// at is a recent block, or nil.
func (f *feed) at(height uint64) *Block {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range f.recent {
		if b.Height == height {
			return b
		}
	}
	return nil
}

// TxIDs are the ids of a block's transactions.
func (b *StoredBlock) TxIDs() []canon.Hash {
	out := make([]canon.Hash, len(b.Txs))
	for i, tx := range b.Txs {
		out[i] = ledger.TxID(tx)
	}
	return out
}
