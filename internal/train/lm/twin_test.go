package lm_test

import (
	"math"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
)

// twin computes the loss of a model in float64, as plainly as can be and
// without any rounding to f16 or int8: a smooth function, whose differences are
// what gradients must be.
type twin struct {
	d       *model.Description
	layers  []*model.LayerParts
	tied    bool
	weights map[string][]float64 // by tensor
	factors map[*model.LayerParts][]float32
}

// newTwin describes a file; weights are the caller's to fill in.
func newTwin(f *gguf.File) (*twin, error) {
	d, err := model.Describe(f, 0)
	if err != nil {
		return nil, err
	}
	w := &twin{d: d, tied: f.Tensor("output.weight") == nil, weights: map[string][]float64{}, factors: map[*model.LayerParts][]float32{}}
	for i := range d.Layers {
		p, err := d.Layer(i)
		if err != nil {
			return nil, err
		}
		w.layers = append(w.layers, p)
		part, err := d.Factors(p)
		if err != nil {
			return nil, err
		}
		if part.Tensor != nil {
			if w.factors[p], err = d.Floats(f, part.Tensor); err != nil {
				return nil, err
			}
		}
	}
	return w, nil
}

// vector returns the weights of a part, or nil.
func (w *twin) vector(p model.Part) []float64 {
	if p.Tensor == nil {
		return nil
	}
	return w.weights[p.Tensor.Name]
}

// product returns W x, plus a bias.
func (w *twin) product(p, bias model.Part, x []float64) []float64 {
	all := w.weights[p.Tensor.Name]
	y := make([]float64, p.Rows)
	for r := range y {
		row := all[(p.First+r)*p.Cols:][:p.Cols]
		for c, v := range row {
			y[r] += v * x[c]
		}
	}
	if b := w.vector(bias); b != nil {
		for r := range y {
			y[r] += b[r]
		}
	}
	return y
}

func (w *twin) norm(x, weights []float64) []float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	r := 1 / math.Sqrt(sum/float64(len(x))+float64(w.d.Epsilon))
	y := make([]float64, len(x))
	for i, v := range x {
		y[i] = v * r * weights[i]
	}
	return y
}

// heads norms the heads of q or k, where the layer does, and turns them.
func (w *twin) heads(p *model.LayerParts, x []float64, norm model.Part, pos int) []float64 {
	n, weights := w.d.HeadDim, w.vector(norm)
	out := make([]float64, 0, len(x))
	for ; len(x) > 0; x = x[n:] {
		head := append([]float64(nil), x[:n]...)
		if weights != nil {
			head = w.norm(head, weights)
		}
		if p.Rotated {
			cos, sin := w.d.Angles(p, w.factors[p], pos)
			for j := range cos {
				a, b := j, j+len(cos)
				if w.d.Adjacent() {
					a, b = 2*j, 2*j+1
				}
				u, v := head[a], head[b]
				head[a] = u*float64(cos[j]) - v*float64(sin[j])
				head[b] = u*float64(sin[j]) + v*float64(cos[j])
			}
		}
		out = append(out, head...)
	}
	return out
}

// attention returns softmax(q kT) v of one position.
func (w *twin) attention(p *model.LayerParts, q []float64, k, v [][]float64) []float64 {
	n, group, t := w.d.HeadDim, w.d.Heads/w.d.KVHeads, len(k)-1
	low := 0
	if p.Window > 0 {
		low = max(0, t+1-p.Window)
	}
	out := make([]float64, len(q))
	for h := range w.d.Heads {
		var e []float64
		sum := 0.0
		for i := low; i <= t; i++ {
			z := 0.0
			for d := range n {
				z += q[h*n+d] * k[i][h/group*n+d]
			}
			z *= float64(w.d.ScoreScale)
			if c := float64(w.d.ScoreCap); c > 0 {
				z = c * math.Tanh(z/c)
			}
			e = append(e, math.Exp(z))
			sum += math.Exp(z)
		}
		for i, x := range e {
			for d := range n {
				out[h*n+d] += x / sum * v[low+i][h/group*n+d]
			}
		}
	}
	return out
}

func (w *twin) gate(x float64) float64 {
	if w.d.Gate == kernel.GateGELU {
		return 0.5 * x * (1 + math.Tanh(math.Sqrt(2/math.Pi)*(x+0.044715*x*x*x)))
	}
	return x / (1 + math.Exp(-x))
}

// layer computes a layer for all positions.
func (w *twin) layer(p *model.LayerParts, xs [][]float64) {
	add := func(x, y []float64, post model.Part) {
		if weights := w.vector(post); weights != nil {
			y = w.norm(y, weights)
		}
		for i, v := range y {
			x[i] += v
		}
	}
	var k, v [][]float64
	for pos, x := range xs {
		h := w.norm(x, w.vector(p.AttnNorm))
		q := w.heads(p, w.product(p.Q, p.QBias, h), p.QNorm, pos)
		k = append(k, w.heads(p, w.product(p.K, p.KBias, h), p.KNorm, pos))
		v = append(v, w.product(p.V, p.VBias, h))
		add(x, w.product(p.Out, p.OutBias, w.attention(p, q, k, v)), p.AttnPostNorm)
		h = w.norm(x, w.vector(p.FFNNorm))
		g, u := w.product(p.GateUp[0], model.Part{}, h), w.product(p.GateUp[1], model.Part{}, h)
		for i := range g {
			g[i] = w.gate(g[i]) * u[i]
		}
		add(x, w.product(p.Down, model.Part{}, g), p.FFNPostNorm)
	}
}

// loss returns the sum of the losses of the targets tokens[1:] that mask has.
func (w *twin) loss(tokens []int32, mask []bool) float64 {
	embedding := w.weights["token_embd.weight"]
	output := embedding
	if !w.tied {
		output = w.weights["output.weight"]
	}
	dim := w.d.Dim
	var xs [][]float64
	for _, t := range tokens[:len(tokens)-1] {
		x := append([]float64(nil), embedding[int(t)*dim:][:dim]...)
		for i := range x {
			x[i] *= float64(w.d.EmbeddingScale)
		}
		xs = append(xs, x)
	}
	for _, p := range w.layers {
		w.layer(p, xs)
	}
	loss := 0.0
	for i, x := range xs {
		if mask != nil && !mask[i] {
			continue
		}
		h := w.norm(x, w.weights["output_norm.weight"])
		sum, target := 0.0, 0.0
		for t := range len(output) / dim {
			z := 0.0
			for d, v := range h {
				z += output[t*dim+d] * v
			}
			if c := float64(w.d.LogitCap); c > 0 {
				z = c * math.Tanh(z/c)
			}
			sum += math.Exp(z)
			if t == int(tokens[i+1]) {
				target = z
			}
		}
		loss += math.Log(sum) - target
	}
	return loss
}
