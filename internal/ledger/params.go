package ledger

import (
	"errors"
	"fmt"
)

// Params are the numbers that validators may change by vote.
//
// Long spans are in milliseconds of block time, since a chain on which nothing
// happens makes no blocks. Those of games, in which somebody waits for
// somebody, are in blocks: the chain makes some as long as a game is open.
type Params struct {
	FeeByte   Amount `cbor:"1,keyasint" json:"fee_byte"`  // for a byte of a transaction
	FeeWork   Amount `cbor:"2,keyasint" json:"fee_work"`  // for a unit of work, at least 1
	Unbonding uint64 `cbor:"3,keyasint" json:"unbonding"` // milliseconds from asking for a bond to having it
	VoteSpan  uint64 `cbor:"4,keyasint" json:"vote_span"` // milliseconds for which a proposal collects votes
	// DoubleSign is the part of a validator's bond that burns when it signs two
	// blocks of a height, in ten thousandths.
	DoubleSign    uint64 `cbor:"5,keyasint" json:"double_sign"`
	NodeBond      Amount `cbor:"6,keyasint" json:"node_bond"`      // that a node has at least
	ValidatorBond Amount `cbor:"7,keyasint" json:"validator_bond"` // that a validator has at least

	Audit        AuditParams   `cbor:"20,keyasint" json:"audit"`
	SessionSpan  uint64        `cbor:"40,keyasint" json:"session_span"`  // milliseconds for which a session may be open
	SessionGrace uint64        `cbor:"41,keyasint" json:"session_grace"` // milliseconds in which it may be settled after that
	Dispute      DisputeParams `cbor:"60,keyasint" json:"dispute"`
}

// Day is a day of block time.
const Day = 24 * 60 * 60 * 1000

// Unit is one of the network's unit, in which people reckon.
const Unit Amount = 1_000_000

// DefaultParams are those of a new network.
func DefaultParams() Params {
	return Params{
		FeeByte: 1, FeeWork: 2,
		Unbonding: 3 * Day, VoteSpan: 7 * Day,
		DoubleSign: 5_000, NodeBond: 100 * Unit, ValidatorBond: 1_000 * Unit,
		Audit:       defaultAudit(),
		SessionSpan: 30 * Day, SessionGrace: Day,
		Dispute: defaultDisputes(),
	}
}

const (
	maxPrice = Amount(1) << 32
	maxSpan  = 3650 * Day
)

func (p *Params) validate() error {
	switch {
	case p.FeeByte > maxPrice || p.FeeWork < 1 || p.FeeWork > maxPrice:
		return fmt.Errorf("ledger: fees of %d a byte and %d a unit of work, want at most %d, and 1 at least for work", p.FeeByte, p.FeeWork, maxPrice)
	case p.Unbonding < 1 || p.Unbonding > maxSpan || p.VoteSpan < 1 || p.VoteSpan > maxSpan:
		return fmt.Errorf("ledger: spans of %d and %d ms, want 1 to %d", p.Unbonding, p.VoteSpan, uint64(maxSpan))
	case p.SessionSpan < 1 || p.SessionSpan > maxSpan || p.SessionGrace < 1 || p.SessionGrace > maxSpan:
		return fmt.Errorf("ledger: sessions of %d and a grace of %d ms, want 1 to %d", p.SessionSpan, p.SessionGrace, uint64(maxSpan))
	case p.DoubleSign > whole:
		return errors.New("ledger: a part of more than 10,000 ten thousandths")
	case p.NodeBond > MaxSupply || p.ValidatorBond > MaxSupply:
		return fmt.Errorf("ledger: a bond of more than %d", MaxSupply)
	}
	return errors.Join(p.Audit.validate(), p.Dispute.validate())
}

func (p *Params) fee(size, work uint64) Amount {
	return plus(times(p.FeeByte, size), times(p.FeeWork, work))
}

// workFor is the work that a fee pays beside the bytes.
func (p *Params) workFor(fee Amount, size uint64) uint64 {
	return uint64((fee - times(p.FeeByte, size)) / p.FeeWork)
}
