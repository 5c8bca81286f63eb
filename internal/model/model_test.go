package model_test

import (
	"math"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/testdata"
)

// open loads a model of the shared test data.
func open(t testing.TB, opt model.Options, path ...string) *model.Model {
	t.Helper()
	f, err := gguf.Open(testdata.Shared(t, path...))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := model.Load(f, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// forward appends tokens to a sequence, chunk at a time, and returns the
// logits of all of them.
func forward(t testing.TB, m *model.Model, s *model.Sequence, tokens []int32, chunk int) []float32 {
	t.Helper()
	var logits []float32
	for len(tokens) > 0 {
		n := min(chunk, len(tokens))
		steps := []model.Step{{Seq: s, Tokens: tokens[:n], Want: n}}
		if err := m.Forward(steps); err != nil {
			t.Fatal(err)
		}
		logits = append(logits, steps[0].Logits...)
		tokens = tokens[n:]
	}
	return logits
}

func argmax(x []float32) int32 {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return int32(best)
}

// storyPrompt and story are "Once upon a time" and the greedy continuation of
// the stories260K model as llama.cpp gives it.
var (
	storyPrompt = []int32{1, 403, 407, 261, 378}
	story       = []int32{
		432, 383, 286, 261, 376, 298, 315, 421, 395, 317, 426, 338, 401, 396, 267, 337, 410, 408, 419, 292, 411, 322,
		265, 282, 295, 433, 426, 385, 328, 432, 358, 394, 261, 370, 432, 352, 266, 268, 388, 426, 338, 391, 266, 267,
		337, 335, 312, 432, 398, 312, 286, 267, 414, 270, 333, 415, 426, 13, 438, 310, 439, 419, 357, 336,
	}
)

func TestGreedyStory(t *testing.T) {
	for _, file := range []string{"stories260K-f32.gguf", "stories260K-F16.gguf", "stories260K-p192-Q8_0.gguf", "stories260K-Q4_K_M.gguf"} {
		t.Run(file, func(t *testing.T) {
			m := open(t, model.Options{Context: 512}, "weights", "stories260K", file)
			s := m.NewSequence()
			defer s.Close()
			vocab := m.Config().Vocab
			logits := forward(t, m, s, storyPrompt, 100)
			var got []int32
			for range story {
				next := argmax(logits[len(logits)-vocab:])
				got = append(got, next)
				logits = forward(t, m, s, []int32{next}, 1)
			}
			if file == "stories260K-F16.gguf" {
				got, story := got[:30], story[:30] // nothing is recorded of this file; it begins alike
				if !slices.Equal(got, story) {
					t.Errorf("got %v\nwant %v", got, story)
				}
				return
			}
			if !slices.Equal(got, story) {
				t.Errorf("got %v\nwant %v", got, story)
			}
		})
	}
}

func equalBits(a, b []float32) int {
	if len(a) != len(b) {
		return -1
	}
	n := 0
	for i := range a {
		if math.Float32bits(a[i]) != math.Float32bits(b[i]) {
			n++
		}
	}
	return n
}

// TestSameBits holds the logits of a text to be the same for every kernel,
// number of threads, cut of the prompt and company in the batch. The short form
// is for emulated machines.
func TestSameBits(t *testing.T) {
	text := slices.Concat(storyPrompt, slices.Repeat(story, 7))[:400]
	threads, chunks, users := []int{1, 2, 5, 8}, []int{400, 1, 7, 64}, 64
	if testing.Short() {
		text, threads, chunks, users = text[:90], []int{1, 5}, []int{90, 7}, 24
	}
	for _, file := range []string{"stories260K-f32.gguf", "stories260K-p192-Q8_0.gguf", "stories260K-p192-Q4_0.gguf", "stories260K-Q4_K_M.gguf"} {
		t.Run(file, func(t *testing.T) {
			var want []float32
			for _, k := range kernel.All() {
				for _, n := range threads {
					if k.Name() == "generic" && n != 2 && n != 5 {
						continue // slow, and the threads are the other kernels' too
					}
					m := open(t, model.Options{Threads: n, Kernel: k.Name(), Context: 512}, "weights", "stories260K", file)
					for _, chunk := range chunks {
						if k.Name() == "generic" && chunk == 1 {
							continue
						}
						s := m.NewSequence()
						got := forward(t, m, s, text, chunk)
						s.Close()
						if want == nil {
							want = got
						}
						if d := equalBits(got, want); d != 0 {
							t.Fatalf("%s, %d threads, chunks of %d: %d logits differ", k.Name(), n, chunk, d)
						}
					}
				}
			}
			m := open(t, model.Options{Context: 512}, "weights", "stories260K", file)
			company(t, m, text, want, users)
		})
	}
}

// company runs many sequences side by side, of which each must give want's
// prefix.
func company(t *testing.T, m *model.Model, text []int32, want []float32, users int) {
	t.Helper()
	vocab := m.Config().Vocab
	seqs := make([]*model.Sequence, users)
	for i := range seqs {
		seqs[i] = m.NewSequence()
	}
	for round := range 40 {
		var steps []model.Step
		for i, s := range seqs {
			n := 1 + (i+round)%5 // tokens of this user in this batch
			if (i+round)%7 == 0 || s.Len()+n > len(text)-25 {
				continue
			}
			steps = append(steps, model.Step{Seq: s, Tokens: text[s.Len() : s.Len()+n], Want: 1})
		}
		if len(steps) == 0 {
			break
		}
		if err := m.Forward(steps); err != nil {
			t.Fatal(err)
		}
		for _, st := range steps {
			end := st.Seq.Len() * vocab
			if n := equalBits(st.Logits, want[end-vocab:end]); n != 0 {
				t.Fatalf("round %d: %d logits differ in company", round, n)
			}
		}
	}
	// Forked and cut sequences go on as if they had read everything.
	at := seqs[0].Len()
	fork := seqs[0].Fork(at - 3)
	seqs[0].Truncate(at - 10)
	for _, s := range []*model.Sequence{fork, seqs[0]} {
		n := s.Len()
		got := forward(t, m, s, text[n:n+20], 3)
		if d := equalBits(got, want[n*vocab:(n+20)*vocab]); d != 0 {
			t.Errorf("%d logits differ after a fork or a cut", d)
		}
	}
}

func TestForwardRefuses(t *testing.T) {
	m := open(t, model.Options{Context: 10}, "weights", "stories260K", "stories260K-f32.gguf")
	s := m.NewSequence()
	for name, steps := range map[string][]model.Step{
		"no tokens":      {{Seq: s}},
		"too long":       {{Seq: s, Tokens: make([]int32, 11)}},
		"unknown token":  {{Seq: s, Tokens: []int32{512}}},
		"negative token": {{Seq: s, Tokens: []int32{-1}}},
		"too many":       {{Seq: s, Tokens: []int32{1}, Want: 2}},
		"twice":          {{Seq: s, Tokens: []int32{1}}, {Seq: s, Tokens: []int32{1}}},
	} {
		if err := m.Forward(steps); err == nil {
			t.Errorf("%s: no error", name)
		}
		if s.Len() != 0 {
			t.Fatalf("%s: the sequence changed", name)
		}
	}
}

func TestEmbedding(t *testing.T) {
	m := open(t, model.Options{Context: 512}, "weights", "stories260K", "stories260K-f32.gguf")
	text := slices.Repeat(story, 5)[:300]
	got := make([]float32, m.Config().Dim)
	other := m.NewSequence()
	steps := []model.Step{
		{Seq: other, Tokens: story, Want: 1},
		{Seq: m.NewSequence(), Tokens: text, Embedding: got},
	}
	if err := m.Forward(steps); err != nil {
		t.Fatal(err)
	}
	again := make([]float32, m.Config().Dim)
	if err := m.Forward([]model.Step{{Seq: m.NewSequence(), Tokens: text, Embedding: again}}); err != nil {
		t.Fatal(err)
	}
	norm := 0.0
	for _, v := range got {
		norm += float64(v) * float64(v)
	}
	if n := equalBits(got, again); n != 0 || norm == 0 {
		t.Errorf("%d numbers differ, norm %g", n, norm)
	}
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	m := open(t, model.Options{Threads: 2, Context: 512}, "weights", "stories260K", "stories260K-p192-Q8_0.gguf")
	s := m.NewSequence()
	steps := []model.Step{{Seq: s, Tokens: []int32{5}, Want: 1}}
	step := func() {
		if err := m.Forward(steps); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := testing.AllocsPerRun(200, step); n > 0 {
		t.Errorf("a decode step allocates %g times", n)
	}
}
