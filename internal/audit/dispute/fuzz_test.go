package dispute_test

import (
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/internal/canon"
)

// FuzzJudge: nothing convicts a prover whose run is right, and nothing breaks
// the judge.
func FuzzJudge(f *testing.F) {
	s := toyShape{layers: 2, prompt: 3, drawn: 2}
	g := newToyGame(rand.New(rand.NewPCG(1, 1)), s, nil, nil)
	for i := range uint64(10) {
		r := rand.New(rand.NewPCG(i, 4))
		if p, err := g.served(&pretender{g.challenger, randomCell(r, s), r.IntN(9), r.IntN(9), i%3 == 0}); err == nil {
			f.Add(must(p.Encode()))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		finding, err := dispute.Judge(g.run, data)
		if err == nil {
			t.Fatalf("an honest prover is convicted: %v", finding)
		}
		if !errors.Is(err, dispute.ErrProof) {
			t.Fatalf("%v, want ErrProof", err)
		}
		if p, err := dispute.DecodeProof(data); err == nil {
			if again := must(p.Encode()); string(again) != string(data) {
				t.Fatal("another encoding of the same proof")
			}
		}
	})
}

// FuzzBody: no body of any kind, signed by the one whose turn it is, breaks the
// referee or makes the other one lose.
func FuzzBody(f *testing.F) {
	s := toyShape{layers: 2, prompt: 3, drawn: 2}
	g := newToyGame(rand.New(rand.NewPCG(1, 1)), s, nil, nil)
	terms := g.terms(4)
	w := &pretender{g.challenger, dispute.Cell{Layer: 1, Position: 2}, 3, 1, false}
	prover := must(dispute.NewProver(g.run, terms, g.proverKey, g.salt, g.prover))
	challenger := must(dispute.NewChallenger(g.run, terms, g.key, w))
	var log [][]byte
	for {
		_, over := prover.Outcome()
		if over {
			break
		}
		m := must(prover.Move())
		if m == nil {
			m = must(challenger.Move())
		}
		log = append(log, m)
		if err := errors.Join(prover.Step(m), challenger.Step(m)); err != nil {
			f.Fatal(err)
		}
		p := parse(m)
		f.Add(uint8(p.Round), p.Kind, p.Body)
	}
	f.Fuzz(func(t *testing.T, round, kind uint8, body []byte) {
		k := int(round) % len(log)
		referee := must(dispute.NewReferee(g.run, terms))
		for _, m := range log[:k] {
			if err := referee.Step(m); err != nil {
				t.Fatal(err)
			}
		}
		key, own := g.key, dispute.ChallengerParty
		if k%2 == 1 {
			key, own = g.proverKey, dispute.ProverParty
		}
		first := parse(log[0])
		w := wire{Dispute: first.Dispute, Round: k, Kind: kind, Body: body}
		_ = referee.Step(w.sign(key, heads(canon.Hash(first.Dispute), log)[k]))
		if o, over := referee.Outcome(); over && o.Winner == own {
			t.Fatalf("message %d of the %s made it win: %v", k, own, o)
		}
	})
}

// FuzzMessage: bytes that nobody signed are ignored.
func FuzzMessage(f *testing.F) {
	g := newToyGame(rand.New(rand.NewPCG(1, 1)), toyShape{layers: 1, prompt: 1, drawn: 1}, nil, nil)
	c := must(dispute.NewChallenger(g.run, g.terms(0), g.key, g.challenger))
	good := must(c.Move())
	f.Add(good[1:])
	f.Add(append(good, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		if string(data) == string(good) {
			return
		}
		_, _ = dispute.Look(data) // which may read it, but not fail otherwise
		referee := must(dispute.NewReferee(g.run, g.terms(0)))
		if err := referee.Step(data); !errors.Is(err, dispute.ErrIgnored) {
			t.Fatalf("%v, want ErrIgnored", err)
		}
	})
}

// FuzzTerms: terms that are read are written the same.
func FuzzTerms(f *testing.F) {
	key := make([]byte, 32)
	for _, t := range []dispute.Terms{
		{Challenger: key}, {Challenger: key, Nonce: []byte("n"), Move: 1, Total: 1 << 40, Fanout: 2}, {Challenger: key, Nonce: make([]byte, 32), Fanout: 1024},
	} {
		f.Add(must(t.Encode()))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		terms, err := dispute.DecodeTerms(data)
		if err != nil {
			return
		}
		if again := must(terms.Encode()); string(again) != string(data) {
			t.Fatal("another encoding of the same terms")
		}
	})
}
