package dispute_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
)

// recorded is a game that was played to its end, to be played again from
// anywhere.
type recorded struct {
	name   string
	g      *toyGame
	terms  dispute.Terms
	w      dispute.Witness
	honest dispute.Party // the one who wins
	log    [][]byte
}

// recordings are short games that use every message and every kind of input.
func recordings(t *testing.T) (games []recorded) {
	t.Helper()
	s := toyShape{layers: 2, prompt: 3, drawn: 3}
	faults := []place{
		{cell: dispute.Cell{Layer: 1, Position: 3}, op: 0, leaf: 1, name: "input"},   // x
		{cell: dispute.Cell{Layer: 0, Position: 2}, op: 0, leaf: 0, name: "input"},   // a token
		{cell: dispute.Cell{Layer: 1, Position: 4}, op: 3, leaf: 2, name: "gather"},  // kv
		{cell: dispute.Cell{Layer: 0, Position: 4}, op: 4, leaf: 1, name: "sum"},     // a chain
		{cell: dispute.Cell{Layer: 1, Position: 1}, op: 5, leaf: 2, name: "product"}, // the model
		{cell: dispute.Cell{Output: true, Position: 2}, op: 2, leaf: 0, name: "token"},
	}
	for i, at := range faults {
		for _, trace := range []bool{false, true} {
			s.trace = trace
			r := rand.New(rand.NewPCG(uint64(i), 2))
			g := newToyGame(r, s, func(*toyParty) func(dispute.Cell, int, int, []byte) []byte {
				return func(c dispute.Cell, op, leaf int, v []byte) []byte {
					if c == at.cell && op == at.op && leaf == at.leaf {
						v[0] ^= 1
					}
					return v
				}
			}, nil)
			games = append(games, recorded{"wrong " + at.name, g, g.terms(3), g.challenger, dispute.ChallengerParty, nil})
			g = newToyGame(r, s, nil, nil)
			p := &pretender{g.challenger, at.cell, at.op, at.leaf, i == 3}
			games = append(games, recorded{"right " + at.name, g, g.terms(3), p, dispute.ProverParty, nil})
		}
	}
	for i := range games {
		r := &games[i]
		tab := newTable(t, r.g, r.terms)
		prover, challenger := r.parties(t, nil)
		if res := tab.play(nil, prover, challenger); res.Winner != r.honest {
			t.Fatalf("%s: %v", r.name, res.Outcome)
		}
		r.log = tab.log
	}
	return games
}

// parties makes the machines of a game in the state after the messages.
func (r *recorded) parties(t *testing.T, log [][]byte) (player, player) {
	t.Helper()
	p, err := dispute.NewProver(r.g.run, r.terms, r.g.proverKey, r.g.salt, r.g.prover)
	if err != nil {
		t.Fatal(err)
	}
	c, err := dispute.NewChallenger(r.g.run, r.terms, r.g.key, r.w)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range log {
		if err := errors.Join(p.Step(m), c.Step(m)); err != nil {
			t.Fatal(err)
		}
	}
	return p, c
}

// resume is a table in the state after the messages.
func (r *recorded) resume(t *testing.T, log [][]byte) (*table, player, player) {
	t.Helper()
	tab := newTable(t, r.g, r.terms)
	for _, m := range log {
		if err := tab.referee.Step(m); err != nil {
			t.Fatal(err)
		}
	}
	tab.log = append(tab.log, log...)
	p, c := r.parties(t, log)
	return tab, p, c
}

// TestRestart: parties that are made anew from the messages so far play on as
// if nothing had been.
func TestRestart(t *testing.T) {
	for _, r := range recordings(t) {
		for k := range r.log {
			tab, p, c := r.resume(t, r.log[:k])
			tab.play(nil, p, c)
			for i, m := range tab.log {
				if !bytes.Equal(m, r.log[i]) {
					t.Errorf("%s: after a restart before message %d, message %d differs", r.name, k, i)
				}
			}
		}
	}
}

