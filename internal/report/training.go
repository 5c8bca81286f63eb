package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// TrainingInput is what a report of a training receipt tells of.
type TrainingInput struct {
	// File is the receipt as it was read; nil if it could not be.
	File *training.File
	// Checks are all that were made, in their order.
	Checks receipt.Report
	// Trouble is why nothing could be computed again, if that was tried.
	Trouble string
	// Steps were computed again; Stretches of All parts between two saved states.
	Steps, Stretches, All int
	// Chance is the probability that one wrong part would have been found, if
	// chance chose; else 0.
	Chance float64
	// Here says that steps could be computed again by this program: a page in a
	// browser cannot.
	Here bool
}

// NewTraining writes the report of a training receipt.
func NewTraining(in TrainingInput) *Report {
	r := &Report{}
	var c *training.Claims
	if in.File != nil {
		claims := in.File.Receipt.Claims()
		c = &claims
	}
	r.judgeTraining(&in, c)
	r.trainingChecks(&in, c)
	if c != nil {
		r.Facts = trainingFacts(in.File, c)
	}
	r.Bounds = trainingBounds()
	r.Details = trainingDetails(&in, c)
	return r
}

func (r *Report) judgeTraining(in *TrainingInput, c *training.Claims) {
	r.Computed = verdictOf(&in.Checks, training.CheckComputation) == receipt.Valid
	failed := in.Checks.Failed()
	other := [2]string{}
	if failed != nil {
		other = misfit[failed.Name]
	}
	switch {
	case other[0] != "":
		r.Status, r.Title, r.Summary = Unchecked, other[0], other[1]
	case failed != nil && c == nil:
		r.Status, r.Title, r.Summary = Unchecked, "Not a readable receipt", trainingWords(failed.Name).failed
	case failed != nil:
		r.Status, r.Title, r.Summary = Invalid, "Not valid", trainingWords(failed.Name).failed
		if failed.Name == receipt.CheckSignature || failed.Name == receipt.CheckKey {
			r.Summary += " Nothing that it says can be relied upon."
		}
		if where := clean(firstDifference(failed)); where != "" {
			r.Summary += " " + where
		}
	case c == nil:
		r.Status, r.Title, r.Summary = Unchecked, "Nothing was checked", "There is no receipt to tell of."
	case r.Computed && in.Checks.Verdict() != receipt.Valid:
		r.Status, r.Title = Partly, "Computed again, but not all could be compared"
		r.Summary = "What was computed again fits. But something that was to be compared is not shown in this file, or could not be looked at: see what was not checked."
	case r.Computed && in.Stretches < in.All && in.Chance > 0:
		r.Status, r.Title = Valid, "Valid, by a sample"
		r.Summary = fmt.Sprintf("%s, in %d of %d parts of the training chosen by chance, and every number fits. Had one part been wrong, this would have shown it with a probability of %s %%.%s",
			again(in.Steps), in.Stretches, in.All, percent(in.Chance), withoutResult(&in.Checks))
	case r.Computed && in.Stretches < in.All:
		r.Status, r.Title = Valid, "Valid, as far as it was computed again"
		r.Summary = fmt.Sprintf("%s, in %d of %d parts of the training, and every number fits. The other parts were not looked at.%s", again(in.Steps), in.Stretches, in.All, withoutResult(&in.Checks))
	case r.Computed:
		r.Status, r.Title = Valid, "Valid: computed again, and equal"
		r.Summary = fmt.Sprintf("This start, with these examples and these settings, leads exactly to this result. %s, all that there were.", again(in.Steps))
	case in.Steps > 0:
		r.Status, r.Title = Partly, "Computed again in part, not as far as was asked for"
		r.Summary = fmt.Sprintf("%s, and every number fits. But not all that was to be computed again could be: see what was not checked.", again(in.Steps))
	default:
		r.Status, r.Title = Partly, "Signed and unchanged, but not computed again"
		r.Summary = "The receipt of a training is signed, and what is shown here fits it. Whether the training really led to this result was not checked."
	}
}

