package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/audit/replay"
	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/internal/train/run"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

const verifyTrainingHelp = `
The receipt of a training (training.aval) is recognised by itself. Its steps are
computed again with the files that the run was given: --data and, if there were
such, --validation-data, --labels, --tokenizer; --model for the model that it
began with. --result is the file that must be what came of it. --stretch computes
only the steps between two checkpoints around those named, --sample some of these
stretches, chosen by chance; --checkpoints is the folder of the run, or one with
the files of its checkpoints, without which the steps before a stretch are
computed, too. --examples has the examples of some steps, where the whole data is
not at hand. Where FILE is the folder of a run, its own receipt, checkpoints, data
and result are taken.`

// verifyTrainingOptions are the flags for receipts of training runs.
type verifyTrainingOptions struct {
	data, validation             []string
	tokenizer, labels            string
	checkpoints, stretch, random string
	examples, result             string
}

// trainingFlags are the flags that only such receipts have.
var trainingFlags = []string{"data", "validation-data", "tokenizer", "labels", "checkpoints", "stretch", "random", "examples", "result"}

// answerFlags are those that only receipts of answers have.
var answerFlags = []string{"challenge", "opening", "prover", "beacon", "prompt", "prompt-file", "with"}

func (o *verifyTrainingOptions) add(f *pflag.FlagSet) {
	f.StringArrayVar(&o.data, "data", nil, "training: a FILE of its data (repeat it for several, in their order)")
	f.StringArrayVar(&o.validation, "validation-data", nil, "training: a FILE of its validation data")
	f.StringVar(&o.tokenizer, "tokenizer", "", "training: the FILE with the vocabulary of a model that began with random numbers")
	f.StringVar(&o.labels, "labels", "", "training: the FILE with the labels of data in an NPY file")
	f.StringVar(&o.checkpoints, "checkpoints", "", "training: the FOLDER of the run, or of its checkpoints")
	f.StringVar(&o.stretch, "stretch", "", "training: compute again only the steps A:B (from 0, B not included) and those to the next checkpoints")
	f.StringVar(&o.random, "random", "", "training: HEX of 32 bytes that makes the choice of --sample, drawn after the receipt was made (default: drawn now)")
	f.StringVar(&o.examples, "examples", "", "training: the FILE with the examples of some steps")
	f.StringVar(&o.result, "result", "", "training: the FILE that must be its result")
}

// ofRun finds the receipt in the folder of a run, and takes from its
// configuration what the flags do not say.
func (o *verifyOptions) ofRun(dir string) (string, error) {
	path, result, f, err := run.Receipt(dir)
	if err != nil {
		return "", err
	}
	t := &o.training
	if _, err := os.Stat(result); err == nil && t.result == "" {
		t.result = result
	}
	if t.checkpoints == "" {
		t.checkpoints = dir
	}
	if o.offline || len(t.data) > 0 || t.examples != "" {
		return path, nil
	}
	t.data, t.validation, t.labels = f.Data, f.ValidationData, f.Labels
	if t.tokenizer == "" {
		t.tokenizer = f.Tokenizer
	}
	if o.model == "" {
		o.model = f.Model
	}
	return path, nil
}

// trainingJSON is what "aval verify --json" adds for a training receipt.
type trainingJSON struct {
	Steps     int              `json:"steps"`     // computed again
	Stretches []replay.Stretch `json:"stretches"` // that were to be
	Of        int              `json:"of"`        // in the run
	// Chance is the probability to find one wrong stretch, where chance chose
	// by Random.
	Chance     float64            `json:"chance,omitempty"`
	Random     string             `json:"random,omitempty"`
	Difference *replay.Difference `json:"difference,omitempty"`
}

// trainingCheck is a training receipt on its way to a verdict.
type trainingCheck struct {
	app     *app
	o       *verifyOptions
	file    *training.File // nil if it cannot be read
	checks  receipt.Report
	opt     replay.Options
	atHand  *receipt.Check  // of the result's file; nil: there is none
	outcome *replay.Outcome // nil: nothing was computed
	chance  bool            // chose the stretches
	trouble string
}

