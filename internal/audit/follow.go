package audit

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// followBatch is how many tokens of an answer are drawn again at one go: the
// logits of all of them are in memory.
const followBatch = 32

// Wrong says that what is followed is not what the model gives.
type Wrong struct {
	Check receipt.Check // which one failed, and where
	// Token is the first false token, from 0 on; -1: it is not a token that is
	// wrong. Told is its id, and Gives the one that the model gives there; -1: none,
	// or nobody computed it.
	Token       int
	Gives, Told int32
}

func (e *Wrong) Error() string { return e.Check.Detail }

// Follower computes an answer again while it is told, so that a lie is noticed
// while there is still something to give up. Its methods are called by one
// goroutine at a time; Close frees its memory.
type Follower struct {
	auditor *Auditor
	expect  receipt.Expect
	seed    receipt.Seed
	traced  bool
	first   int // tokens of the prompt
	replay  *engine.Replay
	seq     *model.Sequence
	ids     []int32 // the prompt, then the tokens that were told
	read    int     // positions that are computed
	next    int     // of the tokens, the first that is not drawn again
	done    bool    // the answer has ended
	wrong   error
}

// Follow begins to follow the answer of which the receipt will say what is
// expected: the source, the prompt's tokens as they were told, the parameters
// with the context, and the extra ones are set. The seed is the receipt's. With
// traced the trace is computed, too. A *Wrong says that no honest engine begins so.
func (a *Auditor) Follow(e receipt.Expect, seed receipt.Seed, traced bool) (*Follower, error) {
	if e.Params == nil || e.Source == nil || len(e.Prompt) == 0 || e.Extra == nil {
		return nil, errors.New("audit: an answer of which the prompt or the parameters are not known cannot be followed")
	}
	claims := receipt.Claims{Params: *e.Params, Seed: seed, PromptTokens: len(e.Prompt), OutputTokens: 1}
	opening := &receipt.Opening{Prompt: &receipt.OpenedIDs{IDs: e.Prompt}, Extra: &receipt.OpenedExtra{Extra: *e.Extra}}
	if len(e.Bias) > 0 {
		opening.Bias = &receipt.OpenedBias{Bias: e.Bias}
	}
	context, check := a.context(&claims, len(e.Prompt))
	switch {
	case check.Verdict == receipt.Unverified:
		return nil, fmt.Errorf("audit: the answer cannot be followed: %s", check.Detail)
	case check.Passed():
		check = a.checkRendering(e.Source, opening)
	}
	if !check.Passed() {
		return nil, &Wrong{check, -1, -1, -1}
	}
	f := &Follower{auditor: a, expect: e, seed: seed, traced: traced, first: len(e.Prompt), ids: slices.Clone(e.Prompt)}
	request, err := requestOf(&claims, opening)
	if err == nil {
		f.replay, err = a.Engine.Replay(request, context)
	}
	if err != nil {
		return nil, &Wrong{invalid(receipt.CheckComputation, "no engine takes such a request: %v", err), -1, -1, -1}
	}
	return f, nil
}

// Add takes the tokens that were told since, the one that ended the model's turn
// included, and computes as far as they go. A *Wrong says that one of them is not
// the model's; then Add returns the same ever after. Other errors leave no result.
func (f *Follower) Add(ctx context.Context, ids ...int32) error {
	if f.wrong != nil {
		return f.wrong
	}
	vocab, have := f.auditor.Engine.Config().Vocab, f.auditor.Engine.Context()
	for i, id := range ids {
		if id < 0 || int(id) >= vocab {
			at := len(f.ids) - f.first + i
			return f.fail(at, -1, id, "token %d: id %d is not in the vocabulary of %d", at, id, vocab)
		}
	}
	if len(f.ids)+len(ids) > have+1 { // the last token has no position
		return fmt.Errorf("audit: %d tokens cannot be followed with a model that is open with %d", len(f.ids)+len(ids), have)
	}
	f.ids = append(f.ids, ids...)
	for f.read < f.first-1 {
		if _, err := f.forward(ctx, min(f.read+maxPass, f.first-1), 0); err != nil {
			return f.stop(err)
		}
	}
	for f.read < len(f.ids)-1 {
		n := min(len(f.ids)-1-f.read, followBatch)
		logits, err := f.forward(ctx, f.read+n, n)
		if err == nil {
			err = f.draw(n, logits)
		}
		if err != nil {
			return f.stop(err)
		}
	}
	return nil
}

