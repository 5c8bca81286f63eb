package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/avalnetwork/aval/internal/chart"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/store"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/record"
)

// The files of a run.
const (
	fileConfig      = "config.yaml"
	fileInputs      = "inputs.json"
	fileLog         = "log.jsonl"
	fileTiming      = "timing.jsonl"
	fileCheckpoint  = "checkpoint.gguf"
	fileBest        = "best.gguf"
	dirCheckpoints  = "checkpoints"
	fileCurveSVG    = "curve.svg"
	fileCurvePNG    = "curve.png"
	fileReport      = "report.json"
	fileTokenizer   = "tokenizer.gguf"
	fileLock        = "lock"
	permFile        = 0o644
	sampleTokens    = 48
	evaluationBatch = 16
)

var (
	// ErrExists says that the folder has a run or other files.
	ErrExists = errors.New("the folder is not empty")
	// ErrNoRun says that the folder has no run to resume.
	ErrNoRun = errors.New("there is no run to resume")
	// ErrInterrupted is the error of a run whose context ended: its state is on
	// disk. It wraps context.Canceled.
	ErrInterrupted = fmt.Errorf("interrupted, and saved: %w", context.Canceled)
)

// Result is what came of a run.
type Result struct {
	Folder     string `json:"folder"`
	File       string `json:"file"`       // the result
	Steps      int    `json:"steps"`      // that were computed
	Planned    int    `json:"planned"`    // more if the run stopped early
	Step       int    `json:"step"`       // of the result
	Parameters int    `json:"parameters"` // that were trained
	// Training is the mean loss of the last fiftieth of the steps, Validation
	// how the result does on the validation examples.
	Training   float64         `json:"training_loss"`
	Validation *dataset.Report `json:"validation,omitempty"`
	Curve      string          `json:"curve"`
	Receipt    string          `json:"receipt,omitempty"`
}

// runner is a run in progress.
type runner struct {
	config  Config
	dir     string
	opt     Options
	task    *task
	trainer *train.Trainer
	log     *journal
	timing  *os.File
	pace    pace
	saved   time.Time // when
	at      int       // steps of the newest checkpoint
	last    train.StepRecord

	recorder *record.Recorder // nil: no receipt
}

// Start makes a folder and begins a run in it, to its end. Nothing of the folder
// is made before the configuration and the data have been found usable. The
// error of a run that ctx ended is [ErrInterrupted].
func Start(ctx context.Context, c Config, dir string, o Options) (*Result, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := vacant(dir); err != nil {
		return nil, err
	}
	inputs, err := c.inputs(ctx)
	if err != nil {
		return nil, err
	}
	t, err := newTask(ctx, &c, o)
	if err != nil {
		return nil, err
	}
	defer t.close()
	c.complete(t.data.Len())
	r := &runner{config: c, dir: dir, opt: o, task: t}
	if r.trainer, err = train.NewTrainer(t.machine, c.training(c.Steps), t.learner, t.data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	release, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := r.writeConfig(inputs); err != nil {
		return nil, err
	}
	return r.run(ctx)
}

// Resume goes on with the run of a folder, from its newest checkpoint. The kind
// must be the run's.
func Resume(ctx context.Context, k Kind, dir string, o Options) (*Result, error) {
	c, was, err := readRun(k, dir)
	if err != nil {
		return nil, err
	}
	release, err := lock(dir)
	if err != nil {
		return nil, err
	}
	defer release()
	o.Events.stage("checking files")
	is, err := c.inputs(ctx)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; a run needs the files that it began with, and looks for them from the folder in which it was begun", err)
	}
	if err != nil {
		return nil, err
	}
	if err := sameInputs(was, is); err != nil {
		return nil, fmt.Errorf("%w: %w", dataset.ErrData, err)
	}
	t, err := newTask(ctx, &c, o)
	if err != nil {
		return nil, err
	}
	defer t.close()
	r := &runner{config: c, dir: dir, opt: o, task: t}
	if r.trainer, err = train.NewTrainer(t.machine, c.training(c.Steps), t.learner, t.data); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	if err := r.restore(fileCheckpoint); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	return r.run(ctx)
}

// beginnings are what a start that was killed may leave before the folder has a
// configuration, and so a run.
var beginnings = []string{fileLock, fileInputs, fileInputs + ".tmp", fileConfig + ".tmp"}

// vacant reports whether a run can begin in a folder: one that does not exist,
// is empty, or has only the beginnings of a run that has not begun.
func vacant(dir string) error {
	list, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !slices.ContainsFunc(list, func(e fs.DirEntry) bool { return !slices.Contains(beginnings, e.Name()) }):
		return nil
	}
	if _, err := os.Stat(filepath.Join(dir, fileConfig)); err == nil {
		return fmt.Errorf("%w: %s has a run; go on with it by --resume, or choose another folder", ErrExists, dir)
	}
	return fmt.Errorf("%w: %s; choose another", ErrExists, dir)
}