// TestMutations changes each field of each message of games. Signed by nobody
// it is ignored; signed by its sender it cannot make the other one lose.
func TestMutations(t *testing.T) {
	count := map[string]int{}
	every := max(1, 400/(*games))
	n := 0
	for _, rec := range recordings(t) {
		for k, m := range rec.log {
			sender, key := dispute.ChallengerParty, rec.g.key
			if k%2 == 1 {
				sender, key = dispute.ProverParty, rec.g.proverKey
			}
			head := heads(canon.Hash(parse(m).Dispute), rec.log)[k]
			other, _, _ := rec.resume(t, rec.log[:k])
			for _, body := range mutants(parse(m).Body) {
				if n++; n%every != 0 {
					continue
				}
				count["changed"]++
				w := parse(m)
				w.Body = body
				if err := other.referee.Step(must(canon.Marshal(&w))); !errors.Is(err, dispute.ErrIgnored) {
					t.Fatalf("%s, message %d: a changed body under the old signature: %v", rec.name, k, err)
				}
				if sender == rec.honest {
					continue
				}
				tab, p, c := rec.resume(t, rec.log[:k])
				signed := w.sign(key, head)
				if tab.referee.Step(signed) != nil {
					continue // longer than any message
				}
				count["signed"]++
				tab.log = append(tab.log, signed)
				if err := errors.Join(p.Step(signed), c.Step(signed)); err != nil {
					t.Fatal(err)
				}
				res := tab.play(nil, &stubborn{p}, &stubborn{c})
				count[res.Reason.String()]++
				if res.Winner != rec.honest {
					t.Errorf("%s, message %d changed to %x: %v", rec.name, k, body, res.Outcome)
				}
			}
			for i := range m { // each byte
				if n++; n%every != 0 {
					continue
				}
				b := bytes.Clone(m)
				b[i] ^= 1 << (i % 8)
				if err := other.referee.Step(b); !errors.Is(err, dispute.ErrIgnored) {
					t.Fatalf("%s, message %d with byte %d changed: %v", rec.name, k, i, err)
				}
				count["bytes"]++
			}
			if err := other.referee.Step(m); err != nil {
				t.Errorf("%s, message %d after what was ignored: %v", rec.name, k, err)
			}
		}
	}
	t.Log(count)
}

// stubborn is a party that says nothing when its machine does not know how to
// go on, since what was said in its name is not what it would have said.
type stubborn struct{ player }

func (s *stubborn) Move() ([]byte, error) {
	m, _ := s.player.Move()
	return m, nil
}

// TestProofMutations changes each field of proofs of fraud: none of an honest
// prover convicts, and those that still convict a liar say the same.
func TestProofMutations(t *testing.T) {
	for _, rec := range recordings(t) {
		last := parse(rec.log[len(rec.log)-1])
		good, _ := dispute.Judge(rec.g.run, last.Body)
		for _, p := range mutants(last.Body) {
			f, err := dispute.Judge(rec.g.run, p)
			if err != nil && !errors.Is(err, dispute.ErrProof) {
				t.Fatalf("%s: %v, want ErrProof", rec.name, err)
			}
			if err == nil {
				t.Errorf("%s: convicted by a changed proof: %v, before %v", rec.name, f, good)
			}
		}
	}
}

// TestSilence: who stops talking loses, at every message, within its budget.
func TestSilence(t *testing.T) {
	for _, rec := range recordings(t)[:4] {
		for k := range rec.log {
			tab, p, c := rec.resume(t, rec.log[:k])
			res := tab.play(nil, &twisted{p, func([]byte) []byte { return nil }}, &twisted{c, func([]byte) []byte { return nil }})
			mute := dispute.ChallengerParty
			if k%2 == 1 {
				mute = dispute.ProverParty
			}
			if res.Winner == mute || res.Reason != dispute.Silence || res.ticks != rec.terms.Move+1 {
				t.Errorf("%s, silent from message %d: %v after %d ticks", rec.name, k, res.Outcome, res.ticks)
			}
		}
	}
}

