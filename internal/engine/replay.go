package engine

import (
	"context"
	"strings"

	"github.com/avalnetwork/aval/internal/model"
)

// Compute lets f work with the engine's model, as if it were a step: requests
// wait until f is done, so long work is cut into several calls. What f keeps
// of the model beyond the call may be used in later calls only. The model's
// sequences must be closed by the last one.
func (e *Engine) Compute(ctx context.Context, f func(m *model.Model) error) error {
	b, ok := e.backend.(*loadedModel)
	if !ok {
		panic("engine: internal error: there is no model to compute with")
	}
	var err error
	if gone := e.owner.call(ctx, func() { err = f(b.model) }); gone != nil {
		return gone
	}
	return err
}

// Replay goes through a request whose tokens are known, as the one who checks
// them does: it says which token would be drawn, and what an answer of the
// tokens is, by the rules and the code by which the engine answers. Its methods
// are called by one goroutine at a time.
type Replay struct {
	machine *machine
	task    *task
	text    strings.Builder
	logits  int
}

// Replay begins a request again that an engine of the given context answered;
// it may differ from that of this one.
func (e *Engine) Replay(r Request, context int) (*Replay, error) {
	b := e.backend
	if err := r.validate(context, b.trained(), b.vocab()); err != nil {
		return nil, err
	}
	// A machine of its own: the engine's belongs to its owner.
	p := &Replay{machine: &machine{model: elsewhere{b, context}, words: e.owner.machine.words.again()}, logits: b.vocab()}
	p.task = newTask(&r, e.owner.clock())
	var err error
	if r.Grammar != nil {
		if p.task.constraint, err = e.constrain(r.Grammar); err != nil {
			return nil, err
		}
	}
	return p, p.task.begin(p.machine)
}

// elsewhere is a model with another context.
type elsewhere struct {
	backend
	positions int
}

func (e elsewhere) context() int { return e.positions }

// Next returns the token that the logits of the last position lead to.
func (p *Replay) Next(logits []float32) (int32, error) { return p.task.choose(logits) }

// Accept appends a token, drawn or not, and reports whether the answer ends
// with it. It is an error if no token can follow, or not this one.
func (p *Replay) Accept(id int32) (done bool, err error) {
	switch {
	case p.task.done:
		return true, requestErrorf("token %d comes after the end of the answer (%s)", id, p.task.result.Stop)
	case id < 0 || int(id) >= p.logits:
		return true, requestErrorf("token %d is not in the vocabulary of %d", id, p.logits)
	}
	done, err = p.task.accept(p.machine, id)
	for _, ev := range p.task.out {
		p.text.WriteString(ev.Text)
	}
	p.task.out = p.task.out[:0]
	if done {
		p.task.finish(p.task.arrived)
	}
	return done, err
}

// Result is the answer, once Accept has reported its end.
func (p *Replay) Result() *Result {
	r := p.task.result
	r.Text = p.text.String()
	return &r
}
