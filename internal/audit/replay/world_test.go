package replay_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"io/fs"
	"os"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit/replay"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

var (
	now    = time.Unix(1_790_000_000, 0)
	signer = ed25519.NewKeyFromSeed([]byte("the seed of a key that trains it"))
)

// spec is a small net with all that a step depends on: dropout draws numbers,
// GroupNorm has scales that do not decay.
var spec = net.Spec{
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

func config() train.Config {
	c := train.DefaultConfig(train.AdamW)
	c.Seed, c.Steps, c.Batch, c.MicroBatch, c.LearningRate, c.Warmup, c.CheckpointEvery = 11, 30, 5, 2, 0.02, 3, 7
	return c
}

// list is Examples in memory.
type list []train.Example

func (l list) Len() int                             { return len(l) }
func (l list) Example(i int) (train.Example, error) { return l[i], nil }
func (l list) Bytes(i int) ([]byte, error)          { return dataset.Canonical(&l[i]), nil }

func examples(seed uint64, n int) list {
	r := train.NewRandom(seed, "examples of a test", 0)
	out := make(list, n)
	for i := range out {
		out[i].Label = int32(r.Below(3))
		out[i].Input = make([]float32, 6)
		r.Normal(out[i].Input, 1)
		out[i].Input[out[i].Label] += 1.5
	}
	return out
}

// subject is what the runs of these tests are made of.
func subject(t testing.TB, data, validation list) *record.Subject {
	t.Helper()
	m := tensor.New(2, nil)
	n, err := net.New(m, &spec, 11)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	s := &record.Subject{Machine: m, Learner: n, Decode: dataset.ParseCanonical}
	if data != nil {
		s.Data = data
	}
	if validation != nil {
		s.Validation = validation
	}
	s.Export = func(path, format string) error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		defer f.Close()
		return n.Write(f)
	}
	return s
}

// finished is a run that is over.
type finished struct {
	file             *training.File
	checkpoints      map[int][]byte
	data, validation list
}

// options are those of every run here.
func options(t testing.TB) record.Options {
	learner, err := json.Marshal(&spec)
	if err != nil {
		t.Fatal(err)
	}
	return record.Options{
		Kind: training.Net, Salt: receipt.Salt{1, 2, 3},
		Setup: training.Setup{Learner: learner, Data: []byte(`{"made":"up"}`), Seed: 11},
	}
}

// trained trains and makes the receipt. until is when it stops; best is the step
// of the result, 0 for the last.
func trained(t testing.TB, c train.Config, o record.Options, until, best int) *finished {
	t.Helper()
	d := &finished{checkpoints: map[int][]byte{}, data: examples(1, 41), validation: examples(2, 17)}
	s := subject(t, d.data, d.validation)
	tr, err := train.NewTrainer(s.Machine, c, s.Learner, d.data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := record.New(tr, d.data, d.validation, o)
	if err != nil {
		t.Fatal(err)
	}
	res := record.Result{Step: best, Format: "f32"}
	result := func() {
		path := t.TempDir() + "/result"
		if err := s.Export(path, "f32"); err != nil {
			t.Fatal(err)
		}
		if res.File, err = record.FileOf(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		loss, err := train.Evaluate(s.Learner, d.validation, 4)
		if err != nil {
			t.Fatal(err)
		}
		res.Evaluation = &record.Evaluation{Batch: 4, Loss: loss}
	}
	for tr.Done() < until {
		d.checkpoint(t, tr)
		rec, err := tr.Step()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Add(tr, rec); err != nil {
			t.Fatal(err)
		}
		if tr.Done() == best {
			result()
			if err := r.Keep(tr); err != nil {
				t.Fatal(err)
			}
		}
	}
	d.checkpoint(t, tr)
	if err := r.Keep(tr); err != nil {
		t.Fatal(err)
	}
	if best == 0 {
		result()
	}
	if d.file, err = r.Finish(res, signer, now); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *finished) checkpoint(t testing.TB, tr *train.Trainer) {
	t.Helper()
	var b bytes.Buffer
	if _, err := tr.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	d.checkpoints[tr.Done()] = b.Bytes()
}

// auditor has everything.
func (d *finished) auditor(t testing.TB) *replay.Auditor {
	t.Helper()
	return &replay.Auditor{Subject: subject(t, d.data, d.validation), Checkpoint: d.open, Folder: t.TempDir()}
}

func (d *finished) open(step int) (*train.Checkpoint, func() error, error) {
	b := d.checkpoints[step]
	if b == nil {
		return nil, nil, fs.ErrNotExist
	}
	c, err := train.OpenCheckpoint(bytes.NewReader(b), int64(len(b)))
	return c, func() error { return nil }, err
}
