package audit

import (
	"errors"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// The names of the checks beyond those of the receipt package. What cells or
// tokens were computed again, and with what result, is the check
// [receipt.CheckComputation].
const (
	CheckRendering = "rendering" // the prompt as it was given becomes these tokens
	CheckContext   = "context"   // the model is open with a context that fits
	CheckAnswer    = "answer"    // the tokens give this text, and end for this reason
)

// maxPass is how many positions are computed at one go by default: others who
// use the engine wait for one.
const maxPass = 256

// logitsBytes bounds the memory for the logits of several positions.
const logitsBytes = 64 << 20

// Auditor checks receipts of one model.
type Auditor struct {
	Engine *engine.Engine
	// Model is the fingerprint of the engine's file. A receipt for another
	// model is invalid.
	Model canon.Hash
	// Adapters are those of the engine, in its order. A receipt for others, or
	// with other scales, is invalid.
	Adapters []receipt.Adapter
	// Pass is how many positions are computed at one go; 0: 256.
	Pass int
	// Progress, if not nil, is told after each of them how many positions of
	// how many are done.
	Progress func(done, all int)
}

// Options of an audit. The zero value checks everything that can be checked.
type Options struct {
	// Options of the offline check that comes first; Expect.Model is set to
	// the auditor's.
	receipt.Options
	// Outputs is how many of the tokens are drawn again; 0: all. The others
	// are taken as the receipt has them. Only Full looks at it.
	Outputs int
	// Random chooses them; whoever made the receipt must not have known it.
	Random [32]byte
	// Prover are the states of whoever made the receipt, if they are at hand.
	// Full then names the first one that differs.
	Prover *trace.Tree
}

// Offline checks a receipt, or a file with one, without the model.
func Offline(data []byte, o receipt.Options) receipt.Report { return receipt.Offline(data, o) }

func valid(name, format string, args ...any) receipt.Check {
	return receipt.Check{Name: name, Verdict: receipt.Valid, Detail: fmt.Sprintf(format, args...)}
}

func invalid(name, format string, args ...any) receipt.Check {
	return receipt.Check{Name: name, Verdict: receipt.Invalid, Detail: fmt.Sprintf(format, args...)}
}

func unverified(name, format string, args ...any) receipt.Check {
	return receipt.Check{Name: name, Verdict: receipt.Unverified, Detail: fmt.Sprintf(format, args...)}
}

// run is a run as a receipt describes it, on its way through the checks.
type run struct {
	auditor *Auditor
	hash    canon.Hash // of the receipt
	claims  receipt.Claims
	opening *receipt.Opening
	report  receipt.Report

	read   []int32 // what the model read: the prompt and the tokens drawn but the last
	drawn  []int32
	replay *engine.Replay
	next   int // of drawn, the first that replay has not accepted
}

// begin makes the checks that need no arithmetic. It returns false if the
// report is complete with them: something is wrong, or not shown.
func (a *Auditor) begin(f *receipt.File, o receipt.Options) (*run, bool) {
	if o.Expect.Model.IsZero() {
		o.Expect.Model = a.Model
	}
	r := &run{auditor: a, hash: f.Receipt.Hash(), claims: f.Receipt.Claims(), opening: f.Opening, report: f.Check(o)}
	c := &r.claims
	if c.Model != a.Model && r.report.Failed() == nil {
		r.report.Add(invalid(receipt.CheckModel, "the receipt is for %v, the model at hand is %v", c.Model, a.Model))
	}
	if !slices.Equal(c.Adapters, a.Adapters) && r.report.Failed() == nil {
		r.report.Add(invalid(receipt.CheckAdapters, "the receipt is for the model with the adapters: %s; the model at hand has: %s",
			receipt.DescribeAdapters(c.Adapters), receipt.DescribeAdapters(a.Adapters)))
	}
	if r.report.Failed() != nil {
		return r, false
	}
	if len(a.Adapters) > 0 {
		r.report.Add(valid(receipt.CheckAdapters, "the receipt's: %s", receipt.DescribeAdapters(a.Adapters)))
	}
	if missing := r.missing(); missing != "" {
		r.report.Add(unverified(receipt.CheckComputation, "not computed again: the receipt's file does not show %s", missing))
		return r, false
	}
	r.drawn = r.opening.Output.IDs
	r.read = append(append([]int32{}, r.opening.Prompt.IDs...), r.drawn...)
	r.read = r.read[:len(r.read)-1]
	vocab := a.Engine.Config().Vocab
	for i, id := range r.drawn {
		if id < 0 || int(id) >= vocab {
			r.report.Add(invalid(receipt.CheckComputation, "token %d: id %d is not in the vocabulary of %d", i, id, vocab))
			return r, false
		}
	}
	context, check := a.context(c, len(r.read))
	if !check.Passed() {
		r.report.Add(check)
		return r, false
	}
	if s := r.opening.Source; s != nil {
		r.report.Add(a.checkRendering(&s.Source, r.opening))
	}
	request, err := requestOf(c, r.opening)
	if err == nil {
		r.replay, err = a.Engine.Replay(request, context)
	}
	if err != nil {
		r.report.Add(invalid(receipt.CheckComputation, "no engine takes such a request: %v", err))
	}
	return r, r.report.Failed() == nil
}

// missing names what must be shown before a receipt can be computed again.
func (r *run) missing() string {
	o, p := r.opening, r.claims.Params
	switch {
	case o == nil || o.Prompt == nil:
		return "the tokens of the prompt"
	case o.Output == nil:
		return "the tokens drawn"
	case p.Bias && o.Bias == nil:
		return "the logit bias"
	case p.Extra && o.Extra == nil:
		return "the stop strings, the grammar or the template"
	}
	return ""
}

// context gives the context of the engine that answered, and checks that this
// one computes the same.
func (a *Auditor) context(c *receipt.Claims, positions int) (int, receipt.Check) {
	have, want := a.Engine.Context(), c.Params.Context
	if want == 0 {
		want = a.Engine.FileContext()
	}
	switch {
	case positions+1 > want: // the last token has no position
		return 0, invalid(CheckContext, "%d prompt and %d output tokens, but the context is %d", c.PromptTokens, c.OutputTokens, want)
	// Rotary factors for short or long contexts: the only bits that depend on it.
	case a.Engine.Config().Arch == "phi3" && have != want:
		return 0, unverified(CheckContext, "the receipt is for a context of %d, the model is open with %d, and this architecture then computes differently: open it with %d", want, have, want)
	case positions > have:
		return 0, unverified(CheckContext, "the receipt is of %d positions, the model is open with %d: open it with more", positions, have)
	}
	return want, valid(CheckContext, "")
}

// advance accepts the tokens before token i as the receipt has them.
func (r *run) advance(i int) bool {
	for ; r.next < i; r.next++ {
		id := r.drawn[r.next]
		done, err := r.replay.Accept(id)
		switch {
		case errors.Is(err, engine.ErrRequest):
			r.report.Add(invalid(receipt.CheckComputation, "token %d: %v", r.next, err))
			return false
		case err != nil:
			r.report.Add(invalid(receipt.CheckComputation, "token %d: id %d is not allowed: %v", r.next, id, err))
			return false
		case done && r.next != len(r.drawn)-1:
			r.report.Add(invalid(CheckAnswer, "the answer ends with token %d (%s), but the receipt has %d tokens", r.next, r.replay.Result().Stop, len(r.drawn)))
			return false
		case !done && r.next == len(r.drawn)-1:
			r.report.Add(invalid(CheckAnswer, "nothing ends the answer after token %d, but the receipt says that it ended (%s)", r.next, r.claims.Stop))
			return false
		}
	}
	return true
}

// draw compares token i with the one that its logits lead to.
func (r *run) draw(i int, logits []float32) bool {
	if !r.advance(i) {
		return false
	}
	id, err := r.replay.Next(logits)
	switch {
	case err != nil:
		r.report.Add(invalid(receipt.CheckComputation, "token %d: nothing can be drawn: %v", i, err))
		return false
	case id != r.drawn[i]:
		r.report.Add(invalid(receipt.CheckComputation, "token %d: expected id %d, receipt has %d", i, id, r.drawn[i]))
		return false
	}
	return true
}

// checkAnswer accepts what is left and compares the whole answer.
func (r *run) checkAnswer() bool {
	if !r.advance(len(r.drawn)) {
		return false
	}
	got, c := r.replay.Result(), &r.claims
	stop := map[engine.StopReason]receipt.Stop{
		engine.StopEOS: receipt.StopEOS, engine.StopString: receipt.StopString, engine.StopLength: receipt.StopLength,
	}[got.Stop]
	if stop != c.Stop {
		r.report.Add(invalid(CheckAnswer, "the answer ended by %q, receipt says %q", stop, c.Stop))
		return false
	}
	text := r.opening.Text
	switch {
	case text == nil:
		r.report.Add(valid(CheckAnswer, "%d tokens, ended by %q; the text is not shown", len(r.drawn), stop))
	case text.Text != got.Text:
		r.report.Add(invalid(CheckAnswer, "the tokens give another text, from byte %d on", common(text.Text, got.Text)))
	case text.StopText != got.StopText:
		r.report.Add(invalid(CheckAnswer, "the stop string is another one of those given"))
	default:
		r.report.Add(valid(CheckAnswer, "%d tokens give this text of %d bytes, ended by %q", len(r.drawn), len(got.Text), stop))
	}
	return r.report.Failed() == nil
}

// common is the length of the longest common beginning.
func common(a, b string) int {
	n := min(len(a), len(b))
	for i := range n {
		if a[i] != b[i] {
			return i
		}
	}
	return n
}
