package node

import (
	"context"
	"crypto/ed25519"
	"errors"
	"maps"
	"path/filepath"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/access"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/consensus"
	"github.com/avalnetwork/aval/internal/ledger"
	"github.com/avalnetwork/aval/internal/node/control"
	"github.com/avalnetwork/aval/internal/payment"
	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/remote"
	"github.com/avalnetwork/aval/internal/rpc"
	"github.com/avalnetwork/aval/internal/wallet"
	"github.com/avalnetwork/aval/receipt"
)

// sessionsFolder is where sessions stand that this node pays or is paid by, in the
// node's folder.
const sessionsFolder = "sessions"

// openWallet lets the chain send transactions of the node's account.
func (c *chain) openWallet(folder string) (err error) {
	if c.wallet, err = wallet.New(wallet.Single(c.key), c); err != nil {
		return err
	}
	c.sessions, err = wallet.NewBook(filepath.Join(folder, sessionsFolder), c)
	return err
}

// Entry is wallet.Ledger's.
func (c *chain) Entry(_ context.Context, key []byte) ([]byte, error) {
	t, _ := c.node.State()
	raw, _ := t.Get(key)
	return raw, nil
}

// Submit is wallet.Ledger's.
func (c *chain) Submit(ctx context.Context, tx []byte) (ledger.Done, error) {
	done, err := c.node.Submit(ctx, tx)
	var no *consensus.Rejected
	if errors.As(err, &no) {
		return ledger.Done{Result: no.Result}, nil
	}
	return ledger.Done{Height: done.Height, Result: done.Result}, err
}

// entryAt is an entry of the state after the last block; nil: there is none.
func entryAt[T any](c *chain, key []byte) *T {
	raw, _ := c.Entry(context.Background(), key)
	if raw == nil {
		return nil
	}
	_, v, err := ledger.Entry(key, raw)
	if err != nil {
		return nil // the ledger checks what it takes
	}
	e, _ := v.(*T)
	return e
}

// offerOf is what this node offers a model for, on the ledger; nil: it does not.
func (n *Node) offerOf(root receipt.Hash) *ledger.Offer {
	if n.chain == nil || root.IsZero() {
		return nil
	}
	return entryAt[ledger.Offer](n.chain, ledger.OfferKey(n.key.Public().(ed25519.PublicKey), root))
}

// mayAsk decides who may ask a model: those whom the owner lets and, if it is
// offered on the ledger, everybody, who pays unless it is free.
func (n *Node) mayAsk(ctx context.Context, who peer.ID, model string, tokens [][]byte, use bool) error {
	err := n.Guard.Allow(access.Request{Who: who, Action: access.Ask, Resource: model, Tokens: tokens, Look: !use})
	if rpc.CodeOf(err) != rpc.PermissionDenied || n.chain == nil {
		return err
	}
	list, failed := n.host.Models(ctx)
	if failed != nil {
		return err
	}
	for _, m := range list {
		if m.Name == model && n.offerOf(m.Root) != nil {
			return nil
		}
	}
	return err
}

// mustPay tells whether a peer is to pay for a model: if it is offered for a price,
// and the owner does not let the peer ask anyway.
func (n *Node) mustPay(ctx context.Context, who peer.ID, m remote.Model) bool {
	o := n.offerOf(m.Root)
	if o == nil || o.PriceIn == 0 && o.PriceOut == 0 {
		return false
	}
	call, _ := rpc.FromContext(ctx)
	return n.Guard.Allow(access.Request{Who: who, Action: access.Ask, Resource: m.Name, Tokens: call.Tokens, Look: true}) != nil
}

// paidBy are the sessions by which others pay this node: remote.Sessions.
type paidBy struct{ c *chain }

// sessionWait is how long a session may take from the payer's node to this one.
const sessionWait = 3 * time.Second

// Session waits a little for the block that a session was opened in: the payer's
// node may have it before this one.
func (s paidBy) Session(ctx context.Context, id canon.Hash) (payment.Terms, payment.State, error) {
	late := time.NewTimer(sessionWait)
	defer late.Stop()
	for waiting := true; waiting; {
		changed := s.c.Changed()
		if entryAt[ledger.Session](s.c, ledger.SessionKey(id)) != nil {
			break
		}
		select {
		case <-changed:
		case <-late.C:
			waiting = false
		case <-ctx.Done():
			return payment.Terms{}, payment.State{}, ctx.Err()
		}
	}
	return s.c.sessions.Session(ctx, id)
}

