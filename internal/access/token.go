package access

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/peer"
)

// Limits of tokens (spec/wire.md, part 5).
const (
	MaxToken  = 8 << 10 // bytes
	MaxBlocks = 4       // the owner's and three who hand on
	MaxLife   = 10 * 365 * 24 * time.Hour
	textHead  = "aval-token:"
)

// clockSkew is by how much the clocks of two devices may differ.
const clockSkew = 5 * time.Minute

// ErrToken says that bytes are no token, or not one that counts.
var ErrToken = errors.New("the token is not valid")

// ID names a grant.
type ID [16]byte

// NewID makes one by chance.
func NewID() (id ID) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// String is the ID in hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText is String.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (id *ID) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(id) {
		return fmt.Errorf("access: %.50q is not the ID of a grant, %d hexadecimal digits", text, 2*len(id))
	}
	copy(id[:], b)
	return nil
}

// Terms are what a token allows and to whom.
type Terms struct {
	Holder  peer.ID // who may use it; zero: whoever has it
	Rights  []Right
	Begins  time.Time // to the second
	Expires time.Time // to the second
	HandOn  int       // how many more may get it from the holder, one from the other; 0 to 3
}

// Block is one link of the chain, as it was signed.
type Block struct {
	Terms
}

// Token is a chain: the first block is of the issuer, each further one of the
// holder of the block before.
type Token struct {
	Issuer peer.ID
	ID     ID
	Blocks []Block
	raw    []byte
}

type wireRight struct {
	_        struct{} `cbor:",toarray"`
	Action   string
	Resource string
}

type wireBlock struct {
	Holder  []byte      `cbor:"1,keyasint"` // empty or 32 bytes
	Rights  []wireRight `cbor:"2,keyasint"`
	Begins  int64       `cbor:"3,keyasint"` // Unix seconds
	Expires int64       `cbor:"4,keyasint"`
	HandOn  uint8       `cbor:"5,keyasint"`
}

type wireLink struct {
	_         struct{} `cbor:",toarray"`
	Block     []byte
	Signature []byte
}

type wireToken struct {
	Issuer []byte     `cbor:"1,keyasint"`
	ID     []byte     `cbor:"2,keyasint"`
	Links  []wireLink `cbor:"3,keyasint"`
}

// link is what the signature of a block is over: the issuer, the grant, and all
// that came before, so that a block belongs to one place of one chain.
func link(issuer peer.ID, id ID, before []wireLink, block []byte) []byte {
	parts := [][]byte{issuer[:], id[:]}
	for _, l := range before {
		parts = append(parts, l.Block, l.Signature)
	}
	h := canon.Sum("aval token/1", append(parts, block)...)
	return h[:]
}

func (t Terms) check() error {
	if err := checkRights(t.Rights); err != nil {
		return err
	}
	switch {
	case t.HandOn < 0 || t.HandOn >= MaxBlocks:
		return fmt.Errorf("%w: it may be handed on %d times, want 0 to %d", ErrToken, t.HandOn, MaxBlocks-1)
	case t.Holder.IsZero() && t.HandOn > 0:
		return fmt.Errorf("%w: without a holder nobody can hand it on with a signature", ErrToken)
	case !t.Expires.After(t.Begins) || t.Expires.Sub(t.Begins) > MaxLife:
		return fmt.Errorf("%w: it holds from %s to %s, want at most ten years", ErrToken, t.Begins.UTC(), t.Expires.UTC())
	}
	return nil
}

func (t Terms) block() ([]byte, error) {
	w := wireBlock{Holder: []byte{}, Begins: t.Begins.Unix(), Expires: t.Expires.Unix(), HandOn: uint8(t.HandOn)}
	if !t.Holder.IsZero() {
		w.Holder = t.Holder[:]
	}
	for _, r := range t.Rights {
		w.Rights = append(w.Rights, wireRight{Action: string(r.Action), Resource: r.Resource})
	}
	return canon.Marshal(&w)
}

// Issue makes a token of its key's owner.
func Issue(key ed25519.PrivateKey, id ID, t Terms) (*Token, error) {
	return extend(key, &Token{Issuer: peer.FromPrivate(key), ID: id}, t)
}

// Delegate hands a token on: its holder, whose key it is, gives another peer the
// same rights or fewer.
func (t *Token) Delegate(key ed25519.PrivateKey, terms Terms) (*Token, error) {
	last := t.Blocks[len(t.Blocks)-1]
	if me := peer.FromPrivate(key); last.Holder != me {
		return nil, fmt.Errorf("%w: it is held by %s, not by %s", ErrToken, last.Holder, me)
	}
	return extend(key, t, terms)
}

func extend(key ed25519.PrivateKey, t *Token, terms Terms) (*Token, error) {
	if err := terms.check(); err != nil {
		return nil, err
	}
	block, err := terms.block()
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	w := wireToken{Issuer: t.Issuer[:], ID: t.ID[:]}
	if t.raw != nil {
		if err := canon.Unmarshal(t.raw, &w); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrToken, err)
		}
	}
	w.Links = append(w.Links, wireLink{Block: block, Signature: ed25519.Sign(key, link(t.Issuer, t.ID, w.Links, block))})
	data, err := canon.Marshal(&w)
	if err != nil {
		return nil, fmt.Errorf("access: %w", err)
	}
	return Parse(data) // which holds it to every rule
}

