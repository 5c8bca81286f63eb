package sample

import (
	"fmt"
	"math"
)

// MaxLogprobs bounds the alternatives that [Logprobs] lists.
const MaxLogprobs = 128

// Logprob is a token and the natural logarithm of its probability.
type Logprob struct {
	ID      int32
	Logprob float64 // at most 0; -Inf for a token that cannot be
}

// Logprobs returns the log probability of token id under the softmax of the
// logits as the model gave them, before bias, penalties, filters and
// temperature, and appends to dst the top most probable tokens, best first,
// ties by lower id.
func Logprobs(dst []Logprob, logits []float32, id int32, top int) (Logprob, []Logprob, error) {
	if id < 0 || int(id) >= len(logits) || len(logits) > MaxVocab {
		return Logprob{}, dst, fmt.Errorf("sample: log probability of token %d among %d logits", id, len(logits))
	}
	if top < 0 || top > MaxLogprobs {
		return Logprob{}, dst, fmt.Errorf("%w: %d log probabilities, want 0 to %d", ErrParams, top, MaxLogprobs)
	}
	if err := checkNaN(logits); err != nil {
		return Logprob{}, dst, err
	}
	largest := logits[0]
	for _, z := range logits {
		largest = max(largest, z)
	}
	if largest < -math.MaxFloat32 {
		return Logprob{}, dst, ErrNoCandidate
	}
	total := uint64(0)
	for _, z := range logits {
		total += weight(z, largest, 1)
	}
	logSum := ln(float64(total) / weightOne)
	of := func(i int32) Logprob {
		if logits[i] == largest {
			return Logprob{i, 0 - logSum}
		}
		return Logprob{i, float64(logits[i]) - float64(largest) - logSum}
	}
	first := len(dst)
	for i, z := range logits {
		dst = insert(dst, first, top, logits, int32(i), z)
	}
	for i := range dst[first:] {
		dst[first+i] = of(dst[first+i].ID)
	}
	return of(id), dst, nil
}

// insert puts token i, of logit z, in its place among dst[first:], which is in
// rank order, and keeps at most top of them. Equal logits stay behind earlier
// ones.
func insert(dst []Logprob, first, top int, logits []float32, i int32, z float32) []Logprob {
	n := len(dst)
	if n-first == top {
		if top == 0 || !(z > logits[dst[n-1].ID]) {
			return dst
		}
		n--
	} else {
		dst = append(dst, Logprob{})
	}
	for n > first && z > logits[dst[n-1].ID] {
		dst[n] = dst[n-1]
		n--
	}
	dst[n] = Logprob{ID: i}
	return dst
}

const (
	ln2High = 6.93147180369123816490e-01 // upper 32 bits of ln 2: exact times any exponent
	ln2Low  = 1.90821492927058770002e-10
)

// ln is the natural logarithm of a positive finite x, by
// ln m = 2 atanh((m-1)/(m+1)) for m in [sqrt(1/2), sqrt(2)); every rounding
// is written out, so that all machines agree (spec/sampling.md).
func ln(x float64) float64 {
	m, e := math.Frexp(x) // m in [1/2, 1)
	if m < math.Sqrt2/2 {
		m = float64(m * 2)
		e--
	}
	s := (m - 1) / (m + 1)
	q := float64(s * s)
	p := 1.0 / 23
	for k := 21.0; k >= 3; k -= 2 {
		p = float64(p*q) + 1/k
	}
	series := float64(float64(2*s)*float64(q*p)) + float64(2*s)
	return float64(float64(e)*ln2High) + (series + float64(float64(e)*ln2Low))
}
