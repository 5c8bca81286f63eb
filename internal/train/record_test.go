package train_test

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/google/go-cmp/cmp"
)

// someLog is the log of a short run.
func someLog(t testing.TB) *train.Log {
	tr, _ := start(t, 1, configs()["sgd"])
	log := new(train.Log)
	steps(t, tr, log, 9)
	return log
}

func TestLogRoundTrip(t *testing.T) {
	log := someLog(t)
	var buf bytes.Buffer
	if n, err := log.WriteTo(&buf); err != nil || n != 9*train.RecordSize {
		t.Fatalf("%d bytes, %v", n, err)
	}
	again, err := train.ReadLog(bytes.NewReader(buf.Bytes()), 9)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(log.Records, again.Records); diff != "" || again.Root() != log.Root() {
		t.Errorf("read differently:\n%s", diff)
	}
	if _, err := train.ReadLog(bytes.NewReader(buf.Bytes()), 8); err == nil {
		t.Error("more records than allowed are read")
	}
	if _, err := train.ReadLog(bytes.NewReader(buf.Bytes()[:50]), 9); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut log: %v", err)
	}
	// A log that begins in the middle is a log; one with a gap is none.
	if _, err := train.ReadLog(bytes.NewReader(buf.Bytes()[40:]), 9); err != nil {
		t.Error(err)
	}
	gap := append(buf.Bytes()[:40:40], buf.Bytes()[80:]...)
	if _, err := train.ReadLog(bytes.NewReader(gap), 9); err == nil || !strings.Contains(err.Error(), "step 2 after that of step 0") {
		t.Errorf("a log with a gap: %v", err)
	}
}

func TestLogFirstDifference(t *testing.T) {
	a, b := someLog(t), someLog(t)
	if d := a.FirstDifference(b); d != -1 {
		t.Errorf("equal logs differ at %d", d)
	}
	b.Records[4].Loss.Sum = math.Nextafter(b.Records[4].Loss.Sum, 0)
	b.Records[7].GradNorm++
	if d := a.FirstDifference(b); d != 4 || a.Root() == b.Root() {
		t.Errorf("differ at %d, want 4", d)
	}
	if d := a.FirstDifference(&train.Log{Records: a.Records[:6]}); d != 6 {
		t.Errorf("a shorter log differs at %d, want 6", d)
	}
	// A stretch can be shown without the rest.
	leaves := a.Leaves()
	root, err := canon.RangeRoot(9, 3, leaves[3:5], canon.Range(leaves, 3, 5))
	if err != nil || root != a.Root() {
		t.Errorf("proof of steps 3 and 4: %v, %v", root, err)
	}
}

func TestParseRecordRefuses(t *testing.T) {
	good := someLog(t).Records[8]
	for want, change := range map[string]func(*train.StepRecord){
		"step":       func(r *train.StepRecord) { r.Step = train.MaxSteps },
		"right":      func(r *train.StepRecord) { r.Loss.Correct = r.Loss.Count + 1 },
		"of 184":     func(r *train.StepRecord) { r.Loss.Count, r.Loss.Correct = -1, 1 },
		"not finite": func(r *train.StepRecord) { r.Loss.Sum = math.NaN() },
		"is not fin": func(r *train.StepRecord) { r.GradNorm = float32(math.Inf(1)) },
	} {
		r := good
		change(&r)
		b := r.Bytes()
		if _, err := train.ParseRecord(b[:]); !errors.Is(err, train.ErrRecord) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	for _, r := range someLog(f).Records {
		b := r.Bytes()
		f.Add(b[:])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := train.ParseRecord(data)
		if err != nil {
			return
		}
		if again := r.Bytes(); !bytes.Equal(again[:], data) {
			t.Errorf("%x is written as %x", data, again)
		}
	})
}

func TestLoss(t *testing.T) {
	var l train.Loss
	if l.Mean() != 0 || l.Accuracy() != 0 {
		t.Errorf("nothing has mean %v and accuracy %v", l.Mean(), l.Accuracy())
	}
	l.Add(train.Loss{Sum: 3, Count: 2, Correct: 1})
	l.Add(train.Loss{Sum: 1, Count: 2, Correct: 2})
	if l.Mean() != 1 || l.Accuracy() != 0.75 || math.Abs(l.Perplexity()-math.E) > 1e-14 {
		t.Errorf("mean %v, accuracy %v, perplexity %v", l.Mean(), l.Accuracy(), l.Perplexity())
	}
	if p := (train.Loss{Sum: math.MaxFloat64, Count: 1}).Perplexity(); math.IsNaN(p) || math.IsInf(p, 0) {
		t.Errorf("perplexity of an immense loss is %v", p)
	}
}
