package tamper_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

// trainingUnseens are what a training receipt does not show.
type trainingUnseen struct {
	name  string
	forge func(t *testing.T, s *school) *homework
	full  receipt.Verdict
	check string
	says  receipt.Verdict
	said  string
	helps string
}

var trainingUnseens = []trainingUnseen{
	{
		name: "the best of many seeds, the others not shown", full: receipt.Valid, check: training.CheckComputation, says: receipt.Valid, said: "all 30 steps",
		helps: "A nonce of your own: then the seed follows from it.",
		forge: func(t *testing.T, s *school) *homework { return s.teach(t, s.plan()).sign(t) },
	},
	{
		name: "poisoned examples in the data itself", full: receipt.Valid, check: training.CheckData, says: receipt.Valid, said: "are those that the receipt commits to",
		helps: "Look at the examples: the receipt only holds the signer to one list.",
		forge: func(t *testing.T, s *school) *homework {
			d := s.data.clone()
			d[0].Label = 0
			other := &school{d, s.validation}
			return other.teach(t, other.plan()).sign(t)
		},
	},
	{
		name: "validation examples that were trained on, too", full: receipt.Valid, check: training.CheckEvaluation, says: receipt.Valid, said: "is the one of the receipt",
		helps: "Whoever has both can compare them; “aval train” refuses files that share examples, and the rule that splits one file is in the setup.",
		forge: func(t *testing.T, s *school) *homework {
			other := &school{s.data, s.data[:17]}
			return other.teach(t, other.plan()).sign(t)
		},
	},
	{
		name: "the master salt of another receipt, used again", full: receipt.Valid, check: training.CheckComputation, says: receipt.Valid, said: "all 30 steps",
		helps: "It harms the signer alone: equal roots show that the data is the same. Programs draw a new one.",
		forge: func(t *testing.T, s *school) *homework { return s.teach(t, s.plan()).sign(t) },
	},
	{
		name: "the result of somebody else’s training, signed again", full: receipt.Valid, check: receipt.CheckSignature, says: receipt.Valid, said: "by aval-node-1",
		helps: "A nonce: a copy is not for your order. Who computed cannot be told.",
		forge: func(t *testing.T, s *school) *homework {
			l := s.teach(t, s.plan())
			h := l.sign(t)
			l.claims.Key = nil
			r, err := training.Sign(l.claims, keyOf(7))
			if err != nil {
				t.Fatal(err)
			}
			h.file.Receipt = r
			return h
		},
	},
	{
		name: "anything, where the data is not at hand", full: receipt.Unverified, check: training.CheckComputation, says: receipt.Unverified, said: "the examples are not at hand",
		helps: "Ask for the examples of a stretch that you choose.",
		forge: func(t *testing.T, s *school) *homework {
			h := s.teach(t, s.plan()).sign(t)
			h.examples = nil
			return h
		},
	},
	{
		name: "anything, where the log is not shown", full: receipt.Unverified, check: training.CheckComputation, says: receipt.Unverified, said: "does not show the record of step 0",
		helps: "Ask for the opening.",
		forge: func(t *testing.T, s *school) *homework {
			h := s.teach(t, s.plan()).sign(t)
			h.file.Opening = h.file.Opening.Select(training.Whole &^ training.PartLog)
			return h
		},
	},
	{
		name: "a poisoned step, where only the checkpoints around other steps are shown", full: receipt.Unverified, check: training.CheckComputation, says: receipt.Unverified, said: "steps 14 to 20 were asked for, too",
		helps: "Ask for the whole list, or draw a sample: it is drawn from all of the run.",
		forge: func(t *testing.T, s *school) *homework {
			p := s.plan()
			p.after = func(step int, l *lesson) {
				if step == 16 {
					l.net.Params()[0].Data[0] += 0.25
				}
			}
			l := s.teach(t, p)
			h := l.sign(t)
			h.file.Opening = l.opening.Select(training.Whole &^ training.PartCheckpoints)
			for _, r := range [][2]int{{0, 3}, {3, 6}} {
				part, err := l.opening.Checkpoints.Range(r[0], r[1])
				if err != nil {
					t.Fatal(err)
				}
				h.file.Opening.PointRanges = append(h.file.Opening.PointRanges, part)
			}
			return h
		},
	},
}

// TestTrainingUnseen holds what passes, and what the report says of it.
func TestTrainingUnseen(t *testing.T) {
	s := newSchool()
	for _, u := range trainingUnseens {
		t.Run(u.name, func(t *testing.T) {
			h := u.forge(t, s)
			f, _ := h.offline()
			if h.examples != nil && !bytes.Equal(dataset.Canonical(&h.examples[0]), dataset.Canonical(&s.data[0])) {
				t.Log("the auditor was given the poisoned data")
			}
			out := h.computed(t, f, 0, 0)
			if got := out.Report.Verdict(); got != u.full {
				t.Errorf("%s, want %s\n%s", got, u.full, &out.Report)
			}
			if !slices.ContainsFunc(out.Report.Checks, func(c receipt.Check) bool {
				return c.Name == u.check && c.Verdict == u.says && strings.Contains(c.Detail, u.said)
			}) {
				t.Errorf("no check %q is %s and says %q\n%s", u.check, u.says, u.said, &out.Report)
			}
		})
	}
}
