package replay

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// Auditor checks the receipt of one run. Subject is required.
type Auditor struct {
	Subject *record.Subject
	// Base is the fingerprint of the base model's file at hand; zero: none.
	Base training.Hash
	// Given are examples that were handed over one by one, where
	// Subject.Data is nil.
	Given *training.Given
	// Checkpoint opens the file of the state after a step; it fails with
	// fs.ErrNotExist if that is not at hand. nil: none is.
	Checkpoint func(step int) (*train.Checkpoint, func() error, error)
	// Folder is where the file of the result is written to be compared; "":
	// it is not compared.
	Folder string
	// Progress, if not nil, is told after each step how many of how many are
	// done.
	Progress func(done, all int)
}

// Options of a check. The zero value computes everything again.
type Options struct {
	training.Options
	// From and To limit what is computed to the steps From to To-1, and on to
	// the checkpoints before and after. To 0: to the end.
	From, To int
	// Sample is how many of all stretches of the run chance chooses; 0: those
	// that From and To name, which must then be 0.
	Sample int
	// Random makes the choice; whoever made the receipt must not have known it.
	Random [32]byte
}

// Outcome is what came of a check.
type Outcome struct {
	Report receipt.Report
	// Stretches were to be computed, of All in the run.
	Stretches []Stretch
	All       int
	Steps     int // that were computed
	// Difference is the first that was found; nil: none.
	Difference *Difference
}

// Chance is the probability that the stretches of the outcome would have held a
// wrong one if there had been so many.
func (o *Outcome) Chance(wrong int) float64 { return Chance(o.All, wrong, len(o.Stretches)) }

// Difference says where a computation first differs from a receipt.
type Difference struct {
	// Step is the number of the step whose record differs, or, with State, how
	// many steps are behind the state that does.
	Step   int    `json:"step"`
	State  bool   `json:"state,omitempty"`
	Field  string `json:"field,omitempty"`  // of the record
	Tensor string `json:"tensor,omitempty"` // the first one that differs, if it is known
	Got    string `json:"got"`              // what was computed
	Want   string `json:"want"`             // what the receipt has
}

// run is a check on its way.
type run struct {
	*Auditor
	ctx     context.Context
	file    *training.File
	claims  training.Claims
	config  train.Config
	trainer *train.Trainer
	out     Outcome

	total, steps int
	known        bool // the trainer's state is one that the receipt commits to
	result       bool // it was checked
	part         bool // only some stretches are asked for
	// gap says which steps were asked for that the file hides; missed what of
	// the result was not compared, where only a part was asked for.
	gap    string
	missed []string
}

// errMissing says that an example is not at hand.
var errMissing = errors.New("it is not at hand")

// Check computes steps of a run again. A receipt that is wrong is no error: the
// outcome says which check failed.
func (a *Auditor) Check(ctx context.Context, f *training.File, o Options) (*Outcome, error) {
	r := &run{Auditor: a, ctx: ctx, file: f, claims: f.Receipt.Claims()}
	r.out.Report = Offline(f, o.Options)
	if r.out.Report.Failed() != nil {
		return &r.out, nil
	}
	r.part = o.From != 0 || o.To != 0 || o.Sample != 0
	list, ok := r.choose(&o)
	if !ok || !r.prepare() {
		return &r.out, nil
	}
	r.part = r.part && len(list) < r.out.All // all of it, in other words
	// No stretch leads to the start, which can be the result.
	if err := r.results(); err != nil || r.out.Report.Failed() != nil {
		return &r.out, err
	}
	for _, s := range list {
		r.total += s.to.Step - s.from.Step
	}
	whole := true
	for _, s := range list {
		right, err := r.stretch(s)
		if err != nil {
			return &r.out, err
		}
		if !right {
			whole = false
			break
		}
	}
	if whole {
		if err := r.finish(list, o.Sample > 0); err != nil {
			return &r.out, err
		}
	}
	r.out.Steps = r.steps
	return &r.out, nil
}

// open adds why nothing is computed.
func (r *run) open(format string, args ...any) bool {
	r.out.Report.Add(unverified(training.CheckComputation, "not computed again: "+format, args...))
	return false
}