func (s paidBy) Keep(ctx context.Context, id canon.Hash, state payment.State) error {
	return s.c.sessions.Keep(ctx, id, state)
}

// How sessions are settled: a while after they expired, since an answer may still
// be coming, but with time to spare.
const (
	settleEvery = 2 * time.Second
	settleAgain = time.Minute // after a failure, which may have cost a fee
	settleAfter = 20 * 60 * 1000
)

// settle settles the sessions that pay this node's account, until ctx ends.
func (n *Node) settle(ctx context.Context) {
	c := n.chain
	for wait := settleEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = settleEvery
		if c.node.Status().CatchingUp {
			continue // sessions may be missing that there are
		}
		t, _ := c.node.State()
		grace, now := ledger.ParamsAt(&t).SessionGrace, uint64(time.Now().UnixMilli())
		settled, err := c.sessions.Settle(ctx, c.wallet, now, now+grace-min(grace/4, settleAfter))
		for _, id := range settled {
			n.logger.Info("a session is settled", "session", id)
		}
		c.purses.drop(func(id canon.Hash) bool { return entryAt[ledger.Session](c, ledger.SessionKey(id)) == nil })
		if err != nil && ctx.Err() == nil {
			n.logger.Warn("sessions wait to be settled", "why", err)
			wait = settleAgain
		}
	}
}

// purses are those of the sessions that this node's account pays by.
type purses struct {
	opening sync.Mutex // held while a session is found or opened

	mu   sync.Mutex
	list map[canon.Hash]*payment.Purse
	busy map[canon.Hash]bool // an answer is coming
}

// drop forgets the purses of sessions that have ended.
func (p *purses) drop(ended func(id canon.Hash) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.list, func(id canon.Hash, _ *payment.Purse) bool { return ended(id) })
}

// SessionRequest asks for a session that pays a node for answers of a model.
type SessionRequest struct {
	Peer  peer.ID      `json:"peer"`
	Model receipt.Hash `json:"model"`
	// Escrow is what a new one sets aside; one that is open is used again if that
	// much, or Least, is left of it.
	Escrow ledger.Amount `json:"escrow"`
	Least  ledger.Amount `json:"least"`
	Long   time.Duration `json:"long"` // for which a new one is open
	// The prices, for a million tokens, that are paid at most.
	PriceIn  ledger.Amount `json:"price_in"`
	PriceOut ledger.Amount `json:"price_out"`
}

// PaySession is an open session.
type PaySession struct {
	ID       canon.Hash    `json:"id"`
	Escrow   ledger.Amount `json:"escrow"`
	Promised ledger.Amount `json:"promised"` // of it, so far
	Expires  time.Time     `json:"expires"`
	New      bool          `json:"new"` // it was opened now
}

// Bounds of sessions.
const (
	leastLeft   = 3 * time.Second // for which a session that is used again is open at least
	maxSessions = 1024
)

// Session finds a session that pays a node, or opens one.
func (n *Node) Session(ctx context.Context, r SessionRequest) (PaySession, error) {
	c := n.chain
	if c == nil {
		return PaySession{}, errNoLedger
	}
	if r.Peer == n.Mesh.Self() {
		return PaySession{}, rpc.Errorf(rpc.InvalidArgument, "this node does not pay itself")
	}
	c.purses.opening.Lock()
	defer c.purses.opening.Unlock()
	if s, err := n.openSession(ctx, r); err != nil || !s.ID.IsZero() {
		return s, err
	}
	t, _ := c.node.State()
	span := time.Duration(min(ledger.ParamsAt(&t).SessionSpan, 1<<40)) * time.Millisecond
	p, err := c.wallet.Open(ctx, ledger.Open{
		Node: r.Peer.Public(), Model: r.Model, Escrow: r.Escrow, PriceIn: r.PriceIn, PriceOut: r.PriceOut,
		Expires: uint64(time.Now().Add(min(r.Long, span*9/10)).UnixMilli()),
	})
	if err != nil {
		return PaySession{}, err
	}
	s := sessionOf(p)
	s.New = true
	c.purses.mu.Lock()
	c.purses.list[s.ID] = p
	c.purses.mu.Unlock()
	return s, c.sessions.Keep(ctx, s.ID, p.State())
}

