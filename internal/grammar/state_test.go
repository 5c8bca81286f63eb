package grammar_test

import (
	"testing"

	"github.com/avalnetwork/aval/internal/grammar"
)

// checkMasks follows a text as far as it fits, one byte at a time, and compares
// the mask at each place with the twin's: trying each token.
func checkMasks(t testing.TB, g *grammar.Grammar, v *grammar.Vocabulary, text string) {
	t.Helper()
	s := grammar.NewMatcher(g, v).NewState()
	for i := 0; ; i++ {
		mask, err := s.Mask()
		if err != nil && len(mask) > 0 {
			t.Fatalf("after %q: error %v and a mask", text[:i], err)
		}
		if err == nil || err == grammar.ErrStuck {
			for id, want := range accepted(s, v.Size()) {
				if got := mask.Has(int32(id)); got != want {
					t.Fatalf("after %q: token %d in the mask: %t, but accepted: %t", text[:i], id, got, want)
				}
			}
		}
		if i == len(text) || s.AcceptText([]byte{text[i]}) != nil {
			return
		}
	}
}

// accepted tries each token on a copy of a state.
func accepted(s *grammar.State, n int) []bool {
	out := make([]bool, n)
	probe := s.Clone()
	for id := range out {
		if out[id] = probe.Accept(int32(id)) == nil; out[id] {
			probe = s.Clone()
		}
	}
	return out
}
