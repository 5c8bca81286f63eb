package rerun_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/audit/rerun"
	"github.com/avalnetwork/aval/internal/canon"
	"github.com/avalnetwork/aval/internal/testdata"
	"github.com/avalnetwork/aval/internal/testmodel"
	"github.com/avalnetwork/aval/receipt"
)

var update = flag.Bool("update", false, "write spec/vectors/dispute.json anew")

// The file of vectors, section 9 of spec/dispute.md. Package dispute reads it.
type (
	vectorFile struct {
		Spec    string       `json:"spec"`
		Judge   []judgeCase  `json:"judge"`
		Refused []judgeCase  `json:"refused"`
		Games   []vectorGame `json:"games"`
	}
	judgeCase struct {
		Name    string `json:"name"`
		Receipt string `json:"receipt"`
		Proof   string `json:"proof"`
		Finding string `json:"finding,omitempty"`
		Why     string `json:"why,omitempty"`
	}
	vectorGame struct {
		Name       string `json:"name"`
		Receipt    string `json:"receipt"`
		Challenger string `json:"challenger"`
		Nonce      string `json:"nonce,omitempty"`
		Move       uint64 `json:"move"`
		Total      uint64 `json:"total"`
		Fanout     int    `json:"fanout"`
		Terms      string `json:"terms"` // the same, encoded
		ID         string `json:"id"`
		Steps      []step `json:"steps"`
		Winner     string `json:"winner"`
		Reason     string `json:"reason"`
	}
	step struct {
		Message string `json:"message,omitempty"`
		Ignored bool   `json:"ignored,omitempty"`
		Ticks   uint64 `json:"ticks,omitempty"`
	}
)

// maker makes the vectors.
type maker struct {
	t    *testing.T
	file vectorFile
	l    *loaded
}

// subject is a receipt and the honest run of it.
type subject struct {
	rec receipt.Receipt
	run dispute.Run
	r   *rerun.Run
	cfg rerun.Config
}

// subject makes a receipt, with the trace that trace makes of the run if it is
// not nil.
func (m *maker) subject(a *answer, trace func(*rerun.Run) dispute.Source) *subject {
	m.t.Helper()
	rec, o := a.sign(m.t, nil)
	if trace != nil {
		rec, o = a.sign(m.t, trace(m.l.rerun(m.t, &rec, o)))
	}
	run, err := dispute.NewRun(rec)
	if err != nil {
		m.t.Fatal(err)
	}
	s := &subject{rec: rec, run: run, cfg: rerun.Config{Model: m.l.model, File: m.l.file, Print: m.l.print, Claims: rec.Claims(), Opening: o}}
	s.r = m.l.rerun(m.t, &rec, o)
	return s
}

func (m *maker) judge(name string, s *subject, proof any) []byte {
	m.t.Helper()
	data := m.encode(proof)
	f, err := dispute.Judge(s.run, data)
	if err != nil {
		m.t.Fatalf("%s: %v", name, err)
	}
	m.file.Judge = append(m.file.Judge, judgeCase{Name: name, Receipt: hex.EncodeToString(s.rec.Bytes()), Proof: hex.EncodeToString(data), Finding: f.String()})
	return data
}

func (m *maker) refuse(name string, s *subject, proof any) {
	m.t.Helper()
	data := m.encode(proof)
	f, err := dispute.Judge(s.run, data)
	if err == nil {
		m.t.Fatalf("%s: %s", name, f)
	}
	m.file.Refused = append(m.file.Refused, judgeCase{Name: name, Receipt: hex.EncodeToString(s.rec.Bytes()), Proof: hex.EncodeToString(data), Why: err.Error()})
}

func (m *maker) encode(proof any) []byte {
	m.t.Helper()
	if p, ok := proof.(*dispute.Proof); ok {
		data, err := p.Encode()
		if err != nil {
			m.t.Fatal(err)
		}
		return data
	}
	return proof.([]byte)
}

