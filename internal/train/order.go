package train

import "fmt"

// maxExamples bounds the examples of a run: a permutation takes four bytes for
// each.
const maxExamples = 1<<31 - 1

// Order is the order in which a run uses its examples: every epoch all of them
// once, in a permutation that is a function of the seed and the epoch alone.
// Steps take the next Batch examples, across the borders of epochs.
type Order struct {
	seed  uint64
	n     int
	epoch uint64
	perm  []int32 // of epoch; nil before the first use
	r     Random
}

// NewOrder returns the order of n examples.
func NewOrder(seed uint64, n int) (*Order, error) {
	if n < 1 || n > maxExamples {
		return nil, fmt.Errorf("%d training examples, want 1 to %d", n, maxExamples)
	}
	return &Order{seed: seed, n: n}, nil
}

// Index gives the example that is used at position p, counted from 0 over the
// whole run. Neighbouring positions are cheap.
func (o *Order) Index(p uint64) int {
	if e := p / uint64(o.n); o.perm == nil || e != o.epoch {
		o.shuffle(e)
	}
	return int(o.perm[p%uint64(o.n)])
}

// shuffle makes the permutation of an epoch (Fisher and Yates, from the end).
func (o *Order) shuffle(epoch uint64) {
	if o.perm == nil {
		o.perm = make([]int32, o.n)
	}
	o.epoch = epoch
	for i := range o.perm {
		o.perm[i] = int32(i)
	}
	o.r.Reset(o.seed, "order", epoch)
	for i := o.n - 1; i > 0; i-- {
		j := o.r.Below(uint64(i) + 1)
		o.perm[i], o.perm[j] = o.perm[j], o.perm[i]
	}
}

// Step gives the examples of a step, counted from 0, of batch examples.
func (o *Order) Step(step, batch int) []int {
	out := make([]int, batch)
	for i := range out {
		out[i] = o.Index(uint64(step)*uint64(batch) + uint64(i))
	}
	return out
}
