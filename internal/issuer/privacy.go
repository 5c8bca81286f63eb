package issuer

import (
	"fmt"

	"github.com/avalnetwork/aval/receipt"
)

// Privacy says what the file of a receipt keeps to itself.
type Privacy string

// The levels.
const (
	Open       Privacy = "open"   // nothing: anybody who has the file can compute the answer again
	HidePrompt Privacy = "prompt" // the prompt
	HideOutput Privacy = "output" // the answer
	HideAll    Privacy = "hidden" // both
)

// Hides is the set of parts that are not shown; "" is Open. The salt of a trace
// goes with either: it would let one test guesses of what is hidden.
func (p Privacy) Hides() (receipt.Part, error) {
	switch p {
	case Open, "":
		return 0, nil
	case HidePrompt:
		return receipt.WholePrompt | receipt.PartTrace, nil
	case HideOutput:
		return receipt.WholeOutput | receipt.PartTrace, nil
	case HideAll:
		return receipt.Whole, nil
	}
	return 0, fmt.Errorf("privacy is %q, want open (nothing is hidden), prompt, output or hidden (both)", string(p))
}
