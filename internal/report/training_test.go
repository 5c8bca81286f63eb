package report_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/report"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/receipt/training"
	"github.com/avalnetwork/aval/spec/vectors"
)

// TestEveryTrainingCheckHasWords reads the constants CheckX of the package, so
// that a new one cannot be forgotten here.
func TestEveryTrainingCheckHasWords(t *testing.T) {
	names := checkNames(t, "../../receipt/training")
	if len(names) < 15 {
		t.Errorf("only %d checks were found", len(names))
	}
	for _, name := range names {
		passed, failed, open, ok := report.TrainingWords(name)
		if !ok {
			t.Errorf("the check %q has no words: add it to trainingWording", name)
			continue
		}
		for _, text := range []string{passed, failed, open} {
			if len(text) < 10 || !strings.HasSuffix(text, ".") || text[0] < 'A' || text[0] > 'Z' {
				t.Errorf("the check %q: %q is not a sentence", name, text)
			}
		}
	}
}

// trainingFile is a file of the vectors.
func trainingFile(t *testing.T, name string) *training.File {
	t.Helper()
	raw, err := fs.ReadFile(vectors.FS, "training-receipt.json")
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Files []struct{ Name, File string } }
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	for _, f := range set.Files {
		if f.Name == name {
			b, err := hex.DecodeString(f.File)
			if err != nil {
				t.Fatal(err)
			}
			file, err := training.ParseFile(b)
			if err != nil {
				t.Fatal(err)
			}
			return file
		}
	}
	t.Fatalf("there is no vector %q", name)
	return nil
}

// trainingReports are typical ones; each is kept in testdata.
var trainingReports = []struct {
	name, vector string
	change       func(in *report.TrainingInput)
}{
	{"training-offline", "everything shown", func(in *report.TrainingInput) { in.Here = true }},
	{"training-page", "a file that shows nothing", func(in *report.TrainingInput) {}},
	{"training-full", "everything shown", func(in *report.TrainingInput) {
		in.Steps, in.Stretches, in.All = 4, 2, 2
		in.Checks.Add(receipt.Check{Name: training.CheckComputation, Verdict: receipt.Valid, Detail: "all 4 steps"})
	}},
	{"training-sample", "everything shown", func(in *report.TrainingInput) {
		in.Steps, in.Stretches, in.All, in.Chance = 2, 1, 2, 0.5
		in.Checks.Add(receipt.Check{Name: training.CheckComputation, Verdict: receipt.Valid, Detail: "2 steps"})
	}},
	{"training-stretch", "everything shown", func(in *report.TrainingInput) {
		in.Steps, in.Stretches, in.All = 2, 1, 2
		in.Checks.Add(receipt.Check{Name: training.CheckComputation, Verdict: receipt.Valid, Detail: "2 steps"})
	}},
	{"training-step", "everything shown", func(in *report.TrainingInput) {
		in.Here = true
		in.Checks.Add(receipt.Check{Name: training.CheckSteps, Verdict: receipt.Invalid, Detail: "step 3: the loss is 2.25 (0x4002), the receipt has 2 (0x4000): the first difference"})
	}},
	{"training-data", "everything shown", func(in *report.TrainingInput) {
		in.Here = true
		in.Checks.Add(receipt.Check{Name: training.CheckData, Verdict: receipt.Invalid, Detail: "there are 2 examples, the run had 3"})
	}},
	{"training-trouble", "everything shown", func(in *report.TrainingInput) { in.Here, in.Trouble = true, "no such file\x1b[2J" }},
	{"training-checkpoints", "signed: the end missing", func(in *report.TrainingInput) { in.Here = true }},
}

func TestTraining(t *testing.T) {
	for _, c := range trainingReports {
		t.Run(c.name, func(t *testing.T) {
			f := trainingFile(t, c.vector)
			in := report.TrainingInput{File: f, Checks: f.Check(training.Options{Now: time.Unix(1_790_000_100, 0)})}
			c.change(&in)
			r := report.NewTraining(in)
			got := r.Text(80, true)
			path := filepath.Join("testdata", c.name+".txt")
			if *update {
				if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("run with -update and look at the difference:\n%s", diff)
			}
			if strings.ContainsAny(got, "\x1b\x00") {
				t.Error("a terminal would act upon it")
			}
			if page := r.Page(); !bytes.Contains([]byte(page), []byte("</html>")) {
				t.Error("the page is cut")
			}
		})
	}
	bad := training.Offline([]byte{0xd2, 0x84}, training.Options{})
	r := report.NewTraining(report.TrainingInput{Checks: bad})
	if r.Status != report.Unchecked || r.Title != "Not a readable receipt" {
		t.Errorf("%s: %s", r.Status, r.Title)
	}
}
