package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/avalnetwork/aval/internal/peer"
	"github.com/avalnetwork/aval/internal/rpc"
)

// Limits of a book.
const (
	MaxGrants   = 1024
	MaxReceived = 256
	MaxBlocked  = 1024
	MaxNote     = 200 // bytes
)

// Grant is what the owner of this node allowed.
type Grant struct {
	ID      ID        `json:"id"`
	Holder  peer.ID   `json:"holder,omitzero"` // zero: whoever has the token
	Rights  []Right   `json:"rights"`
	Created time.Time `json:"created"`
	Expires time.Time `json:"expires"`
	HandOn  int       `json:"hand_on,omitempty"`
	// PerMinute bounds the calls a minute of all who use the grant; 0: no bound.
	PerMinute int       `json:"per_minute,omitempty"`
	Note      string    `json:"note,omitempty"`
	Revoked   time.Time `json:"revoked,omitzero"`
}

// Received is a token that another gave to this node.
type Received struct {
	Issuer peer.ID   `json:"issuer"`
	Token  string    `json:"token"`
	Added  time.Time `json:"added"`
	Note   string    `json:"note,omitempty"`
}

// Blocked is a peer from which everything was taken back: no token helps it, not
// even one that another handed on to it, and none that went through its hands.
type Blocked struct {
	Peer  peer.ID   `json:"peer"`
	Since time.Time `json:"since"`
}

// Book is what was granted, to be looked through by its owner.
type Book struct {
	Granted  []Grant    `json:"granted"`
	Received []Received `json:"received"`
	Blocked  []Blocked  `json:"blocked,omitempty"`
}

// Check reports what is wrong with a book that was read.
func (b *Book) Check() error {
	if len(b.Granted) > MaxGrants || len(b.Received) > MaxReceived || len(b.Blocked) > MaxBlocked {
		return fmt.Errorf("access: %d grants, %d tokens and %d peers that are blocked, want at most %d, %d and %d", len(b.Granted), len(b.Received), len(b.Blocked), MaxGrants, MaxReceived, MaxBlocked)
	}
	if slices.ContainsFunc(b.Blocked, func(x Blocked) bool { return x.Peer.IsZero() }) {
		return errors.New("access: a peer that is blocked has no ID")
	}
	seen := map[ID]bool{}
	for _, g := range b.Granted {
		if err := g.check(); err != nil {
			return err
		}
		if seen[g.ID] {
			return fmt.Errorf("access: the grant %s is there twice", g.ID)
		}
		seen[g.ID] = true
	}
	for _, r := range b.Received {
		if _, err := ParseText(r.Token); err != nil {
			return err
		}
	}
	return nil
}

func (g *Grant) check() error {
	t := Terms{Holder: g.Holder, Rights: g.Rights, Begins: g.Created, Expires: g.Expires, HandOn: g.HandOn}
	if err := t.check(); err != nil {
		return err
	}
	if len(g.Note) > MaxNote || g.PerMinute < 0 {
		return fmt.Errorf("access: a note of %d bytes, want at most %d, and %d calls a minute", len(g.Note), MaxNote, g.PerMinute)
	}
	return nil
}

// Add notes a grant. Where there is no room, those that ended or were taken back
// make some: a token whose grant is not in the book counts no more.
func (b *Book) Add(g Grant) error {
	if err := g.check(); err != nil {
		return err
	}
	if len(b.Granted) >= MaxGrants {
		b.Granted = slices.DeleteFunc(b.Granted, func(o Grant) bool { return o.Expires.Before(g.Created) || !o.Revoked.IsZero() })
	}
	if len(b.Granted) >= MaxGrants {
		return fmt.Errorf("access: there are %d grants already", MaxGrants)
	}
	b.Granted = append(b.Granted, g)
	b.Blocked = slices.DeleteFunc(b.Blocked, func(x Blocked) bool { return x.Peer == g.Holder })
	return nil
}

// Block denies a peer what it has by tokens, until something is granted to it. It
// tells whether that is new.
func (b *Book) Block(id peer.ID, now time.Time) (bool, error) {
	if slices.ContainsFunc(b.Blocked, func(x Blocked) bool { return x.Peer == id }) {
		return false, nil
	}
	if len(b.Blocked) >= MaxBlocked {
		return false, fmt.Errorf("access: %d peers are blocked already: take the grants back whose tokens they have", MaxBlocked)
	}
	b.Blocked = append(b.Blocked, Blocked{id, now})
	return true, nil
}

// Revoke takes grants back: the one with an ID, all of a holder, or all. It
// returns how many.
func (b *Book) Revoke(match func(Grant) bool, now time.Time) (n int) {
	for i := range b.Granted {
		if g := &b.Granted[i]; g.Revoked.IsZero() && match(*g) {
			g.Revoked = now
			n++
		}
	}
	return n
}

