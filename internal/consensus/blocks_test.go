package consensus_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
)

// Blocks are read again, with what came of their transactions as long as that is
// known.
func TestStoredBlocks(t *testing.T) {
	a := newKey("a")
	n := start(t, consensus.Config{Dir: t.TempDir(), Genesis: newGenesis(1, a), Key: validatorKey(0)})
	tx := transfer(t, a, 0)
	done := submit(t, n, tx)
	b, err := n.StoredBlock(done.Height)
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Txs) != 1 || !bytes.Equal(b.Txs[0], tx) || b.TxIDs()[0] != ledger.TxID(tx) {
		t.Errorf("the block has %d transactions, want the one that was sent", len(b.Txs))
	}
	if !bytes.Equal(b.Proposer, public(validatorKey(0))) {
		t.Errorf("it was made by %x", b.Proposer)
	}
	if b.Done == nil || len(b.Done.Results) != 1 || b.Done.Results[0].Code != ledger.CodeOK {
		t.Errorf("what came of it is %+v", b.Done)
	}
	if c, ok := n.Find(ledger.TxID(tx)); !ok || c.Height != done.Height {
		t.Errorf("the transaction is found at %+v, %v", c, ok)
	}
	first, last := n.Stored()
	if first != 1 || last < done.Height {
		t.Errorf("blocks %d to %d are here", first, last)
	}
	for _, h := range []uint64{0, last + 100} {
		if _, err := n.StoredBlock(h); !errors.Is(err, consensus.ErrNoBlock) {
			t.Errorf("block %d: %v", h, err)
		}
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.StoredBlock(done.Height); !errors.Is(err, consensus.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
}
