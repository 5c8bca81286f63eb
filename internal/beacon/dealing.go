package beacon

import (
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// What is wrong with what a member did.
var (
	ErrNotMember = errors.New("not a member of the beacon group")
	ErrShare     = errors.New("not the share that was committed to")
)

// Dealing is what a member adds to the key of a group: a polynomial that it
// drew, as commitments to the coefficients and, for each member, its value at
// the member's place, encrypted. One that [Group.Check] returned is proved to be
// by its dealer, who knows the polynomial's value at 0; whether it encrypted the
// values is for each member to see ([Group.Complain]).
type Dealing struct {
	dealer  int
	key     g1 // ephemeral: base1 times a number that the dealer knows
	commits []g2
	values  []scalar // encrypted, one for each member
	raw     []byte
	hash    canon.Hash // of the group and raw
}

// Dealer is the index of the member that dealt.
func (d *Dealing) Dealer() int { return d.dealer }

// Bytes is the encoding.
func (d *Dealing) Bytes() []byte { return d.raw }

// DealingSize is the length of a dealing of this group.
func (g *Group) DealingSize() int {
	return 1 + g1Size + g.Threshold()*g2Size + g.Size()*scalarSize + 4*scalarSize
}

// Deal makes the dealing of the secret's owner. It is a function of its
// arguments: with the same entropy, which may be zero, it is the same dealing, so
// that a node which restarts need not know whether it dealt. Other entropy draws
// another polynomial.
func (g *Group) Deal(s *Secret, entropy [32]byte) (*Dealing, error) {
	w, err := g.draw(s, entropy)
	if err != nil {
		return nil, err
	}
	return w.prove(g, s), nil
}

// draft is a dealing without its proof, and what the dealer knows.
type draft struct {
	Dealing
	ephemeral    scalar
	coefficients []scalar
	nonces       [3]scalar
}

func (g *Group) draw(s *Secret, entropy [32]byte) (*draft, error) {
	dealer, err := g.owner(s)
	if err != nil {
		return nil, err
	}
	seed := s.derive("deal", g.digest[:], entropy[:])
	number := func(name string, i int) scalar {
		b := seed.Bytes()
		return toScalar(canon.Sum("aval beacon dealing seed/1", b[:], []byte(name), u64(uint64(i))))
	}
	w := &draft{Dealing: Dealing{dealer: dealer}, ephemeral: number("key", 0)}
	w.key = mulSecret(&base1, &w.ephemeral)
	for i := range g.Threshold() {
		c := number("coefficient", i)
		w.coefficients = append(w.coefficients, c)
		w.commits = append(w.commits, baseSecret(&c))
	}
	for i := range g.members {
		shared := mulSecret(&g.keys[i], &w.ephemeral)
		pad, v := g.pad(dealer, i, &w.key, &shared), polynomial(w.coefficients, i)
		w.values = append(w.values, *v.Add(&v, &pad))
	}
	for i := range w.nonces {
		w.nonces[i] = number("nonce", i)
	}
	return w, nil
}

// prove proves that the dealer knows the number behind the key and that behind
// the first commitment, and that it is the owner of the secret.
func (w *draft) prove(g *Group, s *Secret) *Dealing {
	d := w.Dealing
	d.raw = d.statement()
	re, ra, rx := mulSecret(&base1, &w.nonces[0]), baseSecret(&w.nonces[1]), mulSecret(&base1, &w.nonces[2])
	c := g.dealingChallenge(d.raw, &re, &ra, &rx)
	d.raw = appendScalar(d.raw, &c)
	for i, secret := range []*scalar{&w.ephemeral, &w.coefficients[0], &s.x} {
		var z scalar
		z.Mul(&c, secret).Add(&z, &w.nonces[i])
		d.raw = appendScalar(d.raw, &z)
	}
	d.hash = g.hashDealing(d.raw)
	return &d
}

// polynomial gives the value at a member's place.
func polynomial(coefficients []scalar, index int) (v scalar) {
	var x scalar
	x.SetUint64(uint64(index + 1))
	for i := len(coefficients) - 1; i >= 0; i-- {
		v.Mul(&v, &x).Add(&v, &coefficients[i])
	}
	return v
}

// statement is the encoding without the proof.
func (d *Dealing) statement() []byte {
	b := appendG1([]byte{byte(d.dealer)}, &d.key)
	for i := range d.commits {
		b = appendG2(b, &d.commits[i])
	}
	for i := range d.values {
		b = appendScalar(b, &d.values[i])
	}
	return b
}

func (g *Group) dealingChallenge(statement []byte, re *g1, ra *g2, rx *g1) scalar {
	e, a, x := re.Bytes(), ra.Bytes(), rx.Bytes()
	return toScalar(canon.Sum("aval beacon dealing/1", g.digest[:], statement, e[:], a[:], x[:]))
}

func (g *Group) hashDealing(raw []byte) canon.Hash {
	return canon.Sum("aval beacon dealing hash/1", g.digest[:], raw)
}

// pad is what is added to a value to encrypt it; shared is what only the dealer
// and the member can compute.
func (g *Group) pad(dealer, member int, key, shared *g1) scalar {
	k, s := key.Bytes(), shared.Bytes()
	return toScalar(canon.Sum("aval beacon pad/1", g.digest[:], []byte{byte(dealer), byte(member)}, k[:], s[:]))
}

// Check reads a dealing and checks its proof.
func (g *Group) Check(raw []byte) (*Dealing, error) {
	d, proof, err := g.parseDealing(raw)
	if err != nil {
		return nil, err
	}
	c, ze, za, zx := &proof[0], &proof[1], &proof[2], &proof[3]
	re := schnorr1(&base1, &d.key, c, ze)
	ra := schnorr2(&base2, &d.commits[0], c, za)
	rx := schnorr1(&base1, &g.keys[d.dealer], c, zx)
	if want := g.dealingChallenge(raw[:len(raw)-4*scalarSize], &re, &ra, &rx); !want.Equal(c) {
		return nil, fmt.Errorf("%w: the dealing of member %d in epoch %d: it is not the dealer's, or for another group", ErrProof, d.dealer, g.epoch)
	}
	return d, nil
}

// Parse reads a dealing that was checked before it was kept.
func (g *Group) Parse(raw []byte) (*Dealing, error) {
	d, _, err := g.parseDealing(raw)
	return d, err
}

func (g *Group) parseDealing(raw []byte) (d *Dealing, proof [4]scalar, err error) {
	if len(raw) != g.DealingSize() {
		return nil, proof, fmt.Errorf("%w: a dealing of %d bytes, want %d in a group of %d", ErrEncoding, len(raw), g.DealingSize(), g.Size())
	}
	in := reader{rest: raw}
	d = &Dealing{dealer: int(in.bytes(1)[0]), raw: append([]byte(nil), raw...)}
	if d.dealer >= g.Size() {
		return nil, proof, fmt.Errorf("%w: a dealing of member %d of %d", ErrEncoding, d.dealer, g.Size())
	}
	d.key = in.g1("the key of a dealing")
	for range g.Threshold() {
		d.commits = append(d.commits, in.g2("a commitment of a dealing"))
	}
	for range g.Size() {
		d.values = append(d.values, in.scalar("an encrypted share of a dealing"))
	}
	for i := range proof {
		proof[i] = in.scalar("the proof of a dealing")
	}
	if in.err != nil {
		return nil, proof, in.err
	}
	d.hash = g.hashDealing(raw)
	return d, proof, nil
}

// open decrypts a member's value and holds it to the commitments.
func (g *Group) open(d *Dealing, member int, shared *g1) error {
	pad := g.pad(d.dealer, member, &d.key, shared)
	var v scalar
	v.Sub(&d.values[member], &pad)
	got, want := baseSecret(&v), evaluate(d.commits, member)
	if !got.Equal(&want) {
		return fmt.Errorf("%w: member %d dealt it to member %d in epoch %d", ErrShare, d.dealer, member, g.epoch)
	}
	return nil
}
