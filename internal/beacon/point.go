package beacon

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/big"

	"github.com/consensys/gnark-crypto/ecc"
	bls "github.com/consensys/gnark-crypto/ecc/bls12-381"
	"github.com/consensys/gnark-crypto/ecc/bls12-381/fr"

	"github.com/avalnetwork/aval/internal/canon"
)

// Sizes of what is encoded, in bytes.
const (
	scalarSize = fr.Bytes
	g1Size     = bls.SizeOfG1AffineCompressed
	g2Size     = bls.SizeOfG2AffineCompressed
)

// scalarDST separates the scalars that are hashes; signatureDST is that of the
// ciphersuite for signatures in G1, so that other libraries can verify them.
const (
	scalarDST    = "aval beacon scalar/1"
	signatureDST = "BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
)

// ErrEncoding says that bytes are not what they should be the encoding of.
var ErrEncoding = errors.New("not a valid encoding")

type (
	scalar = fr.Element
	g1     = bls.G1Affine
	g2     = bls.G2Affine
)

// base1 and base2 are the generators of the two groups.
var base1, base2 = generators()

// base2Lines is what a pairing with base2 needs of it.
var base2Lines = bls.PrecomputeLines(base2)

func generators() (g1, g2) {
	_, _, a, b := bls.Generators()
	return a, b
}

// reader takes apart an encoding whose length was checked.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) bytes(n int) []byte {
	b := r.rest[:n:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) fail(what, why string) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: %s: %s", ErrEncoding, what, why)
	}
}

// scalar reads a number below the order of the groups.
func (r *reader) scalar(what string) (s scalar) {
	if s.SetBytesCanonical(r.bytes(scalarSize)) != nil {
		r.fail(what, "the number is not below the order of the group")
	}
	return s
}

// compressed is set in the first byte of a compressed point, infinite in that of
// the point at infinity.
const compressed, infinite = 0x80, 0x40

// g1 reads a compressed point of G1 other than infinity.
func (r *reader) g1(what string) (p g1) {
	b := r.bytes(g1Size)
	if r.err != nil {
		return p
	}
	if b[0]&compressed == 0 || b[0]&infinite != 0 {
		r.fail(what, "a compressed point other than infinity is wanted")
	} else if _, err := p.SetBytes(b); err != nil { // checks the subgroup too
		r.fail(what, err.Error())
	} else if p.Bytes() != [g1Size]byte(b) {
		r.fail(what, "the point is not in its canonical form")
	}
	return p
}

// g2 reads a compressed point of G2 other than infinity.
func (r *reader) g2(what string) (p g2) {
	b := r.bytes(g2Size)
	if r.err != nil {
		return p
	}
	if b[0]&compressed == 0 || b[0]&infinite != 0 {
		r.fail(what, "a compressed point other than infinity is wanted")
	} else if _, err := p.SetBytes(b); err != nil {
		r.fail(what, err.Error())
	} else if p.Bytes() != [g2Size]byte(b) {
		r.fail(what, "the point is not in its canonical form")
	}
	return p
}

func appendScalar(b []byte, s *scalar) []byte {
	e := s.Bytes()
	return append(b, e[:]...)
}

func appendG1(b []byte, p *g1) []byte {
	e := p.Bytes()
	return append(b, e[:]...)
}

func appendG2(b []byte, p *g2) []byte {
	e := p.Bytes()
	return append(b, e[:]...)
}

func u64(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// toScalar gives a number that is a hash, by hash_to_field of RFC 9380.
func toScalar(h canon.Hash) scalar {
	s, err := fr.Hash(h[:], []byte(scalarDST), 1)
	if err != nil {
		panic("beacon: internal error: " + err.Error())
	}
	return s[0]
}

func toPoint(h canon.Hash) g1 {
	p, err := bls.HashToG1(h[:], []byte(signatureDST))
	if err != nil {
		panic("beacon: internal error: " + err.Error())
	}
	return p
}

func integer(s *scalar) *big.Int { return s.BigInt(new(big.Int)) }

func mul1(p *g1, s *scalar) (q g1) {
	q.ScalarMultiplication(p, integer(s))
	return q
}

func mul2(p *g2, s *scalar) (q g2) {
	q.ScalarMultiplication(p, integer(s))
	return q
}

// mulSecret is mul1 with a number that must stay secret. The library's time
// depends on the number; so it is split into two that nobody can tell, by a hash
// of it and of the point, which makes the time that of other numbers for each
// point.
func mulSecret(p *g1, s *scalar) g1 {
	k, at := s.Bytes(), p.Bytes()
	a := toScalar(canon.Sum("aval beacon blind/1", k[:], at[:]))
	var b scalar
	b.Sub(s, &a)
	x, y := mul1(p, &a), mul1(p, &b)
	x.Add(&x, &y)
	return x
}

// baseSecret is mulSecret of the generator of the other group.
func baseSecret(s *scalar) g2 {
	k := s.Bytes()
	a := toScalar(canon.Sum("aval beacon blind/1", k[:]))
	var b scalar
	b.Sub(s, &a)
	x, y := mul2(&base2, &a), mul2(&base2, &b)
	x.Add(&x, &y)
	return x
}

// lagrange gives, for the polynomial through places index+1, the weights of its
// values there in its value at 0.
func lagrange(indexes []int) []scalar {
	top, bottom := make([]scalar, len(indexes)), make([]scalar, len(indexes))
	for i, at := range indexes {
		top[i].SetOne()
		bottom[i].SetOne()
		for j, other := range indexes {
			if i == j {
				continue
			}
			var d scalar
			top[i].Mul(&top[i], d.SetUint64(uint64(other+1)))
			bottom[i].Mul(&bottom[i], d.SetInt64(int64(other-at)))
		}
	}
	bottom = fr.BatchInvert(bottom)
	for i := range top {
		top[i].Mul(&top[i], &bottom[i])
	}
	return top
}

// interpolate gives the value at 0 of a polynomial of points.
func interpolate(indexes []int, points []g1) (sum g1) {
	if _, err := sum.MultiExp(points, lagrange(indexes), ecc.MultiExpConfig{NbTasks: 1}); err != nil {
		panic("beacon: internal error: " + err.Error())
	}
	return sum
}

// evaluate gives the value at a member's place of the polynomial whose
// coefficients are the points.
func evaluate(points []g2, index int) (value g2) {
	var sum bls.G2Jac
	sum.FromAffine(&points[len(points)-1])
	for i := len(points) - 2; i >= 0; i-- {
		at := sum
		bit := 1
		for bit<<1 <= index+1 {
			bit <<= 1
		}
		for bit >>= 1; bit > 0; bit >>= 1 {
			sum.DoubleAssign()
			if (index+1)&bit != 0 {
				sum.AddAssign(&at)
			}
		}
		sum.AddMixed(&points[i])
	}
	value.FromJacobian(&sum)
	return value
}
