package dataset

import (
	"context"
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

// Evaluate is train.Evaluate, batch examples at a time, until ctx ends.
func Evaluate(ctx context.Context, l train.Learner, d train.Data, batch int) (train.Loss, error) {
	var sum train.Loss
	for from := 0; from < d.Len(); from += batch {
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		loss, err := train.Evaluate(l, part{d, from, min(batch, d.Len()-from)}, batch)
		if err != nil {
			return sum, err
		}
		sum.Add(loss)
	}
	return sum, nil
}

// part is n examples of a list, from one on.
type part struct {
	of      train.Data
	from, n int
}

func (p part) Len() int { return p.n }

func (p part) Example(i int) (train.Example, error) { return p.of.Example(p.from + i) }

// NewReport puts a loss into a report; tokens adds the perplexity.
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
