package run_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/adapter"
	"github.com/avalnetwork/aval/internal/bpe"
	"github.com/avalnetwork/aval/internal/dataset"
	"github.com/avalnetwork/aval/internal/tensor"
	"github.com/avalnetwork/aval/internal/train/net"
	"github.com/avalnetwork/aval/internal/train/run"
)

// prose has enough different lines for a validation side.
func prose() string {
	var b strings.Builder
	for i := range 300 {
		fmt.Fprintf(&b, "The %s sat on the %s.\n", []string{"cat", "dog", "mouse"}[i%3], []string{"mat", "hat", "tree", "man", "roof", "bed", "sofa"}[i*i%7])
	}
	return b.String()
}

// small is a run of a tiny model that takes a moment.
func small(t testing.TB) run.Config {
	t.Helper()
	dir := t.TempDir()
	text := filepath.Join(dir, "text.txt")
	tr, err := bpe.NewTrainer(bpe.Options{Size: 280, BOS: "<s>", EOS: "<|end|>"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Add(t.Context(), text, strings.NewReader(prose()), nil); err != nil {
		t.Fatal(err)
	}
	v, err := tr.Train(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := run.Defaults(run.LM)
	c.Data, c.Tokenizer = []string{text}, filepath.Join(dir, "v.gguf")
	if err := errors.Join(os.WriteFile(text, []byte(prose()), 0o600), v.WriteFile(c.Tokenizer, "llama", "v")); err != nil {
		t.Fatal(err)
	}
	c.Dim, c.Layers, c.Heads, c.Context = 32, 1, 2, 16
	c.Steps, c.Batch, c.Validation = 23, 4, 0.2
	c.EvaluateEvery, c.CheckpointEvery, c.CheckpointMinutes = 4, 5, 0
	c.KeepCheckpoints = true
	return c
}

// tree reads all files of a run but those with a clock.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if rel, _ := filepath.Rel(dir, path); rel != "timing.jsonl" && rel != "lock" {
			out[filepath.ToSlash(rel)] = string(b)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func same(t *testing.T, what string, want, got map[string]string) {
	t.Helper()
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s: %s differs (%d bytes, %d before)", what, name, len(got[name]), len(want[name]))
		}
	}
	for name := range got {
		if _, ok := want[name]; !ok && !strings.HasSuffix(name, ".tmp") {
			t.Errorf("%s: there is a file %s", what, name)
		}
	}
}

func start(t *testing.T, c run.Config, threads int) (string, *run.Result) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	r, err := run.Start(t.Context(), c, dir, run.Options{Threads: threads})
	if err != nil {
		t.Fatal(err)
	}
	return dir, r
}

