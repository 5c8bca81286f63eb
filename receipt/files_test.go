package receipt_test

import (
	"crypto/ed25519"
	"math"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/receipt"
)

// answer is a receipt with its opening, to be changed in one place.
type answer struct {
	t       *testing.T
	claims  receipt.Claims
	opening *receipt.Opening
}

var master = receipt.Salt{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func newCase(t *testing.T) *answer {
	t.Helper()
	o, err := receipt.Commit(master, transcript())
	if err != nil {
		t.Fatal(err)
	}
	c := receipt.Claims{
		Model: hash(1), Params: receipt.Params{Temperature: 0.7, MaxTokens: 16, Context: 4096},
		Seed: receipt.NonceSeed([]byte("sixteen byte nce")), Stop: receipt.StopString, Time: 1_790_000_000,
	}
	o.Fill(&c)
	c.Trace = receipt.TraceCommitment(master.Trace(), hash(3), 4, c.PromptTokens+c.OutputTokens-1)
	return &answer{t, c, o}
}

func (a *answer) sign() *receipt.Receipt {
	r := sign(a.t, a.claims)
	return &r
}

func (a *answer) file() []byte {
	f := receipt.File{Receipt: *a.sign(), Opening: a.opening}
	data, err := f.Marshal()
	if err != nil {
		a.t.Fatal(err)
	}
	return data
}

// ranges shows only ranges of ids.
func (a *answer) ranges() {
	p, err := a.opening.PromptRange(1, 3)
	if err != nil {
		a.t.Fatal(err)
	}
	o, err := a.opening.OutputRange(2, 3)
	if err != nil {
		a.t.Fatal(err)
	}
	a.opening = a.opening.Select(0)
	a.opening.PromptRanges, a.opening.OutputRanges = []receipt.Range{p}, []receipt.Range{o}
}

func transcriptVectors(t *testing.T) []transcriptVector {
	a := newCase(t)
	o, d := a.opening, a.opening.Digests
	leafSalt := canon.Sum("aval id salt/1", o.Prompt.Salt[:], []byte{1, 0, 0, 0, 0, 0, 0, 0})
	return []transcriptVector{{
		Name: "a chat", Master: master[:],
		Salts: map[string]hexBytes{
			"source": o.Source.Salt[:], "bias": o.Bias.Salt[:], "extra": o.Extra.Salt[:], "prompt": o.Prompt.Salt[:],
			"output": o.Output.Salt[:], "text": o.Text.Salt[:], "trace": o.Trace[:],
		},
		Opening: mustMarshal(t, o), LeafSalt: leafSalt[:16],
		Digests: []canon.Hash{d.Source, d.Bias, d.Extra, d.Prompt, d.Output, d.Text}, Transcript: d.Commitment(),
		Root: hash(3), Layers: 4, Positions: 7, Trace: a.claims.Trace,
	}}
}

// expected is what whoever asked knows.
func expected() optionsVector {
	t := transcript()
	return optionsVector{
		Now: 1_790_000_010, Signer: receipt.FormatNodeKey(public()), Model: fill(1), Nonce: hexBytes("sixteen byte nce"),
		Params: &receipt.Params{Temperature: 0.7, MaxTokens: 16, Context: 4096, Bias: true, Extra: true},
		Prompt: t.Prompt, Text: &t.Text,
	}
}

// fileVectors are files and what the offline check says of them.
func fileVectors(t *testing.T) []fileVector {
	var list []fileVector
	add := func(name, fails string, o optionsVector, data []byte) {
		v := fileVector{Name: name, File: data, Options: o, Verdict: receipt.Invalid, Fails: fails}
		if fails == "" {
			v.Verdict = receipt.Unverified // nothing was computed again
		}
		list = append(list, v)
	}
	change := func(name, fails string, f func(a *answer)) {
		a := newCase(t)
		f(a)
		add(name, fails, optionsVector{Now: 1_790_000_010}, a.file())
	}
	expect := func(name, fails string, f func(o *optionsVector)) {
		o := expected()
		f(&o)
		add(name, fails, o, newCase(t).file())
	}
	shownVectors(t, change)
	expectVectors(t, expect, add)
	containerVectors(t, add)
	return list
}

func shownVectors(t *testing.T, change func(name, fails string, f func(a *answer))) {
	other, err := receipt.Commit(receipt.Salt{9}, transcript())
	if err != nil {
		t.Fatal(err)
	}
	change("everything shown", "", func(*answer) {})
	change("nothing shown", "", func(a *answer) { a.opening = nil })
	change("only digests", "", func(a *answer) { a.opening = a.opening.Select(0) })
	change("the prompt shown", "", func(a *answer) { a.opening = a.opening.Select(receipt.WholePrompt) })
	change("the answer shown", "", func(a *answer) { a.opening = a.opening.Select(receipt.WholeOutput) })
	change("the ids shown", "", func(a *answer) { a.opening = a.opening.Select(receipt.IDs) })
	change("ranges of ids shown", "", func(a *answer) { a.ranges() })

	change("the opening of another receipt", receipt.CheckTranscript, func(a *answer) { a.opening = other })
	change("a digest altered", receipt.CheckTranscript, func(a *answer) { a.opening.Digests.Text[0] ^= 1 })
	change("digests swapped", receipt.CheckTranscript, func(a *answer) {
		d := &a.opening.Digests
		d.Prompt, d.Output = d.Output, d.Prompt
	})
	change("another prompt", receipt.CheckSource, func(a *answer) { a.opening.Source.Source.Messages[0].Content += "?" })
	change("another role", receipt.CheckSource, func(a *answer) { a.opening.Source.Source.Messages[0].Role = "system" })
	change("another template variable", receipt.CheckSource, func(a *answer) { a.opening.Source.Source.Variables["a"] = "2" })
	change("a template variable in the place of the messages", receipt.CheckSource, func(a *answer) {
		s := a.opening.Source
		s.Source.Variables["messages"] = "[]"
		a.opening.Digests.Source = canon.Sum("aval source/1", s.Salt[:], mustMarshal(t, &s.Source))
		a.opening.Fill(&a.claims)
	})
	change("a text in a chat", receipt.CheckSource, func(a *answer) { a.opening.Source.Source.Text = []byte("x") })
	change("a source of an unknown kind", receipt.CheckSource, func(a *answer) { a.opening.Source.Source = receipt.Source{Kind: 3} })
	change("the source with another salt", receipt.CheckSource, func(a *answer) { a.opening.Source.Salt[0] ^= 1 })
	change("another bias", receipt.CheckBias, func(a *answer) { a.opening.Bias.Bias[300] = 2 })
	change("a bias that is not a number", receipt.CheckBias, func(a *answer) { a.opening.Bias.Bias[300] = float32(math.NaN()) })
	change("a bias for a token below 0", receipt.CheckBias, func(a *answer) { a.opening.Bias.Bias[-1] = 2 })
	change("a bias that the parameters deny", receipt.CheckBias, func(a *answer) { a.claims.Params.Bias = false })
	change("another stop string", receipt.CheckExtra, func(a *answer) { a.opening.Extra.Extra.Stop = append(a.opening.Extra.Extra.Stop, "x") })
	change("an unknown grammar", receipt.CheckExtra, func(a *answer) { a.opening.Extra.Extra.Grammar = &receipt.Grammar{Kind: "xml"} })
	change("an empty stop string", receipt.CheckExtra, func(a *answer) { a.opening.Extra.Extra.Stop = []string{""} })
	change("extra parameters that the parameters deny", receipt.CheckExtra, func(a *answer) {
		a.claims.Params.Extra, a.claims.Stop = false, receipt.StopEOS
	})
	change("another token of the prompt", receipt.CheckPrompt, func(a *answer) { a.opening.Prompt.IDs[2]++ })
	change("two tokens of the prompt exchanged", receipt.CheckPrompt, func(a *answer) {
		ids := a.opening.Prompt.IDs
		ids[0], ids[1] = ids[1], ids[0]
	})
	change("a token of the prompt more", receipt.CheckPrompt, func(a *answer) { a.opening.Prompt.IDs = append(a.opening.Prompt.IDs, 1) })
	change("one prompt token more claimed", receipt.CheckPrompt, func(a *answer) { a.claims.PromptTokens++ })
	change("no token of the prompt", receipt.CheckPrompt, func(a *answer) { a.opening.Prompt.IDs = []int32{} })
	change("the answer's tokens for the prompt's", receipt.CheckPrompt, func(a *answer) { a.opening.Prompt = a.opening.Output })
	change("another token of the answer", receipt.CheckOutput, func(a *answer) { a.opening.Output.IDs[0]++ })
	change("one output token less claimed", receipt.CheckOutput, func(a *answer) { a.claims.OutputTokens-- })
	change("another answer", receipt.CheckText, func(a *answer) { a.opening.Text.Text = "Reflection." })
	change("a part of the answer in the stop text", receipt.CheckText, func(a *answer) {
		a.opening.Text.Text, a.opening.Text.StopText = "Scattering", ".\n\n"
	})
	change("a stop text, but ended by the model", receipt.CheckStop, func(a *answer) { a.claims.Stop = receipt.StopEOS })
	change("a stop text that is no stop string", receipt.CheckStop, func(a *answer) {
		tr := transcript()
		tr.StopText = "."
		a.opening, err = receipt.Commit(master, tr)
		if err != nil {
			t.Fatal(err)
		}
		a.opening.Fill(&a.claims)
	})

	rangeOf := func(name string, f func(r *receipt.Range)) {
		change(name, receipt.CheckPromptRange, func(a *answer) { a.ranges(); f(&a.opening.PromptRanges[0]) })
	}
	rangeOf("another token in a range", func(r *receipt.Range) { r.IDs[1]++ })
	rangeOf("a range at another place", func(r *receipt.Range) { r.From++ })
	rangeOf("a range beyond the end", func(r *receipt.Range) { r.From = 4 })
	rangeOf("a range far beyond the end", func(r *receipt.Range) { r.From = receipt.MaxIDs })
	rangeOf("a proof too short", func(r *receipt.Range) { r.Proof = r.Proof[1:] })
	rangeOf("a proof too long", func(r *receipt.Range) { r.Proof = append(r.Proof, hash(1)) })
	rangeOf("a proof altered", func(r *receipt.Range) { r.Proof[0][0] ^= 1 })
	rangeOf("a salt too few", func(r *receipt.Range) { r.Salts = r.Salts[1:] })
	rangeOf("a range of no tokens", func(r *receipt.Range) { r.IDs, r.Salts = []int32{}, nil })
	change("a range of the answer for one of the prompt", receipt.CheckPromptRange, func(a *answer) {
		a.ranges()
		a.opening.PromptRanges = a.opening.OutputRanges
	})
	change("another token in a range of the answer", receipt.CheckOutputRange, func(a *answer) { a.ranges(); a.opening.OutputRanges[0].IDs[0]++ })
}

func expectVectors(t *testing.T, expect func(string, string, func(*optionsVector)), add func(string, string, optionsVector, []byte)) {
	a := newCase(t)
	expect("all as expected", "", func(*optionsVector) {})
	expect("a replayed receipt: another nonce", receipt.CheckSeed, func(o *optionsVector) { o.Nonce = hexBytes("another nonce...") })
	expect("another model", receipt.CheckModel, func(o *optionsVector) { o.Model = fill(2) })
	expect("no adapters, as expected", "", func(o *optionsVector) { o.Adapters = []adapterVector{} })
	one, two := adapterVector{hash(5), 0.7}, adapterVector{hash(6), 1}
	expect("an adapter expected, the model had none", receipt.CheckAdapters, func(o *optionsVector) { o.Adapters = []adapterVector{one} })
	adapted := func(name, fails string, list ...adapterVector) {
		a := newCase(t)
		a.claims.Adapters = []receipt.Adapter{{File: hash(5), Scale: 0.7}, {File: hash(6), Scale: 1}}
		o := expected()
		o.Adapters = append([]adapterVector{}, list...)
		add(name, fails, o, a.file())
	}
	adapted("the expected adapters", "", one, two)
	adapted("adapters, none expected", receipt.CheckAdapters)
	adapted("an adapter more than expected", receipt.CheckAdapters, one)
	adapted("adapters in another order", receipt.CheckAdapters, two, one)
	adapted("another adapter", receipt.CheckAdapters, one, adapterVector{hash(7), 1})
	adapted("an adapter with another scale", receipt.CheckAdapters, one, adapterVector{hash(6), 0.99})
	expect("another signer", receipt.CheckSigner, func(o *optionsVector) {
		o.Signer = receipt.FormatNodeKey(ed25519.NewKeyFromSeed(fill(8)).Public().(ed25519.PublicKey))
	})
	expect("another temperature", receipt.CheckParams, func(o *optionsVector) { o.Params.Temperature = 1 })
	expect("no bias expected", receipt.CheckParams, func(o *optionsVector) { o.Params.Bias = false })
	expect("another prompt expected", receipt.CheckPrompt, func(o *optionsVector) { o.Prompt = []int32{1, 5, 9, 200000} })
	expect("another answer expected", receipt.CheckText, func(o *optionsVector) { s := "Reflection."; o.Text = &s })
	expect("from the future", receipt.CheckTime, func(o *optionsVector) { o.Now = 1_790_000_000 - 121 })
	expect("from the future, within the tolerance", "", func(o *optionsVector) { o.Now = 1_790_000_000 - 120 })
	expect("from the future, by a narrower tolerance", receipt.CheckTime, func(o *optionsVector) { o.Now, o.Ahead = 1_790_000_000-11, 10 })
	expect("too old", receipt.CheckTime, func(o *optionsVector) { o.Now, o.MaxAge = 1_790_000_000+601, 600 })
	expect("as old as allowed", "", func(o *optionsVector) { o.Now, o.MaxAge = 1_790_000_000+600, 600 })

	a.claims.Seed = receipt.SelfSeed(7)
	add("a nonce expected, a self-chosen seed", receipt.CheckSeed, expected(), a.file())
	a.claims.Params.Temperature = 0
	add("greedy: the seed does not matter", "", optionsVector{Now: 1_790_000_010}, a.file())
	a.claims.Params.Temperature = 0.7
	a.claims.Seed = receipt.BeaconSeed("drand quicknet", 77, hash(9))
	beacon := func(name, fails string, f func(b *beaconVector)) {
		o := optionsVector{Now: 1_790_000_010, Beacon: &beaconVector{Name: "drand quicknet", Round: 77, Value: hash(9), From: 1_789_999_998}}
		f(o.Beacon)
		add(name, fails, o, a.file())
	}
	beacon("a beacon", "", func(*beaconVector) {})
	beacon("a beacon's value that is another", receipt.CheckSeed, func(b *beaconVector) { b.Value = hash(8) })
	beacon("a beacon without this round", receipt.CheckSeed, func(b *beaconVector) { b.Round = 78 })
	beacon("a round that came after the receipt", receipt.CheckSeed, func(b *beaconVector) { b.From = 1_790_000_001 })
	beacon("a round that was old", receipt.CheckSeed, func(b *beaconVector) { b.From = 1_790_000_000 - 61 })
	beacon("a round that was old, by a narrower window", receipt.CheckSeed, func(b *beaconVector) { b.Window = 1 })
}

func containerVectors(t *testing.T, add func(string, string, optionsVector, []byte)) {
	now := optionsVector{Now: 1_790_000_010}
	a := newCase(t)
	a.opening = a.opening.Select(0)
	raw, opening := a.sign().Bytes(), mustMarshal(t, a.opening)
	box := array(text("aval-seal/1"), bstr([]byte("12345678")), bstr(fill(1)))
	add("a receipt alone", "", now, raw)
	add("a receipt alone, cut", receipt.CheckForm, now, raw[:100])
	add("a box for someone", "", now, mapping(entry{1, bstr(raw)}, entry{3, array(box)}))
	add("an empty file", receipt.CheckFile, now, []byte{})
	add("a file that is text", receipt.CheckFile, now, []byte("aval"))
	add("a file with a bad receipt", receipt.CheckClaims, now, mapping(entry{1, bstr(base().with(12, num(1)).signed())}))
	add("a file with a forged receipt", receipt.CheckSignature, now, mapping(entry{1, bstr(baseMessage(base().payload()).with(fill(8)).bytes())}))
	add("a file without a receipt", receipt.CheckFile, now, mapping(entry{2, opening}))
	add("a file with a byte after its end", receipt.CheckFile, now, append(mapping(entry{1, bstr(raw)}), 0))
	add("a file with an unknown field", receipt.CheckFile, now, mapping(entry{1, bstr(raw)}, entry{4, num(1)}))
	add("a file out of order", receipt.CheckFile, now, mapping(entry{2, opening}, entry{1, bstr(raw)}))
	add("an opening that is null", receipt.CheckFile, now, mapping(entry{1, bstr(raw)}, entry{2, []byte{0xf6}}))
	add("an opening without digests", receipt.CheckFile, now, mapping(entry{1, bstr(raw)}, entry{2, mapping()}))
	add("an empty list of boxes", receipt.CheckFile, now, mapping(entry{1, bstr(raw)}, entry{3, array()}))
	add("65 boxes", receipt.CheckFile, now, mapping(entry{1, bstr(raw)}, entry{3, array(slices.Repeat([][]byte{box}, 65)...)}))
	add("ids that are null", receipt.CheckFile, now, mapping(entry{1, bstr(raw)}, entry{2, append(append(head(5, 2), opening[1:]...),
		append(num(5), array(bstr(fill(1)[:16]), []byte{0xf6})...)...)}))
	add("ids of three bytes", receipt.CheckFile, now, mapping(entry{1, bstr(raw)}, entry{2, append(append(head(5, 2), opening[1:]...),
		append(num(5), array(bstr(fill(1)[:16]), bstr(fill(1)[:3]))...)...)}))
	add("an id of 2^31", receipt.CheckFile, now, mapping(entry{1, bstr(raw)}, entry{2, append(append(head(5, 2), opening[1:]...),
		append(num(5), array(bstr(fill(1)[:16]), bstr([]byte{0, 0, 0, 0x80}))...)...)}))
	add("a salt of 15 bytes", receipt.CheckFile, now, mapping(entry{1, bstr(raw)}, entry{2, append(append(head(5, 2), opening[1:]...),
		append(num(5), array(bstr(fill(1)[:15]), bstr(fill(1)[:4]))...)...)}))
}
