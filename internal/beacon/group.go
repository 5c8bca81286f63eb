package beacon

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits.
const (
	MaxMembers = 128
	maxPower   = 1 << 48 // of a member
	maxChain   = 64      // bytes of the name of a chain
)

// Member is a validator with its key.
type Member struct {
	ID    [32]byte // its Ed25519 public key
	Key   PublicKey
	Power uint64 // in the consensus
}

// Group is a set of validators that make a key together. It does not change.
type Group struct {
	chain   string
	epoch   uint64
	members []Member
	power   uint64 // of all
	faults  int
	keys    []g1
	digest  canon.Hash
}

// NewGroup makes the group of members, in ascending order of their identities,
// which tries under a number of its own to get a key: a second try, like a
// second set of members or other powers, needs another epoch. The keys must have
// been registered ([Registration.Check]), and the members be all validators. It
// refuses powers of which less than a third could be that of a third of the
// members or more: then no threshold is safe.
func NewGroup(chain string, epoch uint64, members []Member) (*Group, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, fmt.Errorf("a beacon group of a chain with a name of %d bytes, want 1 to %d", len(chain), maxChain)
	}
	if len(members) == 0 || len(members) > MaxMembers {
		return nil, fmt.Errorf("a beacon group of %d members, want 1 to %d", len(members), MaxMembers)
	}
	g := &Group{chain: chain, epoch: epoch, members: append([]Member(nil), members...)}
	seen := make(map[PublicKey]bool, len(members))
	list := make([]byte, 0, len(members)*(32+g1Size+8))
	powers := make([]uint64, 0, len(members))
	for i, m := range g.members {
		if i > 0 && bytes.Compare(g.members[i-1].ID[:], m.ID[:]) >= 0 {
			return nil, fmt.Errorf("a beacon group whose members %d and %d are not in ascending order", i-1, i)
		}
		if m.Power == 0 || m.Power > maxPower {
			return nil, fmt.Errorf("a beacon group in which member %d has a power of %d, want 1 to %d", i, m.Power, maxPower)
		}
		if seen[m.Key] {
			return nil, fmt.Errorf("a beacon group in which member %d has the key of an earlier one", i)
		}
		seen[m.Key] = true
		p, err := m.Key.point()
		if err != nil {
			return nil, fmt.Errorf("member %d of a beacon group: %w", i, err)
		}
		g.keys = append(g.keys, p)
		list = append(append(append(list, m.ID[:]...), m.Key[:]...), u64(m.Power)...)
		powers = append(powers, m.Power)
		g.power += m.Power
	}
	if g.faults = Minority(powers, g.power); len(members) <= 3*g.faults {
		return nil, fmt.Errorf("%w: less than a third of the power can be that of %d of %d members; bring their powers closer together", ErrPower, g.faults, len(members))
	}
	g.digest = canon.Sum("aval beacon group/1", []byte(chain), u64(epoch), list)
	return g, nil
}

// Chain names the chain, Epoch the try.
func (g *Group) Chain() string { return g.chain }

// Epoch is the number that [NewGroup] was given.
func (g *Group) Epoch() uint64 { return g.epoch }

// Size is the number of members.
func (g *Group) Size() int { return len(g.members) }

// Member gives the member with an index.
func (g *Group) Member(index int) Member { return g.members[index] }

// Index finds a member.
func (g *Group) Index(id [32]byte) (int, bool) {
	for i := range g.members {
		if g.members[i].ID == id {
			return i, true
		}
	}
	return 0, false
}

// ErrPower says that no beacon is safe with the powers that validators have.
var ErrPower = errors.New("the powers are too uneven for a beacon")

// Minority is how many of some powers can be less than a third of a total
// together. It sorts them.
func Minority(powers []uint64, total uint64) (n int) {
	slices.Sort(powers)
	var sum uint64
	for _, p := range powers {
		if sum += p; 3*sum >= total {
			break
		}
		n++
	}
	return n
}

// Faults is how many members may be faulty, f: as many as may have less than a
// third of the power. If all have the same it is (n-1)/3.
func (g *Group) Faults() int { return g.faults }

// Threshold is how many shares make a signature, n-2f: so many at least of those
// who vote for a block have confirmed the key. It is more than f.
func (g *Group) Threshold() int { return len(g.members) - 2*g.faults }

// Enough reports whether the members that confirmed a key have more than two
// thirds of the power, so that the key may serve.
func (g *Group) Enough(confirmed []int) bool {
	var sum uint64
	for i := range g.members {
		if slices.Contains(confirmed, i) {
			sum += g.members[i].Power
		}
	}
	return 3*sum > 2*g.power
}

// Digest stands for the chain, the epoch and the members in all proofs.
func (g *Group) Digest() [32]byte { return g.digest }

func (g *Group) owner(s *Secret) (int, error) {
	key := s.Public()
	for i := range g.members {
		if g.members[i].Key == key {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%w: no member of epoch %d has this beacon key", ErrNotMember, g.epoch)
}
