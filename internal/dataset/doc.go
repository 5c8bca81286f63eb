// Package dataset reads what is learned from: text, conversations and pairs in
// JSONL, numbers with labels in CSV and NPY. It splits examples into those for
// training and those for validation, and gives each the bytes that stand for it
// where it is hashed.
//
// Call [ReadText], [ReadJSONL], [ReadCSV] or [ReadNPY], then [Set.Split]. A
// [Set] is train.Data. [Canonical] gives the bytes of an example, to which
// training receipts commit; [Evaluate] says how good a learner is on a set.
//
// What an example is follows from the files and the options alone
// (spec/training.md, "Data"), so a run that is resumed, or executed again by
// somebody else, reads the same ones. Everything is bounded by the constants
// below; an error names the file and the line, and says what to do.
//
// The package keeps a set in memory, as numbers: four bytes a token or value.
// It changes no data: whoever wants to have examples shuffled, or numbers
// scaled, finds that in packages train and net.
package dataset

import (
	"errors"
	"fmt"
)

// Limits. Files beyond them are refused.
const (
	MaxFile     = 1 << 30 // bytes of a file
	MaxLine     = 4 << 20 // bytes of a line of JSONL or CSV
	MaxExamples = 1 << 22 // examples of a set
	MaxNumbers  = 1 << 28 // tokens or values of a set: 1 GiB
	MaxMessages = 1 << 10 // of a conversation
	MaxColumns  = 1 << 16 // of a CSV file, and the values of one of its examples
	MaxClasses  = 1 << 12 // different labels
	MinContext  = 8       // tokens that an example predicts
	MaxContext  = 1 << 20 // the most
	maxHeader   = 1 << 20 // bytes of the header of an NPY file
)

// ErrData says that a file cannot be learned from. It is wrapped with the place.
var ErrData = errors.New("the data cannot be used")

// FileError is an error of a file.
type FileError struct {
	File string
	Line int // 0 if it is not one of a line
	Err  error
}

func (e *FileError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %v", e.File, e.Err)
	}
	return fmt.Sprintf("%s, line %d: %v", e.File, e.Line, e.Err)
}

// Unwrap gives the error without its place.
func (e *FileError) Unwrap() error { return e.Err }

// Is reports whether target is ErrData: all these errors are.
func (e *FileError) Is(target error) bool { return target == ErrData }

// fileErrorf makes a FileError.
func fileErrorf(file string, line int, format string, args ...any) error {
	return &FileError{file, line, fmt.Errorf(format, args...)}
}
