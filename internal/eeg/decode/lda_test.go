package decode_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/avalnetwork/aval/internal/eeg/decode"
)

// gaussian draws n vectors of d numbers with correlated coordinates; those of
// class 1 are moved by shift.
func gaussian(r *rand.Rand, n, d int, shift float64) (x [][]float64, labels []int32) {
	for i := range n {
		v := make([]float64, d)
		common := r.NormFloat64()
		for j := range v {
			v[j] = common + float64(j+1)*r.NormFloat64()
			if i%3 == 0 {
				v[j] += shift
			}
		}
		x = append(x, v)
		label := int32(0)
		if i%3 == 0 {
			label = 1
		}
		labels = append(labels, label)
	}
	return x, labels
}

// TestLDASolves checks that the weights solve the equation that defines them,
// with the covariance computed here from its definition.
func TestLDASolves(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	x, labels := gaussian(r, 60, 8, 1)
	l, err := decode.TrainLDA(x, labels)
	if err != nil {
		t.Fatal(err)
	}
	d := len(x[0])
	var mean [2][8]float64
	var count [2]float64
	for i := range x {
		count[labels[i]]++
		for j := range d {
			mean[labels[i]][j] += x[i][j]
		}
	}
	for c := range mean {
		for j := range d {
			mean[c][j] /= count[c]
		}
	}
	centred := func(i, j int) float64 { return x[i][j] - mean[labels[i]][j] }
	cov := make([][]float64, d)
	mu := 0.0
	for j := range d {
		cov[j] = make([]float64, d)
		for k := range d {
			for i := range x {
				cov[j][k] += centred(i, j) * centred(i, k) / float64(len(x))
			}
		}
		mu += cov[j][j] / float64(d)
	}
	// Ledoit and Wolf by their own definition: the mean squared distance of
	// the single x xᵀ from the covariance, over that of the covariance from
	// mu I.
	beta, delta := 0.0, 0.0
	for j := range d {
		for k := range d {
			for i := range x {
				e := centred(i, j)*centred(i, k) - cov[j][k]
				beta += e * e / float64(len(x)*len(x))
			}
			e := cov[j][k]
			if j == k {
				e -= mu
			}
			delta += e * e
		}
	}
	s := math.Min(beta, delta) / delta
	if math.Abs(l.Shrinkage-s) > 1e-9 || s <= 0 || s >= 1 {
		t.Errorf("shrinkage %v, want %v", l.Shrinkage, s)
	}
	for j := range d {
		got := 0.0
		for k := range d {
			c := (1 - s) * cov[j][k]
			if j == k {
				c += s * mu
			}
			got += c * l.Weights[k]
		}
		if want := mean[1][j] - mean[0][j]; math.Abs(got-want) > 1e-9 {
			t.Errorf("row %d: %v, want %v", j, got, want)
		}
	}
	if a, b := l.Score(mean[0][:]), l.Score(mean[1][:]); math.Abs(a+b) > 1e-9 || b <= 0 {
		t.Errorf("the scores of the means are %v and %v", a, b)
	}
}

// TestLDAShrinks has more features than examples, where the covariance alone
// cannot be inverted.
func TestLDAShrinks(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	x, labels := gaussian(r, 30, 50, 20)
	l, err := decode.TrainLDA(x, labels)
	if err != nil {
		t.Fatal(err)
	}
	test, truth := gaussian(r, 900, 50, 20)
	g := decode.Group{Labels: truth}
	for _, v := range test {
		g.Scores = append(g.Scores, l.Score(v))
	}
	a, err := decode.Area([]decode.Group{g})
	if err != nil || a.Value < 0.7 || l.Shrinkage < 0.05 {
		t.Errorf("area %v, shrinkage %v, %v", a.Value, l.Shrinkage, err)
	}
}

