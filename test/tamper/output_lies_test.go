package tamper_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/receipt"
)

// edited is a lie about the tokens of an answer. The liar spells the text and
// computes the trace anew, so that all fits but the choice of a token.
func edited(q func() ask, edit func(t *testing.T, ids []int32) []int32) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, q())
		right := r.transcript.Output
		r.transcript.Output = edit(t, slices.Clone(right))
		r.transcript.Text = textOf(t, w, r)
		return r.forged(t).at(changed(t, right, r.transcript.Output))
	}
}

// told is a lie about the text, the tokens being right.
func told(q func() ask, edit func(text string) string, detail string) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, q())
		text := edit(r.transcript.Text)
		if text == r.transcript.Text {
			t.Fatal("the liar's text is the right one: there is nothing to find")
		}
		r.transcript.Text = text
		return r.forged(t).at(detail)
	}
}

var outputLies = []lie{
	{name: "one token edited", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(story, func(_ *testing.T, ids []int32) []int32 { ids[7] = 9; return ids })},
	{name: "the first token edited", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(story, func(_ *testing.T, ids []int32) []int32 { ids[0] = 9; return ids })},
	{name: "the last token edited, which the model never reads", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(story, func(_ *testing.T, ids []int32) []int32 { ids[23] = 9; return ids })},
	{name: "one token edited, at temperature 0", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(greedy, func(_ *testing.T, ids []int32) []int32 { ids[7] = 9; return ids })},
	{name: "two tokens exchanged", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(story, func(_ *testing.T, ids []int32) []int32 { ids[3], ids[12] = ids[12], ids[3]; return ids })},
	{name: "the tokens in reverse", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(story, func(_ *testing.T, ids []int32) []int32 { slices.Reverse(ids); return ids })},
	{name: "a token put in, the last one dropped", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(story, func(_ *testing.T, ids []int32) []int32 { return slices.Insert(ids, 5, 9)[:24] })},
	{name: "a token taken out, another one added", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(story, func(_ *testing.T, ids []int32) []int32 { return append(slices.Delete(ids, 5, 6), 9) })},
	{name: "other tokens that spell the same text", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(func() ask {
		return with(story(), func(q *ask) { q.params.MaxTokens = 10 })
	}, func(t *testing.T, ids []int32) []int32 {
		i := slices.Index(ids, word("in"))
		if i < 0 {
			t.Fatal("the answer has no token to spell otherwise")
		}
		return slices.Replace(ids, i, i+1, word("i"), word("n"))[:10]
	})},
	{name: "a token beyond the vocabulary", full: receipt.CheckComputation, dispute: dispute.WrongRun, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.trace = false // no model has such states
		r.transcript.Output[7] = 64
		return r.forged(t).at("token 7: id 64 is not in the vocabulary of 64")
	}},
	{name: "a last token beyond the vocabulary", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, story())
		r.transcript.Output[23] = 1<<31 - 1
		return r.forged(t).at("token 23: id 2147483647 is not in the vocabulary of 64")
	}},
	{name: "the answer of another seed", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		right := w.answer(t, story())
		r := w.answer(t, with(story(), func(q *ask) { q.seed = receipt.NonceSeed([]byte("another nonce")) }))
		r.claims.Seed = right.claims.Seed
		return r.forged(t).at(changed(t, right.transcript.Output, r.transcript.Output))
	}},
	{name: "the answer to another prompt under this prompt", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r, other := w.answer(t, story()), w.answer(t, with(story(), say("the boat is on the sea.")))
		right := r.transcript.Output
		r.transcript.Output, r.transcript.Text = other.transcript.Output, other.transcript.Text
		return r.forged(t).at(changed(t, right, r.transcript.Output))
	}},
	{name: "the text is not that of the tokens", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: told(story, func(string) string { return "the bird is on the tree" }, "the tokens give another text, from byte 0 on")},
	{name: "one word of the text changed", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: told(story, func(s string) string { return strings.Replace(s, "end", "and", 1) }, "from byte 29 on")},
	{name: "something added to the text", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: told(story, func(s string) string { return s + " not" }, "from byte 35 on")},
	{name: "the end of the text left out", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: told(story, func(s string) string { return s[:20] }, "from byte 20 on")},
	{name: "no text at all", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: told(story, func(string) string { return "" }, "from byte 0 on")},
	{name: "a space before the text left out", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: told(bounded, strings.TrimSpace, "from byte 0 on")},
	{name: "a broken character mended in the text", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: told(story, func(s string) string { return strings.Replace(s, "\ufffd", "é", 1) }, "from byte 7 on")},
	{name: "the text spelled with another vocabulary", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, byIDs())
		right := r.transcript.Text
		r.transcript.Text = w.answerBy(t, w.other(t, func(m *modelFile) {
			list := slices.Clone(words)
			i, j := word("is"), word("d")
			list[i], list[j] = list[j], list[i]
			m.set("tokenizer.ggml.tokens", arrayOf(list))
		}), byIDs()).transcript.Text
		return r.forged(t).at(fmt.Sprintf("from byte %d on", common(right, r.transcript.Text)))
	}},
	{name: "another text than the one expected", offline: receipt.CheckText, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).forged(t).at("not the expected answer")
		f.expect.Text = ptr("the bird is on the tree")
		return f
	}},
}

func common(a, b string) int {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	return i
}

// shortened gives up the end of an answer, and claims why.
func shortened(q func() ask, n int, stop receipt.Stop, detail string, change func(r *run)) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, q())
		r.transcript.Output = r.transcript.Output[:n]
		r.claims.Stop = stop
		if change != nil {
			change(r)
		}
		r.transcript.Text = textOf(t, w, r)
		return r.forged(t).at(detail)
	}
}

