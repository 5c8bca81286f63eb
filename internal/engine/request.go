package engine

import (
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/trace"
)

// Limits of a request.
const (
	maxStops      = 64   // stop strings
	maxStopLength = 1024 // bytes of one
	noToken       = -1
)

// Request is one generation. Only Prompt is required.
type Request struct {
	// Prompt is the whole prompt, special tokens included. See [Engine.Prompt].
	Prompt []int32
	// Params choose among the tokens; the zero value is greedy.
	Params sample.Params
	// MaxTokens bounds the answer. 0 or less: as many as the context holds.
	MaxTokens int
	// Stop ends the answer before the first of these strings.
	Stop []string
	// Grammar limits the answer; nil does not.
	Grammar *grammar.Grammar
	// Logprobs asks for the log probability of each token, and, if more than
	// 1, for that of the Logprobs-1 most probable ones. 0: none.
	Logprobs int
	// Trace asks for the trace of the run, Result.Trace. It changes nothing
	// else.
	Trace bool
	// IgnoreEOS goes on after the model says it is done, for measurements.
	IgnoreEOS bool
	// User groups requests for fairness: users take turns in the queue.
	User string
}

// Event is one token of an answer.
type Event struct {
	// Token is noToken (-1) for text that follows the last token.
	Token int32
	// Text is what the token adds. It is empty while the text could still
	// become part of a character or, with its event, held back while it could
	// become part of a stop string. The texts joined are Result.Text.
	Text string
	// Logprob of Token, and the most probable tokens, if asked for.
	Logprob float64
	Top     []sample.Logprob
}

// StopReason says why an answer ended.
type StopReason string

// The reasons.
const (
	StopEOS       StopReason = "eos"       // the model ended its turn
	StopString    StopReason = "stop"      // one of Request.Stop
	StopLength    StopReason = "length"    // MaxTokens, or the context is full
	StopCancelled StopReason = "cancelled" // the caller went away
)

// Result is a whole answer.
type Result struct {
	PromptIDs []int32
	// IDs are the tokens drawn, without the one that ended the model's turn.
	IDs []int32
	// Text ends before the stop string if one ended the answer.
	Text string
	Stop StopReason
	// EndToken is the token that ended the model's turn, or -1.
	EndToken int32
	// StopText is the stop string that ended the answer.
	StopText string
	// Trace, if it was asked for, holds the hashes of all states.
	Trace   *trace.Tree
	Timings Timings
}

// Drawn are all tokens drawn, the one that ended the model's turn included.
func (r *Result) Drawn() []int32 {
	if r.EndToken == noToken {
		return r.IDs
	}
	return append(slices.Clone(r.IDs), r.EndToken)
}

// Timings say where the time of a request went.
type Timings struct {
	Queued   time.Duration // before a slot was free
	Prompt   time.Duration // until the first token
	Generate time.Duration // from the first token to the last
	Reused   int           // prompt tokens taken from the prefix cache
}

func (r *Request) validate(context, trained, vocab int) error {
	if len(r.Prompt) == 0 {
		return ErrEmptyPrompt
	}
	if len(r.Prompt) >= context {
		return &PromptTooLongError{Prompt: len(r.Prompt), Context: context, Model: trained}
	}
	for i, id := range r.Prompt {
		if id < 0 || int(id) >= vocab {
			return requestErrorf("token %d of the prompt is %d, but the vocabulary has %d tokens", i, id, vocab)
		}
	}
	if len(r.Stop) > maxStops {
		return requestErrorf("%d stop strings, want at most %d", len(r.Stop), maxStops)
	}
	for i, s := range r.Stop {
		if s == "" || len(s) > maxStopLength {
			return requestErrorf("stop string %d has %d bytes, want 1 to %d", i, len(s), maxStopLength)
		}
	}
	if r.Logprobs < 0 || r.Logprobs > sample.MaxLogprobs+1 {
		return requestErrorf("logprobs is %d, want 0 to %d", r.Logprobs, sample.MaxLogprobs+1)
	}
	return r.Params.Validate()
}
