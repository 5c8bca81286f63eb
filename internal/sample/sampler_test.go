package sample_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/avalnetwork/aval/internal/grammar"
	"github.com/avalnetwork/aval/internal/sample"
)

var (
	inf  = float32(math.Inf(1))
	nan  = float32(math.NaN())
	neg0 = float32(math.Copysign(0, -1))
)

func maskOf(n int, ids ...int32) sample.Mask {
	m := grammar.NewMask(n)
	for _, id := range ids {
		m.Add(id)
	}
	return m
}

func mustNew(t testing.TB, p sample.Params, vocab int) *sample.Sampler {
	t.Helper()
	s, err := sample.New(p, vocab)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSampleCases(t *testing.T) {
	tests := []struct {
		name    string
		p       sample.Params
		logits  []float32
		history []int32
		allow   sample.Mask
		want    int32
	}{
		{name: "greedy", logits: []float32{1, 3, 2}, want: 1},
		{name: "tie goes to the lower id", logits: []float32{1, 3, 3}, want: 1},
		{name: "minus zero ties with zero", logits: []float32{neg0, 0, -1}, want: 0},
		{name: "zero ties with minus zero", logits: []float32{0, neg0, -1}, want: 0},
		{name: "all equal", logits: []float32{-7, -7, -7}, want: 0},
		{name: "denormals are ordered", logits: []float32{1e-45, 3e-45, -1e-45}, want: 1},
		{name: "+Inf wins", logits: []float32{1, inf, math.MaxFloat32}, want: 1},
		{name: "+Inf ties", logits: []float32{1, inf, inf}, want: 1},
		{name: "-Inf is never chosen", logits: []float32{-inf, -inf, -math.MaxFloat32}, want: 2},
		{name: "mask", logits: []float32{1, 3, 2}, allow: maskOf(3, 0, 2), want: 2},
		{name: "bits of a mask beyond the vocabulary", logits: []float32{1, 3, 2}, allow: maskOf(200, 0, 3, 63, 64, 199), want: 0},
		{name: "short mask", logits: make([]float32, 200), allow: maskOf(64, 9), want: 9},
		{name: "bias", p: sample.Params{LogitBias: map[int32]float32{2: 2}}, logits: []float32{1, 3, 2}, want: 2},
		{name: "ban", p: sample.Params{LogitBias: map[int32]float32{1: -inf}}, logits: []float32{1, inf, 2}, want: 2},
		{
			name: "repeat penalty divides positive logits", p: sample.Params{RepeatPenalty: 2},
			logits: []float32{1, 3, 2}, history: []int32{1, 1}, want: 2,
		},
		{
			name: "repeat penalty multiplies negative logits", p: sample.Params{RepeatPenalty: 2},
			logits: []float32{-1.5, -1, -4}, history: []int32{1}, want: 0,
		},
		{
			name: "frequency penalty counts", p: sample.Params{FrequencyPenalty: 1},
			logits: []float32{3.5, 4, 0}, history: []int32{1, 0, 1}, want: 0,
		},
		{
			name: "presence penalty does not count", p: sample.Params{PresencePenalty: 1},
			logits: []float32{3.5, 4, 0}, history: []int32{1, 0, 1}, want: 1,
		},
		{
			name: "window", p: sample.Params{PresencePenalty: 1, RepeatLastN: 1},
			logits: []float32{3.5, 4, 0}, history: []int32{1, 0}, want: 1,
		},
		{
			name: "whole history", p: sample.Params{PresencePenalty: 1, RepeatLastN: -1},
			logits: []float32{3.5, 4, 0}, history: append([]int32{1}, make([]int32, 99)...), want: 1,
		},
		{name: "top-k of one", p: sample.Params{Temperature: 2, TopK: 1}, logits: []float32{1, 3, 3}, want: 1},
		{name: "small top-p", p: sample.Params{Temperature: 2, TopP: 1e-30}, logits: []float32{1, 3, 3}, want: 1},
		{name: "min-p of one", p: sample.Params{Temperature: 2, MinP: 1}, logits: []float32{1, 3, 2}, want: 1},
		{name: "tiny temperature", p: sample.Params{Temperature: 1e-45}, logits: []float32{1, 3, 2}, want: 1},
		{name: "+Inf at a temperature", p: sample.Params{Temperature: 5}, logits: []float32{1, inf, 2}, want: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustNew(t, tt.p, len(tt.logits))
			for pos := range 20 {
				got, err := s.Sample(tt.logits, tt.history, pos, tt.allow)
				if err != nil || got != tt.want {
					t.Fatalf("position %d: token %d, error %v, want token %d", pos, got, err, tt.want)
				}
				if w := twin(tt.p, tt.logits, tt.history, pos, tt.allow); w != tt.want {
					t.Fatalf("position %d: the twin says %d, want %d", pos, w, tt.want)
				}
			}
		})
	}
}

