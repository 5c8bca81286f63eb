package payment

import (
	"errors"
	"fmt"
	"sync"
)

// Why a till does not take a voucher that is right.
var (
	ErrOld    = errors.New("payment: the voucher is for less than one before")
	ErrClosed = errors.New("payment: the answer has ended")
)

// Till takes the vouchers for one answer of a session at the node. While there
// is one, there must be no other of the same session: they would keep different
// states.
type Till struct {
	terms Terms

	mu      sync.Mutex
	state   State
	open    bool // the answer has begun
	closed  bool // it has ended
	in, out uint64
	paid    chan struct{} // closed and made anew when a better voucher comes
}

// NewTill makes the till of a session from what State gave last.
func NewTill(t Terms, s State) (*Till, error) {
	if err := s.validate(&t); err != nil {
		return nil, err
	}
	if s.Broken {
		s.Used, s.Broken = s.amount(), false
	}
	return &Till{terms: t, state: s, paid: make(chan struct{})}, nil
}

// Take takes a voucher. keep, which may be nil, is called with what is to be
// kept before the voucher counts. One for as much as another before changes
// nothing.
func (t *Till) Take(v *Voucher, keep func(State) error) error {
	if err := v.Verify(&t.terms); err != nil {
		return fmt.Errorf("payment: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch now := t.state.amount(); {
	case t.closed:
		return ErrClosed
	case v.Amount < now:
		return fmt.Errorf("%w: %d, that was for %d", ErrOld, v.Amount, now)
	case v.Amount == now:
		return nil
	}
	next := State{Voucher: v, Used: t.state.Used, Broken: t.open}
	if keep != nil {
		if err := keep(next); err != nil {
			return err
		}
	}
	t.state.Voucher = v
	close(t.paid)
	t.paid = make(chan struct{})
	return nil
}

// Begin begins an answer to a prompt of so many tokens, and says what the ones
// before cost.
func (t *Till) Begin(in uint64) (used uint64, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open || t.closed {
		return 0, ErrInUse
	}
	t.open, t.in, t.out = true, in, 0
	return t.state.Used, nil
}

// Covers says whether the prompt and so many tokens of the answer are paid for;
// if not, what is missing, and a channel that is closed when more comes.
func (t *Till) Covers(out uint64) (missing uint64, more <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if due := add(t.state.Used, t.terms.Cost(t.in, out)); due > t.state.amount() {
		return due - t.state.amount(), t.paid
	}
	return 0, nil
}

// Gave counts tokens of the answer that were sent.
func (t *Till) Gave(tokens uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.out = add(t.out, tokens)
}

// End ends the answer, and the till: what was given is used, as far as it was
// paid for; nothing, if the prompt was not read. keep, which may be nil, is
// called with what is to be kept.
func (t *Till) End(read bool, keep func(State) error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	if t.open && read {
		t.state.Used = min(add(t.state.Used, t.terms.Cost(t.in, t.out)), t.state.amount())
	}
	t.open, t.closed = false, true
	if keep == nil {
		return nil
	}
	return keep(t.state)
}
