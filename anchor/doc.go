// Package anchor puts application hashes of a ledger on any EVM chain, so that a
// contract there can check what was on the ledger: an entry of the state, its
// absence, a receipt in the log of a node (spec/ledger.md, docs/anchors.md).
//
// The contracts are in solidity; [Deploy] puts one on a chain, [Open] reads one
// that is there. Signers sign roots with [Contract.Sign]; a [Poster], stepped or
// run, gathers their signatures and sends the one transaction that carries them.
// Package referee beside this one makes the case of a dispute's leaf for the
// contract Tile.
//
// An anchor is worth as much as its signers: a root counts once M of the N have
// signed it. The package checks nothing of the ledger's consensus, keeps no
// keys, and reads the ledger through a [Source] only.
package anchor

//go:generate node compile.mjs
