package dispute

import (
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/trace"
)

// ErrSame says that a challenger has nothing to accuse: what the prover showed
// is what the challenger computed.
var ErrSame = errors.New("dispute: the prover's run is the challenger's own")

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
	values      Values // the challenger's own
	leaves      view   // of the trees of the operations
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
		d, err := a.witness.Description(Cell{})
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
	plan, _, err := a.run.Plan(c, description)
	if err != nil {
		return err
	}
	values, ops, err := a.witness.Cell(c)
	if err != nil {
		return err
	}
	own := hashes(values, ops)
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
		i := a.claim.Prompt + c.Position
		p.Token, err = a.witness.Opening(i, i+1)
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
		Positions: join(a.states.prove(s)),
		Layers:    join(canon.Range(a.layers, s.tree, s.tree+1)),
	}
}

// leaf: a leaf is not the function of its inputs.
func (a *accuser) leaf(op, leaf int) (*Proof, error) {
	p, s := a.proof(WrongLeaf), span{op, leaf, leaf + 1}
	h := a.leaves.node(s)
	p.Operation, p.Leaf, p.Hash, p.Path = op, leaf, &h, join(a.leaves.prove(s))
	for _, n := range a.plan.Inputs(op, leaf) {
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
func (a *accuser) input(n operation.Input) (in Input, err error) {
	switch n.Kind {
	case operation.Leaves:
		for i := n.From; i < n.To; i++ {
			in.Value = append(in.Value, a.values.Leaf(n.Op, i)...)
		}
		in.Proof = join(a.leaves.prove(span{n.Op, n.From, n.To}))
	case operation.X, operation.KV:
		v, other, err := a.witness.State(n.Layer, n.Position)
		if err != nil {
			return in, err
		}
		if n.Kind == operation.KV {
			v, other = other, v
		}
		in.Value = v[n.From*trace.Tile : min(n.To*trace.Tile, len(v))]
		in.Proof = join(canon.Range(hashTiles(v), n.From, n.To))
		in.State = a.state(span{n.Layer, n.Position, n.Position + 1})
		in.State.Beside = trace.VectorRoot(other)
	case operation.Tokens:
		in.Opening, err = a.witness.Opening(n.From, n.To)
	case operation.Tiles:
		in.Opening, err = a.witness.Tiles(n.Tensor, n.From, n.To)
	default:
		err = fmt.Errorf("dispute: an input of unknown kind %d", n.Kind)
	}
	return in, err
}

// hashTiles is the hashed leaves of the tree of a vector.
func hashTiles(v []byte) []canon.Hash {
	var tiles []canon.Hash
	for len(v) > trace.Tile {
		tiles, v = append(tiles, canon.Leaf(v[:trace.Tile])), v[trace.Tile:]
	}
	return append(tiles, canon.Leaf(v))
}
