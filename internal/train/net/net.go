package net

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
)

// chunk is how many examples are computed at once where their number is the
// caller's choice and changes no bit.
const chunk = 64

// Net is a net with its weights. It is for one goroutine.
type Net struct {
	// Meta is what else its file says: it is written by Write and read by Read.
	Meta []KeyValue

	spec    *Spec
	machine *tensor.Machine
	shapes  []Shape // before each layer, and after the last
	layers  []layer
	params  []*train.Param

	pass  pass
	acts  [][]float32 // acts[i]: what layer i takes, [example][element]; the last: the outputs
	grads [2][]float32
	loss  []float32 // of each example
	label []int32
	goal  []float32 // targets of a regression
}

// pass is what all layers need to know of the batch.
type pass struct {
	machine  *tensor.Machine
	n        int      // examples
	training bool     // whether dropout drops
	draws    []uint64 // of each example
}

// layer is one layer of a net. It keeps what its backward pass needs of the last
// forward pass.
type layer interface {
	// params lists the weights.
	params() []*train.Param
	// init gives the weights their random values.
	init(seed uint64)
	// grow makes room for n examples.
	grow(n int)
	// forward sets y to the outputs for x.
	forward(p *pass, y, x []float32)
	// backward adds the gradients of the weights, and sets dx to that of x,
	// unless dx is nil. It may overwrite dy.
	backward(p *pass, dx, dy, x []float32)
}

// New returns a net with random weights, a function of seed (spec/training.md).
// m computes; it is the caller's to close.
func New(m *tensor.Machine, s *Spec, seed uint64) (*Net, error) {
	n, err := build(m, s)
	if err != nil {
		return nil, err
	}
	for _, l := range n.layers {
		l.init(seed)
	}
	return n, nil
}

// build returns a net whose weights are zero.
func build(m *tensor.Machine, s *Spec) (*Net, error) {
	shapes, err := s.Shapes()
	if err != nil {
		return nil, err
	}
	n := &Net{spec: s, machine: m, shapes: shapes}
	for i := range s.Layers {
		l := makeLayer(m, &s.Layers[i], i, shapes[i], shapes[i+1])
		n.layers = append(n.layers, l)
		n.params = append(n.params, l.params()...)
	}
	n.acts = make([][]float32, len(shapes))
	return n, nil
}

func makeLayer(m *tensor.Machine, l *Layer, index int, in, out Shape) layer {
	switch l.Kind {
	case Dense:
		return newDense(l, index, in.Elements())
	case Conv:
		return newConv(m, l, index, in, out)
	case MaxPool, AvgPool:
		return newPool(l, in, out)
	case GroupNorm, RMSNorm:
		return newNorm(l, index, in)
	case Dropout:
		return newDropout(l, index, in.Elements())
	}
	return &activation{f: activations[l.Kind]}
}

// Spec is the description of the net; it must not be changed.
func (n *Net) Spec() *Spec { return n.spec }

// Params are the weights, layer after layer: layers.I.weight, layers.I.bias.
func (n *Net) Params() []*train.Param { return n.params }

// Outputs is the number of outputs for an example.
func (n *Net) Outputs() int { return n.shapes[len(n.shapes)-1].Elements() }

// Size is the number of weights.
func (n *Net) Size() int {
	size := 0
	for _, p := range n.params {
		size += len(p.Data)
	}
	return size
}

// grow makes room for a batch.
func (n *Net) grow(size int) {
	if size <= len(n.loss) {
		return
	}
	largest := 0
	for i, s := range n.shapes {
		n.acts[i] = make([]float32, size*s.Elements())
		largest = max(largest, s.Elements())
	}
	for i := range n.grads {
		n.grads[i] = make([]float32, size*largest)
	}
	n.loss = make([]float32, size)
	n.label = make([]int32, size)
	n.goal = make([]float32, size*n.Outputs())
	n.pass.draws = make([]uint64, size)
	for _, l := range n.layers {
		l.grow(size)
	}
}