func TestSampleErrors(t *testing.T) {
	tests := []struct {
		name     string
		p        sample.Params
		logits   []float32
		history  []int32
		position int
		allow    sample.Mask
		want     error // nil: any
	}{
		{name: "NaN", logits: []float32{1, nan, 2}, want: sample.ErrNaN},
		{name: "NaN that is masked", logits: []float32{1, nan, 2}, allow: maskOf(3, 0), want: sample.ErrNaN},
		{name: "NaN at a temperature", p: sample.Params{Temperature: 1}, logits: []float32{nan, 2, 2}, want: sample.ErrNaN},
		{name: "nothing possible", logits: []float32{-inf, -inf, -inf}, want: sample.ErrNoCandidate},
		{name: "nothing possible at a temperature", p: sample.Params{Temperature: 1}, logits: []float32{-inf, -inf, -inf}, want: sample.ErrNoCandidate},
		{name: "empty mask", logits: []float32{1, 2, 3}, allow: sample.Mask{}, want: sample.ErrNoCandidate},
		{name: "mask and -Inf", p: sample.Params{Temperature: 1}, logits: []float32{1, -inf, 3}, allow: maskOf(3, 1), want: sample.ErrNoCandidate},
		{name: "too few logits", logits: []float32{1, 2}},
		{name: "history outside the vocabulary", p: sample.Params{PresencePenalty: 1}, logits: []float32{1, 2, 3}, history: []int32{1, 3}},
		{name: "negative history", p: sample.Params{PresencePenalty: 1}, logits: []float32{1, 2, 3}, history: []int32{-1}},
		{name: "negative position", logits: []float32{1, 2, 3}, position: -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustNew(t, tt.p, 3)
			_, err := s.Sample(tt.logits, tt.history, tt.position, tt.allow)
			if err == nil || (tt.want != nil && !errors.Is(err, tt.want)) {
				t.Fatalf("error %v, want %v", err, tt.want)
			}
			// An error must leave nothing behind.
			good := []float32{1, 2, 3}
			if got, err := s.Sample(good, nil, 0, nil); err != nil || got != twin(tt.p, good, nil, 0, nil) {
				t.Fatalf("after the error: token %d, error %v", got, err)
			}
		})
	}
}

func TestValidate(t *testing.T) {
	tests := []struct {
		p  sample.Params
		ok bool
	}{
		{sample.Params{}, true},
		{sample.Params{Temperature: 100, TopK: 1 << 30, TopP: 1, MinP: 1, RepeatPenalty: 100, FrequencyPenalty: -100, PresencePenalty: 100, RepeatLastN: -1}, true},
		{sample.Params{LogitBias: map[int32]float32{0: -inf, 9: 100}}, true},
		{sample.Params{Temperature: -0.1}, false},
		{sample.Params{Temperature: nan}, false},
		{sample.Params{Temperature: inf}, false},
		{sample.Params{TopK: -1}, false},
		{sample.Params{TopP: 1.01}, false},
		{sample.Params{TopP: nan}, false},
		{sample.Params{MinP: -1}, false},
		{sample.Params{RepeatPenalty: -1}, false},
		{sample.Params{FrequencyPenalty: 101}, false},
		{sample.Params{PresencePenalty: nan}, false},
		{sample.Params{RepeatLastN: -2}, false},
		{sample.Params{LogitBias: map[int32]float32{0: inf}}, false},
		{sample.Params{LogitBias: map[int32]float32{0: nan}}, false},
		{sample.Params{LogitBias: map[int32]float32{-1: 0}}, false},
		{sample.Params{LogitBias: map[int32]float32{10: 0}}, false},
	}
	for _, tt := range tests {
		_, err := sample.New(tt.p, 10)
		if (err == nil) != tt.ok || (err != nil && !errors.Is(err, sample.ErrParams)) {
			t.Errorf("%+v: error %v, want ok = %t", tt.p, err, tt.ok)
		}
	}
	for _, vocab := range []int{-1, 0, sample.MaxVocab + 1} {
		if _, err := sample.New(sample.Params{}, vocab); err == nil {
			t.Errorf("vocabulary %d: no error", vocab)
		}
	}
}

