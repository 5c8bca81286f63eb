// Package report says what a receipt and its checks mean, to a person who has
// never heard of a hash: what was checked, what was not, and what a receipt
// does not show at all.
//
// Call [New], then [Report.Text] for a terminal, [Report.Page] for a page of
// HTML that stands alone, or [Report.Fragment] for one to put into a page with
// [Style]. All of them have the same words, those of this package.
//
// The package checks nothing. It trusts the checks that it is given, and
// nothing else: texts of receipts and of models may be hostile, so that
// everything in them that a terminal or a page would act upon is removed.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/avalnetwork/aval/receipt"
)

// Status is what all checks say together.
type Status string

// The statuses. They are classes of the style sheet too.
const (
	// Valid: nothing failed, and the answer was computed again.
	Valid Status = "valid"
	// Partly: nothing failed, and the answer was not computed again.
	Partly Status = "partly"
	// Invalid: a check failed.
	Invalid Status = "invalid"
	// Unchecked: this is no receipt, or not one that can be checked here.
	Unchecked Status = "unchecked"
)

// sign is the mark that stands for the status.
func (s Status) sign() Mark {
	return map[Status]Mark{Valid: Yes, Partly: half, Invalid: No, Unchecked: Mind}[s]
}

// Input is what a report tells of.
type Input struct {
	// File is the receipt as it was read; nil if it could not be.
	File *receipt.File
	// Checks are all that were made, in their order.
	Checks receipt.Report
	// Model is what the model's file calls itself, if one was at hand. It is
	// shown only if the checks say that it is the receipt's.
	Model string
	// Trouble is why the answer could not be computed again, if that was tried.
	Trouble string
	// Scope tells how much was computed again; nil: all that the check
	// "computation" is about.
	Scope *Scope
}

// Report is what a person is told.
type Report struct {
	Status  Status
	Title   string // the verdict in a few words
	Summary string // what it means, in a sentence or two

	Passages  []Passage // question and answer
	Checked   []Line
	Unchecked []Line
	Facts     []Fact
	Bounds    []string // what a receipt does not show
	Details   []Fact   // for experts

	// Computable says that the file shows enough to compute the answer again,
	// Computed that this was done, wholly or in part.
	Computable, Computed bool

	say func(string) string // of Translate; nil: texts stay
}

// Mark is the sign before a line.
type Mark string

// The marks.
const (
	Yes  Mark = "yes"  // checked, and right
	No   Mark = "no"   // checked, and wrong
	Open Mark = "open" // not checked
	Mind Mark = "mind" // not checked, and worth a thought
	half Mark = "half" // of a verdict: right as far as it was checked
)

// word is what the mark means for those who do not see it.
func (m Mark) word() string {
	return map[Mark]string{Yes: "right", No: "wrong", Open: "not checked", Mind: "careful"}[m]
}

// Line is one thing that was checked, or not.
type Line struct {
	Mark Mark
	Text string
	Note string // where it failed, or what it would take

	first bool // of those with its mark
}

// rank puts first what a person must see.
func rank(l Line) int {
	switch {
	case l.Mark == No && l.first:
		return 0
	case l.Mark == No:
		return 1
	case l.first:
		return 2
	}
	return 3
}

// Passage is a part of the conversation.
type Passage struct {
	Name   string
	Hidden string // why nothing is shown
	Parts  []Part
	Note   string
}

// Part is the text of one speaker.
type Part struct{ Role, Text string }

// Fact is a name and a value, and perhaps a code to compare letter by letter.
type Fact struct{ Name, Value, Code string }

// New writes the report.
func New(in Input) *Report {
	r := &Report{}
	var c *receipt.Claims
	if in.File != nil {
		claims := in.File.Receipt.Claims()
		c = &claims
		r.Computable = computable(in.File, c)
	}
	r.judge(&in, c)
	r.checks(&in, c)
	if c != nil {
		r.Passages = passages(&in)
		r.Facts = facts(&in, c)
	}
	r.Bounds = bounds(c)
	r.Details = details(&in, c)
	return r
}

// computable reports whether a file shows all that computing takes.
func computable(f *receipt.File, c *receipt.Claims) bool {
	need := receipt.PartPrompt | receipt.PartOutput
	if c.Params.Bias {
		need |= receipt.PartBias
	}
	if c.Params.Extra {
		need |= receipt.PartExtra
	}
	return f.Opening != nil && f.Opening.Parts()&need == need
}

