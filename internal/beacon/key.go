package beacon

import (
	"bytes"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Key is what the dealings that stand make together: the group's public key, the
// public key of each member's share, and of the shares what each member needs to
// compute its own. The dealings are not needed any more.
type Key struct {
	group   *Group
	dealers []int
	keys    []g1 // ephemeral, of the dealers
	commits []g2
	values  []scalar // encrypted, sums over the dealers
	hash    canon.Hash
	public  []g2 // of the members' shares
	Verifier
}

// maskSize is the length of the set of dealers.
const maskSize = MaxMembers / 8

// Combine makes the key from the dealings that stand, in ascending order of
// their dealers. A threshold of them is needed, for then no coalition of fewer
// knows the secret.
func (g *Group) Combine(dealings []*Dealing) (*Key, error) {
	if len(dealings) < g.Threshold() {
		return nil, fmt.Errorf("a beacon key from %d dealings in epoch %d, want %d; let the members deal again, under another epoch", len(dealings), g.epoch, g.Threshold())
	}
	k := &Key{group: g, commits: make([]g2, g.Threshold()), values: make([]scalar, g.Size())}
	for i, d := range dealings {
		if d.hash != g.hashDealing(d.raw) {
			return nil, fmt.Errorf("a beacon key from a dealing of member %d to another group", d.dealer)
		}
		if i > 0 && dealings[i-1].dealer >= d.dealer {
			return nil, fmt.Errorf("a beacon key from dealings of members %d and %d, want each once and in ascending order", dealings[i-1].dealer, d.dealer)
		}
		k.dealers = append(k.dealers, d.dealer)
		k.keys = append(k.keys, d.key)
		for j := range k.commits {
			if i == 0 {
				k.commits[j] = d.commits[j]
			} else {
				k.commits[j].Add(&k.commits[j], &d.commits[j])
			}
		}
		for j := range k.values {
			k.values[j].Add(&k.values[j], &d.values[j])
		}
	}
	return k, k.complete()
}

// complete computes what follows from the fields of the encoding.
func (k *Key) complete() error {
	for i := range k.commits {
		if k.commits[i].IsInfinity() { // of a probability of 2^-255, unless there is but one dealer, who may not choose it
			return fmt.Errorf("%w: coefficient %d of a beacon key is infinity; let the members deal again, under another epoch", ErrEncoding, i)
		}
	}
	for i := range k.group.members {
		p := evaluate(k.commits, i)
		if p.IsInfinity() {
			return fmt.Errorf("%w: the share of member %d is infinity; let the members deal again, under another epoch", ErrEncoding, i)
		}
		k.public = append(k.public, p)
	}
	k.Verifier = newVerifier(k.group.chain, k.group.epoch, &k.commits[0])
	k.hash = canon.Sum("aval beacon group key/1", k.group.digest[:], k.Bytes())
	return nil
}

// Bytes is the encoding, for the ledger's state: the set of dealers, their
// ephemeral keys, the commitments, the encrypted shares.
func (k *Key) Bytes() []byte {
	b := make([]byte, maskSize, k.group.keySize(len(k.dealers)))
	for _, d := range k.dealers {
		b[d/8] |= 1 << (d % 8)
	}
	for i := range k.keys {
		b = appendG1(b, &k.keys[i])
	}
	for i := range k.commits {
		b = appendG2(b, &k.commits[i])
	}
	for i := range k.values {
		b = appendScalar(b, &k.values[i])
	}
	return b
}

func (g *Group) keySize(dealers int) int {
	return maskSize + dealers*g1Size + g.Threshold()*g2Size + g.Size()*scalarSize
}

// ParseKey reads what [Key.Bytes] wrote. It believes that the key came from
// dealings: the ledger's state vouches for it.
func (g *Group) ParseKey(raw []byte) (*Key, error) {
	if len(raw) < maskSize {
		return nil, fmt.Errorf("%w: a beacon key of %d bytes", ErrEncoding, len(raw))
	}
	in := reader{rest: raw}
	mask := in.bytes(maskSize)
	k := &Key{group: g}
	for i := range MaxMembers {
		if mask[i/8]&(1<<(i%8)) != 0 {
			k.dealers = append(k.dealers, i)
		}
	}
	n := len(k.dealers)
	if n < g.Threshold() || k.dealers[n-1] >= g.Size() {
		return nil, fmt.Errorf("%w: a beacon key from dealings of %d members of %d, want %d", ErrEncoding, n, g.Size(), g.Threshold())
	}
	if len(raw) != g.keySize(n) {
		return nil, fmt.Errorf("%w: a beacon key of %d bytes, want %d", ErrEncoding, len(raw), g.keySize(n))
	}
	for range n {
		k.keys = append(k.keys, in.g1("the key of a dealing"))
	}
	for range g.Threshold() {
		k.commits = append(k.commits, in.g2("a commitment of a beacon key"))
	}
	for range g.Size() {
		k.values = append(k.values, in.scalar("an encrypted share of a beacon key"))
	}
	if in.err != nil {
		return nil, in.err
	}
	return k, k.complete()
}

// Group is whose key it is.
func (k *Key) Group() *Group { return k.group }

// Signer is a member with its share of a key. It computes nothing twice and has
// no state.
type Signer struct {
	key    *Key
	member int
	share  scalar
}

// Signer computes the share of the secret's owner. ErrShare says that a dealer
// gave it a wrong one and no complaint came in time: this member then has no
// part in this key.
func (k *Key) Signer(s *Secret) (*Signer, error) {
	member, err := k.group.owner(s)
	if err != nil {
		return nil, err
	}
	out := &Signer{key: k, member: member, share: k.values[member]}
	for i, dealer := range k.dealers {
		shared := mulSecret(&k.keys[i], &s.x)
		pad := k.group.pad(dealer, member, &k.keys[i], &shared)
		out.share.Sub(&out.share, &pad)
	}
	if p := baseSecret(&out.share); !p.Equal(&k.public[member]) {
		return nil, fmt.Errorf("%w: the share of member %d in the key of epoch %d", ErrShare, member, k.group.epoch)
	}
	return out, nil
}

// Member is the signer's index.
func (s *Signer) Member() int { return s.member }

func (s *Signer) sign(message canon.Hash) Share {
	p := toPoint(message)
	p = mulSecret(&p, &s.share)
	var out Share
	appendG1(append(out[:0], byte(s.member)), &p)
	return out
}

// Confirm makes the member's statement that it has its share of this key.
func (s *Signer) Confirm() Share { return s.sign(s.key.confirmation()) }

func (k *Key) confirmation() canon.Hash { return canon.Sum("aval beacon confirmation/1", k.hash[:]) }

// CheckConfirmation says whether a member has its share. A key serves once
// [Group.Enough] have.
func (k *Key) CheckConfirmation(s Share) error {
	return k.verifyShare(k.confirmation(), s)
}

// Equal reports whether two keys are the same.
func (k *Key) Equal(other *Key) bool {
	return k.group.digest == other.group.digest && bytes.Equal(k.Bytes(), other.Bytes())
}
