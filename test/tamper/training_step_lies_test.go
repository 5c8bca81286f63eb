package tamper_test

import (
	"slices"
	"testing"

	"github.com/avalnetwork/aval/receipt/training"
)

// logged changes the log after an honest run.
func logged(step int, change func(e *training.Entry), detail string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		change(&l.records()[step])
		h := l.sign(t).at(detail)
		if step >= 0 {
			from := step / 7 * 7
			h.only(from, min(from+7, trainSteps))
		}
		return h
	}
}

var stepLies = []trainingLie{
	{name: "a step skipped, its numbers in the log", computed: training.CheckState, forge: func(t *testing.T, s *school) *homework {
		// The step is computed and logged, but its update is undone: honest again
		// from the next checkpoint.
		var saved [][]float32
		p := s.plan()
		p.before = func(step int, l *lesson) {
			saved = saved[:0]
			for _, q := range l.net.Params() {
				saved = append(saved, slices.Clone(q.Data))
			}
		}
		p.after = func(step int, l *lesson) {
			if step == 13 { // the last one before a checkpoint
				for i, q := range l.net.Params() {
					copy(q.Data, saved[i])
				}
			}
		}
		return s.teach(t, p).sign(t).at(`tensor "layers.0.weight" is the first that differs`).only(7, 14)
	}},
	{name: "a step skipped in the middle", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		var saved [][]float32
		p := s.plan()
		p.before = func(step int, l *lesson) {
			saved = saved[:0]
			for _, q := range l.net.Params() {
				saved = append(saved, slices.Clone(q.Data))
			}
		}
		p.after = func(step int, l *lesson) {
			if step == 10 {
				for i, q := range l.net.Params() {
					copy(q.Data, saved[i])
				}
			}
		}
		return s.teach(t, p).sign(t).at("step 11: the loss is ").only(7, 14)
	}},
	{name: "the last steps not computed, their numbers made up", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		// The state stays that of step 28; the head of the state says 30.
		for i := 28; i < trainSteps; i++ {
			copy(l.records()[i][8:32], l.records()[27][8:32])
		}
		return l.sign(t).at("step 28: the loss is ").only(28, 30)
	}},
	{name: "a loss made smaller in the log", computed: training.CheckSteps, forge: logged(17, func(e *training.Entry) { e[15] ^= 1 }, "step 17: the loss is ")},
	{name: "a loss changed in its last bit", computed: training.CheckSteps, forge: logged(22, func(e *training.Entry) { e[8] ^= 1 }, "step 22: the loss is ")},
	{name: "a norm of the gradient changed in its last bit", computed: training.CheckSteps, forge: logged(3, func(e *training.Entry) { e[32] ^= 1 }, "step 3: the norm of the gradient is ")},
	{name: "one more right prediction", computed: training.CheckSteps, forge: logged(29, func(e *training.Entry) { e[24]++ }, "step 29: the number of right predictions is ")},
	{name: "another count of predictions", computed: training.CheckSteps, forge: logged(9, func(e *training.Entry) { e[16]++ }, "step 9: the number of predictions is 5, the receipt has 6")},
	{name: "more right predictions than there were", offline: training.CheckLog, forge: logged(9, func(e *training.Entry) { e[24] = 9 }, "step 9: 9 of 5 predictions right")},
	{name: "a loss that is no number", offline: training.CheckLog, forge: logged(4, func(e *training.Entry) { copy(e[8:], []byte{0, 0, 0, 0, 0, 0, 0xf8, 0x7f}) }, "step 4: a number is not finite")},
	{name: "another learning rate in the log of one step", offline: training.CheckRates, forge: logged(12, func(e *training.Entry) { e[36] ^= 1 }, "step 12: the log says ")},
	{name: "the log of another run", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.seed = 12
		other := s.teach(t, p)
		l := s.teach(t, s.plan())
		l.opening.Log.Entries = other.records()
		return l.sign(t).at("step 0: the loss is ")
	}},
	{name: "two records exchanged", offline: training.CheckLog, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.records()[3], l.records()[4] = l.records()[4], l.records()[3]
		return l.sign(t).at("the record at place 3 is of step 4")
	}},
	{name: "two records exchanged, and renumbered", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		a, b := l.records()[13], l.records()[12]
		copy(l.records()[12][8:36], a[8:36])
		copy(l.records()[13][8:36], b[8:36])
		return l.sign(t).at("step 12: the loss is ").only(7, 14)
	}},
	{name: "a record missing", offline: training.CheckLog, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.opening.Log.Entries = l.records()[:29]
		l.claims.Steps = trainSteps
		return l.sign(t).at("the opening shows 29 steps, the receipt says 30")
	}},
	{name: "more steps claimed than were taken", offline: training.CheckConfig, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Steps = 300
		l.claims.Result.Step = 300
		return l.sign(t).at("the run took 300 steps")
	}},
	{name: "another step shown to an auditor than was signed", offline: training.CheckLogRange, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		h := l.sign(t)
		r, err := l.opening.Log.Range(7, 14)
		if err != nil {
			t.Fatal(err)
		}
		r.Entries = slices.Clone(r.Entries)
		r.Entries[2][8] ^= 1
		o := *l.opening
		o.Log, o.LogRanges = nil, []training.Range{r}
		h.file.Opening = &o
		return h.at("entries 7 to 13, with their salts and proof, do not hash")
	}},
	{name: "steps shown at another place", offline: training.CheckLogRange, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		h := l.sign(t)
		r, err := l.opening.Log.Range(7, 14)
		if err != nil {
			t.Fatal(err)
		}
		r.From = 14
		o := *l.opening
		o.Log, o.LogRanges = nil, []training.Range{r}
		h.file.Opening = &o
		return h.at("the Merkle proof does not have the right form")
	}},
}
