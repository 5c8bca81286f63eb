package train

import (
	"errors"
	"fmt"

	"github.com/avalnetwork/aval/internal/canon"
)

// Limits of a configuration.
const (
	MaxSteps     = 1 << 30
	MaxBatch     = 1 << 20
	maxConfigLen = 1 << 10 // bytes of the encoding
)

// The optimisers.
const (
	AdamW = "adamw" // Loshchilov and Hutter 2019: decay apart from the gradient
	SGD   = "sgd"   // with momentum, if any
)

// The schedules of the learning rate after the warm-up.
const (
	Constant = "constant"
	Linear   = "linear" // straight to the minimum
	Cosine   = "cosine" // half a cosine to the minimum
)

// Config is everything that determines a run, besides the data and the starting
// parameters. Its encoding is committed to by training receipts.
type Config struct {
	Seed  uint64 `cbor:"1,keyasint,omitempty" json:"seed"`
	Steps int    `cbor:"2,keyasint" json:"steps"` // optimiser steps of the whole run; schedules end there
	Batch int    `cbor:"3,keyasint" json:"batch"` // examples of a step
	// MicroBatch is how many examples the learner gets at a time; memory grows
	// with it. Another value may change bits. 0: the whole batch.
	MicroBatch int `cbor:"4,keyasint" json:"micro_batch"`

	Optimizer string `cbor:"5,keyasint" json:"optimizer"` // AdamW or SGD
	// LearningRate is the largest rate, reached after Warmup steps that rise in
	// a straight line. The Schedule ("": Constant) lowers it to
	// MinLearningRate at the end of the run.
	LearningRate    float32 `cbor:"6,keyasint" json:"learning_rate"`
	MinLearningRate float32 `cbor:"7,keyasint,omitempty" json:"min_learning_rate,omitempty"`
	Schedule        string  `cbor:"8,keyasint" json:"schedule"`
	Warmup          int     `cbor:"9,keyasint,omitempty" json:"warmup,omitempty"` // steps

	Beta1       float32 `cbor:"10,keyasint,omitempty" json:"beta1,omitempty"`        // AdamW, [0, 1)
	Beta2       float32 `cbor:"11,keyasint,omitempty" json:"beta2,omitempty"`        // AdamW, [0, 1)
	Epsilon     float32 `cbor:"12,keyasint,omitempty" json:"epsilon,omitempty"`      // AdamW, > 0
	Momentum    float32 `cbor:"13,keyasint,omitempty" json:"momentum,omitempty"`     // SGD, [0, 1); 0: none
	WeightDecay float32 `cbor:"14,keyasint,omitempty" json:"weight_decay,omitempty"` // both: w shrinks by rate times this; 0: none
	// Clip bounds the norm of the gradient over all parameters; 0: no bound.
	Clip float32 `cbor:"15,keyasint,omitempty" json:"clip,omitempty"`
	// ExampleClip bounds the norm of the gradient of each example before they
	// are added up, as differential privacy needs; 0: no bound. Examples then
	// go through the learner one at a time: MicroBatch is 1.
	ExampleClip float32 `cbor:"16,keyasint,omitempty" json:"example_clip,omitempty"`
	// CheckpointEvery is after how many steps a checkpoint's root belongs into
	// the receipt; 0: only at the end. The caller writes them.
	CheckpointEvery int `cbor:"17,keyasint,omitempty" json:"checkpoint_every,omitempty"`
}

// DefaultConfig is a starting point for an optimiser: usual values for all that
// does not depend on the task. Steps, Batch and LearningRate are left to fill
// in.
func DefaultConfig(optimizer string) Config {
	c := Config{Optimizer: optimizer, Schedule: Cosine, Clip: 1}
	switch optimizer {
	case AdamW:
		c.Beta1, c.Beta2, c.Epsilon, c.WeightDecay = 0.9, 0.999, 1e-8, 0.01
	case SGD:
		c.Momentum = 0.9
	}
	return c
}

