package ledger

import (
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// disputed says whether a dispute about a receipt is open in which the node
// with this key has to stand by it.
func disputed(t *tree.Tree, receiptID canon.Hash, key []byte) bool { return false }

// convicted says whether such a dispute ended against it.
func convicted(t *tree.Tree, receiptID canon.Hash, key []byte) bool { return false }
