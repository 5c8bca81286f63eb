package train_test

import (
	"math"
	"testing"

	"github.com/avalnetwork/aval/internal/train"
)

// TestRandomVectors holds the streams to what spec/training.md shows.
func TestRandomVectors(t *testing.T) {
	for _, v := range []struct {
		seed    uint64
		purpose string
		index   uint64
		want    [2]uint64
	}{
		{0, "order", 0, [2]uint64{0x4be27f6a162cc5df, 0x51174f2e6448c68d}},
		{1, "order", 0, [2]uint64{0x3f533208572532ae, 0xba2c071676396e50}},
		{1, "order", 1, [2]uint64{0x7e3c76e2e7343d60, 0xe2babbdb7f1f60c1}},
		{1, "draw", 1, [2]uint64{0xb9a2917ea1744b5f, 0x43ba0c347377a474}},
		{1<<64 - 1, "init layers.0.weight", 0, [2]uint64{0x3c02f891165c5a04, 0xeaa5cf53fac1aca3}},
	} {
		r := train.NewRandom(v.seed, v.purpose, v.index)
		if got := [2]uint64{r.Uint64(), r.Uint64()}; got != v.want {
			t.Errorf("seed %d, %q, %d: %#x, want %#x", v.seed, v.purpose, v.index, got, v.want)
		}
	}
}

// TestNormal compares moments and the shares within one, two and three standard
// deviations with those of the normal distribution. The sample has 200,000
// elements: a share p has standard deviation sqrt(p (1-p) / n) < 0.0011, the
// bound of 0.006 is more than five of them.
func TestNormal(t *testing.T) {
	const n, deviation = 200_000, 0.5
	x := make([]float32, n)
	train.NewRandom(1, "test", 0).Normal(x, deviation)
	var sum, square float64
	var within [4]int
	for _, v := range x {
		z := float64(v) / deviation
		sum += z
		square += z * z
		for k := 1; k <= 3; k++ {
			if math.Abs(z) < float64(k) {
				within[k]++
			}
		}
	}
	if mean := sum / n; math.Abs(mean) > 0.012 {
		t.Errorf("mean %v", mean)
	}
	if v := square / n; math.Abs(v-1) > 0.016 {
		t.Errorf("variance %v", v)
	}
	for k := 1; k <= 3; k++ {
		want := math.Erf(float64(k) / math.Sqrt2)
		if got := float64(within[k]) / n; math.Abs(got-want) > 0.006 {
			t.Errorf("share %v within %d standard deviations, want %v", got, k, want)
		}
	}
	// An odd number takes the same stream.
	odd := make([]float32, 7)
	train.NewRandom(1, "test", 0).Normal(odd, deviation)
	for i, v := range odd {
		if v != x[i] {
			t.Errorf("element %d of seven is %v, of many %v", i, v, x[i])
		}
	}
}

func TestUniform(t *testing.T) {
	x := make([]float32, 100_000)
	train.NewRandom(1, "test", 0).Uniform(x, 2)
	var bins [8]int
	for _, v := range x {
		if v < -2 || v > 2 {
			t.Fatalf("%v is not within 2", v)
		}
		bins[min(7, int((v+2)*2))]++
	}
	// Each bin: 12,500 give or take 105 (one standard deviation).
	for i, n := range bins {
		if n < 11_970 || n > 13_030 {
			t.Errorf("%d of 100,000 in bin %d of 8", n, i)
		}
	}
}

func TestInit(t *testing.T) {
	a, b := train.NewParam("a", 3, 5), train.NewParam("b", 3, 5)
	train.InitNormal(a, 1, train.He(5))
	train.InitNormal(b, 1, train.He(5))
	if train.TensorRoot(a.Data) == train.TensorRoot(b.Data) {
		t.Error("two parameters begin alike")
	}
	train.InitUniform(a, 1, train.Glorot(3, 5))
	train.InitUniform(b, 2, train.Glorot(3, 5))
	limit := float32(math.Sqrt(6.0 / 8))
	for i := range a.Data {
		if max(a.Data[i], b.Data[i]) > limit || min(a.Data[i], b.Data[i]) < -limit {
			t.Errorf("%v, %v: not within %v", a.Data[i], b.Data[i], limit)
		}
	}
}

func BenchmarkNormal(b *testing.B) {
	x := make([]float32, 1<<14)
	r := train.NewRandom(1, "bench", 0)
	for b.Loop() {
		r.Normal(x, 1)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(x)), "ns/number")
}

func BenchmarkTensorRoot(b *testing.B) {
	x := make([]float32, 1<<20)
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		train.TensorRoot(x)
	}
}
