package train_test

import (
	"math"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/train"
)

// someLog is the log of a short run.
func someLog(t testing.TB) *train.Log {
	tr, _ := start(t, 1, configs()["sgd"])
	log := new(train.Log)
	steps(t, tr, log, 9)
	return log
}

// TestLogHasNoGaps: a log may begin in the middle, and goes on step by step.
func TestLogHasNoGaps(t *testing.T) {
	records := someLog(t).Records
	tail := new(train.Log)
	for _, r := range records[1:] {
		if err := tail.Add(r); err != nil {
			t.Fatal(err)
		}
	}
	gap := &train.Log{Records: records[:1:1]}
	if err := gap.Add(records[2]); err == nil || !strings.Contains(err.Error(), "step 2 after that of step 0") {
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
