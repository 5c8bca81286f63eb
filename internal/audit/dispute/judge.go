package dispute

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/operation"
	"github.com/avalnetwork/aval/internal/trace"
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
	j := judgement{run: run, claim: run.Claim(), proof: p, work: w}
	f := Finding{Fault: p.Fault, Cell: p.cell()}
	if !reflect.DeepEqual(*p, p.used()) {
		return Finding{}, refuted("a proof of %q with fields of another one", p.Fault)
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
	case WrongRun:
		err = j.impossible()
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
	ops   []operation.Op
	shape Shape
	roots []canon.Hash // of the operations, as stated
	work  *Work
}

// used is a proof without the fields that its fault does not use: the table of
// spec/dispute.md section 4.
func (p *Proof) used() Proof {
	cell := Proof{Fault: p.Fault, Output: p.Output, Layer: p.Layer, Position: p.Position}
	statement := cell
	statement.Trace, statement.Cell, statement.Description = p.Trace, p.Cell, p.Description
	switch p.Fault {
	case WrongLeaf:
		statement.Operation, statement.Leaf, statement.Hash, statement.Path, statement.Inputs = p.Operation, p.Leaf, p.Hash, p.Path, p.Inputs
		return statement
	case WrongClosing:
		statement.State, statement.Token = p.State, p.Token
		return statement
	case WrongCell:
		return statement
	case WrongTrace:
		return Proof{Fault: p.Fault, Trace: p.Trace, Description: p.Description}
	case TwoTraces:
		return Proof{Fault: p.Fault, Trace: p.Trace, OtherTrace: p.OtherTrace}
	case TwoCells:
		cell.Cell, cell.OtherCell = p.Cell, p.OtherCell
	case WrongRun:
		cell.Description = p.Description
	}
	return cell
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
	if j.plan, j.shape, err = j.run.Plan(c, p.Description); err != nil {
		return fmt.Errorf("the description: %w", err)
	}
	if n := j.shape.Layers; n != p.Trace.Layers {
		return fmt.Errorf("the trace has %d layers and the model %d: that is the fault to show", p.Trace.Layers, n)
	}
	j.ops, j.roots = j.plan.Ops(), p.Cell.Roots.List()
	if n := len(j.roots); p.Fault != WrongCell && n != len(j.ops) {
		return fmt.Errorf("the statement has %d operations and the cell %d: that is the fault to show", n, len(j.ops))
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
	p, ops := j.proof, j.ops
	switch {
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
	if root != j.roots[p.Operation] {
		return fmt.Errorf("the leaf is not in the tree of operation %d (%s)", p.Operation, op.Name)
	}
	needs := j.plan.Inputs(p.Operation, p.Leaf)
	if len(needs) != len(p.Inputs) {
		return fmt.Errorf("%d inputs, the leaf needs %d", len(p.Inputs), len(needs))
	}
	values := make([][]byte, len(needs))
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

// input checks an input of the accused leaf and gives its bytes.
func (j *judgement) input(n operation.Input, in *Input) ([]byte, error) {
	vector := n.Kind == operation.X || n.Kind == operation.KV
	tree := vector || n.Kind == operation.Leaves
	switch {
	case tree && in.Opening != nil, !tree && (in.Value != nil || in.Proof != nil), vector != (in.State != nil):
		return nil, errors.New("a proof of another kind of input")
	case empty(in.Value), empty(in.Opening):
		return nil, errors.New("an empty string; it is written as null")
	case vector:
		return in.Value, j.vector(n, in)
	case tree:
		return in.Value, j.earlier(n, in)
	case n.Kind == operation.Tokens:
		b, err := j.run.Tokens(n.From, n.To, in.Opening)
		if err != nil {
			return nil, fmt.Errorf("the tokens at %d to %d: %w", n.From, n.To-1, err)
		}
		return b, nil
	case n.Kind == operation.Tiles:
		b, err := j.run.Tiles(n.Tensor, n.From, n.To, in.Opening)
		if err != nil {
			return nil, fmt.Errorf("tiles %d to %d of %s: %w", n.From, n.To-1, n.Tensor, err)
		}
		return b, nil
	}
	return nil, fmt.Errorf("an input of unknown kind %d", n.Kind)
}

func empty(b []byte) bool { return b != nil && len(b) == 0 }

// pieces hashes an input piece by piece and gives the root of the tree of total
// pieces that they are proved to be in.
func (j *judgement) pieces(n operation.Input, in *Input, total int) (canon.Hash, error) {
	var hashed []canon.Hash
	rest := in.Value
	for _, size := range j.plan.Pieces(n) {
		if size > len(rest) {
			return canon.Hash{}, errors.New("the value is too short")
		}
		hashed, rest = append(hashed, canon.Leaf(rest[:size])), rest[size:]
	}
	if len(rest) > 0 {
		return canon.Hash{}, errors.New("the value is too long")
	}
	j.work.Hashes += len(hashed)
	return j.work.rangeRoot(total, n.From, hashed, in.Proof)
}

// earlier checks leaves of the same cell.
func (j *judgement) earlier(n operation.Input, in *Input) error {
	root, err := j.pieces(n, in, j.ops[n.Op].Leaves)
	if err != nil {
		return err
	}
	if root != j.roots[n.Op] {
		return fmt.Errorf("leaves %d to %d are not those of operation %d (%s)", n.From, n.To-1, n.Op, j.ops[n.Op].Name)
	}
	return nil
}

// vector checks tiles of a vector of a state.
func (j *judgement) vector(n operation.Input, in *Input) error {
	total := j.shape.X
	if n.Kind == operation.KV {
		total = j.shape.KV
	}
	root, err := j.pieces(n, in, total)
	if err != nil {
		return err
	}
	x, kv := root, in.State.Beside
	if n.Kind == operation.KV {
		x, kv = kv, x
	}
	j.work.Hashes++
	return j.inTrace(trace.StateOf(x, kv), in.State, n.Layer, n.Position)
}

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
	p, ops := j.proof, j.ops
	if (p.State == nil) != p.Output || (len(p.Token) > 0) != p.Output {
		return errors.New("a layer's cell needs the state, an output cell the token")
	}
	f.Operation = len(ops) - 1
	if p.Output {
		id, err := j.run.Tokens(j.claim.Prompt+p.Position, j.claim.Prompt+p.Position+1, p.Token)
		if err != nil {
			return fmt.Errorf("the drawn token %d: %w", p.Position, err)
		}
		f.Want, f.Got = canon.Leaf(id), j.roots[len(ops)-1]
	} else {
		if err := j.inTrace(p.State.Beside, p.State, p.Layer, p.Position); err != nil {
			return err
		}
		x, kv, _ := j.plan.State()
		f.Want, f.Got = p.State.Beside, trace.StateOf(j.roots[x], j.roots[kv])
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
	if n := len(j.ops); n == len(j.roots) {
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
		if j.proof.Description != nil {
			return errors.New("a description that is not needed")
		}
		return nil
	}
	_, shape, err := j.run.Plan(Cell{}, j.proof.Description)
	if err != nil {
		return fmt.Errorf("the description: %w", err)
	}
	if shape.Layers == t.Layers {
		return fmt.Errorf("the trace has the run's %d layers and %d positions", t.Layers, t.Positions)
	}
	return nil
}

// impossible: there is no such run.
func (j *judgement) impossible() error {
	c := j.proof.cell()
	if err := inside(c, j.claim, maxLayers); err != nil {
		return err
	}
	_, _, err := j.run.Plan(c, j.proof.Description)
	switch {
	case err == nil:
		return errors.New("there can be such a run")
	case !errors.Is(err, ErrImpossible):
		return fmt.Errorf("the description: %w", err)
	}
	return nil
}

func (j *judgement) twoTraces() error {
	if !j.claim.Trace.IsZero() {
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
	if err := inside(c, j.claim, maxLayers); err != nil {
		return err
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
