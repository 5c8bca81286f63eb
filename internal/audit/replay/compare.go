package replay

import (
	"fmt"
	"math"

	"github.com/avalnetwork/aval/receipt/training"
)

// compare names the first field in which two records differ.
func compare(step int, got [40]byte, want training.Entry) *Difference {
	if training.Entry(got) == want {
		return nil
	}
	g, err1 := training.Entry(got).Record()
	w, err2 := want.Record()
	d := &Difference{Step: step, Field: "the record", Got: fmt.Sprintf("%x", got), Want: fmt.Sprintf("%x", want)}
	if err1 != nil || err2 != nil {
		return d
	}
	float := func(field string, a, b float64) *Difference {
		return &Difference{Step: step, Field: field, Got: fmt.Sprintf("%v (0x%016x)", a, math.Float64bits(a)), Want: fmt.Sprintf("%v (0x%016x)", b, math.Float64bits(b))}
	}
	float32s := func(field string, a, b float32) *Difference {
		return &Difference{Step: step, Field: field, Got: fmt.Sprintf("%v (0x%08x)", a, math.Float32bits(a)), Want: fmt.Sprintf("%v (0x%08x)", b, math.Float32bits(b))}
	}
	integer := func(field string, a, b int) *Difference {
		return &Difference{Step: step, Field: field, Got: fmt.Sprint(a), Want: fmt.Sprint(b)}
	}
	switch {
	case math.Float64bits(g.Loss) != math.Float64bits(w.Loss):
		return float("the loss", g.Loss, w.Loss)
	case g.Count != w.Count:
		return integer("the number of predictions", g.Count, w.Count)
	case g.Correct != w.Correct:
		return integer("the number of right predictions", g.Correct, w.Correct)
	case math.Float32bits(g.GradNorm) != math.Float32bits(w.GradNorm):
		return float32s("the norm of the gradient", g.GradNorm, w.GradNorm)
	case math.Float32bits(g.LearningRate) != math.Float32bits(w.LearningRate):
		return float32s("the learning rate", g.LearningRate, w.LearningRate)
	}
	return d
}
