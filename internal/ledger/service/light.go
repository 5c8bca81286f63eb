package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/internal/light"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// How a light client asks.
const (
	maxAsked   = 4                // peers that Update asks
	askTime    = 10 * time.Second // for an answer of one of them
	submitTime = 40 * time.Second // for a transaction through one
	keepEvery  = time.Hour        // how often a header that did not change is kept again
)

// LightConfig is how a ledger is followed without its chain.
type LightConfig struct {
	Genesis *ledger.Genesis
	// Trust is a header that is believed, from an earlier run; nil: the validators
	// of the genesis.
	Trust *light.Trust
	// Peers are who may be asked, the best first.
	Peers func() []*Client
	// Keep keeps what is believed for the next run; nil: nothing is kept.
	Keep func(*light.Trust) error
	// Fork was found in an earlier run; Forked keeps one that is found.
	Fork   *Fork
	Forked func(*Fork)
	Period time.Duration    // how long a header is believed; 0: light.Period
	Now    func() time.Time // nil: time.Now
}

// Light follows a ledger without its chain.
type Light struct {
	cfg     LightConfig
	genesis *light.Trust

	mu     sync.Mutex
	trust  *light.Trust
	head   *light.Block // of what is trusted; nil: not fetched in this run
	from   peer.ID      // who showed it
	after  uint64       // height of the last block with a transaction of ours
	fork   *Fork
	asked  int // peers that agreed when they were asked last
	kept   time.Time
	keepOf canon.Hash

	updating sync.Mutex
}

// Fork is two headers of one height that validators signed both: more than a
// third of them lied, and nothing is believed any more.
type Fork struct {
	_      struct{} `cbor:",toarray"`
	Height uint64
	Blocks [2]*light.Block // the evidence
	Peers  [2]peer.ID      // who showed them
}

// Encode is the canonical encoding, for keeping.
func (e *Fork) Encode() ([]byte, error) { return canon.Marshal(e) }

// DecodeFork reads what Encode writes. It believes all of it.
func DecodeFork(data []byte) (*Fork, error) {
	if len(data) > 3*light.MaxBlock {
		return nil, fmt.Errorf("the evidence of a fork has %d bytes, want at most %d", len(data), 3*light.MaxBlock)
	}
	var e Fork
	if err := canon.UnmarshalMax(data, &e, 16<<10); err != nil {
		return nil, fmt.Errorf("the evidence of a fork: %w", err)
	}
	if e.Blocks[0] == nil || e.Blocks[1] == nil {
		return nil, errors.New("the evidence of a fork lacks a header")
	}
	return &e, nil
}

func (e *Fork) Error() string {
	return fmt.Sprintf("the ledger is forked: validators signed two headers of height %d, %s (from %s) and %s (from %s): trust neither, and ask people who run it",
		e.Height, e.Blocks[0].Header.Hash(), e.Peers[0], e.Blocks[1].Header.Hash(), e.Peers[1])
}

// ErrNobody says that no node of the ledger could be asked.
var ErrNobody = errors.New("no node of the ledger can be asked")

// GenesisTrust is what somebody believes who knows the genesis alone.
func GenesisTrust(g *ledger.Genesis, now time.Time) (*light.Trust, error) {
	m, err := ledger.New(g)
	if err != nil {
		return nil, err
	}
	var vals []light.Validator
	for _, v := range m.Validators() {
		vals = append(vals, light.Validator{Key: canon.Hash(v.Key), Power: v.Power})
	}
	return light.Genesis(g.Chain, vals, now), nil
}

// NewLight begins to follow a ledger. It asks nobody yet.
func NewLight(cfg LightConfig) (*Light, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Period == 0 {
		cfg.Period = light.Period
	}
	t, err := GenesisTrust(cfg.Genesis, cfg.Now())
	if err != nil {
		return nil, err
	}
	l := &Light{cfg: cfg, genesis: t, trust: cmp.Or(cfg.Trust, t), fork: cfg.Fork}
	if l.trust.Chain != cfg.Genesis.Chain {
		return nil, fmt.Errorf("the header that is trusted is of the chain %q, the genesis of %q", l.trust.Chain, cfg.Genesis.Chain)
	}
	return l, nil
}

