package ledger

import (
	"bytes"
	"errors"
	"slices"

	"github.com/avalnetwork/aval/internal/beacon"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Beacon is how far the validators are with their common key, from which the
// randomness of each block comes (spec/beacon.md).
type Beacon struct {
	Epoch   uint64         `cbor:"1,keyasint" json:"epoch"`             // last one that was used for a group
	Tries   uint64         `cbor:"2,keyasint" json:"tries"`             // of these validators that led to no key
	Making  *BeaconMaking  `cbor:"3,keyasint,omitempty" json:"making"`  // the group that makes a key
	Serving *BeaconServing `cbor:"4,keyasint,omitempty" json:"serving"` // the newest key that served
	// Before is the key before that: it serves in the round of the block in
	// which the newest one was confirmed.
	Before *BeaconServing `cbor:"5,keyasint,omitempty" json:"before"`
	GaveUp uint64         `cbor:"6,keyasint,omitempty" json:"gave_up,omitempty"` // height at which the group tried for the last time
}

// BeaconMember is a validator in a group.
type BeaconMember struct {
	_         struct{}   `cbor:",toarray"`
	Validator canon.Hash `json:"validator"` // its Ed25519 key
	Key       []byte     `json:"key"`       // its beacon key
	Power     uint64     `json:"power"`
}

// BeaconPhase is what a group waits for.
type BeaconPhase uint8

// The phases.
const (
	BeaconDeal     BeaconPhase = 1 // dealings; and complaints, already
	BeaconComplain BeaconPhase = 2 // complaints
	BeaconConfirm  BeaconPhase = 3 // confirmations of the key
)

func (p BeaconPhase) String() string {
	names := [...]string{"", "deal", "complain", "confirm"}
	if int(p) < len(names) {
		return names[p]
	}
	return Amount(p).String()
}

// BeaconMaking is a group that makes a key. Its dealings are entries of their
// own until there is one.
type BeaconMaking struct {
	Members   []BeaconMember       `cbor:"1,keyasint" json:"members"`
	Phase     BeaconPhase          `cbor:"2,keyasint" json:"phase"`
	Until     uint64               `cbor:"3,keyasint" json:"until"` // last height of the phase
	Out       []uint64             `cbor:"4,keyasint" json:"out"`   // dealers of wrong shares
	Key       []byte               `cbor:"5,keyasint" json:"key"`   // from the phase of confirming on
	Confirmed []BeaconConfirmation `cbor:"6,keyasint" json:"confirmed"`
}

// BeaconConfirmation says since when a member has its share of a key.
type BeaconConfirmation struct {
	_      struct{} `cbor:",toarray"`
	Member uint64   `json:"member"`
	Height uint64   `json:"height"`
}

// BeaconServing is a key that gives randomness to the blocks of some heights.
type BeaconServing struct {
	Epoch     uint64               `cbor:"1,keyasint" json:"epoch"`
	Members   []BeaconMember       `cbor:"2,keyasint" json:"members"`
	Key       []byte               `cbor:"3,keyasint" json:"key"`
	Confirmed []BeaconConfirmation `cbor:"4,keyasint" json:"confirmed"`
	From      uint64               `cbor:"5,keyasint" json:"from"`            // first round
	Until     uint64               `cbor:"6,keyasint,omitempty" json:"until"` // last round; 0: it serves on
}

// Spans of the making of a key, in blocks. As many are added as there are
// members, so that each of them may propose one; each further try doubles them,
// for the blocks of a busy chain pass quickly.
const (
	beaconDealSpan     = 20
	beaconComplainSpan = 2
	beaconConfirmSpan  = 20
	maxBeaconTries     = 3   // until something changes
	beaconPause        = 600 // after which a validator asks for more
)

// BeaconDealing is a dealing that stands so far.
type BeaconDealing struct {
	Dealing []byte `cbor:"1,keyasint" json:"dealing"`
}

// Enrolled is what a validator registered: by its key, the registration; by the
// registered beacon key, whose it is.
type Enrolled struct {
	Registration []byte `cbor:"1,keyasint,omitempty" json:"registration,omitempty"`
	Validator    []byte `cbor:"2,keyasint,omitempty" json:"validator,omitempty"`
}

func loadBeacon(t *tree.Tree) *Beacon {
	if b, ok := load[Beacon](t, tableBeacon.key()); ok {
		return b
	}
	return &Beacon{}
}

func (b *Beacon) save(t *tree.Tree) { save(t, tableBeacon.key(), b) }

// validators are all that have power, with their beacon keys, and those of them
// that have registered none.
func beaconMembers(t *tree.Tree) (list []BeaconMember, missing [][]byte) {
	for k, v := range each[Validator](t, tableValidator) {
		if v.Power == 0 {
			continue
		}
		e, ok := load[Enrolled](t, tableEnrolled.key(k[1:]))
		if !ok {
			missing = append(missing, bytes.Clone(k[1:]))
			continue
		}
		r := beacon.Registration(e.Registration)
		key := r.Key()
		list = append(list, BeaconMember{Validator: canon.Hash(k[1:]), Key: key[:], Power: v.Power})
	}
	return list, missing
}

func sameMembers(a, b []BeaconMember) bool {
	return slices.EqualFunc(a, b, func(x, y BeaconMember) bool {
		return x.Validator == y.Validator && x.Power == y.Power && bytes.Equal(x.Key, y.Key)
	})
}

// settled says that the key that serves is of these members.
func (b *Beacon) settled(members []BeaconMember) bool {
	return b.Serving != nil && b.Serving.Until == 0 && sameMembers(b.Serving.Members, members)
}

// regroup looks, when validators or their beacon keys have changed, whether the
// key that serves is still good, and lets a new group make one.
func (m *Machine) regroup() {
	if len(m.powers) == 0 && !m.enrolled && m.block.Height != 1 {
		return
	}
	b := loadBeacon(&m.work)
	members, missing := beaconMembers(&m.work)
	if s := b.Serving; s != nil && s.Until == 0 && len(m.powers) > 0 && !m.safe(s) {
		s.Until = m.block.Height
		b.save(&m.work)
		m.event("beacon ends", "epoch", Amount(s.Epoch).String(), "why", "too few of its members are validators still")
	}
	full := len(missing) == 0
	if b.Making != nil && (!full || !sameMembers(b.Making.Members, members)) {
		m.dropMaking(b)
		b.save(&m.work)
	}
	if full && b.Making == nil && !b.settled(members) {
		b.Tries = 0
		m.startBeacon(b, members)
	}
}

// dropMaking ends the making of a key; the caller saves.
func (m *Machine) dropMaking(b *Beacon) {
	notAt(&m.work, byHeight, b.Making.Until, dueBeacon, u64(b.Epoch))
	dropDealings(&m.work)
	b.Making = nil
}

func dropDealings(t *tree.Tree) {
	var keys [][]byte
	for k := range t.Ascend(tableDealing.key()) {
		keys = append(keys, k)
	}
	for _, k := range keys {
		t.Delete(k)
	}
}

// startBeacon lets a group make a key under an epoch of its own, and saves.
func (m *Machine) startBeacon(b *Beacon, members []BeaconMember) {
	b.Epoch++
	b.GaveUp = 0
	if _, err := m.group(meta(&m.work).Chain, b.Epoch, members); err != nil {
		b.Tries = maxBeaconTries // nobody can change it but by other powers or keys
		b.save(&m.work)
		m.event("beacon impossible", "why", err.Error())
		return
	}
	b.Making = &BeaconMaking{Members: members}
	m.event("beacon group", "epoch", Amount(b.Epoch).String(), "members", Amount(len(members)).String())
	m.beaconPhase(b, BeaconDeal, beaconDealSpan)
}

// beaconPhase lets a group wait for something, and saves.
func (m *Machine) beaconPhase(b *Beacon, p BeaconPhase, span uint64) {
	g := b.Making
	g.Phase, g.Until = p, m.block.Height+(span+uint64(len(g.Members)))<<b.Tries
	at(&m.work, byHeight, g.Until, dueBeacon, u64(b.Epoch))
	b.save(&m.work)
}

// beaconDue: the time of a phase is over.
func (m *Machine) beaconDue([]byte) {
	b := loadBeacon(&m.work)
	g := b.Making
	if g == nil || g.Until != m.block.Height {
		panic("ledger: internal error: no beacon group to move on")
	}
	group, err := m.group(meta(&m.work).Chain, b.Epoch, g.Members)
	if err != nil {
		panic("ledger: internal error: " + err.Error())
	}
	switch {
	case g.Phase == BeaconConfirm:
		m.beaconFailed(b, "too few members confirmed the key")
	case entries(&m.work, tableDealing) < uint64(group.Threshold()):
		m.beaconFailed(b, "too few members dealt")
	case g.Phase == BeaconDeal && len(g.Members) > 1: // who is alone has nobody who could complain
		m.beaconPhase(b, BeaconComplain, beaconComplainSpan)
	default:
		key, err := m.combine(group)
		if err != nil {
			m.beaconFailed(b, err.Error())
			return
		}
		dropDealings(&m.work)
		g.Key = key.Bytes()
		m.event("beacon key", "epoch", Amount(b.Epoch).String())
		m.beaconPhase(b, BeaconConfirm, beaconConfirmSpan)
	}
}

// combine makes the key of the dealings that stand.
func (m *Machine) combine(group *beacon.Group) (*beacon.Key, error) {
	var list []*beacon.Dealing
	for _, e := range each[BeaconDealing](&m.work, tableDealing) {
		d, err := group.Parse(e.Dealing)
		if err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	return group.Combine(list)
}

// beaconFailed lets the group try again, some times.
func (m *Machine) beaconFailed(b *Beacon, why string) {
	m.event("beacon failed", "epoch", Amount(b.Epoch).String(), "why", why)
	members := b.Making.Members
	dropDealings(&m.work)
	b.Making = nil
	if b.Tries++; b.Tries < maxBeaconTries {
		m.startBeacon(b, members)
		return
	}
	b.GaveUp = m.block.Height
	b.save(&m.work)
}

// safe says whether a key may go on after the validators have changed: whoever
// votes for blocks must have a threshold of shares, and less than a third of the
// power, with those who are validators no more, must not.
func (m *Machine) safe(s *BeaconServing) bool {
	group, err := m.group(meta(&m.work).Chain, s.Epoch, s.Members)
	if err != nil {
		return false
	}
	total, _ := powers(&m.work)
	var all, confirmed []uint64
	for i, x := range s.Members {
		v, ok := load[Validator](&m.work, tableValidator.key(x.Validator[:]))
		if !ok || v.Power == 0 {
			continue
		}
		all = append(all, v.Power)
		if s.confirmed(i) > 0 {
			confirmed = append(confirmed, v.Power)
		}
	}
	gone := len(s.Members) - len(all)
	return len(confirmed)-beacon.Minority(confirmed, total) >= group.Threshold() && gone+beacon.Minority(all, total) < group.Threshold()
}

// confirmed is the height of the block in which a member confirmed the key, or 0.
func (s *BeaconServing) confirmed(member int) uint64 { return confirmedAt(s.Confirmed, member) }

func confirmedAt(list []BeaconConfirmation, member int) uint64 {
	for _, c := range list {
		if c.Member == uint64(member) {
			return c.Height
		}
	}
	return 0
}

// restartBeacon makes a state that another chain had good for this one: keys are
// bound to the chain's name, and its rounds would begin again. What validators
// registered stays, and is checked; epochs are not used again.
func restartBeacon(t *tree.Tree) error {
	dropDealings(t)
	if b, ok := load0[Beacon](t, tableBeacon.key()); ok {
		if b.Making != nil {
			notAt(t, byHeight, b.Making.Until, dueBeacon, u64(b.Epoch))
		}
		(&Beacon{Epoch: b.Epoch}).save(t)
	}
	type registration struct{ key, raw []byte }
	var keys [][]byte
	var list []registration
	for k, raw := range t.Ascend(tableEnrolled.key()) {
		keys = append(keys, k)
		if len(k) == 1+canon.Size {
			list = append(list, registration{bytes.Clone(k[1:]), bytes.Clone(raw)})
		}
	}
	for _, k := range keys {
		t.Delete(k)
	}
	for _, r := range list {
		var e Enrolled
		if err := canon.Unmarshal(r.raw, &e); err != nil {
			return err
		}
		if err := enrol(t, r.key, e.Registration); err != nil {
			return err
		}
	}
	return nil
}

var errBeaconKeyTaken = errors.New("another validator has this beacon key")

// enrol checks a registration and keeps it.
func enrol(t *tree.Tree, validator, raw []byte) error {
	if len(raw) != beacon.RegistrationSize {
		return fail(CodeRefused, "a beacon registration of %d bytes, want %d", len(raw), beacon.RegistrationSize)
	}
	r := beacon.Registration(raw)
	if err := r.Check(canon.Hash(validator)); err != nil {
		return fail(CodeRefused, "the beacon registration: %w", err)
	}
	key := r.Key()
	index := tableEnrolled.key(key[:])
	if e, ok := load[Enrolled](t, index); ok && !bytes.Equal(e.Validator, validator) {
		return fail(CodeRefused, "%w", errBeaconKeyTaken)
	}
	own := tableEnrolled.key(validator)
	if e, ok := load[Enrolled](t, own); ok {
		r := beacon.Registration(e.Registration)
		old := r.Key()
		t.Delete(tableEnrolled.key(old[:]))
	}
	save(t, own, &Enrolled{Registration: raw})
	save(t, index, &Enrolled{Validator: validator})
	return nil
}
