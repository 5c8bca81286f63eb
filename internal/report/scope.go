package report

import "fmt"

// Scope tells of a computation of a part, chosen by chance.
type Scope struct {
	// Places were computed again out of Of.
	Places, Of int
	// Share of forged places that would be found with the probability Chance.
	Share, Chance float64
}

func (s *Scope) summary() string {
	return fmt.Sprintf("%d of the %d places of this answer, chosen by chance, were computed again and fit. Had one place in %.0f been forged, this would have shown it with a probability of %.0f %%.",
		s.Places, s.Of, 1/s.Share, 100*s.Chance)
}

func (s *Scope) line() string {
	return fmt.Sprintf("Of the %d places of the answer, %d were chosen by chance and computed again; all of them fit.", s.Of, s.Places)
}
