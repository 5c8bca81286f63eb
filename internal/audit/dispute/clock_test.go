package dispute_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
)

// TestLeft: at each point of a game, a copy of the referee waits as long as it
// says and loses nothing, and with one tick more it ends; the game itself sees
// nothing of that.
func TestLeft(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand) {
		s := randomShape(r)
		var at place
		g := newToyGame(r, s, faultAt(r, s, &at), nil)
		terms := g.terms(randomFanout(r))
		terms.Move, terms.Total = 5, 12
		p, c := g.parties(t, terms)
		referee, err := dispute.NewReferee(g.run, terms)
		if err != nil {
			t.Fatal(err)
		}
		heavy := 0
		for round := 0; ; round++ {
			mover, _ := referee.Turn()
			if mover == 0 {
				break
			}
			left := referee.Left()
			if left > terms.Move {
				t.Fatalf("%d ticks left of %d", left, terms.Move)
			}
			copied := referee.Clone()
			copied.Tick(left)
			if o, over := copied.Outcome(); over {
				t.Fatalf("round %d: %s with %d ticks left", round, o, left)
			}
			again := copied.Clone()
			if copied.Tick(1); copied.Left() != 0 {
				t.Errorf("%d ticks left after the end", copied.Left())
			}
			if o, over := copied.Outcome(); !over || o.Reason != dispute.Silence || o.Winner == mover {
				t.Fatalf("round %d: one tick more than is left: %v, %v", round, o, over)
			}
			if _, over := referee.Outcome(); over {
				t.Fatal("a copy ended the game")
			}
			var m []byte
			if mover == dispute.ProverParty {
				m, err = p.Move()
			} else {
				m, err = c.Move()
			}
			if errors.Is(err, dispute.ErrSame) {
				return // nothing to accuse: the leaf changed no token
			}
			if err != nil {
				t.Fatal(err)
			}
			if dispute.Heavy(m) {
				heavy++
			}
			if err := again.Step(m); err != nil { // the last tick is in time
				t.Fatal(err)
			}
			wait := min(left, uint64(r.IntN(2)))
			referee.Tick(wait)
			p.Tick(wait)
			c.Tick(wait)
			for _, x := range []player{p, c} {
				if err := x.Step(m); err != nil {
					t.Fatal(err)
				}
			}
			if err := referee.Step(m); err != nil {
				t.Fatal(err)
			}
		}
		if o, _ := referee.Outcome(); o.Reason == dispute.Fraud && heavy != 2 {
			t.Errorf("a game with %d descriptions, want the cell's and the proof's", heavy)
		}
	})
}
