// Package consensus lets the ledger happen alike on many devices, or on one: it
// is the adapter between [ledger.Machine] and CometBFT, of which it is the only
// importer.
//
// [Start] runs a node; [Node.Submit] sends a transaction and waits for its
// block, [Node.Blocks] follows what is committed, [Node.State] reads and proves,
// [Node.Status] says how it is, [Node.LightBlock] gives what package light
// checks, [Node.Close] ends it. With a folder, a genesis and a key it is a chain
// of one validator in this process, which opens no socket and makes no block
// while nothing happens.
//
// With [LedgerBeacon] each vote carries a share of the beacon, once the validators
// have made a key for it on the ledger, and each block the randomness of the
// height before.
//
// The state is in memory. A restart reads the newest snapshot and applies the
// blocks after it, all of which are on disk before anybody hears of them.
//
// It does not find peers, and it does not decide what a transaction may do.
package consensus
