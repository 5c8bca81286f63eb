package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
)

// Limits of who makes blocks.
const (
	MaxValidators = 128
	MaxPower      = 1 << 20 // of one validator
)

// Validator is a key that makes blocks, or would like to.
type Validator struct {
	Operator Address `cbor:"1,keyasint" json:"operator"`
	Power    uint64  `cbor:"2,keyasint" json:"power"` // 0: it does not
	Bond     Amount  `cbor:"3,keyasint" json:"bond"`
}

func (v *Validator) held() Amount { return v.Bond }

// Candidate bonds a key that would like to make blocks, or adds to its bond.
// The validators vote on its power.
type Candidate struct {
	Key    []byte `cbor:"1,keyasint" json:"key"`
	Amount Amount `cbor:"2,keyasint" json:"amount"`
	Proof  []byte `cbor:"3,keyasint,omitempty" json:"proof,omitempty"` // as in Bond
}

func (m *Candidate) apply(c *call) error {
	if len(m.Key) != ed25519.PublicKeySize {
		return fail(CodeRefused, "a validator's key of %d bytes", len(m.Key))
	}
	key := tableValidator.key(m.Key)
	v, ok := load[Validator](c.tree, key)
	if !ok {
		if err := c.proved(m.Key, m.Proof, BondMessage(c.chain, RoleValidator, c.from)); err != nil {
			return err
		}
		v = &Validator{Operator: c.from}
	}
	switch {
	case v.Operator != c.from:
		return fail(CodeForbidden, "the validator belongs to the account %s", v.Operator)
	case plus(v.Bond, m.Amount) < c.params.ValidatorBond:
		return fail(CodeFunds, "a bond of %d, want at least %d", plus(v.Bond, m.Amount), c.params.ValidatorBond)
	}
	if err := c.debit(m.Amount); err != nil {
		return err
	}
	v.Bond += m.Amount
	save(c.tree, key, v)
	c.event("candidate", "key", hex.EncodeToString(m.Key), "operator", c.from.String(), "bond", v.Bond.String())
	return nil
}

// powers is the power of all validators, and how many have any.
func powers(t *tree.Tree) (total uint64, count int) {
	for _, v := range each[Validator](t, tableValidator) {
		if v.Power > 0 {
			total += v.Power
			count++
		}
	}
	return total, count
}

// setPower changes the power of a validator, which the caller saves.
func (c *call) setPower(key []byte, v *Validator, power uint64) error {
	_, count := powers(c.tree)
	switch {
	case power > 0 && v.Power == 0 && count >= MaxValidators:
		return fail(CodeRefused, "there are %d validators, which is the most", count)
	case power == 0 && v.Power > 0 && count == 1:
		return fail(CodeRefused, "the last validator cannot leave")
	case power > 0 && v.Bond < c.params.ValidatorBond:
		return fail(CodeFunds, "the validator has a bond of %d, want at least %d", v.Bond, c.params.ValidatorBond)
	}
	if v.Power != power {
		v.Power = power
		c.powers = append(c.powers, key)
		c.event("power", "validator", hex.EncodeToString(key), "power", Amount(power).String())
	}
	return nil
}

// slashDoubleSign burns a part of the bond of a validator that signed two
// blocks of a height, and takes its power, unless it is the last that has any.
func (m *Machine) slashDoubleSign(x Misbehaviour) {
	b, err := bonded(&m.work, RoleValidator, x.Key)
	if err != nil {
		return // it left, and its bond was released
	}
	taken := b.take(&m.work, share(b.all(&m.work), meta(&m.work).Params.DoubleSign))
	burn(&m.work, taken)
	m.event("double sign", "validator", hex.EncodeToString(x.Key), "height", Amount(x.Height).String(), "burned", taken.String())
	if _, count := powers(&m.work); b.validator.Power > 0 && count > 1 {
		b.validator.Power = 0
		b.save(&m.work)
		m.powers[canon.Hash(x.Key)] = struct{}{}
		m.event("power", "validator", hex.EncodeToString(x.Key), "power", "0")
	}
}

// validatorUpdates tells consensus which powers changed in the block.
func (m *Machine) validatorUpdates() {
	for k := range m.powers {
		v, ok := load[Validator](&m.work, tableValidator.key(k[:]))
		if !ok {
			continue
		}
		before := uint64(0)
		if old, ok := load[Validator](&m.state, tableValidator.key(k[:])); ok {
			before = old.Power
		}
		if v.Power != before {
			m.out.Validators = append(m.out.Validators, ValidatorUpdate{Key: slices.Clone(k[:]), Power: v.Power})
		}
	}
	slices.SortFunc(m.out.Validators, func(a, b ValidatorUpdate) int { return slices.Compare(a.Key, b.Key) })
}

// Validators are those that make blocks after the last one, in the order of
// their keys.
func (m *Machine) Validators() []ValidatorUpdate {
	var out []ValidatorUpdate
	for k, v := range each[Validator](&m.state, tableValidator) {
		if v.Power > 0 {
			out = append(out, ValidatorUpdate{Key: slices.Clone(k[1:]), Power: v.Power})
		}
	}
	return out
}