// judge writes the verdict.
func (r *Report) judge(in *Input, c *receipt.Claims) {
	r.Computed = verdictOf(&in.Checks, receipt.CheckComputation) == receipt.Valid
	failed := worst(&in.Checks)
	switch {
	case failed != nil && failed.Name == receipt.CheckModel:
		r.Status, r.Title = Unchecked, "This is another model"
		r.Summary = "The receipt names a different model than the one given here. If you were told that this one wrote the answer, that is not so. If you took the wrong file, take the right one."
	case failed != nil && failed.Name == receipt.CheckAdapters:
		r.Status, r.Title = Unchecked, "These are other adapters"
		r.Summary = "The receipt names other adapters than those given here, or other scales. If you were told that the model answered with these, that is not so. If you took the wrong files, take the right ones."
	case failed != nil && failed.Name == receipt.CheckSuite:
		r.Status, r.Title, r.Summary = Unchecked, "Could not be checked", wording[failed.Name].failed
	case failed != nil && c == nil:
		r.Status, r.Title, r.Summary = Unchecked, "Not a readable receipt", wordsOf(failed.Name).failed
	case failed != nil:
		r.Status, r.Title, r.Summary = Invalid, "Not valid", wordsOf(failed.Name).failed
		if failed.Name == receipt.CheckSignature || failed.Name == receipt.CheckKey {
			r.Summary += " Nothing that it says can be relied upon."
		}
		if where := where(failed, c); where != "" {
			r.Summary += " " + where
		}
	case len(in.Checks.Checks) == 0 || c == nil:
		r.Status, r.Title, r.Summary = Unchecked, "Nothing was checked", "There is no receipt to tell of."
	case r.Computed && doubtful(&in.Checks):
		r.Status, r.Title = Partly, "Computed again, but not all could be compared"
		r.Summary = "What was computed again fits. But something that was to be compared is not shown in this file, or could not be looked at: see what was not checked."
	case r.Computed && in.Scope != nil:
		r.Status, r.Title, r.Summary = Valid, "Valid, by a sample", in.Scope.summary()
	case r.Computed:
		r.Status, r.Title = Valid, "Valid: computed again, and equal"
		r.Summary = fmt.Sprintf("This model, with this question and these settings, gives exactly this answer. %s.",
			all(c.OutputTokens, "word piece was computed again and compared", "word pieces were computed again and compared"))
	default:
		r.Status, r.Title = Partly, "Signed and unchanged, but not computed again"
		r.Summary = "The receipt is signed, and what is shown here fits it. Whether the model really gives this answer was not checked."
		if !r.Computable {
			r.Summary = "The receipt is signed. It hides what it would take to compute the answer again, so nobody can tell from this file whether the model really gives it."
		}
	}
}

// doubtful reports a check that could not be made although it was asked for. Who
// chose the seed, and a record that is not shown, are remarks.
func doubtful(r *receipt.Report) bool {
	return slices.ContainsFunc(r.Checks, func(c receipt.Check) bool {
		return c.Verdict == receipt.Unverified && c.Name != receipt.CheckSeed && c.Name != receipt.CheckTrace
	})
}

// worst is the failed check that says most: the computation, or else the first.
func worst(r *receipt.Report) *receipt.Check {
	for i, c := range r.Checks {
		if c.Name == receipt.CheckComputation && c.Verdict == receipt.Invalid {
			return &r.Checks[i]
		}
	}
	return r.Failed()
}

// all writes "All 5 things", "Its only thing".
func all(n int, one, many string) string {
	if n == 1 {
		return "Its only " + one
	}
	return fmt.Sprintf("All %d %s", n, many)
}

