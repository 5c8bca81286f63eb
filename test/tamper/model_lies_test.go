package tamper_test

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// wrote is a lie about who computed the text: a changed model wrote it, the
// honest one then only read it, so that every state of the trace is right. It
// is found at the first token that the honest model does not draw.
func wrote(change func(t *testing.T, m *modelFile)) forger {
	return wroteFor(story, change)
}

func wroteFor(q func() ask, change func(t *testing.T, m *modelFile)) forger {
	return func(t *testing.T, w *world) *forged {
		e := w.other(t, func(m *modelFile) { change(t, m) })
		r := w.answerBy(t, e, q())
		right := w.answer(t, q())
		return r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
	}
}

// textOf is the text that the honest vocabulary gives.
func textOf(t testing.TB, w *world, r *run) string {
	t.Helper()
	p, err := w.engine.Replay(engineRequest(r), room)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range r.transcript.Output {
		if done, err := p.Accept(id); err != nil {
			t.Fatal(err)
		} else if done {
			break
		}
	}
	return p.Result().Text
}

// traced is a lie about the states: those of a changed model, under the text of
// the honest one. It is found at the first state.
func traced(layer, position int, change func(t *testing.T, m *modelFile)) forger {
	return func(t *testing.T, w *world) *forged {
		e := w.other(t, func(m *modelFile) { change(t, m) })
		r := w.answer(t, story())
		r.states = statesOf(t, e, r.read())
		return r.forged(t).at(fmt.Sprintf("layer %d, position %d", layer, position)).
			in(fmt.Sprintf("layer cell %d, position %d", layer, position))
	}
}

func setMeta(key string, v gguf.Value) func(t *testing.T, m *modelFile) {
	return func(_ *testing.T, m *modelFile) { m.set(key, v) }
}

// otherWeights draws all weights anew.
func otherWeights(_ *testing.T, m *modelFile) {
	s := testmodel.Models[0]
	s.Name = "another"
	m.tensors = s.Tensors(false)
}

// oneWeight changes a single number of a norm.
func oneWeight(to float32) func(t *testing.T, m *modelFile) {
	return func(t *testing.T, m *modelFile) {
		x := m.tensor(t, "blk.1.ffn_norm.weight")
		binary.LittleEndian.PutUint32(x.Data[4*7:], math.Float32bits(to))
	}
}

// oneBit changes the last bit of a single weight.
func oneBit(t *testing.T, m *modelFile) {
	x := m.tensor(t, "blk.1.ffn_down.weight")
	x.Data[len(x.Data)/2] ^= 1
}

var modelLies = []lie{
	{name: "another model wrote the text, the right one read it (temperature 1.5)", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(otherWeights)},
	{name: "another model wrote the text, the right one read it (temperature 0)", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wroteFor(greedy, otherWeights)},
	{name: "another model wrote the text, and nothing is committed but the text", full: receipt.CheckComputation, forge: func(t *testing.T, w *world) *forged {
		r, right := w.answerBy(t, w.other(t, func(m *modelFile) { otherWeights(t, m) }), story()), w.answer(t, story())
		r.trace = false
		return r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
	}},
	{name: "the states of another model under the right text", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: traced(0, 0, otherWeights)},
	{name: "another quantisation of the same model (Q8_0)", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(func(t *testing.T, m *modelFile) { m.retype(t, gguf.Q8_0) })},
	{name: "a smaller quantisation of the same model (Q4_0)", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(func(t *testing.T, m *modelFile) { m.retype(t, gguf.Q4_0) })},
	{name: "float weights instead of the quantised ones, of the same values", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: traced(0, 0, func(t *testing.T, m *modelFile) { m.retype(t, gguf.F32) })},
	{name: "one weight changed, so that the text changes", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(oneWeight(-40))},
	{name: "one bit of one weight changed, with the same text", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: traced(1, 0, oneBit)},
	{name: "another base of the rotary angles", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(setMeta("llama.rope.freq_base", gguf.ValueOf(float32(5e5))))},
	{name: "another scaling of the rotary angles", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(setMeta("llama.rope.scale_linear", gguf.ValueOf(float32(2))))},
	{name: "another epsilon of the norms", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(setMeta("llama.attention.layer_norm_rms_epsilon", gguf.ValueOf(float32(1e-2))))},
	{name: "another epsilon of the norms, with the same text", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: traced(0, 0, setMeta("llama.attention.layer_norm_rms_epsilon", gguf.ValueOf(float32(2e-6))))},
	{name: "an adapter that the receipt does not name", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r, right := w.answerBy(t, w.with(t, adapters(t)[0]), story()), w.answer(t, story())
		return r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
	}},
	{name: "an adapter that the receipt does not name, in the trace only", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.states = statesOf(t, w.with(t, adapters(t)[0]), r.read())
		return r.forged(t).at("layer 0, position 0").in("layer cell 0, position 0")
	}},
	{name: "a layer skipped", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(func(t *testing.T, m *modelFile) { m.skip(t, 1) })},
	{name: "a layer skipped in the trace, with the right text", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: traced(1, 0, func(t *testing.T, m *modelFile) { m.skip(t, 1) })},
	{name: "a layer computed twice", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(func(_ *testing.T, m *modelFile) { m.repeat(1, 3) })},
	{name: "a layer computed twice, and all four of them in the trace", full: receipt.CheckTrace, sampled: receipt.CheckTrace, dispute: dispute.WrongTrace, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.states = statesOf(t, w.other(t, func(m *modelFile) { m.repeat(1, 3) }), r.read())
		return r.forged(t).at("layer 2, position 0").in("it is of 4 layers")
	}},
	{name: "two layers swapped", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: wrote(func(_ *testing.T, m *modelFile) { m.swap(0, 2) })},
	{name: "keys and values kept in eight bits", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.states = r.cheapRun(t, story(), cheap{kv: true})
		r.transcript.Text = textOf(t, w, r)
		return r.forged(t).at("layer 0, position 0").in("layer cell 0, position 0: kv")
	}},
	{name: "keys and values kept in eight bits, with the right text", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		s := w.states(t, r.read())
		for i := range s.kv {
			roundHalves(s.kv[i])
		}
		r.states = s
		return r.forged(t).at("layer 0, position 0").in("layer cell 0, position 0: kv")
	}},
	{name: "keys and values kept in eight bits while writing, the right states in the trace", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		right := r.transcript.Output
		r.cheapRun(t, story(), cheap{kv: true})
		r.transcript.Text = textOf(t, w, r)
		return r.forged(t).at(changed(t, right, r.transcript.Output))
	}},
	{name: "one layer computed with fewer bits", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.states = r.cheapRun(t, story(), cheap{x: true})
		r.transcript.Text = textOf(t, w, r)
		return r.forged(t).at("layer 1, position 0").in("layer cell 1, position 0: x")
	}},
	{name: "the receipt names another model than the one expected", offline: receipt.CheckModel, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.claims.Model[3] ^= 1
		f := r.forged(t).at("expected " + w.auditor.Model.String())
		f.expect.Model = w.auditor.Model
		return f
	}},
	{name: "the receipt names another model than the one at hand", full: receipt.CheckModel, sampled: receipt.CheckModel, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.claims.Model = receipt.Hash{9}
		return r.forged(t).at("expected " + w.auditor.Model.String())
	}},
	{name: "a file with an added metadata key is not the model", full: receipt.CheckModel, sampled: receipt.CheckModel, forge: func(t *testing.T, w *world) *forged {
		m := w.file.clone()
		m.set("general.note", gguf.ValueOf("nothing else was changed"))
		r := w.answer(t, story())
		r.claims.Model = rootOf(t, m.write(t))
		return r.forged(t).at("the receipt is for " + r.claims.Model.String())
	}},
	{name: "the file names another token as the end of the answer", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: func(t *testing.T, w *world) *forged {
		q := ended()
		right := w.answer(t, q)
		r := w.answerBy(t, w.other(t, func(m *modelFile) {
			m.set("tokenizer.ggml.eos_token_id", gguf.ValueOf(uint32(60)))
			list := slices.Clone(words)
			list[1] = "<|turn|>"
			m.set("tokenizer.ggml.tokens", gguf.ArrayOf(list))
		}), q)
		return r.forged(t).at(fmt.Sprintf("the answer ends with token %d (eos)", len(right.transcript.Output)-1))
	}},
}

