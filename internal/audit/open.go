package audit

import (
	"context"
	"fmt"

	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// Open is the prover's answer to a challenge: the states that the chosen cells
// take and give. Nothing need have been kept of the run but the file with its
// opening, which must show the tokens and the trace salt: the states are
// computed again, in one pass. An opening may reveal the prompt.
func (a *Auditor) Open(ctx context.Context, f *receipt.File, c *Challenge) (*trace.Opening, error) {
	r, ok := a.begin(f, receipt.Options{})
	if !ok {
		return nil, fmt.Errorf("audit: this receipt cannot be opened: %s", &r.report)
	}
	if err := r.answers(c); err != nil {
		return nil, err
	}
	if r.opening.Trace == nil {
		return nil, fmt.Errorf("audit: the trace salt of this receipt is not at hand")
	}
	e := a.Engine
	cfg := e.Config()
	layers, positions, first := cfg.Layers, len(r.read), len(r.read)-len(r.drawn)
	cells, outputs := c.Cells(layers, positions, len(r.drawn))
	var list []need
	if err := e.Compute(ctx, func(m *model.Model) error {
		list = needs(cells, outputs, layers, first, m.Window)
		return nil
	}); err != nil {
		return nil, err
	}
	shown := make([]map[int]*trace.Shown, layers)
	for l := range list {
		shown[l] = map[int]*trace.Shown{}
		for _, p := range list[l].positions() {
			shown[l][p] = &trace.Shown{}
		}
	}
	// Visits of different states come at the same time; the maps stay as they
	// are.
	visit := func(layer, position int, x []float32) {
		s := shown[layer][position]
		if s == nil {
			return
		}
		s.X = make([]byte, 4*len(x))
		if trace.PutX(s.X, x); list[layer].x[position] {
			s.Whole |= trace.WholeX
			return
		}
		root := trace.VectorRoot(s.X)
		s.X = root[:]
	}
	keys := func(seq *model.Sequence) {
		for l := range list {
			for p, s := range shown[l] {
				s.KV = seq.KV(nil, l, p, p+1)
				if list[l].kv(p) {
					s.Whole |= trace.WholeKV
					continue
				}
				root := trace.VectorRoot(s.KV)
				s.KV = root[:]
			}
		}
	}
	tree, err := r.states(ctx, visit, keys)
	if err != nil {
		return nil, err
	}
	if tree.Commitment(r.opening.Trace[:]) != r.claims.Trace {
		return nil, fmt.Errorf("audit: the states computed here are not those of the receipt's trace: it was made with another model or another program")
	}
	o := trace.NewOpening(tree, r.opening.Trace[:])
	for l := range list {
		at := list[l].positions()
		for i := 0; i < len(at); {
			part := []trace.Shown{*shown[l][at[i]]}
			from := at[i]
			for i++; i < len(at) && at[i] == at[i-1]+1; i++ {
				part = append(part, *shown[l][at[i]])
			}
			o.Add(tree, l, from, part)
		}
	}
	return o, nil
}

// answers checks that a challenge is for this receipt, and that it has a trace.
func (r *run) answers(c *Challenge) error {
	switch {
	case c.Receipt != r.hash:
		return fmt.Errorf("%w: it is for the receipt %v, this one is %v", ErrChallenge, c.Receipt, r.hash)
	case r.claims.Trace.IsZero():
		return fmt.Errorf("%w: the receipt has no trace, so its states cannot be opened", ErrChallenge)
	}
	return c.validate()
}

// states computes all states again, showing them to visit, and then the whole
// sequence to keys.
func (r *run) states(ctx context.Context, visit func(layer, position int, x []float32), keys func(s *model.Sequence)) (tree *trace.Tree, err error) {
	err = r.passes(ctx, func(m *model.Model, s *model.Sequence, at, end int) error {
		if err := m.Forward([]model.Step{{Seq: s, Tokens: r.read[at:end], Trace: true, Visit: visit}}); err != nil || end < len(r.read) {
			return err
		}
		keys(s)
		var err error
		tree, err = s.Trace()
		return err
	}, func() (bool, error) { return true, nil })
	return tree, err
}