// lock keeps other processes away from a run.
func lock(dir string) (release func(), err error) {
	release, err = store.Lock(filepath.Join(dir, fileLock))
	if errors.Is(err, store.ErrBusy) {
		return nil, fmt.Errorf("another process is training in %s", dir)
	}
	return release, err
}

// readRun reads the configuration and the inputs of a run.
func readRun(k Kind, dir string) (c Config, in []Input, err error) {
	data, err := os.ReadFile(filepath.Join(dir, fileConfig))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil, fmt.Errorf("%w in %s (%w)", ErrNoRun, dir, err)
	}
	if err != nil {
		return c, nil, err
	}
	c.Kind = k
	if err := c.Parse(data); err != nil {
		return c, nil, fmt.Errorf("%w: %s: %w", ErrConfig, filepath.Join(dir, fileConfig), err)
	}
	if data, err = os.ReadFile(filepath.Join(dir, fileInputs)); err == nil {
		err = json.Unmarshal(data, &in)
	}
	if err != nil {
		return c, nil, fmt.Errorf("%w in %s: %w", ErrNoRun, dir, err)
	}
	return c, in, c.Check()
}

func (r *runner) path(name string) string { return filepath.Join(r.dir, name) }

// put writes a small file.
func (r *runner) put(name string, data []byte) error {
	return store.WriteFile(store.OS{}, r.path(name), permFile, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

func (r *runner) putJSON(name string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return r.put(name, append(data, '\n'))
}

// writeConfig writes the inputs first: a folder with a configuration is a run.
func (r *runner) writeConfig(inputs []Input) error {
	if err := r.putJSON(fileInputs, inputs); err != nil {
		return err
	}
	data, err := r.config.Marshal()
	if err != nil {
		return err
	}
	return r.put(fileConfig, data)
}

// restore reads a checkpoint into the trainer.
func (r *runner) restore(name string) error {
	f, err := os.Open(r.path(name))
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	c, err := train.OpenCheckpoint(f, info.Size())
	if err == nil {
		err = r.trainer.Restore(c)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.path(name), err)
	}
	return nil
}

// run goes from where the trainer stands to the end.
func (r *runner) run(ctx context.Context) (*Result, error) {
	var err error
	if r.log, err = openJournal(r.path(fileLog), r.trainer.Done()); err != nil {
		return nil, err
	}
	defer r.log.close()
	if r.timing, err = os.OpenFile(r.path(fileTiming), os.O_WRONLY|os.O_CREATE|os.O_APPEND, permFile); err != nil {
		return nil, err
	}
	defer r.timing.Close()
	if v := r.task.vocabulary; v != nil {
		if err := v.WriteFile(r.path(fileTokenizer), "llama", "tokenizer"); err != nil {
			return nil, err
		}
	}
	if err := r.record(ctx); err != nil {
		return nil, err
	}
	r.begin()
	if done := r.trainer.Done(); done > 0 && r.keeps(done) { // killed before it was kept
		if err := r.keep(done); err != nil {
			return nil, err
		}
	}
	if done := r.trainer.Done(); r.validates(done) && r.log.validated != done { // interrupted meanwhile
		if err := r.validate(ctx, done); err != nil {
			return nil, err
		}
	}
	if err := r.steps(ctx); err != nil {
		return nil, err
	}
	return r.finish(ctx)
}

func (r *runner) begin() {
	e, t := &r.opt.Events, r.task
	for _, n := range t.notes {
		e.note(n)
	}
	if e.Begin != nil {
		e.Begin(Facts{
			Kind: r.config.Kind, Folder: r.dir, Parameters: t.parameters,
			Examples: t.data.Len(), Validation: t.validation.Len(), Targets: t.data.Targets,
			Steps: r.config.Steps, Done: r.trainer.Done(), Batch: r.config.Batch,
			Threads: t.machine.Threads(), Kernel: t.machine.Kernel().Name(), Unit: t.unit,
		})
	}
	r.saved, r.at = e.now(), r.trainer.Done()
}

// steps trains until the end, an early stop or the end of ctx.
func (r *runner) steps(ctx context.Context) error {
	for r.trainer.Done() < r.config.Steps && !r.stopped() {
		if ctx.Err() != nil {
			break
		}
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	if ctx.Err() == nil {
		return nil
	}
	if err := r.save(); err != nil {
		return err
	}
	return ErrInterrupted
}

// stopped reports whether validation says that it is enough.
func (r *runner) stopped() bool { return r.config.Patience > 0 && r.log.worse >= r.config.Patience }

// step trains one step and does what is due after it.
func (r *runner) step(ctx context.Context) error {
	e := &r.opt.Events
	began := e.now()
	rec, err := r.trainer.Step()
	if errors.Is(err, train.ErrDiverged) {
		return fmt.Errorf("%w; begin again with a lower --learning-rate, or a --clip", err)
	}
	if err != nil {
		return err
	}
	r.last = rec
	if err := r.note(rec); err != nil {
		return err
	}
	if err := r.log.write(stepLine(rec)); err != nil {
		return err
	}
	r.pace.add(e.now().Sub(began), rec.Loss.Count)
	done := r.trainer.Done()
	if e.Step != nil {
		e.Step(Progress{Done: done, Steps: r.config.Steps, Record: rec, Rate: r.pace.rate(), Left: r.pace.left(r.config.Steps - done)})
	}
	if r.validates(done) {
		if err := r.validate(ctx, done); err != nil {
			return err
		}
	}
	if done%r.config.CheckpointEvery == 0 || done == r.config.Steps || r.stopped() || r.late() {
		if err := r.save(); err != nil {
			return err
		}
	}
	if r.keeps(done) {
		if err := r.keep(done); err != nil {
			return err
		}
	}
	return r.sample(ctx, done)
}

// late reports whether the newest checkpoint is older than it may be.
func (r *runner) late() bool {
	minutes := r.opt.Events.now().Sub(r.saved).Minutes()
	return r.config.CheckpointMinutes > 0 && minutes >= r.config.CheckpointMinutes
}

// validates reports whether there is a validation after a step.
func (r *runner) validates(done int) bool {
	return done > 0 && (done%r.config.EvaluateEvery == 0 || done == r.config.Steps) && r.task.validation.Len() > 0
}

// validate evaluates the learner, and keeps its state if it is the best so far.
// If ctx ends meanwhile it does nothing: the loop notices, and whoever resumes
// the run begins with the validation.
func (r *runner) validate(ctx context.Context, done int) error {
	r.opt.Events.stage("validating")
	loss, err := dataset.Evaluate(ctx, r.task.learner, r.task.validation, evaluationBatch)
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	report := dataset.NewReport(r.task.validation.Len(), loss, r.task.tokens)
	if err := r.log.write(logLine{Step: done, Validation: &report}); err != nil {
		return err
	}
	best := r.log.bestStep == done
	if best && r.config.Keep == "best" {
		if err := errors.Join(r.mark(), r.write(fileBest)); err != nil {
			return err
		}
	}
	if f := r.opt.Events.Validated; f != nil {
		f(done, report, best)
	}
	return r.log.flush()
}

// write writes a checkpoint of the state as it is.
func (r *runner) write(name string) error {
	return store.WriteFile(store.OS{}, r.path(name), permFile, func(w io.Writer) error {
		_, err := r.trainer.WriteTo(w)
		return err
	})
}

// timingLine is a line of timing.jsonl.
type timingLine struct {
	Time                 string  `json:"time"`
	Step                 int     `json:"step"`
	PredictionsPerSecond float64 `json:"predictions_per_second"`
	Threads              int     `json:"threads"`
	Kernel               string  `json:"kernel"`
	Machine              string  `json:"machine"` // GOOS/GOARCH
}

// save makes the state durable. The log goes first: it must not have fewer steps
// than the checkpoint.
func (r *runner) save() error {
	if done := r.trainer.Done(); r.at != done || done == 0 {
		if err := errors.Join(r.log.sync(), r.saveRecord()); err != nil {
			return err
		}
		if err := r.write(fileCheckpoint); err != nil {
			return err
		}
		r.at = done
	}
	now := r.opt.Events.now()
	r.saved = now
	line, err := marshalLine(timingLine{
		Time: now.UTC().Format(time.RFC3339), Step: r.at, PredictionsPerSecond: float64(int(r.pace.rate()*10)) / 10,
		Threads: r.task.machine.Threads(), Kernel: r.task.machine.Kernel().Name(), Machine: runtime.GOOS + "/" + runtime.GOARCH,
	})
	if err == nil {
		_, err = r.timing.Write(line)
	}
	if f := r.opt.Events.Saved; f != nil && err == nil {
		f(r.at)
	}
	return err
}

// keeps reports whether the checkpoint of a step is one that stays.
func (r *runner) keeps(done int) bool {
	return r.config.KeepCheckpoints && done%r.config.CheckpointEvery == 0
}

// CheckpointFiles are the names that the checkpoint of a step may have in the
// folder of a run, or in one of kept checkpoints. The last two are of some step.
func CheckpointFiles(step int) []string {
	kept := checkpointName(step)
	return []string{kept, filepath.Join(dirCheckpoints, kept), fileBest, fileCheckpoint}
}

func checkpointName(step int) string { return fmt.Sprintf("step-%08d.gguf", step) }

// keep gives the checkpoint that was just written a second name that stays.
func (r *runner) keep(done int) error {
	if err := os.MkdirAll(r.path(dirCheckpoints), 0o755); err != nil {
		return err
	}
	name := filepath.Join(dirCheckpoints, checkpointName(done))
	_ = os.Remove(r.path(name)) // of a run that was killed after it wrote it
	if os.Link(r.path(fileCheckpoint), r.path(name)) == nil {
		return nil
	}
	return r.write(name) // a file system without links
}

// sample lets the model write something, if somebody wants to see it.
func (r *runner) sample(ctx context.Context, done int) error {
	f := r.opt.Events.Sample
	if f == nil || r.task.sample == nil || r.config.SampleEvery == 0 || done%r.config.SampleEvery != 0 || ctx.Err() != nil {
		return nil
	}
	text, err := r.task.sample(r.config.SamplePrompt, sampleTokens)
	if err != nil {
		return err
	}
	f(done, text)
	return nil
}

// finish writes the result, the report and the picture.
func (r *runner) finish(ctx context.Context) (*Result, error) {
	out := &Result{
		Folder: r.dir, File: r.path(r.task.result), Steps: r.trainer.Done(), Planned: r.config.Steps,
		Step: r.trainer.Done(), Parameters: r.task.parameters, Curve: r.path(fileCurveSVG),
	}
	out.Training = r.lastLoss()
	if err := errors.Join(r.log.sync(), r.mark()); err != nil {
		return nil, err
	}
	if r.config.Keep == "best" && r.log.bestStep > 0 && r.log.bestStep != r.trainer.Done() {
		if err := r.restore(fileBest); err != nil {
			return nil, err
		}
		out.Step = r.trainer.Done()
		if out.Step != r.log.bestStep {
			return nil, fmt.Errorf("%s has %d steps, the log says that step %d was best", r.path(fileBest), out.Step, r.log.bestStep)
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, ErrInterrupted
	}
	var loss train.Loss
	if r.task.validation.Len() > 0 {
		r.opt.Events.stage("evaluating")
		var err error
		loss, err = dataset.Evaluate(ctx, r.task.learner, r.task.validation, evaluationBatch)
		if ctx.Err() != nil {
			return nil, ErrInterrupted
		}
		if err != nil {
			return nil, err
		}
		report := dataset.NewReport(r.task.validation.Len(), loss, r.task.tokens)
		out.Validation = &report
	}
	r.opt.Events.stage("writing")
	if err := r.task.export(out.File); err != nil {
		return nil, err
	}
	if err := r.receipt(ctx, out, loss); err != nil {
		return nil, err
	}
	if err := r.curve(); err != nil {
		return nil, err
	}
	return out, r.putJSON(fileReport, struct {
		Step       int             `json:"step"`
		Training   float64         `json:"training_loss"`
		Validation *dataset.Report `json:"validation,omitempty"`
	}{out.Step, out.Training, out.Validation})
}

// lastLoss is the mean loss of the last fiftieth of the steps.
func (r *runner) lastLoss() float64 {
	points := r.log.train
	last := points[len(points)-max(len(points)/50, 1):]
	sum := 0.0
	for _, p := range last {
		sum += p.Y
	}
	return sum / float64(len(last))
}

// curve draws the losses.
func (r *runner) curve() error {
	c := chart.Loss(r.title(), r.task.unit, r.log.train, r.log.validation)
	for name, draw := range map[string]func(io.Writer) error{fileCurveSVG: c.SVG, fileCurvePNG: c.PNG} {
		if err := store.WriteFile(store.OS{}, r.path(name), permFile, draw); err != nil {
			return err
		}
	}
	return nil
}

// title says what was trained on what: nothing that differs when the run is
// repeated in another folder.
func (r *runner) title() string {
	what := map[Kind]string{LM: "language model", LoRA: "adapter", Classifier: "classifier"}[r.config.Kind]
	if r.config.Name != "" {
		what = r.config.Name
	}
	on := filepath.Base(r.config.Data[0])
	if n := len(r.config.Data) - 1; n > 0 {
		on += fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s, %s parameters, on %s", what, count(r.task.parameters), on)
}

// count writes a number of parameters for people.
func count(n int) string {
	switch {
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	case n >= 1e4:
		return fmt.Sprintf("%d k", n/1000)
	}
	return strconv.Itoa(n)
}

func threads(n int) int {
	if n == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}
