package dispute_test

import (
	"crypto/ed25519"
	"errors"
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
)

var (
	games = flag.Int("games", 8, "rounds of each property test")
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
	bytes    int // of the messages that the referee took
	ticks    uint64
	work     dispute.Work
}

// table is where a game is played.
type table struct {
	t       *testing.T
	game    *toyGame
	terms   dispute.Terms
	referee *dispute.Referee
	log     [][]byte // messages that the referee took
}

func newTable(t *testing.T, g *toyGame, terms dispute.Terms) *table {
	t.Helper()
	referee, err := dispute.NewReferee(g.run, terms)
	if err != nil {
		t.Fatal(err)
	}
	return &table{t: t, game: g, terms: terms, referee: referee}
}

// play plays a game to its end, while others send rubbish. Who has no move lets
// the time run out. The parties' pictures of the game must agree with the
// referee's.
func (tab *table) play(r *rand.Rand, prover, challenger player) result {
	tab.t.Helper()
	var res result
	all := []player{prover, challenger}
	spam := dispute.Work{}
	for {
		o, over := tab.referee.Outcome()
		if over {
			res.Outcome = o
			break
		}
		if res.ticks > tab.terms.Bound() {
			tab.t.Fatalf("the game is not over after %d ticks", res.ticks)
		}
		tab.spam(r, &spam)
		moved := false
		for _, p := range all {
			m, err := p.Move()
			if err != nil && !errors.Is(err, dispute.ErrSame) {
				tab.t.Fatalf("message %d: %v", len(tab.log), err)
			}
			before := tab.referee.Work()
			if m == nil {
				continue
			}
			if tab.referee.Step(m) != nil {
				after := tab.referee.Work()
				spam.Bytes += after.Bytes - before.Bytes
				spam.Hashes += after.Hashes - before.Hashes
				spam.Signatures += after.Signatures - before.Signatures
				continue
			}
			moved = true
			tab.log = append(tab.log, m)
			for _, q := range all {
				if err := q.Step(m); err != nil {
					tab.t.Fatalf("message %d: %v", len(tab.log), err)
				}
			}
			break
		}
		if !moved {
			tab.referee.Tick(1)
			res.ticks++
			for _, q := range all {
				q.Tick(1)
			}
		}
	}
	for _, p := range all {
		if o, over := p.Outcome(); !over || o != res.Outcome {
			tab.t.Errorf("a party saw %v, the referee %v", o, res.Outcome)
		}
	}
	res.messages = len(tab.log)
	for _, m := range tab.log {
		res.bytes += len(m)
	}
	w := tab.referee.Work()
	res.work = dispute.Work{Bytes: w.Bytes - spam.Bytes, Hashes: w.Hashes - spam.Hashes, Signatures: w.Signatures - spam.Signatures, Leaves: w.Leaves}
	tab.checkWork(res)
	return res
}

// checkWork holds the referee's work to section 7 of spec/dispute.md: all of it
// is linear in the bytes of the messages that it took.
func (tab *table) checkWork(res result) {
	w := res.work
	if w.Leaves > 1 {
		tab.t.Errorf("the referee evaluated %d leaves", w.Leaves)
	}
	if w.Bytes > 2*res.bytes {
		tab.t.Errorf("the referee read %d bytes of messages of %d", w.Bytes, res.bytes)
	}
	if limit := res.bytes/16 + 16*res.messages; w.Hashes > limit {
		tab.t.Errorf("the referee computed %d hashes for %d bytes in %d messages", w.Hashes, res.bytes, res.messages)
	}
	if w.Signatures > 2*res.messages+2 {
		tab.t.Errorf("the referee verified %d signatures for %d messages", w.Signatures, res.messages)
	}
}

// spam sends what anybody could send. Nothing of it may change anything.
func (tab *table) spam(r *rand.Rand, w *dispute.Work) {
	if r == nil || r.IntN(2) == 0 {
		return
	}
	mover, round := tab.referee.Turn()
	before := tab.referee.Work()
	id := tab.referee.ID()
	junk := [][]byte{nil, randomBytes(r, r.IntN(200))}
	for _, m := range tab.log { // again, changed, in another place
		again := parse(m)
		junk = append(junk, m)
		again.Body = mutate(r, again.Body)
		junk = append(junk, must(canon.Marshal(&again)))
		again = parse(m)
		again.Round = round
		junk = append(junk, must(canon.Marshal(&again)))
	}
	// The one whose turn it is not signs well; the one whose turn it is signed
	// for another game, or another place in this one.
	keys := []ed25519.PrivateKey{dispute.ProverParty: tab.game.proverKey, dispute.ChallengerParty: tab.game.key}
	head := heads(id, tab.log)
	own := wire{Dispute: id[:], Round: round, Kind: uint8(r.IntN(9)), Body: randomBytes(r, 20)}
	for party, key := range keys[1:] {
		if dispute.Party(party+1) != mover {
			junk = append(junk, own.sign(key, head[len(head)-1]))
			continue
		}
		junk = append(junk, own.sign(key, canon.Hash{1}))
		other := own
		other.Round += 2
		junk = append(junk, other.sign(key, head[len(head)-1]))
		other = own
		other.Dispute = make([]byte, 32)
		junk = append(junk, other.sign(key, head[len(head)-1]))
	}
	for range min(4, len(junk)) {
		m := junk[r.IntN(len(junk))]
		if err := tab.referee.Step(m); !errors.Is(err, dispute.ErrIgnored) {
			tab.t.Errorf("the referee took junk: %v", err)
		}
	}
	if m, n := tab.referee.Turn(); m != mover || n != round {
		tab.t.Error("junk changed whose turn it is")
	}
	after := tab.referee.Work()
	w.Bytes += after.Bytes - before.Bytes
	w.Hashes += after.Hashes - before.Hashes
	w.Signatures += after.Signatures - before.Signatures
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
		plan, _, err := p.run.Plan(at.cell, p.model.description())
		if err != nil {
			panic(err)
		}
		ops := plan.Ops()
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
		res := newTable(t, g, terms).play(r, p, c)
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