func TestRun(t *testing.T) {
	c := small(t)
	dir, r := start(t, c, 1)
	want := tree(t, dir)
	for _, name := range []string{
		"config.yaml", "inputs.json", "log.jsonl", "checkpoint.gguf", "best.gguf", "curve.svg", "curve.png", "report.json", "model.gguf",
		"checkpoints/step-00000005.gguf", "checkpoints/step-00000020.gguf",
	} {
		if want[name] == "" {
			t.Errorf("there is no %s", name)
		}
	}
	if r.Steps != 23 || r.Planned != 23 || r.Validation == nil || r.Validation.Predictions == 0 || !(r.Training < math.Log(280)) {
		t.Errorf("%+v", r)
	}
	if n := strings.Count(want["log.jsonl"], "\n"); n != 23+6 {
		t.Errorf("the log has %d lines", n)
	}

	// No bit depends on the threads, or on how the configuration is given.
	again, _ := start(t, c, 3)
	same(t, "3 threads", want, tree(t, again))
	read := run.Defaults(run.LM)
	if err := read.ReadFile(filepath.Join(dir, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	again, _ = start(t, read, 2)
	same(t, "from config.yaml", want, tree(t, again))

	// A run that is complete can be resumed, too: it writes its result again.
	for _, name := range []string{"model.gguf", "curve.svg"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := run.Resume(t.Context(), run.LM, dir, run.Options{}); err != nil {
		t.Fatal(err)
	}
	same(t, "resumed after the end", want, tree(t, dir))
}

// TestOwnVocabulary lets the run learn its vocabulary, from text and from
// conversations.
func TestOwnVocabulary(t *testing.T) {
	c := small(t)
	c.Tokenizer, c.VocabSize, c.Steps = "", 280, 6
	talk := filepath.Join(t.TempDir(), "talk.jsonl")
	line := `{"messages": [{"role": "user", "content": "The cat?"}, {"role": "assistant", "content": "sat"}]}` + "\n"
	if err := os.WriteFile(talk, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Data = append(c.Data, talk)
	dir, r := start(t, c, 1)
	again, _ := start(t, c, 2)
	want := tree(t, dir)
	same(t, "again", want, tree(t, again))
	if !strings.Contains(want["config.yaml"], "vocab_size: 280") {
		t.Error("the size of the vocabulary is not in config.yaml")
	}
	f, err := gguf.Open(r.File)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if list, _ := f.Strings("tokenizer.ggml.tokens"); len(list) != 280 || list[2] != "<|im_start|>" {
		t.Errorf("%d tokens, the third %q", len(list), list[2])
	}
	if s, _ := f.String("tokenizer.chat_template"); s == "" {
		t.Error("no chat template")
	}
}

func TestInterrupted(t *testing.T) {
	c := small(t)
	whole, _ := start(t, c, 2)
	want := tree(t, whole)
	for _, at := range []int{1, 5, 8, 23} {
		dir := filepath.Join(t.TempDir(), "run")
		ctx, cancel := context.WithCancel(t.Context())
		stop := run.Options{Threads: 1, Events: run.Events{Step: func(p run.Progress) {
			if p.Done == at {
				cancel()
			}
		}}}
		if _, err := run.Start(ctx, c, dir, stop); !errors.Is(err, run.ErrInterrupted) || !errors.Is(err, context.Canceled) {
			t.Fatalf("step %d: %v, want ErrInterrupted", at, err)
		}
		if _, err := run.Start(t.Context(), c, dir, run.Options{}); !errors.Is(err, run.ErrExists) {
			t.Errorf("a run in the folder of another: %v", err)
		}
		if _, err := run.Resume(t.Context(), run.LM, dir, run.Options{}); err != nil {
			t.Fatal(err)
		}
		same(t, fmt.Sprintf("interrupted after step %d", at), want, tree(t, dir))
	}
}

// TestResumedWithoutRecord goes on, with a key to sign with, with a run that
// began without one.
func TestResumedWithoutRecord(t *testing.T) {
	c := small(t)
	dir := filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := run.Start(ctx, c, dir, run.Options{Events: run.Events{Step: func(run.Progress) { cancel() }}})
	if !errors.Is(err, run.ErrInterrupted) {
		t.Fatal(err)
	}
	said := ""
	r, err := run.Resume(t.Context(), run.LM, dir, run.Options{
		Sign:   &run.Signing{Key: ed25519.NewKeyFromSeed(make([]byte, 32))},
		Events: run.Events{Note: func(s string) { said += s }},
	})
	if err != nil || r.Receipt != "" || !strings.Contains(said, "no receipt") {
		t.Errorf("%v, receipt %q, said %q", err, r.Receipt, said)
	}
}

// TestKilled resumes from what a power cut after any event leaves: a copy of the
// folder at that moment, with a line of the log half written.
func TestKilled(t *testing.T) {
	c := small(t)
	c.Steps = 13
	dir := filepath.Join(t.TempDir(), "run")
	copies := t.TempDir()
	n := 0
	snapshot := func() {
		n++
		to := filepath.Join(copies, fmt.Sprint(n))
		if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		f, err := os.OpenFile(filepath.Join(to, "log.jsonl"), os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString(`{"step":`)
		if err := errors.Join(err, f.Close(), os.WriteFile(filepath.Join(to, "checkpoint.gguf.tmp"), []byte("half"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := run.Start(t.Context(), c, dir, run.Options{Threads: 1, Events: run.Events{
		Begin: func(run.Facts) { snapshot() },
		Step: func(p run.Progress) {
			if p.Done%6 == 1 || p.Done > 11 {
				snapshot()
			}
		},
		Validated: func(int, dataset.Report, bool) { snapshot() },
		Saved:     func(int) { snapshot() },
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := tree(t, dir)
	for i := 1; i <= n; i++ {
		killed := filepath.Join(copies, fmt.Sprint(i))
		if _, err := run.Resume(t.Context(), run.LM, killed, run.Options{Threads: 2}); err != nil {
			t.Fatalf("copy %d: %v", i, err)
		}
		same(t, fmt.Sprintf("copy %d", i), want, tree(t, killed))
	}
}

// TestKilledAtTheStart begins a run where one was killed before its folder had a
// configuration: there is nothing to resume, and nothing in the way.
func TestKilledAtTheStart(t *testing.T) {
	c := small(t)
	c.Steps = 3
	whole, _ := start(t, c, 1)
	want := tree(t, whole)
	for _, left := range [][]string{{"lock"}, {"lock", "inputs.json.tmp"}, {"lock", "inputs.json"}, {"lock", "inputs.json", "config.yaml.tmp"}} {
		dir := t.TempDir()
		for _, name := range left {
			if err := os.WriteFile(filepath.Join(dir, name), []byte("ha"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := run.Resume(t.Context(), run.LM, dir, run.Options{}); !errors.Is(err, run.ErrNoRun) {
			t.Errorf("%v: resumed: %v", left, err)
		}
		if _, err := run.Start(t.Context(), c, dir, run.Options{}); err != nil {
			t.Errorf("%v: %v", left, err)
			continue
		}
		same(t, fmt.Sprint(left), want, tree(t, dir))
	}
}

func TestEarlyStop(t *testing.T) {
	c := small(t)
	c.Steps, c.LearningRate, c.EvaluateEvery, c.Patience = 200, 0.2, 2, 3 // far too fast
	dir, r := start(t, c, 1)
	if r.Steps >= 200 || r.Steps%2 != 0 || r.Step != r.Steps-2*3 {
		t.Errorf("stopped after %d steps, the result is that of step %d", r.Steps, r.Step)
	}
	want := tree(t, dir)
	if err := os.Remove(filepath.Join(dir, "model.gguf")); err != nil {
		t.Fatal(err)
	}
	again, err := run.Resume(t.Context(), run.LM, dir, run.Options{})
	if err != nil || again.Steps != r.Steps {
		t.Fatalf("%+v, %v", again, err)
	}
	same(t, "resumed after the stop", want, tree(t, dir))
}

func TestCheckpointMinutes(t *testing.T) {
	c := small(t)
	c.CheckpointEvery, c.CheckpointMinutes, c.KeepCheckpoints = 1000, 2, false
	now := time.Unix(0, 0)
	var saved []int
	_, err := run.Start(t.Context(), c, filepath.Join(t.TempDir(), "run"), run.Options{Events: run.Events{
		Now:   func() time.Time { return now },
		Step:  func(run.Progress) { now = now.Add(30 * time.Second) },
		Saved: func(step int) { saved = append(saved, step) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{4, 8, 12, 16, 20, 23}, saved); diff != "" {
		t.Error(diff)
	}
}

func TestResumeRefuses(t *testing.T) {
	c := small(t)
	dir := filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithCancel(t.Context())
	_, err := run.Start(ctx, c, dir, run.Options{Events: run.Events{Step: func(run.Progress) { cancel() }}})
	if !errors.Is(err, run.ErrInterrupted) {
		t.Fatal(err)
	}
	if _, err := run.Resume(t.Context(), run.LoRA, dir, run.Options{}); !errors.Is(err, run.ErrConfig) || !strings.Contains(err.Error(), "lora") {
		t.Errorf("another kind: %v", err)
	}
	if _, err := run.Resume(t.Context(), run.LM, t.TempDir(), run.Options{}); !errors.Is(err, run.ErrNoRun) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no run: %v", err)
	}
	if err := os.WriteFile(c.Data[0], []byte(prose()+"x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Resume(t.Context(), run.LM, dir, run.Options{}); !errors.Is(err, dataset.ErrData) || !strings.Contains(err.Error(), "text.txt has changed") {
		t.Errorf("other data: %v", err)
	}
	if err := os.Remove(c.Data[0]); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Resume(t.Context(), run.LM, dir, run.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no data: %v", err)
	}
}

// model trains a small model to train beside.
func model(t *testing.T) string {
	t.Helper()
	c := small(t)
	c.Steps, c.Export = 2, "Q8_0"
	_, r := start(t, c, 1)
	return r.File
}

func TestLoRA(t *testing.T) {
	base := model(t)
	data := filepath.Join(t.TempDir(), "pairs.jsonl")
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, `{"prompt": "The cat sat on %d", "response": " the mat."}`+"\n", i)
	}
	if err := os.WriteFile(data, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := run.Defaults(run.LoRA)
	c.Model, c.Data, c.Steps, c.Context, c.Rank = base, []string{data}, 12, 16, 2
	dir, r := start(t, c, 1)
	if r.Validation == nil || !(r.Training < math.Log(280)) {
		t.Errorf("%+v", r)
	}
	f, err := gguf.Open(r.File)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := adapter.Read(f)
	if err != nil || len(a.Updates) != 2 || a.Updates[0].Rank != 2 {
		t.Errorf("%+v, %v", a, err)
	}
	again, _ := start(t, c, 2)
	same(t, "again", tree(t, dir), tree(t, again))
}

// flowers are two classes of points around two centres, and one that is scaled
// very differently.
func flowers() string {
	var b strings.Builder
	b.WriteString("size,weight,kind\n")
	for i := range 200 {
		x, kind := float64(i%20)/10, "rose"
		if i%2 == 1 {
			x, kind = x+1.5, "tulip"
		}
		fmt.Fprintf(&b, "%.2f,%d,%s\n", x, 1000+i*7%100+int(x*100), kind)
	}
	return b.String()
}

func TestClassifier(t *testing.T) {
	data := filepath.Join(t.TempDir(), "flowers.csv")
	if err := os.WriteFile(data, []byte(flowers()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := run.Defaults(run.Classifier)
	c.Data, c.LearningRate = []string{data}, 0.01
	dir, r := start(t, c, 1)
	if r.Validation == nil || r.Validation.Accuracy < 0.8 {
		t.Errorf("%+v", r.Validation)
	}
	again, _ := start(t, c, 3)
	same(t, "3 threads", tree(t, dir), tree(t, again))

	b, err := os.ReadFile(r.File)
	if err != nil {
		t.Fatal(err)
	}
	m := tensor.New(1, nil)
	defer m.Close()
	n, err := net.Read(m, bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, kv := range n.Meta {
		keys[kv.Key] = true
	}
	for _, k := range []string{"aval.data.classes", "aval.data.columns", "aval.data.mean", "aval.data.deviation", "aval.data.shape"} {
		if !keys[k] {
			t.Errorf("the file lacks %s", k)
		}
	}
}

// TestClassifierTellsItsLabel says which column it took, and what else that
// column might be.
func TestClassifierTellsItsLabel(t *testing.T) {
	numbers := "a,b\n"
	for i := range 40 {
		numbers += fmt.Sprintf("%d,%d.5\n", i%7, i)
	}
	for _, c := range []struct {
		text       string
		regression bool
		want       string
	}{
		{flowers(), false, "the label is column \"kind\", with 2 classes"},
		{numbers, false, "the label is column \"b\", with 40 classes that are numbers; if it is to be predicted as a number, use --regression"},
		{numbers, true, "the number to predict is column \"b\""},
	} {
		data := filepath.Join(t.TempDir(), "table.csv")
		if err := os.WriteFile(data, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		config := run.Defaults(run.Classifier)
		config.Data, config.Steps, config.Regression = []string{data}, 1, c.regression
		var said []string
		if _, err := run.Start(t.Context(), config, filepath.Join(t.TempDir(), "run"), run.Options{Events: run.Events{Note: func(s string) { said = append(said, s) }}}); err != nil {
			t.Fatal(err)
		}
		if !slices.Contains(said, c.want) {
			t.Errorf("says %q, want %q", said, c.want)
		}
	}
}

func TestClassifierByFile(t *testing.T) {
	dir := t.TempDir()
	data, desc := filepath.Join(dir, "flowers.csv"), filepath.Join(dir, "net.json")
	if err := errors.Join(os.WriteFile(data, []byte(flowers()), 0o600),
		os.WriteFile(desc, []byte(`{"layers": [{"kind": "dense", "units": 8}, {"kind": "elu"}, {"kind": "dense", "units": 2}]}`), 0o600)); err != nil {
		t.Fatal(err)
	}
	c := run.Defaults(run.Classifier)
	c.Data, c.Net, c.Steps = []string{data}, desc, 5
	if _, r := start(t, c, 1); r.Parameters != 2*8+8+8*2+2 {
		t.Errorf("%d parameters", r.Parameters)
	}
	if err := os.WriteFile(desc, []byte(`{"layers": [{"kind": "dense", "units": 3}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := run.Start(t.Context(), c, filepath.Join(dir, "run"), run.Options{})
	if !errors.Is(err, run.ErrConfig) || !strings.Contains(err.Error(), "gives 3 numbers, the labels need 2") {
		t.Error(err)
	}
}

func TestStartRefuses(t *testing.T) {
	good := small(t)
	csv := filepath.Join(t.TempDir(), "x.csv")
	if err := os.WriteFile(csv, []byte("a,b\n1,x\n2,x\n3,x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	table := run.Defaults(run.Classifier)
	table.Data = []string{csv}
	for _, c := range []struct {
		says   string
		base   run.Config
		change func(c *run.Config)
	}{
		{"no data", good, func(c *run.Config) { c.Data = nil }},
		{"vocab_size", good, func(c *run.Config) { c.VocabSize = 300 }},
		{"want 258", good, func(c *run.Config) { c.Tokenizer, c.VocabSize = "", 100 }},
		{"exclude", good, func(c *run.Config) { c.Model = "x" }},
		{"learning_rate", good, func(c *run.Config) { c.LearningRate = -1 }},
		{"optimizer", good, func(c *run.Config) { c.Optimizer = "adam" }},
		{"does not belong", good, func(c *run.Config) { c.Rank = 3 }},
		{"export", good, func(c *run.Config) { c.Export = "Q9" }},
		{"keep", good, func(c *run.Config) { c.Keep = "all" }},
		{"share", good, func(c *run.Config) { c.Validation = 1 }},
		{"heads", good, func(c *run.Config) { c.KVHeads = 3 }},
		{"no such file", good, func(c *run.Config) { c.Data = []string{"gone.txt"} }},
		{"trained on too", good, func(c *run.Config) { c.ValidationData = c.Data }},
		{"for validation", good, func(c *run.Config) { c.Validation = 0.9999999 }},
		{"built-in", good, func(c *run.Config) { c.Template = "nobody" }},
		{"have the label", table, func(*run.Config) {}},
		{"activation", table, func(c *run.Config) { c.Activation = "step" }},
		{"NPY", table, func(c *run.Config) { c.Labels = "y.npy" }},
		{"no column", table, func(c *run.Config) { c.Label = "z" }},
	} {
		cfg := c.base
		c.change(&cfg)
		dir := filepath.Join(t.TempDir(), "run")
		_, err := run.Start(t.Context(), cfg, dir, run.Options{Threads: 1})
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%v, want it to say %q", err, c.says)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the folder was made", c.says)
		}
	}
}

func TestParse(t *testing.T) {
	c := run.Defaults(run.LM)
	if err := c.Parse([]byte("# a recipe\ndata: [a.txt]\ndim: 48\nlearning_rate: 1e-3\nclip: 0\n")); err != nil {
		t.Fatal(err)
	}
	if c.Dim != 48 || c.LearningRate != 1e-3 || c.Clip != 0 || c.Layers != run.Defaults(run.LM).Layers || c.Data[0] != "a.txt" {
		t.Errorf("%+v", c)
	}
	b, err := c.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again := run.Defaults(run.LM)
	if err := again.Parse(b); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(c, again); diff != "" {
		t.Errorf("%s\n%s", diff, b)
	}
	for _, bad := range []struct{ text, says string }{
		{"dims: 3\n", `line 1: there is no key "dims"; known are kind, data, validation_data`},
		{"dim: 3\nrank: 3\n", "line 2: rank does not belong to a run of kind lm"},
		{"dim: 3\ndim: 4\n", "dim"},
		{"dim: x\n", "dim"},
		{"kind: lora\n", `kind is "lora", want "lm"`},
		{"name: &lm lora\nkind: *lm\n", `kind is "lora", want "lm"`},
		{"- a\n", "key: value"},
		{"", "empty"},
		{"a: [\n", "yaml"},
	} {
		c := run.Defaults(run.LM)
		if err := c.Parse([]byte(bad.text)); err == nil || !strings.Contains(err.Error(), bad.says) {
			t.Errorf("%q: %v, want it to say %q", bad.text, err, bad.says)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("data: [a.txt]\ndim: 48\n")
	f.Add("hidden: [1, 2]\n&a b: *a\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, k := range run.Kinds() {
			c := run.Defaults(k)
			if c.Parse([]byte(text)) == nil && c.Check() == nil {
				if _, err := c.Marshal(); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
