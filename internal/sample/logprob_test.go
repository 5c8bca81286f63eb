package sample_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"sort"
	"testing"

	"github.com/avalnetwork/aval/internal/sample"
)

func TestLogprobs(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for round := range 300 {
		logits := make([]float32, 1+r.IntN(400))
		for i := range logits {
			logits[i] = float32(r.NormFloat64() * 5)
			if round%2 == 0 {
				logits[i] = float32(r.IntN(6))
			}
		}
		id, top := int32(r.IntN(len(logits))), r.IntN(25)
		got, alts, err := sample.Logprobs(nil, logits, id, top)
		if err != nil {
			t.Fatal(err)
		}
		// math.Exp and math.Log are good to 1e-15; kernel.Exp is to 1e-7 and
		// the weights are cut at 2^-40 each, so 1e-6 leaves room.
		const tol = 1e-6
		sum := 0.0
		for _, z := range logits {
			sum += math.Exp(float64(z))
		}
		want := func(id int32) float64 { return float64(logits[id]) - math.Log(sum) }
		if got.ID != id || math.Abs(got.Logprob-want(id)) > tol {
			t.Fatalf("token %d: %v, want %v", id, got, want(id))
		}
		order := make([]int32, len(logits))
		for i := range order {
			order[i] = int32(i)
		}
		sort.SliceStable(order, func(i, j int) bool { return logits[order[i]] > logits[order[j]] })
		if len(alts) != min(top, len(logits)) {
			t.Fatalf("%d alternatives, want %d of %d", len(alts), top, len(logits))
		}
		for i, a := range alts {
			if a.ID != order[i] || math.Abs(a.Logprob-want(a.ID)) > tol || a.Logprob > 0 {
				t.Fatalf("alternative %d: %v, want token %d, %v", i, a, order[i], want(order[i]))
			}
		}
	}
}

func TestLogprobsEdges(t *testing.T) {
	l := func(logits []float32, id int32) float64 {
		t.Helper()
		got, _, err := sample.Logprobs(nil, logits, id, 0)
		if err != nil {
			t.Fatal(err)
		}
		return got.Logprob
	}
	if got := l([]float32{7}, 0); got != 0 || math.Signbit(got) {
		t.Errorf("a single token: %v, want +0", got)
	}
	if got := l([]float32{inf, 3}, 0); got != 0 {
		t.Errorf("+Inf: %v, want 0", got)
	}
	if got := l([]float32{inf, 3}, 1); !math.IsInf(got, -1) {
		t.Errorf("beside +Inf: %v, want -Inf", got)
	}
	if got := l([]float32{-inf, 3}, 0); !math.IsInf(got, -1) {
		t.Errorf("-Inf: %v, want -Inf", got)
	}
	if got := l([]float32{0, 0}, 1); got != -math.Ln2 {
		t.Errorf("one of two: %v, want %v", got, -math.Ln2)
	}
	if _, _, err := sample.Logprobs(nil, []float32{1, nan}, 0, 1); !errors.Is(err, sample.ErrNaN) {
		t.Errorf("NaN: error %v", err)
	}
	if _, _, err := sample.Logprobs(nil, []float32{-inf, -inf}, 0, 1); !errors.Is(err, sample.ErrNoCandidate) {
		t.Errorf("all -Inf: error %v", err)
	}
	for _, id := range []int32{-1, 2} {
		if _, _, err := sample.Logprobs(nil, []float32{1, 2}, id, 0); err == nil {
			t.Errorf("token %d: no error", id)
		}
	}
	if _, _, err := sample.Logprobs(nil, []float32{1}, 0, sample.MaxLogprobs+1); !errors.Is(err, sample.ErrParams) {
		t.Errorf("too many: error %v", err)
	}
	dst := make([]sample.Logprob, 0, 20)
	logits := hotLogits()
	if n := testing.AllocsPerRun(3, func() { _, _, _ = sample.Logprobs(dst, logits, 5, 20) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkLogprobs(b *testing.B) {
	logits, dst := hotLogits(), make([]sample.Logprob, 0, 20)
	for b.Loop() {
		if _, _, err := sample.Logprobs(dst, logits, 5, 20); err != nil {
			b.Fatal(err)
		}
	}
}
