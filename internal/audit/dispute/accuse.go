package dispute

import (
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// ErrSame says that a challenger has nothing to accuse: what the prover showed
// is what the challenger computed.
var ErrSame = errors.New("dispute: the prover's run is the challenger's own")

// tileSize is how vectors are cut for their roots (spec/trace.md).
const tileSize = 2048

// accuser makes proofs of fraud from what the prover showed and what the
// challenger knows.
type accuser struct {
	run     Run
	claim   Claim
	witness Witness

	trace  *TraceStatement
	states view         // of the trees of the layers
	layers []canon.Hash // the prover's roots of the layers, as leaves of the trace

	cell        Cell
	description []byte
	plan        Plan
	made        *CellStatement
	values      [][][]byte // the challenger's own leaves of the cell
	leaves      view       // of the trees of the operations
}

// begin takes what the prover showed of its trace first. A proof is returned if
// the trace has the wrong size.
func (a *accuser) begin(t *TraceStatement, shown *reveal) (*Proof, error) {
	own, err := a.witness.States()
	if err != nil {
		return nil, err
	}
	a.trace = t
	if t.Positions != a.claim.Positions() {
		return &Proof{Fault: WrongTrace, Trace: t}, nil
	}
	if len(own) != t.Layers {
		d, err := a.witness.Description(Cell{Output: true})
		return &Proof{Fault: WrongTrace, Trace: t, Description: d}, err
	}
	a.states = view{own, []*reveal{shown}}
	a.layers = a.layers[:0]
	for _, r := range shown.roots() {
		a.layers = append(a.layers, canon.Leaf(r[:]))
	}
	return nil, nil
}

// first is the part of what was shown last of the trace that has to be looked
// into: a node, or a cell.
func (a *accuser) first() (part int, cell Cell, err error) {
	if i, ok := a.states.difference(); ok {
		s := a.states.last().parts[i]
		return i, Cell{Layer: s.tree, Position: s.from}, nil
	}
	if i, wrong := a.witness.Output(); wrong {
		return 0, Cell{Output: true, Position: i}, nil
	}
	return 0, Cell{}, ErrSame
}

// name computes the cell to be accused.
func (a *accuser) name(c Cell) error {
	description, err := a.witness.Description(c)
	if err != nil {
		return err
	}
	plan, err := a.run.Plan(c, description)
	if err != nil {
		return err
	}
	values, err := a.witness.Cell(c)
	if err != nil {
		return err
	}
	own := hashLeaves(values)
	if err := fits(own, plan); err != nil {
		return err
	}
	a.cell, a.description, a.plan, a.values, a.leaves = c, description, plan, values, view{own: own}
	return nil
}

// proof begins a proof about the cell.
func (a *accuser) proof(f Fault) *Proof {
	c := a.cell
	return &Proof{
		Fault: f, Trace: a.trace, Output: c.Output, Layer: c.Layer, Position: c.Position,
		Cell: a.made, Description: a.description,
	}
}

// find makes the proof that what was shown of the cell calls for. It gives the
// part of it to be looked into, if there is no proof yet.
func (a *accuser) find() (part int, p *Proof, err error) {
	i, ok := a.leaves.difference()
	if !ok {
		p, err = a.closing()
		return 0, p, err
	}
	s := a.leaves.last().parts[i]
	if s.len() > 1 {
		return i, nil, nil
	}
	p, err = a.leaf(s.tree, s.from)
	return 0, p, err
}

// closing: every leaf is right, so the cell's result is not the one committed.
func (a *accuser) closing() (*Proof, error) {
	p, c := a.proof(WrongClosing), a.cell
	var err error
	if c.Output {
		p.Token, err = a.witness.Opening(a.claim.Prompt + c.Position)
		return p, err
	}
	s := span{c.Layer, c.Position, c.Position + 1}
	p.State = a.state(s)
	p.State.Beside = a.states.node(s)
	return p, nil
}

// state proves that the prover's trace has its state there.
func (a *accuser) state(s span) *StateProof {
	return &StateProof{
		Positions: a.states.prove(s),
		Layers:    canon.Range(a.layers, s.tree, s.tree+1),
	}
}

// leaf: a leaf is not the function of its inputs.
func (a *accuser) leaf(operation, leaf int) (*Proof, error) {
	p, s := a.proof(WrongLeaf), span{operation, leaf, leaf + 1}
	h := a.leaves.node(s)
	p.Operation, p.Leaf, p.Hash, p.Path = operation, leaf, &h, a.leaves.prove(s)
	needs, err := a.plan.Needs(operation, leaf)
	if err != nil {
		return nil, err
	}
	for _, n := range needs {
		in, err := a.input(n)
		if err != nil {
			return nil, err
		}
		p.Inputs = append(p.Inputs, in)
	}
	return p, nil
}

// input proves one input. Inputs are before the first difference, so that the
// challenger's are the prover's.
func (a *accuser) input(n Need) (in Input, err error) {
	switch n.Kind {
	case Earlier:
		in.Values = a.values[n.Operation][n.From:n.To]
		in.Proof = a.leaves.prove(span{n.Operation, n.From, n.To})
	case X, KV:
		position := n.Position
		if n.Kind == X {
			position = a.claim.at(a.cell)
		}
		x, kv, err := a.witness.State(n.Layer, position)
		if err != nil {
			return in, err
		}
		if n.Kind == KV {
			x, kv = kv, x
		}
		tiles := hashTiles(x)
		if n.Tiles != len(tiles) {
			return in, fmt.Errorf("dispute: a vector of %d bytes at layer %d, position %d, want %d tiles", len(x), n.Layer, position, n.Tiles)
		}
		in.Values = [][]byte{x[n.Tile*tileSize : min((n.Tile+1)*tileSize, len(x))]}
		in.Proof = canon.Range(tiles, n.Tile, n.Tile+1)
		in.State = a.state(span{n.Layer, position, position + 1})
		in.State.Beside = canon.VectorRoot(kv, tileSize)
	case Token:
		in.Other, err = a.witness.Opening(n.Position)
	case Weights:
		in.Other, err = a.witness.Weights(a.cell, n)
	default:
		err = fmt.Errorf("dispute: a need of unknown kind %d", n.Kind)
	}
	return in, err
}

// hashTiles is the hashed leaves of the tree of a vector.
func hashTiles(v []byte) []canon.Hash {
	var tiles []canon.Hash
	for len(v) > tileSize {
		tiles, v = append(tiles, canon.Leaf(v[:tileSize])), v[tileSize:]
	}
	return append(tiles, canon.Leaf(v))
}
