package dispute_test

import (
	"encoding/json"
	"testing"

	"github.com/avalnetwork/aval/internal/audit/dispute"
	"github.com/avalnetwork/aval/spec/vectors"
)

// TestLook reads the messages of the games of spec/vectors.
func TestLook(t *testing.T) {
	data, err := vectors.FS.ReadFile("dispute.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Games []struct {
			Name, Reason string
			Steps        []struct {
				Message string
				Ignored bool
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Games {
		round, proofs := 0, 0
		for _, s := range g.Steps {
			if s.Ignored || s.Message == "" {
				continue
			}
			said, err := dispute.Look(unhex(t, s.Message))
			if err != nil {
				if g.Reason != dispute.Malformed.String() {
					t.Errorf("%s, message %d: %v", g.Name, round, err)
				}
				continue
			}
			want := []dispute.Party{dispute.ChallengerParty, dispute.ProverParty}[round%2]
			if said.Round != round || said.Party != want || said.What == "" {
				t.Errorf("%s: message %d is said to be %+v", g.Name, round, said)
			}
			if round++; said.Proof != nil {
				proofs++
			}
		}
		if won := g.Reason == dispute.Fraud.String(); won != (proofs > 0) && g.Reason != dispute.Accusation.String() {
			t.Errorf("%s ended by %s, with %d proofs", g.Name, g.Reason, proofs)
		}
	}
	for _, bad := range []string{"", "\x80", "\xff"} {
		if _, err := dispute.Look([]byte(bad)); err == nil {
			t.Errorf("%q is read as a message", bad)
		}
	}
}