// TestMoves: a message of a kind, or with a body, that has no place there loses
// for the one that signed it, unless it happens to be another of its moves.
func TestMoves(t *testing.T) {
	for _, rec := range recordings(t)[:6] {
		kinds := map[uint8][]byte{}
		for _, m := range rec.log {
			w := parse(m)
			kinds[w.Kind] = w.Body
		}
		hs := heads(canon.Hash(parse(rec.log[0]).Dispute), rec.log)
		for k, m := range rec.log {
			key, sender := rec.g.key, dispute.ChallengerParty
			if k%2 == 1 {
				key, sender = rec.g.proverKey, dispute.ProverParty
			}
			w := parse(m)
			// The kind of each other message, with its own body.
			for kind := range uint8(10) {
				if kind == w.Kind || sender == dispute.ChallengerParty && (kind == 4 || kind == 2 && k > 0 || kind == 3 && k > 0 && !named(rec.log[:k])) {
					continue // a move, if maybe a bad one
				}
				tab, _, _ := rec.resume(t, rec.log[:k])
				bad := w
				bad.Kind, bad.Body = kind, kinds[kind]
				if err := tab.referee.Step(bad.sign(key, hs[k])); err != nil {
					t.Fatal(err)
				}
				o, over := tab.referee.Outcome()
				if !over || o.Winner == sender || o.Reason != dispute.Malformed {
					t.Errorf("%s, message %d of kind %d: %v", rec.name, k, kind, o)
				}
			}
			// Below a leaf, and beyond the last part, there is nothing. The last
			// answer before a cell or a proof ends in leaves.
			if sender == dispute.ChallengerParty && k > 0 && w.Kind != 2 {
				for part := range 12 {
					tab, _, _ := rec.resume(t, rec.log[:k])
					bad := w
					bad.Kind, bad.Body = 2, must(canon.Marshal([]int{part}))
					if err := tab.referee.Step(bad.sign(key, hs[k])); err != nil {
						t.Fatal(err)
					}
					if o, over := tab.referee.Outcome(); leaves(rec.log[:k]) && (!over || o.Winner == sender) {
						t.Errorf("%s, message %d asks below leaf %d: %v", rec.name, k, part, o)
					}
				}
			}
		}
	}
}

// named reports whether a cell was named.
func named(log [][]byte) bool {
	return slices.ContainsFunc(log, func(m []byte) bool { return parse(m).Kind == 3 })
}

// leaves reports whether the last answer answered a child, so that by the way
// the recordings are played it ends in leaves.
func leaves(log [][]byte) bool { return parse(log[len(log)-1]).Kind == 6 }

// TestTotal: a party that uses all of its time for each move runs out of it.
func TestTotal(t *testing.T) {
	rec := recordings(t)[0]
	rec.terms.Move, rec.terms.Total = 20, 50
	tab := newTable(t, rec.g, rec.terms)
	p, c := rec.parties(t, nil)
	ticks := uint64(0)
	for {
		o, over := tab.referee.Outcome()
		if over {
			if o.Winner != dispute.ProverParty || o.Reason != dispute.Silence {
				t.Error(o)
			}
			break
		}
		slow := c
		if mover, _ := tab.referee.Turn(); mover == dispute.ProverParty {
			slow = p
		}
		for range 20 {
			tab.referee.Tick(1)
			p.Tick(1)
			c.Tick(1)
			ticks++
		}
		m, err := slow.Move()
		if err != nil {
			t.Fatal(err)
		}
		if m == nil {
			continue
		}
		if err := errors.Join(tab.referee.Step(m), p.Step(m), c.Step(m)); err != nil {
			t.Fatal(err)
		}
	}
	if ticks > rec.terms.Bound() {
		t.Errorf("%d ticks, the bound is %d", ticks, rec.terms.Bound())
	}
	if tab.referee.Step(tab.log0(t, rec)) == nil {
		t.Error("the referee took a message after the end")
	}
	for _, n := range []uint64{1 << 63, 1<<64 - 1} { // no overflow
		tab := newTable(t, rec.g, rec.terms)
		tab.referee.Tick(n)
		tab.referee.Tick(n)
		if o, over := tab.referee.Outcome(); !over || o.Winner != dispute.ProverParty {
			t.Errorf("after %d ticks: %v", n, o)
		}
	}
}

func (tab *table) log0(t *testing.T, rec recorded) []byte {
	_, c := rec.parties(t, nil)
	return must(c.Move())
}

