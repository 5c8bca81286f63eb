// Package eeg holds two small classifiers of the electroencephalogram that are
// built into the program: [P300] tells whether a flash was the rare one that a
// person waited for, [N170] which of two kinds of pictures, faces or houses,
// the person saw. The model card, MODEL_CARD.md, says how well, which is far from
// well enough to decide anything about a person, and what else they are not.
//
// Call [Open] with a name. [Tasks] are the recipes by which models/eeg/train
// made the files.
package eeg

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"

	"github.com/avalnetwork/aval/internal/eeg/decode"
	"github.com/avalnetwork/aval/internal/eeg/signal"
	"github.com/avalnetwork/aval/internal/tensor"
)

// The names of the classifiers. With Int8 after it, the name is that of the
// same one with int8 weights.
const (
	P300 = "p300"
	N170 = "n170"
	Int8 = "-int8"
)

//go:embed *.gguf tasks.json
var files embed.FS

// Task is a classifier to train: from which events, cut how, with what.
type Task struct {
	Name    string         `json:"name"`
	Events  [2]string      `json:"events"`  // labels of the events of class 0 and 1
	Classes [2]string      `json:"classes"` // the same in words
	Recipe  signal.Recipe  `json:"recipe"`
	Options decode.Options `json:"options"`
}

// Open returns a built-in classifier. m computes; it is the caller's to close.
func Open(m *tensor.Machine, name string) (*decode.Classifier, error) {
	data, err := files.ReadFile(name + ".gguf")
	if err != nil {
		return nil, fmt.Errorf("no built-in EEG classifier %q: there are %s and %s, and both with %q after it", name, P300, N170, Int8)
	}
	return decode.Read(m, bytes.NewReader(data), int64(len(data)))
}

// Tasks returns the recipes of the built-in classifiers.
func Tasks() ([]Task, error) {
	data, err := files.ReadFile("tasks.json")
	if err != nil {
		return nil, err
	}
	var list []Task
	if err := json.Unmarshal(data, &list); err != nil {
		return nil, fmt.Errorf("tasks.json: %w", err)
	}
	return list, nil
}
