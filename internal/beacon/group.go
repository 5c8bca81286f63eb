package beacon

import (
	"bytes"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits.
const (
	MaxMembers = 128
	maxChain   = 64 // bytes of the name of a chain
)

// Member is a validator with its key.
type Member struct {
	ID  [32]byte // its Ed25519 public key
	Key PublicKey
}

// Group is a set of validators that make a key together. It does not change.
type Group struct {
	chain   string
	epoch   uint64
	members []Member
	keys    []g1
	digest  canon.Hash
}

// NewGroup makes the group of members, in ascending order of their identities,
// which tries under a number of its own to get a key: a second try, like a
// second set of members, needs another epoch. The keys must have been
// registered ([Registration.Check]).
func NewGroup(chain string, epoch uint64, members []Member) (*Group, error) {
	if len(chain) == 0 || len(chain) > maxChain {
		return nil, fmt.Errorf("a beacon group of a chain with a name of %d bytes, want 1 to %d", len(chain), maxChain)
	}
	if len(members) == 0 || len(members) > MaxMembers {
		return nil, fmt.Errorf("a beacon group of %d members, want 1 to %d", len(members), MaxMembers)
	}
	g := &Group{chain: chain, epoch: epoch, members: append([]Member(nil), members...)}
	seen := make(map[PublicKey]bool, len(members))
	list := make([]byte, 0, len(members)*(32+g1Size))
	for i, m := range g.members {
		if i > 0 && bytes.Compare(g.members[i-1].ID[:], m.ID[:]) >= 0 {
			return nil, fmt.Errorf("a beacon group whose members %d and %d are not in ascending order", i-1, i)
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
		list = append(append(list, m.ID[:]...), m.Key[:]...)
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

// Faults is how many members may be faulty, f: less than a third, as in the
// consensus.
func (g *Group) Faults() int { return (len(g.members) - 1) / 3 }

// Quorum is the number of members without whom there is no block, n-f, and who
// must have confirmed a key before it serves.
func (g *Group) Quorum() int { return len(g.members) - g.Faults() }

// Threshold is how many shares make a signature, n-2f: so many of a quorum are
// honest for certain. It is more than f and at least a third of all.
func (g *Group) Threshold() int { return len(g.members) - 2*g.Faults() }

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