// verifyTraining checks the receipt of a training run.
func (a *app) verifyTraining(ctx context.Context, o *verifyOptions, expect receipt.Options, data []byte) error {
	v := &trainingCheck{app: a, o: o}
	v.opt.Options = training.Options{Now: expect.Now, MaxAge: expect.MaxAge, Expect: training.Expect{Key: expect.Expect.Key, Nonce: expect.Expect.Nonce}}
	var err error
	if v.file, err = training.ParseFile(data); err != nil {
		v.checks = training.Offline(data, v.opt.Options)
		return v.conclude()
	}
	if err := v.choose(); err != nil {
		return err
	}
	if err := v.compareResult(ctx); err != nil {
		return err
	}
	v.setChecks(replay.Offline(v.file, v.opt.Options))
	if v.checks.Failed() == nil && !o.offline {
		var usage usageError
		switch err := v.compute(ctx); {
		case err == nil:
		case errors.Is(err, context.Canceled), errors.As(err, &usage):
			return err
		case errors.Is(err, run.ErrContradiction):
			v.checks.Add(receipt.Check{Name: training.CheckSetup, Verdict: receipt.Invalid, Detail: err.Error()})
		case errors.Is(err, run.ErrOtherData):
			v.checks.Add(receipt.Check{Name: training.CheckData, Verdict: receipt.Invalid, Detail: err.Error()})
		default: // what was checked until then is still worth telling
			a.fail(err)
			v.trouble = err.Error()
			v.checks.Add(receipt.Check{Name: training.CheckComputation, Verdict: receipt.Unverified, Detail: "not computed again: " + err.Error()})
		}
	}
	return v.conclude()
}

// choose reads --stretch, --sample and --random.
func (v *trainingCheck) choose() error {
	t := &v.o.training
	if t.stretch != "" {
		var err error
		if v.opt.From, v.opt.To, err = parseSteps("--stretch", t.stretch, v.file.Receipt.Claims().Steps); err != nil {
			return err
		}
	}
	if v.o.sample == "" {
		if t.random != "" {
			return usageErrorf("--random chooses a sample: say how large by --sample")
		}
		return nil
	}
	if t.stretch != "" {
		return usageErrorf("--sample and --stretch exclude each other")
	}
	n, err := sampleSize(v.o.sample, v.file.Receipt.Claims().Checkpoints.Count-1)
	if err != nil {
		return err
	}
	v.opt.Sample, v.chance = n, true
	if t.random == "" {
		_, _ = rand.Read(v.opt.Random[:]) // never fails
		return nil
	}
	b, err := hex.DecodeString(t.random)
	if err != nil || len(b) != len(v.opt.Random) {
		return usageErrorf("--random %q: want 64 hexadecimal digits", clip(t.random))
	}
	v.opt.Random = [32]byte(b)
	return nil
}

