package jinja

import (
	"errors"
	"fmt"
)

// Limits on one template and one rendering. The largest published chat
// templates have some 30 kB and 1,000 tags.
const (
	maxSource     = 1 << 20   // bytes of template source
	maxNesting    = 100       // nested blocks and nested parentheses in the source
	maxEvalDepth  = 2000      // nested evaluation, macro calls and long operator chains included
	maxCallDepth  = 100       // nested macro calls, caller() and loop()
	maxValueDepth = 200       // nested lists and mappings, in JSON as in values
	maxOutput     = 16 << 20  // bytes of any text that a template makes, its output included
	maxItems      = 1 << 20   // items of any list that a template makes
	maxRange      = 100_000   // items of range(); the number is jinja2's own
	maxSteps      = 4_000_000 // evaluated nodes, loop iterations and compared values
	maxWork       = 1 << 29   // bytes copied or searched while rendering
	maxIntBits    = 14_000    // bits of an integer; Python refuses to print more than 4,300 digits
)

// ErrLimit is wrapped by the error of a template or a rendering that exceeds a
// limit of this package.
var ErrLimit = errors.New("chat template exceeds a limit")

func limitf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrLimit, fmt.Sprintf(format, args...))
}

// Error is an error of a template at a line of its source.
type Error struct {
	Line int
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("chat template line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// RaisedError is the error of a template that called raise_exception: the
// template refuses the conversation, and Message is its author's reason.
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string {
	return fmt.Sprintf("the template refuses the conversation: %s", e.Message)
}

// at adds a line to an error that has none yet.
func at(line int, err error) error {
	if err == nil {
		return nil
	}
	var has *Error
	if errors.As(err, &has) {
		return err
	}
	return &Error{Line: line, Err: err}
}

func syntaxf(line int, format string, args ...any) error {
	return &Error{Line: line, Err: fmt.Errorf("syntax: "+format, args...)}
}
