package run_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/train"
	"github.com/avalnetwork/aval/internal/train/record"
	"github.com/avalnetwork/aval/internal/train/run"
	"github.com/avalnetwork/aval/receipt/training"
)

var signing = &run.Signing{Key: ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, ed25519.SeedSize))}

// receiptOf reads the receipt of a run.
func receiptOf(t *testing.T, dir string) *training.File {
	t.Helper()
	path := filepath.Join(dir, "training.aval")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	f, err := training.ParseFile(b)
	if err != nil {
		t.Fatal(err)
	}
	report := f.Check(training.Options{})
	if bad := report.Failed(); bad != nil {
		t.Fatal(bad)
	}
	return f
}

// rebuild makes the subject of a receipt again.
func rebuild(t *testing.T, f *training.File, files run.Files) (*record.Subject, train.Config, error) {
	t.Helper()
	config, err := train.ParseConfig(f.Opening.Config.Config)
	if err != nil {
		t.Fatal(err)
	}
	c := f.Receipt.Claims()
	s, err := run.Rebuild(t.Context(), &c, &f.Opening.Setup.Setup, config, files, t.TempDir(), run.Options{Threads: 2})
	if err == nil {
		t.Cleanup(func() { _ = s.Close() })
	}
	return s, config, err
}

// repeat computes all steps of a receipt again, by itself: internal/audit/replay
// does so with more care.
func repeat(t *testing.T, f *training.File, s *record.Subject, config train.Config, data train.Data) {
	t.Helper()
	c := f.Receipt.Claims()
	tr, err := train.NewTrainer(s.Machine, config, s.Learner, data)
	if err != nil {
		t.Fatal(err)
	}
	points := f.Opening.Points()[0]
	for {
		if len(points) > 0 && points[0].Step == tr.Done() {
			if root, _ := record.Roots(tr.Leaves()); root != points[0].Root {
				t.Fatalf("after step %d: another state than that of the receipt", tr.Done())
			}
			points = points[1:]
		}
		if tr.Done() == c.Result.Step && s.Export != nil {
			path := filepath.Join(t.TempDir(), "result")
			if err := s.Export(path, c.Result.Format); err != nil {
				t.Fatal(err)
			}
			a, err := record.FileOf(t.Context(), path)
			if err != nil || a.Hash != c.Result.File {
				t.Errorf("the result is %v, the receipt has %v (%v)", a.Hash, c.Result.File, err)
			}
			if err := s.Export(path, "another"); err == nil {
				t.Error("exported in a format that the setup does not name")
			}
		}
		if tr.Done() == c.Steps {
			break
		}
		r, err := tr.Step()
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := f.Opening.Record(r.Step); want != training.Entry(r.Bytes()) {
			t.Fatalf("step %d has other numbers than those of the receipt", r.Step)
		}
	}
	if len(points) > 0 {
		t.Errorf("%d checkpoints were not reached", len(points))
	}
}