// miss adds a check of the result that cannot be made, if all was asked for.
// Else what it says goes into the check of the computation.
func (r *run) miss(name, detail string) {
	if r.part {
		r.missed = append(r.missed, detail)
	} else {
		r.out.Report.Add(unverified(name, "%s", detail))
	}
}

// wrong adds a check that fails.
func (r *run) wrong(name, format string, args ...any) bool {
	r.out.Report.Add(invalid(name, format, args...))
	return false
}

// choose lists the stretches to compute.
func (r *run) choose(o *Options) ([]span, bool) {
	if r.file.Opening == nil {
		return nil, r.open("the receipt's file shows nothing of the run")
	}
	if to := o.To; o.From < 0 || to != 0 && to <= o.From || to > r.claims.Steps || o.From >= r.claims.Steps {
		return nil, r.open("there are steps 0 to %d, and %d to %d were asked for", r.claims.Steps-1, o.From, to-1)
	}
	to := o.To
	if to == 0 {
		to = r.claims.Steps
	}
	r.out.All = r.claims.Checkpoints.Count - 1
	var list []span
	if o.Sample > 0 {
		var hidden []int
		if o.From != 0 || o.To != 0 {
			return nil, r.open("a sample is of the whole run, and steps %d to %d were asked for", o.From, to-1)
		}
		if list, hidden = sampled(r.file, o); len(hidden) > 0 {
			return nil, r.open("chance chose stretch number %d of %d, counted from 0, and the receipt's file does not show the checkpoints around it", hidden[0], r.out.All)
		}
	} else {
		for _, s := range spans(r.file.Opening) {
			if s.from.Step < to && s.to.Step > o.From {
				list = append(list, s)
			}
		}
		r.gap = gap(list, o.From, to)
	}
	if len(list) == 0 {
		return nil, r.open("the receipt's file does not show two checkpoints around these steps")
	}
	for _, s := range list {
		r.out.Stretches = append(r.out.Stretches, Stretch{s.from.Step, s.to.Step})
		for step := s.from.Step; step < s.to.Step; step++ {
			if _, ok := r.file.Opening.Record(step); !ok {
				return nil, r.open("the receipt's file does not show the record of step %d", step)
			}
		}
	}
	return list, true
}

// gap names the first steps among those asked for that no stretch has: whoever
// made the file would else choose what is looked at.
func gap(list []span, from, to int) string {
	for _, s := range list {
		if s.from.Step > from {
			to = min(to, s.from.Step)
			break
		}
		from = max(from, s.to.Step)
	}
	if from >= to {
		return ""
	}
	return fmt.Sprintf("steps %d to %d were asked for, too, and the receipt's file does not show the checkpoints around them", from, to-1)
}

// sampled lists the stretches of a sample. They are drawn from all of the run,
// whether shown or not: whoever made the file could else choose what is drawn
// from. hidden are the numbers of those that are not shown.
func sampled(f *training.File, o *Options) (list []span, hidden []int) {
	all := spans(f.Opening)
	for _, i := range Choose(f.Receipt.Hash(), o.Random, f.Receipt.Claims().Checkpoints.Count-1, o.Sample) {
		if at, ok := slices.BinarySearchFunc(all, i, func(s span, i int) int { return s.index - i }); ok {
			list = append(list, all[at])
		} else {
			hidden = append(hidden, i)
		}
	}
	return list, hidden
}

// Sampled lists the stretches that the sample of the options is of, and the
// numbers of those among them whose ends the file does not show: stretch i is
// the one between entries i and i+1 of the list of checkpoints.
func Sampled(f *training.File, o Options) (list []Stretch, hidden []int) {
	if f.Opening == nil {
		return nil, Choose(f.Receipt.Hash(), o.Random, f.Receipt.Claims().Checkpoints.Count-1, o.Sample)
	}
	known, hidden := sampled(f, &o)
	for _, s := range known {
		list = append(list, Stretch{s.from.Step, s.to.Step})
	}
	return list, hidden
}

