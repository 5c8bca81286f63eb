package sample

import (
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/kernel"
)

// Mask is the set of token ids that may be chosen. A nil Mask allows all.
type Mask = grammar.Mask

// Sampler chooses the tokens of one request at a time. It owns memory in
// proportion to the vocabulary and is not safe for concurrent use.
type Sampler struct {
	params Params
	vocab  int
	bias   []bias // ascending id
	random source
	c      candidates
	logits []float32 // adjusted copy; only if bias or penalties change something
	counts []int32   // occurrences in the window, all zero between calls
}

type bias struct {
	id    int32
	value float32
}

// New returns a Sampler for logits of vocab entries.
func New(p Params, vocab int) (*Sampler, error) {
	if vocab <= 0 || vocab > MaxVocab {
		return nil, fmt.Errorf("sample: vocabulary of %d tokens, want 1 to %d", vocab, MaxVocab)
	}
	s := &Sampler{vocab: vocab}
	if err := s.Reset(p); err != nil {
		return nil, err
	}
	return s, nil
}

// Reset gives the Sampler new parameters. It allocates only what the new ones
// need for the first time.
func (s *Sampler) Reset(p Params) error {
	if err := p.Validate(); err != nil {
		return err
	}
	s.bias = s.bias[:0]
	for id, b := range p.LogitBias {
		s.bias = append(s.bias, bias{id, b})
	}
	slices.SortFunc(s.bias, func(a, b bias) int { return int(a.id) - int(b.id) })
	if n := len(s.bias); n > 0 && int(s.bias[n-1].id) >= s.vocab {
		return fmt.Errorf("%w: logit_bias of token %d, but the vocabulary has %d tokens",
			ErrParams, s.bias[n-1].id, s.vocab)
	}
	p.LogitBias = nil
	s.params = p
	if s.logits == nil && (len(s.bias) > 0 || p.penalises()) {
		s.logits = make([]float32, s.vocab)
	}
	if s.counts == nil && p.penalises() {
		s.counts = make([]int32, s.vocab)
	}
	if p.Temperature > 0 && s.c.ids == nil {
		s.c.kernel = kernel.Best()
		s.c.ids = make([]int32, 0, s.vocab)
		s.c.keys = make([]uint32, 0, s.vocab)
		s.c.weights = make([]uint64, 0, s.vocab)
	}
	return nil
}

// Sample chooses a token. history is the prompt and all tokens chosen so far;
// position is the index i of the token being drawn, which with the seed alone
// decides the random number; allow limits the choice, nil does not. logits are
// left as they are.
func (s *Sampler) Sample(logits []float32, history []int32, position int, allow Mask) (int32, error) {
	if len(logits) != s.vocab {
		return 0, fmt.Errorf("sample: %d logits for a vocabulary of %d", len(logits), s.vocab)
	}
	if position < 0 {
		return 0, fmt.Errorf("sample: position %d, want 0 or more", position)
	}
	// Passes over all of the logits as they came look for NaN themselves.
	if allow != nil || len(s.bias) > 0 || s.params.penalises() {
		if err := checkNaN(logits); err != nil {
			return 0, err
		}
	}
	z, err := s.adjust(logits, history)
	if err != nil {
		return 0, err
	}
	if s.params.Temperature == 0 {
		return greedy(z, allow)
	}
	top, err := s.gather(z, allow)
	if err != nil {
		return 0, err
	}
	s.filter(top)
	return s.draw(top, position), nil
}

func checkNaN(logits []float32) error {
	for i, v := range logits {
		if v != v {
			return nanError(i)
		}
	}
	return nil
}

func nanError(id int) error { return fmt.Errorf("%w: token %d", ErrNaN, id) }

// adjust applies bias and penalties; it returns logits itself if neither does
// anything.
func (s *Sampler) adjust(logits []float32, history []int32) ([]float32, error) {
	if len(s.bias) == 0 && !s.params.penalises() {
		return logits, nil
	}
	z := s.logits
	copy(z, logits)
	for _, b := range s.bias {
		if b.value < -math.MaxFloat32 { // -Inf, also where the logit is +Inf
			z[b.id] = b.value
			continue
		}
		z[b.id] += b.value
	}
	if !s.params.penalises() {
		return z, nil
	}
	window := s.window(history)
	for _, id := range window {
		if id < 0 || int(id) >= s.vocab {
			return nil, fmt.Errorf("sample: token %d in the history, but the vocabulary has %d tokens", id, s.vocab)
		}
	}
	for _, id := range window {
		s.counts[id]++
	}
	for _, id := range window {
		if n := s.counts[id]; n > 0 {
			z[id] = s.params.penalise(z[id], n)
			s.counts[id] = 0
		}
	}
	return z, nil
}

func (s *Sampler) window(history []int32) []int32 {
	return history[len(history)-s.params.Window(len(history)):]
}

// penalise changes the logit of a token that occurs n > 0 times in the window.
func (p *Params) penalise(z float32, n int32) float32 {
	if r := p.RepeatPenalty; r != 0 && r != 1 {
		if z > 0 {
			z /= r
		} else {
			z = float32(z * r) // pinned: a subtraction follows
		}
	}
	if p.FrequencyPenalty != 0 {
		z -= float32(float32(n) * p.FrequencyPenalty)
	}
	if p.PresencePenalty != 0 {
		z -= p.PresencePenalty
	}
	return z
}

