package training

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
	"strings"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// Setup says what was trained and how files became examples. The descriptions
// are those of the program that trains; equal ones mean the same run.
type Setup struct {
	// Learner describes what is trained, besides the base model's file: an
	// architecture, or the rank and the targets of updates; the tokenizer.
	Learner []byte `cbor:"1,keyasint"`
	// Data describes how files became examples: the form, the template, the
	// length, the rule that splits off validation examples.
	Data []byte `cbor:"2,keyasint"`
	// Seed is that of the random numbers that the run began with.
	Seed uint64 `cbor:"3,keyasint"`
}

func (s *Setup) validate() error {
	if len(s.Learner) == 0 || len(s.Learner) > MaxSetup || len(s.Data) == 0 || len(s.Data) > MaxSetup {
		return errorf(CheckSetup, "descriptions of %d and %d bytes, want 1 to %d each", len(s.Learner), len(s.Data), MaxSetup)
	}
	return nil
}

// Config is what determines a run besides the setup, the data and the starting
// parameters. Its encoding is that of spec/training.md, and its meaning is
// defined there.
type Config struct {
	Seed            uint64  `cbor:"1,keyasint,omitempty" json:"seed,string"`
	Steps           int     `cbor:"2,keyasint" json:"steps"`
	Batch           int     `cbor:"3,keyasint" json:"batch"`
	MicroBatch      int     `cbor:"4,keyasint" json:"micro_batch"`
	Optimizer       string  `cbor:"5,keyasint" json:"optimizer"`
	LearningRate    float32 `cbor:"6,keyasint" json:"learning_rate"`
	MinLearningRate float32 `cbor:"7,keyasint,omitempty" json:"min_learning_rate,omitempty"`
	Schedule        string  `cbor:"8,keyasint" json:"schedule"`
	Warmup          int     `cbor:"9,keyasint,omitempty" json:"warmup,omitempty"`
	Beta1           float32 `cbor:"10,keyasint,omitempty" json:"beta1,omitempty"`
	Beta2           float32 `cbor:"11,keyasint,omitempty" json:"beta2,omitempty"`
	Epsilon         float32 `cbor:"12,keyasint,omitempty" json:"epsilon,omitempty"`
	Momentum        float32 `cbor:"13,keyasint,omitempty" json:"momentum,omitempty"`
	WeightDecay     float32 `cbor:"14,keyasint,omitempty" json:"weight_decay,omitempty"`
	Clip            float32 `cbor:"15,keyasint,omitempty" json:"clip,omitempty"`
	ExampleClip     float32 `cbor:"16,keyasint,omitempty" json:"example_clip,omitempty"`
	CheckpointEvery int     `cbor:"17,keyasint,omitempty" json:"checkpoint_every,omitempty"`
}

// ParseConfig reads the encoding of a configuration. It checks what the receipt
// needs of it; internal/train checks the rest.
func ParseConfig(b []byte) (Config, error) {
	var c Config
	if len(b) > MaxConfig {
		return c, errorf(CheckConfig, "%d bytes, want at most %d", len(b), MaxConfig)
	}
	if err := canon.Unmarshal(b, &c); err != nil {
		return c, &receipt.Error{Check: CheckConfig, Detail: "the encoding", Err: err}
	}
	if c.Steps < 1 || c.Steps > MaxSteps || c.Batch < 1 || c.Batch > maxBatch || c.CheckpointEvery < 0 || c.CheckpointEvery > MaxSteps {
		return c, errorf(CheckConfig, "%d steps of %d examples, a checkpoint every %d steps: out of range", c.Steps, c.Batch, c.CheckpointEvery)
	}
	return c, nil
}

// Checkpoints lists the steps after which a receipt of a run of so many steps
// has checkpoints: the start, as the configuration says, the result, the end.
func (c *Config) Checkpoints(steps, result int) []int {
	every := c.CheckpointEvery
	if every == 0 {
		every = steps
	}
	var out []int
	add := func(s int) {
		if n := len(out); n == 0 || out[n-1] < s {
			out = append(out, s)
		}
	}
	for s := 0; s < steps; s += every {
		if n := len(out); n > 0 && out[n-1] < result && result < s {
			add(result)
		}
		add(s)
	}
	if result > out[len(out)-1] {
		add(result)
	}
	add(steps)
	return out
}

// NonceSeed is the seed that a nonce leaves no choice of: that of the
// configuration and of the setup.
func NonceSeed(nonce []byte) uint64 {
	h := canon.Sum("aval training seed/1", nonce)
	return binary.LittleEndian.Uint64(h[:8])
}

// differ names the fields in which two configurations differ.
func (c Config) differ(want Config) string {
	var out []string
	g, w := reflect.ValueOf(c), reflect.ValueOf(want)
	for i := range g.NumField() {
		if a, b := g.Field(i).Interface(), w.Field(i).Interface(); a != b {
			name, _, _ := strings.Cut(g.Type().Field(i).Tag.Get("json"), ",")
			out = append(out, fmt.Sprintf("%s is %v, expected %v", name, a, b))
		}
	}
	return strings.Join(out, "; ")
}

// finite reports whether float bits are those of a number.
func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
