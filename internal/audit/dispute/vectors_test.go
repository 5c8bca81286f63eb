package dispute_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/receipt"
	"github.com/avalnetwork/aval/spec/vectors"
)

type judgeCase struct {
	Name, Receipt, Proof, Finding, Why string
}

// TestVectors judges the proofs and plays the games of spec/vectors with
// nothing but the receipts: no model is near.
func TestVectors(t *testing.T) {
	data, err := vectors.FS.ReadFile("dispute.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Judge, Refused []judgeCase
		Games          []struct {
			Name, Receipt, Challenger, Nonce, Terms, ID, Winner, Reason string
			Move, Total                                                 uint64
			Fanout                                                      int
			Steps                                                       []struct {
				Message string
				Ignored bool
				Ticks   uint64
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, c := range file.Judge {
		f, err := dispute.JudgeFile(unhex(t, c.Receipt), unhex(t, c.Proof))
		if err != nil || f.String() != c.Finding {
			t.Errorf("%s: %s, %v; want %s", c.Name, f, err, c.Finding)
		}
	}
	for _, c := range file.Refused {
		f, err := dispute.JudgeFile(unhex(t, c.Receipt), unhex(t, c.Proof))
		if !errors.Is(err, dispute.ErrProof) || err.Error() != c.Why {
			t.Errorf("%s: %s, %v; want %s", c.Name, f, err, c.Why)
		}
	}
	for _, g := range file.Games {
		terms := dispute.Terms{Challenger: unhex(t, g.Challenger), Nonce: unhex(t, g.Nonce), Move: g.Move, Total: g.Total, Fanout: g.Fanout}
		if encoded, err := terms.Encode(); err != nil || hex.EncodeToString(encoded) != g.Terms {
			t.Errorf("%s: terms %x, %v; want %s", g.Name, encoded, err, g.Terms)
		}
		r, err := dispute.NewReferee(runOf(t, g.Receipt), terms)
		if err != nil {
			t.Fatal(err)
		}
		if r.ID().String() != g.ID {
			t.Errorf("%s: id %s, want %s", g.Name, r.ID(), g.ID)
		}
		for i, s := range g.Steps {
			if s.Ticks > 0 {
				r.Tick(s.Ticks)
				continue
			}
			if _, over := r.Outcome(); over {
				t.Errorf("%s: over before step %d", g.Name, i)
			}
			if err := r.Step(unhex(t, s.Message)); s.Ignored != errors.Is(err, dispute.ErrIgnored) {
				t.Errorf("%s, step %d: %v, ignored %t", g.Name, i, err, s.Ignored)
			}
		}
		if o, over := r.Outcome(); !over || o.Winner.String() != g.Winner || o.Reason.String() != g.Reason {
			t.Errorf("%s: %s, want the %s by %s", g.Name, o, g.Winner, g.Reason)
		}
	}
	forged := unhex(t, file.Judge[0].Receipt)
	forged[len(forged)-1] ^= 1
	if _, err := dispute.JudgeFile(forged, unhex(t, file.Judge[0].Proof)); err == nil {
		t.Error("a receipt with a changed signature was judged")
	}
	if len(file.Judge) < 10 || len(file.Refused) < 20 || len(file.Games) < 5 {
		t.Error("vectors are missing")
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func runOf(t *testing.T, s string) dispute.Run {
	t.Helper()
	r, err := receipt.Parse(unhex(t, s))
	if err != nil {
		t.Fatal(err)
	}
	run, err := dispute.NewRun(r)
	if err != nil {
		t.Fatal(err)
	}
	return run
}
