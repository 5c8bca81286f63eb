package sample_test

import (
	"math"
	"testing"

	"github.com/avalnetwork/aval/internal/sample"
)

func TestPoint(t *testing.T) {
	// Of section 6 of spec/sampling.md: the upper half of R.
	for _, c := range []struct {
		seed  uint64
		index int
		want  uint64
	}{
		{0, 0, 0x801fc0f0}, {0, 1, 0x0346987e}, {1, 0, 0x9c8a5cee}, {42, 7, 0x55294760}, {math.MaxUint64, math.MaxInt32, 0x1d40f436},
	} {
		if got := sample.Point(c.seed, c.index, 1<<32); got != c.want {
			t.Errorf("seed %d, index %d: %#x, want %#x", c.seed, c.index, got, c.want)
		}
	}
}

func TestWindow(t *testing.T) {
	for _, c := range []struct{ last, n, want int }{
		{0, 10, 10}, {0, 100, 64}, {-1, 100, 100}, {7, 100, 7}, {7, 3, 3}, {1 << 30, 5, 5},
	} {
		p := sample.Params{RepeatLastN: c.last}
		if got := p.Window(c.n); got != c.want {
			t.Errorf("the last %d of %d: %d, want %d", c.last, c.n, got, c.want)
		}
	}
}

func TestKey(t *testing.T) {
	inf := float32(math.Inf(1))
	order := []float32{-inf, -math.MaxFloat32, -1, -1e-45, 0, 1e-45, 1, math.MaxFloat32, inf}
	for i := range order[1:] {
		if a, b := sample.Key(order[i]), sample.Key(order[i+1]); a >= b {
			t.Errorf("the key of %v is %d, that of %v %d", order[i], a, order[i+1], b)
		}
	}
	if sample.Key(float32(math.Copysign(0, -1))) != sample.Key(0) {
		t.Error("the zeros have two keys")
	}
}
