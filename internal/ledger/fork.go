package ledger

import "github.com/avalnetwork/aval/internal/ledger/tree"

// Fork is a second machine with the state after the last block, for a block
// that may not come to be. Neither sees what the other does afterwards, but for
// their memories of transactions and of beacon keys; so they are
// not for several goroutines either, but for Snapshot and State.
func (m *Machine) Fork() *Machine {
	if m.beacons == nil {
		m.beacons = &beaconMemory{}
	}
	return &Machine{state: m.State(), height: m.height, time: m.time, memory: m.remembered(), beacons: m.beacons}
}

// Nonce is that of the next transaction of an account, or of a device of it.
func (m *Machine) Nonce(account Address, device []byte) uint64 {
	return nonce(&m.state, account, device)
}

func nonce(t *tree.Tree, a Address, device []byte) uint64 {
	if device == nil {
		return account(t, a).Nonce
	}
	d, ok := load[Device](t, tableDevice.key(a[:], device))
	if !ok {
		return 0
	}
	return d.Nonce
}

// Chain is the name of the chain.
func (m *Machine) Chain() string { return meta(&m.state).Chain }
