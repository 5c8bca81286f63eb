package quant

import (
	"math"
	"math/rand/v2"
	"testing"
)

// TestNormal compares moments of a million draws with those of the normal
// distribution. The seed is fixed, so this cannot fail by chance; the bounds
// are five standard errors, plus the known kurtosis.
func TestNormal(t *testing.T) {
	const n = 1 << 20
	rng := rand.NewChaCha8([32]byte{7})
	var m [5]float64
	beyond := 0
	for range n {
		v := float64(normal(rng.Uint64()))
		p := 1.0
		for k := range m {
			m[k] += p / n
			p *= v
		}
		if math.Abs(v) > 1.959964 {
			beyond++
		}
	}
	for _, test := range []struct {
		name              string
		got, want, within float64
	}{
		{"mean", m[1], 0, 5 * 0.000977},
		{"variance", m[2], 1, 5 * 0.00138},
		{"skewness", m[3], 0, 5 * 0.00379},
		{"kurtosis", m[4], 3 - 0.06, 5 * 0.00957},
		{"share beyond 1.96", float64(beyond) / n, 0.05, 5*0.000213 + 0.0005},
	} {
		if math.Abs(test.got-test.want) > test.within {
			t.Errorf("%s is %v, want %v within %v", test.name, test.got, test.want, test.within)
		}
	}
	for _, test := range []struct {
		random uint64
		want   float64
	}{
		{0, -(16<<16 + 65535) / (math.Sqrt(49.0/6) * (1 << 16))},
		{math.MaxUint64, (16<<16 + 65535) / (math.Sqrt(49.0/6) * (1 << 16))},
	} {
		if got := float64(normal(test.random)); math.Abs(got-test.want) > 1e-6 {
			t.Errorf("normal(%#x) = %v, want %v", test.random, got, test.want)
		}
	}
}

// TestShapeSizes holds the shapes against the sizes of the weights of the
// models that they stand for, in million bytes. (A file has the vocabulary too.)
func TestShapeSizes(t *testing.T) {
	want := map[string]map[string]int64{
		"135M": {"F16": 269, "Q8_0": 143, "Q4_0": 89, "Q4_K_M": 103},
		"0.5B": {"F16": 988, "Q8_0": 525, "Q4_0": 346, "Q4_K_M": 391},
		"1.1B": {"F16": 2200, "Q8_0": 1169, "Q4_0": 635, "Q4_K_M": 667},
	}
	for _, s := range shapes() {
		for name, size := range want[s.name] {
			r, err := ParseRecipe(name)
			if err != nil {
				t.Fatal(err)
			}
			tensors := s.tensors()
			var outs []outTensor
			for i, typ := range r.Types(s.layers, tensors) {
				outs = append(outs, outTensor{typ: typ, shape: tensors[i].Shape})
			}
			if got := dataSize(outs) / 1e6; got != size {
				t.Errorf("%s %s has %d MB of weights, want %d", s.name, name, got, size)
			}
		}
	}
}

func TestVocabulary(t *testing.T) {
	for _, s := range shapes() {
		v := makeVocabulary(s.vocabulary)
		if len(v.pieces) != s.vocabulary || len(v.scores) != s.vocabulary || len(v.kinds) != s.vocabulary {
			t.Fatalf("%s: %d pieces, %d scores, %d kinds, want %d", s.name, len(v.pieces), len(v.scores), len(v.kinds), s.vocabulary)
		}
		seen := make(map[string]bool, len(v.pieces))
		for i, p := range v.pieces {
			if p == "" || seen[p] {
				t.Fatalf("%s: piece %d, %q, is empty or there twice", s.name, i, p)
			}
			seen[p] = true
		}
		for _, p := range []string{"<unk>", "<s>", "</s>", "<0x00>", "<0x0A>", "<0xFF>", "\u2581", "a", "~", "\u2581z"} {
			if !seen[p] {
				t.Errorf("%s: no piece %q", s.name, p)
			}
		}
	}
}
