package payment

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// State is where a session stands, to be kept by whoever runs a purse or a till:
// who forgets the vouchers that it has, or has signed, loses at most what they
// are worth.
type State struct {
	Voucher *Voucher `json:"voucher,omitempty"` // the best; nil: none
	// Used is what the answers cost that have ended. Broken says that one did
	// not end: it may have cost all that the voucher says.
	Used   uint64 `json:"used"`
	Broken bool   `json:"broken,omitempty"`
}

func (s *State) amount() uint64 {
	if s.Voucher == nil {
		return 0
	}
	return s.Voucher.Amount
}

func (s *State) validate(t *Terms) error {
	if s.Voucher != nil {
		if err := s.Voucher.Verify(t); err != nil {
			return fmt.Errorf("payment: what was kept of the session: %w", err)
		}
	}
	if s.Used > s.amount() {
		return fmt.Errorf("payment: what was kept of the session: %d used of %d", s.Used, s.amount())
	}
	return nil
}

// Why a purse does not pay.
var (
	ErrSpent  = errors.New("payment: it costs more than may be spent")
	ErrCount  = errors.New("payment: the node counts more than it gave")
	ErrInUse  = errors.New("payment: another answer of the session is coming")
	errNoStep = errors.New("payment: the node does not say how many tokens are paid ahead")
)

// Purse pays for the answers of one session, one at a time.
type Purse struct {
	terms Terms
	key   ed25519.PrivateKey

	mu      sync.Mutex
	state   State
	open    bool // an answer is coming
	in, out uint64
	step    uint64
	most    uint64 // that may be signed for in it
	covered uint64 // tokens that were paid for
}

// NewPurse makes the purse of a session from what State gave last.
func NewPurse(t Terms, key ed25519.PrivateKey, s State) (*Purse, error) {
	if len(key) != ed25519.PrivateKeySize || !slices.Equal(t.Key, key.Public().(ed25519.PublicKey)) {
		return nil, errors.New("payment: the key is not that of the session's vouchers")
	}
	if err := s.validate(&t); err != nil {
		return nil, err
	}
	return &Purse{terms: t, key: key, state: s}, nil
}

// Terms are those of the session.
func (p *Purse) Terms() Terms { return p.terms }

// State is where the session stands. It is to be kept before a voucher is given
// away.
func (p *Purse) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	s.Broken = s.Broken || p.open
	return s
}

// Begin begins an answer. The node says what it counts for those before, how
// many tokens the prompt has, and how many it wants to be paid ahead; limit is
// the most that the answer may cost, 0: all that the session holds. Begin
// returns the first voucher, for the prompt and the first step.
func (p *Purse) Begin(used, in, step, limit uint64) (*Voucher, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	// What was on its way when an answer broke off is lost, and was paid for.
	known := p.state.Used
	if p.state.Broken {
		known = p.state.amount()
	}
	switch {
	case p.open:
		return nil, ErrInUse
	case used > known:
		return nil, fmt.Errorf("%w: %d for the answers before, they cost %d", ErrCount, used, known)
	case step < 1:
		return nil, errNoStep
	}
	most := p.terms.Escrow
	if limit > 0 {
		most = min(most, add(used, limit))
	}
	if least := add(used, p.terms.Cost(in, 1)); least > most {
		return nil, fmt.Errorf("%w: a prompt of %d tokens and one of the answer cost %d, of the session's %d are used %d, and the answer may cost %d (0: the rest)",
			ErrSpent, in, p.terms.Cost(in, 1), p.terms.Escrow, used, limit)
	}
	p.state.Used, p.state.Broken = used, false
	p.open, p.in, p.out, p.step, p.most = true, in, 0, step, most
	return p.sign(true), nil
}

// Got counts tokens that came, and returns a voucher for the next ones when it
// is time; nil: it is not, or no more may be spent.
func (p *Purse) Got(tokens uint64) *Voucher {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return nil
	}
	p.out = add(p.out, tokens)
	if p.covered > p.out && p.covered-p.out > p.step/2 {
		return nil
	}
	return p.sign(false)
}

// sign signs for what came and the next step, or as much of it as may be spent;
// nil: nothing more than before, unless the answer begins.
func (p *Purse) sign(first bool) *Voucher {
	p.covered = add(p.out, p.step)
	n := min(p.most, add(p.state.Used, p.terms.Cost(p.in, p.covered)))
	if n <= p.state.amount() {
		if !first {
			return nil
		}
		n = p.state.amount()
	}
	v := &Voucher{Chain: p.terms.Chain, Session: p.terms.Session, Amount: n, Answers: 1}
	if old := p.state.Voucher; old != nil {
		v.Answers = old.Answers
		if first {
			v.Answers++
		}
	}
	v.Sign(p.key)
	p.state.Voucher = v
	return v
}

// Last says that no more may be spent on the answer than was signed for.
func (p *Purse) Last() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open && p.state.amount() >= p.most
}

// End ends the answer. Whole says that it came to its end, so that both know
// what it cost.
func (p *Purse) End(whole bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.open {
		return
	}
	p.open, p.state.Broken = false, !whole
	p.state.Used = min(add(p.state.Used, p.terms.Cost(p.in, p.out)), p.state.amount())
}
