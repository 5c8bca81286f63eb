package tamper_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/receipt"
)

// TestHonest holds that what is no lie passes, by every verification: a suite
// that refuses everything finds all lies.
func TestHonest(t *testing.T) {
	w := newWorld(t)
	small := w.small(t, 40)
	for name, c := range map[string]struct {
		ask
		stop receipt.Stop
	}{
		"story": {story(), receipt.StopLength}, "greedy": {greedy(), receipt.StopLength}, "talk": {talk(), receipt.StopLength},
		"stopped": {stopped(), receipt.StopString}, "ended": {ended(), receipt.StopEOS}, "bounded": {bounded(), receipt.StopEOS},
		"biased": {biased(), receipt.StopLength}, "templated": {templated(), receipt.StopLength}, "ids": {byIDs(), receipt.StopLength},
		"one token":    {with(story(), func(q *ask) { q.params.MaxTokens = 1 }), receipt.StopLength},
		"full context": {with(story(), func(q *ask) { q.params.MaxTokens, q.params.Context = 0, 40 }), receipt.StopLength},
	} {
		t.Run(name, func(t *testing.T) {
			in := w
			if c.params.Context != room {
				in = small
			}
			r := in.answer(t, c.ask)
			if r.claims.Stop != c.stop {
				t.Errorf("ended by %s, want %s", r.claims.Stop, c.stop)
			}
			r.passes(t, in)
		})
	}
	t.Run("a prompt of one token", func(t *testing.T) {
		w.answerIDs(t, with(byIDs(), func(q *ask) { q.params.MaxTokens = 1 }), []int32{0}).passes(t, w)
	})
}

// passes holds that a run passes every verification.
func (r *run) passes(t *testing.T, w *world) {
	t.Helper()
	f := r.forged(t)
	file, report := f.offline(f.bytes(t))
	if file == nil || report.Verdict() != receipt.Unverified {
		t.Fatalf("offline: %s", &report)
	}
	for _, report := range []receipt.Report{f.full(t, w, file), f.sample(t, w, file)} {
		if report.Verdict() != receipt.Valid {
			t.Errorf("%s\n%s", report.Verdict(), &report)
		}
	}
}

// TestHonestAtTheEdges lets parameters have extreme values.
func TestHonestAtTheEdges(t *testing.T) {
	w := newWorld(t)
	rng := rand.New(rand.NewPCG(1, 2))
	pick := func(v ...float32) float32 { return v[rng.IntN(len(v))] }
	asks := []func() ask{story, talk, stopped, bounded, biased, byIDs, templated, ended}
	for range 40 {
		q := asks[rng.IntN(len(asks))]()
		q.params = receipt.Params{
			Temperature: pick(0, 1e-45, 1e-30, 0.1, 1, 5, 100), TopK: rng.IntN(3) * 20, TopP: pick(0, 1e-45, 0.001, 0.5, 1), MinP: pick(0, 1e-45, 0.1, 1),
			RepeatPenalty: pick(0, 1e-38, 1e-45, 0.5, 1, 2, 100), FrequencyPenalty: pick(0, -100, 100, 1), PresencePenalty: pick(0, -100, 100),
			RepeatLastN: rng.IntN(4) - 1, MaxTokens: 1 + rng.IntN(8), Context: []int{0, room}[rng.IntN(2)], IgnoreEOS: rng.IntN(3) == 0,
		}
		if rng.IntN(4) == 0 {
			q.bias = receipt.Bias{3: pick(1e38, -3e38, 5), 4: negativeInfinity, 5: pick(3.4e38, 1)}
		}
		r := w.answer(t, q)
		r.passes(t, w)
		if t.Failed() {
			t.Fatalf("%+v", q)
		}
	}
}

// TestSameModel holds that files that say the same are the same model: keys and
// tensors in another order, or cut into parts.
func TestSameModel(t *testing.T) {
	w := newWorld(t)
	f := w.answer(t, story()).forged(t)
	file, _ := f.offline(f.bytes(t))
	m := w.file.clone()
	slices.Reverse(m.keys)
	slices.Reverse(m.tensors)
	for name, path := range map[string]string{"another order": m.write(t), "two parts": w.file.split(t)} {
		e := open(t, path, engine.Options{Threads: 1, Context: room})
		a := &audit.Auditor{Engine: e, Model: rootOf(t, path)}
		r, err := a.Full(t.Context(), file, audit.Options{Options: f.options()})
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict() != receipt.Valid {
			t.Errorf("%s: %s\n%s", name, r.Verdict(), &r)
		}
	}
}

// split writes the model in two files and returns the path of the first.
func (m *modelFile) split(t testing.TB) string {
	t.Helper()
	dir, first := t.TempDir(), ""
	half := len(m.tensors) / 2
	for no, tensors := range [][]int{{0, half}, {half, len(m.tensors)}} {
		part := &modelFile{values: map[string]gguf.Value{}, tensors: m.tensors[tensors[0]:tensors[1]]}
		if no == 0 {
			part = m.clone()
			part.tensors = part.tensors[:half]
		}
		part.set("split.no", gguf.ValueOf(uint16(no)))
		part.set("split.count", gguf.ValueOf(uint16(2)))
		part.set("split.tensors.count", gguf.ValueOf(int32(len(m.tensors))))
		b, err := os.ReadFile(part.write(t))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, gguf.SplitName("m", no, 2))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if no == 0 {
			first = path
		}
	}
	return first
}

// TestEveryByte changes each byte of a file that shows everything. The offline
// check finds all of it but the salt of the trace, which only the trace confirms.
func TestEveryByte(t *testing.T) {
	w := newWorld(t)
	f := w.answer(t, with(stopped(), func(q *ask) { q.bias = biased().bias })).forged(t)
	data := f.bytes(t)
	later := 0
	for i := range data {
		for _, bit := range []byte{1, 1 << (i % 8)} {
			b := bytes.Clone(data)
			b[i] ^= bit
			file, r := f.offline(b)
			if r.Failed() != nil {
				continue
			}
			later++
			if r = f.full(t, w, file); r.Failed() == nil || r.Failed().Name != receipt.CheckTrace {
				t.Errorf("byte %d of %d can be changed: %s\n%s", i, len(data), r.Verdict(), &r)
			}
		}
	}
	if later != 2*16 {
		t.Errorf("%d changes are found by the full verification only, want those of the salt's 16 bytes", later)
	}
}