// greedy returns the allowed token with the largest logit, the lowest id of
// several.
func greedy(z []float32, allow Mask) (int32, error) {
	best, id := float32(math.Inf(-1)), -1
	if allow == nil {
		for i, v := range z {
			if !(v <= best) { // larger, or NaN
				if v != v {
					return 0, nanError(i)
				}
				best, id = v, i
			}
		}
	}
	for w, set := range allow {
		for ; set != 0; set &= set - 1 {
			i := w*64 + bits.TrailingZeros64(set)
			if i >= len(z) {
				break
			}
			if v := z[i]; v > best {
				best, id = v, i
			}
		}
	}
	if id < 0 {
		return 0, ErrNoCandidate
	}
	return int32(id), nil
}

// gather lists the candidates and returns their largest logit. With top-k, it
// leaves out those of which it has already seen that they are not among the k.
func (s *Sampler) gather(z []float32, allow Mask) (float32, error) {
	c, k := &s.c, s.params.TopK
	c.reset()
	if k == 0 && allow == nil {
		top, err := c.all(z)
		if err == nil && len(c.ids) == 0 {
			err = ErrNoCandidate
		}
		return top, err
	}
	enough := 2*k + 256 // candidates at which it pays to cut
	if k == 0 || enough > len(z) {
		enough = len(z) + 1
	}
	floor := float32(math.Inf(-1)) // what is not above it cannot stay: equals rank behind earlier ones
	top := floor
	add := func(i int, v float32) {
		if v > top {
			top = v
		}
		if c.add(int32(i), v); len(c.ids) == enough {
			c.cut(uint64(k), true)
			floor = logitOf(slices.Min(c.keys))
		}
	}
	if allow == nil {
		for i, v := range z {
			if !(v <= floor) { // larger, or NaN
				if v != v {
					return 0, nanError(i)
				}
				add(i, v)
			}
		}
	}
	for w, set := range allow {
		for ; set != 0; set &= set - 1 {
			i := w*64 + bits.TrailingZeros64(set)
			if i >= len(z) {
				break
			}
			if v := z[i]; v > floor {
				add(i, v)
			}
		}
	}
	if len(c.ids) == 0 {
		return 0, ErrNoCandidate
	}
	return top, nil
}

// filter applies top-k, top-p and min-p, in this order.
func (s *Sampler) filter(top float32) {
	c, p := &s.c, &s.params
	if p.TopK > 0 && p.TopK < len(c.ids) {
		c.cut(uint64(p.TopK), true)
	}
	if p.TopP > 0 && p.TopP < 1 {
		total := c.weigh(top, 1)
		c.cut(share(total, p.TopP), false)
	}
	if p.MinP > 0 {
		n := 0
		for i, k := range c.keys {
			if relative(logitOf(k), top, 1) >= p.MinP {
				c.move(n, i, true)
				n++
			}
		}
		c.truncate(n)
	}
}

// share is the weight that a prefix must reach to hold p of total.
func share(total uint64, p float32) uint64 {
	hi, lo := bits.Mul64(total, uint64(float64(p)*(1<<32)))
	return max(1, hi<<32|lo>>32)
}

// draw picks a candidate by its weight at the request's temperature.
func (s *Sampler) draw(top float32, position int) int32 {
	c := &s.c
	total := c.weigh(top, s.params.Temperature)
	x := scale(s.random.number(s.params.Seed, uint64(position)), total)
	for i, w := range c.weights {
		if x < w {
			return c.ids[i]
		}
		x -= w
	}
	panic("sample: internal error: weights do not add up to their total")
}

// weigh computes the candidates' weights at temperature t and returns their
// sum, which is at least the largest candidate's 2^40. It is weight of each,
// with the exponentials some at a time.
func (c *candidates) weigh(top, t float32) uint64 {
	c.weights = slices.Grow(c.weights[:0], len(c.keys))[:len(c.keys)]
	c.parts = [kernel.Panel]float32{} // nobody reads them; they must not grow without end
	total := uint64(0)
	for at := 0; at < len(c.keys); at += len(c.block) {
		keys := c.keys[at:min(at+len(c.block), len(c.keys))]
		weights, d := c.weights[at:][:len(keys)], c.block[:len(keys)]
		for i, k := range keys {
			d[i] = 0 // the weight of one
			if z := logitOf(k); z != top {
				d[i] = max(below(z, top, t), weightless)
			}
		}
		c.kernel.ExpParts(&c.parts, d, d, 0)
		for i, e := range d {
			w := uint64(int64(float64(e) * weightOne)) // of a signed number: faster; 0 if weightless
			weights[i] = w
			total += w
		}
	}
	return total
}

// weightOne is the weight of the largest logit.
const weightOne = 1 << 40

// weightless is a relative logit at which the weight is zero: Exp there is
// three quarters of the smallest weight, 2^-40.
const weightless = -28

// weight is W of spec/sampling.md.
func weight(z, top, t float32) uint64 {
	if z == top { // also where both are infinite
		return weightOne
	}
	d := below(z, top, t)
	if d <= weightless {
		return 0
	}
	return uint64(float64(kernel.Exp(d)) * weightOne)
}

// relative is E of spec/sampling.md: the probability of a logit z at
// temperature t, relative to that of the largest.
func relative(z, top, t float32) float32 {
	if z == top {
		return 1
	}
	return kernel.Exp(below(z, top, t))
}

// below is the argument of Exp, at most zero.
func below(z, top, t float32) float32 {
	if t == 1 {
		return z - top
	}
	return (z - top) / t
}
