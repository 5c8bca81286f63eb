package rerun_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/gguf"
	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/fingerprint"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/internal/trace"
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
	runs  int

	adapters []rerun.Adapter
	scales   []float32
}

// encode is the bytes of a description.
func encode(t testing.TB, d *dispute.Description) []byte {
	t.Helper()
	b, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
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
	return &loaded{file: f, model: m, print: p}
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
func (a *answer) sign(t testing.TB, r dispute.Source) (receipt.Receipt, *receipt.Opening) {
	t.Helper()
	o := a.open(t)
	c := a.claims
	o.Fill(&c)
	c.Stop, c.Params.MaxTokens, c.Time = receipt.StopLength, len(a.output), 1_700_000_000
	c.Trace = receipt.Hash{}
	if r != nil {
		salt := master.Trace()
		states, err := r.States()
		if err != nil {
			t.Fatal(err)
		}
		tree, err := trace.NewTree(slices.Concat(states...), len(states), len(states[0]))
		if err != nil {
			t.Fatal(err)
		}
		c.Trace = tree.Commitment(salt[:])
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
	// Every other run keeps no more than it must.
	l.runs++
	run, err := rerun.New(t.Context(), rerun.Config{Model: l.model, File: l.file, Print: l.print, Adapters: l.adapters, Claims: r.Claims(), Opening: o, Keep: l.runs % 2})
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
		for j, x := range l.adapters {
			a.claims.Adapters = append(a.claims.Adapters, receipt.Adapter{File: x.Print.Root(), Scale: l.scales[j]})
		}
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

// accusing is a witness that sees what a liar would have said.
type accusing struct {
	dispute.Witness
	lie rerun.Liar
}

func (a *accusing) States() ([][]canon.Hash, error)                  { return a.lie.States() }
func (a *accusing) Cell(c dispute.Cell) (dispute.Values, int, error) { return a.lie.Cell(c) }
func (a *accusing) Output() (int, bool)                              { return a.lie.At.Position, a.lie.At.Output }

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
				if n > 0 && (i+n)%3 != 0 {
					continue
				}
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
		lie := rerun.Liar{Source: r, At: c, Op: op, Leaf: rng.IntN(len(v.Hashes(op)))}
		at := -1
		if c.Output {
			at = c.Position
		}
		f, err := dispute.Judge(run, accuse(t, run, &lie, &wrongOutput{r, at}))
		if err != nil {
			t.Errorf("%s, operation %d, leaf %d: %v", c, op, lie.Leaf, err)
		} else if f.Cell != c || f.Operation != op || f.Leaf != lie.Leaf {
			t.Errorf("%s, operation %d, leaf %d: found %s", c, op, lie.Leaf, f)
		}
		if f, err := dispute.Judge(run, accuse(t, run, r, &accusing{r, lie})); !errors.Is(err, dispute.ErrProof) {
			t.Errorf("%s, operation %d, leaf %d: an honest prover is convicted: %s, %v", c, op, lie.Leaf, f, err)
		}
	}
}

// TestWork: an auditor that called a receipt right is a prover like the one who
// signed it, by the trace that it committed to: honest, it is never convicted;
// with a wrong cell in its trace, it is.
func TestWork(t *testing.T) {
	l := load(t, write(t, &testmodel.Models[0]))
	a := requests(l)[0]
	l.draw(t, a, 4)
	rec, o := a.sign(t, nil)
	r := l.rerun(t, &rec, o)
	states, err := r.States()
	if err != nil {
		t.Fatal(err)
	}
	c := dispute.Cell{Layer: 1, Position: 5}
	lie := &rerun.Liar{Source: r, At: c}
	wrong, err := lie.States()
	if err != nil {
		t.Fatal(err)
	}
	salt := receipt.Salt{9}
	work := func(states [][]canon.Hash) dispute.Run {
		tree, err := trace.NewTree(slices.Concat(states...), len(states), len(states[0]))
		if err != nil {
			t.Fatal(err)
		}
		run, err := dispute.NewWork(rec, proverKey.Public().(ed25519.PublicKey), receipt.TraceCommitment(salt, tree.Root(), len(states), len(states[0])))
		if err != nil {
			t.Fatal(err)
		}
		return run
	}
	honest := work(states)
	shown, err := dispute.ServeTrace(honest, proverKey, salt[:], r)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := dispute.Find(honest, r, shown); !errors.Is(err, dispute.ErrSame) {
		t.Errorf("the same run: %v", err)
	}
	lying := work(wrong)
	if shown, err = dispute.ServeTrace(lying, proverKey, salt[:], lie); err != nil {
		t.Fatal(err)
	}
	at, p, err := dispute.Find(lying, r, shown)
	if err != nil || p != nil || at != c {
		t.Fatalf("found %v, %v, %v, want %v", at, p, err, c)
	}
	cell, err := dispute.ServeCell(lying, proverKey, lie, at)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = dispute.Accuse(lying, r, shown, cell); err != nil {
		t.Fatal(err)
	}
	proof, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if f, err := dispute.Judge(lying, proof); err != nil || f.Cell != c {
		t.Errorf("the judge finds %v, %v", f, err)
	}
	if _, err := dispute.Judge(honest, proof); !errors.Is(err, dispute.ErrProof) {
		t.Errorf("the proof holds against an auditor that is honest: %v", err)
	}
}

// player is a party of a game.
type player interface {
	Step([]byte) error
	Move() ([]byte, error)
}

// play plays a game without losing time.
func play(t *testing.T, run dispute.Run, terms dispute.Terms, s dispute.Source, w dispute.Witness) (dispute.Outcome, int) {
	t.Helper()
	salt := master.Trace()
	referee, err := dispute.NewReferee(run, terms)
	if err != nil {
		t.Fatal(err)
	}
	prover, err := dispute.NewProver(run, terms, proverKey, salt[:], s)
	if err != nil {
		t.Fatal(err)
	}
	challenger, err := dispute.NewChallenger(run, terms, challengerKey, w)
	if err != nil {
		t.Fatal(err)
	}
	for rounds := 0; ; {
		if o, over := referee.Outcome(); over {
			return o, rounds
		}
		var who player = prover
		if mover, _ := referee.Turn(); mover == dispute.ChallengerParty {
			who = challenger
			rounds++
		}
		m, err := who.Move()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(referee.Step(m), prover.Step(m), challenger.Step(m)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOtherModel: a prover that computes with another model than the one that
// the receipt names loses, with and without a trace in the receipt, and one
// that computed right and is accused wins.
func TestOtherModel(t *testing.T) {
	for i := range testmodel.Models {
		s := testmodel.Models[i]
		t.Run(s.Name, func(t *testing.T) {
			right := load(t, write(t, &s))
			path := write(t, &s)
			change(t, path, right.file, "blk.1.ffn_down.weight")
			wrong := load(t, path)
			terms := dispute.Terms{Challenger: challengerKey.Public().(ed25519.PublicKey), Fanout: []int{0, 3, 50}[i%3]}
			for n, a := range requests(right)[:3] {
				a.claims.Model = wrong.print.Root()
				wrong.draw(t, a, 5)
				rec, o := a.sign(t, nil)
				liar := wrong.rerun(t, &rec, o)
				a.claims.Model = right.print.Root()
				var of dispute.Source
				if n%2 == 0 {
					of = liar
				}
				rec, o = a.sign(t, of)
				run, err := dispute.NewRun(rec)
				if err != nil {
					t.Fatal(err)
				}
				honest := right.rerun(t, &rec, o)
				res, rounds := play(t, run, terms, liar, honest)
				if res.Winner != dispute.ChallengerParty || res.Reason != dispute.Fraud || res.Finding.Cell.Layer != 1 || res.Finding.Name != "ffn_down" {
					t.Errorf("request %d: %s", n, res)
				}
				if terms.Fanout == 0 && rounds > 6 {
					t.Errorf("request %d: %d rounds", n, rounds)
				}
				// An honest run under the same ids: only the first wrong token is the
				// prover's fault, if the receipt says nothing of states.
				rec, o = a.sign(t, nil)
				if run, err = dispute.NewRun(rec); err != nil {
					t.Fatal(err)
				}
				honest = right.rerun(t, &rec, o)
				if at, wrong := honest.Output(); wrong {
					res, _ := play(t, run, terms, honest, right.rerun(t, &rec, o))
					f := res.Finding
					if res.Winner != dispute.ChallengerParty || f.Fault != dispute.WrongClosing || f.Cell != (dispute.Cell{Output: true, Position: at}) {
						t.Errorf("request %d: states of the right model and wrong tokens: %s", n, res)
					}
				}
				// The right model's own answer, accused by the other model.
				right.draw(t, a, 5)
				rec, o = a.sign(t, nil)
				if run, err = dispute.NewRun(rec); err != nil {
					t.Fatal(err)
				}
				honest = right.rerun(t, &rec, o)
				res, _ = play(t, run, terms, honest, &mistaken{wrong.rerunAs(t, rec.Claims(), o), honest})
				if res.Winner != dispute.ProverParty {
					t.Errorf("request %d: an honest prover lost: %s", n, res)
				}
			}
		})
	}
}

// change changes one bit in the middle of a tensor.
func change(t *testing.T, path string, f *gguf.File, tensor string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data := f.Data(f.Tensor(tensor))
	at := bytes.Index(raw, data)
	raw[at+len(data)/2] ^= 4
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}

// rerunAs computes a run with a model that is not the receipt's.
func (l *loaded) rerunAs(t *testing.T, c receipt.Claims, o *receipt.Opening) *rerun.Run {
	t.Helper()
	c.Model = l.print.Root()
	run, err := rerun.New(t.Context(), rerun.Config{Model: l.model, File: l.file, Print: l.print, Claims: c, Opening: o})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.Close)
	return run
}

// mistaken is a challenger who computed with another model, and describes and
// proves the right one.
type mistaken struct {
	*rerun.Run
	right *rerun.Run
}

func (m *mistaken) Description(c dispute.Cell) ([]byte, error) { return m.right.Description(c) }
func (m *mistaken) Tiles(name string, from, to int) ([]byte, error) {
	return m.right.Tiles(name, from, to)
}

// TestImpossible: a receipt of a run that no model can have done convicts, and
// one of a run that it can does not.
func TestImpossible(t *testing.T) {
	l := load(t, write(t, &testmodel.Models[0]))
	good := answer{prompt: testmodel.Text()[:5], output: testmodel.Text()[5:9]}
	good.claims = receipt.Claims{Model: l.print.Root(), Params: receipt.Params{Temperature: 1}, Seed: receipt.SelfSeed(1)}
	for _, c := range []struct {
		name string
		bad  func(a *answer)
		cell dispute.Cell
	}{
		{"a token of the prompt", func(a *answer) { a.prompt[2] = testmodel.Vocab }, dispute.Cell{Position: 2}},
		{"a drawn token", func(a *answer) { a.output[1] = testmodel.Vocab + 7 }, dispute.Cell{Position: 6}},
		{"a bias", func(a *answer) { a.bias = receipt.Bias{testmodel.Vocab: 1} }, dispute.Cell{Output: true}},
		{"more positions", func(a *answer) { a.prompt = make([]int32, 520) }, dispute.Cell{}},
	} {
		a := good
		a.prompt, a.output = slices.Clone(good.prompt), slices.Clone(good.output)
		c.bad(&a)
		judge := func(a *answer) (dispute.Run, rerun.Config, error) {
			rec, o := a.sign(t, nil)
			run, err := dispute.NewRun(rec)
			if err != nil {
				t.Fatal(err)
			}
			cfg := rerun.Config{Model: l.model, File: l.file, Print: l.print, Claims: rec.Claims(), Opening: o}
			r, err := rerun.New(t.Context(), cfg)
			if err == nil {
				r.Close()
			}
			return run, cfg, err
		}
		run, cfg, err := judge(&a)
		impossible := (*rerun.ImpossibleError)(nil)
		if !errors.As(err, &impossible) || impossible.Cell != c.cell {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		d, err := rerun.Describe(cfg, c.cell)
		if err != nil {
			t.Fatal(err)
		}
		p, err := dispute.Impossible(run, c.cell, d)
		if err != nil {
			t.Fatal(c.name, err)
		}
		data, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if f, err := dispute.Judge(run, data); err != nil || f.Fault != dispute.WrongRun {
			t.Errorf("%s: %s, %v", c.name, f, err)
		}
		run, cfg, err = judge(&good)
		if err != nil {
			t.Fatal(err)
		}
		if d, err = rerun.Describe(cfg, c.cell); err != nil {
			t.Fatal(err)
		}
		if _, err := dispute.Impossible(run, c.cell, d); err == nil {
			t.Errorf("%s: a possible run is called impossible", c.name)
		}
		p.Description = d
		if data, err = p.Encode(); err != nil {
			t.Fatal(err)
		}
		if f, err := dispute.Judge(run, data); !errors.Is(err, dispute.ErrProof) {
			t.Errorf("%s: an honest prover is convicted: %s", c.name, f)
		}
	}
}

// TestNotFinite: a run in which numbers stop being finite has no tokens after
// that, so a receipt that says it had convicts.
func TestNotFinite(t *testing.T) {
	s := testmodel.Models[1] // of floats
	path := write(t, &s)
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data := f.Data(f.Tensor("blk.1.attn_norm.weight"))
	at := bytes.Index(raw, data)
	for i := range len(data) / 4 {
		binary.LittleEndian.PutUint32(raw[at+4*i:], math.Float32bits(3e38))
	}
	f.Close()
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	l := load(t, path)
	a := &answer{prompt: testmodel.Text()[:3], output: testmodel.Text()[5:8]}
	a.claims = receipt.Claims{Model: l.print.Root(), Seed: receipt.SelfSeed(1)}
	rec, o := a.sign(t, nil)
	run, err := dispute.NewRun(rec)
	if err != nil {
		t.Fatal(err)
	}
	r := l.rerun(t, &rec, o)
	if i, wrong := r.Output(); !wrong || i != 0 {
		t.Error("the first token is not wrong", i, wrong)
	}
	terms := dispute.Terms{Challenger: challengerKey.Public().(ed25519.PublicKey)}
	for c, s := range map[string]dispute.Source{
		"states as the operations give them": l.rerun(t, &rec, o),
		"another state":                      &rerun.Liar{Source: l.rerun(t, &rec, o), At: dispute.Cell{Layer: 1, Position: 1}, Op: 4},
	} {
		if res, _ := play(t, run, terms, s, r); res.Winner != dispute.ChallengerParty {
			t.Errorf("%s: %s", c, res)
		}
	}
}

// TestLargeDescription: a challenger does not send a description that would
// make it lose, and a proof with one does not stand.
func TestLargeDescription(t *testing.T) {
	l := load(t, write(t, &testmodel.Models[0]))
	a := &answer{prompt: testmodel.Text()[:3], extra: receipt.Extra{Template: strings.Repeat("x", 655_360)}}
	a.claims = receipt.Claims{Model: l.print.Root(), Seed: receipt.SelfSeed(1)}
	l.draw(t, a, 1)
	a.output[0] ^= 1
	rec, o := a.sign(t, nil)
	run, err := dispute.NewRun(rec)
	if err != nil {
		t.Fatal(err)
	}
	liar, r := l.rerun(t, &rec, o), l.rerun(t, &rec, o)
	if _, wrong := r.Output(); !wrong {
		t.Fatal("the token is right")
	}
	terms := dispute.Terms{Challenger: challengerKey.Public().(ed25519.PublicKey)}
	prover, err := dispute.NewProver(run, terms, proverKey, nil, liar)
	if err != nil {
		t.Fatal(err)
	}
	challenger, err := dispute.NewChallenger(run, terms, challengerKey, r)
	if err != nil {
		t.Fatal(err)
	}
	for _, who := range []player{challenger, prover} {
		m, err := who.Move()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(prover.Step(m), challenger.Step(m)); err != nil {
			t.Fatal(err)
		}
	}
	if m, err := challenger.Move(); err == nil || !strings.Contains(err.Error(), "want at most 655360") {
		t.Errorf("the challenger sends %d bytes, which lose the game: %v", len(m), err)
	}
	d, err := r.Description(dispute.Cell{Output: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := run.Plan(dispute.Cell{Output: true}, d); err == nil {
		t.Errorf("there is a plan from %d bytes", len(d))
	}
}
