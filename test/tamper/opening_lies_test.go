package tamper_test

import (
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// shown is a lie in what is shown beside a receipt that is right.
func shown(detail string, change func(t *testing.T, o *receipt.Opening)) forger {
	return shownOf(story, detail, change)
}

func shownOf(q func() ask, detail string, change func(t *testing.T, o *receipt.Opening)) forger {
	return func(t *testing.T, w *world) *forged {
		f := w.answer(t, q()).forged(t).at(detail)
		change(t, f.file.Opening)
		return f
	}
}

// ranged shows the tokens 5 to 9 of the answer, and spoils what proves them.
func ranged(detail string, change func(r *receipt.Range)) forger {
	return shown(detail, func(t *testing.T, o *receipt.Opening) {
		r, err := o.OutputRange(5, 10)
		if err != nil {
			t.Fatal(err)
		}
		r.IDs, r.Salts, r.Proof = slices.Clone(r.IDs), slices.Clone(r.Salts), slices.Clone(r.Proof)
		change(&r)
		*o = *o.Select(0)
		o.OutputRanges = []receipt.Range{r}
	})
}

// another is the opening of a receipt for another request.
func another(t *testing.T, w *world) *receipt.File {
	return w.answer(t, with(story(), say("the bird is in the tree"))).sign(t)
}

// boxed seals an opening for an auditor, and lets change spoil the box.
func boxed(detail string, change func(t *testing.T, w *world, f *receipt.File, key receipt.AuditorKey)) forger {
	return func(t *testing.T, w *world) *forged {
		secret, err := receipt.NewAuditorSecret(false)
		if err != nil {
			t.Fatal(err)
		}
		f := w.answer(t, story()).forged(t).at(detail)
		change(t, w, f.file, secret.Public())
		f.file.Opening = nil
		f.auditor = &secret
		return f
	}
}

func seal(t *testing.T, o *receipt.Opening, of receipt.Hash, key receipt.AuditorKey) receipt.Box {
	t.Helper()
	b, err := receipt.Seal(o, of, key)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var openingLies = []lie{
	{name: "the opening of another receipt", offline: receipt.CheckTranscript, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).forged(t).at("the opening is not of this receipt")
		f.file.Opening = another(t, w).Opening
		return f
	}},
	{name: "the parts of another receipt under the right digests", offline: receipt.CheckSource, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).forged(t).at("does not hash to the receipt's digest")
		d := f.file.Opening.Digests
		f.file.Opening = another(t, w).Opening
		f.file.Opening.Digests = d
		return f
	}},
	{name: "another prompt shown", offline: receipt.CheckSource, forge: shown("does not hash to the receipt's digest", func(_ *testing.T, o *receipt.Opening) {
		o.Source.Source.Text = []byte("once upon a time there was a boat")
	})},
	{name: "another bias shown", offline: receipt.CheckBias, forge: shownOf(biased, "does not hash to the receipt's digest", func(_ *testing.T, o *receipt.Opening) { o.Bias.Bias = receipt.Bias{46: -1} })},
	{name: "other stop strings shown", offline: receipt.CheckExtra, forge: shownOf(stopped, "does not hash to the receipt's digest", func(_ *testing.T, o *receipt.Opening) { o.Extra.Extra.Stop = []string{"in s"} })},
	{name: "another token of the prompt shown", offline: receipt.CheckPrompt, forge: shown("do not hash to the receipt's digest", func(_ *testing.T, o *receipt.Opening) {
		o.Prompt.IDs = slices.Clone(o.Prompt.IDs)
		o.Prompt.IDs[3] = 9
	})},
	{name: "another token of the answer shown", offline: receipt.CheckOutput, forge: shown("do not hash to the receipt's digest", func(_ *testing.T, o *receipt.Opening) {
		o.Output.IDs = slices.Clone(o.Output.IDs)
		o.Output.IDs[3] = 9
	})},
	{name: "fewer tokens of the answer shown", offline: receipt.CheckOutput, forge: shown("the opening shows 23 tokens, the receipt says 24", func(_ *testing.T, o *receipt.Opening) { o.Output.IDs = o.Output.IDs[:23] })},
	{name: "no tokens of the answer shown", offline: receipt.CheckOutput, forge: shown("0 tokens, want 1 to", func(_ *testing.T, o *receipt.Opening) { o.Output.IDs = nil })},
	{name: "another text shown", offline: receipt.CheckText, forge: shown("does not hash to the receipt's digest", func(_ *testing.T, o *receipt.Opening) { o.Text.Text = "the bird is on the tree" })},
	{name: "another salt shown", offline: receipt.CheckText, forge: shown("does not hash to the receipt's digest", func(_ *testing.T, o *receipt.Opening) { o.Text.Salt[0] ^= 1 })},
	{name: "a digest changed", offline: receipt.CheckTranscript, forge: shown("its digests do not hash to the receipt's transcript", func(_ *testing.T, o *receipt.Opening) { o.Digests.Text[0] ^= 1 })},
	{name: "two digests exchanged, and their parts", offline: receipt.CheckTranscript, forge: shown("its digests do not hash", func(_ *testing.T, o *receipt.Opening) {
		o.Digests.Prompt, o.Digests.Output = o.Digests.Output, o.Digests.Prompt
		o.Prompt, o.Output = o.Output, o.Prompt
	})},
	{name: "another token in a range", offline: receipt.CheckOutputRange, forge: ranged("tokens 5 to 9, with their salts and proof, do not hash", func(r *receipt.Range) { r.IDs[2] = 9 })},
	{name: "the proof of a range for another place", offline: receipt.CheckOutputRange, forge: ranged("tokens 6 to 10, with their salts and proof, do not hash", func(r *receipt.Range) { r.From++ })},
	{name: "the proof of a range for a place where it does not fit", offline: receipt.CheckOutputRange, forge: ranged("hashes for leaves 16 to 21 of 24, want", func(r *receipt.Range) { r.From = 16 })},
	{name: "a range in another order", offline: receipt.CheckOutputRange, forge: ranged("do not hash to the receipt's digest", func(r *receipt.Range) {
		slices.Reverse(r.IDs)
		slices.Reverse(r.Salts)
	})},
	{name: "a range beyond the answer", offline: receipt.CheckOutputRange, forge: ranged("leaves 22 to 27 of 24", func(r *receipt.Range) { r.From = 22 })},
	{name: "a range far beyond any answer", offline: receipt.CheckFile, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).sign(t)
		r := map[uint64]any{1: f.Opening.Digests, 10: []any{[]any{uint64(1 << 40), []byte{9, 0, 0, 0}, make([]byte, 16), []byte{}}}}
		return craftedOpening(t, f, r).at("not a file of a receipt")
	}},
	{name: "a range without salts", offline: receipt.CheckOutputRange, forge: ranged("0 salts for 5 tokens", func(r *receipt.Range) { r.Salts = nil })},
	{name: "an empty range", offline: receipt.CheckOutputRange, forge: ranged("0 tokens, want 1 to", func(r *receipt.Range) { r.IDs, r.Salts = nil, nil })},
	{name: "a proof that leads back to itself", offline: receipt.CheckOutputRange, forge: ranged("do not hash to the receipt's digest", func(r *receipt.Range) {
		for i := range r.Proof {
			r.Proof[i] = r.Proof[0]
		}
	})},
	{name: "a proof with a hash too many", offline: receipt.CheckOutputRange, forge: ranged("hashes for leaves 5 to 10 of 24, want", func(r *receipt.Range) { r.Proof = append(r.Proof, r.Proof[0]) })},
	{name: "a proof with a hash too few", offline: receipt.CheckOutputRange, forge: ranged("hashes for leaves 5 to 10 of 24, want", func(r *receipt.Range) { r.Proof = r.Proof[1:] })},
	{name: "a proof longer than any tree is deep", offline: receipt.CheckFile, forge: ranged("too long", func(r *receipt.Range) { r.Proof = slices.Repeat(r.Proof, 20) })},
	{name: "an inner hash of the tree shown as a token", offline: receipt.CheckOutputRange, forge: func(t *testing.T, w *world) *forged {
		// A tree of two leaves whose root is taken for a leaf: leaves and inner
		// nodes are hashed apart.
		r := w.answer(t, story())
		f := r.sign(t)
		root := f.Opening.Digests.Output
		o := f.Opening.Select(0)
		o.OutputRanges = []receipt.Range{{From: 0, IDs: []int32{9}, Salts: []receipt.Salt{receipt.Salt(root[:16])}, Proof: []receipt.Hash{root, root, root, root, root}}}
		return (&forged{file: &receipt.File{Receipt: f.Receipt, Opening: o}, expect: receipt.Expect{Nonce: nonce}}).at("tokens 0 to 0, with their salts and proof, do not hash")
	}},
	{name: "two ranges of one place that differ", offline: receipt.CheckOutputRange, forge: ranged2},
	{name: "more ranges than can be", offline: receipt.CheckOutputRange, forge: shown("257 ranges, want at most 256", func(t *testing.T, o *receipt.Opening) {
		r, err := o.OutputRange(5, 6)
		if err != nil {
			t.Fatal(err)
		}
		o.OutputRanges = slices.Repeat([]receipt.Range{r}, 257)
	})},
	{name: "an id that is negative", offline: receipt.CheckFile, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).sign(t)
		r := map[uint64]any{1: f.Opening.Digests, 6: []any{make([]byte, 16), []byte{0, 0, 0, 0x80}}}
		return craftedOpening(t, f, r).at("an id above 2^31 - 1")
	}},
	{name: "a part of an unknown name", offline: receipt.CheckFile, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).sign(t)
		return craftedOpening(t, f, map[uint64]any{1: f.Opening.Digests, 11: "trust me"}).at("not a file of a receipt")
	}},
	{name: "a box of another receipt", offline: receipt.CheckSeal, forge: boxed("the box was changed, or belongs to another receipt", func(t *testing.T, w *world, f *receipt.File, key receipt.AuditorKey) {
		o := another(t, w)
		f.Sealed = []receipt.Box{seal(t, o.Opening, o.Receipt.Hash(), key)}
	})},
	{name: "a box with another opening", offline: receipt.CheckTranscript, forge: boxed("the opening is not of this receipt", func(t *testing.T, w *world, f *receipt.File, key receipt.AuditorKey) {
		f.Sealed = []receipt.Box{seal(t, another(t, w).Opening, f.Receipt.Hash(), key)}
	})},
	{name: "a box with another prompt under the right digests", offline: receipt.CheckSource, forge: boxed("does not hash to the receipt's digest", func(t *testing.T, w *world, f *receipt.File, key receipt.AuditorKey) {
		o := another(t, w).Opening
		o.Digests = f.Opening.Digests
		f.Sealed = []receipt.Box{seal(t, o, f.Receipt.Hash(), key)}
	})},
	{name: "a box for another auditor", offline: receipt.CheckSeal, forge: boxed("none of the 1 sealed boxes is for this key", func(t *testing.T, _ *world, f *receipt.File, _ receipt.AuditorKey) {
		other, err := receipt.NewAuditorSecret(false)
		if err != nil {
			t.Fatal(err)
		}
		f.Sealed = []receipt.Box{seal(t, f.Opening, f.Receipt.Hash(), other.Public())}
	})},
	{name: "a box that nobody can open, with the auditor's name on it", offline: receipt.CheckSeal, forge: boxed("the box was changed", func(t *testing.T, _ *world, f *receipt.File, key receipt.AuditorKey) {
		f.Sealed = []receipt.Box{{Suite: "aval-seal/1", KeyID: key.ID(), Data: make([]byte, 2000)}}
	})},
	{name: "a box changed", offline: receipt.CheckSeal, forge: boxed("the box was changed", func(t *testing.T, _ *world, f *receipt.File, key receipt.AuditorKey) {
		b := seal(t, f.Opening, f.Receipt.Hash(), key)
		b.Data[len(b.Data)-1] ^= 1
		f.Sealed = []receipt.Box{b}
	})},
	{name: "a box sealed by something weaker", offline: receipt.CheckSeal, forge: boxed("none of the 1 sealed boxes is for this key", func(t *testing.T, _ *world, f *receipt.File, key receipt.AuditorKey) {
		b := seal(t, f.Opening, f.Receipt.Hash(), key)
		b.Suite = "aval-seal/0"
		f.Sealed = []receipt.Box{b}
	})},
	{name: "more boxes than can be", offline: receipt.CheckFile, forge: func(t *testing.T, w *world) *forged {
		f := w.answer(t, story()).forged(t).at("65 sealed boxes, want at most 64")
		f.file.Sealed = slices.Repeat([]receipt.Box{{Suite: "aval-seal/1", Data: []byte{1}}}, 65)
		return f
	}},
}

// ranged2 shows one place twice: rightly, and otherwise.
func ranged2(t *testing.T, w *world) *forged {
	return shown("tokens 5 to 9, with their salts and proof, do not hash", func(t *testing.T, o *receipt.Opening) {
		a, err := o.OutputRange(5, 10)
		if err != nil {
			t.Fatal(err)
		}
		b := a
		b.IDs = slices.Clone(a.IDs)
		b.IDs[0] = 9
		*o = *o.Select(0)
		o.OutputRanges = []receipt.Range{a, b}
	})(t, w)
}

// craftedOpening is a file with an opening that no program makes.
func craftedOpening(t *testing.T, f *receipt.File, opening map[uint64]any) *forged {
	t.Helper()
	b, err := canon.Marshal(map[uint64]any{1: f.Receipt.Bytes(), 2: opening})
	if err != nil {
		t.Fatal(err)
	}
	return &forged{data: b, expect: receipt.Expect{Nonce: nonce}}
}
