package dataset

import (
	"fmt"
	"math"
	"strings"

	"github.com/avalnetwork/aval/internal/train"
)

// Report says how good a learner is on a set.
type Report struct {
	Examples    int     `json:"examples"`
	Predictions int     `json:"predictions"` // tokens, or examples
	Loss        float64 `json:"loss"`        // mean of a prediction, in nats or squares
	Perplexity  float64 `json:"perplexity,omitempty"`
	Accuracy    float64 `json:"accuracy,omitempty"` // share of right predictions
}

// Evaluate computes the report of a learner on all of d, batch examples at a
// time. tokens adds the perplexity. The report is the same bits on every
// machine, for the same batch.
func Evaluate(l train.Learner, d train.Data, batch int, tokens bool) (Report, error) {
	loss, err := train.Evaluate(l, d, batch)
	if err != nil {
		return Report{}, err
	}
	return NewReport(d.Len(), loss, tokens), nil
}

// NewReport puts a loss into a report.
func NewReport(examples int, loss train.Loss, tokens bool) Report {
	r := Report{Examples: examples, Predictions: loss.Count, Loss: loss.Mean(), Accuracy: loss.Accuracy()}
	if tokens {
		r.Perplexity = loss.Perplexity()
	}
	return r
}

// String gives the report in one line.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "loss %.4f", r.Loss)
	if r.Perplexity != 0 {
		fmt.Fprintf(&b, ", perplexity %.2f", r.Perplexity)
	}
	if r.Accuracy != 0 {
		fmt.Fprintf(&b, ", accuracy %.2f %%", math.Floor(r.Accuracy*1e4)/100)
	}
	fmt.Fprintf(&b, " (%d predictions in %d examples)", r.Predictions, r.Examples)
	return b.String()
}
