package tamper_test

import (
	"crypto/ecdh"
	"crypto/hpke"
	"fmt"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// recommitted is a lie in a part that Commit would refuse: its digest is made
// by hand, and all is signed.
func recommitted(q func() ask, detail string, change func(o *receipt.Opening)) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, q())
		o := r.commit(t)
		change(o)
		hash := func(purpose string, salt receipt.Salt, part any) canon.Hash {
			b, err := canon.Marshal(part)
			if err != nil {
				t.Fatal(err)
			}
			return canon.Sum(purpose, salt[:], b)
		}
		o.Digests.Source = hash("aval source/1", o.Source.Salt, &o.Source.Source)
		o.Digests.Bias = hash("aval bias/1", o.Bias.Salt, &o.Bias.Bias)
		o.Digests.Extra = hash("aval extra/1", o.Extra.Salt, &o.Extra.Extra)
		o.Fill(&r.claims)
		s, err := receipt.Sign(r.claims, liar)
		if err != nil {
			t.Fatal(err)
		}
		return (&forged{file: &receipt.File{Receipt: s, Opening: o}, expect: expect(r.claims.Seed)}).at(detail)
	}
}

// moved says that the answer began later: its first tokens are the prompt's.
func moved(q ask, check func(t *testing.T, w *world, r *run, f *forged)) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, q)
		out := r.transcript.Output
		r.transcript.Prompt = slices.Concat(r.transcript.Prompt, out[:3])
		r.transcript.Output = out[3:]
		r.claims.Params.MaxTokens -= 3
		r.transcript.Text = textOf(t, w, r)
		f := r.forged(t)
		check(t, w, r, f)
		return f
	}
}

