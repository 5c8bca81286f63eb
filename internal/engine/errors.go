package engine

import (
	"errors"
	"fmt"
)

var (
	// ErrClosed is returned to requests that come after Close.
	ErrClosed = errors.New("engine: closed")
	// ErrEmptyPrompt is returned for a prompt without a single token.
	ErrEmptyPrompt = errors.New("engine: the prompt is empty: give at least one token")
	// ErrBusy is returned when the queue is full.
	ErrBusy = errors.New("engine: too many requests are waiting: try again later")
	// ErrNotFinite is returned when a model computes NaN or infinity. The
	// file is damaged, or the model does not fit into the number formats used.
	ErrNotFinite = errors.New("engine: the model computed a logit that is not finite: the file may be damaged; check it with \"aval show\"")
	// ErrFile marks errors of a file whose tokenizer or chat template cannot
	// be used.
	ErrFile = errors.New("the model file cannot be used")
	// ErrRequest marks errors that are the caller's fault.
	ErrRequest = errors.New("engine: bad request")
)

// PromptTooLongError says that a prompt does not fit the context. Prompts are
// never cut silently.
type PromptTooLongError struct {
	Prompt  int // tokens of the prompt
	Context int // positions of the context
	Model   int // positions the model was trained for
}

func (e *PromptTooLongError) Error() string {
	hint := "shorten it"
	if e.Context < e.Model {
		hint = fmt.Sprintf("shorten it, or open the model with a larger context (--ctx, up to %d)", e.Model)
	}
	return fmt.Sprintf("engine: the prompt has %d tokens, but the context holds %d including at least one for the answer: %s",
		e.Prompt, e.Context, hint)
}

func requestErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrRequest}, args...)...)
}