// checks sorts the checks into those made and those not.
func (r *Report) checks(in *Input, c *receipt.Claims) {
	seen := map[string]bool{}
	add := func(list *[]Line, l Line) {
		if !seen[l.Text] {
			seen[l.Text] = true
			*list = append(*list, l)
		}
	}
	opened := verdictOf(&in.Checks, receipt.CheckTranscript) != ""
	for _, check := range in.Checks.Checks {
		w := wordsOf(check.Name)
		switch check.Verdict {
		case receipt.Valid:
			switch {
			case check.Name == receipt.CheckSeed && c != nil && c.Params.Greedy() && c.Seed.Kind != receipt.SeedNonce:
				continue // without effect; the facts say so
			case check.Name == receipt.CheckTranscript:
				continue // the parts say it, each for itself
			case check.Name == "rendering" && in.File != nil && in.File.Opening != nil && in.File.Opening.Source != nil && in.File.Opening.Source.Source.Kind == receipt.SourceIDs:
				continue // no question is shown
			case c != nil && (check.Name == receipt.CheckExtra && !c.Params.Extra || check.Name == receipt.CheckBias && !c.Params.Bias):
				continue // there are none
			case w.under != "" && verdictOf(&in.Checks, w.under) == receipt.Valid:
				continue
			case check.Name == receipt.CheckComputation && in.Scope != nil:
				w.passed = in.Scope.line()
			}
			add(&r.Checked, Line{Mark: Yes, Text: w.passed, first: check.Name == receipt.CheckComputation})
		case receipt.Unverified:
			add(&r.Unchecked, r.open(check, w, c, in.Trouble))
		default:
			add(&r.Checked, Line{Mark: No, Text: w.failed, Note: where(&check, c), first: check.Name == receipt.CheckComputation})
		}
	}
	slices.SortStableFunc(r.Checked, func(a, b Line) int { return cmp.Compare(rank(a), rank(b)) })
	if c == nil || in.Checks.Failed() != nil && verdictOf(&in.Checks, receipt.CheckSignature) != receipt.Valid {
		return
	}
	if !opened {
		add(&r.Unchecked, Line{Mark: Open, Text: wording[receipt.CheckTranscript].open})
		return
	}
	for _, part := range []struct {
		name   string
		hidden bool
	}{
		{receipt.CheckSource, in.File.Opening.Source == nil},
		{receipt.CheckText, in.File.Opening.Text == nil},
		{receipt.CheckBias, in.File.Opening.Bias == nil && c.Params.Bias},
		{receipt.CheckExtra, in.File.Opening.Extra == nil && c.Params.Extra},
	} {
		if part.hidden && verdictOf(&in.Checks, part.name) == "" {
			add(&r.Unchecked, Line{Mark: Open, Text: wording[part.name].open})
		}
	}
}

// open is the line of a check that could not be made.
func (r *Report) open(check receipt.Check, w words, c *receipt.Claims, trouble string) Line {
	l := Line{Mark: Open, Text: w.open}
	switch {
	case check.Name == receipt.CheckComputation && trouble != "":
		l.Note = "It was tried: " + clean(trouble)
	case check.Name == receipt.CheckComputation && r.Status == Unchecked:
		l.Note = "For that, the right model’s file is needed."
	case check.Name == receipt.CheckComputation && r.Computable:
		l.Note = "For that, the model’s file is needed."
	case check.Name == receipt.CheckComputation:
		l.Note = "For that, the receipt’s file must show the question and the answer, and the model’s file is needed."
	case check.Name == receipt.CheckSeed && c != nil:
		switch c.Seed.Kind {
		case receipt.SeedSelf:
			l = Line{Mark: Mind, Text: "Whether this was the first try.", Note: selfChosen}
		case receipt.SeedNonce:
			l = Line{Mark: Mind, Text: "Whether the random numbers come from you.", Note: "They were made from a value that the one who asked may choose. If you asked, compare it with yours; it is below, for experts."}
		case receipt.SeedBeacon:
			l = Line{Mark: Mind, Text: "Whether the random numbers come from the public source that the receipt names.", Note: "Its value for that round was not looked up; it is below, for experts."}
		}
	}
	return l
}

const selfChosen = "Whoever made this answer picked the random numbers too. They could have tried several and kept the answer they liked."

// verdictOf gives the verdict of the first check of a name, or "".
func verdictOf(r *receipt.Report, name string) receipt.Verdict {
	for _, c := range r.Checks {
		if c.Name == name {
			return c.Verdict
		}
	}
	return ""
}

// bounds says what no receipt shows.
func bounds(*receipt.Claims) []string {
	return []string{
		"That the answer is right. Models err; a receipt only shows that this one said it.",
		"Who sat at the device. It shows a key, not a person.",
		"That this device did the work itself. It could have signed an honest answer that another one computed.",
		"That the device’s clock was right.",
	}
}

// where says at which word piece a computation went wrong, if its detail does:
// "token 36: ...", counted from 0.
func where(check *receipt.Check, c *receipt.Claims) string {
	var i int
	if n, _ := fmt.Sscanf(check.Detail, "token %d:", &i); n != 1 || c == nil || check.Name != receipt.CheckComputation {
		return ""
	}
	return fmt.Sprintf("It differs first at word piece %d of %d.", i+1, c.OutputTokens)
}

func date(unix int64) string { return time.Unix(unix, 0).UTC().Format("2 January 2006, 15:04 UTC") }
