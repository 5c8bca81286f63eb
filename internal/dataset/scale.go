package dataset

import "math"

// Scaling brings inputs to mean 0 and standard deviation 1.
type Scaling struct {
	// Mean and Deviation have one number for each element of an input, or one
	// for all of them.
	Mean, Deviation []float32
}

// Fit finds the scaling of a set: of each element by itself, or with whole, one
// for all. The sums are in float64, in the order of the examples; a deviation of
// 0 becomes 1.
func (s *Set) Fit(whole bool) Scaling {
	if s.Len() == 0 || len(s.Examples[0].Input) == 0 {
		return Scaling{}
	}
	wide := len(s.Examples[0].Input)
	if whole {
		wide = 1
	}
	mean, square, n := make([]float64, wide), make([]float64, wide), make([]float64, wide)
	for _, e := range s.Examples {
		for i, x := range e.Input {
			mean[i%wide] += float64(x)
			n[i%wide]++
		}
	}
	for i := range mean {
		mean[i] /= n[i]
	}
	for _, e := range s.Examples {
		for i, x := range e.Input {
			d := float64(x) - mean[i%wide]
			square[i%wide] += float64(d * d)
		}
	}
	var out Scaling
	for i := range mean {
		d := float32(math.Sqrt(square[i] / n[i]))
		if d == 0 {
			d = 1
		}
		out.Mean = append(out.Mean, float32(mean[i]))
		out.Deviation = append(out.Deviation, d)
	}
	return out
}

// Apply scales all inputs of a set, in place: (x - mean) / deviation in float32.
func (c Scaling) Apply(s *Set) {
	if len(c.Mean) == 0 {
		return
	}
	for _, e := range s.Examples {
		for i := range e.Input {
			k := i % len(c.Mean)
			e.Input[i] = (e.Input[i] - c.Mean[k]) / c.Deviation[k]
		}
	}
}