func TestReceipt(t *testing.T) {
	lm := small(t)
	own := small(t)
	own.Tokenizer = ""
	lora := run.Defaults(run.LoRA)
	lora.Model, lora.Steps, lora.Context, lora.Rank, lora.CheckpointEvery, lora.Name = model(t), 9, 16, 2, 4, "a name"
	lora.Data = []string{filepath.Join(t.TempDir(), "pairs.jsonl")}
	further := lora
	further.Kind, further.Export, further.Rank, further.Targets = run.LM, "F16", 0, nil
	var pairs strings.Builder
	for i := range 40 {
		fmt.Fprintf(&pairs, `{"prompt": "The cat sat on %d", "response": " the mat."}`+"\n", i)
	}
	net := run.Defaults(run.Classifier)
	net.Data, net.Steps, net.Dropout = []string{filepath.Join(t.TempDir(), "flowers.csv")}, 20, 0.1
	if err := errors.Join(os.WriteFile(lora.Data[0], []byte(pairs.String()), 0o600), os.WriteFile(net.Data[0], []byte(flowers()), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		config run.Config
		kind   training.Kind
		base   string
	}{
		{"lm", lm, training.Full, ""},
		{"own vocabulary", own, training.Full, ""},
		{"further", further, training.Full, lora.Model},
		{"lora", lora, training.LoRA, lora.Model},
		{"classifier", net, training.Net, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			if _, err := run.Start(t.Context(), c.config, dir, run.Options{Threads: 1, Sign: signing}); err != nil {
				t.Fatal(err)
			}
			f := receiptOf(t, dir)
			claims := f.Receipt.Claims()
			if claims.Kind != c.kind || (c.base != "") == claims.Base.IsZero() || claims.Evaluation == nil {
				t.Errorf("%+v", claims)
			}
			if path := filepath.Dir(c.config.Data[0]); bytes.Contains(f.Opening.Setup.Setup.Learner, []byte(path)) || bytes.Contains(f.Opening.Setup.Setup.Data, []byte(path)) {
				t.Errorf("the setup names a path: %s", f.Opening.Setup.Setup.Learner)
			}
			files := run.Files{Data: c.config.Data, Model: c.config.Model, Tokenizer: c.config.Tokenizer}
			s, config, err := rebuild(t, f, files)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := record.Commit(*f.Opening.Data, s.Data); err != nil || got != claims.Data {
				t.Errorf("the data is another one: %v", err)
			}
			if got, err := record.Commit(*f.Opening.Validation, s.Validation); err != nil || got != claims.Evaluation.Data {
				t.Errorf("the validation data is another one: %v", err)
			}
			repeat(t, f, s, config, s.Data)

			// Without the data, from the canonical bytes of examples.
			files.Data = nil
			files.Tokenizer = c.config.Tokenizer
			if c.name == "own vocabulary" {
				files.Tokenizer = filepath.Join(dir, "tokenizer.gguf")
			}
			bare, _, err := rebuild(t, f, files)
			if err != nil {
				t.Fatal(err)
			}
			if bare.Data != nil || bare.Validation != nil {
				t.Error("there is data from nowhere")
			}
			repeat(t, f, bare, config, decoded{s.Data, bare.Decode})
		})
	}
}

// decoded is data that went through its canonical bytes.
type decoded struct {
	record.Examples
	decode func([]byte) (train.Example, error)
}

func (d decoded) Example(i int) (train.Example, error) {
	b, err := d.Bytes(i)
	if err != nil {
		return train.Example{}, err
	}
	return d.decode(b)
}

// TestReceiptResumed kills a run and goes on: the receipt states the same run.
func TestReceiptResumed(t *testing.T) {
	c := small(t)
	c.Steps, c.Patience = 23, 3
	whole := filepath.Join(t.TempDir(), "run")
	if _, err := run.Start(t.Context(), c, whole, run.Options{Threads: 1, Sign: signing}); err != nil {
		t.Fatal(err)
	}
	want := receiptOf(t, whole)
	dir := filepath.Join(t.TempDir(), "run")
	copies, n := t.TempDir(), 0
	_, err := run.Start(t.Context(), c, dir, run.Options{Threads: 1, Sign: signing, Events: run.Events{Step: func(p run.Progress) {
		if p.Done%4 == 3 {
			n++
			if err := os.CopyFS(filepath.Join(copies, fmt.Sprint(n)), os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}
		}
	}}})
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i <= n; i++ {
		killed := filepath.Join(copies, fmt.Sprint(i))
		if _, err := run.Resume(t.Context(), run.LM, killed, run.Options{Threads: 2, Sign: signing}); err != nil {
			t.Fatalf("copy %d: %v", i, err)
		}
		got := receiptOf(t, killed)
		if !slices.Equal(got.Opening.Log.Entries, want.Opening.Log.Entries) || !slices.Equal(got.Opening.Checkpoints.Entries, want.Opening.Checkpoints.Entries) ||
			got.Receipt.Claims().Result != want.Receipt.Claims().Result {
			t.Errorf("copy %d: the receipt is of another run", i)
		}
	}
	// What began without a receipt has none.
	if err := os.Remove(filepath.Join(copies, "3", "training.state")); err != nil {
		t.Fatal(err)
	}
	if r, err := run.Resume(t.Context(), run.LM, filepath.Join(copies, "3"), run.Options{Threads: 1, Sign: signing}); err != nil || r.Receipt != "" {
		t.Errorf("resumed without the record: %+v, %v", r, err)
	}
	if _, err := run.Resume(t.Context(), run.LM, filepath.Join(copies, "3"), run.Options{Threads: 1}); err != nil {
		t.Errorf("without a receipt: %v", err)
	}
}