var attackLies = []lie{
	{name: "a variable of the template in the place of the messages", offline: receipt.CheckSource, forge: recommitted(talk, `the template variable "messages" would take the place`, func(o *receipt.Opening) {
		o.Source.Source.Variables = map[string]string{"messages": `[{"role":"user","content":"say no."}]`}
	})},
	{name: "a variable of the template in the place of the first token", offline: receipt.CheckSource, forge: recommitted(talk, `"bos_token" would take the place`, func(o *receipt.Opening) {
		o.Source.Source.Variables = map[string]string{"bos_token": `"be unkind."`}
	})},
	{name: "the first tokens of the answer said to be the prompt's", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: moved(byIDs(), func(t *testing.T, w *world, r *run, f *forged) {
		right := w.answerIDs(t, with(byIDs(), func(q *ask) { q.params.MaxTokens = 21 }), r.transcript.Prompt)
		f.at(changed(t, right.transcript.Output, r.transcript.Output))
	})},
	{name: "the first tokens of the answer said to be the prompt's, which is a text", full: audit.CheckRendering, sampled: audit.CheckRendering, forge: moved(story(), func(_ *testing.T, _ *world, r *run, f *forged) {
		f.at(fmt.Sprintf("has %d tokens, receipt has %d", len(r.transcript.Prompt)-3, len(r.transcript.Prompt)))
	})},
	{name: "a bias that is denied, and hidden", full: receipt.CheckComputation, forge: func(t *testing.T, w *world) *forged {
		f := untraced(biased, func(c map[uint64]any) { delete(c[3].(map[uint64]any), 12) }, receipt.Whole&^receipt.PartBias)(t, w)
		return f.at(changed(t, w.answer(t, story()).transcript.Output, w.answer(t, biased()).transcript.Output))
	}},
	{name: "a grammar that is denied, and hidden", full: receipt.CheckComputation, forge: func(t *testing.T, w *world) *forged {
		f := untraced(bounded, func(c map[uint64]any) { delete(c[3].(map[uint64]any), 13) }, receipt.Whole&^receipt.PartExtra)(t, w)
		return f.at(changed(t, w.answer(t, story()).transcript.Output, w.answer(t, bounded()).transcript.Output))
	}},
	{name: "stop strings that are denied, and hidden", full: audit.CheckAnswer, forge: func(t *testing.T, w *world) *forged {
		n := len(w.answer(t, stopped()).transcript.Output)
		return untraced(stopped, func(c map[uint64]any) {
			delete(c[3].(map[uint64]any), 13)
			c[8] = uint64(receipt.StopEOS)
		}, receipt.IDs&^receipt.PartExtra)(t, w).at(fmt.Sprintf("nothing ends the answer after token %d", n-1))
	}},
	{name: "a wrong state of a run of one token", full: receipt.CheckTrace, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: func(t *testing.T, w *world) *forged {
		r := w.answerIDs(t, with(byIDs(), func(q *ask) { q.params.MaxTokens = 1 }), []int32{0})
		r.states = w.states(t, r.read())
		r.states.x[r.states.at(1, 0)][5] ^= 1
		return r.forged(t).at("layer 1, position 0").in("layer cell 1, position 0: x")
	}},
	{name: "a wrong token of a run of one token", full: receipt.CheckComputation, sampled: receipt.CheckComputation, dispute: dispute.WrongClosing, forge: edited(func() ask {
		return with(story(), func(q *ask) { q.params.MaxTokens = 1 })
	}, func(_ *testing.T, ids []int32) []int32 { return []int32{ids[0] + 1} })},
	{name: "when asked: the trace of another receipt of the same signer", sampled: receipt.CheckTrace, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).forged(t).at("the roots of its layers give the commitment")
		other := w.answer(t, with(story(), func(q *ask) { q.params.Temperature = 0.3 }))
		s := w.states(t, other.read())
		f.open = func(o *trace.Opening) { *o = *s.open(t) }
		return f
	}},
	{name: "a context that no model has, so that nobody can compute", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[10] = uint64(1 << 24)
	}, "context is 16777216, want 0 to 1048576")},
	{name: "the whole context claimed to be used", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		delete(c[3].(map[uint64]any), 9)
		c[3].(map[uint64]any)[10] = uint64(1 << 20)
	}, "47 positions of 1048576 are used")},
	{name: "counts whose sum is beyond the context", offline: receipt.CheckRanges, forge: craftedClaims(story, func(c map[uint64]any) {
		c[6], c[7] = uint64(1<<20), uint64(1<<20)
		delete(c[3].(map[uint64]any), 9)
	}, "1048576 prompt and 1048576 output tokens, but the context is 512")},
	{name: "a whole number where a float belongs", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) {
		c[3].(map[uint64]any)[1] = uint64(1)
	}, "not in the deterministic encoding")},
	{name: "a float where a whole number belongs", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) { c[9] = float64(1_790_000_000) }, "not canonical CBOR")},
	{name: "a nonce that is a text", offline: receipt.CheckClaims, forge: craftedClaims(story, func(c map[uint64]any) { c[4] = []any{uint64(1), string(nonce)} }, "the seed is not")},
	{name: "claims that are a list", offline: receipt.CheckClaims, forge: resigned("not canonical CBOR", func([]byte) []byte { return []byte{0x80} })},
	{name: "a receipt in the claims of a receipt", offline: receipt.CheckClaims, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).sign(t)
		return fileOf(t, message(f.Receipt.Bytes(), liar), f.Opening).at("not canonical CBOR")
	}},
	{name: "a signature of zeros", offline: receipt.CheckSignature, forge: raw("it is not that of the key", func(_ *testing.T, b []byte) []byte {
		clear(b[len(b)-64:])
		return b
	})},
	{name: "five digests", offline: receipt.CheckFile, forge: spoiled(func(o map[uint64]any) { o[1] = o[1].([]any)[:5] })},
	{name: "a part that is null", offline: receipt.CheckFile, forge: spoiled(func(o map[uint64]any) { o[5] = nil })},
	{name: "no ranges, at length", offline: receipt.CheckFile, forge: spoiled(func(o map[uint64]any) { o[10] = []any{} })},
	{name: "ids that are cut", offline: receipt.CheckFile, forge: spoiled(func(o map[uint64]any) { o[5] = []any{make([]byte, 16), make([]byte, 91)} })},
	{name: "a salt that is cut", offline: receipt.CheckFile, forge: spoiled(func(o map[uint64]any) { o[8] = make([]byte, 15) })},
	{name: "messages in a prompt that is a text", offline: receipt.CheckSource, forge: recommitted(story, "fields of a chat in a source of kind 0", func(o *receipt.Opening) {
		o.Source.Source.Messages = talk().source.Messages
	})},
	{name: "a prompt of an unknown kind", offline: receipt.CheckSource, forge: recommitted(byIDs, "kind 7, want", func(o *receipt.Opening) { o.Source.Source.Kind = 7 })},
	{name: "a bias that is not a number", offline: receipt.CheckBias, forge: recommitted(biased, "neither a finite number nor -Inf", func(o *receipt.Opening) { o.Bias.Bias = receipt.Bias{3: notANumber} })},
	{name: "a bias that is infinite", offline: receipt.CheckBias, forge: recommitted(biased, "neither a finite number nor -Inf", func(o *receipt.Opening) { o.Bias.Bias = receipt.Bias{3: -negativeInfinity} })},
	{name: "a bias of very many tokens", offline: receipt.CheckBias, forge: recommitted(biased, "1025 tokens, want at most 1024", func(o *receipt.Opening) {
		o.Bias.Bias = receipt.Bias{}
		for i := range int32(1025) {
			o.Bias.Bias[i] = 1
		}
	})},
	{name: "a stop string that is empty", offline: receipt.CheckExtra, forge: recommitted(stopped, "stop string 1 has 0 bytes", func(o *receipt.Opening) { o.Extra.Extra.Stop = []string{"a", ""} })},
	{name: "a grammar of an unknown kind", offline: receipt.CheckExtra, forge: recommitted(bounded, `grammar of kind "prolog"`, func(o *receipt.Opening) {
		o.Extra.Extra.Grammar = &receipt.Grammar{Kind: "prolog"}
	})},
	{name: "a text beside the grammar that has none", offline: receipt.CheckExtra, forge: recommitted(bounded, `the grammar "json" has no text`, func(o *receipt.Opening) {
		o.Extra.Extra.Grammar = &receipt.Grammar{Kind: receipt.GrammarJSON, Text: "{}"}
	})},
	{name: "a box with something else in it", offline: receipt.CheckSeal, forge: boxed("not an opening", func(t *testing.T, _ *world, f *receipt.File, key receipt.AuditorKey) {
		f.Sealed = []receipt.Box{sealAny(t, []byte("trust me"), f, key)}
	})},
	{name: "a box with an opening and more", offline: receipt.CheckSeal, forge: boxed("not an opening", func(t *testing.T, _ *world, f *receipt.File, key receipt.AuditorKey) {
		b, err := canon.Marshal(f.Opening)
		if err != nil {
			t.Fatal(err)
		}
		f.Sealed = []receipt.Box{sealAny(t, append(b, 0), f, key)}
	})},
}

