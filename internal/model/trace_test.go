package model_test

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/kernel"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/internal/trace"
)

// tracedForward is forward with a trace.
func tracedForward(t testing.TB, m *model.Model, s *model.Sequence, tokens []int32, chunk int) []float32 {
	t.Helper()
	var logits []float32
	for len(tokens) > 0 {
		n := min(chunk, len(tokens))
		steps := []model.Step{{Seq: s, Tokens: tokens[:n], Want: n, Trace: true}}
		if err := m.Forward(steps); err != nil {
			t.Fatal(err)
		}
		logits = append(logits, steps[0].Logits...)
		tokens = tokens[n:]
	}
	return logits
}

func rootOf(t testing.TB, s *model.Sequence) string {
	t.Helper()
	tree, err := s.Trace()
	if err != nil {
		t.Fatal(err)
	}
	return tree.Root().String()
}

// states are all states of a text, as a visitor sees them.
type states struct {
	mu sync.Mutex
	x  map[[2]int][]float32
}

func (v *states) visit(layer, position int, x []float32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.x[[2]int{layer, position}] != nil {
		panic("a state is visited twice")
	}
	v.x[[2]int{layer, position}] = slices.Clone(x)
}

// visited reads a text and returns its states and logits.
func visited(t testing.TB, m *model.Model, s *model.Sequence, text []int32) (*states, []float32) {
	t.Helper()
	v := &states{x: map[[2]int][]float32{}}
	steps := []model.Step{{Seq: s, Tokens: text, Want: len(text), Trace: true, Visit: v.visit}}
	if err := m.Forward(steps); err != nil {
		t.Fatal(err)
	}
	return v, steps[0].Logits
}

// roots are the traces of the story of model files.
var roots = map[string]string{
	"stories260K-f32.gguf":       "b5db6e55ecd3b8f42a20ae81e871fb91910af8103ef3acb7cee7e25f0ef2e61f",
	"stories260K-p192-Q8_0.gguf": "49a2b13c87e7ed2d9e8e501f2bd38e9144a3c4dfbae5b98838c8cb9674e649fa",
	"stories260K-p192-Q4_0.gguf": "df6936aaeb2a19e0212c27decf57425b7c551f100c3679f75e239d832835ec72",
	"stories260K-Q4_K_M.gguf":    "2cf9fc83dd51201da3e2c1b1a1f2db4fd483c05de77f763a245dce440ee737e6",
}

// TestTrace holds the trace of a text to be the same for every kernel, number
// of threads, cut and company in the batch, after forks and cuts, and that it
// is what spec/trace.md says.
func TestTrace(t *testing.T) {
	text := slices.Concat(storyPrompt, slices.Repeat(story, 7))[:300] // more than a page
	for file, want := range roots {
		t.Run(file, func(t *testing.T) {
			for _, k := range kernel.All() {
				for threads, chunk := range map[int]int{1: 300, 2: 1, 3: 7, 4: 64} {
					if k.Name() == "generic" && threads != 4 {
						continue // slow
					}
					m := open(t, model.Options{Threads: threads, Kernel: k.Name(), Context: 512}, "weights", "stories260K", file)
					s := m.NewSequence()
					tracedForward(t, m, s, text, chunk)
					if got := rootOf(t, s); got != want {
						t.Errorf("%s, %d threads, chunks of %d: trace %q, want %q", k.Name(), threads, chunk, got, want)
					}
					s.Close()
				}
			}
			m := open(t, model.Options{Threads: 2, Context: 512}, "weights", "stories260K", file)
			tracedCompany(t, m, text, want)
		})
	}
}

