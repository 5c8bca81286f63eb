package receipt

import (
	"fmt"
	"strings"
)

// Params are the parameters that choose among tokens and end an answer, as
// spec/sampling.md section 2 defines them. The zero value of each is the
// default, which a receipt leaves out.
type Params struct {
	Temperature      float32 `cbor:"1,keyasint,omitempty" json:"temperature,omitempty"` // 0: always the likeliest token
	TopK             int     `cbor:"2,keyasint,omitempty" json:"top_k,omitempty"`
	TopP             float32 `cbor:"3,keyasint,omitempty" json:"top_p,omitempty"`
	MinP             float32 `cbor:"4,keyasint,omitempty" json:"min_p,omitempty"`
	RepeatPenalty    float32 `cbor:"5,keyasint,omitempty" json:"repeat_penalty,omitempty"`
	FrequencyPenalty float32 `cbor:"6,keyasint,omitempty" json:"frequency_penalty,omitempty"`
	PresencePenalty  float32 `cbor:"7,keyasint,omitempty" json:"presence_penalty,omitempty"`
	RepeatLastN      int     `cbor:"8,keyasint,omitempty" json:"repeat_last_n,omitempty"` // 0: 64; -1: all
	// MaxTokens bounds the tokens drawn. 0: as many as the context holds.
	MaxTokens int `cbor:"9,keyasint,omitempty" json:"max_tokens,omitempty"`
	// Context is how many positions the prompt and the answer could have
	// together; some models compute differently for a long one. 0: what the
	// model's file names, at least 512.
	Context int `cbor:"10,keyasint,omitempty" json:"context,omitempty"`
	// IgnoreEOS goes on after the model has ended its turn.
	IgnoreEOS bool `cbor:"11,keyasint,omitempty" json:"ignore_eos,omitempty"`
	// Bias says that some tokens have a logit bias, Extra that there are extra
	// parameters; the transcript commits to them.
	Bias  bool `cbor:"12,keyasint,omitempty" json:"bias,omitempty"`
	Extra bool `cbor:"13,keyasint,omitempty" json:"extra,omitempty"`
}

// Greedy reports whether the likeliest token is always taken, so that the seed
// has no effect.
func (p Params) Greedy() bool { return p.Temperature == 0 }

func (p Params) validate() error {
	for _, f := range []struct {
		name   string
		v      float32
		lo, hi float32
	}{
		{"temperature", p.Temperature, 0, maxTemperature},
		{"top_p", p.TopP, 0, 1},
		{"min_p", p.MinP, 0, 1},
		{"repeat_penalty", p.RepeatPenalty, 0, maxPenalty},
		{"frequency_penalty", p.FrequencyPenalty, -maxPenalty, maxPenalty},
		{"presence_penalty", p.PresencePenalty, -maxPenalty, maxPenalty},
	} {
		if !(f.v >= f.lo && f.v <= f.hi) { // also not a number
			return errorf(CheckRanges, "%s is %v, want %v to %v", f.name, f.v, f.lo, f.hi)
		}
	}
	for _, f := range []struct {
		name      string
		v, lo, hi int
	}{
		{"top_k", p.TopK, 0, maxInt},
		{"repeat_last_n", p.RepeatLastN, -1, maxInt},
		{"max_tokens", p.MaxTokens, 0, maxInt},
		{"context", p.Context, 0, MaxIDs},
	} {
		if f.v < f.lo || f.v > f.hi {
			return errorf(CheckRanges, "%s is %d, want %d to %d", f.name, f.v, f.lo, f.hi)
		}
	}
	return nil
}

// differ names the parameters in which two differ.
func differ(got, want Params) string {
	g, w := got.list(), want.list()
	var out []string
	for i := range g {
		if g[i].value != w[i].value {
			out = append(out, fmt.Sprintf("%s is %v, expected %v", g[i].name, g[i].value, w[i].value))
		}
	}
	return strings.Join(out, "; ")
}

type param struct {
	name  string
	value any
}

func (p Params) list() []param {
	return []param{
		{"temperature", p.Temperature},
		{"top_k", p.TopK},
		{"top_p", p.TopP},
		{"min_p", p.MinP},
		{"repeat_penalty", p.RepeatPenalty},
		{"frequency_penalty", p.FrequencyPenalty},
		{"presence_penalty", p.PresencePenalty},
		{"repeat_last_n", p.RepeatLastN},
		{"max_tokens", p.MaxTokens},
		{"context", p.Context},
		{"ignore_eos", p.IgnoreEOS},
		{"bias", p.Bias},
		{"extra", p.Extra},
	}
}
