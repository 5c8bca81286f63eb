package tamper_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/receipt"
)

// unseen is what a receipt does not show: a file that passes although something
// about it is not as it seems. Here it is held that it passes, and that the
// report says what it can, so that nobody relies on more.
type unseen struct {
	name  string
	forge forger
	full  receipt.Verdict // of the full verification, as audit.Verdict has it
	// check speaks of it in the report, with its own verdict and this detail.
	check  string
	says   receipt.Verdict
	detail string
	helps  string // what does help, for the document
}

var unseens = []unseen{
	{
		name: "the answer was copied from an honest receipt, and signed by another key", full: receipt.Valid, check: receipt.CheckComputation, says: receipt.Valid, detail: "all 24 tokens are right",
		helps: "A nonce of your own: then it is a copy of an answer to you. Who computed it cannot be told; expect the key that you asked.",
		forge: func(t *testing.T, w *world) *forged {
			honest := w.answer(t, story())
			f := honest.sign(t)
			copied := *honest // all that was opened, and the commitment to the trace
			copied.claims = f.Receipt.Claims()
			copied.claims.Key = nil
			o := f.Opening
			s, err := receipt.Sign(copied.claims, keyOf(7))
			if err != nil {
				t.Fatal(err)
			}
			return &forged{file: &receipt.File{Receipt: s, Opening: o}, expect: expect(honest.claims.Seed)}
		},
	},
	{
		name: "two receipts of one answer, which look like two answers", full: receipt.Valid, check: receipt.CheckSignature, says: receipt.Valid, detail: "by aval-node-1",
		helps: "Count the nonces that you gave: another salt makes another transcript, too.",
		forge: func(t *testing.T, w *world) *forged {
			r := w.answer(t, story())
			first := r.sign(t).Receipt.Claims()
			o, err := receipt.Commit(receipt.Salt{7, 7}, &r.transcript)
			if err != nil {
				t.Fatal(err)
			}
			o.Fill(&r.claims)
			r.claims.Trace, o.Trace = receipt.Hash{}, nil
			s, err := receipt.Sign(r.claims, liar)
			if err != nil {
				t.Fatal(err)
			}
			if s.Claims().Transcript == first.Transcript {
				t.Error("the transcripts should be two, of one answer")
			}
			return &forged{file: &receipt.File{Receipt: s, Opening: o}, expect: expect(r.claims.Seed)}
		},
	},
	{
		name: "a second sampling, hidden: the signer chose the seed", full: receipt.Valid, check: receipt.CheckSeed, says: receipt.Unverified, detail: "chosen by the signer, who may have tried several",
		helps: "A nonce, or a beacon. The report says who chose.",
		forge: func(t *testing.T, w *world) *forged {
			return w.answer(t, with(story(), func(q *ask) { q.seed = receipt.SelfSeed(41) })).forged(t)
		},
	},
	{
		name: "asker and signer are the same, and chose the nonce together", full: receipt.Valid, check: receipt.CheckSeed, says: receipt.Unverified, detail: "only whoever chose it knows whether it is theirs",
		helps: "A beacon, for readers who did not ask.",
		forge: func(t *testing.T, w *world) *forged {
			f := w.answer(t, story()).forged(t)
			f.expect.Nonce = nil
			return f
		},
	},
	{
		name: "a beacon's round that nobody compared", full: receipt.Valid, check: receipt.CheckSeed, says: receipt.Unverified, detail: "the value was not compared",
		helps: "Ask the beacon for the value and the time of the round.",
		forge: func(t *testing.T, w *world) *forged {
			return w.answer(t, drawnBy("drand", 100, receipt.Hash{1, 2, 3})).forged(t)
		},
	},
	{
		name: "a beacon that was made up, at temperature 0", full: receipt.Valid, check: receipt.CheckSeed, says: receipt.Valid, detail: "without effect: the temperature is 0",
		helps: "Nothing need: there is one answer. But such a beacon says nothing about the time.",
		forge: func(t *testing.T, w *world) *forged {
			f := w.answer(t, with(greedy(), func(q *ask) { q.seed = receipt.BeaconSeed("my own", 1, receipt.Hash{1}) })).forged(t)
			f.expect.Beacon = rounds
			return f
		},
	},
	{
		name: "the better answer of those of two rounds of a beacon", full: receipt.Valid, check: receipt.CheckSeed, says: receipt.Valid, detail: "from round 99",
		helps: "A window no longer than the time between two rounds, and a greatest age.",
		forge: func(t *testing.T, w *world) *forged {
			a, b := w.answer(t, drawnBy("drand", 100, receipt.Hash{100, 7})), w.answer(t, drawnBy("drand", 99, receipt.Hash{99, 7}))
			if slices.Equal(a.transcript.Output, b.transcript.Output) {
				t.Error("there is nothing to choose")
			}
			f := b.forged(t)
			f.expect.Beacon = rounds
			return f
		},
	},
	{
		name: "an answer that was withheld: the signer said that it failed, and got another nonce", full: receipt.Valid, check: receipt.CheckSeed, says: receipt.Valid, detail: "from the expected nonce",
		helps: "Count the failures of a signer; a ledger where requests are announced.",
		forge: func(t *testing.T, w *world) *forged {
			withheld := w.answer(t, with(story(), func(q *ask) { q.seed = receipt.NonceSeed([]byte("the first nonce")) }))
			r := w.answer(t, story())
			if slices.Equal(withheld.transcript.Output, r.transcript.Output) {
				t.Error("there is nothing to withhold")
			}
			return r.forged(t)
		},
	},
	{
		name: "a clock that is wrong, but plausible", full: receipt.Valid, check: receipt.CheckTime, says: receipt.Valid, detail: "2026-",
		helps: "Look at once, with a greatest age; a block or a beacon whose time is known bounds the past.",
		forge: dated(-40*60, time.Hour, ""),
	},
	{
		name: "an old receipt, where no age was asked for", full: receipt.Valid, check: receipt.CheckTime, says: receipt.Valid, detail: "2016-",
		helps: "A greatest age.",
		forge: dated(-10*365*24*3600, 0, ""),
	},
	{
		name: "a block that does not exist", full: receipt.Valid, check: receipt.CheckSignature, says: receipt.Valid, detail: "by aval-node-1",
		helps: "Ask the chain: no check here looks at claim 11.",
		forge: func(t *testing.T, w *world) *forged {
			r := w.answer(t, story())
			r.claims.Ledger = &receipt.LedgerRef{Chain: "aval", Height: 1 << 60, Block: receipt.Hash{1}}
			return r.forged(t)
		},
	},
	{
		name: "an answer that is false, or nonsense", full: receipt.Valid, check: audit.CheckAnswer, says: receipt.Valid, detail: "24 tokens give this text",
		helps: "Nothing here: a receipt says what the model said.",
		forge: func(t *testing.T, w *world) *forged { return w.answer(t, talk()).forged(t) },
	},
	{
		name: "a model made to mislead, honestly named", full: receipt.Valid, check: receipt.CheckComputation, says: receipt.Valid, detail: "tokens are right",
		helps: "Know the fingerprint of the model that you want, and expect it. A name in the file proves nothing.",
		forge: func(t *testing.T, w *world) *forged {
			m := w.file.clone()
			otherWeights(t, m)
			bad := worldOf(t, m)
			f := bad.answer(t, story()).forged(t)
			f.with = bad
			return f
		},
	},
	{
		name: "a weight changed so little that no bit of the run changes", full: receipt.Valid, check: receipt.CheckTrace, says: receipt.Valid, detail: "all 138 states are the receipt's",
		helps: "Nothing need: the answer is the model's.",
		forge: func(t *testing.T, w *world) *forged {
			// The last bit of a number that is rounded to eight bits later.
			e := w.other(t, func(m *modelFile) { m.tensor(t, "blk.1.ffn_norm.weight").Data[4*7] ^= 1 })
			r := w.answerBy(t, e, story())
			r.states = statesOf(t, e, r.read())
			return r.forged(t)
		},
	},
	{
		name: "other parameters than those asked for, admitted, where none were expected", full: receipt.Valid, check: receipt.CheckComputation, says: receipt.Valid, detail: "all 24 tokens are right",
		helps: "Expect the parameters, the bias and the extra parameters.",
		forge: func(t *testing.T, w *world) *forged {
			return w.answer(t, with(story(), func(q *ask) { q.params.Temperature = 0.2 })).forged(t)
		},
	},
	{
		name: "an answer cut short by a limit that nobody asked for, admitted", full: receipt.Valid, check: audit.CheckAnswer, says: receipt.Valid, detail: `ended by "length"`,
		helps: "Expect the parameters: a context of just so many tokens ends an answer anywhere.",
		forge: func(t *testing.T, w *world) *forged {
			r := w.answer(t, story())
			r.transcript.Output = r.transcript.Output[:10]
			r.claims.Params.Context = len(r.transcript.Prompt) + 10
			r.transcript.Text = textOf(t, w, r)
			return r.forged(t)
		},
	},
	{
		name: "a template that drops the question, admitted, where none was expected", full: receipt.Valid, check: audit.CheckRendering, says: receipt.Valid, detail: "becomes these",
		helps: "Expect the extra parameters to be empty: the messages alone do not say what the model read.",
		forge: func(t *testing.T, w *world) *forged {
			q := with(talk(), func(q *ask) { q.extra.Template = "tell a story." })
			f := w.answer(t, q).forged(t)
			f.expect.Source = &q.source
			return f
		},
	},
	{
		name: "a prompt that was given as tokens", full: receipt.Valid, check: audit.CheckRendering, says: receipt.Valid, detail: "the prompt was given as tokens",
		helps: "Expect the prompt as text, or its tokens.",
		forge: func(t *testing.T, w *world) *forged { return w.answer(t, byIDs()).forged(t) },
	},
	{
		name: "another prompt than the tokens say, not shown", full: receipt.Valid, check: receipt.CheckComputation, says: receipt.Valid, detail: "all 24 tokens are right",
		helps: "Judge only what is shown: expect the source.",
		forge: func(t *testing.T, w *world) *forged {
			r := w.answer(t, story())
			r.transcript.Source.Text = []byte("something else")
			f := r.forged(t)
			f.file.Opening.Source = nil
			return f
		},
	},
	{
		name: "another text than the tokens give, not shown", full: receipt.Valid, check: audit.CheckAnswer, says: receipt.Valid, detail: "the text is not shown",
		helps: "Judge only what is shown: expect the text.",
		forge: func(t *testing.T, w *world) *forged {
			r := w.answer(t, story())
			r.transcript.Text = "something else"
			f := r.forged(t)
			f.file.Opening.Text = nil
			return f
		},
	},
	{
		name: "a wrong trace whose salt is not shown", full: receipt.Valid, check: receipt.CheckTrace, says: receipt.Unverified, detail: "the trace salt is not shown",
		helps: "Ask for the salt, or for a sampled audit.",
		forge: func(t *testing.T, w *world) *forged {
			r := w.answer(t, story())
			r.claims.Trace = receipt.Hash{1, 2, 3}
			f := r.forged(t)
			f.file.Opening.Trace, f.states = nil, nil
			return f
		},
	},
	{
		name: "anything, where the tokens are not shown", full: receipt.Unverified, check: receipt.CheckComputation, says: receipt.Unverified, detail: "does not show the tokens of the prompt",
		helps: "Ask for the opening, or have it sealed for an auditor.",
		forge: func(t *testing.T, w *world) *forged {
			r := w.answer(t, story())
			r.transcript.Output[7] = 9
			f := r.forged(t)
			f.file.Opening = f.file.Opening.Select(receipt.WholeOutput)
			return f
		},
	},
	{
		name: "anything, where the answer is not shown", full: receipt.Unverified, check: receipt.CheckComputation, says: receipt.Unverified, detail: "does not show the tokens drawn",
		helps: "Ask for the opening, or have it sealed for an auditor.",
		forge: func(t *testing.T, w *world) *forged {
			r := w.answer(t, story())
			r.transcript.Output[7] = 9
			f := r.forged(t)
			f.file.Opening = f.file.Opening.Select(receipt.WholePrompt | receipt.PartText)
			return f
		},
	},
	{
		name: "anything, where the auditor's box shows nothing", full: receipt.Unverified, check: receipt.CheckComputation, says: receipt.Unverified, detail: "does not show the tokens of the prompt",
		helps: "Ask for a box that shows what you need, before you rely on it.",
		forge: boxed("", func(t *testing.T, _ *world, f *receipt.File, key receipt.AuditorKey) {
			f.Sealed = []receipt.Box{seal(t, f.Opening.Select(0), f.Receipt.Hash(), key)}
		}),
	},
	{
		name: "a prompt that is expected and not shown", full: receipt.Unverified, check: receipt.CheckSource, says: receipt.Unverified, detail: "expected, but the receipt's file does not show it",
		helps: "The verdict is not `valid` then: look at it.",
		forge: func(t *testing.T, w *world) *forged {
			f := w.answer(t, story()).forged(t)
			f.file.Opening.Source = nil
			f.expect.Source = ptr(story().source)
			return f
		},
	},
	{
		name: "no time to compare with", full: receipt.Unverified, check: receipt.CheckTime, says: receipt.Unverified, detail: "there is no clock",
		helps: "Give the time.",
		forge: func(t *testing.T, w *world) *forged {
			r := w.answer(t, story())
			r.claims.Time = 1<<32 - 1
			f := r.forged(t)
			f.timeless = true
			return f
		},
	},
}