// withoutResult says so if the file of the result was not made again: the
// computation of a part leads there only if the part is the last one.
func withoutResult(r *receipt.Report) string {
	if verdictOf(r, training.CheckResult) == receipt.Valid {
		return ""
	}
	return " The file of the result was not compared."
}

func again(steps int) string {
	if steps == 1 {
		return "1 step was computed again"
	}
	return fmt.Sprintf("%d steps were computed again", steps)
}

// firstDifference is the place of a difference as the check tells it.
func firstDifference(check *receipt.Check) string {
	switch check.Name {
	case training.CheckSteps, training.CheckState, training.CheckEvaluation, training.CheckRates, training.CheckStart, training.CheckCheckpoints, training.CheckLog:
		if d := check.Detail; d != "" {
			return strings.ToUpper(d[:1]) + d[1:] + "."
		}
	}
	return ""
}

func (r *Report) trainingChecks(in *TrainingInput, c *training.Claims) {
	seen := map[string]bool{}
	add := func(list *[]Line, l Line) {
		if !seen[l.Text] {
			seen[l.Text] = true
			*list = append(*list, l)
		}
	}
	for _, check := range in.Checks.Checks {
		w := trainingWords(check.Name)
		first := check.Name == training.CheckComputation
		switch check.Verdict {
		case receipt.Valid:
			switch {
			case w.under != "" && verdictOf(&in.Checks, w.under) == receipt.Valid:
				continue
			case first && in.Stretches < in.All:
				w.passed = fmt.Sprintf("%s, in %d of %d parts; every number is equal.", again(in.Steps), in.Stretches, in.All)
			}
			add(&r.Checked, Line{Mark: Yes, Text: w.passed, first: first})
		case receipt.Unverified:
			l := Line{Mark: Open, Text: w.open}
			switch {
			case first && in.Trouble != "":
				l.Note = "It was tried: " + clean(in.Trouble)
			case first && !in.Here:
				l.Note = "This page cannot train. “aval verify”, with the examples, can compute the steps again."
			case first:
				l.Note = "For that, the examples are needed, and the model that it began with, if there was one."
			}
			add(&r.Unchecked, l)
		default:
			add(&r.Checked, Line{Mark: No, Text: w.failed, Note: clean(firstDifference(&check)), first: first})
		}
	}
	slices.SortStableFunc(r.Checked, func(a, b Line) int { return cmp.Compare(rank(a), rank(b)) })
	if c == nil || in.Checks.Failed() != nil && verdictOf(&in.Checks, receipt.CheckSignature) != receipt.Valid {
		return
	}
	if c.Nonce == nil {
		add(&r.Unchecked, Line{Mark: Mind, Text: "Whether this was the first try.", Note: "Whoever trained picked the random numbers too. They could have tried several and kept the training they liked."})
	}
	for _, p := range []struct {
		part training.Part
		name string
	}{{training.PartSetup, training.CheckSetup}, {training.PartConfig, training.CheckConfig}, {training.PartCheckpoints, training.CheckCheckpoints}, {training.PartLog, training.CheckLog}} {
		part := p.name == training.CheckLog && verdictOf(&in.Checks, training.CheckLogRange) != "" ||
			p.name == training.CheckCheckpoints && verdictOf(&in.Checks, training.CheckPointRange) != ""
		if in.File.Opening.Parts()&p.part == 0 && verdictOf(&in.Checks, p.name) == "" && !part {
			add(&r.Unchecked, Line{Mark: Open, Text: trainingWording[p.name].open})
		}
	}
}

var trained = map[training.Kind]string{
	training.Full: "All of a language model.",
	training.LoRA: "An addition to a language model, which itself stayed as it was (LoRA).",
	training.Net:  "A small net.",
}

