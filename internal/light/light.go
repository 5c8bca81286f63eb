// Package light checks headers of the chain without the chain: a phone or a
// browser that once knew the validators follows them from header to header, and
// believes of the state what a proof shows under a header's root
// (spec/light.md).
//
// [Genesis] or [Trust.Decode] says where to begin, [Trust.Verify] takes one
// header on, [Trust.Follow] as many as it needs, [Trust.Entry] checks an entry of
// the state. [Decode] reads what nodes give.
//
// It is pure: it fetches nothing, and is told the time. It does not check blocks
// or transactions, and does not notice validators of whom a third or more lie.
package light

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Limits of a block that is read.
const (
	MaxBlock      = 64 << 10 // bytes
	maxValidators = 256
	maxChain      = 50
	maxPower      = 1 << 40
)

// Clock is how far a header's time may be ahead of ours.
const Clock = 30 * time.Second

// Period is how long a header is believed after it was checked, if nothing else
// is said: less than validators need to get their bond back.
const Period = 48 * time.Hour

// Errors of a check.
var (
	// ErrInvalid says that a header is not what the validators signed.
	ErrInvalid = errors.New("light: the header does not stand")
	// ErrExpired says that what is trusted is too old: get a newer one from
	// somebody who is trusted.
	ErrExpired = errors.New("light: what is trusted is too old")
	// ErrFar says that too few of the trusted validators signed a header: check
	// one between first. Follow does.
	ErrFar = errors.New("light: too many validators have changed")
)

// Block is a header, the votes for it, and who may vote.
type Block struct {
	_          struct{}    `cbor:",toarray"`
	Header     Header      // of the block
	Round      uint32      // in which it was voted for
	Parts      Parts       // of the block, as the votes name them
	Votes      []Vote      // one for each validator
	Validators []Validator // in their order
}

// Header is what a block begins with.
type Header struct {
	_                     struct{} `cbor:",toarray"`
	Protocol, Application uint64
	Chain                 string
	Height                uint64
	Time                  Time
	Last                  canon.Hash // the block before; zero: none
	LastParts             Parts
	LastVotes, Data       canon.Hash
	Validators            canon.Hash
	NextValidators        canon.Hash
	Params                canon.Hash
	Root                  canon.Hash // of the ledger's state before this block
	LastResults, Evidence canon.Hash
	Proposer              [20]byte
}

// Parts is how a block was cut.
type Parts struct {
	_     struct{} `cbor:",toarray"`
	Total uint32
	Hash  canon.Hash
}

// Time is a time as it is signed.
type Time struct {
	_       struct{} `cbor:",toarray"`
	Seconds int64    // since 1970
	Nanos   int32
}

// Go is the time as Go knows it.
func (t Time) Go() time.Time { return time.Unix(t.Seconds, int64(t.Nanos)).UTC() }

// Vote is what a validator said.
type Vote struct {
	_         struct{} `cbor:",toarray"`
	Time      Time
	Signature []byte // empty: it did not vote for this block
}

// Validator is a key and its power.
type Validator struct {
	_     struct{} `cbor:",toarray"`
	Key   canon.Hash
	Power uint64
}

// Trust is a header that is believed.
type Trust struct {
	_          struct{} `cbor:",toarray"`
	Chain      string
	Height     uint64
	Time       Time        // of the header
	Header     canon.Hash  // zero before the first block
	Root       canon.Hash  // of the state before its block
	Next       canon.Hash  // hash of the validators of the next header
	Validators []Validator // that signed it
	Checked    int64       // when it was, in seconds since 1970
}

// Encode is the canonical encoding.
func (b *Block) Encode() ([]byte, error) { return canon.Marshal(b) }

// Decode reads what Encode writes. It checks the form alone.
func Decode(data []byte) (*Block, error) {
	if len(data) > MaxBlock {
		return nil, fmt.Errorf("%w: %d bytes, want at most %d", ErrInvalid, len(data), MaxBlock)
	}
	var b Block
	if err := canon.UnmarshalMax(data, &b, 16*maxValidators); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return &b, nil
}

// Encode is the canonical encoding, for keeping.
func (t *Trust) Encode() ([]byte, error) { return canon.Marshal(t) }

// DecodeTrust reads what Encode writes. It believes all of it.
func DecodeTrust(data []byte) (*Trust, error) {
	if len(data) > MaxBlock {
		return nil, fmt.Errorf("light: %d bytes to be trusted, want at most %d", len(data), MaxBlock)
	}
	var t Trust
	if err := canon.UnmarshalMax(data, &t, 16*maxValidators); err != nil {
		return nil, fmt.Errorf("light: what is trusted: %w", err)
	}
	return &t, nil
}

// Genesis trusts the validators that a chain begins with. That is right for a
// chain whose first validators are still bonded, or honest for ever.
func Genesis(chain string, validators []Validator, now time.Time) *Trust {
	vals := slices.Clone(validators)
	slices.SortFunc(vals, func(a, b Validator) int {
		x, y := sha256.Sum256(a.Key[:]), sha256.Sum256(b.Key[:])
		return cmp.Or(cmp.Compare(b.Power, a.Power), bytes.Compare(x[:20], y[:20]))
	})
	return &Trust{Chain: chain, Next: setHash(vals), Validators: vals, Checked: now.Unix()}
}

