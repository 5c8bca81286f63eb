package train

import (
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
)

// An optimizer updates parameters, element by element: the order of elements
// and threads has no effect.
type optimizer interface {
	// states are the letters of the tensors that it keeps for each parameter.
	states() []string
	// begin computes the constants of a step, counted from 0.
	begin(step int, rate float32)
	// update changes w by the gradient g, times scale, and the states of the
	// same elements; decay says whether weights decay.
	update(w, g []float32, state [][]float32, scale float32, decay bool)
}

func newOptimizer(c Config, k *kernel.Kernel) optimizer {
	if c.Optimizer == AdamW {
		return &adamW{Config: c, kernel: k, power1: 1, power2: 1}
	}
	return &sgd{Config: c, kernel: k}
}

// keep is the factor by which decay shrinks a weight in a step.
func (c *Config) keep(rate float32, decay bool) float32 {
	if !decay {
		return 1
	}
	return 1 - float32(rate*c.WeightDecay)
}

// sgd is stochastic gradient descent with momentum: v = momentum v + g, w =
// keep w - rate v.
type sgd struct {
	Config
	kernel *kernel.Kernel
	rate   float32
}

func (o *sgd) states() []string {
	if o.Momentum == 0 {
		return nil
	}
	return []string{"m"}
}

func (o *sgd) begin(_ int, rate float32) { o.rate = rate }

func (o *sgd) update(w, g []float32, state [][]float32, scale float32, decay bool) {
	keep := o.keep(o.rate, decay)
	// x - y is x + -y, bit for bit, and -(a b) is (-a) b.
	if len(state) == 0 {
		o.kernel.Combine(w, keep, g, -o.rate, scale)
		return
	}
	v := state[0]
	o.kernel.Combine(v, o.Momentum, g, 1, scale)
	o.kernel.Combine(w, keep, v, -o.rate, 1)
}

// adamW is AdamW (Loshchilov and Hutter 2019): means of the gradient and of its
// square, both corrected for their start at zero; decay apart from them.
type adamW struct {
	Config
	kernel         *kernel.Kernel
	done           int     // the steps that the powers are of
	power1, power2 float64 // beta1^done and beta2^done, by repeated products
	rate, step     float32 // the learning rate, and corrected for the first mean
	root           float32 // correction of the root of the second mean
}

func (o *adamW) states() []string { return []string{"m", "v"} }

func (o *adamW) begin(step int, rate float32) {
	if step < o.done {
		o.done, o.power1, o.power2 = 0, 1, 1
	}
	for ; o.done <= step; o.done++ {
		o.power1 = float64(o.power1 * float64(o.Beta1))
		o.power2 = float64(o.power2 * float64(o.Beta2))
	}
	o.rate = rate
	o.step = float32(float64(rate) / (1 - o.power1))
	o.root = float32(1 / math.Sqrt(1-o.power2))
}

func (o *adamW) update(w, g []float32, state [][]float32, scale float32, decay bool) {
	o.kernel.AdamW(w, g, state[0], state[1], &kernel.AdamWStep{
		Scale: scale,
		Beta1: o.Beta1, Rest1: 1 - o.Beta1,
		Beta2: o.Beta2, Rest2: 1 - o.Beta2,
		Root: o.root, Epsilon: o.Epsilon,
		Keep: o.keep(o.rate, decay), Rate: o.step,
	})
}
