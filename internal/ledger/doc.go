// Package ledger is what the devices of a network keep in common: accounts and
// the unit they pay with, who offers which model under which bond, what was
// promised, paid and proved wrong (spec/ledger.md).
//
// It is a machine: [New] makes one from a [Genesis], [Machine.Begin],
// [Machine.Apply] for each transaction and [Machine.End] let a block happen,
// and End gives the root of the state ([tree.Tree]) that all who saw the same
// blocks have. [Machine.Check] says whether a transaction is worth passing on.
// Wallets make transactions with [Body] and [Body.Sign]; [Body.Kind] names one
// of the transactions in the table of kind.go.
//
// It has no clock, disk, network, float or order of a map. The height, the
// time, the beacon and misbehaviour are inputs of a block; whoever runs the
// machine gets them from a consensus, and gives every copy the same. A machine
// is not for several goroutines.
package ledger