// Verify believes a later header if those who are trusted signed it: of the next
// header all who may vote are known, of others a third of those trusted must
// have; and in either case more than two thirds of those who may.
func (t *Trust) Verify(b *Block, now time.Time, period time.Duration) (*Trust, error) {
	bad := func(format string, args ...any) (*Trust, error) {
		return nil, fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
	}
	h := &b.Header
	if err := t.fresh(now, period); err != nil {
		return nil, err
	}
	switch {
	case h.Chain != t.Chain:
		return bad("it is of the chain %q, want %q", h.Chain, t.Chain)
	case len(h.Chain) > maxChain:
		return bad("a chain's name of %d bytes", len(h.Chain))
	case h.Height <= t.Height || h.Height > 1<<62:
		return bad("height %d after height %d", h.Height, t.Height)
	case t.Height > 0 && !h.Time.Go().After(t.Time.Go()):
		return bad("it is not later than the one before")
	case h.Time.Nanos < 0 || h.Time.Nanos >= 1e9 || h.Time.Go().After(now.Add(Clock)):
		return bad("its time is %s, and it is %s", h.Time.Go().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case len(b.Validators) == 0 || len(b.Validators) > maxValidators || len(b.Votes) != len(b.Validators):
		return bad("%d votes of %d validators", len(b.Votes), len(b.Validators))
	}
	for _, v := range b.Validators {
		if v.Power < 1 || v.Power > maxPower {
			return bad("a validator with a power of %d", v.Power)
		}
	}
	if setHash(b.Validators) != h.Validators {
		return bad("the validators are not the header's")
	}
	next := h.Height == t.Height+1
	if next && h.Validators != t.Next {
		return bad("its validators are not those that the header before names")
	}
	id := h.Hash()
	if err := t.count(b, id, !next); err != nil {
		return nil, err
	}
	return &Trust{
		Chain: t.Chain, Height: h.Height, Time: h.Time, Header: id, Root: h.Root,
		Next: h.NextValidators, Validators: b.Validators, Checked: now.Unix(),
	}, nil
}

// Again notes that a header which is believed was shown as the newest one once
// more, so that it does not expire where nothing happens.
func (t *Trust) Again(now time.Time, period time.Duration) (*Trust, error) {
	if err := t.fresh(now, period); err != nil {
		return nil, err
	}
	out := *t
	out.Checked = now.Unix()
	return &out, nil
}

func (t *Trust) fresh(now time.Time, period time.Duration) error {
	if period == 0 {
		period = Period
	}
	if now.Sub(time.Unix(t.Checked, 0)) > period {
		return fmt.Errorf("%w: it was checked at %s", ErrExpired, time.Unix(t.Checked, 0).UTC().Format(time.RFC3339))
	}
	return nil
}

// count counts the votes, no further than it has to.
func (t *Trust) count(b *Block, id canon.Hash, far bool) error {
	known := map[canon.Hash]uint64{}
	var trusted, total, gotTrusted, got uint64
	for _, v := range t.Validators {
		known[v.Key] = v.Power
		trusted += v.Power
	}
	for _, v := range b.Validators {
		total += v.Power
	}
	seen := map[canon.Hash]bool{}
	for i, v := range b.Validators {
		vote := &b.Votes[i]
		if len(vote.Signature) != ed25519.SignatureSize || seen[v.Key] {
			continue
		}
		// A wrong signature counts as none. CometBFT takes some that Go does
		// not; with that, less than a third can keep nobody from believing.
		if !ed25519.Verify(v.Key[:], b.signBytes(id, vote), vote.Signature) {
			continue
		}
		seen[v.Key] = true
		got += v.Power
		gotTrusted += known[v.Key]
		if 3*got > 2*total && (!far || 3*gotTrusted > trusted) {
			return nil
		}
	}
	if 3*got <= 2*total {
		return fmt.Errorf("%w: validators with %d of %d of the power signed it, want more than two thirds", ErrInvalid, got, total)
	}
	return fmt.Errorf("%w: of those trusted at height %d, %d of %d of the power signed height %d, want more than a third", ErrFar, t.Height, gotTrusted, trusted, b.Header.Height)
}

// maxSteps bounds the headers that Follow asks for.
const maxSteps = 1000

// Follow believes the header of a height, and those between that it needs.
func (t *Trust) Follow(height uint64, now time.Time, period time.Duration, fetch func(height uint64) (*Block, error)) (*Trust, error) {
	targets := []uint64{height}
	blocks := map[uint64]*Block{}
	for range maxSteps {
		if len(targets) == 0 {
			return t, nil
		}
		to := targets[len(targets)-1]
		b := blocks[to]
		if b == nil {
			var err error
			if b, err = fetch(to); err != nil {
				return nil, fmt.Errorf("light: the header of height %d: %w", to, err)
			}
			if b.Header.Height != to {
				return nil, fmt.Errorf("%w: it is of height %d, want %d", ErrInvalid, b.Header.Height, to)
			}
			blocks[to] = b
		}
		next, err := t.Verify(b, now, period)
		switch {
		case err == nil:
			t, targets = next, targets[:len(targets)-1]
		case errors.Is(err, ErrFar) && to > t.Height+1:
			targets = append(targets, t.Height+(to-t.Height)/2)
		default:
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: more than %d headers lie between", ErrFar, maxSteps)
}

// Entry checks a proof of an entry of the state: whether it is there, and the
// SHA-256 of its value. The state is the one before the header's block.
func (t *Trust) Entry(key []byte, proof *tree.Proof) (value canon.Hash, present bool, err error) {
	return proof.Verify(t.Root, key)
}
