package beacon

import (
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fp"
)

// What tests need to cheat with.

// DealWrong deals as Deal does, but encrypts wrong shares for some members.
func (g *Group) DealWrong(s *Secret, entropy [32]byte, members ...int) (*Dealing, error) {
	w, err := g.draw(s, entropy)
	if err != nil {
		return nil, err
	}
	for _, m := range members {
		var one scalar
		one.SetOne()
		w.values[m].Add(&w.values[m], &one)
	}
	return w.prove(g, s), nil
}

// DealFor deals under the name of another member.
func (g *Group) DealFor(dealer int, s *Secret) (*Dealing, error) {
	w, err := g.draw(s, [32]byte{})
	if err != nil {
		return nil, err
	}
	w.dealer = dealer
	return w.prove(g, s), nil
}

// DealUnknown deals a polynomial whose value at 0 the dealer doesn't know: it
// takes the first commitment of another's dealing.
func (g *Group) DealUnknown(s *Secret, other *Dealing) (*Dealing, error) {
	w, err := g.draw(s, [32]byte{})
	if err != nil {
		return nil, err
	}
	w.commits[0] = other.commits[0]
	return w.prove(g, s), nil
}

// DealCopiedKey deals with the ephemeral key of another's dealing.
func (g *Group) DealCopiedKey(s *Secret, other *Dealing) (*Dealing, error) {
	w, err := g.draw(s, [32]byte{})
	if err != nil {
		return nil, err
	}
	w.key = other.key
	return w.prove(g, s), nil
}

// Reveal makes a complaint that is not deserved.
func (g *Group) Reveal(s *Secret, d *Dealing) *Complaint {
	member, err := g.owner(s)
	if err != nil {
		panic(err)
	}
	shared := mulSecret(&d.key, &s.x)
	return g.reveal(s, member, d, &shared)
}

// VerifyMessage verifies a signature of any message under any key.
func VerifyMessage(key GroupKey, message [32]byte, s Signature) error {
	in := reader{rest: append(key[:], s[:]...)}
	k, p := in.g2("key"), in.g1("signature")
	if in.err != nil {
		return in.err
	}
	at := toPoint(message)
	at.Neg(&at)
	if ok, err := bls.PairingCheck([]g1{p, at}, []g2{base2, k}); err != nil || !ok {
		return ErrSignature
	}
	return nil
}

// OutsideG1 and OutsideG2 are points of the curves that are not in the groups.
func OutsideG1() (b [g1Size]byte) {
	var f fp.Element
	j := bls.GeneratePointNotInG1(*f.SetUint64(7))
	var p g1
	p.FromJacobian(&j)
	return p.Bytes()
}

func OutsideG2() (b [g2Size]byte) {
	var f bls.E2
	f.A0.SetUint64(7)
	j := bls.GeneratePointNotInG2(f)
	var p g2
	p.FromJacobian(&j)
	return p.Bytes()
}
