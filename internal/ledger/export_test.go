package ledger

import "github.com/avalnetwork/aval/internal/canon"

// VoidDispute ends an open dispute in the block that is happening, as the rules
// of planted receipts do, with an amount that was burnt for it before.
func (m *Machine) VoidDispute(id canon.Hash, amount Amount) {
	t := m.dueTrial(id[:])
	e := meta(&m.work)
	e.Supply += amount
	save(&m.work, tableMeta.key(), e)
	t.void(amount)
}

// MessageWork is what a message is charged.
func MessageWork(message []byte) uint64 { return messageWork(message) }

// Disputed and Convicted are what other rules ask about a receipt.
func (m *Machine) Disputed(receiptID canon.Hash, node []byte) (open, lost bool) {
	return disputed(&m.state, receiptID, node), convicted(&m.state, receiptID, node)
}
