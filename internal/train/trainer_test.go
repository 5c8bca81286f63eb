package train_test

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/train"
	"github.com/google/go-cmp/cmp"
)

// start begins a run over 17 points.
func start(t testing.TB, threads int, c train.Config) (*train.Trainer, *line) {
	t.Helper()
	l := newLine(7, 3)
	tr, err := train.NewTrainer(machine(t, threads), c, l, points(17, 7, 3))
	if err != nil {
		t.Fatal(err)
	}
	return tr, l
}

// steps takes n steps and adds their records to the log.
func steps(t testing.TB, tr *train.Trainer, log *train.Log, n int) {
	t.Helper()
	for range n {
		r, err := tr.Step()
		if err == nil {
			err = log.Add(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func save(t testing.TB, tr *train.Trainer) []byte {
	t.Helper()
	var buf bytes.Buffer
	n, err := tr.WriteTo(&buf)
	if err != nil || n != int64(buf.Len()) {
		t.Fatalf("%d bytes written, %d said: %v", buf.Len(), n, err)
	}
	return buf.Bytes()
}

func open(t testing.TB, data []byte) *train.Checkpoint {
	t.Helper()
	c, err := train.OpenCheckpoint(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLearns(t *testing.T) {
	for name, c := range configs() {
		c.Steps = 200
		tr, l := start(t, 1, c)
		before, err := train.Evaluate(l, points(17, 7, 3), 4)
		if err != nil {
			t.Fatal(err)
		}
		steps(t, tr, new(train.Log), 200)
		after, _ := train.Evaluate(l, points(17, 7, 3), 4)
		if !(after.Mean() < before.Mean()/10) || after.Count != 17 {
			t.Errorf("%s: mean loss %v before, %v after", name, before.Mean(), after.Mean())
		}
		if _, err := tr.Step(); !errors.Is(err, train.ErrDone) {
			t.Errorf("%s: a step after the last one: %v", name, err)
		}
	}
}

// TestResume cuts runs at every step: with the checkpoint alone, the rest has
// the same records and the same root.
func TestResume(t *testing.T) {
	for name, c := range configs() {
		whole, _ := start(t, 1, c)
		var log train.Log
		var files [][]byte
		for range c.Steps {
			files = append(files, save(t, whole))
			steps(t, whole, &log, 1)
		}
		want := whole.Root()
		for cut, file := range files {
			rest, l := start(t, 2, c)
			for _, p := range l.params { // nothing but the checkpoint counts
				for i := range p.Data {
					p.Data[i] = 5
				}
			}
			cp := open(t, file)
			if err := rest.Restore(cp); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if rest.Done() != cut || cp.Step != cut {
				t.Fatalf("%s: restored to step %d, want %d", name, rest.Done(), cut)
			}
			if !bytes.Equal(save(t, rest), file) {
				t.Fatalf("%s: writing the checkpoint of step %d again gives other bytes", name, cut)
			}
			root, err := cp.Root()
			if err != nil || root != rest.Root() {
				t.Fatalf("%s: root of the file %v (%v), of the run %v", name, root, err, rest.Root())
			}
			tail := train.Log{Records: log.Records[:cut:cut]}
			steps(t, rest, &tail, c.Steps-cut)
			if d := log.FirstDifference(&tail); d != -1 || tail.Root() != log.Root() {
				t.Errorf("%s: cut at %d: record %d differs", name, cut, d)
			}
			if rest.Root() != want {
				t.Errorf("%s: cut at %d: another state at the end", name, cut)
			}
		}
	}
}

// TestThreads holds the state to not depending on threads, with tensors long
// enough to be shared out.
func TestThreads(t *testing.T) {
	for name, c := range configs() {
		c.Steps, c.Warmup = 3, 1
		var want []train.StateLeaf
		for _, threads := range []int{1, 2, 7} {
			l := newLine(20000, 4)
			tr, err := train.NewTrainer(machine(t, threads), c, l, points(5, 20000, 4))
			if err != nil {
				t.Fatal(err)
			}
			steps(t, tr, new(train.Log), 3)
			leaves := tr.Leaves()
			if want == nil {
				want = leaves
			}
			if d := train.FirstDifference(want, leaves); d != "" {
				t.Errorf("%s: %d threads: %s differs", name, threads, d)
			}
		}
	}
}

// TestFirstDifference names the tensor in which two runs part.
func TestFirstDifference(t *testing.T) {
	c := configs()["adamw"]
	a, _ := start(t, 1, c)
	b, l := start(t, 1, c)
	if d := train.FirstDifference(a.Leaves(), b.Leaves()); d != "" {
		t.Errorf("equal states differ in %q", d)
	}
	l.params[1].Data[2] = math.Float32frombits(1)
	if d := train.FirstDifference(a.Leaves(), b.Leaves()); d != "b" {
		t.Errorf("states differ first in %q, want b", d)
	}
	if a.Root() == b.Root() {
		t.Error("the same root for two states")
	}
	l.params[1].Data[2] = 0
	steps(t, b, new(train.Log), 1)
	if d := train.FirstDifference(a.Leaves(), b.Leaves()); d != train.HeadLeaf {
		t.Errorf("states of two steps differ first in %q", d)
	}
	if d := train.FirstDifference(a.Leaves(), a.Leaves()[:3]); d != "optim.m.w" {
		t.Errorf("a state that ends early differs first in %q", d)
	}
}

// TestMicroBatches holds the learner to being called with micro-batches.
func TestMicroBatches(t *testing.T) {
	tr, l := start(t, 1, configs()["micro-batches"])
	steps(t, tr, new(train.Log), 1)
	if l.calls != 2 { // 4 and 2 examples
		t.Errorf("%d calls for a step, want 2", l.calls)
	}
}

// TestClip compares the norm of the update with the bound: without momentum and
// decay the step is the clipped gradient times the rate.
func TestClip(t *testing.T) {
	c := train.Config{Optimizer: train.SGD, Steps: 1, Batch: 17, LearningRate: 1, Clip: 0.25}
	tr, l := start(t, 1, c)
	var before []float32
	for _, p := range l.params {
		before = append(before, p.Data...)
	}
	r, err := tr.Step()
	if err != nil {
		t.Fatal(err)
	}
	if r.GradNorm < 1 {
		t.Fatalf("the norm %v is too small for this test", r.GradNorm)
	}
	sum, i := 0.0, 0
	for _, p := range l.params {
		for _, x := range p.Data {
			d := float64(x) - float64(before[i])
			sum += d * d
			i++
		}
	}
	if got := math.Sqrt(sum); math.Abs(got-0.25) > 1e-5 {
		t.Errorf("the update has norm %v, want 0.25", got)
	}
}

// TestExampleClip computes the clipped mean again from single gradients.
func TestExampleClip(t *testing.T) {
	c := configs()["example clip"]
	c.Clip = 0
	tr, l := start(t, 1, c)
	data, m := points(17, 7, 3), machine(t, 1)
	want := make([]float64, 21)
	clipped := 0
	for _, i := range tr.Indices(0) {
		_, norm, err := train.ExampleGradient(m, l, data[i:i+1], 1)
		if err != nil {
			t.Fatal(err)
		}
		f := 1.0
		if norm > 0.5 {
			clipped++
			f = 0.5 / norm
		}
		for j, g := range l.params[0].Grad {
			want[j] += float64(g) * f / 6
		}
	}
	if clipped == 0 {
		t.Fatal("no gradient is clipped: the test shows nothing")
	}
	if _, err := tr.Step(); err != nil {
		t.Fatal(err)
	}
	for j, g := range l.params[0].Grad {
		if math.Abs(float64(g)-want[j]) > 1e-6 {
			t.Errorf("gradient %d is %v, want %v", j, g, want[j])
		}
	}
}

func TestStepFails(t *testing.T) {
	c := configs()["sgd"]
	tr, l := start(t, 1, c)
	before := tr.Root()
	l.fail = errors.New("no memory")
	if _, err := tr.Step(); !errors.Is(err, l.fail) {
		t.Errorf("the learner's error is lost: %v", err)
	}
	l.fail = nil
	if tr.Root() != before {
		t.Error("a step that failed changed the state")
	}
	steps(t, tr, new(train.Log), 1)
	l.params[0].Data[0] = float32(math.Inf(1))
	if _, err := tr.Step(); !errors.Is(err, train.ErrDiverged) {
		t.Errorf("an infinite loss: %v", err)
	}
}

// lying counts predictions that nobody asked for.
type lying struct{ *line }

func (l lying) Accumulate(e []train.Example, scale float32) (train.Loss, error) {
	loss, err := l.line.Accumulate(e, scale)
	loss.Count++
	return loss, err
}

func TestStepCountsPredictions(t *testing.T) {
	tr, err := train.NewTrainer(machine(t, 1), configs()["sgd"], lying{newLine(7, 3)}, points(17, 7, 3))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Step(); err == nil || !strings.Contains(err.Error(), "counts") {
		t.Errorf("a wrong count: %v", err)
	}
}

func TestTrainerRefuses(t *testing.T) {
	good := func() *line { return newLine(2, 2) }
	c := configs()["sgd"]
	for want, l := range map[string]func() *line{
		"0 parameter tensors": func() *line { l := good(); l.params = nil; return l },
		"two parameters":      func() *line { l := good(); l.params[1].Name = "w"; return l },
		"parameter name":      func() *line { l := good(); l.params[1].Name = "optim.m.w"; return l },
		"elements and":        func() *line { l := good(); l.params[1].Grad = nil; return l },
		"positive dimensions": func() *line { l := good(); l.params[1].Shape = []int{-2}; return l },
		"5 dimensions":        func() *line { l := good(); l.params[1].Shape = []int{1, 1, 1, 1, 2}; return l },
	} {
		_, err := train.NewTrainer(machine(t, 1), c, l(), points(3, 2, 2))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v", want, err)
		}
	}
	if _, err := train.NewTrainer(machine(t, 1), c, good(), train.List{}); err == nil {
		t.Error("no examples are accepted")
	}
	if _, err := train.NewTrainer(machine(t, 1), train.Config{}, good(), points(3, 2, 2)); err == nil {
		t.Error("an empty configuration is accepted")
	}
}

func TestTargets(t *testing.T) {
	for _, c := range []struct {
		e    train.Example
		want int
	}{
		{train.Example{Input: []float32{1}}, 1},
		{train.Example{Tokens: []int32{1, 2, 3}}, 2},
		{train.Example{Tokens: []int32{1}}, 0},
		{train.Example{Tokens: []int32{1, 2, 3}, Mask: []bool{false, true}}, 1},
	} {
		if got := c.e.Targets(); got != c.want {
			t.Errorf("%+v has %d targets, want %d", c.e, got, c.want)
		}
	}
	tr, err := train.NewTrainer(machine(t, 1), configs()["plain"], newLine(1, 1), train.List{{Tokens: []int32{1}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tr.Step(); err == nil {
		t.Error("a step without targets is accepted")
	}
}

// TestOrder: every epoch is a permutation, epochs differ, and steps take the
// indices one after the other across the borders.
func TestOrder(t *testing.T) {
	const n, batch = 10, 4
	o, err := train.NewOrder(1, n)
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for step := range 15 {
		all = append(all, o.Step(step, batch)...)
	}
	for e := 0; e+n <= len(all); e += n {
		epoch := slices.Clone(all[e : e+n])
		if e > 0 && slices.Equal(epoch, all[:n]) {
			t.Errorf("epoch %d is the first one again", e/n)
		}
		slices.Sort(epoch)
		if diff := cmp.Diff([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, epoch); diff != "" {
			t.Errorf("epoch %d is no permutation:\n%s", e/n, diff)
		}
	}
	again, _ := train.NewOrder(1, n)
	if got := again.Step(9, batch); !slices.Equal(got, all[9*batch:10*batch]) {
		t.Errorf("step 9 alone is %v, in the run %v", got, all[9*batch:10*batch])
	}
	other, _ := train.NewOrder(2, n)
	if slices.Equal(other.Step(0, n), all[:n]) {
		t.Error("another seed gives the same order")
	}
	for _, n := range []int64{0, -1, 1 << 31} {
		if int64(int(n)) != n {
			continue // a 32-bit platform has no such number
		}
		if _, err := train.NewOrder(1, int(n)); err == nil {
			t.Errorf("%d examples are accepted", n)
		}
	}
}

// TestOrderUniform counts where 4 examples land in 24,000 epochs: each of the
// 24 orders 1,000 times, give or take 170, which is 5.4 standard deviations of
// a binomial count (24 counts: false alarm below 2e-6 over seeds; the seed is
// fixed).
func TestOrderUniform(t *testing.T) {
	o, _ := train.NewOrder(77, 4)
	counts := map[[4]int]int{}
	for e := range 24000 {
		s := o.Step(e, 4)
		counts[[4]int(s)]++
	}
	for order, n := range counts {
		if n < 830 || n > 1170 {
			t.Errorf("order %v came %d times", order, n)
		}
	}
	if len(counts) != 24 {
		t.Errorf("%d of 24 orders came", len(counts))
	}
}
