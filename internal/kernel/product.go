package kernel

import "unsafe"

// ProductRows is the height of the largest tile of [Kernel.Product], and
// ProductCols its width.
const (
	ProductRows = 8
	ProductCols = 2 * Panel
)

// productFunc computes a tile of a product of float32 matrices: of 8, 4, 2 or 1
// rows and 16 or 32 columns. Row i of c begins at c[i*cs], and row l of b at
// b[l*bk]; element (i, l) of a is a[i*ar + l*ak]. For each block of 32 of k,
// p = +0, then p = p + a(i,l) b(l,j) in the order of l, then c = c + p; for the
// first block c = p if cont is 0, which is the sum from +0 (p is not -0). k is
// at least 1.
type productFunc func(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int)

// productHeights are the heights of tiles, as the index of a productSet.
var productHeights = [4]int{8, 4, 2, 1}

// productSet is the tiles of a kernel, by height and by width less one in
// panels.
type productSet [4][2]productFunc

// Product sets c = a b, or c = c + a b if add: rows (1 to 8) by cols (16 or 32)
// outputs, each the sum of depth products in the order of spec/numerics.md,
// section 4.2. Row i of c begins at c[i*cs], row l of b at b[l*bk]; element
// (i, l) of a is a[i*ar+l*ak]. c must not overlap a or b.
func (k *Kernel) Product(rows, cols int, c []float32, cs int, a []float32, ar, ak int, b []float32, bk, depth int, add bool) {
	if rows < 1 || rows > ProductRows || cols != Panel && cols != ProductCols || depth < 0 {
		panic("kernel: internal error: no such tile of a product")
	}
	_ = c[(rows-1)*cs+cols-1]
	if depth == 0 {
		if !add {
			for i := range rows {
				clear(c[i*cs:][:cols])
			}
		}
		return
	}
	_, _ = a[(rows-1)*ar+(depth-1)*ak], b[(depth-1)*bk+cols-1]
	cont := 0
	if add {
		cont = 1
	}
	for h, height := range productHeights {
		for rows >= height {
			k.products[h][cols/ProductCols](&c[0], cs, &a[0], ar, ak, &b[0], bk, depth, cont)
			if rows -= height; rows == 0 {
				return
			}
			c, a = c[height*cs:], a[height*ar:]
		}
	}
}

// Transpose sets dst[j*ds+i] = src[i*ss+j] for i < rows and j < cols.
func (k *Kernel) Transpose(dst []float32, ds int, src []float32, ss, rows, cols int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	_, _ = dst[(cols-1)*ds+rows-1], src[(rows-1)*ss+cols-1]
	i := 0
	if k.transpose8 != nil {
		whole := cols / 8 * 8
		for ; i+8 <= rows && whole > 0; i += 8 {
			k.transpose8(&dst[i], ds, &src[i*ss], ss, whole)
			for j := whole; j < cols; j++ {
				for r := i; r < i+8; r++ {
					dst[j*ds+r] = src[r*ss+j]
				}
			}
		}
	}
	for ; i < rows; i++ {
		for j, v := range src[i*ss:][:cols] {
			dst[j*ds+i] = v
		}
	}
}

// CopyRows sets dst[i*ds+j] = src[i*ss+j] for i < rows and j < cols.
func (k *Kernel) CopyRows(dst []float32, ds int, src []float32, ss, rows, cols int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	_, _ = dst[(rows-1)*ds+cols-1], src[(rows-1)*ss+cols-1]
	switch {
	case cols == 8 && k.copyRows8 != nil:
		k.copyRows8(&dst[0], ds, &src[0], ss, rows)
	case cols == 32 && k.copyRows32 != nil:
		k.copyRows32(&dst[0], ds, &src[0], ss, rows)
	default:
		for i := range rows {
			copy(dst[i*ds:][:cols], src[i*ss:])
		}
	}
}

// PeakFloat executes rounds of products and sums of float32 on registers alone,
// not fused, as many multiply-adds as it returns. It measures the peak of the
// processor for [Kernel.Product], and returns 0 if the kernel has no vectors.
func (k *Kernel) PeakFloat(rounds int) (multiplyAdds int) {
	if k.peakFloat == nil {
		return 0
	}
	k.peakFloat(rounds)
	return rounds * k.peakFloatOps
}

// productsGeneric is the reference of the tiles.
func productsGeneric() (s productSet) {
	for h, rows := range productHeights {
		for w := range s[h] {
			cols := (w + 1) * Panel
			s[h][w] = func(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int) {
				productGeneric(rows, cols, c, cs, a, ar, ak, b, bk, k, cont)
			}
		}
	}
	return s
}

func productGeneric(rows, cols int, c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int) {
	cv := unsafe.Slice(c, (rows-1)*cs+cols)
	av := unsafe.Slice(a, (rows-1)*ar+(k-1)*ak+1)
	bv := unsafe.Slice(b, (k-1)*bk+cols)
	for i := range rows {
		y := cv[i*cs:][:cols]
		if cont == 0 {
			clear(y)
		}
		for l0 := 0; l0 < k; l0 += Block {
			var part [ProductCols]float32
			p := part[:cols]
			for l := l0; l < min(l0+Block, k); l++ {
				v := av[i*ar+l*ak]
				for j, w := range bv[l*bk:][:cols] {
					p[j] += float32(v * w)
				}
			}
			for j, v := range p {
				y[j] += v
			}
		}
	}
}

// wideProducts makes the tiles of 32 columns of those of 16, and, where there
// are none of eight rows, these of those of four.
func wideProducts(narrow [4]productFunc) (s productSet) {
	if narrow[0] == nil {
		narrow[0] = func(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int) {
			narrow[1](c, cs, a, ar, ak, b, bk, k, cont)
			narrow[1](offset(c, 4*cs), cs, offset(a, 4*ar), ar, ak, b, bk, k, cont)
		}
	}
	for h, f := range narrow {
		s[h] = [2]productFunc{f, func(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int) {
			f(c, cs, a, ar, ak, b, bk, k, cont)
			f(offset(c, Panel), cs, a, ar, ak, offset(b, Panel), bk, k, cont)
		}}
	}
	return s
}

// offset returns the address n floats after p.
func offset(p *float32, n int) *float32 {
	return (*float32)(unsafe.Add(unsafe.Pointer(p), n*4))
}