func noContext() ask { return with(story(), func(q *ask) { q.params.Context = 0 }) }

var endLies = []lie{
	{name: "the answer cut, for its length", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: shortened(noContext, 20, receipt.StopLength, "nothing ends the answer after token 19", nil)},
	{name: "the answer cut, for its length, although the limits are in the claims", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) { c[7] = uint64(20) }, "the answer ended for its length at 20 tokens")},
	{name: "the answer cut, as if the model had ended it", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: shortened(story, 20, receipt.StopEOS, "nothing ends the answer after token 19, but the receipt says that it ended (eos)", nil)},
	{name: "the answer cut, and an end put behind it", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: shortened(story, 20, receipt.StopEOS, "token 20: expected id ", func(r *run) { r.transcript.Output = append(slices.Clone(r.transcript.Output), 1) })},
	{name: "the answer cut before the token that ended it", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: shortened(ended, 2, receipt.StopEOS, "nothing ends the answer after token 1", nil)},
	{name: "an answer of full length that the model is said to have ended", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: shortened(story, 24, receipt.StopEOS, `the answer ended by "length", receipt says "eos"`, nil)},
	{name: "the model's end said to be the limit", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, with(ended(), func(q *ask) { q.params.MaxTokens = 3 }))
		r.claims.Stop = receipt.StopLength
		return r.forged(t).at(`the answer ended by "eos", receipt says "length"`)
	}},
	{name: "the model's end ignored", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: func(t *testing.T, w *world) *forged {
		right := w.answer(t, ended())
		r := w.answer(t, with(ended(), func(q *ask) { q.params.IgnoreEOS = true }))
		r.claims.Params.IgnoreEOS = false
		return r.forged(t).at(fmt.Sprintf("the answer ends with token %d (eos), but the receipt has 24 tokens", len(right.transcript.Output)-1))
	}},
	{name: "the model's end obeyed, although it was to be ignored", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, with(ended(), func(q *ask) { q.params.Context = 0 }))
		r.claims.Params.IgnoreEOS, r.claims.Stop = true, receipt.StopLength
		return r.forged(t).at("nothing ends the answer after token 2")
	}},
	{name: "the model's end claimed, although it was to be ignored", offline: receipt.CheckRanges, forge: craftedClaims(ended, func(c map[uint64]any) {
		c[3].(map[uint64]any)[11] = true
	}, "ignore_eos is set")},
	{name: "text beyond max_tokens", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[9] = uint64(20)
	}, "24 output tokens, but max_tokens is 20")},
	{name: "text beyond the context", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[10] = uint64(30)
	}, "but the context is 30")},
	{name: "text beyond the model's own context", full: audit.CheckContext, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, noContext())
		r.trace = false
		r.transcript.Output = slices.Repeat(r.transcript.Output, 21)
		r.claims.Params.MaxTokens = len(r.transcript.Output)
		return r.forged(t).at("23 prompt and 504 output tokens, but the context is 512")
	}},
	{name: "a stop string missed", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: func(t *testing.T, w *world) *forged {
		right := w.answer(t, stopped())
		r := w.answer(t, story())
		r.transcript.Extra = stopped().extra
		return r.forged(t).at(fmt.Sprintf("the answer ends with token %d (stop)", len(right.transcript.Output)-1))
	}},
	{name: "a later stop string than the first", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: func(t *testing.T, w *world) *forged {
		first := w.answer(t, stopped())
		r := w.answer(t, with(story(), func(q *ask) { q.extra.Stop = []string{"in s td"} }))
		r.transcript.Extra.Stop = []string{"in s td", "in s"}
		return r.forged(t).at(fmt.Sprintf("the answer ends with token %d (stop)", len(first.transcript.Output)-1))
	}},
	{name: "the answer cut, as if by a stop string", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: shortened(func() ask {
		return with(story(), func(q *ask) { q.extra.Stop = []string{"never there"} })
	}, 20, receipt.StopString, "nothing ends the answer after token 19", func(r *run) { r.transcript.StopText = "never there" })},
	{name: "another of the stop strings named", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, stopped())
		r.transcript.StopText = "n s"
		return r.forged(t).at("the stop string is another one")
	}},
	{name: "a stop string that was not asked for", offline: receipt.CheckStop, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, stopped())
		r.transcript.StopText = "bird"
		return r.forged(t).at("the stop text is none of the 3 stop strings")
	}},
	{name: "the stop string left in the text", full: audit.CheckAnswer, sampled: audit.CheckAnswer, forge: told(stopped, func(s string) string { return s + "in s" }, "from byte 10 on")},
	{name: "a stop string without stop strings", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) { c[8] = uint64(1) }, "ended with a stop string, but there is no extra")},
	{name: "a stop text although the model ended its turn", offline: receipt.CheckStop, forge: func(t *testing.T, w *world) *forged {
		r := w.answer(t, ended())
		r.transcript.StopText = "in s"
		return r.forged(t).at("but the stop text has 4 bytes")
	}},
	{name: "another count of prompt tokens", offline: receipt.CheckPrompt, forge: craftedClaims(story, func(c map[uint64]any) { c[6] = uint64(22) }, "the opening shows 23 tokens, the receipt says 22")},
	{name: "another count of output tokens", offline: receipt.CheckOutput, forge: craftedClaims(func() ask {
		return with(ended(), func(q *ask) { q.params.MaxTokens = 10 })
	}, func(c map[uint64]any) { c[7] = uint64(4) }, "the opening shows 3 tokens, the receipt says 4")},
	{name: "no output tokens", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) { c[7] = uint64(0) }, "0 output tokens")},
	{name: "more output tokens than any answer has", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[7] = uint64(1<<32 - 1)
	}, "4294967295 output tokens, want 1 to 1048576")},
}
