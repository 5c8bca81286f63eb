package beacon

import (
	"errors"
	"fmt"

	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"

	"github.com/avalnetwork/aval/internal/canon"
)

// What is wrong with shares and signatures.
var (
	ErrSignature = errors.New("the signature is wrong")
	ErrTooFew    = errors.New("too few shares")
)

// ShareSize is the length of a [Share].
const ShareSize = 1 + g1Size

// Share is a member's part of a signature: its index, and a point.
type Share [ShareSize]byte

// Member is the index of who signed.
func (s Share) Member() int { return int(s[0]) }

// GroupKey is the public key of a group: all that is needed to verify.
type GroupKey [g2Size]byte

// Signature is the one signature of a round that a group key verifies.
type Signature [g1Size]byte

// Output is the randomness of a round, from its verified signature.
func (s Signature) Output() [32]byte { return canon.Sum("aval beacon output/1", s[:]) }

// Verifier verifies the rounds of one epoch.
type Verifier struct {
	chain string
	epoch uint64
	key   GroupKey
	lines [2]lines // of the generator and of minus the key
}

type lines = [2][len(bls.LoopCounter) - 1]bls.LineEvaluationAff

// NewVerifier is for who knows no more of a group than its public key.
func NewVerifier(chain string, epoch uint64, key GroupKey) (*Verifier, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, fmt.Errorf("a beacon of a chain with a name of %d bytes, want 1 to %d", len(chain), maxChain)
	}
	in := reader{rest: key[:]}
	p := in.g2("the public key of a beacon")
	if in.err != nil {
		return nil, in.err
	}
	v := newVerifier(chain, epoch, &p)
	return &v, nil
}

func newVerifier(chain string, epoch uint64, key *g2) Verifier {
	var minus g2
	minus.Neg(key)
	return Verifier{chain: chain, epoch: epoch, key: key.Bytes(), lines: [2]lines{base2Lines, bls.PrecomputeLines(minus)}}
}

// Public is the group's public key.
func (v *Verifier) Public() GroupKey { return v.key }

// message is what is signed in a round.
func (v *Verifier) message(round uint64) canon.Hash {
	return canon.Sum("aval beacon round/1", []byte(v.chain), u64(v.epoch), u64(round))
}

// Verify says whether this is the signature of the round.
func (v *Verifier) Verify(round uint64, s Signature) error {
	in := reader{rest: s[:]}
	p := in.g1("the signature of a beacon round")
	if in.err != nil {
		return in.err
	}
	return v.verify(round, &p)
}

func (v *Verifier) verify(round uint64, p *g1) error {
	at := toPoint(v.message(round))
	lines := v.lines // a copy: the library computes in it
	if ok, err := bls.PairingCheckFixedQ([]g1{*p, at}, lines[:]); err != nil || !ok {
		return fmt.Errorf("%w: round %d of epoch %d", ErrSignature, round, v.epoch)
	}
	return nil
}

// Sign makes the member's share of a round. Who signs a round before its time
// gives its output away.
func (s *Signer) Sign(round uint64) Share { return s.sign(s.key.message(round)) }

// VerifyShare says whether a share is the one that its member has for the round.
func (k *Key) VerifyShare(round uint64, s Share) error {
	return k.verifyShare(k.message(round), s)
}

func (k *Key) verifyShare(message canon.Hash, s Share) error {
	p, err := k.parseShare(s)
	if err != nil {
		return err
	}
	at := toPoint(message)
	at.Neg(&at)
	ok, err := bls.PairingCheck([]g1{p, at}, []g2{base2, k.public[s.Member()]})
	if err != nil || !ok {
		return fmt.Errorf("%w: the share of member %d in epoch %d", ErrSignature, s.Member(), k.group.epoch)
	}
	return nil
}

func (k *Key) parseShare(s Share) (g1, error) {
	if s.Member() >= k.group.Size() {
		return g1{}, fmt.Errorf("%w: a share of member %d of %d", ErrEncoding, s.Member(), k.group.Size())
	}
	in := reader{rest: s[1:]}
	p := in.g1("the share of a signature")
	return p, in.err
}

// Recover makes the signature of a round from a threshold of right shares. Wrong
// ones among them cost time, no more: it tries all that it has first, and
// verifies each share only if that fails. No two may be of one member.
func (k *Key) Recover(round uint64, shares []Share) (Signature, error) {
	need := k.group.Threshold()
	var seen [MaxMembers]bool
	var indexes []int
	var points []g1
	for _, s := range shares {
		p, err := k.parseShare(s)
		if err != nil {
			continue
		}
		if seen[s.Member()] {
			return Signature{}, fmt.Errorf("two shares of member %d for round %d of epoch %d, want one", s.Member(), round, k.group.epoch)
		}
		seen[s.Member()] = true
		indexes, points = append(indexes, s.Member()), append(points, p)
	}
	if len(points) >= need {
		p := interpolate(indexes[:need], points[:need])
		if k.verify(round, &p) == nil {
			return p.Bytes(), nil
		}
	}
	good := 0
	for i, p := range points {
		var s Share
		appendG1(append(s[:0], byte(indexes[i])), &p)
		if good < need && k.VerifyShare(round, s) == nil {
			indexes[good], points[good] = indexes[i], p
			good++
		}
	}
	if good < need {
		return Signature{}, fmt.Errorf("%w: %d right ones of %d for round %d of epoch %d, want %d", ErrTooFew, good, len(shares), round, k.group.epoch, need)
	}
	p := interpolate(indexes[:need], points[:need])
	return p.Bytes(), k.verify(round, &p)
}
