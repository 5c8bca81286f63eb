package replay_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/audit/replay"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
)

func check(t *testing.T, a *replay.Auditor, f *training.File, o replay.Options) *replay.Outcome {
	t.Helper()
	o.Now = now
	out, err := a.Check(t.Context(), f, o)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// verdict fails the test unless the outcome has the verdict, and one of its
// checks says so.
func verdict(t *testing.T, out *replay.Outcome, want receipt.Verdict, check, says string) {
	t.Helper()
	if got := out.Report.Verdict(); got != want {
		t.Fatalf("verdict %s, want %s:\n%s", got, want, &out.Report)
	}
	i := slices.IndexFunc(out.Report.Checks, func(c receipt.Check) bool { return c.Name == check && c.Verdict == want })
	if i < 0 || !strings.Contains(out.Report.Checks[i].Detail, says) {
		t.Errorf("no check %q that is %s and says %q:\n%s", check, want, says, &out.Report)
	}
}

func TestAll(t *testing.T) {
	d := trained(t, config(), options(t), 30, 0)
	steps := 0
	a := d.auditor(t)
	a.Progress = func(done, all int) {
		if steps++; done != steps || all != 30 {
			t.Fatalf("%d of %d after %d steps", done, all, steps)
		}
	}
	out := check(t, a, d.file, replay.Options{})
	verdict(t, out, receipt.Valid, training.CheckComputation, "all 30 steps")
	if steps != 30 || out.Steps != 30 || out.Difference != nil {
		t.Errorf("%d steps, %+v", steps, out)
	}
	var names []string
	for _, c := range out.Report.Checks {
		names = append(names, c.Name)
	}
	want := []string{"form", "signature", "time", "setup", "configuration", "checkpoints", "step log", "computation", "learning rates", "data", "start", "validation data", "evaluation", "result"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	data, err := d.file.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if !training.Is(data) || !training.Is(d.file.Receipt.Bytes()) {
		t.Error("it is not recognised")
	}
	if n := len(d.file.Receipt.Bytes()); n > 600 {
		t.Errorf("the receipt has %d bytes", n)
	}
}

func TestStretches(t *testing.T) {
	d := trained(t, config(), options(t), 30, 0)
	// From a checkpoint, and on to the next one.
	out := check(t, d.auditor(t), d.file, replay.Options{From: 9, To: 12})
	verdict(t, out, receipt.Valid, training.CheckComputation, "7 steps were computed again, 1 of 5 stretches")
	if diff := cmp.Diff([]replay.Stretch{{From: 7, To: 14}}, out.Stretches); diff != "" || out.All != 5 {
		t.Errorf("%s of %d", diff, out.All)
	}
	// All steps by their numbers are all steps: the result must be compared.
	b := d.auditor(t)
	b.Folder = ""
	out = check(t, b, d.file, replay.Options{From: 0, To: 30})
	verdict(t, out, receipt.Unverified, training.CheckResult, "the file was not made again")
	b = d.auditor(t)
	b.Folder = ""
	out = check(t, b, d.file, replay.Options{From: 28, To: 30})
	verdict(t, out, receipt.Valid, training.CheckComputation, "the others were not looked at; the parameters are those of the receipt; the file was not made again")
	// Without its file, from the start.
	a := d.auditor(t)
	a.Checkpoint = nil
	out = check(t, a, d.file, replay.Options{From: 15, To: 16})
	verdict(t, out, receipt.Valid, training.CheckComputation, "21 steps were computed again")
	verdict(t, out, receipt.Valid, training.CheckComputation, "the result, from the state after step 30, was not looked at")
	// By chance.
	chosen := map[int]bool{}
	for i := range byte(20) {
		out = check(t, d.auditor(t), d.file, replay.Options{Sample: 2, Random: [32]byte{i}})
		verdict(t, out, receipt.Valid, training.CheckComputation, "had one stretch been wrong, it would have been found with probability 0.4000")
		if len(out.Stretches) != 2 || out.Chance(1) != 0.4 {
			t.Fatalf("%+v", out)
		}
		for _, s := range out.Stretches {
			chosen[s.From] = true
		}
	}
	if len(chosen) != 5 {
		t.Errorf("of five stretches, chance chose only %v in 20 tries", chosen)
	}
	out = check(t, d.auditor(t), d.file, replay.Options{From: 30})
	verdict(t, out, receipt.Unverified, training.CheckComputation, "steps 0 to 29")
}

// TestSampleOfAll: who shows only some stretches does not choose what chance
// draws from.
func TestSampleOfAll(t *testing.T) {
	d := trained(t, config(), options(t), 30, 0)
	part := *d.file.Opening
	points, err := d.file.Opening.Checkpoints.Range(2, 4) // stretch number 2
	if err != nil {
		t.Fatal(err)
	}
	part.Checkpoints, part.PointRanges = nil, []training.Range{points}
	f := &training.File{Receipt: d.file.Receipt, Opening: &part}
	right, hidden := 0, 0
	for i := range byte(30) {
		o := replay.Options{Sample: 1, Random: [32]byte{i}}
		out := check(t, d.auditor(t), f, o)
		if list, missing := replay.Sampled(f, o); len(list) == 1 && list[0] == (replay.Stretch{From: 14, To: 21}) {
			right++
			verdict(t, out, receipt.Valid, training.CheckComputation, "found with probability 0.2000")
		} else if len(missing) == 1 && missing[0] != 2 {
			hidden++
			verdict(t, out, receipt.Unverified, training.CheckComputation, "chance chose stretch number ")
		} else {
			t.Errorf("%v, %v", list, missing)
		}
	}
	if right == 0 || hidden < right {
		t.Errorf("%d times the stretch that is shown, %d times another one", right, hidden)
	}
	out := check(t, d.auditor(t), d.file, replay.Options{Sample: 1, From: 7})
	verdict(t, out, receipt.Unverified, training.CheckComputation, "a sample is of the whole run")
	f.Opening = nil
	if list, missing := replay.Sampled(f, replay.Options{Sample: 2}); len(list) != 0 || len(missing) != 2 {
		t.Errorf("%v, %v", list, missing)
	}
}

// TestGiven computes a stretch with nothing but its examples.
func TestGiven(t *testing.T) {
	d := trained(t, config(), options(t), 30, 0)
	leaves, err := training.ExampleLeaves(*d.file.Opening.Data, len(d.data), d.data.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	order, err := train.NewOrder(config().Seed, len(d.data))
	if err != nil {
		t.Fatal(err)
	}
	var indices []int
	for s := 14; s < 21; s++ {
		indices = append(indices, order.Step(s, config().Batch)...)
	}
	slices.Sort(indices)
	indices = slices.Compact(indices)
	give := func(indices []int) *training.Given {
		g, err := training.Give(d.file.Receipt.Hash(), *d.file.Opening.Data, leaves, indices, d.data.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		b, err := g.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		if g, err = training.ParseGiven(b); err != nil {
			t.Fatal(err)
		}
		return g
	}
	// The file shows only what it takes: neither the salt of the data nor the
	// log of other steps.
	shown := d.file.Opening.Select(training.Settings)
	records, err := d.file.Opening.Log.Range(14, 21)
	if err != nil {
		t.Fatal(err)
	}
	points, err := d.file.Opening.Checkpoints.Range(2, 4)
	if err != nil {
		t.Fatal(err)
	}
	shown.LogRanges, shown.PointRanges = []training.Range{records}, []training.Range{points}
	file := &training.File{Receipt: d.file.Receipt, Opening: shown}
	a := d.auditor(t)
	a.Subject.Data = nil
	a.Given = give(indices)
	out := check(t, a, file, replay.Options{From: 14, To: 21})
	verdict(t, out, receipt.Valid, training.CheckComputation, "7 steps")
	out = check(t, a, file, replay.Options{From: 7, To: 21})
	verdict(t, out, receipt.Unverified, training.CheckComputation, "steps 7 to 13 were asked for, too") // 14 to 20 are all the file shows

	a.Given = give(indices[1:])
	out = check(t, a, file, replay.Options{From: 14, To: 21})
	verdict(t, out, receipt.Unverified, training.CheckComputation, "it is not at hand")
	a.Given = give(indices)
	a.Given.Examples[3].Bytes = dataset.Canonical(&d.data[40])
	out = check(t, a, file, replay.Options{From: 14, To: 21})
	verdict(t, out, receipt.Invalid, training.CheckData, "not the one that was trained on")
	a.Given = nil
	out = check(t, a, file, replay.Options{From: 14, To: 21})
	verdict(t, out, receipt.Unverified, training.CheckComputation, "the examples are not at hand")
}

// TestBest has a result between two checkpoints, of a run that stopped early.
func TestBest(t *testing.T) {
	d := trained(t, config(), options(t), 23, 17)
	out := check(t, d.auditor(t), d.file, replay.Options{})
	verdict(t, out, receipt.Valid, training.CheckResult, "the parameters after step 17")
	c := d.file.Receipt.Claims()
	if c.Steps != 23 || c.Result.Step != 17 || c.Checkpoints.Count != 6 { // 0 7 14 17 21 23
		t.Errorf("%+v", c)
	}
	// The last stretch does not lead to the result; its checkpoint does.
	out = check(t, d.auditor(t), d.file, replay.Options{From: 22})
	verdict(t, out, receipt.Valid, training.CheckResult, "the parameters after step 17")
	// A run that forgot to keep it has no receipt.
	s := subject(t, d.data, nil)
	tr, err := train.NewTrainer(s.Machine, config(), s.Learner, d.data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := record.New(tr, d.data, nil, options(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		rec, err := tr.Step()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Add(tr, rec); err != nil {
			t.Fatal(err)
		}
		if err := r.Add(tr, rec); err == nil {
			t.Fatal("a step was recorded twice")
		}
	}
	if _, err := r.Finish(record.Result{Step: 4, Format: "f32"}, signer, now); err == nil || !strings.Contains(err.Error(), "call Keep") {
		t.Errorf("a result whose root nobody took: %v", err)
	}
}

// TestDifferences changes what is signed: the check names the first difference.
func TestDifferences(t *testing.T) {
	d := trained(t, config(), options(t), 30, 0)
	sign := func(change func(o *training.Opening)) *training.File {
		o := *d.file.Opening
		log, points := *o.Log, *o.Checkpoints
		log.Entries, points.Entries = slices.Clone(log.Entries), slices.Clone(points.Entries)
		o.Log, o.Checkpoints = &log, &points
		change(&o)
		c := d.file.Receipt.Claims()
		if err := o.Fill(&c); err != nil {
			t.Fatal(err)
		}
		r, err := training.Sign(c, signer)
		if err != nil {
			t.Fatal(err)
		}
		return &training.File{Receipt: r, Opening: &o}
	}
	f := sign(func(o *training.Opening) { o.Log.Entries[17][8] ^= 1 }) // the last bit of the loss
	out := check(t, d.auditor(t), f, replay.Options{})
	verdict(t, out, receipt.Invalid, training.CheckSteps, "step 17: the loss is ")
	if out.Difference == nil || out.Difference.Step != 17 || out.Difference.State || out.Steps != 18 {
		t.Errorf("%+v", out)
	}
	f = sign(func(o *training.Opening) { o.Checkpoints.Entries[2][20] ^= 1 })
	out = check(t, d.auditor(t), f, replay.Options{})
	verdict(t, out, receipt.Invalid, training.CheckState, "after step 14: the root is ")

	// A checkpoint that somebody has poisoned, and the trainer went on from.
	poisoned := trained(t, config(), options(t), 30, 0)
	poison(t, poisoned, 14)
	f = poisoned.file
	out = check(t, poisoned.auditor(t), f, replay.Options{From: 14})
	verdict(t, out, receipt.Valid, training.CheckComputation, "16 steps")
	out = check(t, poisoned.auditor(t), f, replay.Options{From: 7, To: 14})
	verdict(t, out, receipt.Invalid, training.CheckState, `tensor "layers.4.weight" is the first that differs`)
	if out.Difference == nil || out.Difference.Tensor != "layers.4.weight" || out.Difference.Step != 14 {
		t.Errorf("%+v", out.Difference)
	}

	// Another file for a checkpoint.
	a := d.auditor(t)
	a.Checkpoint = func(step int) (*train.Checkpoint, func() error, error) { return poisoned.open(step) }
	out = check(t, a, d.file, replay.Options{From: 14, To: 21})
	verdict(t, out, receipt.Invalid, training.CheckStart, "is not the one that the receipt commits to")
}

// poison changes one weight of the state after some steps, and computes honestly
// from there.
func poison(t *testing.T, d *finished, step int) {
	t.Helper()
	s := subject(t, d.data, d.validation)
	tr, err := train.NewTrainer(s.Machine, config(), s.Learner, d.data)
	if err != nil {
		t.Fatal(err)
	}
	r, err := record.New(tr, d.data, d.validation, options(t))
	if err != nil {
		t.Fatal(err)
	}
	c, _, err := d.open(step)
	if err != nil {
		t.Fatal(err)
	}
	for tr.Done() < 30 {
		rec, err := tr.Step()
		if err != nil {
			t.Fatal(err)
		}
		if tr.Done() == step {
			if err := tr.Restore(c); err != nil {
				t.Fatal(err)
			}
			s.Learner.Params()[4].Data[3] += 0.5
		}
		d.checkpoint(t, tr)
		if err := r.Add(tr, rec); err != nil {
			t.Fatal(err)
		}
	}
	path := t.TempDir() + "/result"
	if err := s.Export(path, "f32"); err != nil {
		t.Fatal(err)
	}
	file, err := record.FileOf(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if d.file, err = r.Finish(record.Result{File: file, Format: "f32"}, signer, now); err != nil {
		t.Fatal(err)
	}
}

// TestHidden: what is not shown cannot be computed again, and is no failure.
func TestHidden(t *testing.T) {
	d := trained(t, config(), options(t), 30, 0)
	for _, c := range []struct {
		part training.Part
		says string
	}{
		{training.PartConfig, "does not show the configuration"},
		{training.PartCheckpoints, "does not show two checkpoints"},
		{training.PartLog, "does not show the record of step 0"},
		{training.PartData, "does not show the salt of the examples"},
		{training.Whole, "does not show two checkpoints"},
	} {
		f := &training.File{Receipt: d.file.Receipt, Opening: d.file.Opening.Select(training.Whole &^ c.part)}
		out := check(t, d.auditor(t), f, replay.Options{})
		verdict(t, out, receipt.Unverified, training.CheckComputation, c.says)
	}
	f := &training.File{Receipt: d.file.Receipt, Opening: d.file.Opening.Select(training.Whole &^ training.PartValidation)}
	verdict(t, check(t, d.auditor(t), f, replay.Options{}), receipt.Unverified, training.CheckEvaluation, "not at hand")
	f.Opening = nil
	verdict(t, check(t, d.auditor(t), f, replay.Options{}), receipt.Unverified, training.CheckComputation, "shows nothing")
	a := d.auditor(t)
	a.Folder = ""
	verdict(t, check(t, a, d.file, replay.Options{}), receipt.Unverified, training.CheckResult, "was not made again")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := d.auditor(t).Check(ctx, d.file, replay.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("after an interruption: %v", err)
	}
}

// TestResume interrupts a run at every step; the receipt is the same.
func TestResume(t *testing.T) {
	want := trained(t, config(), options(t), 30, 0)
	for _, cut := range []int{1, 6, 7, 8, 29} {
		d := &finished{checkpoints: map[int][]byte{}, data: want.data, validation: want.validation}
		s := subject(t, d.data, d.validation)
		tr, err := train.NewTrainer(s.Machine, config(), s.Learner, d.data)
		if err != nil {
			t.Fatal(err)
		}
		r, err := record.New(tr, d.data, d.validation, options(t))
		if err != nil {
			t.Fatal(err)
		}
		for range min(cut+2, 30) { // two steps are lost
			rec, err := tr.Step()
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Add(tr, rec); err != nil {
				t.Fatal(err)
			}
		}
		state, err := r.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		s = subject(t, d.data, d.validation)
		if tr, err = train.NewTrainer(s.Machine, config(), s.Learner, d.data); err != nil {
			t.Fatal(err)
		}
		c, _, err := want.open(cut)
		if err != nil {
			t.Fatal(err)
		}
		if err := tr.Restore(c); err != nil {
			t.Fatal(err)
		}
		if r, err = record.Resume(state, tr, d.data, d.validation, options(t)); err != nil {
			t.Fatal(err)
		}
		for tr.Done() < 30 {
			rec, err := tr.Step()
			if err != nil {
				t.Fatal(err)
			}
			if err := r.Add(tr, rec); err != nil {
				t.Fatal(err)
			}
		}
		w := want.file.Receipt.Claims()
		res := record.Result{
			Format: "f32", File: record.Artefact{Identity: w.Result.Identity, Hash: w.Result.File},
			Evaluation: &record.Evaluation{Batch: 4, Loss: train.Loss{Sum: w.Evaluation.Loss, Count: w.Evaluation.Count, Correct: w.Evaluation.Correct}},
		}
		got, err := r.Finish(res, signer, now)
		if err != nil {
			t.Fatal(err)
		}
		if got.Receipt.Hash() != want.file.Receipt.Hash() {
			t.Errorf("cut after step %d the receipt is another one", cut)
		}
		// Other data, another run, a state that is not the recorded one.
		other := slices.Clone(d.data)
		other[7].Label ^= 1
		if _, err := record.Resume(state, tr, other, d.validation, options(t)); err == nil {
			t.Error("resumed with another label")
		}
		o := options(t)
		o.Setup.Seed++
		if _, err := record.Resume(state, tr, d.data, d.validation, o); err == nil {
			t.Error("resumed with another seed")
		}
		if _, err := record.Resume(state[:len(state)-1], tr, d.data, d.validation, options(t)); err == nil {
			t.Error("resumed from a cut state")
		}
	}
}

// TestNonce: whoever orders a run leaves no choice of the seed.
func TestNonce(t *testing.T) {
	o, c := options(t), config()
	o.Nonce = []byte("from whoever orders it")
	d := examples(1, 41)
	s := subject(t, d, nil)
	tr, err := train.NewTrainer(s.Machine, c, s.Learner, d)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := record.New(tr, d, nil, o); err == nil {
		t.Fatal("the seed is not that of the nonce")
	}
	c.Seed = training.NonceSeed(o.Nonce)
	o.Setup.Seed = c.Seed
	f := trained(t, c, o, 30, 0)
	report := replay.Offline(f.file, training.Options{Now: now, Expect: training.Expect{Nonce: o.Nonce}})
	if bad := report.Failed(); bad != nil {
		t.Error(bad)
	}
	report = replay.Offline(f.file, training.Options{Now: now, Expect: training.Expect{Nonce: []byte("of another order")}})
	if bad := report.Failed(); bad == nil || bad.Name != training.CheckNonce {
		t.Error(&report)
	}
}

// TestBaseAtHand: a run that began with a model cannot be checked without it.
func TestBaseAtHand(t *testing.T) {
	o := options(t)
	o.Base = training.Hash{5}
	d := trained(t, config(), o, 30, 0)
	a := d.auditor(t)
	a.Base = training.Hash{}
	out := check(t, a, d.file, replay.Options{})
	verdict(t, out, receipt.Unverified, training.CheckComputation, "which is not at hand")
}