// Trust is what is believed.
func (l *Light) Trust() light.Trust {
	l.mu.Lock()
	defer l.mu.Unlock()
	return *l.trust
}

// Agreed is how many peers showed the newest header, or one before it, when they
// were asked last.
func (l *Light) Agreed() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asked
}

// state is what is believed now, or that there is a fork.
func (l *Light) state() (trust *light.Trust, after uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fork != nil {
		return nil, 0, l.fork
	}
	return l.trust, l.after, nil
}

// advance believes a header that was verified, if it is a newer one.
func (l *Light) advance(t *light.Trust, b *light.Block, from peer.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.Height > l.trust.Height || t.Header == l.trust.Header {
		l.trust, l.head, l.from = t, b, from
	}
}

// keep keeps what is believed, if that changed or is old.
func (l *Light) keep() error {
	l.mu.Lock()
	t, now := l.trust, l.cfg.Now()
	due := l.cfg.Keep != nil && t.Height > 0 && (t.Header != l.keepOf || now.Sub(l.kept) > keepEvery)
	if due {
		l.keepOf, l.kept = t.Header, now
	}
	l.mu.Unlock()
	if !due {
		return nil
	}
	return l.cfg.Keep(t)
}

// follow verifies a header that a peer gave, and those between that it needs. One
// that is not above what is trusted must be signed by a third of those trusted.
func (l *Light) follow(ctx context.Context, c *Client, t *light.Trust, b *light.Block) (*light.Trust, error) {
	h := b.Header.Height
	if h <= t.Height {
		if t.Header == b.Header.Hash() {
			return t.Again(l.cfg.Now(), l.cfg.Period)
		}
		earlier := *t
		earlier.Height, earlier.Time = max(h, 2)-2, light.Time{}
		if h == 1 { // signed by those of the genesis
			earlier = *l.genesis
			earlier.Checked = t.Checked
		}
		t = &earlier
	}
	out, err := t.Follow(h, l.cfg.Now(), l.cfg.Period, func(height uint64) (*light.Block, error) {
		if height == h {
			return b, nil
		}
		return c.Head(ctx, height)
	})
	if errors.Is(err, light.ErrInvalid) {
		err = c.lied("%v", err)
	}
	return out, err
}

// seen is what a peer said the newest header is.
type seen struct {
	c     *Client
	block *light.Block
	trust *light.Trust
	err   error
}

// Update asks peers for their newest headers, follows them, and compares them: a
// *Fork says that they do not fit, though validators signed them.
func (l *Light) Update(ctx context.Context) error {
	l.updating.Lock()
	defer l.updating.Unlock()
	trust, _, err := l.state()
	if err != nil {
		return err
	}
	peers := l.cfg.Peers()
	list := make([]seen, min(maxAsked, len(peers)))
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() {
			s := &list[i]
			s.c = peers[i]
			limited, cancel := context.WithTimeout(ctx, askTime)
			defer cancel()
			if s.block, s.err = s.c.Head(limited, 0); s.err == nil {
				s.trust, s.err = l.follow(limited, s.c, trust, s.block)
			}
		})
	}
	wg.Wait()
	errs := []error{ErrNobody}
	for _, s := range list {
		if s.err != nil {
			errs = append(errs, s.err)
		}
	}
	list = slices.DeleteFunc(list, func(s seen) bool { return s.err != nil })
	if len(list) == 0 {
		l.mu.Lock()
		l.asked = 0
		l.mu.Unlock()
		return rpc.Errorf(rpc.Unavailable, "%w", errors.Join(errs...))
	}
	slices.SortStableFunc(list, func(a, b seen) int { return cmp.Compare(b.trust.Height, a.trust.Height) })
	best := list[0]
	if best.trust.Height < trust.Height { // all are behind: compare with what is known
		l.mu.Lock()
		l.asked = 0
		l.mu.Unlock()
		return rpc.Errorf(rpc.Unavailable, "%w: those that answer are behind: at height %d, known is height %d", ErrNobody, best.trust.Height, trust.Height)
	}
	agreed := 1
	for _, s := range list[1:] {
		same, err := l.compare(ctx, trust, best, s)
		if err != nil {
			return err
		}
		if same {
			agreed++
		}
	}
	if trust.Height == best.trust.Height && trust.Header != best.trust.Header {
		l.mu.Lock()
		mine, from := l.head, l.from
		l.mu.Unlock()
		if mine != nil && mine.Header.Hash() == trust.Header {
			return l.forked(best.trust.Height, mine, best.block, from, best.c.Peer)
		}
		return best.c.lied("its header of height %d is not the one that was verified before", trust.Height)
	}
	l.advance(best.trust, best.block, best.c.Peer)
	l.mu.Lock()
	l.asked = agreed
	l.mu.Unlock()
	return l.keep()
}

