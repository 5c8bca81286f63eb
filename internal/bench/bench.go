// Package bench measures: how fast a model reads a prompt and writes, and what
// the machine could do at most. Call [Speed] and [Measure]. The figures are
// times of this machine at this moment; nothing else may depend on them.
package bench

import (
	"fmt"
	"slices"
	"time"

	"github.com/avalnetwork/aval/internal/model"
)

// Rates are tokens per second, one for each run.
type Rates struct {
	Prefill []float64
	Decode  []float64
}

// Speed reads prompts of the given length and writes that many tokens, runs
// times each after a short warm-up. The tokens are arbitrary: the work does not
// depend on them.
func Speed(m *model.Model, prompt, decode, runs int) (*Rates, error) {
	if prompt < 0 || decode < 0 || prompt+decode == 0 || runs < 1 {
		return nil, fmt.Errorf("nothing to measure: %d prompt tokens, %d tokens, %d runs", prompt, decode, runs)
	}
	if n := max(prompt, decode+1); n > m.Limit() {
		return nil, fmt.Errorf("%d tokens do not fit the model's context of %d", n, m.Limit())
	}
	vocab := m.Config().Vocab
	tokens := make([]int32, max(prompt, decode+1, 16))
	x := uint32(1)
	for i := range tokens {
		x = x*1664525 + 1013904223
		tokens[i] = int32(x>>8) % int32(vocab)
	}
	rates := &Rates{}
	for run := -1; run < runs; run++ {
		if prompt > 0 {
			n := prompt
			if run < 0 {
				n = min(n, 64)
			}
			s := m.NewSequence()
			start := time.Now()
			if err := m.Forward([]model.Step{{Seq: s, Tokens: tokens[:n], Want: 1}}); err != nil {
				return nil, err
			}
			if run >= 0 {
				rates.Prefill = append(rates.Prefill, float64(n)/time.Since(start).Seconds())
			}
			s.Close()
		}
		if decode > 0 {
			n := decode
			if run < 0 {
				n = min(n, 8)
			}
			s := m.NewSequence()
			steps := []model.Step{{Seq: s, Tokens: tokens[:1], Want: 1}}
			if err := m.Forward(steps); err != nil {
				return nil, err
			}
			start := time.Now()
			for i := range n {
				steps[0].Tokens = tokens[i+1 : i+2]
				if err := m.Forward(steps); err != nil {
					return nil, err
				}
			}
			if run >= 0 {
				rates.Decode = append(rates.Decode, float64(n)/time.Since(start).Seconds())
			}
			s.Close()
		}
	}
	return rates, nil
}

// Median returns the middle of the values, 0 for none.
func Median(v []float64) float64 {
	if len(v) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(v))
	return (s[(len(s)-1)/2] + s[len(s)/2]) / 2
}