// TestUnseen holds each to the verdict that it gets, and to what the report
// says of it.
func TestUnseen(t *testing.T) {
	w := newWorld(t)
	for _, u := range unseens {
		t.Run(u.name, func(t *testing.T) {
			f := u.forge(t, w)
			file, r := f.offline(f.bytes(t))
			if file == nil || r.Verdict() != receipt.Unverified {
				t.Fatalf("offline: %s\n%s", r.Verdict(), &r)
			}
			in := w
			if f.with != nil {
				in = f.with
			}
			r = f.full(t, in, file)
			if v := audit.Verdict(&r); v != u.full || !contains(&r, u.check, u.says, u.detail) {
				t.Errorf("%s, want %s and the check %q %s with %q\n%s", v, u.full, u.check, u.says, u.detail, &r)
			}
		})
	}
}

// TestSampleMisses holds that a sample finds what its sizes promise, and not
// more: a lie in one token gets through an audit of other tokens.
func TestSampleMisses(t *testing.T) {
	w := newWorld(t)
	r := w.answer(t, story())
	r.transcript.Output[23] = 9
	r.transcript.Text = textOf(t, w, r)
	f := r.forged(t)
	o := f.states.open(t)
	missed, found := 0, 0
	for i := range uint32(60) {
		c := &audit.Challenge{Receipt: f.file.Receipt.Hash(), Layers: 2, Outputs: 6}
		binary.LittleEndian.PutUint32(c.Random[:], i)
		report, err := w.auditor.Sampled(t.Context(), f.file, c, o, f.options())
		if err != nil {
			t.Fatal(err)
		}
		if report.Failed() == nil {
			missed++
		} else {
			f.fails(t, "sampled", &report, receipt.CheckComputation, "token 23: expected id ")
			found++
		}
	}
	// Six of 24 tokens: 15 of 60 are found, with a deviation of 3.4; the
	// numbers are fixed.
	if found < 2 || missed < 30 {
		t.Errorf("a wrong token was found %d times and missed %d times, want about 15 and 45", found, missed)
	}
}
