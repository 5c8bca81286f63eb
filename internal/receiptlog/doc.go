// Package receiptlog is the log that a node keeps of the receipts it gave: an
// append-only Merkle tree, so that one signed root stands for all of them
// (spec/receipt-log.md). An entry is the identity of a receipt, of 32 bytes.
//
// To check, call [VerifyInclusion] and [VerifyConsistency], which need nothing
// but the hashes, or [ParseCheckpoint] and [ParseProof] for what a node signed.
// [Conflict] finds that a node signed two different logs. To keep a log, append
// to a [Tree]; [Inclusion] and [Consistency] make proofs of it, and [Tile] says
// in which files its hashes are.
//
// The formats are those of transparency logs: trees of RFC 9162, tiles,
// checkpoints and proofs of C2SP (tlog-tiles, tlog-checkpoint, tlog-proof). The
// package does no I/O, has no clock, and does not know what a receipt says;
// package archive keeps a log on disk.
package receiptlog

import (
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of what is read.
const (
	// MaxSize bounds the entries of a log.
	MaxSize = canon.MaxLeaves
	// MaxProof bounds the hashes of a proof: one for each level, and one more
	// where a consistency proof begins.
	MaxProof = 41
	// MaxCheckpoint bounds a checkpoint in bytes. One that only its node signed
	// has less than 350; witnesses may have signed beside it.
	MaxCheckpoint = 16 << 10
	// MaxProofFile bounds a proof as text.
	MaxProofFile = MaxCheckpoint + 8<<10
)

// Errors of this package. All others are of I/O below a [Nodes].
var (
	// ErrProof says that a proof does not show what it should.
	ErrProof = errors.New("the proof does not hold")
	// ErrFormat says that bytes are not of the format that they should be of.
	ErrFormat = errors.New("wrong format")
	// ErrSignature says that a checkpoint is not signed by the key in question.
	ErrSignature = errors.New("wrong signature")
	// ErrDropped says that a receipt is not kept any more; its entry is.
	ErrDropped = errors.New("the receipt was dropped")
	// ErrRange says that there is no such entry, or no log of that size.
	ErrRange = errors.New("out of range")
)

func proofErrorf(format string, args ...any) error {
	return fmt.Errorf("receiptlog: %w: "+format, append([]any{ErrProof}, args...)...)
}

func formatErrorf(format string, args ...any) error {
	return fmt.Errorf("receiptlog: %w: "+format, append([]any{ErrFormat}, args...)...)
}

func rangeErrorf(format string, args ...any) error {
	return fmt.Errorf("receiptlog: %w: "+format, append([]any{ErrRange}, args...)...)
}

// Entry is a receipt as a node keeps it.
type Entry struct {
	Receipt canon.Hash // its identity, which is the entry of the log
	File    []byte     // what is kept of it
}

// Leaf is the hash of the entry that a receipt with this identity has in the
// tree.
func Leaf(receipt canon.Hash) canon.Hash { return canon.Leaf(receipt[:]) }

// EmptyRoot is the root of a log without entries.
func EmptyRoot() canon.Hash { return canon.Root(nil) }

func signatureErrorf(format string, args ...any) error {
	return fmt.Errorf("receiptlog: %w: "+format, append([]any{ErrSignature}, args...)...)
}