// openSession finds a session that is open; zero: there is none that will do.
func (n *Node) openSession(ctx context.Context, r SessionRequest) (PaySession, error) {
	c := n.chain
	ids, err := c.sessions.Sessions()
	if err != nil {
		return PaySession{}, err
	}
	if len(ids) > maxSessions {
		return PaySession{}, rpc.Errorf(rpc.ResourceExhausted, "there are %d open sessions", len(ids))
	}
	c.purses.mu.Lock()
	defer c.purses.mu.Unlock()
	until := uint64(time.Now().Add(leastLeft).UnixMilli())
	for _, id := range ids {
		e := entryAt[ledger.Session](c, ledger.SessionKey(id))
		if e == nil || c.purses.busy[id] || e.Payer != c.Account() || string(e.Node) != string(r.Peer.Public()) || e.Model != r.Model ||
			e.PriceIn > r.PriceIn || e.PriceOut > r.PriceOut || e.Expires < until {
			continue
		}
		p, err := c.purse(ctx, id)
		if err != nil {
			n.logger.Warn("a session is not used again", "session", id, "error", err)
			continue
		}
		if s := sessionOf(p); s.Escrow-s.Promised >= min(r.Escrow, r.Least) {
			return s, nil
		}
	}
	return PaySession{}, nil
}

// purse is that of a session, which an earlier run of the node may have opened. The
// caller has the lock.
func (c *chain) purse(ctx context.Context, id canon.Hash) (*payment.Purse, error) {
	if p := c.purses.list[id]; p != nil {
		return p, nil
	}
	s, err := c.sessions.State(id)
	if err != nil {
		return nil, err
	}
	p, err := c.wallet.Purse(ctx, id, s)
	if err == nil {
		c.purses.list[id] = p
	}
	return p, err
}

func sessionOf(p *payment.Purse) PaySession {
	t, s := p.Terms(), p.State()
	out := PaySession{ID: t.Session, Escrow: ledger.Amount(t.Escrow), Expires: time.UnixMilli(int64(t.Expires))}
	if s.Voucher != nil {
		out.Promised = ledger.Amount(s.Voucher.Amount)
	}
	return out
}

// Payment is what an answer cost.
type Payment struct {
	PaySession
	Cost ledger.Amount `json:"cost"` // of this answer
}

// pay lets a client pay by a session; end tells what came of it.
func (n *Node) pay(ctx context.Context, c *remote.Client, r *AskRequest) (end func(a *remote.Answer) *Payment, err error) {
	if r.Session.IsZero() {
		return func(*remote.Answer) *Payment { return nil }, nil
	}
	if n.chain == nil {
		return nil, errNoLedger
	}
	if !r.Via.Peer.IsZero() {
		return nil, rpc.Errorf(rpc.InvalidArgument, "who asks through a relay cannot pay: a session shows who asks")
	}
	l := n.chain
	l.purses.mu.Lock()
	defer l.purses.mu.Unlock()
	if l.purses.busy[r.Session] {
		return nil, rpc.Errorf(rpc.FailedPrecondition, "another answer of the session %v is coming: it pays for one at a time", r.Session)
	}
	p, err := l.purse(ctx, r.Session)
	if err != nil {
		return nil, err
	}
	l.purses.busy[r.Session] = true
	c.Pay = &remote.Paying{Purse: p, Spend: uint64(r.Spend), Keep: func(s payment.State) error {
		return l.sessions.Keep(context.WithoutCancel(ctx), r.Session, s)
	}}
	return func(a *remote.Answer) *Payment {
		l.purses.mu.Lock()
		defer l.purses.mu.Unlock()
		delete(l.purses.busy, r.Session)
		out := &Payment{PaySession: sessionOf(p)}
		if a != nil && len(a.IDs) > 0 {
			t := p.Terms()
			out.Cost = ledger.Amount(t.Cost(uint64(len(a.PromptIDs)), uint64(len(a.IDs))))
		}
		return out
	}, nil
}

// payMethods are what commands may ask about paying.
func (n *Node) payMethods() map[string]control.Method {
	return map[string]control.Method{"session": method(n.Session)}
}

// Session is Node.Session.
func (r *Remote) Session(ctx context.Context, in SessionRequest) (out PaySession, err error) {
	err = r.client.Call(ctx, "session", in, &out)
	return out, err
}
