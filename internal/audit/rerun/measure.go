package rerun

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/receipt"
)

// Liar is a prover's source that says something else about one leaf of a cell,
// and about the state that the cell gives: enough to lose a dispute over.
type Liar struct {
	dispute.Source
	At       dispute.Cell
	Op, Leaf int
}

// States is that of dispute.Source.
func (s *Liar) States() ([][]canon.Hash, error) {
	states, err := s.Source.States()
	if err == nil && !s.At.Output {
		states = slices.Clone(states)
		layer := slices.Clone(states[s.At.Layer])
		layer[s.At.Position][0] ^= 1
		states[s.At.Layer] = layer
	}
	return states, err
}

// Cell is that of dispute.Source.
func (s *Liar) Cell(c dispute.Cell) (dispute.Values, int, error) {
	v, n, err := s.Source.Cell(c)
	if c == s.At {
		v = &lie{v, s.Op, s.Leaf}
	}
	return v, n, err
}

type lie struct {
	dispute.Values
	op, leaf int
}

func (l *lie) Hashes(op int) []canon.Hash {
	h := l.Values.Hashes(op)
	if op == l.op {
		h = slices.Clone(h)
		h[l.leaf][0] ^= 1
	}
	return h
}

// Cost is what disputes about a run cost.
type Cost struct {
	Positions int
	Rerun     time.Duration // computing the run again, and comparing its tokens
	Games     []Game
	Leaves    []Leaf
}

// Game is a dispute that the prover forces through all its rounds.
type Game struct {
	Finding                     dispute.Finding
	Rounds                      int // messages of the challenger
	Messages                    int
	Bytes, Largest              int // of messages
	Referee, Prover, Challenger time.Duration
	Work                        dispute.Work
}

// Leaf is what the proof of fraud about a leaf of an operation weighs.
type Leaf struct {
	Cell     dispute.Cell
	Name     string // of the operation
	Leaves   int    // of the operation
	Proof    int    // bytes of the proof, the largest of some leaves
	Evidence int    // bytes of that without the statements and the description
	Judge    time.Duration
}

// Measure plays disputes about a run of random ids, and weighs proofs about a
// leaf of each operation. The model's file is open.
func Measure(ctx context.Context, f *gguf.File, m *model.Model, print *fingerprint.Tree, prompt, answer int) (*Cost, error) {
	b, err := newBench(ctx, f, m, print, prompt, answer)
	if err != nil {
		return nil, err
	}
	defer b.run.Close()
	n, layers := b.run.positions(), m.Config().Layers
	cost := &Cost{Positions: n, Rerun: b.took}
	for _, at := range []struct {
		cell dispute.Cell
		name string
	}{
		{dispute.Cell{Layer: layers / 2, Position: n / 2}, "ffn_down"},
		{dispute.Cell{Layer: layers - 1, Position: n - 1}, "gather"},
		{dispute.Cell{Position: n - 1}, "attn_q"},
		{dispute.Cell{Output: true, Position: answer - 1}, "output"},
	} {
		g, err := b.game(at.cell, at.name)
		if err != nil {
			return nil, fmt.Errorf("rerun: a dispute about %s: %w", at.cell, err)
		}
		cost.Games = append(cost.Games, *g)
	}
	for _, c := range []dispute.Cell{{Position: n - 1}, {Layer: layers / 2, Position: n - 1}, {Output: true, Position: answer - 1}} {
		leaves, err := b.weigh(c)
		if err != nil {
			return nil, fmt.Errorf("rerun: proofs about %s: %w", c, err)
		}
		cost.Leaves = append(cost.Leaves, leaves...)
	}
	return cost, nil
}

// bench is a receipt of random ids, and its run.
type bench struct {
	claim dispute.Run
	key   ed25519.PrivateKey // the prover's
	other ed25519.PrivateKey // the challenger's
	run   *Run
	took  time.Duration
}

func newBench(ctx context.Context, f *gguf.File, m *model.Model, print *fingerprint.Tree, prompt, answer int) (*bench, error) {
	b := &bench{
		key:   ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, ed25519.SeedSize)),
		other: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, ed25519.SeedSize)),
	}
	random := rand.New(rand.NewPCG(1, 2))
	ids := make([]int32, prompt+answer)
	for i := range ids {
		ids[i] = int32(random.IntN(m.Config().Vocab))
	}
	o, err := receipt.Commit(receipt.Salt{1}, &receipt.Transcript{
		Source: receipt.Source{Kind: receipt.SourceIDs}, Prompt: ids[:prompt], Output: ids[prompt:],
	})
	if err != nil {
		return nil, err
	}
	c := receipt.Claims{
		Model: print.Root(), Stop: receipt.StopLength, Time: 1,
		Seed:   receipt.NonceSeed(make([]byte, 16)),
		Params: receipt.Params{MaxTokens: answer, Context: m.Limit(), Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1.1},
	}
	o.Fill(&c)
	r, err := receipt.Sign(c, b.key)
	if err != nil {
		return nil, err
	}
	if b.claim, err = dispute.NewRun(r); err != nil {
		return nil, err
	}
	start := time.Now()
	b.run, err = New(ctx, Config{Model: m, File: f, Print: print, Claims: c, Opening: o})
	b.took = time.Since(start)
	return b, err
}

