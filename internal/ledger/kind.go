package ledger

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Kind is a kind of transaction.
type Kind uint16

// The kinds. A number is never used again.
const (
	KindTransfer  Kind = 1
	KindBurn      Kind = 2
	KindAuthorise Kind = 3
	KindTick      Kind = 4

	KindCandidate Kind = 10
	KindVote      Kind = 11

	KindBond   Kind = 20
	KindUnbond Kind = 21
	KindOffer  Kind = 22

	KindModel  Kind = 30
	KindRevoke Kind = 31
	KindAttest Kind = 32

	KindAuditor Kind = 50
	KindBatch   Kind = 51
	KindCommit  Kind = 52
	KindReveal  Kind = 53
	KindAccuse  Kind = 54
	KindDemand  Kind = 55
	KindAnswer  Kind = 56
	KindGarbled Kind = 57
	KindPlant   Kind = 58
	KindContest Kind = 59
	KindStand   Kind = 80
	KindLift    Kind = 81
	KindMissing Kind = 82
	KindShow    Kind = 83
	KindOpen    Kind = 40
	KindSettle  Kind = 41
	KindClose   Kind = 42
	KindDispute Kind = 60
	KindMove    Kind = 61

	KindEnrol    Kind = 70
	KindDeal     Kind = 71
	KindComplain Kind = 72
	KindConfirm  Kind = 73
)

// kinds is every transaction that there is.
var kinds = []kind{
	{KindTransfer, "transfer", of[Transfer], byDevice},
	{KindBurn, "burn", of[Burn], 0},
	{KindAuthorise, "authorise", of[Authorise], 0},
	{KindTick, "tick", of[Tick], byDevice},
	{KindCandidate, "candidate", of[Candidate], 0},
	{KindVote, "vote", of[Vote], 0},
	{KindBond, "bond", of[Bond], 0},
	{KindUnbond, "unbond", of[Unbond], 0},
	{KindOffer, "offer", of[SetOffer], 0},
	{KindModel, "model", of[Register], 0},
	{KindRevoke, "revoke", of[Revoke], 0},
	{KindAttest, "attest", of[Attest], byDevice},
	{KindAuditor, "auditor", of[SetAuditor], 0},
	{KindBatch, "batch", of[Batch], 0},
	{KindCommit, "commit", of[Commit], 0},
	{KindReveal, "reveal", of[Reveal], 0},
	{KindAccuse, "accuse", of[Accuse], 0},
	{KindDemand, "demand", of[Demand], 0},
	{KindAnswer, "answer", of[Answer], isLarge},
	{KindGarbled, "garbled", of[Garbled], isLarge},
	{KindPlant, "plant", of[MakePlant], 0},
	{KindContest, "contest", of[Challenge], 0},
	{KindStand, "stand", of[MakeStand], 0},
	{KindLift, "lift", of[Lift], 0},
	{KindMissing, "missing", of[Missing], 0},
	{KindShow, "show", of[Show], 0},
	{KindOpen, "open", of[Open], byDevice},
	{KindSettle, "settle", of[Settle], byDevice},
	{KindClose, "close", of[Close], byDevice},
	{KindDispute, "dispute", of[OpenDispute], byDevice | isLarge},
	{KindMove, "move", of[MakeMove], byDevice | isLarge},
	{KindEnrol, "enrol", of[Enrol], 0},
	{KindDeal, "deal", of[Deal], 0},
	{KindComplain, "complain", of[Complain], 0},
	{KindConfirm, "confirm", of[Confirm], 0},
}

// What a kind may have.
const (
	byDevice trait = 1 << iota // a device's key may send it
	isLarge                    // up to MaxLargeTx bytes
)

type trait uint8

type kind struct {
	number Kind
	name   string
	make   func() payload
	traits trait
}

// payload is what a transaction of a kind carries.
type payload interface{ apply(c *call) error }

func of[T any, P interface {
	*T
	payload
}]() payload {
	return P(new(T))
}

func (k Kind) row() *kind {
	for i := range kinds {
		if kinds[i].number == k {
			return &kinds[i]
		}
	}
	return nil
}

// Kinds are the kinds that there are, in the order of their numbers.
func Kinds() []Kind {
	out := make([]Kind, len(kinds))
	for i := range kinds {
		out[i] = kinds[i].number
	}
	return out
}

// KindNamed is the kind with a name.
func KindNamed(name string) (Kind, bool) {
	for i := range kinds {
		if kinds[i].name == name {
			return kinds[i].number, true
		}
	}
	return 0, false
}

// Payload reads the payload of a body: a pointer to the kind's struct.
func (b *Body) Payload() (any, error) { return b.payload() }

func (b *Body) payload() (payload, error) {
	r := b.Kind.row()
	if r == nil {
		return nil, fail(CodeMalformed, "kind %d is not known; a newer version may know it", uint16(b.Kind))
	}
	v := r.make()
	if err := canon.UnmarshalMax(b.Content, v, maxTxItems); err != nil {
		return nil, fail(CodeMalformed, "the content of a %s: %w", r.name, err)
	}
	return v, nil
}

func (k Kind) String() string {
	if r := k.row(); r != nil {
		return r.name
	}
	return fmt.Sprintf("kind %d", uint16(k))
}