// cheap says what a run saves.
type cheap struct{ kv, x bool }

// cheapRun answers with the honest weights, but keeps keys and values, or x
// after layer 1, in fewer bits. It sets the answer and returns its states.
func (r *run) cheapRun(t testing.TB, q ask, c cheap) *states {
	t.Helper()
	cfg := r.w.engine.Config()
	request := q.request(t, r.transcript.Prompt)
	sampler, err := sample.New(request.Params, cfg.Vocab)
	if err != nil {
		t.Fatal(err)
	}
	prompt, drawn := r.transcript.Prompt, len(r.transcript.Output)
	n := len(prompt) + drawn - 1
	s := &states{layers: cfg.Layers, positions: n, x: make([][]byte, cfg.Layers*n), kv: make([][]byte, cfg.Layers*n)}
	ids := slices.Clone(prompt)
	if err := r.w.engine.Compute(t.Context(), func(m *model.Model) error {
		seq := m.NewSequence()
		defer seq.Close()
		logits := make([]float32, cfg.Vocab)
		for p := range n {
			var x []float32
			for l := range cfg.Layers {
				cell := &model.Cells{Layer: l, Positions: []int{p}, X: x}
				if l == 0 {
					cell.Tokens = ids[p : p+1]
					// Room for the new position in every layer.
					for l := range cfg.Layers {
						if err := seq.SetKV(l, p, make([]byte, 2*cfg.StateShape().KV)); err != nil {
							return err
						}
					}
				}
				var err error
				if x, err = m.Cells(seq, cell); err != nil {
					return err
				}
				if c.x && l == 1 {
					for i, v := range x {
						x[i] = math.Float32frombits(math.Float32bits(v) &^ 0xffff)
					}
				}
				kv := seq.KV(nil, l, p, p+1)
				if c.kv {
					roundHalves(kv)
					if err := seq.SetKV(l, p, kv); err != nil {
						return err
					}
				}
				b := make([]byte, 4*len(x))
				trace.PutX(b, x)
				s.x[s.at(l, p)], s.kv[s.at(l, p)] = b, kv
			}
			if p < len(prompt)-1 {
				continue
			}
			if err := m.Outputs(logits, x); err != nil {
				return err
			}
			id, err := sampler.Sample(logits, ids, len(ids)-len(prompt), nil)
			if err != nil {
				return err
			}
			ids = append(ids, id)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.transcript.Output = ids[len(prompt):]
	return s
}

// roundHalves keeps eight bits of each binary16 number.
func roundHalves(b []byte) {
	for i := 0; i < len(b); i += 2 {
		b[i] = 0
	}
}