// fresh is the run without what it remembers of cells.
func (b *bench) fresh() *Run {
	r := *b.run
	r.last, r.x = nil, map[[2]int][]byte{}
	return &r
}

// against is the run of a challenger who accuses a cell.
type against struct {
	*Run
	cell dispute.Cell
}

func (a *against) Output() (int, bool) { return a.cell.Position, a.cell.Output }

// player is a party.
type player interface {
	Step([]byte) error
	Move() ([]byte, error)
}

func (b *bench) game(c dispute.Cell, name string) (*Game, error) {
	lie := &Liar{Source: b.fresh(), At: c}
	v, _, err := lie.Source.Cell(c)
	if err != nil {
		return nil, err
	}
	for i, op := range b.run.Operations(c) {
		if op.Name == name {
			lie.Op = i
		}
	}
	lie.Leaf = len(v.Hashes(lie.Op)) / 2
	lie.Source = b.fresh()
	terms := dispute.Terms{Challenger: b.other.Public().(ed25519.PublicKey)}
	referee, err := dispute.NewReferee(b.claim, terms)
	if err != nil {
		return nil, err
	}
	prover, err := dispute.NewProver(b.claim, terms, b.key, nil, lie)
	if err != nil {
		return nil, err
	}
	challenger, err := dispute.NewChallenger(b.claim, terms, b.other, &against{b.fresh(), c})
	if err != nil {
		return nil, err
	}
	g := &Game{}
	for {
		o, over := referee.Outcome()
		if over {
			g.Finding, g.Work = o.Finding, referee.Work()
			if o.Winner != dispute.ChallengerParty || o.Finding.Fault != dispute.WrongLeaf || o.Finding.Name != name {
				return nil, fmt.Errorf("ended otherwise: %s", o)
			}
			return g, nil
		}
		var who player = challenger
		took := &g.Challenger
		if mover, _ := referee.Turn(); mover == dispute.ProverParty {
			who, took = prover, &g.Prover
		} else {
			g.Rounds++
		}
		var message []byte
		if err := timed(took, func() (err error) { message, err = who.Move(); return err }); err != nil {
			return nil, err
		}
		g.Messages++
		g.Bytes += len(message)
		g.Largest = max(g.Largest, len(message))
		for _, s := range []struct {
			took *time.Duration
			step func([]byte) error
		}{{&g.Referee, referee.Step}, {&g.Prover, prover.Step}, {&g.Challenger, challenger.Step}} {
			if err := timed(s.took, func() error { return s.step(message) }); err != nil {
				return nil, err
			}
		}
	}
}

func timed(sum *time.Duration, f func() error) error {
	start := time.Now()
	err := f()
	*sum += time.Since(start)
	return err
}

// weigh makes proofs about some leaves of each operation of a cell.
func (b *bench) weigh(c dispute.Cell) ([]Leaf, error) {
	var list []Leaf
	for i, op := range b.run.Operations(c) {
		n := op.Leaves
		l := Leaf{Cell: c, Name: op.Name, Leaves: n}
		places := []int{0, n / 2, n - 1}
		for _, leaf := range slices.Compact(places) {
			p, err := b.accuse(&Liar{b.run, c, i, leaf})
			if err != nil {
				return nil, err
			}
			data, err := p.Encode()
			if err != nil {
				return nil, err
			}
			took := time.Duration(0)
			err = timed(&took, func() error { _, err := dispute.Judge(b.claim, data); return err })
			if err != nil {
				return nil, fmt.Errorf("%s, leaf %d: %w", op.Name, leaf, err)
			}
			p.Trace, p.Cell, p.Description = nil, nil, nil
			rest, err := p.Encode()
			if err != nil {
				return nil, err
			}
			l.Proof, l.Evidence, l.Judge = max(l.Proof, len(data)), max(l.Evidence, len(rest)), max(l.Judge, took)
		}
		list = append(list, l)
	}
	return list, nil
}

// accuse is the proof against a liar who hands over its trees.
func (b *bench) accuse(s *Liar) (*dispute.Proof, error) {
	t, err := dispute.ServeTrace(b.claim, b.key, nil, s)
	if err != nil {
		return nil, err
	}
	w := &against{b.run, s.At}
	c, p, err := dispute.Find(b.claim, w, t)
	if p != nil || err != nil {
		return p, err
	}
	cell, err := dispute.ServeCell(b.claim, b.key, s, c)
	if err != nil {
		return nil, err
	}
	return dispute.Accuse(b.claim, w, t, cell)
}

// MeasureFile is Measure of the model in a file.
func MeasureFile(ctx context.Context, path string, prompt, answer int) (*Cost, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m, err := model.Load(f, model.Options{})
	if err != nil {
		return nil, err
	}
	defer m.Close()
	print, err := fingerprint.Of(ctx, f, 0)
	if err != nil {
		return nil, err
	}
	return Measure(ctx, f, m, print, prompt, answer)
}
