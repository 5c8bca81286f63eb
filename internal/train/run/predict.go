package run

import (
	"context"
	"fmt"
	"os"
	"slices"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train/net"
)

// Predictor is the net of a run of kind [Classifier], ready for use.
type Predictor struct {
	// Classes are the names of the outputs; nil if the net predicts numbers.
	Classes []string
	// Columns are the names of the inputs, if they have any.
	Columns []string

	net     *net.Net
	machine *tensor.Machine
	scaling dataset.Scaling
}

// Prediction is what a net says about one input.
type Prediction struct {
	Class       string    `json:"class,omitempty"`       // the likeliest
	Probability float32   `json:"probability,omitempty"` // of it, as the net has it
	Outputs     []float32 `json:"outputs,omitempty"`     // probabilities of all classes, or predicted numbers
}

// OpenPredictor reads a net. Close it after use. Of the options Events are not
// used.
func OpenPredictor(path string, o Options) (*Predictor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	k, err := kernel.Named(o.Kernel)
	if err != nil {
		return nil, err
	}
	p := &Predictor{machine: tensor.New(threads(o.Threads), k)}
	if p.net, err = net.Read(p.machine, f, info.Size()); err == nil {
		err = p.readMeta(f, info.Size())
	}
	if err != nil {
		p.machine.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// readMeta reads what the net's file says about its data.
func (p *Predictor) readMeta(f *os.File, size int64) error {
	g, err := gguf.Parse(f, size)
	if err != nil {
		return err
	}
	p.Classes, _ = g.Strings(keyClasses)
	p.Columns, _ = g.Strings(keyColumns)
	p.scaling.Mean, _ = g.Floats(keyMean)
	p.scaling.Deviation, _ = g.Floats(keyDeviation)
	inputs := p.net.Spec().Input.Elements()
	n := len(p.scaling.Mean)
	switch {
	case len(p.scaling.Deviation) != n || n > 1 && n != inputs:
		return fmt.Errorf("%w: %d means and %d deviations for %d inputs", net.ErrFile, n, len(p.scaling.Deviation), inputs)
	case p.Classes != nil && len(p.Classes) != p.net.Outputs():
		return fmt.Errorf("%w: %d classes for %d outputs", net.ErrFile, len(p.Classes), p.net.Outputs())
	case p.Columns != nil && len(p.Columns) != inputs:
		return fmt.Errorf("%w: %d columns for %d inputs", net.ErrFile, len(p.Columns), inputs)
	}
	return nil
}

// Close ends the threads.
func (p *Predictor) Close() { p.machine.Close() }

// Predict reads a CSV or NPY file of inputs and says what the net makes of each.
// Columns are found by their names, where both have names.
func (p *Predictor) Predict(ctx context.Context, path string) ([]Prediction, error) {
	var (
		s   *dataset.Set
		err error
	)
	inputs := p.net.Spec().Input.Elements()
	if isNPY(path) {
		s, err = dataset.ReadInputs(path)
	} else {
		names := p.Columns
		if names == nil {
			names = make([]string, inputs) // so many, without names
		}
		s, err = dataset.ReadCSV(ctx, []string{path}, dataset.CSVOptions{Inputs: names, Unlabelled: true})
	}
	if err != nil {
		return nil, err
	}
	if s.Len() > 0 && len(s.Examples[0].Input) != inputs {
		return nil, fmt.Errorf("%w: %s has %d numbers to an input, the net takes %d", dataset.ErrData, path, len(s.Examples[0].Input), inputs)
	}
	p.scaling.Apply(s)
	n := p.net.Outputs()
	var list []Prediction
	for at := 0; at < s.Len(); at += evaluationBatch {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		batch := s.Examples[at:min(at+evaluationBatch, s.Len())]
		out := make([]float32, n*len(batch))
		if err := p.net.Forward(out, batch); err != nil {
			return nil, err
		}
		for i := range batch {
			one := out[i*n : (i+1)*n]
			if slices.ContainsFunc(one, notFinite) {
				return nil, fmt.Errorf("%w: the net gives no finite number for input %d of %s; are its numbers as large as those that it was trained on?", dataset.ErrData, at+i+1, path)
			}
			list = append(list, p.prediction(one))
		}
	}
	return list, nil
}

func notFinite(v float32) bool { return v-v != 0 }

func (p *Predictor) prediction(out []float32) Prediction {
	if p.Classes == nil {
		return Prediction{Outputs: out}
	}
	best := 0
	for i, v := range out {
		if v > out[best] {
			best = i
		}
	}
	largest, sum := out[best], float32(0)
	for i, v := range out {
		out[i] = kernel.Exp(v - largest)
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return Prediction{Class: p.Classes[best], Probability: out[best], Outputs: out}
}
