// Package tamper_test forges receipts in every way we could think of, and holds
// the checks to what docs/threat-model.md promises about each.
package tamper_test

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/avalnetwork/aval/internal/audit"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/chat"
	"github.com/avalnetwork/aval/internal/engine"
	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/model"
	"github.com/avalnetwork/aval/internal/sample"
	"github.com/avalnetwork/aval/internal/token"
	"github.com/avalnetwork/aval/internal/trace"
	"github.com/avalnetwork/aval/receipt"
)

var (
	now    = time.Unix(1_790_000_000, 0)
	nonce  = []byte("a nonce of mine 16")
	master = receipt.Salt{4, 5, 6}
	// liar signs everything here, also what is true.
	liar = ed25519.NewKeyFromSeed([]byte("the seed of a key that is a liar"))
)

// room is how many positions the honest engine has.
const room = 512

// world is what all lies are about: an honest model, and who checks with it.
type world struct {
	file    *modelFile
	path    string
	engine  *engine.Engine
	auditor *audit.Auditor

	// loaded is the same model, for disputes.
	loaded *loaded

	// loras change the model, if there are any.
	loras []*lora

	// What the honest engine has computed once.
	answers map[string]*engine.Result
	runs    map[string]*states
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOf(t, honestModel(t))
}

func worldOf(t *testing.T, m *modelFile) *world {
	t.Helper()
	path := m.write(t)
	l := load(t, path)
	return (&world{file: m, path: path, loaded: l, auditor: &audit.Auditor{Model: l.print.Root(), Pass: 16}}).small(t, room)
}

// adapted is the same world with a model that adapters change.
func (w *world) adapted(t *testing.T, loras ...*lora) *world {
	t.Helper()
	a := *w
	a.loras = loras
	a.loaded = load(t, w.path, loras...)
	return a.small(t, room)
}