// prepare makes the trainer of the run and checks what it is made of.
func (r *run) prepare() bool {
	o := r.file.Opening
	if o.Config == nil {
		return r.open("the receipt's file does not show the configuration")
	}
	var err error
	if r.config, err = train.ParseConfig(o.Config.Config); err != nil { // Offline has looked
		return r.wrong(training.CheckConfig, "%v", err)
	}
	if want := r.claims.Base; r.Base != want && !r.Base.IsZero() {
		return r.wrong(training.CheckBase, "the receipt is for %v, the file at hand is %v", want, r.Base)
	}
	if r.Base.IsZero() && !r.claims.Base.IsZero() {
		return r.open("the run began with the model %v, which is not at hand", r.claims.Base)
	}
	if !r.data() {
		return false
	}
	if r.trainer, err = train.NewTrainer(r.Subject.Machine, r.config, r.Subject.Learner, source{r}); err != nil {
		return r.wrong(training.CheckConfig, "no run can begin so: %v", err)
	}
	root, _ := record.Roots(r.trainer.Leaves())
	if start, ok := r.point(0); ok {
		if r.known = root == start.Root; !r.known {
			r.differs(training.CheckStart, 0, root.String(), start.Root.String(), "the run did not begin with this model, or with these random numbers")
			return false
		}
		r.out.Report.Add(valid(training.CheckStart, "the run begins with what the setup says"))
	}
	return true
}

// point is the checkpoint after a step, if it is shown.
func (r *run) point(step int) (training.Checkpoint, bool) {
	for _, list := range r.file.Opening.Points() {
		for _, p := range list {
			if p.Step == step {
				return p, true
			}
		}
	}
	return training.Checkpoint{}, false
}

// data checks the examples at hand.
func (r *run) data() bool {
	d, c := r.Subject.Data, r.claims.Data
	if d == nil {
		if r.Given == nil {
			return r.open("the examples are not at hand")
		}
		check := r.Given.Check(r.file.Receipt.Hash(), &r.claims)
		r.out.Report.Add(check)
		return check.Passed()
	}
	if n := d.Len(); n != c.Count {
		return r.wrong(training.CheckData, "there are %d examples, the run had %d", n, c.Count)
	}
	salt := r.file.Opening.Data
	if salt == nil {
		return r.open("the receipt's file does not show the salt of the examples, so that they cannot be compared with those of the run")
	}
	got, err := record.Commit(*salt, d)
	switch {
	case err != nil:
		return r.open("the examples: %v", err)
	case got != c:
		return r.wrong(training.CheckData, "the %d examples at hand are not those that the receipt commits to, or in another order", c.Count)
	}
	r.out.Report.Add(valid(training.CheckData, "the %d examples are those that the receipt commits to", c.Count))
	return true
}

// source gives the trainer the examples at hand.
type source struct{ r *run }

func (s source) Len() int { return s.r.claims.Data.Count }

func (s source) Example(i int) (train.Example, error) {
	if d := s.r.Subject.Data; d != nil {
		return d.Example(i)
	}
	b, ok := s.r.Given.Find(i)
	if !ok || s.r.Subject.Decode == nil {
		return train.Example{}, errMissing
	}
	return s.r.Subject.Decode(b)
}

// stretch goes to where a stretch begins, and computes it.
func (r *run) stretch(s span) (bool, error) {
	if right, err := r.reach(s.from); err != nil || !right {
		return false, err
	}
	if right, err := r.walk(s.to.Step); err != nil || !right {
		return false, err
	}
	if right, err := r.state(s.to); err != nil || !right {
		return false, err
	}
	return true, r.results()
}

