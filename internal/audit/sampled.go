package audit

import (
	"bytes"
	"context"

	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// Sampled checks the cells that a challenge chooses, with the states that the
// prover opened for it: each cell is computed from its inputs and compared with
// its outputs. The inputs need not be right: they are checked where they are
// outputs, so that any lie is wrong in a cell. The file must show the tokens.
func (a *Auditor) Sampled(ctx context.Context, f *receipt.File, c *Challenge, o *trace.Opening, opt receipt.Options) (receipt.Report, error) {
	r, ok := a.begin(f, opt)
	if !ok {
		return r.report, nil
	}
	if err := r.answers(c); err != nil {
		r.report.Add(unverified(receipt.CheckComputation, "%v", err))
		return r.report, nil
	}
	cfg := a.Engine.Config()
	positions, first := len(r.read), len(r.read)-len(r.drawn)
	if err := o.Verify(r.claims.Trace, cfg.StateShape()); err != nil {
		r.report.Add(invalid(receipt.CheckTrace, "%v", err))
		return r.report, nil
	}
	if o.Layers != cfg.Layers || o.Positions != positions {
		r.report.Add(invalid(receipt.CheckTrace, "it is of %d layers and %d positions, the run has %d and %d", o.Layers, o.Positions, cfg.Layers, positions))
		return r.report, nil
	}
	r.report.Add(valid(receipt.CheckTrace, "what is opened belongs to the receipt's trace"))
	cells, outputs := c.Cells(cfg.Layers, positions, len(r.drawn))
	s := &sampled{run: r, opening: o}
	right, err := s.checkLayers(ctx, cells)
	if right && err == nil {
		right, err = s.checkOutputs(ctx, outputs, first)
	}
	if err != nil {
		return r.report, noResult(&r.report, err)
	}
	if right && r.checkAnswer() {
		r.report.Add(valid(receipt.CheckComputation, "%s; %s",
			claim("layer cells", cfg.Layers*positions, len(cells)), claim("output cells", len(r.drawn), len(outputs))))
	}
	return r.report, nil
}

// sampled is a run that is checked cell by cell.
type sampled struct {
	*run
	opening *trace.Opening
}

// wrong adds the check that a cell fails.
func (s *sampled) wrong(format string, args ...any) bool {
	s.report.Add(invalid(receipt.CheckComputation, format, args...))
	return false
}

// x gives the numbers of a state that must be shown.
func (s *sampled) x(dst []float32, layer, position int) bool {
	b := s.opening.X(layer, position)
	switch {
	case b == nil:
		return s.wrong("x of layer %d, position %d is not opened", layer, position)
	case !trace.GetX(dst, b):
		return s.wrong("x of layer %d, position %d is not finite, and no model gives such a state", layer, position)
	}
	return true
}

// checkLayers computes the chosen cells of each layer at once, so that its
// weights are read once.
func (s *sampled) checkLayers(ctx context.Context, cells []LayerCell) (bool, error) {
	e := s.auditor.Engine
	layers := e.Config().Layers
	var list []need
	if err := e.Compute(ctx, func(m *model.Model) error {
		list = needs(cells, nil, layers, 0, m.Window)
		return nil
	}); err != nil {
		return false, err
	}
	for l := range list {
		if len(list[l].cells) == 0 {
			continue
		}
		if right, err := s.checkLayer(ctx, l, &list[l]); err != nil || !right {
			return false, err
		}
	}
	return true, nil
}

// checkLayer compares the chosen cells of a layer.
func (s *sampled) checkLayer(ctx context.Context, layer int, n *need) (bool, error) {
	dim := s.auditor.Engine.Config().Dim
	c := &model.Cells{Layer: layer, Positions: n.cells}
	if layer > 0 {
		c.X = make([]float32, len(n.cells)*dim)
	}
	for i, p := range n.cells {
		if layer == 0 {
			c.Tokens = append(c.Tokens, s.read[p])
		} else if !s.x(c.X[i*dim:(i+1)*dim], layer-1, p) {
			return false, nil
		}
	}
	none := make([]byte, 2*s.auditor.Engine.Config().StateShape().KV) // where nobody looks
	kv := make([]byte, 0, (n.to-n.from)*len(none))
	for p := n.from; p < n.to; p++ {
		b := none
		if n.kv(p) {
			b = s.opening.KV(layer, p)
		}
		if b == nil {
			return s.wrong("kv of layer %d, position %d is not opened", layer, p), nil
		}
		kv = append(kv, b...)
	}
	var x []float32
	var own [][]byte // kv of the cells
	refused := error(nil)
	if err := s.auditor.Engine.Compute(ctx, func(m *model.Model) error {
		seq := m.NewSequence()
		defer seq.Close()
		if refused = seq.SetKV(layer, n.from, kv); refused != nil {
			return nil
		}
		var err error
		x, err = m.Cells(seq, c)
		for _, p := range n.cells {
			own = append(own, seq.KV(nil, layer, p, p+1))
		}
		return err
	}); err != nil {
		return false, err
	}
	if refused != nil {
		return s.wrong("%v", refused), nil
	}
	got := make([]byte, 4*dim)
	for i, p := range n.cells {
		if !bytes.Equal(own[i], s.opening.KV(layer, p)) {
			return s.wrong("layer cell %d, position %d: kv is not what the model computes from the cell's inputs", layer, p), nil
		}
		trace.PutX(got, x[i*dim:(i+1)*dim])
		switch want := s.opening.X(layer, p); {
		case want == nil:
			return s.wrong("x of layer %d, position %d is not opened", layer, p), nil
		case !bytes.Equal(got, want):
			return s.wrong("layer cell %d, position %d: x is not what the model computes from the cell's inputs", layer, p), nil
		}
	}
	return true, nil
}

// checkOutputs draws the chosen tokens from the opened states.
func (s *sampled) checkOutputs(ctx context.Context, outputs []int, first int) (bool, error) {
	c := s.auditor.Engine.Config()
	x := make([]float32, len(outputs)*c.Dim)
	for i, o := range outputs {
		if !s.x(x[i*c.Dim:(i+1)*c.Dim], c.Layers-1, first+o) {
			return false, nil
		}
	}
	return s.drawAll(ctx, outputs, x, s.draw)
}
