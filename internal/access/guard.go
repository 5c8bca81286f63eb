package access

import (
	"context"
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

// Book is what was granted, to be looked through by its owner.
type Book struct {
	Granted  []Grant    `json:"granted"`
	Received []Received `json:"received"`
}

// Check reports what is wrong with a book that was read.
func (b *Book) Check() error {
	if len(b.Granted) > MaxGrants || len(b.Received) > MaxReceived {
		return fmt.Errorf("access: %d grants and %d tokens, want at most %d and %d", len(b.Granted), len(b.Received), MaxGrants, MaxReceived)
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

// Add notes a grant. Grants that ended long ago make room.
func (b *Book) Add(g Grant) error {
	if err := g.check(); err != nil {
		return err
	}
	if len(b.Granted) >= MaxGrants {
		b.Granted = slices.DeleteFunc(b.Granted, func(o Grant) bool { return o.Expires.Before(g.Created) })
	}
	if len(b.Granted) >= MaxGrants {
		return fmt.Errorf("access: there are %d grants already", MaxGrants)
	}
	b.Granted = append(b.Granted, g)
	return nil
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
	tokens map[peer.ID][][]byte // received, by issuer
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
	g.grants, g.holder, g.meters, g.tokens = map[ID]*Grant{}, map[peer.ID][]*Grant{}, map[ID]*meter{}, map[peer.ID][][]byte{}
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
	for _, r := range b.Received {
		if t, err := ParseText(r.Token); err == nil && len(g.tokens[r.Issuer]) < rpc.MaxTokens {
			g.tokens[r.Issuer] = append(g.tokens[r.Issuer], t.Bytes())
		}
	}
}

// Tokens are those to show to a peer.
func (g *Guard) Tokens(to peer.ID) [][]byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.tokens[to])
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
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	var busy error
	for _, x := range g.holder[r.Who] {
		if !x.live(now) || !covered(x.Rights, r.Action, r.Resource) {
			continue
		}
		if busy = g.meter(x, now); busy == nil {
			return nil
		}
	}
	why := ""
	for _, raw := range r.Tokens[:min(len(r.Tokens), rpc.MaxTokens)] {
		x, err := g.token(raw, r.Who, now)
		if err == nil && !covered(x.rights, r.Action, r.Resource) {
			continue
		}
		if err == nil {
			err = g.meter(x.grant, now)
			if err == nil {
				return nil
			}
			busy = err
			continue
		}
		why = "; the token shown does not help: " + err.Error()
	}
	if busy != nil {
		return busy
	}
	return rpc.Errorf(rpc.PermissionDenied, "peer %s may not %s %s here: its owner can let you with \"aval access grant %s --%s '%s'\"%s",
		r.Who.Short(), r.Action, r.Resource, r.Who, r.Action, r.Resource, why)
}

// shown is a token that counts.
type shown struct {
	grant  *Grant
	rights []Right
}

// token checks a token that a peer shows. The caller has the lock.
func (g *Guard) token(raw []byte, who peer.ID, now time.Time) (shown, error) {
	t, err := Parse(raw)
	if err != nil {
		return shown{}, err
	}
	if t.Issuer != g.self {
		return shown{}, fmt.Errorf("%w: it is from %s", ErrToken, t.Issuer.Short())
	}
	if err := t.Check(who, now); err != nil {
		return shown{}, err
	}
	x := g.grants[t.ID]
	switch {
	case x == nil:
		return shown{}, fmt.Errorf("%w: this node does not know it", ErrToken)
	case !x.Revoked.IsZero():
		return shown{}, fmt.Errorf("%w: it was taken back", ErrToken)
	}
	return shown{x, t.Last().Rights}, nil
}

// meter counts a call of a grant. The caller has the lock.
func (g *Guard) meter(x *Grant, now time.Time) error {
	if x.PerMinute == 0 {
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
