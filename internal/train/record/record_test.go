package record_test

import (
	"bytes"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

func TestFileOf(t *testing.T) {
	m := tensor.New(1, nil)
	defer m.Close()
	n, err := net.New(m, &net.Spec{Input: net.Vector(2), Layers: []net.Layer{{Kind: net.Dense, Units: 2}}, Loss: net.CrossEntropy}, 1)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := n.Write(&b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	gguf, other := filepath.Join(dir, "a.gguf"), filepath.Join(dir, "b")
	if err := errors.Join(os.WriteFile(gguf, b.Bytes(), 0o600), os.WriteFile(other, []byte("a file"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if a, err := record.FileOf(t.Context(), gguf); err != nil || a.Identity != training.Fingerprint || a.Hash.IsZero() {
		t.Errorf("%+v, %v", a, err)
	}
	if a, err := record.FileOf(t.Context(), other); err != nil || a.Identity != training.Bytes || a.Hash != training.FileHash([]byte("a file")) {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := record.FileOf(t.Context(), filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// numbers are examples of two numbers.
type numbers struct{ train.List }

func (d numbers) Bytes(i int) ([]byte, error) {
	return []byte{byte(d.List[i].Label), byte(i)}, nil
}

func data(n int) numbers {
	var d numbers
	for i := range n {
		d.List = append(d.List, train.Example{Input: []float32{float32(i), 1}, Label: int32(i % 2)})
	}
	return d
}

func trainer(t testing.TB, units int, d train.Data) *train.Trainer {
	t.Helper()
	m := tensor.New(1, nil)
	t.Cleanup(m.Close)
	n, err := net.New(m, &net.Spec{Input: net.Vector(2), Layers: []net.Layer{{Kind: net.Dense, Units: units}, {Kind: net.Dense, Units: 2}}, Loss: net.CrossEntropy}, 1)
	if err != nil {
		t.Fatal(err)
	}
	c := train.DefaultConfig(train.AdamW)
	c.Steps, c.Batch, c.LearningRate = 3, 2, 0.01
	tr, err := train.NewTrainer(m, c, n, d)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// TestRefuses: what would be no receipt is refused when it happens.
func TestRefuses(t *testing.T) {
	d := data(7)
	o := record.Options{Kind: training.Net, Setup: training.Setup{Learner: []byte("x"), Data: []byte("y")}}
	key := make([]byte, 64)
	tr := trainer(t, 3, d)
	r, err := record.New(tr, d, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(record.Result{Format: "f"}, key, time.Unix(9, 0)); err == nil {
		t.Error("a receipt of no step")
	}
	rec, err := tr.Step()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Keep(tr); err == nil {
		t.Error("kept a state whose step was not recorded")
	}
	if _, err := record.New(tr, d, nil, o); err == nil {
		t.Error("began to record after a step")
	}
	if err := r.Add(tr, rec); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(record.Result{Format: "f", Evaluation: &record.Evaluation{Batch: 1}}, key, time.Unix(9, 0)); err == nil {
		t.Error("a receipt of a run whose end was not kept, with an evaluation on nothing")
	}
	if err := r.Keep(tr); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Finish(record.Result{Format: "f", Evaluation: &record.Evaluation{Batch: 1}}, key, time.Unix(9, 0)); err == nil {
		t.Error("an evaluation without validation examples")
	}
	if _, err := record.New(trainer(t, 3, d), numbers{}, nil, o); err == nil {
		t.Error("a commitment to no examples")
	}
}

// TestFreshSalts: two receipts of one run cannot be seen to be so.
func TestFreshSalts(t *testing.T) {
	d := data(7)
	o := record.Options{Kind: training.Net, Setup: training.Setup{Learner: []byte("x"), Data: []byte("y")}}
	seen := map[receipt.Salt]bool{}
	for range 3 {
		r, err := record.New(trainer(t, 3, d), d, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		state, err := r.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		again, err := record.Resume(state, trainer(t, 3, d), d, nil, o)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := again.MarshalBinary(); err != nil || !bytes.Equal(b, state) {
			t.Errorf("resumed it is another state (%v)", err)
		}
		salt := receipt.Salt(state[bytes.Index(state, []byte{0x02, 0x50})+2:])
		if seen[salt] || salt == (receipt.Salt{}) {
			t.Error("a salt was used twice")
		}
		seen[salt] = true
	}
}

// BenchmarkRoots hashes the state of a model of a million parameters, as a
// recorder does at each checkpoint: 12 bytes a parameter with AdamW.
func BenchmarkRoots(b *testing.B) {
	tr := trainer(b, 200_000, data(3)) // 200,000 times 3 and 2, and biases
	b.SetBytes(12 * (200_000*5 + 2))
	for b.Loop() {
		record.Roots(tr.Leaves())
	}
}

// asStep is a record of a receipt as training has it.
func asStep(r training.Record) train.StepRecord {
	return train.StepRecord{
		Step: r.Step, Loss: train.Loss{Sum: r.Loss, Count: r.Count, Correct: r.Correct},
		GradNorm: r.GradNorm, LearningRate: r.LearningRate,
	}
}

var goodStep = train.StepRecord{
	Step: 8, Loss: train.Loss{Sum: 184.25, Count: 184, Correct: 31}, GradNorm: 1.5, LearningRate: 0.001,
}

// TestEntryReadsRecords: what training writes is what a receipt reads, and a
// receipt refuses what training never writes.
func TestEntryReadsRecords(t *testing.T) {
	if r, err := training.Entry(goodStep.Bytes()).Record(); err != nil || asStep(r) != goodStep {
		t.Errorf("%+v, %v", r, err)
	}
	for want, change := range map[string]func(*train.StepRecord){
		"step":       func(r *train.StepRecord) { r.Step = train.MaxSteps },
		"right":      func(r *train.StepRecord) { r.Loss.Correct = r.Loss.Count + 1 },
		"of 184":     func(r *train.StepRecord) { r.Loss.Count, r.Loss.Correct = -1, 1 },
		"not finite": func(r *train.StepRecord) { r.Loss.Sum = math.NaN() },
		"is not fin": func(r *train.StepRecord) { r.GradNorm = float32(math.Inf(1)) },
	} {
		r := goodStep
		change(&r)
		var refused *receipt.Error
		if _, err := training.Entry(r.Bytes()).Record(); !errors.As(err, &refused) || refused.Check != training.CheckLog || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
}

func FuzzEntryRecord(f *testing.F) {
	b := goodStep.Bytes()
	f.Add(b[:])
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) != train.RecordSize {
			return
		}
		r, err := training.Entry(data).Record()
		if err != nil {
			return
		}
		if again := asStep(r).Bytes(); !bytes.Equal(again[:], data) {
			t.Errorf("%x is written as %x", data, again)
		}
	})
}
