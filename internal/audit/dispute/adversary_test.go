package dispute_test

import (
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
)

// twisted is a party whose messages are changed before they are sent.
type twisted struct {
	player
	twist func(m []byte) []byte // nil: silence
}

func (p *twisted) Move() ([]byte, error) {
	m, err := p.player.Move()
	if m == nil || err != nil {
		return nil, nil // a liar whose own machine refuses falls silent
	}
	return p.twist(m), nil
}

// twistOf draws what a party does to its messages: nothing, silence from a
// message on, a changed body under a good signature, a changed signature, a
// message of another round.
func twistOf(r *rand.Rand, id canon.Hash, key ed25519.PrivateKey, log *[][]byte) (name string, twist func([]byte) []byte) {
	at := r.IntN(5)
	mode := r.IntN(6)
	names := []string{"none", "none", "silence", "changed body", "changed signature", "replay"}
	return names[mode], func(m []byte) []byte {
		w := parse(m)
		if w.Round/2 < at && mode == 2 || w.Round/2 != at && mode != 2 {
			return m
		}
		hs := heads(id, *log)
		switch mode {
		case 2:
			return nil
		case 3:
			w.Body = mutate(r, w.Body)
			if r.IntN(8) == 0 {
				w.Kind = uint8(r.IntN(10))
			}
			return w.sign(key, hs[len(hs)-1])
		case 4:
			w.Signature = randomBytes(r, 64)
			return must(canon.Marshal(&w))
		case 5:
			if len(*log) > 0 {
				return (*log)[r.IntN(len(*log))]
			}
		}
		return m
	}
}

// lies are what a prover may do wrong before it signs. The challenger must win
// against each, and the prover's own machine plays on as well as it can.
var lies = []struct {
	name string
	lie  func(r *rand.Rand, s toyShape, p *toyParty)
}{
	{"a state replaced", func(r *rand.Rand, s toyShape, p *toyParty) {
		p.states[r.IntN(s.layers)][r.IntN(s.prompt+s.drawn-1)] = canon.Hash(randomBytes(r, 32))
	}},
	{"a state that is an inner node", func(r *rand.Rand, s toyShape, p *toyParty) {
		l := p.states[r.IntN(s.layers)]
		i := r.IntN(len(l))
		l[i] = canon.Node(l[i], l[r.IntN(len(l))])
	}},
	{"several states replaced", func(r *rand.Rand, s toyShape, p *toyParty) {
		for range 3 {
			p.states[r.IntN(s.layers)][r.IntN(s.prompt+s.drawn-1)] = canon.Hash(randomBytes(r, 32))
		}
	}},
	{"a state replaced, and a leaf of its cell when shown", func(r *rand.Rand, s toyShape, p *toyParty) {
		c := dispute.Cell{Layer: r.IntN(s.layers), Position: r.IntN(s.prompt + s.drawn - 1)}
		p.states[c.Layer][c.Position] = canon.Hash(randomBytes(r, 32))
		p.shown = changeLeaf(r, c)
	}},
	{"a state replaced, and all leaves of cells when shown", func(r *rand.Rand, s toyShape, p *toyParty) {
		p.states[r.IntN(s.layers)][r.IntN(s.prompt+s.drawn-1)] = canon.Hash(randomBytes(r, 32))
		p.shown = func(_ dispute.Cell, v toyValues) toyValues {
			for _, op := range v {
				for k := range op {
					op[k] = []byte{byte(k)}
				}
			}
			return v
		}
	}},
	{"a layer more", func(_ *rand.Rand, _ toyShape, p *toyParty) {
		p.states = append(p.states, slices.Clone(p.states[0]))
	}},
	{"a layer less", func(_ *rand.Rand, _ toyShape, p *toyParty) {
		p.states = p.states[:len(p.states)-1]
	}},
	{"layers exchanged", func(r *rand.Rand, _ toyShape, p *toyParty) {
		p.states = append(p.states, p.states[0])[1:]
		if len(p.states) == 1 {
			p.states[0][0] = canon.Hash(randomBytes(r, 32))
		}
	}},
	{"positions more", func(r *rand.Rand, _ toyShape, p *toyParty) {
		l := r.IntN(len(p.states))
		p.states[l] = append(p.states[l], p.states[l][0])
	}},
	{"positions less", func(r *rand.Rand, _ toyShape, p *toyParty) {
		l := r.IntN(len(p.states))
		n := len(p.states[l])
		p.states[l] = append([]canon.Hash{canon.Node(p.states[l][0], p.states[l][n-1])}, p.states[l][1:max(1, n-1)]...)
	}},
	{"another token", func(r *rand.Rand, s toyShape, p *toyParty) { forgeToken(r, s, p) }},
	{"another token, and a leaf of its cell when shown", func(r *rand.Rand, s toyShape, p *toyParty) {
		p.shown = changeLeaf(r, dispute.Cell{Output: true, Position: forgeToken(r, s, p)})
	}},
}

