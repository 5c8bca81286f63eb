package decode

import (
	"fmt"
	"math"
)

// normal95 is the 97.5 % point of the normal distribution.
const normal95 = 1.959963984540054

// AUC is an area under the ROC curve, the probability that a positive example
// scores higher than a negative one, with the variance of the estimate
// (DeLong, DeLong and Clarke-Pearson 1988).
type AUC struct {
	Value, Variance    float64
	Positive, Negative int
}

// Interval returns the 95 % confidence interval, cut to [0, 1].
func (a AUC) Interval() (low, high float64) {
	h := float64(normal95 * math.Sqrt(a.Variance))
	return math.Max(0, a.Value-h), math.Min(1, a.Value+h)
}

// Group is the examples that one classifier scored, such as those of one
// recording. Scores of different groups are never compared: each classifier
// has its own scale.
type Group struct {
	Labels []int32 // 0 or 1
	Scores []float64
	Other  []float64 // the scores of a second classifier, for [Compare]; else nil
}

// Area returns the area over all groups: the mean of theirs, weighted by how
// many pairs of a positive and a negative example each has.
func Area(groups []Group) (AUC, error) {
	return stratified(groups, func(g Group) ([]float64, []float64, error) { return placements(g.Labels, g.Scores) })
}

// Compare returns the area of Scores less that of Other, with the variance of
// this difference: both saw the same examples, so it is smaller than the sum
// of the two variances.
func Compare(groups []Group) (AUC, error) {
	return stratified(groups, func(g Group) ([]float64, []float64, error) {
		p, n, err := placements(g.Labels, g.Scores)
		if err != nil {
			return nil, nil, err
		}
		q, m, err := placements(g.Labels, g.Other)
		if err != nil {
			return nil, nil, err
		}
		for i := range p {
			p[i] -= q[i]
		}
		for i := range n {
			n[i] -= m[i]
		}
		return p, n, nil
	})
}

func stratified(groups []Group, place func(Group) (pos, neg []float64, err error)) (AUC, error) {
	var out AUC
	pairs := 0.0
	for i, g := range groups {
		pos, neg, err := place(g)
		if err != nil {
			return AUC{}, fmt.Errorf("decode: group %d: %w", i, err)
		}
		w := float64(float64(len(pos)) * float64(len(neg)))
		m, vp := moments(pos)
		_, vn := moments(neg)
		v := float64(vp/float64(len(pos))) + float64(vn/float64(len(neg)))
		pairs += w
		out.Value += float64(w * m)
		out.Variance += float64(float64(w*w) * v)
		out.Positive += len(pos)
		out.Negative += len(neg)
	}
	if pairs == 0 {
		return AUC{}, fmt.Errorf("decode: no examples to compare")
	}
	out.Value = float64(out.Value / pairs)
	out.Variance = float64(out.Variance / float64(pairs*pairs))
	return out, nil
}

// placements returns, for each positive example, the share of negative ones
// that score lower, ties counting half; and for each negative one the share
// of positive ones that score higher.
func placements(labels []int32, scores []float64) (pos, neg []float64, err error) {
	if len(labels) != len(scores) {
		return nil, nil, fmt.Errorf("%d labels with %d scores", len(labels), len(scores))
	}
	var p, n []float64
	for i, l := range labels {
		if math.IsNaN(scores[i]) {
			return nil, nil, fmt.Errorf("score %d is no number", i)
		}
		if l == 1 {
			p = append(p, scores[i])
		} else {
			n = append(n, scores[i])
		}
	}
	if len(p) < 2 || len(n) < 2 {
		return nil, nil, fmt.Errorf("%d positive and %d negative examples; at least 2 of each are needed", len(p), len(n))
	}
	pos, neg = make([]float64, len(p)), make([]float64, len(n))
	for i, a := range p {
		for j, b := range n {
			switch { // sums of halves are exact
			case a > b:
				pos[i]++
				neg[j]++
			case a == b:
				pos[i] += 0.5
				neg[j] += 0.5
			}
		}
	}
	for i := range pos {
		pos[i] = float64(pos[i] / float64(len(n)))
	}
	for j := range neg {
		neg[j] = float64(neg[j] / float64(len(p)))
	}
	return pos, neg, nil
}

// moments returns the mean and the variance (over n - 1).
func moments(x []float64) (mean, variance float64) {
	for _, v := range x {
		mean += v
	}
	mean = float64(mean / float64(len(x)))
	for _, v := range x {
		d := v - mean
		variance += float64(d * d)
	}
	return mean, float64(variance / float64(len(x)-1))
}