// TestRebuildRefuses: a setup that is not that of the run, and files that are
// not its.
func TestRebuildRefuses(t *testing.T) {
	c := small(t)
	c.Steps = 5
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := run.Start(t.Context(), c, dir, run.Options{Threads: 1, Sign: signing}); err != nil {
		t.Fatal(err)
	}
	right := run.Files{Data: c.Data, Tokenizer: c.Tokenizer}
	for _, w := range []struct {
		name   string
		change func(f *training.File, files *run.Files)
		lie    bool
		says   string
	}{
		{"a learner that is no JSON", func(f *training.File, _ *run.Files) { f.Opening.Setup.Setup.Learner = []byte("{") }, true, "cannot be read"},
		{"a learner with more in it", func(f *training.File, _ *run.Files) { f.Opening.Setup.Setup.Learner = []byte(`{"x":1}`) }, true, "cannot be read"},
		{"data that is no JSON", func(f *training.File, _ *run.Files) { f.Opening.Setup.Setup.Data = []byte("?") }, true, "cannot be read"},
		{"another seed", func(f *training.File, _ *run.Files) { f.Opening.Setup.Setup.Seed++ }, true, "its configuration says"},
		{"another learning rate in the setup", func(f *training.File, _ *run.Files) {
			s := &f.Opening.Setup.Setup
			s.Learner = bytes.Replace(s.Learner, []byte("learning_rate: 0.002"), []byte("learning_rate: 0.003"), 1)
		}, true, "not those of the configuration"},
		{"a file of this machine as the template", func(f *training.File, _ *run.Files) {
			s := &f.Opening.Setup.Setup
			s.Learner = bytes.Replace(s.Learner, []byte("kind: lm"), []byte("kind: lm\\ntemplate: receipt_test.go"), 1)
		}, true, "names a file"},
		{"no tokenizer", func(_ *training.File, files *run.Files) { files.Tokenizer = "" }, false, "tokenizer's file"},
		{"another tokenizer", func(_ *training.File, files *run.Files) {
			files.Tokenizer = small(t).Tokenizer
			files.Tokenizer = model(t)
		}, false, "is not the tokenizer of the run"},
		{"one file too many", func(_ *training.File, files *run.Files) { files.Data = append(files.Data, c.Data...) }, false, "the run read 1 files"},
		{"labels", func(_ *training.File, files *run.Files) { files.Labels = "x.npy" }, false, "labels"},
	} {
		f, files := receiptOf(t, dir), right
		files.Data = slices.Clone(files.Data)
		w.change(f, &files)
		_, _, err := rebuild(t, f, files)
		if err == nil || errors.Is(err, run.ErrContradiction) != w.lie || !strings.Contains(err.Error(), w.says) {
			t.Errorf("%s: %v", w.name, err)
		}
	}
}

// TestRebuildRefusesNet: a net has no base, and what its setup says of its
// settings counts without the data, too.
func TestRebuildRefusesNet(t *testing.T) {
	c := run.Defaults(run.Classifier)
	c.Data, c.Steps = []string{filepath.Join(t.TempDir(), "flowers.csv")}, 5
	if err := os.WriteFile(c.Data[0], []byte(flowers()), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := run.Start(t.Context(), c, dir, run.Options{Threads: 1, Sign: signing}); err != nil {
		t.Fatal(err)
	}
	base := training.Hash{7}
	for _, files := range []run.Files{{Data: c.Data}, {}} {
		f := receiptOf(t, dir)
		claims := f.Receipt.Claims()
		claims.Base = base
		config, err := train.ParseConfig(f.Opening.Config.Config)
		if err != nil {
			t.Fatal(err)
		}
		files.Model = "a.gguf"
		_, err = run.Rebuild(t.Context(), &claims, &f.Opening.Setup.Setup, config, files, t.TempDir(), run.Options{Threads: 1})
		if !errors.Is(err, run.ErrContradiction) || !strings.Contains(err.Error(), "names the model") {
			t.Errorf("a net that says it began with a model: %v", err)
		}
		files.Model = ""
		s := &f.Opening.Setup.Setup
		s.Learner = bytes.Replace(s.Learner, []byte("learning_rate: 0.001"), []byte("learning_rate: 0.003"), 1)
		if _, _, err := rebuild(t, f, files); !errors.Is(err, run.ErrContradiction) || !strings.Contains(err.Error(), "not those of the configuration") {
			t.Errorf("another learning rate in the setup, %d files of data: %v", len(files.Data), err)
		}
	}
}
