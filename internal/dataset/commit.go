package dataset

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/train"
)

// SecretSize is the length of the secret that salts come from.
const SecretSize = 32

// ErrOpening says that an opening does not belong to a commitment.
var ErrOpening = errors.New("the example is not one that was committed to")

// Commitment is a Merkle tree over examples. Each leaf has a salt of its own,
// so that whoever learns some of the examples learns nothing about the others,
// not even by guessing them.
type Commitment struct {
	secret []byte
	leaves []canon.Hash
}

// Commit computes the tree over all examples of d, in their order.
func Commit(d train.Data, secret [SecretSize]byte) (*Commitment, error) {
	c := &Commitment{secret: secret[:], leaves: make([]canon.Hash, d.Len())}
	for i := range c.leaves {
		e, err := d.Example(i)
		if err != nil {
			return nil, fmt.Errorf("example %d: %w", i, err)
		}
		salt := c.salt(i)
		c.leaves[i] = leaf(salt[:], Canonical(&e))
	}
	return c, nil
}

// salt is HMAC-SHA256 of the example's number, which makes salts without the
// secret as good as random.
func (c *Commitment) salt(i int) canon.Hash {
	mac := hmac.New(sha256.New, c.secret)
	mac.Write([]byte("aval-data-salt/1"))
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(i))
	mac.Write(n[:])
	var out canon.Hash
	mac.Sum(out[:0])
	return out
}

func leaf(salt, example []byte) canon.Hash {
	h := canon.Sum("aval-data-example/1", salt, example)
	return canon.Leaf(h[:])
}

// Len is the number of examples.
func (c *Commitment) Len() int { return len(c.leaves) }

// Root is what is committed to.
func (c *Commitment) Root() canon.Hash { return canon.Root(c.leaves) }

// Opening shows one example of a commitment.
type Opening struct {
	Index   int          `cbor:"1,keyasint"`
	Salt    []byte       `cbor:"2,keyasint"`
	Example []byte       `cbor:"3,keyasint"` // Canonical
	Proof   []canon.Hash `cbor:"4,keyasint"` // of canon.Range
}

// Open shows example i, which is e.
func (c *Commitment) Open(i int, e *train.Example) (Opening, error) {
	if i < 0 || i >= len(c.leaves) {
		return Opening{}, fmt.Errorf("there is no example %d among %d", i, len(c.leaves))
	}
	salt := c.salt(i)
	o := Opening{Index: i, Salt: salt[:], Example: Canonical(e), Proof: canon.Range(c.leaves, i, i+1)}
	if leaf(o.Salt, o.Example) != c.leaves[i] {
		return Opening{}, fmt.Errorf("example %d: %w", i, ErrOpening)
	}
	return o, nil
}

// Check reports whether the example is the one that a commitment with this root
// to n examples has in its place, and returns it.
func (o *Opening) Check(root canon.Hash, n int) (train.Example, error) {
	if len(o.Salt) != canon.Size {
		return train.Example{}, fmt.Errorf("%w: the salt has %d bytes", ErrOpening, len(o.Salt))
	}
	got, err := canon.RangeRoot(n, o.Index, []canon.Hash{leaf(o.Salt, o.Example)}, o.Proof)
	if err != nil {
		return train.Example{}, fmt.Errorf("%w: %w", ErrOpening, err)
	}
	if got != root {
		return train.Example{}, fmt.Errorf("%w: example %d gives another root", ErrOpening, o.Index)
	}
	return ParseCanonical(o.Example)
}
