package tamper_test

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
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

// uses is the first step from a step on that uses an example.
func uses(t *testing.T, s *school, example, from int) int {
	t.Helper()
	o, err := train.NewOrder(trainSeed, len(s.data))
	if err != nil {
		t.Fatal(err)
	}
	for step := from; step < trainSteps; step++ {
		if slices.Contains(o.Step(step, trainConfig().Batch), example) {
			return step
		}
	}
	t.Fatalf("no step from %d on uses example %d", from, example)
	return 0
}

// lied trains on other data, and commits to the right one.
func lied(change func(d table) table) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		p := s.plan()
		d := change(s.data.clone())
		p.data = d
		first := trainSteps
		for i := range d {
			if !bytes.Equal(rowBytes(d[i]), rowBytes(s.data[i])) {
				first = min(first, uses(t, s, i, 0))
			}
		}
		return s.teach(t, p).sign(t).at(fmt.Sprintf("step %d: ", first))
	}
}

// switching is data that is another one from a step on, for so many steps.
type switching struct {
	right, wrong table
	lesson       func() *lesson
	from, to     int
}

func (d *switching) Len() int { return len(d.right) }

func (d *switching) Example(i int) (train.Example, error) {
	if l := d.lesson(); l != nil && l.trainer.Done() >= d.from && l.trainer.Done() < d.to {
		return d.wrong[i], nil
	}
	return d.right[i], nil
}

var dataLies = []trainingLie{
	{name: "one label flipped", computed: training.CheckSteps, forge: lied(func(d table) table {
		d[17].Label = (d[17].Label + 1) % 3
		return d
	})},
	{name: "one input changed a little", computed: training.CheckSteps, forge: lied(func(d table) table {
		d[30].Input[2] = math.Float32frombits(math.Float32bits(d[30].Input[2]) ^ 1<<8)
		return d
	})},
	{name: "one input changed in its last bit", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		d := s.data.clone()
		d[30].Input[2] = math.Float32frombits(math.Float32bits(d[30].Input[2]) ^ 1)
		p.data = d
		// The example is used in step 1 first; loss and norm of it are rounded to
		// the same, the weights after it are not.
		return s.teach(t, p).sign(t).at("step 2: the loss is ")
	}},
	{name: "an example replaced by another one of the data", computed: training.CheckSteps, forge: lied(func(d table) table {
		d[5] = d[6]
		return d
	})},
	{name: "two examples exchanged", computed: training.CheckSteps, forge: lied(func(d table) table {
		d[3], d[4] = d[4], d[3]
		return d
	})},
	{name: "all labels turned", computed: training.CheckSteps, forge: lied(func(d table) table {
		for i := range d {
			d[i].Label = 2 - d[i].Label
		}
		return d
	})},
	{name: "a poisoned batch in one step, then honest again", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		wrong := s.data.clone()
		for i := range wrong {
			wrong[i].Label = 0
		}
		var l *lesson
		p := s.plan()
		p.data = &switching{s.data, wrong, func() *lesson { return l }, 16, 17}
		p.before = func(_ int, now *lesson) { l = now }
		return s.teach(t, p).sign(t).at("step 16: ").only(14, 21)
	}},
	{name: "other data, openly committed to, than the one at hand", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		other := &school{rows(3, 41), s.validation}
		h := other.teach(t, other.plan()).sign(t)
		h.examples = s.data
		return h.at("are not those that the receipt commits to")
	}},
	{name: "other data, openly committed to, than the one expected", offline: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		other := &school{rows(3, 41), s.validation}
		h := other.teach(t, other.plan()).sign(t)
		h.expect.Data = training.Hash{1}
		return h.at("expected 01")
	}},
	{name: "more examples than those at hand", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		other := &school{append(s.data.clone(), rows(3, 1)...), s.validation}
		h := other.teach(t, other.plan()).sign(t)
		h.examples = s.data
		return h.at("there are 41 examples, the run had 42")
	}},
	{name: "another number of examples claimed", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Data.Count = 400
		return l.sign(t).at("there are 41 examples, the run had 400")
	}},
	{name: "the same examples in another order", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		d := s.data.clone()
		slices.Reverse(d)
		other := &school{d, s.validation}
		h := other.teach(t, other.plan()).sign(t)
		h.examples = s.data
		return h.at("or in another order")
	}},
	{name: "data that nobody has: a root that was made up", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Data.Root = canon.Sum("no data at all")
		return l.sign(t).at("are not those that the receipt commits to")
	}},
	{name: "another salt shown with the data", computed: training.CheckData, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.opening.Data = &receipt.Salt{1}
		return l.sign(t).at("are not those that the receipt commits to")
	}},
	{name: "to an auditor: one example in the place of another", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Examples[3].Bytes, g.Examples[4].Bytes = g.Examples[4].Bytes, g.Examples[3].Bytes
	}, "with its salt and proof it does not hash")},
	{name: "to an auditor: an example with another label", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Examples[7].Bytes = slices.Clone(g.Examples[7].Bytes)
		g.Examples[7].Bytes[0] ^= 1
	}, "with its salt and proof it does not hash")},
	{name: "to an auditor: an example that says it is another one", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Examples = g.Examples[1:]
		g.Examples[0].Index = 0
	}, "example 0: ")},
	{name: "to an auditor: examples of another receipt", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Receipt[0] ^= 1
	}, "given for another receipt")},
	{name: "to an auditor: a proof that is cut", computed: training.CheckData, forge: given(func(g *training.Given, _ *school) {
		g.Examples[0].Proof = g.Examples[0].Proof[32:]
	}, "example 0: ")},
}

