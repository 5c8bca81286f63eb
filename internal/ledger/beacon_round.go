package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/avalnetwork/aval/internal/beacon"
	"github.com/avalnetwork/aval/internal/canon"
)

// beaconMemory keeps groups and keys that were computed from the state, which
// takes long. It is a memory of pure functions: it changes no result.
type beaconMemory struct {
	groups map[canon.Hash]*beacon.Group
	keys   map[canon.Hash]*beacon.Key
}

// maxBeaconMemory bounds each part: a group that makes a key, the one that
// serves, the one before.
const maxBeaconMemory = 4

func remember[T any](in *map[canon.Hash]T, id canon.Hash, v T) {
	if *in == nil || len(*in) >= maxBeaconMemory {
		*in = map[canon.Hash]T{}
	}
	(*in)[id] = v
}

func (m *Machine) group(chain string, epoch uint64, members []BeaconMember) (*beacon.Group, error) {
	parts := make([][]byte, 0, 2+len(members))
	parts = append(parts, []byte(chain), u64(epoch))
	list := make([]beacon.Member, 0, len(members))
	for _, x := range members {
		if len(x.Key) != len(beacon.PublicKey{}) {
			return nil, fmt.Errorf("ledger: a beacon key of %d bytes", len(x.Key))
		}
		parts = append(parts, append(append(x.Validator[:len(x.Validator):len(x.Validator)], x.Key...), u64(x.Power)...))
		list = append(list, beacon.Member{ID: x.Validator, Key: beacon.PublicKey(x.Key), Power: x.Power})
	}
	id := canon.Sum("aval beacon memory/1", parts...)
	if m.beacons == nil {
		m.beacons = &beaconMemory{}
	}
	if g := m.beacons.groups[id]; g != nil {
		return g, nil
	}
	g, err := beacon.NewGroup(chain, epoch, list)
	if err == nil {
		remember(&m.beacons.groups, id, g)
	}
	return g, err
}

func (m *Machine) key(g *beacon.Group, raw []byte) (*beacon.Key, error) {
	digest := g.Digest()
	id := canon.Sum("aval beacon memory/1", digest[:], raw)
	if k := m.beacons.keys[id]; k != nil {
		return k, nil
	}
	k, err := g.ParseKey(raw)
	if err == nil {
		remember(&m.beacons.keys, id, k)
	}
	return k, err
}

// BeaconRound is the key that signs a round.
type BeaconRound struct {
	Round   uint64
	Key     *beacon.Key
	serving *BeaconServing
}

// Must says whether the vote of a member does not count without its share.
func (r *BeaconRound) Must(member int) bool {
	h := r.serving.confirmed(member)
	return h > 0 && h < r.Round
}

// BeaconAt is the key for the round of a height, or nil if none serves then: the
// next height, or that of the last block. What it says follows from the blocks
// before that height alone.
func (m *Machine) BeaconAt(round uint64) (*BeaconRound, error) {
	b := loadBeacon(&m.state)
	for _, s := range []*BeaconServing{b.Serving, b.Before} {
		if s == nil || round < s.From || s.Until > 0 && round > s.Until {
			continue
		}
		g, err := m.group(m.Chain(), s.Epoch, s.Members)
		if err != nil {
			return nil, fmt.Errorf("ledger: the beacon's group: %w", err)
		}
		k, err := m.key(g, s.Key)
		if err != nil {
			return nil, fmt.Errorf("ledger: the beacon's key: %w", err)
		}
		return &BeaconRound{Round: round, Key: k, serving: s}, nil
	}
	return nil, nil
}

// BeaconEpoch is the number of the newest group that makes a key, or made one.
func (m *Machine) BeaconEpoch() uint64 { return loadBeacon(&m.state).Epoch }

// BeaconStatus says how the beacon is.
type BeaconStatus struct {
	Serves    bool   `json:"serves"`
	Epoch     uint64 `json:"epoch,omitempty"`     // of the key that serves
	From      uint64 `json:"from,omitempty"`      // its first round
	Members   int    `json:"members,omitempty"`   // of its group
	Confirmed int    `json:"confirmed,omitempty"` // that have their share
	Making    string `json:"making,omitempty"`    // what the next group waits for
	Why       string `json:"why,omitempty"`       // why no key is made, in words
}

// Beacon says how the beacon is after the last block.
func (m *Machine) Beacon() BeaconStatus {
	b := loadBeacon(&m.state)
	var out BeaconStatus
	if s := b.Serving; s != nil && s.Until == 0 {
		out = BeaconStatus{Serves: true, Epoch: s.Epoch, From: s.From, Members: len(s.Members), Confirmed: len(s.Confirmed)}
	}
	members, missing := beaconMembers(&m.state)
	switch {
	case b.Making != nil:
		out.Making = fmt.Sprintf("%s, until height %d (epoch %d, %d members)", b.Making.Phase, b.Making.Until, b.Epoch, len(b.Making.Members))
	case len(missing) > 0:
		names := make([]string, 0, len(missing))
		for _, k := range missing {
			names = append(names, hex.EncodeToString(k[:4]))
		}
		out.Why = "validators have not registered a beacon key: " + strings.Join(names, ", ") + "; start their nodes with this program"
	case b.settled(members):
	default:
		if _, err := m.group(m.Chain(), b.Epoch, members); err != nil {
			out.Why = err.Error()
		} else {
			out.Why = fmt.Sprintf("too few validators took part in %d tries; restart those that were away", b.Tries)
		}
	}
	return out
}

