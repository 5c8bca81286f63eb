package audit

import (
	"fmt"
	"math"
	"sort"
)

// What a default challenge detects with a probability of DefaultConfidence: one
// wrong cell in twenty, wherever it is, and one wrong output cell in five, if
// only outputs are wrong.
const (
	DefaultShare      = 0.05
	DefaultConfidence = 0.99
	OutputShare       = 0.2
)

// Detection is the probability that a sample of cells, drawn without
// replacement, holds at least one of the wrong ones among all.
func Detection(all, wrong, sample int) float64 { return 1 - missed(all, wrong, sample) }

// missed is the probability that the sample holds none.
func missed(all, wrong, sample int) float64 {
	if wrong <= 0 || sample <= 0 {
		return 1
	}
	if sample > all-wrong {
		return 0
	}
	p := 1.0
	for i := 0; i < min(sample, wrong) && p > 0; i++ { // the two may change places
		p *= float64(all-max(sample, wrong)-i) / float64(all-i)
	}
	return p
}

// Kinds are numbers of layer cells and of output cells, which are drawn apart.
type Kinds struct{ Layers, Outputs int }

func (k Kinds) sum() int { return k.Layers + k.Outputs }

// DetectionOf is the least probability that a sample of both kinds holds at
// least one of so many wrong cells among all, however they are spread over the
// kinds.
func DetectionOf(all Kinds, wrong int, sample Kinds) float64 {
	// Of x wrong outputs and wrong-x wrong layer cells, the sample misses all
	// with a probability that is log-concave in x: its steps, each a factor,
	// fall. So the largest is where the first factor is below 1.
	lo := max(0, wrong-max(all.Layers-sample.Layers, 0)) // below, layer cells cannot be missed
	hi := min(wrong, all.Outputs-sample.Outputs)         // above, outputs cannot
	if sample.Outputs <= 0 {
		hi = min(wrong, all.Outputs)
	}
	if lo > hi {
		return 1
	}
	for lo < hi {
		x := (lo + hi) / 2
		left := all.Layers - wrong + x + 1
		factor := float64(all.Outputs-x-sample.Outputs) / float64(all.Outputs-x) * float64(left) / float64(left-sample.Layers)
		if factor < 1 {
			hi = x
		} else {
			lo = x + 1
		}
	}
	return 1 - missed(all.Layers, wrong-lo, sample.Layers)*missed(all.Outputs, lo, sample.Outputs)
}

// SampleSize is the least sample that holds a wrong cell with the given
// probability if the given share of all cells, or more, is wrong.
func SampleSize(all int, share, confidence float64) int {
	wrong := ShareOf(all, share)
	return sort.Search(all, func(n int) bool { return Detection(all, wrong, n) >= confidence })
}

// ShareOf is how many cells a share of all is, at least one.
func ShareOf(all int, share float64) int { return max(int(math.Ceil(share*float64(all))), 1) }

// DefaultSample is the sample of a default challenge: the least of layer cells
// that finds [DefaultShare] of them wrong, and the least of output cells that
// finds [OutputShare] of them wrong and, together with the layer cells,
// [DefaultShare] of all cells, each with [DefaultConfidence].
func DefaultSample(all Kinds) Kinds {
	n := Kinds{SampleSize(all.Layers, DefaultShare, DefaultConfidence), SampleSize(all.Outputs, OutputShare, DefaultConfidence)}
	wrong := ShareOf(all.sum(), DefaultShare)
	n.Outputs = max(n.Outputs, sort.Search(all.Outputs, func(outputs int) bool {
		return DetectionOf(all, wrong, Kinds{n.Layers, outputs}) >= DefaultConfidence
	}))
	return n
}

// claim says what it means that none of the sample is wrong.
func claim(kind string, all, sample int) string {
	switch {
	case sample == 0:
		return fmt.Sprintf("none of %d %s was checked", all, kind)
	case sample >= all:
		return fmt.Sprintf("all %d %s are right", all, kind)
	}
	wrong := ShareOf(all, DefaultShare)
	return fmt.Sprintf("%d of %d %s are right; had %d or more been wrong, one would have been found with probability %.4f",
		sample, all, kind, wrong, Detection(all, wrong, sample))
}

// claimOf says what it means that none of a sample of both kinds is wrong.
func claimOf(all, sample Kinds) string {
	if sample.Layers >= all.Layers && sample.Outputs >= all.Outputs {
		return fmt.Sprintf("all %d layer cells and all %d output cells are right", all.Layers, all.Outputs)
	}
	sample = Kinds{min(sample.Layers, all.Layers), min(sample.Outputs, all.Outputs)}
	wrong := ShareOf(all.sum(), DefaultShare)
	text := fmt.Sprintf("%d of %d layer cells and %d of %d output cells are right; had %d or more of all cells been wrong, one would have been found with probability %.4f",
		sample.Layers, all.Layers, sample.Outputs, all.Outputs, wrong, DetectionOf(all, wrong, sample))
	if sample.Outputs < all.Outputs {
		many, few := ShareOf(all.Outputs, OutputShare), ShareOf(all.Outputs, DefaultShare)
		text += fmt.Sprintf("; of wrong output cells alone, %d or more with %.4f, %d or more with %.4f",
			many, Detection(all.Outputs, many, sample.Outputs), few, Detection(all.Outputs, few, sample.Outputs))
	}
	return text
}