// TestSampleTwin compares with the slow twin over random parameters and logits
// that are full of ties and extremes.
func TestSampleTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(vs ...float32) float32 { return vs[r.IntN(len(vs))] }
	for round := range 6000 {
		vocab := 1 + r.IntN(130)
		if round%20 == 0 { // so large that top-k cuts while it reads
			vocab = 400 + r.IntN(3000)
		}
		logits := make([]float32, vocab)
		kind := r.IntN(4)
		for i := range logits {
			switch kind {
			case 0:
				logits[i] = float32(r.NormFloat64() * 4)
			case 1:
				logits[i] = float32(r.IntN(5) - 2)
			case 2:
				logits[i] = float32(r.NormFloat64() * 4)
				if r.IntN(4) == 0 {
					logits[i] = pick(inf, -inf, 0, neg0, 1e-45, -1e-45, math.MaxFloat32, -math.MaxFloat32, 1e-30)
				}
			case 3:
				logits[i] = math.Float32frombits(r.Uint32())
				if logits[i] != logits[i] {
					logits[i] = 0
				}
			}
		}
		p := sample.Params{
			Temperature: pick(0, 1, 1, 0.7, 2, 100, 1e-45, r.Float32()),
			TopK:        r.IntN(2) * r.IntN(min(vocab+2, 1<<r.IntN(13))),
			TopP:        pick(0, 1, 0.9, 0.5, 0.999999, 1e-20, r.Float32()),
			MinP:        pick(0, 0, 0.05, 0.5, 1, 1e-30),
			RepeatLastN: r.IntN(70) - 1,
			Seed:        r.Uint64() >> r.IntN(64),
		}
		if r.IntN(2) == 0 {
			p.RepeatPenalty = pick(0, 1, 1.1, 0.5, 100)
			p.FrequencyPenalty = pick(0, 0.5, -2, 100)
			p.PresencePenalty = pick(0, 0.3, -1)
		}
		if r.IntN(2) == 0 {
			p.LogitBias = map[int32]float32{}
			for range r.IntN(8) {
				p.LogitBias[int32(r.IntN(vocab))] = pick(1, -100, 100, -inf, 0.1, math.MaxFloat32)
			}
		}
		history := make([]int32, r.IntN(150))
		for i := range history {
			history[i] = int32(r.IntN(min(vocab, 40)))
		}
		var allow sample.Mask
		if r.IntN(2) == 0 {
			allow = grammar.NewMask(vocab)
			for i := range allow {
				allow[i] = r.Uint64() & r.Uint64() // also bits beyond the vocabulary
			}
		}
		position := r.IntN(1 << 20)
		before := fmt.Sprint(logits)
		s := mustNew(t, p, vocab)
		for range 2 { // the second time on used memory
			got, err := s.Sample(logits, history, position, allow)
			if want := twin(p, logits, history, position, allow); want < 0 {
				if !errors.Is(err, sample.ErrNoCandidate) {
					t.Fatalf("round %d: error %v, want ErrNoCandidate", round, err)
				}
			} else if err != nil || got != want {
				t.Fatalf("round %d: token %d, error %v, the twin says %d\n%+v\nlogits %v\nhistory %v\nposition %d, mask %x",
					round, got, err, want, p, logits, history, position, allow)
			}
		}
		if vocab < 200 && before != fmt.Sprint(logits) {
			t.Fatalf("round %d: the logits were changed", round)
		}
	}
}

// TestNumbers pins the random numbers: these are the vectors of
// spec/sampling.md.
func TestNumbers(t *testing.T) {
	for _, tt := range []struct{ seed, index, want uint64 }{
		{0, 0, 0x801fc0f0d949eee0},
		{0, 1, 0x0346987e7fe63647},
		{1, 0, 0x9c8a5ceef99032e2},
		{42, 7, 0x55294760021b4dea},
		{1<<64 - 1, 1<<31 - 1, 0x1d40f4364985593d},
	} {
		if got := number(tt.seed, tt.index); got != tt.want {
			t.Errorf("R(%d, %d) = %#016x, want %#016x", tt.seed, tt.index, got, tt.want)
		}
		// Equal logits share the line evenly, so the token shows the number's
		// upper bits, and the sampler's generator must agree with the twin's.
		s := mustNew(t, sample.Params{Temperature: 1, Seed: tt.seed}, 1<<16)
		id, err := s.Sample(make([]float32, 1<<16), nil, int(tt.index), nil)
		if want := int32(tt.want >> 48); err != nil || id != want {
			t.Errorf("seed %d, index %d: token %d, error %v, want %d", tt.seed, tt.index, id, err, want)
		}
	}
}

