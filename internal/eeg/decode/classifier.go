package decode

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/eeg"
	"github.com/avalnetwork/aval/internal/eeg/signal"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train/net"
)

// ErrFile says that a file is not that of a classifier.
var ErrFile = errors.New("not the file of an EEG classifier")

// The keys that a classifier's file has besides those of its net.
const (
	keyName    = "general.name"
	keyRecipe  = "aval.eeg.recipe"
	keyEvents  = "aval.eeg.events"
	keyClasses = "aval.eeg.classes"
)

// maxRecipe bounds the JSON of a recipe.
const maxRecipe = 1 << 16

// Classifier is a net with what it needs to be used: how a recording becomes
// its input, and what its two outputs stand for.
type Classifier struct {
	Name    string
	Recipe  signal.Recipe
	Events  [2]string // labels of the events of class 0 and 1 in the recordings it was trained on
	Classes [2]string // the same in words, such as "frequent", "rare"
	Net     *net.Net  // nil where Int8 is not
	Int8    *net.Int8
}

// Scores returns, for each epoch, by how much the second output exceeds the
// first: the higher, the likelier is class 1. Scores order epochs; the
// probability of a class depends on how frequent it is.
func (c *Classifier) Scores(e *signal.Epochs) ([]float64, error) {
	list, _, err := examples([]*signal.Epochs{e})
	if err != nil {
		return nil, err
	}
	if c.Int8 != nil {
		return netScores(c.Int8, list)
	}
	return netScores(c.Net, list)
}

// Epochs cuts the epochs around the two events out of a recording.
func (c *Classifier) Epochs(rec *eeg.Recording) (*signal.Epochs, error) {
	return c.Recipe.Epochs(rec, map[string]int32{c.Events[0]: 0, c.Events[1]: 1})
}

// Quantize returns the classifier with int8 weights; the epochs show the range
// of what its layers take.
func (c *Classifier) Quantize(sets ...*signal.Epochs) (*Classifier, error) {
	list, _, err := examples(sets)
	if err != nil {
		return nil, err
	}
	if c.Net.Meta, err = c.meta(); err != nil { // an int8 net keeps those of the net that it is made of
		return nil, err
	}
	small := *c
	small.Net = nil
	if small.Int8, err = net.Quantize(c.Net, list); err != nil {
		return nil, err
	}
	return &small, nil
}

// Write writes a GGUF file: that of the net, with the recipe and the names of
// the classes among its metadata.
func (c *Classifier) Write(w io.Writer) error {
	if c.Int8 != nil {
		return c.Int8.Write(w)
	}
	var err error
	if c.Net.Meta, err = c.meta(); err != nil {
		return err
	}
	return c.Net.Write(w)
}

func (c *Classifier) meta() ([]net.KeyValue, error) {
	recipe, err := json.Marshal(c.Recipe)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return []net.KeyValue{
		{Key: keyName, Value: gguf.ValueOf(c.Name)},
		{Key: keyRecipe, Value: gguf.ValueOf(string(recipe))},
		{Key: keyEvents, Value: gguf.ArrayOf(c.Events[:])},
		{Key: keyClasses, Value: gguf.ArrayOf(c.Classes[:])},
	}, nil
}

// Read reads a classifier of the given size that Write wrote, of either kind.
// m computes; it is the caller's to close.
func Read(m *tensor.Machine, r io.ReaderAt, size int64) (*Classifier, error) {
	c := &Classifier{}
	var err error
	var meta []net.KeyValue
	var spec *net.Spec
	if c.Net, err = net.Read(m, r, size); err == nil {
		meta, spec = c.Net.Meta, c.Net.Spec()
	} else {
		var e error
		if c.Int8, e = net.ReadInt8(m, r, size); e != nil {
			return nil, fmt.Errorf("%w: %w", ErrFile, errors.Join(err, e))
		}
		meta, spec = c.Int8.Meta(), c.Int8.Spec()
	}
	values := map[string]gguf.Value{}
	for _, kv := range meta {
		values[kv.Key] = kv.Value
	}
	c.Name, _ = values[keyName].Text()
	recipe, _ := values[keyRecipe].Text()
	if len(recipe) > maxRecipe {
		return nil, fmt.Errorf("%w: a recipe of %d bytes", ErrFile, len(recipe))
	}
	if err := json.Unmarshal([]byte(recipe), &c.Recipe); err != nil {
		return nil, fmt.Errorf("%w: its recipe: %w", ErrFile, err)
	}
	for key, to := range map[string]*[2]string{keyEvents: &c.Events, keyClasses: &c.Classes} {
		list, _ := values[key].Strings()
		if len(list) != 2 {
			return nil, fmt.Errorf("%w: %s has %d names, want 2", ErrFile, key, len(list))
		}
		copy(to[:], list)
	}
	if in := (net.Shape{Channels: 1, Height: len(c.Recipe.Channels), Width: c.Recipe.Samples()}); spec.Input != in {
		return nil, fmt.Errorf("%w: its net takes %v, its recipe gives %v", ErrFile, spec.Input, in)
	}
	return c, nil
}
