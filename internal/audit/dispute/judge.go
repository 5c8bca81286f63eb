package dispute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"

	"github.com/avalnetwork/aval/internal/canon"
)

// ErrProof says that a proof of fraud does not stand. It accuses an honest
// prover, or is badly made; either way it proves nothing.
var ErrProof = errors.New("dispute: the proof of fraud does not stand")

func refuted(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrProof, fmt.Errorf(format, args...))
}

// Judge checks a proof of fraud against the receipt that run is made from. It
// needs nothing else: no model, and no memory of a game. The finding is what
// the prover did wrong; [ErrProof] says that nothing is shown.
func Judge(run Run, proof []byte) (Finding, error) {
	return judge(run, proof, &Work{})
}

func judge(run Run, data []byte, w *Work) (Finding, error) {
	w.Bytes += len(data)
	p, err := DecodeProof(data)
	if err != nil {
		return Finding{}, refuted("%w", err)
	}
	j := judgement{run, run.Claim(), p, nil, w}
	f := Finding{Fault: p.Fault, Cell: p.cell()}
	if err := j.extra(); err != nil {
		return Finding{}, refuted("%w", err)
	}
	switch p.Fault {
	case WrongLeaf:
		err = j.leaf(&f)
	case WrongClosing:
		err = j.closing(&f)
	case WrongCell:
		err = j.size()
	case WrongTrace:
		f.Cell = Cell{}
		err = j.trace()
	case TwoTraces:
		f.Cell = Cell{}
		err = j.twoTraces()
	case TwoCells:
		err = j.twoCells()
	default:
		err = fmt.Errorf("unknown %s", p.Fault)
	}
	if err != nil {
		return Finding{}, refuted("%w", err)
	}
	return f, nil
}

type judgement struct {
	run   Run
	claim Claim
	proof *Proof
	plan  Plan
	work  *Work
}

// extra refuses fields that the fault does not use, so that there is one way
// to write a proof.
func (j *judgement) extra() error {
	p := *j.proof
	p.Fault = 0
	if j.proof.Fault != TwoCells {
		p.Trace = nil
	}
	if j.proof.Fault != TwoTraces && j.proof.Fault != TwoCells {
		p.Description = nil
	}
	if j.proof.Fault != TwoTraces && j.proof.Fault != WrongTrace {
		p.Output, p.Layer, p.Position, p.Cell = false, 0, 0, nil
	}
	switch j.proof.Fault {
	case WrongLeaf:
		p.Operation, p.Leaf, p.Hash, p.Path, p.Inputs = 0, 0, nil, nil, nil
	case WrongClosing:
		p.State, p.Token = nil, nil
	case TwoTraces:
		p.OtherTrace = nil
	case TwoCells:
		p.OtherCell = nil
	}
	if !reflect.ValueOf(p).IsZero() {
		return fmt.Errorf("a proof of %q with fields of another one", j.proof.Fault)
	}
	return nil
}

// committed checks the statement of the trace.
func (j *judgement) committed() error {
	t := j.proof.Trace
	if t == nil {
		return errors.New("no statement of the trace")
	}
	return t.check(j.claim, j.work)
}

// planned checks the statements of the trace and of the cell, and makes the
// cell's plan.
func (j *judgement) planned() error {
	p, c := j.proof, j.proof.cell()
	if err := j.committed(); err != nil {
		return err
	}
	if p.Trace.Positions != j.claim.Positions() {
		return fmt.Errorf("the trace has %d positions and the receipt's run %d: that is the fault to show", p.Trace.Positions, j.claim.Positions())
	}
	if p.Cell == nil {
		return errors.New("no statement of the cell")
	}
	if err := inside(c, j.claim, p.Trace.Layers); err != nil {
		return err
	}
	if err := p.Cell.check(j.claim, c, j.work); err != nil {
		return err
	}
	var err error
	if j.plan, err = j.run.Plan(c, p.Description); err != nil {
		return fmt.Errorf("the description: %w", err)
	}
	if n := j.plan.Layers(); n != p.Trace.Layers {
		return fmt.Errorf("the trace has %d layers and the model %d: that is the fault to show", p.Trace.Layers, n)
	}
	return nil
}

// inside says whether a run of so many layers has the cell.
func inside(c Cell, claim Claim, layers int) error {
	positions := claim.Positions()
	if c.Output {
		positions = claim.Drawn
		layers = 1
	}
	if c.Layer < 0 || c.Layer >= layers || c.Position < 0 || c.Position >= positions {
		return fmt.Errorf("the run has no cell %s", c)
	}
	return nil
}

