package model

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/trace"
)

// Cells are computations of single layers at single positions, as one who
// checks a run repeats them (spec/trace.md, section 3).
type Cells struct {
	Layer     int
	Positions []int     // ascending
	Tokens    []int32   // at the positions: the input of layer 0
	X         []float32 // [len(Positions)][Dim]: that of the others, x of the layer below
}

// StateShape is the length of the vectors of a state, in numbers.
func (c Config) StateShape() trace.Shape { return trace.Shape{X: c.Dim, KV: 2 * c.KVHeads * c.HeadDim} }

// Cells computes cells of one layer and returns x, [len(c.Positions)][Dim]. s
// holds the keys and values of this layer for the positions before
// ([Sequence.SetKV]); at the positions themselves those that the cells compute
// take their place, which [Sequence.KV] gives. Only this layer's weights are
// read.
func (m *Model) Cells(s *Sequence, c *Cells) ([]float32, error) {
	cfg := m.config
	switch {
	case c.Layer < 0 || c.Layer >= cfg.Layers:
		return nil, fmt.Errorf("layer %d, but the model has %d", c.Layer, cfg.Layers)
	case c.Layer == 0 && len(c.Tokens) != len(c.Positions):
		return nil, fmt.Errorf("%d tokens for %d cells of layer 0", len(c.Tokens), len(c.Positions))
	case c.Layer > 0 && len(c.X) != len(c.Positions)*cfg.Dim:
		return nil, fmt.Errorf("%d numbers of x for %d cells of %d each", len(c.X), len(c.Positions), cfg.Dim)
	}
	next := 0
	for i, p := range c.Positions {
		if p < next || p >= cfg.limit {
			return nil, fmt.Errorf("cell %d is at position %d, want %d to %d", i, p, next, cfg.limit-1)
		}
		next = p + 1
	}
	for i, t := range c.Tokens {
		if t < 0 || int(t) >= cfg.Vocab {
			return nil, fmt.Errorf("token %d of cell %d is not in the vocabulary of %d", t, i, cfg.Vocab)
		}
	}
	out := make([]float32, len(c.Positions)*cfg.Dim)
	for at := 0; at < len(c.Positions); at += MaxBatch {
		end := min(at+MaxBatch, len(c.Positions))
		b := m.begin()
		b.from, b.to = c.Layer, c.Layer+1
		if c.Layer == 0 {
			b.tokens = append(b.tokens, c.Tokens[at:end]...)
		} else {
			b.input = c.X[at*cfg.Dim : end*cfg.Dim]
		}
		for i := at; i < end; {
			n := 1
			for i+n < end && c.Positions[i+n] == c.Positions[i]+n {
				n++
			}
			if c.Positions[i] > s.n {
				return nil, fmt.Errorf("a cell is at position %d, but there are keys and values of %d only", c.Positions[i], s.n)
			}
			s.rewrite(c.Positions[i], n)
			b.part(s, c.Positions[i], n)
			b.n += n
			i += n
		}
		m.finish(b)
		copy(out[at*cfg.Dim:], m.state.x[:b.n*cfg.Dim])
	}
	return out, nil
}

// Outputs computes the logits of positions from x after the last layer,
// [n][Dim], into logits, [n][Vocab].
func (m *Model) Outputs(logits, x []float32) error {
	c := m.config
	n := len(x) / c.Dim
	if len(x) != n*c.Dim || len(logits) != n*c.Vocab {
		return fmt.Errorf("%d logits for %d numbers of x: want %d for each %d", len(logits), len(x), c.Vocab, c.Dim)
	}
	for at := 0; at < n; at += MaxBatch {
		b := m.begin()
		b.from = b.to
		b.n = min(n-at, MaxBatch)
		b.input = x[at*c.Dim : (at+b.n)*c.Dim]
		for i := range b.n {
			b.out = append(b.out, output{i, logits[(at+i)*c.Vocab:][:c.Vocab]})
		}
		m.finish(b)
	}
	return nil
}

// Window returns how many positions a layer sees from one, that one included;
// 0 means all.
func (m *Model) Window(layer int) int { return m.config.layers[layer].window }