// given hands over all examples one by one, and changes them.
func given(change func(g *training.Given, s *school), detail string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		salt := *h.file.Opening.Data
		leaves, err := training.ExampleLeaves(salt, len(s.data), s.data.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		all := make([]int, len(s.data))
		for i := range all {
			all[i] = i
		}
		if h.given, err = training.Give(h.file.Receipt.Hash(), salt, leaves, all, s.data.Bytes); err != nil {
			t.Fatal(err)
		}
		h.examples = nil
		change(h.given, s)
		return h.at(detail)
	}
}

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

// configured trains with other settings than are claimed.
func configured(change func(p *plan), detail string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		p := s.plan()
		change(&p)
		h := s.teach(t, p).sign(t)
		h.files = nil // they name the other settings
		return h.at(detail)
	}
}

var settingLies = []trainingLie{
	{name: "a higher learning rate than claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.LearningRate = 0.03 }, "step 1: the loss is ")},
	{name: "another schedule than claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Schedule = train.Linear }, "step 5: the loss is ")},
	{name: "no warm-up, which was claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Warmup = 0 }, "step 1: the loss is ")},
	{name: "no clipping, which was claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Clip = 0 }, "step ")},
	{name: "another decay of the weights", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.WeightDecay = 0.02 }, "step 1: ")},
	{name: "another beta of the optimiser", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Beta2 = 0.99 }, "step ")},
	{name: "another optimiser", computed: training.CheckStart, forge: configured(func(p *plan) {
		p.config.Optimizer, p.config.Beta1, p.config.Beta2, p.config.Epsilon = train.SGD, 0, 0, 0
	}, "after step 0: the root is ")},
	{name: "another seed of the order than claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Seed = 12 }, "step 0: the loss is ")},
	{name: "larger batches than claimed", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.Batch, p.config.MicroBatch = 6, 6 }, "step 0: the loss is ")},
	{name: "examples cut where their gradients are large", computed: training.CheckSteps, forge: configured(func(p *plan) { p.config.ExampleClip, p.config.MicroBatch = 0.5, 1 }, "step 0: the norm of the gradient is ")},
	{name: "no dropout, which was claimed", computed: training.CheckSteps, forge: configured(func(p *plan) {
		p.spec.Layers = slices.Clone(p.spec.Layers)
		p.spec.Layers[3].Rate = 0
	}, "step 0: the loss is ")},
	{name: "other random numbers at the beginning", computed: training.CheckStart, forge: configured(func(p *plan) { p.seed = 12 }, "after step 0: the root is ")},
	{name: "a beginning that was trained before", computed: training.CheckStart, forge: configured(func(p *plan) {
		p.before = func(step int, l *lesson) {
			if step == 0 {
				for _, q := range l.net.Params() {
					for i := range q.Data {
						q.Data[i] += 0.125
					}
				}
			}
		}
	}, "after step 0: the root is ")},
	{name: "a beginning that was trained before, under the root of the right one", computed: training.CheckSteps, forge: func(t *testing.T, s *school) *homework {
		right := s.teach(t, s.plan())
		p := s.plan()
		p.seed = 12
		l := s.teach(t, p)
		l.points()[0] = right.points()[0]
		return l.sign(t).at("step 0: the loss is ")
	}},
	{name: "a net with another layer, under the claimed setup", computed: training.CheckStart, forge: configured(func(p *plan) {
		p.spec.Layers = slices.Clone(p.spec.Layers)
		p.spec.Layers[2] = net.Layer{Kind: net.Tanh}
		p.spec.Layers[0].Units = 9
	}, "after step 0: the root is ")},
	{name: "another activation, under the claimed setup", computed: training.CheckSteps, forge: configured(func(p *plan) {
		p.spec.Layers = slices.Clone(p.spec.Layers)
		p.spec.Layers[2] = net.Layer{Kind: net.Tanh}
	}, "step 0: the loss is ")},
	{name: "more steps than the configuration has", offline: training.CheckConfig, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		c := l.config
		c.Steps = 20
		return reconfigure(t, l, c).at("the run took 30 steps, and was configured for 20")
	}},
	{name: "a configuration with another learning rate, shown", offline: training.CheckRates, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		c := l.config
		c.LearningRate = 0.01
		return reconfigure(t, l, c).at("step 0: the log says ")
	}},
	{name: "a configuration with another weight decay, shown", computed: training.CheckStart, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		c := l.config
		c.WeightDecay = 0.5
		return reconfigure(t, l, c).at("after step 0: the root is ")
	}},
	{name: "a configuration that no run can have", offline: training.CheckConfig, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		c := training.Config(l.config)
		c.LearningRate = -1
		b, err := canon.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		l.opening.Config.Config = b
		return l.sign(t).at("no run can have it")
	}},
	{name: "another configuration shown than was signed", offline: training.CheckConfig, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		h := l.sign(t)
		c := l.config
		c.WeightDecay = 0.5
		b, err := c.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		l.opening.Config.Config = b
		return h.at("does not hash to the receipt's digest")
	}},
	{name: "another setup shown than was signed", offline: training.CheckSetup, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		h := l.sign(t)
		l.opening.Setup.Setup.Data = []byte("other rows")
		return h.at("does not hash to the receipt's digest")
	}},
	{name: "a seed of one's own, where a nonce was given", offline: training.CheckConfig, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Nonce = nonce
		l.opening.Setup.Setup.Seed = training.NonceSeed(nonce)
		return l.sign(t).at("the seed is not the one that follows from the nonce")
	}},
	{name: "a beginning of one's own, where a nonce was given", offline: training.CheckSetup, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Nonce = nonce
		c := l.config
		c.Seed = training.NonceSeed(nonce)
		return reconfigure(t, l, c).at("is not the one that follows from the nonce")
	}},
}

