package replay

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/receipt/training"
)

// results checks the result if the trainer's state is the one that it comes
// from.
func (r *run) results() error {
	if r.result || !r.known || r.trainer.Done() != r.claims.Result.Step {
		return nil
	}
	r.result = true
	_, parameters := record.Roots(r.trainer.Leaves())
	if want := r.claims.Result.Parameters; parameters != want {
		r.wrong(training.CheckResult, "the root of the parameters after step %d is %v, the receipt has %v", r.claims.Result.Step, parameters, want)
		return nil
	}
	if err := r.evaluate(); err != nil {
		return err
	}
	return r.export()
}

// evaluate computes the loss on the validation examples again.
func (r *run) evaluate() error {
	e, v := r.claims.Evaluation, r.Subject.Validation
	if e == nil {
		return nil
	}
	salt := r.file.Opening.Validation
	if v == nil || salt == nil {
		r.miss(training.CheckEvaluation, "the validation examples, or their salt, are not at hand")
		return nil
	}
	got, err := record.Commit(*salt, v)
	if err != nil || got != e.Data {
		r.wrong(training.CheckValidation, "the validation examples at hand are not those that the receipt commits to")
		return nil
	}
	r.out.Report.Add(valid(training.CheckValidation, "the %d validation examples are those that the receipt commits to", got.Count))
	loss, err := train.Evaluate(r.Subject.Learner, v, e.Batch)
	if err != nil {
		return err
	}
	if want := (train.Loss{Sum: e.Loss, Count: e.Count, Correct: e.Correct}); loss != want || math.Signbit(loss.Sum) != math.Signbit(want.Sum) {
		r.wrong(training.CheckEvaluation, "the loss on the validation examples is %v over %d predictions, %d right; the receipt has %v over %d, %d right",
			loss.Sum, loss.Count, loss.Correct, want.Sum, want.Count, want.Correct)
		return nil
	}
	r.out.Report.Add(valid(training.CheckEvaluation, "the loss on the validation examples is the one of the receipt: %.4f a prediction", loss.Mean()))
	return nil
}

// export compares the file that the parameters give.
func (r *run) export() error {
	want := r.claims.Result
	if r.Folder == "" || r.Subject.Export == nil {
		r.miss(training.CheckResult, "the parameters are those of the receipt; the file was not made again")
		return nil
	}
	path := filepath.Join(r.Folder, "result")
	if err := r.Subject.Export(path, want.Format); err != nil {
		r.out.Report.Add(unverified(training.CheckResult, "the parameters are those of the receipt; the file could not be made again: %v", err))
		return nil
	}
	defer os.Remove(path)
	got, err := record.FileOf(r.ctx, path)
	if err != nil {
		return fmt.Errorf("the file of the result: %w", err)
	}
	if got.Identity != want.Identity || got.Hash != want.File {
		r.wrong(training.CheckResult, "the parameters after step %d give the file %v (%v), the receipt names %v (%v)", want.Step, got.Hash, got.Identity, want.File, want.Identity)
		return nil
	}
	r.out.Report.Add(valid(training.CheckResult, "the parameters after step %d give the file that the receipt names", want.Step))
	return nil
}

// finish looks at the result if no stretch has led there and its checkpoint is
// at hand, and says what was computed.
func (r *run) finish(list []span, byChance bool) error {
	if !r.result {
		if p, ok := r.point(r.claims.Result.Step); ok {
			restored, err := r.restore(p)
			if err != nil {
				return err
			}
			if restored {
				if err := r.results(); err != nil {
					return err
				}
			}
		}
	}
	if r.out.Report.Failed() != nil {
		return nil
	}
	if !r.result {
		r.miss(training.CheckResult, fmt.Sprintf("the result, from the state after step %d, was not looked at", r.claims.Result.Step))
	}
	text := strings.Join(append([]string{claim(r.steps, len(list), r.out.All, byChance)}, r.missed...), "; ")
	if r.gap != "" {
		r.out.Report.Add(unverified(training.CheckComputation, "%s; %s", text, r.gap))
		return nil
	}
	r.out.Report.Add(valid(training.CheckComputation, "%s", text))
	return nil
}