func open(t testing.TB, path string, opt engine.Options) *engine.Engine {
	t.Helper()
	e, err := engine.Open(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

// other opens a changed model.
func (w *world) other(t *testing.T, change func(m *modelFile)) *engine.Engine {
	t.Helper()
	m := w.file.clone()
	change(m)
	return open(t, m.write(t), engine.Options{Threads: 1, Context: room})
}

// small is the same world with a smaller context.
func (w *world) small(t *testing.T, context int) *world {
	t.Helper()
	e := open(t, w.path, engine.Options{Threads: 1, Context: context, Adapters: models(w.loras)})
	return &world{
		file: w.file, path: w.path, engine: e, loaded: w.loaded, loras: w.loras,
		auditor: &audit.Auditor{Engine: e, Model: w.auditor.Model, Adapters: named(w.loras), Pass: w.auditor.Pass},
		answers: map[string]*engine.Result{}, runs: map[string]*states{},
	}
}

// ask is a request as a client makes it.
type ask struct {
	source receipt.Source
	extra  receipt.Extra
	bias   receipt.Bias
	params receipt.Params
	seed   receipt.Seed
}

// story is a request that writes some text.
func story() ask {
	return ask{
		source: receipt.Source{Kind: receipt.SourceText, Text: []byte("once upon a time there was a bird"), AddSpecial: true, ParseSpecial: true},
		params: receipt.Params{Temperature: 1.5, TopK: 40, TopP: 0.95, MinP: 0.001, RepeatPenalty: 1.1, FrequencyPenalty: 0.1, MaxTokens: 24, Context: room},
		seed:   receipt.NonceSeed(nonce),
	}
}

// greedy is the same without chance.
func greedy() ask {
	q := story()
	q.params = receipt.Params{MaxTokens: 24, Context: room}
	return q
}

// talk is a conversation.
func talk() ask {
	q := story()
	q.source = receipt.Source{Kind: receipt.SourceChat, GenerationPrompt: true, Messages: []receipt.Message{
		{Role: "system", Content: "be kind and short."},
		{Role: "user", Content: "where is the bird?"},
	}}
	return q
}

// run is what the liar knows of an answer, and may change.
type run struct {
	w          *world
	transcript receipt.Transcript
	claims     receipt.Claims
	result     *engine.Result
	states     *states // committed to if there is a trace; nil: those of the claimed ids
	trace      bool
}

// idsOf makes the tokens of a prompt, as a server does.
func idsOf(t testing.TB, e *engine.Engine, q *ask) []int32 {
	t.Helper()
	var ids []int32
	var err error
	switch q.source.Kind {
	case receipt.SourceText:
		ids, err = e.Tokenizer().Encode(string(q.source.Text), token.EncodeOptions{AddSpecial: q.source.AddSpecial, ParseSpecial: q.source.ParseSpecial})
	case receipt.SourceChat:
		in := chat.Input{AddGenerationPrompt: q.source.GenerationPrompt}
		for _, m := range q.source.Messages {
			in.Messages = append(in.Messages, chat.Message{Role: m.Role, Content: m.Content})
		}
		if q.extra.Template == "" {
			ids, err = e.Render(in)
			break
		}
		var template *chat.Template
		if template, err = chat.Parse(q.extra.Template); err == nil {
			ids, err = e.RenderWith(template, in)
		}
	default:
		ids = []int32{0, 21, 5, 16, 7}
	}
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// request is what an engine is asked.
func (q *ask) request(t testing.TB, ids []int32) engine.Request {
	t.Helper()
	r := engine.Request{
		Prompt: ids, MaxTokens: q.params.MaxTokens, Stop: q.extra.Stop, IgnoreEOS: q.params.IgnoreEOS,
		Params: sample.Params{
			Temperature: q.params.Temperature, TopK: q.params.TopK, TopP: q.params.TopP, MinP: q.params.MinP,
			RepeatPenalty: q.params.RepeatPenalty, FrequencyPenalty: q.params.FrequencyPenalty,
			PresencePenalty: q.params.PresencePenalty, RepeatLastN: q.params.RepeatLastN,
			LogitBias: q.bias, Seed: q.seed.Derive(ids),
		},
	}
	if g := q.extra.Grammar; g != nil {
		var err error
		if r.Grammar, err = grammar.FromGBNF(g.Text); err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// answer lets the honest engine answer.
func (w *world) answer(t testing.TB, q ask) *run { return w.answerBy(t, w.engine, q) }

// answerBy lets any engine answer, and claims that it was the honest one.
func (w *world) answerBy(t testing.TB, e *engine.Engine, q ask) *run {
	t.Helper()
	ids := idsOf(t, e, &q)
	key := fmt.Sprintf("%+v", with(q, func(q *ask) { q.extra.Grammar = nil }))
	res := w.answers[key]
	if e != w.engine || q.extra.Grammar != nil || res == nil {
		var err error
		if res, err = e.Generate(t.Context(), q.request(t, ids), nil); err != nil {
			t.Fatal(err)
		}
		if e == w.engine && q.extra.Grammar == nil {
			w.answers[key] = res
		}
	}
	return w.runOf(q, slices.Clone(ids), res)
}

// runOf claims that the honest model answered so.
func (w *world) runOf(q ask, ids []int32, res *engine.Result) *run {
	r := &run{w: w, result: res, trace: true}
	r.transcript = receipt.Transcript{
		Source: q.source, Bias: q.bias, Extra: q.extra,
		Prompt: ids, Output: slices.Clone(res.Drawn()), Text: res.Text, StopText: res.StopText,
	}
	r.claims = receipt.Claims{Model: w.auditor.Model, Adapters: named(w.loras), Params: q.params, Seed: q.seed, Time: now.Unix()}
	switch res.Stop {
	case engine.StopEOS:
		r.claims.Stop = receipt.StopEOS
	case engine.StopString:
		r.claims.Stop = receipt.StopString
	default:
		r.claims.Stop = receipt.StopLength
	}
	return r
}

// read is what the model reads of a run: all ids but the last.
func (r *run) read() []int32 {
	ids := slices.Concat(r.transcript.Prompt, r.transcript.Output)
	return ids[:len(ids)-1]
}

// commit computes the trace, unless it is the liar's own, and fills the claims.
func (r *run) commit(t testing.TB) *receipt.Opening {
	t.Helper()
	o, err := receipt.Commit(master, &r.transcript)
	if err != nil {
		t.Fatal(err)
	}
	if !r.trace {
		o.Trace = nil
		o.Fill(&r.claims)
		return o
	}
	if r.states == nil {
		r.states = r.w.states(t, r.read())
	}
	if r.claims.Trace.IsZero() {
		tree := r.states.tree(t)
		r.claims.Trace = receipt.TraceCommitment(*o.Trace, tree.Root(), tree.Layers(), tree.Positions())
	}
	o.Fill(&r.claims)
	return o
}

// sign makes the file, which shows all: commitments and signature fit together,
// whatever the liar has changed.
func (r *run) sign(t testing.TB) *receipt.File {
	t.Helper()
	o := r.commit(t)
	s, err := receipt.Sign(r.claims, liar)
	if err != nil {
		t.Fatal(err)
	}
	return &receipt.File{Receipt: s, Opening: o}
}

// forged ends a lie: the file of the run as it is now.
func (r *run) forged(t testing.TB) *forged {
	t.Helper()
	return &forged{file: r.sign(t), states: r.states, expect: expect(r.claims.Seed)}
}

// expect is what one who asked with a nonce knows.
func expect(s receipt.Seed) receipt.Expect {
	if s.Kind == receipt.SeedNonce {
		return receipt.Expect{Nonce: nonce}
	}
	return receipt.Expect{}
}

// forged is a receipt's file as a liar hands it over, and what the one who
// checks it knows.
type forged struct {
	file   *receipt.File // or
	data   []byte
	expect receipt.Expect
	maxAge time.Duration
	// timeless checks without a clock.
	timeless bool
	// with checks in another world, if it is not nil.
	with *world
	// states are what the liar can open for a sampled audit.
	states *states
	// detail must be in the detail of the check that fails, and sampled in that
	// of the sampled audit, if not empty.
	detail, sampled string
	// open spoils what is opened for one.
	open func(o *trace.Opening)
	// auditor opens a box of the file, if it is not nil.
	auditor *receipt.AuditorSecret
}

// at says where the lie must be found.
func (f *forged) at(detail string) *forged { f.detail = detail; return f }

// in says where the sampled audit must find it.
func (f *forged) in(detail string) *forged { f.sampled = detail; return f }

func (f *forged) bytes(t testing.TB) []byte {
	t.Helper()
	if f.file == nil {
		return f.data
	}
	b, err := f.file.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// states are all states of a run.
type states struct {
	layers, positions int
	x, kv             [][]byte // [layers * positions]
}

func (s *states) at(layer, position int) int { return layer*s.positions + position }

// statesOf computes the states of a run in one pass.
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
			s.x[s.at(l, p)] = b
		}}})
		for l := range s.layers {
			for p := range s.positions {
				s.kv[s.at(l, p)] = seq.KV(nil, l, p, p+1)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return s
}

// states are those of the honest model, to be changed.
func (w *world) states(t testing.TB, read []int32) *states {
	t.Helper()
	key := fmt.Sprint(read)
	if w.runs[key] == nil {
		w.runs[key] = statesOf(t, w.engine, read)
	}
	s := *w.runs[key]
	s.x, s.kv = slices.Clone(s.x), slices.Clone(s.kv)
	for i := range s.x {
		s.x[i], s.kv[i] = slices.Clone(s.x[i]), slices.Clone(s.kv[i])
	}
	return &s
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
	tree, salt := s.tree(t), master.Trace()
	o := trace.NewOpening(tree, salt[:])
	for l := range s.layers {
		var part []trace.Shown
		for p := range s.positions {
			part = append(part, trace.Shown{Whole: trace.WholeX | trace.WholeKV, X: s.x[s.at(l, p)], KV: s.kv[s.at(l, p)]})
		}
		o.Add(tree, l, 0, part)
	}
	return o
}

// firstDifference is the place of the first token in which two answers differ.
func firstDifference(t testing.TB, a, b []int32) int {
	t.Helper()
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	t.Fatal("the liar's answer is the honest one: there is nothing to find")
	return 0
}

// failed is the check that fails, for messages of the tests.
func failed(r *receipt.Report) (name, detail string) {
	c := r.Failed()
	if c == nil {
		return "", ""
	}
	return c.Name, c.Detail
}

func contains(r *receipt.Report, name string, verdict receipt.Verdict, detail string) bool {
	return slices.ContainsFunc(r.Checks, func(c receipt.Check) bool {
		return c.Name == name && c.Verdict == verdict && strings.Contains(c.Detail, detail)
	})
}