func (l *Light) forked(height uint64, a, b *light.Block, from, other peer.ID) error {
	l.mu.Lock()
	fresh := l.fork == nil
	if fresh {
		l.fork = &Fork{Height: height, Blocks: [2]*light.Block{a, b}, Peers: [2]peer.ID{from, other}}
	}
	fork := l.fork
	l.mu.Unlock()
	if fresh && l.cfg.Forked != nil {
		l.cfg.Forked(fork)
	}
	return fork
}

// compare tells whether the header of one peer is on the chain of another whose
// is not lower.
func (l *Light) compare(ctx context.Context, trust *light.Trust, best, s seen) (same bool, err error) {
	at := best
	if h := s.trust.Height; h < best.trust.Height {
		limited, cancel := context.WithTimeout(ctx, askTime)
		defer cancel()
		if at.block, err = best.c.Head(limited, h); err != nil {
			return false, nil // it may have it no more
		}
		if at.trust, err = l.follow(limited, best.c, trust, at.block); err != nil {
			return false, nil
		}
	}
	if at.trust.Header == s.trust.Header {
		return true, nil
	}
	return false, l.forked(s.trust.Height, at.block, s.block, best.c.Peer, s.c.Peer)
}

// Proved is an entry with all that shows it to who knows the genesis.
type Proved struct {
	Value []byte // nil: there is none
	Proof *tree.Proof
	Trust *light.Trust // the header that the proof is under
	Block *light.Block // the same, with its votes
}

// Prove gets an entry and its proof, of the state after the last transaction that
// was sent here or a later one.
func (l *Light) Prove(ctx context.Context, key []byte) (*Proved, error) {
	return l.each(func(c *Client) (*Proved, error) {
		_, after, err := l.state()
		if err != nil {
			return nil, err
		}
		return l.prove(ctx, c, key, after)
	})
}

// each asks one peer after the other until one answers.
func (l *Light) each(f func(c *Client) (*Proved, error)) (*Proved, error) {
	errs := []error{ErrNobody}
	for _, c := range l.cfg.Peers() {
		p, err := f(c)
		if err == nil || errors.As(err, new(*Fork)) || errors.Is(err, light.ErrExpired) || errors.Is(err, context.Canceled) {
			return p, err
		}
		errs = append(errs, err)
	}
	return nil, rpc.Errorf(rpc.Unavailable, "%w", errors.Join(errs...))
}

func (l *Light) prove(ctx context.Context, c *Client, key []byte, after uint64) (*Proved, error) {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	l.mu.Lock()
	trust, head, from := l.trust, l.head, l.from
	l.mu.Unlock()
	known := uint64(0)
	if head != nil {
		known = trust.Height
	}
	if trust.Height > 0 {
		after = max(after, trust.Height-1)
	}
	s, err := c.entry(ctx, key, after, known)
	if err != nil {
		return nil, err
	}
	block := head
	if s.block != nil {
		block = s.block
	}
	t, err := l.follow(ctx, c, trust, block)
	if err != nil {
		return nil, err
	}
	if t.Height == trust.Height && trust.Height > 0 && t.Header != trust.Header {
		if head != nil {
			return nil, l.forked(t.Height, head, block, from, c.Peer)
		}
		return nil, c.lied("its header of height %d is not the one that was verified before", t.Height)
	}
	l.advance(t, block, c.Peer)
	value, err := s.check(c, t, key)
	if err != nil {
		return nil, err
	}
	return &Proved{value, s.proof, t, block}, l.keep()
}

