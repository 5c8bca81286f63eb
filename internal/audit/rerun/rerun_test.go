package rerun_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/receipt"
)

var (
	proverKey     = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	challengerKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	master        = receipt.Salt{3}
)

// loaded is a model, open and loaded.
type loaded struct {
	file  *gguf.File
	model *model.Model
	print *fingerprint.Tree
}

func load(t testing.TB, path string) *loaded {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	m, err := model.Load(f, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	p, err := fingerprint.Of(context.Background(), f, 0)
	if err != nil {
		t.Fatal(err)
	}
	return &loaded{f, m, p}
}

func write(t testing.TB, s *testmodel.Model) string {
	t.Helper()
	path, err := s.Write(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// answer is a request and what was drawn for it.
type answer struct {
	claims receipt.Claims
	bias   receipt.Bias
	extra  receipt.Extra
	prompt []int32
	output []int32
}

func (a *answer) open(t testing.TB) *receipt.Opening {
	t.Helper()
	o, err := receipt.Commit(master, &receipt.Transcript{
		Source: receipt.Source{Kind: receipt.SourceIDs}, Bias: a.bias, Extra: a.extra, Prompt: a.prompt, Output: a.output,
	})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// draw answers a prompt with n tokens.
func (l *loaded) draw(t testing.TB, a *answer, n int) {
	t.Helper()
	a.output = []int32{0}
	o := a.open(t)
	o.Fill(&a.claims)
	a.output = nil
	sampler, err := sample.New(dispute.SampleParams(&a.claims, o), l.model.Config().Vocab)
	if err != nil {
		t.Fatal(err)
	}
	s := l.model.NewSequence()
	defer s.Close()
	steps := []model.Step{{Seq: s, Tokens: a.prompt, Want: 1}}
	for i := range n {
		if err := l.model.Forward(steps); err != nil {
			t.Fatal(err)
		}
		id, err := sampler.Sample(steps[0].Logits, append(a.prompt[:len(a.prompt):len(a.prompt)], a.output...), i, nil)
		if err != nil {
			t.Fatal(err)
		}
		a.output = append(a.output, id)
		steps[0].Tokens = []int32{id}
	}
}

// sign makes the receipt; the run gives its trace, if it is not nil.
func (a *answer) sign(t testing.TB, r *rerun.Run) (receipt.Receipt, *receipt.Opening) {
	t.Helper()
	o := a.open(t)
	c := a.claims
	o.Fill(&c)
	c.Stop, c.Params.MaxTokens, c.Time = receipt.StopLength, len(a.output), 1_700_000_000
	c.Trace = receipt.Hash{}
	if r != nil {
		salt := master.Trace()
		c.Trace = r.Trace().Commitment(salt[:])
	}
	s, err := receipt.Sign(c, proverKey)
	if err != nil {
		t.Fatal(err)
	}
	return s, o
}

// rerun computes the run of a receipt.
func (l *loaded) rerun(t testing.TB, r *receipt.Receipt, o *receipt.Opening) *rerun.Run {
	t.Helper()
	run, err := rerun.New(rerun.Config{Model: l.model, File: l.file, Print: l.print, Claims: r.Claims(), Opening: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.Close)
	return run
}

// requests are answers of every kind of parameters.
func requests(l *loaded) []*answer {
	prompt := testmodel.Text()[:9]
	var list []*answer
	for i, p := range []receipt.Params{
		{},
		{Temperature: 0.8},
		{Temperature: 1.2, TopK: 20, TopP: 0.9, MinP: 0.01, RepeatPenalty: 1.2, FrequencyPenalty: 0.2, PresencePenalty: 0.1, RepeatLastN: -1},
		{RepeatPenalty: 1.1, RepeatLastN: 5},
	} {
		a := &answer{prompt: prompt, claims: receipt.Claims{Model: l.print.Root(), Params: p, Seed: receipt.SelfSeed(uint64(i))}}
		switch i {
		case 1:
			a.claims.Seed = receipt.NonceSeed([]byte("a nonce of an asker"))
		case 2:
			a.claims.Seed = receipt.BeaconSeed("beacon", 7, receipt.Hash{9})
			a.bias = receipt.Bias{3: 1.5, 40: -2}
			a.extra = receipt.Extra{Stop: []string{"stop"}}
		}
		list = append(list, a)
	}
	return list
}

// liar is a source that says something else about one leaf of a cell, and
// about the state that the cell gives.
type liar struct {
	dispute.Source
	cell     dispute.Cell
	op, leaf int
}

func (s *liar) States() ([][]canon.Hash, error) {
	states, err := s.Source.States()
	if err == nil && !s.cell.Output {
		states = append([][]canon.Hash{}, states...)
		states[s.cell.Layer] = append([]canon.Hash{}, states[s.cell.Layer]...)
		states[s.cell.Layer][s.cell.Position][0] ^= 1
	}
	return states, err
}

func (s *liar) Cell(c dispute.Cell) (dispute.Values, int, error) {
	v, n, err := s.Source.Cell(c)
	if c == s.cell {
		v = lie{v, s.op, s.leaf}
	}
	return v, n, err
}

type lie struct {
	dispute.Values
	op, leaf int
}

func (l lie) Hashes(op int) []canon.Hash {
	h := l.Values.Hashes(op)
	if op == l.op {
		h = append([]canon.Hash{}, h...)
		h[l.leaf][0] ^= 1
	}
	return h
}

// accusing is a witness that sees what a liar would have said.
type accusing struct {
	dispute.Witness
	liar
}

func (a *accusing) States() ([][]canon.Hash, error) { return a.liar.States() }
func (a *accusing) Cell(c dispute.Cell) (dispute.Values, int, error) {
	return a.liar.Cell(c)
}

func (a *accusing) Output() (int, bool) { return a.liar.cell.Position, a.liar.cell.Output }

// wrongOutput is a witness that would have drawn another token.
type wrongOutput struct {
	*rerun.Run
	at int
}

func (w *wrongOutput) Output() (int, bool) { return w.at, w.at >= 0 }

// accuse plays served: the proof of a witness against a source.
func accuse(t testing.TB, run dispute.Run, s dispute.Source, w dispute.Witness) []byte {
	t.Helper()
	salt := master.Trace()
	tr, err := dispute.ServeTrace(run, proverKey, salt[:], s)
	if err != nil {
		t.Fatal(err)
	}
	c, p, err := dispute.Find(run, w, tr)
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		cell, err := dispute.ServeCell(run, proverKey, s, c)
		if err != nil {
			t.Fatal(err)
		}
		if p, err = dispute.Accuse(run, w, tr, cell); err != nil {
			t.Fatal(err)
		}
	}
	data, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// TestEveryOperation: for each architecture, kind of parameters and operation,
// a wrong leaf convicts and a right one does not, by proofs that a referee
// judges with the receipt alone.
func TestEveryOperation(t *testing.T) {
	for i := range testmodel.Models {
		s := &testmodel.Models[i]
		t.Run(s.Name, func(t *testing.T) {
			l := load(t, write(t, s))
			for n, a := range requests(l) {
				l.draw(t, a, 4)
				rec, o := a.sign(t, nil)
				run, err := dispute.NewRun(rec)
				if err != nil {
					t.Fatal(err)
				}
				r := l.rerun(t, &rec, o)
				if i, wrong := r.Output(); wrong {
					t.Fatalf("request %d: the honest run's token %d is wrong", n, i)
				}
				rng := rand.New(rand.NewPCG(uint64(i), uint64(n)))
				cells := []dispute.Cell{{Output: true, Position: 2}}
				if n == 0 {
					cells = append(cells, dispute.Cell{Position: 3}, dispute.Cell{Layer: 1, Position: 11})
				}
				for _, c := range cells {
					judgeCell(t, rng, run, r, c)
				}
			}
		})
	}
}

func judgeCell(t *testing.T, rng *rand.Rand, run dispute.Run, r *rerun.Run, c dispute.Cell) {
	t.Helper()
	v, ops, err := r.Cell(c)
	if err != nil {
		t.Fatal(err)
	}
	for op := range ops {
		lie := liar{r, c, op, rng.IntN(len(v.Hashes(op)))}
		at := -1
		if c.Output {
			at = c.Position
		}
		f, err := dispute.Judge(run, accuse(t, run, &lie, &wrongOutput{r, at}))
		if err != nil {
			t.Errorf("%s, operation %d, leaf %d: %v", c, op, lie.leaf, err)
		} else if f.Cell != c || f.Operation != op || f.Leaf != lie.leaf {
			t.Errorf("%s, operation %d, leaf %d: found %s", c, op, lie.leaf, f)
		}
		if f, err := dispute.Judge(run, accuse(t, run, r, &accusing{r, lie})); !errors.Is(err, dispute.ErrProof) {
			t.Errorf("%s, operation %d, leaf %d: an honest prover is convicted: %s, %v", c, op, lie.leaf, f, err)
		}
	}
}
