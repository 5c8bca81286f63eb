package run

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train/net"
)

// The keys by which a net's file says what its inputs and outputs are.
const (
	keyClasses   = "aval.data.classes"   // names, in the order of the outputs
	keyColumns   = "aval.data.columns"   // names, in the order of the inputs
	keyShape     = "aval.data.shape"     // of an input, outermost dimension first
	keyMean      = "aval.data.mean"      // an input x is (x - mean) / deviation,
	keyDeviation = "aval.data.deviation" // element by element, or one number for all
)

// activations are those that hidden layers may have.
var activations = []string{net.ReLU, net.ELU, net.GELU, net.SiLU, net.Tanh}

// newNet prepares a run that trains a small net on numbers.
func newNet(ctx context.Context, c *Config, o Options) (*task, error) {
	all, err := c.readNumbers(ctx, c.Data, nil)
	if err != nil {
		return nil, err
	}
	var other *dataset.Set
	if len(c.ValidationData) > 0 {
		if other, err = c.readNumbers(ctx, c.ValidationData, all.Classes); err != nil {
			return nil, err
		}
		if !slices.Equal(other.Shape, all.Shape) {
			return nil, fmt.Errorf("%w: the validation data has inputs of shape %v, the data %v", dataset.ErrData, other.Shape, all.Shape)
		}
	}
	t := &task{unit: "nats per example", result: Classifier.result()}
	if c.Regression {
		t.unit = "mean square"
	}
	if err := t.split(c, all, other); err != nil {
		return nil, err
	}
	if note := labelNote(c, all); note != "" {
		t.notes = append(t.notes, note)
	}
	if len(all.Classes) == 1 {
		return nil, fmt.Errorf("%w: all examples have the label %q", dataset.ErrData, all.Classes[0])
	}
	var scaling dataset.Scaling
	if !c.Raw {
		scaling = t.data.Fit(isNPY(c.Data[0]))
		scaling.Apply(t.data)
		scaling.Apply(t.validation)
	}
	spec, err := c.spec(all)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	k, err := kernel.Named(o.Kernel)
	if err != nil {
		return nil, err
	}
	t.machine = tensor.New(threads(o.Threads), k)
	n, err := net.New(t.machine, spec, c.Seed)
	if err != nil {
		t.machine.Close()
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	n.Meta = meta(all, scaling)
	t.learner, t.parameters, t.close = n, n.Size(), t.machine.Close
	t.export = func(path string) error {
		return store.WriteFile(store.OS{}, path, permFile, func(w io.Writer) error { return n.Write(w) })
	}
	return t, nil
}

// labelNote says which column was taken for the label, as it may have been the
// wrong one, and when it looks like a number that is to be predicted: with more
// than 20 classes that are numbers, and fewer than four examples of each.
func labelNote(c *Config, s *dataset.Set) string {
	switch {
	case s.Label == "":
		return ""
	case c.Regression:
		return fmt.Sprintf("the number to predict is column %s", s.Label)
	}
	note := fmt.Sprintf("the label is column %s, with %d classes", s.Label, len(s.Classes))
	if len(s.Classes) <= 20 || len(s.Classes)*4 <= s.Len() {
		return note
	}
	for _, name := range s.Classes {
		if _, err := strconv.ParseFloat(name, 64); err != nil {
			return note
		}
	}
	return note + " that are numbers; if it is to be predicted as a number, use --regression"
}

// readNumbers reads CSV or NPY files.
func (c *Config) readNumbers(ctx context.Context, paths, classes []string) (*dataset.Set, error) {
	if !isNPY(paths[0]) {
		return dataset.ReadCSV(ctx, paths, dataset.CSVOptions{Label: c.Label, Ignore: c.Ignore, Numeric: c.Regression, Classes: classes})
	}
	if len(paths) > 1 {
		return nil, fmt.Errorf("%w: %d NPY files; put them into one", ErrConfig, len(paths))
	}
	return dataset.ReadNPY(paths[0], c.Labels, c.Regression, classes)
}

// meta is what a net's file says about its data.
func meta(s *dataset.Set, scaling dataset.Scaling) []net.KeyValue {
	shape := make([]uint32, len(s.Shape))
	for i, d := range s.Shape {
		shape[i] = uint32(d)
	}
	out := []net.KeyValue{{Key: keyShape, Value: gguf.ArrayOf(shape)}}
	if s.Classes != nil {
		out = append(out, net.KeyValue{Key: keyClasses, Value: gguf.ArrayOf(s.Classes)})
	}
	if s.Columns != nil {
		out = append(out, net.KeyValue{Key: keyColumns, Value: gguf.ArrayOf(s.Columns)})
	}
	if scaling.Mean != nil {
		out = append(out,
			net.KeyValue{Key: keyMean, Value: gguf.ArrayOf(scaling.Mean)},
			net.KeyValue{Key: keyDeviation, Value: gguf.ArrayOf(scaling.Deviation)})
	}
	return out
}

// checkNet checks what can be checked without the data.
func (c *Config) checkNet() error {
	if c.Net != "" {
		_, err := os.Stat(c.Net)
		return err
	}
	if !slices.Contains(activations, c.Activation) {
		return fmt.Errorf("activation is %q, want one of %s", c.Activation, strings.Join(activations, ", "))
	}
	for _, n := range c.Hidden {
		if n < 1 || n > net.MaxElements {
			return fmt.Errorf("a hidden layer of %d units, want 1 to %d", n, net.MaxElements)
		}
	}
	if !(c.Dropout >= 0 && c.Dropout < 1) {
		return fmt.Errorf("dropout is %v, want 0 to below 1", c.Dropout)
	}
	return nil
}

// spec is the net for a set's inputs and labels.
func (c *Config) spec(s *dataset.Set) (*net.Spec, error) {
	out := &net.Spec{Loss: net.CrossEntropy}
	outputs := len(s.Classes)
	if c.Regression {
		out.Loss, outputs = net.MSE, len(s.Examples[0].Target)
	}
	input, err := netShape(s.Shape)
	if err != nil {
		return nil, err
	}
	if c.Net != "" {
		return c.readSpec(input, out.Loss, outputs)
	}
	out.Input = net.Vector(input.Elements())
	for _, n := range c.Hidden {
		out.Layers = append(out.Layers, net.Layer{Kind: net.Dense, Units: n}, net.Layer{Kind: c.Activation})
		if c.Dropout > 0 {
			out.Layers = append(out.Layers, net.Layer{Kind: net.Dropout, Rate: c.Dropout})
		}
	}
	out.Layers = append(out.Layers, net.Layer{Kind: net.Dense, Units: outputs, Init: net.GlorotUniform})
	return out, out.Validate()
}

// netShape takes an array's shape for channels, height and width.
func netShape(shape []int) (net.Shape, error) {
	switch len(shape) {
	case 1:
		return net.Vector(shape[0]), nil
	case 2:
		return net.Shape{Channels: 1, Height: shape[0], Width: shape[1]}, nil
	case 3:
		return net.Shape{Channels: shape[0], Height: shape[1], Width: shape[2]}, nil
	}
	return net.Shape{}, fmt.Errorf("inputs of shape %v; want [elements], [height, width] or [channels, height, width]", shape)
}

// readSpec reads the file that describes the net. Input and loss may be left
// out.
func (c *Config) readSpec(input net.Shape, loss string, outputs int) (*net.Spec, error) {
	data, err := os.ReadFile(c.Net)
	if err != nil {
		return nil, err
	}
	s := &net.Spec{}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(s); err != nil {
		return nil, fmt.Errorf("%s: %w", c.Net, err)
	}
	if s.Input == (net.Shape{}) {
		s.Input = input
	}
	if s.Loss == "" {
		s.Loss = loss
	}
	shapes, err := s.Shapes()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Net, err)
	}
	last := shapes[len(shapes)-1].Elements()
	switch {
	case s.Input.Elements() != input.Elements():
		return nil, fmt.Errorf("%s: the net takes %d numbers, the data has %d", c.Net, s.Input.Elements(), input.Elements())
	case s.Loss != loss:
		return nil, fmt.Errorf("%s: the loss is %s, the labels need %s", c.Net, s.Loss, loss)
	case last != outputs:
		return nil, fmt.Errorf("%s: the net gives %d numbers, the labels need %d", c.Net, last, outputs)
	}
	return s, nil
}
