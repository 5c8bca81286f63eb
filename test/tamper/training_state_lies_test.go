package tamper_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/receipt/training"
)

// poisoned changes the state before a checkpoint is taken of it.
func poisoned(step int, change func(l *lesson), tensor string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.after = func(done int, l *lesson) {
			if done+1 == step {
				change(l)
			}
		}
		from := (step - 1) / 7 * 7
		return s.teach(t, p).sign(t).at(fmt.Sprintf("tensor %q is the first that differs", tensor)).only(from, step)
	}
}

var checkpointLies = []trainingLie{
	{name: "a weight changed at a checkpoint, then honest again", computed: training.CheckState, forge: poisoned(14, func(l *lesson) {
		l.net.Params()[4].Data[3] += 0.5
	}, "layers.4.weight")},
	{name: "the last bit of a weight changed at a checkpoint", computed: training.CheckState, forge: poisoned(21, func(l *lesson) {
		p := l.net.Params()[0]
		p.Data[9] = math.Float32frombits(math.Float32bits(p.Data[9]) ^ 1)
	}, "layers.0.weight")},
	{name: "a backdoor put in at the end", computed: training.CheckState, forge: poisoned(30, func(l *lesson) {
		copy(l.net.Params()[5].Data, []float32{9, -9, 0})
	}, "layers.4.bias")},
	{name: "all weights replaced by those of another training", computed: training.CheckState, forge: poisoned(28, func(l *lesson) {
		for _, p := range l.net.Params() {
			for i := range p.Data {
				p.Data[i] = -p.Data[i]
			}
		}
	}, "layers.0.weight")},
	{name: "a weight changed between two checkpoints, then honest again", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.after = func(done int, l *lesson) {
			if done == 16 {
				l.net.Params()[4].Data[3] += 0.5
			}
		}
		return s.teach(t, p).sign(t).at("step 17: the loss is ").only(14, 21)
	}},
	{name: "the root of a checkpoint made up", computed: training.CheckState, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.points()[2][20] ^= 1
		return l.sign(t).at("after step 14: the root is ")
	}},
	{name: "the checkpoints of another run", computed: training.CheckStart, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.seed = 12
		other := s.teach(t, p)
		l := s.teach(t, s.plan())
		l.opening.Checkpoints.Entries = other.points()
		return l.sign(t).at("after step 0: the root is ")
	}},
	{name: "a checkpoint left out", offline: training.CheckCheckpoints, forge: listed(func(e []training.Entry) []training.Entry {
		return slices.Delete(e, 2, 3)
	}, "the configuration asks for a checkpoint after step 14")},
	{name: "the start left out", offline: training.CheckCheckpoints, forge: listed(func(e []training.Entry) []training.Entry { return e[1:] }, "the start is missing")},
	{name: "the end left out", offline: training.CheckCheckpoints, forge: listed(func(e []training.Entry) []training.Entry { return e[:len(e)-1] }, "the end is missing")},
	{name: "all checkpoints left out but two", offline: training.CheckCheckpoints, forge: listed(func(e []training.Entry) []training.Entry {
		return []training.Entry{e[0], e[len(e)-1]}
	}, "the configuration asks for a checkpoint after step 7")},
	{name: "two checkpoints exchanged", offline: training.CheckCheckpoints, forge: listed(func(e []training.Entry) []training.Entry {
		e[1], e[2] = e[2], e[1]
		return e
	}, "follows the one after step")},
	{name: "a checkpoint twice", offline: training.CheckCheckpoints, forge: listed(func(e []training.Entry) []training.Entry {
		return slices.Insert(e, 2, e[2])
	}, "follows the one after step")},
	{name: "a checkpoint where none belongs", offline: training.CheckCheckpoints, forge: listed(func(e []training.Entry) []training.Entry {
		p, _ := e[2].Checkpoint()
		p.Step = 16
		return slices.Insert(e, 3, p.Entry())
	}, "the list has one after step 16 in its place")},
	{name: "more checkpoints than configured, so that a sample finds less, and a part shown", offline: training.CheckPointRange, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		p, err := l.points()[1].Checkpoint()
		if err != nil {
			t.Fatal(err)
		}
		p.Step = 8
		l.opening.Checkpoints.Entries = slices.Insert(l.points(), 2, p.Entry())
		h := l.sign(t)
		r, err := l.opening.Checkpoints.Range(4, 6)
		if err != nil {
			t.Fatal(err)
		}
		h.file.Opening = l.opening.Select(training.Whole &^ training.PartCheckpoints)
		h.file.Opening.PointRanges = []training.Range{r}
		return h.at("the configuration asks for 6 checkpoints, the receipt has 7")
	}},
	{name: "another list of checkpoints shown than was signed", offline: training.CheckCheckpoints, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		h := l.sign(t)
		l.points()[2][20] ^= 1
		return h.at("do not hash to the receipt's root")
	}},
	{name: "another number of checkpoints claimed", offline: training.CheckCheckpoints, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.sign(t)
		l.claims.Checkpoints.Count = 5
		return l.seal(t).at("the opening shows 6, the receipt says 5")
	}},
	{name: "to an auditor: the file of another state", computed: training.CheckStart, forge: func(t *testing.T, s *school) *homework {
		// An auditor who computes from the start needs no file: only the stretch.
		l := s.teach(t, s.plan())
		p := s.plan()
		p.seed = 12
		other := s.teach(t, p)
		h := l.sign(t)
		h.files[28] = other.files[28]
		h.file.Opening = l.opening.Select(training.Whole &^ training.PartCheckpoints)
		r, err := l.opening.Checkpoints.Range(4, 6) // the last stretch alone
		if err != nil {
			t.Fatal(err)
		}
		h.file.Opening.PointRanges = []training.Range{r}
		return h.at("is not the one that the receipt commits to")
	}},
}

// listed changes the list of checkpoints after an honest run.
func listed(change func(e []training.Entry) []training.Entry, detail string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.opening.Checkpoints.Entries = change(l.points())
		return l.sign(t).at(detail)
	}
}