// compute computes steps again, if there is something to do it with.
func (v *trainingCheck) compute(ctx context.Context) error {
	t, c := &v.o.training, v.file.Receipt.Claims()
	o := v.file.Opening
	if v.chance {
		var list []string
		known, hidden := replay.Sampled(v.file, v.opt)
		for _, s := range known {
			list = append(list, fmt.Sprintf("%d:%d", s.From, s.To))
		}
		for _, i := range hidden {
			list = append(list, fmt.Sprintf("from checkpoint %d to %d", i, i+1))
		}
		v.app.note("the random number %x chooses the steps %s", v.opt.Random, strings.Join(list, ", "))
	}
	if len(t.data) == 0 && t.examples == "" {
		return nil // the offline check has said what is missing
	}
	if o == nil || o.Setup == nil || o.Config == nil {
		v.checks.Add(receipt.Check{Name: training.CheckComputation, Verdict: receipt.Unverified, Detail: "not computed again: the receipt's file does not show the setup and the configuration"})
		return nil
	}
	config, err := train.ParseConfig(o.Config.Config)
	if err != nil {
		return err // Offline has refused it
	}
	folder, err := os.MkdirTemp("", "aval-verify-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	auditor := &replay.Auditor{Checkpoint: v.checkpoint, Folder: folder}
	files := run.Files{Data: t.data, ValidationData: t.validation, Tokenizer: t.tokenizer, Labels: t.labels}
	if !c.Base.IsZero() {
		if files.Model, auditor.Base, err = v.base(ctx, c.Base); err != nil {
			return err
		}
		if auditor.Base != c.Base {
			v.checks.Add(receipt.Check{Name: training.CheckBase, Verdict: receipt.Invalid, Detail: fmt.Sprintf("the receipt is for %v, %s is %v", c.Base, files.Model, auditor.Base)})
			return nil
		}
	}
	if t.examples != "" {
		b, err := readFile(ctx, t.examples)
		if err != nil {
			return err
		}
		if auditor.Given, err = training.ParseGiven(b); err != nil {
			return fmt.Errorf("%s: %w", t.examples, err)
		}
	}
	if auditor.Subject, err = run.Rebuild(ctx, &c, &o.Setup.Setup, config, files, folder, run.Options{Threads: v.o.threads, Kernel: v.app.getenv("AVAL_KERNEL")}); err != nil {
		return err
	}
	defer auditor.Subject.Close()
	show, end := v.app.counting("computing the steps again")
	auditor.Progress = show
	v.outcome, err = auditor.Check(ctx, v.file, v.opt)
	end()
	if err == nil {
		v.setChecks(v.outcome.Report)
	}
	return err
}

// compareResult holds the file of the result that is at hand, if there is one,
// against the receipt.
func (v *trainingCheck) compareResult(ctx context.Context) error {
	path := v.o.training.result
	if path == "" {
		return nil
	}
	f, err := record.FileOf(ctx, path)
	if err != nil {
		return err
	}
	v.atHand = &receipt.Check{Name: report.CheckAtHand, Verdict: receipt.Valid, Detail: path}
	if want := v.file.Receipt.Claims().Result.File; f.Hash != want {
		v.atHand.Verdict = receipt.Invalid
		v.atHand.Detail = fmt.Sprintf("%s is %v, the receipt is for %v", path, f.Hash, want)
	}
	return nil
}

// setChecks takes the checks of the receipt, and adds that of the file at hand.
func (v *trainingCheck) setChecks(r receipt.Report) {
	v.checks = r
	if v.atHand != nil {
		v.checks.Add(*v.atHand)
	}
}

// base finds the model that the run began with.
func (v *trainingCheck) base(ctx context.Context, root training.Hash) (path string, got training.Hash, err error) {
	where, found, err := v.app.modelFor(ctx, v.o.model, root)
	if err != nil {
		return "", got, err
	}
	if !found {
		return "", got, errors.New("no model with the fingerprint of the base is known on this machine; --model names one")
	}
	f, err := record.FileOf(ctx, where.path)
	return where.path, f.Hash, err
}

// checkpoint opens the file of the state after a step: in a folder of
// checkpoints, or in that of the run.
func (v *trainingCheck) checkpoint(step int) (*train.Checkpoint, func() error, error) {
	dir := v.o.training.checkpoints
	if dir == "" {
		return nil, nil, fs.ErrNotExist
	}
	for _, name := range run.CheckpointFiles(step) {
		c, closer, err := openCheckpoint(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, nil, err
		case c.Step == step:
			return c, closer, nil
		}
		_ = closer() // nothing was written
	}
	return nil, nil, fs.ErrNotExist
}

func openCheckpoint(path string) (*train.Checkpoint, func() error, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil {
		var c *train.Checkpoint
		if c, err = train.OpenCheckpoint(f, info.Size()); err == nil {
			return c, f.Close, nil
		}
	}
	return nil, nil, errors.Join(fmt.Errorf("%s: %w", path, err), f.Close())
}

// verdict is what the checks say together; with --offline nobody asks for the
// computation.
func (v *trainingCheck) verdict() receipt.Verdict {
	r := receipt.Report{}
	for _, c := range v.checks.Checks {
		if !v.o.offline || c.Name != training.CheckComputation {
			r.Checks = append(r.Checks, c)
		}
	}
	return audit.Verdict(&r)
}

// conclude tells the verdict.
func (v *trainingCheck) conclude() error {
	verdict, a := v.verdict(), v.app
	in := report.TrainingInput{File: v.file, Checks: v.checks, Trouble: v.trouble, Here: true}
	j := verifyJSON{Verdict: verdict, Checks: checksJSON(&v.checks)}
	if v.file != nil {
		j.ID = v.file.Receipt.Hash().String()
	}
	if out := v.outcome; out != nil {
		in.Steps, in.Stretches, in.All = out.Steps, len(out.Stretches), out.All
		j.Training = &trainingJSON{Steps: out.Steps, Stretches: out.Stretches, Of: out.All, Difference: out.Difference}
		if v.chance {
			in.Chance = out.Chance(1)
			j.Training.Chance, j.Training.Random = in.Chance, hex.EncodeToString(v.opt.Random[:])
		}
	}
	var err error
	if v.o.json {
		err = a.printJSON(j)
	}
	if !v.o.json || v.o.html != "" {
		err = errors.Join(err, a.tell(report.NewTraining(in), v.o.html, v.o.details))
	}
	if err != nil {
		return err
	}
	return exitOf(verdict)
}