// reconfigure signs a run under another configuration than it had.
func reconfigure(t *testing.T, l *lesson, c train.Config) *homework {
	t.Helper()
	b, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	l.opening.Config.Config = b
	return l.sign(t)
}

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

// resulted changes the claims after an honest run.
func resulted(change func(c *training.Claims), detail string) func(t *testing.T, s *school) *homework {
	return func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		change(&l.claims)
		return l.sign(t).at(detail)
	}
}

var resultLies = []trainingLie{
	{name: "another file than the parameters give", computed: training.CheckResult, forge: resulted(func(c *training.Claims) { c.Result.File[5] ^= 1 }, "give the file ")},
	{name: "the file of another training", computed: training.CheckResult, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.seed = 12
		other := s.teach(t, p)
		l := s.teach(t, s.plan())
		l.claims.Result.File = other.claims.Result.File
		return l.sign(t).at("give the file ")
	}},
	{name: "a file changed after it was exported", computed: training.CheckResult, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.net.Params()[5].Data[0] += 0.25
		result := l.claims.Result.Parameters
		e := *l.claims.Evaluation
		l.export(t)
		l.claims.Result.Parameters, l.claims.Evaluation = result, &e
		return l.sign(t).at("give the file ")
	}},
	{name: "other parameters than those of the last state", computed: training.CheckResult, forge: resulted(func(c *training.Claims) { c.Result.Parameters[5] ^= 1 }, "the root of the parameters after step 30 is ")},
	{name: "the result of another step than claimed", computed: training.CheckResult, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.best = 21
		early := s.teach(t, p)
		l := s.teach(t, s.plan())
		l.claims.Result.Parameters, l.claims.Result.File = early.claims.Result.Parameters, early.claims.Result.File
		return l.sign(t).at("the root of the parameters after step 30 is ")
	}},
	{name: "a result from between two checkpoints", offline: training.CheckCheckpoints, forge: resulted(func(c *training.Claims) { c.Result.Step = 17 }, "there is none after step 17")},
	{name: "a file that is named in another way", computed: training.CheckResult, forge: resulted(func(c *training.Claims) { c.Result.Identity = training.Bytes }, "give the file ")},
	{name: "another file than the one at hand", offline: training.CheckResult, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		h.expect.Result = training.Hash{9}
		return h.at("expected 09")
	}},
	{name: "a smaller loss of the evaluation", computed: training.CheckEvaluation, forge: resulted(func(c *training.Claims) { c.Evaluation.Loss *= 0.5 }, "the loss on the validation examples is ")},
	{name: "the last bit of the loss of the evaluation", computed: training.CheckEvaluation, forge: resulted(func(c *training.Claims) {
		c.Evaluation.Loss = math.Float64frombits(math.Float64bits(c.Evaluation.Loss) ^ 1)
	}, "the loss on the validation examples is ")},
	{name: "one more right in the evaluation", computed: training.CheckEvaluation, forge: resulted(func(c *training.Claims) { c.Evaluation.Correct++ }, "17 predictions")},
	{name: "an evaluation on the examples that it was trained on", computed: training.CheckValidation, forge: func(t *testing.T, s *school) *homework {
		p := &school{s.data, s.data[:17]}
		h := p.teach(t, p.plan()).sign(t)
		h.validation = s.validation
		return h.at("are not those that the receipt commits to")
	}},
	{name: "an evaluation on those examples that are easy", computed: training.CheckEvaluation, forge: func(t *testing.T, s *school) *homework {
		p := &school{s.data, s.validation[:9]}
		easy := p.teach(t, p.plan())
		l := s.teach(t, s.plan())
		e := *easy.claims.Evaluation
		e.Data = l.claims.Evaluation.Data
		l.claims.Evaluation = &e
		return l.sign(t).at("the loss on the validation examples is ")
	}},
	{name: "an evaluation of another state than the result", computed: training.CheckEvaluation, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.best = 21
		early := s.teach(t, p)
		l := s.teach(t, s.plan())
		l.claims.Evaluation = early.claims.Evaluation
		return l.sign(t).at("the loss on the validation examples is ")
	}},
}

