package beacon

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// ComplaintSize is the length of a complaint.
const ComplaintSize = 2 + g1Size + 2*scalarSize

// Complaint is a member's proof of what a dealer encrypted for it: the key that
// the two share for this dealing, and that it is that key.
type Complaint [ComplaintSize]byte

// Dealer is the index of whom the complaint is about.
func (c *Complaint) Dealer() int { return int(c[0]) }

// Member is the index of who complains.
func (c *Complaint) Member() int { return int(c[1]) }

// Complain looks at the share that a checked dealing has for the secret's owner.
// It returns nil if the share is right. If not, the complaint convinces everybody
// of it, and gives away nothing but that share.
func (g *Group) Complain(s *Secret, d *Dealing) (*Complaint, error) {
	member, err := g.owner(s)
	if err != nil {
		return nil, err
	}
	shared := mulSecret(&d.key, &s.x)
	if member == d.dealer || g.open(d, member, &shared) == nil {
		return nil, nil
	}
	return g.reveal(s, member, d, &shared), nil
}

// reveal makes a complaint, rightly or not.
func (g *Group) reveal(s *Secret, member int, d *Dealing, shared *g1) *Complaint {
	k := s.derive("complaint", d.hash[:], []byte{byte(member)})
	r1, r2 := mulSecret(&base1, &k), mulSecret(&d.key, &k)
	c := complaintChallenge(d, member, shared, &r1, &r2)
	var z scalar
	z.Mul(&c, &s.x).Add(&z, &k)
	var out Complaint
	b := appendG1(append(out[:0], byte(d.dealer), byte(member)), shared)
	b = appendScalar(b, &c)
	appendScalar(b, &z)
	return &out
}

func complaintChallenge(d *Dealing, member int, shared, r1, r2 *g1) scalar {
	s, a, b := shared.Bytes(), r1.Bytes(), r2.Bytes()
	return toScalar(canon.Sum("aval beacon complaint/1", d.hash[:], []byte{byte(member)}, s[:], a[:], b[:]))
}

// Judge decides about a complaint against a checked dealing of this group. It
// returns the member that is in the wrong: the dealer, whose dealing must not
// stand, or who complained of a share that is right. An error says that the
// complaint is not proved to be the member's, and changes nothing.
func (g *Group) Judge(d *Dealing, c *Complaint) (guilty int, err error) {
	if c.Dealer() != d.dealer || c.Member() >= g.Size() || c.Member() == d.dealer {
		return 0, fmt.Errorf("%w: a complaint of member %d about member %d, judged with a dealing of member %d of %d", ErrEncoding, c.Member(), c.Dealer(), d.dealer, g.Size())
	}
	member := c.Member()
	in := reader{rest: c[2:]}
	shared := in.g1("the key of a complaint")
	challenge, z := in.scalar("the challenge of a complaint"), in.scalar("the answer of a complaint")
	if in.err != nil {
		return 0, in.err
	}
	r1 := schnorr1(&base1, &g.keys[member], &challenge, &z)
	r2 := schnorr1(&d.key, &shared, &challenge, &z)
	if want := complaintChallenge(d, member, &shared, &r1, &r2); !want.Equal(&challenge) {
		return 0, fmt.Errorf("%w: the complaint of member %d about member %d in epoch %d", ErrProof, member, d.dealer, g.epoch)
	}
	if g.open(d, member, &shared) == nil {
		return member, nil
	}
	return d.dealer, nil
}
