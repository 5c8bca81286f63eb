package receipt

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"slices"

	"github.com/avalnetwork/aval/internal/canon"
)

// Salt is a random number that keeps a commitment from being guessed. It is as
// secret as what it hides.
type Salt [saltSize]byte

// NewSalt draws the master salt of a receipt. Use it once.
func NewSalt() Salt {
	var s Salt
	rand.Read(s[:]) // never fails
	return s
}

// String does not show the salt.
func (Salt) String() string { return "(salt)" }

// derive gives the salt of one part.
func (s Salt) derive(label string) Salt {
	h := canon.Sum("aval salt/1", s[:], []byte(label))
	return Salt(h[:saltSize])
}

// Trace is the trace salt of a receipt with the master salt s.
func (s Salt) Trace() Salt { return s.derive("trace") }

// TraceCommitment is the claim Trace of a run of a model with so many layers
// over so many positions; spec/trace.md section 2 defines the root.
func TraceCommitment(salt Salt, root Hash, layers, positions int) Hash {
	return canon.Sum("aval trace/1", salt[:], root[:], u64(layers), u64(positions))
}

func u64(n int) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }

// Transcript is what was asked and answered.
type Transcript struct {
	Source   Source
	Bias     Bias
	Extra    Extra
	Prompt   []int32 // the tokens that the model read
	Output   []int32 // all tokens drawn, the one that ended the model's turn included
	Text     string  // the answer
	StopText string  // the stop string that ended it
}

// Part is a set of the parts that an opening can show.
type Part uint8

// The parts, and the sets of them that have a use.
const (
	PartSource Part = 1 << iota
	PartBias
	PartExtra
	PartPrompt
	PartOutput
	PartText
	PartTrace

	// Whole shows all.
	Whole = PartSource | PartBias | PartExtra | PartPrompt | PartOutput | PartText | PartTrace
	// WholePrompt shows what was asked, WholeOutput what was answered.
	WholePrompt = PartSource | PartBias | PartExtra | PartPrompt
	WholeOutput = PartOutput | PartText
	// IDs suffices to compute the answer again.
	IDs = PartBias | PartExtra | PartPrompt | PartOutput
)

// Digests are the hashes of the parts of a transcript, in the order in which
// the transcript's commitment hashes them.
type Digests struct {
	_                                         struct{} `cbor:",toarray"`
	Source, Bias, Extra, Prompt, Output, Text Hash
}

// Commitment is the claim Transcript.
func (d *Digests) Commitment() Hash {
	return canon.Sum("aval transcript/1", d.Source[:], d.Bias[:], d.Extra[:], d.Prompt[:], d.Output[:], d.Text[:])
}

// Opening shows parts of what a receipt hides; the others are nil. [Commit]
// makes one that shows all.
type Opening struct {
	Digests Digests       `cbor:"1,keyasint"`
	Source  *OpenedSource `cbor:"2,keyasint,omitempty"`
	Bias    *OpenedBias   `cbor:"3,keyasint,omitempty"`
	Extra   *OpenedExtra  `cbor:"4,keyasint,omitempty"`
	Prompt  *OpenedIDs    `cbor:"5,keyasint,omitempty"`
	Output  *OpenedIDs    `cbor:"6,keyasint,omitempty"`
	Text    *OpenedText   `cbor:"7,keyasint,omitempty"`
	Trace   *Salt         `cbor:"8,keyasint,omitempty"`
	// Ranges of ids.
	PromptRanges []Range `cbor:"9,keyasint,omitempty"`
	OutputRanges []Range `cbor:"10,keyasint,omitempty"`
}

// OpenedSource shows the prompt as it was given.
type OpenedSource struct {
	_      struct{} `cbor:",toarray"`
	Salt   Salt
	Source Source
}

// OpenedBias shows the logit bias.
type OpenedBias struct {
	_    struct{} `cbor:",toarray"`
	Salt Salt
	Bias Bias
}

// OpenedExtra shows the extra parameters.
type OpenedExtra struct {
	_     struct{} `cbor:",toarray"`
	Salt  Salt
	Extra Extra
}

// OpenedText shows the answer.
type OpenedText struct {
	_        struct{} `cbor:",toarray"`
	Salt     Salt
	Text     string
	StopText string
}