// Parse reads a token and checks its signatures and that each block narrows the
// one before. It does not ask who uses it, when, or whether it was taken back.
func Parse(data []byte) (*Token, error) {
	return parse(data, func(peer.ID, ID) error { return nil })
}

// parse is Parse that asks first whether the grant of an issuer is of use, so that
// no signature is checked in vain.
func parse(data []byte, use func(peer.ID, ID) error) (*Token, error) {
	fail := func(format string, args ...any) (*Token, error) {
		return nil, fmt.Errorf("%w: "+format, append([]any{ErrToken}, args...)...)
	}
	if len(data) > MaxToken {
		return fail("it has %d bytes, want at most %d", len(data), MaxToken)
	}
	var w wireToken
	if err := canon.Unmarshal(data, &w); err != nil {
		return fail("%w", err)
	}
	t := &Token{raw: data}
	if len(w.Issuer) != len(t.Issuer) || len(w.ID) != len(t.ID) || len(w.Links) == 0 || len(w.Links) > MaxBlocks {
		return fail("an issuer of %d bytes, an ID of %d and %d blocks", len(w.Issuer), len(w.ID), len(w.Links))
	}
	copy(t.Issuer[:], w.Issuer)
	copy(t.ID[:], w.ID)
	if err := use(t.Issuer, t.ID); err != nil {
		return nil, err
	}
	signer := t.Issuer
	for i, l := range w.Links {
		b, err := parseBlock(l.Block)
		if err != nil {
			return fail("block %d: %w", i, err)
		}
		if i > 0 {
			if err := b.narrows(t.Blocks[i-1]); err != nil {
				return fail("block %d: %w", i, err)
			}
		}
		if len(l.Signature) != ed25519.SignatureSize || !ed25519.Verify(signer.Public(), link(t.Issuer, t.ID, w.Links[:i], l.Block), l.Signature) {
			return fail("block %d is not signed by %s", i, signer)
		}
		t.Blocks = append(t.Blocks, b)
		signer = b.Holder
	}
	return t, nil
}

func parseBlock(data []byte) (b Block, err error) {
	var w wireBlock
	if err := canon.Unmarshal(data, &w); err != nil {
		return b, err
	}
	if len(w.Holder) != 0 && len(w.Holder) != len(b.Holder) || len(w.Rights) > MaxRights {
		return b, fmt.Errorf("a holder of %d bytes and %d rights", len(w.Holder), len(w.Rights))
	}
	copy(b.Holder[:], w.Holder)
	for _, r := range w.Rights {
		b.Rights = append(b.Rights, Right{Action(r.Action), r.Resource})
	}
	const farthest = 253402300799 // the last second of the year 9999
	if w.Begins < 0 || w.Begins > farthest || w.Expires < 0 || w.Expires > farthest {
		return b, errors.New("a time before 1970 or after 9999")
	}
	b.Begins, b.Expires, b.HandOn = time.Unix(w.Begins, 0).UTC(), time.Unix(w.Expires, 0).UTC(), int(w.HandOn)
	return b, b.check()
}

// narrows checks that a block gives no more than the one before it.
func (b Block) narrows(before Block) error {
	switch {
	case before.Holder.IsZero() || before.HandOn == 0:
		return errors.New("the block before may not be handed on")
	case b.HandOn >= before.HandOn:
		return fmt.Errorf("it may be handed on %d times, and the one before %d times", b.HandOn, before.HandOn)
	case b.Holder.IsZero():
		return errors.New("it has no holder")
	case b.Begins.Before(before.Begins) || b.Expires.After(before.Expires):
		return errors.New("it holds longer than the one before")
	}
	for _, r := range b.Rights {
		if !covered(before.Rights, r.Action, r.Resource) { // a star in r is a letter here: only a wider star covers it
			return fmt.Errorf("the one before does not allow %q", r.String())
		}
	}
	return nil
}

// Last are the terms for who holds the token now.
func (t *Token) Last() Terms { return t.Blocks[len(t.Blocks)-1].Terms }

// Check tells whether the token counts for a peer at a time.
func (t *Token) Check(who peer.ID, now time.Time) error {
	last := t.Last()
	switch {
	case !last.Holder.IsZero() && last.Holder != who:
		return fmt.Errorf("%w: it is held by %s", ErrToken, last.Holder)
	case now.Add(clockSkew).Before(last.Begins):
		return fmt.Errorf("%w: it begins at %s", ErrToken, last.Begins.UTC().Format(time.RFC3339))
	case !now.Before(last.Expires):
		return fmt.Errorf("%w: it ended at %s", ErrToken, last.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// Bytes are the token as it travels.
func (t *Token) Bytes() []byte { return t.raw }

// String is the token as people send it.
func (t *Token) String() string { return textHead + base64.RawURLEncoding.EncodeToString(t.raw) }

// ParseText reads what String writes.
func ParseText(s string) (*Token, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(s), textHead)
	if !ok || len(text) > 2*MaxToken {
		return nil, fmt.Errorf("%w: it does not begin with %s, or is too long", ErrToken, textHead)
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrToken, err)
	}
	return Parse(data)
}
