package dispute

import (
	"crypto/ed25519"
)

// Challenger plays the challenger: it looks for the first difference between
// the prover's trees and its own, and proves that leaf wrong.
type Challenger struct {
	game *Referee
	key  ed25519.PrivateKey
	accuser
	shown  [2][]*reveal // of the trace, of the cell
	served []*Proof     // statements that the prover made before the game
	ready  []byte       // a proof that needs no game
	proof  []byte       // of the last move, if it was one
}

// NewChallenger begins a game for a challenger of a receipt. The key is that of
// the terms.
func NewChallenger(run Run, terms Terms, key ed25519.PrivateKey, witness Witness) (*Challenger, error) {
	game, err := NewReferee(run, terms)
	if err != nil {
		return nil, err
	}
	return &Challenger{game: game, key: key, accuser: accuser{run: run, claim: game.claim, witness: witness}}, nil
}

// Accuse makes an encoded proof of fraud, as of [Accuse], the next move.
func (c *Challenger) Accuse(proof []byte) { c.ready = proof }

// RememberTrace keeps a statement that the prover made outside of the game. If
// it makes another one in the game, that is the fraud.
func (c *Challenger) RememberTrace(t *TraceStatement) {
	if c.claim.Trace.IsZero() && t.check(c.claim, &Work{}) == nil {
		c.served = append(c.served, &Proof{Fault: TwoTraces, Trace: t})
	}
}

// RememberCell is RememberTrace for a cell.
func (c *Challenger) RememberCell(cell Cell, s *CellStatement) {
	if s.check(c.claim, cell, &Work{}) == nil {
		c.served = append(c.served, &Proof{Fault: TwoCells, Output: cell.Output, Layer: cell.Layer, Position: cell.Position, Cell: s})
	}
}

// Step takes a message that the referee took, whoever sent it.
func (c *Challenger) Step(message []byte) error {
	before := c.game.last
	if err := c.game.Step(message); err != nil {
		return err
	}
	if _, over := c.game.Outcome(); over || c.game.last == before {
		return nil
	}
	of := 0
	if c.game.plan != nil {
		of = 1
	}
	c.shown[of] = append(c.shown[of], c.game.last)
	return nil
}

// Tick lets time pass.
func (c *Challenger) Tick(n uint64) { c.game.Tick(n) }

// Outcome is how the game ended, if it did.
func (c *Challenger) Outcome() (Outcome, bool) { return c.game.Outcome() }

// Move is the message that this party has to send now, nil if it is not its
// turn. It is the same until Step took a message, so it may be sent again.
// [ErrSame] says that there is nothing to accuse; other errors are the
// witness's, and Move may be tried again.
func (c *Challenger) Move() ([]byte, error) {
	g := c.game
	if mover, _ := g.Turn(); mover != ChallengerParty {
		return nil, nil
	}
	k, body, err := c.next()
	if p, ok := body.(*Proof); err == nil && ok {
		k = kindFraud
		body, err = p.Encode()
	}
	if err != nil {
		return nil, err
	}
	c.proof = nil
	if k == kindFraud {
		c.proof, _ = body.([]byte)
	}
	return seal(c.key, g.id, g.round, g.head, k, body)
}

// Proof is the encoded proof of fraud that the last Move is; nil if it is
// another move. [Judge] says whether it stands.
func (c *Challenger) Proof() []byte { return c.proof }

// next chooses the move. A body that is a proof is a message of fraud.
func (c *Challenger) next() (kind, any, error) {
	g := c.game
	if c.ready != nil {
		return kindFraud, c.ready, nil
	}
	if g.trace == nil {
		return kindOpen, &bodyOpen{}, nil
	}
	if p := c.twice(); p != nil {
		return 0, p, nil
	}
	if c.trace == nil {
		if p, err := c.begin(g.trace, c.shown[0][0]); p != nil || err != nil {
			c.trace = nil
			return 0, p, err
		}
	}
	c.states.reveals = c.shown[0]
	if g.plan == nil {
		return c.inTrace()
	}
	if c.plan == nil || c.cell != g.cell {
		if err := c.name(g.cell); err != nil {
			return 0, nil, err
		}
	}
	c.made, c.leaves.reveals = g.made, c.shown[1]
	part, p, err := c.find()
	if p != nil {
		return 0, p, err
	}
	return kindChild, &bodyChild{Part: part}, err
}

// twice is the proof that the prover said something else before.
func (c *Challenger) twice() *Proof {
	g := c.game
	for _, p := range c.served {
		switch {
		case p.Fault == TwoTraces && p.Trace.digest(c.claim) != g.trace.digest(c.claim):
			p.OtherTrace = g.trace
			return p
		case p.Fault == TwoCells && g.made != nil && p.cell() == g.cell && p.Cell.root() != g.made.root():
			p.OtherCell = g.made
			return p
		}
	}
	return nil
}

// inTrace looks for the first wrong cell.
func (c *Challenger) inTrace() (kind, any, error) {
	part, cell, err := c.first()
	if err != nil {
		return 0, nil, err
	}
	if !cell.Output && c.states.last().parts[part].len() > 1 {
		return kindChild, &bodyChild{Part: part}, nil
	}
	if err := c.name(cell); err != nil {
		return 0, nil, err
	}
	return kindCell, &bodyCell{Output: cell.Output, Layer: cell.Layer, Position: cell.Position, Description: c.description}, nil
}
