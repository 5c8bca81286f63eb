package train

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/internal/tensor"
)

// grain is the least number of elements that a thread updates.
const grain = 1 << 14

// ErrDiverged says that a loss or a gradient is infinite or not a number. The
// parameters are those before the step.
var ErrDiverged = errors.New("training has diverged")

// ErrDone says that the run has all its steps behind it.
var ErrDone = errors.New("the training run is complete")

// Trainer steps a run. It owns the state of the optimiser; the parameters are
// the learner's. It is for one goroutine.
type Trainer struct {
	config    Config // complete
	encoded   []byte // its encoding
	machine   *tensor.Machine
	learner   Learner
	data      Data
	order     *Order
	optimizer optimizer
	params    []*Param
	states    []string      // the optimiser's letters
	state     [][][]float32 // [parameter][letter][element]
	done      int
	broken    error // of a Restore that failed midway

	batch []Example
	draws Random
	sums  [][]float32 // of clipped gradients, [parameter][element]; nil without ExampleClip

	// What the threads work on: one closure serves all updates.
	job struct {
		param int
		scale float32
	}
	update func(worker, from, to int)
	slices [][][]float32 // [worker][letter]: views of the states
}

// NewTrainer returns the machine of a run of c over data that begins with l's
// parameters as they are. m's threads update the parameters; it is the caller's
// to close.
func NewTrainer(m *tensor.Machine, c Config, l Learner, data Data) (*Trainer, error) {
	encoded, err := c.Marshal()
	if err != nil {
		return nil, err
	}
	c = c.Complete()
	order, err := NewOrder(c.Seed, data.Len())
	if err != nil {
		return nil, err
	}
	t := &Trainer{
		config: c, encoded: encoded, machine: m, learner: l, data: data, order: order,
		optimizer: newOptimizer(c, m.Kernel()), params: l.Params(), batch: make([]Example, c.Batch),
	}
	if err := checkParams(t.params); err != nil {
		return nil, err
	}
	t.states = t.optimizer.states()
	for _, p := range t.params {
		s := make([][]float32, len(t.states))
		for k := range s {
			s[k] = make([]float32, len(p.Data))
		}
		t.state = append(t.state, s)
		if c.ExampleClip > 0 {
			t.sums = append(t.sums, make([]float32, len(p.Data)))
		}
	}
	t.slices = make([][][]float32, m.Threads())
	for i := range t.slices {
		t.slices[i] = make([][]float32, len(t.states))
	}
	t.update = t.updateRange
	return t, nil
}

// checkParams checks what a learner promises of its parameters.
func checkParams(params []*Param) error {
	if len(params) == 0 || len(params) > MaxParams {
		return fmt.Errorf("%d parameter tensors, want 1 to %d", len(params), MaxParams)
	}
	seen := map[string]bool{}
	for _, p := range params {
		n := 1
		for _, d := range p.Shape {
			if d < 1 || n > math.MaxInt/d {
				return fmt.Errorf("parameter %q: shape %v, want positive dimensions", p.Name, p.Shape)
			}
			n *= d
		}
		switch {
		case p.Name == "" || len(p.Name) > MaxNameLen || strings.HasPrefix(p.Name, statePrefix):
			return fmt.Errorf("parameter name %q: want 1 to %d bytes that do not begin with %q", p.Name, MaxNameLen, statePrefix)
		case seen[p.Name]:
			return fmt.Errorf("two parameters are named %q", p.Name)
		case len(p.Shape) < 1 || len(p.Shape) > MaxDims:
			return fmt.Errorf("parameter %q: %d dimensions, want 1 to %d", p.Name, len(p.Shape), MaxDims)
		case len(p.Data) != n || len(p.Grad) != n:
			return fmt.Errorf("parameter %q: %d elements and %d of gradient, shape %v has %d", p.Name, len(p.Data), len(p.Grad), p.Shape, n)
		}
		seen[p.Name] = true
	}
	return nil
}

// Config is the complete configuration.
func (t *Trainer) Config() Config { return t.config }

// Done is the number of steps that are behind: the number of the next one.
func (t *Trainer) Done() int { return t.done }

// Indices gives the examples of a step of the run, past or to come.
func (t *Trainer) Indices(step int) []int { return t.order.Step(step, t.config.Batch) }

