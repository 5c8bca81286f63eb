package kernel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestActsPart holds the products with a part of a batch, and with a batch that
// was filled by panels, to be those with the whole one.
func TestActsPart(t *testing.T) {
	const n, k, rows = 30, 50, 40
	r := rand.New(rand.NewPCG(3, 4))
	numbers := func(n int) []float32 {
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(r.NormFloat64())
		}
		return v
	}
	x := numbers(n * k)
	m, err := NewMatrix(F32, rows, k, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		var row []byte
		for _, v := range numbers(k) {
			row = binary.LittleEndian.AppendUint32(row, math.Float32bits(v))
		}
		m.SetFloats(i, row)
	}
	whole, panels := NewActs(n, k), NewActs(n, k)
	for i := range n {
		whole.SetFloat(i, x[i*k:(i+1)*k])
	}
	for j := range (k + Panel - 1) / Panel {
		for _, part := range [][2]int{{0, 7}, {7, n}} {
			out := make([]float32, (part[1]-part[0])*Panel)
			for i := part[0]; i < part[1]; i++ {
				copy(out[(i-part[0])*Panel:][:Panel], x[i*k+j*Panel:(i+1)*k])
			}
			panels.SetPanel(j, part[0], out)
		}
	}
	for _, kern := range All() {
		s := NewScratch()
		for p := range m.Panels() {
			want, got := make([]float32, n*Panel), make([]float32, n*Panel)
			kern.Mul(want, m, p, whole, s)
			kern.Mul(got, m, p, panels, s)
			if !slices.Equal(got, want) {
				t.Errorf("%v, panel %d: the batch filled by panels gives other products", kern, p)
			}
			var part Acts
			clear(got)
			for from := 0; from < n; from += PartSize {
				to := min(from+PartSize, n)
				whole.Part(&part, from, to)
				kern.Mul(got[from*Panel:], m, p, &part, s)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%v, panel %d: parts give other products", kern, p)
			}
		}
		for _, n := range []int{1, 15, 16, 47, 160} {
			x, y := numbers(n), numbers(n)
			want := make([]float32, n)
			for i := range want {
				want[i] = y[i] + float32(0.37*x[i])
			}
			if kern.AddScaled(y, x, 0.37); !slices.Equal(y, want) {
				t.Errorf("%v: %d scaled numbers are not added as defined", kern, n)
			}
		}
	}
}
