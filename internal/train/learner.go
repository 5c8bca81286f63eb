package train

import (
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/kernel"
)

// Limits of what is trained.
const (
	// MaxParams bounds the number of parameter tensors.
	MaxParams = 1 << 16
	// MaxNameLen bounds the name of a parameter in bytes: a checkpoint puts a
	// prefix before it and gguf writes names of up to 63 bytes.
	MaxNameLen = 63 - len(statePrefix) - 2
	// MaxDims is the largest number of dimensions of a parameter, that of GGUF.
	MaxDims = 4
)

// Param is one trainable tensor. Data and Grad have the product of Shape
// elements, in row-major order: the last dimension varies fastest.
type Param struct {
	Name  string
	Shape []int // outermost dimension first, as in NumPy; 1 to MaxDims of them, all positive
	Data  []float32
	Grad  []float32
	// NoDecay leaves the tensor out of weight decay: biases and the weights of
	// norms.
	NoDecay bool
}

// NewParam returns a parameter of zeros with room for its gradient.
func NewParam(name string, shape ...int) *Param {
	n := 1
	for _, d := range shape {
		n *= d
	}
	return &Param{Name: name, Shape: shape, Data: make([]float32, n), Grad: make([]float32, n)}
}

// Example is one training example in a form that its learner knows. Readers
// give examples canonical bytes, so that they can be committed to.
type Example struct {
	Tokens []int32 // language models: each token but the last predicts the next
	// Mask says which of the targets Tokens[1:] count, len(Tokens)-1 entries;
	// nil: all.
	Mask   []bool
	Input  []float32 // nets: the input in the net's layout
	Label  int32     // nets that classify
	Target []float32 // nets that do regression
	// Draw is a random number for this use of the example, the key of dropout
	// and the like. [Trainer.Step] sets it; readers leave it 0.
	Draw uint64
}

// Targets is the number of predictions that the example trains: the tokens that
// count, or 1 for the example of a net.
func (e *Example) Targets() int {
	if e.Tokens == nil {
		return 1
	}
	if e.Mask == nil {
		return max(0, len(e.Tokens)-1)
	}
	n := 0
	for _, m := range e.Mask {
		if m {
			n++
		}
	}
	return n
}

// Learner is what is trained. All its methods are called from one goroutine.
type Learner interface {
	// Params gives the parameters: always the same ones in the same order, with
	// unique names.
	Params() []*Param
	// Accumulate adds the gradient of the sum of the losses of the examples,
	// times scale, to Grad of every parameter, and returns the sum of the
	// losses. Its Count is the sum of [Example.Targets]. The result depends on
	// the parameters and the arguments alone. It keeps no slice of the examples.
	Accumulate(examples []Example, scale float32) (Loss, error)
	// Evaluate returns the sum of the losses as they are without dropout, and
	// computes no gradient.
	Evaluate(examples []Example) (Loss, error)
}

// Loss is a sum of losses.
type Loss struct {
	Sum     float64 // in nats for a cross-entropy
	Count   int     // of predictions: tokens, or examples
	Correct int     // of them, those whose likeliest class was right; 0 for a regression
}

// Add adds another sum to l.
func (l *Loss) Add(o Loss) {
	l.Sum += o.Sum
	l.Count += o.Count
	l.Correct += o.Correct
}

// Mean is the loss of a prediction; 0 if there was none.
func (l Loss) Mean() float64 {
	if l.Count == 0 {
		return 0
	}
	return l.Sum / float64(l.Count)
}

// Accuracy is the share of right predictions, 0 to 1.
func (l Loss) Accuracy() float64 {
	if l.Count == 0 {
		return 0
	}
	return float64(l.Correct) / float64(l.Count)
}

// maxMean bounds the mean loss of which Perplexity takes the exponential.
const maxMean = 600

// Perplexity is e to the power of the mean loss.
func (l Loss) Perplexity() float64 {
	return kernel.Pow(2.718281828459045, min(l.Mean(), maxMean))
}

// Data is a list of examples that can be read in any order.
type Data interface {
	Len() int
	// Example gives example i of [0, Len), always the same one. What it holds
	// stays valid until the batch that it was read for is computed.
	Example(i int) (Example, error)
}

// List is Data in memory.
type List []Example

// Len is the number of examples.
func (l List) Len() int { return len(l) }

// Example gives example i.
func (l List) Example(i int) (Example, error) { return l[i], nil }

// Evaluate computes the loss of l over all of d, in the order of d, batch
// examples at a time. The sum of the losses can differ in its last bits for
// another batch; Count and Correct cannot.
func Evaluate(l Learner, d Data, batch int) (Loss, error) {
	if batch < 1 {
		return Loss{}, errors.New("a batch has at least one example")
	}
	var sum Loss
	examples := make([]Example, 0, batch)
	for from := 0; from < d.Len(); from += batch {
		examples = examples[:0]
		for i := from; i < min(from+batch, d.Len()); i++ {
			e, err := d.Example(i)
			if err != nil {
				return sum, fmt.Errorf("example %d: %w", i, err)
			}
			examples = append(examples, e)
		}
		loss, err := l.Evaluate(examples)
		if err != nil {
			return sum, fmt.Errorf("evaluating examples %d to %d: %w", from, from+len(examples)-1, err)
		}
		sum.Add(loss)
	}
	return sum, nil
}
