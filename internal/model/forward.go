package model

import (
	"fmt"

	"github.com/avalnetwork/aval/internal/kernel"
)

// Step is one sequence's part of a batch.
type Step struct {
	Seq *Sequence
	// Tokens are appended to the sequence; at least one.
	Tokens []int32
	// Want is the number of last tokens whose logits are wanted.
	Want int
	// Logits receives Want rows of the size of the vocabulary. It is allocated
	// if it is too short.
	Logits []float32
	// Embedding, if not nil, receives the mean over the tokens of the normed
	// state of the last layer, Config.Dim numbers. Want must be 0 then.
	Embedding []float32
	// Trace hashes the states of the tokens (internal/trace) and keeps the
	// hashes with the sequence, all of whose positions must have them.
	Trace bool
	// Visit, if not nil, is called with the residual stream after each layer
	// at each position of the sequence that the tokens take: once, but from
	// several goroutines at a time and in no order. x is valid during the call.
	Visit func(layer, position int, x []float32)

	pooled int // tokens added to Embedding so far
}

// ContextError says that a sequence would become longer than the model's
// limit.
type ContextError struct{ Have, Add, Limit int }

func (e *ContextError) Error() string {
	return fmt.Sprintf("%d positions and %d more do not fit the context of %d", e.Have, e.Add, e.Limit)
}

// Forward computes the steps, several sequences side by side. What a step
// gives does not depend, in any bit, on the others, on how tokens are cut into
// steps, or on the number of workers. After an error no sequence has changed.
func (m *Model) Forward(steps []Step) error {
	c := m.config
	for i := range steps {
		s := &steps[i]
		switch {
		case len(s.Tokens) == 0:
			return fmt.Errorf("step %d has no tokens", i)
		case s.Want < 0 || s.Want > len(s.Tokens):
			return fmt.Errorf("step %d wants the logits of %d of %d tokens", i, s.Want, len(s.Tokens))
		case s.Embedding != nil && (s.Want != 0 || len(s.Embedding) != c.Dim):
			return fmt.Errorf("step %d wants logits besides an embedding, or %d of its %d numbers", i, len(s.Embedding), c.Dim)
		case s.Trace && s.Seq.traced != s.Seq.n:
			return fmt.Errorf("step %d wants a trace, but only %d of the %d positions before it have one", i, s.Seq.traced, s.Seq.n)
		case s.Seq.n+len(s.Tokens) > c.limit:
			return &ContextError{s.Seq.n, len(s.Tokens), c.limit}
		}
		for _, t := range s.Tokens {
			if t < 0 || int(t) >= c.Vocab {
				return fmt.Errorf("step %d: token %d is not in the vocabulary of %d", i, t, c.Vocab)
			}
		}
		for j := range i {
			if steps[j].Seq == s.Seq {
				return fmt.Errorf("steps %d and %d are of the same sequence", j, i)
			}
		}
	}
	for i := range steps {
		s := &steps[i]
		if n := s.Want * c.Vocab; cap(s.Logits) < n {
			s.Logits = make([]float32, n)
		} else {
			s.Logits = s.Logits[:n]
		}
		clear(s.Embedding)
	}
	// Fill passes of at most MaxBatch positions; embeddings go alone.
	step, done := 0, 0
	for step < len(steps) {
		b := m.begin()
		for step < len(steps) && b.n < MaxBatch {
			s := &steps[step]
			if s.Embedding != nil && b.n > 0 {
				break
			}
			n := min(len(s.Tokens)-done, MaxBatch-b.n)
			m.add(b, s, done, n)
			if done += n; done == len(s.Tokens) {
				step, done = step+1, 0
			}
			if s.Embedding != nil {
				break
			}
		}
		m.finish(b)
		if b.owner != nil {
			m.mean(b.owner, len(b.out))
		}
	}
	return nil
}

// begin prepares the slot of the next pass.
func (m *Model) begin() *slot {
	b := &m.state.slots[m.pool.Acquire()]
	b.n, b.owner = 0, nil
	b.from, b.to, b.input = 0, m.config.Layers, nil
	b.tokens, b.pos, b.page = b.tokens[:0], b.pos[:0], b.page[:0]
	b.blocks, b.out = b.blocks[:0], b.out[:0]
	b.parts, b.watches = b.parts[:0], b.watches[:0]
	return b
}

// add appends n tokens of a step, from done on, to a pass.
func (m *Model) add(b *slot, s *Step, done, n int) {
	c := m.config
	first := s.Seq.n
	s.Seq.grow(n, s.Trace)
	b.part(s.Seq, first, n)
	for j := range n {
		b.tokens = append(b.tokens, s.Tokens[done+j])
		if s.Trace || s.Visit != nil {
			w := watch{row: b.n + j, position: first + j, visit: s.Visit}
			if s.Trace {
				w.states = s.Seq.pages[w.position/kernel.PageLen].states
			}
			b.watches = append(b.watches, w)
		}
		if back := len(s.Tokens) - done - j; back <= s.Want {
			row := s.Want - back
			b.out = append(b.out, output{b.n + j, s.Logits[row*c.Vocab : (row+1)*c.Vocab]})
		} else if s.Embedding != nil {
			b.out = append(b.out, output{row: b.n + j})
			b.owner = s
		}
	}
	b.n += n
}

// part says where the next n positions of a pass are: consecutive ones of a
// sequence.
func (b *slot) part(s *Sequence, first, n int) {
	i := len(b.parts)
	if i < cap(b.parts) {
		b.parts = b.parts[:i+1]
	} else {
		b.parts = append(b.parts, part{})
	}
	p := &b.parts[i]
	p.views = append(p.views[:0], s.views...)
	p.first, p.start, p.end = first, b.n, b.n+n
	for pos := first; pos < first+n; pos++ {
		b.pos = append(b.pos, int32(pos))
		b.page = append(b.page, place{p.views[pos/kernel.PageLen].Data, pos % kernel.PageLen})
	}
	for at := p.start; at < p.end; at += queryBlock {
		b.blocks = append(b.blocks, queries{i, at, min(at+queryBlock, p.end)})
	}
}

// finish runs the pass.
func (m *Model) finish(b *slot) {
	c := m.config
	b.norm.Reset(b.n, c.Dim)
	b.attended.Reset(b.n, c.queryDim())
	b.ffn.Reset(b.n, c.FFN)
	b.final.Reset(max(len(b.out), 1), c.Dim)
	m.resetLows(b)
	m.pool.Run(m.program)
}

// mean adds the normed states of n positions, in their order, to the
// embedding of a step, and divides by their number after the last.
func (m *Model) mean(s *Step, n int) {
	dim := m.config.Dim
	for i := range n {
		for d := range s.Embedding {
			s.Embedding[d] += m.state.y[i*dim+d]
		}
	}
	s.pooled += n
	if s.pooled == len(s.Tokens) {
		for d := range s.Embedding {
			s.Embedding[d] = float32(s.Embedding[d] / float32(s.pooled))
		}
		s.pooled = 0
	}
}