// Receive notes a token that this node was given.
func (b *Book) Receive(t *Token, note string, now time.Time) error {
	b.Received = slices.DeleteFunc(b.Received, func(r Received) bool {
		old, err := ParseText(r.Token)
		return r.Token == t.String() || err != nil || !now.Before(old.Last().Expires)
	})
	if len(b.Received) >= MaxReceived || len(note) > MaxNote {
		return fmt.Errorf("access: %d tokens were received already, or the note has more than %d bytes", len(b.Received), MaxNote)
	}
	b.Received = append(b.Received, Received{t.Issuer, t.String(), now, note})
	return nil
}

// Request asks whether a peer may do something.
type Request struct {
	Who      peer.ID
	Action   Action
	Resource string
	Tokens   [][]byte // shown with the request, not yet checked
	// Look only asks: no use of a grant is counted, and none has to be left.
	Look bool
}

// Guard decides.
type Guard struct {
	self    peer.ID
	open    []string // methods that everybody may call
	friends []peer.ID
	now     func() time.Time

	mu     sync.Mutex
	grants map[ID]*Grant
	holder map[peer.ID][]*Grant
	meters map[ID]*meter
	tokens map[peer.ID][]*Token // received, by issuer; the newest first
	denied map[peer.ID]bool
}

// meter counts the calls of a grant: a bucket that fills by its rate.
type meter struct {
	left float64
	at   time.Time
}

// NewGuard makes a guard for a node: open are the methods that everybody may
// call, friends the peers that may do everything.
func NewGuard(self peer.ID, open []string, friends []peer.ID) *Guard {
	g := &Guard{self: self, open: open, friends: friends, now: time.Now}
	g.Load(Book{})
	return g
}

// Load takes over a book, from now on.
func (g *Guard) Load(b Book) {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.meters
	g.grants, g.holder, g.meters, g.tokens = map[ID]*Grant{}, map[peer.ID][]*Grant{}, map[ID]*meter{}, map[peer.ID][]*Token{}
	g.denied = make(map[peer.ID]bool, len(b.Blocked))
	for _, x := range b.Blocked {
		g.denied[x.Peer] = true
	}
	for _, x := range b.Granted {
		x.Rights = slices.Clone(x.Rights)
		g.grants[x.ID] = &x
		if !x.Holder.IsZero() {
			g.holder[x.Holder] = append(g.holder[x.Holder], &x)
		}
		if m := old[x.ID]; m != nil {
			g.meters[x.ID] = m
		}
	}
	for _, r := range slices.Backward(b.Received) {
		if t, err := ParseText(r.Token); err == nil { // the token says who issued it: nobody else is to see it
			g.tokens[t.Issuer] = append(g.tokens[t.Issuer], t)
		}
	}
}

// Tokens are those to show to a peer: of those that have not ended, the newest,
// as many as may travel with a call.
func (g *Guard) Tokens(to peer.ID) (list [][]byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	for _, t := range g.tokens[to] {
		if now.Before(t.Last().Expires) && len(list) < rpc.MaxTokens {
			list = append(list, t.Bytes())
		}
	}
	return list
}

// live tells whether a grant counts now.
func (x *Grant) live(now time.Time) bool {
	return x.Revoked.IsZero() && !now.Add(clockSkew).Before(x.Created) && now.Before(x.Expires)
}

// Allow says why a peer may not do something; nil if it may. The rules, in their
// order: this node itself may; friends may; a grant to the peer allows it; a token
// that this node issued, and that was not taken back, allows it.
func (g *Guard) Allow(r Request) error {
	if r.Who == g.self || slices.Contains(g.friends, r.Who) {
		return nil
	}
	now := g.now()
	allowed, busy := g.held(r, now)
	if allowed {
		return nil
	}
	why := ""
	for _, raw := range r.Tokens[:min(len(r.Tokens), rpc.MaxTokens)] {
		t, err := g.token(raw, r.Who, now)
		if err == nil && !covered(t.Last().Rights, r.Action, r.Resource) {
			continue
		}
		if err == nil {
			err = g.use(t.ID, r, now)
		}
		switch {
		case err == nil:
			return nil
		case rpc.CodeOf(err) == rpc.ResourceExhausted:
			busy = err
		default:
			why = "; the token shown does not help: " + err.Error()
		}
	}
	if busy != nil {
		return busy
	}
	return g.refuse(r, why)
}

