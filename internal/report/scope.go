package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Scope tells of a computation of a part, chosen by chance.
type Scope struct {
	// Places were computed again out of Of.
	Places, Of int
	// Share of forged places that would be found with the probability Chance.
	Share, Chance float64
	// Tokens are shares of forged places that are all choices of tokens, as in
	// the text of another model.
	Tokens []Found
	// Given says that the choice was handed in, so that nobody here knows
	// whether chance made it.
	Given bool
}

// Found is a share of forged places and the probability with which it is found.
type Found struct{ Share, Chance float64 }

func (s *Scope) summary() string { return s.places() + s.tokens() }

// tokens tells what is found of a lie that is in the choice of tokens alone.
func (s *Scope) tokens() string {
	var list []string
	for _, t := range s.Tokens {
		list = append(list, fmt.Sprintf("one in %.0f with %s %%", 1/t.Share, percent(t.Chance)))
	}
	if len(list) == 0 {
		return ""
	}
	return " Of tokens that another model chose, all else being right, it shows " + strings.Join(list, ", ") + "."
}

func (s *Scope) places() string {
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
