package decode

import (
	"fmt"
	"math"
)

// LDA is a linear discriminant: the score of a feature vector x is w·x + b,
// higher for the positive class.
type LDA struct {
	Weights   []float64
	Bias      float64
	Shrinkage float64 // 0: the sample covariance, 1: a multiple of the identity
}

// MaxFeatures of [TrainLDA], whose work grows with the cube.
const MaxFeatures = 2048

// TrainLDA fits a linear discriminant with the covariance within classes,
// shrunk towards a multiple of the identity as far as Ledoit and Wolf ("A
// well-conditioned estimator for large-dimensional covariance matrices",
// 2004) estimate to be best. labels are 0 or 1, and each must occur.
// spec/eeg.md section 6 gives the order of every sum.
func TrainLDA(features [][]float64, labels []int32) (*LDA, error) {
	n := len(features)
	if n == 0 || n != len(labels) {
		return nil, fmt.Errorf("decode: %d feature vectors with %d labels", n, len(labels))
	}
	d := len(features[0])
	if d == 0 || d > MaxFeatures {
		return nil, fmt.Errorf("decode: %d features; use 1 to %d", d, MaxFeatures)
	}
	mean := [2][]float64{make([]float64, d), make([]float64, d)}
	var count [2]int
	for i, x := range features {
		if l := labels[i]; l != 0 && l != 1 || len(x) != d {
			return nil, fmt.Errorf("decode: example %d: label %d with %d features; labels are 0 and 1, features %d", i, l, len(x), d)
		}
		m := mean[labels[i]]
		count[labels[i]]++
		for j, v := range x {
			m[j] += v
		}
	}
	for c := range mean {
		if count[c] == 0 {
			return nil, fmt.Errorf("decode: no example of class %d", c)
		}
		for j := range mean[c] {
			mean[c][j] = float64(mean[c][j] / float64(count[c]))
		}
	}
	centred := make([][]float64, n)
	for i, x := range features {
		centred[i] = make([]float64, d)
		for j, v := range x {
			centred[i][j] = v - mean[labels[i]][j]
		}
	}
	cov := covariance(centred)
	shrinkage := ledoitWolf(cov, centred)
	diff := make([]float64, d)
	for j := range diff {
		diff[j] = mean[1][j] - mean[0][j]
	}
	w, err := solve(cov, diff)
	if err != nil {
		return nil, err
	}
	l := &LDA{Weights: w, Shrinkage: shrinkage}
	l.Bias = -float64((l.Score(mean[0]) + l.Score(mean[1])) / 2)
	return l, nil
}

// Score returns w·x + b.
func (l *LDA) Score(x []float64) float64 {
	s := 0.0
	for j, w := range l.Weights {
		s += float64(w * x[j])
	}
	return s + l.Bias
}

// covariance returns the lower triangle, with its mirror, of the mean of
// x xᵀ over the examples, in their order.
func covariance(centred [][]float64) [][]float64 {
	d := len(centred[0])
	cov := make([][]float64, d)
	for j := range cov {
		cov[j] = make([]float64, d)
	}
	for _, x := range centred {
		for j := range d {
			row, v := cov[j][:j+1], x[j]
			for k := range row {
				row[k] += float64(v * x[k])
			}
		}
	}
	n := float64(len(centred))
	for j := range d {
		for k := 0; k <= j; k++ {
			cov[j][k] = float64(cov[j][k] / n)
			cov[k][j] = cov[j][k]
		}
	}
	return cov
}

// ledoitWolf shrinks cov in place and returns how far.
func ledoitWolf(cov, centred [][]float64) float64 {
	d, n := len(cov), len(centred)
	mu := 0.0
	for j := range d {
		mu += cov[j][j]
	}
	mu = float64(mu / float64(d))
	// delta: squared distance of the covariance from mu I; beta: the mean
	// squared distance of an example's x xᵀ from it, over n.
	delta, norm := 0.0, 0.0
	for j := range d {
		for k := range d {
			v := cov[j][k]
			norm += float64(v * v)
			if j == k {
				v -= mu
			}
			delta += float64(v * v)
		}
	}
	beta := 0.0
	for _, x := range centred {
		s := 0.0
		for _, v := range x {
			s += float64(v * v)
		}
		beta += float64(s * s)
	}
	beta = float64((float64(beta/float64(n)) - norm) / float64(n))
	beta = math.Max(0, math.Min(beta, delta))
	s := 0.0
	if delta > 0 {
		s = float64(beta / delta)
	}
	for j := range d {
		for k := range d {
			cov[j][k] = float64((1 - s) * cov[j][k])
		}
		cov[j][j] += float64(s * mu)
	}
	return s
}

// solve returns a⁻¹ b for a symmetric positive definite a, by Cholesky's
// decomposition, which overwrites the lower triangle.
func solve(a [][]float64, b []float64) ([]float64, error) {
	d := len(a)
	for j := range d {
		for k := 0; k <= j; k++ {
			s := a[j][k]
			for i := range k {
				s -= float64(a[j][i] * a[k][i])
			}
			if k < j {
				a[j][k] = float64(s / a[k][k])
				continue
			}
			if !(s > 0) {
				return nil, fmt.Errorf("decode: the covariance is not positive definite at feature %d: features repeat each other or do not vary", j)
			}
			a[j][j] = math.Sqrt(s)
		}
	}
	y := make([]float64, d)
	for j := range d {
		s := b[j]
		for k := range j {
			s -= float64(a[j][k] * y[k])
		}
		y[j] = float64(s / a[j][j])
	}
	for j := d - 1; j >= 0; j-- {
		s := y[j]
		for k := j + 1; k < d; k++ {
			s -= float64(a[k][j] * y[k])
		}
		y[j] = float64(s / a[j][j])
	}
	return y, nil
}
