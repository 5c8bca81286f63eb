package engine

import (
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/sample"
)

// task is a request on its way through the machine.
type task struct {
	req        *Request
	constraint constraint // of req.Grammar, or nil
	embed      []float32  // if not nil, the request is for this

	// While it has a slot:
	*desk
	seq   sequence
	ids   []int32 // prompt and tokens drawn
	fed   int     // of ids, those the model has read or is reading
	text  stream
	stops stopper

	// What comes out. The owner empties out after each step.
	out                     []Event
	result                  Result
	states                  []canon.Hash // of the whole run, for its trace
	err                     error
	done                    bool
	arrived, started, first time.Time
	mail                    *mailbox
}

func newTask(req *Request, now time.Time) *task {
	return &task{req: req, arrived: now, result: Result{PromptIDs: req.Prompt, EndToken: noToken}}
}

// pending returns how many tokens the model must read before the next can be
// drawn: 1 while an answer is written, more while a prompt is read.
func (t *task) pending() int { return len(t.ids) - t.fed }

// prefilling reports whether the prompt is still being read.
func (t *task) prefilling() bool { return t.fed < len(t.req.Prompt) }

// limit returns how long ids may become.
func (t *task) limit(context int) int {
	n := len(t.req.Prompt)
	if t.req.MaxTokens > 0 && t.req.MaxTokens < context-n {
		return n + t.req.MaxTokens
	}
	return context
}

// start gives the task what it needs to run.
func (t *task) start(m *machine, now time.Time) error {
	t.started = now
	if err := t.begin(m); err != nil {
		return err
	}
	if t.embed == nil {
		t.seq, t.fed = m.cache.take(t.ids, t.req.Trace)
		t.result.Timings.Reused = t.fed
	}
	if t.seq == nil {
		t.seq = m.model.newSequence()
	}
	return nil
}

// begin gives the task what it needs to draw tokens.
func (t *task) begin(m *machine) error {
	t.ids = make([]int32, len(t.req.Prompt), min(t.limit(m.model.context()), len(t.req.Prompt)+preallocate))
	copy(t.ids, t.req.Prompt)
	if t.embed != nil {
		return nil
	}
	t.text = m.words.newStream()
	t.stops.stops = t.req.Stop
	var err error
	t.desk, err = m.newDesk(t.req.Params)
	return err
}

// preallocate is how many answer tokens have room from the start.
const preallocate = 1024

// draw chooses the next token from the logits and reports whether the task is
// done.
func (t *task) draw(m *machine) (bool, error) {
	id, err := t.choose(t.logits)
	if err != nil {
		return true, err
	}
	return t.accept(m, id)
}

// choose gives the token that the logits of the last position lead to.
func (t *task) choose(logits []float32) (int32, error) {
	if !Finite(logits) {
		return 0, ErrNotFinite
	}
	var allow sample.Mask
	if t.constraint != nil {
		var err error
		if allow, err = t.constraint.Mask(); err != nil {
			return 0, err
		}
	}
	return t.sampler.Sample(logits, t.ids, len(t.ids)-len(t.req.Prompt), allow)
}

// accept goes on with a token that was chosen and reports whether the task is
// done.
func (t *task) accept(m *machine, id int32) (bool, error) {
	if m.words.endOfGeneration(id) && !t.req.IgnoreEOS {
		t.result.EndToken = id
		t.end(StopEOS)
		return true, nil
	}
	if t.constraint != nil {
		if err := t.constraint.Accept(id); err != nil {
			return true, err
		}
	}
	ev := Event{Token: id, Text: t.text.Add(id)}
	if n := t.req.Logprobs; n > 0 {
		lp, top, err := sample.Logprobs(nil, t.logits, id, n-1)
		if err != nil {
			return true, err
		}
		ev.Logprob, ev.Top = lp.Logprob, top
	}
	t.ids = append(t.ids, id)
	last := len(t.ids) >= t.limit(m.model.context())
	if last {
		ev.Text += t.text.Flush()
	}
	var stop string
	t.out, stop = t.stops.add(t.out, ev)
	switch {
	case stop != "":
		t.result.StopText = stop
		t.end(StopString)
		return true, nil
	case last:
		t.end(StopLength)
		return true, nil
	}
	return false, nil
}

// end closes the answer's text.
func (t *task) end(why StopReason) {
	t.result.Stop = why
	if why == StopEOS {
		if rest := t.text.Flush(); rest != "" {
			var stop string
			if t.out, stop = t.stops.add(t.out, Event{Token: noToken, Text: rest}); stop != "" {
				t.result.StopText, t.result.Stop = stop, StopString
			}
		}
	}
	t.out = t.stops.flush(t.out)
}

// finish records what the result says about the whole.
func (t *task) finish(now time.Time) {
	t.done = true
	t.result.IDs = slices.Clone(t.ids[min(len(t.req.Prompt), len(t.ids)):])
	tm := &t.result.Timings
	if t.started.IsZero() {
		tm.Queued = now.Sub(t.arrived)
		return
	}
	tm.Queued = t.started.Sub(t.arrived)
	if t.first.IsZero() {
		tm.Prompt = now.Sub(t.started)
		return
	}
	tm.Prompt = t.first.Sub(t.started)
	tm.Generate = now.Sub(t.first)
}
