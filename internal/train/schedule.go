package train

import (
	"math"

	"github.com/avalnetwork/aval/internal/kernel"
)

// Rate is the learning rate of a step, counted from 0: in float64 to the last
// rounding.
func (c Config) Rate(step int) float32 {
	top, low := float64(c.LearningRate), float64(c.MinLearningRate)
	if step < c.Warmup {
		return float32(float64(top*float64(step+1)) / float64(c.Warmup))
	}
	done := float64(step-c.Warmup) / float64(c.Steps-c.Warmup) // in [0, 1)
	switch c.Schedule {
	case Linear:
		return float32(top - float64((top-low)*done))
	case Cosine:
		_, cos := kernel.SinCos(float64(math.Pi * done))
		return float32(low + float64((top-low)*float64(0.5*(1+cos))))
	}
	return c.LearningRate
}