// BeaconMaker is this device's part in the making of keys. It remembers only
// what saves work.
type BeaconMaker struct {
	key    ed25519.PublicKey
	secret *beacon.Secret
	looked bool // whether its group had given up when it began

	epoch uint64 // of what follows
	right [beacon.MaxMembers]bool
	wrong bool // it has no share of the key
}

// NewBeaconMaker is that of a validator's key.
func NewBeaconMaker(key ed25519.PrivateKey) (*BeaconMaker, error) {
	s, err := beacon.NewSecret(key.Seed())
	if err != nil {
		return nil, err
	}
	return &BeaconMaker{key: key.Public().(ed25519.PublicKey), secret: s}, nil
}

// Next is the transaction that the ledger waits for from this validator after
// the last block; the payload is nil if there is none. Asked again it says the
// same, until the transaction is in a block.
func (p *BeaconMaker) Next(m *Machine) (Kind, any, error) {
	v, ok := load[Validator](&m.state, tableValidator.key(p.key))
	if !ok || v.Power == 0 && (v.Bond == 0 || v.Bond < m.Params().ValidatorBond) {
		return 0, nil, nil
	}
	b := loadBeacon(&m.state)
	if p.epoch != b.Epoch {
		p.epoch, p.right, p.wrong = b.Epoch, [beacon.MaxMembers]bool{}, false
	}
	want := p.secret.Register(canon.Hash(p.key))
	e, ok := load[Enrolled](&m.state, tableEnrolled.key(p.key))
	if !ok || string(e.Registration) != string(want[:]) {
		return KindEnrol, &Enrol{Key: p.key, Registration: want[:]}, nil
	}
	if v.Power == 0 {
		return 0, nil, nil
	}
	if b.Making != nil {
		p.looked = true
		if kind, payload, err := p.make(m, b); payload != nil || err != nil {
			return kind, payload, err
		}
	} else if !p.looked || b.GaveUp > 0 && m.height >= b.GaveUp+beaconPause { // it was away when its group gave up, perhaps
		members, missing := beaconMembers(&m.state)
		if len(missing) == 0 && !b.settled(members) {
			if _, err := m.group(m.Chain(), b.Epoch, members); err == nil {
				return KindEnrol, &Enrol{Key: p.key, Registration: want[:]}, nil
			}
		}
		p.looked = true
	}
	if s := b.Serving; s != nil && s.Until == 0 {
		return p.confirm(m, s.Epoch, s.Members, s.Key, s.Confirmed)
	}
	return 0, nil, nil
}

// make is Next for the group that makes a key.
func (p *BeaconMaker) make(m *Machine, b *Beacon) (Kind, any, error) {
	g := b.Making
	if g.Phase == BeaconConfirm {
		return p.confirm(m, b.Epoch, g.Members, g.Key, g.Confirmed)
	}
	group, err := m.group(m.Chain(), b.Epoch, g.Members)
	if err != nil {
		return 0, nil, err
	}
	i, ok := group.Index(canon.Hash(p.key))
	if !ok {
		return 0, nil, nil
	}
	if _, dealt := m.state.Get(dealingKey(i)); !dealt && g.Phase == BeaconDeal && !out(g.Out, i) {
		d, err := group.Deal(p.secret, [32]byte{})
		if err != nil {
			return 0, nil, err
		}
		return KindDeal, &Deal{Key: p.key, Epoch: b.Epoch, Dealing: d.Bytes()}, nil
	}
	for k, e := range each[BeaconDealing](&m.state, tableDealing) {
		dealer := int(k[1])
		if dealer == i || p.right[dealer] {
			continue
		}
		d, err := group.Parse(e.Dealing)
		if err != nil {
			return 0, nil, err
		}
		c, err := group.Complain(p.secret, d)
		if err != nil {
			return 0, nil, err
		}
		if c != nil {
			return KindComplain, &Complain{Key: p.key, Epoch: b.Epoch, Complaint: c[:]}, nil
		}
		p.right[dealer] = true
	}
	return 0, nil, nil
}

func out(list []uint64, member int) bool {
	for _, x := range list {
		if x == uint64(member) {
			return true
		}
	}
	return false
}

func (p *BeaconMaker) confirm(m *Machine, epoch uint64, members []BeaconMember, raw []byte, confirmed []BeaconConfirmation) (Kind, any, error) {
	group, err := m.group(m.Chain(), epoch, members)
	if err != nil {
		return 0, nil, err
	}
	i, ok := group.Index(canon.Hash(p.key))
	if !ok || group.Member(i).Key != p.secret.Public() || confirmedAt(confirmed, i) > 0 || p.wrong && epoch == p.epoch {
		return 0, nil, nil
	}
	key, err := m.key(group, raw)
	if err != nil {
		return 0, nil, err
	}
	s, err := key.Signer(p.secret)
	if err != nil {
		p.wrong = epoch == p.epoch
		return 0, nil, err
	}
	share := s.Confirm()
	return KindConfirm, &Confirm{Key: p.key, Epoch: epoch, Share: share[:]}, nil
}