// trainingFacts are the claims in words.
func trainingFacts(f *training.File, c *training.Claims) []Fact {
	list := []Fact{{"What was trained", trained[c.Kind], ""}}
	add := func(name, value, code string) { list = append(list, Fact{name, value, code}) }
	if c.Base.IsZero() {
		add("Beginning", "Random numbers.", "")
	} else {
		add("Beginning", "The model with this fingerprint. Whoever publishes a model can say what its fingerprint is.", spaced(c.Base))
	}
	add("Examples", fmt.Sprintf("%d, which nobody sees in this file: one number stands for all of them. Whoever is given an example can check that it is one of them.", c.Data.Count), "")
	add("Length", length(f, c), "")
	if o := f.Opening; o != nil && o.Config != nil {
		if config, err := training.ParseConfig(o.Config.Config); err == nil {
			add("Settings", inWords(&config), "")
		}
	}
	result := "The file with this fingerprint."
	if c.Result.Identity == training.Bytes {
		result = "The file whose bytes have this hash."
	}
	if c.Result.Step < c.Steps {
		result += fmt.Sprintf(" It is the state after step %d, not the last one.", c.Result.Step)
	}
	add("Result", result, spaced(c.Result.File))
	if e := c.Evaluation; e != nil {
		add("Test", fmt.Sprintf("On %d examples that were kept apart: a loss of %.4f a prediction, %.1f %% right.", e.Data.Count, e.Loss/float64(e.Count), 100*float64(e.Correct)/float64(e.Count)), "")
	}
	if c.Nonce != nil {
		add("Random numbers", "From a value that whoever ordered the training may choose.", "")
	} else {
		add("Random numbers", "Picked by whoever trained.", "")
	}
	add("Signed by", "The device with this key. Its owner can say whether the key is theirs.", receipt.FormatNodeKey(c.Key))
	add("Date", date(c.Time)+", by that device’s clock.", "")
	return list
}

func length(f *training.File, c *training.Claims) string {
	s := fmt.Sprintf("%s, with %d saved states.", count(c.Steps, "step"), c.Checkpoints.Count)
	mean := func(step int) (float64, bool) {
		e, ok := f.Opening.Record(step)
		r, err := e.Record()
		return r.Loss / float64(max(r.Count, 1)), ok && err == nil
	}
	first, ok1 := mean(0)
	last, ok2 := mean(c.Steps - 1)
	if ok1 && ok2 {
		s += fmt.Sprintf(" The loss of a prediction was %.4f in the first step and %.4f in the last one.", first, last)
	}
	return s
}

func inWords(c *training.Config) string {
	s := fmt.Sprintf("%s in each step, %s, learning rate %s (%s", count(c.Batch, "example"), short(clean(c.Optimizer)), number(c.LearningRate), short(clean(c.Schedule)))
	if c.Warmup > 0 {
		s += fmt.Sprintf(", %s of warm-up", count(c.Warmup, "step"))
	}
	return s + fmt.Sprintf("), seed %d.", c.Seed)
}

// trainingDetails are for experts.
func trainingDetails(in *TrainingInput, c *training.Claims) []Fact {
	list := checkFacts(in.Checks.Checks)
	add := func(name, format string, args ...any) {
		list = append(list, Fact{name, "", fmt.Sprintf(format, args...)})
	}
	if c == nil {
		return list
	}
	add("Receipt", "%v, %d bytes", in.File.Receipt.Hash(), len(in.File.Receipt.Bytes()))
	add("Rules", "%s", training.Suite)
	add("Setup", "%v", c.Setup)
	add("Configuration", "%v", c.Config)
	add("Examples", "%d, %v", c.Data.Count, c.Data.Root)
	add("Checkpoints", "%d, %v", c.Checkpoints.Count, c.Checkpoints.Root)
	add("Step log", "%v", c.Log)
	add("Result", "step %d, parameters %v, %s %v, format %q", c.Result.Step, c.Result.Parameters, c.Result.Identity, c.Result.File, clean(c.Result.Format))
	if e := c.Evaluation; e != nil {
		add("Evaluation", "%d examples %v, batch %d, loss %v, %d of %d right", e.Data.Count, e.Data.Root, e.Batch, e.Loss, e.Correct, e.Count)
	}
	if c.Nonce != nil {
		add("Nonce", "%x", c.Nonce)
	}
	add("Time", "%d", c.Time)
	if o := in.File.Opening; o != nil && o.Setup != nil {
		add("Learner", "%s", passage(string(o.Setup.Setup.Learner)))
		add("Data", "%s", passage(string(o.Setup.Setup.Data)))
	}
	return list
}
