package dispute

import "fmt"

// Move is what a message of a game is, for those who look on.
type Move struct {
	Round      int
	Challenger bool   // whose message it is
	Name       string // open, child, cell, fraud; trace, nodes, statement
	Proof      []byte // of fraud
}

// moves are the names of the kinds.
var moves = map[kind]string{
	kindOpen: "open", kindChild: "child", kindCell: "cell", kindFraud: "fraud",
	kindTrace: "trace", kindNodes: "nodes", kindStatement: "statement",
}

// ReadMove reads what a message says that it is. It checks nothing: a [Referee]
// does.
func ReadMove(message []byte) (Move, error) {
	m, err := open(message)
	if err != nil {
		return Move{}, err
	}
	name, ok := moves[m.Kind]
	if !ok {
		return Move{}, ignored("a message of kind %d", m.Kind)
	}
	out := Move{Round: m.Round, Challenger: m.Kind <= kindFraud, Name: name}
	if m.Kind == kindFraud {
		out.Proof = m.Body
	}
	return out, nil
}

// Stage is one step from the whole run to what a proof is about: of so many
// things, one.
type Stage struct {
	What   string // layer, position, token, operation, leaf
	Name   string // of an operation
	At, Of int
}

// Stages are the steps to what a proof of fraud shows, of which the finding is what
// [Judge] said. Faults that are about no cell have none.
func Stages(run Run, f Finding, proof []byte) ([]Stage, error) {
	if f.Fault == WrongTrace || f.Fault == TwoTraces {
		return nil, nil
	}
	p, err := DecodeProof(proof)
	if err != nil {
		return nil, err
	}
	claim, c := run.Claim(), p.cell()
	var list []Stage
	if c.Output {
		list = append(list, Stage{What: "token", At: c.Position, Of: claim.Drawn})
	} else {
		if p.Trace != nil {
			list = append(list, Stage{What: "layer", At: c.Layer, Of: p.Trace.Layers})
		}
		list = append(list, Stage{What: "position", At: c.Position, Of: claim.Positions()})
	}
	if f.Fault != WrongLeaf {
		return list, nil
	}
	plan, _, err := run.Plan(c, p.Description)
	if err != nil {
		return nil, fmt.Errorf("dispute: the description of the proof: %w", err)
	}
	ops := plan.Ops()
	if f.Operation >= len(ops) {
		return nil, fmt.Errorf("dispute: the proof is about operation %d of %d", f.Operation, len(ops))
	}
	return append(list, Stage{What: "operation", Name: f.Name, At: f.Operation, Of: len(ops)},
		Stage{What: "leaf", At: f.Leaf, Of: ops[f.Operation].Leaves}), nil
}