// leaf: a leaf is not the function of its inputs.
func (j *judgement) leaf(f *Finding) error {
	if err := j.planned(); err != nil {
		return err
	}
	p, ops := j.proof, j.plan.Operations()
	switch {
	case len(ops) != len(p.Cell.Roots):
		return fmt.Errorf("the statement has %d operations and the cell %d: that is the fault to show", len(p.Cell.Roots), len(ops))
	case p.Operation < 0 || p.Operation >= len(ops):
		return fmt.Errorf("operation %d of %d", p.Operation, len(ops))
	case p.Leaf < 0 || p.Leaf >= ops[p.Operation].Leaves:
		return fmt.Errorf("leaf %d of %d", p.Leaf, ops[p.Operation].Leaves)
	case p.Hash == nil:
		return errors.New("no committed leaf")
	}
	op := ops[p.Operation]
	f.Operation, f.Name, f.Leaf, f.Got = p.Operation, op.Name, p.Leaf, *p.Hash
	root, err := j.work.rangeRoot(op.Leaves, p.Leaf, []canon.Hash{*p.Hash}, p.Path)
	if err != nil {
		return fmt.Errorf("the path of the leaf: %w", err)
	}
	if root != p.Cell.Roots[p.Operation] {
		return fmt.Errorf("the leaf is not in the tree of operation %d (%s)", p.Operation, op.Name)
	}
	needs, err := j.plan.Needs(p.Operation, p.Leaf)
	if err != nil {
		return err
	}
	if len(needs) != len(p.Inputs) {
		return fmt.Errorf("%d inputs, the leaf needs %d", len(p.Inputs), len(needs))
	}
	values := make([][][]byte, len(needs))
	for i, n := range needs {
		if values[i], err = j.input(n, &p.Inputs[i]); err != nil {
			return fmt.Errorf("input %d: %w", i, err)
		}
	}
	j.work.Leaves++
	v, err := j.plan.Eval(p.Operation, p.Leaf, values)
	if err != nil {
		return fmt.Errorf("the leaf's inputs are wrong already: %w", err)
	}
	j.work.Hashes++
	if f.Want = canon.Leaf(v); f.Want == f.Got {
		return fmt.Errorf("%s, operation %d (%s), leaf %d is right", p.cell(), p.Operation, op.Name, p.Leaf)
	}
	return nil
}

// input checks an input of the accused leaf and gives its values.
func (j *judgement) input(n Need, in *Input) ([][]byte, error) {
	if err := in.form(n.Kind); err != nil {
		return nil, err
	}
	switch n.Kind {
	case Earlier:
		return in.Values, j.earlier(n, in)
	case X, KV:
		return in.Values, j.state(n, in)
	case Token:
		id, err := j.run.Token(n.Position, in.Other)
		if err != nil {
			return nil, fmt.Errorf("the token at %d: %w", n.Position, err)
		}
		return [][]byte{binary.LittleEndian.AppendUint32(nil, uint32(id))}, nil
	case Weights:
		v, err := j.plan.Weights(n, in.Other)
		if err != nil {
			return nil, fmt.Errorf("tile %d of %s: %w", n.Tile, n.Tensor, err)
		}
		return [][]byte{v}, nil
	}
	return nil, fmt.Errorf("a need of unknown kind %d", n.Kind)
}

// form refuses fields that a kind of input does not use.
func (in *Input) form(k Kind) error {
	tree, state := k == Earlier || k == X || k == KV, k == X || k == KV
	switch {
	case !tree && (len(in.Values) > 0 || len(in.Proof) > 0):
		return errors.New("a value that should come out of an opening")
	case tree && len(in.Other) > 0:
		return errors.New("an opening that is not needed")
	case state != (in.State != nil):
		return errors.New("a state is missing, or not needed")
	}
	return nil
}

func (j *judgement) earlier(n Need, in *Input) error {
	ops := j.plan.Operations()
	if len(in.Values) != n.To-n.From {
		return fmt.Errorf("%d leaves of operation %d, want %d", len(in.Values), n.Operation, n.To-n.From)
	}
	hashed := make([]canon.Hash, len(in.Values))
	for i, v := range in.Values {
		hashed[i] = canon.Leaf(v)
	}
	j.work.Hashes += len(hashed)
	root, err := j.work.rangeRoot(ops[n.Operation].Leaves, n.From, hashed, in.Proof)
	if err != nil {
		return err
	}
	if root != j.proof.Cell.Roots[n.Operation] {
		return fmt.Errorf("leaves %d to %d are not those of operation %d (%s)", n.From, n.To-1, n.Operation, ops[n.Operation].Name)
	}
	return nil
}