var trainingFormLies = []trainingLie{
	{name: "the receipt of an older order, replayed", offline: training.CheckNonce, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		h.expect.Nonce = nonce
		return h.at("a replayed or other receipt")
	}},
	{name: "another nonce than the one given", offline: training.CheckNonce, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Nonce = []byte("of somebody else")
		l.opening = l.opening.Select(training.Course)
		l.opening.Setup, l.opening.Config = &training.OpenedSetup{Setup: training.Setup{Learner: []byte("x"), Data: []byte("y")}}, &training.OpenedConfig{Config: []byte{0xa0}}
		h := l.sign(t)
		h.file.Opening = nil
		h.expect.Nonce = nonce
		return h.at("a replayed or other receipt")
	}},
	{name: "signed by another key than expected", offline: receipt.CheckSigner, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		h.expect.Key = keyOf(7).Public().(ed25519.PublicKey)
		return h.at("signed by aval-node-1")
	}},
	{name: "another base model than expected", offline: training.CheckBase, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		h.expect.Base = training.Hash{3}
		return h.at("expected 03")
	}},
	{name: "a claim changed after signing", offline: receipt.CheckSignature, forge: func(t *testing.T, s *school) *homework {
		h := s.teach(t, s.plan()).sign(t)
		c := h.file.Receipt.Claims()
		b, err := h.file.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		other := c.Result.File
		other[0] ^= 1
		h.file, h.data = nil, bytes.Replace(b, c.Result.File[:], other[:], 1)
		return h.at("the receipt was changed, or never signed")
	}},
	{name: "the opening of another run", offline: training.CheckSetup, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.master = receipt.Salt{8}
		other := s.teach(t, p).sign(t)
		h := s.teach(t, s.plan()).sign(t)
		h.file.Opening = other.file.Opening
		return h.at("does not hash to the receipt's digest")
	}},
	{name: "the opening of another run with the same salts", offline: training.CheckCheckpoints, forge: func(t *testing.T, s *school) *homework {
		p := s.plan()
		p.seed = 12
		other := s.teach(t, p).sign(t)
		h := s.teach(t, s.plan()).sign(t)
		h.file.Opening = other.file.Opening
		return h.at("do not hash to the receipt's root")
	}},
	{name: "the log as the list of checkpoints", offline: training.CheckCheckpoints, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.opening.Checkpoints.Entries = l.records()
		return l.sign(t).at("the end is missing")
	}},
	{name: "the receipt of an answer as that of a training", offline: receipt.CheckSuite, forge: func(t *testing.T, s *school) *homework {
		statement, err := receipt.SignStatement([]byte("\xa1\x01\x66aval/1"), liar)
		if err != nil {
			t.Fatal(err)
		}
		return (&homework{data: statement.Bytes()}).at("is unknown, want")
	}},
	{name: "a later version of the rules", offline: receipt.CheckSuite, forge: func(t *testing.T, s *school) *homework {
		statement, err := receipt.SignStatement([]byte("\xa1\x01\x77aval-training-receipt/2"), liar)
		if err != nil {
			t.Fatal(err)
		}
		return (&homework{data: statement.Bytes()}).at("a newer program may know it")
	}},
	{name: "a file with something unknown in it that is not a receipt", offline: receipt.CheckFile, forge: func(t *testing.T, s *school) *homework {
		b, err := s.teach(t, s.plan()).sign(t).file.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		return (&homework{data: append(b, 0)}).at("not a file of a training receipt")
	}},
	{name: "from the future", offline: receipt.CheckTime, forge: func(t *testing.T, s *school) *homework {
		l := s.teach(t, s.plan())
		l.claims.Time = now.Unix() + 3600
		return l.sign(t).at("in the future")
	}},
}

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
}

// TestTrainingUnseen holds what passes, and what the report says of it.
func TestTrainingUnseen(t *testing.T) {
	s := newSchool()
	for _, u := range trainingUnseens {
		t.Run(u.name, func(t *testing.T) {
			h := u.forge(t, s)
			f, _ := h.offline()
			if h.examples != nil && !bytes.Equal(rowBytes(h.examples[0]), rowBytes(s.data[0])) {
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
