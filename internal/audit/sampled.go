package audit

import (
	"bytes"
	"context"
	"fmt"

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
		r.report.Add(valid(receipt.CheckComputation, "%s",
			claimOf(Kinds{cfg.Layers * positions, len(r.drawn)}, Kinds{len(cells), len(outputs)})))
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
func (s *sampled) x(dst []float32, layer, position int) error {
	b := s.opening.X(layer, position)
	switch {
	case b == nil:
		return fmt.Errorf("x of layer %d, position %d is not opened", layer, position)
	case !trace.GetX(dst, b):
		return fmt.Errorf("x of layer %d, position %d is not finite, and no model gives such a state", layer, position)
	}
	return nil
}

// layerCheck is the chosen cells of a layer.
type layerCheck struct {
	cells model.Cells
	from  int      // the first position of kv
	kv    [][]byte // of positions from there on, nil where no cell looks

	// What the model computes.
	x   []float32
	own [][]byte // kv of the cells
}

// checkLayers computes the chosen cells of each layer at once, so that its
// weights are read once, and those of several layers in one go, so that no
// worker waits for what comes between.
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
	for l := 0; l < layers; {
		var checks []*layerCheck
		var missing error
		for n := 0; l < layers && missing == nil && (n == 0 || n+len(list[l].cells) <= maxPass); l++ {
			if len(list[l].cells) == 0 {
				continue
			}
			var c *layerCheck
			if c, missing = s.prepare(l, &list[l]); missing == nil {
				checks = append(checks, c)
				n += len(list[l].cells)
			}
		}
		if right, err := s.check(ctx, checks); err != nil || !right {
			return false, err
		}
		if missing != nil {
			return s.wrong("%v", missing), nil
		}
	}
	return true, nil
}

// prepare takes from the opening what the chosen cells of a layer need.
func (s *sampled) prepare(layer int, n *need) (*layerCheck, error) {
	dim := s.auditor.Engine.Config().Dim
	c := &layerCheck{cells: model.Cells{Layer: layer, Positions: n.cells}, from: n.from}
	if layer > 0 {
		c.cells.X = make([]float32, len(n.cells)*dim)
	}
	for i, p := range n.cells {
		if layer == 0 {
			c.cells.Tokens = append(c.cells.Tokens, s.read[p])
		} else if err := s.x(c.cells.X[i*dim:(i+1)*dim], layer-1, p); err != nil {
			return nil, err
		}
	}
	c.kv = make([][]byte, n.to-n.from)
	for p := n.from; p < n.to; p++ {
		if !n.kv(p) {
			continue
		}
		if c.kv[p-n.from] = s.opening.KV(layer, p); c.kv[p-n.from] == nil {
			return nil, fmt.Errorf("kv of layer %d, position %d is not opened", layer, p)
		}
	}
	return c, nil
}

// check computes cells and compares them with what is opened.
func (s *sampled) check(ctx context.Context, checks []*layerCheck) (bool, error) {
	refused := error(nil)
	if err := s.auditor.Engine.Compute(ctx, func(m *model.Model) error {
		seq := m.NewSequence()
		defer seq.Close()
		for i, c := range checks {
			if refused = seq.SetKV(c.cells.Layer, c.from, c.kv...); refused != nil {
				checks = checks[:i]
				break
			}
		}
		for _, c := range checks {
			var err error
			if c.x, err = m.Cells(seq, &c.cells); err != nil {
				return err
			}
			for _, p := range c.cells.Positions {
				c.own = append(c.own, seq.KV(nil, c.cells.Layer, p, p+1))
			}
		}
		return nil
	}); err != nil {
		return false, err
	}
	for _, c := range checks {
		if !s.compare(c) {
			return false, nil
		}
	}
	if refused != nil {
		return s.wrong("%v", refused), nil
	}
	return true, nil
}

// compare compares what the model computes with what is opened.
func (s *sampled) compare(c *layerCheck) bool {
	layer, dim := c.cells.Layer, s.auditor.Engine.Config().Dim
	got := make([]byte, 4*dim)
	for i, p := range c.cells.Positions {
		if !bytes.Equal(c.own[i], c.kv[p-c.from]) {
			return s.wrong("layer cell %d, position %d: kv is not what the model computes from the cell's inputs", layer, p)
		}
		trace.PutX(got, c.x[i*dim:(i+1)*dim])
		switch want := s.opening.X(layer, p); {
		case want == nil:
			return s.wrong("x of layer %d, position %d is not opened", layer, p)
		case !bytes.Equal(got, want):
			return s.wrong("layer cell %d, position %d: x is not what the model computes from the cell's inputs", layer, p)
		}
	}
	return true
}

// checkOutputs draws the chosen tokens from the opened states.
func (s *sampled) checkOutputs(ctx context.Context, outputs []int, first int) (bool, error) {
	c := s.auditor.Engine.Config()
	x := make([]float32, len(outputs)*c.Dim)
	for i, o := range outputs {
		if err := s.x(x[i*c.Dim:(i+1)*c.Dim], c.Layers-1, first+o); err != nil {
			return s.wrong("%v", err), nil
		}
	}
	return s.drawAll(ctx, outputs, x, s.draw)
}
