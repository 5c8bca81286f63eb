package audit_test

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

// states are all states of a run, to be changed by a liar.
type states struct {
	layers, positions int
	x, kv             [][]byte // [layers * positions]
}

// statesOf computes the states of a run.
func statesOf(t testing.TB, e *engine.Engine, read []int32) *states {
	t.Helper()
	s := &states{layers: e.Config().Layers, positions: len(read)}
	s.x, s.kv = make([][]byte, s.layers*s.positions), make([][]byte, s.layers*s.positions)
	var mu sync.Mutex
	if err := e.Compute(t.Context(), func(m *model.Model) error {
		seq := m.NewSequence()
		defer seq.Close()
		err := m.Forward([]model.Step{{Seq: seq, Tokens: read, Visit: func(l, p int, x []float32) {
			mu.Lock()
			defer mu.Unlock()
			b := make([]byte, 4*len(x))
			trace.PutX(b, x)
			s.x[l*s.positions+p] = b
		}}})
		for l := range s.layers {
			for p := range s.positions {
				s.kv[l*s.positions+p] = seq.KV(nil, l, p, p+1)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *states) tree(t testing.TB) *trace.Tree {
	t.Helper()
	var hashes []canon.Hash
	for i := range s.x {
		hashes = append(hashes, trace.State(s.x[i], s.kv[i]))
	}
	tree, err := trace.NewTree(hashes, s.layers, s.positions)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// open opens everything.
func (s *states) open(t testing.TB) *trace.Opening {
	t.Helper()
	tree := s.tree(t)
	salt := master.Trace()
	o := trace.NewOpening(tree, salt[:])
	for l := range s.layers {
		var part []trace.Shown
		for p := range s.positions {
			part = append(part, trace.Shown{Whole: trace.WholeX | trace.WholeKV, X: s.x[l*s.positions+p], KV: s.kv[l*s.positions+p]})
		}
		o.Add(tree, l, 0, part)
	}
	return o
}

func read(a *answered) []int32 {
	ids := append(slices.Clone(a.transcript.Prompt), a.transcript.Output...)
	return ids[:len(ids)-1]
}

func challenge(f *receipt.File, layers, outputs int, random byte) *audit.Challenge {
	return &audit.Challenge{Receipt: f.Receipt.Hash(), Random: [32]byte{random}, Layers: layers, Outputs: outputs}
}

// TestSampled opens random cells of answers of all kinds, and finds them right.
func TestSampled(t *testing.T) {
	prover := &audit.Auditor{Engine: open(t, "Q4_K_M", engine.Options{Threads: 1, Batch: 5}), Model: fingerprint, Pass: 9}
	a := &audit.Auditor{Engine: open(t, "Q4_K_M", engine.Options{Threads: 2}), Model: fingerprint}
	small := open(t, "Q4_K_M", engine.Options{Threads: 1, Context: 60})
	for name, q := range requests {
		t.Run(name, func(t *testing.T) {
			e, req := prover.Engine, q()
			req.trace = true
			if req.params.Context != 0 {
				e = small
			}
			b := answer(t, e, req)
			f := b.sign(t)
			for i, n := range []int{0, 1, 10, 1 << 20} {
				c := challenge(f, n, max(n/2, 1), byte(i))
				o, err := prover.Open(t.Context(), f, c)
				if err != nil {
					t.Fatal(err)
				}
				data, err := o.Encode()
				if err != nil {
					t.Fatal(err)
				}
				if o, err = trace.Decode(data); err != nil {
					t.Fatal(err)
				}
				r, err := a.Sampled(t.Context(), f, c, o, options().Options)
				if err != nil {
					t.Fatal(err)
				}
				expect(t, &r, receipt.Valid, receipt.CheckComputation, "output cells are right")
			}
		})
	}
}

// TestSampledFinds challenges liars. All cells are checked, so that the first
// wrong one is found, and it is one that is wrong by itself.
func TestSampledFinds(t *testing.T) {
	e := open(t, "Q4_K_M", engine.Options{Threads: 2})
	other := open(t, "p192-Q8_0", engine.Options{Threads: 2})
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	at := func(s *states, l, p int) int { return l*s.positions + p }
	for _, c := range []struct {
		name   string
		lie    func(t *testing.T, b *answered, s *states)
		check  string
		detail string
	}{
		{"another x", func(_ *testing.T, _ *answered, s *states) { s.x[at(s, 2, 5)][9] ^= 1 }, receipt.CheckComputation, "layer cell 2, position 5: x is not"},
		{"another kv", func(_ *testing.T, _ *answered, s *states) { s.kv[at(s, 1, 7)][1] ^= 1 }, receipt.CheckComputation, "layer cell 1, position 7: kv is not"},
		{"another embedding", func(_ *testing.T, _ *answered, s *states) { s.x[at(s, 0, 0)][2] ^= 4 }, receipt.CheckComputation, "layer cell 0, position 0: x is not"},
		{"the last state", func(_ *testing.T, _ *answered, s *states) { s.x[at(s, 4, s.positions-1)][2] ^= 4 }, receipt.CheckComputation, "layer cell 4, position 27: x is not"},
		{"infinite", func(_ *testing.T, _ *answered, s *states) {
			copy(s.x[at(s, 2, 5)][4:], []byte{0, 0, 0x80, 0x7f})
		}, receipt.CheckComputation, "layer cell 2, position 5"},
		{"infinite keys", func(_ *testing.T, _ *answered, s *states) {
			copy(s.kv[at(s, 2, 5)][4:], []byte{0, 0x7c})
		}, receipt.CheckComputation, "layer 2, position 5 are not finite"},
		{"states of another model", func(t *testing.T, b *answered, s *states) { *s = *statesOf(t, other, read(b)) }, receipt.CheckComputation, "layer cell 0, position 0"},
		{"a text of another model", func(t *testing.T, b *answered, s *states) {
			o := answer(t, other, story())
			b.transcript = o.transcript
			*s = *statesOf(t, e, read(b))
		}, receipt.CheckComputation, "token "},
		{"the last token", func(_ *testing.T, b *answered, _ *states) {
			b.transcript.Output[23] ^= 1
		}, receipt.CheckComputation, "token 23: expected id "},
		{"a text that is not the tokens'", func(_ *testing.T, b *answered, _ *states) { b.transcript.Text = "?" }, audit.CheckAnswer, "another text"},
		{"another prompt", func(_ *testing.T, b *answered, _ *states) { b.transcript.Source.Text = []byte("Once upon a rime") }, audit.CheckRendering, "token "},
		{"fewer positions", func(_ *testing.T, _ *answered, s *states) {
			s.layers = 1
			s.x, s.kv = s.x[:s.positions], s.kv[:s.positions]
		}, receipt.CheckTrace, "it is of 1 layers"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := answer(t, e, story())
			s := statesOf(t, e, read(b))
			c.lie(t, b, s)
			b.claims.Trace = commitment(s.tree(t))
			f := b.sign(t)
			r, err := a.Sampled(t.Context(), f, challenge(f, audit.MaxCells, audit.MaxCells, 0), s.open(t), options().Options)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, &r, receipt.Invalid, c.check, c.detail)
		})
	}
}

// TestSampledRefuses holds openings to be of the receipt, and complete.
func TestSampledRefuses(t *testing.T) {
	e := open(t, "Q4_K_M", engine.Options{Threads: 2})
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	b := answer(t, e, story())
	f := b.sign(t)
	c := challenge(f, 8, 4, 3)
	cells, outputs := c.Cells(e.Config().Layers, len(read(b)), len(b.transcript.Output))
	for _, x := range []struct {
		name   string
		change func(o *trace.Opening)
		check  string
		detail string
	}{
		{"another salt", func(o *trace.Opening) { o.Salt = make([]byte, 16) }, receipt.CheckTrace, "give the commitment"},
		{"another state", func(o *trace.Opening) { o.Parts[0].States[0].X[3] ^= 1 }, receipt.CheckTrace, "are not those of the layer's root"},
		{"nothing", func(o *trace.Opening) { o.Parts = nil }, receipt.CheckComputation, "is not opened"},
		{"no output", func(o *trace.Opening) { hide(o, e.Config().Layers-1, 4+outputs[0], trace.WholeX) }, receipt.CheckComputation, "is not opened"},
		{"no x of a cell", func(o *trace.Opening) { hide(o, cells[0].Layer, cells[0].Position, trace.WholeX) }, receipt.CheckComputation, "is not opened"},
		{"no kv", func(o *trace.Opening) { hide(o, cells[7].Layer, cells[7].Position, trace.WholeKV) }, receipt.CheckComputation, "is not opened"},
	} {
		t.Run(x.name, func(t *testing.T) {
			o, err := a.Open(t.Context(), f, c)
			if err != nil {
				t.Fatal(err)
			}
			x.change(o)
			r, err := a.Sampled(t.Context(), f, c, o, options().Options)
			if err != nil {
				t.Fatal(err)
			}
			expect(t, &r, receipt.Invalid, x.check, x.detail)
		})
	}
	other := challenge(f, 8, 4, 3)
	other.Receipt[0] ^= 1
	if _, err := a.Open(t.Context(), f, other); !errors.Is(err, audit.ErrChallenge) {
		t.Errorf("%v, want ErrChallenge", err)
	}
	o, err := a.Open(t.Context(), f, c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Sampled(t.Context(), f, other, o, options().Options)
	if err != nil {
		t.Fatal(err)
	}
	expect(t, &r, receipt.Unverified, receipt.CheckComputation, "it is for the receipt")
	q := story()
	q.trace = false
	f = answer(t, e, q).sign(t)
	if _, err := a.Open(t.Context(), f, challenge(f, 8, 4, 3)); !errors.Is(err, audit.ErrChallenge) {
		t.Errorf("%v, want ErrChallenge: there is no trace", err)
	}
	b.claims.Trace[0] ^= 1
	f = b.sign(t)
	if _, err := a.Open(t.Context(), f, challenge(f, 8, 4, 3)); err == nil {
		t.Error("a prover opens what it did not compute")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.Full(ctx, f, options()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want Canceled", err)
	}
}

// fickle is a context that ends after some looks at it.
type fickle struct {
	context.Context
	left *int
}

func (f fickle) Err() error {
	if *f.left--; *f.left < 0 {
		return context.Canceled
	}
	return nil
}

// TestFullStops looks at the context for every token: a grammar may make each
// one slow.
func TestFullStops(t *testing.T) {
	a := &audit.Auditor{Engine: open(t, "Q4_K_M", engine.Options{Threads: 2}), Model: fingerprint}
	f := answer(t, a.Engine, story()).sign(t)
	left := 20 // of 24 tokens
	if _, err := a.Full(fickle{t.Context(), &left}, f, options()); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want Canceled", err)
	}
}

// hide replaces a vector by its root.
func hide(o *trace.Opening, layer, position int, which trace.Whole) {
	for i := range o.Parts {
		p := &o.Parts[i]
		if p.Layer != layer || position < p.From || position >= p.From+len(p.States) {
			continue
		}
		s := &p.States[position-p.From]
		if s.Whole &^= which; which == trace.WholeX {
			h := trace.VectorRoot(s.X)
			s.X = h[:]
		} else {
			h := trace.VectorRoot(s.KV)
			s.KV = h[:]
		}
	}
}

// TestSampledDetects counts how often liars are found, and compares with what
// Detection promises.
func TestSampledDetects(t *testing.T) {
	e := open(t, "Q4_K_M", engine.Options{Threads: 2})
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	b := answer(t, e, story())
	s := statesOf(t, e, read(b))
	// Seven of 140 layer cells are wrong: their x, which the cells above
	// take as it is.
	for i := range 7 {
		s.x[i*19+3][i] ^= 1
	}
	b.claims.Trace = commitment(s.tree(t))
	f, o := b.sign(t), s.open(t)
	const rounds, sample = 150, 20
	found := 0
	for i := range rounds {
		r, err := a.Sampled(t.Context(), f, challenge(f, sample, 0, byte(i)), o, options().Options)
		if err != nil {
			t.Fatal(err)
		}
		if r.Verdict() == receipt.Invalid {
			found++
		}
	}
	// A changed x makes the cells of the layer above wrong too: 14 of 140, less
	// those beyond the last layer.
	low, high := audit.Detection(140, 7, sample), audit.Detection(140, 14, sample)
	// Six standard deviations of a binomial variable; the numbers are fixed.
	slack := 6 * math.Sqrt(rounds*0.25)
	if n := float64(found); n < rounds*low-slack || n > rounds*high+slack {
		t.Errorf("liars were found %d times of %d, want %.0f to %.0f", found, rounds, rounds*low, rounds*high)
	}
	if found == rounds {
		t.Error("a sample finds everything: it is none")
	}
}

// TestDetectionOf tries every way to spread wrong cells over the kinds.
func TestDetectionOf(t *testing.T) {
	for _, all := range []audit.Kinds{{12, 5}, {5, 12}, {40, 1}, {1, 1}, {200, 30}} {
		for wrong := 1; wrong <= all.Layers+all.Outputs; wrong += 1 + wrong/7 {
			for layers := 0; layers <= all.Layers; layers += 1 + layers/3 {
				for outputs := 0; outputs <= all.Outputs; outputs += 1 + outputs/3 {
					want := 1.0
					for x := max(0, wrong-all.Layers); x <= min(wrong, all.Outputs); x++ {
						want = min(want, 1-(1-audit.Detection(all.Layers, wrong-x, layers))*(1-audit.Detection(all.Outputs, x, outputs)))
					}
					if got := audit.DetectionOf(all, wrong, audit.Kinds{Layers: layers, Outputs: outputs}); math.Abs(got-want) > 1e-12 {
						t.Fatalf("%d of %+v wrong, %d and %d in the sample: %v, want %v", wrong, all, layers, outputs, got, want)
					}
				}
			}
		}
	}
}

// TestDefaultSample: whatever the run, one wrong cell in twenty is found, and
// one wrong output in five.
func TestDefaultSample(t *testing.T) {
	for _, c := range []struct{ layers, positions, drawn, wantLayers, wantOutputs int }{
		{1, 1, 1, 1, 1},
		{1, 319, 256, 78, 36},
		{2, 8, 4, 16, 4},
		{4, 63, 60, 74, 18},
		{22, 319, 256, 90, 20},
		{30, 319, 256, 90, 20},
		{80, 4095, 4000, 90, 21},
		{1024, 1 << 20, 1 << 20, 90, 21},
	} {
		all := audit.Kinds{Layers: c.layers * c.positions, Outputs: c.drawn}
		n := audit.DefaultSample(all)
		if n.Layers != c.wantLayers || n.Outputs != c.wantOutputs {
			t.Errorf("%d layers, %d positions, %d drawn: a sample of %+v, want %d and %d", c.layers, c.positions, c.drawn, n, c.wantLayers, c.wantOutputs)
		}
		if p := audit.DetectionOf(all, audit.ShareOf(all.Layers+all.Outputs, 0.05), n); p < 0.99 {
			t.Errorf("%+v: finds one wrong cell in twenty with %v", c, p)
		}
		if p := audit.Detection(all.Outputs, audit.ShareOf(all.Outputs, 0.2), n.Outputs); p < 0.99 {
			t.Errorf("%+v: finds one wrong output in five with %v", c, p)
		}
	}
}

func TestDetection(t *testing.T) {
	// Against counting: all samples of 4 of 9, 3 of which are wrong.
	hit, all := 0, 0
	for set := range 1 << 9 {
		n := 0
		for b := set; b != 0; b &= b - 1 {
			n++
		}
		if n == 4 {
			all++
			if set&7 != 0 {
				hit++
			}
		}
	}
	if got, want := audit.Detection(9, 3, 4), float64(hit)/float64(all); math.Abs(got-want) > 1e-12 {
		t.Errorf("Detection(9, 3, 4) = %v, want %v", got, want)
	}
	for _, c := range []struct {
		all, wrong, sample int
		want               float64
	}{{10, 0, 5, 0}, {10, 5, 0, 0}, {10, 1, 10, 1}, {10, 5, 6, 1}, {1, 1, 1, 1}} {
		if got := audit.Detection(c.all, c.wrong, c.sample); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for _, c := range []struct{ all, want int }{{1, 1}, {2, 2}, {20, 20}, {256, 75}, {7656, 90}, {1 << 20, 90}} {
		if got := audit.SampleSize(c.all, audit.DefaultShare, audit.DefaultConfidence); got != c.want {
			t.Errorf("a sample of %d cells has %d, want %d", c.all, got, c.want)
		}
	}
}

// TestCells holds the choice of cells to be the one of the text, and fair.
func TestCells(t *testing.T) {
	c := &audit.Challenge{Receipt: canon.Hash{1}, Random: [32]byte{2}, Layers: 5, Outputs: 3}
	cells, outputs := c.Cells(4, 10, 6)
	wantCells := []audit.LayerCell{{1, 0}, {2, 2}, {2, 8}, {3, 5}, {3, 7}}
	if diff := cmp.Diff(wantCells, cells); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{1, 2, 5}, outputs); diff != "" {
		t.Error(diff)
	}
	if _, outputs = c.Cells(4, 10, 2); !slices.Equal(outputs, []int{0, 1}) {
		t.Errorf("of two outputs %v are chosen", outputs)
	}
	counts := make([]int, 40)
	r := rand.New(rand.NewPCG(1, 2))
	for range 4000 {
		for i := range c.Random {
			c.Random[i] = byte(r.Uint32())
		}
		cells, _ = c.Cells(4, 10, 6)
		for _, x := range cells {
			counts[x.Layer*10+x.Position]++
		}
		if len(cells) != 5 {
			t.Fatalf("%d cells", len(cells))
		}
	}
	for i, n := range counts {
		if n < 500-126 || n > 500+126 { // six standard deviations; the numbers are fixed
			t.Errorf("cell %d was chosen %d times of 4000, want about 500", i, n)
		}
	}
}

func TestChallenge(t *testing.T) {
	c := audit.NewChallenge(canon.Hash{1}, [32]byte{2}, 24, 319, 256)
	if c.Layers != 90 || c.Outputs != 20 {
		t.Errorf("%d layer cells and %d output cells, want 90 and 20", c.Layers, c.Outputs)
	}
	data, err := c.Encode()
	if err != nil {
		t.Fatal(err)
	}
	back, err := audit.DecodeChallenge(data)
	if diff := cmp.Diff(c, back); diff != "" || err != nil {
		t.Errorf("%v\n%s", err, diff)
	}
	for name, b := range map[string][]byte{
		"cut":              data[:len(data)-1],
		"too long":         make([]byte, audit.MaxChallenge+1),
		"another protocol": bytes.Replace(data, []byte("audit/1"), []byte("audit/2"), 1),
	} {
		if _, err := audit.DecodeChallenge(b); !errors.Is(err, audit.ErrChallenge) {
			t.Errorf("%s: %v, want ErrChallenge", name, err)
		}
	}
	for _, c := range []audit.Challenge{{}, {Layers: -1, Outputs: 1}, {Layers: audit.MaxCells + 1}, {Outputs: audit.MaxCells + 1}} {
		data, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := audit.DecodeChallenge(data); !errors.Is(err, audit.ErrChallenge) {
			t.Errorf("%+v: %v, want ErrChallenge", c, err)
		}
	}
}

func FuzzDecodeChallenge(f *testing.F) {
	data, err := audit.NewChallenge(canon.Hash{1}, [32]byte{2}, 24, 319, 256).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := audit.DecodeChallenge(b)
		if err != nil {
			return
		}
		if again, err := c.Encode(); err != nil || !bytes.Equal(again, b) {
			t.Errorf("encodes to other bytes: %v", err)
		}
		cells, outputs := c.Cells(3, 7, 5)
		if len(cells) != min(c.Layers, 21) || len(outputs) != min(c.Outputs, 5) {
			t.Errorf("%d and %d cells of %+v", len(cells), len(outputs), c)
		}
	})
}

// TestSampledWindow: what no chosen cell sees need not be shown, and is not.
func TestSampledWindow(t *testing.T) {
	i := slices.IndexFunc(testmodel.Models, func(m testmodel.Model) bool { return m.Name == "gemma2" }) // layers 0 and 2 see 8 positions
	path, err := testmodel.Models[i].Write(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.Open(path, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	a := &audit.Auditor{Engine: e, Model: fingerprint}
	q := story()
	q.source.Text = []byte("HELLO")
	q.params = receipt.Params{MaxTokens: 60, IgnoreEOS: true}
	b := answer(t, e, q)
	f, n := b.sign(t), len(read(b))
	hidden := 0
	for random := range byte(8) {
		c := challenge(f, 4, 1, random)
		o, err := a.Open(t.Context(), f, c)
		if err != nil {
			t.Fatal(err)
		}
		cells, _ := c.Cells(3, n, 60)
		for l := range 3 {
			for p := range n {
				seen := slices.ContainsFunc(cells, func(c audit.LayerCell) bool {
					return c.Layer == l && p <= c.Position && (l == 1 || p > c.Position-8)
				})
				if shown := o.KV(l, p) != nil; shown != seen {
					t.Errorf("random %d: kv of layer %d, position %d: shown %t, seen %t", random, l, p, shown, seen)
				}
				if !seen && slices.ContainsFunc(cells, func(c audit.LayerCell) bool { return c.Layer == l && p < c.Position }) {
					hidden++
				}
			}
		}
		r, err := a.Sampled(t.Context(), f, c, o, options().Options)
		if err != nil {
			t.Fatal(err)
		}
		expect(t, &r, receipt.Valid, receipt.CheckComputation, "output cells are right")
	}
	if hidden == 0 {
		t.Error("every cell sees everything")
	}
}