// tracedCompany reads a text side by side with others, traced and not, and
// goes on from forks and cuts of them.
func tracedCompany(t *testing.T, m *model.Model, text []int32, want string) {
	t.Helper()
	seqs := make([]*model.Sequence, 9)
	for i := range seqs {
		seqs[i] = m.NewSequence()
	}
	for round := range 30 {
		var steps []model.Step
		for i, s := range seqs {
			n := min(1+(i*7+round)%40, len(text)-5-s.Len())
			if n > 0 {
				steps = append(steps, model.Step{Seq: s, Tokens: text[s.Len() : s.Len()+n], Trace: i%3 != 1})
			}
		}
		if len(steps) == 0 {
			break
		}
		if err := m.Forward(steps); err != nil {
			t.Fatal(err)
		}
	}
	finish := func(name string, s *model.Sequence) {
		t.Helper()
		tracedForward(t, m, s, text[s.Len():], 11)
		if got := rootOf(t, s); got != want {
			t.Errorf("%s: trace %q, want %q", name, got, want)
		}
	}
	fork, early := seqs[3].Fork(270), seqs[3].Fork(100)
	finish("in company", seqs[0])
	other := seqs[3].Fork(200) // writes to pages that others share
	tracedForward(t, m, other, []int32{7, 7, 7}, 1)
	finish("fork", fork)
	seqs[2].Truncate(259)
	finish("cut", seqs[2])
	finish("with forks", seqs[3])
	finish("early fork", early)
	other.Truncate(200)
	finish("changed back", other)

	// What was read without a trace has none, nor what follows.
	s := seqs[1]
	if _, err := s.Trace(); err == nil || s.Traced() != 0 {
		t.Errorf("a sequence without a trace has one: %v", err)
	}
	if err := m.Forward([]model.Step{{Seq: s, Tokens: []int32{1}, Trace: true}}); err == nil {
		t.Error("a trace begins in the middle of a sequence")
	}
	tracedForward(t, m, seqs[0].Fork(0), text[:3], 1)
	half := seqs[0].Fork(150)
	forward(t, m, half, text[150:], 99)
	if n := half.Traced(); n != 150 {
		t.Errorf("%d positions are traced, want 150", n)
	}
	half.Truncate(140)
	finish("an end without a trace, cut", half)
}

// TestTraceIsOfTheStates computes a trace from the states that a visitor sees.
func TestTraceIsOfTheStates(t *testing.T) {
	m := open(t, model.Options{Threads: 2, Context: 512}, "weights", "stories260K", "stories260K-Q4_K_M.gguf")
	text := slices.Concat(storyPrompt, slices.Repeat(story, 7))[:270]
	s := m.NewSequence()
	seen, _ := visited(t, m, s, text)
	c := m.Config()
	var hashes []canon.Hash
	for l := range c.Layers {
		for p := range text {
			b := make([]byte, 4*c.Dim)
			trace.PutX(b, seen.x[[2]int{l, p}])
			hashes = append(hashes, trace.State(b, s.KV(nil, l, p, p+1)))
		}
	}
	tree, err := trace.NewTree(hashes, c.Layers, len(text))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := tree.Root().String(), rootOf(t, s); got != want {
		t.Errorf("root %s, want %s", got, want)
	}
}

