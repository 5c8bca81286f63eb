package consensus

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/cometbft/cometbft/crypto"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	"github.com/cometbft/cometbft/libs/protoio"
	cmtproto "github.com/cometbft/cometbft/proto/tendermint/types"
	"github.com/cometbft/cometbft/types"
	"github.com/cosmos/gogoproto/proto"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/store"
)

// signer signs the votes and proposals of this node, and never two different
// ones for one step: what it signs is on disk before the signature leaves it.
type signer struct {
	key  ed25519.PrivateKey
	fs   store.FS
	path string
	quit chan struct{}   // closed when the node stops
	sick func(err error) // told what keeps it from signing; nil: nothing any more

	mu   sync.Mutex
	last signed
}

var _ types.PrivValidator = (*signer)(nil)

// signed is what a key signed last.
type signed struct {
	Key       []byte `cbor:"1,keyasint"`
	Height    int64  `cbor:"2,keyasint"`
	Round     int32  `cbor:"3,keyasint"`
	Step      int8   `cbor:"4,keyasint"`
	Bytes     []byte `cbor:"5,keyasint"`
	Signature []byte `cbor:"6,keyasint"`
}

// The steps of a round, in their order.
const (
	stepPropose int8 = 1 + iota
	stepPrevote
	stepPrecommit
)

// openSigner reads what the key signed last, from a file that only this process
// may use. A file that cannot be read is an error: to begin without it could
// make the validator sign twice, which costs its bond.
func openSigner(disk store.FS, path string, key ed25519.PrivateKey, sick func(err error)) (*signer, error) {
	s := &signer{key: key, fs: disk, path: path, quit: make(chan struct{}), sick: sick}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = canon.Unmarshal(raw, &s.last)
	}
	if err != nil {
		return nil, fmt.Errorf("consensus: what this validator signed last, %s: %w; restore the file, or remove it if nothing else ever signed with this key", path, err)
	}
	if !bytes.Equal(s.last.Key, s.public()) {
		s.last = signed{} // of a key that was here before
	}
	return s, nil
}

func (s *signer) public() ed25519.PublicKey { return s.key.Public().(ed25519.PublicKey) }

// GetPubKey implements [types.PrivValidator].
func (s *signer) GetPubKey() (crypto.PubKey, error) { return cmted25519.PubKey(s.public()), nil }

// SignVote implements [types.PrivValidator].
func (s *signer) SignVote(chain string, v *cmtproto.Vote) error {
	step := stepPrevote
	if v.Type == cmtproto.PrecommitType {
		step = stepPrecommit
	}
	sameButTime := func(old, new []byte) (time.Time, bool) {
		var a, b cmtproto.CanonicalVote
		if protoio.UnmarshalDelimited(old, &a) != nil || protoio.UnmarshalDelimited(new, &b) != nil {
			return time.Time{}, false
		}
		t := a.Timestamp
		a.Timestamp = b.Timestamp
		return t, proto.Equal(&a, &b)
	}
	sig, at, err := s.sign(v.Height, v.Round, step, types.VoteSignBytes(chain, v), sameButTime)
	if err != nil {
		return err
	}
	v.Signature = sig
	if !at.IsZero() {
		v.Timestamp = at
	}
	// An extension is signed anew every time: it is opaque, so two of them for
	// one vote are no contradiction.
	if v.Type == cmtproto.PrecommitType && !types.ProtoBlockIDIsNil(&v.BlockID) {
		v.ExtensionSignature = ed25519.Sign(s.key, types.VoteExtensionSignBytes(chain, v))
	} else if len(v.Extension) > 0 {
		return errors.New("consensus: internal error: an extension of a vote that has none")
	}
	return nil
}

// SignProposal implements [types.PrivValidator].
func (s *signer) SignProposal(chain string, p *cmtproto.Proposal) error {
	sameButTime := func(old, new []byte) (time.Time, bool) {
		var a, b cmtproto.CanonicalProposal
		if protoio.UnmarshalDelimited(old, &a) != nil || protoio.UnmarshalDelimited(new, &b) != nil {
			return time.Time{}, false
		}
		t := a.Timestamp
		a.Timestamp = b.Timestamp
		return t, proto.Equal(&a, &b)
	}
	sig, at, err := s.sign(p.Height, p.Round, stepPropose, types.ProposalSignBytes(chain, p), sameButTime)
	if err != nil {
		return err
	}
	p.Signature = sig
	if !at.IsZero() {
		p.Timestamp = at
	}
	return nil
}

// sign signs the bytes of a step, or gives the signature that the step already
// has, with its time if that is all that differs. A crash between the file and
// the log of consensus leads here.
func (s *signer) sign(height int64, round int32, step int8, msg []byte, sameButTime func(old, new []byte) (time.Time, bool)) (sig []byte, at time.Time, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &s.last
	switch c := compare(height, l.Height, int64(round), int64(l.Round), int64(step), int64(l.Step)); {
	case c < 0:
		return nil, at, fmt.Errorf("consensus: step %d of round %d at height %d is before what this key signed last, step %d of round %d at height %d", step, round, height, l.Step, l.Round, l.Height)
	case c == 0 && bytes.Equal(msg, l.Bytes):
		return l.Signature, at, nil
	case c == 0:
		if at, ok := sameButTime(l.Bytes, msg); ok {
			return l.Signature, at, nil
		}
		return nil, at, fmt.Errorf("consensus: this key signed something else in step %d of round %d at height %d", step, round, height)
	}
	next := signed{Key: s.public(), Height: height, Round: round, Step: step, Bytes: msg, Signature: ed25519.Sign(s.key, msg)}
	raw, err := canon.Marshal(&next)
	if err != nil {
		return nil, at, fmt.Errorf("consensus: %w", err)
	}
	if err := s.note(raw); err != nil {
		return nil, at, err
	}
	s.last = next
	return next.Signature, at, nil
}

// retryTime is how often the disk is tried again.
const retryTime = 250 * time.Millisecond

// note makes durable what is to be signed. It waits for the disk: consensus does
// not ask again for a vote that it did not get.
func (s *signer) note(raw []byte) error {
	for failed := false; ; failed = true {
		err := store.WriteFile(s.fs, s.path, 0o600, func(w io.Writer) error {
			_, err := w.Write(raw)
			return err
		})
		if err == nil {
			if failed {
				s.sick(nil)
			}
			return nil
		}
		err = fmt.Errorf("consensus: nothing can be signed, since it cannot be noted: %w", err)
		s.sick(err)
		select {
		case <-time.After(retryTime):
		case <-s.quit:
			return err
		}
	}
}

// compare orders pairs of numbers by the first that differ.
func compare(pairs ...int64) int {
	for i := 0; i < len(pairs); i += 2 {
		switch {
		case pairs[i] < pairs[i+1]:
			return -1
		case pairs[i] > pairs[i+1]:
			return 1
		}
	}
	return 0
}
