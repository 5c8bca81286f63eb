//go:build !purego

package kernel

// The functions of the .s files. In the tiles, t is the size of the whole
// tile, of which x1, x2 and x4 compute as many vectors.

//go:noescape
func tileQx1DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)

//go:noescape
func tileQx2DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)

//go:noescape
func tileQx4DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)

//go:noescape
func tileQx1NEON(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)

//go:noescape
func tileQx2NEON(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, t, half int)

//go:noescape
func tileF16x1NEON(out *float32, w *uint16, x *float32, k, cont, t int)

//go:noescape
func tileF16x2NEON(out *float32, w *uint16, x *float32, k, cont, t int)

//go:noescape
func tileF16x4NEON(out *float32, w *uint16, x *float32, k, cont, t int)

//go:noescape
func tileF32x1NEON(out *float32, w *float32, x *float32, k, cont, t int)

//go:noescape
func tileF32x2NEON(out *float32, w *float32, x *float32, k, cont, t int)

//go:noescape
func tileF32x4NEON(out *float32, w *float32, x *float32, k, cont, t int)

//go:noescape
func unpackBytesNEON(dst, src *byte, nb int, bias byte)

//go:noescape
func unpackNibblesNEON(dst, src *byte, nb int, bias byte)

//go:noescape
func unpackNibblesBitNEON(dst, src *byte, nb int, bias byte)

//go:noescape
func unpackNibbles2NEON(dst, src *byte, nb int, bias byte)

//go:noescape
func unpackPairsNEON(dst, src *byte, nb int, bias byte)

//go:noescape
func unpackPairsBitNEON(dst, src *byte, nb int, bias byte)

//go:noescape
func unpackTable4NEON(dst, src *byte, nb int, bias byte)

//go:noescape
func scales16NEON(scales, offs *float32, src *byte, nb int)

//go:noescape
func scales16MNEON(scales, offs *float32, src *byte, nb int)

//go:noescape
func scalesKNEON(scales, offs *float32, src *byte, nb int)

//go:noescape
func scalesK16NEON(scales, offs *float32, src *byte, nb int)

//go:noescape
func scalesK2NEON(scales, offs *float32, src *byte, nb int)

//go:noescape
func scalesKTNEON(scales, offs *float32, src *byte, nb int)

// The products of up to eight packed blocks with one vector.

//go:noescape
func gemvBytesDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)

//go:noescape
func gemvNibblesDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)

//go:noescape
func gemvNibblesBitDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)

//go:noescape
func gemvNibbles2DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)

//go:noescape
func gemvPairsDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)

//go:noescape
func gemvPairsBitDOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)

//go:noescape
func gemvTable4DOT(out *float32, codes *byte, scales, offs *float32, x, xe *byte, nb, cont, half, zero int)

//go:noescape
func quantizeNEON(x *float32, nb int, codes *int8, scale *float32, sums *int32)

//go:noescape
func sumSquaresNEON(x *float32, n int) float32

//go:noescape
func scaleMulNEON(dst, x, w *float32, r float32, n int)

//go:noescape
func addScaledNEON(dst, x *float32, s float32, n int)

//go:noescape
func siluNEON(dst, gate, up *float32, n int)

//go:noescape
func geluNEON(dst, gate, up *float32, n int)

//go:noescape
func softmaxNEON(s *float32, stride, panels int, scale float32) float32

//go:noescape
func streamNEON(p *byte, n int) uint64

//go:noescape
func peakDOT(rounds int) uint64

// Products of float32 matrices, see productFunc.

//go:noescape
func product1x16NEON(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int)

//go:noescape
func product2x16NEON(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int)

//go:noescape
func product4x16NEON(c *float32, cs int, a *float32, ar, ak int, b *float32, bk int, k, cont int)

//go:noescape
func transpose8NEON(dst *float32, ds int, src *float32, ss, n int)

//go:noescape
func copyRows8NEON(dst *float32, ds int, src *float32, ss, n int)

//go:noescape
func copyRows32NEON(dst *float32, ds int, src *float32, ss, n int)

//go:noescape
func peakFloatNEON(rounds int) float32

// What training needs, see trainSet.

//go:noescape
func expSumNEON(dst, x *float32, top float32, n int, parts *float32)

//go:noescape
func largestNEON(x *float32, n int) (top float32, magnitude uint32)

//go:noescape
func divScaleNEON(dst, x *float32, d, s float32, n int)

//go:noescape
func siluBackNEON(dg, du, dh, gate, up *float32, n int)

//go:noescape
func geluBackNEON(dg, du, dh, gate, up *float32, n int)

//go:noescape
func combineNEON(y *float32, a float32, x *float32, b, c float32, n int)

//go:noescape
func adamWNEON(w, grad, m, v, constants *float32, n int)
