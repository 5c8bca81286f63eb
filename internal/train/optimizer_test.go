package train_test

import (
	"math"
	"testing"

	"github.com/avalnetwork/aval/internal/train"
)

// TestOptimizers follows runs with the optimisers as their papers have them, in
// float64 and with package math, from the gradients of the runs.
func TestOptimizers(t *testing.T) {
	for _, name := range []string{"adamw", "sgd", "plain"} {
		c := configs()[name].Complete()
		tr, l := start(t, 1, c)
		var w, m, v [][]float64
		for _, p := range l.params {
			w, m, v = append(w, wide(p.Data)), append(m, make([]float64, len(p.Data))), append(v, make([]float64, len(p.Data)))
		}
		for step := range c.Steps {
			r, err := tr.Step()
			if err != nil {
				t.Fatal(err)
			}
			rate, clip := float64(r.LearningRate), 1.0
			if c.Clip > 0 {
				clip = min(1, float64(c.Clip)/float64(r.GradNorm))
			}
			for k, p := range l.params {
				decay := float64(c.WeightDecay)
				if p.NoDecay {
					decay = 0
				}
				for i, g := range p.Grad {
					d := float64(g) * clip
					update := 0.0
					if c.Optimizer == train.AdamW {
						b1, b2 := float64(c.Beta1), float64(c.Beta2)
						m[k][i] = b1*m[k][i] + (1-b1)*d
						v[k][i] = b2*v[k][i] + (1-b2)*d*d
						mean := m[k][i] / (1 - math.Pow(b1, float64(step+1)))
						square := v[k][i] / (1 - math.Pow(b2, float64(step+1)))
						update = mean / (math.Sqrt(square) + float64(c.Epsilon))
					} else {
						m[k][i] = float64(c.Momentum)*m[k][i] + d
						update = m[k][i]
					}
					w[k][i] -= rate * (update + decay*w[k][i])
				}
			}
		}
		for k, p := range l.params {
			for i, got := range p.Data {
				if math.Abs(float64(got)-w[k][i]) > 3e-6*(1+math.Abs(w[k][i])) {
					t.Errorf("%s: %s[%d] is %v, want %v", name, p.Name, i, got, w[k][i])
				}
			}
		}
	}
}

func wide(x []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}