// load takes a batch in: inputs, and labels or targets if the loss is wanted.
func (n *Net) load(examples []train.Example, training, goals bool) error {
	n.grow(len(examples))
	n.pass.machine, n.pass.n, n.pass.training = n.machine, len(examples), training
	in, out := n.spec.Input.Elements(), n.Outputs()
	for i := range examples {
		e := &examples[i]
		if len(e.Input) != in {
			return fmt.Errorf("example of %d numbers, the net takes %d (%v)", len(e.Input), in, n.spec.Input)
		}
		copy(n.acts[0][i*in:], e.Input)
		n.pass.draws[i] = e.Draw
		switch {
		case !goals:
		case n.spec.Loss == CrossEntropy:
			if e.Label < 0 || int(e.Label) >= out {
				return fmt.Errorf("example of class %d, the net has classes 0 to %d", e.Label, out-1)
			}
			n.label[i] = e.Label
		default:
			if len(e.Target) != out {
				return fmt.Errorf("example with a target of %d numbers, the net has %d outputs", len(e.Target), out)
			}
			copy(n.goal[i*out:], e.Target)
		}
	}
	return nil
}

// forward computes the batch that was loaded and returns the outputs.
func (n *Net) forward() []float32 {
	for i, l := range n.layers {
		l.forward(&n.pass, n.at(i+1), n.at(i))
	}
	return n.at(len(n.layers))
}

// at is what layer i takes, for the examples of the batch.
func (n *Net) at(i int) []float32 { return n.acts[i][:n.pass.n*n.shapes[i].Elements()] }

// losses sets the loss of every example and, unless it is nil, grad to the
// gradient by the outputs, times scale.
func (n *Net) losses(grad, out []float32, scale float32) train.Loss {
	rows, dim := n.pass.n, n.Outputs()
	var sum train.Loss
	if n.spec.Loss == MSE {
		n.machine.SquaredError(n.loss, grad, out, n.goal, rows, dim, scale)
	} else {
		n.machine.SoftmaxCrossEntropy(n.loss, grad, out, n.label, rows, dim, scale)
		n.weigh(grad)
		for i := range rows {
			if tensor.Argmax(out[i*dim:(i+1)*dim]) == int(n.label[i]) {
				sum.Correct++
			}
		}
	}
	for _, l := range n.loss[:rows] {
		sum.Sum += float64(l)
	}
	sum.Count = rows
	return sum
}

// weigh multiplies losses and gradients by the weights of the classes.
func (n *Net) weigh(grad []float32) {
	if len(n.spec.ClassWeights) == 0 {
		return
	}
	dim := n.Outputs()
	for i, label := range n.label[:n.pass.n] {
		w := n.spec.ClassWeights[label]
		n.loss[i] = float32(n.loss[i] * w)
		if grad != nil {
			for j, g := range grad[i*dim : (i+1)*dim] {
				grad[i*dim+j] = float32(g * w)
			}
		}
	}
}

// Accumulate implements train.Learner.
func (n *Net) Accumulate(examples []train.Example, scale float32) (train.Loss, error) {
	if err := n.load(examples, true, true); err != nil {
		return train.Loss{}, err
	}
	out := n.forward()
	dy := n.grads[0][:len(out)]
	sum := n.losses(dy, out, scale)
	for i := len(n.layers) - 1; i >= 0; i-- {
		var dx []float32
		if i > 0 {
			dx = n.grads[1][:len(n.at(i))]
		}
		n.layers[i].backward(&n.pass, dx, dy, n.at(i))
		n.grads[0], n.grads[1] = n.grads[1], n.grads[0]
		dy = dx
	}
	return sum, nil
}

// Evaluate implements train.Learner. The sum of the losses is that of the
// examples one after the other: it does not depend on how they are cut.
func (n *Net) Evaluate(examples []train.Example) (train.Loss, error) {
	var sum train.Loss
	for from := 0; from < len(examples); from += chunk {
		if err := n.load(examples[from:min(from+chunk, len(examples))], false, true); err != nil {
			return sum, err
		}
		part := n.losses(nil, n.forward(), 1)
		sum.Count += part.Count
		sum.Correct += part.Correct
		for _, l := range n.loss[:n.pass.n] {
			sum.Sum += float64(l)
		}
	}
	return sum, nil
}

// Forward sets out to the outputs for the examples, Outputs numbers each: of a
// classifier the logits.
func (n *Net) Forward(out []float32, examples []train.Example) error {
	dim := n.Outputs()
	if len(out) != len(examples)*dim {
		return fmt.Errorf("room for %d outputs, %d examples have %d", len(out), len(examples), len(examples)*dim)
	}
	for from := 0; from < len(examples); from += chunk {
		if err := n.load(examples[from:min(from+chunk, len(examples))], false, false); err != nil {
			return err
		}
		copy(out[from*dim:], n.forward())
	}
	return nil
}
