package gguf

import (
	"errors"
	"fmt"
	"strings"
)

// Errors that a caller may want to branch on; a [ParseError] wraps them.
var (
	// ErrNotGGUF: the file does not start with the format's magic bytes.
	ErrNotGGUF = errors.New("not a GGUF file")
	// ErrUnsupportedType: a tensor has a type without arithmetic in this
	// module. [Inspect] opens such a file all the same.
	ErrUnsupportedType = errors.New("unsupported tensor type")
)

// ParseError says why a file was refused: which check failed, where in the
// file, and what the person who has the file can do.
type ParseError struct {
	Path   string // the file; empty when it was read from an io.ReaderAt
	Where  string // the part of the file: `header`, `key "general.name"`, `tensor "output.weight"`
	Offset int64  // where the failing field starts, in bytes from the file's start; -1 if it is not one field
	What   string // the check that failed, with the numbers
	Hint   string // what to do
	Err    error  // ErrNotGGUF, ErrUnsupportedType, a read error, or nil
}

func (e *ParseError) Error() string {
	var b strings.Builder
	b.WriteString("gguf: ")
	if e.Path != "" {
		fmt.Fprintf(&b, "%s: ", e.Path)
	}
	if e.Where != "" {
		b.WriteString(e.Where)
		if e.Offset >= 0 {
			fmt.Fprintf(&b, " (byte %d)", e.Offset)
		}
		b.WriteString(": ")
	}
	b.WriteString(e.What)
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// Unwrap gives the sentinel or the read error behind the refusal.
func (e *ParseError) Unwrap() error { return e.Err }

// What to do, for the causes that recur.
const (
	hintTruncated = "the file is incomplete: download or copy it again"
	hintDamaged   = "the file is damaged or was not written as GGUF: fetch it again or convert the model again"
	hintLimit     = "no published model needs this much: the file is most likely damaged"
)