// TestEquivocation: a prover that says one thing outside of the game and
// another in it loses by that, even if what it says in it is right.
func TestEquivocation(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	s := toyShape{layers: 2, prompt: 3, drawn: 3}
	g := newToyGame(r, s, nil, nil)
	liar := *g.prover
	liar.states = [][]canon.Hash{g.prover.states[0], append([]canon.Hash{{1}}, g.prover.states[1][1:]...)}
	liar.shown = changeLeaf(r, dispute.Cell{Layer: 1})
	terms := g.terms(0)

	t.Run("trace", func(t *testing.T) {
		p, c := g.parties(t, terms)
		c.RememberTrace(&must(dispute.ServeTrace(g.run, g.proverKey, nil, &liar)).Statement)
		res := newTable(t, g, terms).play(r, p, c)
		if res.Winner != dispute.ChallengerParty || res.Finding.Fault != dispute.TwoTraces {
			t.Error(res.Outcome)
		}
	})
	t.Run("cell", func(t *testing.T) {
		at := dispute.Cell{Layer: 1}
		p, _ := g.parties(t, terms)
		c, err := dispute.NewChallenger(g.run, terms, g.key, &pretender{g.challenger, at, 0, 0, true})
		if err != nil {
			t.Fatal(err)
		}
		c.RememberCell(at, &must(dispute.ServeCell(g.run, g.proverKey, &liar, at)).Statement)
		res := newTable(t, g, terms).play(r, p, c)
		if res.Winner != dispute.ChallengerParty || res.Finding.Fault != dispute.TwoCells || res.Finding.Cell != at {
			t.Error(res.Outcome)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		p, c := g.parties(t, terms)
		c.RememberTrace(&must(dispute.ServeTrace(g.run, g.proverKey, nil, g.prover)).Statement)
		for l := range s.layers {
			c.RememberCell(dispute.Cell{Layer: l}, &must(dispute.ServeCell(g.run, g.proverKey, g.prover, dispute.Cell{Layer: l})).Statement)
		}
		if res := newTable(t, g, terms).play(r, p, c); res.Winner != dispute.ProverParty {
			t.Error(res.Outcome)
		}
	})
	t.Run("operations", func(t *testing.T) {
		liar.shown = func(_ dispute.Cell, v toyValues) toyValues { return v[1:] }
		trace := must(dispute.ServeTrace(g.run, g.proverKey, nil, &liar))
		c, _, err := dispute.Find(g.run, g.challenger, trace)
		if err != nil || c != (dispute.Cell{Layer: 1}) {
			t.Fatal(c, err)
		}
		proof, err := dispute.Accuse(g.run, g.challenger, trace, must(dispute.ServeCell(g.run, g.proverKey, &liar, c)))
		if err != nil {
			t.Fatal(err)
		}
		f, err := dispute.Judge(g.run, must(proof.Encode()))
		if err != nil || f.Fault != dispute.WrongCell {
			t.Error(f, err)
		}
		// The proof is the challenger's first message, if it likes.
		p, ch := g.parties(t, terms)
		ch.Accuse(must(proof.Encode()))
		res := newTable(t, g, terms).play(r, p, ch)
		if res.Winner != dispute.ChallengerParty || res.messages != 1 {
			t.Error(res.messages, res.Outcome)
		}
	})
}

// TestServedOtherwise: what is handed over and is not what the prover signed
// proves nothing, and is noticed.
func TestServedOtherwise(t *testing.T) {
	rec := recordings(t)[0]
	g := rec.g
	trace := must(dispute.ServeTrace(g.run, g.proverKey, g.salt, g.prover))
	at, _, err := dispute.Find(g.run, g.challenger, trace)
	if err != nil {
		t.Fatal(err)
	}
	cell := must(dispute.ServeCell(g.run, g.proverKey, g.prover, at))
	for _, c := range []struct {
		name   string
		change func(*dispute.ServedTrace, *dispute.ServedCell)
	}{
		{"a state", func(x *dispute.ServedTrace, _ *dispute.ServedCell) { x.States[1][2] ^= 1 }},
		{"a state less", func(x *dispute.ServedTrace, _ *dispute.ServedCell) { x.States[1] = x.States[1][32:] }},
		{"a layer less", func(x *dispute.ServedTrace, _ *dispute.ServedCell) { x.States = x.States[1:] }},
		{"the root", func(x *dispute.ServedTrace, _ *dispute.ServedCell) { x.Statement.Root[0] ^= 1 }},
		{"the signature of the trace", func(x *dispute.ServedTrace, _ *dispute.ServedCell) { x.Statement.Signature[0] ^= 1 }},
		{"a leaf", func(_ *dispute.ServedTrace, x *dispute.ServedCell) { x.Leaves[3][0] ^= 1 }},
		{"a leaf less", func(_ *dispute.ServedTrace, x *dispute.ServedCell) { x.Leaves[0] = x.Leaves[0][32:] }},
		{"no leaves", func(_ *dispute.ServedTrace, x *dispute.ServedCell) { x.Leaves[0] = nil }},
		{"an operation less", func(_ *dispute.ServedTrace, x *dispute.ServedCell) { x.Leaves = x.Leaves[1:] }},
		{"a root of an operation", func(_ *dispute.ServedTrace, x *dispute.ServedCell) { x.Statement.Roots[0] ^= 1 }},
		{"the signature of the cell", func(_ *dispute.ServedTrace, x *dispute.ServedCell) { x.Statement.Signature[0] ^= 1 }},
	} {
		a := must(dispute.DecodeServedTrace(must(trace.Encode())))
		b := must(dispute.DecodeServedCell(must(cell.Encode())))
		if _, err := dispute.Accuse(g.run, g.challenger, a, b); err != nil {
			t.Fatal(err)
		}
		c.change(a, b)
		if _, err := dispute.Accuse(g.run, g.challenger, a, b); !errors.Is(err, dispute.ErrServed) {
			t.Errorf("%s changed: %v, want ErrServed", c.name, err)
		}
	}
}

// TestOtherDispute: proofs and messages of one game are worth nothing in
// another.
func TestOtherDispute(t *testing.T) {
	recs := recordings(t)
	for i, a := range recs {
		proof := parse(a.log[len(a.log)-1]).Body
		for _, k := range []int{(i + 1) % len(recs), (i + 2) % len(recs)} {
			b := recs[k]
			if f, err := dispute.Judge(b.g.run, proof); !errors.Is(err, dispute.ErrProof) {
				t.Errorf("the proof of %q (%d) in %q (%d): %v, %v", a.name, i, b.name, k, f, err)
			}
			for n := range min(len(a.log), len(b.log)) {
				tab, _, _ := b.resume(t, b.log[:n])
				if err := tab.referee.Step(a.log[n]); !errors.Is(err, dispute.ErrIgnored) {
					t.Errorf("message %d of another game: %v", n, err)
				}
			}
		}
	}
	// The same parties about the same receipt again, under another nonce.
	a := recs[0]
	b := a
	b.terms.Nonce = []byte("again")
	for n, m := range a.log {
		tab, _, _ := b.resume(t, nil)
		if err := tab.referee.Step(m); !errors.Is(err, dispute.ErrIgnored) {
			t.Errorf("message %d of the game before: %v", n, err)
		}
	}
}

// TestTerms: what cannot be played is refused before the first message.
func TestTerms(t *testing.T) {
	g := newToyGame(rand.New(rand.NewPCG(1, 1)), toyShape{layers: 1, prompt: 1, drawn: 1}, nil, nil)
	good := g.terms(0)
	for _, c := range []struct {
		name string
		bad  func(*dispute.Terms)
	}{
		{"no key", func(t *dispute.Terms) { t.Challenger = nil }},
		{"a short key", func(t *dispute.Terms) { t.Challenger = t.Challenger[1:] }},
		{"the prover's key", func(t *dispute.Terms) { t.Challenger = g.proverKey.Public().(ed25519.PublicKey) }},
		{"a key that signs everything", func(t *dispute.Terms) { t.Challenger = append(ed25519.PublicKey{1}, make([]byte, 31)...) }},
		{"a long nonce", func(t *dispute.Terms) { t.Nonce = make([]byte, 33) }},
		{"too much time", func(t *dispute.Terms) { t.Total = 1 << 41 }},
		{"too much time a move", func(t *dispute.Terms) { t.Move = 1 << 41 }},
		{"one hash", func(t *dispute.Terms) { t.Fanout = 1 }},
		{"too many hashes", func(t *dispute.Terms) { t.Fanout = 1025 }},
	} {
		terms := good
		c.bad(&terms)
		if _, err := dispute.NewReferee(g.run, terms); err == nil {
			t.Errorf("%s: no error", c.name)
		}
	}
	if _, err := dispute.NewReferee(g.run, good); err != nil {
		t.Error(err)
	}
}