// OpenedIDs shows all ids of a prompt or an answer.
type OpenedIDs struct {
	Salt Salt
	IDs  []int32
}

// Commit opens a transcript under a master salt: the opening shows all, also
// the trace salt, and gives the claims by [Opening.Fill].
func Commit(master Salt, t *Transcript) (*Opening, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	trace := master.Trace()
	o := &Opening{
		Source: &OpenedSource{Salt: master.derive("source"), Source: t.Source},
		Bias:   &OpenedBias{Salt: master.derive("bias"), Bias: t.Bias},
		Extra:  &OpenedExtra{Salt: master.derive("extra"), Extra: t.Extra},
		Prompt: &OpenedIDs{Salt: master.derive("prompt"), IDs: t.Prompt},
		Output: &OpenedIDs{Salt: master.derive("output"), IDs: t.Output},
		Text:   &OpenedText{Salt: master.derive("text"), Text: t.Text, StopText: t.StopText},
		Trace:  &trace,
	}
	var err error
	if o.Digests.Source, err = o.Source.digest(); err != nil {
		return nil, err
	}
	if o.Digests.Bias, err = o.Bias.digest(); err != nil {
		return nil, err
	}
	if o.Digests.Extra, err = o.Extra.digest(); err != nil {
		return nil, err
	}
	if o.Digests.Text, err = o.Text.digest(); err != nil {
		return nil, err
	}
	o.Digests.Prompt, o.Digests.Output = o.Prompt.root(), o.Output.root()
	return o, nil
}

func (t *Transcript) validate() error {
	if err := t.Source.validate(); err != nil {
		return err
	}
	if err := t.Bias.validate(); err != nil {
		return err
	}
	if err := t.Extra.validate(); err != nil {
		return err
	}
	if err := validIDs(CheckPrompt, t.Prompt); err != nil {
		return err
	}
	if err := validIDs(CheckOutput, t.Output); err != nil {
		return err
	}
	if n := len(t.Text) + len(t.StopText); n > MaxText {
		return errorf(CheckText, "%d bytes, want at most %d", n, MaxText)
	}
	return nil
}

func (o *OpenedSource) digest() (Hash, error) {
	b, err := encodeChecked(CheckSource, &o.Source)
	return canon.Sum("aval source/1", o.Salt[:], b), err
}

func (o *OpenedBias) digest() (Hash, error) {
	b, err := encodeChecked(CheckBias, &o.Bias)
	return canon.Sum("aval bias/1", o.Salt[:], b), err
}

func (o *OpenedExtra) digest() (Hash, error) {
	b, err := encodeChecked(CheckExtra, &o.Extra)
	return canon.Sum("aval extra/1", o.Salt[:], b), err
}

func (o *OpenedText) digest() (Hash, error) {
	b, err := encodeChecked(CheckText, &[]string{o.Text, o.StopText})
	return canon.Sum("aval text/1", o.Salt[:], b), err
}

// Fill sets the claims that follow from a transcript: its commitment, the
// numbers of tokens and whether there are a bias and extra parameters. The
// opening must show all, as one of [Commit] does.
func (o *Opening) Fill(c *Claims) {
	if o.Parts()|PartTrace != Whole {
		panic("receipt: claims filled from an opening that does not show all")
	}
	c.Transcript = o.Digests.Commitment()
	c.PromptTokens, c.OutputTokens = len(o.Prompt.IDs), len(o.Output.IDs)
	c.Params.Bias, c.Params.Extra = len(o.Bias.Bias) > 0, !o.Extra.Extra.IsZero()
}

// Parts is what the opening shows whole.
func (o *Opening) Parts() Part {
	var p Part
	for i, shown := range []bool{o.Source != nil, o.Bias != nil, o.Extra != nil, o.Prompt != nil, o.Output != nil, o.Text != nil, o.Trace != nil} {
		if shown {
			p |= 1 << i
		}
	}
	return p
}

