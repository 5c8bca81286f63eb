package ledger

import (
	"fmt"
	"iter"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/ledger/tree"
	"github.com/avalnetwork/aval/receipt"
)

// DisputeTerms are the terms on which an account can open a dispute now, with a
// nonce that it used for none about the receipt before. They say who may sign
// for the challenger.
func (p *Params) DisputeTerms(chain string, account Address, challenger []byte, nonce uint64) dispute.Terms {
	r := &p.Dispute
	d := Dispute{Challenger: challenger, Account: account, Nonce: nonce, Move: r.Move, Total: r.Total, Fanout: r.Fanout}
	return d.Terms(chain)
}

// MessageFee is the most that the transaction with a message of a dispute can
// cost that has one signature: what its MaxFee should be. The dispute is nil if
// the message opens it, together with the receipt.
func (p *Params) MessageFee(d *Dispute, message []byte) Amount {
	const around = 1 << 10 // bytes of the transaction around the message
	size, work := uint64(len(message)+around), uint64(kindWork+sigWork)
	if len(message) > 0 {
		work += messageWork(message)
	}
	if d == nil {
		size += receipt.MaxReceipt
		work += openWork(make([]byte, receipt.MaxReceipt))
	} else {
		work += d.Work
	}
	return p.fee(size, work)
}

// DisputeAt reads a dispute.
func DisputeAt(t *tree.Tree, id canon.Hash) (*Dispute, bool) {
	return load[Dispute](t, tableDispute.key(id[:]))
}

// Disputes are all disputes that are open, or not yet forgotten.
func Disputes(t *tree.Tree) iter.Seq2[canon.Hash, *Dispute] {
	return func(yield func(canon.Hash, *Dispute) bool) {
		for k, d := range each[Dispute](t, tableDispute) {
			if !yield(canon.Hash(k[1:]), d) {
				return
			}
		}
	}
}

// Moves are the messages of a dispute in their order.
func Moves(t *tree.Tree, id canon.Hash) []*Move {
	var list []*Move
	for _, m := range each[Move](t, tableMove, id[:]) {
		list = append(list, m)
	}
	return list
}

// NodeDisputes are the open disputes about receipts of a node.
func NodeDisputes(t *tree.Tree, node []byte) []canon.Hash { return docketAt(t, ofNode.key(node)).Open }

// AccountDisputes are the open disputes that an account began.
func AccountDisputes(t *tree.Tree, a Address) []canon.Hash {
	return docketAt(t, ofAccount.key(a[:])).Open
}

// ReceiptDisputes tells of a receipt, of the node that signed it, the open
// disputes and the one that it lost.
func ReceiptDisputes(t *tree.Tree, receiptID canon.Hash, node []byte) Docket {
	return *docketAt(t, ofReceipt.key(receiptID[:], node))
}

// Game is the referee of a dispute after its last message, for those who want
// to see what was shown.
func Game(t *tree.Tree, id canon.Hash) (*dispute.Referee, error) {
	d, ok := DisputeAt(t, id)
	if !ok {
		return nil, fmt.Errorf("ledger: there is no dispute %s", id)
	}
	r, err := replay(t, meta(t).Chain, id, d)
	if err != nil {
		return nil, fmt.Errorf("ledger: %w", err)
	}
	return r, nil
}

// Player is a party of a game: a *dispute.Prover or a *dispute.Challenger.
type Player interface {
	Step(message []byte) error
	Tick(n uint64)
	Move() ([]byte, error)
}

// Seat lets a party play a dispute on the ledger. It reads the messages from the
// state, so a party that begins anew, with a new Player, goes on where the game
// is.
type Seat struct {
	id     canon.Hash
	player Player
	seen   uint64 // messages that the player has
	height uint64 // of the last of them
}

// NewSeat is the seat of a player who has seen nothing of the game yet. Its
// terms are those of the dispute ([Dispute.Terms]).
func NewSeat(id canon.Hash, p Player) *Seat { return &Seat{id: id, player: p} }

// Next is the message that the player has to send in a state; nil if it is not
// its turn, or the dispute has ended. It is the same until the state has it.
func (s *Seat) Next(t *tree.Tree) (*MakeMove, error) {
	d, ok := DisputeAt(t, s.id)
	switch {
	case !ok:
		return nil, fmt.Errorf("ledger: there is no dispute %s", s.id)
	case d.Judgment != nil:
		return nil, nil
	}
	if s.seen == 0 {
		s.height = d.Opened
	}
	for s.seen < d.Moves {
		m, ok := load[Move](t, moveKey(s.id, s.seen))
		if !ok {
			return nil, fmt.Errorf("ledger: message %d of the dispute %s is not there", s.seen, s.id)
		}
		s.player.Tick(m.Height - s.height)
		if err := s.player.Step(m.Message); err != nil {
			return nil, fmt.Errorf("ledger: message %d of the dispute %s: %w", s.seen, s.id, err)
		}
		s.seen, s.height = s.seen+1, m.Height
	}
	message, err := s.player.Move()
	if message == nil || err != nil {
		return nil, err
	}
	return &MakeMove{Dispute: s.id, Message: message}, nil
}