// Complete puts the meaning of zero values in their place: the same run has
// only one complete configuration.
func (c Config) Complete() Config {
	switch {
	case c.MicroBatch != 0:
	case c.ExampleClip > 0:
		c.MicroBatch = 1
	default:
		c.MicroBatch = c.Batch
	}
	if c.Schedule == "" {
		c.Schedule = Constant
	}
	return c
}

// Validate reports the first field that is out of its range. Fields of the
// other optimiser must be zero: they would promise what does not happen.
func (c Config) Validate() error {
	c = c.Complete()
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"steps", c.Steps, 1, MaxSteps},
		{"batch", c.Batch, 1, MaxBatch},
		{"micro_batch", c.MicroBatch, 1, c.Batch},
		{"warmup", c.Warmup, 0, c.Steps},
		{"checkpoint_every", c.CheckpointEvery, 0, MaxSteps},
	} {
		if f.v < f.lo || f.v > f.hi {
			return fmt.Errorf("training configuration: %s is %d, want %d to %d", f.name, f.v, f.lo, f.hi)
		}
	}
	const big = 1e6
	below1 := float32(0.99999994) // the largest number below 1
	adam, sgd := float32(0), float32(0)
	switch c.Optimizer {
	case AdamW:
		adam = 1
	case SGD:
		sgd = 1
	default:
		return fmt.Errorf("training configuration: optimizer is %q, want %q or %q", c.Optimizer, AdamW, SGD)
	}
	for _, f := range []struct {
		name      string
		v, lo, hi float32
	}{
		{"learning_rate", c.LearningRate, 1e-20, big},
		{"min_learning_rate", c.MinLearningRate, 0, c.LearningRate},
		{"beta1", c.Beta1, 0, float32(adam * below1)},
		{"beta2", c.Beta2, 0, float32(adam * below1)},
		{"epsilon", c.Epsilon, float32(adam * 1e-20), float32(adam * 1)},
		{"momentum", c.Momentum, 0, float32(sgd * below1)},
		{"weight_decay", c.WeightDecay, 0, big},
		{"clip", c.Clip, 0, big},
		{"example_clip", c.ExampleClip, 0, big},
	} {
		if !(f.v >= f.lo && f.v <= f.hi) { // also not a number
			return fmt.Errorf("training configuration: %s is %v, want %v to %v with optimizer %s", f.name, f.v, f.lo, f.hi, c.Optimizer)
		}
	}
	if c.ExampleClip > 0 && c.MicroBatch != 1 {
		return fmt.Errorf("training configuration: micro_batch is %d, want 1 with example_clip", c.MicroBatch)
	}
	switch c.Schedule {
	case Linear, Cosine:
	case Constant:
		if c.MinLearningRate != 0 {
			return errors.New("training configuration: min_learning_rate needs the schedule linear or cosine")
		}
	default:
		return fmt.Errorf("training configuration: schedule is %q, want %q, %q or %q", c.Schedule, Constant, Linear, Cosine)
	}
	return nil
}

// Marshal gives the canonical encoding of the complete configuration: CBOR, a
// map with the numbers of the fields as keys (spec/training.md).
func (c Config) Marshal() ([]byte, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	return canon.Marshal(c.Complete())
}

// ParseConfig reads what Marshal gives, and nothing else.
func ParseConfig(data []byte) (Config, error) {
	var c Config
	if len(data) > maxConfigLen {
		return c, fmt.Errorf("training configuration: %d bytes, want at most %d", len(data), maxConfigLen)
	}
	if err := canon.Unmarshal(data, &c); err != nil {
		return c, fmt.Errorf("training configuration: %w", err)
	}
	if err := c.Validate(); err != nil {
		return c, err
	}
	if c != c.Complete() {
		return c, fmt.Errorf("training configuration: %w: a default is left out", canon.ErrCBOR)
	}
	return c, nil
}

// Digest is the hash of the encoding.
func (c Config) Digest() (canon.Hash, error) {
	b, err := c.Marshal()
	if err != nil {
		return canon.Hash{}, err
	}
	return canon.Sum("aval training config/1", b), nil
}