func (j *judgement) state(n Need, in *Input) error {
	if len(in.Values) != 1 {
		return fmt.Errorf("%d tiles, want 1", len(in.Values))
	}
	j.work.Hashes += 2
	root, err := j.work.rangeRoot(n.Tiles, n.Tile, []canon.Hash{canon.Leaf(in.Values[0])}, in.Proof)
	if err != nil {
		return err
	}
	position := n.Position
	x, kv := root, in.State.Beside
	if n.Kind == X {
		position = j.claim.at(j.proof.cell())
	} else {
		x, kv = kv, x
	}
	return j.inTrace(stateOf(x, kv), in.State, n.Layer, position)
}

// stateOf is the hashed leaf of a state.
func stateOf(x, kv canon.Hash) canon.Hash { return canon.Leaf(append(x[:], kv[:]...)) }

// inTrace checks that the prover's trace has a state.
func (j *judgement) inTrace(state canon.Hash, s *StateProof, layer, position int) error {
	t := j.proof.Trace
	root, err := j.work.rangeRoot(t.Positions, position, []canon.Hash{state}, s.Positions)
	if err != nil {
		return fmt.Errorf("position %d: %w", position, err)
	}
	j.work.Hashes++
	root, err = j.work.rangeRoot(t.Layers, layer, []canon.Hash{canon.Leaf(root[:])}, s.Layers)
	if err != nil {
		return fmt.Errorf("layer %d: %w", layer, err)
	}
	if root != t.Root {
		return fmt.Errorf("the trace has another state at layer %d, position %d", layer, position)
	}
	return nil
}

// closing: a cell's results are not those that the prover committed to.
func (j *judgement) closing(f *Finding) error {
	if err := j.planned(); err != nil {
		return err
	}
	p, ops := j.proof, j.plan.Operations()
	if len(ops) != len(p.Cell.Roots) {
		return fmt.Errorf("the statement has %d operations and the cell %d: that is the fault to show", len(p.Cell.Roots), len(ops))
	}
	if (p.State == nil) != p.Output || (len(p.Token) > 0) != p.Output {
		return errors.New("a layer's cell needs the state, an output cell the token")
	}
	f.Operation = len(ops) - 1
	if p.Output {
		id, err := j.run.Token(j.claim.Prompt+p.Position, p.Token)
		if err != nil {
			return fmt.Errorf("the drawn token %d: %w", p.Position, err)
		}
		f.Want, f.Got = canon.Leaf(binary.LittleEndian.AppendUint32(nil, uint32(id))), p.Cell.Roots[len(ops)-1]
	} else {
		if err := j.inTrace(p.State.Beside, p.State, p.Layer, p.Position); err != nil {
			return err
		}
		x, kv := j.plan.Closing()
		f.Want, f.Got = p.State.Beside, stateOf(p.Cell.Roots[x], p.Cell.Roots[kv])
	}
	f.Name = ops[f.Operation].Name
	j.work.Hashes += 2
	if f.Want == f.Got {
		return fmt.Errorf("the results of %s are the committed ones", p.cell())
	}
	return nil
}

// size: a statement of a cell has another number of operations.
func (j *judgement) size() error {
	if err := j.planned(); err != nil {
		return err
	}
	if n := len(j.plan.Operations()); n == len(j.proof.Cell.Roots) {
		return fmt.Errorf("the statement has the cell's %d operations", n)
	}
	return nil
}

// trace: the trace has another size than the run.
func (j *judgement) trace() error {
	if err := j.committed(); err != nil {
		return err
	}
	t := j.proof.Trace
	if t.Positions != j.claim.Positions() {
		return nil
	}
	plan, err := j.run.Plan(Cell{Output: true}, j.proof.Description)
	if err != nil {
		return fmt.Errorf("the description: %w", err)
	}
	if plan.Layers() == t.Layers {
		return fmt.Errorf("the trace has the run's %d layers and %d positions", t.Layers, t.Positions)
	}
	return nil
}

func (j *judgement) twoTraces() error {
	if j.claim.Trace != nil {
		return errors.New("the receipt has a trace commitment, which opens in one way only")
	}
	if err := j.committed(); err != nil {
		return err
	}
	other := j.proof.OtherTrace
	if other == nil {
		return errors.New("no other statement of the trace")
	}
	if err := other.check(j.claim, j.work); err != nil {
		return err
	}
	if other.digest(j.claim) == j.proof.Trace.digest(j.claim) {
		return errors.New("both statements are of one trace")
	}
	return nil
}

func (j *judgement) twoCells() error {
	p, c := j.proof, j.proof.cell()
	if p.Cell == nil || p.OtherCell == nil {
		return errors.New("want two statements of the cell")
	}
	if err := p.Cell.check(j.claim, c, j.work); err != nil {
		return err
	}
	if err := p.OtherCell.check(j.claim, c, j.work); err != nil {
		return err
	}
	if p.Cell.root() == p.OtherCell.root() {
		return errors.New("both statements are one")
	}
	return nil
}
