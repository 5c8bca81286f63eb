package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"slices"

	"github.com/avalnetwork/aval/internal/beacon"
	"github.com/avalnetwork/aval/internal/canon"
)

// Work of the beacon's transactions: about what they cost, and for dealings what
// the key costs that is made of them.
const (
	enrolWork    = 6_000
	dealWork     = 2_000
	complainWork = 2_000
	confirmWork  = 3_000
	memberWork   = 100 // for each member, in all but enrolling
)

// Enrol registers the beacon key of a validator, or of a candidate. A validator
// that was away may send it again when its group has given up, which lets it try
// again.
type Enrol struct {
	Key          []byte `cbor:"1,keyasint" json:"key"` // of the validator
	Registration []byte `cbor:"2,keyasint" json:"registration"`
}

// Deal is a member's dealing.
type Deal struct {
	Key     []byte `cbor:"1,keyasint" json:"key"` // of the validator
	Epoch   uint64 `cbor:"2,keyasint" json:"epoch"`
	Dealing []byte `cbor:"3,keyasint" json:"dealing"`
}

// Complain proves that a member was dealt a wrong share.
type Complain struct {
	Key       []byte `cbor:"1,keyasint" json:"key"` // of the validator
	Epoch     uint64 `cbor:"2,keyasint" json:"epoch"`
	Complaint []byte `cbor:"3,keyasint" json:"complaint"`
}

// Confirm proves that a member has its share of the key. With those of more than
// two thirds of the power the key serves from the next height on.
type Confirm struct {
	Key   []byte `cbor:"1,keyasint" json:"key"` // of the validator
	Epoch uint64 `cbor:"2,keyasint" json:"epoch"`
	Share []byte `cbor:"3,keyasint" json:"share"`
}

// ownValidator holds the sender to be who operates a validator, or the account
// of its key, which the device that validates always has.
func (c *call) ownValidator(key []byte) (*Validator, error) {
	if len(key) != ed25519.PublicKeySize {
		return nil, fail(CodeRefused, "a validator's key of %d bytes", len(key))
	}
	v, ok := load[Validator](c.tree, tableValidator.key(key))
	switch {
	case !ok:
		return nil, fail(CodeNotFound, "%x is no validator", key)
	case v.Operator != c.from && AddressOf(key) != c.from:
		return nil, fail(CodeForbidden, "the validator belongs to the account %s", v.Operator)
	}
	return v, nil
}

func (m *Enrol) apply(c *call) error {
	v, err := c.ownValidator(m.Key)
	if err != nil {
		return err
	}
	if v.Power == 0 && (v.Bond == 0 || v.Bond < c.params.ValidatorBond) {
		return fail(CodeFunds, "the validator has a bond of %d, want at least %d", v.Bond, c.params.ValidatorBond)
	}
	if e, ok := load[Enrolled](c.tree, tableEnrolled.key(m.Key)); ok && slices.Equal(e.Registration, m.Registration) {
		b := loadBeacon(c.tree)
		members, missing := beaconMembers(c.tree)
		if v.Power == 0 || len(missing) > 0 || b.Making != nil || b.settled(members) {
			return fail(CodeRefused, "that is so already")
		}
	}
	if err := c.spend(enrolWork); err != nil {
		return err
	}
	if err := enrol(c.tree, m.Key, m.Registration); err != nil {
		return err
	}
	c.enrolled = v.Power > 0
	c.event("enrol", "validator", hex.EncodeToString(m.Key))
	return nil
}

// making finds the group that makes a key, and the sender's place in it.
func (c *call) making(key []byte, epoch uint64, phases ...BeaconPhase) (*Beacon, *beacon.Group, int, error) {
	if _, err := c.ownValidator(key); err != nil {
		return nil, nil, 0, err
	}
	b := loadBeacon(c.tree)
	switch {
	case b.Making == nil || b.Epoch != epoch:
		return nil, nil, 0, fail(CodeNotFound, "no beacon group of the epoch %d makes a key", epoch)
	case !slices.Contains(phases, b.Making.Phase):
		return nil, nil, 0, fail(CodeRefused, "the beacon group waits for %s", b.Making.Phase)
	}
	group, i, err := c.seat(key, epoch, b.Making.Members)
	return b, group, i, err
}

func (c *call) seat(key []byte, epoch uint64, members []BeaconMember) (*beacon.Group, int, error) {
	if err := c.spend(memberWork * uint64(len(members))); err != nil {
		return nil, 0, err
	}
	group, err := c.m.group(c.chain, epoch, members)
	if err != nil {
		return nil, 0, fail(CodeRefused, "%w", err)
	}
	i, ok := group.Index(canon.Hash(key))
	if !ok {
		return nil, 0, fail(CodeForbidden, "%x is no member of the beacon group", key)
	}
	return group, i, nil
}

func dealingKey(dealer int) []byte { return tableDealing.key([]byte{byte(dealer)}) }

func (m *Deal) apply(c *call) error {
	b, group, i, err := c.making(m.Key, m.Epoch, BeaconDeal)
	if err != nil {
		return err
	}
	key := dealingKey(i)
	if _, dealt := c.tree.Get(key); dealt || slices.Contains(b.Making.Out, uint64(i)) {
		return fail(CodeRefused, "the member dealt before")
	}
	if len(m.Dealing) != group.DealingSize() || int(m.Dealing[0]) != i {
		return fail(CodeRefused, "a dealing of %d bytes, want %d, and of the member %d", len(m.Dealing), group.DealingSize(), i)
	}
	if err := c.spend(dealWork); err != nil {
		return err
	}
	if _, err := group.Check(m.Dealing); err != nil {
		return fail(CodeRefused, "%w", err)
	}
	save(c.tree, key, &BeaconDealing{Dealing: m.Dealing})
	c.event("deal", "epoch", Amount(m.Epoch).String(), "validator", hex.EncodeToString(m.Key))
	c.allDealt(b)
	return nil
}

