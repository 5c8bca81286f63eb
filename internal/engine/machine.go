package engine

import (
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/sample"
)

// machine schedules requests on a model. It has no goroutine, clock or lock:
// its owner adds and cancels tasks and calls step, and reads after each step
// what the tasks put out.
type machine struct {
	model   backend
	words   vocabulary
	slots   int
	waiting int // tasks that may wait
	batch   int // tokens of a step while nobody is being answered
	share   int // tokens of prompts in a step while somebody is

	queue   queue
	running []*task // in order of admission
	cache   prefixCache
	spare   []*desk // of slots that are free
	steps   []step  // of the step at hand
	parts   []*task // whose they are
	touched []*task // what the last call changed
}

// add takes a request in, or refuses it.
func (m *machine) add(t *task) error {
	if err := t.req.validate(m.model.context(), m.model.trained(), m.model.vocab()); err != nil {
		return err
	}
	if m.queue.size >= m.waiting {
		return ErrBusy
	}
	m.queue.push(t)
	return nil
}

// cancel ends a task wherever it is. Its slot is free at once.
func (m *machine) cancel(t *task, why error, now time.Time) {
	if t.done {
		return
	}
	t.err = why
	t.result.Stop = StopCancelled
	if !m.queue.remove(t) {
		m.retire(t)
	}
	t.finish(now)
}

// idle reports whether a step would have nothing to do.
func (m *machine) idle() bool { return m.queue.size == 0 && len(m.running) == 0 }

// step runs the model once, over one token of every request that is being
// answered and some of every prompt that is being read. It returns the tasks
// that it changed; the slice is valid until the next step.
func (m *machine) step(clock func() time.Time) []*task {
	m.touched = m.touched[:0]
	m.admit(clock())
	m.plan()
	if len(m.steps) == 0 {
		return m.touched
	}
	err := m.model.forward(m.steps)
	now := clock()
	for i, t := range m.parts {
		t.fed += len(m.steps[i].tokens)
		if err != nil {
			m.fail(t, err, now)
			continue
		}
		m.advance(t, now)
	}
	clear(m.parts)
	clear(m.steps)
	return m.touched
}

// desk is what a slot works with; the next request of the slot takes it over.
type desk struct {
	logits  []float32
	sampler *sample.Sampler
}

// newDesk returns a free desk, prepared for a request.
func (m *machine) newDesk(p sample.Params) (*desk, error) {
	if n := len(m.spare); n > 0 {
		d := m.spare[n-1]
		m.spare = m.spare[:n-1]
		return d, d.sampler.Reset(p)
	}
	s, err := sample.New(p, m.model.vocab())
	return &desk{make([]float32, m.model.vocab()), s}, err
}

// admit fills free slots from the queue.
func (m *machine) admit(now time.Time) {
	for len(m.running) < m.slots {
		t := m.queue.pop()
		if t == nil {
			return
		}
		if err := t.start(m, now); err != nil {
			t.err = err
			t.finish(now)
			m.touched = append(m.touched, t)
			continue
		}
		m.running = append(m.running, t)
	}
}

// plan chooses the tokens of the next step: answers first, then what is left
// for prompts, in equal parts, the rest of one going to the next.
func (m *machine) plan() {
	m.steps, m.parts = m.steps[:0], m.parts[:0]
	prompts := 0
	for _, t := range m.running {
		if t.prefilling() {
			prompts++
			continue
		}
		m.part(t, t.pending())
	}
	left := m.batch
	if len(m.steps) > 0 {
		left = m.share
	}
	for _, t := range m.running {
		if !t.prefilling() || left == 0 {
			continue
		}
		n := min(t.pending(), max(left/prompts, 1))
		if t.embed != nil {
			n = t.pending() // pooled over the whole, so read in one piece
		}
		m.part(t, n)
		left = max(left-n, 0)
		prompts--
	}
}

// part adds the next n tokens of a task to the step at hand.
func (m *machine) part(t *task, n int) {
	s := step{seq: t.seq, tokens: t.ids[t.fed : t.fed+n], trace: t.req.Trace}
	switch {
	case t.embed != nil:
		s.embedding = t.embed
	case t.fed+n == len(t.ids):
		s.want, s.logits = 1, t.logits
	}
	m.steps = append(m.steps, s)
	m.parts = append(m.parts, t)
}

// advance goes on with a task after the model read some of its tokens.
func (m *machine) advance(t *task, now time.Time) {
	if t.pending() > 0 {
		return
	}
	if t.first.IsZero() {
		t.first = now
	}
	done, err := true, error(nil)
	if t.embed == nil {
		done, err = t.draw(m)
	} else if !Finite(t.embed) {
		err = ErrNotFinite
	}
	switch {
	case err != nil:
		m.fail(t, err, now)
	case done:
		if t.req.Trace {
			t.states = t.seq.States()
		}
		m.retire(t)
		t.finish(now)
		m.touched = append(m.touched, t)
	default:
		m.touched = append(m.touched, t)
	}
}

// fail ends a task with an error. What its sequence holds is not trusted.
func (m *machine) fail(t *task, err error, now time.Time) {
	t.err = err
	t.seq.Close()
	t.seq = nil
	m.retire(t)
	t.finish(now)
	m.touched = append(m.touched, t)
}

// retire frees the slot of a task and keeps its sequence for reuse.
func (m *machine) retire(t *task) {
	if i := slices.Index(m.running, t); i >= 0 {
		m.running = slices.Delete(m.running, i, i+1)
	}
	switch {
	case t.seq == nil:
	case t.embed != nil:
		t.seq.Close()
	default:
		m.cache.put(t.seq, t.ids[:t.fed])
	}
	if t.desk != nil {
		m.spare = append(m.spare, t.desk)
	}
	t.seq, t.desk = nil, nil
}