// Step computes the next step: the mean gradient over the batch's predictions,
// and one update of the parameters. After an error of the data or the learner,
// or ErrDiverged, nothing has changed but gradients, and the step can be tried
// again. After the last step it returns ErrDone.
func (t *Trainer) Step() (StepRecord, error) {
	r := StepRecord{Step: t.done}
	switch {
	case t.broken != nil:
		return r, fmt.Errorf("the parameters are partly those of a checkpoint that could not be read: %w", t.broken)
	case t.done >= t.config.Steps:
		return r, ErrDone
	}
	targets, err := t.read()
	if err != nil {
		return r, fmt.Errorf("step %d: %w", t.done, err)
	}
	if t.config.ExampleClip > 0 {
		r.Loss, err = t.clipped()
	} else {
		r.Loss, err = t.gradient(float32(1 / float64(targets)))
	}
	if err != nil {
		return r, fmt.Errorf("step %d: %w", t.done, err)
	}
	if r.Loss.Count != targets {
		return r, fmt.Errorf("step %d: the learner counts %d predictions, the examples have %d", t.done, r.Loss.Count, targets)
	}
	norm := GradNorm(t.machine, t.params)
	r.GradNorm = float32(norm)
	r.LearningRate = t.config.Rate(t.done)
	if !finite(r.Loss.Sum) || !finite(float64(r.GradNorm)) {
		return r, fmt.Errorf("step %d: loss %v, norm of the gradient %v: %w: lower the learning rate or clip the gradient", t.done, r.Loss.Mean(), r.GradNorm, ErrDiverged)
	}
	t.apply(r.LearningRate, clipFactor(norm, t.config.Clip))
	t.done++
	return r, nil
}

// read fetches the examples of the next step and counts their targets.
func (t *Trainer) read() (targets int, err error) {
	for i := range t.batch {
		p := uint64(t.done)*uint64(t.config.Batch) + uint64(i)
		index := t.order.Index(p)
		e, err := t.data.Example(index)
		if err != nil {
			return 0, fmt.Errorf("example %d: %w", index, err)
		}
		t.draws.Reset(t.config.Seed, "draw", p)
		e.Draw = t.draws.Uint64()
		t.batch[i] = e
		targets += e.Targets()
	}
	if targets == 0 {
		return 0, errors.New("no example of the batch has a target that counts")
	}
	return targets, nil
}

// gradient sets the gradients to the sum over the batch, times scale.
func (t *Trainer) gradient(scale float32) (Loss, error) {
	zeroGrads(t.params)
	var sum Loss
	for micro := range slices.Chunk(t.batch, t.config.MicroBatch) {
		loss, err := t.learner.Accumulate(micro, scale)
		if err != nil {
			return sum, err
		}
		sum.Add(loss)
	}
	return sum, nil
}

// clipped sets the gradients to the mean over the batch of the examples'
// gradients, each of the mean loss of its targets and clipped.
func (t *Trainer) clipped() (Loss, error) {
	for _, s := range t.sums {
		clear(s)
	}
	var sum Loss
	for i := range t.batch {
		n := t.batch[i].Targets()
		if n == 0 {
			continue
		}
		loss, norm, err := ExampleGradient(t.machine, t.learner, t.batch[i:i+1], float32(1/float64(n)))
		if err != nil {
			return sum, err
		}
		sum.Add(loss)
		f := float32(float64(clipFactor(norm, t.config.ExampleClip)) / float64(t.config.Batch))
		for k, p := range t.params {
			t.machine.AddScaled(t.sums[k], f, p.Grad)
		}
	}
	for k, p := range t.params {
		copy(p.Grad, t.sums[k])
	}
	return sum, nil
}

// ExampleGradient sets the gradients of l's parameters to that of the examples
// alone, one as a rule, times scale, and returns its norm over all parameters.
// The examples' Draw is the caller's to set.
func ExampleGradient(m *tensor.Machine, l Learner, examples []Example, scale float32) (Loss, float64, error) {
	params := l.Params()
	zeroGrads(params)
	loss, err := l.Accumulate(examples, scale)
	if err != nil {
		return loss, 0, err
	}
	return loss, GradNorm(m, params), nil
}

func zeroGrads(params []*Param) {
	for _, p := range params {
		clear(p.Grad)
	}
}

// GradNorm is the Euclidean norm of the gradient over all parameters: the root
// of the sum, in float64 and in order, of tensor.Machine.SumSquares of each.
func GradNorm(m *tensor.Machine, params []*Param) float64 {
	sum := 0.0
	for _, p := range params {
		sum += m.SumSquares(p.Grad)
	}
	return math.Sqrt(sum)
}

// clipFactor is what brings a norm down to a bound; 1 where there is no bound or
// the norm is below it.
func clipFactor(norm float64, bound float32) float32 {
	if bound == 0 || !(norm > float64(bound)) {
		return 1
	}
	return float32(float64(bound) / norm)
}

// apply updates every parameter by its gradient, times scale.
func (t *Trainer) apply(rate, scale float32) {
	t.optimizer.begin(t.done, rate)
	for i, p := range t.params {
		t.job.param, t.job.scale = i, scale
		t.machine.For(len(p.Data), grain, t.update)
	}
}

// updateRange updates elements from to to-1 of the job's parameter.
func (t *Trainer) updateRange(worker, from, to int) {
	p := t.params[t.job.param]
	views := t.slices[worker]
	for k, s := range t.state[t.job.param] {
		views[k] = s[from:to]
	}
	t.optimizer.update(p.Data[from:to], p.Grad[from:to], views, t.job.scale, !p.NoDecay)
}
