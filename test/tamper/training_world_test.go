package tamper_test

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/replay"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// The run that all lies about trainings are about: a net with dropout and a
// norm, 30 steps of 5 of 41 examples, a checkpoint every 7.
const (
	trainSteps = 30
	trainSeed  = 11
)

var trainSpec = net.Spec{
	Input: net.Vector(6),
	Layers: []net.Layer{
		{Kind: net.Dense, Units: 8},
		{Kind: net.GroupNorm, Groups: 1},
		{Kind: net.ELU},
		{Kind: net.Dropout, Rate: 0.25},
		{Kind: net.Dense, Units: 3},
	},
	Loss: net.CrossEntropy,
}

func trainConfig() train.Config {
	c := train.DefaultConfig(train.AdamW)
	c.Seed, c.Steps, c.Batch, c.LearningRate, c.Warmup, c.CheckpointEvery = trainSeed, trainSteps, 5, 0.02, 3, 7
	return c
}

// table is examples in memory.
type table []train.Example

func (l table) Len() int                             { return len(l) }
func (l table) Example(i int) (train.Example, error) { return l[i], nil }
func (l table) Bytes(i int) ([]byte, error)          { return dataset.Canonical(&l[i]), nil }

// clone can be changed without a change of l.
func (l table) clone() table {
	out := slices.Clone(l)
	for i := range out {
		out[i].Input = slices.Clone(out[i].Input)
	}
	return out
}

func rows(seed uint64, n int) table {
	r := train.NewRandom(seed, "rows", 0)
	out := make(table, n)
	for i := range out {
		out[i].Label = int32(r.Below(3))
		out[i].Input = make([]float32, 6)
		r.Normal(out[i].Input, 1)
		out[i].Input[out[i].Label] += 1.5
	}
	return out
}

// school is what the one who checks knows: the data, and how the run began.
type school struct{ data, validation table }

func newSchool() *school { return &school{rows(1, 41), rows(2, 17)} }

// plan is what a liar really does. The zero value, but for the school's data,
// is honest.
type plan struct {
	config train.Config
	spec   net.Spec
	seed   uint64
	data   train.Data
	// before is called before a step, after after it: they may change what
	// they like, such as the weights.
	before, after func(step int, l *lesson)
	// best is the step whose state is exported; 0: the last.
	best int
	// master is the master salt.
	master receipt.Salt
}

func (s *school) plan() plan {
	return plan{config: trainConfig(), spec: trainSpec, seed: trainSeed, data: s.data, master: receipt.Salt{7, 7}}
}

// lesson is a run that really took place, and what a liar says about it.
type lesson struct {
	school  *school
	trainer *train.Trainer
	net     *net.Net
	files   map[int][]byte // checkpoints

	// What is signed. A liar changes it.
	claims  training.Claims
	opening *training.Opening
	config  train.Config
}

// teach trains by a plan, and states that all was honest.
func (s *school) teach(t testing.TB, p plan) *lesson {
	t.Helper()
	m := tensor.New(1, nil)
	t.Cleanup(m.Close)
	l := &lesson{school: s, files: map[int][]byte{}, config: trainConfig()}
	var err error
	if l.net, err = net.New(m, &p.spec, p.seed); err != nil {
		t.Fatal(err)
	}
	if l.trainer, err = train.NewTrainer(m, p.config, l.net, p.data); err != nil {
		t.Fatal(err)
	}
	salts := training.SaltsOf(p.master)
	config, err := l.config.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l.opening = &training.Opening{
		Setup:       &training.OpenedSetup{Salt: salts.Setup, Setup: training.Setup{Learner: []byte("the net of these tests"), Data: []byte("its rows"), Seed: trainSeed}},
		Config:      &training.OpenedConfig{Salt: salts.Config, Config: config},
		Checkpoints: &training.List{Salt: salts.Checkpoints}, Log: &training.List{Salt: salts.Log},
		Data: &salts.Data, Validation: &salts.Validation,
	}
	l.claims = training.Claims{Kind: training.Net, Time: now.Unix(), Result: training.Result{Step: p.best, Format: "f32"}}
	if p.best == 0 {
		l.claims.Result.Step = p.config.Steps
	}
	if l.claims.Data, err = record.Commit(salts.Data, s.data); err != nil {
		t.Fatal(err)
	}
	validation, err := record.Commit(salts.Validation, s.validation)
	if err != nil {
		t.Fatal(err)
	}
	l.claims.Evaluation = &training.Evaluation{Data: validation, Batch: 4}
	for step := 0; ; step++ {
		if p.before != nil {
			p.before(step, l)
		}
		l.checkpoint(t)
		if step == p.config.Steps {
			break
		}
		rec, err := l.trainer.Step()
		if err != nil {
			t.Fatal(err)
		}
		rec.LearningRate = l.config.Rate(step) // as all can compute it
		l.opening.Log.Entries = append(l.opening.Log.Entries, rec.Bytes())
		if p.after != nil {
			p.after(step, l)
		}
	}
	return l
}

