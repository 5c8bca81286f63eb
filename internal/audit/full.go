package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// Full computes the answer of a receipt again: the prompt's tokens from what
// was given, all positions in one pass instead of one by one, every token drawn
// from its logits, the text and its end, and the trace if there is one. The
// file must show the tokens.
func (a *Auditor) Full(ctx context.Context, f *receipt.File, o Options) (receipt.Report, error) {
	r, ok := a.begin(f, o.Options)
	if !ok {
		return r.report, nil
	}
	outputs := all(len(r.drawn))
	if o.Outputs > 0 && o.Outputs < len(outputs) {
		c := Challenge{Receipt: r.hash, Random: o.Random, Outputs: o.Outputs}
		_, outputs = c.Cells(1, len(r.read), len(r.drawn))
	}
	traced := !r.claims.Trace.IsZero() && (r.opening.Trace != nil || o.Prover != nil)
	p, err := r.prefill(ctx, outputs, traced, r.draw)
	if err != nil {
		return r.report, noResult(&r.report, err)
	}
	right := p.right && r.checkAnswer()
	if right {
		r.report.Add(valid(receipt.CheckComputation, "%d positions computed again: %s", len(r.read), claim("tokens", len(r.drawn), len(outputs))))
	}
	switch {
	case traced:
		r.checkTrace(p.tree, o.Prover)
	case !r.claims.Trace.IsZero():
		r.report.Add(unverified(receipt.CheckTrace, "the trace salt is not shown, so the trace was not compared"))
	}
	return r.report, nil
}

func all(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

// noResult tells errors of the run, which fail a check, from those that leave
// no result.
func noResult(r *receipt.Report, err error) error {
	var notFinite *trace.NotFiniteError
	if errors.As(err, &notFinite) || errors.Is(err, engine.ErrNotFinite) {
		r.Add(invalid(receipt.CheckComputation, "%v", err))
		return nil
	}
	return err
}

// prefilled is what a prefill found.
type prefilled struct {
	right bool        // draw returned true each time
	tree  *trace.Tree // if asked for and complete
}

// prefill computes the run in passes. draw is called with the logits of the
// wanted outputs, in order, until it returns false; that is the end, unless
// there is a trace to complete.
func (r *run) prefill(ctx context.Context, outputs []int, traced bool, draw func(i int, logits []float32) bool) (p prefilled, err error) {
	c := r.auditor.Engine.Config()
	first := len(r.read) - len(r.drawn) // the position of output 0
	var now []int                       // outputs of the pass at hand
	var x []float32                     // after the last layer, of these
	p.right = true
	err = r.passes(ctx, func(m *model.Model, s *model.Sequence, at, end int) error {
		n := 0
		for n < len(outputs) && first+outputs[n] < end {
			n++
		}
		now, outputs = outputs[:n], outputs[n:]
		step := model.Step{Seq: s, Tokens: r.read[at:end], Trace: traced}
		if n > 0 && p.right {
			x = slices.Grow(x[:0], n*c.Dim)[:n*c.Dim]
			row := make([]int, end-at) // of x, from 1 on
			for i, o := range now {
				row[first+o-at] = i + 1
			}
			step.Visit = func(layer, position int, state []float32) {
				if i := row[position-at]; i > 0 && layer == c.Layers-1 {
					copy(x[(i-1)*c.Dim:], state)
				}
			}
		}
		if err := m.Forward([]model.Step{step}); err != nil || !traced || end < len(r.read) {
			return err
		}
		var err error
		p.tree, err = s.Trace()
		return err
	}, func() (bool, error) {
		var err error
		if p.right {
			p.right, err = r.drawAll(ctx, now, x[:len(now)*c.Dim], draw)
		}
		return p.right || traced, err
	})
	return p, err
}

// passes lets forward compute the run piece by piece with one sequence. Between
// the pieces others may use the model; after says whether to go on.
func (r *run) passes(ctx context.Context,
	forward func(m *model.Model, s *model.Sequence, at, end int) error, after func() (bool, error),
) error {
	e := r.auditor.Engine
	pass := r.auditor.Pass
	if pass == 0 {
		pass = maxPass
	}
	var seq *model.Sequence
	defer func() {
		if seq != nil { // also if ctx is over; a closed engine has no memory to give back
			_ = e.Compute(context.WithoutCancel(ctx), func(*model.Model) error { seq.Close(); return nil })
		}
	}()
	for at := 0; at < len(r.read); at += pass {
		if err := e.Compute(ctx, func(m *model.Model) error {
			if seq == nil {
				seq = m.NewSequence()
			}
			return forward(m, seq, at, min(at+pass, len(r.read)))
		}); err != nil {
			return err
		}
		if goOn, err := after(); err != nil || !goOn {
			return err
		}
		if p := r.auditor.Progress; p != nil {
			p(min(at+pass, len(r.read)), len(r.read))
		}
	}
	return nil
}

// drawAll computes the logits of outputs from x, some at a time, and draws.
func (r *run) drawAll(ctx context.Context, outputs []int, x []float32, draw func(i int, logits []float32) bool) (bool, error) {
	e := r.auditor.Engine
	c := e.Config()
	group := logitsBytes / 4 / c.Vocab
	group = min(max(group-group%12, 12), len(outputs)) // products are made of twelve at a time
	logits := make([]float32, group*c.Vocab)
	for at := 0; at < len(outputs); at += group {
		n := min(group, len(outputs)-at)
		if err := e.Compute(ctx, func(m *model.Model) error {
			return m.Outputs(logits[:n*c.Vocab], x[at*c.Dim:(at+n)*c.Dim])
		}); err != nil {
			return false, err
		}
		for i := range n {
			if err := ctx.Err(); err != nil { // a grammar may take long for each
				return false, err
			}
			if !draw(outputs[at+i], logits[i*c.Vocab:(i+1)*c.Vocab]) {
				return false, nil
			}
		}
	}
	return true, nil
}

// checkTrace compares the states with the receipt's, and with the prover's.
func (r *run) checkTrace(own, prover *trace.Tree) {
	where := ""
	if prover != nil {
		switch l, p, differ := own.FirstDifference(prover); {
		case differ:
			where = fmt.Sprintf("; the first state that differs is that of layer %d, position %d", l, p)
		case own.Equal(prover):
			where = "; the prover's states are those computed here"
		default:
			where = fmt.Sprintf("; the prover has %d layers and %d positions", prover.Layers(), prover.Positions())
		}
	}
	switch salt := r.opening.Trace; {
	case salt == nil:
		r.report.Add(unverified(receipt.CheckTrace, "the trace salt is not shown%s", where))
	case own.Commitment(salt[:]) != r.claims.Trace:
		r.report.Add(invalid(receipt.CheckTrace, "the %d states computed give another trace than the receipt's%s", own.Layers()*own.Positions(), where))
	default:
		r.report.Add(valid(receipt.CheckTrace, "all %d states are the receipt's", own.Layers()*own.Positions()))
	}
}
