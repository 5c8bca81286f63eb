// Package crdt keeps data that many devices write without asking one another:
// signed operations, each of which names those its author had seen, and the
// state that follows from them. [Genesis] names a namespace and its owner;
// [New] makes a replica of it, [Space.Make] signs an operation, [Space.Add]
// takes one, [Space.Entries], [Space.Get] and their like read the state,
// [Space.Prove] proves an entry of it.
//
// The state is a function of the set of operations, whatever order they came
// in: registers (the last writer wins, by Lamport height, author and ID, never
// by a clock), counters, observed-remove sets and logs. So is who may write:
// the owner's grants and revocations are operations among the others.
//
// It is pure: no clock, no I/O, no goroutine; a Space is for one goroutine at a
// time. Storage and synchronisation are internal/crdt/replica. Balances do not
// belong here: two devices that spend the same coin would both be right.
package crdt

import (
	"errors"
	"fmt"
)

// Limits of an operation and of what a replica holds. Who exceeds one is
// refused.
const (
	MaxOp       = 80 << 10 // bytes of a signed operation
	MaxValue    = 64 << 10 // bytes of a register or of an entry of a log
	MaxElement  = 1 << 10  // bytes of an element of a set
	MaxKey      = 256      // bytes of a key
	MaxName     = 128      // bytes of a namespace's name
	MaxParents  = 16       // operations that one names as seen
	MaxObserved = 256      // insertions that a removal ends
	MaxUpTo     = 64       // heads up to which a revoked writer's operations count
	MaxDelta    = 1 << 40  // of a counter at once, either way
	MaxHeight   = 1 << 48
	MaxSnapshot = 64 << 20 // bytes
	MaxEntries  = 1 << 20  // of a state that is in a snapshot
	maxEntry    = 128 << 10
)

// Errors that callers tell apart.
var (
	// ErrInvalid marks an operation that no replica ever takes; its sender is
	// wrong.
	ErrInvalid = errors.New("not a valid operation")
	// ErrMissing marks an operation that names one which is not here (yet).
	ErrMissing = errors.New("an operation that this one builds on is not here")
	// ErrSuperseded marks an operation that a checkpoint has left behind, or
	// that builds on a checkpoint which is not here.
	ErrSuperseded = errors.New("the operation builds on another checkpoint")
	// ErrFull marks that the replica holds as much as it may.
	ErrFull = errors.New("the namespace is full here until its owner makes a checkpoint")
	// ErrDenied marks a change that its author may not make.
	ErrDenied = errors.New("not granted")
)

func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}
