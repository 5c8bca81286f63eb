package report

import (
	"fmt"
	"math"
	"strconv"
)

// Scope tells of a computation of a part, chosen by chance.
type Scope struct {
	// Places were computed again out of Of.
	Places, Of int
	// Share of forged places that would be found with the probability Chance.
	Share, Chance float64
	// Given says that the choice was handed in, so that nobody here knows
	// whether chance made it.
	Given bool
}

func (s *Scope) summary() string {
	if s.Given {
		return fmt.Sprintf("%d of the %d places of this answer were computed again and fit. They are those of a challenge that was handed in: if its number was drawn after the receipt was signed, by somebody else than the signer, one place in %.0f forged would have shown with a probability of %s %%.",
			s.Places, s.Of, 1/s.Share, percent(s.Chance))
	}
	return fmt.Sprintf("%d of the %d places of this answer, chosen by chance, were computed again and fit. Had one place in %.0f been forged, this would have shown it with a probability of %s %%.",
		s.Places, s.Of, 1/s.Share, percent(s.Chance))
}

func (s *Scope) line() string {
	if s.Given {
		return fmt.Sprintf("Of the %d places of the answer, the %d that a given challenge names were computed again; all of them fit.", s.Of, s.Places)
	}
	return fmt.Sprintf("Of the %d places of the answer, %d were chosen by chance and computed again; all of them fit.", s.Of, s.Places)
}

// percent never says more than it knows: not 100 for 99.99.
func percent(p float64) string { return strconv.FormatFloat(math.Floor(1000*p)/10, 'f', -1, 64) }