// Select is an opening that shows only these parts of what o shows, and no
// ranges. It shares their memory.
func (o *Opening) Select(p Part) *Opening {
	s := &Opening{Digests: o.Digests}
	if p&PartSource != 0 {
		s.Source = o.Source
	}
	if p&PartBias != 0 {
		s.Bias = o.Bias
	}
	if p&PartExtra != 0 {
		s.Extra = o.Extra
	}
	if p&PartPrompt != 0 {
		s.Prompt = o.Prompt
	}
	if p&PartOutput != 0 {
		s.Output = o.Output
	}
	if p&PartText != 0 {
		s.Text = o.Text
	}
	if p&PartTrace != 0 {
		s.Trace = o.Trace
	}
	return s
}

// Check compares what the opening shows with the claims of a receipt. Every
// part that is shown gives one check; the claims' signature is not looked at.
func (o *Opening) Check(c *Claims) []Check {
	if !sameHash(o.Digests.Commitment(), c.Transcript) {
		return []Check{failed(CheckTranscript, "the opening is not of this receipt: its digests do not hash to the receipt's transcript")}
	}
	checks := []Check{passed(CheckTranscript, "the opening's digests are the receipt's")}
	if s := o.Source; s != nil {
		checks = append(checks, checkPart(CheckSource, s.Source.validate, s.digest, o.Digests.Source))
	}
	if b := o.Bias; b != nil {
		check := checkPart(CheckBias, b.Bias.validate, b.digest, o.Digests.Bias)
		checks = append(checks, agree(check, c.Params.Bias, len(b.Bias) > 0))
	}
	if e := o.Extra; e != nil {
		check := checkPart(CheckExtra, e.Extra.validate, e.digest, o.Digests.Extra)
		checks = append(checks, agree(check, c.Params.Extra, !e.Extra.IsZero()))
	}
	if p := o.Prompt; p != nil {
		checks = append(checks, checkIDs(CheckPrompt, p, c.PromptTokens, o.Digests.Prompt))
	}
	if p := o.Output; p != nil {
		checks = append(checks, checkIDs(CheckOutput, p, c.OutputTokens, o.Digests.Output))
	}
	if t := o.Text; t != nil {
		checks = append(checks, checkPart(CheckText, t.validate, t.digest, o.Digests.Text), o.checkStop(c))
	}
	checks = append(checks, checkRanges(CheckPromptRange, o.PromptRanges, c.PromptTokens, o.Digests.Prompt)...)
	checks = append(checks, checkRanges(CheckOutputRange, o.OutputRanges, c.OutputTokens, o.Digests.Output)...)
	if o.Trace != nil && !c.Trace.IsZero() {
		checks = append(checks, unverified(CheckTrace, "the trace salt is shown; only the trace itself can confirm it"))
	}
	return checks
}

func (o *OpenedText) validate() error {
	if n := len(o.Text) + len(o.StopText); n > MaxText {
		return errorf(CheckText, "%d bytes, want at most %d", n, MaxText)
	}
	return nil
}

func checkPart(name string, validate func() error, digest func() (Hash, error), want Hash) Check {
	if err := validate(); err != nil {
		return checkOf(err, name)
	}
	switch got, err := digest(); {
	case err != nil:
		return checkOf(err, name)
	case !sameHash(got, want):
		return failed(name, "what is shown, with its salt, does not hash to the receipt's digest")
	}
	return passed(name, "is what the receipt commits to")
}

// agree fails a check that passed if the claims deny what the opening has, or
// promise what it has not.
func agree(c Check, claimed, has bool) Check {
	if c.Passed() && claimed != has {
		return failed(c.Name, "the receipt's parameters say %t for it, the opening %t", claimed, has)
	}
	return c
}

// checkStop holds the stop text against the claims and the stop strings.
func (o *Opening) checkStop(c *Claims) Check {
	switch stop := o.Text.StopText; {
	case (stop != "") != (c.Stop == StopString):
		return failed(CheckStop, "the answer ended by %q, but the stop text has %d bytes", c.Stop, len(stop))
	case stop != "" && o.Extra != nil && !slices.Contains(o.Extra.Extra.Stop, stop):
		return failed(CheckStop, "the stop text is none of the %d stop strings", len(o.Extra.Extra.Stop))
	}
	return passed(CheckStop, "%s", c.Stop)
}

func sameHash(a, b Hash) bool { return subtle.ConstantTimeCompare(a[:], b[:]) == 1 }
