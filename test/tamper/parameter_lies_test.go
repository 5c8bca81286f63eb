package tamper_test

import (
	"fmt"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/receipt"
)

// drew is a lie about a parameter: the receipt says q, the tokens were drawn as
// wrong makes of it.
func drew(q func() ask, wrong func(q *ask)) forger {
	return func(t *testing.T, w *world) *forged {
		asked := q()
		right, r := w.answer(t, asked), w.answer(t, with(q(), wrong))
		r.claims.Params, r.transcript.Bias, r.transcript.Extra = asked.params, asked.bias, asked.extra
		return r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
	}
}

// admitted is a receipt that tells what was done, which is not what was asked:
// it is found by who expects the parameters that were asked for.
func admitted(wrong func(p *receipt.Params), detail string) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, with(story(), func(q *ask) { wrong(&q.params) }))
		f := r.forged(t).at(detail)
		f.expect.Params = ptr(story().params)
		return f
	}
}

func gbnf(text string) *receipt.Grammar {
	return &receipt.Grammar{Kind: receipt.GrammarGBNF, Text: text}
}

var parameterLies = []lie{
	{name: "another temperature", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.params.Temperature = 0.7 })},
	{name: "temperature 0 instead of chance", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.params.Temperature = 0 })},
	{name: "chance instead of temperature 0", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(greedy, func(q *ask) { q.params.Temperature = 1.5 })},
	{name: "another top_k", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.params.TopK = 3 })},
	{name: "another top_p", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.params.TopP = 0.5 })},
	{name: "another min_p", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.params.MinP = 0.3 })},
	{name: "another repeat penalty", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.params.RepeatPenalty = 2 })},
	{name: "another frequency penalty", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.params.FrequencyPenalty = 3 })},
	{name: "another presence penalty", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.params.PresencePenalty = 3 })},
	{name: "another number of tokens that penalties look at", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(func() ask {
		return with(story(), func(q *ask) { q.params.RepeatPenalty = 3 })
	}, func(q *ask) { q.params.RepeatLastN = 2 })},
	{name: "a logit bias that is denied", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.bias = biased().bias })},
	{name: "a logit bias that was not obeyed", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(biased, func(q *ask) { q.bias = nil })},
	{name: "another logit bias", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(biased, func(q *ask) { q.bias = receipt.Bias{46: -100, 7: -3} })},
	{name: "a grammar that is denied", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: drew(story, func(q *ask) { q.extra = bounded().extra })},
	{name: "a grammar that was not obeyed", full: receipt.CheckComputation, sampled: receipt.CheckComputation, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.transcript.Extra = bounded().extra
		return r.forged(t).at("token 0: expected id 56, receipt has 46")
	}},
	{name: "another grammar", full: receipt.CheckComputation, sampled: receipt.CheckComputation, forge: drew(bounded, func(q *ask) { q.extra.Grammar = gbnf(`root ::= ("a" | "the" | " ")+ "."`) })},
	{name: "a grammar that nobody can read", full: receipt.CheckComputation, sampled: receipt.CheckComputation, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.transcript.Extra.Grammar = gbnf("root ::= (")
		return r.forged(t).at("no engine takes such a request")
	}},
	{name: "a grammar that no token fits", full: receipt.CheckComputation, sampled: receipt.CheckComputation, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.transcript.Extra.Grammar = gbnf(`root ::= "Z"`)
		return r.forged(t).at("token 0")
	}},
	{name: "a bias that leaves no token", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.transcript.Bias = receipt.Bias{}
		for i := range words {
			r.transcript.Bias[int32(i)] = negativeInfinity
		}
		return r.forged(t).at("token 0: nothing can be drawn")
	}},
	{name: "a bias of a token beyond the vocabulary", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongRun, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.transcript.Bias = receipt.Bias{1<<31 - 1: 1}
		return r.forged(t).at("logit_bias of token 2147483647, but the vocabulary has 64")
	}},
	{name: "another max_tokens", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		// Twelve tokens were asked for. The liar wrote twenty, and drops some
		// in the middle.
		right := w.answer(t, with(story(), func(q *ask) { q.params.MaxTokens = 12 }))
		r := w.answer(t, with(story(), func(q *ask) { q.params.MaxTokens = 20 }))
		out := r.transcript.Output
		r.transcript.Output = append(out[:6:6], out[14:]...)
		r.claims.Params.MaxTokens = 12
		r.transcript.Text = textOf(t, w, r)
		return r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
	}},
	{name: "a larger max_tokens than the one that ended the answer", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[9] = uint64(30)
	}, "the answer ended for its length at 24 tokens, but max_tokens is 30")},
	{name: "a smaller context than the one that ended the answer", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		// 40 positions were asked for; the liar leaves tokens out to fit in.
		q := with(story(), func(q *ask) { q.params.MaxTokens, q.params.Context = 0, 40 })
		right := w.small(t, 40).answer(t, q)
		r := w.answer(t, story())
		out := r.transcript.Output
		r.transcript.Output = append(out[:6:6], out[13:]...)
		r.claims.Params = q.params
		r.transcript.Text = textOf(t, w, r)
		return r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
	}},
	{name: "a claim that there is no bias, where there is one", offline: receipt.CheckBias, forge: craftedClaims(biased, func(c map[uint64]any) { delete(c[3].(map[uint64]any), 12) }, "the receipt's parameters say false")},
	{name: "a claim that there is a bias, where there is none", offline: receipt.CheckBias, forge: craftedClaims(story, func(c map[uint64]any) { c[3].(map[uint64]any)[12] = true }, "the receipt's parameters say true")},
	{name: "a claim that there are no stop strings, where there are some", offline: receipt.CheckExtra, forge: craftedClaims(bounded, func(c map[uint64]any) { delete(c[3].(map[uint64]any), 13) }, "the receipt's parameters say false")},
	{name: "another temperature than the one asked for, admitted", offline: receipt.CheckParams, forge: admitted(func(p *receipt.Params) { p.Temperature = 0.5 }, "temperature is 0.5, expected 1.5")},
	{name: "another top_k than the one asked for, admitted", offline: receipt.CheckParams, forge: admitted(func(p *receipt.Params) { p.TopK = 3 }, "top_k is 3, expected 40")},
	{name: "a shorter answer than asked for, admitted", offline: receipt.CheckParams, forge: admitted(func(p *receipt.Params) { p.MaxTokens = 5 }, "max_tokens is 5, expected 24")},
	{name: "a smaller context than asked for, admitted", offline: receipt.CheckParams, forge: func(t *testing.T, w *world) *forged {
		r := w.small(t, 30).answer(t, with(story(), func(q *ask) { q.params.MaxTokens, q.params.Context = 0, 30 }))
		f := r.forged(t).at("context is 30, expected 512")
		f.expect.Params = ptr(story().params)
		return f
	}},
	{name: "the model's end ignored, admitted", offline: receipt.CheckParams, forge: admitted(func(p *receipt.Params) { p.IgnoreEOS = true }, "ignore_eos is true, expected false")},
	{name: "a bias that nobody asked for, admitted", offline: receipt.CheckParams, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, biased()).forged(t).at("bias is true, expected false")
		f.expect.Params = ptr(story().params)
		return f
	}},
	{name: "another bias than the one asked for, admitted", offline: receipt.CheckBias, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, with(biased(), func(q *ask) { q.bias = receipt.Bias{46: 1} })).forged(t).at("not the expected bias")
		f.expect.Bias = biased().bias
		return f
	}},
	{name: "other stop strings than those asked for, admitted", offline: receipt.CheckExtra, forge: func(t *testing.T, w *world) *forged {
		q := with(stopped(), func(q *ask) { q.extra.Stop = []string{"k"} })
		f := w.answer(t, q).forged(t).at("not the expected parameters")
		f.expect.Extra = ptr(stopped().extra)
		return f
	}},
	{name: "another grammar than the one asked for, admitted", offline: receipt.CheckExtra, forge: func(t *testing.T, w *world) *forged {
		q := with(bounded(), func(q *ask) { q.extra.Grammar = gbnf(`root ::= ("a" | "the" | " ")+ "."`) })
		f := w.answer(t, q).forged(t).at("not the expected parameters")
		f.expect.Extra = ptr(bounded().extra)
		return f
	}},
	{name: "a parameter that is not a number", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[1] = notANumber
	}, "temperature is NaN")},
	{name: "a negative temperature", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[1] = float32(-1)
	}, "temperature is -1, want 0 to 100")},
	{name: "a number too large for a parameter", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[2] = uint64(1 << 40)
	}, fmt.Sprintf("top_k is %d", uint64(1<<40)))},
}
