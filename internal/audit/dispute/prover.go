package dispute

import (
	"crypto/ed25519"
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/trace"
)

// Prover plays the prover: it shows what is asked for.
type Prover struct {
	game   *Referee
	key    ed25519.PrivateKey
	salt   []byte
	source Source
	leaves [][]canon.Hash // hashed, of the cell at hand
}

// NewProver begins a game for the prover of a receipt. The key is the
// receipt's; the salt is the receipt's trace salt, and nil if it has no trace.
func NewProver(run Run, terms Terms, key ed25519.PrivateKey, salt []byte, source Source) (*Prover, error) {
	game, err := NewReferee(run, terms)
	if err != nil {
		return nil, err
	}
	return &Prover{game: game, key: key, salt: salt, source: source}, nil
}

// Step takes a message that the referee took, whoever sent it.
func (p *Prover) Step(message []byte) error { return p.game.Step(message) }

// Tick lets time pass.
func (p *Prover) Tick(n uint64) { p.game.Tick(n) }

// Outcome is how the game ended, if it did.
func (p *Prover) Outcome() (Outcome, bool) { return p.game.Outcome() }

// Move is the message that this party has to send now, nil if it is not its
// turn. It is the same until Step took a message, so it may be sent again. An
// error is one of the source's, and Move may be tried again.
func (p *Prover) Move() ([]byte, error) {
	g := p.game
	if mover, _ := g.Turn(); mover != ProverParty {
		return nil, nil
	}
	var body any
	var err error
	switch g.due {
	case kindTrace:
		body, err = p.trace()
	case kindStatement:
		body, err = p.statement()
	default:
		body, err = p.nodes()
	}
	if err != nil {
		return nil, err
	}
	return seal(p.key, g.id, g.round, g.head, g.due, body)
}

func (p *Prover) trace() (*bodyTrace, error) {
	states, err := p.source.States()
	if err != nil {
		return nil, err
	}
	g := p.game
	t, err := newTrace(g.claim, p.key, p.salt, states)
	if err != nil {
		return nil, err
	}
	trees := make([]int, len(states))
	for i := range trees {
		trees[i] = g.claim.Positions()
	}
	nodes := show(states, cut(forest(trees...), g.terms.Fanout))
	return &bodyTrace{Salt: t.Salt, Layers: t.Layers, Signature: t.Signature, Nodes: join(nodes)}, nil
}

// newTrace is the statement of a trace.
func newTrace(c Claim, key ed25519.PrivateKey, salt []byte, states [][]canon.Hash) (*TraceStatement, error) {
	var roots []canon.Hash
	for i, l := range states {
		if len(l) != c.Positions() {
			return nil, fmt.Errorf("dispute: layer %d of the trace has %d positions, the receipt's run %d", i, len(l), c.Positions())
		}
		roots = append(roots, canon.Root(l))
	}
	s := &TraceStatement{Root: trace.RootOf(roots), Layers: len(roots), Positions: c.Positions()}
	if !c.Trace.IsZero() {
		s.Salt = salt
		if s.commitment() != c.Trace {
			return nil, errors.New("dispute: the trace and its salt are not those that the receipt commits to")
		}
		return s, nil
	}
	digest := s.digest(c)
	s.Signature = ed25519.Sign(key, digest[:])
	return s, nil
}

func (p *Prover) statement() (*bodyStatement, error) {
	g := p.game
	if err := p.compute(); err != nil {
		return nil, err
	}
	r := reveal{trees: g.asked, parts: cut(g.asked, g.terms.Fanout)}
	r.hashes = show(p.leaves, r.parts)
	s := newCell(g.claim, p.key, g.cell, r.roots())
	return &bodyStatement{Signature: s.Signature, Nodes: join(r.hashes)}, nil
}

// compute computes the cell that the challenger named, once.
func (p *Prover) compute() error {
	if p.leaves != nil {
		return nil
	}
	v, ops, err := p.source.Cell(p.game.cell)
	if err != nil {
		return err
	}
	leaves := hashes(v, ops)
	if err := fits(leaves, p.game.plan); err != nil {
		return err
	}
	p.leaves = leaves
	return nil
}

// newCell is the statement of a cell whose operations have these roots.
func newCell(c Claim, key ed25519.PrivateKey, cell Cell, roots []canon.Hash) *CellStatement {
	s := &CellStatement{Roots: join(roots)}
	digest := s.digest(c, cell)
	s.Signature = ed25519.Sign(key, digest[:])
	return s
}

// hashes are the hashed leaves of a cell that has so many operations.
func hashes(v Values, ops int) [][]canon.Hash {
	leaves := make([][]canon.Hash, ops)
	for i := range leaves {
		leaves[i] = v.Hashes(i)
	}
	return leaves
}

// fits checks a cell's leaves against its plan.
func fits(leaves [][]canon.Hash, plan Plan) error {
	ops := plan.Ops()
	if len(leaves) != len(ops) {
		return fmt.Errorf("dispute: the source gave %d operations of a cell that has %d", len(leaves), len(ops))
	}
	for i, op := range ops {
		if len(leaves[i]) != op.Leaves {
			return fmt.Errorf("dispute: the source gave %d leaves of operation %d (%s), which has %d", len(leaves[i]), i, op.Name, op.Leaves)
		}
	}
	return nil
}

func (p *Prover) nodes() (*bodyNodes, error) {
	g := p.game
	var leaves [][]canon.Hash
	var err error
	if g.plan == nil {
		leaves, err = p.source.States()
	} else {
		err = p.compute()
		leaves = p.leaves
	}
	if err != nil {
		return nil, err
	}
	return &bodyNodes{Nodes: join(show(leaves, cut(g.asked, g.terms.Fanout)))}, nil
}
