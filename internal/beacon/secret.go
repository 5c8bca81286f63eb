package beacon

import (
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// SeedSize is the length of what a secret is made from: as long as the seed of
// an Ed25519 key.
const SeedSize = 32

// PublicKey is a member's key: others encrypt to it and check proofs with it.
type PublicKey [g1Size]byte

// Secret is a member's own key. It is all that a member has to keep.
type Secret struct {
	x      scalar
	public g1
}

// NewSecret derives the secret of a node from the seed of its key. The seed
// stays good for what else it is used for: HKDF separates them.
func NewSecret(seed []byte) (*Secret, error) {
	if len(seed) != SeedSize {
		return nil, fmt.Errorf("the seed of a beacon key has %d bytes, want %d", len(seed), SeedSize)
	}
	b, err := hkdf.Key(sha256.New, seed, nil, "aval beacon key/1", scalarSize+16)
	if err != nil {
		return nil, fmt.Errorf("deriving a beacon key: %w", err)
	}
	s := &Secret{}
	s.x.SetBytes(b) // 16 bytes more than the order has, so that no number is likelier
	if s.x.IsZero() {
		return nil, errors.New("the seed gives no beacon key; make a new node key")
	}
	s.public = mulSecret(&base1, &s.x)
	return s, nil
}

// Public gives the key that others know.
func (s *Secret) Public() PublicKey { return s.public.Bytes() }

// derive gives a number that only the secret's owner can compute.
func (s *Secret) derive(purpose string, parts ...[]byte) scalar {
	x := s.x.Bytes()
	return toScalar(canon.Sum("aval beacon nonce/1", append([][]byte{[]byte(purpose), x[:]}, parts...)...))
}

func (k PublicKey) point() (g1, error) {
	r := reader{rest: k[:]}
	p := r.g1("the key of a member")
	return p, r.err
}

// RegistrationSize is the length of a [Registration].
const RegistrationSize = g1Size + 2*scalarSize

// Registration is what a validator publishes before it can be a member: its key,
// and a proof that it has the secret.
type Registration [RegistrationSize]byte

// Key is the registered key, which means nothing before [Registration.Check].
func (r *Registration) Key() PublicKey { return PublicKey(r[:g1Size]) }

// Register makes the registration of the validator with an identity, its Ed25519
// public key.
func (s *Secret) Register(id [32]byte) (out Registration) {
	k := s.derive("register", id[:])
	commit := mulSecret(&base1, &k)
	c := registerChallenge(s.Public(), id, &commit)
	var z scalar
	z.Mul(&c, &s.x).Add(&z, &k)
	b := appendG1(out[:0], &s.public)
	b = appendScalar(b, &c)
	appendScalar(b, &z)
	return out
}

// Check says whether who made the registration has the secret of the key, and
// meant this identity: nobody can register the key of another.
func (r *Registration) Check(id [32]byte) error {
	in := reader{rest: r[:]}
	key := in.g1("the key of a registration")
	c, z := in.scalar("the challenge of a registration"), in.scalar("the answer of a registration")
	if in.err != nil {
		return in.err
	}
	commit := schnorr1(&base1, &key, &c, &z)
	if want := registerChallenge(r.Key(), id, &commit); !want.Equal(&c) {
		return fmt.Errorf("%w: the registration of a beacon key for %x: register the key again, with its own secret", ErrProof, id[:4])
	}
	return nil
}

func registerChallenge(key PublicKey, id [32]byte, commit *g1) scalar {
	r := commit.Bytes()
	return toScalar(canon.Sum("aval beacon registration/1", id[:], key[:], r[:]))
}

// ErrProof says that a proof doesn't prove what it should.
var ErrProof = errors.New("the proof fails")

// schnorr1 computes what a prover committed to, if its answer is z to the
// challenge c about the logarithm of y.
func schnorr1(base, y *g1, c, z *scalar) g1 {
	a, b := mul1(base, z), mul1(y, c)
	a.Sub(&a, &b)
	return a
}

func schnorr2(base, y *g2, c, z *scalar) g2 {
	a, b := mul2(base, z), mul2(y, c)
	a.Sub(&a, &b)
	return a
}
