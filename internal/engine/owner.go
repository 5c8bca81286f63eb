package engine

import (
	"context"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
)

// owner is the one goroutine that may touch a machine, and the door to it.
type owner struct {
	machine *machine
	clock   func() time.Time
	stopped chan struct{} // closed when the goroutine is gone

	mu     sync.Mutex
	cond   sync.Cond // inbox, closed or abort changed
	inbox  []command
	closed bool  // nothing more is taken in
	abort  error // everything is cancelled with this
}

// command asks for a task to be added, or, with a reason, to be cancelled; or
// for a function to be called.
type command struct {
	task   *task
	cancel error
	call   func()
}

func newOwner(m *machine, clock func() time.Time) *owner {
	o := &owner{machine: m, clock: clock, stopped: make(chan struct{})}
	o.cond.L = &o.mu
	go o.loop()
	return o
}

// submit hands a task in. Its mailbox will tell the rest.
func (o *owner) submit(t *task) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return ErrClosed
	}
	o.inbox = append(o.inbox, command{task: t})
	o.cond.Signal()
	return nil
}

// call lets f run between two steps, and waits for its end.
func (o *owner) call(ctx context.Context, f func()) error {
	done, gone := make(chan struct{}), ctx.Err()
	o.mu.Lock()
	if o.closed && gone == nil {
		gone = ErrClosed
	}
	if gone == nil {
		o.inbox = append(o.inbox, command{call: func() {
			defer close(done)
			if ctx.Err() == nil {
				f()
			}
		}})
		o.cond.Signal()
	}
	o.mu.Unlock()
	if gone != nil {
		return gone
	}
	<-done // f may be under way, so ctx does not end the wait
	return ctx.Err()
}

// cancel asks for the end of a task, which its mailbox will report.
func (o *owner) cancel(t *task, why error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inbox = append(o.inbox, command{task: t, cancel: why})
	o.cond.Signal()
}

// close lets no more tasks in; the goroutine ends when none is left. With a
// reason, those that are left are cancelled.
func (o *owner) close(abort error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
	if abort != nil {
		o.abort = abort
	}
	o.cond.Signal()
}

// next swaps the inbox for an empty one. It waits for something to do if wait
// is set.
func (o *owner) next(empty []command, wait bool) (commands []command, closed bool, abort error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for wait && len(o.inbox) == 0 && !o.closed {
		o.cond.Wait()
	}
	commands, o.inbox = o.inbox, empty[:0]
	return commands, o.closed, o.abort
}

func (o *owner) loop() {
	defer close(o.stopped)
	m := o.machine
	var spare []command
	for {
		commands, closed, abort := o.next(spare, m.idle())
		for _, c := range commands {
			o.obey(c)
		}
		clear(commands)
		spare = commands
		if abort != nil {
			for !m.idle() {
				o.cancelOne(abort)
			}
		}
		if m.idle() {
			if closed {
				m.cache.clear()
				return
			}
			continue
		}
		for _, t := range m.step(o.clock) {
			t.mail.deliver(t)
		}
	}
}

func (o *owner) obey(c command) {
	if c.call != nil {
		c.call()
		return
	}
	now := o.clock()
	if c.cancel != nil && c.task.done {
		return // it came too late: all was delivered, and whoever asked may be gone
	}
	if c.cancel != nil {
		o.machine.cancel(c.task, c.cancel, now)
	} else if err := o.machine.add(c.task); err != nil {
		c.task.err = err
		c.task.finish(now)
	}
	if c.task.done {
		c.task.mail.deliver(c.task)
	}
}

// cancelOne cancels some task of a machine that is not idle.
func (o *owner) cancelOne(why error) {
	m := o.machine
	t := m.queue.first()
	if t == nil {
		t = m.running[0]
	}
	o.obey(command{task: t, cancel: why})
}

// mailbox carries what a task puts out to the goroutine that asked for it,
// which may be slower than the model.
type mailbox struct {
	wake chan struct{} // holds one signal: there is something new

	mu     sync.Mutex
	events []Event
	done   bool
	result Result
	states []canon.Hash // task.states
	err    error
}

func newMailbox() *mailbox { return &mailbox{wake: make(chan struct{}, 1)} }

// deliver is called by the owner of the task.
func (b *mailbox) deliver(t *task) {
	b.mu.Lock()
	b.events = append(b.events, t.out...)
	if t.done {
		b.done, b.result, b.states, b.err = true, t.result, t.states, t.err
	}
	b.mu.Unlock()
	clear(t.out)
	t.out = t.out[:0]
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// collect swaps the events for an empty slice.
func (b *mailbox) collect(empty []Event) (events []Event, done bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	events, b.events = b.events, empty[:0]
	return events, b.done
}