// TestTraceChanges changes a number of each tensor and a token: the trace is
// another one. (The last norm and the output matrix come after all states.)
func TestTraceChanges(t *testing.T) {
	text := []int32{1, 5, 2, 39, 0, 7, 7}
	root := func(c *container, text []int32) string {
		m, err := model.Load(c.open(t), model.Options{Threads: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		s := m.NewSequence()
		defer s.Close()
		tracedForward(t, m, s, text, 100)
		return rootOf(t, s)
	}
	for _, arch := range []string{"llama", "gemma3", "phi3"} {
		want := root(newContainer(arch), text)
		if root(newContainer(arch), text) != want {
			t.Fatalf("%s: a trace is not repeatable", arch)
		}
		for _, x := range newContainer(arch).tensors {
			if x.name == "output_norm.weight" {
				continue
			}
			c := newContainer(arch)
			y := c.tensor(x.name)
			y.fill = func(size int) []byte {
				b := (&content{name: x.name, typ: x.typ}).bytes(size)
				at := size / 20 * 4
				switch {
				case x.name == "token_embd.weight":
					at = 64 * 4 * 39 // of a token that is read
				case strings.HasSuffix(x.name, "attn_qkv.weight"):
					at *= 4 // of the values: a score may be too far from the largest to count
				}
				copy(b[at:], floatBytes(0.75)(4))
				return b
			}
			if root(c, text) == want {
				t.Errorf("%s: the trace is the same with another %s", arch, x.name)
			}
		}
		for i := range text {
			other := slices.Clone(text)
			other[i] ^= 3
			if root(newContainer(arch), other) == want {
				t.Errorf("%s: the trace is the same with another token %d", arch, i)
			}
		}
	}
}

// TestTraceNotFinite looks for the position whose state is not finite.
func TestTraceNotFinite(t *testing.T) {
	c := newContainer("llama")
	c.tensor("blk.1.attn_norm.weight").fill = floatBytes(3e38)
	c.tensor("blk.1.ffn_norm.weight").fill = floatBytes(3e38)
	m, err := model.Load(c.open(t), model.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := m.NewSequence()
	tracedForward(t, m, s, []int32{1, 2}, 2)
	if _, err := s.Trace(); err == nil || !strings.Contains(err.Error(), "layer 1, position 0") {
		t.Errorf("%v, want an error that names layer 1, position 0", err)
	}
}

// TestCells computes cells of every architecture alone, from the states of a
// run, and compares their bits with it.
func TestCells(t *testing.T) {
	dir, text := folder(t), testmodel.Text()
	for i := range testmodel.Models {
		y := &testmodel.Models[i]
		t.Run(y.Name, func(t *testing.T) {
			f, err := gguf.Open(write(t, y, dir, false))
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			m, err := model.Load(f, model.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			s := m.NewSequence()
			seen, logits := visited(t, m, s, text)
			for l := range y.Layers {
				cells(t, m, s, seen, text, l, []int{0, 1, 2, 7, 20, 21, 22, 39})
				cells(t, m, s, seen, text, l, []int{(l * 11) % 40})
			}
			var x []float32
			for _, p := range []int{3, 30, 39} {
				x = append(x, seen.x[[2]int{y.Layers - 1, p}]...)
			}
			got := make([]float32, 3*testmodel.Vocab)
			if err := m.Outputs(got, x); err != nil {
				t.Fatal(err)
			}
			for i, p := range []int{3, 30, 39} {
				if n := equalBits(got[i*testmodel.Vocab:][:testmodel.Vocab], logits[p*testmodel.Vocab:][:testmodel.Vocab]); n != 0 {
					t.Errorf("position %d: %d logits differ", p, n)
				}
			}
		})
	}
}

// TestManyCells computes more cells than a pass takes, over several pages.
func TestManyCells(t *testing.T) {
	m := open(t, model.Options{Threads: 2, Context: 1024}, "weights", "stories260K", "stories260K-p192-Q8_0.gguf")
	text := slices.Concat(storyPrompt, slices.Repeat(story, 12))[:700]
	s := m.NewSequence()
	seen, logits := visited(t, m, s, text)
	r := rand.New(rand.NewPCG(1, 1))
	var all, some []int
	for p := range text {
		all = append(all, p)
		if r.IntN(5) == 0 {
			some = append(some, p)
		}
	}
	for l := range m.Config().Layers {
		cells(t, m, s, seen, text, l, all)
		cells(t, m, s, seen, text, l, some)
	}
	var x []float32
	for p := range text {
		x = append(x, seen.x[[2]int{m.Config().Layers - 1, p}]...)
	}
	got := make([]float32, len(logits))
	if err := m.Outputs(got, x); err != nil {
		t.Fatal(err)
	}
	if n := equalBits(got, logits); n != 0 {
		t.Errorf("%d logits differ", n)
	}
}

// each cuts the keys and values of n positions.
func each(kv []byte, n int) (list [][]byte) {
	for i := range n {
		list = append(list, kv[i*len(kv)/n:(i+1)*len(kv)/n])
	}
	return list
}

// cells computes cells of a layer from the keys and values before the last of
// them alone, and wrong ones at the cells.
func cells(t *testing.T, m *model.Model, s *model.Sequence, seen *states, text []int32, layer int, positions []int) {
	t.Helper()
	last := positions[len(positions)-1]
	kv := s.KV(nil, layer, 0, last+1)
	size := len(kv) / (last + 1)
	c := &model.Cells{Layer: layer, Positions: positions}
	given := slices.Clone(kv[:last*size])
	for _, p := range positions {
		if p < last {
			clear(given[p*size : (p+1)*size])
		}
		if layer == 0 {
			c.Tokens = append(c.Tokens, text[p])
		} else {
			c.X = append(c.X, seen.x[[2]int{layer - 1, p}]...)
		}
	}
	own := m.NewSequence()
	defer own.Close()
	if err := own.SetKV(layer, 0, each(given, last)...); err != nil {
		t.Fatal(err)
	}
	x, err := m.Cells(own, c)
	if err != nil {
		t.Fatal(err)
	}
	dim := m.Config().Dim
	for i, p := range positions {
		if n := equalBits(x[i*dim:(i+1)*dim], seen.x[[2]int{layer, p}]); n != 0 {
			t.Errorf("layer %d, position %d: %d numbers of x differ", layer, p, n)
		}
	}
	if got := own.KV(nil, layer, 0, last+1); !bytes.Equal(got, kv) {
		t.Errorf("layer %d, positions %v: keys and values differ", layer, positions)
	}
}

func TestCellsRefuse(t *testing.T) {
	m := open(t, model.Options{Context: 100}, "weights", "stories260K", "stories260K-f32.gguf")
	c := m.Config()
	x := make([]float32, c.Dim)
	for name, v := range map[string]model.Cells{
		"unknown layer":      {Layer: c.Layers, Positions: []int{0}, X: x},
		"no tokens":          {Positions: []int{0}},
		"unknown token":      {Positions: []int{0}, Tokens: []int32{512}},
		"a short x":          {Layer: 1, Positions: []int{0}, X: x[1:]},
		"out of order":       {Layer: 1, Positions: []int{1, 0}, X: slices.Repeat(x, 2)},
		"a negative one":     {Layer: 1, Positions: []int{-1}, X: x},
		"beyond the context": {Layer: 1, Positions: []int{100}, X: x},
		"nothing before it":  {Layer: 1, Positions: []int{3}, X: x},
	} {
		if _, err := m.Cells(m.NewSequence(), &v); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	size := 2 * c.StateShape().KV
	for name, f := range map[string]func(s *model.Sequence) error{
		"infinite":     func(s *model.Sequence) error { return s.SetKV(0, 0, slices.Repeat([]byte{0, 0x7c}, size/2)) },
		"not a number": func(s *model.Sequence) error { return s.SetKV(0, 0, slices.Repeat([]byte{1, 0xfc}, size/2)) },
		"one infinite": func(s *model.Sequence) error {
			kv := make([]byte, 3*size)
			copy(kv[size+6:], []byte{0xff, 0xfb, 0x00, 0xfc}) // the lowest finite number before it
			return s.SetKV(0, 0, each(kv, 3)...)
		},
		"the last one infinite": func(s *model.Sequence) error {
			kv := make([]byte, 3*size)
			copy(kv[3*size-2:], []byte{0x00, 0x7c})
			return s.SetKV(0, 0, each(kv, 3)...)
		},
		"short":         func(s *model.Sequence) error { return s.SetKV(0, 0, make([]byte, size-1)) },
		"too long":      func(s *model.Sequence) error { return s.SetKV(0, 99, make([]byte, size), make([]byte, size)) },
		"unknown layer": func(s *model.Sequence) error { return s.SetKV(-1, 0) },
	} {
		if err := f(m.NewSequence()); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if err := m.Outputs(make([]float32, c.Vocab), x[1:]); err == nil {
		t.Error("a short x gives logits")
	}
}

func TestTracedDecodeDoesNotAllocate(t *testing.T) {
	m := open(t, model.Options{Threads: 2, Context: 512}, "weights", "stories260K", "stories260K-p192-Q8_0.gguf")
	steps := []model.Step{{Seq: m.NewSequence(), Tokens: []int32{5}, Want: 1, Trace: true}}
	step := func() {
		if err := m.Forward(steps); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := testing.AllocsPerRun(200, step); n > 0 {
		t.Errorf("a decode step with a trace allocates %g times", n)
	}
}