// allDealt ends the phase of dealing with this block, if all have.
func (c *call) allDealt(b *Beacon) {
	g := b.Making
	if g.Phase != BeaconDeal || entries(c.tree, tableDealing)+uint64(len(g.Out)) < uint64(len(g.Members)) {
		return
	}
	notAt(c.tree, byHeight, g.Until, dueBeacon, u64(b.Epoch))
	g.Until = c.block.Height
	at(c.tree, byHeight, g.Until, dueBeacon, u64(b.Epoch))
	b.save(c.tree)
}

func (m *Complain) apply(c *call) error {
	b, group, i, err := c.making(m.Key, m.Epoch, BeaconDeal, BeaconComplain)
	if err != nil {
		return err
	}
	if len(m.Complaint) != beacon.ComplaintSize {
		return fail(CodeRefused, "a complaint of %d bytes, want %d", len(m.Complaint), beacon.ComplaintSize)
	}
	complaint := beacon.Complaint(m.Complaint)
	if complaint.Member() != i {
		return fail(CodeForbidden, "the complaint is the member %d's, the validator is the member %d", complaint.Member(), i)
	}
	e, ok := load[BeaconDealing](c.tree, dealingKey(complaint.Dealer()))
	if !ok {
		return fail(CodeNotFound, "no dealing of the member %d stands", complaint.Dealer())
	}
	if err := c.spend(complainWork); err != nil {
		return err
	}
	d, err := group.Parse(e.Dealing)
	if err != nil {
		return fail(CodeRefused, "%w", err)
	}
	guilty, err := group.Judge(d, &complaint)
	if err != nil {
		return fail(CodeRefused, "%w", err)
	}
	member := group.Member(guilty)
	c.event("beacon fault", "epoch", Amount(m.Epoch).String(), "validator", hex.EncodeToString(member.ID[:]), "dealt", yesNo(guilty != i))
	if guilty == i { // the dealing stands, and who complained paid for it
		return nil
	}
	c.tree.Delete(dealingKey(guilty))
	b.Making.Out = append(b.Making.Out, uint64(guilty))
	b.save(c.tree)
	c.allDealt(b)
	return nil
}

func (m *Confirm) apply(c *call) error {
	if _, err := c.ownValidator(m.Key); err != nil {
		return err
	}
	b := loadBeacon(c.tree)
	g, s := b.Making, b.Serving
	made := false // the key is made, and serves not yet
	var members []BeaconMember
	var raw []byte
	var confirmed *[]BeaconConfirmation
	switch {
	case g != nil && b.Epoch == m.Epoch && g.Phase == BeaconConfirm:
		members, raw, confirmed, made = g.Members, g.Key, &g.Confirmed, true
	case s != nil && s.Epoch == m.Epoch && s.Until == 0:
		members, raw, confirmed = s.Members, s.Key, &s.Confirmed
	default:
		return fail(CodeNotFound, "no beacon key of the epoch %d is to be confirmed", m.Epoch)
	}
	group, i, err := c.seat(m.Key, m.Epoch, members)
	if err != nil {
		return err
	}
	switch {
	case len(m.Share) != beacon.ShareSize || int(m.Share[0]) != i:
		return fail(CodeRefused, "a confirmation of %d bytes, want %d, and of the member %d", len(m.Share), beacon.ShareSize, i)
	case confirmedAt(*confirmed, i) > 0:
		return fail(CodeRefused, "the member confirmed before")
	}
	if err := c.spend(confirmWork); err != nil {
		return err
	}
	key, err := c.m.key(group, raw)
	if err != nil {
		return fail(CodeRefused, "%w", err)
	}
	if err := key.CheckConfirmation(beacon.Share(m.Share)); err != nil {
		return fail(CodeRefused, "%w", err)
	}
	*confirmed = append(*confirmed, BeaconConfirmation{Member: uint64(i), Height: c.block.Height})
	c.event("confirm", "epoch", Amount(m.Epoch).String(), "validator", hex.EncodeToString(m.Key))
	if made && group.Enough(membersOf(g.Confirmed)) {
		notAt(c.tree, byHeight, g.Until, dueBeacon, u64(b.Epoch))
		b.serve(c.block.Height)
		c.event("beacon", "epoch", Amount(b.Epoch).String(), "from", Amount(b.Serving.From).String())
	}
	b.save(c.tree)
	return nil
}

func membersOf(list []BeaconConfirmation) []int {
	out := make([]int, len(list))
	for i, c := range list {
		out[i] = int(c.Member)
	}
	return out
}

// serve lets the key that was made serve after a block.
func (b *Beacon) serve(height uint64) {
	if b.Serving != nil && b.Serving.Until == 0 {
		b.Serving.Until = height
	}
	g := b.Making
	b.Before, b.Making, b.Tries = b.Serving, nil, 0
	b.Serving = &BeaconServing{Epoch: b.Epoch, Members: g.Members, Key: g.Key, Confirmed: g.Confirmed, From: height + 1}
}
