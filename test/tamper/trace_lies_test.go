package tamper_test

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// state is a lie about states of a run whose text is right. Both audits name
// the first wrong cell: the one whose own inputs are right.
func state(layer, position int, vector string, change func(s *states)) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.states = w.states(t, r.read())
		change(r.states)
		return r.forged(t).at(fmt.Sprintf("the first state that differs is that of layer %d, position %d", layer, position)).
			in(fmt.Sprintf("layer cell %d, position %d: %s is not what the model computes", layer, position, vector))
	}
}

// opened is a lie told only when an audit asks: the receipt is right, what the
// liar opens is not.
func opened(detail string, change func(o *trace.Opening)) forger {
	return func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).forged(t).at(detail)
		f.open = change
		return f
	}
}

var traceLies = []lie{
	{name: "one bit of one state", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: state(1, 5, "x", func(s *states) { s.x[s.at(1, 5)][9] ^= 1 })},
	{name: "one bit of one key", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: state(2, 7, "kv", func(s *states) { s.kv[s.at(2, 7)][1] ^= 1 })},
	{name: "the first state", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: state(0, 0, "x", func(s *states) { s.x[s.at(0, 0)][2] ^= 4 })},
	{name: "the last state", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: state(2, 45, "x", func(s *states) { s.x[s.at(2, 45)][2] ^= 4 })},
	{name: "all states of a layer", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: state(1, 0, "x", func(s *states) {
		for p := range s.positions {
			s.x[s.at(1, p)][0] ^= 1
		}
	})},
	{name: "all states of a layer, those of the layer below", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: state(1, 0, "kv", func(s *states) {
		for p := range s.positions {
			s.x[s.at(1, p)], s.kv[s.at(1, p)] = s.x[s.at(0, p)], s.kv[s.at(0, p)]
		}
	})},
	{name: "two positions exchanged", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: state(0, 3, "kv", func(s *states) {
		for l := range s.layers {
			a, b := s.at(l, 3), s.at(l, 4)
			s.x[a], s.x[b], s.kv[a], s.kv[b] = s.x[b], s.x[a], s.kv[b], s.kv[a]
		}
	})},
	{name: "states of zeros", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: state(0, 0, "kv", func(s *states) {
		for i := range s.x {
			s.x[i], s.kv[i] = make([]byte, len(s.x[i])), make([]byte, len(s.kv[i]))
		}
	})},
	{name: "a state that is infinite", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		f := state(1, 5, "x", func(s *states) { copy(s.x[s.at(1, 5)][4:], []byte{0, 0, 0x80, 0x7f}) })(t, w)
		return f.in("layer cell 1, position 5: x")
	}},
	{name: "keys that are infinite", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		f := state(1, 5, "kv", func(s *states) { copy(s.kv[s.at(1, 5)][4:], []byte{0, 0x7c}) })(t, w)
		return f.in("layer 1, position 5 are not finite")
	}},
	{name: "the trace of another prompt", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		ids := r.read()
		ids[5] = 9
		r.states = w.states(t, ids)
		return r.forged(t).at("layer 0, position 5").in("layer cell 0, position 5")
	}},
	{name: "the trace of another answer", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		ids := r.read()
		ids[30] = 9
		r.states = w.states(t, ids)
		return r.forged(t).at("layer 0, position 30").in("layer cell 0, position 30")
	}},
	{name: "the trace of a shorter run", full: receipt.CheckTrace, sampled: receipt.CheckTrace, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.states = w.states(t, r.read()[:45])
		return r.forged(t).at("the prover has 3 layers and 45 positions").in("it is of 3 layers and 45 positions, the run has 3 and 46")
	}},
	{name: "the trace of a longer run", full: receipt.CheckTrace, sampled: receipt.CheckTrace, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.states = w.states(t, slices.Concat(r.transcript.Prompt, r.transcript.Output))
		return r.forged(t).at("the prover has 3 layers and 47 positions").in("it is of 3 layers and 47 positions")
	}},
	{name: "the trace of the last layer alone", full: receipt.CheckTrace, sampled: receipt.CheckTrace, dispute: dispute.WrongTrace, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		s := w.states(t, r.read())
		at := s.at(2, 0)
		r.states = &states{layers: 1, positions: s.positions, x: s.x[at:], kv: s.kv[at:]}
		return r.forged(t).at("the 138 states computed give another trace").in("it is of 1 layers")
	}},
	{name: "the trace under another salt", full: receipt.CheckTrace, sampled: receipt.CheckTrace, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.states = w.states(t, r.read())
		tree := r.states.tree(t)
		r.claims.Trace = receipt.TraceCommitment(receipt.Salt{9}, tree.Root(), tree.Layers(), tree.Positions())
		return r.forged(t).at("the prover's states are those computed here").in("give the commitment")
	}},
	{name: "a trace of nothing", full: receipt.CheckTrace, sampled: receipt.CheckTrace, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.claims.Trace = receipt.Hash{1, 2, 3}
		return r.forged(t).at("give another trace than the receipt's").in("give the commitment")
	}},
	{name: "a wrong salt of the trace shown", full: receipt.CheckTrace, sampled: receipt.CheckTrace, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).forged(t).at("give another trace than the receipt's").in("give the commitment")
		f.file.Opening.Trace = &receipt.Salt{9}
		f.open = func(o *trace.Opening) { o.Salt = make([]byte, 16) }
		return f
	}},
	{name: "when asked: another state", sampled: receipt.CheckTrace, forge: opened("positions 0 to 45 of layer 1 are not those of the layer's root", func(o *trace.Opening) {
		o.Parts[1].States[5].X = bytes.Clone(o.Parts[1].States[5].X)
		o.Parts[1].States[5].X[3] ^= 1
	})},
	{name: "when asked: another layer's root", sampled: receipt.CheckTrace, forge: opened("the roots of its layers give the commitment", func(o *trace.Opening) {
		o.Roots = slices.Clone(o.Roots)
		o.Roots[1][0] ^= 1
	})},
	{name: "when asked: nothing", sampled: receipt.CheckComputation, forge: opened("kv of layer 0, position 0 is not opened", func(o *trace.Opening) { o.Parts = nil })},
	{name: "when asked: all but one state", sampled: receipt.CheckComputation, forge: opened("x of layer 1, position 9 is not opened", func(o *trace.Opening) {
		s := &o.Parts[1].States[9]
		root := trace.VectorRoot(s.X)
		s.Whole, s.X = trace.WholeKV, root[:]
	})},
	{name: "when asked: a vector cut short", sampled: receipt.CheckTrace, forge: opened("layer 1, position 9", func(o *trace.Opening) {
		o.Parts[1].States[9].X = o.Parts[1].States[9].X[:512]
	})},
	{name: "when asked: the states of one layer as those of another", sampled: receipt.CheckTrace, forge: opened("of layer 2 are not those of the layer's root", func(o *trace.Opening) {
		o.Parts[2].States = o.Parts[1].States
	})},
	{name: "when asked: more positions than there are", sampled: receipt.CheckTrace, forge: opened("the roots of its layers give the commitment", func(o *trace.Opening) { o.Positions = 47 })},
	{name: "when asked: more positions than can be", sampled: receipt.CheckTrace, forge: opened("positions, want 1 to 1024 and 1 to 1048576", func(o *trace.Opening) { o.Positions = math.MaxInt })},
	{name: "when asked: a proof with a hash too many", sampled: receipt.CheckTrace, forge: opened("layer 0: the Merkle proof does not have the right form", func(o *trace.Opening) {
		o.Parts[0].Proof = append(o.Parts[0].Proof, o.Roots[0])
	})},
	{name: "when asked: the same states twice", sampled: receipt.CheckTrace, forge: opened("part 1 is positions 0 to 45 of layer 0", func(o *trace.Opening) {
		o.Parts = slices.Insert(o.Parts, 1, o.Parts[0])
	})},
}
