package dispute_test

import (
	"errors"
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
)

var (
	games = flag.Int("games", 300, "games of each property test")
	seed  = flag.Uint64("seed", 0, "play only the game of this seed, if not 0")
)

// each runs a game for many seeds.
func each(t *testing.T, game func(t *testing.T, r *rand.Rand)) {
	t.Helper()
	for i := range uint64(*games) {
		s := i + 1
		if *seed != 0 {
			s = *seed
		}
		game(t, rand.New(rand.NewPCG(s, 1)))
		if t.Failed() {
			t.Fatalf("seed %d (repeat with -seed %d)", s, s)
		}
		if *seed != 0 {
			return
		}
	}
}

// player is a party as the table sees it.
type player interface {
	Step([]byte) error
	Tick(uint64)
	Move() ([]byte, error)
	Outcome() (dispute.Outcome, bool)
}

// result is what came of a game.
type result struct {
	dispute.Outcome
	messages int
	bytes    int
	ticks    uint64
	work     dispute.Work
	log      [][]byte
}

// play plays a game to its end. Who has no move lets the time run out. Both
// parties' pictures of the game must agree with the referee's.
func play(t *testing.T, run dispute.Run, terms dispute.Terms, prover, challenger player) result {
	t.Helper()
	referee, err := dispute.NewReferee(run, terms)
	if err != nil {
		t.Fatal(err)
	}
	var res result
	all := []player{prover, challenger}
	for {
		if o, over := referee.Outcome(); over {
			res.Outcome, res.work = o, referee.Work()
			break
		}
		if res.ticks > terms.Bound() {
			t.Fatalf("the game is not over after %d ticks", res.ticks)
		}
		moved := false
		for _, p := range all {
			m, err := p.Move()
			if err != nil && !errors.Is(err, dispute.ErrSame) {
				t.Fatalf("message %d: %v", res.messages, err)
			}
			if m == nil || referee.Step(m) != nil {
				continue
			}
			moved = true
			res.messages++
			res.bytes += len(m)
			res.log = append(res.log, m)
			for _, q := range all {
				if err := q.Step(m); err != nil {
					t.Fatalf("message %d: %v", res.messages, err)
				}
			}
			break
		}
		if !moved {
			referee.Tick(1)
			res.ticks++
			for _, q := range all {
				q.Tick(1)
			}
		}
	}
	for _, p := range all {
		if o, over := p.Outcome(); !over || o != res.Outcome {
			t.Errorf("a party saw %v, the referee %v", o, res.Outcome)
		}
	}
	return res
}

// parties makes the two honest machines of a game.
func (g *toyGame) parties(t *testing.T, terms dispute.Terms) (*dispute.Prover, *dispute.Challenger) {
	t.Helper()
	p, err := dispute.NewProver(g.run, terms, g.proverKey, g.salt, g.prover)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dispute.NewChallenger(g.run, terms, g.key, g.challenger)
	if err != nil {
		t.Fatal(err)
	}
	return p, c
}

func randomShape(r *rand.Rand) toyShape {
	return toyShape{layers: 1 + r.IntN(4), prompt: 1 + r.IntN(6), drawn: 1 + r.IntN(6), trace: r.IntN(2) == 0}
}

func randomCell(r *rand.Rand, s toyShape) dispute.Cell {
	if r.IntN(4) == 0 {
		return dispute.Cell{Output: true, Position: r.IntN(s.drawn)}
	}
	return dispute.Cell{Layer: r.IntN(s.layers), Position: r.IntN(s.prompt + s.drawn - 1)}
}

func randomFanout(r *rand.Rand) int { return []int{2, 3, 4, 7, 1024}[r.IntN(5)] }

// faultAt changes a leaf of a cell, chosen at random. What follows from it is
// computed from the wrong value.
func faultAt(r *rand.Rand, s toyShape, at *place) func(*toyParty) func(dispute.Cell, int, int, []byte) []byte {
	return func(p *toyParty) func(dispute.Cell, int, int, []byte) []byte {
		at.cell = randomCell(r, s)
		plan := must(p.run.Plan(at.cell, p.model.description()))
		ops := plan.Operations()
		at.op = r.IntN(len(ops))
		at.leaf = r.IntN(ops[at.op].Leaves)
		at.name = ops[at.op].Name
		bit := r.IntN(1000)
		return func(c dispute.Cell, op, leaf int, v []byte) []byte {
			if c == at.cell && op == at.op && leaf == at.leaf {
				b := bit % (8 * len(v))
				if at.name == "token" {
					b %= 3 // stays a token
				}
				v[b/8] ^= 1 << (b % 8)
			}
			return v
		}
	}
}

type place struct {
	cell     dispute.Cell
	op, leaf int
	name     string
}

// TestWrongLeafIsFound: a prover that computes one leaf wrong, and everything
// after it from the wrong value, loses to the challenger by exactly that leaf.
func TestWrongLeafIsFound(t *testing.T) {
	each(t, func(t *testing.T, r *rand.Rand) {
		s := randomShape(r)
		var at place
		g := newToyGame(r, s, faultAt(r, s, &at), nil)
		terms := g.terms(randomFanout(r))
		if _, wrong := g.challenger.Output(); !wrong && at.cell.Output && at.name != "token" {
			return // the wrong leaf did not change the token, which is all that is committed to
		}
		p, c := g.parties(t, terms)
		res := play(t, g.run, terms, p, c)
		f := res.Finding
		if res.Winner != dispute.ChallengerParty || res.Reason != dispute.Fraud {
			t.Errorf("a fault at %+v: %v", at, res.Outcome)
			return
		}
		if f.Fault != dispute.WrongLeaf || f.Cell != at.cell || f.Operation != at.op || f.Leaf != at.leaf || f.Name != at.name {
			t.Errorf("a fault at %+v was found at %+v", at, f)
		}
	})
}
