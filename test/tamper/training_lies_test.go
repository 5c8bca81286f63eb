package tamper_test

import (
	"strings"
	"testing"

	"github.com/avalnetwork/aval/receipt"
)

// trainingLie is one way to forge the receipt of a training, and the check that
// finds it: offline, or by computing all steps again. What is found offline is
// found before anything is computed.
type trainingLie struct {
	name              string
	forge             func(t *testing.T, s *school) *homework
	offline, computed string
}

type trainingClass struct {
	title string
	lies  []trainingLie
}

func trainingClasses() []trainingClass {
	return []trainingClass{
		{"Other data", dataLies},
		{"Other steps, another log", stepLies},
		{"Other settings, another beginning", settingLies},
		{"Other checkpoints", checkpointLies},
		{"Another result", resultLies},
		{"Another model below an adapter", trainingAdapterLies},
		{"Another receipt", trainingFormLies},
	}
}

// TestTrainingLies forges every receipt, and holds each verification to the
// check that it must name, and to the place.
func TestTrainingLies(t *testing.T) {
	s := newSchool()
	seen, count := map[string]bool{}, 0
	for _, c := range trainingClasses() {
		for _, l := range c.lies {
			if seen[l.name] {
				t.Errorf("two lies are called %q", l.name)
			}
			seen[l.name] = true
			count++
			t.Run(c.title+"/"+l.name, func(t *testing.T) { l.try(t, s) })
		}
	}
	if count < 60 {
		t.Errorf("%d lies, want at least 60", count)
	}
	t.Logf("%d lies", count)
}

func (l *trainingLie) try(t *testing.T, s *school) {
	h := l.forge(t, s)
	f, report := h.offline()
	if l.offline != "" {
		h.fails(t, "offline", &report, l.offline)
		return
	}
	if f == nil || report.Verdict() != receipt.Unverified {
		t.Fatalf("offline the receipt should be sound, and is %s:\n%s", report.Verdict(), &report)
	}
	out := h.computed(t, f, 0, 0)
	h.fails(t, "computed", &out.Report, l.computed)
	if h.alone.To == 0 {
		return
	}
	// The lie is between two checkpoints, and honest computation leads there and
	// away from there: only this stretch shows it.
	for _, p := range f.Opening.Points() {
		for i := 1; i < len(p); i++ {
			from, to := p[i-1].Step, p[i].Step
			out := h.computed(t, f, from, to)
			if from == h.alone.From && to == h.alone.To {
				h.fails(t, "the stretch alone", &out.Report, l.computed)
			} else if bad := out.Report.Failed(); bad != nil {
				t.Errorf("steps %d to %d are honest, but: %v", from, to-1, bad)
			}
		}
	}
}

func (h *homework) fails(t *testing.T, how string, r *receipt.Report, check string) {
	t.Helper()
	if r.Verdict() != receipt.Invalid {
		t.Errorf("%s: the lie gets through: %s\n%s", how, r.Verdict(), r)
		return
	}
	switch bad := r.Failed(); {
	case bad.Name != check:
		t.Errorf("%s: caught by %v, want %q", how, bad, check)
	case h.detail == "":
		t.Errorf("%s: this lie does not say where it must be found: %v", how, bad)
	case !strings.Contains(bad.Detail, h.detail):
		t.Errorf("%s: %v, want %q", how, bad, h.detail)
	}
}

// TestTrainingHonest: what is honest passes every check.
func TestTrainingHonest(t *testing.T) {
	s := newSchool()
	h := s.teach(t, s.plan()).sign(t)
	f, report := h.offline()
	if report.Verdict() != receipt.Unverified {
		t.Errorf("%s", &report)
	}
	out := h.computed(t, f, 0, 0)
	if out.Report.Verdict() != receipt.Valid {
		t.Errorf("%s", &out.Report)
	}
	p := s.plan()
	p.best = 16
	h = s.teach(t, p).sign(t)
	f, _ = h.offline()
	if out = h.computed(t, f, 0, 0); out.Report.Verdict() != receipt.Valid {
		t.Errorf("%s", &out.Report)
	}
}