// forgeToken replaces a drawn token and computes the rest honestly.
func forgeToken(r *rand.Rand, s toyShape, p *toyParty) int {
	i := r.IntN(s.drawn)
	p.ids[s.prompt+i] = (p.ids[s.prompt+i] + 1 + int32(r.IntN(toyVocab-1))) % toyVocab
	p.ids = p.ids[:s.prompt+i+1]
	p.computeAll()
	return i
}

// changeLeaf changes one leaf of a cell when it is shown.
func changeLeaf(r *rand.Rand, at dispute.Cell) func(dispute.Cell, toyValues) toyValues {
	a, b, bit := r.IntN(1000), r.IntN(1000), r.IntN(1000)
	return func(c dispute.Cell, v toyValues) toyValues {
		if c == at {
			op := v[a%len(v)]
			leaf := op[b%len(op)]
			leaf[bit%len(leaf)] ^= 1
		}
		return v
	}
}

// TestHonestChallengerWins: whatever a lying prover does, it loses.
func TestHonestChallengerWins(t *testing.T) {
	reasons := map[string]int{}
	each(t, func(t *testing.T, r *rand.Rand) {
		for _, l := range lies {
			s := randomShape(r)
			g := newToyGame(r, s, nil, func(p *toyParty) { l.lie(r, s, p) })
			terms := g.terms(randomFanout(r))
			prover, challenger := g.parties(t, terms)
			tab := newTable(t, g, terms)
			name, twist := twistOf(r, tab.referee.ID(), g.proverKey, &tab.log)
			res := tab.play(r, &twisted{prover, twist}, challenger)
			reasons[res.Reason.String()]++
			if res.Reason == dispute.Fraud {
				reasons[res.Finding.Fault.String()]++
			}
			if res.Winner != dispute.ChallengerParty {
				t.Errorf("%s, %s: %v", l.name, name, res.Outcome)
			}
		}
	})
	t.Log(reasons)
}

// pretender is a challenger's witness that computed everything right and says
// otherwise at one leaf.
type pretender struct {
	*toyParty
	cell     dispute.Cell
	op, leaf int
	closing  bool
}

func (p *pretender) States() ([][]canon.Hash, error) {
	states := slices.Clone(p.states)
	if !p.cell.Output {
		l := slices.Clone(states[p.cell.Layer])
		l[p.cell.Position][0] ^= 1
		states[p.cell.Layer] = l
	}
	return states, nil
}

func (p *pretender) Output() (int, bool) { return p.cell.Position, p.cell.Output }

func (p *pretender) Cell(c dispute.Cell) (dispute.Values, int, error) {
	v, err := p.toyParty.compute(c)
	if err == nil && c == p.cell && !p.closing {
		op := v[p.op%len(v)]
		k := p.leaf % len(op)
		op[k] = append(slices.Clone(op[k]), 1)
	}
	return v, len(v), err
}

