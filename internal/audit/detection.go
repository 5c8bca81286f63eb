package audit

import "fmt"

// DefaultShare and DefaultConfidence are what a default challenge detects: one
// wrong cell in twenty, with this probability.
const (
	DefaultShare      = 0.05
	DefaultConfidence = 0.99
)

// Detection is the probability that a sample of cells, drawn without
// replacement, holds at least one of the wrong ones among all.
func Detection(all, wrong, sample int) float64 {
	if wrong <= 0 || sample <= 0 {
		return 0
	}
	if sample > all-wrong {
		return 1
	}
	missed := 1.0
	for i := range min(sample, wrong) { // the two may change places
		missed *= float64(all-max(sample, wrong)-i) / float64(all-i)
	}
	return 1 - missed
}

// SampleSize is the least sample that holds a wrong cell with the given
// probability if the given share of all cells, or more, is wrong.
func SampleSize(all int, share, confidence float64) int {
	wrong := max(int(share*float64(all)), 1)
	if float64(wrong) < share*float64(all) {
		wrong++
	}
	lo, hi := 0, all // Detection grows with the sample
	for lo < hi {
		if mid := (lo + hi) / 2; Detection(all, wrong, mid) >= confidence {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// claim says what it means that none of the sample is wrong.
func claim(kind string, all, sample int) string {
	switch {
	case sample == 0:
		return fmt.Sprintf("none of %d %s was checked", all, kind)
	case sample >= all:
		return fmt.Sprintf("all %d %s are right", all, kind)
	}
	wrong := max(int(DefaultShare*float64(all)+0.999999), 1)
	return fmt.Sprintf("%d of %d %s are right; had %d or more been wrong, one would have been found with probability %.4f",
		sample, all, kind, wrong, Detection(all, wrong, sample))
}
