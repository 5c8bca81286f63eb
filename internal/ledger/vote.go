package ledger

import (
	"encoding/hex"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Change is what validators vote on: exactly one of its parts.
type Change struct {
	Power   *PowerChange   `cbor:"1,keyasint,omitempty" json:"power,omitempty"`
	Params  *Params        `cbor:"2,keyasint,omitempty" json:"params,omitempty"`
	Upgrade *UpgradeChange `cbor:"3,keyasint,omitempty" json:"upgrade,omitempty"`
	// Note tells one proposal from another with the same change.
	Note string `cbor:"4,keyasint,omitempty" json:"note,omitempty"`
}

// PowerChange gives a candidate power, or takes it.
type PowerChange struct {
	_     struct{} `cbor:",toarray"`
	Key   []byte   `json:"key"`
	Power uint64   `json:"power"`
}

// UpgradeChange lets the rules of another version hold from a height.
type UpgradeChange struct {
	_       struct{} `cbor:",toarray"`
	Version uint64   `json:"version"`
	Height  uint64   `json:"height"`
}

// Hash is the identity of a change.
func (c *Change) Hash() (canon.Hash, error) {
	raw, err := canon.Marshal(c)
	return canon.Sum("aval change/1", raw), err
}

// Proposal is a change that some validators want.
type Proposal struct {
	Change  Change   `cbor:"1,keyasint" json:"change"`
	Expires uint64   `cbor:"2,keyasint" json:"expires"` // milliseconds since 1970
	For     [][]byte `cbor:"3,keyasint" json:"for"`     // keys of validators, ascending
}

// Vote says that a validator wants a change, or no longer wants it. The change
// is made at once when more than two thirds of the power want it.
type Vote struct {
	Validator []byte `cbor:"1,keyasint" json:"validator"` // the sender operates it
	Change    Change `cbor:"2,keyasint" json:"change"`
	Against   bool   `cbor:"3,keyasint,omitempty" json:"against,omitempty"`
}

func (m *Vote) apply(c *call) error {
	v, ok := load[Validator](c.tree, tableValidator.key(m.Validator))
	switch {
	case !ok || v.Power == 0:
		return fail(CodeNotFound, "%x is no validator", m.Validator)
	case v.Operator != c.from:
		return fail(CodeForbidden, "the validator belongs to the account %s", v.Operator)
	}
	if err := m.Change.validate(c); err != nil {
		return err
	}
	id, err := m.Change.Hash()
	if err != nil {
		return fail(CodeRefused, "%w", err)
	}
	if err := c.spend(MaxValidators); err != nil {
		return err
	}
	key := tableProposal.key(id[:])
	p, ok := load[Proposal](c.tree, key)
	if !ok {
		if m.Against {
			return fail(CodeNotFound, "nobody proposed this")
		}
		p = &Proposal{Change: m.Change, Expires: c.block.Time + c.params.VoteSpan}
		at(c.tree, byTime, p.Expires, dueProposal, id[:])
	}
	i, found := slices.BinarySearchFunc(p.For, m.Validator, slices.Compare[[]byte])
	switch {
	case m.Against && found:
		p.For = slices.Delete(p.For, i, i+1)
	case !m.Against && !found:
		p.For = slices.Insert(p.For, i, m.Validator)
	default:
		return fail(CodeRefused, "the validator voted so before")
	}
	c.event("vote", "change", id.String(), "validator", hex.EncodeToString(m.Validator))
	var agree uint64
	for _, k := range p.For {
		if v, ok := load[Validator](c.tree, tableValidator.key(k)); ok {
			agree += v.Power
		}
	}
	if total, _ := powers(c.tree); 3*agree <= 2*total {
		save(c.tree, key, p)
		return nil
	}
	c.tree.Delete(key)
	notAt(c.tree, byTime, p.Expires, dueProposal, id[:])
	c.event("agreed", "change", id.String())
	return p.Change.make(c)
}

func (ch *Change) validate(c *call) error {
	parts := 0
	if p := ch.Power; p != nil {
		parts++
		if len(p.Key) != 32 || p.Power > MaxPower {
			return fail(CodeRefused, "a power of %d for a key of %d bytes, want at most %d", p.Power, len(p.Key), MaxPower)
		}
		if _, ok := load[Validator](c.tree, tableValidator.key(p.Key)); !ok {
			return fail(CodeNotFound, "%x is no candidate", p.Key)
		}
	}
	if ch.Params != nil {
		parts++
		if err := ch.Params.validate(); err != nil {
			return fail(CodeRefused, "%w", err)
		}
	}
	if u := ch.Upgrade; u != nil {
		parts++
		if now := meta(c.tree).Version; u.Version <= now || u.Height <= c.block.Height {
			return fail(CodeRefused, "version %d at height %d, want one above %d at one above %d", u.Version, u.Height, now, c.block.Height)
		}
	}
	if parts != 1 || len(ch.Note) > maxText {
		return fail(CodeRefused, "a change of %d things with a note of %d bytes, want one thing and at most %d bytes", parts, len(ch.Note), maxText)
	}
	return nil
}

// make makes the change.
func (ch *Change) make(c *call) error {
	m := meta(c.tree)
	switch {
	case ch.Power != nil:
		v, _ := load[Validator](c.tree, tableValidator.key(ch.Power.Key))
		if err := c.setPower(ch.Power.Key, v, ch.Power.Power); err != nil {
			return err
		}
		save(c.tree, tableValidator.key(ch.Power.Key), v)
		return nil
	case ch.Params != nil:
		m.Params = *ch.Params
	case ch.Upgrade != nil:
		m.Next, m.NextAt = ch.Upgrade.Version, ch.Upgrade.Height
	}
	save(c.tree, tableMeta.key(), m)
	return nil
}

// closeProposal drops a proposal that too few wanted in its time.
func (m *Machine) closeProposal(id []byte) {
	m.work.Delete(tableProposal.key(id))
	m.event("dropped", "change", hex.EncodeToString(id))
}

// upgrade is a version of the rules: what has to happen to a state of the
// version before.
type upgrade struct {
	version uint64
	run     func(t *tree.Tree)
}

// upgrades are those after version 1, in order. A version is a row here and a
// branch where the rules differ, by Meta.Version.
var upgrades []upgrade

// migrate takes a state to the version that was voted for, when its height has
// come.
func migrate(t *tree.Tree, height uint64, rows []upgrade) error {
	m := meta(t)
	if m.Next == 0 || height < m.NextAt {
		return nil
	}
	for _, u := range rows {
		if u.version == m.Version+1 && u.version <= m.Next {
			u.run(t)
			m = meta(t)
			m.Version = u.version
			save(t, tableMeta.key(), m)
		}
	}
	if m.Version != m.Next {
		return &UpgradeError{Version: m.Next, Height: m.NextAt, Have: m.Version}
	}
	m.Next, m.NextAt = 0, 0
	save(t, tableMeta.key(), m)
	return nil
}
