package net

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
)

// paramName names a weight of a layer.
func paramName(index int, what string) string { return fmt.Sprintf("layers.%d.%s", index, what) }

// initWeights gives weights the values that the layer's description asks for.
func initWeights(p *train.Param, how string, seed uint64, inputs, outputs int) {
	if how == GlorotUniform {
		train.InitUniform(p, seed, train.Glorot(inputs, outputs))
		return
	}
	train.InitNormal(p, seed, train.He(inputs))
}

// affine is the weight and bias that dense layers and convolutions have.
type affine struct {
	weight, bias *train.Param // bias nil if there is none
	how          string
}

func newAffine(l *Layer, index, outputs int, shape ...int) affine {
	a := affine{weight: train.NewParam(paramName(index, "weight"), shape...), how: l.Init}
	if !l.NoBias {
		a.bias = train.NewParam(paramName(index, "bias"), outputs)
		a.bias.NoDecay = true
	}
	return a
}

func (a *affine) params() []*train.Param {
	if a.bias == nil {
		return []*train.Param{a.weight}
	}
	return []*train.Param{a.weight, a.bias}
}

// dense is y = W x + b.
type dense struct {
	affine
	in, out int
}

func newDense(l *Layer, index, in int) *dense {
	return &dense{newAffine(l, index, l.Units, l.Units, in), in, l.Units}
}

func (d *dense) init(seed uint64) { initWeights(d.weight, d.how, seed, d.in, d.out) }
func (d *dense) grow(int)         {}

func (d *dense) forward(p *pass, y, x []float32) {
	w := tensor.Of(d.weight.Data, d.out, d.in)
	p.machine.Mul(tensor.Of(y, p.n, d.out), tensor.Of(x, p.n, d.in), w.T())
	if d.bias != nil {
		p.machine.AddBias(y, d.bias.Data, p.n, d.out)
	}
}

func (d *dense) backward(p *pass, dx, dy, x []float32) {
	grad := tensor.Of(dy, p.n, d.out)
	p.machine.MulAdd(tensor.Of(d.weight.Grad, d.out, d.in), grad.T(), tensor.Of(x, p.n, d.in))
	if d.bias != nil {
		p.machine.BiasBackward(d.bias.Grad, dy, p.n, d.out)
	}
	if dx != nil {
		p.machine.Mul(tensor.Of(dx, p.n, d.in), grad, tensor.Of(d.weight.Data, d.out, d.in))
	}
}

// activations are the functions of the kinds.
var activations = map[string]tensor.Activation{
	ReLU: tensor.ReLU, ELU: tensor.ELU, GELU: tensor.GELU, SiLU: tensor.SiLU, Tanh: tensor.Tanh, Sigmoid: tensor.Sigmoid,
}

// activation is y = f(x).
type activation struct{ f tensor.Activation }

func (*activation) params() []*train.Param { return nil }
func (*activation) init(uint64)            {}
func (*activation) grow(int)               {}

func (a *activation) forward(p *pass, y, x []float32) { p.machine.Activate(a.f, y, x) }

func (a *activation) backward(p *pass, dx, dy, x []float32) {
	if dx != nil {
		p.machine.ActivateBackward(a.f, dx, dy, x)
	}
}

// dropout drops elements: the numbers that decide are the stream of the
// example's draw, for purpose "dropout" and the layer.
type dropout struct {
	index, size int
	threshold   uint32  // an element whose 32 bits are below it is dropped
	scale       float32 // of those that stay
	factors     []float32
	random      train.Random
}

func newDropout(l *Layer, index, size int) *dropout {
	return &dropout{
		index: index, size: size,
		threshold: uint32(float64(float64(l.Rate) * (1 << 32))),
		scale:     1 / (1 - l.Rate),
	}
}

func (*dropout) params() []*train.Param { return nil }
func (*dropout) init(uint64)            {}
func (d *dropout) grow(n int)           { d.factors = make([]float32, n*d.size) }

func (d *dropout) forward(p *pass, y, x []float32) {
	if !p.training {
		copy(y, x)
		return
	}
	for i, draw := range p.draws[:p.n] {
		d.random.Reset(draw, "dropout", uint64(d.index))
		f := d.factors[i*d.size : (i+1)*d.size]
		for j := 0; j < len(f); j += 2 {
			r := d.random.Uint64()
			f[j] = d.factor(uint32(r))
			if j+1 < len(f) {
				f[j+1] = d.factor(uint32(r >> 32))
			}
		}
	}
	apply(y, x, d.factors)
}

func (d *dropout) factor(bits uint32) float32 {
	if bits < d.threshold {
		return 0
	}
	return d.scale
}

func (d *dropout) backward(_ *pass, dx, dy, _ []float32) {
	if dx != nil {
		apply(dx, dy, d.factors)
	}
}

// apply sets y = x f where f is not 0, else +0: what is dropped is gone, whatever
// it was.
func apply(y, x, f []float32) {
	for i, v := range x {
		if f[i] == 0 {
			y[i] = 0
		} else {
			y[i] = float32(v * f[i])
		}
	}
}