// decode is a copy of a proof to be changed.
func (m *maker) decode(data []byte) *dispute.Proof {
	m.t.Helper()
	p, err := dispute.DecodeProof(data)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// wrongLeaf is the proof against a prover that says something else about a
// leaf of the named operation.
func (m *maker) wrongLeaf(s *subject, c dispute.Cell, name string, leaf int) []byte {
	m.t.Helper()
	at := -1
	if c.Output {
		at = c.Position
	}
	lie := &rerun.Liar{Source: s.r, At: c, Op: m.op(s, c, name), Leaf: leaf}
	return accuse(m.t, s.run, lie, &wrongOutput{s.r, at})
}

// rightLeaf is the proof of a challenger that accuses a leaf that is right.
func (m *maker) rightLeaf(s *subject, c dispute.Cell, name string, leaf int) []byte {
	m.t.Helper()
	return accuse(m.t, s.run, s.r, &accusing{s.r, rerun.Liar{Source: s.r, At: c, Op: m.op(s, c, name), Leaf: leaf}})
}

func (m *maker) op(s *subject, c dispute.Cell, name string) int {
	m.t.Helper()
	for i, op := range s.r.Operations(c) {
		if op.Name == name {
			return i
		}
	}
	m.t.Fatalf("%s has no operation %s", c, name)
	return 0
}

// lyingAt is where the trace of a receipt has a wrong state.
var lyingAt = dispute.Cell{Layer: 1, Position: 4}

// TestVectors makes spec/vectors/dispute.json, and holds the file to what is
// made.
func TestVectors(t *testing.T) {
	s := testmodel.Models[1]
	m := &maker{t: t, l: load(t, write(t, &s)), file: vectorFile{Spec: "spec/dispute.md"}}
	greedy := &answer{prompt: testmodel.Text()[:4], claims: receipt.Claims{Model: m.l.print.Root(), Seed: receipt.SelfSeed(5)}}
	m.l.draw(t, greedy, 3)
	drawn := &answer{prompt: testmodel.Text()[3:9], bias: receipt.Bias{7: 0.5}, claims: receipt.Claims{
		Model: m.l.print.Root(), Seed: receipt.NonceSeed([]byte("thirteen bytes")),
		Params: receipt.Params{Temperature: 0.9, TopK: 30, TopP: 0.9, RepeatPenalty: 1.1},
	}}
	m.l.draw(t, drawn, 3)
	plain := m.subject(greedy, nil)
	traced := m.subject(drawn, func(r *rerun.Run) dispute.Source { return r })
	lying := m.subject(drawn, func(r *rerun.Run) dispute.Source { return &rerun.Liar{Source: r, At: lyingAt} })
	m.proofs(plain, traced, lying, greedy)
	m.games(plain, traced)

	data, err := json.MarshalIndent(&m.file, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	data = append(data, '\n')
	root, err := testdata.Root()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(root, "spec", "vectors", "dispute.json")
	if *update {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%s is not what the package makes; if that is intended, run go test ./internal/audit/rerun -run Vectors -update", path)
	}
}

func (m *maker) proofs(plain, traced, lying *subject, greedy *answer) {
	layer, first, output := lyingAt, dispute.Cell{Position: 3}, dispute.Cell{Output: true, Position: 1}
	norm := m.judge("a leaf that needs x, an earlier leaf and the model", plain, m.wrongLeaf(plain, layer, "attn_norm", 0))
	m.judge("a leaf of a product", lying, m.wrongLeaf(lying, layer, "ffn_down", 1))
	m.judge("a leaf that needs kv", lying, m.wrongLeaf(lying, layer, "gather", 1))
	m.judge("a leaf that needs a token", plain, m.wrongLeaf(plain, first, "token_embd", 0))
	m.judge("a leaf that needs many tokens", traced, m.wrongLeaf(traced, output, "window", 0))
	m.judge("a leaf of a draw", traced, m.wrongLeaf(traced, output, "pick", 0))

	// A result: every leaf is right, the state or the token is another.
	state := &rerun.Liar{Source: plain.r, At: layer}
	closing := m.judge("another state than that of the cell", plain, accuse(m.t, plain.run, &states{state}, plain.r))
	forged := *greedy
	forged.output = append([]int32{}, greedy.output...)
	forged.output[1] = (forged.output[1] + 1) % testmodel.Vocab
	wrong := m.subject(&forged, nil)
	m.judge("another token than that of the cell", wrong, accuse(m.t, wrong.run, wrong.r, wrong.r))

	// Sizes.
	m.judge("another number of operations", plain, accuse(m.t, plain.run, &shorter{state}, plain.r))
	m.judge("a layer too many", plain, accuse(m.t, plain.run, &layers{plain.r}, plain.r))
	impossible := *greedy
	impossible.prompt = append([]int32{}, greedy.prompt...)
	impossible.prompt[2] = testmodel.Vocab
	rec, o := impossible.sign(m.t, nil)
	run, err := dispute.NewRun(rec)
	if err != nil {
		m.t.Fatal(err)
	}
	cell := dispute.Cell{Position: 2}
	d, err := rerun.Describe(rerun.Config{Model: m.l.model, File: m.l.file, Print: m.l.print, Claims: rec.Claims(), Opening: o}, cell)
	if err != nil {
		m.t.Fatal(err)
	}
	p, err := dispute.Impossible(run, cell, d)
	if err != nil {
		m.t.Fatal(err)
	}
	m.judge("a token that is not in the vocabulary", &subject{rec: rec, run: run}, p)

	// Two statements.
	one, other := m.serve(plain, plain.r), m.serve(plain, &states{state})
	m.judge("two traces", plain, &dispute.Proof{Fault: dispute.TwoTraces, Trace: one, OtherTrace: other})
	a, b := m.serveCell(plain, plain.r, layer), m.serveCell(plain, state, layer)
	m.judge("two statements of a cell", plain, &dispute.Proof{Fault: dispute.TwoCells, Layer: layer.Layer, Position: layer.Position, Cell: a, OtherCell: b})

	m.refuse("a leaf that is right", plain, m.rightLeaf(plain, layer, "attn_norm", 0))
	m.refuse("a token that is right", traced, m.rightLeaf(traced, output, "token", 0))
	m.refuse("the proof of another receipt", traced, norm)
	for _, c := range []struct {
		name   string
		change func(p *dispute.Proof)
	}{
		{"another leaf than that of the path", func(p *dispute.Proof) { p.Hash[0] ^= 1 }},
		{"another operation", func(p *dispute.Proof) { p.Operation++ }},
		{"a cell that is not there", func(p *dispute.Proof) { p.Layer = 2 }},
		{"another cell", func(p *dispute.Proof) { p.Position-- }},
		{"another value of an input", func(p *dispute.Proof) { p.Inputs[0].Value[5] ^= 1 }},
		{"a shorter value", func(p *dispute.Proof) { p.Inputs[0].Value = p.Inputs[0].Value[4:] }},
		{"a longer value", func(p *dispute.Proof) { p.Inputs[0].Value = append(p.Inputs[0].Value, 0) }},
		{"another state beside an input", func(p *dispute.Proof) { p.Inputs[0].State.Beside[0] ^= 1 }},
		{"an input too few", func(p *dispute.Proof) { p.Inputs = p.Inputs[1:] }},
		{"inputs exchanged", func(p *dispute.Proof) { p.Inputs[0], p.Inputs[1] = p.Inputs[1], p.Inputs[0] }},
		{"an empty list where there is none", func(p *dispute.Proof) { p.Inputs[0].Opening = []byte{} }},
		{"another root of an operation", func(p *dispute.Proof) { p.Cell.Roots[0] ^= 1 }},
		{"a changed signature of the cell", func(p *dispute.Proof) { p.Cell.Signature[0] ^= 1 }},
		{"another trace", func(p *dispute.Proof) { p.Trace.Root[0] ^= 1 }},
		{"a trace of other layers", func(p *dispute.Proof) { p.Trace.Layers = 3 }},
		{"no description", func(p *dispute.Proof) { p.Description = nil }},
		{"a field of another fault", func(p *dispute.Proof) { p.Token = []byte{1} }},
		{"an unknown fault", func(p *dispute.Proof) { p.Fault = 9 }},
		{"a fault of the cell's size where there is none", func(p *dispute.Proof) {
			*p = dispute.Proof{Fault: dispute.WrongCell, Trace: p.Trace, Layer: p.Layer, Position: p.Position, Cell: p.Cell, Description: p.Description}
		}},
		{"one trace, twice", func(p *dispute.Proof) {
			*p = dispute.Proof{Fault: dispute.TwoTraces, Trace: p.Trace, OtherTrace: p.Trace}
		}},
		{"one statement of a cell, twice", func(p *dispute.Proof) {
			*p = dispute.Proof{Fault: dispute.TwoCells, Layer: p.Layer, Position: p.Position, Cell: p.Cell, OtherCell: p.Cell}
		}},
	} {
		p := m.decode(norm)
		c.change(p)
		m.refuse(c.name, plain, p)
	}
	// Who commits to a trace of another size is to be shown that.
	long := m.decode(norm)
	long.Trace = m.serve(plain, &layers{plain.r})
	m.refuse("a leaf of a trace with a layer too many", plain, long)
	same := m.decode(closing)
	same.Trace = one
	m.refuse("a state of another trace", plain, same)
	m.refuse("bytes after the proof", plain, append(bytes.Clone(norm), 0))
	m.refuse("no proof", plain, []byte{0xa0})
}

// states is a liar only about the state.
type states struct{ *rerun.Liar }

func (s *states) Cell(c dispute.Cell) (dispute.Values, int, error) { return s.Source.Cell(c) }

// shorter says that cells have an operation less.
type shorter struct{ *rerun.Liar }

func (s *shorter) Cell(c dispute.Cell) (dispute.Values, int, error) {
	v, n, err := s.Source.Cell(c)
	return v, n - 1, err
}

// layers says that there is a layer more.
type layers struct{ *rerun.Run }

func (l *layers) States() ([][]canon.Hash, error) {
	s, err := l.Run.States()
	return append(s[:len(s):len(s)], s[0]), err
}

func (m *maker) serve(s *subject, source dispute.Source) *dispute.TraceStatement {
	m.t.Helper()
	t, err := dispute.ServeTrace(s.run, proverKey, nil, source)
	if err != nil {
		m.t.Fatal(err)
	}
	return &t.Statement
}

func (m *maker) serveCell(s *subject, source dispute.Source, c dispute.Cell) *dispute.CellStatement {
	m.t.Helper()
	t, err := dispute.ServeCell(s.run, proverKey, source, c)
	if err != nil {
		m.t.Fatal(err)
	}
	return &t.Statement
}

// games are whole games, their messages with others between them.
func (m *maker) games(plain, traced *subject) {
	layer, output := dispute.Cell{Layer: 1, Position: 4}, dispute.Cell{Output: true, Position: 1}
	lie := &rerun.Liar{Source: plain.r, At: layer, Op: m.op(plain, layer, "ffn_down"), Leaf: 3}
	m.game("a wrong leaf", plain, 8, lie, plain.r, "")
	m.game("a leaf that is right", traced, 1024, traced.r, &accusing{traced.r, rerun.Liar{Source: traced.r, At: layer, Op: 2, Leaf: 0}}, "")
	m.game("a wrong draw", traced, 16, &rerun.Liar{Source: traced.r, At: output, Op: m.op(traced, output, "pick")}, &wrongOutput{traced.r, 1}, "")
	m.game("a silent prover", plain, 8, lie, plain.r, "silent")
	m.game("a prover that shows something else below a node", plain, 8, lie, plain.r, "changed")
}

func (m *maker) game(name string, s *subject, fanout int, source dispute.Source, w dispute.Witness, end string) {
	m.t.Helper()
	terms := dispute.Terms{Challenger: challengerKey.Public().(ed25519.PublicKey), Nonce: []byte(name), Move: 10, Total: 40, Fanout: fanout}
	if len(name) > 32 {
		terms.Nonce = nil
	}
	salt := master.Trace()
	referee, err := dispute.NewReferee(s.run, terms)
	if err != nil {
		m.t.Fatal(err)
	}
	prover, err := dispute.NewProver(s.run, terms, proverKey, salt[:], source)
	if err != nil {
		m.t.Fatal(err)
	}
	challenger, err := dispute.NewChallenger(s.run, terms, challengerKey, w)
	if err != nil {
		m.t.Fatal(err)
	}
	encoded, err := terms.Encode()
	if err != nil {
		m.t.Fatal(err)
	}
	id := referee.ID()
	g := vectorGame{
		Name: name, Receipt: hex.EncodeToString(s.rec.Bytes()), Challenger: hex.EncodeToString(terms.Challenger), Nonce: hex.EncodeToString(terms.Nonce),
		Move: terms.Move, Total: terms.Total, Fanout: fanout, Terms: hex.EncodeToString(encoded), ID: hex.EncodeToString(id[:]),
	}
	head := id
	for n := 0; ; n++ {
		o, over := referee.Outcome()
		if over {
			g.Winner, g.Reason = o.Winner.String(), o.Reason.String()
			m.file.Games = append(m.file.Games, g)
			return
		}
		var who player = challenger
		if n%2 == 1 {
			who = prover
		}
		message, err := who.Move()
		if err != nil {
			m.t.Fatal(err)
		}
		switch {
		case end == "silent" && n == 3:
			referee.Tick(11)
			g.Steps = append(g.Steps, step{Ticks: 11})
			continue
		case end == "changed" && n == 5:
			message = forge(m.t, message, head)
		}
		if n%3 == 1 { // what is to be ignored
			bad := bytes.Clone(message)
			bad[len(bad)-1] ^= 1
			again := []byte(nil)
			if k := len(g.Steps) - 1; k >= 0 {
				if again, err = hex.DecodeString(g.Steps[k].Message); err != nil {
					m.t.Fatal(err)
				}
			}
			for _, b := range [][]byte{bad, again} {
				if referee.Step(b) == nil {
					m.t.Fatalf("%s: junk was taken before message %d", name, n)
				}
				g.Steps = append(g.Steps, step{Message: hex.EncodeToString(b), Ignored: true})
			}
			referee.Tick(1)
			g.Steps = append(g.Steps, step{Ticks: 1})
		}
		head = digest(m.t, message, head)
		g.Steps = append(g.Steps, step{Message: hex.EncodeToString(message)})
		if err := referee.Step(message); err != nil {
			m.t.Fatal(err)
		}
		prover.Step(message)
		challenger.Step(message)
	}
}

// wire is a message, section 5 of spec/dispute.md.
type wire struct {
	_         struct{} `cbor:",toarray"`
	Dispute   []byte
	Round     int
	Kind      uint8
	Body      []byte
	Signature []byte
}

func digest(t *testing.T, message []byte, head canon.Hash) canon.Hash {
	t.Helper()
	var w wire
	if err := canon.Unmarshal(message, &w); err != nil {
		t.Fatal(err)
	}
	return canon.Sum("aval dispute message/1", w.Dispute, []byte{byte(w.Round), 0, 0, 0, 0, 0, 0, 0}, head[:], []byte{w.Kind}, w.Body)
}

// forge changes the last hash that an answer shows, and signs it.
func forge(t *testing.T, message []byte, head canon.Hash) []byte {
	t.Helper()
	var w wire
	if err := canon.Unmarshal(message, &w); err != nil {
		t.Fatal(err)
	}
	w.Body[len(w.Body)-1] ^= 1
	data, err := canon.Marshal(&w)
	if err != nil {
		t.Fatal(err)
	}
	d := digest(t, data, head)
	w.Signature = ed25519.Sign(proverKey, d[:])
	if data, err = canon.Marshal(&w); err != nil {
		t.Fatal(err)
	}
	return data
}