// accusers are witnesses of challengers that are wrong.
var accusers = []struct {
	name    string
	witness func(r *rand.Rand, s toyShape, g *toyGame) dispute.Witness
}{
	{"accuses a leaf that is right", func(r *rand.Rand, s toyShape, g *toyGame) dispute.Witness {
		return &pretender{g.challenger, randomCell(r, s), r.IntN(1000), r.IntN(1000), false}
	}},
	{"accuses a result that is right", func(r *rand.Rand, s toyShape, g *toyGame) dispute.Witness {
		return &pretender{g.challenger, randomCell(r, s), 0, 0, true}
	}},
	{"computed wrong", func(r *rand.Rand, s toyShape, g *toyGame) dispute.Witness {
		var at place
		g.challenger.fault = faultAt(r, s, &at)(g.challenger)
		g.challenger.computeAll()
		return g.challenger
	}},
	{"has another model", func(r *rand.Rand, s toyShape, g *toyGame) dispute.Witness {
		g.challenger.model = newToyModel(r, s.layers)
		g.challenger.computeAll()
		return g.challenger
	}},
	{"has another model with the same description", func(r *rand.Rand, s toyShape, g *toyGame) dispute.Witness {
		d := &described{g.challenger, g.challenger.model.description()}
		m := *g.challenger.model
		m.tiles = slices.Clone(m.tiles)
		m.tiles[r.IntN(len(m.tiles))] = randomBytes(r, toyWeights)
		g.challenger.model = &m
		g.challenger.computeAll()
		return d
	}},
	{"has another number of layers", func(r *rand.Rand, s toyShape, g *toyGame) dispute.Witness {
		g.challenger.layers++
		g.challenger.computeAll()
		return g.challenger
	}},
	{"has other ids", func(r *rand.Rand, s toyShape, g *toyGame) dispute.Witness {
		g.challenger.ids = slices.Clone(g.challenger.ids)
		g.challenger.ids[r.IntN(len(g.challenger.ids))] ^= 1
		g.challenger.computeAll()
		return g.challenger
	}},
	{"has nothing to say", func(_ *rand.Rand, _ toyShape, g *toyGame) dispute.Witness { return g.challenger }},
}

type described struct {
	*toyParty
	description []byte
}

func (d *described) Description(dispute.Cell) ([]byte, error) { return d.description, nil }

// TestHonestProverWins: whatever a challenger of a right run does, it loses.
func TestHonestProverWins(t *testing.T) {
	reasons := map[string]int{}
	each(t, func(t *testing.T, r *rand.Rand) {
		for _, a := range accusers {
			s := randomShape(r)
			g := newToyGame(r, s, nil, nil)
			w := a.witness(r, s, g)
			terms := g.terms(randomFanout(r))
			prover, _ := g.parties(t, terms)
			challenger, err := dispute.NewChallenger(g.run, terms, g.key, w)
			if err != nil {
				t.Fatal(err)
			}
			tab := newTable(t, g, terms)
			name, twist := twistOf(r, tab.referee.ID(), g.key, &tab.log)
			res := tab.play(r, prover, &twisted{challenger, twist})
			reasons[res.Reason.String()]++
			if res.Winner != dispute.ProverParty {
				t.Errorf("%s, %s: %v", a.name, name, res.Outcome)
			}
		}
	})
	t.Log(reasons)
}

// TestServed: a prover that hands its trees over loses by one message; an
// honest one cannot be accused.
func TestServed(t *testing.T) {
	faults := map[string]int{}
	each(t, func(t *testing.T, r *rand.Rand) {
		for _, l := range lies {
			s := randomShape(r)
			g := newToyGame(r, s, nil, func(p *toyParty) { l.lie(r, s, p) })
			proof, err := g.served(g.challenger)
			if err != nil {
				// Trees that are not of the run's shape cannot be handed over.
				if l.name == "positions more" || l.name == "positions less" || len(g.prover.states) == 0 {
					continue
				}
				t.Errorf("%s: %v", l.name, err)
				continue
			}
			f, err := dispute.Judge(g.run, must(proof.Encode()))
			if err != nil {
				t.Errorf("%s: %v", l.name, err)
			}
			faults[f.Fault.String()]++
		}
		for _, a := range accusers {
			s := randomShape(r)
			g := newToyGame(r, s, nil, nil)
			proof, err := g.served(a.witness(r, s, g))
			if err != nil {
				continue
			}
			data := must(proof.Encode())
			for range 4 {
				if f, err := dispute.Judge(g.run, data); err == nil {
					t.Errorf("%s: an honest prover is convicted: %v", a.name, f)
				} else if !errors.Is(err, dispute.ErrProof) {
					t.Errorf("%s: %v, want ErrProof", a.name, err)
				}
				data = mutate(r, data)
			}
		}
	})
	t.Log(faults)
}

// served is the proof from what the prover hands over.
func (g *toyGame) served(w dispute.Witness) (*dispute.Proof, error) {
	trace, err := dispute.ServeTrace(g.run, g.proverKey, g.salt, g.prover)
	if err != nil {
		return nil, err
	}
	c, proof, err := dispute.Find(g.run, w, trace)
	if proof != nil || err != nil {
		return proof, err
	}
	cell, err := dispute.ServeCell(g.run, g.proverKey, g.prover, c)
	if err != nil {
		return nil, err
	}
	return dispute.Accuse(g.run, w, trace, cell)
}