// Entry reads an entry of the state; nil: there is none.
func (l *Light) Entry(ctx context.Context, key []byte) ([]byte, error) {
	p, err := l.Prove(ctx, key)
	if err != nil {
		return nil, err
	}
	return p.Value, nil
}

// Submit sends a transaction, and waits until it is in a block or cannot get into
// one. That it is in a block is proved by the count of its sender's transactions;
// the code and the fee are the peer's word.
func (l *Light) Submit(ctx context.Context, tx []byte) (ledger.Done, error) {
	height, res, err := l.send(ctx, tx)
	return ledger.Done{Height: height, Result: res}, err
}

func (l *Light) send(ctx context.Context, tx []byte) (uint64, ledger.Result, error) {
	t, body, err := ledger.DecodeTx(tx)
	if err != nil {
		return 0, ledger.Result{ID: ledger.TxID(tx), Code: ledger.CodeMalformed, Detail: err.Error()}, nil
	}
	if _, _, err := l.state(); err != nil {
		return 0, ledger.Result{}, err
	}
	errs := []error{ErrNobody}
	var refused *ledger.Result
	for _, c := range l.cfg.Peers() {
		height, res, err := l.sendTo(ctx, c, t, body, tx)
		switch {
		case err == nil && height > 0:
			return height, res, nil
		case err == nil && refused == nil: // another peer may take it
			refused = &res
		case err != nil && (ctx.Err() != nil || errors.As(err, new(*Fork))):
			return 0, ledger.Result{}, err
		case err != nil:
			errs = append(errs, err)
		}
	}
	if refused != nil {
		return 0, *refused, nil
	}
	return 0, ledger.Result{}, rpc.Errorf(rpc.Unavailable, "%w; the transaction may be in a block all the same: look at the account before it is sent again", errors.Join(errs...))
}

func (l *Light) sendTo(ctx context.Context, c *Client, t *ledger.Tx, body *ledger.Body, tx []byte) (uint64, ledger.Result, error) {
	limited, cancel := context.WithTimeout(ctx, submitTime)
	defer cancel()
	height, res, err := c.submit(limited, tx)
	if err != nil || height == 0 {
		return 0, res, err
	}
	nonce, err := l.nonce(limited, c, t, body, height)
	if err != nil {
		return 0, res, err
	}
	if nonce <= body.Nonce {
		return 0, res, c.lied("it says that a transaction is in block %d, and the account has made %d, of which this is not one", height, nonce)
	}
	l.mu.Lock()
	l.after = max(l.after, height)
	l.mu.Unlock()
	return height, res, nil
}

// nonce is how many transactions the sender of one has made, after a block.
func (l *Light) nonce(ctx context.Context, c *Client, t *ledger.Tx, body *ledger.Body, height uint64) (uint64, error) {
	key := ledger.AccountKey(body.Account)
	if t.Policy.Address() != body.Account {
		key = ledger.DeviceKey(body.Account, t.Policy.Keys[0])
	}
	p, err := l.prove(ctx, c, key, height)
	switch {
	case err != nil:
		return 0, err
	case p.Value == nil && t.Policy.Address() != body.Account:
		return 0, errors.New("the account has not authorised this device's key, or no longer does: nothing proves its transaction")
	case p.Value == nil:
		return 0, nil
	}
	_, v, err := ledger.Entry(key, p.Value)
	if err != nil {
		return 0, c.lied("%v", err)
	}
	switch e := v.(type) {
	case *ledger.Account:
		return e.Nonce, nil
	case *ledger.Device:
		return e.Nonce, nil
	}
	return 0, fmt.Errorf("internal error: the entry %x is a %T", key, v)
}