func TestLDARefuses(t *testing.T) {
	good := [][]float64{{1, 2}, {2, 1}, {3, 5}, {0, 1}}
	for _, c := range []struct {
		why    string
		x      [][]float64
		labels []int32
	}{
		{"0 feature vectors", nil, nil},
		{"labels", good, []int32{0}},
		{"label 2", good, []int32{0, 1, 2, 1}},
		{"no example of class 1", good, []int32{0, 0, 0, 0}},
		{"1 features", [][]float64{{1, 2}, {1}}, []int32{0, 1}},
		{"0 features", [][]float64{{}, {}}, []int32{0, 1}},
		{"not positive definite", [][]float64{{1, 1}, {1, 1}, {1, 1}}, []int32{0, 1, 0}},
		{"not positive definite", [][]float64{{math.NaN(), 1}, {2, 1}, {1, 3}}, []int32{0, 1, 0}},
	} {
		if _, err := decode.TrainLDA(c.x, c.labels); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("got error %v, want one with %q", err, c.why)
		}
	}
}

func TestArea(t *testing.T) {
	for _, c := range []struct {
		labels []int32
		scores []float64
		want   float64
	}{
		{[]int32{0, 0, 1, 1}, []float64{1, 2, 3, 4}, 1},
		{[]int32{1, 1, 0, 0}, []float64{1, 2, 3, 4}, 0},
		{[]int32{0, 1, 0, 1}, []float64{5, 5, 5, 5}, 0.5},
		{[]int32{0, 1, 0, 1}, []float64{1, 2, 3, 4}, 0.75},
		{[]int32{0, 1, 0, 1}, []float64{1, 2, 2, 4}, 0.875},
	} {
		a, err := decode.Area([]decode.Group{{Labels: c.labels, Scores: c.scores}})
		if err != nil || a.Value != c.want || a.Positive != 2 || a.Negative != 2 {
			t.Errorf("%v %v: %+v, %v; want %v", c.labels, c.scores, a, err, c.want)
		}
	}
	// Groups of 4 and 6 pairs, with areas 1 and 0.5: scores of different groups are not
	// compared.
	a, err := decode.Area([]decode.Group{
		{Labels: []int32{0, 0, 1, 1}, Scores: []float64{-9, -8, -7, -6}},
		{Labels: []int32{0, 0, 0, 1, 1}, Scores: []float64{1, 1, 1, 1, 1}},
	})
	if err != nil || math.Abs(a.Value-0.7) > 1e-12 {
		t.Errorf("two groups: %+v, %v", a, err)
	}
	for _, g := range []decode.Group{
		{Labels: []int32{0, 1, 1}, Scores: []float64{1, 2, 3}},
		{Labels: []int32{0, 1, 1, 0}, Scores: []float64{1, 2, 3}},
		{Labels: []int32{0, 1, 1, 0}, Scores: []float64{1, 2, 3, math.NaN()}},
	} {
		if _, err := decode.Area([]decode.Group{g}); err == nil {
			t.Errorf("%+v was accepted", g)
		}
	}
	if _, err := decode.Area(nil); err == nil {
		t.Error("no groups were accepted")
	}
}

// TestInterval draws many samples from two normal distributions whose area is
// known, and counts how often the interval holds it: 950 of 1,000 are
// expected, with a standard deviation of 6.9; outside of 915 to 985 lies less
// than 1 in 10⁶. The differences of two scores with the same area hold 0
// as often.
func TestInterval(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	const truth = 0.7602499389065233 // the normal distribution at 1/√2
	held, none := 0, 0
	for range 1000 {
		var g decode.Group
		for i := range 150 {
			label := int32(0)
			if i < 50 {
				label = 1
			}
			common := r.NormFloat64()
			g.Labels = append(g.Labels, label)
			g.Scores = append(g.Scores, float64(label)+0.8*common+0.6*r.NormFloat64())
			g.Other = append(g.Other, float64(label)+0.8*common+0.6*r.NormFloat64())
		}
		a, err := decode.Area([]decode.Group{g})
		if err != nil {
			t.Fatal(err)
		}
		if low, high := a.Interval(); low <= truth && truth <= high {
			held++
		}
		d, err := decode.Compare([]decode.Group{g})
		if err != nil {
			t.Fatal(err)
		}
		if math.Abs(d.Value) <= 1.96*math.Sqrt(d.Variance) {
			none++
		}
	}
	if held < 915 || held > 985 || none < 915 || none > 985 {
		t.Errorf("of 1000 intervals %d hold the area and %d differences hold 0; expected about 950", held, none)
	}
}
