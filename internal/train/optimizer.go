package train

import "math"

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

func newOptimizer(c Config) optimizer {
	if c.Optimizer == AdamW {
		return &adamW{Config: c, power1: 1, power2: 1}
	}
	return &sgd{Config: c}
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
	rate float32
}

func (o *sgd) states() []string {
	if o.Momentum == 0 {
		return nil
	}
	return []string{"m"}
}

func (o *sgd) begin(_ int, rate float32) { o.rate = rate }

func (o *sgd) update(w, g []float32, state [][]float32, scale float32, decay bool) {
	rate, mu, keep := o.rate, o.Momentum, o.keep(o.rate, decay)
	if len(state) == 0 {
		for i, x := range w {
			w[i] = float32(keep*x) - float32(rate*float32(scale*g[i]))
		}
		return
	}
	v := state[0][:len(w)]
	g = g[:len(w)]
	for i, x := range w {
		v[i] = float32(mu*v[i]) + float32(scale*g[i])
		w[i] = float32(keep*x) - float32(rate*v[i])
	}
}

// adamW is AdamW (Loshchilov and Hutter 2019): means of the gradient and of its
// square, both corrected for their start at zero; decay apart from them.
type adamW struct {
	Config
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
	b1, b2, eps, step, root := o.Beta1, o.Beta2, o.Epsilon, o.step, o.root
	c1, c2, keep := 1-b1, 1-b2, o.keep(o.rate, decay)
	m, v := state[0][:len(w)], state[1][:len(w)]
	g = g[:len(w)]
	for i, x := range w {
		d := float32(scale * g[i])
		m[i] = float32(b1*m[i]) + float32(c1*d)
		v[i] = float32(b2*v[i]) + float32(c2*float32(d*d))
		den := float32(float32(math.Sqrt(float64(v[i])))*root) + eps
		w[i] = float32(keep*x) - float32(step*m[i])/den
	}
}