// TestDistribution draws from a known distribution. By Hoeffding's inequality
// a frequency over n draws is off by more than d with probability at most
// 2 exp(-2 n d²): with n = 40,000 and d = 0.0135 that is 1e-6 for each of the
// comparisons (and 0 or 1 for all time, since the seeds are fixed).
func TestDistribution(t *testing.T) {
	const n, d = 40_000, 0.0135
	ln := func(ps ...float64) []float32 {
		var z []float32
		for _, p := range ps {
			z = append(z, float32(math.Log(p)))
		}
		return z
	}
	tests := []struct {
		name   string
		p      sample.Params
		logits []float32
		want   []float64
	}{
		{"plain", sample.Params{Temperature: 1}, ln(0.1, 0.2, 0.3, 0.4), []float64{0.1, 0.2, 0.3, 0.4}},
		{"uniform", sample.Params{Temperature: 0.5}, make([]float32, 5), []float64{0.2, 0.2, 0.2, 0.2, 0.2}},
		{"temperature one half squares", sample.Params{Temperature: 0.5}, ln(0.25, 0.75), []float64{0.1, 0.9}},
		{"top-k", sample.Params{Temperature: 1, TopK: 2}, ln(0.1, 0.2, 0.3, 0.4), []float64{0, 0, 3. / 7, 4. / 7}},
		{"top-k tie", sample.Params{Temperature: 1, TopK: 2}, ln(0.1, 0.3, 0.3, 0.3), []float64{0, 0.5, 0.5, 0}},
		{"top-p", sample.Params{Temperature: 1, TopP: 0.6}, ln(0.1, 0.2, 0.3, 0.4), []float64{0, 0, 3. / 7, 4. / 7}},
		{"min-p", sample.Params{Temperature: 1, MinP: 0.45}, ln(0.1, 0.2, 0.3, 0.4), []float64{0, 2. / 9, 3. / 9, 4. / 9}},
		{"filters come before temperature", sample.Params{Temperature: 0.5, TopP: 0.6}, ln(0.1, 0.2, 0.3, 0.4), []float64{0, 0, 9. / 25, 16. / 25}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.p.Seed = uint64(i)
			s := mustNew(t, tt.p, len(tt.logits))
			counts := make([]float64, len(tt.logits))
			for pos := range n {
				id, err := s.Sample(tt.logits, nil, pos, nil)
				if err != nil {
					t.Fatal(err)
				}
				counts[id]++
			}
			for id, c := range counts {
				if math.Abs(c/n-tt.want[id]) > d || (tt.want[id] == 0 && c > 0) {
					t.Errorf("token %d: frequency %.4f, want %.4f ± %v", id, c/n, tt.want[id], d)
				}
			}
		})
	}
}

// TestPositionAlone checks that a draw does not depend on the draws before it.
func TestPositionAlone(t *testing.T) {
	p := sample.Params{Temperature: 1, Seed: 5}
	logits := make([]float32, 1000)
	a, b := mustNew(t, p, 1000), mustNew(t, p, 1000)
	forward := make([]int32, 50)
	for i := range forward {
		forward[i], _ = a.Sample(logits, nil, i, nil)
	}
	seen := map[int32]bool{}
	for i := len(forward) - 1; i >= 0; i-- {
		got, err := b.Sample(logits, nil, i, nil)
		if err != nil || got != forward[i] {
			t.Fatalf("position %d backwards: token %d, error %v, want %d", i, got, err, forward[i])
		}
		seen[got] = true
	}
	if len(seen) < 40 { // 50 draws of 1000 repeat once or twice
		t.Errorf("only %d different tokens in 50 draws", len(seen))
	}
}

func hotParams() map[string]sample.Params {
	return map[string]sample.Params{
		"greedy":      {},
		"penalties":   {RepeatPenalty: 1.1, FrequencyPenalty: 0.1, LogitBias: map[int32]float32{3: 1}},
		"temperature": {Temperature: 0.8},
		"usual":       {Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05, RepeatPenalty: 1.1},
		"top-p":       {Temperature: 0.8, TopP: 0.95},
	}
}

func hotLogits() []float32 {
	r := rand.New(rand.NewPCG(3, 4))
	logits := make([]float32, 151_936)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	return logits
}

func TestNoAllocation(t *testing.T) {
	logits, history, mask := hotLogits(), []int32{1, 2, 3, 4, 5}, maskOf(1000, 1, 5, 900)
	for name, p := range hotParams() {
		s := mustNew(t, p, len(logits))
		pos := 0
		got := testing.AllocsPerRun(3, func() {
			pos++
			if _, err := s.Sample(logits, history, pos, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Sample(logits, history, pos, mask); err != nil {
				t.Fatal(err)
			}
		})
		if got != 0 {
			t.Errorf("%s: %v allocations per token", name, got)
		}
		if got := testing.AllocsPerRun(3, func() { _ = s.Reset(sample.Params{Temperature: 1}) }); got > 1 {
			t.Errorf("%s: %v allocations per Reset", name, got)
		}
	}
}

func BenchmarkSample(b *testing.B) {
	logits, history := hotLogits(), make([]int32, 100)
	for name, p := range hotParams() {
		b.Run(name, func(b *testing.B) {
			s := mustNew(b, p, len(logits))
			pos := 0
			for b.Loop() {
				pos++
				if _, err := s.Sample(logits, history, pos, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