// AllowAny is Allow for one resource at least: whether it makes sense to listen
// at all. It counts no call.
func (g *Guard) AllowAny(r Request) error {
	if r.Who == g.self || slices.Contains(g.friends, r.Who) {
		return nil
	}
	now := g.now()
	has := func(list []Right) bool {
		return slices.ContainsFunc(list, func(x Right) bool { return x.Action == r.Action })
	}
	g.mu.Lock()
	held := slices.ContainsFunc(g.holder[r.Who], func(x *Grant) bool { return x.live(now) && has(x.Rights) })
	g.mu.Unlock()
	if held {
		return nil
	}
	for _, raw := range r.Tokens[:min(len(r.Tokens), rpc.MaxTokens)] {
		if t, err := g.token(raw, r.Who, now); err == nil && has(t.Last().Rights) {
			return nil
		}
	}
	return g.refuse(r, "")
}

// refuse says what would have to be granted.
func (g *Guard) refuse(r Request, why string) error {
	return rpc.Errorf(rpc.PermissionDenied, "peer %s may not %s %s here: its owner can let you with \"aval access grant %s --%s '%s'\"%s",
		r.Who.Short(), r.Action, r.Resource, r.Who, r.Action, r.Resource, why)
}

// held tells whether a grant to the peer itself allows a request; busy is the
// error of one that would, and was used too often.
func (g *Guard) held(r Request, now time.Time) (ok bool, busy error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, x := range g.holder[r.Who] {
		if !x.live(now) || !covered(x.Rights, r.Action, r.Resource) {
			continue
		}
		if busy = g.meter(x, r, now); busy == nil {
			return true, nil
		}
	}
	return false, busy
}

// token checks a token that a peer shows. It does so without the lock: strangers
// must not hold up others with signatures, and those of grants that are not in the
// book are not even checked.
func (g *Guard) token(raw []byte, who peer.ID, now time.Time) (*Token, error) {
	t, err := parse(raw, func(issuer peer.ID, id ID) error {
		if issuer != g.self {
			return fmt.Errorf("%w: it is from %s", ErrToken, issuer.Short())
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.denied[who] {
			return fmt.Errorf("%w: everything was taken back from this peer", ErrToken)
		}
		_, err := g.grant(id, now)
		return err
	})
	if err == nil {
		err = t.Check(who, now)
	}
	if err == nil {
		err = g.hands(t)
	}
	return t, err
}

// hands refuses a token that went through the hands of a peer that is denied.
func (g *Guard) hands(t *Token) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range t.Blocks {
		if g.denied[b.Holder] {
			return fmt.Errorf("%w: it went through the hands of %s, from whom everything was taken back", ErrToken, b.Holder.Short())
		}
	}
	return nil
}

// use counts a use of the grant of a token. It looks at the book again: a token
// allows no more than its grant in there, which may have been taken back since.
func (g *Guard) use(id ID, r Request, now time.Time) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	x, err := g.grant(id, now)
	if err != nil {
		return err
	}
	if !covered(x.Rights, r.Action, r.Resource) {
		return fmt.Errorf("%w: its grant does not allow that", ErrToken)
	}
	return g.meter(x, r, now)
}

// grant gives the grant of a token, if it counts. The caller has the lock.
func (g *Guard) grant(id ID, now time.Time) (*Grant, error) {
	x := g.grants[id]
	switch {
	case x == nil:
		return nil, fmt.Errorf("%w: this node does not know it", ErrToken)
	case !x.Revoked.IsZero():
		return nil, fmt.Errorf("%w: it was taken back", ErrToken)
	case !x.live(now):
		return nil, fmt.Errorf("%w: its grant ended at %s", ErrToken, x.Expires.UTC().Format(time.RFC3339))
	}
	return x, nil
}

// meter counts a use of a grant. The caller has the lock.
func (g *Guard) meter(x *Grant, r Request, now time.Time) error {
	if x.PerMinute == 0 || r.Look {
		return nil
	}
	m := g.meters[x.ID]
	if m == nil {
		m = &meter{left: float64(x.PerMinute), at: now}
		g.meters[x.ID] = m
	}
	rate := float64(x.PerMinute) / 60
	m.left, m.at = min(float64(x.PerMinute), m.left+rate*now.Sub(m.at).Seconds()), now
	if m.left < 1 {
		return &rpc.Error{
			Code: rpc.ResourceExhausted, Text: fmt.Sprintf("the grant %s allows %d calls a minute", x.ID, x.PerMinute),
			RetryAfter: time.Duration((1 - m.left) / rate * float64(time.Second)),
		}
	}
	m.left--
	return nil
}

// Authorize decides about a call, for rpc.Config.
func (g *Guard) Authorize(_ context.Context, c *rpc.Call) error {
	if slices.Contains(g.open, c.Method) {
		return nil
	}
	return g.Allow(Request{Who: c.Caller, Action: Call, Resource: c.Method, Tokens: c.Tokens})
}
