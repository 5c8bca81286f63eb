package net_test

import (
	"math"

	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
)

// twin computes nets in float64 by the formulas of textbooks, index by index:
// the obvious implementation to compare with.
type twin struct {
	spec   *net.Spec
	params map[string][]float64
}

func newTwin(n *net.Net) *twin {
	t := &twin{n.Spec(), map[string][]float64{}}
	for _, p := range n.Params() {
		x := make([]float64, len(p.Data))
		for i, v := range p.Data {
			x[i] = float64(v)
		}
		t.params[p.Name] = x
	}
	return t
}

// volume is a [channel][row][column] array.
type volume struct {
	net.Shape
	x []float64
}

func (v volume) at(c, h, w int) float64 {
	if h < 0 || w < 0 || h >= v.Height || w >= v.Width {
		return 0
	}
	return v.x[(c*v.Height+h)*v.Width+w]
}

func newVolume(s net.Shape) volume { return volume{s, make([]float64, s.Elements())} }

// outputs computes the net for one example.
func (t *twin) outputs(e *train.Example, training bool) []float64 {
	shapes, err := t.spec.Shapes()
	if err != nil {
		panic(err)
	}
	v := newVolume(shapes[0])
	for i, x := range e.Input {
		v.x[i] = float64(x)
	}
	for i := range t.spec.Layers {
		v = t.layer(i, v, shapes[i+1], e.Draw, training)
	}
	return v.x
}

func (t *twin) param(i int, what string) []float64 {
	return t.params["layers."+string(rune('0'+i))+"."+what]
}

func (t *twin) layer(i int, in volume, shape net.Shape, draw uint64, training bool) volume {
	l := &t.spec.Layers[i]
	w, b := t.param(i, "weight"), t.param(i, "bias")
	out := newVolume(shape)
	switch l.Kind {
	case net.Dense:
		for o := range out.x {
			for k, x := range in.x {
				out.x[o] += w[o*len(in.x)+k] * x
			}
			if b != nil {
				out.x[o] += b[o]
			}
		}
	case net.Conv:
		convolve(l, out, in, w, b)
	case net.MaxPool, net.AvgPool:
		poolTwin(l, out, in)
	case net.GroupNorm, net.RMSNorm:
		normTwin(l, out, in, w, b)
	case net.Dropout:
		r := train.NewRandom(draw, "dropout", uint64(i))
		var bits uint64
		for j, x := range in.x {
			if j%2 == 0 {
				bits = r.Uint64()
			} else {
				bits >>= 32
			}
			switch {
			case !training:
				out.x[j] = x
			case float64(bits&math.MaxUint32) >= float64(l.Rate)*(1<<32):
				out.x[j] = x / (1 - float64(l.Rate))
			}
		}
	default:
		for j, x := range in.x {
			out.x[j] = functions[l.Kind](x)
		}
	}
	return out
}

var functions = map[string]func(float64) float64{
	net.ReLU: func(x float64) float64 { return max(x, 0) },
	net.ELU: func(x float64) float64 {
		if x > 0 {
			return x
		}
		return math.Exp(x) - 1
	},
	net.GELU: func(x float64) float64 {
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	},
	net.SiLU:    func(x float64) float64 { return x / (1 + math.Exp(-x)) },
	net.Tanh:    math.Tanh,
	net.Sigmoid: func(x float64) float64 { return 1 / (1 + math.Exp(-x)) },
}

// step is a window's distance to the next one.
func step(l *net.Layer, side, kernel int) int {
	switch {
	case l.Stride[side] != 0:
		return l.Stride[side]
	case l.Kind == net.Conv:
		return 1
	}
	return kernel
}

func convolve(l *net.Layer, out, in volume, w, b []float64) {
	groups := max(1, l.Groups)
	channels, filters := in.Channels/groups, l.Filters/groups
	kh, kw := l.Kernel[0], l.Kernel[1]
	sh, sw := step(l, 0, kh), step(l, 1, kw)
	var ph, pw int
	if l.Padding == net.Same {
		ph = max(0, (out.Height-1)*sh+kh-in.Height) / 2
		pw = max(0, (out.Width-1)*sw+kw-in.Width) / 2
	}
	for f := range out.Channels {
		for i := range out.Height {
			for j := range out.Width {
				sum := 0.0
				for c := range channels {
					for h := range kh {
						for k := range kw {
							sum += w[((f*channels+c)*kh+h)*kw+k] * in.at(f/filters*channels+c, i*sh-ph+h, j*sw-pw+k)
						}
					}
				}
				if b != nil {
					sum += b[f]
				}
				out.x[(f*out.Height+i)*out.Width+j] = sum
			}
		}
	}
}

func poolTwin(l *net.Layer, out, in volume) {
	kh, kw := l.Kernel[0], l.Kernel[1]
	if kh == 0 {
		kh = in.Height
	}
	if kw == 0 {
		kw = in.Width
	}
	for c := range out.Channels {
		for i := range out.Height {
			for j := range out.Width {
				sum, top := 0.0, math.Inf(-1)
				for h := range kh {
					for k := range kw {
						x := in.at(c, i*step(l, 0, kh)+h, j*step(l, 1, kw)+k)
						sum += x
						top = max(top, x)
					}
				}
				if l.Kind == net.AvgPool {
					top = sum / float64(kh*kw)
				}
				out.x[(c*out.Height+i)*out.Width+j] = top
			}
		}
	}
}

func normTwin(l *net.Layer, out, in volume, w, b []float64) {
	groups, eps := max(1, l.Groups), float64(l.Epsilon)
	if eps == 0 {
		eps = float64(float32(1e-5))
	}
	size := len(in.x) / groups
	for i, x := range in.x {
		group := in.x[i/size*size:][:size]
		mean, square := 0.0, 0.0
		if b != nil {
			for _, v := range group {
				mean += v / float64(size)
			}
		}
		for _, v := range group {
			square += (v - mean) * (v - mean) / float64(size)
		}
		c := i / (in.Height * in.Width)
		out.x[i] = (x - mean) / math.Sqrt(square+eps) * w[c]
		if b != nil {
			out.x[i] += b[c]
		}
	}
}

// loss is the sum of the losses of examples, without class weights.
func (t *twin) loss(examples []train.Example, training bool) float64 {
	sum := 0.0
	for i := range examples {
		e := &examples[i]
		out := t.outputs(e, training)
		if t.spec.Loss == net.MSE {
			for j, y := range out {
				d := y - float64(e.Target[j])
				sum += d * d / float64(len(out))
			}
			continue
		}
		total := 0.0
		for _, z := range out {
			total += math.Exp(z)
		}
		one := math.Log(total) - out[e.Label]
		if w := t.spec.ClassWeights; w != nil {
			one *= float64(w[e.Label])
		}
		sum += one
	}
	return sum
}
