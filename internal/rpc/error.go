package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"storj.io/drpc"
	"storj.io/drpc/drpcerr"
)

// Code says what kind of failure an error is. The numbers are those of gRPC's
// status codes (grpc/doc/statuscodes.md).
type Code uint8

// The codes.
const (
	OK Code = iota
	Canceled
	Unknown
	InvalidArgument
	DeadlineExceeded
	NotFound
	AlreadyExists
	PermissionDenied
	ResourceExhausted
	FailedPrecondition
	Aborted
	OutOfRange
	Unimplemented
	Internal
	Unavailable
	DataLoss
	Unauthenticated
)

var codeNames = [...]string{
	"ok", "canceled", "unknown", "invalid argument", "deadline exceeded", "not found", "already exists", "permission denied",
	"resource exhausted", "failed precondition", "aborted", "out of range", "unimplemented", "internal", "unavailable",
	"data loss", "unauthenticated",
}

// String is the name of the code.
func (c Code) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint8(c))
}

// MaxErrorText bounds the text of an error that travels, in bytes.
const MaxErrorText = 2048

// maxRetryAfter bounds what a peer can make a caller wait.
const maxRetryAfter = time.Hour

// Error is a failure of a call. It survives the way to the caller.
type Error struct {
	Code Code
	Text string
	// RetryAfter is when it may be worth trying again; 0 says nothing.
	RetryAfter time.Duration
	cause      error // on the side where it happened only
}

func (e *Error) Error() string {
	if e.Text == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Text
}

// Unwrap gives what the error was made of, on the side where it happened.
func (e *Error) Unwrap() error { return e.cause }

// Is lets errors.Is find the context's errors behind the codes that mean them.
func (e *Error) Is(target error) bool {
	return e.Code == Canceled && target == context.Canceled || e.Code == DeadlineExceeded && target == context.DeadlineExceeded
}

// Errorf makes an error with a code. With %w it wraps another, whose text
// travels and whose code does not.
func Errorf(code Code, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Text: err.Error(), cause: errors.Unwrap(err)}
}

// CodeOf is the code of an error: that of an [Error] in it, Canceled and
// DeadlineExceeded for those of a context, OK for nil and else Unknown.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded
	}
	return Unknown
}

// RetryAfter is when the peer says that it may be worth trying again; 0 if it
// does not.
func RetryAfter(err error) time.Duration {
	var e *Error
	if errors.As(err, &e) {
		return e.RetryAfter
	}
	return 0
}

// toWire makes of a handler's error what drpc sends: a number, in which the
// code has the low eight bits and the milliseconds of RetryAfter those above,
// and a text.
func toWire(err error) error {
	if err == nil {
		return nil
	}
	e := &Error{Code: CodeOf(err), Text: err.Error()}
	if !errors.As(err, &e) && drpcerr.Code(err) == drpcerr.Unimplemented { // by a generated server
		e = &Error{Code: Unimplemented, Text: "the method is not served here"}
	}
	text := strings.ToValidUTF8(e.Text, "\uFFFD")
	for len(text) > MaxErrorText {
		_, n := utf8.DecodeLastRuneInString(text[:MaxErrorText+1])
		text = text[:MaxErrorText+1-n]
	}
	retry := min(max(e.RetryAfter, 0), maxRetryAfter).Milliseconds()
	return drpcerr.WithCode(errors.New(text), uint64(e.Code)|uint64(retry)<<8)
}

// fromWire makes an Error of what a call ended with on the caller's side.
func fromWire(ctx context.Context, err error) error {
	var own *Error
	switch {
	case err == nil || errors.Is(err, io.EOF) && !drpc.ClosedError.Has(err):
		return err
	case ctx.Err() != nil:
		return &Error{Code: CodeOf(ctx.Err()), Text: "the call was given up", cause: ctx.Err()}
	case errors.As(err, &own):
		return err
	}
	wire := drpcerr.Code(err)
	if code := Code(wire); wire != 0 && code != OK && int(code) < len(codeNames) {
		retry := time.Duration(min(wire>>8, uint64(math.MaxInt32))) * time.Millisecond
		text := err.Error()
		if len(text) > MaxErrorText {
			text = text[:MaxErrorText]
		}
		return &Error{Code: code, Text: strings.ToValidUTF8(text, "\uFFFD"), RetryAfter: min(retry, maxRetryAfter)}
	}
	if errors.Is(err, context.Canceled) {
		return &Error{Code: Canceled, Text: "the peer gave the call up", cause: err}
	}
	return &Error{Code: Unavailable, Text: fmt.Sprintf("the connection broke: %v", err), cause: err}
}
