package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/avalnetwork/aval/internal/audit/replay"
	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/internal/train/run"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// trainingShowJSON is what "aval receipt show --json" prints of a training
// receipt.
type trainingShowJSON struct {
	ID      receipt.Hash        `json:"id"`
	Bytes   int                 `json:"bytes"`
	Claims  training.Claims     `json:"claims"`
	Shown   trainingShownJSON   `json:"shown"`
	Verdict receipt.Verdict     `json:"verdict"` // of the checks that compute nothing again
	Checks  []checkJSON         `json:"checks"`
	Log     []training.Record   `json:"log,omitempty"`
	Points  []trainingPointJSON `json:"checkpoints,omitempty"`
}

// trainingShownJSON is what the file shows of settings.
type trainingShownJSON struct {
	Learner string           `json:"learner,omitempty"`
	Data    string           `json:"data,omitempty"`
	Config  *training.Config `json:"configuration,omitempty"`
}

type trainingPointJSON struct {
	Step int           `json:"step"`
	Root training.Hash `json:"root"`
}

// showTraining is "aval receipt show" of a training receipt.
func (a *app) showTraining(o *receiptShowOptions, path string, data []byte) error {
	if o.with != "" {
		return usageErrorf("--with is for the receipt of an answer: nothing is sealed in that of a training")
	}
	f, err := training.ParseFile(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	checks := replay.Offline(f, training.Options{Now: time.Now()})
	if o.json {
		err = a.printJSON(trainingJSONOf(f, &checks))
	} else {
		err = a.tell(report.NewTraining(report.TrainingInput{File: f, Checks: checks, Here: true}), o.html, o.details)
	}
	if err == nil && checks.Verdict() == receipt.Invalid {
		return errChecks
	}
	return err
}

func trainingJSONOf(f *training.File, checks *receipt.Report) trainingShowJSON {
	j := trainingShowJSON{
		ID: f.Receipt.Hash(), Bytes: len(f.Receipt.Bytes()), Claims: f.Receipt.Claims(),
		Verdict: checks.Verdict(), Checks: checksJSON(checks),
	}
	o := f.Opening
	if o == nil {
		return j
	}
	if o.Setup != nil {
		j.Shown.Learner, j.Shown.Data = string(o.Setup.Setup.Learner), string(o.Setup.Setup.Data)
	}
	if o.Config != nil {
		if c, err := training.ParseConfig(o.Config.Config); err == nil {
			j.Shown.Config = &c
		}
	}
	for _, run := range o.Points() {
		for _, p := range run {
			j.Points = append(j.Points, trainingPointJSON{p.Step, p.Root})
		}
	}
	for i := range j.Claims.Steps {
		e, ok := o.Record(i)
		if !ok {
			if o.Log != nil || len(o.LogRanges) == 0 {
				break
			}
			continue
		}
		if r, err := e.Record(); err == nil {
			j.Log = append(j.Log, r)
		}
	}
	return j
}

// trainingOpenOptions are the flags of "aval receipt open" for the receipts of
// trainings.
type trainingOpenOptions struct {
	settings, course, salts bool
	steps                   string
}

var (
	trainingOpenFlags = []string{"settings", "course", "salts", "steps"}
	answerOpenFlags   = []string{"prompt", "output", "ids", "trace-salt", "for", "with"}
)

func (o *trainingOpenOptions) add(c *cobra.Command) {
	f := c.Flags()
	f.BoolVar(&o.settings, "settings", false, "training: show what was trained, and how")
	f.BoolVar(&o.course, "course", false, "training: show the records of all steps and the list of checkpoints")
	f.StringVar(&o.steps, "steps", "", "training: A:B, show the records of the steps around these, from checkpoint to checkpoint")
	f.BoolVar(&o.salts, "salts", false, "training: show the salts of the examples, so that whoever has all of them can compare")
}

// openTraining is "aval receipt open" of a training receipt.
func (a *app) openTraining(o *receiptOpenOptions, path string, data []byte) error {
	f, err := training.ParseFile(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	checks := f.Check(training.Options{})
	if bad := checks.Failed(); bad != nil {
		return fmt.Errorf("%s: %w: %s", path, errChecks, bad)
	}
	shown, err := o.chooseTraining(f)
	if err != nil {
		return err
	}
	out := &training.File{Receipt: f.Receipt, Opening: shown}
	b, err := out.Marshal()
	if err != nil {
		return err
	}
	if err := writeFile(o.out, b, 0o600); err != nil {
		return err
	}
	h := f.Receipt.Hash()
	j := openJSON{ID: h.String(), Path: o.out, Shown: notNil(trainingPartNames(shown))}
	if o.json {
		return a.printJSON(j)
	}
	what := strings.Join(j.Shown, ", ")
	if what == "" {
		what = "nothing"
	}
	a.note("%s shows %s", o.out, what)
	return nil
}

// chooseTraining is the opening that shows what was asked for; nil shows nothing.
func (o *receiptOpenOptions) chooseTraining(f *training.File) (*training.Opening, error) {
	t := &o.training
	if !o.all && !t.settings && !t.course && !t.salts && t.steps == "" {
		return nil, nil
	}
	from := f.Opening
	if from == nil {
		return nil, errors.New("the file shows nothing of its receipt, so that nothing can be passed on")
	}
	if o.all {
		return from, nil
	}
	var want training.Part
	if t.settings {
		want |= training.Settings
	}
	if t.course {
		want |= training.Course
	}
	if t.salts {
		want |= from.Parts() & (training.PartData | training.PartValidation)
	}
	if missing := want &^ from.Parts(); missing != 0 {
		return nil, fmt.Errorf("the file does not show this itself: %s", strings.Join(namesOfTraining(missing), ", "))
	}
	shown := from.Select(want)
	if t.steps == "" {
		return shown, nil
	}
	return shown, showSteps(shown, from, t.steps, f.Receipt.Claims().Steps)
}

// showSteps shows the stretches around some steps.
func showSteps(shown, from *training.Opening, text string, steps int) error {
	a, b, err := parseSteps("--steps", text, steps)
	if err != nil {
		return err
	}
	if from.Log == nil || from.Checkpoints == nil {
		return errors.New("the file does not show all steps and checkpoints itself, which a proof of some needs")
	}
	first, last := 0, len(from.Checkpoints.Entries)-1
	for i, e := range from.Checkpoints.Entries {
		p, err := e.Checkpoint()
		if err != nil {
			return err
		}
		if p.Step <= a {
			first = i
		}
		if p.Step >= b && i < last {
			last = i
		}
	}
	lo, err1 := from.Checkpoints.Entries[first].Checkpoint()
	hi, err2 := from.Checkpoints.Entries[last].Checkpoint()
	points, err3 := from.Checkpoints.Range(first, last+1)
	records, err4 := from.Log.Range(lo.Step, hi.Step)
	shown.PointRanges, shown.LogRanges = []training.Range{points}, []training.Range{records}
	return errors.Join(err1, err2, err3, err4)
}

// parseSteps reads A:B.
func parseSteps(flag, text string, steps int) (from, to int, err error) {
	a, b, ok := strings.Cut(text, ":")
	from, err1 := strconv.Atoi(a)
	to, err2 := strconv.Atoi(b)
	if !ok || err1 != nil || err2 != nil || from < 0 || to <= from || to > steps {
		return 0, 0, usageErrorf("%s %q: want A:B, as 0:10; there are steps 0 to %d", flag, clip(text), steps-1)
	}
	return from, to, nil
}

// namesOfTraining names parts of an opening.
func namesOfTraining(p training.Part) []string {
	var names []string
	for i, name := range []string{"setup", "configuration", "checkpoints", "step log", "salt of the data", "salt of the validation data"} {
		if p&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

func trainingPartNames(o *training.Opening) []string {
	if o == nil {
		return nil
	}
	names := namesOfTraining(o.Parts())
	if len(o.LogRanges) > 0 {
		names = append(names, "step range")
	}
	if len(o.PointRanges) > 0 {
		names = append(names, "checkpoint range")
	}
	return names
}

type receiptExamplesOptions struct {
	steps, out, model string
	json              bool
	files             run.Files
	threads           int
}

// examplesJSON is what "aval receipt examples --json" prints.
type examplesJSON struct {
	ID       string `json:"id"`
	Path     string `json:"path"`
	From     int    `json:"from"`
	To       int    `json:"to"`
	Examples int    `json:"examples"`
	Of       int    `json:"of"`
}

func newReceiptExamplesCommand(a *app) *cobra.Command {
	var o receiptExamplesOptions
	c := &cobra.Command{
		Use:   "examples [flags] FILE -o OUT",
		Short: "Give an auditor the examples of some steps of a training",
		Long: `Examples writes a file with the examples that some steps of a training used, and
with proofs that they are those of its receipt. With it, the checkpoint before
these steps and "aval verify --examples OUT --stretch A:B", an auditor computes the
steps again without seeing the other examples. FILE must show the salt of the data,
as the training.aval of a run does; the data is given as to "aval verify".
` + receiptFileHelp + "\n" + exitHelp,
		Example: "  aval receipt open run/training.aval --settings --steps 100:120 -o part.aval\n  aval receipt examples run/training.aval --data table.csv --steps 100:120 -o part.examples",
		Args:    cobra.ExactArgs(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.receiptExamples(c.Context(), &o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.steps, "steps", "", "A:B, the steps (required; B not included)")
	f.StringVarP(&o.out, "output-file", "o", "", "file to write (required)")
	f.StringArrayVar(&o.files.Data, "data", nil, "a FILE of the data (required; repeat it for several, in their order)")
	f.StringArrayVar(&o.files.ValidationData, "validation-data", nil, "a FILE of the validation data, if there was such")
	f.StringVar(&o.files.Tokenizer, "tokenizer", "", "the FILE with the vocabulary of a model that began with random numbers")
	f.StringVar(&o.files.Labels, "labels", "", "the FILE with the labels of data in an NPY file")
	f.StringVar(&o.model, "model", "", "MODEL that the training began with")
	f.IntVar(&o.threads, "threads", 0, "threads to read with (0: one for each CPU)")
	f.BoolVar(&o.json, "json", false, "print JSON")
	return c
}

func (a *app) receiptExamples(ctx context.Context, o *receiptExamplesOptions, path string) error {
	if o.out == "" || o.steps == "" || len(o.files.Data) == 0 {
		return usageErrorf("--steps A:B, --data FILE and -o OUT are needed")
	}
	data, err := a.readInput(ctx, path)
	if err != nil {
		return err
	}
	f, err := training.ParseFile(data)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	c := f.Receipt.Claims()
	from, to, err := parseSteps("--steps", o.steps, c.Steps)
	if err != nil {
		return err
	}
	if need := training.Settings | training.PartData; f.Opening.Parts()&need != need {
		return errors.New("the file does not show the setup, the configuration and the salt of the data")
	}
	config, err := train.ParseConfig(f.Opening.Config.Config)
	if err != nil {
		return err
	}
	if o.model != "" {
		where, err := a.locate(o.model)
		if err != nil {
			return err
		}
		o.files.Model = where.path
	}
	folder, err := os.MkdirTemp("", "aval-examples-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	s, err := run.Rebuild(ctx, &c, &f.Opening.Setup.Setup, config, o.files, folder, run.Options{Threads: o.threads, Kernel: a.getenv("AVAL_KERNEL")})
	if err != nil {
		return err
	}
	defer s.Close()
	g, err := give(f, s, config, from, to)
	if err != nil {
		return err
	}
	b, err := g.Marshal()
	if err != nil {
		return err
	}
	if err := writeFile(o.out, b, 0o600); err != nil {
		return err
	}
	h := f.Receipt.Hash()
	j := examplesJSON{h.String(), o.out, from, to, len(g.Examples), c.Data.Count}
	if o.json {
		return a.printJSON(j)
	}
	a.note("%s has %d of %d examples, those of steps %d to %d", o.out, j.Examples, j.Of, from, to-1)
	return nil
}

// give proves the examples of some steps.
func give(f *training.File, s *record.Subject, config train.Config, from, to int) (*training.Given, error) {
	c, salt := f.Receipt.Claims(), *f.Opening.Data
	leaves, err := training.ExampleLeaves(salt, s.Data.Len(), s.Data.Bytes)
	if err != nil {
		return nil, err
	}
	if training.Commit(leaves) != c.Data {
		return nil, errors.New("the data is not that of the training")
	}
	order, err := train.NewOrder(config.Seed, s.Data.Len())
	if err != nil {
		return nil, err
	}
	var indices []int
	for step := from; step < to; step++ {
		indices = append(indices, order.Step(step, config.Batch)...)
	}
	slices.Sort(indices)
	return training.Give(f.Receipt.Hash(), salt, leaves, slices.Compact(indices), s.Data.Bytes)
}