// checkpoint notes the state as it is, where one belongs, as if the claimed
// configuration had led to it.
func (l *lesson) checkpoint(t testing.TB) {
	t.Helper()
	step := l.trainer.Done()
	if step%l.config.CheckpointEvery != 0 && step != l.trainer.Config().Steps && step != l.claims.Result.Step {
		return
	}
	state, parameters := l.roots(t)
	l.opening.Checkpoints.Entries = append(l.opening.Checkpoints.Entries, training.Checkpoint{Step: step, Root: state}.Entry())
	var b bytes.Buffer
	if _, err := l.trainer.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	l.files[step] = b.Bytes()
	if step == l.claims.Result.Step {
		l.claims.Result.Parameters = parameters
		l.export(t)
	}
}

// roots are those of the state under the claimed configuration.
func (l *lesson) roots(t testing.TB) (state, parameters canon.Hash) {
	t.Helper()
	leaves := l.trainer.Leaves()
	config, err := l.config.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	leaves[0].Hash = canon.Sum("aval training state/1", config, binary.LittleEndian.AppendUint64(nil, uint64(l.trainer.Done())))
	return record.Roots(leaves)
}

// export names the file of the state as it is as the result, and evaluates it.
func (l *lesson) export(t testing.TB) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "result")
	if err := writeNet(l.net, path); err != nil {
		t.Fatal(err)
	}
	f, err := record.FileOf(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	l.claims.Result.Identity, l.claims.Result.File = f.Identity, f.Hash
	loss, err := train.Evaluate(l.net, l.school.validation, l.claims.Evaluation.Batch)
	if err != nil {
		t.Fatal(err)
	}
	e := l.claims.Evaluation
	e.Loss, e.Count, e.Correct = loss.Sum, loss.Count, loss.Correct
}

func writeNet(n *net.Net, path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return n.Write(f)
}

// records and points are the lists, to be changed.
func (l *lesson) records() []training.Entry { return l.opening.Log.Entries }
func (l *lesson) points() []training.Entry  { return l.opening.Checkpoints.Entries }

// homework is a training receipt as a liar hands it over, and what the one who
// checks it has.
type homework struct {
	file   *training.File // or
	data   []byte
	expect training.Expect
	// examples and validation are those at hand, files the checkpoints; given
	// are examples one by one, and then examples is nil.
	examples, validation table
	files                map[int][]byte
	given                *training.Given
	// subject is what an adapter's training was made of, and base the model at
	// hand; nil: the net of the school.
	subject func(t testing.TB) *record.Subject
	base    training.Hash
	// detail must be in the detail of the check that fails.
	detail string
	// alone is the only stretch that is wrong; zero: there may be more.
	alone replay.Stretch
}

func (h *homework) at(detail string) *homework { h.detail = detail; return h }

// only says that no other stretch shows the lie.
func (h *homework) only(from, to int) *homework {
	h.alone = replay.Stretch{From: from, To: to}
	return h
}

// sign makes the receipt: commitments and signature fit together, whatever the
// liar has changed.
func (l *lesson) sign(t testing.TB) *homework {
	t.Helper()
	steps := l.claims.Steps // if the liar has set it
	if err := l.opening.Fill(&l.claims); err != nil {
		t.Fatal(err)
	}
	if steps != 0 {
		l.claims.Steps = steps
	}
	return l.seal(t)
}

// seal signs the claims as they are.
func (l *lesson) seal(t testing.TB) *homework {
	t.Helper()
	r, err := training.Sign(l.claims, liar)
	if err != nil {
		t.Fatal(err)
	}
	return &homework{
		file:     &training.File{Receipt: r, Opening: l.opening},
		examples: l.school.data, validation: l.school.validation, files: maps.Clone(l.files),
	}
}

// offline makes the checks that compute nothing.
func (h *homework) offline() (*training.File, receipt.Report) {
	o := training.Options{Now: now, Expect: h.expect}
	f := h.file
	if f == nil {
		var err error
		if f, err = training.ParseFile(h.data); err != nil {
			return nil, training.Offline(h.data, o)
		}
	}
	return f, replay.Offline(f, o)
}

// computed computes steps again, with a learner made as the setup says.
func (h *homework) computed(t testing.TB, f *training.File, from, to int) *replay.Outcome {
	t.Helper()
	m := tensor.New(1, nil)
	defer m.Close()
	n, err := net.New(m, &trainSpec, trainSeed)
	if err != nil {
		t.Fatal(err)
	}
	a := &replay.Auditor{
		Subject: &record.Subject{
			Machine: m, Learner: n, Decode: dataset.ParseCanonical, Validation: h.validation,
			Export: func(path, _ string) error { return writeNet(n, path) },
		},
		Given: h.given, Folder: t.TempDir(),
		Checkpoint: func(step int) (*train.Checkpoint, func() error, error) {
			b := h.files[step]
			if b == nil {
				return nil, nil, fs.ErrNotExist
			}
			c, err := train.OpenCheckpoint(bytes.NewReader(b), int64(len(b)))
			return c, func() error { return nil }, err
		},
	}
	if h.examples != nil {
		a.Subject.Data = h.examples
	}
	if h.subject != nil {
		a.Subject, a.Base = h.subject(t), h.base
	}
	out, err := a.Check(t.Context(), f, replay.Options{Options: training.Options{Now: now, Expect: h.expect}, From: from, To: to})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