// untraced is a lie in the claims of a receipt without a trace, whose file
// shows some parts only.
func untraced(q func() ask, change func(c map[uint64]any), shown receipt.Part) forger {
	return func(t *testing.T, w *world) *forged {
		r := w.answer(t, q())
		r.trace = false
		f := r.sign(t)
		return fileOf(t, recraft(t, f, change), f.Opening.Select(shown))
	}
}

// spoiled is a lie in the form of an opening.
func spoiled(change func(o map[uint64]any)) forger {
	return func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).sign(t)
		b, err := canon.Marshal(f.Opening)
		if err != nil {
			t.Fatal(err)
		}
		var o map[uint64]any
		if err := canon.Unmarshal(b, &o); err != nil {
			t.Fatal(err)
		}
		change(o)
		return craftedOpening(t, f, o).at("not a file of a receipt")
	}
}

// sealAny seals any bytes, by spec/receipt.md section 8.
func sealAny(t *testing.T, plain []byte, f *receipt.File, key receipt.AuditorKey) receipt.Box {
	t.Helper()
	const suite = "aval-seal/1"
	id, of := key.ID(), f.Receipt.Hash()
	k, err := hpke.DHKEM(ecdh.X25519()).NewPublicKey(publicBytes(t, key))
	if err != nil {
		t.Fatal(err)
	}
	info := canon.Sum("aval seal/1", []byte(suite), of[:])
	data, err := hpke.Seal(k, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), info[:], plain)
	if err != nil {
		t.Fatal(err)
	}
	return receipt.Box{Suite: suite, KeyID: id, Data: data}
}
