package eeg_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	recordings "github.com/avalnetwork/aval/internal/eeg"
	"github.com/avalnetwork/aval/internal/eeg/decode"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/models/eeg"
)

var retrain = flag.Bool("retrain", false, "train the built-in classifiers again and compare every byte: half a minute of processor time")

// TestBuiltIn checks that the files are those of the recipes, and of the size
// that is promised.
func TestBuiltIn(t *testing.T) {
	m := tensor.New(1, nil)
	defer m.Close()
	tasks, err := eeg.Tasks()
	if err != nil {
		t.Fatal(err)
	}
	if len(tasks) != 2 || tasks[0].Name != eeg.P300 || tasks[1].Name != eeg.N170 {
		t.Fatalf("tasks %+v", tasks)
	}
	for _, task := range tasks {
		c, err := eeg.Open(m, task.Name)
		if err != nil {
			t.Fatal(err)
		}
		small, err := eeg.Open(m, task.Name+eeg.Int8)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []*decode.Classifier{c, small} {
			if c.Name != task.Name || c.Events != task.Events || c.Classes != task.Classes || !cmp.Equal(c.Recipe, task.Recipe) {
				t.Errorf("%s: the file is not that of its recipe: %+v", task.Name, c)
			}
		}
		if c.Net == nil || small.Int8 == nil || c.Net.Size() > decode.MaxParameters {
			t.Errorf("%s: kinds or size are wrong", task.Name)
		}
	}
	if _, err := eeg.Open(m, "ssvep"); err == nil {
		t.Error("opened what is not there")
	}
}

// TestScores uses the classifiers as a program does, on a recording that they
// were trained on: this shows that files and code fit, not how well they do.
func TestScores(t *testing.T) {
	m := tensor.New(1, nil)
	defer m.Close()
	for name, file := range map[string]string{
		eeg.P300: "subject1_session1_data_2017-02-04-15_45_13.csv.gz",
		eeg.N170: "subject1_session1_data_2017-09-13-15.30.01.csv.gz",
	} {
		rec, err := recordings.Open(testdata.Shared(t, "eeg", name, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, kind := range []string{"", eeg.Int8} {
			c, err := eeg.Open(m, name+kind)
			if err != nil {
				t.Fatal(err)
			}
			epochs, err := c.Epochs(rec)
			if err != nil {
				t.Fatal(err)
			}
			scores, err := c.Scores(epochs)
			if err != nil {
				t.Fatal(err)
			}
			a, err := decode.Area([]decode.Group{{Labels: epochs.Labels, Scores: scores}})
			if err != nil || a.Value < 0.7 {
				t.Errorf("%s%s: area %.3f, %v", name, kind, a.Value, err)
			}
		}
	}
}

func TestRetrain(t *testing.T) {
	if !*retrain {
		t.Skip("run with -retrain")
	}
	data, dir := testdata.Shared(t, "eeg"), t.TempDir()
	cmd := exec.Command("go", "run", "./train", "-data", data, "-o", dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob("*.gguf")
	if len(files) != 4 {
		t.Fatalf("%d files", len(files))
	}
	for _, name := range files {
		a, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(a, b) {
			t.Errorf("%s differs from what its recipe gives (%v)", name, err)
		}
	}
}