// stop keeps an error after which nothing can be followed: all but the context's,
// since a batch that was given up leaves the sequence where it was.
func (f *Follower) stop(err error) error {
	if errors.Is(err, engine.ErrNotFinite) {
		return f.fail(-1, -1, -1, "%v", err)
	}
	if f.wrong == nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		f.wrong = err
	}
	return err
}

func (f *Follower) fail(token int, gives, told int32, format string, args ...any) error {
	f.wrong = &Wrong{invalid(receipt.CheckComputation, format, args...), token, gives, told}
	return f.wrong
}

// forward computes positions up to end, and the logits of the last n.
func (f *Follower) forward(ctx context.Context, end, n int) ([]float32, error) {
	var logits []float32
	ran := false
	err := f.auditor.Engine.Compute(ctx, func(m *model.Model) error {
		if f.seq == nil {
			f.seq = m.NewSequence()
		}
		steps := []model.Step{{Seq: f.seq, Tokens: f.ids[f.read:end], Want: n, Trace: f.traced}}
		err := m.Forward(steps)
		logits, ran = steps[0].Logits, err == nil
		return err
	})
	if !ran {
		return nil, err
	}
	f.read = end // also if the context ended meanwhile
	return logits, nil
}

// draw draws the next n tokens again and compares them.
func (f *Follower) draw(n int, logits []float32) error {
	vocab := f.auditor.Engine.Config().Vocab
	for k := range n {
		told := f.ids[f.first+f.next]
		if f.done {
			return f.fail(f.next, -1, told, "token %d comes after the end of the answer", f.next)
		}
		id, err := f.replay.Next(logits[k*vocab : (k+1)*vocab])
		switch {
		case err != nil:
			return f.fail(f.next, -1, told, "token %d: nothing can be drawn: %v", f.next, err)
		case id != told:
			return f.fail(f.next, id, told, "token %d: the model gives id %d, told was %d", f.next, id, told)
		}
		if f.done, err = f.replay.Accept(id); err != nil {
			return f.fail(f.next, -1, told, "token %d: %v", f.next, err)
		}
		f.next++
	}
	return nil
}

// Followed is how many tokens were drawn again so far, and found right.
func (f *Follower) Followed() int { return f.next }

// Report is what [Auditor.Full] reports of the receipt of the answer that was
// followed to its end; it computes nothing more. What is expected is what the
// answer was followed by, and the signer and the time are those of the options: a
// receipt of another answer, or for another request, fails.
func (f *Follower) Report(ctx context.Context, file *receipt.File, o receipt.Options) (receipt.Report, error) {
	e := f.expect
	if o.Expect.Key != nil {
		e.Key = o.Expect.Key
	}
	o.Expect = e
	r, ok := f.auditor.begin(file, o)
	if !ok {
		return r.report, nil
	}
	var wrong *Wrong
	switch {
	case errors.As(f.wrong, &wrong):
		r.report.Add(wrong.Check)
	case f.wrong != nil:
		return r.report, f.wrong
	case !reflect.DeepEqual(r.claims.Seed, f.seed):
		r.report.Add(invalid(receipt.CheckSeed, "the receipt is with another seed than the answer that was followed"))
	case !slices.Equal(r.drawn, f.ids[f.first:]) || f.next != len(r.drawn):
		r.report.Add(invalid(receipt.CheckComputation, "the receipt has %d tokens, and not those %d that were followed", len(r.drawn), f.next))
	}
	if r.report.Failed() != nil || !r.checkAnswer() {
		return r.report, nil
	}
	r.report.Add(valid(receipt.CheckComputation, "%d positions computed again while the answer came: %s", len(r.read), claim("tokens", len(r.drawn), len(r.drawn))))
	switch {
	case r.claims.Trace.IsZero():
	case r.opening.Trace == nil || !f.traced:
		r.report.Add(unverified(receipt.CheckTrace, "the trace was not compared"))
	default:
		var tree *trace.Tree
		if err := f.auditor.Engine.Compute(ctx, func(*model.Model) (err error) { tree, err = f.seq.Trace(); return err }); err != nil {
			return r.report, noResult(&r.report, err)
		}
		r.checkTrace(tree, nil)
	}
	return r.report, nil
}

// Close frees the memory.
func (f *Follower) Close() {
	if f.seq != nil { // a closed engine has no memory to give back
		_ = f.auditor.Engine.Compute(context.Background(), func(*model.Model) error { f.seq.Close(); return nil })
		f.seq = nil
	}
}
