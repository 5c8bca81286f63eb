// Package sample chooses the next token from a model's logits.
//
// Fill in a [Params], call [New] once per request (or [Sampler.Reset] to reuse
// a Sampler's memory), then [Sampler.Sample] once per token. [Logprobs] gives
// the log probabilities that go beside a token.
//
// The choice is a function of its inputs: the same logits, parameters,
// history, mask and index give the same token on every machine. spec/sampling.md
// defines it; names in this package follow that text.
//
// The package does not look for stop strings, does not know end-of-generation
// tokens and does not invent a seed: those belong to the caller.
package sample

import (
	"errors"
	"fmt"
	"math"
)

const (
	// MaxVocab bounds the vocabulary: weights are at most 2^40, so that their
	// sum stays below 2^63.
	MaxVocab = 1 << 22
	// DefaultRepeatLastN is the penalty window that RepeatLastN = 0 stands for.
	DefaultRepeatLastN = 64
	// MaxTemperature and MaxPenalty bound parameters to values that still mean
	// something, so that a mistyped one is reported.
	MaxTemperature = 100
	MaxPenalty     = 100
)

var (
	// ErrParams marks every error that is the fault of a Params value.
	ErrParams = errors.New("sample: bad parameter")
	// ErrNoCandidate says that the mask, the bias or the logits leave no token.
	ErrNoCandidate = errors.New("sample: no token can be chosen: all are masked, banned or have the logit -Inf")
	// ErrNaN marks logits that hold a NaN.
	ErrNaN = errors.New("sample: logit is not a number")
)

// Params are the knobs of one request. The zero value chooses greedily.
type Params struct {
	// Temperature divides the logits before the draw. 0 chooses the largest
	// logit; more than 1 flattens, less sharpens.
	Temperature float32
	// TopK keeps the K largest logits. 0 keeps all.
	TopK int
	// TopP keeps the fewest largest logits whose probabilities reach P. 0 and
	// 1 keep all.
	TopP float32
	// MinP keeps tokens at least MinP times as probable as the first. 0 keeps
	// all.
	MinP float32
	// RepeatPenalty makes tokens of the window less likely if more than 1. 0
	// and 1 change nothing.
	RepeatPenalty float32
	// FrequencyPenalty is subtracted from a logit once per occurrence of its
	// token in the window. 0 changes nothing.
	FrequencyPenalty float32
	// PresencePenalty is subtracted once if the token is in the window at all.
	PresencePenalty float32
	// RepeatLastN is the window: the last N tokens of the history. 0 means
	// DefaultRepeatLastN, -1 the whole history.
	RepeatLastN int
	// LogitBias is added to the logits of single tokens; -Inf bans one.
	LogitBias map[int32]float32
	// Seed selects the random numbers. Every value is a seed, also 0.
	Seed uint64
}

// Validate reports the first parameter that is out of its range.
func (p Params) Validate() error {
	switch {
	case !within(p.Temperature, 0, MaxTemperature):
		return outOfRange("temperature", p.Temperature, 0, MaxTemperature)
	case p.TopK < 0:
		return fmt.Errorf("%w: top_k is %d, want 0 (all) or more", ErrParams, p.TopK)
	case !within(p.TopP, 0, 1):
		return outOfRange("top_p", p.TopP, 0, 1)
	case !within(p.MinP, 0, 1):
		return outOfRange("min_p", p.MinP, 0, 1)
	case !within(p.RepeatPenalty, 0, MaxPenalty):
		return outOfRange("repeat_penalty", p.RepeatPenalty, 0, MaxPenalty)
	case !within(p.FrequencyPenalty, -MaxPenalty, MaxPenalty):
		return outOfRange("frequency_penalty", p.FrequencyPenalty, -MaxPenalty, MaxPenalty)
	case !within(p.PresencePenalty, -MaxPenalty, MaxPenalty):
		return outOfRange("presence_penalty", p.PresencePenalty, -MaxPenalty, MaxPenalty)
	case p.RepeatLastN < -1:
		return fmt.Errorf("%w: repeat_last_n is %d, want -1 (whole history), 0 (default %d) or more",
			ErrParams, p.RepeatLastN, DefaultRepeatLastN)
	}
	worst := int32(-1) // the lowest bad id, so that the message is always the same
	for id, b := range p.LogitBias {
		bad := id < 0 || b != b || b > math.MaxFloat32 || (b < -math.MaxFloat32 && !math.IsInf(float64(b), -1))
		if bad && (worst < 0 || id < worst) {
			worst = id
			if id < 0 {
				return fmt.Errorf("%w: logit_bias has a negative token id", ErrParams)
			}
		}
	}
	if worst >= 0 {
		return fmt.Errorf("%w: logit_bias of token %d is %v, want a finite number or -Inf",
			ErrParams, worst, p.LogitBias[worst])
	}
	return nil
}

func within(v, lo, hi float32) bool { return v >= lo && v <= hi } // false for NaN

func outOfRange(name string, v, lo, hi float32) error {
	return fmt.Errorf("%w: %s is %v, want %v to %v", ErrParams, name, v, lo, hi)
}

// penalises reports whether the penalties change any logit.
func (p *Params) penalises() bool {
	return (p.RepeatPenalty != 0 && p.RepeatPenalty != 1) || p.FrequencyPenalty != 0 || p.PresencePenalty != 0
}