// reach brings the trainer to a checkpoint: from its file or, without it, by
// computing the steps from where it is.
func (r *run) reach(p training.Checkpoint) (bool, error) {
	if r.trainer.Done() == p.Step && r.known {
		return true, nil
	}
	ok, err := r.restore(p)
	switch {
	case err != nil, ok:
		return ok, err
	case r.out.Report.Failed() != nil:
		return false, nil
	case r.trainer.Done() > p.Step || !r.known:
		return r.open("the checkpoint after step %d is not at hand", p.Step), nil
	}
	r.total += p.Step - r.trainer.Done()
	for _, s := range spans(r.file.Opening) { // every checkpoint on the way can be compared
		if s.to.Step <= r.trainer.Done() || s.to.Step > p.Step {
			continue
		}
		if right, err := r.walk(s.to.Step); err != nil || !right {
			return false, err
		}
		if right, err := r.state(s.to); err != nil || !right {
			return false, err
		}
		if err := r.results(); err != nil {
			return false, err
		}
	}
	if r.trainer.Done() != p.Step {
		return r.open("the checkpoint after step %d is not at hand", p.Step), nil
	}
	return true, nil
}

// restore puts the trainer to a checkpoint whose file is at hand. It is false if
// there is none, or if it is wrong, which the report then says.
func (r *run) restore(p training.Checkpoint) (bool, error) {
	if r.Checkpoint == nil {
		return false, nil
	}
	c, closer, err := r.Checkpoint(p.Step)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("the checkpoint after step %d: %w", p.Step, err)
	}
	defer closer()
	r.known = false
	if err := r.trainer.Restore(c); errors.Is(err, train.ErrCheckpoint) {
		return r.wrong(training.CheckStart, "the checkpoint after step %d: %v", p.Step, err), nil
	} else if err != nil {
		return false, err
	}
	// What was read counts, not what the file says of itself.
	if root, _ := record.Roots(r.trainer.Leaves()); root != p.Root {
		return r.wrong(training.CheckStart, "the file of the checkpoint after step %d is not the one that the receipt commits to: its root is %v, the receipt has %v", p.Step, root, p.Root), nil
	}
	r.known = true
	r.out.Report.Add(valid(training.CheckStart, "the checkpoint after step %d is the one that the receipt commits to", p.Step))
	return true, nil
}

// walk computes steps until so many are behind.
func (r *run) walk(to int) (bool, error) {
	for r.trainer.Done() < to {
		if err := r.ctx.Err(); err != nil {
			return false, err
		}
		step := r.trainer.Done()
		want, shown := r.file.Opening.Record(step)
		if !shown {
			return r.open("the receipt's file does not show the record of step %d", step), nil
		}
		r.known = false
		got, err := r.trainer.Step()
		switch {
		case errors.Is(err, errMissing):
			return r.open("%v", err), nil
		case errors.Is(err, train.ErrDiverged):
			return r.wrong(training.CheckSteps, "%v", err), nil
		case err != nil:
			return r.open("%v", err), nil
		}
		r.steps++
		if r.Progress != nil {
			r.Progress(r.steps, r.total)
		}
		if d := compare(step, got.Bytes(), want); d != nil {
			r.out.Difference = d
			return r.wrong(training.CheckSteps, "step %d: %s is %s, the receipt has %s: the first difference", step, d.Field, d.Got, d.Want), nil
		}
	}
	return true, nil
}

// differs adds a check about a state that fails.
func (r *run) differs(name string, step int, got, want, why string) bool {
	r.out.Difference = &Difference{Step: step, State: true, Got: got, Want: want}
	return r.wrong(name, "after step %d: the root is %s, the receipt has %s: %s", step, got, want, why)
}

// state compares the trainer's state with a checkpoint.
func (r *run) state(p training.Checkpoint) (bool, error) {
	leaves := r.trainer.Leaves()
	root, _ := record.Roots(leaves)
	if root == p.Root {
		r.known = true
		return true, nil
	}
	why, tensor := "its file would tell which tensor differs", ""
	if r.Checkpoint != nil {
		c, closer, err := r.Checkpoint(p.Step)
		if err == nil {
			defer closer()
			theirs, err := c.Leaves()
			if root, _ := record.Roots(theirs); err == nil && root == p.Root {
				tensor = train.FirstDifference(leaves, theirs)
				why = fmt.Sprintf("tensor %q is the first that differs", tensor)
			}
		}
	}
	r.differs(training.CheckState, p.Step, root.String(), p.Root.String(), why)
	r.out.Difference.Tensor = tensor
	return false, nil
}
