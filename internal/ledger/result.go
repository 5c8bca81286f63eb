package ledger

import (
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Code says what came of a transaction. Those below CodeRefused leave the state
// as it was, so a block may carry anything; those from there on cost the fee.
type Code uint32

// The codes.
const (
	CodeOK        Code = iota
	CodeMalformed      // not a transaction, or of an unknown kind
	CodeTooLarge       // more bytes than the kind may have
	CodeChain          // of another chain
	CodeSignature      // a signature is wrong, or the signers are not the account's
	CodeNonce          // not the account's next one
	CodeExpired        // after its last height
	CodeFee            // cannot pay for it, or offers less than bytes and signatures cost
	CodeRefused        // what it asks for is against the rules
	CodeNotFound       // what it names is not there
	CodeFunds          // too little to do it
	CodeForbidden      // the account may not do it
	CodeWork           // its work costs more than the fee it allows
)

var codeNames = [...]string{"ok", "malformed", "too large", "chain", "signature", "nonce", "expired", "fee", "refused", "not found", "funds", "forbidden", "work"}

func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint32(c))
}

// Error is why a transaction failed.
type Error struct {
	Code Code
	Err  error
}

func (e *Error) Error() string { return "ledger: " + e.Code.String() + ": " + e.Err.Error() }

// Unwrap is the cause.
func (e *Error) Unwrap() error { return e.Err }

func fail(c Code, format string, args ...any) error {
	return &Error{Code: c, Err: fmt.Errorf(format, args...)}
}

// UpgradeError says that a state is of rules that this program does not have.
type UpgradeError struct {
	Version uint64 // that is needed
	Height  uint64 // from which, if known
	Have    uint64 // the newest that is there
}

func (e *UpgradeError) Error() string {
	return fmt.Sprintf("ledger: the rules of version %d hold from height %d, and this program has those up to %d: install a newer one", e.Version, e.Height, e.Have)
}

// Field is one value of an event, as text.
type Field struct{ Name, Value string }

// Event tells who watches the ledger what happened. It is no part of the state.
type Event struct {
	Kind   string
	Fields []Field
}

// Result is what came of a transaction.
type Result struct {
	ID     canon.Hash
	Code   Code
	Detail string // for people, not the same in every version
	Fee    Amount // paid
	Work   uint64
	Events []Event
}

func (r *Result) failed(err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Code: CodeRefused, Err: err}
	}
	r.Code, r.Detail, r.Events = e.Code, e.Err.Error(), nil
}

// Done is what came of a transaction, and the height of the block that it is in;
// 0: it is in none.
type Done struct {
	Height uint64
	Result
}
