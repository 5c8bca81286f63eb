package kernel

import (
	"fmt"
	"slices"
	"testing"
)

// TestProduct compares tiles of every height, width, depth and stride with the
// reference, and a product in parts with one at once.
func TestProduct(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		r := newRand(t)
		for round := range 1500 {
			rows, cols, depth := 1+r.IntN(ProductRows), Panel*(1+r.IntN(2)), 1+r.IntN(100)
			special := extremes
			if round%2 == 1 {
				special = append(special[:len(special):len(special)], nonFinite...)
			}
			cs, bk := cols+r.IntN(9), cols+r.IntN(40)
			ar, ak := depth+r.IntN(5), 1
			switch r.IntN(3) {
			case 0: // transposed
				ar, ak = 1, rows+r.IntN(5)
			case 1: // with gaps both ways
				ak = 2
				ar *= 2
			}
			a, b := floats(r, (rows-1)*ar+(depth-1)*ak+1, special), floats(r, (depth-1)*bk+cols, special)
			got := floats(r, (rows-1)*cs+cols, special)
			want, parts := slices.Clone(got), slices.Clone(got)
			add := r.IntN(2) == 1
			what := fmt.Sprintf("%d rows, %d columns, depth %d, strides %d %d %d %d, add %v", rows, cols, depth, cs, ar, ak, bk, add)
			k.Product(rows, cols, got, cs, a, ar, ak, b, bk, depth, add)
			generic.Product(rows, cols, want, cs, a, ar, ak, b, bk, depth, add)
			same(t, what, got, want)
			cut := min(depth, Block*r.IntN(4))
			k.Product(rows, cols, parts, cs, a, ar, ak, b, bk, cut, add)
			if cut < depth {
				k.Product(rows, cols, parts, cs, a[cut*ak:], ar, ak, b[cut*bk:], bk, depth-cut, add || cut > 0)
			}
			same(t, what+", in parts", parts, want)
		}
	})
}

// TestProductReference holds the reference to the tile of spec/numerics.md,
// section 4.2, that the engine uses.
func TestProductReference(t *testing.T) {
	r := newRand(t)
	for _, depth := range []int{1, 16, 31, 32, 33, 100} {
		x, w := floats(r, depth, extremes), floats(r, depth*Panel, extremes)
		a := NewActs(1, depth)
		a.SetFloat(0, x)
		want, got := make([]float32, Panel), make([]float32, Panel)
		tileF32Generic(1, &want[0], &w[0], &a.f[0], depth, 0)
		generic.Product(1, Panel, got, Panel, x, depth, 1, w, Panel, depth, false)
		same(t, fmt.Sprintf("depth %d", depth), got, want)
	}
}

func TestTransposeAndCopy(t *testing.T) {
	eachKernel(t, func(t *testing.T, k *Kernel) {
		r := newRand(t)
		for range 500 {
			rows, cols := 1+r.IntN(40), 1+r.IntN(40)
			ss, ds := cols+r.IntN(4), rows+r.IntN(4)
			src := floats(r, (rows-1)*ss+cols, nonFinite)
			got := floats(r, (cols-1)*ds+rows, nil)
			want := slices.Clone(got)
			k.Transpose(got, ds, src, ss, rows, cols)
			generic.Transpose(want, ds, src, ss, rows, cols)
			same(t, fmt.Sprintf("transpose %d x %d", rows, cols), got, want)
			ds = cols + r.IntN(4)
			got = floats(r, (rows-1)*ds+cols, nil)
			want = slices.Clone(got)
			k.CopyRows(got, ds, src, ss, rows, cols)
			generic.CopyRows(want, ds, src, ss, rows, cols)
			same(t, fmt.Sprintf("copy %d x %d", rows, cols), got, want)
		}
	})
}

// BenchmarkProduct measures tiles, in multiply-adds and beside the peak of
// separate products and sums.
func BenchmarkProduct(b *testing.B) {
	for _, k := range All() {
		for _, rows := range []int{1, 2, 4, 8} {
			for _, cols := range []int{Panel, ProductCols} {
				b.Run(fmt.Sprintf("%s/%dx%d", k.name, rows, cols), func(b *testing.B) {
					const depth = 256
					c, x, w := alignedFloats(rows*cols), alignedFloats(rows*depth), alignedFloats(cols*depth)
					for b.Loop() {
						k.Product(rows, cols, c, cols, x, 1, rows, w, cols, depth, true)
					}
					b.ReportMetric(float64(b.N)*float64(rows*cols*depth)/b.Elapsed().Seconds()/1e9, "GMAC/s")
				})
			}
		}
		b.Run(k.name+"/peak", func(b *testing.B) {
			n := 0
			for b.Loop() {
				n += k.PeakFloat(1000)
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds()/1e9, "GMAC/s")
		})
	}
}
